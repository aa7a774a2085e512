/* Clustering and its measures: against scikit-learn's (tests/data/refs/clusters.json), and on bad input. */
#include "base/json.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------- references */

static float *read_vectors(const json_t *json, kin_vector_set *set) {
  const json_t *rows = json_object_get(json, "vectors");
  const size_t n = json_array_size(rows), dim = json_array_size(json_array_get(rows, 0));
  float *values = calloc(n * dim, sizeof *values);
  assert_true(n > 0 && dim > 0 && values);
  for (size_t i = 0; i < n * dim; i++)
    values[i] = (float)json_number_value(json_array_get(json_array_get(rows, i / dim), i % dim));
  *set = (kin_vector_set){values, n, dim};
  return values;
}

/* -1, scikit-learn's noise, becomes KIN_NO_CLUSTER. */
static uint32_t *read_labels(const json_t *array) {
  const size_t n = json_array_size(array);
  uint32_t *labels = calloc(n, sizeof *labels);
  assert_true(n > 0 && labels);
  for (size_t i = 0; i < n; i++) labels[i] = (uint32_t)(int32_t)json_integer_value(json_array_get(array, i));
  return labels;
}

static double number(const json_t *json, const char *key) {
  return json_number_value(json_object_get(json, key));
}

static double ari_of(const uint32_t *a, const uint32_t *b, size_t n) {
  kin_error err;
  kin_agreement agreement;
  test_assert_ok(kin_compare_labels(a, b, n, &agreement, &err), &err);
  return agreement.ari;
}

static void check_kmeans(kin_context *context, const kin_vector_set *set, const json_t *json) {
  kin_error err;
  for (kin_metric metric = KIN_METRIC_COSINE; metric <= KIN_METRIC_EUCLIDEAN; metric++) {
    const double best = number(json, metric == KIN_METRIC_COSINE ? "spherical_inertia" : "inertia");
    kin_kmeans_options options = {.metric = metric, .k = (size_t)number(json, "k"), .starts = 10, .tolerance = 1e-6};
    kin_clustering clusters;
    test_assert_ok(kin_kmeans(context, set, &options, &clusters, &err), &err);
    assert_int_equal(clusters.k, options.k);
    assert_true(clusters.inertia / best < 1.01 && (metric == KIN_METRIC_COSINE || clusters.inertia / best > 0.99));
    kin_clustering_free(&clusters);
    options.batch = 64;
    test_assert_ok(kin_kmeans(context, set, &options, &clusters, &err), &err);
    assert_true(clusters.inertia > best * 0.99 && clusters.inertia < best * 1.15);
    kin_clustering_free(&clusters);
  }
}

static void check_measures(kin_context *context, const kin_vector_set *set, const json_t *json) {
  kin_error err;
  uint32_t *guess = read_labels(json_object_get(json, "guess")), *labels = read_labels(json_object_get(json, "labels"));
  const size_t k = (size_t)number(json, "k");
  double value;
  test_assert_ok(kin_silhouette(context, set, KIN_METRIC_EUCLIDEAN, guess, k, &value, &err), &err);
  assert_true(fabs(value - number(json, "silhouette")) < 1e-6);
  test_assert_ok(kin_silhouette(context, set, KIN_METRIC_COSINE, guess, k, &value, &err), &err);
  assert_true(fabs(value - number(json, "silhouette_cosine")) < 1e-6);
  test_assert_ok(kin_davies_bouldin(context, set, guess, k, &value, &err), &err);
  assert_true(fabs(value - number(json, "davies_bouldin")) < 1e-6);
  kin_agreement agreement;
  test_assert_ok(kin_compare_labels(guess, labels, set->n, &agreement, &err), &err);
  assert_true(fabs(agreement.nmi - number(json, "nmi")) < 1e-9 && fabs(agreement.ari - number(json, "ari")) < 1e-9);
  free(guess), free(labels);
}

static void check_hdbscan(kin_context *context, const kin_vector_set *set, const json_t *run) {
  kin_error err;
  uint32_t *labels = read_labels(json_object_get(run, "labels"));
  const json_t *probabilities = json_object_get(run, "probabilities");
  const bool cosine = strcmp(json_string_value(json_object_get(run, "metric")), "cosine") == 0;
  kin_hdbscan_options options = {.metric = cosine ? KIN_METRIC_COSINE : KIN_METRIC_EUCLIDEAN};
  options.min_cluster_size = (size_t)number(run, "min_cluster_size");
  options.min_samples = (size_t)number(run, "min_samples");
  kin_clustering clusters;
  test_assert_ok(kin_hdbscan(context, set, &options, &clusters, &err), &err);
  const double ari = ari_of(clusters.labels, labels, set->n);
  if (ari < 0.99) fail_msg("HDBSCAN %s: ARI %.4f", cosine ? "cosine" : "euclidean", ari);
  size_t close = 0;
  for (size_t i = 0; i < set->n; i++)
    close += fabs((double)clusters.strength[i] - json_number_value(json_array_get(probabilities, i))) < 1e-4;
  assert_true(close >= set->n * 98 / 100); /* equal distances may be joined in another order */
  kin_clustering_free(&clusters);
  free(labels);
}

