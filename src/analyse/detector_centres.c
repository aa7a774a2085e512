/* Distance to the mean, plain and by the covariance; and to the nearest of several means. */
#include "analyse/analyse.h"
#include "analyse/detector.h"
#include "analyse/exact.h"
#include "analyse/linear.h"
#include "base/context.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 256, ROWS = 16 };

typedef struct scoring {
  const kin_detector *d;
  const kin_vector_set *items;
  const double *inverse; /* [n] */
  double *rows;          /* [n rounded up to tasks][dim] of Mahalanobis: less the mean */
  double *scores;
} scoring;

static size_t tasks_of(size_t n) {
  return (n + ROWS - 1) / ROWS;
}

static size_t task_end(size_t task, size_t n) {
  return (task + 1) * ROWS < n ? (task + 1) * ROWS : n;
}

/* -------------------------------------------------------------------- mean */

kin_status kin_detector_fit_mean(const kin_vector_set *set, kin_detector *d, kin_error *err) {
  const size_t dim = set->dim;
  const bool unit = d->info.method == KIN_DETECTOR_MEAN && d->info.metric == KIN_METRIC_COSINE;
  double *inverse, squares = 0, divisor = (double)set->n;
  kin_status status = kin_inverse_lengths(set, &inverse, err);
  if (status != KIN_OK) return status;
  d->mean = calloc(dim, sizeof *d->mean);
  if (!d->mean) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for a mean of %zu floats", dim);
  for (size_t i = 0; d->mean && i < set->n; i++)
    for (size_t j = 0; j < dim; j++) d->mean[j] += (double)set->values[i * dim + j] * (unit ? inverse[i] : 1);
  for (size_t j = 0; d->mean && j < dim; j++) squares += d->mean[j] * d->mean[j];
  if (unit) divisor = sqrt(squares);
  for (size_t j = 0; d->mean && j < dim && divisor > 0; j++) d->mean[j] /= divisor;
  free(inverse);
  return status;
}

/* Task of the pool. */
static void score_mean(void *arg, size_t task) {
  const scoring *s = arg;
  const size_t dim = s->items->dim;
  for (size_t i = task * ROWS; i < task_end(task, s->items->n); i++) {
    const float *x = s->items->values + i * dim;
    double sum = 0;
    if (s->d->info.metric == KIN_METRIC_COSINE) {
      for (size_t j = 0; j < dim; j++) sum += (double)x[j] * s->d->mean[j];
      s->scores[i] = fmax(0, 1 - sum * s->inverse[i]);
    } else {
      for (size_t j = 0; j < dim; j++) sum += ((double)x[j] - s->d->mean[j]) * ((double)x[j] - s->d->mean[j]);
      s->scores[i] = sqrt(sum);
    }
  }
}

void kin_detector_score_mean(kin_context *context, const kin_detector *d, const kin_vector_set *items,
                             const double *inverse, double *scores) {
  scoring s = {.d = d, .items = items, .inverse = inverse, .scores = scores};
  kin_parallel_for(context->pool, tasks_of(items->n), score_mean, &s);
}

/* -------------------------------------------------------------- covariance */

/* Sum the products of the vectors less their mean into covariance[dim][dim], and the fourth powers of their lengths
 * into *fourth. `turned` [dim][CHUNK] and `products` [dim][dim] are scratch. */
static void add_products(kin_context *context, const kin_vector_set *set, const double *mean, double *covariance,
                         double *fourth, double *turned, double *products) {
  const size_t dim = set->dim;
  for (size_t first = 0; first < set->n; first += CHUNK) {
    const size_t rows = set->n - first < CHUNK ? set->n - first : CHUNK;
    memset(turned, 0, dim * CHUNK * sizeof *turned);
    for (size_t i = 0; i < rows; i++) {
      double squares = 0;
      for (size_t j = 0; j < dim; j++) {
        const double x = (double)set->values[(first + i) * dim + j] - mean[j];
        turned[j * CHUNK + i] = x, squares += x * x;
      }
      *fourth += squares * squares;
    }
    kin_gram(context, turned, dim, CHUNK, products);
    for (size_t i = 0; i < dim * dim; i++) covariance[i] += products[i] * CHUNK;
  }
}

/* Divide by n, and move towards a sphere of the same trace by the share of Ledoit and Wolf, which is returned; negative
 * where nothing varies. */
static double shrink(double *covariance, size_t n, size_t dim, double fourth) {
  double trace = 0, squares = 0;
  for (size_t i = 0; i < dim * dim; i++) covariance[i] /= (double)n, squares += covariance[i] * covariance[i];
  for (size_t i = 0; i < dim; i++) trace += covariance[i * dim + i];
  const double size = (double)dim, mu = trace / size;
  const double delta = (squares - 2 * mu * trace + size * mu * mu) / size;
  const double beta = fmin((fourth / (double)n - squares) / (size * (double)n), delta);
  const double share = beta > 0 ? beta / delta : 0;
  for (size_t i = 0; i < dim * dim; i++) covariance[i] *= 1 - share;
  for (size_t i = 0; i < dim; i++) covariance[i * dim + i] += share * mu;
  return mu > 0 ? share : -1;
}

static kin_status invert(kin_context *context, double *covariance, double *precision, size_t dim, kin_error *err) {
  if (!kin_cholesky(context, covariance, dim))
    return kin_fail(
        err, KIN_ERR_ARGUMENT,
        "the vectors vary in too few directions for a Mahalanobis distance: take more of them, or the mean");
  memset(precision, 0, dim * dim * sizeof *precision);
  for (size_t i = 0; i < dim; i++) precision[i * dim + i] = 1;
  kin_cholesky_solve(context, covariance, dim, precision, dim);
  return KIN_OK;
}

