/* kin_store_export: the vectors of a collection with what the store knows of their files. */
#include "store/export.h"

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

static bool set_text(json_t *object, const char *key, const char *text) {
  return !text || kin_json_set_text(object, key, text);
}

static bool set_number(json_t *object, const char *key, int64_t value) {
  return json_object_set_new(object, key, json_integer(value)) == 0;
}

/* What is told once of a file, with its first vector. */
static bool describe_file(json_t *out, const kin_export_row *row) {
  json_t *captions = json_object();
  bool ok = captions && set_number(out, "id", row->id) && set_number(out, "size", row->size) &&
            set_number(out, "mtime_ns", row->mtime_ns) && set_text(out, "sha256", row->sha256) &&
            set_number(out, "width", row->width) && set_number(out, "height", row->height) &&
            set_text(captions, "given", row->given) && set_text(captions, "sidecar", row->sidecar) &&
            set_text(captions, "embedded", row->embedded);
  if (ok && json_object_size(row->metadata)) ok = json_object_set(out, "metadata", row->metadata) == 0;
  if (ok && json_object_size(captions)) ok = json_object_set(out, "captions", captions) == 0;
  json_decref(captions);
  return ok;
}

static json_t *describe(const kin_export_row *row) {
  json_t *out = json_object();
  bool ok = out && set_text(out, "path", row->path) && (row->ordinal || describe_file(out, row));
  if (ok && row->passage)
    ok = set_number(out, "line", row->line) && set_number(out, "offset", row->offset) &&
         set_text(out, "passage", row->passage);
  if (ok) return out;
  json_decref(out);
  return NULL;
}

static kin_status write_row(void *user, const kin_export_row *row, kin_error *err) {
  export *e = user;
  const bool lines = kin_vector_writer_is_json(e->writer);
  json_t *object = lines ? describe(row) : NULL;
  if (lines && !object) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", e->store->path);
  kin_status status = kin_vector_writer_add_object(e->writer, row->vector, object, err);
  json_decref(object);
  e->done++;
  if (status == KIN_OK && e->options.on_vector && !e->options.on_vector(e->options.user, row->path, e->done, e->total))
    status = kin_fail(err, KIN_ERR_CANCELLED, "%s: stopped", e->store->path);
  return status;
}

/* ------------------------------------------------------------------ out of SQLite */

bool kin_export_add_value(json_t *metadata, const char *key, json_t *value) {
  json_t *known = json_object_get(metadata, key);
  if (!known && (json_object_set_new(metadata, key, json_array()) != 0 || !(known = json_object_get(metadata, key))))
    return false;
  return json_array_append(known, value) == 0;
}

/* [["key", "value"], ...] as {"key": ["value", ...]}; NULL: out of memory. */
static json_t *read_metadata(const char *pairs) {
  json_t *list = json_loads(pairs, 0, NULL), *out = json_object(), *pair;
  bool ok = list && out;
  size_t i;
  json_array_foreach(list, i, pair) {
    const char *key = json_string_value(json_array_get(pair, 0));
    if (ok && key) ok = kin_export_add_value(out, key, json_array_get(pair, 1));
  }
  json_decref(list);
  if (ok) return out;
  json_decref(out);
  return NULL;
}

static void read_hash(sqlite3_stmt *s, int column, char out[65]) {
  const uint8_t *hash = sqlite3_column_blob(s, column);
  out[0] = '\0';
  for (int i = 0; i < 32 && hash && sqlite3_column_bytes(s, column) == 32; i++)
    snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

static const char *text_of(sqlite3_stmt *s, int column) {
  return (const char *)sqlite3_column_text(s, column);
}

static kin_status read_row(export *e, sqlite3_stmt *s, float *vector, kin_error *err) {
  char sha256[65];
  const int64_t id = sqlite3_column_int64(s, 0);
  kin_status status = kin_index_get(e->store->index, id, (uint64_t)sqlite3_column_int64(s, 1), vector, err);
  if (status != KIN_OK) return status;
  read_hash(s, 5, sha256);
  kin_export_row row = {.path = text_of(s, 2),
                        .id = id,
                        .size = sqlite3_column_int64(s, 3),
                        .mtime_ns = sqlite3_column_int64(s, 4),
                        .sha256 = sha256,
                        .width = sqlite3_column_int64(s, 6),
                        .height = sqlite3_column_int64(s, 7),
                        .line = sqlite3_column_int64(s, 8),
                        .offset = sqlite3_column_int64(s, 9),
                        .passage = text_of(s, 10),
                        .given = text_of(s, 11),
                        .sidecar = text_of(s, 12),
                        .embedded = text_of(s, 13),
                        .metadata = read_metadata(text_of(s, 14)),
                        .ordinal = sqlite3_column_int64(s, 15),
                        .vector = vector};
  status = row.path && row.metadata ? write_row(e, &row, err)
                                    : kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", e->store->path);
  json_decref(row.metadata);
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
    status = read_row(e, s, vector, err);
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
  if (status == KIN_OK) status = e->store->remote ? kin_remote_export(e->store, write_row, e, err) : write_rows(e, err);
  if (status == KIN_OK) status = kin_vector_writer_commit(e->writer, err);
  kin_vector_writer_close(e->writer);
  return status;
}

static kin_status count(export *e, kin_error *err) {
  kin_index_stats stats;
  size_t items, vectors = 0;
  kin_status status = KIN_OK;
  if (e->store->remote) {
    status = kin_remote_count(e->store, &items, &vectors, err);
    e->total = vectors;
  } else {
    kin_index_statistics(e->store->index, &stats);
    e->total = stats.items;
  }
  return status;
}

kin_status kin_store_export(kin_store *store, const kin_export_options *options, uint64_t *n, kin_error *err) {
  export e = {.store = store, .options = *options};
  if (n) *n = 0;
  if (store->remote && !*store->collection.model_id)
    return kin_remote_cant(store, "only an index of kindred's own is exported", err);
  kin_status status = kin_store_begin_read(store, err);
  if (status == KIN_OK && !store->collection.id)
    status = store->n_collections
                 ? kin_collections_fail(store, "choose one by its model", err)
                 : kin_fail(err, KIN_ERR_MISMATCH, "%s: is empty; fill it with kindred index", store->path);
  if (status == KIN_OK) status = count(&e, err);
  if (status == KIN_OK) status = write_file(&e, err);
  kin_sql_rollback(store);
  if (status == KIN_OK && n) *n = e.done;
  return status;
}
