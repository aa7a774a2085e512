/* Unigram: the cut of a text into tokens with the highest sum of scores (Viterbi), ties as the reference breaks them.
 */
#include "text/models.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One edge of the trie of all tokens, whose labels are characters: a hash table from (node, character) to a node. */
typedef struct edge {
  uint32_t node, character;
  uint32_t child; /* 0: free; the root is nobody's child */
} edge;

struct kin_unigram {
  const kin_vocabulary *vocabulary;
  double *scores;
  edge *edges;
  size_t mask, n_nodes;
  int32_t *tokens; /* of each node: the id of the token that ends there, or -1 */
  size_t tokens_capacity;
  double unk_score;
  int32_t unk_id;
  bool byte_fallback;
  int32_t bytes[256]; /* ids of "<0x00>" and so on, or -1 */
};

/* The best way to end at a byte of the text. */
struct kin_unigram_node {
  double score;
  int32_t id;
  uint32_t start; /* where its last token starts; UINT32_MAX: not reached yet */
};

/* An unknown character costs this much more than the worst token. */
#define UNK_PENALTY 10.0

/* ------------------------------------------------------------- building */

static edge *edge_of(const kin_unigram *u, uint32_t node, uint32_t character) {
  uint64_t hash = ((uint64_t)node << 21 | character) * 0x9E3779B97F4A7C15u;
  for (size_t i = (size_t)(hash >> 32) & u->mask;; i = (i + 1) & u->mask) {
    edge *e = &u->edges[i];
    if (!e->child || (e->node == node && e->character == character)) return e;
  }
}

/* Twice as many slots. */
static bool grow_edges(kin_unigram *u) {
  size_t old_mask = u->mask;
  edge *old = u->edges;
  edge *fresh = calloc(2 * (old_mask + 1), sizeof *fresh);
  if (!fresh) return false;
  u->edges = fresh;
  u->mask = 2 * old_mask + 1;
  for (size_t i = 0; i <= old_mask; i++)
    if (old[i].child) *edge_of(u, old[i].node, old[i].character) = old[i];
  free(old);
  return true;
}

static bool add_token(kin_unigram *u, const char *token, size_t size, int32_t id) {
  uint32_t node = 0;
  for (size_t at = 0; at < size;) {
    uint32_t c = kin_utf8_next(token, &at);
    edge *e = edge_of(u, node, c);
    if (!e->child) {
      if (!kin_grow((void **)&u->tokens, &u->tokens_capacity, u->n_nodes + 1, sizeof *u->tokens)) return false;
      u->tokens[u->n_nodes] = -1;
      *e = (edge){node, c, (uint32_t)u->n_nodes++};
      node = e->child;
      if (3 * u->n_nodes > 2 * u->mask && !grow_edges(u)) return false;
    } else {
      node = e->child;
    }
  }
  u->tokens[node] = id;
  return true;
}

static bool fill(kin_unigram *u, const double *scores, size_t n) {
  size_t slots = 1024;
  while (slots < 4 * n) slots *= 2;
  u->mask = slots - 1;
  u->edges = calloc(slots, sizeof *u->edges);
  u->scores = kin_array(n, sizeof *u->scores);
  if (!u->edges || !u->scores || !kin_grow((void **)&u->tokens, &u->tokens_capacity, 2 * n + 1, sizeof *u->tokens))
    return false;
  memcpy(u->scores, scores, n * sizeof *scores);
  u->n_nodes = 1;
  u->tokens[0] = -1;
  for (size_t i = 0; i <= u->vocabulary->mask; i++) {
    const kin_vocabulary_slot *slot = &u->vocabulary->slots[i];
    if (slot->id >= 0 && slot->size && !add_token(u, u->vocabulary->text + slot->start, slot->size, slot->id))
      return false;
  }
  return true;
}

kin_status kin_unigram_open(const kin_vocabulary *vocabulary, const double *scores, size_t n, int32_t unk_id,
                            bool byte_fallback, kin_unigram **out, kin_error *err) {
  kin_unigram *u = calloc(1, sizeof *u);
  if (!u) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a vocabulary of %zu tokens", n);
  u->vocabulary = vocabulary;
  u->unk_id = unk_id;
  u->byte_fallback = byte_fallback;
  if (!fill(u, scores, n)) {
    kin_unigram_close(u);
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a vocabulary of %zu tokens", n);
  }
  double worst = INFINITY;
  for (size_t i = 0; i < n; i++)
    if (scores[i] < worst) worst = scores[i];
  u->unk_score = worst - UNK_PENALTY;
  for (unsigned b = 0; b < 256; b++) {
    char name[8];
    int length = snprintf(name, sizeof name, "<0x%02X>", b);
    u->bytes[b] = kin_vocabulary_find(vocabulary, name, (size_t)length);
  }
  *out = u;
  return KIN_OK;
}

