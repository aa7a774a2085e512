/* Greedy k-centre against its definition, in double; uniqueness; bad input. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DIM = 40 };

/* Sums of some uniform numbers, in overlapping groups away from the origin. */
static float *make_vectors(size_t n, size_t dim, uint32_t seed) {
  float *values = calloc(n * dim, sizeof *values);
  assert_non_null(values);
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < dim; j++) {
      float sum = 0.3f + (float)((i % 7 + 1) * (j % 11)) * 0.03f;
      for (int k = 0; k < 3; k++) {
        seed = seed * 1664525u + 1013904223u;
        sum += (float)(seed >> 8) * 0x1p-24f - 0.5f;
      }
      values[i * dim + j] = sum;
    }
  return values;
}

static double distance(const float *a, const float *b, size_t dim, kin_metric metric) {
  double ab = 0, aa = 0, bb = 0, squares = 0;
  for (size_t j = 0; j < dim; j++) {
    const double x = (double)a[j], y = (double)b[j];
    ab += x * y, aa += x * x, bb += y * y, squares += (x - y) * (x - y);
  }
  return metric == KIN_METRIC_EUCLIDEAN ? sqrt(squares) : 1 - (aa * bb > 0 ? ab / sqrt(aa * bb) : 0);
}

/* Each pick is the furthest from those before it, and what is told of all vectors is right. */
static void check(kin_context *context, const kin_vector_set *set, kin_metric metric, size_t k) {
  const kin_k_centre_options options = {.metric = metric};
  kin_near *picks = calloc(k, sizeof *picks);
  size_t *nearest = calloc(set->n, sizeof *nearest);
  double *told = calloc(set->n, sizeof *told), *least = calloc(set->n, sizeof *least);
  assert_true(picks && nearest && told && least);
  kin_error err;
  test_assert_ok(kin_k_centre(context, set, &options, k, picks, nearest, told, &err), &err);
  for (size_t i = 0; i < set->n; i++) least[i] = INFINITY;
  for (size_t p = 0; p < k; p++) {
    double most = 0;
    for (size_t i = 0; p && i < set->n; i++) most = fmax(most, least[i]);
    if (p == 0)
      assert_true(isinf(picks[0].distance));
    else
      assert_true(fabs(picks[p].distance - most) <= 2e-6 * (1 + most));
    for (size_t i = 0; i < set->n; i++)
      least[i] = fmin(least[i],
                      distance(set->values + picks[p].index * set->dim, set->values + i * set->dim, set->dim, metric));
    for (size_t q = 0; q < p; q++) assert_int_not_equal(picks[p].index, picks[q].index);
    assert_int_equal(nearest[picks[p].index], p);
  }
  for (size_t i = 0; i < set->n; i++) {
    assert_true(nearest[i] < k);
    assert_true(fabs(told[i] - least[i]) <= 2e-6 * (1 + least[i]));
    const float *pick = set->values + picks[nearest[i]].index * set->dim;
    assert_true(fabs(told[i] - distance(pick, set->values + i * set->dim, set->dim, metric)) <= 1e-9 * (1 + told[i]));
  }
  free(picks), free(nearest), free(told), free(least);
}

static void test_k_centre(void **state) {
  (void)state;
  kin_context *context = test_open_context_if_usable(2, KIN_ISA_AUTO);
  assert_non_null(context);
  float *values = make_vectors(5000, DIM, 7);
  for (int metric = 0; metric < 2; metric++) {
    const size_t sizes[][2] = {{1, 1}, {2, 2}, {33, 33}, {500, 40}, {5000, 300}, {2049, 2}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      const kin_vector_set set = {values, sizes[i][0], DIM};
      check(context, &set, (kin_metric)metric, sizes[i][1]);
    }
    const kin_vector_set narrow = {values, 3000, 3};
    check(context, &narrow, (kin_metric)metric, 100);
  }
  free(values);
  kin_context_close(context);
}

/* The first is the one nearest to the mean. */
static void test_first(void **state) {
  (void)state;
  kin_context *context = test_open_context_if_usable(1, KIN_ISA_AUTO);
  const float values[] = {-5, 0, 6, 0, 0.1f, 0, 0, -4, 0, 4};
  const kin_vector_set set = {values, 5, 2};
  const kin_k_centre_options options = {.metric = KIN_METRIC_EUCLIDEAN};
  kin_near picks[5];
  size_t nearest[5];
  kin_error err;
  test_assert_ok(kin_k_centre(context, &set, &options, 5, picks, nearest, NULL, &err), &err);
  const size_t expected[] = {2, 1, 0, 3, 4}; /* 3 and 4 are as far: by index */
  for (size_t i = 0; i < 5; i++) assert_int_equal(picks[i].index, expected[i]);
  kin_context_close(context);
}

static void test_same_bits(void **state) {
  (void)state;
  enum { N = 3000, K = 150 };
  float *values = make_vectors(N, DIM, 3);
  const kin_vector_set set = {values, N, DIM};
  kin_near first[K], other[K];
  double d_first[N], d_other[N];
  size_t n_first[N], n_other[N];
  bool begun = false;
  for (int isa = KIN_ISA_AUTO; isa <= KIN_ISA_AVX512; isa++)
    for (unsigned threads = 1; threads <= 3; threads++) {
      kin_context *context = test_open_context_if_usable(threads, (kin_isa)isa);
      if (!context) continue; /* not this CPU's */
      kin_error err;
      test_assert_ok(kin_k_centre(context, &set, NULL, K, begun ? other : first, begun ? n_other : n_first,
                                  begun ? d_other : d_first, &err),
                     &err);
      for (size_t i = 0; begun && i < K; i++) assert_int_equal(first[i].index, other[i].index);
      if (begun) assert_memory_equal(d_first, d_other, sizeof d_first);
      if (begun) assert_memory_equal(n_first, n_other, sizeof n_first);
      begun = true;
      kin_context_close(context);
    }
  free(values);
}

