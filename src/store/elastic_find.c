/* Finding in an index: Elasticsearch gives candidates, the scores are computed here from their vectors. */
#include "kernel/kernel.h"
#include "store/elastic_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FEWEST_CANDIDATES 200
#define READ_AT_ONCE 256

static kin_status no_memory(const kin_find *f, kin_error *err) {
  return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for a query", f->store->path);
}

/* ------------------------------------------------------------------------ filters */

/* The _id of a document that others made; NULL: it wasn't met yet. */
static const char *foreign_name(const kin_find *f, int64_t id) {
  char key[24];
  snprintf(key, sizeof key, "%lld", (long long)id);
  return json_string_value(json_object_get(f->store->remote->names, key));
}

/* {"terms": {"item": [...]}} of what is excluded, or of others' documents their names. */
static json_t *exclusion(const kin_find *f) {
  const struct kin_remote *r = f->store->remote;
  json_t *list = json_array();
  for (size_t i = 0; i < f->query->n_exclude; i++) {
    const char *name = r->foreign ? foreign_name(f, f->query->exclude[i]) : NULL;
    if (!r->foreign || name) json_array_append_new(list, name ? json_string(name) : json_integer(f->query->exclude[i]));
  }
  return json_pack("{s{so}}", "terms", r->foreign ? "_id" : "item", list);
}

kin_status kin_remote_make_filter(const kin_find *f, json_t **out, kin_error *err) {
  json_t *where = NULL, *without = f->query->n_exclude ? exclusion(f) : NULL;
  kin_status status = f->filter ? kin_remote_where(f->store, f->filter, &where, err) : KIN_OK;
  *out = NULL;
  if (status == KIN_OK && f->query->n_exclude && !without) status = no_memory(f, err);
  if (status == KIN_OK && (*out = json_pack("{s{sO* sO*}}", "bool", "filter", where, "must_not", without)) == NULL)
    status = no_memory(f, err);
  json_decref(where);
  json_decref(without);
  return status;
}

static kin_status count_population(kin_find *f, kin_error *err) {
  json_t *filter, *answer = NULL;
  kin_status status = kin_remote_make_filter(f, &filter, err);
  if (status == KIN_OK) status = kin_remote_post(f->store, "_count", json_pack("{so}", "query", filter), &answer, err);
  f->population = (uint64_t)json_integer_value(json_object_get(answer, "count"));
  json_decref(answer);
  return status;
}

/* What is asked for beyond the server's limit would be missing without a word. */
static kin_status check_depth(const kin_find *f, kin_error *err) {
  const size_t k = f->query->k;
  if (f->population <= KIN_ELASTIC_MOST_HITS ||
      (k <= KIN_ELASTIC_MOST_HITS && f->query->offset <= KIN_ELASTIC_MOST_HITS - k))
    return KIN_OK;
  return kin_fail(err, KIN_ERR_UNSUPPORTED,
                  "%s: results beyond the first %d of %llu: Elasticsearch gives no more; ask for fewer, or narrow the "
                  "search by a filter",
                  f->store->path, KIN_ELASTIC_MOST_HITS, (unsigned long long)f->population);
}

static kin_status begin(kin_find *f, kin_error *err) {
  kin_status status = kin_store_begin_read(f->store, err);
  if (status == KIN_OK) status = kin_find_check_dim(f->store, f->query, err);
  if (status != KIN_OK || !f->store->collection.id) return status;
  f->dim = f->store->collection.dim;
  json_decref(f->store->remote->hits);
  f->store->remote->hits = json_object();
  status = f->store->remote->hits ? count_population(f, err) : no_memory(f, err);
  return status == KIN_OK ? check_depth(f, err) : status;
}

static void end(kin_find *f) {
  json_decref(f->store->remote->hits);
  f->store->remote->hits = NULL;
}

/* --------------------------------------------------------------------------- hits */

static json_int_t integer_of(const json_t *hit, const char *key) {
  const json_t *source = json_object_get(hit, "_source");
  return json_integer_value(source ? json_object_get(source, key)
                                   : json_array_get(json_object_get(json_object_get(hit, "fields"), key), 0));
}

/* Of others' documents the id is a hash of their _id, which is remembered for what comes back with the id. */
static bool identify(kin_store *store, const json_t *hit, int64_t *id, uint64_t *row) {
  struct kin_remote *r = store->remote;
  const char *name = json_string_value(json_object_get(hit, "_id"));
  *row = r->foreign ? 0 : (uint64_t)integer_of(hit, "ordinal");
  *id = r->foreign && name ? kin_remote_item_of(name) : integer_of(hit, "item");
  if (!r->foreign) return *id != 0;
  char key[24];
  snprintf(key, sizeof key, "%lld", (long long)*id);
  if (!r->names) r->names = json_object();
  return name && json_object_set_new(r->names, key, json_string(name)) == 0;
}

