/* Going through all vectors of the chosen collection. */
#include "store/elastic.h"

#include <stdlib.h>

static kin_status visit_row(kin_store *store, sqlite3_stmt *s, float *vector, bool (*visit)(void *, const kin_stored *),
                            void *user, kin_error *err) {
  const int64_t id = sqlite3_column_int64(s, 0);
  kin_status status = kin_index_get(store->index, id, (uint64_t)sqlite3_column_int64(s, 1), vector, err);
  if (status != KIN_OK) return status;
  const kin_stored item = {.id = id,
                           .vector = vector,
                           .path = (const char *)sqlite3_column_text(s, 2),
                           .mtime_ns = sqlite3_column_int64(s, 3),
                           .width = (uint32_t)sqlite3_column_int64(s, 4),
                           .height = (uint32_t)sqlite3_column_int64(s, 5),
                           .line = (uint64_t)sqlite3_column_int64(s, 6),
                           .offset = (uint64_t)sqlite3_column_int64(s, 7),
                           .passage = (const char *)sqlite3_column_text(s, 8),
                           .date = (const char *)sqlite3_column_text(s, 9)};
  if (!item.path) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", store->path);
  return visit(user, &item) ? KIN_OK : kin_fail(err, KIN_ERR_CANCELLED, "%s: stopped", store->path);
}

kin_status kin_store_each(kin_store *store, bool (*visit)(void *user, const kin_stored *item), void *user,
                          kin_error *err) {
  sqlite3_stmt *s = NULL;
  bool row = false;
  float *vector = NULL;
  kin_status status = kin_store_begin_read(store, err);
  if (status == KIN_OK && !store->collection.id && store->n_collections)
    status = kin_collections_fail(store, "choose one by its model", err);
  if (status == KIN_OK && store->collection.id && store->remote) {
    status = kin_remote_visit(store, visit, user, err);
  } else if (status == KIN_OK && store->collection.id) {
    vector = kin_alloc_aligned(store->collection.dim * sizeof *vector);
    if (!vector) status = kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for a vector", store->path);
    if (status == KIN_OK) status = kin_sql_bind(store, KIN_SQL_EACH_VECTOR, &s, err, "i", store->collection.id);
    if (status == KIN_OK) status = kin_sql_step(store, s, &row, err);
    while (status == KIN_OK && row) {
      status = visit_row(store, s, vector, visit, user, err);
      if (status == KIN_OK) status = kin_sql_step(store, s, &row, err);
    }
    if (s) sqlite3_reset(s);
  }
  kin_sql_rollback(store);
  kin_free_aligned(vector);
  return status;
}
