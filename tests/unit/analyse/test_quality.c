/* Neighbours, k-NN accuracy, recall and silhouette: against scikit-learn's (tests/data/refs/quality.json), and by the
 * definitions. */
#include "base/json.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------- references */

typedef struct labelled {
  kin_vector_set set;
  float *values;
  uint32_t *labels;
  size_t k, classes;
} labelled;

static labelled read_case(const json_t *json) {
  const json_t *rows = json_object_get(json, "vectors"), *labels = json_object_get(json, "labels");
  labelled c = {.k = (size_t)json_integer_value(json_object_get(json, "k"))};
  size_t n = json_array_size(rows), dim = json_array_size(json_array_get(rows, 0));
  c.values = calloc(n * dim, sizeof *c.values);
  c.labels = calloc(n, sizeof *c.labels);
  assert_true(n > 0 && dim > 0 && c.values && c.labels);
  for (size_t i = 0; i < n; i++) {
    c.labels[i] = (uint32_t)json_integer_value(json_array_get(labels, i));
    if (c.labels[i] >= c.classes) c.classes = c.labels[i] + 1;
    for (size_t j = 0; j < dim; j++)
      c.values[i * dim + j] = (float)json_number_value(json_array_get(json_array_get(rows, i), j));
  }
  c.set = (kin_vector_set){c.values, n, dim};
  return c;
}

static size_t count_of(const json_t *expected, const char *key) {
  return (size_t)json_integer_value(json_object_get(expected, key));
}

static void check_case(kin_context *context, const labelled *c, const json_t *expected) {
  kin_error err;
  size_t n = c->set.n, k = c->k;
  kin_neighbour *nearest = calloc(n * k, sizeof *nearest);
  test_assert_ok(kin_nearest_neighbours(context, &c->set, NULL, n, k, nearest, &err), &err);
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < k; j++) {
      const json_t *indices = json_array_get(json_object_get(expected, "neighbours"), i);
      const json_t *cosines = json_array_get(json_object_get(expected, "cosines"), i);
      assert_int_equal(nearest[i * k + j].index, json_integer_value(json_array_get(indices, j)));
      assert_true(fabs((double)nearest[i * k + j].cosine - json_number_value(json_array_get(cosines, j))) < 1e-6);
    }
  kin_retrieval at_1, at_k;
  test_assert_ok(kin_measure_retrieval(nearest, n, k, 1, c->labels, &at_1, &err), &err);
  test_assert_ok(kin_measure_retrieval(nearest, n, k, k, c->labels, &at_k, &err), &err);
  assert_int_equal(at_k.right, count_of(expected, "right"));
  assert_int_equal(at_1.found, count_of(expected, "found_at_1"));
  assert_int_equal(at_k.found, count_of(expected, "found_at_k"));
  double silhouette;
  test_assert_ok(kin_silhouette(context, &c->set, KIN_METRIC_COSINE, c->labels, c->classes, &silhouette, &err), &err);
  assert_true(fabs(silhouette - json_real_value(json_object_get(expected, "silhouette"))) < 1e-6);
  free(nearest);
}

static void test_scikit_learn(void **state) {
  (void)state;
  kin_error err;
  char *path = test_source_path("tests/data/refs/quality.json");
  json_t *root, *json;
  test_assert_ok(kin_json_load(path, 1 << 20, &root, &err), &err);
  kin_context *context = test_open_context(0, KIN_ISA_AUTO);
  const char *name;
  assert_int_equal(json_object_size(root), 2);
  json_object_foreach(root, name, json) {
    labelled c = read_case(json);
    check_case(context, &c, json_object_get(json, "plain"));
    test_assert_ok(kin_center(c.values, c.set.n, c.set.dim, &err), &err);
    check_case(context, &c, json_object_get(json, "centred"));
    free(c.values);
    free(c.labels);
  }
  json_decref(root);
  kin_context_close(context);
  free(path);
}

/* -------------------------------------------------------- the same bits */

enum { MANY = 1500, DIM = 24, NEAREST = 7, CLASSES = 9 };

