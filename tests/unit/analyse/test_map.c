/* Maps: principal components, UMAP's fuzzy set and curve, and trustworthiness against scikit-learn's and umap-learn's
 * (tests/data/refs/map.json); the same bits on any threads; the ends and bad input. */
#include "analyse/umap.h"
#include "base/json.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct refs {
  json_t *root;
  float *values;
  kin_vector_set set;
  size_t neighbours;
} refs;

static const char *const metrics[] = {[KIN_METRIC_COSINE] = "cosine", [KIN_METRIC_EUCLIDEAN] = "euclidean"};

static double number_at(const json_t *row, size_t i) {
  return json_number_value(json_array_get(row, i));
}

static double number_of(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  assert_true(json_is_number(value));
  return json_number_value(value);
}

/* Rows of numbers as floats. */
static float *read_rows(const json_t *rows, size_t *n, size_t *dim) {
  *n = json_array_size(rows), *dim = json_array_size(json_array_get(rows, 0));
  assert_true(*n > 0 && *dim > 0);
  float *values = calloc(*n * *dim, sizeof *values);
  assert_non_null(values);
  for (size_t i = 0; i < *n * *dim; i++) values[i] = (float)number_at(json_array_get(rows, i / *dim), i % *dim);
  return values;
}

static int open_refs(void **state) {
  static refs r;
  kin_error err;
  char *path = test_source_path("tests/data/refs/map.json");
  test_assert_ok(kin_json_load(path, 1 << 20, &r.root, &err), &err);
  free(path);
  r.values = read_rows(json_object_get(r.root, "vectors"), &r.set.n, &r.set.dim);
  r.set.values = r.values;
  r.neighbours = (size_t)number_of(r.root, "neighbours");
  *state = &r;
  return 0;
}

static int close_refs(void **state) {
  refs *r = *state;
  free(r->values);
  json_decref(r->root);
  return 0;
}

/* ------------------------------------------------------------- references */

/* Every pair of the reference has its weight, both ways round, and there are no others. */
static void test_fuzzy_set(void **state) {
  const refs *r = *state;
  const size_t n = r->set.n, k = r->neighbours - 1;
  const json_t *pairs = json_object_get(r->root, "fuzzy_set");
  kin_context *context = test_open_context(2, KIN_ISA_AUTO);
  kin_near *near = calloc(n * k, sizeof *near);
  double *wanted = calloc(n * n, sizeof *wanted);
  kin_fuzzy_set fuzzy;
  kin_error err;
  assert_true(near && wanted);
  for (size_t p = 0; p < json_array_size(pairs); p++) {
    const json_t *pair = json_array_get(pairs, p);
    const size_t i = (size_t)number_at(pair, 0), j = (size_t)number_at(pair, 1);
    wanted[i * n + j] = wanted[j * n + i] = number_at(pair, 2) * 1e-6;
  }
  test_assert_ok(kin_nearest(context, &r->set, NULL, KIN_METRIC_EUCLIDEAN, k, near, &err), &err);
  test_assert_ok(kin_fuzzy_set_open(context, near, n, k, &fuzzy, &err), &err);
  assert_int_equal(fuzzy.first[n], 2 * json_array_size(pairs));
  double worst = 0;
  for (size_t i = 0; i < n; i++)
    for (size_t e = fuzzy.first[i]; e < fuzzy.first[i + 1]; e++) {
      const double expected = wanted[i * n + fuzzy.other[e]];
      assert_true(expected > 0);
      worst = fmax(worst, fabs((double)fuzzy.weight[e] - expected));
    }
  print_message("weights differ by up to %.2g\n", worst);
  assert_true(worst < 1e-5);
  kin_fuzzy_set_close(&fuzzy);
  free(near), free(wanted);
  kin_context_close(context);
}

static void test_curve(void **state) {
  const refs *r = *state;
  const json_t *curves = json_object_get(r->root, "curves");
  assert_int_equal(json_array_size(curves), 6);
  for (size_t i = 0; i < 6; i++) {
    const json_t *curve = json_array_get(curves, i);
    double a, b;
    kin_umap_curve(number_at(curve, 0), &a, &b);
    assert_true(fabs(a - number_at(curve, 1)) < 1e-5 && fabs(b - number_at(curve, 2)) < 1e-5);
  }
}

