/* UTF-8 text -> token ids, equal to the reference fast tokenizer's for the same tokenizer.json. */
#ifndef KIN_TEXT_H
#define KIN_TEXT_H

#include "base/base.h"

typedef struct kin_tokenizer kin_tokenizer;

/* Read `dir`/tokenizer.json; without it vocab.json + merges.txt (CLIP's byte-level BPE) or vocab.txt and, where it is
 * there, tokenizer_config.json (BERT's WordPiece). The file's own truncation and padding are not applied.
 * KIN_ERR_IO: none of these; KIN_ERR_FORMAT: damaged; KIN_ERR_UNSUPPORTED names an unknown model, normalizer,
 * pre_tokenizer or post_processor type, or a regular expression other than the known ones. */
kin_status kin_tokenizer_open(const char *dir, kin_tokenizer **out, kin_error *err);
void kin_tokenizer_close(kin_tokenizer *tokenizer);

size_t kin_tokenizer_vocabulary(const kin_tokenizer *tokenizer); /* largest id + 1 */

/* Ids with the start and end tokens of the model, cut to at most `max_tokens` with the end token kept
 * (0: no limit), no padding. Special tokens that are spelt out in the text are taken as such, as the reference does.
 * *ids is a new array, free with free(). Immutable tokenizer: thread-safe.
 * Invalid UTF-8 is KIN_ERR_FORMAT naming the byte offset; a NUL byte is an ordinary character. KIN_ERR_ARGUMENT:
 * `max_tokens` has no room for the start and end tokens. */
kin_status kin_tokenize(const kin_tokenizer *tokenizer, const char *text, size_t size, size_t max_tokens, int32_t **ids,
                        size_t *n_ids, kin_error *err);

#endif
