/* Drift: the Kolmogorov-Smirnov test against SciPy's, the maximum mean discrepancy, the components, the change and the
 * scores of windows against NumPy's and scikit-learn's (tests/data/refs/drift.json); how often no change is taken for
 * one; the same bits on any threads; bad input. */
#include "base/json.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct refs {
  json_t *root;
  float *values;
  kin_vector_set set;
  kin_context *context;
} refs;

static double number_at(const json_t *row, size_t i) {
  return json_number_value(json_array_get(row, i));
}

static double number_of(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  assert_true(json_is_number(value));
  return json_number_value(value);
}

static int open_refs(void **state) {
  static refs r;
  kin_error err;
  char *path = test_source_path("tests/data/refs/drift.json");
  test_assert_ok(kin_json_load(path, 1 << 20, &r.root, &err), &err);
  free(path);
  const json_t *rows = json_object_get(r.root, "vectors");
  const size_t n = json_array_size(rows), dim = json_array_size(json_array_get(rows, 0));
  assert_true(n > 0 && dim > 0);
  r.values = calloc(n * dim, sizeof *r.values);
  assert_non_null(r.values);
  for (size_t i = 0; i < n * dim; i++) r.values[i] = (float)number_at(json_array_get(rows, i / dim), i % dim);
  r.set = (kin_vector_set){r.values, n, dim};
  r.context = test_open_context_if_usable(2, KIN_ISA_AUTO);
  *state = &r;
  return 0;
}

static int close_refs(void **state) {
  refs *r = *state;
  free(r->values);
  json_decref(r->root);
  kin_context_close(r->context);
  return 0;
}

static const char *const metrics[] = {[KIN_METRIC_COSINE] = "cosine", [KIN_METRIC_EUCLIDEAN] = "euclidean"};

/* ------------------------------------------------------------- references */

static double *read_numbers(const json_t *row) {
  double *out = calloc(json_array_size(row), sizeof *out);
  assert_non_null(out);
  for (size_t i = 0; i < json_array_size(row); i++) out[i] = number_at(row, i);
  return out;
}

static void test_scipy(void **state) {
  const refs *r = *state;
  const json_t *cases = json_object_get(r->root, "ks");
  assert_true(json_array_size(cases) == 30);
  for (size_t i = 0; i < json_array_size(cases); i++) {
    const json_t *one = json_array_get(cases, i), *a = json_object_get(one, "a"), *b = json_object_get(one, "b");
    double *x = read_numbers(a), *y = read_numbers(b), statistic, p;
    kin_error err;
    test_assert_ok(kin_ks_test(x, json_array_size(a), y, json_array_size(b), &statistic, &p, &err), &err);
    assert_true(fabs(statistic - number_of(one, "statistic")) < 1e-12);
    assert_true(fabs(p - number_of(one, "p")) < 1e-9);
    test_assert_ok(kin_ks_test(y, json_array_size(b), x, json_array_size(a), &statistic, &p, &err), &err);
    assert_true(fabs(p - number_of(one, "p")) < 1e-9); /* either way round */
    free(x), free(y);
  }
}

static void check_drift(const refs *r, kin_metric metric, const json_t *expected) {
  const size_t n = (size_t)number_of(expected, "n"), dim = r->set.dim;
  const kin_vector_set before = {r->values, n, dim}, after = {r->values + n * dim, r->set.n - n, dim};
  const kin_drift_options options = {.metric = metric, .components = (size_t)number_of(r->root, "components")};
  kin_drift found;
  kin_error err;
  test_assert_ok(kin_drift_test(r->context, &before, &after, &options, &found, &err), &err);
  assert_true(fabs(found.bandwidth - number_of(expected, "bandwidth")) < 1e-6);
  assert_true(fabs(found.mmd - number_of(expected, "mmd")) < 1e-6);
  assert_true(fabs(found.ks - number_of(expected, "ks")) < 1e-9);
  assert_true(fabs(found.p_ks - number_of(expected, "p_ks")) < 1e-6);
  assert_int_equal(found.component, (size_t)number_of(expected, "component"));
  assert_int_equal(found.change, (size_t)number_of(expected, "change"));
  assert_true(found.p == fmin(1, 2 * fmin(found.p_mmd, found.p_ks)));
}