static void check_pca(kin_context *context, const kin_vector_set *set, const json_t *expected) {
  enum { K = 3 };
  const size_t n = set->n, dim = set->dim;
  const json_t *rows = json_object_get(expected, "components"), *variances = json_object_get(expected, "variances");
  float *out = calloc(n * K, sizeof *out), *components = calloc(K * dim, sizeof *components);
  double found[K], total;
  kin_error err;
  assert_true(out && components);
  test_assert_ok(kin_pca(context, set, K, out, components, found, &total, &err), &err);
  assert_true(fabs(total - number_of(expected, "total")) < 1e-6 * total);
  for (size_t c = 0; c < K; c++) {
    assert_true(fabs(found[c] - number_at(variances, c)) < 1e-6 * found[c]);
    double mean = 0;
    for (size_t j = 0; j < dim; j++) {
      const double component = number_at(json_array_get(rows, c), j);
      assert_true(fabs((double)components[c * dim + j] - component) < 2e-6);
      for (size_t i = 0; i < n; i++) mean += component * (double)set->values[i * dim + j] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
      double place = -mean;
      for (size_t j = 0; j < dim; j++)
        place += number_at(json_array_get(rows, c), j) * (double)set->values[i * dim + j];
      assert_true(fabs((double)out[i * K + c] - place) < 1e-3); /* of some 30 */
    }
  }
  free(out), free(components);
}

static void test_pca(void **state) {
  const refs *r = *state;
  const json_t *cases = json_object_get(r->root, "pca");
  kin_context *context = test_open_context(2, KIN_ISA_AUTO);
  for (size_t i = 0; i < 2; i++) {
    const json_t *expected = json_array_get(cases, i);
    const kin_vector_set set = {r->values, (size_t)number_of(expected, "n"), r->set.dim};
    assert_true((set.n < set.dim) == (i == 1));
    check_pca(context, &set, expected);
  }
  kin_context_close(context);
}

/* Of a map made elsewhere. Equally near vectors are ranked by number here, in any order there. */
static void test_trustworthiness(void **state) {
  const refs *r = *state;
  kin_context *context = test_open_context(2, KIN_ISA_AUTO);
  kin_vector_set map;
  float *points = read_rows(json_object_get(r->root, "map"), &map.n, &map.dim);
  map.values = points;
  for (kin_metric metric = KIN_METRIC_COSINE; metric <= KIN_METRIC_EUCLIDEAN; metric++) {
    double trust;
    kin_error err;
    test_assert_ok(kin_trustworthiness(context, &r->set, metric, &map, r->neighbours, &trust, &err), &err);
    assert_true(fabs(trust - number_of(json_object_get(r->root, "trust"), metrics[metric])) < 2e-5);
  }
  free(points);
  kin_context_close(context);
}

/* Our maps are as good as umap-learn's. */
static void test_reached(void **state) {
  const refs *r = *state;
  kin_context *context = test_open_context(2, KIN_ISA_AUTO);
  float *points = calloc(2 * r->set.n, sizeof *points);
  assert_non_null(points);
  const kin_vector_set map = {points, r->set.n, 2};
  for (kin_metric metric = KIN_METRIC_COSINE; metric <= KIN_METRIC_EUCLIDEAN; metric++)
    for (uint64_t seed = 0; seed < 3; seed++) {
      const double reference = number_of(json_object_get(r->root, "reached"), metrics[metric]);
      const kin_umap_options options = {.metric = metric, .neighbours = r->neighbours, .seed = seed};
      double trust;
      kin_error err;
      test_assert_ok(kin_umap(context, &r->set, &options, points, &err), &err);
      test_assert_ok(kin_trustworthiness(context, &r->set, metric, &map, r->neighbours, &trust, &err), &err);
      print_message("%s, seed %d: trustworthiness %.4f, umap-learn's %.4f\n", metrics[metric], (int)seed, trust,
                    reference);
      assert_true(trust >= reference - 0.01);
    }
  free(points);
  kin_context_close(context);
}

