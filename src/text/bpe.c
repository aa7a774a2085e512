/* Byte pair encoding: merges by rank from a hash table, the next one from a heap, so that long words stay fast. */
#include "text/models.h"

#include <stdlib.h>
#include <string.h>

typedef struct merge_slot {
  int32_t left, right; /* left -1: free */
  int32_t rank, merged;
} merge_slot;

/* Characters below this have their ids in a table: all of the byte level's lie here. */
#define DIRECT 0x180

struct kin_bpe {
  const kin_vocabulary *vocabulary;
  merge_slot *merges;
  size_t mask, n_merges, max_merges;
  int32_t direct[DIRECT], direct_last[DIRECT]; /* alone, and with the suffix; -1: not in the vocabulary */
  char *unk_token, *suffix;                    /* suffix: "" for none */
  int32_t unk_id;
  bool fuse_unk, ignore_merges;
};

/* A run of characters that is one token so far. */
struct kin_bpe_symbol {
  int32_t id;             /* -1: merged into the one before it */
  int32_t previous, next; /* -1: none */
};

struct kin_bpe_candidate {
  int32_t rank, position, merged;
};

void kin_ids_add(kin_ids *ids, int32_t id) {
  if (ids->failed) return;
  if (!kin_grow((void **)&ids->data, &ids->capacity, ids->count + 1, sizeof *ids->data)) {
    ids->failed = true;
    return;
  }
  ids->data[ids->count++] = id;
}

/* ------------------------------------------------------------- building */

/* The id of `text` with the suffix behind it. */
static int32_t find_with_suffix(const kin_bpe *bpe, kin_bytes *spelling, const char *text, size_t size) {
  spelling->size = 0;
  kin_bytes_append(spelling, text, size);
  kin_bytes_append(spelling, bpe->suffix, strlen(bpe->suffix));
  return spelling->failed ? -1 : kin_vocabulary_find(bpe->vocabulary, spelling->data, spelling->size);
}

static bool fill_direct(kin_bpe *bpe) {
  kin_bytes spelling = {0};
  for (uint32_t c = 0; c < DIRECT; c++) {
    char utf8[4];
    size_t n = kin_utf8_encode(c, utf8);
    bpe->direct[c] = kin_vocabulary_find(bpe->vocabulary, utf8, n);
    bpe->direct_last[c] = find_with_suffix(bpe, &spelling, utf8, n);
  }
  bool ok = !spelling.failed;
  kin_bytes_free(&spelling);
  return ok;
}

kin_status kin_bpe_open(const kin_vocabulary *vocabulary, const kin_bpe_options *options, size_t n_merges,
                        kin_bpe **out, kin_error *err) {
  kin_bpe *bpe = calloc(1, sizeof *bpe);
  if (!bpe) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the merges");
  bpe->vocabulary = vocabulary;
  bpe->fuse_unk = options->fuse_unk;
  bpe->ignore_merges = options->ignore_merges;
  bpe->unk_token = options->unk_token ? kin_strdup(options->unk_token) : NULL;
  bpe->suffix = kin_strdup(options->end_of_word_suffix ? options->end_of_word_suffix : "");
  size_t slots = 16;
  while (slots < 2 * n_merges) slots *= 2;
  bpe->mask = slots - 1;
  bpe->max_merges = n_merges;
  bpe->merges = kin_array(slots, sizeof *bpe->merges);
  if (!bpe->merges || !bpe->suffix || (options->unk_token && !bpe->unk_token) || !fill_direct(bpe)) {
    kin_bpe_close(bpe);
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu merges", n_merges);
  }
  bpe->unk_id = bpe->unk_token ? kin_vocabulary_find(vocabulary, bpe->unk_token, strlen(bpe->unk_token)) : -1;
  for (size_t i = 0; i < slots; i++) bpe->merges[i].left = -1;
  *out = bpe;
  return KIN_OK;
}

