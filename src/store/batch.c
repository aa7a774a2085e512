/* A batch of new or changed pictures: hash, look for known content, embed the rest, write, commit. */
#include "store/update.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_BATCH 16
#define MAX_BATCH 65536
/* Files that only moved or were touched are cheap: so many of them share a commit. */
#define MAX_OPERATIONS 256

kin_status kin_update_init(kin_update *u, kin_error *err) {
  u->batch = u->options.batch ? u->options.batch : DEFAULT_BATCH;
  if (u->batch > MAX_BATCH)
    return kin_fail(err, KIN_ERR_ARGUMENT, "a batch of %zu pictures: at most %d", u->batch, MAX_BATCH);
  size_t floats;
  u->candidates = kin_array(u->batch, sizeof *u->candidates);
  u->sources = kin_array(u->batch, sizeof *u->sources);
  u->embedded = kin_array(u->batch, sizeof *u->embedded);
  if (!__builtin_mul_overflow(u->batch, u->encoder->dim, &floats)) u->vectors = kin_array(floats, sizeof *u->vectors);
  if (!u->candidates || !u->sources || !u->embedded || !u->vectors)
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for batches of %zu pictures", u->batch);
  return KIN_OK;
}

static void clear_candidates(kin_update *u) {
  while (u->n) free(u->candidates[--u->n].path);
}

void kin_update_free(kin_update *u) {
  clear_candidates(u);
  free(u->candidates);
  free(u->sources);
  free(u->embedded);
  free(u->vectors);
  kin_update_free_passages(u);
}

/* ------------------------------------------------------- what to do with each */

