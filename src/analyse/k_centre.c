/* Greedy k-centre: each next pick is the vector furthest from those before it.
 *
 * Picks come in batches. The furthest vectors so far are candidates; a batch goes on for as long as the furthest of
 * them, with the batch's own picks counted, is at least as far as the last candidate was, since every other vector is
 * nearer than that. So each pick is the one that picking singly would take, but the whole set is passed over once a
 * batch, as a product of matrices. Products are in float, which gives the same bits on every instruction set; where
 * they vanish, what is left is rounding, and the distance is measured in double. */
#include "analyse/analyse.h"
#include "analyse/exact.h"
#include "analyse/nearest_side.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
  CANDIDATES = 64,
  PANELS = 8, /* of the second-level cache */
  COLUMNS = PANELS * KIN_PANEL,
  BLOCK = 8 * COLUMNS, /* vectors of a task */
  CHUNK = KIN_NEAREST_CHUNK
};

/* Of the frame's scale; products tell nothing of less. */
static const float too_near = 1e-5f;

typedef struct candidate {
  float rank;
  size_t index;
} candidate;

typedef struct candidate_list {
  size_t n;
  candidate items[CANDIDATES]; /* the furthest first */
} candidate_list;

typedef struct picking {
  kin_context *context;
  const kin_vector_set *set;
  kin_metric metric;
  double *inverse;
  kin_nearest_frame frame;
  kin_nearest_side side;
  float *rank;       /* [n]: distance to the nearest pick, as it ranks; -1: picked */
  uint32_t *nearest; /* [n] */
  size_t blocks;
  candidate_list *lists;   /* [blocks] */
  candidate_list furthest; /* of all */
  size_t *picks;
  size_t picked, applied; /* of `picks`; so many have been compared with all vectors */
  float *rows;            /* [CANDIDATES][dim]: of picks [applied, picked) ... */
  float own[CANDIDATES];  /* ... and their parts of a rank */
  kin_nearest_side strip; /* the candidates */
} picking;

static bool is_further(candidate a, candidate b) {
  return a.rank > b.rank || (a.rank == b.rank && a.index < b.index);
}

static void offer(candidate_list *list, candidate one) {
  size_t at = list->n;
  if (at == CANDIDATES && !is_further(one, list->items[at - 1])) return;
  if (at < CANDIDATES) list->n++;
  if (at == CANDIDATES) at--;
  for (; at > 0 && is_further(one, list->items[at - 1]); at--) list->items[at] = list->items[at - 1];
  list->items[at] = one;
}

/* What ranks as the distance does, in the frame's scale, is own(pick) + (bias[vector] - product): one less the cosine,
 * or half the square. */
static float own_part(const picking *p, double offset) {
  return (float)(p->metric == KIN_METRIC_COSINE ? 1 - offset : offset);
}

static float exact_rank(const picking *p, size_t pick, size_t point) {
  const size_t dim = p->set->dim;
  const float *x = p->set->values + pick * dim, *y = p->set->values + point * dim;
  if (p->metric == KIN_METRIC_COSINE)
    return (float)fmax(0, 1 - kin_exact_dot(x, y, dim) * p->inverse[pick] * p->inverse[point]);
  return (float)(kin_exact_squares(x, y, dim) * p->frame.scale * p->frame.scale / 2);
}

/* ------------------------------------------------------- the whole set once */

/* Whether some of n <= CHUNK vectors are nearer than they were. Without branches, for the compiler to use vectors. */
static bool any_nearer(const float *products, const float *bias, float own, const float *rank, size_t n) {
  unsigned any = 0;
  for (size_t i = 0; i < n; i++) any |= (unsigned)(bias[i] - products[i] + own < rank[i]);
  return any;
}

/* Compare a pick with vectors [first, end). */
static void apply_pick(picking *p, size_t number, const float *products, size_t first, size_t end) {
  const float own = p->own[number - p->applied], *bias = p->side.bias;
  for (size_t from = first; from < end; from += CHUNK) {
    const size_t n = end - from < CHUNK ? end - from : CHUNK;
    const float *product = products + (from - first);
    if (!any_nearer(product, bias + from, own, p->rank + from, n)) continue;
    for (size_t i = 0; i < n; i++) {
      float rank = bias[from + i] - product[i] + own;
      if (rank < too_near && rank < p->rank[from + i]) rank = exact_rank(p, p->picks[number], from + i);
      if (rank < p->rank[from + i]) p->rank[from + i] = rank, p->nearest[from + i] = (uint32_t)number;
    }
  }
}

