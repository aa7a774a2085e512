/* Detectors of anomalies: scores against scikit-learn's, thresholds against NumPy's and SciPy's
 * (tests/data/refs/detector.json); the rate of false alarms; files; the same bits on any threads; bad input. */
#include "base/json.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const kin_detector_method methods[] = {KIN_DETECTOR_MEAN, KIN_DETECTOR_MAHALANOBIS, KIN_DETECTOR_CLUSTERS,
                                              KIN_DETECTOR_KNN, KIN_DETECTOR_LOF};
enum { METHODS = sizeof methods / sizeof *methods };

typedef struct refs {
  json_t *root;
  float *values;
  kin_vector_set all, fitted, fresh; /* parts of `values` */
  size_t k;
  kin_context *context;
} refs;

static double number_at(const json_t *row, size_t i) {
  return json_number_value(json_array_get(row, i));
}

static int open_refs(void **state) {
  static refs r;
  kin_error err;
  char *path = test_source_path("tests/data/refs/detector.json");
  test_assert_ok(kin_json_load(path, 1 << 20, &r.root, &err), &err);
  free(path);
  const json_t *rows = json_object_get(r.root, "vectors");
  const size_t n = json_array_size(rows), dim = json_array_size(json_array_get(rows, 0));
  const size_t fitted = (size_t)json_integer_value(json_object_get(r.root, "fitted"));
  assert_true(fitted > 0 && fitted < n && dim > 0);
  r.values = calloc(n * dim, sizeof *r.values);
  assert_non_null(r.values);
  for (size_t i = 0; i < n * dim; i++) r.values[i] = (float)number_at(json_array_get(rows, i / dim), i % dim);
  r.all = (kin_vector_set){r.values, n, dim}, r.fitted = (kin_vector_set){r.values, fitted, dim};
  r.fresh = (kin_vector_set){r.values + fitted * dim, n - fitted, dim};
  r.k = (size_t)json_integer_value(json_object_get(r.root, "k"));
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

static kin_detector *fit(kin_context *context, const kin_vector_set *set, const kin_detector_options *options,
                         double *scores) {
  kin_error err;
  kin_detector *d = NULL;
  test_assert_ok(kin_detector_fit(context, set, options, &d, scores, &err), &err);
  return d;
}

static void check_close(const json_t *expected, const double *scores, size_t n, const char *what) {
  double worst = 0;
  assert_true(json_array_size(expected) >= n);
  for (size_t i = 0; i < n; i++)
    worst = fmax(worst, fabs(scores[i] - number_at(expected, i)) / fmax(1, number_at(expected, i)));
  print_message("%s differs by up to %.2g\n", what, worst);
  assert_true(worst < 1e-5);
}

/* ------------------------------------------------------------- references */

static void test_scikit_learn(void **state) {
  const refs *r = *state;
  const struct {
    const char *name;
    kin_detector_method method;
  } by[] = {{"lof", KIN_DETECTOR_LOF}, {"knn", KIN_DETECTOR_KNN}, {"mean", KIN_DETECTOR_MEAN}};
  const char *const metrics[] = {"cosine", "euclidean"};
  double scores[256];
  assert_true(r->all.n <= 256);
  for (size_t m = 0; m < 2; m++)
    for (size_t i = 0; i < 3; i++) {
      kin_error err;
      const kin_detector_options options = {.method = by[i].method, .metric = (kin_metric)m, .k = r->k};
      kin_detector *d = fit(r->context, &r->fitted, &options, scores);
      test_assert_ok(kin_detector_score(r->context, d, &r->fresh, scores + r->fitted.n, NULL, &err), &err);
      check_close(json_object_get(json_object_get(r->root, metrics[m]), by[i].name), scores, r->all.n, by[i].name);
      kin_detector_close(d);
    }
}

static void test_ledoit_wolf(void **state) {
  const refs *r = *state;
  const json_t *cases = json_object_get(r->root, "mahalanobis");
  assert_int_equal(json_array_size(cases), 2);
  for (size_t i = 0; i < 2; i++) {
    const json_t *one = json_array_get(cases, i);
    const kin_vector_set some = {r->values, (size_t)json_integer_value(json_object_get(one, "n")), r->all.dim};
    double scores[256], own[256];
    kin_error err;
    kin_detector_info info;
    kin_detector *d = fit(r->context, &some, &(kin_detector_options){.method = KIN_DETECTOR_MAHALANOBIS}, own);
    kin_detector_get_info(d, &info);
    assert_true(fabs(info.shrinkage - json_real_value(json_object_get(one, "shrinkage"))) < 1e-9);
    test_assert_ok(kin_detector_score(r->context, d, &r->all, scores, NULL, &err), &err);
    check_close(json_object_get(one, "scores"), scores, r->all.n, "Mahalanobis");
    assert_memory_equal(own, scores, some.n * sizeof *own);
    kin_detector_close(d);
  }
}

static double limit_of(const refs *r, kin_threshold threshold) {
  kin_detector_info info;
  const kin_detector_options options = {.method = KIN_DETECTOR_LOF, .k = r->k, .threshold = threshold};
  kin_detector *d = fit(r->context, &r->fitted, &options, NULL);
  kin_detector_get_info(d, &info);
  kin_detector_close(d);
  return info.limit;
}

static void test_thresholds(void **state) {
  const refs *r = *state;
  const double by_quantile = limit_of(r, (kin_threshold){KIN_THRESHOLD_QUANTILE, 0.93});
  const double by_mad = limit_of(r, (kin_threshold){KIN_THRESHOLD_MAD, 3});
  assert_true(fabs(by_quantile - json_real_value(json_object_get(r->root, "quantile"))) < 1e-9);
  assert_true(fabs(by_mad - json_real_value(json_object_get(r->root, "mad"))) < 1e-9);
}

/* --------------------------------------------------------------- clusters */

/* Two tight groups, a wide one, and one vector on its own. */
static void test_clusters(void **state) {
  const refs *r = *state;
  enum { EACH = 40, N = 3 * EACH + 1 };
  float *values = test_random_floats((size_t)N * 2, 5);
  const float centres[][2] = {{0, 0}, {100, 0}, {0, 100}}, widths[] = {1, 1, 10};
  for (size_t i = 0; i < N - 1; i++)
    for (size_t j = 0; j < 2; j++) values[2 * i + j] = centres[i / EACH][j] + widths[i / EACH] * values[2 * i + j];
  values[2 * (N - 1)] = values[2 * (N - 1) + 1] = 300;
  const kin_vector_set set = {values, N, 2};
  double scores[N], fresh[3];
  kin_error err;
  kin_detector_info info;
  const kin_detector_options options = {.method = KIN_DETECTOR_CLUSTERS, .metric = KIN_METRIC_EUCLIDEAN, .k = 4};
  kin_detector *d = fit(r->context, &set, &options, scores);
  kin_detector_get_info(d, &info);
  assert_int_equal(info.k, 3); /* the single one doesn't count */
  for (size_t c = 0; c < 3; c++) {
    double sum = 0;
    for (size_t i = 0; i < EACH; i++) sum += scores[c * EACH + i];
    assert_true(fabs(sum / EACH - 1) < 1e-5); /* the spread is the mean distance */
  }
  for (size_t i = 0; i < N - 1; i++) assert_true(scores[i] < scores[N - 1]);
  const float points[] = {0, 5, 5, 100, 300, 300};
  const kin_vector_set items = {points, 3, 2};
  test_assert_ok(kin_detector_score(r->context, d, &items, fresh, NULL, &err), &err);
  assert_true(fresh[0] > 3 && fresh[1] < 2); /* as far, from a tight group and from a wide one */
  assert_true(fresh[2] == scores[N - 1] && fresh[2] > info.limit);
  kin_detector_close(d);
  free(values);
}

/* -------------------------------------------------------------- conformal */

/* New vectors like the reference raise alarms at the wanted rate, and p-values are what they are by definition. */
static void test_conformal(void **state) {
  const refs *r = *state;
  enum { N = 3000, DIM = 6 };
  const double rate = 0.1;
  float *values = test_random_floats((size_t)2 * N * DIM, 17);
  const kin_vector_set reference = {values, N, DIM}, items = {values + (size_t)N * DIM, N, DIM};
  double *scores = calloc(N, sizeof *scores), *p = calloc(N, sizeof *p);
  assert_true(scores && p);
  for (size_t m = 0; m < METHODS; m++) {
    const kin_detector_options options = {.method = methods[m],
                                          .metric = KIN_METRIC_EUCLIDEAN,
                                          .k = methods[m] == KIN_DETECTOR_CLUSTERS ? 5 : 0,
                                          .threshold = {KIN_THRESHOLD_CONFORMAL, rate},
                                          .seed = 3};
    kin_error err;
    kin_detector_info info;
    kin_detector *d = fit(r->context, &reference, &options, NULL);
    kin_detector_get_info(d, &info);
    assert_int_equal(info.held_out, N / 3);
    assert_int_equal(info.items, N - N / 3);
    test_assert_ok(kin_detector_score(r->context, d, &items, scores, p, &err), &err);
    size_t alarms = 0;
    for (size_t i = 0; i < N; i++) {
      assert_true((scores[i] > info.limit) == (p[i] <= rate));
      alarms += scores[i] > info.limit;
    }
    print_message("%s: %zu alarms of %d\n", kin_detector_method_name(methods[m]), alarms, N);
    /* Four deviations, of the drawing of both parts. */
    assert_true(fabs((double)alarms / N - rate) < 4 * sqrt(rate * (1 - rate) * (1.0 / N + 3.0 / N)));
    kin_detector_close(d);
  }
  free(values), free(scores), free(p);
}

/* ------------------------------------------------------------------ files */

static void check_damage(const char *folder, const char *path) {
  char *data, *damaged = kin_format("%s/damaged.kin", folder);
  size_t size;
  kin_error err;
  kin_detector *d = NULL;
  test_assert_ok(kin_read_file(path, 1 << 24, &data, &size, &err), &err);
  for (size_t i = 0; i < size; i += 1 + size / 150) {
    data[i] = (char)(data[i] ^ 0x10);
    test_write_file(folder, "damaged.kin", data, size);
    data[i] = (char)(data[i] ^ 0x10);
    assert_true(kin_detector_open(damaged, &d, &err) != KIN_OK);
    assert_non_null(strstr(err.message, "damaged.kin"));
    test_write_file(folder, "damaged.kin", data, i);
    assert_true(kin_detector_open(damaged, &d, &err) != KIN_OK);
  }
  free(damaged), free(data);
}

static void test_files(void **state) {
  const refs *r = *state;
  char *folder = test_temporary_folder(), *path = kin_format("%s/a.kin", folder);
  double before[256], after[256], p_before[256], p_after[256];
  for (size_t m = 0; m < METHODS; m++) {
    const kin_detector_options options = {.method = methods[m],
                                          .threshold = {KIN_THRESHOLD_QUANTILE, 0.9},
                                          .holdout = m % 2 ? 0.2 : 0,
                                          .model_id = "abc"};
    kin_error err;
    kin_detector *made = fit(r->context, &r->fitted, &options, NULL), *read;
    test_assert_ok(kin_detector_save(made, path, &err), &err);
    test_assert_ok(kin_detector_open(path, &read, &err), &err);
    kin_detector_info a, b;
    kin_detector_get_info(made, &a), kin_detector_get_info(read, &b);
    assert_true(a.method == b.method && a.metric == b.metric && a.dim == b.dim && a.items == b.items);
    assert_true(a.held_out == b.held_out && a.k == b.k && a.shrinkage == b.shrinkage && a.limit == b.limit);
    assert_true(a.threshold.rule == b.threshold.rule && a.threshold.level == b.threshold.level);
    assert_string_equal(b.model_id, "abc");
    test_assert_ok(kin_detector_score(r->context, made, &r->fresh, before, p_before, &err), &err);
    test_assert_ok(kin_detector_score(r->context, read, &r->fresh, after, p_after, &err), &err);
    assert_memory_equal(before, after, r->fresh.n * sizeof *before);
    assert_memory_equal(p_before, p_after, r->fresh.n * sizeof *before);
    test_assert_error(kin_detector_check(read, "xyz", r->all.dim, &err), KIN_ERR_MISMATCH, &err, "fit it anew");
    check_damage(folder, path);
    kin_detector_close(made), kin_detector_close(read);
  }
  test_remove_tree(folder);
  free(folder), free(path);
}

/* ---------------------------------------------------------------- patches */

static double cosine_distance(const float *a, const float *b, size_t dim) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < dim; i++)
    ab += (double)a[i] * (double)b[i], aa += (double)a[i] * (double)a[i], bb += (double)b[i] * (double)b[i];
  return 1 - ab / sqrt(aa * bb);
}