static uint8_t hex_digit(char c) {
  return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void hash_task(void *arg, size_t i) {
  kin_candidate *c = &((kin_update *)arg)->candidates[i];
  char hex[65];
  c->status = kin_sha256_file(c->path, hex, NULL, &c->error);
  if (c->status != KIN_OK) return;
  for (size_t k = 0; k < sizeof c->sha256; k++)
    c->sha256[k] = (uint8_t)(hex_digit(hex[2 * k]) << 4 | hex_digit(hex[2 * k + 1]));
}

/* Take the vector over from another picture with the same content, if there is one. */
static kin_status copy_known(kin_update *u, kin_candidate *c, float *slot, kin_error *err) {
  sqlite3_stmt *s;
  bool found;
  kin_status status =
      kin_sql_bind(u->store, KIN_SQL_FIND_SHA256, &s, err, "bi", (const void *)c->sha256, u->store->collection.id);
  if (status == KIN_OK) status = kin_sql_step(u->store, s, &found, err);
  if (status != KIN_OK || !found) return status;
  int64_t id = sqlite3_column_int64(s, 0);
  c->width = (uint32_t)sqlite3_column_int64(s, 1);
  c->height = (uint32_t)sqlite3_column_int64(s, 2);
  uint64_t row = (uint64_t)sqlite3_column_int64(s, 3);
  bool document = sqlite3_column_int(s, 5);
  sqlite3_reset(s);
  if (document) return KIN_OK;
  c->vector = slot;
  return kin_index_get(u->store->index, id, row, slot, err);
}

/* Sort out which candidates are the same, which are known, and which must be embedded. *slots vectors are taken. */
static kin_status classify(kin_update *u, size_t *slots, kin_error *err) {
  size_t dim = u->encoder->dim;
  *slots = 0;
  for (size_t i = 0; i < u->n; i++) {
    kin_candidate *c = &u->candidates[i];
    if (c->status != KIN_OK) {
      kin_update_failure(u, c->path, c->status, c->error.message);
      continue;
    }
    c->same = c->item && c->row >= 0 && memcmp(c->sha256, c->known_sha256, sizeof c->sha256) == 0;
    if (c->same) continue;
    kin_status status = c->format ? KIN_OK : copy_known(u, c, u->vectors + *slots * dim, err);
    if (status != KIN_OK) return status;
    if (c->vector)
      ++*slots;
    else
      c->embed = true;
  }
  return KIN_OK;
}

/* --------------------------------------------------------------------- embed */

static bool on_item(void *user, const kin_item_report *report) {
  kin_update *u = user;
  kin_candidate *c = &u->candidates[u->embedded[report->index]];
  c->status = report->status;
  c->width = report->width;
  c->height = report->height;
  if (report->status != KIN_OK) kin_update_failure(u, c->path, report->status, report->message);
  return kin_update_report(u, NULL) == KIN_OK;
}

static kin_status embed(kin_update *u, size_t slots, size_t *n_embedded, kin_error *err) {
  size_t dim = u->encoder->dim, n = 0;
  for (size_t i = 0; i < u->n; i++) {
    kin_candidate *c = &u->candidates[i];
    if (!c->embed || c->format) continue;
    c->vector = u->vectors + (slots + n) * dim;
    u->sources[n] = (kin_image_source){.path = c->path};
    u->embedded[n++] = i;
  }
  *n_embedded = n;
  if (!n) return KIN_OK;
  kin_embed_options options = {.batch = u->batch, .max_pixels = u->options.max_pixels, .on_item = on_item, .user = u};
  return u->encoder->embed(u->encoder->user, u->sources, n, &options, u->vectors + slots * dim, err);
}

/* --------------------------------------------------------------------- write */

kin_status kin_update_begin(kin_update *u, kin_error *err) {
  if (u->writing) return KIN_OK;
  kin_status status = kin_sql_transact(u->store, KIN_SQL_BEGIN_WRITE, err);
  u->writing = status == KIN_OK;
  return status;
}

void kin_update_rollback(kin_update *u) {
  kin_store *store = u->store;
  kin_sql_rollback(store);
  u->writing = false;
  u->operations = 0;
  u->pending = (kin_index_progress){0};
  store->collection.state = UINT64_MAX; /* so that the index is brought back as well */
  if (kin_sql_transact(store, KIN_SQL_BEGIN_READ, NULL) == KIN_OK) kin_store_refresh(store, NULL);
  kin_sql_rollback(store);
}

/* *state gets what the collection's grows to. */
static kin_status set_state(kin_store *store, uint64_t rows, uint64_t *state, kin_error *err) {
  sqlite3_stmt *s;
  bool row;
  kin_status status =
      kin_sql_bind(store, KIN_SQL_SET_COLLECTION_STATE, &s, err, "ii", store->collection.id, (int64_t)rows);
  if (status == KIN_OK) status = kin_sql_step(store, s, &row, err);
  if (status != KIN_OK || !row) return status;
  *state = (uint64_t)sqlite3_column_int64(s, 0);
  sqlite3_reset(s);
  return KIN_OK;
}

static kin_status commit(kin_update *u, kin_error *err) {
  kin_store *store = u->store;
  uint64_t state = 0;
  /* SQLite takes a whole transaction back by itself on some errors, a full disk among them. */
  if (sqlite3_get_autocommit(store->db)) return kin_sql_fail(store, SQLITE_FULL, "committing to the store", err);
  kin_index_stats stats;
  kin_index_statistics(store->index, &stats);
  uint64_t rows = stats.items + stats.holes;
  kin_status status = rows > store->collection.rows ? kin_index_save(store->index, err) : KIN_OK;
  if (status == KIN_OK) status = set_state(store, rows, &state, err);
  if (status == KIN_OK) status = kin_sql_transact(store, KIN_SQL_COMMIT, err);
  if (status != KIN_OK) return status;
  store->collection.rows = rows;
  store->collection.state = state;
  return KIN_OK;
}

kin_status kin_update_commit(kin_update *u, kin_error *err) {
  if (!u->writing) return KIN_OK;
  kin_status status = commit(u, err);
  if (status != KIN_OK) {
    kin_update_rollback(u);
    return status;
  }
  u->writing = false;
  u->operations = 0;
  u->progress.done += u->pending.done;
  u->progress.unchanged += u->pending.unchanged;
  u->progress.removed += u->pending.removed;
  u->pending = (kin_index_progress){0};
  return KIN_OK;
}

/* Take the item's vectors in this collection out of the index; the store still has them. */
static kin_status forget(kin_update *u, int64_t id, size_t *n, kin_error *err) {
  sqlite3_stmt *s;
  bool row;
  *n = 0;
  kin_status status = kin_sql_bind(u->store, KIN_SQL_VECTOR_ROWS, &s, err, "ii", u->store->collection.id, id);
  if (status == KIN_OK) status = kin_sql_step(u->store, s, &row, err);
  while (status == KIN_OK && row) {
    status = kin_index_remove(u->store->index, id, (uint64_t)sqlite3_column_int64(s, 0), err);
    ++*n;
    if (status == KIN_OK) status = kin_sql_step(u->store, s, &row, err);
  }
  sqlite3_reset(s);
  return status;
}

kin_status kin_update_drop(kin_update *u, int64_t id, kin_error *err) {
  size_t n;
  kin_status status = forget(u, id, &n, err);
  if (status == KIN_OK) status = kin_sql_run(u->store, KIN_SQL_DROP_ITEM, err, "i", id);
  u->operations++;
  return status;
}

kin_status kin_update_leave(kin_update *u, int64_t id, bool *left, kin_error *err) {
  size_t n;
  kin_status status = forget(u, id, &n, err);
  *left = n > 0;
  if (status == KIN_OK) status = kin_sql_run(u->store, KIN_SQL_DROP_VECTORS, err, "ii", id, u->store->collection.id);
  if (status == KIN_OK) status = kin_sql_run(u->store, KIN_SQL_DROP_BARE_ITEM, err, "i", id);
  u->operations++;
  return status;
}

kin_status kin_update_write_item(kin_update *u, kin_candidate *c, kin_error *err) {
  kin_store *store = u->store;
  if (!c->item) {
    kin_status status = kin_sql_run(store, KIN_SQL_ADD_ITEM, err, "siibii", c->path, (int64_t)c->size, c->mtime_ns,
                                    (const void *)c->sha256, (int64_t)c->width, (int64_t)c->height);
    c->item = sqlite3_last_insert_rowid(store->db);
    return status;
  }
  kin_status status = kin_sql_run(store, KIN_SQL_CHANGE_ITEM, err, "iiibii", c->item, (int64_t)c->size, c->mtime_ns,
                                  (const void *)c->sha256, (int64_t)c->width, (int64_t)c->height);
  /* Of the old content: those of other collections, too, unless only this one lacked the item. */
  size_t n;
  if (status == KIN_OK) status = forget(u, c->item, &n, err);
  if (status == KIN_OK && memcmp(c->sha256, c->known_sha256, sizeof c->sha256) != 0)
    status = kin_sql_run(store, KIN_SQL_DROP_VECTORS, err, "ii", c->item, (int64_t)0);
  return status;
}

static kin_status write_vector(kin_update *u, kin_candidate *c, kin_error *err) {
  kin_store *store = u->store;
  uint64_t row;
  kin_status status = kin_update_write_item(u, c, err);
  if (status == KIN_OK) status = kin_index_add(store->index, c->item, c->vector, &row, err);
  if (status == KIN_OK)
    status =
        kin_sql_run(store, KIN_SQL_ADD_VECTOR, err, "iiii", store->collection.id, c->item, (int64_t)0, (int64_t)row);
  if (c->embed)
    u->pending.done++;
  else
    u->pending.unchanged++;
  return status;
}

kin_status kin_update_write_failed(kin_update *u, const kin_candidate *c, kin_error *err) {
  bool stays = c->status == KIN_ERR_IO || c->status == KIN_ERR_MEMORY;
  if (c->item && !stays) return kin_update_drop(u, c->item, err);
  return c->item ? kin_sql_run(u->store, KIN_SQL_MARK_SEEN, err, "i", c->item) : KIN_OK;
}

static kin_status write_candidate(kin_update *u, kin_candidate *c, kin_error *err) {
  if (c->status != KIN_OK) return kin_update_write_failed(u, c, err);
  if (c->format && !c->same) return KIN_OK; /* documents.c does it */
  kin_status status = KIN_OK;
  if (c->same) {
    status = kin_sql_run(u->store, KIN_SQL_TOUCH_ITEM, err, "iii", c->item, (int64_t)c->size, c->mtime_ns);
    u->pending.unchanged++;
  } else {
    status = write_vector(u, c, err);
  }
  u->operations++;
  return status == KIN_OK ? kin_sql_run(u->store, KIN_SQL_MARK_SEEN, err, "i", c->item) : status;
}

static kin_status write_candidates(kin_update *u, kin_error *err) {
  kin_status status = kin_update_begin(u, err);
  for (size_t i = 0; status == KIN_OK && i < u->n; i++) status = write_candidate(u, &u->candidates[i], err);
  if (status != KIN_OK) kin_update_rollback(u);
  return status;
}

kin_status kin_update_flush(kin_update *u, kin_error *err) {
  if (!u->n) return KIN_OK;
  size_t slots = 0, n_embedded = 0;
  kin_parallel_for(u->store->context->pool, u->n, hash_task, u);
  kin_status status = classify(u, &slots, err);
  if (status == KIN_OK) status = embed(u, slots, &n_embedded, err);
  if (status == KIN_OK) status = write_candidates(u, err);
  if (status == KIN_OK) status = kin_update_documents(u, err);
  clear_candidates(u);
  if (status == KIN_OK &&
      (n_embedded || u->operations >= (u->walk.kinds & KIN_WALK_PICTURES ? MAX_OPERATIONS : u->batch)))
    status = kin_update_commit(u, err);
  return status == KIN_OK ? kin_update_report(u, err) : status;
}
