/* The Kolmogorov-Smirnov test of two samples. */
#include "base/base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 10000 };

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static size_t common_divisor(size_t a, size_t b) {
  while (b) {
    const size_t rest = a % b;
    a = b, b = rest;
  }
  return a;
}

/* Of a walk that has x of the n and y of the m values behind it: the difference of the shares, in units of one over the
 * least common multiple. */
typedef struct walk {
  size_t n, m;
  long long across, up; /* of a step in x and in y */
} walk;

static long long height(const walk *w, size_t x, size_t y) {
  return llabs((long long)x * w->across - (long long)y * w->up);
}

/* The greatest height of the walk through sorted a and b, looked at where the values change. */
static long long greatest_height(const walk *w, const double *a, const double *b) {
  long long most = 0;
  for (size_t x = 0, y = 0; x < w->n && y < w->m;) {
    const double value = a[x] < b[y] ? a[x] : b[y];
    while (x < w->n && a[x] == value) x++;
    while (y < w->m && b[y] == value) y++;
    const long long now = height(w, x, y);
    if (now > most) most = now;
  }
  return most;
}

/* The probability that a walk by chance gets as high as `limit`, which is at least 1. Probabilities move column by
 * column through the places below it, and what steps out of these is summed up, so that little ones stay exact.
 * `column` [m + 1] is scratch. */
static double probability_of(const walk *w, long long limit, double *column) {
  const double n = (double)w->n, m = (double)w->m;
  double outside = 0;
  size_t first = 0; /* below it nothing is left */
  memset(column, 0, (w->m + 1) * sizeof *column);
  column[0] = 1;
  for (size_t x = 0; x <= w->n; x++) {
    while (first <= w->m && column[first] == 0) first++;
    for (size_t y = first; y <= w->m; y++) {
      const double here = column[y];
      if (here == 0) {
        if ((long long)y * w->up >= (long long)x * w->across + limit) break;
        continue;
      }
      if (height(w, x, y) >= limit) {
        outside += here, column[y] = 0;
        continue;
      }
      const double left = n - (double)x + m - (double)y;
      if (left == 0) continue;
      if (y < w->m) column[y + 1] += here * (m - (double)y) / left;
      column[y] = here * (n - (double)x) / left;
    }
  }
  return outside < 1 ? outside : 1;
}

kin_status kin_ks_test(const double *a, size_t n, const double *b, size_t m, double *statistic, double *p,
                       kin_error *err) {
  if (!a || !b || !statistic || !p || n < 1 || m < 1)
    return kin_fail(err, KIN_ERR_ARGUMENT, "a Kolmogorov-Smirnov test needs two samples and room for the results");
  if (n > MOST || m > MOST)
    return kin_fail(err, KIN_ERR_LIMIT, "a Kolmogorov-Smirnov test takes at most %d numbers a sample, not %zu", MOST,
                    n > m ? n : m);
  for (size_t i = 0; i < n + m; i++)
    if (!isfinite(i < n ? a[i] : b[i - n]))
      return kin_fail(err, KIN_ERR_ARGUMENT, "number %zu of a sample isn't finite", i < n ? i : i - n);
  const size_t divisor = common_divisor(n, m);
  const walk w = {n, m, (long long)(m / divisor), (long long)(n / divisor)};
  double *sorted = kin_array(n + m, sizeof *sorted), *column = kin_array(m + 1, sizeof *column);
  if (sorted && column) {
    memcpy(sorted, a, n * sizeof *sorted), memcpy(sorted + n, b, m * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_value), qsort(sorted + n, m, sizeof *sorted, by_value);
    const long long most = greatest_height(&w, sorted, sorted + n);
    *statistic = (double)most / ((double)n * (double)w.across);
    *p = most ? probability_of(&w, most, column) : 1;
  }
  const bool ok = sorted && column;
  free(sorted), free(column);
  return ok ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "out of memory for samples of %zu and %zu numbers", n, m);
}
