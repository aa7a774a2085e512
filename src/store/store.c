/* Opening, closing and searching a store. */
#include "store/store.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

kin_status kin_store_absolute_path(const char *path, char **out, kin_error *err) {
  *out = realpath(path, NULL);
  if (*out) return KIN_OK;
  if (errno != ENOENT) return kin_fail_errno(err, errno, "can't open %s", path);
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  if (*name == '\0') return kin_fail(err, KIN_ERR_ARGUMENT, "\"%s\" is a folder's name, not a file's", path);
  char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : kin_strdup(".");
  char *resolved = folder ? realpath(folder, NULL) : NULL;
  kin_status status = KIN_OK;
  if (!folder)
    status = kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", path);
  else if (!resolved)
    status = kin_fail_errno(err, errno, "can't open the folder of %s", path);
  else if (!(*out = kin_format("%s/%s", strcmp(resolved, "/") == 0 ? "" : resolved, name)))
    status = kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", path);
  free(folder);
  free(resolved);
  return status;
}

static kin_status open_files(kin_store *store, const char *path, kin_error *err) {
  kin_status status = kin_store_absolute_path(path, &store->path, err);
  if (status == KIN_OK && !store->writable && !kin_file_exists(store->path))
    status = kin_fail(err, KIN_ERR_IO, "%s: no such store; make it with kindred index", store->path);
  if (status == KIN_OK && store->writable) status = kin_lock_take(store->path, &store->lock, err);
  if (status == KIN_OK) status = kin_sql_open(store, err);
  if (status == KIN_OK) status = kin_sql_transact(store, KIN_SQL_BEGIN_READ, err);
  if (status != KIN_OK) return status;
  status = kin_store_refresh(store, err);
  kin_sql_rollback(store);
  return status;
}

kin_status kin_store_open(kin_context *context, const char *path, kin_store_mode mode, kin_store **out,
                          kin_error *err) {
  *out = NULL;
  if (!path || !*path) return kin_fail(err, KIN_ERR_ARGUMENT, "the path of the store is empty");
  kin_store *store = calloc(1, sizeof *store);
  if (!store) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", path);
  store->context = context;
  store->writable = mode == KIN_STORE_WRITE;
  store->lock = -1;
  kin_status status = open_files(store, path, err);
  if (status != KIN_OK) {
    kin_store_close(store);
    return status;
  }
  *out = store;
  return KIN_OK;
}

void kin_store_close(kin_store *store) {
  if (!store) return;
  kin_index_close(store->index);
  kin_sql_close(store);
  kin_lock_release(store->lock);
  free(store->collection.model_path);
  free(store->collection.vectors_path);
  free(store->path);
  free(store);
}

static kin_status read_holes(kin_store *store, const kin_collection *c, uint64_t **out, size_t *n_out, kin_error *err) {
  *out = NULL;
  *n_out = 0;
  sqlite3_stmt *s;
  bool row;
  size_t capacity = 0;
  kin_status status = kin_sql_bind(store, KIN_SQL_READ_HOLES, &s, err, "i", c->id);
  if (status == KIN_OK) status = kin_sql_step(store, s, &row, err);
  while (status == KIN_OK && row) {
    if (!kin_grow((void **)out, &capacity, *n_out + 1, sizeof **out)) {
      sqlite3_reset(s);
      return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", store->path);
    }
    (*out)[(*n_out)++] = (uint64_t)sqlite3_column_int64(s, 0);
    status = kin_sql_step(store, s, &row, err);
  }
  return status;
}

/* Read the collection into `c`, whose strings must be NULL; c->id stays 0 when there is none. */
static kin_status read_collection(kin_store *store, kin_collection *c, kin_error *err) {
  sqlite3_stmt *s;
  bool row;
  kin_status status = kin_sql_bind(store, KIN_SQL_READ_COLLECTION, &s, err, "");
  if (status == KIN_OK) status = kin_sql_step(store, s, &row, err);
  if (status != KIN_OK || !row) return status;
  c->id = sqlite3_column_int64(s, 0);
  const char *id = (const char *)sqlite3_column_text(s, 1), *model = (const char *)sqlite3_column_text(s, 2);
  const char *suffix = (const char *)sqlite3_column_text(s, 3);
  if (id) strncpy(c->model_id, id, sizeof c->model_id - 1);
  c->model_path = model ? kin_strdup(model) : NULL;
  c->vectors_path = suffix ? kin_format("%s%s", store->path, suffix) : NULL;
  c->dim = (size_t)sqlite3_column_int64(s, 4);
  c->rows = (uint64_t)sqlite3_column_int64(s, 5);
  c->state = (uint64_t)sqlite3_column_int64(s, 6);
  sqlite3_reset(s);
  if (!c->model_path || !c->vectors_path) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", store->path);
  return KIN_OK;
}

