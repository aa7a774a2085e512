/* How far neighbours on a map are neighbours. */
#include "analyse/analyse.h"
#include "analyse/exact.h"
#include "base/context.h"

#include <math.h>
#include <stdlib.h>

typedef struct measuring {
  const kin_vector_set *set;
  kin_metric metric;
  const double *inverse; /* [n] */
  const kin_near *near;  /* [n][k]: on the map */
  size_t k;
  double *penalty; /* [n] */
} measuring;

static double ranked(const measuring *m, size_t i, size_t j) {
  const size_t dim = m->set->dim;
  const float *x = m->set->values + i * dim, *y = m->set->values + j * dim;
  if (m->metric == KIN_METRIC_EUCLIDEAN) return kin_exact_squares(x, y, dim);
  return 1 - kin_exact_dot(x, y, dim) * m->inverse[i] * m->inverse[j];
}

/* Task of the pool: by how many places the neighbours of a point are beyond the k nearest of its vector. */
static void measure(void *arg, size_t i) {
  measuring *m = arg;
  const size_t n = m->set->n, k = m->k;
  double *all = kin_array(n, sizeof *all), sum = 0;
  for (size_t j = 0; all && j < n; j++) all[j] = ranked(m, i, j);
  for (size_t a = 0; all && a < k; a++) {
    const size_t other = m->near[i * k + a].index;
    size_t before = 0; /* nearer than this one, or as near and of a lower number */
    for (size_t j = 0; j < n; j++) before += j != i && (all[j] < all[other] || (all[j] == all[other] && j < other));
    if (before >= k) sum += (double)(before - k + 1);
  }
  m->penalty[i] = all ? sum : NAN;
  free(all);
}

kin_status kin_trustworthiness(kin_context *context, const kin_vector_set *set, kin_metric metric,
                               const kin_vector_set *map, size_t k, double *out, kin_error *err) {
  if (!context || !map || !out)
    return kin_fail(err, KIN_ERR_ARGUMENT, "trustworthiness needs a context, a map and room");
  measuring m = {.set = set, .metric = metric, .k = k};
  double *inverse;
  kin_status status = kin_inverse_lengths(set, &inverse, err);
  if (status != KIN_OK) return status;
  const size_t n = set->n;
  if (map->n != n)
    status = kin_fail(err, KIN_ERR_MISMATCH, "a map of %zu points for %zu vectors", map->n, n);
  else if (n < 3)
    status = kin_fail(err, KIN_ERR_ARGUMENT, "trustworthiness of %zu vectors: needs at least 3", n);
  else if (k < 1 || 2 * k >= n)
    status = kin_fail(err, KIN_ERR_ARGUMENT, "trustworthiness over %zu neighbours of %zu vectors: must be 1 to %zu", k,
                      n, (n - 1) / 2);
  kin_near *near = status == KIN_OK ? kin_array(n, k * sizeof *near) : NULL;
  m.penalty = kin_array(n, sizeof *m.penalty);
  if (status == KIN_OK && (!near || !m.penalty))
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for the neighbours of %zu vectors", n);
  if (status == KIN_OK) status = kin_nearest(context, map, NULL, KIN_METRIC_EUCLIDEAN, k, near, err);
  if (status == KIN_OK) {
    m.near = near, m.inverse = inverse;
    kin_parallel_for(context->pool, n, measure, &m);
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += m.penalty[i];
    const double size = (double)n, kept = (double)k;
    *out = 1 - sum * 2 / (size * kept * (2 * size - 3 * kept - 1));
    if (isnan(sum)) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for the distances of %zu vectors", n);
  }
  free(near), free(m.penalty), free(inverse);
  return status;
}