static void check_agglomerative(kin_context *context, const kin_vector_set *set, const char *name, const json_t *json) {
  kin_error err;
  char linkage_name[32];
  snprintf(linkage_name, sizeof linkage_name, "%s", name);
  char *dash = strchr(linkage_name, '-');
  if (dash) *dash = '\0';
  kin_linkage linkage;
  test_assert_ok(kin_linkage_parse(linkage_name, &linkage, &err), &err);
  uint32_t *labels = read_labels(json);
  size_t k = 0;
  for (size_t i = 0; i < set->n; i++) k = labels[i] >= k ? labels[i] + 1 : k;
  kin_clustering clusters;
  test_assert_ok(
      kin_agglomerate(context, set, dash ? KIN_METRIC_COSINE : KIN_METRIC_EUCLIDEAN, linkage, k, &clusters, &err),
      &err);
  assert_int_equal(clusters.k, k);
  if (ari_of(clusters.labels, labels, set->n) != 1) fail_msg("agglomerative %s differs", name); /* the same division */
  for (size_t i = 0, next = 0; i < set->n; i++) { /* numbered by first vector */
    assert_true(clusters.labels[i] <= next);
    next += clusters.labels[i] == next;
  }
  kin_clustering_free(&clusters);
  free(labels);
}

static void test_scikit_learn(void **state) {
  (void)state;
  kin_error err;
  char *path = test_source_path("tests/data/refs/clusters.json");
  json_t *root, *json, *run;
  test_assert_ok(kin_json_load(path, 1 << 20, &root, &err), &err);
  kin_context *context = test_open_context(0, KIN_ISA_AUTO);
  const char *name, *linkage;
  size_t i;
  assert_int_equal(json_object_size(root), 3);
  json_object_foreach(root, name, json) {
    kin_vector_set set;
    float *values = read_vectors(json, &set);
    check_kmeans(context, &set, json);
    check_measures(context, &set, json);
    json_array_foreach(json_object_get(json, "hdbscan"), i, run) check_hdbscan(context, &set, run);
    json_object_foreach(json_object_get(json, "agglomerative"), linkage, run)
        check_agglomerative(context, &set, linkage, run);
    free(values);
  }
  json_decref(root);
  kin_context_close(context);
  free(path);
}

/* ----------------------------------------------------------- the same bits */

static float *blobs(size_t n, size_t dim, size_t k, float spread) {
  float *values = calloc(n * dim, sizeof *values), *centres = calloc(k * dim, sizeof *centres);
  assert_true(values && centres);
  uint64_t state = 5;
  for (size_t i = 0; i < (k + n) * dim; i++) {
    const float x = test_random(&state);
    if (i < k * dim)
      centres[i] = x;
    else
      values[i - k * dim] = centres[(i / dim - k) % k * dim + i % dim] + spread * x;
  }
  free(centres);
  return values;
}

/* Whatever the threads and the instruction set; and the labels are of the nearest centre. */
static void test_same_bits(void **state) {
  (void)state;
  enum { N = 1300, DIM = 70, K = 11 };
  kin_error err;
  float *values = blobs(N, DIM, K, 0.8f), centres[K * DIM];
  const kin_vector_set set = {values, N, DIM};
  for (int way = 0; way < 4; way++) {
    uint32_t first[N];
    double inertia = 0;
    for (int i = 0; i < 3; i++) {
      kin_context *context = test_open_context(i == 0 ? 1 : 3, i == 2 ? KIN_ISA_SCALAR : KIN_ISA_AUTO);
      kin_kmeans_options kmeans = {.metric = way % 2, .k = K, .starts = 2, .seed = 9, .batch = way == 3 ? 100 : 0};
      kin_hdbscan_options hdbscan = {.metric = KIN_METRIC_EUCLIDEAN, .min_cluster_size = 8};
      kin_clustering clusters;
      if (way == 2)
        test_assert_ok(kin_hdbscan(context, &set, &hdbscan, &clusters, &err), &err);
      else
        test_assert_ok(kin_kmeans(context, &set, &kmeans, &clusters, &err), &err);
      if (i == 0) memcpy(first, clusters.labels, sizeof first), inertia = clusters.inertia;
      assert_memory_equal(first, clusters.labels, sizeof first);
      assert_true(inertia == clusters.inertia);
      if (i == 0 && way == 1) {
        kin_cluster_info infos[K];
        double own[N];
        test_assert_ok(kin_describe_clusters(context, &set, KIN_METRIC_EUCLIDEAN, first, K, infos, centres, own, &err),
                       &err);
        for (size_t p = 0; p < N; p++)
          for (size_t c = 0; c < K; c++) {
            double squares = 0;
            for (size_t j = 0; j < DIM; j++)
              squares += pow((double)values[p * DIM + j] - (double)centres[c * DIM + j], 2);
            assert_true(sqrt(squares) > own[p] - 0.05); /* the centres moved a little after the last assignment */
          }
      }
      kin_clustering_free(&clusters);
      kin_context_close(context);
    }
  }
  free(values);
}

