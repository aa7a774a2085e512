/* tokenizer.json. */
#include "text/post_processor.h"
#include "text/tokenizer.h"
#include "text/unigram_vocabulary.h"

#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- models */

static kin_status bad_merge(const char *file, size_t i, kin_error *err) {
  return kin_fail(err, KIN_ERR_FORMAT, "%s: merge %zu isn't a pair of tokens", file, i + 1);
}

/* A merge is ["a", "b"] or, in older files, "a b". */
static kin_status add_merge(kin_bpe *bpe, const json_t *merge, size_t i, const char *file, kin_error *err) {
  const char *left, *right;
  size_t left_size, right_size;
  if (json_is_string(merge)) {
    left = json_string_value(merge);
    const char *blank = strchr(left, ' ');
    if (!blank || strchr(blank + 1, ' ')) return bad_merge(file, i, err);
    left_size = (size_t)(blank - left);
    right = blank + 1;
    right_size = strlen(right);
  } else {
    left = json_string_value(json_array_get(merge, 0));
    right = json_string_value(json_array_get(merge, 1));
    if (!left || !right || json_array_size(merge) != 2) return bad_merge(file, i, err);
    left_size = strlen(left);
    right_size = strlen(right);
  }
  return kin_bpe_add_merge(bpe, left, left_size, right, right_size, file, err);
}

/* Options of BPE that none of the supported models use. */
static kin_status refuse_bpe_options(const json_t *model, const char *file, kin_error *err) {
  bool byte_fallback = false;
  double dropout = 0;
  const char *prefix = NULL;
  kin_status status = kin_json_bool(model, "byte_fallback", file, &byte_fallback, err);
  if (status == KIN_OK) status = kin_json_float(model, "dropout", file, &dropout, err);
  if (status == KIN_OK) status = kin_json_string(model, "continuing_subword_prefix", file, &prefix, err);
  if (status != KIN_OK) return status;
  const char *option = byte_fallback       ? "byte_fallback"
                       : dropout != 0      ? "dropout"
                       : prefix && *prefix ? "continuing_subword_prefix"
                                           : NULL;
  return option ? kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: unsupported BPE option \"%s\"", file, option) : KIN_OK;
}

static kin_status load_bpe(kin_tokenizer *t, const json_t *model, const char *file, kin_error *err) {
  kin_bpe_options options = {0};
  kin_status status = refuse_bpe_options(model, file, err);
  if (status == KIN_OK) status = kin_json_string(model, "unk_token", file, &options.unk_token, err);
  if (status == KIN_OK) status = kin_json_string(model, "end_of_word_suffix", file, &options.end_of_word_suffix, err);
  if (status == KIN_OK) status = kin_json_bool(model, "fuse_unk", file, &options.fuse_unk, err);
  if (status == KIN_OK) status = kin_json_bool(model, "ignore_merges", file, &options.ignore_merges, err);
  if (status == KIN_OK) status = kin_tokenizer_take_vocabulary(t, json_object_get(model, "vocab"), file, err);
  if (status != KIN_OK) return status;
  const json_t *merges = json_object_get(model, "merges");
  if (!json_is_array(merges)) return kin_fail(err, KIN_ERR_FORMAT, "%s: \"merges\" must be an array", file);
  status = kin_bpe_open(&t->vocabulary, &options, json_array_size(merges), &t->bpe, err);
  for (size_t i = 0; status == KIN_OK && i < json_array_size(merges); i++)
    status = add_merge(t->bpe, json_array_get(merges, i), i, file, err);
  return status;
}

static kin_status load_wordpiece(kin_tokenizer *t, const json_t *model, const char *file, kin_error *err) {
  kin_wordpiece_options options = {"[UNK]", "##", 100};
  kin_status status = kin_json_string(model, "unk_token", file, &options.unk_token, err);
  if (status == KIN_OK)
    status = kin_json_string(model, "continuing_subword_prefix", file, &options.continuing_subword_prefix, err);
  if (status == KIN_OK)
    status =
        kin_json_size(model, "max_input_chars_per_word", file, 0, SIZE_MAX, &options.max_input_chars_per_word, err);
  if (status == KIN_OK) status = kin_tokenizer_take_vocabulary(t, json_object_get(model, "vocab"), file, err);
  return status == KIN_OK ? kin_wordpiece_open(&t->vocabulary, &options, file, &t->wordpiece, err) : status;
}

static kin_status load_unigram(kin_tokenizer *t, const json_t *model, const kin_unigram_vocabulary *vocab,
                               const char *file, kin_error *err) {
  size_t unk_id = SIZE_MAX, start = 0;
  bool byte_fallback = false;
  if (!vocab->count || vocab->count > KIN_VOCABULARY_MAX_ID)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: \"vocab\" must be an array of 1 to %d tokens", file,
                    KIN_VOCABULARY_MAX_ID);
  kin_status status = kin_json_size(model, "unk_id", file, 0, vocab->count - 1, &unk_id, err);
  if (status == KIN_OK) status = kin_json_bool(model, "byte_fallback", file, &byte_fallback, err);
  if (status == KIN_OK) status = kin_vocabulary_init(&t->vocabulary, vocab->count, err);
  for (size_t i = 0; status == KIN_OK && i < vocab->count; i++) {
    status = kin_tokenizer_add(t, vocab->text.data + start, vocab->ends[i] - start, (int32_t)i, err);
    start = vocab->ends[i];
  }
  if (status != KIN_OK) return status;
  int32_t unknown = unk_id == SIZE_MAX ? -1 : (int32_t)unk_id;
  return kin_unigram_open(&t->vocabulary, vocab->scores, vocab->count, unknown, byte_fallback, &t->unigram, err);
}

