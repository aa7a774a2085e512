/* The nearest others of each vector, and what many analyses do to vectors first. */
#include "analyse/analyse.h"
#include "analyse/near_approximate.h"
#include "analyse/nearest.h"

#include <math.h>
#include <stdlib.h>

enum { LEAST_APPROXIMATE = 1000 };

kin_status kin_inverse_lengths(const kin_vector_set *set, double **out, kin_error *err) {
  *out = NULL;
  if (!set || !set->values || set->n == 0 || set->dim == 0)
    return kin_fail(err, KIN_ERR_ARGUMENT, "a set needs at least one vector of at least one float");
  double *inverse = kin_array(set->n, sizeof *inverse);
  if (!inverse) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu vectors", set->n);
  for (size_t i = 0; i < set->n; i++) {
    const float *v = set->values + i * set->dim;
    double squares = 0;
    for (size_t j = 0; j < set->dim; j++) squares += (double)v[j] * (double)v[j];
    if (!isfinite(squares)) {
      free(inverse);
      return kin_fail(err, KIN_ERR_ARGUMENT, "vector %zu holds a value that isn't finite", i);
    }
    inverse[i] = squares > 0 ? 1 / sqrt(squares) : 0;
  }
  *out = inverse;
  return KIN_OK;
}

kin_status kin_center(float *values, size_t n, size_t dim, kin_error *err) {
  if (!values || n == 0 || dim == 0)
    return kin_fail(err, KIN_ERR_ARGUMENT, "kin_center needs at least one vector of at least one float");
  double *mean = calloc(dim, sizeof *mean);
  if (!mean) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a mean of %zu floats", dim);
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < dim; j++) mean[j] += (double)values[i * dim + j];
  bool finite = true;
  for (size_t j = 0; j < dim; j++) finite = finite && isfinite(mean[j] /= (double)n);
  for (size_t i = 0; i < n && finite; i++)
    for (size_t j = 0; j < dim; j++) values[i * dim + j] = (float)((double)values[i * dim + j] - mean[j]);
  free(mean);
  return finite ? KIN_OK : kin_fail(err, KIN_ERR_ARGUMENT, "a vector holds a value that isn't finite");
}

kin_status kin_nearest_neighbours(kin_context *context, const kin_vector_set *set, const size_t *queries,
                                  size_t n_queries, size_t k, kin_neighbour *out, kin_error *err) {
  if (!context || !out || !set) return kin_fail(err, KIN_ERR_ARGUMENT, "neighbours need a context, a set and room");
  if (k < 1 || k >= set->n)
    return kin_fail(err, KIN_ERR_ARGUMENT, "%zu neighbours among %zu vectors: must be 1 to %zu", k, set->n,
                    set->n ? set->n - 1 : 0);
  if (!queries && n_queries != set->n)
    return kin_fail(err, KIN_ERR_ARGUMENT, "all %zu vectors are queries, not %zu", set->n, n_queries);
  for (size_t i = 0; queries && i < n_queries; i++)
    if (queries[i] >= set->n)
      return kin_fail(err, KIN_ERR_ARGUMENT, "query %zu is vector %zu of %zu", i, queries[i], set->n);
  kin_near *near = kin_array(n_queries, k * sizeof *near);
  if (!near) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the neighbours of %zu vectors", n_queries);
  kin_nearest_task task = {.context = context, .set = set, .chosen = queries, .n_queries = n_queries};
  task.metric = KIN_METRIC_COSINE, task.as_float = true, task.k = k, task.out = near;
  kin_status status = kin_nearest_run(&task, err);
  for (size_t i = 0; status == KIN_OK && i < n_queries * k; i++)
    out[i] = (kin_neighbour){near[i].index, (float)(1 - near[i].distance)};
  free(near);
  return status;
}

kin_status kin_nearest(kin_context *context, const kin_vector_set *set, const kin_vector_set *queries,
                       kin_metric metric, size_t k, kin_near *out, kin_error *err) {
  if (!context || !out || !set) return kin_fail(err, KIN_ERR_ARGUMENT, "neighbours need a context, a set and room");
  const size_t most = queries || set->n == 0 ? set->n : set->n - 1;
  if (k < 1 || k > most)
    return kin_fail(err, KIN_ERR_ARGUMENT, "%zu neighbours among %zu vectors: must be 1 to %zu", k, set->n, most);
  if (queries && queries->dim != set->dim)
    return kin_fail(err, KIN_ERR_MISMATCH, "queries of %zu floats among vectors of %zu", queries->dim, set->dim);
  kin_nearest_task task = {.context = context, .set = set, .queries = queries};
  task.n_queries = queries ? queries->n : set->n, task.metric = metric, task.k = k, task.out = out;
  return kin_nearest_run(&task, err);
}

kin_status kin_near_exact(kin_context *context, const kin_vector_set *set, const kin_near_options *options,
                          kin_near *out, kin_error *err) {
  const kin_nearest_task task = {.context = context,
                                 .set = set,
                                 .n_queries = set->n,
                                 .metric = options->metric,
                                 .k = options->k,
                                 .out = out,
                                 .on_progress = options->on_progress,
                                 .user = options->user};
  return kin_nearest_run(&task, err);
}

kin_status kin_near_others(kin_context *context, const kin_vector_set *set, const kin_near_options *options,
                           kin_near *out, double *recall, kin_error *err) {
  if (!context || !out || !set || !options)
    return kin_fail(err, KIN_ERR_ARGUMENT, "neighbours need a context, a set, options and room");
  if (options->k < 1 || options->k >= set->n)
    return kin_fail(err, KIN_ERR_ARGUMENT, "%zu neighbours among %zu vectors: must be 1 to %zu", options->k, set->n,
                    set->n ? set->n - 1 : 0);
  if (options->search > KIN_NEAR_APPROXIMATE)
    return kin_fail(err, KIN_ERR_ARGUMENT, "there is no search %d for neighbours", (int)options->search);
  if (!(options->enough >= 0 && options->enough <= 1))
    return kin_fail(err, KIN_ERR_ARGUMENT, "a share of %g of the neighbours: must be 0 to 1", options->enough);
  double found = 1;
  const bool exact = options->search == KIN_NEAR_EXACT || set->n < LEAST_APPROXIMATE ||
                     (options->search == KIN_NEAR_AUTO && set->n <= KIN_NEAR_EXACT_MOST);
  const kin_status status = exact ? kin_near_exact(context, set, options, out, err)
                                  : kin_near_approximate(context, set, options, out, &found, err);
  if (recall) *recall = found;
  return status;
}