void kin_bpe_close(kin_bpe *bpe) {
  if (!bpe) return;
  free(bpe->merges);
  free(bpe->unk_token);
  free(bpe->suffix);
  free(bpe);
}

/* The slot of the pair, or the free one where it belongs. */
static merge_slot *merge_of(const kin_bpe *bpe, int32_t left, int32_t right) {
  uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
  uint64_t hash = key * 0x9E3779B97F4A7C15u;
  for (size_t i = (size_t)(hash >> 32) & bpe->mask;; i = (i + 1) & bpe->mask) {
    merge_slot *slot = &bpe->merges[i];
    if (slot->left < 0 || (slot->left == left && slot->right == right)) return slot;
  }
}

static kin_status unknown_in_merge(const kin_bpe *bpe, const char *token, size_t size, const char *file,
                                   kin_error *err) {
  return kin_fail(err, KIN_ERR_FORMAT, "%s: merge %zu needs the token \"%.*s\", which isn't in the vocabulary", file,
                  bpe->n_merges + 1, (int)(size < 200 ? size : 200), token);
}

kin_status kin_bpe_add_merge(kin_bpe *bpe, const char *left, size_t left_size, const char *right, size_t right_size,
                             const char *file, kin_error *err) {
  if (bpe->n_merges == bpe->max_merges) return kin_fail(err, KIN_ERR_ARGUMENT, "%s: more merges than announced", file);
  int32_t a = kin_vocabulary_find(bpe->vocabulary, left, left_size);
  if (a < 0) return unknown_in_merge(bpe, left, left_size, file, err);
  int32_t b = kin_vocabulary_find(bpe->vocabulary, right, right_size);
  if (b < 0) return unknown_in_merge(bpe, right, right_size, file, err);
  kin_bytes both = {0};
  kin_bytes_append(&both, left, left_size);
  kin_bytes_append(&both, right, right_size);
  kin_status status = KIN_OK;
  int32_t merged = both.failed ? -1 : kin_vocabulary_find(bpe->vocabulary, both.size ? both.data : "", both.size);
  if (both.failed)
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for the merges");
  else if (merged < 0)
    status = unknown_in_merge(bpe, both.data, both.size, file, err);
  else
    *merge_of(bpe, a, b) = (merge_slot){a, b, (int32_t)bpe->n_merges++, merged};
  kin_bytes_free(&both);
  return status;
}

/* ------------------------------------------------------------- encoding */

void kin_bpe_work_free(kin_bpe_work *work) {
  free(work->symbols);
  free(work->queue);
  kin_bytes_free(&work->spelling);
  *work = (kin_bpe_work){0};
}

static bool before(const struct kin_bpe_candidate *a, const struct kin_bpe_candidate *b) {
  return a->rank != b->rank ? a->rank < b->rank : a->position < b->position;
}

/* Queue the merge of the symbol at `position` with its neighbour, if there is such a merge. The queue has room: each
 * merge removes a symbol and queues at most two candidates. */
static void consider(const kin_bpe *bpe, kin_bpe_work *work, int32_t position) {
  const struct kin_bpe_symbol *s = &work->symbols[position];
  if (s->next < 0) return;
  const merge_slot *merge = merge_of(bpe, s->id, work->symbols[s->next].id);
  if (merge->left < 0) return;
  struct kin_bpe_candidate candidate = {merge->rank, position, merge->merged};
  size_t i = work->queued++;
  while (i && before(&candidate, &work->queue[(i - 1) / 2])) {
    work->queue[i] = work->queue[(i - 1) / 2];
    i = (i - 1) / 2;
  }
  work->queue[i] = candidate;
}

static struct kin_bpe_candidate take_first(kin_bpe_work *work) {
  struct kin_bpe_candidate first = work->queue[0], last = work->queue[--work->queued];
  size_t i = 0;
  for (size_t child; (child = 2 * i + 1) < work->queued; i = child) {
    if (child + 1 < work->queued && before(&work->queue[child + 1], &work->queue[child])) child++;
    if (!before(&work->queue[child], &last)) break;
    work->queue[i] = work->queue[child];
  }
  work->queue[i] = last;
  return first;
}