static void test_discrepancy(void **state) {
  const refs *r = *state;
  for (int metric = 0; metric < 2; metric++) {
    const json_t *cases = json_object_get(json_object_get(r->root, metrics[metric]), "drift");
    assert_int_equal(json_array_size(cases), 3);
    for (size_t i = 0; i < 3; i++) check_drift(r, (kin_metric)metric, json_array_get(cases, i));
  }
}

static void test_windows(void **state) {
  const refs *r = *state;
  const size_t window = (size_t)number_of(r->root, "window"), k = (size_t)number_of(r->root, "k");
  size_t first[256];
  double scores[256];
  assert_true(r->set.n <= 256);
  for (size_t i = 0; i < r->set.n; i++) first[i] = i > window ? i - window : 0;
  for (int metric = 0; metric < 2; metric++)
    for (int by_mean = 0; by_mean < 2; by_mean++) {
      const json_t *expected = json_object_get(json_object_get(r->root, metrics[metric]), by_mean ? "mean" : "knn");
      kin_error err;
      test_assert_ok(kin_window_scores(r->context, &r->set, first, by_mean ? KIN_DETECTOR_MEAN : KIN_DETECTOR_KNN,
                                       (kin_metric)metric, k, scores, &err),
                     &err);
      for (size_t i = 0; i < r->set.n; i++)
        if (json_is_null(json_array_get(expected, i)))
          assert_true(isnan(scores[i]));
        else
          assert_true(fabs(scores[i] - number_at(expected, i)) < 1e-9);
    }
}

/* ---------------------------------------------------------------- by chance */

/* Where nothing changes p is below 0.1 in a tenth of the tests at most, and where something does it is found. */
static void test_levels(void **state) {
  const refs *r = *state;
  enum { TESTS = 60, SIDE = 40, DIM = 5 };
  float *values = test_random_floats((size_t)TESTS * 2 * SIDE * DIM, 31);
  size_t by_mmd = 0, by_both = 0, found = 0;
  for (size_t t = 0; t < TESTS; t++) {
    float *part = values + t * 2 * SIDE * DIM;
    const kin_vector_set before = {part, SIDE, DIM}, after = {part + SIDE * DIM, SIDE, DIM};
    const kin_drift_options options = {.metric = KIN_METRIC_EUCLIDEAN, .permutations = 199, .seed = t};
    kin_drift d;
    kin_error err;
    test_assert_ok(kin_drift_test(r->context, &before, &after, &options, &d, &err), &err);
    by_mmd += d.p_mmd <= 0.1, by_both += d.p <= 0.1;
    for (size_t i = SIDE * DIM; i < (size_t)2 * SIDE * DIM; i += DIM) part[i] += 1;
    test_assert_ok(kin_drift_test(r->context, &before, &after, &options, &d, &err), &err);
    found += d.p <= 0.05 && d.change + 6 >= SIDE && d.change <= SIDE + 6;
  }
  print_message("false by the discrepancy %zu, by both %zu, found %zu of %d\n", by_mmd, by_both, found, TESTS);
  assert_true(by_mmd <= 13 && by_both <= 13); /* three deviations above a tenth */
  assert_true(found >= TESTS - 3);
  free(values);
}

/* ---------------------------------------------------------- bits and input */

static void test_same_bits(void **state) {
  (void)state;
  enum { N = 700, DIM = 24 };
  float *values = test_random_floats((size_t)2 * N * DIM, 7);
  const kin_vector_set before = {values, N, DIM}, after = {values + (size_t)N * DIM, N, DIM},
                       all = {values, 2 * N, DIM};
  size_t first[2 * N];
  double scores[2 * N], other_scores[2 * N];
  kin_drift drift, other;
  bool begun = false;
  for (size_t i = 0; i < 2 * N; i++) first[i] = i > 200 ? i - 200 : 0;
  for (int isa = KIN_ISA_AUTO; isa <= KIN_ISA_AVX512; isa++)
    for (unsigned threads = 1; threads <= 3; threads += 2) {
      kin_context *context = test_open_context_if_usable(threads, (kin_isa)isa);
      if (!context) continue; /* not this CPU's */
      kin_error err;
      const kin_drift_options options = {.most = 300, .permutations = 50, .seed = 9};
      memset(begun ? &other : &drift, 0, sizeof drift);
      test_assert_ok(kin_drift_test(context, &before, &after, &options, begun ? &other : &drift, &err), &err);
      test_assert_ok(kin_window_scores(context, &all, first, KIN_DETECTOR_MEAN, KIN_METRIC_COSINE, 0,
                                       begun ? other_scores : scores, &err),
                     &err);
      if (begun) assert_memory_equal(&drift, &other, sizeof drift);
      if (begun) assert_memory_equal(scores + 1, other_scores + 1, sizeof scores - sizeof *scores);
      begun = true;
      kin_context_close(context);
    }
  assert_true(drift.change < 2 * N);
  free(values);
}