kin_status kin_remote_identify(kin_find *f, const json_t *hit, kin_match *out, kin_error *err) {
  const char *name = json_string_value(json_object_get(hit, "_id"));
  if (!identify(f->store, hit, &out->id, &out->row))
    return kin_fail(err, KIN_ERR_FORMAT, "%s: a document of the index isn't kindred's: %s", f->store->path,
                    name ? name : "without a name");
  out->score = (float)json_number_value(json_object_get(hit, "_score"));
  return KIN_OK;
}

kin_status kin_remote_take_hit(kin_find *f, json_t *hit, kin_match *out, kin_error *err) {
  char key[48];
  kin_status status = kin_remote_identify(f, hit, out, err);
  if (status != KIN_OK) return status;
  kin_remote_name(out->id, out->row, key);
  return json_object_set(f->store->remote->hits, key, hit) == 0 ? KIN_OK : no_memory(f, err);
}

static const json_t *noted(const kin_find *f, const kin_match *match) {
  char key[48];
  kin_remote_name(match->id, match->row, key);
  return json_object_get(f->store->remote->hits, key);
}

bool kin_remote_set_fields(const kin_find *f, json_t *body, bool vectors) {
  const struct kin_remote *r = f->store->remote;
  bool ok = body != NULL;
  if (ok && vectors)
    ok = json_object_set_new(body, "fields", json_pack("[s]", r->foreign ? r->vector_field : "vector")) == 0;
  json_t *source =
      r->foreign ? json_pack("[s*s*]", r->id_field, r->text_field)
                 : json_pack("[ssssssss]", "item", "ordinal", "path", "path_hex", "width", "height", "line", "offset");
  if (ok && !r->foreign) ok = json_array_append_new(source, json_string("passage")) == 0;
  return json_object_set_new(body, "_source", source) == 0 && ok;
}

/* ------------------------------------------------------------------------- search */

/* At length 1; others' vectors may have any. */
static bool read_unit(const kin_find *f, const json_t *hit, float *out) {
  if (!kin_remote_vector(f->store, hit, out, f->dim)) return false;
  double length = 0;
  for (size_t i = 0; i < f->dim; i++) length += (double)out[i] * (double)out[i];
  length = sqrt(length);
  if (fabs(length - 1) > 1e-5 && length > 0)
    for (size_t i = 0; i < f->dim; i++) out[i] = (float)((double)out[i] / length);
  return true;
}

static size_t candidates_for(const kin_find *f, size_t k) {
  size_t n = f->query->ann_candidates ? f->query->ann_candidates : f->store->remote->candidates;
  if (!n) n = 2 * k > FEWEST_CANDIDATES ? 2 * k : FEWEST_CANDIDATES;
  if (n < k) n = k;
  return n < KIN_ELASTIC_MOST_HITS ? n : KIN_ELASTIC_MOST_HITS;
}

/* The index ranks by 8-bit codes: more are asked for than wanted, so that the exact scores choose among them. */
static size_t asked_for(size_t k) {
  size_t n = k + 10 + (k < 100 ? k : 100);
  return n < KIN_ELASTIC_MOST_HITS ? n : KIN_ELASTIC_MOST_HITS;
}

json_t *kin_remote_knn(const kin_find *f, const float *vector, size_t k, json_t *filter) {
  const struct kin_remote *r = f->store->remote;
  json_t *values = json_array();
  bool ok = values && filter;
  k = asked_for(k);
  for (size_t i = 0; ok && i < f->dim; i++) ok = json_array_append_new(values, json_real((double)vector[i])) == 0;
  json_t *knn =
      ok ? json_pack("{ss sO sI sI sO}", "field", r->foreign ? r->vector_field : "vector", "query_vector", values, "k",
                     (json_int_t)k, "num_candidates", (json_int_t)candidates_for(f, k), "filter", filter)
         : NULL;
  json_decref(values);
  return knn;
}

static json_t *search_body(const kin_find *f, const float *vector, size_t wanted, json_t *filter) {
  json_t *knn = kin_remote_knn(f, vector, wanted, filter);
  json_t *body = knn ? json_pack("{sO sO}", "knn", knn, "size", json_object_get(knn, "k")) : NULL;
  json_decref(knn);
  if (body && kin_remote_set_fields(f, body, true)) return body;
  json_decref(body);
  return NULL;
}

