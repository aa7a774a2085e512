/* What a store in SQLite knows of files, and how a run of indexing changes it: the vectors go to the index, all else
 * into one transaction. */
#include "store/update.h"

#include <stdlib.h>
#include <string.h>

/* items.described: what in the file itself has been read. */
enum { CAPTIONS = 1, CAPTIONS_AND_EXIF = 2 };

/* ------------------------------------------------------------------- reading */

static kin_status start(kin_update *u, kin_error *err) {
  return kin_sql_clear_seen(u->store, err);
}

static kin_status find_one(kin_update *u, kin_candidate *c, kin_error *err) {
  sqlite3_stmt *s;
  bool found;
  kin_status status = kin_sql_bind(u->store, KIN_SQL_FIND_PATH, &s, err, "si", c->path, u->store->collection.id);
  if (status == KIN_OK) status = kin_sql_step(u->store, s, &found, err);
  if (status != KIN_OK || !found) return status;
  c->item = sqlite3_column_int64(s, 0);
  c->same = (uint64_t)sqlite3_column_int64(s, 1) == c->size && sqlite3_column_int64(s, 2) == c->mtime_ns;
  const void *sha256 = sqlite3_column_blob(s, 3);
  if (sha256) memcpy(c->known_sha256, sha256, sizeof c->known_sha256);
  c->indexed = sqlite3_column_type(s, 4) != SQLITE_NULL;
  c->seen = sqlite3_column_int(s, 5);
  c->described = sqlite3_column_int(s, 6) == CAPTIONS_AND_EXIF;
  c->sidecar_size = sqlite3_column_int64(s, 7);
  c->sidecar_mtime_ns = sqlite3_column_int64(s, 8);
  sqlite3_reset(s);
  return KIN_OK;
}

static kin_status find(kin_update *u, kin_candidate *files, size_t n, kin_error *err) {
  kin_status status = KIN_OK;
  for (size_t i = 0; status == KIN_OK && i < n; i++) status = find_one(u, &files[i], err);
  return status;
}

/* A file of the collection with the candidate's content: in a row of *s, to be reset, if there is one. */
static kin_status find_sha256(kin_update *u, const kin_candidate *c, sqlite3_stmt **s, bool *found, kin_error *err) {
  kin_status status =
      kin_sql_bind(u->store, KIN_SQL_FIND_SHA256, s, err, "bi", (const void *)c->sha256, u->store->collection.id);
  return status == KIN_OK ? kin_sql_step(u->store, *s, found, err) : status;
}

