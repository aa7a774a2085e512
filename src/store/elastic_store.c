/* Opening an index, its mapping, and the collection that it holds. */
#include "embed/path_json.h"
#include "store/elastic_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define META "kindred" /* of the mapping's _meta */
/* Elasticsearch's own second makes a segment, and a graph, of every second's vectors while an index is filled; each run
 * ends with a refresh anyway. */
#define REFRESH_INTERVAL "30s"
#define FORMAT 1
#define MOST_COMPARED 8191 /* characters of metadata: Lucene takes no longer keys */

static kin_status no_memory(const kin_store *store, kin_error *err) {
  return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", store->path);
}

kin_status kin_remote_cant(const kin_store *store, const char *what, kin_error *err) {
  return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: %s", store->path, what);
}

/* --------------------------------------------------------------------- collection */

static void collection_clear(kin_collection *c) {
  free(c->model_path);
  free(c->text_model_path);
  free(c->vectors_path);
  *c = (kin_collection){0};
}

static bool copy_collection(const kin_collection *from, kin_collection *to) {
  *to = *from;
  to->model_path = kin_strdup(from->model_path);
  to->text_model_path = from->text_model_path ? kin_strdup(from->text_model_path) : NULL;
  to->vectors_path = NULL;
  return to->model_path && (to->text_model_path || !from->text_model_path);
}

static const char *find_analyzer(const char *name) {
  if (strcmp(name, KIN_ELASTIC_STEMS) == 0) return KIN_ELASTIC_STEMS;
  return strcmp(name, KIN_ELASTIC_PAIRS) == 0 ? KIN_ELASTIC_PAIRS : NULL;
}

static bool copy_member(const json_t *meta, const char *key, char *out, size_t size) {
  const char *text = json_string_value(json_object_get(meta, key));
  return text && snprintf(out, size, "%s", text) < (int)size;
}

/* A field by its name, in which dots lead into objects and to other ways in which a field is indexed. */
static const json_t *find_property(const json_t *properties, const char *name) {
  size_t n = strcspn(name, ".");
  char *first = strndup(name, n);
  const json_t *field = first ? json_object_get(properties, first) : NULL;
  const json_t *inside = json_object_get(field, "properties");
  free(first);
  return field && name[n] ? find_property(inside ? inside : json_object_get(field, "fields"), name + n + 1) : field;
}

static kin_status check_field(const kin_store *store, const json_t *mapping, const char *name, kin_error *err) {
  if (!name || *name == '_' || find_property(json_object_get(mapping, "properties"), name) ||
      json_object_get(json_object_get(mapping, "runtime"), name))
    return KIN_OK;
  return kin_fail(err, KIN_ERR_MISMATCH, "%s: its mapping has no field %s", store->path, name);
}

static kin_status read_foreign(kin_store *store, const json_t *mapping, kin_error *err) {
  struct kin_remote *r = store->remote;
  const json_t *field = find_property(json_object_get(mapping, "properties"), r->vector_field);
  const char *type = json_string_value(json_object_get(field, "type"));
  json_int_t dims = json_integer_value(json_object_get(field, "dims"));
  const char *similarity = json_string_value(json_object_get(field, "similarity"));
  if (!type || strcmp(type, "dense_vector") != 0 || dims < 1)
    return kin_fail(err, KIN_ERR_MISMATCH, "%s: its field %s is no dense_vector", store->path, r->vector_field);
  r->cosines = !similarity || strcmp(similarity, "cosine") == 0 || strcmp(similarity, "dot_product") == 0;
  r->collection =
      (kin_collection){.id = 1, .dim = (size_t)dims, .image = true, .text = true, .model_path = kin_strdup("")};
  if (!r->collection.model_path) return no_memory(store, err);
  kin_status status = check_field(store, mapping, r->text_field, err);
  return status == KIN_OK ? check_field(store, mapping, r->id_field, err) : status;
}