static void test_copies(void **state) {
  const refs *r = *state;
  float values[20] = {0};
  for (size_t i = 0; i < 20; i++) values[i] = i % 2 ? 0.3f : -0.7f;
  const kin_vector_set five = {values, 5, 2};
  for (int metric = 0; metric < 2; metric++) {
    const kin_drift_options options = {.metric = (kin_metric)metric};
    kin_drift d;
    kin_error err;
    test_assert_ok(kin_drift_test(r->context, &five, &five, &options, &d, &err), &err);
    assert_true(d.mmd == 0 && d.p == 1 && d.ks == 0);
  }
}

static void test_bad_input(void **state) {
  const refs *r = *state;
  float values[] = {1, 2, 3, 4, 5, 6.5f};
  const kin_vector_set three = {values, 3, 2}, one = {values, 1, 2}, wide = {values, 2, 3};
  const double numbers[] = {1, 2, NAN};
  const size_t first[] = {0, 0, 1}, bad[] = {0, 2, 2}, back[] = {0, 1, 0};
  double scores[3], statistic, p;
  kin_drift d;
  kin_error err;
  test_assert_error(kin_drift_test(r->context, &three, &one, NULL, &d, &err), KIN_ERR_ARGUMENT, &err, "not 3 and 1");
  test_assert_error(kin_drift_test(r->context, &three, &wide, NULL, &d, &err), KIN_ERR_MISMATCH, &err, "3 after");
  test_assert_error(kin_drift_test(r->context, &three, &three, &(kin_drift_options){.most = 1}, &d, &err),
                    KIN_ERR_ARGUMENT, &err, "2 to 10000");
  test_assert_error(kin_ks_test(numbers, 3, numbers, 2, &statistic, &p, &err), KIN_ERR_ARGUMENT, &err, "number 2");
  test_assert_error(kin_ks_test(numbers, 0, numbers, 2, &statistic, &p, &err), KIN_ERR_ARGUMENT, &err, "two samples");
  test_assert_error(kin_ks_test(numbers, 10001, numbers, 2, &statistic, &p, &err), KIN_ERR_LIMIT, &err, "10000");
  test_assert_error(kin_window_scores(r->context, &three, first, KIN_DETECTOR_LOF, 0, 1, scores, &err),
                    KIN_ERR_ARGUMENT, &err, "not by lof");
  test_assert_error(kin_window_scores(r->context, &three, first, KIN_DETECTOR_KNN, 0, 0, scores, &err),
                    KIN_ERR_ARGUMENT, &err, "1 neighbour");
  test_assert_error(kin_window_scores(r->context, &three, bad, KIN_DETECTOR_KNN, 0, 1, scores, &err), KIN_ERR_ARGUMENT,
                    &err, "vector 1 begins at 2");
  test_assert_error(kin_window_scores(r->context, &three, back, KIN_DETECTOR_MEAN, 0, 1, scores, &err),
                    KIN_ERR_ARGUMENT, &err, "vector 2 begins at 0");
  double limit;
  test_assert_error(kin_threshold_limit(&(kin_threshold){0}, scores, 0, &limit, &err), KIN_ERR_ARGUMENT, &err,
                    "at least one score");
  values[3] = INFINITY;
  test_assert_error(kin_drift_test(r->context, &three, &three, NULL, &d, &err), KIN_ERR_ARGUMENT, &err, "vector 1");
  test_assert_error(kin_window_scores(r->context, &three, first, KIN_DETECTOR_MEAN, 0, 1, scores, &err),
                    KIN_ERR_ARGUMENT, &err, "vector 1");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_scipy),     cmocka_unit_test(test_discrepancy),
                                     cmocka_unit_test(test_windows),   cmocka_unit_test(test_levels),
                                     cmocka_unit_test(test_same_bits), cmocka_unit_test(test_copies),
                                     cmocka_unit_test(test_bad_input)};
  return cmocka_run_group_tests(tests, open_refs, close_refs);
}