/* Task of the pool: the new picks with a block of the vectors, of which the furthest become candidates. */
static void apply_block(void *arg, size_t block) {
  picking *p = arg;
  float products[KIN_MAX_TILE_ROWS * COLUMNS];
  const size_t fresh = p->picked - p->applied, most = kin_nearest_tile_rows(p->context, false);
  const size_t end = (block + 1) * BLOCK < p->set->n ? (block + 1) * BLOCK : p->set->n;
  for (size_t first = block * BLOCK; first < end; first += COLUMNS) {
    const size_t last = first + COLUMNS < end ? first + COLUMNS : end;
    for (size_t row = 0, rows; row < fresh; row += rows) {
      rows = fresh - row < most ? fresh - row : most;
      kin_nearest_multiply(p->context, false, p->rows + row * p->set->dim, rows, &p->side, first / KIN_PANEL,
                           (last - first + KIN_PANEL - 1) / KIN_PANEL, products, COLUMNS);
      for (size_t r = 0; r < rows; r++) apply_pick(p, p->applied + row + r, products + r * COLUMNS, first, last);
    }
  }
  candidate_list *list = &p->lists[block];
  list->n = 0;
  for (size_t i = block * BLOCK; i < end; i++)
    if (p->rank[i] >= 0) offer(list, (candidate){p->rank[i], i});
}

/* Pick the vector in row `row` of the strip. */
static void take(picking *p, size_t pick, size_t row, uint32_t nearest) {
  const size_t dim = p->set->dim, at = p->picked - p->applied;
  memcpy(p->rows + at * dim, kin_nearest_row(&p->strip, row), dim * sizeof *p->rows);
  p->own[at] = own_part(p, p->strip.offset[row]);
  p->rank[pick] = -1, p->nearest[pick] = nearest;
  p->picks[p->picked++] = pick;
}

/* Compare the batch's picks with all vectors, and find the furthest. */
static void apply(picking *p) {
  kin_parallel_for(p->context->pool, p->blocks, apply_block, p);
  p->applied = p->picked;
  p->furthest.n = 0;
  for (size_t b = 0; b < p->blocks; b++)
    for (size_t i = 0; i < p->lists[b].n; i++) offer(&p->furthest, p->lists[b].items[i]);
}

/* ------------------------------------------------------------------ batches */

static kin_status open_strip(picking *p, const size_t *chosen, size_t n, kin_error *err) {
  kin_nearest_side_close(&p->strip);
  return kin_nearest_side_open(p->context, &p->frame, p->set, p->metric == KIN_METRIC_COSINE ? p->inverse : NULL,
                               chosen, n, true, &p->strip, err);
}

/* Bring the candidates up to date with the pick in row `row` of the strip. */
static void apply_to_candidates(picking *p, candidate *left, size_t n, size_t row, uint32_t *nearest) {
  float products[(CANDIDATES + KIN_PANEL - 1) / KIN_PANEL * KIN_PANEL];
  const size_t pick = left[row].index, number = p->picked - 1;
  const float own = own_part(p, p->strip.offset[row]);
  kin_nearest_multiply(p->context, false, kin_nearest_row(&p->strip, row), 1, &p->strip, 0, p->strip.padded / KIN_PANEL,
                       products, sizeof products / sizeof *products);
  left[row].rank = -1;
  for (size_t i = 0; i < n; i++) {
    float rank = p->strip.bias[i] - products[i] + own;
    if (rank < too_near && rank < left[i].rank) rank = exact_rank(p, pick, left[i].index);
    if (rank < left[i].rank) left[i].rank = rank, nearest[i] = (uint32_t)number;
  }
}

/* Pick among the candidates for as long as no other vector can be further. */
static kin_status pick_batch(picking *p, size_t k, kin_error *err) {
  const size_t n = p->furthest.n;
  candidate left[CANDIDATES];
  uint32_t nearest[CANDIDATES];
  size_t chosen[CANDIDATES];
  for (size_t i = 0; i < n; i++) {
    left[i] = p->furthest.items[i];
    nearest[i] = p->nearest[left[i].index], chosen[i] = left[i].index;
  }
  const candidate last = left[n - 1];
  kin_status status = open_strip(p, chosen, n, err);
  if (status != KIN_OK) return status;
  while (p->picked < k) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
      if (is_further(left[i], left[best])) best = i;
    if (left[best].rank < 0 || is_further(last, left[best])) break;
    take(p, left[best].index, best, nearest[best]);
    apply_to_candidates(p, left, n, best, nearest);
  }
  return KIN_OK;
}

