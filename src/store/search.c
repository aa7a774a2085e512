/* Finding in a store in SQLite: the index searches, SQLite tells which rows may be found and whose they are. */
#include "store/elastic.h"
#include "store/find.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

kin_status kin_find_check_dim(kin_store *store, const kin_query *q, kin_error *err) {
  const kin_collection *c = &store->collection;
  if (!c->id && store->n_collections) return kin_collections_fail(store, "name the model to search with", err);
  if (!c->id) return KIN_OK;
  for (size_t i = 0; i < q->n_examples; i++)
    if (q->examples[i].vector && q->dim != c->dim)
      return kin_fail(
          err, KIN_ERR_MISMATCH,
          "%s: the query has %zu floats, the collection's vectors %zu; query with the model that made them%s%s%s",
          store->path, q->dim, c->dim, *c->model_path ? " (" : "", c->model_path, *c->model_path ? ")" : "");
  return KIN_OK;
}

/* ------------------------------------------------------------------------ filters */

static void set_row(kin_find *f, uint64_t row) {
  if (row < f->rows.rows) f->words[row / 64] |= (uint64_t)1 << (row % 64);
}

static void clear_row(kin_find *f, uint64_t row) {
  if (row < f->rows.rows) f->words[row / 64] &= ~((uint64_t)1 << (row % 64));
}

/* The rows of the items that the filter lets through. */
static kin_status mark_rows(kin_find *f, kin_error *err) {
  sqlite3_stmt *s;
  kin_status status = kin_where_prepare(f->store, f->filter, &s, err);
  if (status == KIN_OK && sqlite3_bind_int64(s, 1, f->store->collection.id) != SQLITE_OK)
    status = kin_sql_fail(f->store, SQLITE_ERROR, "filtering", err);
  bool row = false;
  while (status == KIN_OK && (status = kin_sql_step(f->store, s, &row, err)) == KIN_OK && row)
    set_row(f, (uint64_t)sqlite3_column_int64(s, 0));
  sqlite3_finalize(s);
  return status;
}

static kin_status clear_item(kin_find *f, int64_t id, kin_error *err) {
  sqlite3_stmt *s;
  bool row;
  kin_status status = kin_sql_bind(f->store, KIN_SQL_VECTOR_ROWS, &s, err, "ii", f->store->collection.id, id);
  while (status == KIN_OK && (status = kin_sql_step(f->store, s, &row, err)) == KIN_OK && row)
    clear_row(f, (uint64_t)sqlite3_column_int64(s, 0));
  return status;
}

static kin_status choose_rows(kin_find *f, kin_error *err) {
  const kin_query *q = f->query;
  if (!f->filter && !q->n_exclude) return KIN_OK;
  size_t n_words = (size_t)(f->store->collection.rows / 64 + 1);
  f->words = kin_array(n_words, sizeof *f->words);
  if (!f->words) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for a filter", f->store->path);
  memset(f->words, f->filter ? 0 : 0xFF, n_words * sizeof *f->words);
  f->rows = (kin_row_filter){f->words, f->store->collection.rows};
  kin_status status = f->filter ? mark_rows(f, err) : KIN_OK;
  for (size_t i = 0; status == KIN_OK && i < q->n_exclude; i++) status = clear_item(f, q->exclude[i], err);
  uint64_t left = 0;
  for (size_t i = 0; i < n_words; i++) left += (uint64_t)__builtin_popcountll(f->words[i]);
  if (left < f->population) f->population = left;
  return status;
}

/* ------------------------------------------------------------------------- finder */

static kin_status begin(kin_find *f, kin_error *err) {
  kin_status status = kin_store_begin_read(f->store, err);
  if (status == KIN_OK) status = kin_find_check_dim(f->store, f->query, err);
  if (status != KIN_OK || !f->store->index) return status;
  kin_index_stats stats;
  kin_index_statistics(f->store->index, &stats);
  f->dim = f->store->collection.dim;
  f->population = stats.items;
  return choose_rows(f, err);
}

static void end(kin_find *f) {
  kin_sql_rollback(f->store);
  free(f->words);
}

static kin_status search(kin_find *f, const float *vectors, size_t n, size_t k, kin_match *out, size_t *n_out,
                         kin_error *err) {
  const kin_query *q = f->query;
  bool any = q->ann && strcmp(q->ann, "auto") == 0;
  bool exact = !q->ann || strcmp(q->ann, "off") == 0 || strcmp(q->ann, "Flat") == 0;
  kin_ann_query ann = {any ? NULL : q->ann, q->ann_probes, q->ann_ef, q->ann_candidates};
  kin_index_query query = {vectors, n, k, f->words ? &f->rows : NULL, exact ? NULL : &ann};
  return kin_index_search(f->store->index, &query, out, n_out, err);
}

