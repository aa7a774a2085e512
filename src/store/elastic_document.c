/* What documents of an index look like, and the requests that more than one part makes. */
#include "embed/path_json.h"
#include "store/elastic_parts.h"
#include "text/buffer.h"
#include "text/search_tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t kin_remote_item_of(const char *path) {
  char hex[65] = "", first[17];
  kin_sha256 *hash = kin_sha256_new();
  if (!hash) return 0;
  kin_sha256_update(hash, path, strlen(path));
  kin_sha256_finish(hash, hex);
  memcpy(first, hex, 16);
  first[16] = '\0';
  int64_t id = (int64_t)(strtoull(first, NULL, 16) >> 1);
  return id ? id : 1;
}

void kin_remote_name(int64_t item, uint64_t ordinal, char out[48]) {
  int n = snprintf(out, 48, "%016llx", (unsigned long long)item);
  if (ordinal) snprintf(out + n, 48 - (size_t)n, ".%llu", (unsigned long long)ordinal);
}

static char *decode_hex(const char *hex) {
  size_t n = strlen(hex) / 2;
  char *out = kin_array(n + 1, 1);
  for (size_t i = 0; out && i < n; i++) {
    char digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
    out[i] = (char)strtoul(digits, NULL, 16);
  }
  if (out) out[n] = '\0';
  return out;
}

char *kin_remote_path(const json_t *source) {
  const char *hex = json_string_value(json_object_get(source, "path_hex"));
  const char *path = json_string_value(json_object_get(source, "path"));
  return hex ? decode_hex(hex) : path ? kin_strdup(path) : NULL;
}

/* ------------------------------------------------------------------------- words */

/* A tail finds nothing that isn't in a bigram, and would come between the words of a phrase. */
static bool append_token(void *user, const kin_search_token *token) {
  kin_bytes *out = user;
  if (token->kind == KIN_SEARCH_TAIL) return true;
  if (out->size) kin_bytes_append(out, " ", 1);
  kin_bytes_append(out, token->text, token->size);
  return true;
}

json_t *kin_remote_words_of(const char *text, bool path) {
  kin_bytes words = {0};
  size_t size = strlen(text);
  kin_status status = path ? kin_search_path_tokens(text, size, append_token, &words, NULL)
                           : kin_search_tokens(text, size, append_token, &words, NULL);
  json_t *out = status == KIN_OK && !words.failed ? json_stringn(words.size ? words.data : "", words.size) : NULL;
  kin_bytes_free(&words);
  return out;
}

/* ---------------------------------------------------------------------- requests */

static kin_status no_memory(const kin_store *store, kin_error *err) {
  return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", store->path);
}

kin_status kin_remote_post(kin_store *store, const char *call, json_t *body, json_t **answer, kin_error *err) {
  struct kin_remote *r = store->remote;
  *answer = NULL;
  char *path = body ? kin_format("%s/%s", r->address.index, call) : NULL;
  if (!path) {
    json_decref(body);
    return no_memory(store, err);
  }
  kin_status status = kin_elastic_call(r->client, "POST", path, body, false, answer, err);
  free(path);
  return status;
}

json_t *kin_remote_hits(const json_t *answer) {
  json_t *hits = json_object_get(json_object_get(answer, "hits"), "hits");
  return json_is_array(hits) ? hits : NULL;
}

bool kin_remote_vector(const kin_store *store, const json_t *hit, float *out, size_t dim) {
  const char *field = store->remote->vector_field ? store->remote->vector_field : "vector";
  const json_t *values = json_object_get(json_object_get(hit, "fields"), field);
  if (json_array_size(values) != dim) return false;
  for (size_t i = 0; i < dim; i++) {
    const json_t *value = json_array_get(values, i);
    if (!json_is_number(value)) return false;
    out[i] = (float)json_number_value(value);
  }
  return true;
}

/* The body of a page's request, after the hit `last` of the page before. Takes nothing over. */
static json_t *page_body(json_t *query, json_t *source, bool vectors, const json_t *moment, const json_t *last) {
  json_t *body = json_pack("{sO s[ss] si sO*}", "query", query, "sort", "path", "ordinal", "size", KIN_ELASTIC_PAGE,
                           "search_after", json_object_get(last, "sort"));
  bool ok = body && (source ? json_object_set(body, "_source", source)
                            : json_object_set_new(body, "_source", json_false())) == 0;
  if (ok && vectors) ok = json_object_set_new(body, "fields", json_pack("[s]", "vector")) == 0;
  if (ok && moment)
    ok = json_object_set_new(body, "pit",
                             json_pack("{sO ss}", "id", json_object_get(moment, "id"), "keep_alive", "5m")) == 0;
  if (ok) return body;
  json_decref(body);
  return NULL;
}

kin_status kin_remote_each(kin_store *store, json_t *query, json_t *source, bool vectors, const json_t *moment,
                           kin_status (*visit)(void *user, const json_t *hit, kin_error *err), void *user,
                           kin_error *err) {
  json_t *answer = NULL, *hits = NULL;
  kin_status status = query ? KIN_OK : no_memory(store, err);
  size_t n = KIN_ELASTIC_PAGE;
  while (status == KIN_OK && n == KIN_ELASTIC_PAGE) {
    json_t *body = page_body(query, source, vectors, moment, json_array_get(hits, n - 1)), *page = NULL;
    if (!body) {
      status = no_memory(store, err);
      break;
    }
    status = moment ? kin_elastic_call(store->remote->client, "POST", KIN_ELASTIC_SEARCH, body, false, &page, err)
                    : kin_remote_post(store, KIN_ELASTIC_SEARCH, body, &page, err);
    json_decref(answer);
    answer = page;
    hits = kin_remote_hits(answer);
    n = json_array_size(hits);
    for (size_t i = 0; status == KIN_OK && i < n; i++) status = visit(user, json_array_get(hits, i), err);
  }
  json_decref(answer);
  json_decref(query);
  json_decref(source);
  return status;
}

kin_status kin_remote_make_visible(kin_store *store, kin_error *err) {
  json_t *answer = NULL;
  char *path = kin_format("%s/_refresh", store->remote->address.index);
  kin_status status =
      path ? kin_elastic_call(store->remote->client, "POST", path, NULL, false, &answer, err) : no_memory(store, err);
  json_decref(answer);
  free(path);
  return status;
}

bool kin_remote_set_caption_field(const kin_store *store, json_t *fields, const char *key, const char *text) {
  char whole[40];
  if (store->remote->words)
    return text ? kin_json_set_text(fields, key, text) : json_object_set_new(fields, key, json_null()) == 0;
  snprintf(whole, sizeof whole, "%s" KIN_ELASTIC_WHOLE, key);
  if (!text)
    return json_object_set_new(fields, key, json_null()) == 0 && json_object_set_new(fields, whole, json_null()) == 0;
  return json_object_set_new(fields, key, kin_remote_words_of(text, false)) == 0 &&
         kin_json_set_text(fields, whole, text);
}