static kin_status read_meta(kin_store *store, const json_t *meta, kin_error *err) {
  struct kin_remote *r = store->remote;
  kin_collection *c = &r->collection;
  char path[4096], analyzer[16], word[16];
  json_int_t format = json_integer_value(json_object_get(meta, "format"));
  if (!meta)
    return kin_fail(err, KIN_ERR_MISMATCH,
                    "%s: that index wasn't made by kindred; search it with --vector-field, or use another name",
                    store->path);
  if (format != FORMAT)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: the index has format %lld; this version reads format %d",
                    store->path, (long long)format, FORMAT);
  c->dim = (size_t)json_integer_value(json_object_get(meta, "dim"));
  c->image = json_is_true(json_object_get(meta, "image"));
  c->text = json_is_true(json_object_get(meta, "text"));
  if (!c->dim || !copy_member(meta, "model_id", c->model_id, sizeof c->model_id) ||
      !copy_member(meta, "model_path", path, sizeof path) || !copy_member(meta, "words", analyzer, sizeof analyzer))
    return kin_fail(err, KIN_ERR_FORMAT, "%s: the mapping's _meta is damaged", store->path);
  if (copy_member(meta, "precision", word, sizeof word)) kin_precision_parse(word, &c->precision, NULL);
  if (copy_member(meta, "text_precision", word, sizeof word)) kin_precision_parse(word, &c->text_precision, NULL);
  if (copy_member(meta, "pooling", word, sizeof word)) kin_pooling_parse(word, &c->pooling, NULL);
  c->id = 1;
  r->cosines = true;
  c->model_path = kin_strdup(path);
  r->words = find_analyzer(analyzer);
  if (!r->words && strcmp(analyzer, "tokens") != 0)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: its texts are indexed in a way that this version doesn't know: %s",
                    store->path, analyzer);
  if (copy_member(meta, "text_model_id", c->text_model_id, sizeof c->text_model_id) &&
      copy_member(meta, "text_model_path", path, sizeof path))
    c->text_model_path = kin_strdup(path);
  return c->model_path && (c->text_model_path || !*c->text_model_id) ? KIN_OK : no_memory(store, err);
}

kin_status kin_remote_refresh(kin_store *store, kin_error *err) {
  struct kin_remote *r = store->remote;
  json_t *answer = NULL;
  char *path = kin_format("%s/_mapping", r->address.index);
  kin_status status = path ? kin_elastic_call(r->client, "GET", path, NULL, true, &answer, err) : no_memory(store, err);
  free(path);
  if (status != KIN_OK) return status;
  collection_clear(&r->collection);
  free(r->index);
  r->index = NULL;
  void *index = json_object_iter(answer);
  if (json_object_size(answer) > 1)
    status = kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: is an alias of several indices", store->path);
  if (status == KIN_OK && index) {
    const json_t *mapping = json_object_get(json_object_iter_value(index), "mappings");
    r->index = kin_strdup(json_object_iter_key(index));
    if (!r->index)
      status = no_memory(store, err);
    else if (r->foreign)
      status = read_foreign(store, mapping, err);
    else
      status = read_meta(store, json_object_get(json_object_get(mapping, "_meta"), META), err);
    r->knows_exif = json_object_get(json_object_get(mapping, "properties"), "exif") != NULL;
  }
  json_decref(answer);
  return status;
}

kin_status kin_remote_read_collections(kin_store *store, kin_collection **out, size_t *n, kin_error *err) {
  const kin_collection *c = &store->remote->collection;
  *out = NULL;
  *n = 0;
  if (!c->id) return KIN_OK;
  *out = calloc(1, sizeof **out);
  if (!*out) return no_memory(store, err);
  if (copy_collection(c, *out)) {
    *n = 1;
    return KIN_OK;
  }
  kin_collections_free(*out, 1);
  *out = NULL;
  return no_memory(store, err);
}

/* ------------------------------------------------------------------------ opening */

static bool copy_option(const char *value, char **out) {
  return !value || (*out = kin_strdup(value)) != NULL;
}

