/* What users give items of an index: captions and metadata. Changes are gathered, and sent once all are known. */
#include "embed/path_json.h"
#include "store/elastic_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static kin_status no_memory(const kin_store *store, kin_error *err) {
  return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for what is given", store->path);
}

kin_status kin_remote_read_metadata(kin_store *store, int64_t item, json_t **out, kin_error *err) {
  char name[48];
  json_t *answer = NULL;
  kin_remote_name(item, 0, name);
  char *call = kin_format("%s/_doc/%s?_source_includes=meta", store->remote->address.index, name);
  kin_status status =
      call ? kin_elastic_call(store->remote->client, "GET", call, NULL, true, &answer, err) : no_memory(store, err);
  const json_t *meta = json_object_get(json_object_get(answer, "_source"), "meta");
  *out = NULL;
  if (status == KIN_OK) {
    *out = json_is_array(meta) ? json_copy((json_t *)meta) : json_array();
    if (!*out) status = no_memory(store, err);
  }
  free(call);
  json_decref(answer);
  return status;
}

/* The item's metadata as it will be: [{"key", "text", "number"}]. */
static kin_status metadata_of(kin_store *store, int64_t item, json_t **out, kin_error *err) {
  struct kin_remote *r = store->remote;
  char key[24];
  snprintf(key, sizeof key, "%lld", (long long)item);
  if (!r->given && !(r->given = json_object())) return no_memory(store, err);
  *out = json_object_get(r->given, key);
  if (*out) return KIN_OK;
  kin_status status = kin_remote_read_metadata(store, item, out, err);
  return status == KIN_OK && json_object_set_new(r->given, key, *out) != 0 ? no_memory(store, err) : status;
}

kin_status kin_remote_clear_key(kin_store *store, int64_t item, const char *key, kin_error *err) {
  json_t *meta;
  kin_status status = metadata_of(store, item, &meta, err);
  for (size_t i = status == KIN_OK ? json_array_size(meta) : 0; i-- > 0;) {
    const char *known = json_string_value(json_object_get(json_array_get(meta, i), "key"));
    if (known && strcmp(known, key) == 0) json_array_remove(meta, i);
  }
  return status;
}

kin_status kin_remote_add_value(kin_store *store, int64_t item, const char *key, const char *value, bool number,
                                kin_error *err) {
  json_t *meta, *entry = json_object();
  double x = number ? strtod(value, NULL) : NAN;
  kin_status status = metadata_of(store, item, &meta, err);
  bool ok = entry && kin_json_set_text(entry, "key", key) && kin_json_set_text(entry, "text", value) &&
            (!isfinite(x) || json_object_set_new(entry, "number", json_real(x)) == 0);
  if (status == KIN_OK && (!ok || json_array_append(meta, entry) != 0)) status = no_memory(store, err);
  json_decref(entry);
  return status;
}

/* ----------------------------------------------------------------------- sending */

typedef struct change {
  kin_update *u;
  int64_t item;
  json_t *fields;
} change;

static kin_status change_one(void *user, const json_t *hit, kin_error *err) {
  const change *c = user;
  uint64_t ordinal = (uint64_t)json_integer_value(json_object_get(json_object_get(hit, "_source"), "ordinal"));
  return kin_remote_change(c->u, c->item, ordinal, c->fields, err);
}

static kin_status queue_metadata(kin_update *u, const char *key, json_t *meta, kin_error *err) {
  change c = {.u = u, .item = strtoll(key, NULL, 10), .fields = json_pack("{sO}", "meta", meta)};
  if (!c.fields) return no_memory(u->store, err);
  kin_status status = kin_remote_each(u->store, json_pack("{s{sI}}", "term", "item", (json_int_t)c.item),
                                      json_pack("[s]", "ordinal"), false, NULL, change_one, &c, err);
  json_decref(c.fields);
  return status;
}

kin_status kin_remote_send_given(kin_store *store, kin_error *err) {
  struct kin_remote *r = store->remote;
  kin_update u = {.store = store};
  kin_status status = KIN_OK;
  const char *key;
  json_t *meta;
  json_object_foreach(r->given, key, meta) if (status == KIN_OK) status = queue_metadata(&u, key, meta, err);
  if (status == KIN_OK) status = kin_remote_send(&u, err);
  if (status == KIN_OK) status = kin_remote_make_visible(store, err);
  if (status == KIN_OK && u.progress.failed)
    status = kin_fail(err, KIN_ERR_IO, "%s: Elasticsearch didn't take what was given for %llu documents", store->path,
                      (unsigned long long)u.progress.failed);
  kin_remote_rollback(r);
  return status;
}

