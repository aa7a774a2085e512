/* Principal components: the eigenvectors of the covariance, or, of fewer vectors than floats, of their products. */
#include "analyse/analyse.h"
#include "analyse/eigen.h"
#include "analyse/linear.h"
#include "kernel/kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Products of CHUNK vectors are summed in float, their sums in double. */
enum { CHUNK = 256, ROWS = 64 };

typedef struct analysis {
  kin_context *context;
  const kin_vector_set *set;
  size_t k, padded;         /* components; floats, to whole panels */
  double *mean;             /* [dim] */
  double *matrix;           /* [dim][dim] or [n][n] */
  double *values, *vectors; /* of the matrix: [k], [k][its rows] */
  double *components;       /* [k][dim] */
  float *chunk, *turned;    /* [CHUNK][padded], [padded][CHUNK]: centred vectors */
  size_t first;             /* of the chunk */
  float *out;               /* [n][k] */
} analysis;

static double centred(const analysis *a, size_t i, size_t j) {
  return (double)a->set->values[i * a->set->dim + j] - a->mean[j];
}

static void find_mean(analysis *a) {
  const size_t dim = a->set->dim;
  for (size_t i = 0; i < a->set->n; i++)
    for (size_t j = 0; j < dim; j++) a->mean[j] += (double)a->set->values[i * dim + j];
  for (size_t j = 0; j < dim; j++) a->mean[j] /= (double)a->set->n;
}

/* -------------------------------------------------------------- covariance */

/* Task of the pool: one vector of the chunk. */
static void fill_chunk(void *arg, size_t row) {
  const analysis *a = arg;
  float *out = a->chunk + row * a->padded;
  const size_t i = a->first + row;
  for (size_t j = 0; j < a->padded; j++) {
    out[j] = i < a->set->n && j < a->set->dim ? (float)centred(a, i, j) : 0;
    a->turned[j * CHUNK + row] = out[j];
  }
}

/* Task of the pool: KIN_PANEL columns of the covariance, from the diagonal down. */
static void add_products(void *arg, size_t panel) {
  const analysis *a = arg;
  const kin_kernels *kernels = a->context->kernels;
  const size_t dim = a->set->dim, column = panel * KIN_PANEL,
               width = dim - column < KIN_PANEL ? dim - column : KIN_PANEL;
  float tile[KIN_MAX_TILE_ROWS * KIN_PANEL];
  for (size_t row = column, rows; row < dim; row += rows) {
    rows = dim - row < kernels->tile_rows ? dim - row : kernels->tile_rows;
    kernels->gemm_tile(rows, CHUNK, a->turned + row * CHUNK, CHUNK, a->chunk + column, a->padded, tile, KIN_PANEL,
                       false, (kin_ahead){0});
    for (size_t r = 0; r < rows; r++)
      for (size_t c = 0; c < width; c++) a->matrix[(row + r) * dim + column + c] += (double)tile[r * KIN_PANEL + c];
  }
}

static kin_status find_covariance(analysis *a, kin_error *err) {
  const size_t dim = a->set->dim;
  a->matrix = calloc(dim, dim * sizeof *a->matrix);
  a->chunk = kin_alloc_aligned(CHUNK * a->padded * sizeof *a->chunk);
  a->turned = kin_alloc_aligned(CHUNK * a->padded * sizeof *a->turned);
  if (!a->matrix || !a->chunk || !a->turned)
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the covariance of %zu floats", dim);
  for (a->first = 0; a->first < a->set->n; a->first += CHUNK) {
    kin_parallel_for(a->context->pool, CHUNK, fill_chunk, a);
    kin_parallel_for(a->context->pool, a->padded / KIN_PANEL, add_products, a);
  }
  for (size_t i = 0; i < dim; i++)
    for (size_t j = 0; j < i; j++) a->matrix[j * dim + i] = a->matrix[i * dim + j];
  return KIN_OK;
}

/* ---------------------------------------------------------------- products */

static kin_status find_products(analysis *a, kin_error *err) {
  const size_t n = a->set->n, dim = a->set->dim;
  double *rows = kin_array(n, dim * sizeof *rows);
  a->matrix = kin_array(n, n * sizeof *a->matrix);
  if (!rows || !a->matrix) {
    free(rows);
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the products of %zu vectors", n);
  }
  for (size_t i = 0; i < n * dim; i++) rows[i] = centred(a, i / dim, i % dim);
  kin_gram(a->context, rows, n, dim, a->matrix);
  for (size_t i = 0; i < n * n; i++) a->matrix[i] *= (double)dim;
  free(rows);
  return KIN_OK;
}