kin_status kin_remote_open(kin_store *store, const char *path, const kin_elastic_options *options, kin_error *err) {
  static const kin_elastic_options defaults = {0};
  const kin_elastic_options *o = options ? options : &defaults;
  struct kin_remote *r = store->remote = calloc(1, sizeof *r);
  if (!r) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a store");
  kin_status status = kin_elastic_address_parse(path, &r->address, err);
  if (status != KIN_OK) return status;
  r->foreign = o->vector_field != NULL;
  r->candidates = o->candidates;
  store->path = kin_strdup(r->address.name);
  if (!store->path || !copy_option(o->vector_field, &r->vector_field) || !copy_option(o->text_field, &r->text_field) ||
      !copy_option(o->id_field, &r->id_field))
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a store");
  if (o->candidates > KIN_ELASTIC_MOST_HITS)
    return kin_fail(err, KIN_ERR_ARGUMENT, "%zu candidates: at most %d", o->candidates, KIN_ELASTIC_MOST_HITS);
  if (!r->foreign && (o->text_field || o->id_field))
    return kin_fail(err, KIN_ERR_ARGUMENT, "%s: to search an index that others made, name its field of vectors too",
                    store->path);
  if (r->foreign && store->writable) return kin_remote_cant(store, "an index that others made is only searched", err);
  status = kin_elastic_open(&r->address, o, &r->client, err);
  if (status == KIN_OK) status = kin_remote_refresh(store, err);
  if (status == KIN_OK && !r->collection.id && !store->writable)
    status = kin_fail(err, KIN_ERR_NOT_FOUND, "%s: no such index; make it with kindred index", store->path);
  if (status != KIN_OK) return status;
  return kin_store_refresh(store, err);
}

void kin_remote_close(struct kin_remote *r) {
  if (!r) return;
  kin_remote_clear(&r->run);
  kin_elastic_close(r->client);
  kin_elastic_address_free(&r->address);
  collection_clear(&r->collection);
  json_decref(r->hits);
  json_decref(r->names);
  json_decref(r->given);
  free(r->index);
  free(r->vector_field);
  free(r->text_field);
  free(r->id_field);
  free(r);
}

/* ------------------------------------------------------------------------- making */

static json_t *meta_of(const kin_collection *c, const char *words) {
  json_t *meta = json_pack("{si ss sI sb sb ss ss ss}", "format", FORMAT, "model_id", c->model_id, "dim",
                           (json_int_t)c->dim, "image", c->image, "text", c->text, "words", words ? words : "tokens",
                           "precision", kin_precision_name(c->precision), "pooling", kin_pooling_name(c->pooling));
  bool ok = meta && kin_json_set_text(meta, "model_path", c->model_path);
  if (ok && c->text_model_path)
    ok = kin_json_set_text(meta, "text_model_path", c->text_model_path) &&
         json_object_set_new(meta, "text_model_id", json_string(c->text_model_id)) == 0 &&
         json_object_set_new(meta, "text_precision", json_string(kin_precision_name(c->text_precision))) == 0;
  if (ok) return json_pack("{s{so}}", "_meta", META, meta);
  json_decref(meta);
  return NULL;
}

static bool set_type(json_t *properties, const char *names, const char *type, const char *analyzer) {
  bool ok = true;
  for (const char *name = names; ok && *name; name += strlen(name) + 1) {
    json_t *pairs = analyzer && strcmp(analyzer, KIN_ELASTIC_STEMS) == 0
                        ? json_pack("{s{ss ss}}", KIN_ELASTIC_PAIRS, "type", type, "analyzer", KIN_ELASTIC_PAIRS)
                        : NULL;
    json_t *field = json_pack("{ss ss* so*}", "type", type, "analyzer", analyzer, "fields", pairs);
    ok = json_object_set_new(properties, name, field) == 0;
  }
  return ok;
}

static json_t *exif_mapping(void) {
  return json_pack("{s{s{ss} s{ss}}}", "properties", "date", "type", "keyword", "camera", "type", "keyword");
}