void kin_remote_rollback(struct kin_remote *r) {
  json_decref(r->given);
  r->given = NULL;
  kin_remote_clear(&r->run);
}

kin_status kin_remote_set_caption(kin_store *store, int64_t item, const char *text, kin_error *err) {
  kin_update u = {.store = store};
  json_t *fields = json_object();
  bool ok = fields && kin_remote_set_caption_field(store, fields, "caption_given", text);
  kin_status status = ok ? kin_remote_change(&u, item, 0, fields, err) : no_memory(store, err);
  json_decref(fields);
  return status;
}

/* -------------------------------------------------------------------------- each */

typedef struct walk {
  kin_store *store;
  float *vector;
  bool (*visit)(void *user, const kin_stored *item);
  void *user;
} walk;

/* As given, else as the file tells it. */
static const char *date_of(const json_t *source) {
  const json_t *meta = json_object_get(source, "meta");
  for (size_t i = 0; i < json_array_size(meta); i++) {
    const json_t *entry = json_array_get(meta, i);
    const char *key = json_string_value(json_object_get(entry, "key"));
    if (key && strcmp(key, "date") == 0) return json_string_value(json_object_get(entry, "text"));
  }
  return json_string_value(json_object_get(json_object_get(source, "exif"), "date"));
}

static kin_status visit_one(void *user, const json_t *hit, kin_error *err) {
  const walk *w = user;
  const json_t *source = json_object_get(hit, "_source");
  const size_t dim = w->store->collection.dim;
  if (!kin_remote_vector(w->store, hit, w->vector, dim))
    return kin_fail(err, KIN_ERR_FORMAT, "%s: a document without its vector", w->store->path);
  char *path = kin_remote_path(source);
  if (!path) return no_memory(w->store, err);
  const kin_stored item = {.id = json_integer_value(json_object_get(source, "item")),
                           .vector = w->vector,
                           .path = path,
                           .mtime_ns = json_integer_value(json_object_get(source, "mtime_ns")),
                           .date = date_of(source),
                           .width = (uint32_t)json_integer_value(json_object_get(source, "width")),
                           .height = (uint32_t)json_integer_value(json_object_get(source, "height")),
                           .line = (uint64_t)json_integer_value(json_object_get(source, "line")),
                           .offset = (uint64_t)json_integer_value(json_object_get(source, "offset")),
                           .passage = json_string_value(json_object_get(source, "passage"))};
  bool more = w->visit(w->user, &item);
  free(path);
  return more ? KIN_OK : kin_fail(err, KIN_ERR_CANCELLED, "%s: stopped", w->store->path);
}

kin_status kin_remote_open_moment(kin_store *store, json_t **out, kin_error *err) {
  char *call = kin_format("%s/_pit?keep_alive=5m", store->remote->address.index);
  kin_status status =
      call ? kin_elastic_call(store->remote->client, "POST", call, NULL, false, out, err) : no_memory(store, err);
  free(call);
  if (status == KIN_OK && !json_is_string(json_object_get(*out, "id")))
    status = kin_fail(err, KIN_ERR_FORMAT, "%s: a point in time without an id", store->path);
  return status;
}

void kin_remote_close_moment(kin_store *store, json_t *moment) {
  json_t *answer = NULL, *body = moment ? json_pack("{sO}", "id", json_object_get(moment, "id")) : NULL;
  /* It ends by itself where that fails. */
  if (body) kin_elastic_call(store->remote->client, "DELETE", "_pit", body, true, &answer, NULL);
  json_decref(answer);
  json_decref(moment);
}

kin_status kin_remote_visit(kin_store *store, bool (*visit)(void *user, const kin_stored *item), void *user,
                            kin_error *err) {
  if (store->remote->foreign) return kin_remote_cant(store, "only an index of kindred's own can be gone through", err);
  walk w = {store, kin_alloc_aligned(store->collection.dim * sizeof *w.vector), visit, user};
  json_t *moment = NULL;
  kin_status status = w.vector ? kin_remote_open_moment(store, &moment, err) : no_memory(store, err);
  if (status == KIN_OK)
    status = kin_remote_each(store, json_pack("{s{}}", "match_all"),
                             json_pack("[sssssssssss]", "item", "path", "path_hex", "mtime_ns", "width", "height",
                                       "line", "offset", "passage", "meta", "exif.date"),
                             true, moment, visit_one, &w, err);
  kin_remote_close_moment(store, moment);
  kin_free_aligned(w.vector);
  return status;
}
