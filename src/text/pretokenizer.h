/* The "pre_tokenizer" of a tokenizer.json: it cuts a text into the pieces that the model sees one by one. */
#ifndef KIN_TEXT_PRETOKENIZER_H
#define KIN_TEXT_PRETOKENIZER_H

#include "base/json.h"
#include "text/unicode.h"

typedef struct kin_pretokenizer kin_pretokenizer;

/* As kin_normalizer_parse. */
kin_status kin_pretokenizer_parse(const json_t *json, const char *file, kin_pretokenizer **out, kin_error *err);
void kin_pretokenizer_free(kin_pretokenizer *pretokenizer);

/* Cut every piece of `pieces` that isn't an added token; `scratch` is working memory. */
void kin_pretokenize(const kin_pretokenizer *pretokenizer, kin_pieces *pieces, kin_pieces *scratch);

/* Each of the following cuts one piece, `text`, and appends what it gives to `out`. */

/* GPT-2's byte level: words by its regular expression, every byte spelt as a visible character. */
typedef struct kin_byte_level {
  bool add_prefix_space, use_regex;
} kin_byte_level;
kin_status kin_byte_level_parse(const json_t *json, const char *file, kin_byte_level *out, kin_error *err);
void kin_byte_level_cut(const kin_byte_level *level, const char *text, size_t size, kin_pieces *out);
/* The character that stands for `byte`. */
uint32_t kin_byte_level_character(uint8_t byte);

/* 's|'t|'re|'ve|'m|'ll|'d : bytes of the contraction at text[at], or 0. */
size_t kin_contraction_at(const char *text, size_t size, size_t at);

/* CLIP's Split: the matches of its regular expression, the rest dropped. KIN_ERR_UNSUPPORTED for any other Split. */
kin_status kin_clip_split_check(const json_t *json, const char *file, kin_error *err);
void kin_clip_split_cut(const char *text, size_t size, kin_pieces *out);

/* SentencePiece's blanks: spaces become a visible character, and words begin with it. */
typedef struct kin_metaspace {
  char blank[5]; /* UTF-8 */
  bool prepend, split;
} kin_metaspace;
kin_status kin_metaspace_parse(const json_t *json, const char *file, kin_metaspace *out, kin_error *err);
void kin_metaspace_cut(const kin_metaspace *metaspace, const char *text, size_t size, kin_pieces *out);

#endif
