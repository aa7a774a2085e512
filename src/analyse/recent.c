/* Scores of vectors against the window before them. */
#include "analyse/recent.h"

#include "analyse/analyse.h"
#include "analyse/exact.h"
#include "base/context.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 64 };

typedef struct windows {
  const kin_vector_set *set;
  const size_t *first;
  const double *inverse; /* [n] with cosines, else NULL */
  size_t k;
  double *nearest; /* [tasks][k] of neighbours */
  double *sums;    /* [tasks][dim] of the mean */
  double *scores;
} windows;

static size_t block_end(const windows *w, size_t block) {
  return (block + 1) * BLOCK < w->set->n ? (block + 1) * BLOCK : w->set->n;
}

/* -------------------------------------------------------------- neighbours */

static double distance(const windows *w, size_t a, size_t b) {
  const size_t dim = w->set->dim;
  const float *x = w->set->values + a * dim, *y = w->set->values + b * dim;
  if (!w->inverse) return sqrt(kin_exact_squares(x, y, dim));
  return fmax(0, 1 - kin_exact_dot(x, y, dim) * w->inverse[a] * w->inverse[b]);
}

/* The distance of i to the k-th nearest of [first, i); `nearest` has room for k. */
static double distance_to_kth(const windows *w, size_t first, size_t i, double *nearest) {
  size_t held = 0;
  for (size_t j = first; j < i; j++) {
    const double d = distance(w, i, j);
    if (held == w->k && !(d < nearest[held - 1])) continue;
    size_t at = held < w->k ? held++ : held - 1;
    for (; at > 0 && nearest[at - 1] > d; at--) nearest[at] = nearest[at - 1];
    nearest[at] = d;
  }
  return held == w->k ? nearest[held - 1] : NAN;
}

/* Task of the pool. */
static void score_neighbours(void *arg, size_t block) {
  const windows *w = arg;
  for (size_t i = block * BLOCK; i < block_end(w, block); i++)
    w->scores[i] = distance_to_kth(w, w->first[i], i, w->nearest + block * w->k);
}

/* -------------------------------------------------------------------- mean */

static void add(const windows *w, double *sums, size_t i, double sign) {
  const size_t dim = w->set->dim;
  const double factor = sign * (w->inverse ? w->inverse[i] : 1);
  for (size_t j = 0; j < dim; j++) sums[j] += (double)w->set->values[i * dim + j] * factor;
}

static double distance_to_mean(const windows *w, const double *sums, size_t i, size_t count) {
  const size_t dim = w->set->dim;
  const float *x = w->set->values + i * dim;
  double squares = 0, product = 0, apart = 0;
  for (size_t j = 0; j < dim; j++) {
    const double mean = sums[j] / (double)count, step = (double)x[j] - mean;
    squares += mean * mean, product += (double)x[j] * mean, apart += step * step;
  }
  if (!w->inverse) return sqrt(apart);
  return squares > 0 ? fmax(0, 1 - product * w->inverse[i] / sqrt(squares)) : 1;
}

/* Task of the pool: the sums slide, begun anew for each block. */
static void score_mean(void *arg, size_t block) {
  const windows *w = arg;
  double *sums = w->sums + block * w->set->dim;
  const size_t begin = block * BLOCK;
  size_t low = w->first[begin];
  memset(sums, 0, w->set->dim * sizeof *sums);
  for (size_t i = low; i < begin; i++) add(w, sums, i, 1);
  for (size_t i = begin; i < block_end(w, block); i++) {
    if (i > begin) add(w, sums, i - 1, 1);
    for (; low < w->first[i]; low++) add(w, sums, low, -1);
    w->scores[i] = low < i ? distance_to_mean(w, sums, i, i - low) : NAN;
  }
}

/* ---------------------------------------------------------------- one alone */

double kin_window_score(const kin_vector_set *set, const double *inverse, kin_detector_method method, size_t k,
                        double *room) {
  const windows w = {.set = set, .inverse = inverse, .k = k};
  const size_t last = set->n - 1;
  if (method == KIN_DETECTOR_KNN) return distance_to_kth(&w, 0, last, room);
  memset(room, 0, set->dim * sizeof *room);
  for (size_t i = 0; i < last; i++) add(&w, room, i, 1);
  return last ? distance_to_mean(&w, room, last, last) : NAN;
}

/* ----------------------------------------------------------------- running */

kin_status kin_window_check(kin_detector_method method, size_t k, kin_error *err) {
  if (method != KIN_DETECTOR_KNN && method != KIN_DETECTOR_MEAN)
    return kin_fail(err, KIN_ERR_ARGUMENT, "a window is scored against by knn or by mean, not by %s",
                    kin_detector_method_name(method));
  if (method == KIN_DETECTOR_KNN && k < 1)
    return kin_fail(err, KIN_ERR_ARGUMENT, "a window needs at least 1 neighbour");
  return KIN_OK;
}

static kin_status check(const kin_vector_set *set, const size_t *first, kin_detector_method method, size_t k,
                        kin_error *err) {
  const kin_status status = kin_window_check(method, k, err);
  if (status != KIN_OK) return status;
  for (size_t i = 0; i < set->n; i++)
    if (first[i] > i || (i > 0 && first[i] < first[i - 1]))
      return kin_fail(err, KIN_ERR_ARGUMENT, "the window of vector %zu begins at %zu", i, first[i]);
  return KIN_OK;
}

kin_status kin_window_scores(kin_context *context, const kin_vector_set *set, const size_t *first,
                             kin_detector_method method, kin_metric metric, size_t k, double *scores, kin_error *err) {
  if (!context || !first || !scores)
    return kin_fail(err, KIN_ERR_ARGUMENT, "kin_window_scores needs a context, windows and room");
  double *inverse;
  kin_status status = kin_inverse_lengths(set, &inverse, err);
  if (status != KIN_OK) return status;
  const bool neighbours = method == KIN_DETECTOR_KNN;
  const size_t blocks = (set->n + BLOCK - 1) / BLOCK;
  windows w = {.set = set, .first = first, .k = k, .scores = scores};
  if (metric == KIN_METRIC_COSINE) w.inverse = inverse;
  status = check(set, first, method, k, err);
  if (status == KIN_OK && neighbours) w.nearest = kin_array(blocks, k * sizeof *w.nearest);
  if (status == KIN_OK && !neighbours) w.sums = kin_array(blocks, set->dim * sizeof *w.sums);
  if (status == KIN_OK && !w.nearest && !w.sums)
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for the windows of %zu vectors", set->n);
  if (status == KIN_OK) kin_parallel_for(context->pool, blocks, neighbours ? score_neighbours : score_mean, &w);
  free(inverse), free(w.nearest), free(w.sums);
  return status;
}