static kin_status search_one(kin_find *f, const float *query, size_t wanted, float *room, kin_match *out, size_t *n_out,
                             kin_error *err) {
  json_t *filter, *answer = NULL;
  kin_status status = kin_remote_make_filter(f, &filter, err);
  size_t k = asked_for(wanted);
  if (status == KIN_OK)
    status = kin_remote_post(f->store, KIN_ELASTIC_SEARCH, search_body(f, query, wanted, filter), &answer, err);
  json_decref(filter);
  const json_t *hits = kin_remote_hits(answer);
  size_t n = json_array_size(hits) < k ? json_array_size(hits) : k;
  kin_match *found = kin_array(n + 1, sizeof *found);
  if (status == KIN_OK && !found) status = no_memory(f, err);
  for (size_t i = 0; status == KIN_OK && i < n; i++) {
    json_t *hit = json_array_get(hits, i);
    status = kin_remote_take_hit(f, hit, &found[i], err);
    if (status == KIN_OK && read_unit(f, hit, room))
      found[i].score = f->store->context->kernels->dot(query, room, f->dim);
    else
      found[i].score = 2 * found[i].score - 1; /* without a vector to read that must do */
  }
  *n_out = 0;
  if (status == KIN_OK && n) {
    qsort(found, n, sizeof *found, kin_match_compare);
    *n_out = n < wanted ? n : wanted;
    memcpy(out, found, *n_out * sizeof *found);
  }
  free(found);
  json_decref(answer);
  return status;
}

static kin_status search(kin_find *f, const float *vectors, size_t n, size_t k, kin_match *out, size_t *n_out,
                         kin_error *err) {
  float *room = kin_alloc_aligned(f->dim * sizeof *room);
  size_t most = k < KIN_ELASTIC_MOST_HITS ? k : KIN_ELASTIC_MOST_HITS;
  kin_status status = room ? KIN_OK : no_memory(f, err);
  for (size_t i = 0; status == KIN_OK && i < n; i++)
    status = search_one(f, vectors + i * f->dim, most, room, out + i * k, &n_out[i], err);
  kin_free_aligned(room);
  return status;
}

kin_status kin_remote_word_query(const kin_find *f, const char *text, json_t **out, kin_error *err) {
  json_t *words, *filter = NULL;
  *out = NULL;
  kin_status status = kin_remote_words(f->store, text, &words, err);
  if (status != KIN_OK || !words) return status;
  status = kin_remote_make_filter(f, &filter, err);
  if (status == KIN_OK && !(*out = json_pack("{s{sO sO}}", "bool", "must", words, "filter", filter)))
    status = no_memory(f, err);
  json_decref(words);
  json_decref(filter);
  return status;
}

static kin_status search_words(kin_find *f, const char *text, size_t most, kin_match **out, size_t *n_out,
                               kin_error *err) {
  json_t *query, *answer = NULL;
  *out = NULL;
  *n_out = 0;
  kin_status status = kin_remote_word_query(f, text, &query, err);
  if (status != KIN_OK || !query) return status;
  size_t k = most < KIN_ELASTIC_MOST_HITS ? most : KIN_ELASTIC_MOST_HITS;
  json_t *body = json_pack("{so sI sb}", "query", query, "size", (json_int_t)k, "track_total_hits", false);
  if (!body || !kin_remote_set_fields(f, body, false)) {
    json_decref(body);
    return no_memory(f, err);
  }
  status = kin_remote_post(f->store, KIN_ELASTIC_SEARCH, body, &answer, err);
  const json_t *hits = kin_remote_hits(answer);
  size_t n = json_array_size(hits) < most ? json_array_size(hits) : most;
  if (status == KIN_OK && !(*out = kin_array(n + 1, sizeof **out))) status = no_memory(f, err);
  for (size_t i = 0; status == KIN_OK && i < n; i++)
    status = kin_remote_take_hit(f, json_array_get(hits, i), &(*out)[i], err);
  if (status == KIN_OK && n) qsort(*out, n, sizeof **out, kin_match_compare);
  *n_out = status == KIN_OK ? n : 0;
  json_decref(answer);
  return status;
}

/* ---------------------------------------------------------------------- documents */

typedef struct reading {
  kin_find *f;
  const kin_match *matches;
  size_t n, found;
  float *out, *one;
  double *sum;
} reading;

static kin_status no_vector(const kin_find *f, kin_error *err) {
  return kin_fail(err, KIN_ERR_FORMAT, "%s: a document without its vector", f->store->path);
}

