/* The nearest others of each vector: blocks of queries times the packed set, then the best k of each row. */
#include "analyse/analyse.h"
#include "kernel/kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Floats of a block of cosines: they are computed, and read back while the last-level cache holds them. */
#define BLOCK_FLOATS ((size_t)1 << 20)

typedef struct search {
  const kin_context *context;
  const kin_vector_set *set;
  const double *inverse; /* [n] */
  const size_t *queries; /* NULL: all */
  size_t n_queries, k;
  kin_packed units;          /* the set, at length 1 */
  float *block, *cosines;    /* [rows][dim] and [rows][n] */
  size_t first, rows;        /* of the queries in the block */
  kin_neighbour *neighbours; /* [n_queries][k] */
} search;

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

static void put_unit(const search *s, size_t index, float *out) {
  const float *v = s->set->values + index * s->set->dim;
  for (size_t j = 0; j < s->set->dim; j++) out[j] = (float)((double)v[j] * s->inverse[index]);
}

static size_t query_index(const search *s, size_t query) {
  return s->queries ? s->queries[query] : query;
}

/* Task of the pool: the best k of one row of the block. Later rows come after equal earlier ones. */
static void select_best(void *arg, size_t row) {
  const search *s = arg;
  size_t self = query_index(s, s->first + row), held = 0, k = s->k;
  const float *cosines = s->cosines + row * s->set->n;
  kin_neighbour *best = s->neighbours + (s->first + row) * k;
  for (size_t i = 0; i < s->set->n; i++) {
    if (i == self || (held == k && cosines[i] <= best[k - 1].cosine)) continue;
    size_t at = held < k ? held++ : k - 1;
    for (; at > 0 && best[at - 1].cosine < cosines[i]; at--) best[at] = best[at - 1];
    best[at] = (kin_neighbour){i, cosines[i]};
  }
  for (size_t i = 0; i < k; i++) best[i].cosine = fmaxf(-1, fminf(1, best[i].cosine)); /* rounding may pass 1 */
}

static kin_status pack_units(search *s, kin_error *err) {
  size_t n = s->set->n, dim = s->set->dim;
  float *units = kin_array(n, dim * sizeof *units);
  if (!units) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu vectors of %zu floats", n, dim);
  for (size_t i = 0; i < n; i++) put_unit(s, i, units + i * dim);
  kin_status status = kin_pack((const float *const[]){units}, &n, 1, dim, &s->units, err);
  free(units);
  return status;
}

static kin_status run(search *s, kin_error *err) {
  size_t n = s->set->n, dim = s->set->dim, most = BLOCK_FLOATS / n;
  if (most > s->n_queries) most = s->n_queries;
  if (most < 1) most = 1;
  s->block = kin_alloc_aligned(most * dim * sizeof *s->block);
  s->cosines = kin_alloc_aligned(most * n * sizeof *s->cosines);
  if (!s->block || !s->cosines) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu cosines", most * n);
  for (s->first = 0; s->first < s->n_queries; s->first += s->rows) {
    s->rows = s->n_queries - s->first < most ? s->n_queries - s->first : most;
    for (size_t row = 0; row < s->rows; row++) put_unit(s, query_index(s, s->first + row), s->block + row * dim);
    kin_gemm(s->context, s->rows, s->block, dim, &s->units, s->cosines, n, NULL);
    kin_parallel_for(s->context->pool, s->rows, select_best, s);
  }
  return KIN_OK;
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
  double *inverse;
  kin_status status = kin_inverse_lengths(set, &inverse, err);
  if (status != KIN_OK) return status;
  search s = {.context = context,
              .set = set,
              .inverse = inverse,
              .queries = queries,
              .n_queries = n_queries,
              .k = k,
              .neighbours = out};
  status = pack_units(&s, err);
  if (status == KIN_OK) status = run(&s, err);
  kin_packed_free(&s.units);
  kin_free_aligned(s.block);
  kin_free_aligned(s.cosines);
  free(inverse);
  return status;
}