static kin_status load_model(kin_tokenizer *t, const json_t *model, const kin_unigram_vocabulary *unigram,
                             const char *file, kin_error *err) {
  if (!json_is_object(model)) return kin_fail(err, KIN_ERR_FORMAT, "%s: \"model\" must be an object", file);
  const char *type = json_string_value(json_object_get(model, "type"));
  /* Old files name no type. */
  if (!type)
    type = json_object_get(model, "merges")                 ? "BPE"
           : json_is_array(json_object_get(model, "vocab")) ? "Unigram"
                                                            : "WordPiece";
  if (!strcmp(type, "BPE")) return load_bpe(t, model, file, err);
  if (!strcmp(type, "WordPiece")) return load_wordpiece(t, model, file, err);
  if (!strcmp(type, "Unigram")) return load_unigram(t, model, unigram, file, err);
  return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: unknown model type \"%s\" (supported: BPE, WordPiece, Unigram)", file,
                  type);
}

/* ---------------------------------------------------------- added tokens */

/* The id that the reference gives: the vocabulary's, or the next free one behind it. A file that says another is
 * damaged: its embedding's rows would not fit. */
static kin_status add_token(kin_tokenizer *t, const json_t *token, int32_t *next, const char *file, kin_error *err) {
  const char *content = NULL;
  size_t id = SIZE_MAX;
  bool single_word = false;
  kin_added_options options = {.normalized = true};
  kin_status status = kin_json_string(token, "content", file, &content, err);
  if (status == KIN_OK) status = kin_json_size(token, "id", file, 0, KIN_VOCABULARY_MAX_ID, &id, err);
  if (status == KIN_OK) status = kin_json_bool(token, "single_word", file, &single_word, err);
  if (status == KIN_OK) status = kin_json_bool(token, "lstrip", file, &options.lstrip, err);
  if (status == KIN_OK) status = kin_json_bool(token, "rstrip", file, &options.rstrip, err);
  if (status == KIN_OK) status = kin_json_bool(token, "normalized", file, &options.normalized, err);
  if (status != KIN_OK) return status;
  if (!content || !*content) return kin_fail(err, KIN_ERR_FORMAT, "%s: an added token has no \"content\"", file);
  if (single_word)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: added token \"%s\": \"single_word\" is unsupported", file, content);
  int32_t known = kin_tokenizer_find(t, content);
  if (known < 0) known = (*next)++;
  if (id != (size_t)known)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: added token \"%s\" says id %zu, but its place is %d", file, content, id,
                    known);
  if (id + 1 > t->n_ids) t->n_ids = id + 1;
  return kin_added_tokens_add(&t->added, content, known, &options, t->normalizer, err);
}

static kin_status load_added_tokens(kin_tokenizer *t, const json_t *list, const char *file, kin_error *err) {
  if (list && !json_is_array(list)) return kin_fail(err, KIN_ERR_FORMAT, "%s: \"added_tokens\" must be an array", file);
  kin_status status = kin_added_tokens_init(&t->added, json_array_size(list), err);
  /* Behind the model's tokens; Unigram's may be spelt alike, and count all the same. */
  int32_t next = (int32_t)(t->unigram ? t->n_ids : t->vocabulary.count);
  for (size_t i = 0; status == KIN_OK && i < json_array_size(list); i++)
    status = add_token(t, json_array_get(list, i), &next, file, err);
  kin_added_tokens_finish(&t->added);
  return status;
}

static kin_status load_root(kin_tokenizer *t, const json_t *root, const kin_unigram_vocabulary *unigram,
                            const char *file, kin_error *err) {
  if (!json_is_object(root)) return kin_fail(err, KIN_ERR_FORMAT, "%s: not a JSON object", file);
  kin_status status = load_model(t, json_object_get(root, "model"), unigram, file, err);
  if (status == KIN_OK) status = kin_normalizer_parse(json_object_get(root, "normalizer"), file, &t->normalizer, err);
  if (status == KIN_OK)
    status = kin_pretokenizer_parse(json_object_get(root, "pre_tokenizer"), file, &t->pretokenizer, err);
  if (status == KIN_OK) status = load_added_tokens(t, json_object_get(root, "added_tokens"), file, err);
  if (status == KIN_OK) status = kin_post_processor_parse(t, json_object_get(root, "post_processor"), file, err);
  return status;
}

kin_status kin_tokenizer_load_json(kin_tokenizer *t, const char *path, kin_error *err) {
  char *text;
  size_t size;
  json_t *root = NULL;
  kin_unigram_vocabulary unigram;
  kin_status status = kin_read_file(path, KIN_TOKENIZER_FILE_LIMIT, &text, &size, err);
  if (status != KIN_OK) return status;
  status = kin_unigram_vocabulary_take(text, &size, path, &unigram, err);
  if (status == KIN_OK) status = kin_json_parse(text, size, path, &root, err);
  if (status == KIN_OK) status = load_root(t, root, &unigram, path, err);
  json_decref(root);
  kin_unigram_vocabulary_free(&unigram);
  free(text);
  return status;
}
