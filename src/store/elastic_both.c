/* Searching by vectors and words at once. Elasticsearch fuses both by rank where it has the rrf retriever and a licence
 * for it; else it gives both lists, without what is only needed of the hits that are shown. */
#include "index/fusion.h"
#include "store/elastic_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static kin_status no_memory(const kin_find *f, kin_error *err) {
  return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for a query", f->store->path);
}

/* ----------------------------------------------------------------------- requests */

/* Both searches, {"field": ...} and {"bool": ...}; *words is NULL where there are none. Elasticsearch ranks the vectors
 * it finds by all of their floats. */
static kin_status make_searches(kin_ranking *r, json_t **knn, json_t **words, kin_error *err) {
  kin_find *f = r->find;
  json_t *filter = NULL;
  *knn = NULL;
  kin_status status = kin_remote_word_query(f, f->query->words, words, err);
  if (status != KIN_OK || !*words) return status;
  status = kin_remote_make_filter(f, &filter, err);
  if (status == KIN_OK) {
    *knn = kin_remote_knn(f, r->vectors, KIN_FUSION_WINDOW, filter);
    if (json_object_set_new(*knn, "rescore_vector", json_pack("{sf}", "oversample", 1.0)) != 0)
      status = no_memory(f, err);
  }
  json_decref(filter);
  if (status == KIN_OK) return status;
  json_decref(*knn);
  json_decref(*words);
  *knn = *words = NULL;
  return status;
}

/* Send n searches, at most two, whose bodies are released. The first failure is returned; what Elasticsearch doesn't
 * know or has no licence for is a code of 400 or 403 of a request. */
