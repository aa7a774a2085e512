/* Text to token ids. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

static kin_status load(kin_tokenizer *t, const char *dir, kin_error *err) {
  static const struct {
    const char *name;
    kin_status (*load)(kin_tokenizer *t, const char *dir, kin_error *err);
  } files[] = {{"vocab.json", kin_tokenizer_load_clip}, {"vocab.txt", kin_tokenizer_load_bert}};
  char *path = kin_format("%s/tokenizer.json", dir);
  if (!path) return kin_fail(err, KIN_ERR_MEMORY, "out of memory");
  if (kin_file_exists(path)) {
    kin_status status = kin_tokenizer_load_json(t, path, err);
    free(path);
    return status;
  }
  free(path);
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    path = kin_format("%s/%s", dir, files[i].name);
    if (!path) return kin_fail(err, KIN_ERR_MEMORY, "out of memory");
    bool found = kin_file_exists(path);
    free(path);
    if (found) return files[i].load(t, dir, err);
  }
  return kin_fail(err, KIN_ERR_IO, "%s: no tokenizer: neither tokenizer.json, vocab.json + merges.txt nor vocab.txt",
                  dir);
}

kin_status kin_tokenizer_open(const char *dir, kin_tokenizer **out, kin_error *err) {
  kin_tokenizer *t = calloc(1, sizeof *t);
  if (!t) return kin_fail(err, KIN_ERR_MEMORY, "out of memory");
  kin_status status = load(t, dir, err);
  if (status != KIN_OK) {
    kin_tokenizer_close(t);
    return status;
  }
  *out = t;
  return KIN_OK;
}

void kin_tokenizer_close(kin_tokenizer *t) {
  if (!t) return;
  kin_bpe_close(t->bpe);
  kin_wordpiece_close(t->wordpiece);
  kin_unigram_close(t->unigram);
  kin_normalizer_free(t->normalizer);
  kin_pretokenizer_free(t->pretokenizer);
  kin_added_tokens_free(&t->added);
  kin_vocabulary_free(&t->vocabulary);
  free(t->prefix.data);
  free(t->suffix.data);
  free(t);
}

size_t kin_tokenizer_vocabulary(const kin_tokenizer *t) {
  return t->n_ids;
}

/* ------------------------------------------------- what loaders share */

kin_status kin_tokenizer_add(kin_tokenizer *t, const char *token, size_t size, int32_t id, kin_error *err) {
  if ((size_t)id + 1 > t->n_ids) t->n_ids = (size_t)id + 1;
  return kin_vocabulary_add(&t->vocabulary, token, size, id, err);
}

int32_t kin_tokenizer_find(const kin_tokenizer *t, const char *token) {
  size_t size = strlen(token);
  int32_t id = t->added.ids.slots ? kin_vocabulary_find(&t->added.ids, token, size) : -1;
  return id >= 0 ? id : kin_vocabulary_find(&t->vocabulary, token, size);
}

kin_status kin_tokenizer_take_vocabulary(kin_tokenizer *t, const json_t *vocab, const char *file, kin_error *err) {
  if (!json_is_object(vocab)) return kin_fail(err, KIN_ERR_FORMAT, "%s: \"vocab\" must be an object of tokens", file);
  kin_status status = kin_vocabulary_init(&t->vocabulary, json_object_size(vocab), err);
  if (status != KIN_OK) return status;
  const char *token;
  json_t *value;
  json_object_foreach((json_t *)vocab, token, value) {
    json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
    if (id < 0 || id > KIN_VOCABULARY_MAX_ID)
      return kin_fail(err, KIN_ERR_FORMAT, "%s: the id of token \"%.200s\" must be an integer from 0 to %d", file,
                      token, KIN_VOCABULARY_MAX_ID);
    status = kin_tokenizer_add(t, token, strlen(token), (int32_t)id, err);
    if (status != KIN_OK) return status;
  }
  uint8_t *seen = calloc(t->n_ids + 1, 1);
  if (!seen) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the vocabulary");
  for (size_t i = 0; status == KIN_OK && i <= t->vocabulary.mask; i++) {
    const kin_vocabulary_slot *slot = &t->vocabulary.slots[i];
    if (slot->id >= 0 && seen[slot->id]++)
      status = kin_fail(err, KIN_ERR_FORMAT, "%s: two tokens have the id %d, one of them is \"%.*s\"", file, slot->id,
                        (int)(slot->size < 200 ? slot->size : 200), t->vocabulary.text + slot->start);
  }
  free(seen);
  return status;
}

