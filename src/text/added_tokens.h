/* The "added_tokens" of a tokenizer.json: found in the text before anything else looks at it. */
#ifndef KIN_TEXT_ADDED_TOKENS_H
#define KIN_TEXT_ADDED_TOKENS_H

#include "text/normalizer.h"
#include "text/vocabulary.h"

typedef struct kin_added_token {
  char *spelling; /* what is looked for */
  size_t size;
  int32_t id;
  bool lstrip, rstrip; /* takes the white space before, after it along */
} kin_added_token;

/* Longest first among those that begin with the same byte. */
typedef struct kin_added_list {
  kin_added_token *items;
  size_t count, capacity;
  size_t first[257]; /* items[first[b] .. first[b + 1]) begin with byte b */
} kin_added_list;

typedef struct kin_added_tokens {
  kin_added_list raw;        /* looked for in the text as it is */
  kin_added_list normalized; /* looked for, normalised, in the normalised text */
  kin_vocabulary ids;        /* of all of them, by their content */
} kin_added_tokens;

typedef struct kin_added_options {
  bool lstrip, rstrip, normalized;
} kin_added_options;

/* Room for `count` tokens. Release with kin_added_tokens_free in any case. */
kin_status kin_added_tokens_init(kin_added_tokens *tokens, size_t count, kin_error *err);
/* At most `count` times. */
kin_status kin_added_tokens_add(kin_added_tokens *tokens, const char *content, int32_t id,
                                const kin_added_options *options, const kin_normalizer *normalizer, kin_error *err);
/* After the last one. */
void kin_added_tokens_finish(kin_added_tokens *tokens);
void kin_added_tokens_free(kin_added_tokens *tokens);

/* Append to `out` the pieces of `text` between the tokens of `list`, and those tokens. */
void kin_added_tokens_cut(const kin_added_list *list, const char *text, size_t size, kin_pieces *out);

#endif