void kin_unigram_close(kin_unigram *u) {
  if (!u) return;
  free(u->scores);
  free(u->edges);
  free(u->tokens);
  free(u);
}

/* ------------------------------------------------------------- encoding */

void kin_unigram_work_free(kin_unigram_work *work) {
  free(work->nodes);
  *work = (kin_unigram_work){0};
}

/* The first of equal candidates stays. */
static void offer(struct kin_unigram_node *node, double score, size_t start, int32_t id) {
  if (node->start == UINT32_MAX || score > node->score) *node = (struct kin_unigram_node){score, id, (uint32_t)start};
}

/* Fill nodes[1..size]; false: a character is unknown, and there is no unknown token. */
static bool find_best(const kin_unigram *u, struct kin_unigram_node *nodes, const char *text, size_t size) {
  for (size_t start = 0; start < size;) {
    double score = nodes[start].score;
    size_t first = start + kin_utf8_length(text[start]);
    bool single = false;
    uint32_t node = 0;
    for (size_t at = start; at < size;) {
      const edge *e = edge_of(u, node, kin_utf8_next(text, &at));
      if (!e->child) break;
      node = e->child;
      int32_t id = u->tokens[node];
      if (id < 0) continue;
      offer(&nodes[at], u->scores[id] + score, start, id);
      single |= at == first;
    }
    if (!single) {
      if (u->unk_id < 0) return false;
      offer(&nodes[first], u->unk_score + score, start, u->unk_id);
    }
    start = first;
  }
  return true;
}

/* A run of unknown characters is one unknown token, unless its whole is in the vocabulary or its bytes are. */
static void add_unknown(const kin_unigram *u, const char *text, size_t size, kin_ids *out) {
  int32_t whole = kin_vocabulary_find(u->vocabulary, text, size);
  bool bytes = whole < 0 && u->byte_fallback;
  for (size_t i = 0; bytes && i < size; i++) bytes = u->bytes[(uint8_t)text[i]] >= 0;
  if (!bytes) {
    kin_ids_add(out, whole >= 0 ? whole : u->unk_id);
    return;
  }
  /* Backwards, as all of the path is added: see kin_unigram_tokenize. */
  for (size_t i = size; i-- > 0;) kin_ids_add(out, u->bytes[(uint8_t)text[i]]);
}

static void reverse(int32_t *ids, size_t n) {
  for (size_t i = 0; i < n / 2; i++) {
    int32_t swap = ids[i];
    ids[i] = ids[n - 1 - i];
    ids[n - 1 - i] = swap;
  }
}

kin_status kin_unigram_tokenize(const kin_unigram *u, kin_unigram_work *work, const char *text, size_t size,
                                kin_ids *out, kin_error *err) {
  if (size >= UINT32_MAX) return kin_fail(err, KIN_ERR_LIMIT, "a word of %zu bytes is too long", size);
  if (!kin_grow((void **)&work->nodes, &work->capacity, size + 1, sizeof *work->nodes))
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a word of %zu bytes", size);
  for (size_t i = 0; i <= size; i++) work->nodes[i] = (struct kin_unigram_node){0, 0, UINT32_MAX};
  if (!find_best(u, work->nodes, text, size))
    return kin_fail(err, KIN_ERR_FORMAT, "a character is unknown, and the tokenizer has no unknown token");
  size_t before = out->count;
  for (size_t end = size; end > 0;) {
    const struct kin_unigram_node *node = &work->nodes[end];
    size_t start = node->start;
    if (node->id == u->unk_id) {
      while (start && work->nodes[start].id == u->unk_id) start = work->nodes[start].start;
      add_unknown(u, text + start, end - start, out);
    } else {
      kin_ids_add(out, node->id);
    }
    end = start;
  }
  if (!out->failed) reverse(out->data + before, out->count - before);
  return KIN_OK;
}