/* The vector nearest to the mean. */
static kin_status pick_first(picking *p, kin_error *err) {
  size_t best = 0;
  double least = INFINITY;
  for (size_t i = 0; i < p->set->n; i++) {
    /* Of cosines: the greatest product with the mean. */
    const double rank = p->metric == KIN_METRIC_COSINE ? -p->side.offset[i] : (double)p->side.length[i];
    if (rank < least) least = rank, best = i;
  }
  const kin_status status = open_strip(p, &best, 1, err);
  if (status == KIN_OK) take(p, best, 0, 0);
  return status;
}

static kin_status run(picking *p, const kin_k_centre_options *options, size_t k, kin_error *err) {
  kin_status status = pick_first(p, err);
  if (status == KIN_OK) apply(p);
  while (status == KIN_OK && p->picked < k) {
    if (options && options->on_progress && !options->on_progress(options->user, p->picked, k))
      return kin_fail(err, KIN_ERR_CANCELLED, "stopped after %zu of %zu picks", p->picked, k);
    status = pick_batch(p, k, err);
    if (status == KIN_OK) apply(p);
  }
  return status;
}

/* ------------------------------------------------------------------ opening */

static kin_status open_picking(picking *p, size_t k, kin_error *err) {
  const size_t n = p->set->n;
  const double *inverse = p->metric == KIN_METRIC_COSINE ? p->inverse : NULL;
  kin_status status = kin_nearest_frame_open(p->context, p->set, inverse, p->metric, &p->frame, err);
  if (status == KIN_OK)
    status = kin_nearest_side_open(p->context, &p->frame, p->set, inverse, NULL, n, true, &p->side, err);
  if (status != KIN_OK) return status;
  p->blocks = (n + BLOCK - 1) / BLOCK;
  p->rank = kin_array(n, sizeof *p->rank), p->nearest = kin_array(n, sizeof *p->nearest);
  p->lists = kin_array(p->blocks, sizeof *p->lists), p->picks = kin_array(k, sizeof *p->picks);
  p->rows = kin_alloc_aligned(CANDIDATES * p->set->dim * sizeof *p->rows);
  if (!p->rank || !p->nearest || !p->lists || !p->picks || !p->rows)
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the distances of %zu vectors", n);
  for (size_t i = 0; i < n; i++) p->rank[i] = INFINITY;
  return KIN_OK;
}

static double measure(const picking *p, size_t a, size_t b) {
  const float *x = p->set->values + a * p->set->dim, *y = p->set->values + b * p->set->dim;
  if (a == b) return 0;
  if (p->metric == KIN_METRIC_EUCLIDEAN) return sqrt(kin_exact_squares(x, y, p->set->dim));
  const double cosine = kin_exact_dot(x, y, p->set->dim) * p->inverse[a] * p->inverse[b];
  return 1 - fmax(-1, fmin(1, cosine));
}

static void report(picking *p, kin_near *picks, size_t k, size_t *nearest, double *distances) {
  for (size_t i = 0; i < k; i++) {
    const size_t pick = p->picks[i];
    picks[i] = (kin_near){pick, i ? measure(p, pick, p->picks[p->nearest[pick]]) : INFINITY};
  }
  for (size_t i = 0; i < k; i++) p->nearest[p->picks[i]] = (uint32_t)i;
  for (size_t i = 0; nearest && i < p->set->n; i++) nearest[i] = p->nearest[i];
  for (size_t i = 0; distances && i < p->set->n; i++) distances[i] = measure(p, i, p->picks[p->nearest[i]]);
}

kin_status kin_k_centre(kin_context *context, const kin_vector_set *set, const kin_k_centre_options *options, size_t k,
                        kin_near *picks, size_t *nearest, double *distances, kin_error *err) {
  if (!context || !picks) return kin_fail(err, KIN_ERR_ARGUMENT, "picks need a context and room");
  picking p = {.context = context, .set = set, .metric = options ? options->metric : KIN_METRIC_COSINE};
  kin_status status = kin_inverse_lengths(set, &p.inverse, err);
  if (status != KIN_OK) return status;
  if (k < 1 || k > set->n)
    status = kin_fail(err, KIN_ERR_ARGUMENT, "%zu picks of %zu vectors: must be 1 to %zu", k, set->n, set->n);
  else if (set->n > UINT32_MAX)
    status = kin_fail(err, KIN_ERR_LIMIT, "%zu vectors are more than can be picked from", set->n);
  if (status == KIN_OK) status = open_picking(&p, k, err);
  if (status == KIN_OK) status = run(&p, options, k, err);
  if (status == KIN_OK) report(&p, picks, k, nearest, distances);
  kin_nearest_side_close(&p.side), kin_nearest_side_close(&p.strip);
  kin_nearest_frame_close(&p.frame);
  kin_free_aligned(p.rows);
  free(p.rank), free(p.nearest), free(p.lists), free(p.picks), free(p.inverse);
  return status;
}