/* -------------------------------------------------------------- same bits */

static void test_same_bits(void **state) {
  (void)state;
  enum { N = 2500, DIM = 24 };
  static const unsigned threads[] = {1, 2, 5};
  float *values = test_random_floats(N * DIM, 5), *first = calloc(4 * N, sizeof *first),
        *other = calloc(4 * N, sizeof *other);
  assert_true(first && other);
  const kin_vector_set set = {values, N, DIM};
  const kin_umap_options options = {.seed = 3, .epochs = 40};
  for (int i = 0; i < 3; i++) {
    kin_context *context = test_open_context(threads[i], KIN_ISA_AUTO);
    float *out = i ? other : first;
    kin_error err;
    test_assert_ok(kin_umap(context, &set, &options, out, &err), &err);
    test_assert_ok(kin_pca(context, &set, 2, out + 2 * N, NULL, NULL, NULL, &err), &err);
    if (i) assert_memory_equal(first, other, 4 * N * sizeof *first);
    kin_context_close(context);
  }
  kin_context *context = test_open_context(2, KIN_ISA_AUTO);
  kin_error err;
  test_assert_ok(kin_umap(context, &set, &(kin_umap_options){.seed = 4, .epochs = 40}, other, &err), &err);
  assert_true(memcmp(first, other, 2 * N * sizeof *first) != 0);
  kin_context_close(context);
  free(values), free(first), free(other);
}

/* Neighbours that are known, more than are needed, are as good as those looked for. */
static void test_known_neighbours(void **state) {
  const refs *r = *state;
  enum { EACH = 20 };
  kin_context *context = test_open_context(2, KIN_ISA_AUTO);
  kin_near *near = calloc(r->set.n * EACH, sizeof *near);
  float *looked = calloc(4 * r->set.n, sizeof *looked), *known = looked + 2 * r->set.n;
  assert_true(near && looked);
  kin_umap_options options = {.metric = KIN_METRIC_EUCLIDEAN, .epochs = 20};
  kin_error err;
  test_assert_ok(kin_umap(context, &r->set, &options, looked, &err), &err);
  test_assert_ok(kin_nearest(context, &r->set, NULL, options.metric, EACH, near, &err), &err);
  options.near = near, options.near_each = EACH;
  test_assert_ok(kin_umap(context, &r->set, &options, known, &err), &err);
  assert_memory_equal(looked, known, 2 * r->set.n * sizeof *looked);
  free(near), free(looked);
  kin_context_close(context);
}

/* ------------------------------------------------------------------- ends */

static void assert_all_finite(const float *values, size_t n) {
  for (size_t i = 0; i < n; i++) assert_true(isfinite(values[i]));
}

static void test_ends(void **state) {
  (void)state;
  enum { N = 50, DIM = 4 };
  kin_context *context = test_open_context(2, KIN_ISA_AUTO);
  float *values = test_random_floats(N * DIM, 5), same[N * DIM], zeros[N * DIM] = {0}, out[2 * N];
  kin_error err;
  for (size_t i = 0; i < N * DIM; i++) same[i] = 1;
  for (size_t n = 1; n <= 5; n++) {
    const kin_vector_set set = {values, n, DIM};
    for (size_t i = 0; i < 2 * n; i++) out[i] = NAN;
    test_assert_ok(kin_umap(context, &set, NULL, out, &err), &err);
    assert_all_finite(out, 2 * n);
  }
  const kin_vector_set one = {values, 1, DIM}, equal = {same, N, DIM}, nothing = {zeros, N, DIM}, thin = {values, N, 1};
  test_assert_ok(kin_umap(context, &one, NULL, out, &err), &err);
  assert_true(out[0] == 0 && out[1] == 0);
  double variances[2], total;
  test_assert_ok(kin_pca(context, &one, 2, out, NULL, variances, &total, &err), &err);
  assert_true(out[0] == 0 && out[1] == 0 && variances[0] == 0 && total == 0);
  test_assert_ok(kin_umap(context, &equal, NULL, out, &err), &err);
  assert_all_finite(out, 2 * N);
  test_assert_ok(kin_umap(context, &nothing, &(kin_umap_options){.neighbours = N}, out, &err), &err);
  assert_all_finite(out, 2 * N);
  test_assert_ok(kin_pca(context, &equal, 2, out, NULL, variances, &total, &err), &err);
  for (size_t i = 0; i < 2 * N; i++) assert_true(out[i] == 0);
  assert_true(variances[0] == 0 && total == 0);
  /* One float varies along one component only. */
  test_assert_ok(kin_pca(context, &thin, 2, out, NULL, variances, &total, &err), &err);
  assert_true(variances[0] > 0 && variances[1] == 0 && fabs(variances[0] - total) < 1e-6 * total);
  for (size_t i = 0; i < N; i++) assert_true(out[2 * i + 1] == 0);
  free(values);
  kin_context_close(context);
}

