/* Subspace iteration with Rayleigh-Ritz steps: a block somewhat larger than what is wanted is multiplied by the matrix
 * until the vectors wanted stand still. A matrix no larger than the block is diagonalised at once, by Jacobi's method.
 */
#include "analyse/eigen.h"

#include "analyse/linear.h"
#include "base/context.h"
#include "base/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SPARE = 22, SLICE = 64, MOST_STEPS = 2000, MOST_SWEEPS = 60 };

typedef struct block {
  kin_context *context;
  const double *a;
  size_t n, b;                 /* of the matrix; vectors of the block */
  double *v, *product, *spare; /* [b][n]; product = v a */
  double *small, *turn;        /* [b][b] */
  double *values;              /* [b], descending */
  size_t *order;               /* [b] */
} block;

/* Task of the pool: some columns of the product. */
static void multiply_slice(void *arg, size_t slice) {
  const block *s = arg;
  const size_t first = slice * SLICE, width = s->n - first < SLICE ? s->n - first : SLICE;
  for (size_t i = 0; i < s->b; i++) memset(s->product + i * s->n + first, 0, width * sizeof *s->product);
  for (size_t j = 0; j < s->n; j++) {
    const double *row = s->a + j * s->n + first;
    for (size_t i = 0; i < s->b; i++) {
      const double factor = s->v[i * s->n + j];
      double *out = s->product + i * s->n + first;
      for (size_t c = 0; c < width; c++) out[c] += factor * row[c];
    }
  }
}

static void fill_at_random(double *v, size_t n, kin_random *random) {
  for (size_t j = 0; j < n; j++) v[j] = kin_random_unit(random) - 0.5;
}

/* Gram-Schmidt, twice; what vanishes is replaced. */
static void orthonormalise(block *s, kin_random *random) {
  for (size_t i = 0; i < s->b; i++) {
    double *v = s->v + i * s->n;
    for (int tries = 0; tries < 8; tries++) {
      const double before = sqrt(kin_dot_in_order(v, v, s->n));
      for (int twice = 0; twice < 2 && before > 0; twice++)
        for (size_t o = 0; o < i; o++) {
          const double *other = s->v + o * s->n, along = kin_dot_in_order(v, other, s->n);
          for (size_t j = 0; j < s->n; j++) v[j] -= along * other[j];
        }
      const double left = sqrt(kin_dot_in_order(v, v, s->n));
      if (before > 0 && left > 1e-10 * before) {
        for (size_t j = 0; j < s->n; j++) v[j] /= left;
        break;
      }
      fill_at_random(v, s->n, random);
    }
  }
}

/* Turn rows or columns p and q. */
static void turn_pair(double *x, double *y, size_t stride, size_t n, double c, double s) {
  for (size_t i = 0; i < n; i++) {
    const double a = x[i * stride], b = y[i * stride];
    x[i * stride] = c * a - s * b, y[i * stride] = s * a + c * b;
  }
}

/* Jacobi's method: `small` becomes diagonal, the rows of `turn` its eigenvectors. */
static void diagonalise(block *s) {
  const size_t b = s->b;
  double *m = s->small, *t = s->turn;
  memset(t, 0, b * b * sizeof *t);
  for (size_t i = 0; i < b; i++) t[i * b + i] = 1;
  for (int sweep = 0; sweep < MOST_SWEEPS; sweep++) {
    double off = 0, on = 0;
    for (size_t i = 0; i < b; i++)
      for (size_t j = 0; j < b; j++) *(i == j ? &on : &off) += m[i * b + j] * m[i * b + j];
    if (off <= 1e-30 * on) break;
    for (size_t p = 0; p + 1 < b; p++)
      for (size_t q = p + 1; q < b; q++) {
        if (m[p * b + q] == 0) continue;
        const double theta = (m[q * b + q] - m[p * b + p]) / (2 * m[p * b + q]);
        const double tangent = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1));
        const double c = 1 / sqrt(tangent * tangent + 1), sine = tangent * c;
        turn_pair(m + p, m + q, b, b, c, sine);
        turn_pair(m + p * b, m + q * b, 1, b, c, sine);
        turn_pair(t + p * b, t + q * b, 1, b, c, sine);
      }
  }
}

static void sort_values(block *s) {
  for (size_t i = 0; i < s->b; i++) {
    const double value = s->small[i * s->b + i];
    size_t at = i;
    for (; at > 0 && s->values[at - 1] < value; at--)
      s->values[at] = s->values[at - 1], s->order[at] = s->order[at - 1];
    s->values[at] = value, s->order[at] = i;
  }
}

/* rows = turn rows, in the order of the values. */
static void turn_rows(block *s, double **rows) {
  for (size_t i = 0; i < s->b; i++) {
    double *out = s->spare + i * s->n;
    memset(out, 0, s->n * sizeof *out);
    for (size_t o = 0; o < s->b; o++) {
      const double factor = s->turn[s->order[i] * s->b + o], *row = *rows + o * s->n;
      for (size_t j = 0; j < s->n; j++) out[j] += factor * row[j];
    }
  }
  double *swap = *rows;
  *rows = s->spare, s->spare = swap;
}

/* The best vectors within the block; true when the first k hold still. */
static bool improve(block *s, size_t k) {
  kin_parallel_for(s->context->pool, (s->n + SLICE - 1) / SLICE, multiply_slice, s);
  for (size_t i = 0; i < s->b; i++)
    for (size_t j = 0; j <= i; j++)
      s->small[i * s->b + j] = s->small[j * s->b + i] = kin_dot_in_order(s->v + i * s->n, s->product + j * s->n, s->n);
  diagonalise(s);
  sort_values(s);
  turn_rows(s, &s->v);
  turn_rows(s, &s->product);
  double worst = 0;
  for (size_t i = 0; i < k; i++) {
    double squares = 0;
    for (size_t j = 0; j < s->n; j++) {
      const double left = s->product[i * s->n + j] - s->values[i] * s->v[i * s->n + j];
      squares += left * left;
    }
    worst = fmax(worst, squares);
  }
  return sqrt(worst) <= 1e-11 * fabs(s->values[0]);
}

kin_status kin_top_eigen(kin_context *context, const double *a, size_t n, size_t k, double *values, double *vectors,
                         kin_error *err) {
  block s = {.context = context, .a = a, .n = n, .b = k + SPARE < n ? k + SPARE : n};
  s.v = kin_array(s.b, n * sizeof *s.v), s.product = kin_array(s.b, n * sizeof *s.product);
  s.spare = kin_array(s.b, n * sizeof *s.spare);
  s.small = kin_array(s.b, s.b * sizeof *s.small), s.turn = kin_array(s.b, s.b * sizeof *s.turn);
  s.values = kin_array(s.b, sizeof *s.values), s.order = kin_array(s.b, sizeof *s.order);
  const bool ok = s.v && s.product && s.spare && s.small && s.turn && s.values && s.order;
  kin_random random = {1};
  for (size_t i = 0; ok && i < s.b; i++) fill_at_random(s.v + i * n, n, &random);
  for (size_t step = 0; ok && step < MOST_STEPS; step++) {
    orthonormalise(&s, &random);
    if (improve(&s, k) || s.b == n) break;
    if (step + 1 < MOST_STEPS) memcpy(s.v, s.product, s.b * n * sizeof *s.v);
  }
  if (ok) memcpy(values, s.values, k * sizeof *values), memcpy(vectors, s.v, k * n * sizeof *vectors);
  free(s.v), free(s.product), free(s.spare), free(s.small), free(s.turn), free(s.values), free(s.order);
  return ok ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "out of memory for a matrix of %zu rows", n);
}