static json_t *properties_of(const kin_collection *c, const char *words) {
  json_t *p = json_object();
  const char *analyzer = words ? words : "whitespace";
  bool ok =
      p && set_type(p, "path\0name\0folder\0kind\0sha256\0", "keyword", NULL) &&
      set_type(p, "item\0size\0mtime_ns\0", "long", NULL) && set_type(p, "ordinal\0width\0height\0", "integer", NULL) &&
      set_type(p, "name_words\0", "text", "whitespace") &&
      set_type(p, "caption_given\0caption_sidecar\0caption_embedded\0", "text", analyzer) &&
      set_type(p, words ? "passage\0" : "passage_words\0", "text", analyzer) &&
      json_object_set_new(p, "meta",
                          json_pack("{ss s{s{ss} s{ss si} s{ss}}}", "type", "nested", "properties", "key", "type",
                                    "keyword", "text", "type", "keyword", "ignore_above", MOST_COMPARED, "number",
                                    "type", "double")) == 0 &&
      json_object_set_new(p, "exif", exif_mapping()) == 0 &&
      json_object_set_new(p, "vector",
                          json_pack("{ss sI sb ss s{ss}}", "type", "dense_vector", "dims", (json_int_t)c->dim, "index",
                                    true, "similarity", "cosine", "index_options", "type", "int8_hnsw")) == 0;
  if (ok) return p;
  json_decref(p);
  return NULL;
}

static kin_status ask_analyzer(kin_store *store, const char *name, bool *out, kin_error *err) {
  json_t *answer = NULL;
  kin_error reason;
  kin_status status = kin_elastic_call(store->remote->client, "POST", "_analyze",
                                       json_pack("{ss ss}", "analyzer", name, "text", "x"), false, &answer, &reason);
  json_decref(answer);
  *out = status == KIN_OK;
  if (status == KIN_OK || status == KIN_ERR_UNSUPPORTED) return KIN_OK; /* a bad request: it doesn't know the name */
  return kin_fail(err, status, "%s", reason.message);
}

/* NULL: the cluster has none. */
static kin_status choose_analyzer(kin_store *store, const char **out, kin_error *err) {
  bool pairs = false, stems = false;
  kin_status status = ask_analyzer(store, KIN_ELASTIC_PAIRS, &pairs, err);
  if (status == KIN_OK && pairs) status = ask_analyzer(store, KIN_ELASTIC_STEMS, &stems, err);
  *out = stems ? KIN_ELASTIC_STEMS : pairs ? KIN_ELASTIC_PAIRS : NULL;
  return status;
}

/* Add to the index's mapping; takes `mapping`, NULL: out of memory. */
static kin_status put_mapping(kin_store *store, json_t *mapping, kin_error *err) {
  json_t *answer = NULL;
  char *call = mapping ? kin_format("%s/_mapping", store->remote->index) : NULL;
  if (!call) {
    json_decref(mapping);
    return no_memory(store, err);
  }
  kin_status status = kin_elastic_call(store->remote->client, "PUT", call, mapping, false, &answer, err);
  json_decref(answer);
  free(call);
  return status;
}

kin_status kin_remote_create(kin_store *store, const kin_collection *c, const char *name, bool first, kin_error *err) {
  struct kin_remote *r = store->remote;
  const char *words = r->words;
  json_t *answer = NULL;
  kin_status status = first ? choose_analyzer(store, &words, err) : KIN_OK;
  if (status != KIN_OK) return status;
  json_t *mapping = meta_of(c, words), *properties = properties_of(c, words), *body = NULL;
  if (mapping && properties && json_object_set_new(mapping, "dynamic", json_false()) == 0 &&
      json_object_set(mapping, "properties", properties) == 0)
    body = json_pack("{sO s{ss}}", "mappings", mapping, "settings", "refresh_interval", REFRESH_INTERVAL);
  if (body && first && json_object_set_new(body, "aliases", json_pack("{s{}}", r->address.index)) != 0) {
    json_decref(body);
    body = NULL;
  }
  status = body ? kin_elastic_call(r->client, "PUT", name, body, false, &answer, err) : no_memory(store, err);
  json_decref(answer);
  json_decref(mapping);
  json_decref(properties);
  if (status != KIN_OK) kin_prefix(err, status, "making the index");
  return status;
}

