/* Words to search by: what a full-text index holds of a text, and what a query asks it for. */
#ifndef KIN_SEARCH_TOKENS_H
#define KIN_SEARCH_TOKENS_H

#include "base/base.h"

typedef enum kin_search_kind {
  KIN_SEARCH_WORD,   /* of a script that separates its words; a number; an emoji */
  KIN_SEARCH_BIGRAM, /* two neighbours of a run of Han, Hiragana, Katakana and Hangul */
  KIN_SEARCH_SINGLE, /* the only character of such a run */
  KIN_SEARCH_TAIL    /* the last character of a longer run, which no bigram begins with */
} kin_search_kind;

typedef struct kin_search_token {
  kin_search_kind kind;
  const char *text; /* UTF-8, lower case, not NUL-terminated; valid during the call */
  size_t size;
} kin_search_token;

/* False stops. */
typedef bool (*kin_search_sink)(void *user, const kin_search_token *token);

/* Pass the tokens of `text` on, in order. Without those of kind TAIL they are the terms that Lucene's CJKAnalyzer
 * (Elasticsearch's "cjk") gives for the text in normal form C, with two differences: no stop words are left out, and
 * Hangul and Katakana never share a token with what isn't Chinese, Japanese or Korean ("2023년" is "2023" and "년").
 * Full-width letters and half-width kana are folded. Any bytes will do; those that aren't UTF-8 separate words.
 * KIN_ERR_MEMORY. */
kin_status kin_search_tokens(const char *text, size_t size, kin_search_sink sink, void *user, kin_error *err);

/* The same of a path, each of whose names is taken apart at punctuation, at a change of case, and between letters and
 * digits, and is there whole too: "2023/SnowyRoad_01.jpg" has 2023, snowy, road, 01, jpg, snowyroad_01. */
kin_status kin_search_path_tokens(const char *path, size_t size, kin_search_sink sink, void *user, kin_error *err);

#endif