static kin_status refresh_index(kin_store *store, const kin_collection *c, kin_error *err) {
  kin_index_state state = {.rows = c->rows};
  uint64_t *holes;
  kin_status status = read_holes(store, c, &holes, &state.n_holes, err);
  state.holes = holes;
  if (status == KIN_OK && store->index) {
    status = kin_index_refresh(store->index, &state, err);
  } else if (status == KIN_OK) {
    kin_vectors_key key = {.collection = c->id, .dim = c->dim};
    memcpy(key.uuid, store->uuid, sizeof key.uuid);
    status = kin_index_open_flat(store->context, c->vectors_path, store->writable, &key, &state, &store->index, err);
  }
  free(holes);
  return status;
}

kin_status kin_store_refresh(kin_store *store, kin_error *err) {
  kin_collection c = {0};
  kin_status status = read_collection(store, &c, err);
  if (status == KIN_OK && c.id && (!store->index || c.state != store->collection.state))
    status = refresh_index(store, &c, err);
  if (status != KIN_OK) {
    free(c.model_path);
    free(c.vectors_path);
    return status;
  }
  free(store->collection.model_path);
  free(store->collection.vectors_path);
  store->collection = c;
  return KIN_OK;
}

kin_status kin_store_get_stats(kin_store *store, kin_store_stats *out, kin_error *err) {
  *out = (kin_store_stats){0};
  kin_status status = kin_sql_transact(store, KIN_SQL_BEGIN_READ, err);
  if (status == KIN_OK) status = kin_store_refresh(store, err);
  kin_sql_rollback(store);
  if (status != KIN_OK || !store->index) return status;
  const kin_collection *c = &store->collection;
  kin_index_stats index;
  kin_index_statistics(store->index, &index);
  out->items = (size_t)index.items;
  out->dim = c->dim;
  memcpy(out->model_id, c->model_id, sizeof out->model_id);
  strncpy(out->model_path, c->model_path, sizeof out->model_path - 1);
  return KIN_OK;
}

kin_status kin_store_read_vector(kin_store *store, int64_t id, float *out, kin_error *err) {
  sqlite3_stmt *s;
  bool row = false;
  kin_status status = kin_sql_transact(store, KIN_SQL_BEGIN_READ, err);
  if (status == KIN_OK) status = kin_store_refresh(store, err);
  if (status == KIN_OK) status = kin_sql_bind(store, KIN_SQL_VECTOR_ROW, &s, err, "ii", store->collection.id, id);
  if (status == KIN_OK) status = kin_sql_step(store, s, &row, err);
  if (status == KIN_OK)
    status = row ? kin_index_get(store->index, id, (uint64_t)sqlite3_column_int64(s, 0), out, err)
                 : kin_fail(err, KIN_ERR_NOT_FOUND, "%s: no item %lld", store->path, (long long)id);
  kin_sql_rollback(store);
  return status;
}

/* ---------------------------------------------------------------- search */

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
  for (size_t i = 0; i < hits->n; i++) free(hits->hits[i].path);
  free(hits);
}

static kin_status fill_hit(kin_store *store, kin_match match, kin_hit *hit, kin_error *err) {
  sqlite3_stmt *s;
  bool row;
  kin_status status = kin_sql_bind(store, KIN_SQL_READ_ITEM, &s, err, "i", match.id);
  if (status == KIN_OK) status = kin_sql_step(store, s, &row, err);
  if (status != KIN_OK) return status;
  if (!row)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: the store is damaged: a vector of item %lld, which isn't there",
                    store->path, (long long)match.id);
  const char *path = (const char *)sqlite3_column_text(s, 0);
  *hit = (kin_hit){.id = match.id,
                   .score = match.score,
                   .path = path ? kin_strdup(path) : NULL,
                   .width = (uint32_t)sqlite3_column_int64(s, 1),
                   .height = (uint32_t)sqlite3_column_int64(s, 2)};
  sqlite3_reset(s);
  return hit->path ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", store->path);
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
  if (status == KIN_OK && k) status = kin_index_search(store->index, query, k, matches, &n, err);
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

kin_status kin_store_search(kin_store *store, const float *query, size_t dim, size_t k, kin_hits **out,
                            kin_error *err) {
  *out = NULL;
  float *unit = NULL;
  kin_status status = kin_sql_transact(store, KIN_SQL_BEGIN_READ, err);
  if (status == KIN_OK) status = kin_store_refresh(store, err);
  if (status == KIN_OK && store->index && dim != store->collection.dim)
    status = kin_fail(err, KIN_ERR_MISMATCH,
                      "%s: the query has %zu floats, the store's vectors %zu; query with the "
                      "model that made them (%s)",
                      store->path, dim, store->collection.dim, store->collection.model_path);
  if (status == KIN_OK) status = unit_vector(query, dim, &unit, err);
  if (status == KIN_OK) status = find_hits(store, unit, k, out, err);
  kin_sql_rollback(store);
  kin_free_aligned(unit);
  return status;
}
