/* Words as a query: any of them, those in "quotes" as a phrase, in names, captions and passages. */
#include "store/elastic_parts.h"
#include "text/buffer.h"
#include "text/search_tokens.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_WORDS = 1024 };

/* Where words are searched, and what they count there, as in words.c. */
typedef struct place {
  const char *field;
  double weight;
  bool tokens;       /* it holds this library's own tokens */
  const char *pairs; /* the field of its pairs of characters, itself or inside it; NULL: others made it */
} place;

typedef struct builder {
  const place *place;
  json_t *any; /* queries, one of which must match */
  size_t n;
  bool failed;
} builder;

static void put(builder *b, json_t *query) {
  if (json_array_append_new(b->any, query) != 0) b->failed = true;
}

/* A single character of Chinese, Japanese or Korean is in bigrams too, in either place. */
static json_t *single(const builder *b, const char *text, size_t size) {
  char *pattern = kin_format("*%.*s*", (int)size, text);
  json_t *query = pattern ? json_pack("{s{s{ss sf ss}}}", "wildcard", b->place->pairs, "value", pattern, "boost",
                                      b->place->weight, "rewrite", "top_terms_blended_freqs_100")
                          : NULL;
  free(pattern);
  return query;
}

/* An analyser finds such a character only where it stands alone. */
static bool on_single(void *user, const kin_search_token *token) {
  builder *b = user;
  if (token->kind == KIN_SEARCH_TAIL) return true;
  if (token->kind == KIN_SEARCH_SINGLE) put(b, single(b, token->text, token->size));
  return !b->failed && ++b->n <= MOST_WORDS;
}

static bool on_token(void *user, const kin_search_token *token) {
  builder *b = user;
  if (token->kind == KIN_SEARCH_TAIL) return true;
  if (token->kind == KIN_SEARCH_SINGLE)
    put(b, single(b, token->text, token->size));
  else
    put(b, json_pack("{s{s{ss% sf}}}", "term", b->place->field, "value", token->text, token->size, "boost",
                     b->place->weight));
  return !b->failed && ++b->n <= MOST_WORDS;
}

/* Takes `text`. By stems or by pairs: whichever finds more. */
static json_t *match(const char *kind, const place *p, json_t *text) {
  if (!p->pairs || strcmp(p->pairs, p->field) == 0)
    return json_pack("{s{s{so sf}}}", kind, p->field, "query", text, "boost", p->weight);
  json_t *query = json_pack("{s{s[{s{s{sO sf}}} {s{s{sO sf}}}]}}", "dis_max", "queries", kind, p->field, "query", text,
                            "boost", p->weight, kind, p->pairs, "query", text, "boost", p->weight);
  json_decref(text);
  return query;
}

/* A stretch of the query, in quotes or not. */
static kin_status put_part(builder *b, const char *text, size_t size, bool phrase, kin_error *err) {
  kin_status status = KIN_OK;
  if (!b->place->tokens) {
    put(b, match(phrase ? "match_phrase" : "match", b->place, json_stringn(text, size)));
    if (b->place->pairs && !phrase) status = kin_search_tokens(text, size, on_single, b, err);
  } else if (!phrase) {
    status = kin_search_tokens(text, size, on_token, b, err);
  } else {
    char *part = strndup(text, size);
    json_t *words = part ? kin_remote_words_of(part, false) : NULL;
    free(part);
    if (words && !*json_string_value(words))
      json_decref(words);
    else
      put(b, match("match_phrase", b->place, words));
  }
  return status;
}

static kin_status put_place(const place *p, const char *text, json_t *any, size_t *n, kin_error *err) {
  builder b = {.place = p, .any = any};
  kin_status status = KIN_OK;
  bool phrase = false;
  while (status == KIN_OK && *text) {
    size_t size = strcspn(text, "\"");
    if (size) status = put_part(&b, text, size, phrase, err);
    text += size;
    if (*text) text++, phrase = !phrase && strchr(text, '"');
  }
  *n = b.n;
  if (status == KIN_OK && b.failed) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for the query's words");
  return status;
}

kin_status kin_remote_words(const kin_store *store, const char *text, json_t **out, kin_error *err) {
  const struct kin_remote *r = store->remote;
  const bool stems = r->words && strcmp(r->words, KIN_ELASTIC_STEMS) == 0, tokens = !r->words;
  const char *text_field = tokens ? "passage_words" : "passage";
  const place own[] = {
      {"name_words", 0.5, true, "name_words"},
      {"caption_given", 1, tokens, stems ? "caption_given." KIN_ELASTIC_PAIRS : "caption_given"},
      {"caption_sidecar", 1, tokens, stems ? "caption_sidecar." KIN_ELASTIC_PAIRS : "caption_sidecar"},
      {"caption_embedded", 1, tokens, stems ? "caption_embedded." KIN_ELASTIC_PAIRS : "caption_embedded"},
      {text_field, 1, tokens, stems ? "passage." KIN_ELASTIC_PAIRS : text_field}};
  const place others = {r->text_field, 1, false, NULL};
  kin_status status = KIN_OK;
  *out = NULL;
  if (r->foreign && !r->text_field)
    return kin_fail(err, KIN_ERR_ARGUMENT, "%s: words are in which field? give --text-field", store->path);
  json_t *any = json_array();
  size_t n = r->foreign ? 1 : sizeof own / sizeof *own, words = 0;
  for (size_t i = 0; status == KIN_OK && i < n; i++)
    status = put_place(r->foreign ? &others : &own[i], text, any, &words, err);
  if (status == KIN_OK && words > MOST_WORDS)
    status = kin_fail(err, KIN_ERR_LIMIT, "the query has more than %d words", MOST_WORDS);
  if (status == KIN_OK && json_array_size(any)) {
    *out = json_pack("{s{sO}}", "bool", "should", any);
    if (!*out) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for the query's words");
  }
  json_decref(any);
  return status;
}
