/* kin_store_compact. A collection gets a new vector file, which is synced before the transaction that names it; the old
 * one goes after that. A crash leaves a file that no collection names, which the next writer removes. */
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPORT_EVERY 256

typedef struct compact {
  kin_store *store;
  kin_compact_options options;
  uint64_t done, total; /* vectors */
} compact;

static kin_status report(compact *c, kin_error *err) {
  if (!c->options.on_progress || c->options.on_progress(c->options.user, c->done, c->total)) return KIN_OK;
  return kin_fail(err, KIN_ERR_CANCELLED, "%s: stopped; the store is whole", c->store->path);
}

/* ".3.2.vectors" is the second file of collection 3; the first has no number. */
static char *next_suffix(const kin_store *store, const kin_collection *k) {
  const char *suffix = k->vectors_path + strlen(store->path);
  long long id = 0, generation = 0;
  if (sscanf(suffix, ".%lld.%lld.vectors", &id, &generation) != 2) generation = 1;
  return kin_format(".%lld.%lld.vectors", (long long)k->id, generation + 1);
}

/* Append the vectors that the catalogue names to `to`, in order. */
static kin_status copy_vectors(compact *c, const kin_collection *k, kin_vectors *from, kin_vectors *to,
                               kin_error *err) {
  sqlite3_stmt *s = NULL;
  bool more = false;
  float *vector = kin_array(k->dim, sizeof *vector);
  kin_status status = vector ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for a vector", c->store->path);
  if (status == KIN_OK) status = kin_sql_bind(c->store, KIN_SQL_EACH_VECTOR_ROW, &s, err, "i", k->id);
  if (status == KIN_OK) status = kin_sql_step(c->store, s, &more, err);
  while (status == KIN_OK && more) {
    uint64_t row = (uint64_t)sqlite3_column_int64(s, 0);
    int64_t item = sqlite3_column_int64(s, 1);
    status = kin_vectors_read(from, row, item, vector, err);
    if (status == KIN_OK) status = kin_vectors_append(to, item, vector, &row, err);
    if (status == KIN_OK && ++c->done % REPORT_EVERY == 0) status = report(c, err);
    if (status == KIN_OK) status = kin_sql_step(c->store, s, &more, err);
  }
  if (s) sqlite3_reset(s);
  free(vector);
  return status;
}

/* Write all of the collection's vectors to a new file at `path`, durably; *rows tells how many. */
static kin_status write_file(compact *c, const kin_collection *k, const char *path, uint64_t *rows, kin_error *err) {
  kin_vectors_key key = kin_store_vectors_key(c->store, k);
  kin_vectors *from = NULL, *to = NULL;
  kin_status status = kin_vectors_open(k->vectors_path, false, &key, &from, err);
  if (status == KIN_OK) status = kin_vectors_set_rows(from, k->rows, err);
  if (status == KIN_OK) status = kin_vectors_create(path, &key, err);
  if (status == KIN_OK) status = kin_vectors_open(path, true, &key, &to, err);
  if (status == KIN_OK) status = copy_vectors(c, k, from, to, err);
  if (status == KIN_OK) status = kin_vectors_sync(to, err);
  if (status == KIN_OK) *rows = kin_vectors_rows(to);
  kin_vectors_close(from);
  kin_vectors_close(to);
  return status;
}

/* Every vector moves down by the holes below it; going up, its new place is free. */
static kin_status move_rows(compact *c, const kin_collection *k, const uint64_t *holes, size_t n, kin_error *err) {
  kin_status status = KIN_OK;
  size_t below = 0;
  for (uint64_t row = n ? holes[0] : k->rows; status == KIN_OK && row < k->rows; row++) {
    if (below < n && holes[below] == row)
      below++;
    else
      status = kin_sql_run(c->store, KIN_SQL_MOVE_VECTOR, err, "iii", k->id, (int64_t)row, (int64_t)(row - below));
  }
  return status;
}

