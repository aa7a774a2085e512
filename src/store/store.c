/* Opening and closing a store, and following what others commit. */
#include "elastic/elastic.h"
#include "store/elastic.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Between a state's reading and the opening of its vector file another process may have compacted the store. */
#define TRIES 3

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

static void collection_free(kin_collection *c) {
  free(c->model_path);
  free(c->text_model_path);
  free(c->vectors_path);
}

void kin_collections_free(kin_collection *collections, size_t n) {
  for (size_t i = 0; i < n; i++) collection_free(&collections[i]);
  free(collections);
}

static kin_status remove_strays(kin_store *store, kin_error *err) {
  kin_collection *all;
  size_t n;
  kin_status status = kin_collections_read(store, 0, &all, &n, err);
  if (status != KIN_OK) return status;
  kin_files_remove_strays(store, all, n);
  kin_collections_free(all, n);
  return KIN_OK;
}

static kin_status open_files(kin_store *store, const char *path, kin_error *err) {
  kin_status status = kin_store_absolute_path(path, &store->path, err);
  if (status == KIN_OK && !store->writable && !kin_file_exists(store->path))
    status = kin_fail(err, KIN_ERR_IO, "%s: no such store; make it with kindred index", store->path);
  if (status == KIN_OK && store->writable) status = kin_lock_take(store->path, &store->lock, err);
  if (status == KIN_OK) status = kin_sql_open(store, err);
  if (status != KIN_OK) return status;
  status = kin_store_begin_read(store, err);
  if (status == KIN_OK && store->writable) status = remove_strays(store, err);
  kin_sql_rollback(store);
  return status;
}

kin_status kin_store_open(kin_context *context, const char *path, kin_store_mode mode, kin_store **out,
                          kin_error *err) {
  return kin_store_open_with(context, path, mode, NULL, out, err);
}

kin_status kin_store_open_with(kin_context *context, const char *path, kin_store_mode mode,
                               const kin_elastic_options *options, kin_store **out, kin_error *err) {
  *out = NULL;
  if (!path || !*path) return kin_fail(err, KIN_ERR_ARGUMENT, "the path of the store is empty");
  kin_store *store = calloc(1, sizeof *store);
  if (!store) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", path);
  store->context = context;
  store->writable = mode == KIN_STORE_WRITE;
  store->lock = -1;
  kin_status status =
      kin_elastic_is_address(path) ? kin_remote_open(store, path, options, err) : open_files(store, path, err);
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
  kin_remote_close(store->remote);
  kin_sql_close(store);
  kin_lock_release(store->lock);
  collection_free(&store->collection);
  free(store->path);
  free(store);
}

kin_vectors_key kin_store_vectors_key(const kin_store *store, const kin_collection *c) {
  kin_vectors_key key = {.collection = c->id, .dim = c->dim};
  memcpy(key.uuid, store->uuid, sizeof key.uuid);
  return key;
}

kin_status kin_store_read_holes(kin_store *store, const kin_collection *c, uint64_t **out, size_t *n_out,
                                kin_error *err) {
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

static kin_status refresh_index(kin_store *store, const kin_collection *c, kin_error *err) {
  kin_index_state state = {.rows = c->rows};
  uint64_t *holes;
  kin_status status = kin_store_read_holes(store, c, &holes, &state.n_holes, err);
  state.holes = holes;
  if (status == KIN_OK && store->index) {
    status = kin_index_refresh(store->index, &state, err);
  } else if (status == KIN_OK) {
    kin_vectors_key key = kin_store_vectors_key(store, c);
    status = kin_index_open_flat(store->context, c->vectors_path, store->writable, &key, &state, &store->index, err);
  }
  free(holes);
  return status;
}

/* Make `c`, whose strings pass on, the chosen collection. */
static kin_status take_collection(kin_store *store, kin_collection *c, kin_error *err) {
  kin_status status = KIN_OK;
  const char *path = store->collection.vectors_path;
  if (c->id != store->collection.id || (path && strcmp(path, c->vectors_path) != 0)) {
    kin_index_close(store->index);
    store->index = NULL;
  }
  if (c->id && !store->remote && (!store->index || c->state != store->collection.state))
    status = refresh_index(store, c, err);
  if (status != KIN_OK) return status;
  collection_free(&store->collection);
  store->collection = *c;
  *c = (kin_collection){0};
  return KIN_OK;
}

kin_status kin_store_refresh(kin_store *store, kin_error *err) {
  kin_collection *all, *chosen = NULL, none = {0};
  kin_status status = kin_collections_read(store, 0, &all, &store->n_collections, err);
  if (status != KIN_OK) return status;
  size_t n = store->n_collections;
  for (size_t i = 0; i < n; i++)
    if (store->selected ? all[i].id == store->selected : n == 1) chosen = &all[i];
  if (store->selected && !chosen)
    status =
        kin_fail(err, KIN_ERR_NOT_FOUND, "%s: collection %lld was dropped", store->path, (long long)store->selected);
  else
    status = take_collection(store, chosen ? chosen : &none, err);
  kin_collections_free(all, n);
  return status;
}

kin_status kin_store_begin_read(kin_store *store, kin_error *err) {
  kin_status status = KIN_OK;
  for (int i = 0; i < TRIES; i++) {
    kin_sql_rollback(store);
    status = kin_sql_transact(store, KIN_SQL_BEGIN_READ, err);
    if (status == KIN_OK) status = kin_store_refresh(store, err);
    if (status != KIN_ERR_IO) break;
  }
  return status;
}

kin_status kin_store_read_vector(kin_store *store, int64_t id, float *out, kin_error *err) {
  sqlite3_stmt *s;
  bool row = false;
  kin_status status = kin_store_begin_read(store, err);
  if (status == KIN_OK) status = kin_sql_bind(store, KIN_SQL_VECTOR_ROWS, &s, err, "ii", store->collection.id, id);
  if (status == KIN_OK) status = kin_sql_step(store, s, &row, err);
  if (status == KIN_OK)
    status = row ? kin_index_get(store->index, id, (uint64_t)sqlite3_column_int64(s, 0), out, err)
                 : kin_fail(err, KIN_ERR_NOT_FOUND, "%s: no item %lld", store->path, (long long)id);
  kin_sql_rollback(store);
  return status;
}