static void merge_all(const kin_bpe *bpe, kin_bpe_work *work, size_t n) {
  work->queued = 0;
  for (size_t i = 0; i + 1 < n; i++) consider(bpe, work, (int32_t)i);
  while (work->queued) {
    struct kin_bpe_candidate top = take_first(work);
    struct kin_bpe_symbol *s = &work->symbols[top.position];
    if (s->id < 0 || s->next < 0) continue;
    struct kin_bpe_symbol *right = &work->symbols[s->next];
    /* A candidate is out of date when either side has merged since. */
    const merge_slot *now = merge_of(bpe, s->id, right->id);
    if (now->left < 0 || now->merged != top.merged) continue;
    s->id = top.merged;
    s->next = right->next;
    right->id = -1;
    if (s->next >= 0) work->symbols[s->next].previous = top.position;
    if (s->previous >= 0) consider(bpe, work, s->previous);
    consider(bpe, work, top.position);
  }
}

static int32_t character_id(const kin_bpe *bpe, kin_bpe_work *work, const char *text, size_t size, bool last) {
  size_t at = 0;
  uint32_t c = kin_utf8_next(text, &at);
  if (c < DIRECT) return last ? bpe->direct_last[c] : bpe->direct[c];
  return last ? find_with_suffix(bpe, &work->spelling, text, size) : kin_vocabulary_find(bpe->vocabulary, text, size);
}

static void add_symbol(kin_bpe_work *work, size_t *n, int32_t id) {
  work->symbols[*n] = (struct kin_bpe_symbol){id, (int32_t)*n - 1, -1};
  if (*n) work->symbols[*n - 1].next = (int32_t)*n;
  *n += 1;
}

/* One symbol a character; unknown ones become the unknown token, or nothing where there is none. */
static kin_status spell(const kin_bpe *bpe, kin_bpe_work *work, const char *text, size_t size, size_t *n,
                        kin_error *err) {
  bool unknown = false;
  for (size_t at = 0; at < size;) {
    size_t length = kin_utf8_length(text[at]);
    int32_t id = character_id(bpe, work, text + at, length, at + length == size);
    at += length;
    if (id >= 0) {
      add_symbol(work, n, id);
      unknown = false;
    } else if (bpe->unk_token && !(unknown && bpe->fuse_unk)) {
      if (bpe->unk_id < 0)
        return kin_fail(err, KIN_ERR_FORMAT, "the unknown token \"%s\" isn't in the vocabulary", bpe->unk_token);
      add_symbol(work, n, bpe->unk_id);
      unknown = true;
    }
  }
  return KIN_OK;
}

kin_status kin_bpe_tokenize(const kin_bpe *bpe, kin_bpe_work *work, const char *text, size_t size, kin_ids *out,
                            kin_error *err) {
  if (bpe->ignore_merges) {
    int32_t whole = kin_vocabulary_find(bpe->vocabulary, text, size);
    if (whole >= 0) {
      kin_ids_add(out, whole);
      return KIN_OK;
    }
  }
  if (size > INT32_MAX / 4) return kin_fail(err, KIN_ERR_LIMIT, "a word of %zu bytes is too long", size);
  if (!kin_grow((void **)&work->symbols, &work->symbols_capacity, size, sizeof *work->symbols) ||
      !kin_grow((void **)&work->queue, &work->queue_capacity, 3 * size, sizeof *work->queue))
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a word of %zu bytes", size);
  size_t n = 0;
  kin_status status = spell(bpe, work, text, size, &n, err);
  if (status != KIN_OK) return status;
  if (work->spelling.failed) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a word of %zu bytes", size);
  merge_all(bpe, work, n);
  for (size_t i = 0; i < n; i++)
    if (work->symbols[i].id >= 0) kin_ids_add(out, work->symbols[i].id);
  return KIN_OK;
}