kin_status kin_detector_fit_mahalanobis(kin_context *context, const kin_vector_set *set, kin_detector *d,
                                        kin_error *err) {
  const size_t dim = set->dim;
  kin_status status = kin_detector_fit_mean(set, d, err);
  if (status != KIN_OK) return status;
  double *covariance = calloc(dim, dim * sizeof *covariance), *turned = kin_array(dim, CHUNK * sizeof *turned);
  double fourth = 0;
  d->precision = kin_array(dim, dim * sizeof *d->precision);
  if (covariance && turned && d->precision) {
    add_products(context, set, d->mean, covariance, &fourth, turned, d->precision);
    d->info.shrinkage = shrink(covariance, set->n, dim, fourth);
    if (d->info.shrinkage < 0)
      status = kin_fail(err, KIN_ERR_ARGUMENT, "all %zu vectors are the same: there is no covariance", set->n);
    else
      status = invert(context, covariance, d->precision, dim, err);
  } else {
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for the covariance of %zu floats", dim);
  }
  free(covariance), free(turned);
  return status;
}

/* Task of the pool: a few vectors, so that a row of the matrix serves all of them. */
static void score_mahalanobis(void *arg, size_t task) {
  const scoring *s = arg;
  const size_t dim = s->items->dim, first = task * ROWS, end = task_end(task, s->items->n);
  for (size_t i = first; i < end; i++) {
    s->scores[i] = 0;
    for (size_t j = 0; j < dim; j++) s->rows[i * dim + j] = (double)s->items->values[i * dim + j] - s->d->mean[j];
  }
  for (size_t j = 0; j < dim; j++)
    for (size_t i = first; i < end; i++)
      s->scores[i] += s->rows[i * dim + j] * kin_dot_in_lanes(s->d->precision + j * dim, s->rows + i * dim, dim);
  for (size_t i = first; i < end; i++) s->scores[i] = sqrt(fmax(0, s->scores[i]));
}

kin_status kin_detector_score_mahalanobis(kin_context *context, const kin_detector *d, const kin_vector_set *items,
                                          double *scores, kin_error *err) {
  scoring s = {.d = d, .items = items, .scores = scores};
  s.rows = kin_array(items->n, items->dim * sizeof *s.rows);
  if (!s.rows) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the distances of %zu vectors", items->n);
  kin_parallel_for(context->pool, tasks_of(items->n), score_mahalanobis, &s);
  free(s.rows);
  return KIN_OK;
}

/* ---------------------------------------------------------------- clusters */

/* Below it a spread is rounding, of copies of one vector. */
static const double least_spread = 1e-9;

/* Keep the clusters that count; their number. */
static size_t keep_clusters(kin_detector *d, const kin_cluster_info *infos, size_t k) {
  const size_t dim = d->info.dim, n = d->info.items;
  size_t kept = 0;
  double all = 0;
  for (size_t c = 0; c < k; c++) all += infos[c].spread * (double)infos[c].size / (double)n;
  for (size_t c = 0; c < k; c++) {
    /* The first is the largest. */
    if (c > 0 && (infos[c].size < 2 || infos[c].size * 20 * k < n)) continue;
    memmove(d->centres + kept * dim, d->centres + c * dim, dim * sizeof *d->centres);
    d->spreads[kept++] = infos[c].spread > least_spread ? infos[c].spread : all > least_spread ? all : 1;
  }
  return kept;
}

kin_status kin_detector_fit_clusters(kin_context *context, const kin_vector_set *set, size_t k, uint64_t seed,
                                     kin_detector *d, kin_error *err) {
  kin_kmeans_options options = {.metric = d->info.metric, .k = k, .seed = seed};
  kin_k_score curve[KIN_MAX_K_SCORES];
  kin_clustering clusters = {0};
  size_t points;
  kin_status status = KIN_OK;
  if (k == 0) status = kin_choose_k(context, set, &options, &options.k, curve, &points, err);
  if (status == KIN_OK) status = kin_kmeans(context, set, &options, &clusters, err);
  if (status != KIN_OK) return status;
  kin_cluster_info *infos = kin_array(clusters.k, sizeof *infos);
  d->centres = kin_alloc_aligned(clusters.k * set->dim * sizeof *d->centres);
  d->spreads = kin_array(clusters.k, sizeof *d->spreads);
  if (infos && d->centres && d->spreads)
    status =
        kin_describe_clusters(context, set, d->info.metric, clusters.labels, clusters.k, infos, d->centres, NULL, err);
  else
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu clusters", clusters.k);
  if (status == KIN_OK) d->info.k = keep_clusters(d, infos, clusters.k);
  free(infos);
  kin_clustering_free(&clusters);
  return status;
}

/* Task of the pool. */
static void score_clusters(void *arg, size_t task) {
  const scoring *s = arg;
  const size_t dim = s->items->dim;
  for (size_t i = task * ROWS; i < task_end(task, s->items->n); i++) {
    const float *x = s->items->values + i * dim;
    double least = INFINITY;
    for (size_t c = 0; c < s->d->info.k; c++) {
      const float *centre = s->d->centres + c * dim;
      const double d = s->d->info.metric == KIN_METRIC_COSINE
                           ? fmax(0, 1 - kin_exact_dot(x, centre, dim) * s->inverse[i])
                           : sqrt(kin_exact_squares(x, centre, dim));
      if (d < least) least = d, s->scores[i] = d / s->d->spreads[c];
    }
  }
}

void kin_detector_score_clusters(kin_context *context, const kin_detector *d, const kin_vector_set *items,
                                 const double *inverse, double *scores) {
  scoring s = {.d = d, .items = items, .inverse = inverse, .scores = scores};
  kin_parallel_for(context->pool, tasks_of(items->n), score_clusters, &s);
}
