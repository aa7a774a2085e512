/* Distance to the k-th neighbour, and the local outlier factor: how much more sparsely a vector lies than its
 * neighbours do. */
#include "analyse/detector.h"
#include "base/context.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct factors {
  const kin_detector *d;
  const kin_near *near; /* [n][k] */
  double *out;          /* [n] */
} factors;

/* One over the mean distance to the neighbours, which count as no nearer than their own k-th. The constant, as in
 * scikit-learn, keeps copies finite. */
static double density_of(const kin_detector *d, const kin_near *near) {
  double sum = 0;
  for (size_t j = 0; j < d->info.k; j++) sum += fmax(near[j].distance, d->k_distances[near[j].index]);
  return 1 / (sum / (double)d->info.k + 1e-10);
}

/* Task of the pool. */
static void find_density(void *arg, size_t i) {
  const factors *f = arg;
  f->out[i] = density_of(f->d, f->near + i * f->d->info.k);
}

/* Task of the pool. */
static void find_factor(void *arg, size_t i) {
  const factors *f = arg;
  const size_t k = f->d->info.k;
  const kin_near *near = f->near + i * k;
  const double own = density_of(f->d, near);
  double sum = 0;
  for (size_t j = 0; j < k; j++) sum += f->d->densities[near[j].index];
  f->out[i] = sum / (double)k / own;
}

static void score_by(kin_context *context, const kin_detector *d, const kin_near *near, size_t n, double *scores) {
  if (d->info.method == KIN_DETECTOR_KNN) {
    for (size_t i = 0; i < n; i++) scores[i] = near[(i + 1) * d->info.k - 1].distance;
    return;
  }
  factors f = {d, near, scores};
  kin_parallel_for(context->pool, n, find_factor, &f);
}

/* What the local outlier factor keeps of the reference. */
static kin_status keep_densities(kin_context *context, kin_detector *d, const kin_near *near, kin_error *err) {
  const size_t n = d->info.items, k = d->info.k;
  d->k_distances = kin_array(n, sizeof *d->k_distances), d->densities = kin_array(n, sizeof *d->densities);
  if (!d->k_distances || !d->densities)
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the densities of %zu vectors", n);
  for (size_t i = 0; i < n; i++) d->k_distances[i] = near[(i + 1) * k - 1].distance;
  factors f = {d, near, d->densities};
  kin_parallel_for(context->pool, n, find_density, &f);
  return KIN_OK;
}

kin_status kin_detector_fit_neighbours(kin_context *context, const kin_vector_set *set, kin_detector *d, double *scores,
                                       kin_error *err) {
  const size_t n = set->n, k = d->info.k, bytes = n * set->dim * sizeof *d->points;
  if (k >= n) return kin_fail(err, KIN_ERR_ARGUMENT, "%zu neighbours among %zu vectors: must be 1 to %zu", k, n, n - 1);
  kin_near *near = kin_array(n, k * sizeof *near);
  kin_status status = KIN_OK;
  d->points = kin_alloc_aligned(bytes), d->n_points = n;
  if (d->points && near)
    memcpy(d->points, set->values, bytes);
  else
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for the neighbours of %zu vectors", n);
  if (status == KIN_OK) status = kin_nearest(context, set, NULL, d->info.metric, k, near, err);
  if (status == KIN_OK && d->info.method == KIN_DETECTOR_LOF) status = keep_densities(context, d, near, err);
  if (status == KIN_OK) score_by(context, d, near, n, scores);
  free(near);
  return status;
}

kin_status kin_detector_score_neighbours(kin_context *context, const kin_detector *d, const kin_vector_set *items,
                                         double *scores, kin_error *err) {
  const kin_vector_set points = {d->points, d->info.items, d->info.dim};
  kin_near *near = kin_array(items->n, d->info.k * sizeof *near);
  if (!near) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the neighbours of %zu vectors", items->n);
  const kin_status status = kin_nearest(context, &points, items, d->info.metric, d->info.k, near, err);
  if (status == KIN_OK) score_by(context, d, near, items->n, scores);
  free(near);
  return status;
}
