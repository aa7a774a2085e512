/* kin_store_export: the vectors of a collection with what the store knows of their files. */
#include "embed/path_json.h"
#include "embed/vector_writer.h"
#include "store/elastic.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct export {
  kin_store *store;
  kin_export_options options;
  kin_vector_writer *writer;
  uint64_t done, total;
}
export;

/* What kin_store_import must know of the model. */
static json_t *describe_model(const kin_collection *c) {
  json_t *out =
      json_pack("{ss sI sb sb ss ss}", "model_id", c->model_id, "dim", (json_int_t)c->dim, "image", c->image, "text",
                c->text, "precision", kin_precision_name(c->precision), "pooling", kin_pooling_name(c->pooling));
  if (out && kin_json_set_text(out, "model", c->model_path)) return out;
  json_decref(out);
  return NULL;
}

static bool set_text(json_t *object, const char *key, sqlite3_stmt *s, int column) {
  const char *text = (const char *)sqlite3_column_text(s, column);
  return !text || kin_json_set_text(object, key, text);
}

static bool set_number(json_t *object, const char *key, sqlite3_stmt *s, int column) {
  return json_object_set_new(object, key, json_integer(sqlite3_column_int64(s, column))) == 0;
}

static bool set_hash(json_t *object, sqlite3_stmt *s, int column) {
  const uint8_t *hash = sqlite3_column_blob(s, column);
  char hex[65] = "";
  for (int i = 0; i < 32 && hash && sqlite3_column_bytes(s, column) == 32; i++)
    snprintf(hex + 2 * i, 3, "%02x", hash[i]);
  return json_object_set_new(object, "sha256", json_string(hex)) == 0;
}

/* [["key", "value"], ...] of SQL as {"key": ["value", ...]}. */
static bool set_metadata(json_t *object, const char *pairs) {
  json_t *list = json_loads(pairs, 0, NULL), *out = json_object(), *pair;
  bool ok = list && out;
  size_t i;
  json_array_foreach(list, i, pair) {
    const char *key = json_string_value(json_array_get(pair, 0));
    if (ok && key && !json_object_get(out, key)) ok = json_object_set_new(out, key, json_array()) == 0;
    if (ok && key) ok = json_array_append(json_object_get(out, key), json_array_get(pair, 1)) == 0;
  }
  if (ok && json_object_size(out)) ok = json_object_set(object, "metadata", out) == 0;
  json_decref(list);
  json_decref(out);
  return ok;
}

/* What is told once of a file, with its first vector. */
static bool describe_file(json_t *out, sqlite3_stmt *s) {
  json_t *captions = json_object();
  bool ok = captions && set_number(out, "id", s, 0) && set_number(out, "size", s, 3) &&
            set_number(out, "mtime_ns", s, 4) && set_hash(out, s, 5) && set_number(out, "width", s, 6) &&
            set_number(out, "height", s, 7) && set_text(captions, "given", s, 11) &&
            set_text(captions, "sidecar", s, 12) && set_text(captions, "embedded", s, 13) &&
            set_metadata(out, (const char *)sqlite3_column_text(s, 14));
  if (ok && json_object_size(captions)) ok = json_object_set(out, "captions", captions) == 0;
  json_decref(captions);
  return ok;
}

static json_t *describe(sqlite3_stmt *s) {
  json_t *out = json_object();
  bool ok = out && set_text(out, "path", s, 2);
  if (ok && sqlite3_column_int64(s, 15) == 0) ok = describe_file(out, s);
  if (ok && sqlite3_column_type(s, 10) != SQLITE_NULL)
    ok = set_number(out, "line", s, 8) && set_number(out, "offset", s, 9) && set_text(out, "passage", s, 10);
  if (ok) return out;
  json_decref(out);
  return NULL;
}

static kin_status write_row(export *e, sqlite3_stmt *s, float *vector, kin_error *err) {
  kin_status status =
      kin_index_get(e->store->index, sqlite3_column_int64(s, 0), (uint64_t)sqlite3_column_int64(s, 1), vector, err);
  if (status != KIN_OK) return status;
  const bool lines = kin_vector_writer_is_json(e->writer);
  json_t *row = lines ? describe(s) : NULL;
  const char *path = (const char *)sqlite3_column_text(s, 2);
  if ((lines && !row) || !path) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", e->store->path);
  status = kin_vector_writer_add_object(e->writer, vector, row, err);
  json_decref(row);
  e->done++;
  if (status == KIN_OK && e->options.on_vector && !e->options.on_vector(e->options.user, path, e->done, e->total))
    status = kin_fail(err, KIN_ERR_CANCELLED, "%s: stopped", e->store->path);
  return status;
}

static kin_status write_rows(export *e, kin_error *err) {
  const kin_collection *c = &e->store->collection;
  sqlite3_stmt *s = NULL;
  bool more = false;
  float *vector = kin_array(c->dim, sizeof *vector);
  kin_status status = vector ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", e->store->path);
  if (status == KIN_OK) status = kin_sql_bind(e->store, KIN_SQL_EXPORT, &s, err, "i", c->id);
  if (status == KIN_OK) status = kin_sql_step(e->store, s, &more, err);
  while (status == KIN_OK && more) {
    status = write_row(e, s, vector, err);
    if (status == KIN_OK) status = kin_sql_step(e->store, s, &more, err);
  }
  if (s) sqlite3_reset(s);
  free(vector);
  return status;
}

static kin_status write_file(export *e, kin_error *err) {
  const kin_collection *c = &e->store->collection;
  kin_status status = kin_vector_writer_open(e->options.path, c->dim, &e->writer, err);
  if (status == KIN_OK && kin_vector_writer_is_json(e->writer)) {
    json_t *header = describe_model(c);
    status = header ? kin_vector_writer_add_line(e->writer, header, err)
                    : kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", e->store->path);
    json_decref(header);
  }
  if (status == KIN_OK) status = write_rows(e, err);
  if (status == KIN_OK) status = kin_vector_writer_commit(e->writer, err);
  kin_vector_writer_close(e->writer);
  return status;
}

kin_status kin_store_export(kin_store *store, const kin_export_options *options, uint64_t *n, kin_error *err) {
  export e = {.store = store, .options = *options};
  if (n) *n = 0;
  if (store->remote) return kin_remote_cant(store, "only a store in files is exported", err);
  kin_status status = kin_store_begin_read(store, err);
  if (status == KIN_OK && !store->collection.id)
    status = store->n_collections
                 ? kin_collections_fail(store, "choose one by its model", err)
                 : kin_fail(err, KIN_ERR_MISMATCH, "%s: is empty; fill it with kindred index", store->path);
  if (status == KIN_OK) {
    kin_index_stats stats;
    kin_index_statistics(store->index, &stats);
    e.total = stats.items;
    status = write_file(&e, err);
  }
  kin_sql_rollback(store);
  if (status == KIN_OK && n) *n = e.done;
  return status;
}