const char *kin_next_line(const char *line, const char *end, size_t *size) {
  const char *stop = memchr(line, '\n', (size_t)(end - line));
  *size = (size_t)((stop ? stop : end) - line);
  if (stop && *size && line[*size - 1] == '\r') --*size;
  return stop ? stop + 1 : end;
}

/* ------------------------------------------------------------ encoding */

/* Working memory of one call. */
typedef struct work {
  kin_pieces pieces, other;
  kin_bytes text, scratch;
  kin_bpe_work bpe;
  kin_unigram_work unigram;
  kin_ids ids;
} work;

static void work_free(work *w) {
  kin_pieces_free(&w->pieces);
  kin_pieces_free(&w->other);
  kin_bytes_free(&w->text);
  kin_bytes_free(&w->scratch);
  kin_bpe_work_free(&w->bpe);
  kin_unigram_work_free(&w->unigram);
}

static bool work_failed(const work *w) {
  return w->pieces.text.failed || w->other.text.failed || w->text.failed || w->scratch.failed || w->ids.failed;
}

/* The text in pieces, as the model sees them, into w->pieces. */
static void cut(const kin_tokenizer *t, const char *text, size_t size, work *w) {
  kin_added_tokens_cut(&t->added.raw, text, size, &w->other);
  for (size_t i = 0; i < w->other.count; i++) {
    const kin_piece *piece = &w->other.items[i];
    const char *part = w->other.text.data + piece->start;
    if (piece->id >= 0) {
      kin_pieces_add(&w->pieces, part, piece->size, piece->id);
      continue;
    }
    w->text.size = 0;
    kin_bytes_append(&w->text, part, piece->size);
    kin_normalize(t->normalizer, &w->text, &w->scratch);
    if (!w->text.failed) kin_added_tokens_cut(&t->added.normalized, w->text.data, w->text.size, &w->pieces);
  }
  kin_pretokenize(t->pretokenizer, &w->pieces, &w->other);
}

static kin_status run_model(const kin_tokenizer *t, const char *text, size_t size, work *w, kin_error *err) {
  if (t->bpe) return kin_bpe_tokenize(t->bpe, &w->bpe, text, size, &w->ids, err);
  if (t->unigram) return kin_unigram_tokenize(t->unigram, &w->unigram, text, size, &w->ids, err);
  kin_wordpiece_tokenize(t->wordpiece, text, size, &w->ids);
  return KIN_OK;
}

static kin_status encode(const kin_tokenizer *t, const char *text, size_t size, size_t limit, work *w, kin_error *err) {
  for (size_t i = 0; i < t->prefix.count; i++) kin_ids_add(&w->ids, t->prefix.data[i]);
  cut(t, text, size, w);
  /* Pieces don't depend on each other: what would be cut off needs no work. */
  for (size_t i = 0; i < w->pieces.count && w->ids.count < limit; i++) {
    const kin_piece *piece = &w->pieces.items[i];
    kin_status status = KIN_OK;
    if (piece->id >= 0)
      kin_ids_add(&w->ids, piece->id);
    else
      status = run_model(t, w->pieces.text.data + piece->start, piece->size, w, err);
    if (status != KIN_OK) return status;
  }
  if (w->ids.count > limit) w->ids.count = limit;
  for (size_t i = 0; i < t->suffix.count; i++) kin_ids_add(&w->ids, t->suffix.data[i]);
  if (work_failed(w)) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a text of %zu bytes", size);
  return KIN_OK;
}

kin_status kin_tokenize(const kin_tokenizer *t, const char *text, size_t size, size_t max_tokens, int32_t **ids,
                        size_t *n_ids, kin_error *err) {
  size_t bad = kin_utf8_check(text, size);
  if (bad < size) return kin_fail(err, KIN_ERR_FORMAT, "the text isn't valid UTF-8 at byte %zu", bad);
  if (max_tokens && max_tokens < t->prefix.count + t->suffix.count)
    return kin_fail(err, KIN_ERR_ARGUMENT, "%zu tokens are too few: the tokenizer adds %zu to every text", max_tokens,
                    t->prefix.count + t->suffix.count);
  size_t limit = max_tokens ? max_tokens - t->suffix.count : SIZE_MAX;
  work w = {0};
  kin_status status = encode(t, text, size, limit, &w, err);
  work_free(&w);
  /* A tokenizer without tokens around the text gives none for the empty text, but a block to free all the same. */
  if (status == KIN_OK && !w.ids.data && !kin_grow((void **)&w.ids.data, &w.ids.capacity, 1, sizeof *w.ids.data))
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory");
  if (status != KIN_OK) {
    free(w.ids.data);
    return status;
  }
  *ids = w.ids.data;
  *n_ids = w.ids.count;
  return KIN_OK;
}