static kin_status send(const kin_find *f, json_t **bodies, kin_elastic_request *requests, size_t n, kin_error *err) {
  char *texts[2] = {0}, *path = kin_format("%s/" KIN_ELASTIC_SEARCH, f->store->remote->address.index);
  bool ok = path != NULL;
  for (size_t i = 0; i < n; i++) {
    texts[i] = bodies[i] ? json_dumps(bodies[i], JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(bodies[i]);
    ok = ok && texts[i];
    requests[i] = (kin_elastic_request){
        .method = "POST", .path = path, .body = texts[i], .size = texts[i] ? strlen(texts[i]) : 0};
  }
  kin_status status = ok ? kin_elastic_send(f->store->remote->client, requests, n, err) : no_memory(f, err);
  for (size_t i = 0; i < n; i++) free(texts[i]);
  free(path);
  return status;
}

static bool is_refusal(const kin_elastic_request *r) {
  return r->code == 400 || r->code == 403;
}

/* ------------------------------------------------------------------------- fusing */

/* "rrf score: ... computed for initial ranks [1, 0]": of each list the rank is the value of a detail; 0: none. Whether
 * the explanation is such a one, and tells why the score is what it is. */
static bool read_ranks(const json_t *hit, size_t ranks[2]) {
  const json_t *e = json_object_get(hit, "_explanation");
  double score = 0;
  for (const char *text;
       (text = json_string_value(json_object_get(e, "description"))) && !strstr(text, "initial ranks");)
    e = json_array_get(json_object_get(e, "details"), 0);
  const json_t *details = json_object_get(e, "details");
  if (json_array_size(details) != 2) return false;
  for (size_t i = 0; i < 2; i++) {
    double rank = json_number_value(json_object_get(json_array_get(details, i), "value"));
    if (!(rank >= 0 && rank <= KIN_FUSION_WINDOW) || rank != floor(rank)) return false;
    ranks[i] = (size_t)rank;
    if (ranks[i]) score += 1 / (KIN_FUSION_RANK + rank);
  }
  return fabs(score - json_number_value(json_object_get(hit, "_score"))) < 1e-6;
}

/* The hits into r; false: without their ranks. */
static kin_status take_fused(kin_ranking *r, const json_t *hits, bool *told, kin_error *err) {
  size_t n = json_array_size(hits);
  r->matches = kin_array(n + 1, sizeof *r->matches);
  r->near = calloc(KIN_FUSION_WINDOW, sizeof *r->near);
  r->worded = calloc(KIN_FUSION_WINDOW, sizeof *r->worded);
  *told = true;
  if (!r->matches || !r->near || !r->worded) return no_memory(r->find, err);
  r->n_near = r->n_worded = KIN_FUSION_WINDOW;
  kin_status status = KIN_OK;
  for (r->n = 0; status == KIN_OK && *told && r->n < n; r->n++) {
    json_t *hit = json_array_get(hits, r->n);
    size_t ranks[2];
    kin_match *match = &r->matches[r->n];
    status = kin_remote_take_hit(r->find, hit, match, err);
    *told = read_ranks(hit, ranks);
    if (status != KIN_OK || !*told) continue;
    if (ranks[0]) r->near[ranks[0] - 1] = *match;
    if (ranks[1]) r->worded[ranks[1] - 1] = *match;
  }
  return status;
}

static json_t *fusion_body(const kin_find *f, json_t *knn, json_t *words, size_t wanted) {
  json_t *body = json_pack("{s{s{s[{sO} {s{sO}}] si si}} sI sb sb}", "retriever", "rrf", "retrievers", "knn", knn,
                           "standard", "query", words, "rank_constant", KIN_FUSION_RANK, "rank_window_size",
                           KIN_FUSION_WINDOW, "size", (json_int_t)wanted, "explain", true, "track_total_hits", false);
  if (body && kin_remote_set_fields(f, body, false)) return body;
  json_decref(body);
  return NULL;
}

kin_status kin_remote_fuse_both(kin_ranking *r, size_t wanted, bool *done, kin_error *err) {
  struct kin_remote *remote = r->find->store->remote;
  json_t *knn, *words;
  *done = false;
  if (remote->no_fusion || !remote->cosines || wanted > KIN_FUSION_WINDOW) return KIN_OK;
  kin_status status = make_searches(r, &knn, &words, err);
  if (status != KIN_OK || !words) return status;
  json_t *body = fusion_body(r->find, knn, words, wanted);
  kin_elastic_request request;
  status = send(r->find, &body, &request, 1, err);
  if (status == KIN_OK) {
    status = take_fused(r, kin_remote_hits(request.answer), done, err);
    r->complete = *done && r->n < wanted;
  } else if (is_refusal(&request)) {
    status = KIN_OK;
  }
  remote->no_fusion = status == KIN_OK && !*done;
  json_decref(request.answer);
  json_decref(knn);
  json_decref(words);
  return status;
}

/* ------------------------------------------------------------------------ listing */

/* Only what tells which documents they are. */
static json_t *list_body(const kin_find *f, const char *key, json_t *search) {
  json_t *body =
      json_pack("{sO si sb sb}", key, search, "size", KIN_FUSION_WINDOW, "track_total_hits", false, "_source", false);
  if (f->store->remote->foreign) return body;
  if (json_object_set_new(body, "stored_fields", json_string("_none_")) == 0 &&
      json_object_set_new(body, "docvalue_fields", json_pack("[ss]", "item", "ordinal")) == 0)
    return body;
  json_decref(body);
  return NULL;
}

static kin_status take_list(kin_find *f, const json_t *answer, kin_match **out, size_t *n_out, kin_error *err) {
  const json_t *hits = kin_remote_hits(answer);
  size_t n = json_array_size(hits) < KIN_FUSION_WINDOW ? json_array_size(hits) : KIN_FUSION_WINDOW;
  *out = kin_array(n + 1, sizeof **out);
  kin_status status = *out ? KIN_OK : no_memory(f, err);
  for (size_t i = 0; status == KIN_OK && i < n; i++)
    status = kin_remote_identify(f, json_array_get(hits, i), &(*out)[i], err);
  if (status == KIN_OK) qsort(*out, n, sizeof **out, kin_match_compare);
  *n_out = status == KIN_OK ? n : 0;
  return status;
}

kin_status kin_remote_list_both(kin_ranking *r, bool *done, kin_error *err) {
  kin_find *f = r->find;
  struct kin_remote *remote = f->store->remote;
  json_t *knn, *words;
  *done = false;
  if (remote->no_rescoring || !remote->cosines) return KIN_OK;
  kin_status status = make_searches(r, &knn, &words, err);
  if (status != KIN_OK || !words) return status;
  json_t *bodies[] = {list_body(f, "knn", knn), list_body(f, "query", words)};
  kin_elastic_request requests[2];
  status = send(f, bodies, requests, 2, err);
  remote->no_rescoring = status != KIN_OK && is_refusal(&requests[0]);
  if (status == KIN_OK) status = take_list(f, requests[0].answer, &r->near, &r->n_near, err);
  if (status == KIN_OK) status = take_list(f, requests[1].answer, &r->worded, &r->n_worded, err);
  for (size_t i = 0; status == KIN_OK && i < r->n_near; i++)
    r->near[i].score = 2 * r->near[i].score - 1; /* the cosine */
  *done = status == KIN_OK && !remote->no_rescoring;
  for (size_t i = 0; i < 2; i++) json_decref(requests[i].answer);
  json_decref(knn);
  json_decref(words);
  return remote->no_rescoring ? KIN_OK : status;
}
