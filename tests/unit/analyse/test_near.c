/* Neighbours beside the exact search: how many the approximate one finds, and that it tells so; the same bits on any
 * threads and instruction set; the ends and bad input. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 4000, DIM = 32, PLANE = 14, K = 10 };

/* About a bent plane of PLANE dimensions, with noise. */
static float *bent_plane(size_t n) {
  float *values = calloc(n, DIM * sizeof *values), *axes = test_random_floats(PLANE * DIM, 1);
  float *along = test_random_floats(n * PLANE, 2), *noise = test_random_floats(n * DIM, 3);
  assert_non_null(values);
  for (size_t i = 0; i < n; i++)
    for (size_t d = 0; d < DIM; d++) {
      float sum = 0;
      for (size_t p = 0; p < PLANE; p++) sum += along[i * PLANE + p] * axes[p * DIM + d];
      values[i * DIM + d] = sum + 0.3f * sum * sum + 0.1f * noise[i * DIM + d];
    }
  free(axes), free(along), free(noise);
  return values;
}

static double share_found(const kin_near *found, const kin_near *exact, size_t n) {
  size_t right = 0;
  for (size_t i = 0; i < n * K; i++) right += found[i].distance <= exact[i / K * K + K - 1].distance;
  return (double)right / (double)(n * K);
}

/* Nearest first, none twice, and none itself. */
static void check_lists(const kin_near *near, size_t n) {
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < K; j++) {
      const kin_near *one = &near[i * K + j];
      assert_true(one->index < n && one->index != i);
      assert_true(j == 0 || one->distance > one[-1].distance ||
                  (one->distance == one[-1].distance && one->index > one[-1].index));
    }
}

static void test_recall(void **state) {
  (void)state;
  kin_context *context = test_open_context(2, KIN_ISA_AUTO);
  float *values = bent_plane(N);
  kin_near *found = calloc(N * K, sizeof *found), *exact = calloc(N * K, sizeof *exact);
  const kin_vector_set set = {values, N, DIM};
  assert_true(found && exact);
  for (kin_metric metric = KIN_METRIC_COSINE; metric <= KIN_METRIC_EUCLIDEAN; metric++) {
    kin_near_options options = {.metric = metric, .k = K, .search = KIN_NEAR_APPROXIMATE};
    double recall;
    kin_error err;
    test_assert_ok(kin_near_others(context, &set, &options, found, &recall, &err), &err);
    test_assert_ok(kin_nearest(context, &set, NULL, metric, K, exact, &err), &err);
    check_lists(found, N);
    const double share = share_found(found, exact, N);
    print_message("metric %d: %.4f found, %.4f of the sample\n", (int)metric, share, recall);
    assert_true(share >= 0.95 && fabs(share - recall) < 0.03);
    for (size_t i = 0; i < N * K; i++) /* to the bit, where it is the same vector */
      if (found[i].index == exact[i].index) assert_true(found[i].distance == exact[i].distance);
    options.enough = 0.5;
    test_assert_ok(kin_near_others(context, &set, &options, found, &recall, &err), &err);
    check_lists(found, N);
    const double some = share_found(found, exact, N);
    assert_true(recall >= 0.5 && some <= share && fabs(some - recall) < 0.03);
    for (kin_near_search search = KIN_NEAR_AUTO; search <= KIN_NEAR_EXACT; search++) {
      options.search = search;
      test_assert_ok(kin_near_others(context, &set, &options, found, &recall, &err), &err);
      assert_memory_equal(found, exact, N * K * sizeof *found);
      assert_true(recall == 1);
    }
  }
  free(values), free(found), free(exact);
  kin_context_close(context);
}

/* Nothing is near anything: cells tell little, and the search becomes exact. */
static void test_noise(void **state) {
  (void)state;
  enum { MANY = KIN_NEAR_EXACT_MOST + 100, WIDE = TEST_SANITIZED ? 80 : 200 };
  kin_context *context = test_open_context(2, KIN_ISA_AUTO);
  float *values = test_random_floats((size_t)MANY * WIDE, 7);
  kin_near *found = calloc((size_t)MANY * K, sizeof *found), *exact = calloc((size_t)MANY * K, sizeof *exact);
  const kin_vector_set set = {values, MANY, WIDE};
  assert_true(found && exact);
  double recall;
  kin_error err;
  kin_near_options options = {.metric = KIN_METRIC_EUCLIDEAN, .k = K};
  test_assert_ok(kin_near_others(context, &set, &options, found, &recall, &err), &err);
  options.search = KIN_NEAR_EXACT;
  test_assert_ok(kin_near_others(context, &set, &options, exact, NULL, &err), &err);
  assert_memory_equal(found, exact, (size_t)MANY * K * sizeof *found);
  assert_true(recall == 1);
  free(values), free(found), free(exact);
  kin_context_close(context);
}

