/* Products and distances in double, summed in lanes, so that the compiler may use vectors without changing the order.
 */
#ifndef KIN_EXACT_H
#define KIN_EXACT_H

#include <stddef.h>

enum { KIN_EXACT_LANES = 8 };

static inline double kin_exact_dot(const float *a, const float *b, size_t n) {
  double sums[KIN_EXACT_LANES] = {0}, total = 0;
  size_t i = 0;
  for (; i + KIN_EXACT_LANES <= n; i += KIN_EXACT_LANES)
    for (size_t j = 0; j < KIN_EXACT_LANES; j++) sums[j] += (double)a[i + j] * (double)b[i + j];
  for (size_t j = 0; i + j < n; j++) sums[j] += (double)a[i + j] * (double)b[i + j];
  for (size_t j = 0; j < KIN_EXACT_LANES; j++) total += sums[j];
  return total;
}

/* The square of the distance. */
static inline double kin_exact_squares(const float *a, const float *b, size_t n) {
  double sums[KIN_EXACT_LANES] = {0}, total = 0;
  size_t i = 0;
  for (; i + KIN_EXACT_LANES <= n; i += KIN_EXACT_LANES)
    for (size_t j = 0; j < KIN_EXACT_LANES; j++) {
      const double d = (double)a[i + j] - (double)b[i + j];
      sums[j] += d * d;
    }
  for (size_t j = 0; i + j < n; j++) {
    const double d = (double)a[i + j] - (double)b[i + j];
    sums[j] += d * d;
  }
  for (size_t j = 0; j < KIN_EXACT_LANES; j++) total += sums[j];
  return total;
}

#endif
