/* The nearest centres against products in double, sorted by qsort. */
#include "base/random.h"
#include "index/centres.h"
#include "kernel/kernel.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

enum { DIM = 40, CENTRES = 1100, QUERIES = 70 };

static float centres[CENTRES * DIM], queries[QUERIES * DIM];
static double products[CENTRES]; /* or the squares of distances, negative */

static void fill(float *x, size_t n, uint64_t seed) {
  kin_random random = {seed};
  for (size_t i = 0; i < n; i++) x[i] = (float)(kin_random_next(&random) >> 40) / (float)(1 << 24) - 0.5f;
}

static int compare(const void *a, const void *b) {
  double x = products[*(const int64_t *)a], y = products[*(const int64_t *)b];
  return x < y ? 1 : x > y ? -1 : 0;
}

static void order_of(size_t query, size_t dim, bool by_distance, int64_t order[CENTRES]) {
  for (size_t c = 0; c < CENTRES; c++) {
    order[c] = (int64_t)c, products[c] = 0;
    for (size_t i = 0; i < dim; i++) {
      double x = (double)centres[c * dim + i], y = (double)queries[query * dim + i];
      products[c] += by_distance ? -(x - y) * (x - y) : x * y;
    }
  }
  qsort(order, CENTRES, sizeof *order, compare);
}

static void check(const kin_kernels *kernels, size_t dim, bool by_distance, size_t n, size_t k) {
  static float scores[QUERIES * (CENTRES + 5)], alone[CENTRES + 5];
  static int64_t found[QUERIES * (CENTRES + 5)], found_alone[CENTRES + 5], order[CENTRES];
  kin_centres *packed = kin_centres_new(kernels, centres, n, dim, by_distance);
  assert_non_null(packed);
  assert_true(kin_centres_nearest(packed, queries, QUERIES, k, scores, found));
  for (size_t q = 0; q < QUERIES; q++) {
    const int64_t *got = found + q * k;
    order_of(q, dim, by_distance, order);
    for (size_t i = 0, at = 0; i < k; i++) {
      while (at < CENTRES && order[at] >= (int64_t)n) at++;
      if (at == CENTRES) {
        assert_int_equal(got[i], -1);
        continue;
      }
      assert_true(got[i] >= 0 && got[i] < (int64_t)n);
      const float score = by_distance ? -scores[q * k + i] : scores[q * k + i];
      assert_true(score >= (float)products[order[at]] - 1e-5f);
      assert_true(score <= (float)products[got[i]] + 1e-5f);
      at++;
    }
    assert_true(kin_centres_nearest(packed, queries + q * dim, 1, k, alone, found_alone));
    assert_memory_equal(alone, scores + q * k, k * sizeof *alone);
    assert_memory_equal(found_alone, got, k * sizeof *found_alone);
  }
  kin_centres_free(packed);
}

static void test_nearest(void **state) {
  (void)state;
  static const struct {
    size_t n, k;
  } cases[] = {{1, 1}, {1, 3}, {33, 4}, {1024, 16}, {CENTRES, 1}, {CENTRES, 64}, {CENTRES, CENTRES + 5}};
  static const size_t dims[] = {DIM, 32, 8, 1};
  static const kin_isa levels[] = {KIN_ISA_SCALAR, KIN_ISA_AVX2, KIN_ISA_AVX512};
  fill(centres, CENTRES * DIM, 1);
  fill(queries, QUERIES * DIM, 2);
  for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
    const kin_kernels *kernels = kin_kernels_for(levels[l]);
    for (size_t d = 0; kernels && d < 2 * sizeof dims / sizeof *dims; d++)
      for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(kernels, dims[d / 2], d % 2, cases[i].n, cases[i].k);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_nearest)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