static kin_status read_vectors(kin_find *f, const kin_match *matches, size_t n, float *out, kin_error *err) {
  kin_status status = KIN_OK;
  for (size_t i = 0; status == KIN_OK && i < n; i++)
    status = kin_index_get(f->store->index, matches[i].id, matches[i].row, out + i * f->dim, err);
  return status;
}

static kin_status read_item(kin_find *f, int64_t id, double *out, kin_error *err) {
  sqlite3_stmt *s;
  bool row, any = false;
  float *one = kin_array(f->dim, sizeof *one);
  if (!one) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a vector of %zu floats", f->dim);
  for (size_t i = 0; i < f->dim; i++) out[i] = 0;
  kin_status status = kin_sql_bind(f->store, KIN_SQL_VECTOR_ROWS, &s, err, "ii", f->store->collection.id, id);
  while (status == KIN_OK && (status = kin_sql_step(f->store, s, &row, err)) == KIN_OK && row) {
    any = true;
    status = kin_index_get(f->store->index, id, (uint64_t)sqlite3_column_int64(s, 0), one, err);
    for (size_t i = 0; status == KIN_OK && i < f->dim; i++) out[i] += (double)one[i];
  }
  free(one);
  if (status != KIN_OK || any) return status;
  return kin_fail(err, KIN_ERR_NOT_FOUND, "%s: no item %lld in the collection of %s", f->store->path, (long long)id,
                  f->store->collection.model_path);
}

static kin_status fill(kin_find *f, const kin_match *match, kin_hit *hit, kin_error *err) {
  kin_store *store = f->store;
  sqlite3_stmt *s;
  bool row;
  kin_status status = kin_sql_bind(store, KIN_SQL_READ_HIT, &s, err, "ii", store->collection.id, (int64_t)match->row);
  if (status == KIN_OK) status = kin_sql_step(store, s, &row, err);
  if (status != KIN_OK) return status;
  if (!row)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: the store is damaged: a vector of item %lld, which isn't there",
                    store->path, (long long)match->id);
  const char *path = (const char *)sqlite3_column_text(s, 0), *passage = (const char *)sqlite3_column_text(s, 5);
  *hit = (kin_hit){.id = match->id,
                   .path = path ? kin_strdup(path) : NULL,
                   .width = (uint32_t)sqlite3_column_int64(s, 1),
                   .height = (uint32_t)sqlite3_column_int64(s, 2),
                   .line = (uint64_t)sqlite3_column_int64(s, 3),
                   .offset = (uint64_t)sqlite3_column_int64(s, 4),
                   .passage = passage ? kin_strdup(passage) : NULL};
  sqlite3_reset(s);
  if (hit->path && (hit->passage || !passage)) return KIN_OK;
  free(hit->path);
  free(hit->passage);
  return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", store->path);
}

const kin_finder kin_sql_finder = {.begin = begin,
                                   .end = end,
                                   .search = search,
                                   .search_words = kin_words_search,
                                   .read_vectors = read_vectors,
                                   .read_item = read_item,
                                   .fill = fill};

kin_status kin_store_item_path(const char *path, char **out, kin_error *err) {
  if (!*path) return kin_fail(err, KIN_ERR_ARGUMENT, "the path of the item is empty");
  kin_status status = kin_store_absolute_path(path, out, err);
  if (status != KIN_ERR_IO || *path != '/') return status;
  *out = kin_strdup(path); /* even its folder is gone */
  return *out ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", path);
}

kin_status kin_store_find_item(kin_store *store, const char *path, int64_t *out, kin_error *err) {
  if (store->remote) return kin_remote_find_item(store, path, out, err);
  char *absolute = NULL;
  sqlite3_stmt *s;
  bool row;
  kin_status status = kin_store_item_path(path, &absolute, err);
  if (status == KIN_OK) status = kin_sql_bind(store, KIN_SQL_FIND_ITEM, &s, err, "s", absolute);
  if (status == KIN_OK) status = kin_sql_step(store, s, &row, err);
  if (status == KIN_OK && row) {
    *out = sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
  } else if (status == KIN_OK) {
    status = kin_fail(err, KIN_ERR_NOT_FOUND, "%s: isn't in the store %s", absolute, store->path);
  }
  free(absolute);
  return status;
}
