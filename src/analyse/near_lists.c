/* A list holds the k greatest keys that it was offered. A key is a score, and among equal ones the lower row is
 * greater: so a list's content is a matter of which rows were offered, not of when. Scores are products in float, the
 * same bits for a pair whichever group it is met in. */
#include "analyse/near_lists.h"

#include "base/context.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 16, LOCKS = 1024 };

struct kin_near_lists {
  kin_context *context;
  const kin_nearest_side *side;
  size_t k, most;               /* most members of a group, to whole panels */
  uint64_t *keys;               /* [n][k], the greatest first; 0: none */
  uint8_t *fresh;               /* [n][k]: since the last mark */
  _Atomic uint64_t *bars;       /* [n]: the least key of each list */
  pthread_mutex_t locks[LOCKS]; /* list i's is lock i % LOCKS */
};

typedef struct joining {
  kin_near_lists *lists;
  size_t (*members)(void *user, size_t group, uint32_t *out);
  void *user;
  size_t end;
  atomic_size_t next;
  atomic_bool failed;
} joining;

/* What a thread needs for one group. */
typedef struct bench {
  uint32_t *members; /* [most] */
  float *bar, *bias; /* [most] */
  float *scores;     /* [tile rows][most] */
  float *rows;       /* [most][dim] */
  float *panels;     /* [most / KIN_PANEL][dim][KIN_PANEL] */
} bench;

/* ------------------------------------------------------------------- lists */

/* Grows with the score; above 0. */
static uint64_t key_of(float score, uint32_t row) {
  uint32_t bits;
  memcpy(&bits, &score, sizeof bits);
  bits = bits >> 31 ? ~bits : bits | 0x80000000u;
  return (uint64_t)bits << 32 | (UINT32_MAX - row);
}

static uint32_t row_of(uint64_t key) {
  return UINT32_MAX - (uint32_t)key;
}

static float score_of(uint64_t key) {
  uint32_t bits = (uint32_t)(key >> 32);
  float score;
  if (key == 0) return -INFINITY;
  bits = bits >> 31 ? bits & 0x7fffffffu : ~bits;
  memcpy(&score, &bits, sizeof score);
  return score;
}

static void insert(kin_near_lists *l, size_t i, uint64_t key) {
  uint64_t *keys = l->keys + i * l->k;
  uint8_t *fresh = l->fresh + i * l->k;
  size_t at = l->k - 1;
  for (size_t j = 0; j < l->k; j++)
    if (keys[j] == key) return;
  if (key < keys[at]) return;
  for (; at > 0 && keys[at - 1] < key; at--) keys[at] = keys[at - 1], fresh[at] = fresh[at - 1];
  keys[at] = key, fresh[at] = 1;
  atomic_store_explicit(&l->bars[i], keys[l->k - 1], memory_order_relaxed);
}

static void offer(kin_near_lists *l, size_t i, float score, uint32_t row) {
  const uint64_t key = key_of(score, row);
  if (key <= atomic_load_explicit(&l->bars[i], memory_order_relaxed)) return;
  pthread_mutex_lock(&l->locks[i % LOCKS]);
  insert(l, i, key);
  pthread_mutex_unlock(&l->locks[i % LOCKS]);
}

/* ------------------------------------------------------------------ groups */

static bool open_bench(const kin_near_lists *l, bench *b) {
  const size_t row = l->most * sizeof(float);
  b->members = kin_array(l->most, sizeof *b->members);
  b->bar = kin_alloc_aligned(row), b->bias = kin_alloc_aligned(row);
  b->rows = kin_alloc_aligned(row * l->side->words), b->panels = kin_alloc_aligned(row * l->side->words);
  b->scores = kin_alloc_aligned(row * KIN_MAX_TILE_ROWS);
  return b->members && b->bar && b->bias && b->rows && b->panels && b->scores;
}

static void close_bench(bench *b) {
  free(b->members);
  kin_free_aligned(b->bar), kin_free_aligned(b->bias);
  kin_free_aligned(b->rows), kin_free_aligned(b->panels), kin_free_aligned(b->scores);
}

/* The group's rows, one after another and in panels. */
static void gather(const kin_near_lists *l, bench *b, size_t n) {
  const size_t dim = l->side->words, padded = (n + KIN_PANEL - 1) / KIN_PANEL * KIN_PANEL;
  for (size_t i = 0; i < padded; i++) {
    const uint32_t row = i < n ? b->members[i] : 0;
    b->bias[i] = i < n ? l->side->bias[row] : INFINITY;
    b->bar[i] = i < n ? score_of(atomic_load_explicit(&l->bars[row], memory_order_relaxed)) : INFINITY;
    if (i < n) memcpy(b->rows + i * dim, kin_nearest_row(l->side, row), dim * sizeof *b->rows);
  }
  for (size_t i = 0; i < n; i += KIN_PANEL)
    l->context->kernels->transpose(b->rows + i * dim, dim, n - i < KIN_PANEL ? n - i : KIN_PANEL, dim,
                                   b->panels + i * dim, KIN_PANEL, KIN_PANEL);
}

