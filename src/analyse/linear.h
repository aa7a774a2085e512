/* Dense linear algebra in double, on the context's pool: the same bits whatever the number of threads. */
#ifndef KIN_LINEAR_ALGEBRA_H
#define KIN_LINEAR_ALGEBRA_H

#include "base/base.h"

/* a . b, summed in order. */
static inline double kin_dot_in_order(const double *a, const double *b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

/* The same, summed in lanes, so that the compiler may use vectors without changing the order. */
static inline double kin_dot_in_lanes(const double *a, const double *b, size_t n) {
  enum { LANES = 8 };
  double sums[LANES] = {0}, total = 0;
  size_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (size_t j = 0; j < LANES; j++) sums[j] += a[i + j] * b[i + j];
  for (size_t j = 0; i + j < n; j++) sums[j] += a[i + j] * b[i + j];
  for (size_t j = 0; j < LANES; j++) total += sums[j];
  return total;
}

/* out[n][n] = a a' / k for a[n][k]. */
void kin_gram(kin_context *context, const double *a, size_t n, size_t k, double *out);
/* Turn the lower half of the symmetric a[n][n] into its Cholesky factor L, a = L L'; false when it isn't positive
 * definite. */
bool kin_cholesky(kin_context *context, double *a, size_t n);
/* b[n][m] = (L L')^-1 b. */
void kin_cholesky_solve(kin_context *context, const double *l, size_t n, double *b, size_t m);

#endif
