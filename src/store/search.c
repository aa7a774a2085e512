/* Searching the chosen collection. */
#include "store/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct kin_hits {
  size_t n;
  kin_hit hits[];
};

size_t kin_hits_count(const kin_hits *hits) {
  return hits->n;
}

const kin_hit *kin_hits_get(const kin_hits *hits, size_t i) {
  return i < hits->n ? &hits->hits[i] : NULL;
}

void kin_hits_close(kin_hits *hits) {
  if (!hits) return;
  for (size_t i = 0; i < hits->n; i++) {
    free(hits->hits[i].path);
    free(hits->hits[i].passage);
  }
  free(hits);
}

static kin_status fill_hit(kin_store *store, kin_match match, kin_hit *hit, kin_error *err) {
  sqlite3_stmt *s;
  bool row;
  kin_status status = kin_sql_bind(store, KIN_SQL_READ_HIT, &s, err, "ii", store->collection.id, (int64_t)match.row);
  if (status == KIN_OK) status = kin_sql_step(store, s, &row, err);
  if (status != KIN_OK) return status;
  if (!row)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: the store is damaged: a vector of item %lld, which isn't there",
                    store->path, (long long)match.id);
  const char *path = (const char *)sqlite3_column_text(s, 0), *passage = (const char *)sqlite3_column_text(s, 5);
  *hit = (kin_hit){.id = match.id,
                   .score = match.score,
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

/* The `k` best for the unit vector `query`, in the state of the open transaction. */
static kin_status find_hits(kin_store *store, const float *query, size_t k, kin_hits **out, kin_error *err) {
  kin_index_stats stats = {0};
  if (store->index) kin_index_statistics(store->index, &stats);
  if (k > stats.items) k = (size_t)stats.items;
  kin_match *matches = kin_array(k, sizeof *matches);
  kin_hits *hits = matches && k < SIZE_MAX / sizeof(kin_hit) / 2 ? malloc(sizeof *hits + k * sizeof(kin_hit)) : NULL;
  size_t n = 0;
  kin_status status = KIN_OK;
  if (!hits)
    status = kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for %zu results", store->path, k);
  else
    hits->n = 0;
  if (status == KIN_OK && k)
    status = kin_index_search(store->index, &(kin_index_query){query, 1, k, NULL}, matches, &n, err);
  for (size_t i = 0; status == KIN_OK && i < n; i++)
    if ((status = fill_hit(store, matches[i], &hits->hits[i], err)) == KIN_OK) hits->n++;
  free(matches);
  if (status != KIN_OK) {
    kin_hits_close(hits);
    return status;
  }
  *out = hits;
  return KIN_OK;
}

/* `query` at length 1, in a new array; all zeros stay so. */
static kin_status unit_vector(const float *query, size_t dim, float **out, kin_error *err) {
  double sum = 0;
  for (size_t i = 0; i < dim; i++) sum += (double)query[i] * (double)query[i];
  if (!isfinite(sum)) return kin_fail(err, KIN_ERR_ARGUMENT, "the query vector isn't finite");
  *out = kin_alloc_aligned(dim * sizeof **out);
  if (!*out) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a query of %zu floats", dim);
  double scale = sum > 0 ? 1 / sqrt(sum) : 0;
  for (size_t i = 0; i < dim; i++) (*out)[i] = (float)((double)query[i] * scale);
  return KIN_OK;
}

/* Whether vectors of `dim` floats can be compared with the chosen collection's; an empty store takes any. */
static kin_status check_query(kin_store *store, size_t dim, kin_error *err) {
  const kin_collection *c = &store->collection;
  if (!c->id && store->n_collections) return kin_collections_fail(store, "name the model to search with", err);
  if (!c->id || dim == c->dim) return KIN_OK;
  return kin_fail(
      err, KIN_ERR_MISMATCH,
      "%s: the query has %zu floats, the collection's vectors %zu; query with the model that made them (%s)",
      store->path, dim, c->dim, c->model_path);
}

kin_status kin_store_search(kin_store *store, const float *query, size_t dim, size_t k, kin_hits **out,
                            kin_error *err) {
  *out = NULL;
  float *unit = NULL;
  kin_status status = kin_store_begin_read(store, err);
  if (status == KIN_OK) status = check_query(store, dim, err);
  if (status == KIN_OK) status = unit_vector(query, dim, &unit, err);
  if (status == KIN_OK) status = find_hits(store, unit, k, out, err);
  kin_sql_rollback(store);
  kin_free_aligned(unit);
  return status;
}