static kin_status fetch(kin_find *f, json_t *names, bool vectors, kin_error *err) {
  json_t *answer = NULL, *body = json_pack("{s{s{so}} si}", "query", "ids", "values", names, "size", READ_AT_ONCE);
  if (!body || !kin_remote_set_fields(f, body, vectors)) {
    json_decref(body);
    return no_memory(f, err);
  }
  kin_status status = kin_remote_post(f->store, KIN_ELASTIC_SEARCH, body, &answer, err);
  const json_t *hits = kin_remote_hits(answer);
  for (size_t i = 0; status == KIN_OK && i < json_array_size(hits); i++) {
    kin_match ignored;
    status = kin_remote_take_hit(f, json_array_get(hits, i), &ignored, err);
  }
  json_decref(answer);
  return status;
}

/* Note the documents of n matches, at most READ_AT_ONCE, that aren't noted yet, or not with their vectors. */
static kin_status note(kin_find *f, const kin_match *matches, size_t n, bool vectors, kin_error *err) {
  json_t *names = json_array();
  for (size_t i = 0; i < n; i++) {
    const json_t *hit = noted(f, &matches[i]);
    char own[48];
    if (hit && !(vectors && !json_object_get(hit, "fields"))) continue;
    kin_remote_name(matches[i].id, matches[i].row, own);
    json_array_append_new(names, json_string(f->store->remote->foreign ? foreign_name(f, matches[i].id) : own));
  }
  if (json_array_size(names)) return fetch(f, names, vectors, err);
  json_decref(names);
  return KIN_OK;
}

static kin_status prepare(kin_find *f, const kin_match *matches, size_t n, kin_error *err) {
  kin_status status = KIN_OK;
  for (size_t at = 0; status == KIN_OK && at < n; at += READ_AT_ONCE)
    status = note(f, matches + at, n - at < READ_AT_ONCE ? n - at : READ_AT_ONCE, false, err);
  return status;
}

static kin_status read_vectors(kin_find *f, const kin_match *matches, size_t n, float *out, kin_error *err) {
  kin_status status = KIN_OK;
  for (size_t at = 0; status == KIN_OK && at < n; at += READ_AT_ONCE) {
    size_t m = n - at < READ_AT_ONCE ? n - at : READ_AT_ONCE;
    status = note(f, matches + at, m, true, err);
    for (size_t i = 0; status == KIN_OK && i < m; i++)
      if (!read_unit(f, noted(f, &matches[at + i]), out + (at + i) * f->dim)) status = no_vector(f, err);
  }
  return status;
}

static kin_status add_vector(void *user, const json_t *hit, kin_error *err) {
  reading *r = user;
  if (!read_unit(r->f, hit, r->one)) return no_vector(r->f, err);
  for (size_t i = 0; i < r->f->dim; i++) r->sum[i] += (double)r->one[i];
  r->found++;
  return KIN_OK;
}

static kin_status read_foreign(kin_find *f, int64_t id, reading *r, kin_error *err) {
  const char *name = foreign_name(f, id);
  if (!name) return KIN_OK;
  json_t *answer = NULL, *body = json_pack("{s{s{s[s]}} si}", "query", "ids", "values", name, "size", 1);
  if (!body || !kin_remote_set_fields(f, body, true)) {
    json_decref(body);
    return no_memory(f, err);
  }
  kin_status status = kin_remote_post(f->store, KIN_ELASTIC_SEARCH, body, &answer, err);
  const json_t *hit = json_array_get(kin_remote_hits(answer), 0);
  if (status == KIN_OK && hit) status = add_vector(r, hit, err);
  json_decref(answer);
  return status;
}

static kin_status read_item(kin_find *f, int64_t id, double *out, kin_error *err) {
  reading r = {.f = f, .sum = out, .one = kin_array(f->dim, sizeof *r.one)};
  if (!r.one) return no_memory(f, err);
  memset(out, 0, f->dim * sizeof *out);
  kin_status status = f->store->remote->foreign
                          ? read_foreign(f, id, &r, err)
                          : kin_remote_each(f->store, json_pack("{s{sI}}", "term", "item", (json_int_t)id), NULL, true,
                                            NULL, add_vector, &r, err);
  free(r.one);
  if (status != KIN_OK || r.found) return status;
  return kin_fail(err, KIN_ERR_NOT_FOUND, "%s: no item %lld in the collection of %s", f->store->path, (long long)id,
                  f->store->collection.model_path);
}

/* -------------------------------------------------------------------------- hits */

