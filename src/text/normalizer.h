/* The "normalizer" of a tokenizer.json. */
#ifndef KIN_TEXT_NORMALIZER_H
#define KIN_TEXT_NORMALIZER_H

#include "base/json.h"
#include "text/unicode.h"

typedef struct kin_normalizer kin_normalizer;

/* From the JSON value `json` (NULL or null: *out is NULL, which changes nothing). `file` is for messages.
 * KIN_ERR_UNSUPPORTED names an unknown type or pattern. */
kin_status kin_normalizer_parse(const json_t *json, const char *file, kin_normalizer **out, kin_error *err);
void kin_normalizer_free(kin_normalizer *normalizer);

/* Replace `text` by its normalised form; `scratch` is working memory. */
void kin_normalize(const kin_normalizer *normalizer, kin_bytes *text, kin_bytes *scratch);

/* Each of the following appends the normalised `text` to `out`. */

typedef struct kin_bert_normalizer {
  bool clean_text, handle_chinese_chars, strip_accents, lowercase;
} kin_bert_normalizer;
kin_status kin_bert_normalizer_parse(const json_t *json, const char *file, kin_bert_normalizer *out, kin_error *err);
void kin_bert_normalize(const kin_bert_normalizer *normalizer, const char *text, size_t size, kin_bytes *out);

/* SentencePiece's precompiled rewrite rules: a Darts double array over the bytes to replace, and what replaces them. */
typedef struct kin_charsmap kin_charsmap;
kin_status kin_charsmap_parse(const json_t *json, const char *file, kin_charsmap **out, kin_error *err);
void kin_charsmap_free(kin_charsmap *map);
void kin_charsmap_normalize(const kin_charsmap *map, const char *text, size_t size, kin_bytes *out);

#endif