/* A component is the sum of the vectors, weighted by the eigenvector of their products. */
static void combine_rows(analysis *a, size_t c) {
  const size_t n = a->set->n, dim = a->set->dim;
  double *component = a->components + c * dim;
  double squares = 0;
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < dim; j++) component[j] += a->vectors[c * n + i] * centred(a, i, j);
  for (size_t j = 0; j < dim; j++) squares += component[j] * component[j];
  const bool vanishes = a->values[c] <= 1e-12 * a->values[0];
  for (size_t j = 0; j < dim; j++) component[j] = vanishes ? 0 : component[j] / sqrt(squares);
}

/* ----------------------------------------------------------------- results */

static void make_components(analysis *a, size_t found) {
  const size_t dim = a->set->dim;
  for (size_t c = 0; c < found; c++) {
    double *component = a->components + c * dim;
    if (!(a->values[c] > 0)) continue; /* nothing varies along it */
    if (dim <= a->set->n)
      memcpy(component, a->vectors + c * dim, dim * sizeof *component);
    else
      combine_rows(a, c);
    size_t greatest = 0;
    for (size_t j = 1; j < dim; j++)
      if (fabs(component[j]) > fabs(component[greatest])) greatest = j;
    for (size_t j = 0; j < dim && component[greatest] < 0; j++)
      component[j] = j == greatest ? component[j] : -component[j];
    component[greatest] = fabs(component[greatest]);
  }
}

/* Task of the pool: some vectors along the components. */
static void project(void *arg, size_t block) {
  const analysis *a = arg;
  const size_t dim = a->set->dim, end = (block + 1) * ROWS < a->set->n ? (block + 1) * ROWS : a->set->n;
  for (size_t i = block * ROWS; i < end; i++)
    for (size_t c = 0; c < a->k; c++) {
      double sum = 0;
      for (size_t j = 0; j < dim; j++) sum += centred(a, i, j) * a->components[c * dim + j];
      a->out[i * a->k + c] = (float)sum;
    }
}

static double total_variance(const analysis *a, size_t rows) {
  double sum = 0;
  for (size_t i = 0; i < rows; i++) sum += a->matrix[i * rows + i];
  return sum;
}

static kin_status run(analysis *a, float *components, double *variances, double *total, kin_error *err) {
  const size_t n = a->set->n, dim = a->set->dim, rows = dim <= n ? dim : n, found = a->k < rows ? a->k : rows;
  a->padded = (dim + KIN_PANEL - 1) / KIN_PANEL * KIN_PANEL;
  a->mean = calloc(dim, sizeof *a->mean);
  a->components = calloc(a->k, dim * sizeof *a->components);
  a->values = calloc(a->k, sizeof *a->values), a->vectors = kin_array(found, rows * sizeof *a->vectors);
  if (!a->mean || !a->components || !a->values || !a->vectors)
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu components of %zu floats", a->k, dim);
  find_mean(a);
  kin_status status = dim <= n ? find_covariance(a, err) : find_products(a, err);
  if (status == KIN_OK) status = kin_top_eigen(a->context, a->matrix, rows, found, a->values, a->vectors, err);
  if (status != KIN_OK) return status;
  make_components(a, found);
  kin_parallel_for(a->context->pool, (n + ROWS - 1) / ROWS, project, a);
  const double freedom = n > 1 ? (double)(n - 1) : 1;
  for (size_t i = 0; components && i < a->k * dim; i++) components[i] = (float)a->components[i];
  for (size_t c = 0; variances && c < a->k; c++) variances[c] = fmax(0, a->values[c]) / freedom;
  if (total) *total = total_variance(a, rows) / freedom;
  return KIN_OK;
}

kin_status kin_pca(kin_context *context, const kin_vector_set *set, size_t k, float *out, float *components,
                   double *variances, double *total, kin_error *err) {
  if (!context || !out || k < 1) return kin_fail(err, KIN_ERR_ARGUMENT, "kin_pca needs a context, components and room");
  double *inverse;
  kin_status status = kin_inverse_lengths(set, &inverse, err); /* checks the set */
  free(inverse);
  if (status != KIN_OK) return status;
  analysis a = {.context = context, .set = set, .k = k, .out = out};
  status = run(&a, components, variances, total, err);
  free(a.mean), free(a.matrix), free(a.values), free(a.vectors), free(a.components);
  kin_free_aligned(a.chunk), kin_free_aligned(a.turned);
  return status;
}
