/* The tokens of a filter, one at a time. */
#ifndef KIN_FILTER_TOKENS_H
#define KIN_FILTER_TOKENS_H

#include "base/base.h"

typedef enum kin_token_type {
  KIN_TOKEN_END,
  KIN_TOKEN_WORD,   /* and, path, meta.camera */
  KIN_TOKEN_NUMBER, /* 12, -1.5e3 */
  KIN_TOKEN_TEXT,   /* 'it''s' */
  KIN_TOKEN_SIGN    /* ( ) , = == != <> < <= > >= */
} kin_token_type;

typedef struct kin_token {
  kin_token_type type;
  const char *at; /* in the text */
  size_t size;
} kin_token;

typedef struct kin_tokens {
  const char *text;
  kin_token now; /* begins as {.at = text} */
  kin_error *err;
} kin_tokens;

/* Go on to the next token. KIN_ERR_ARGUMENT for what is none. */
kin_status kin_token_next(kin_tokens *tokens);
/* Whether the token is this word (given in lower case; the token's case doesn't count) or sign. */
bool kin_token_is(kin_token token, const char *word);
/* Go on if the token is this one, else fail. */
kin_status kin_token_expect(kin_tokens *tokens, const char *word, const char *expected);
/* What stands between the quotes of a text, in a new string; NULL: out of memory. */
char *kin_token_unquote(kin_token token);
/* Characters of the text before the token, and one. */
size_t kin_token_column(const kin_tokens *tokens, kin_token where);
/* KIN_ERR_ARGUMENT: "filter, column N: at TOKEN: expected so". */
kin_status kin_token_fail(const kin_tokens *tokens, kin_token where, const char *expected);

#endif