/* More queries than a block takes, several threads; every tenth vector is a copy of an earlier one. */
static void test_same_bits(void **state) {
  (void)state;
  kin_error err;
  float *values = test_random_floats((size_t)MANY * DIM, 11);
  for (size_t i = 10; i < MANY; i += 10) memcpy(values + i * DIM, values + i / 2 * DIM, DIM * sizeof *values);
  uint32_t labels[MANY];
  for (uint32_t i = 0; i < MANY; i++) labels[i] = i % CLASSES;
  kin_vector_set set = {values, MANY, DIM};
  size_t bytes = (size_t)MANY * NEAREST * sizeof(kin_neighbour);
  kin_neighbour *first = calloc(1, bytes), *other = calloc(1, bytes), *subset = calloc(1, bytes);
  double silhouettes[3];
  const unsigned threads[] = {1, 4, 3};
  for (size_t i = 0; i < 3; i++) {
    kin_context *context = test_open_context(threads[i], i == 2 ? KIN_ISA_SCALAR : KIN_ISA_AUTO);
    test_assert_ok(kin_nearest_neighbours(context, &set, NULL, MANY, NEAREST, i ? other : first, &err), &err);
    test_assert_ok(kin_silhouette(context, &set, KIN_METRIC_COSINE, labels, CLASSES, &silhouettes[i], &err), &err);
    kin_context_close(context);
    for (size_t j = 0; i > 0 && j < (size_t)MANY * NEAREST; j++) {
      assert_int_equal(first[j].index, other[j].index);
      assert_memory_equal(&first[j].cosine, &other[j].cosine, sizeof(float));
    }
    assert_memory_equal(&silhouettes[i], &silhouettes[0], sizeof(double));
  }
  /* Chosen queries get what they get among all. */
  const size_t queries[] = {1499, 0, 70, 70};
  kin_context *context = test_open_context(2, KIN_ISA_AUTO);
  test_assert_ok(kin_nearest_neighbours(context, &set, queries, 4, NEAREST, subset, &err), &err);
  for (size_t q = 0; q < 4; q++)
    for (size_t j = 0; j < NEAREST; j++) {
      assert_int_equal(subset[q * NEAREST + j].index, first[queries[q] * NEAREST + j].index);
      assert_true(subset[q * NEAREST + j].cosine == first[queries[q] * NEAREST + j].cosine);
    }
  kin_context_close(context);
  free(values);
  free(first);
  free(other);
  free(subset);
}

/* ------------------------------------------------------------ distances */

static double true_distance(const float *a, const float *b, size_t dim, kin_metric metric) {
  double squares = 0, dot = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < dim; i++) {
    const double x = (double)a[i], y = (double)b[i];
    squares += (x - y) * (x - y), dot += x * y, aa += x * x, bb += y * y;
  }
  if (metric == KIN_METRIC_EUCLIDEAN) return sqrt(squares);
  return aa > 0 && bb > 0 ? 1 - dot / sqrt(aa * bb) : 1;
}

/* By the definition: the neighbours are at the k least distances, in order, each at the distance that it has. */
static void check_nearest(const kin_vector_set *set, const kin_vector_set *queries, kin_metric metric, size_t k,
                          const kin_near *near) {
  const kin_vector_set *from = queries ? queries : set;
  for (size_t q = 0; q < from->n; q++) {
    const kin_near *row = near + q * k;
    size_t nearer = 0;
    for (size_t i = 0; i < set->n; i++) {
      if (!queries && i == q) continue;
      const double d = true_distance(from->values + q * set->dim, set->values + i * set->dim, set->dim, metric);
      nearer += d < row[k - 1].distance - 1e-9;
      for (size_t j = 0; j < k; j++)
        if (row[j].index == i) assert_true(fabs(row[j].distance - d) < 1e-9 * (1 + d));
    }
    assert_true(nearer < k);
    for (size_t j = 0; j < k; j++) {
      assert_true(row[j].index < set->n && (queries || row[j].index != q));
      if (j == 0) continue;
      assert_true(row[j - 1].distance < row[j].distance ||
                  (row[j - 1].distance == row[j].distance && row[j - 1].index < row[j].index));
    }
  }
}

/* `spread` about a point far from the origin; where it is little, bfloat16 tells nothing apart. */
static void check_distances(size_t n, size_t dim, size_t k, float spread, float far, kin_metric metric) {
  kin_error err;
  float *values = test_random_floats((n + 50) * dim, 11);
  for (size_t i = 0; i < (n + 50) * dim; i++) values[i] = values[i] * spread + (i % dim == 0 ? far : 0);
  for (size_t i = 0; i < n; i += 17) memcpy(values + i * dim, values + i / 3 * dim, dim * sizeof *values);
  kin_vector_set set = {values, n, dim}, queries = {values + n * dim, 50, dim};
  kin_near *first = calloc(n * k, sizeof *first), *other = calloc((n + 50) * k, sizeof *other);
  assert_true(first && other);
  const unsigned threads[] = {1, 3, 2};
  for (int i = 0; i < 3; i++) {
    kin_context *context = test_open_context(threads[i], i == 2 ? KIN_ISA_SCALAR : KIN_ISA_AUTO);
    test_assert_ok(kin_nearest(context, &set, NULL, metric, k, i ? other : first, &err), &err);
    for (size_t j = 0; i > 0 && j < n * k; j++)
      assert_true(first[j].index == other[j].index && first[j].distance == other[j].distance);
    if (i == 0) {
      check_nearest(&set, NULL, metric, k, first);
      test_assert_ok(kin_nearest(context, &set, &queries, metric, k, other, &err), &err);
      check_nearest(&set, &queries, metric, k, other);
    }
    kin_context_close(context);
  }
  free(values), free(first), free(other);
}