/* Take the vector over from another picture with the same content, if there is one. */
static kin_status find_content(kin_update *u, kin_candidate *c, float *slot, kin_error *err) {
  sqlite3_stmt *s;
  bool found;
  kin_status status = find_sha256(u, c, &s, &found, err);
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

static kin_status find_contents(kin_update *u, size_t *slots, kin_error *err) {
  kin_status status = KIN_OK;
  for (size_t i = 0; status == KIN_OK && i < u->n; i++) {
    kin_candidate *c = &u->candidates[i];
    if (!c->embed || c->format) continue;
    status = find_content(u, c, u->vectors + *slots * u->encoder->dim, err);
    *slots += c->vector != NULL;
  }
  return status;
}

static kin_status find_twin(kin_update *u, kin_candidate *c, kin_error *err) {
  sqlite3_stmt *s;
  bool found;
  kin_status status = find_sha256(u, c, &s, &found, err);
  if (status != KIN_OK || !found) return status;
  const char *path = (const char *)sqlite3_column_text(s, 4);
  kin_document_format format = path ? kin_document_format_of(path) : KIN_DOCUMENT_NONE;
  if (!format) format = KIN_DOCUMENT_PLAIN; /* given by its name */
  if (sqlite3_column_int(s, 5) && format == c->format) c->twin = sqlite3_column_int64(s, 0);
  sqlite3_reset(s);
  return KIN_OK;
}

static kin_status mark_seen(kin_update *u, const kin_candidate *c, kin_error *err) {
  return kin_sql_run(u->store, KIN_SQL_MARK_SEEN, err, "i", c->item);
}

static kin_status next_unseen(kin_update *u, const char *from, const char *to, kin_candidate *out, kin_error *err) {
  sqlite3_stmt *s;
  bool more;
  *out = (kin_candidate){0};
  kin_status status = kin_sql_bind(u->store, KIN_SQL_NEXT_UNSEEN, &s, err, "ss", from, to);
  if (status == KIN_OK) status = kin_sql_step(u->store, s, &more, err);
  if (status != KIN_OK || !more) return status;
  const char *path = (const char *)sqlite3_column_text(s, 1);
  out->item = sqlite3_column_int64(s, 0);
  out->path = path ? kin_strdup(path) : NULL;
  sqlite3_reset(s);
  return out->path ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", u->store->path);
}

/* ------------------------------------------------------------------- writing */

static kin_status begin(kin_update *u, kin_error *err) {
  return kin_sql_transact(u->store, KIN_SQL_BEGIN_WRITE, err);
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

static kin_status drop(kin_update *u, const kin_candidate *c, kin_error *err) {
  size_t n;
  kin_status status = forget(u, c->item, &n, err);
  return status == KIN_OK ? kin_sql_run(u->store, KIN_SQL_DROP_ITEM, err, "i", c->item) : status;
}

static kin_status leave(kin_update *u, const kin_candidate *c, bool *left, kin_error *err) {
  size_t n;
  kin_status status = forget(u, c->item, &n, err);
  *left = n > 0;
  if (status == KIN_OK)
    status = kin_sql_run(u->store, KIN_SQL_DROP_VECTORS, err, "ii", c->item, u->store->collection.id);
  return status == KIN_OK ? kin_sql_run(u->store, KIN_SQL_DROP_BARE_ITEM, err, "i", c->item) : status;
}

static kin_status write_item(kin_update *u, kin_candidate *c, kin_error *err) {
  kin_store *store = u->store;
  if (!c->item) {
    kin_status status = kin_sql_run(store, KIN_SQL_ADD_ITEM, err, "siibiii", c->path, (int64_t)c->size, c->mtime_ns,
                                    (const void *)c->sha256, (int64_t)c->width, (int64_t)c->height, c->wanted_item);
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

static kin_status add_vector(kin_update *u, const kin_candidate *c, size_t ordinal, const float *vector,
                             kin_error *err) {
  uint64_t row;
  kin_status status = kin_index_add(u->store->index, c->item, vector, &row, err);
  if (status != KIN_OK) return status;
  return kin_sql_run(u->store, KIN_SQL_ADD_VECTOR, err, "iiii", u->store->collection.id, c->item, (int64_t)ordinal,
                     (int64_t)row);
}

static kin_status write_vector(kin_update *u, kin_candidate *c, const float *vector, const kin_passage *p,
                               kin_error *err) {
  kin_status status = add_vector(u, c, p ? p->ordinal : 0, vector, err);
  if (status != KIN_OK || !p) return status;
  return kin_sql_run(u->store, KIN_SQL_ADD_PASSAGE, err, "iiiiis", u->store->collection.id, c->item,
                     (int64_t)p->ordinal, (int64_t)p->line, (int64_t)p->offset, p->text);
}

static kin_status copy_passages(kin_update *u, kin_candidate *c, kin_error *err) {
  sqlite3_stmt *s;
  bool row = false;
  kin_store *store = u->store;
  float *vector = u->passage_vectors + (KIN_PASSAGES - 1) * u->encoder->dim; /* nothing waits */
  kin_status status = kin_sql_bind(store, KIN_SQL_VECTOR_ROWS, &s, err, "ii", store->collection.id, c->twin);
  if (status == KIN_OK) status = kin_sql_step(store, s, &row, err);
  while (status == KIN_OK && row) {
    status = kin_index_get(store->index, c->twin, (uint64_t)sqlite3_column_int64(s, 0), vector, err);
    if (status == KIN_OK) status = add_vector(u, c, c->passages, vector, err);
    if (status == KIN_OK)
      status = kin_sql_run(store, KIN_SQL_COPY_PASSAGE, err, "iiii", store->collection.id, c->twin, c->item,
                           (int64_t)c->passages);
    c->passages++;
    if (status == KIN_OK) status = kin_sql_step(store, s, &row, err);
  }
  return status;
}

static kin_status write_exif(kin_update *u, const kin_candidate *c, const kin_exif *exif, kin_error *err) {
  kin_status status = kin_sql_run(u->store, KIN_SQL_CLEAR_FILE_METADATA, err, "i", c->item);
  if (status == KIN_OK && *exif->date)
    status = kin_sql_run(u->store, KIN_SQL_ADD_FILE_METADATA, err, "iss", c->item, "date", exif->date);
  if (status == KIN_OK && *exif->camera)
    status = kin_sql_run(u->store, KIN_SQL_ADD_FILE_METADATA, err, "iss", c->item, "camera", exif->camera);
  return status;
}

static kin_status write_captions(kin_update *u, const kin_candidate *c, const kin_caption_news *news, kin_error *err) {
  kin_status status = KIN_OK;
  if (news->has_sidecar)
    status = kin_sql_run(u->store, KIN_SQL_SET_SIDECAR, err, "isii", c->item, news->sidecar, news->sidecar_size,
                         news->sidecar_mtime_ns);
  if (status != KIN_OK || !news->has_embedded) return status;
  status = kin_sql_run(u->store, KIN_SQL_SET_EMBEDDED, err, "is", c->item, news->embedded);
  if (status == KIN_OK && news->has_exif) status = write_exif(u, c, &news->exif, err);
  if (status != KIN_OK) return status;
  return kin_sql_run(u->store, KIN_SQL_SET_DESCRIBED, err, "ii", c->item,
                     (int64_t)(news->has_exif ? CAPTIONS_AND_EXIF : CAPTIONS));
}

static kin_status touch(kin_update *u, const kin_candidate *c, kin_error *err) {
  return kin_sql_run(u->store, KIN_SQL_TOUCH_ITEM, err, "iii", c->item, (int64_t)c->size, c->mtime_ns);
}

/* ---------------------------------------------------------------- committing */

static bool is_due(const kin_update *u) {
  (void)u;
  return true;
}

static void rollback(kin_update *u) {
  kin_store *store = u->store;
  kin_sql_rollback(store);
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

/* The vectors become durable first, then the transaction that names them. */
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
  kin_index_committed(store->index);
  return KIN_OK;
}

const kin_catalogue kin_sql_catalogue = {.start = start,
                                         .find = find,
                                         .find_contents = find_contents,
                                         .find_twin = find_twin,
                                         .mark_seen = mark_seen,
                                         .next_unseen = next_unseen,
                                         .begin = begin,
                                         .write_item = write_item,
                                         .write_vector = write_vector,
                                         .copy_passages = copy_passages,
                                         .complete = mark_seen,
                                         .write_captions = write_captions,
                                         .touch = touch,
                                         .drop = drop,
                                         .leave = leave,
                                         .is_due = is_due,
                                         .commit = commit,
                                         .rollback = rollback};