/* Of so few patches all are in the bank, but for those of the pictures that are kept apart: which these are shows,
 * since no patch of the others has any distance. */
static void test_patches(void **state) {
  const refs *r = *state;
  enum { PICTURES = 12, PATCHES = 9, WIDTH = 16, DIM = PATCHES * WIDTH };
  float *values = test_random_floats((size_t)PICTURES * DIM, 41), odd[DIM];
  const kin_vector_set set = {values, PICTURES, DIM}, one = {odd, 1, DIM};
  const kin_detector_options options = {.method = KIN_DETECTOR_PATCHES, .k = PATCHES, .seed = 2};
  double scores[PICTURES], each[PATCHES], score, p, again;
  kin_error err;
  kin_detector_info info;
  kin_detector *d = fit(r->context, &set, &options, scores), *read;
  kin_detector_get_info(d, &info);
  assert_true(info.held_out == 4 && info.items == 8 && info.k == PATCHES && info.dim == DIM);
  memcpy(odd, values, sizeof odd);
  for (size_t i = 0; i < WIDTH; i++) odd[5 * WIDTH + i] = -values[5 * WIDTH + i];
  test_assert_ok(kin_detector_patch_scores(r->context, d, odd, each, &err), &err);
  test_assert_ok(kin_detector_score(r->context, d, &one, &score, &p, &err), &err);
  double most = 0;
  size_t apart = 0;
  for (size_t i = 0; i < PICTURES; i++) apart += scores[i] > 1e-9;
  assert_int_equal(apart, 4);
  for (size_t q = 0; q < PATCHES; q++) {
    double least = INFINITY;
    for (size_t i = 0; i < (size_t)PICTURES * PATCHES; i++)
      if (scores[i / PATCHES] < 1e-9) least = fmin(least, cosine_distance(odd + q * WIDTH, values + i * WIDTH, WIDTH));
    assert_true(fabs(each[q] - least) < 1e-9);
    most = fmax(most, each[q]);
  }
  assert_true(score == most); /* the hundredth part of nine patches is one */
  char *folder = test_temporary_folder(), *path = kin_format("%s/a.kin", folder);
  test_assert_ok(kin_detector_save(d, path, &err), &err);
  test_assert_ok(kin_detector_open(path, &read, &err), &err);
  test_assert_ok(kin_detector_score(r->context, read, &one, &again, NULL, &err), &err);
  assert_true(again == score);
  check_damage(folder, path);
  kin_detector_close(d), kin_detector_close(read);
  kin_detector_options bad = {.method = KIN_DETECTOR_PATCHES};
  test_assert_error(kin_detector_fit(r->context, &set, &bad, &d, NULL, &err), KIN_ERR_ARGUMENT, &err, "k must tell");
  bad.k = 7;
  test_assert_error(kin_detector_fit(r->context, &set, &bad, &d, NULL, &err), KIN_ERR_ARGUMENT, &err, "7 patches");
  d = fit(r->context, &set, NULL, NULL);
  test_assert_error(kin_detector_patch_scores(r->context, d, odd, each, &err), KIN_ERR_ARGUMENT, &err, "by mean");
  kin_detector_close(d);
  test_remove_tree(folder);
  free(folder), free(path), free(values);
}

