/* The inside of a tokenizer, and the two ways to fill it. */
#ifndef KIN_TEXT_TOKENIZER_H
#define KIN_TEXT_TOKENIZER_H

#include "text/added_tokens.h"
#include "text/models.h"
#include "text/normalizer.h"
#include "text/pretokenizer.h"
#include "text/text.h"

/* No tokenizer file may be larger. */
#define KIN_TOKENIZER_FILE_LIMIT ((size_t)256 << 20)

/* Text goes through these in order: added tokens that are looked for as they are, normaliser, added tokens that are
 * looked for in normalised text, pre-tokenizer, model, cut to length, tokens around it. */
struct kin_tokenizer {
  kin_vocabulary vocabulary; /* the model's */
  kin_added_tokens added;
  kin_normalizer *normalizer;
  kin_pretokenizer *pretokenizer;
  /* Exactly one of these. */
  kin_bpe *bpe;
  kin_wordpiece *wordpiece;
  kin_unigram *unigram;
  kin_ids prefix, suffix; /* what the post-processor puts around the text */
  size_t n_ids;           /* largest id + 1 */
};

/* Fill the zeroed `t`, which the caller closes whatever comes back. */
kin_status kin_tokenizer_load_json(kin_tokenizer *t, const char *path, kin_error *err);
/* From `dir`/vocab.json and merges.txt: CLIP's. */
kin_status kin_tokenizer_load_clip(kin_tokenizer *t, const char *dir, kin_error *err);
/* From `dir`/vocab.txt and tokenizer_config.json: BERT's. */
kin_status kin_tokenizer_load_bert(kin_tokenizer *t, const char *dir, kin_error *err);

/* The "vocab" object of a BPE or WordPiece model into t->vocabulary. KIN_ERR_FORMAT: two tokens with one id. */
kin_status kin_tokenizer_take_vocabulary(kin_tokenizer *t, const json_t *vocab, const char *file, kin_error *err);
/* Add `token` to t->vocabulary and count its id in. */
kin_status kin_tokenizer_add(kin_tokenizer *t, const char *token, size_t size, int32_t id, kin_error *err);
/* The id of an added token or one of the model's, or -1. */
int32_t kin_tokenizer_find(const kin_tokenizer *t, const char *token);
/* Bytes of the line at `line`, without its end, in *size; returns the start of the next one, `end` behind the last. */
const char *kin_next_line(const char *line, const char *end, size_t *size);

#endif
