/* Streams: scores are those of windows over the whole set, changes are found where they are, and rarely where there is
 * none; bad input. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DIM = 8, N = 400, CHANGE = 230 };

static uint64_t state = 1;

static double uniform(void) {
  state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return ((double)(state >> 11) + 0.5) * 0x1p-53;
}

static void fill(float *values, size_t from, size_t to, double shift) {
  for (size_t i = from * DIM; i < to * DIM; i++)
    values[i] = (float)(shift + sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform()));
}

static int open_context(void **context) {
  *context = test_open_context_if_usable(2, KIN_ISA_AUTO);
  return 0;
}

static int close_context(void **context) {
  kin_context_close(*context);
  return 0;
}

/* Times that are further apart in the middle. */
static int64_t time_of(size_t i) {
  return (int64_t)(1000 + i * (i % 7 == 0 ? 10 : 11));
}

static void test_scores(void **context) {
  static const kin_metric metrics[] = {KIN_METRIC_COSINE, KIN_METRIC_EUCLIDEAN};
  static const kin_detector_method methods[] = {KIN_DETECTOR_KNN, KIN_DETECTOR_MEAN};
  static float values[N * DIM];
  static double expected[N];
  static size_t first[N];
  static int64_t times[N];
  kin_error err;
  fill(values, 0, N, 0.3);
  for (size_t i = 0; i < N; i++) {
    times[i] = time_of(i);
    if (i && times[i] < times[i - 1]) times[i] = times[i - 1]; /* as the stream takes it */
  }
  for (int by = 0; by < 8; by++) {
    const bool time = by & 4;
    const kin_stream_options options = {.metric = metrics[by & 1],
                                        .method = methods[by >> 1 & 1],
                                        .k = 3,
                                        .window = time ? 0 : 50,
                                        .window_ns = time ? 600 : 0};
    for (size_t i = 0, at = 0; i < N; i++) {
      while (at < i && (time ? times[i] - times[at] > 600 : i - at > 50)) at++;
      first[i] = at;
    }
    const kin_vector_set set = {values, N, DIM};
    test_assert_ok(kin_window_scores(*context, &set, first, options.method, options.metric, 3, expected, &err), &err);
    kin_stream *stream;
    kin_stream_report report;
    test_assert_ok(kin_stream_open(*context, DIM, &options, &stream, &err), &err);
    for (size_t i = 0; i < N; i++) {
      test_assert_ok(kin_stream_push(stream, values + i * DIM, time_of(i), &report, &err), &err);
      assert_int_equal(report.number, i);
      assert_true(report.kept <= i && i - report.kept <= 250);
      if (!(isnan(report.score) && isnan(expected[i])) && !(fabs(report.score - expected[i]) < 1e-12))
        fail_msg("way %d, vector %zu: %.17g instead of %.17g", by, i, report.score, expected[i]);
    }
    kin_stream_close(stream);
  }
}

/* How many changes; *place is the first. */
static size_t count_changes(kin_context *context, const float *values, bool time, uint64_t *place, uint64_t *seen) {
  const kin_stream_options options = {.metric = KIN_METRIC_EUCLIDEAN,
                                      .method = KIN_DETECTOR_KNN,
                                      .k = 3,
                                      .window = time ? 0 : 60,
                                      .window_ns = time ? 60 * 1000 : 0,
                                      .permutations = 499};
  kin_stream *stream;
  kin_stream_report report;
  kin_error err;
  size_t changes = 0;
  test_assert_ok(kin_stream_open(context, DIM, &options, &stream, &err), &err);
  for (size_t i = 0; i < N; i++) {
    test_assert_ok(kin_stream_push(stream, values + i * DIM, (int64_t)i * 1000, &report, &err), &err);
    if (report.changed && changes++ == 0) *place = report.change, *seen = report.number;
  }
  kin_stream_close(stream);
  return changes;
}

static void test_a_change(void **context) {
  static float values[N * DIM];
  fill(values, 0, CHANGE, 0);
  fill(values, CHANGE, N, 0.8);
  for (int time = 0; time < 2; time++) {
    uint64_t place = 0, seen = 0;
    assert_int_equal(count_changes(*context, values, time, &place, &seen), 1);
    assert_true(place >= CHANGE - 5 && place <= CHANGE + 5);
    assert_true(seen >= CHANGE && seen <= CHANGE + 60);
  }
}

/* 19 comparisons a stream, each with a false alarm in at most a hundredth of the cases: 3.8 in 20 streams. */
static void test_no_change(void **context) {
  static float values[N * DIM];
  size_t changes = 0;
  uint64_t place, seen;
  for (int round = 0; round < 20; round++) {
    fill(values, 0, N, 0);
    changes += count_changes(*context, values, false, &place, &seen);
  }
  assert_true(changes <= 10);
}

static void test_bad(void **context) {
  static const struct {
    kin_stream_options options;
    const char *says;
  } cases[] = {{{.method = KIN_DETECTOR_KNN, .k = 5}, "window"},
               {{.method = KIN_DETECTOR_KNN, .k = 5, .window = 9}, "at least 10"},
               {{.method = KIN_DETECTOR_KNN, .k = 5, .window = 20, .window_ns = 5}, "window"},
               {{.method = KIN_DETECTOR_KNN, .window = 20}, "at least 1"},
               {{.method = KIN_DETECTOR_LOF, .k = 5, .window = 20}, "lof"},
               {{.method = KIN_DETECTOR_MEAN, .window = 20, .level = 1}, "level"},
               {{.window = 20, .threshold = {.rule = KIN_THRESHOLD_CONFORMAL}}, "mad"}};
  kin_stream *stream;
  kin_stream_report report;
  kin_error err;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    test_assert_error(kin_stream_open(*context, DIM, &cases[i].options, &stream, &err), KIN_ERR_ARGUMENT, &err,
                      cases[i].says);
  const kin_stream_options options = {.method = KIN_DETECTOR_MEAN, .window = 20};
  float vector[DIM] = {1, 2};
  test_assert_ok(kin_stream_open(*context, DIM, &options, &stream, &err), &err);
  test_assert_ok(kin_stream_push(stream, vector, 0, &report, &err), &err);
  vector[3] = NAN;
  test_assert_error(kin_stream_push(stream, vector, 0, &report, &err), KIN_ERR_ARGUMENT, &err, "finite");
  vector[3] = 0;
  test_assert_ok(kin_stream_push(stream, vector, 0, &report, &err), &err);
  assert_int_equal(report.number, 1);
  assert_true(fabs(report.score) < 1e-12);
  kin_stream_close(stream);
  kin_stream_close(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_scores), cmocka_unit_test(test_a_change),
                                     cmocka_unit_test(test_no_change), cmocka_unit_test(test_bad)};
  return cmocka_run_group_tests(tests, open_context, close_context);
}