static void test_same_bits(void **state) {
  (void)state;
  static const unsigned threads[] = {2, 1, 5, 2};
  static const kin_isa isa[] = {KIN_ISA_AUTO, KIN_ISA_AUTO, KIN_ISA_AUTO, KIN_ISA_SCALAR};
  enum { SOME = 1200 };
  float *values = bent_plane(SOME);
  kin_near *first = calloc(SOME * K, sizeof *first), *other = calloc(SOME * K, sizeof *other);
  assert_true(first && other);
  const kin_vector_set set = {values, SOME, DIM};
  const kin_near_options options = {.k = K, .search = KIN_NEAR_APPROXIMATE};
  for (size_t i = 0; i < 4; i++) {
    kin_context *context = test_open_context(threads[i], isa[i]);
    kin_error err;
    test_assert_ok(kin_near_others(context, &set, &options, i ? other : first, NULL, &err), &err);
    if (i) assert_memory_equal(first, other, SOME * K * sizeof *first);
    kin_context_close(context);
  }
  free(values), free(first), free(other);
}

/* Many equal vectors, which fill more than a cell, and zeros. */
static void test_equal(void **state) {
  (void)state;
  enum { SOME = 1500 };
  kin_context *context = test_open_context(2, KIN_ISA_AUTO);
  float *values = calloc((size_t)SOME * 2, sizeof *values);
  kin_near *near = calloc(SOME * K, sizeof *near);
  assert_true(values && near);
  for (int filled = 0; filled < 3; filled++) {
    for (size_t i = 0; i < SOME; i++)
      values[2 * i] = filled ? 1 : 0, values[2 * i + 1] = filled < 2 ? 0 : (float)(i % 2);
    const kin_vector_set set = {values, SOME, 2};
    for (kin_metric metric = KIN_METRIC_COSINE; metric <= KIN_METRIC_EUCLIDEAN; metric++) {
      const kin_near_options options = {.metric = metric, .k = K, .search = KIN_NEAR_APPROXIMATE};
      double recall;
      kin_error err;
      test_assert_ok(kin_near_others(context, &set, &options, near, &recall, &err), &err);
      check_lists(near, SOME);
      assert_true(recall == 1);
      const double expected = !filled && metric == KIN_METRIC_COSINE ? 1 : 0;
      for (size_t i = 0; i < SOME * K; i++) assert_true(fabs(near[i].distance - expected) < 1e-12);
    }
  }
  free(values), free(near);
  kin_context_close(context);
}

typedef struct watch {
  double last, stop_at;
  size_t calls;
} watch;

static bool on_progress(void *user, double done) {
  watch *w = user;
  assert_true(done >= w->last && done <= 1);
  w->last = done, w->calls++;
  return done < w->stop_at;
}

static void test_stopped(void **state) {
  (void)state;
  kin_context *context = test_open_context(2, KIN_ISA_AUTO);
  float *values = bent_plane(N);
  kin_near *near = calloc(N * K, sizeof *near);
  assert_non_null(near);
  const kin_vector_set set = {values, N, DIM};
  kin_error err;
  for (kin_near_search search = KIN_NEAR_EXACT; search <= KIN_NEAR_APPROXIMATE; search++) {
    watch w = {.stop_at = 2};
    const kin_near_options options = {.k = K, .search = search, .on_progress = on_progress, .user = &w};
    test_assert_ok(kin_near_others(context, &set, &options, near, NULL, &err), &err);
    assert_true(w.calls > 1);
    w = (watch){.stop_at = 0.1};
    test_assert_error(kin_near_others(context, &set, &options, near, NULL, &err), KIN_ERR_CANCELLED, &err, "stopped");
  }
  free(values), free(near);
  kin_context_close(context);
}

static void test_bad_input(void **state) {
  (void)state;
  enum { SOME = 1200 };
  kin_context *context = test_open_context(1, KIN_ISA_AUTO);
  float *values = test_random_floats(2 * SOME, 5);
  kin_near *near = calloc(SOME, sizeof *near);
  const kin_vector_set set = {values, SOME, 2}, none = {values, 0, 2};
  kin_near_options options = {.k = SOME, .search = KIN_NEAR_APPROXIMATE};
  const kin_status argument = KIN_ERR_ARGUMENT;
  kin_error err;
  test_assert_error(kin_near_others(context, &set, &options, near, NULL, &err), argument, &err, "must be 1 to 1199");
  options.k = 0;
  test_assert_error(kin_near_others(context, &set, &options, near, NULL, &err), argument, &err, "must be 1 to 1199");
  test_assert_error(kin_near_others(context, &none, &options, near, NULL, &err), argument, &err, "among 0 vectors");
  test_assert_error(kin_near_others(context, &set, NULL, near, NULL, &err), argument, &err, "options");
  options.k = 1, options.enough = 1.5;
  test_assert_error(kin_near_others(context, &set, &options, near, NULL, &err), argument, &err, "share of 1.5");
  options.enough = 0;
  values[9] = NAN;
  test_assert_error(kin_near_others(context, &set, &options, near, NULL, &err), argument, &err, "vector 4");
  options.search = (kin_near_search)9;
  test_assert_error(kin_near_others(context, &set, &options, near, NULL, &err), argument, &err, "search 9");
  free(values), free(near);
  kin_context_close(context);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_recall), cmocka_unit_test(test_noise),   cmocka_unit_test(test_same_bits),
      cmocka_unit_test(test_equal),  cmocka_unit_test(test_stopped), cmocka_unit_test(test_bad_input),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