/* -------------------------------------------------------------- same bits */

static void test_same_bits(void **state) {
  (void)state;
  enum { N = 1500, DIM = 40 };
  float *values = test_random_floats((size_t)N * DIM, 23);
  const kin_vector_set set = {values, N, DIM};
  double first[N], other[N];
  for (size_t m = 0; m < METHODS; m++) {
    bool begun = false;
    for (int isa = KIN_ISA_AUTO; isa <= KIN_ISA_AVX512; isa++)
      for (unsigned threads = 1; threads <= 3; threads += 2) {
        kin_context *context = test_open_context_if_usable(threads, (kin_isa)isa);
        if (!context) continue; /* not this CPU's */
        const kin_detector_options options = {.method = methods[m], .k = m == 2 ? 8 : 0, .holdout = 0.3, .seed = 5};
        kin_detector_close(fit(context, &set, &options, begun ? other : first));
        if (begun) assert_memory_equal(first, other, sizeof first);
        begun = true;
        kin_context_close(context);
      }
  }
  free(values);
}

/* --------------------------------------------------------------- bad input */

/* Copies are as usual as can be, and what differs from them isn't. */
static void test_copies(void **state) {
  const refs *r = *state;
  enum { N = 50, DIM = 3 };
  float values[(N + 1) * DIM];
  for (size_t i = 0; i < N; i++) values[i * DIM] = 0.3f, values[i * DIM + 1] = -0.7f, values[i * DIM + 2] = 0.1f;
  values[N * DIM] = 1, values[N * DIM + 1] = values[N * DIM + 2] = 0;
  const kin_vector_set set = {values, N, DIM}, items = {values + (N - 1) * DIM, 2, DIM};
  double scores[N], fresh[2];
  kin_error err;
  kin_detector *d;
  for (size_t m = 0; m < METHODS; m++)
    for (int metric = 0; metric < 2; metric++) {
      const kin_detector_options options = {.method = methods[m], .metric = (kin_metric)metric};
      if (methods[m] == KIN_DETECTOR_MAHALANOBIS) {
        test_assert_error(kin_detector_fit(r->context, &set, &options, &d, scores, &err), KIN_ERR_ARGUMENT, &err,
                          "all 50 vectors are the same");
        continue;
      }
      kin_detector_info info;
      d = fit(r->context, &set, &options, scores);
      kin_detector_get_info(d, &info);
      for (size_t i = 0; i < N; i++) assert_true(isfinite(scores[i]) && !(scores[i] > info.limit));
      test_assert_ok(kin_detector_score(r->context, d, &items, fresh, NULL, &err), &err);
      assert_true(fresh[0] <= info.limit && fresh[1] > info.limit && isfinite(fresh[1]));
      kin_detector_close(d);
    }
}

