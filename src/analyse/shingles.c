/* Texts as sets of shingles, runs of three words: copies share most of them, texts on one matter nearly none. */
#include "analyse/shingles.h"

#include "index/checksum.h"
#include "text/search_tokens.h"

#include <stdlib.h>

enum { WORDS = 3 };

typedef struct reading {
  kin_shingles *out;
  size_t capacity, words;
  uint64_t last[WORDS]; /* hashes of the words before, the latest first */
  bool failed;
} reading;

static void add(reading *r, const uint64_t *words, size_t n) {
  kin_shingles *out = r->out;
  if (kin_grow((void **)&out->hashes, &r->capacity, out->n + 1, sizeof *out->hashes))
    out->hashes[out->n++] = kin_checksum(words, n * sizeof *words, 0);
  else
    r->failed = true;
}

static bool on_token(void *user, const kin_search_token *token) {
  reading *r = user;
  if (token->kind == KIN_SEARCH_TAIL) return true;
  for (size_t i = WORDS - 1; i > 0; i--) r->last[i] = r->last[i - 1];
  r->last[0] = kin_checksum(token->text, token->size, 0);
  if (++r->words >= WORDS) add(r, r->last, WORDS);
  return !r->failed;
}

static int by_value(const void *a, const void *b) {
  const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

kin_status kin_shingles_read(const char *text, size_t size, kin_shingles *out, kin_error *err) {
  *out = (kin_shingles){0};
  reading r = {.out = out};
  kin_status status = kin_search_tokens(text, size, on_token, &r, err);
  if (r.words && r.words < WORDS) add(&r, r.last, r.words);
  if (status == KIN_OK && r.failed)
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for the words of a text of %zu bytes", size);
  if (status != KIN_OK) {
    kin_shingles_free(out);
    return status;
  }
  size_t kept = 0;
  if (out->n) qsort(out->hashes, out->n, sizeof *out->hashes, by_value);
  for (size_t i = 0; i < out->n; i++)
    if (!kept || out->hashes[i] != out->hashes[kept - 1]) out->hashes[kept++] = out->hashes[i];
  out->n = kept;
  return KIN_OK;
}

void kin_shingles_free(kin_shingles *shingles) {
  free(shingles->hashes);
  *shingles = (kin_shingles){0};
}

size_t kin_shingles_common(const kin_shingles *a, const kin_shingles *b) {
  size_t common = 0;
  for (size_t i = 0, j = 0; i < a->n && j < b->n;) {
    if (a->hashes[i] == b->hashes[j])
      common++, i++, j++;
    else if (a->hashes[i] < b->hashes[j])
      i++;
    else
      j++;
  }
  return common;
}
