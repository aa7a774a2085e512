/* The "model" of a tokenizer.json: it turns one piece of text into token ids. */
#ifndef KIN_TEXT_MODELS_H
#define KIN_TEXT_MODELS_H

#include "base/json.h"
#include "text/unicode.h"
#include "text/vocabulary.h"

/* `failed` as in kin_bytes. */
typedef struct kin_ids {
  int32_t *data;
  size_t count, capacity;
  bool failed;
} kin_ids;
void kin_ids_add(kin_ids *ids, int32_t id);

/* ---- byte pair encoding */

typedef struct kin_bpe kin_bpe;

typedef struct kin_bpe_options {
  const char *unk_token, *end_of_word_suffix; /* NULL: none; copied or looked up */
  bool fuse_unk, ignore_merges;
} kin_bpe_options;

/* An encoder without merges yet, over `vocabulary`, which must outlive it. */
kin_status kin_bpe_open(const kin_vocabulary *vocabulary, const kin_bpe_options *options, size_t n_merges,
                        kin_bpe **out, kin_error *err);
/* Merges come in order of rank, at most n_merges of them. KIN_ERR_FORMAT names a token that the vocabulary lacks. */
kin_status kin_bpe_add_merge(kin_bpe *bpe, const char *left, size_t left_size, const char *right, size_t right_size,
                             const char *file, kin_error *err);
void kin_bpe_close(kin_bpe *bpe);

/* Working memory of one call, for any number of pieces; zero it before, release it after. */
typedef struct kin_bpe_work {
  struct kin_bpe_symbol *symbols;
  struct kin_bpe_candidate *queue;
  size_t symbols_capacity, queue_capacity, queued;
  kin_bytes spelling;
} kin_bpe_work;
void kin_bpe_work_free(kin_bpe_work *work);

/* Append the ids of one piece. KIN_ERR_FORMAT: a character is unknown, and so is the unknown token. */
kin_status kin_bpe_tokenize(const kin_bpe *bpe, kin_bpe_work *work, const char *text, size_t size, kin_ids *out,
                            kin_error *err);

/* ---- WordPiece */

typedef struct kin_wordpiece kin_wordpiece;

typedef struct kin_wordpiece_options {
  const char *unk_token, *continuing_subword_prefix;
  size_t max_input_chars_per_word;
} kin_wordpiece_options;

/* `vocabulary` must outlive it. KIN_ERR_FORMAT if the unknown token isn't in it. */
kin_status kin_wordpiece_open(const kin_vocabulary *vocabulary, const kin_wordpiece_options *options, const char *file,
                              kin_wordpiece **out, kin_error *err);
void kin_wordpiece_close(kin_wordpiece *wordpiece);
void kin_wordpiece_tokenize(const kin_wordpiece *wordpiece, const char *text, size_t size, kin_ids *out);

/* ---- Unigram */

typedef struct kin_unigram kin_unigram;

/* scores[id] belongs to the token `id` of `vocabulary`, which must outlive it; `scores` is copied. unk_id -1: none. */
kin_status kin_unigram_open(const kin_vocabulary *vocabulary, const double *scores, size_t n, int32_t unk_id,
                            bool byte_fallback, kin_unigram **out, kin_error *err);
void kin_unigram_close(kin_unigram *unigram);

typedef struct kin_unigram_work {
  struct kin_unigram_node *nodes;
  size_t capacity;
} kin_unigram_work;
void kin_unigram_work_free(kin_unigram_work *work);

/* KIN_ERR_FORMAT: a character is unknown, and there is no unknown token. */
kin_status kin_unigram_tokenize(const kin_unigram *unigram, kin_unigram_work *work, const char *text, size_t size,
                                kin_ids *out, kin_error *err);

#endif
