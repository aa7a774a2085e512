/* WordPiece: the longest token that begins the rest of the word, again and again. */
#include "text/models.h"

#include <stdlib.h>
#include <string.h>

struct kin_wordpiece {
  const kin_vocabulary *vocabulary;
  kin_vocabulary continuing; /* the tokens that go on within a word, without their prefix */
  int32_t unk_id;
  size_t max_chars;
};

static kin_status fill_continuing(kin_wordpiece *w, const char *prefix, kin_error *err) {
  const kin_vocabulary *v = w->vocabulary;
  size_t n = strlen(prefix);
  kin_status status = kin_vocabulary_init(&w->continuing, v->count, err);
  for (size_t i = 0; status == KIN_OK && i <= v->mask; i++) {
    const kin_vocabulary_slot *slot = &v->slots[i];
    const char *token = v->text + slot->start;
    if (slot->id >= 0 && slot->size > n && !memcmp(token, prefix, n))
      status = kin_vocabulary_add(&w->continuing, token + n, slot->size - n, slot->id, err);
  }
  return status;
}

kin_status kin_wordpiece_open(const kin_vocabulary *vocabulary, const kin_wordpiece_options *options, const char *file,
                              kin_wordpiece **out, kin_error *err) {
  int32_t unk_id = kin_vocabulary_find(vocabulary, options->unk_token, strlen(options->unk_token));
  if (unk_id < 0)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: the unknown token \"%s\" isn't in the vocabulary", file,
                    options->unk_token);
  kin_wordpiece *w = calloc(1, sizeof *w);
  if (!w) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the vocabulary");
  w->vocabulary = vocabulary;
  w->unk_id = unk_id;
  w->max_chars = options->max_input_chars_per_word;
  kin_status status = fill_continuing(w, options->continuing_subword_prefix, err);
  if (status != KIN_OK) {
    kin_wordpiece_close(w);
    return status;
  }
  *out = w;
  return KIN_OK;
}

void kin_wordpiece_close(kin_wordpiece *w) {
  if (!w) return;
  kin_vocabulary_free(&w->continuing);
  free(w);
}

/* The longest token of `v` that begins text[0..size): its bytes, or 0. */
static size_t longest_match(const kin_vocabulary *v, const char *text, size_t size, int32_t *id) {
  uint32_t hash = KIN_HASH_START;
  size_t best = 0, at = 0;
  while (at < size) {
    size_t end = at + kin_utf8_length(text[at]);
    if (end > v->longest) break;
    for (; at < end; at++) hash = kin_hash_step(hash, text[at]);
    int32_t found = kin_vocabulary_find_hashed(v, hash, text, at);
    if (found < 0) continue;
    best = at;
    *id = found;
  }
  return best;
}

void kin_wordpiece_tokenize(const kin_wordpiece *w, const char *text, size_t size, kin_ids *out) {
  size_t before = out->count, chars = 0;
  for (size_t at = 0; at < size; at += kin_utf8_length(text[at])) chars++;
  bool known = chars <= w->max_chars;
  for (size_t at = 0; known && at < size;) {
    int32_t id = -1;
    size_t n = longest_match(at ? &w->continuing : w->vocabulary, text + at, size - at, &id);
    known = n > 0;
    if (known) kin_ids_add(out, id);
    at += n;
  }
  if (known) return;
  /* A rest that no token begins makes the whole word unknown. */
  out->count = before;
  kin_ids_add(out, w->unk_id);
}