static void test_bad_input(void **state) {
  const refs *r = *state;
  float values[] = {1, 2, 3, 4, 5, 6.5f, 7, 8, 9.25f, 1};
  kin_vector_set set = {values, 5, 2};
  const kin_vector_set one = {values, 1, 2}, none = {values, 0, 2};
  double scores[5];
  kin_error err;
  kin_detector *d = NULL;
  for (size_t m = 0; m < METHODS; m++) {
    kin_detector_options o = {.method = methods[m], .k = 6};
    test_assert_error(kin_detector_fit(r->context, &one, &o, &d, scores, &err), KIN_ERR_ARGUMENT, &err, "two vectors");
    test_assert_error(kin_detector_fit(r->context, &none, &o, &d, scores, &err), KIN_ERR_ARGUMENT, &err,
                      "at least one");
    if (methods[m] >= KIN_DETECTOR_CLUSTERS)
      test_assert_error(kin_detector_fit(r->context, &set, &o, &d, scores, &err), KIN_ERR_ARGUMENT, &err,
                        "must be 1 to");
    o = (kin_detector_options){.method = methods[m]};
    kin_detector_close(fit(r->context, &set, &o, NULL)); /* fewer than the default of neighbours */
  }
  kin_detector_options o = {.threshold = {KIN_THRESHOLD_CONFORMAL, 0.01}};
  test_assert_error(kin_detector_fit(r->context, &set, &o, &d, NULL, &err), KIN_ERR_ARGUMENT, &err, "it takes 99");
  o = (kin_detector_options){.threshold = {KIN_THRESHOLD_QUANTILE, 1}};
  test_assert_error(kin_detector_fit(r->context, &set, &o, &d, NULL, &err), KIN_ERR_ARGUMENT, &err, "below 1");
  o = (kin_detector_options){.holdout = 1};
  test_assert_error(kin_detector_fit(r->context, &set, &o, &d, NULL, &err), KIN_ERR_ARGUMENT, &err, "apart");
  d = fit(r->context, &set, NULL, NULL);
  test_assert_error(kin_detector_score(r->context, d, &r->fresh, scores, NULL, &err), KIN_ERR_MISMATCH, &err,
                    "2 floats");
  values[3] = NAN;
  test_assert_error(kin_detector_score(r->context, d, &set, scores, NULL, &err), KIN_ERR_ARGUMENT, &err, "vector 1");
  kin_detector_close(d);
  test_assert_error(kin_detector_fit(r->context, &set, NULL, &d, NULL, &err), KIN_ERR_ARGUMENT, &err, "vector 1");
  kin_threshold t;
  for (size_t i = 0; i < 2; i++) {
    const char *const texts[] = {"mad", "quantile:0.5"};
    test_assert_ok(kin_threshold_parse(texts[i], &t, &err), &err);
    assert_true(t.level == (i ? 0.5 : 5));
  }
  const char *const bad[] = {"", "sigma:3", "mad:", "mad:x", "mad:0", "quantile:1.5", "conformal:-1", "mad:nan"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(kin_threshold_parse(bad[i], &t, &err), KIN_ERR_ARGUMENT);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_scikit_learn), cmocka_unit_test(test_ledoit_wolf),
                                     cmocka_unit_test(test_thresholds),   cmocka_unit_test(test_clusters),
                                     cmocka_unit_test(test_conformal),    cmocka_unit_test(test_files),
                                     cmocka_unit_test(test_patches),      cmocka_unit_test(test_same_bits),
                                     cmocka_unit_test(test_copies),       cmocka_unit_test(test_bad_input)};
  return cmocka_run_group_tests(tests, open_refs, close_refs);
}