static kin_status create_first(kin_store *store, const kin_store_encoder *e, kin_error *err) {
  kin_collection c = {.model_path = (char *)e->model_path,
                      .dim = e->dim,
                      .image = e->has_image,
                      .text = e->has_text,
                      .precision = e->precision,
                      .pooling = e->pooling};
  snprintf(c.model_id, sizeof c.model_id, "%s", e->model_id);
  char *name = kin_format("%s-000001", store->remote->address.index);
  kin_status status = name ? kin_remote_create(store, &c, name, true, err) : no_memory(store, err);
  free(name);
  /* Another process may have made it, or this one, if the answer was lost. */
  if (status == KIN_ERR_UNSUPPORTED && kin_remote_refresh(store, NULL) == KIN_OK && store->remote->collection.id)
    return KIN_OK;
  return status == KIN_OK ? kin_remote_refresh(store, err) : status;
}

/* An index made before EXIF was read gets its fields, and the values as its files are indexed again. */
static kin_status add_exif(kin_store *store, kin_error *err) {
  kin_status status = put_mapping(store, json_pack("{s{so}}", "properties", "exif", exif_mapping()), err);
  store->remote->knows_exif = status == KIN_OK;
  return status;
}

kin_status kin_remote_open_collection(kin_store *store, const kin_store_encoder *e, kin_error *err) {
  struct kin_remote *r = store->remote;
  kin_status status = kin_remote_refresh(store, err);
  if (status == KIN_OK && !r->collection.id) status = create_first(store, e, err);
  if (status == KIN_OK && strcmp(r->collection.model_id, e->model_id) != 0)
    status = kin_fail(err, KIN_ERR_MISMATCH,
                      "%s: the index holds vectors of %s (id %.12s), not of %s; give another model another index",
                      store->path, r->collection.model_path, r->collection.model_id, e->model_path);
  if (status == KIN_OK && !r->knows_exif) status = add_exif(store, err);
  return status == KIN_OK ? kin_store_refresh(store, err) : status;
}

kin_status kin_remote_set_text_model(kin_store *store, const char *id, const char *path, kin_precision precision,
                                     kin_error *err) {
  struct kin_remote *r = store->remote;
  kin_collection c = r->collection;
  snprintf(c.text_model_id, sizeof c.text_model_id, "%s", id ? id : "");
  c.text_model_path = (char *)path;
  c.text_precision = precision;
  kin_status status = put_mapping(store, meta_of(&c, r->words), err);
  return status == KIN_OK ? kin_remote_refresh(store, err) : status;
}

kin_status kin_remote_drop_collection(kin_store *store, kin_error *err) {
  json_t *answer = NULL;
  kin_status status =
      kin_elastic_call(store->remote->client, "DELETE", store->remote->index, NULL, false, &answer, err);
  json_decref(answer);
  return status == KIN_OK ? kin_remote_refresh(store, err) : status;
}

/* ----------------------------------------------------------------------- counting */

kin_status kin_remote_count(kin_store *store, size_t *items, size_t *vectors, kin_error *err) {
  static const char *const bodies[] = {"{}", "{\"query\":{\"term\":{\"ordinal\":0}}}"};
  struct kin_remote *r = store->remote;
  kin_elastic_request requests[2];
  size_t counts[2] = {0}, n = r->foreign ? 1 : 2;
  char *path = kin_format("%s/_count", r->address.index);
  if (!path) return no_memory(store, err);
  for (size_t i = 0; i < n; i++)
    requests[i] = (kin_elastic_request){.method = "POST", .path = path, .body = bodies[i], .size = strlen(bodies[i])};
  kin_status status = kin_elastic_send(r->client, requests, n, err);
  for (size_t i = 0; i < n; i++) {
    counts[i] = (size_t)json_integer_value(json_object_get(requests[i].answer, "count"));
    json_decref(requests[i].answer);
  }
  free(path);
  *vectors = counts[0];
  *items = r->foreign ? counts[0] : counts[1];
  return status;
}