/* ------------------------------------------------------------ choosing, naming */

static void test_choose_k(void **state) {
  (void)state;
  kin_error err;
  kin_context *context = test_open_context(2, KIN_ISA_AUTO);
  kin_k_score scores[KIN_MAX_K_SCORES];
  size_t k, n;
  for (kin_metric metric = KIN_METRIC_COSINE; metric <= KIN_METRIC_EUCLIDEAN; metric++) {
    float *values = blobs(420, 16, 7, 0.2f);
    const kin_kmeans_options options = {.metric = metric, .seed = 1};
    test_assert_ok(kin_choose_k(context, &(kin_vector_set){values, 420, 16}, &options, &k, scores, &n, &err), &err);
    assert_int_equal(k, 7);
    assert_true(n > 10 && scores[0].k == 2 && scores[5].k == 7 && scores[5].silhouette > scores[4].silhouette);
    free(values);
  }
  const float same[] = {1, 2, 1, 2, 1, 2};
  const kin_kmeans_options options = {.metric = KIN_METRIC_EUCLIDEAN};
  test_assert_ok(kin_choose_k(context, &(kin_vector_set){same, 3, 2}, &options, &k, scores, &n, &err), &err);
  assert_true(k == 1 && n == 0);
  test_assert_ok(kin_choose_k(context, &(kin_vector_set){same, 1, 2}, &options, &k, scores, &n, &err), &err);
  assert_true(k == 1 && n == 0);
  kin_context_close(context);
}

static void test_names(void **state) {
  (void)state;
  kin_error err;
  /* Both centres are nearest to the first word, which therefore tells nothing. */
  const float centres[] = {1, 0.3f, 0, 1, 0, 0.3f}, words[] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  size_t out[4];
  test_assert_ok(kin_name_clusters(centres, 2, words, 3, 3, 2, out, &err), &err);
  assert_true(out[0] == 1 && out[1] == 0 && out[2] == 2 && out[3] == 0);
  test_assert_ok(kin_name_clusters(centres, 1, words, 3, 3, 1, out, &err), &err);
  assert_int_equal(out[0], 0);
  test_assert_error(kin_name_clusters(centres, 2, words, 1, 3, 2, out, &err), KIN_ERR_ARGUMENT, &err, "2 words");
}

/* ------------------------------------------------------------------ bad input */

static void test_few_and_same(void **state) {
  (void)state;
  kin_error err;
  kin_context *context = test_open_context(2, KIN_ISA_AUTO);
  const float same[] = {1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2}, zeros[6] = {0};
  const kin_vector_set six = {same, 6, 2}, one = {same, 1, 2}, none = {zeros, 3, 2};
  kin_clustering c;
  for (kin_metric metric = KIN_METRIC_COSINE; metric <= KIN_METRIC_EUCLIDEAN; metric++) {
    const kin_kmeans_options three = {.metric = metric, .k = 3}, single = {.metric = metric, .k = 1};
    test_assert_ok(kin_kmeans(context, &six, &three, &c, &err), &err);
    assert_true(c.k == 1 && c.inertia < 1e-12 && c.labels[5] == 0);
    kin_clustering_free(&c);
    test_assert_ok(kin_kmeans(context, &none, &three, &c, &err), &err);
    assert_true(c.k == 1 && c.inertia < 1e-12);
    kin_clustering_free(&c);
    test_assert_ok(kin_kmeans(context, &one, &single, &c, &err), &err);
    assert_true(c.k == 1 && c.labels[0] == 0);
    kin_clustering_free(&c);
    const kin_hdbscan_options pairs = {.metric = metric, .min_cluster_size = 2};
    test_assert_ok(kin_hdbscan(context, &six, &pairs, &c, &err), &err);
    assert_true(c.k == 1 && c.labels[5] == 0 && c.strength[5] == 1);
    kin_clustering_free(&c);
    test_assert_ok(kin_hdbscan(context, &none, &pairs, &c, &err), &err); /* of no direction, but equal */
    assert_true(c.k == 1 && c.labels[0] == 0 && c.labels[2] == 0);
    kin_clustering_free(&c);
    test_assert_ok(kin_hdbscan(context, &one, &pairs, &c, &err), &err);
    assert_true(c.k == 0 && c.labels[0] == KIN_NO_CLUSTER);
    kin_clustering_free(&c);
    for (kin_linkage linkage = KIN_LINKAGE_AVERAGE; linkage <= KIN_LINKAGE_WARD; linkage++) {
      test_assert_ok(kin_agglomerate(context, &six, metric, linkage, 2, &c, &err), &err);
      assert_true(c.k == 2 && c.labels[0] == 0);
      kin_clustering_free(&c);
      test_assert_ok(kin_agglomerate(context, &one, metric, linkage, 1, &c, &err), &err);
      assert_true(c.k == 1 && c.labels[0] == 0);
      kin_clustering_free(&c);
    }
  }
  kin_context_close(context);
}