/* Copies of few vectors: all that differ come first. */
static void test_copies(void **state) {
  (void)state;
  kin_context *context = test_open_context_if_usable(2, KIN_ISA_AUTO);
  float *values = make_vectors(300, DIM, 5);
  for (size_t i = 4; i < 300; i++) memcpy(values + i * DIM, values + i % 4 * DIM, DIM * sizeof *values);
  const kin_vector_set set = {values, 300, DIM}, zeros = {calloc(30, sizeof(float)), 10, 3};
  for (int metric = 0; metric < 2; metric++) {
    const kin_k_centre_options options = {.metric = (kin_metric)metric};
    kin_near picks[20];
    size_t nearest[300];
    kin_error err;
    test_assert_ok(kin_k_centre(context, &set, &options, 20, picks, nearest, NULL, &err), &err);
    bool seen[4] = {false};
    for (size_t i = 0; i < 4; i++) seen[picks[i].index % 4] = true;
    assert_true(seen[0] && seen[1] && seen[2] && seen[3]);
    for (size_t i = 4; i < 20; i++) assert_true(picks[i].distance < 1e-12);
    for (size_t i = 0; i < 300; i++) assert_int_equal(picks[nearest[i]].index % 4, i % 4);
    test_assert_ok(kin_k_centre(context, &zeros, &options, 10, picks, NULL, NULL, &err), &err);
    for (size_t i = 1; i < 10; i++) assert_true(picks[i].distance <= 1);
  }
  free(values), free((void *)(uintptr_t)zeros.values);
  kin_context_close(context);
}

static void test_uniqueness(void **state) {
  (void)state;
  enum { N = 200 };
  kin_context *context = test_open_context_if_usable(2, KIN_ISA_AUTO);
  float *values = make_vectors(N, DIM, 9);
  const kin_vector_set set = {values, N, DIM};
  double scores[N];
  kin_near nearest[N];
  kin_error err;
  for (int metric = 0; metric < 2; metric++) {
    test_assert_ok(kin_uniqueness(context, &set, (kin_metric)metric, 3, scores, nearest, &err), &err);
    for (size_t i = 0; i < N; i++) {
      double three[3] = {INFINITY, INFINITY, INFINITY};
      for (size_t j = 0; j < N; j++) {
        double d = distance(values + i * DIM, values + j * DIM, DIM, (kin_metric)metric);
        for (size_t k = 0; k < 3 && j != i; k++)
          if (d < three[k]) {
            const double swap = three[k];
            three[k] = d, d = swap;
          }
      }
      assert_true(fabs(scores[i] - (three[0] + three[1] + three[2]) / 3) < 1e-9);
      assert_true(fabs(nearest[i].distance - three[0]) < 1e-9);
    }
  }
  const kin_vector_set one = {values, 1, DIM}, two = {values, 2, DIM};
  test_assert_ok(kin_uniqueness(context, &one, KIN_METRIC_COSINE, 3, scores, nearest, &err), &err);
  assert_true(isinf(scores[0]) && nearest[0].index == SIZE_MAX);
  test_assert_ok(kin_uniqueness(context, &two, KIN_METRIC_COSINE, 3, scores, NULL, &err), &err);
  assert_true(scores[0] > 0 && fabs(scores[0] - scores[1]) < 1e-12);
  free(values);
  kin_context_close(context);
}

static bool stop(void *user, size_t picked, size_t k) {
  *(size_t *)user = picked;
  return picked == k;
}

static void test_bad_input(void **state) {
  (void)state;
  kin_context *context = test_open_context_if_usable(1, KIN_ISA_AUTO);
  float *values = make_vectors(300, DIM, 2);
  kin_vector_set set = {values, 300, DIM};
  kin_near picks[300];
  double scores[300];
  kin_error err;
  test_assert_error(kin_k_centre(context, &set, NULL, 0, picks, NULL, NULL, &err), KIN_ERR_ARGUMENT, &err,
                    "0 picks of 300 vectors: must be 1 to 300");
  test_assert_error(kin_k_centre(context, &set, NULL, 301, picks, NULL, NULL, &err), KIN_ERR_ARGUMENT, &err,
                    "must be 1 to 300");
  test_assert_error(kin_uniqueness(context, &set, KIN_METRIC_COSINE, 0, scores, NULL, &err), KIN_ERR_ARGUMENT, &err,
                    "at least 1 neighbour");
  size_t picked = 0;
  const kin_k_centre_options options = {.on_progress = stop, .user = &picked};
  test_assert_error(kin_k_centre(context, &set, &options, 300, picks, NULL, NULL, &err), KIN_ERR_CANCELLED, &err,
                    "stopped after 1 of 300 picks");
  values[5 * DIM] = NAN;
  test_assert_error(kin_k_centre(context, &set, NULL, 3, picks, NULL, NULL, &err), KIN_ERR_ARGUMENT, &err, "vector 5");
  test_assert_error(kin_uniqueness(context, &set, KIN_METRIC_COSINE, 3, scores, NULL, &err), KIN_ERR_ARGUMENT, &err,
                    "vector 5");
  set.n = 0;
  test_assert_error(kin_k_centre(context, &set, NULL, 1, picks, NULL, NULL, &err), KIN_ERR_ARGUMENT, &err,
                    "at least one vector");
  free(values);
  kin_context_close(context);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_k_centre),   cmocka_unit_test(test_first),
                                     cmocka_unit_test(test_same_bits),  cmocka_unit_test(test_copies),
                                     cmocka_unit_test(test_uniqueness), cmocka_unit_test(test_bad_input)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