static void test_distances(void **state) {
  (void)state;
  for (kin_metric metric = KIN_METRIC_COSINE; metric <= KIN_METRIC_EUCLIDEAN; metric++) {
    check_distances(700, 65, 7, 1, 0, metric);
    check_distances(700, 64, 3, 1e-3f, 5, metric); /* float decides: cosines of 0.9999 and more */
    check_distances(300, 48, 290, 1, 1, metric);
    check_distances(130, 3, 1, 1e15f, 0, metric);
    check_distances(65, 1, 5, 1, 0, metric);
    check_distances(500, 50, 5, 0, 1, metric); /* all the same */
    check_distances(2, 5, 1, 1, 0, metric);
  }
}

/* ------------------------------------------------------------ definitions */

static void test_ties(void **state) {
  (void)state;
  kin_error err;
  kin_context *context = test_open_context(1, KIN_ISA_AUTO);
  /* Equal cosines come by index; a vector of zeros is at 0 from all, itself is never its own neighbour. */
  const float values[] = {1, 0, 2, 0, 0, 0, 5, 0, 0, 1};
  kin_neighbour nearest[5 * 4];
  test_assert_ok(kin_nearest_neighbours(context, &(kin_vector_set){values, 5, 2}, NULL, 5, 4, nearest, &err), &err);
  const size_t expected[5][4] = {{1, 3, 2, 4}, {0, 3, 2, 4}, {0, 1, 3, 4}, {0, 1, 2, 4}, {0, 1, 2, 3}};
  for (size_t i = 0; i < 20; i++) assert_int_equal(nearest[i].index, expected[i / 4][i % 4]);
  assert_true(nearest[0].cosine == 1 && nearest[2].cosine == 0);
  /* Three vectors, two neighbours each: one vote for a class each, so that the lowest wins. */
  const float three[] = {1, 0, 0, 1, -1, -1};
  test_assert_ok(kin_nearest_neighbours(context, &(kin_vector_set){three, 3, 2}, NULL, 3, 2, nearest, &err), &err);
  kin_retrieval out;
  test_assert_ok(kin_measure_retrieval(nearest, 3, 2, 2, (const uint32_t[]){2, 0, 1}, &out, &err), &err);
  assert_int_equal(out.right, 0);
  test_assert_ok(kin_measure_retrieval(nearest, 3, 2, 2, (const uint32_t[]){0, 0, 1}, &out, &err), &err);
  assert_int_equal(out.right, 2);
  assert_int_equal(out.found, 2);
  kin_context_close(context);
}

/* Far from the origin only centred vectors tell two clusters apart; a stray of the first lies in the second. */
static void test_center(void **state) {
  (void)state;
  kin_error err;
  kin_context *context = test_open_context(1, KIN_ISA_AUTO);
  float values[13][2];
  uint32_t labels[13];
  for (size_t i = 0; i < 13; i++) {
    values[i][0] = i < 6 ? 99 : 101;
    values[i][1] = i < 12 ? (float)(100 + 0.01 * (double)(i % 6)) : 100.02f;
    labels[i] = i >= 6 && i < 12;
  }
  kin_neighbour nearest[13 * 5];
  kin_retrieval out;
  test_assert_ok(kin_center(&values[0][0], 13, 2, &err), &err);
  test_assert_ok(kin_nearest_neighbours(context, &(kin_vector_set){&values[0][0], 13, 2}, NULL, 13, 5, nearest, &err),
                 &err);
  test_assert_ok(kin_measure_retrieval(nearest, 13, 5, 5, labels, &out, &err), &err);
  assert_int_equal(out.right, 12);
  kin_context_close(context);
}

