/* All vectors of an index, in the order of a store in files. */
#include "store/elastic_parts.h"
#include "store/export.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct outgoing {
  kin_store *store;
  float *vector;
  kin_export_visit visit;
  void *user;
} outgoing;

static const char *text_of(const json_t *source, const char *key) {
  return json_string_value(json_object_get(source, key));
}

static int64_t number_of(const json_t *source, const char *key) {
  return json_integer_value(json_object_get(source, key));
}

/* Where the field holds tokens the text is beside it. */
static const char *caption_of(const json_t *source, const char *key) {
  char whole[40];
  snprintf(whole, sizeof whole, "%s" KIN_ELASTIC_WHOLE, key);
  const char *text = text_of(source, whole);
  return text ? text : text_of(source, key);
}

/* NULL: out of memory. */
static json_t *metadata_of(const json_t *source) {
  const json_t *meta = json_object_get(source, "meta");
  json_t *out = json_object();
  bool ok = out != NULL;
  for (size_t i = 0; ok && i < json_array_size(meta); i++) {
    const json_t *entry = json_array_get(meta, i);
    const char *key = text_of(entry, "key");
    if (key) ok = kin_export_add_value(out, key, json_object_get(entry, "text"));
  }
  if (ok) return out;
  json_decref(out);
  return NULL;
}

static kin_status export_hit(void *user, const json_t *hit, kin_error *err) {
  const outgoing *e = user;
  const json_t *source = json_object_get(hit, "_source");
  char *path = kin_remote_path(source);
  json_t *metadata = metadata_of(source);
  kin_status status = KIN_OK;
  if (!path || !metadata)
    status = kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", e->store->path);
  else if (!kin_remote_vector(e->store, hit, e->vector, e->store->collection.dim))
    status = kin_fail(err, KIN_ERR_FORMAT, "%s: a document without its vector", e->store->path);
  const kin_export_row row = {.path = path,
                              .id = number_of(source, "item"),
                              .size = number_of(source, "size"),
                              .mtime_ns = number_of(source, "mtime_ns"),
                              .sha256 = text_of(source, "sha256"),
                              .width = number_of(source, "width"),
                              .height = number_of(source, "height"),
                              .given = caption_of(source, "caption_given"),
                              .sidecar = caption_of(source, "caption_sidecar"),
                              .embedded = caption_of(source, "caption_embedded"),
                              .metadata = metadata,
                              .ordinal = number_of(source, "ordinal"),
                              .line = number_of(source, "line"),
                              .offset = number_of(source, "offset"),
                              .passage = text_of(source, "passage"),
                              .vector = e->vector};
  if (status == KIN_OK) status = e->visit(e->user, &row, err);
  json_decref(metadata);
  free(path);
  return status;
}

kin_status kin_remote_export(kin_store *store, kin_export_visit visit, void *user, kin_error *err) {
  outgoing e = {store, kin_array(store->collection.dim, sizeof *e.vector), visit, user};
  json_t *moment = NULL;
  kin_status status = e.vector ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for a vector", store->path);
  if (status == KIN_OK) status = kin_remote_open_moment(store, &moment, err);
  if (status == KIN_OK)
    status = kin_remote_each(store, json_pack("{s{}}", "match_all"),
                             json_pack("{s[sss]}", "excludes", "vector", "name_words", "passage_words"), true, moment,
                             export_hit, &e, err);
  kin_remote_close_moment(store, moment);
  free(e.vector);
  return status;
}