/* Whether some of CHUNK scores may be wanted, either way. Without branches, for the compiler to use vectors. */
static bool any_wanted(const bench *b, size_t row, const float *scores, size_t first) {
  const float bar = b->bar[row], bias = b->bias[row];
  unsigned any = 0;
  for (size_t j = first; j < first + CHUNK; j++)
    any |= (unsigned)(scores[j] - b->bias[j] >= bar) | (unsigned)(scores[j] - bias >= b->bar[j]);
  return any;
}

/* Offer a row and those after it to one another. */
static void scan_row(kin_near_lists *l, const bench *b, size_t row, size_t n, const float *scores) {
  for (size_t first = row / CHUNK * CHUNK; first < n; first += CHUNK) {
    if (!any_wanted(b, row, scores, first)) continue;
    for (size_t j = first > row ? first : row + 1; j < first + CHUNK && j < n; j++) {
      const float there = scores[j] - b->bias[j], back = scores[j] - b->bias[row];
      if (there >= b->bar[row]) offer(l, b->members[row], there, b->members[j]);
      if (back >= b->bar[j]) offer(l, b->members[j], back, b->members[row]);
    }
  }
}

static void compare(kin_near_lists *l, bench *b, size_t n) {
  const kin_kernels *kernels = l->context->kernels;
  const size_t dim = l->side->words;
  gather(l, b, n);
  for (size_t row = 0, rows; row < n; row += rows) {
    rows = n - row < kernels->tile_rows ? n - row : kernels->tile_rows;
    for (size_t j = row / KIN_PANEL * KIN_PANEL; j < n; j += KIN_PANEL)
      kernels->gemm_tile(rows, dim, b->rows + row * dim, dim, b->panels + j * dim, KIN_PANEL, b->scores + j, l->most,
                         false, (kin_ahead){0});
    for (size_t r = 0; r < rows; r++) scan_row(l, b, row + r, n, b->scores + r * l->most);
  }
}

/* Task of the pool: a thread's share of the groups. */
static void work(void *arg, size_t task) {
  (void)task;
  joining *j = arg;
  bench b = {0};
  const bool ok = open_bench(j->lists, &b);
  if (!ok) atomic_store(&j->failed, true);
  for (size_t group; ok && (group = atomic_fetch_add(&j->next, 1)) < j->end;) {
    const size_t n = j->members(j->user, group, b.members);
    if (n > 1) compare(j->lists, &b, n);
  }
  close_bench(&b);
}

/* ------------------------------------------------------------------- calls */

kin_status kin_near_lists_join(kin_near_lists *lists, size_t first, size_t end,
                               size_t (*members)(void *user, size_t group, uint32_t *out), void *user, kin_error *err) {
  joining j = {.lists = lists, .members = members, .user = user, .end = end};
  atomic_init(&j.next, first), atomic_init(&j.failed, false);
  kin_parallel_for(lists->context->pool, kin_context_threads(lists->context), work, &j);
  if (!atomic_load(&j.failed)) return KIN_OK;
  return kin_fail(err, KIN_ERR_MEMORY, "out of memory to compare vectors of %zu floats", lists->side->words);
}

size_t kin_near_lists_get(const kin_near_lists *lists, size_t i, uint32_t *out) {
  size_t n = 0;
  for (; n < lists->k && lists->keys[i * lists->k + n]; n++) out[n] = row_of(lists->keys[i * lists->k + n]);
  return n;
}

bool kin_near_lists_changed(const kin_near_lists *lists, size_t i) {
  return memchr(lists->fresh + i * lists->k, 1, lists->k) != NULL;
}

void kin_near_lists_mark(kin_near_lists *lists) {
  memset(lists->fresh, 0, lists->side->n * lists->k);
}

kin_status kin_near_lists_open(kin_context *context, const kin_nearest_side *side, size_t k, size_t most,
                               kin_near_lists **out, kin_error *err) {
  kin_near_lists *l = *out = calloc(1, sizeof *l);
  if (l) {
    l->context = context, l->side = side, l->k = k;
    for (size_t i = 0; i < LOCKS; i++) pthread_mutex_init(&l->locks[i], NULL);
    l->most = (most + KIN_PANEL - 1) / KIN_PANEL * KIN_PANEL;
    l->keys = calloc(side->n, k * sizeof *l->keys), l->fresh = calloc(side->n, k);
    l->bars = calloc(side->n, sizeof *l->bars);
  }
  if (l && l->keys && l->fresh && l->bars) return KIN_OK;
  kin_near_lists_close(l);
  *out = NULL;
  return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the neighbours of %zu vectors", side->n);
}

void kin_near_lists_close(kin_near_lists *lists) {
  if (!lists) return;
  for (size_t i = 0; i < LOCKS; i++) pthread_mutex_destroy(&lists->locks[i]);
  free(lists->keys), free(lists->fresh), free(lists->bars);
  free(lists);
}