static kin_status name_file(compact *c, const kin_collection *k, const char *suffix, const uint64_t *holes, size_t n,
                            uint64_t rows, kin_error *err) {
  if (rows + n != k->rows)
    return kin_fail(err, KIN_ERR_FORMAT,
                    "%s: the catalogue is damaged: %llu vectors and %zu holes in %llu rows; kindred store check tells "
                    "more",
                    c->store->path, (unsigned long long)rows, n, (unsigned long long)k->rows);
  kin_status status = kin_sql_transact(c->store, KIN_SQL_BEGIN_WRITE, err);
  if (status == KIN_OK) status = move_rows(c, k, holes, n, err);
  if (status == KIN_OK) status = kin_sql_run(c->store, KIN_SQL_DROP_HOLES, err, "i", k->id);
  if (status == KIN_OK)
    status = kin_sql_run(c->store, KIN_SQL_SET_VECTORS_FILE, err, "isi", k->id, suffix, (int64_t)rows);
  if (status == KIN_OK) status = kin_sql_transact(c->store, KIN_SQL_COMMIT, err);
  kin_sql_rollback(c->store);
  return status;
}

static kin_status compact_collection(compact *c, const kin_collection *k, kin_error *err) {
  uint64_t *holes = NULL, rows = 0;
  size_t n = 0;
  kin_status status = kin_store_read_holes(c->store, k, &holes, &n, err);
  char *suffix = next_suffix(c->store, k), *path = suffix ? kin_format("%s%s", c->store->path, suffix) : NULL;
  if (status == KIN_OK && !path) status = kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", c->store->path);
  if (status == KIN_OK && n) {
    status = write_file(c, k, path, &rows, err);
    if (status != KIN_OK) unlink(path);
    /* Should this fail, the next writer learns from SQLite which of both files counts, and removes the other. */
    if (status == KIN_OK) status = name_file(c, k, suffix, holes, n, rows, err);
    if (status == KIN_OK) {
      kin_index_remove_derived(k->vectors_path);
      unlink(k->vectors_path);
    }
  }
  free(suffix);
  free(path);
  free(holes);
  return status;
}

/* ----------------------------------------------------------------------- run */

/* How much there is to do and what it takes on disk; *out gets the collections. */
static kin_status survey(compact *c, kin_compact_report *r, kin_collection **out, size_t *n, kin_error *err) {
  kin_collections *all = NULL;
  kin_status status = kin_store_collections(c->store, &all, err);
  for (size_t i = 0; status == KIN_OK && i < kin_collections_count(all); i++) {
    const kin_collection_info *info = kin_collections_get(all, i);
    if (info->holes) c->total += info->vectors;
    r->holes += info->holes;
  }
  kin_collections_close(all);
  return status == KIN_OK ? kin_collections_read(c->store, 0, out, n, err) : status;
}

static kin_status add_bytes(kin_store *store, uint64_t *out, kin_error *err) {
  kin_store_files *files;
  kin_status status = kin_store_list_files(store, &files, err);
  if (status != KIN_OK) return status;
  for (size_t i = 0; i < kin_store_files_count(files); i++) *out += kin_store_files_get(files, i)->bytes;
  kin_store_files_close(files);
  return KIN_OK;
}

kin_status kin_store_compact(kin_store *store, const kin_compact_options *options, kin_compact_report *out,
                             kin_error *err) {
  kin_compact_report r = {0};
  compact c = {.store = store};
  kin_collection *all = NULL;
  size_t n = 0;
  if (options) c.options = *options;
  if (!store->writable) return kin_fail(err, KIN_ERR_ARGUMENT, "%s: is open for reading only", store->path);
  /* Of a store without files here this fails, too. */
  kin_status status = add_bytes(store, &r.bytes_before, err);
  if (status == KIN_OK) status = survey(&c, &r, &all, &n, err);
  for (size_t i = 0; status == KIN_OK && i < n; i++) status = compact_collection(&c, &all[i], err);
  kin_collections_free(all, n);
  if (status == KIN_OK) status = report(&c, err);
  if (status == KIN_OK) status = kin_sql_tidy(store, err);
  /* Also after a failure: the index must follow what was done. */
  kin_status read = kin_store_begin_read(store, status == KIN_OK ? err : NULL);
  kin_sql_rollback(store);
  if (status == KIN_OK) status = read;
  if (status == KIN_OK) status = add_bytes(store, &r.bytes_after, err);
  if (status == KIN_OK && out) *out = r;
  return status;
}