/* A field of a document, in which dots lead into objects. */
static const json_t *member_of(const json_t *source, const char *name) {
  const json_t *whole = json_object_get(source, name);
  const char *dot = strchr(name, '.');
  char *first = whole || !dot ? NULL : strndup(name, (size_t)(dot - name));
  const json_t *found = first ? member_of(json_object_get(source, first), dot + 1) : whole;
  free(first);
  return found;
}

static char *text_of(const json_t *value) {
  if (json_is_string(value)) return kin_strdup(json_string_value(value));
  return value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
}

static bool fill_foreign(const struct kin_remote *r, const json_t *hit, kin_hit *out) {
  const json_t *source = json_object_get(hit, "_source");
  const json_t *text = r->text_field ? member_of(source, r->text_field) : NULL;
  const json_t *id = r->id_field ? member_of(source, r->id_field) : NULL;
  out->path = text_of(id ? id : json_object_get(hit, "_id"));
  out->passage = text_of(text);
  return out->path && (out->passage || !text);
}

static kin_status fill(kin_find *f, const kin_match *match, kin_hit *out, kin_error *err) {
  const json_t *hit = noted(f, match), *source = json_object_get(hit, "_source");
  const char *passage = json_string_value(json_object_get(source, "passage"));
  bool ok;
  *out = (kin_hit){.id = match->id};
  if (!hit)
    return kin_fail(err, KIN_ERR_NOT_FOUND, "%s: what was found went while it was read; search again", f->store->path);
  if (f->store->remote->foreign) {
    ok = fill_foreign(f->store->remote, hit, out);
  } else {
    out->path = kin_remote_path(source);
    out->width = (uint32_t)json_integer_value(json_object_get(source, "width"));
    out->height = (uint32_t)json_integer_value(json_object_get(source, "height"));
    out->line = (uint64_t)json_integer_value(json_object_get(source, "line"));
    out->offset = (uint64_t)json_integer_value(json_object_get(source, "offset"));
    out->passage = passage ? kin_strdup(passage) : NULL;
    ok = out->path && (out->passage || !passage);
  }
  if (ok) return KIN_OK;
  free(out->path);
  free(out->passage);
  return no_memory(f, err);
}

const kin_finder kin_remote_finder = {.begin = begin,
                                      .end = end,
                                      .search = search,
                                      .search_words = search_words,
                                      .read_vectors = read_vectors,
                                      .read_item = read_item,
                                      .fill = fill,
                                      .prepare = prepare,
                                      .list_both = kin_remote_list_both,
                                      .fuse_both = kin_remote_fuse_both};

/* -------------------------------------------------------------------------- items */

static kin_status find_foreign(kin_store *store, const char *name, int64_t *out, kin_error *err) {
  struct kin_remote *r = store->remote;
  json_t *answer = NULL;
  json_t *body = json_pack("{s{s{ss}} si sb}", "query", "term", r->id_field ? r->id_field : "_id", name, "size", 1,
                           "_source", false);
  kin_status status = kin_remote_post(store, KIN_ELASTIC_SEARCH, body, &answer, err);
  const json_t *hit = json_array_get(kin_remote_hits(answer), 0);
  uint64_t row;
  if (status == KIN_OK && (!hit || !identify(store, hit, out, &row)))
    status = kin_fail(err, KIN_ERR_NOT_FOUND, "%s: isn't in the index %s", name, store->path);
  json_decref(answer);
  return status;
}

static kin_status find_own(kin_store *store, const char *path, int64_t *out, kin_error *err) {
  char name[48];
  json_t *answer = NULL;
  int64_t item = kin_remote_item_of(path);
  kin_remote_name(item, 0, name);
  char *call = kin_format("%s/_doc/%s?_source=false", store->remote->address.index, name);
  if (!call) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", store->path);
  kin_status status = kin_elastic_call(store->remote->client, "GET", call, NULL, true, &answer, err);
  free(call);
  if (status == KIN_OK && !answer)
    status = kin_fail(err, KIN_ERR_NOT_FOUND, "%s: isn't in the store %s", path, store->path);
  if (status == KIN_OK) *out = item;
  json_decref(answer);
  return status;
}

kin_status kin_remote_find_item(kin_store *store, const char *path, int64_t *out, kin_error *err) {
  if (store->remote->foreign) return find_foreign(store, path, out, err);
  char *absolute = NULL;
  kin_status status = kin_store_item_path(path, &absolute, err);
  if (status == KIN_ERR_IO) status = kin_fail(err, KIN_ERR_NOT_FOUND, "%s: isn't in the store %s", path, store->path);
  if (status == KIN_OK) status = find_own(store, absolute, out, err);
  free(absolute);
  return status;
}