static void test_silhouette_ends(void **state) {
  (void)state;
  kin_error err;
  kin_context *context = test_open_context(1, KIN_ISA_AUTO);
  double out;
  /* Two classes at right angles: the best there is. All the same: nothing. A vector of zeros is at 1 from all, so
   * its neighbours' inside distance is 1 too. */
  const float apart[] = {1, 0, 3, 0, 0, 1, 0, 2};
  test_assert_ok(kin_silhouette(context, &(kin_vector_set){apart, 4, 2}, KIN_METRIC_COSINE,
                                (const uint32_t[]){0, 0, 1, 1}, 2, &out, &err),
                 &err);
  assert_true(out == 1);
  const float same[] = {1, 2, 1, 2, 2, 4, 3, 6};
  test_assert_ok(kin_silhouette(context, &(kin_vector_set){same, 4, 2}, KIN_METRIC_COSINE,
                                (const uint32_t[]){0, 5, 0, 5}, 6, &out, &err),
                 &err);
  assert_true(out == 0);
  const float zeros[] = {1, 0, 0, 0, 0, 1, 0, 2};
  test_assert_ok(kin_silhouette(context, &(kin_vector_set){zeros, 4, 2}, KIN_METRIC_COSINE,
                                (const uint32_t[]){0, 0, 1, 1}, 2, &out, &err),
                 &err);
  assert_true(out == 0.5);
  kin_context_close(context);
}

static void test_bad_arguments(void **state) {
  (void)state;
  kin_error err;
  kin_context *context = test_open_context(1, KIN_ISA_AUTO);
  float values[] = {1, 0, 2, 0, NAN, 0};
  kin_vector_set good = {values, 2, 2}, bad = {values, 3, 2}, none = {values, 0, 2};
  const uint32_t labels[] = {0, 1, 2};
  kin_neighbour out[6];
  kin_retrieval retrieval;
  double silhouette;
  const size_t far[] = {2};
  kin_status argument = KIN_ERR_ARGUMENT;
  test_assert_error(kin_nearest_neighbours(context, &good, NULL, 2, 2, out, &err), argument, &err, "must be 1 to 1");
  test_assert_error(kin_nearest_neighbours(context, &good, NULL, 2, 0, out, &err), argument, &err, "must be 1 to 1");
  test_assert_error(kin_nearest_neighbours(context, &none, NULL, 0, 1, out, &err), argument, &err, "0 vectors");
  test_assert_error(kin_nearest_neighbours(context, &good, NULL, 1, 1, out, &err), argument, &err, "not 1");
  test_assert_error(kin_nearest_neighbours(context, &good, far, 1, 1, out, &err), argument, &err, "vector 2 of 2");
  test_assert_error(kin_nearest_neighbours(context, &bad, NULL, 3, 1, out, &err), argument, &err, "vector 2");
  kin_near near[6];
  test_assert_error(kin_nearest(context, &good, NULL, KIN_METRIC_COSINE, 2, near, &err), argument, &err, "1 to 1");
  test_assert_error(kin_nearest(context, &good, &none, KIN_METRIC_COSINE, 3, near, &err), argument, &err, "1 to 2");
  test_assert_error(kin_nearest(context, &bad, NULL, KIN_METRIC_EUCLIDEAN, 1, near, &err), argument, &err, "vector 2");
  test_assert_error(kin_nearest(context, &good, &bad, KIN_METRIC_EUCLIDEAN, 1, near, &err), argument, &err, "finite");
  test_assert_error(kin_nearest(context, &good, &(kin_vector_set){values, 1, 1}, KIN_METRIC_COSINE, 1, near, &err),
                    KIN_ERR_MISMATCH, &err, "1 floats among vectors of 2");
  test_assert_error(kin_center(values, 3, 2, &err), argument, &err, "finite");
  test_assert_error(kin_measure_retrieval(out, 2, 1, 2, labels, &retrieval, &err), argument, &err, "1 to 1");
  test_assert_error(kin_silhouette(context, &bad, KIN_METRIC_COSINE, labels, 3, &silhouette, &err), argument, &err,
                    "finite");
  test_assert_error(kin_silhouette(context, &good, KIN_METRIC_COSINE, labels, 1, &silhouette, &err), argument, &err,
                    "class 1 of 1");
  test_assert_error(kin_silhouette(context, &good, KIN_METRIC_COSINE, labels, 2, &silhouette, &err), argument, &err,
                    "2 to 1 classes");
  test_assert_ok(kin_nearest_neighbours(context, &good, far, 0, 1, out, &err), &err);
  kin_context_close(context);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_scikit_learn),  cmocka_unit_test(test_same_bits), cmocka_unit_test(test_distances),
      cmocka_unit_test(test_ties),          cmocka_unit_test(test_center),    cmocka_unit_test(test_silhouette_ends),
      cmocka_unit_test(test_bad_arguments),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