static void test_bad_arguments(void **state) {
  (void)state;
  kin_error err;
  kin_context *context = test_open_context(1, KIN_ISA_AUTO);
  const float values[] = {1, 0, 2, 0, NAN, 0};
  const kin_vector_set good = {values, 2, 2}, bad = {values, 3, 2}, none = {values, 0, 2};
  const kin_status argument = KIN_ERR_ARGUMENT;
  const kin_metric euclidean = KIN_METRIC_EUCLIDEAN;
  kin_clustering c;
  kin_cluster_info infos[3];
  double value;
  const uint32_t labels[] = {0, 1, 2};
  test_assert_error(kin_kmeans(context, &good, &(kin_kmeans_options){.k = 3}, &c, &err), argument, &err,
                    "must be 1 to 2");
  test_assert_error(kin_kmeans(context, &good, &(kin_kmeans_options){0}, &c, &err), argument, &err, "must be 1 to 2");
  test_assert_error(kin_kmeans(context, &none, &(kin_kmeans_options){.k = 1}, &c, &err), argument, &err, "0 vectors");
  test_assert_error(kin_kmeans(context, &bad, &(kin_kmeans_options){.k = 2}, &c, &err), argument, &err, "vector 2");
  test_assert_error(kin_hdbscan(context, &bad, &(kin_hdbscan_options){0}, &c, &err), argument, &err, "vector 2");
  test_assert_error(kin_hdbscan(context, &none, &(kin_hdbscan_options){0}, &c, &err), argument, &err, "at least one");
  test_assert_error(kin_hdbscan(context, &good, &(kin_hdbscan_options){.min_cluster_size = 1}, &c, &err), argument,
                    &err, "at least 2");
  test_assert_error(
      kin_hdbscan(context, &good, &(kin_hdbscan_options){.min_cluster_size = 2, .min_samples = 3}, &c, &err), argument,
      &err, "must be 1 to 2");
  test_assert_error(kin_agglomerate(context, &good, euclidean, KIN_LINKAGE_WARD, 3, &c, &err), argument, &err,
                    "must be 1 to 2");
  test_assert_error(kin_agglomerate(context, &bad, euclidean, KIN_LINKAGE_WARD, 2, &c, &err), argument, &err,
                    "vector 2");
  kin_linkage linkage;
  test_assert_error(kin_linkage_parse("middle", &linkage, &err), argument, &err, "average, complete, single, ward");
  test_assert_error(kin_davies_bouldin(context, &good, labels, 1, &value, &err), argument, &err, "cluster 1 of 1");
  test_assert_error(kin_davies_bouldin(context, &good, labels, 2, &value, &err), argument, &err, "2 to 1 classes");
  test_assert_error(kin_describe_clusters(context, &bad, euclidean, labels, 3, infos, NULL, NULL, &err), argument, &err,
                    "vector 2");
  test_assert_error(kin_compare_labels(labels, labels, 0, &(kin_agreement){0}, &err), argument, &err, "at least one");
  kin_context_close(context);
}

static bool stop(void *user, size_t start, size_t iteration) {
  (void)start;
  ++*(size_t *)user;
  return iteration < 2;
}

static void test_cancel(void **state) {
  (void)state;
  kin_error err;
  kin_context *context = test_open_context(2, KIN_ISA_AUTO);
  float *values = blobs(500, 8, 3, 1);
  size_t calls = 0;
  kin_clustering c;
  const kin_kmeans_options options = {.k = 9, .on_progress = stop, .user = &calls, .tolerance = -1};
  test_assert_error(kin_kmeans(context, &(kin_vector_set){values, 500, 8}, &options, &c, &err), KIN_ERR_CANCELLED, &err,
                    "stopped after 2");
  assert_int_equal(calls, 2);
  free(values);
  kin_context_close(context);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_scikit_learn), cmocka_unit_test(test_same_bits),    cmocka_unit_test(test_choose_k),
      cmocka_unit_test(test_names),        cmocka_unit_test(test_few_and_same), cmocka_unit_test(test_bad_arguments),
      cmocka_unit_test(test_cancel),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
