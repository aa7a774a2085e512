/* The "vocab" of a Unigram model, read straight from the text of tokenizer.json. */
#ifndef KIN_TEXT_UNIGRAM_VOCABULARY_H
#define KIN_TEXT_UNIGRAM_VOCABULARY_H

#include "text/buffer.h"

typedef struct kin_unigram_vocabulary {
  kin_bytes text; /* all tokens, one behind the other */
  size_t *ends;   /* token i is text[ends[i - 1] .. ends[i]) */
  double *scores;
  size_t count, ends_capacity, scores_capacity;
} kin_unigram_vocabulary;

/* Find model.vocab in `json` where it is an array, read its [token, score] pairs into *out, and blank it in `json`,
 * whose rest is then small. Without such an array *out is empty. KIN_ERR_FORMAT names the entry that is no such pair.
 *
 * Why not by the JSON library: a quarter of a million pairs take it most of the time of opening, and the scores must
 * be rounded as the reference's parser rounds them, which is not always to the nearest: equal sums of scores would
 * otherwise be told apart where it doesn't, and the other way round. */
kin_status kin_unigram_vocabulary_take(char *json, size_t *size, const char *file, kin_unigram_vocabulary *out,
                                       kin_error *err);
void kin_unigram_vocabulary_free(kin_unigram_vocabulary *v);

#endif