static bool stop(void *user, double done) {
  *(double *)user = done;
  return done < 0.5;
}

static void test_bad_input(void **state) {
  (void)state;
  enum { N = 50, DIM = 4 };
  kin_context *context = test_open_context(2, KIN_ISA_AUTO);
  float *values = test_random_floats(N * DIM, 5), out[2 * N];
  const kin_vector_set set = {values, N, DIM}, none = {values, 0, DIM}, map = {values, N, 2},
                       other = {values, N - 1, 2};
  const kin_status argument = KIN_ERR_ARGUMENT;
  kin_error err;
  double trust, done = 0;
  test_assert_error(kin_umap(context, &set, &(kin_umap_options){.neighbours = 51}, out, &err), argument, &err,
                    "51 neighbours of 50 vectors");
  test_assert_error(kin_umap(context, &set, &(kin_umap_options){.neighbours = 1}, out, &err), argument, &err,
                    "2 to 50");
  test_assert_error(kin_umap(context, &set, &(kin_umap_options){.min_dist = 1.5}, out, &err), argument, &err, "0 to 1");
  test_assert_error(kin_umap(context, &set, &(kin_umap_options){.min_dist = NAN}, out, &err), argument, &err, "0 to 1");
  test_assert_error(
      kin_umap(context, &set, &(kin_umap_options){.epochs = 10, .on_progress = stop, .user = &done}, out, &err),
      KIN_ERR_CANCELLED, &err, "stopped");
  assert_true(fabs(done - 0.55) < 1e-9); /* neighbours count half */
  kin_near *few = calloc(N, sizeof *few);
  test_assert_error(kin_umap(context, &set, &(kin_umap_options){.near = few, .near_each = 1}, out, &err), argument,
                    &err, "1 known neighbours of each vector: UMAP needs 14");
  free(few);
  test_assert_error(kin_umap(context, &none, NULL, out, &err), argument, &err, "");
  test_assert_error(kin_pca(context, &set, 0, out, NULL, NULL, NULL, &err), argument, &err, "components");
  test_assert_error(kin_trustworthiness(context, &set, KIN_METRIC_COSINE, &map, 25, &trust, &err), argument, &err,
                    "must be 1 to 24");
  test_assert_error(kin_trustworthiness(context, &set, KIN_METRIC_COSINE, &other, 5, &trust, &err), KIN_ERR_MISMATCH,
                    &err, "49 points for 50 vectors");
  values[3 * DIM + 1] = NAN;
  test_assert_error(kin_umap(context, &set, NULL, out, &err), argument, &err, "vector 3");
  test_assert_error(kin_pca(context, &set, 2, out, NULL, NULL, NULL, &err), argument, &err, "vector 3");
  test_assert_error(kin_trustworthiness(context, &set, KIN_METRIC_COSINE, &map, 5, &trust, &err), argument, &err,
                    "vector 3");
  free(values);
  kin_context_close(context);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_fuzzy_set),
      cmocka_unit_test(test_curve),
      cmocka_unit_test(test_pca),
      cmocka_unit_test(test_trustworthiness),
      cmocka_unit_test(test_reached),
      cmocka_unit_test(test_same_bits),
      cmocka_unit_test(test_ends),
      cmocka_unit_test(test_bad_input),
      cmocka_unit_test(test_known_neighbours),
  };
  return cmocka_run_group_tests(tests, open_refs, close_refs);
}
