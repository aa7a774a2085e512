/* Trained classifiers against scikit-learn's (tests/data/refs/classify.json): coefficients, probabilities, votes,
 * folds, cross-validation; the same bits for any number of threads; files; bad input. */
#include "analyse/classify.h"
#include "base/json.h"
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------- references */

static const char *const names[] = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"};

typedef struct labelled {
  const json_t *json;
  kin_labelled_set all, seen; /* `seen`: all but every third */
  kin_vector_set unseen;
  float *values, *seen_values, *unseen_values;
  uint32_t *labels, *seen_labels;
} labelled;

static double number(const json_t *array, size_t i, size_t j) {
  return json_number_value(json_array_get(json_array_get(array, i), j));
}

static size_t count(const json_t *object, const char *key) {
  return (size_t)json_integer_value(json_object_get(object, key));
}

static labelled read_case(const json_t *json) {
  const json_t *rows = json_object_get(json, "vectors"), *labels = json_object_get(json, "labels");
  const size_t n = json_array_size(rows), dim = json_array_size(json_array_get(rows, 0));
  labelled c = {.json = json};
  size_t classes = 0;
  c.values = calloc(n * dim, sizeof *c.values), c.labels = calloc(n, sizeof *c.labels);
  c.seen_values = calloc(n * dim, sizeof *c.values), c.seen_labels = calloc(n, sizeof *c.labels);
  c.unseen_values = calloc(n * dim, sizeof *c.values);
  assert_true(n > 0 && c.values && c.labels && c.seen_values && c.seen_labels && c.unseen_values);
  for (size_t i = 0; i < n; i++) {
    c.labels[i] = (uint32_t)json_integer_value(json_array_get(labels, i));
    if (c.labels[i] >= classes) classes = c.labels[i] + 1;
    for (size_t j = 0; j < dim; j++) c.values[i * dim + j] = (float)number(rows, i, j);
    if (i % 3) c.seen_labels[c.seen.vectors.n] = c.labels[i];
    float *to = i % 3 ? c.seen_values + c.seen.vectors.n++ * dim : c.unseen_values + c.unseen.n++ * dim;
    memcpy(to, c.values + i * dim, dim * sizeof *to);
  }
  c.all = (kin_labelled_set){{c.values, n, dim}, c.labels, names, classes};
  c.seen = (kin_labelled_set){{c.seen_values, c.seen.vectors.n, dim}, c.seen_labels, names, classes};
  c.unseen.values = c.unseen_values, c.unseen.dim = dim;
  return c;
}

static void free_case(labelled *c) {
  free(c->values), free(c->labels), free(c->seen_values), free(c->seen_labels), free(c->unseen_values);
}

static double largest(const json_t *rows) {
  double most = 0;
  for (size_t i = 0; i < json_array_size(rows); i++)
    for (size_t j = 0; j < json_array_size(json_array_get(rows, i)); j++) most = fmax(most, fabs(number(rows, i, j)));
  return most;
}

/* Of two classes scikit-learn keeps the difference alone. */
static void check_coefficients(const labelled *c, const kin_classifier *classifier) {
  const json_t *rows = json_object_get(c->json, "coefficients"), *intercepts = json_object_get(c->json, "intercepts");
  const size_t dim = c->all.vectors.dim, n = json_array_size(rows);
  const double tolerance = 1e-3 * largest(rows);
  for (size_t i = 0; i < n; i++) {
    const double bias =
        n == 1 ? (double)classifier->bias[1] - (double)classifier->bias[0] : (double)classifier->bias[i];
    const double expected = json_number_value(json_array_get(intercepts, i));
    assert_true(fabs(bias - expected) <= 1e-3 * fmax(1, fabs(expected)));
    for (size_t j = 0; j < dim; j++) {
      const float *w = classifier->weight;
      const double own = n == 1 ? (double)w[dim + j] - (double)w[j] : (double)w[i * dim + j];
      assert_true(fabs(own - number(rows, i, j)) <= tolerance);
    }
  }
}

static void check_predictions(kin_context *context, const labelled *c, const kin_classifier *classifier,
                              const char *key) {
  kin_error err;
  const size_t classes = c->all.n_classes;
  double *out = calloc(c->unseen.n * classes, sizeof *out);
  test_assert_ok(kin_classifier_predict(context, classifier, &c->unseen, out, &err), &err);
  const json_t *expected = json_object_get(c->json, key);
  for (size_t i = 0; i < c->unseen.n; i++)
    for (size_t k = 0; k < classes; k++)
      if (!(fabs(out[i * classes + k] - number(expected, i, k)) <= 1e-4))
        fail_msg("%s: item %zu, class %zu: %.6f, expected %.6f", key, i, k, out[i * classes + k],
                 number(expected, i, k));
  free(out);
}

static void check_validation(kin_context *context, const labelled *c, const kin_classifier_options *o,
                             const uint32_t *folds, const char *name) {
  kin_error err;
  kin_validation validation;
  const size_t n = c->all.vectors.n, classes = c->all.n_classes;
  uint32_t *predicted = calloc(n, sizeof *predicted);
  size_t *confusion = calloc(classes * classes, sizeof *confusion);
  double *confidence = calloc(n, sizeof *confidence);
  test_assert_ok(kin_cross_validate(context, &c->all, o, folds, count(c->json, "n_folds"), predicted, confidence,
                                    &validation, &err),
                 &err);
  char key[64];
  snprintf(key, sizeof key, "%s_guesses", name);
  for (size_t i = 0; i < n; i++) {
    assert_int_equal(predicted[i], json_integer_value(json_array_get(json_object_get(c->json, key), i)));
    assert_true(confidence[i] > 0 && confidence[i] <= 1);
  }
  snprintf(key, sizeof key, "%s_accuracy", name);
  assert_true(fabs(validation.accuracy - json_number_value(json_object_get(c->json, key))) < 1e-9);
  test_assert_ok(kin_confusion(c->labels, predicted, n, classes, confusion, &err), &err);
  snprintf(key, sizeof key, "%s_confusion", name);
  for (size_t i = 0; i < classes * classes; i++)
    assert_int_equal(confusion[i], (size_t)number(json_object_get(c->json, key), i / classes, i % classes));
  free(predicted), free(confusion), free(confidence);
}

static void check_case(kin_context *context, const labelled *c) {
  kin_error err;
  const kin_classifier_options linear = {.c = json_number_value(json_object_get(c->json, "c")), .tolerance = 1e-7};
  const kin_classifier_options knn = {.kind = KIN_CLASSIFIER_KNN, .k = count(c->json, "k")};
  kin_classifier *classifier;
  test_assert_ok(kin_classifier_fit(context, &c->seen, &linear, &classifier, &err), &err);
  assert_true(classifier->info.converged);
  check_coefficients(c, classifier);
  check_predictions(context, c, classifier, "linear");
  kin_classifier_close(classifier);
  test_assert_ok(kin_classifier_fit(context, &c->seen, &knn, &classifier, &err), &err);
  check_predictions(context, c, classifier, "knn");
  kin_classifier_close(classifier);
  const size_t n = c->all.vectors.n, n_folds = count(c->json, "n_folds");
  uint32_t *folds = calloc(n, sizeof *folds);
  test_assert_ok(kin_stratified_folds(c->labels, n, n_folds, 0, folds, &err), &err);
  for (size_t i = 0; i < n; i++)
    assert_int_equal(folds[i], json_integer_value(json_array_get(json_object_get(c->json, "folds"), i)));
  check_validation(context, c, &linear, folds, "linear");
  check_validation(context, c, &knn, folds, "knn");
  free(folds);
}

static void test_scikit_learn(void **state) {
  (void)state;
  kin_error err;
  char *path = test_source_path("tests/data/refs/classify.json");
  json_t *root, *json;
  test_assert_ok(kin_json_load(path, 1 << 20, &root, &err), &err);
  kin_context *context = test_open_context(2, KIN_ISA_AUTO);
  const char *name;
  assert_int_equal(json_object_size(root), 4);
  json_object_foreach(root, name, json) {
    labelled c = read_case(json);
    check_case(context, &c);
    free_case(&c);
  }
  json_decref(root);
  kin_context_close(context);
  free(path);
}

/* --------------------------------------------------------- made-up vectors */

enum { MANY = 1300, DIM = 40, CLASSES = 35 };

static double random_number(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (double)(int32_t)(*state >> 32) / 2147483648.0;
}

/* Classes around centres of their own; more rows than a block, more classes than a panel. */
static kin_labelled_set make_set(float **values, uint32_t **labels, const char ***classes) {
  float centres[CLASSES][DIM];
  uint64_t state = 5;
  *values = calloc((size_t)MANY * DIM, sizeof **values), *labels = calloc(MANY, sizeof **labels);
  *classes = calloc(CLASSES, sizeof **classes);
  assert_true(*values && *labels && *classes);
  for (size_t c = 0; c < CLASSES; c++) {
    (*classes)[c] = kin_format("class %zu", c);
    for (size_t j = 0; j < DIM; j++) centres[c][j] = (float)random_number(&state);
  }
  for (size_t i = 0; i < MANY; i++) {
    (*labels)[i] = (uint32_t)(i % CLASSES);
    for (size_t j = 0; j < DIM; j++)
      (*values)[i * DIM + j] = centres[i % CLASSES][j] + 1.5f * (float)random_number(&state);
  }
  return (kin_labelled_set){{*values, MANY, DIM}, *labels, *classes, CLASSES};
}

static void free_set(float *values, uint32_t *labels, const char **classes) {
  for (size_t c = 0; c < CLASSES; c++) free((char *)classes[c]);
  free(values), free(labels), free(classes);
}

static void test_same_bits(void **state) {
  (void)state;
  kin_error err;
  float *values;
  uint32_t *labels;
  const char **classes;
  const kin_labelled_set set = make_set(&values, &labels, &classes);
  kin_classifier *first = NULL, *other;
  const unsigned threads[] = {1, 3};
  for (size_t i = 0; i < 2; i++) {
    kin_context *context = test_open_context(threads[i], KIN_ISA_AUTO);
    /* c is chosen too */
    test_assert_ok(kin_classifier_fit(context, &set, &(kin_classifier_options){.tolerance = 1e-4}, &other, &err), &err);
    kin_context_close(context);
    if (!first) {
      first = other;
      continue;
    }
    assert_true(first->info.c > 0 && first->info.c == other->info.c && first->info.converged);
    assert_int_equal(first->info.iterations, other->info.iterations);
    assert_memory_equal(first->weight, other->weight, sizeof(float) * CLASSES * DIM);
    assert_memory_equal(first->bias, other->bias, sizeof(float) * CLASSES);
    kin_classifier_close(other);
  }
  kin_classifier_close(first);
  free_set(values, labels, classes);
}

/* The choice of c goes by the loss, so that probabilities are honest; its accuracy is near the best that there is. */
static void test_choice(void **state) {
  (void)state;
  kin_error err;
  float *values;
  uint32_t *labels, folds[MANY], predicted[MANY];
  const char **classes;
  const kin_labelled_set set = make_set(&values, &labels, &classes);
  kin_context *context = test_open_context(0, KIN_ISA_AUTO);
  kin_validation chosen, best = {0};
  test_assert_ok(kin_stratified_folds(labels, MANY, 3, 7, folds, &err), &err);
  kin_classifier_options o = {.tolerance = 1e-4};
  test_assert_ok(kin_cross_validate(context, &set, &o, folds, 3, predicted, NULL, &chosen, &err), &err);
  for (o.c = 1e-4; o.c < 1e3; o.c *= 10) {
    kin_validation v;
    test_assert_ok(kin_cross_validate(context, &set, &o, folds, 3, predicted, NULL, &v, &err), &err);
    if (v.accuracy > best.accuracy) best = v;
  }
  assert_true(chosen.accuracy > 0.8 && chosen.accuracy > best.accuracy - 0.05);
  kin_context_close(context);
  free_set(values, labels, classes);
}

static void test_shuffled_folds(void **state) {
  (void)state;
  kin_error err;
  uint32_t labels[300], folds[300], again[300], others[300];
  size_t sizes[5][3] = {{0}}, differ = 0;
  for (size_t i = 0; i < 300; i++) labels[i] = (uint32_t)(i % 10 < 5 ? 0 : i % 10 < 8 ? 1 : 2);
  test_assert_ok(kin_stratified_folds(labels, 300, 5, 1, folds, &err), &err);
  test_assert_ok(kin_stratified_folds(labels, 300, 5, 1, again, &err), &err);
  test_assert_ok(kin_stratified_folds(labels, 300, 5, 2, others, &err), &err);
  assert_memory_equal(folds, again, sizeof folds);
  for (size_t i = 0; i < 300; i++) {
    sizes[folds[i]][labels[i]]++;
    differ += folds[i] != others[i];
  }
  assert_true(differ > 150);
  for (size_t f = 0; f < 5; f++) {
    assert_int_equal(sizes[f][0], 30);
    assert_int_equal(sizes[f][1], 18);
    assert_int_equal(sizes[f][2], 12);
  }
}

/* -------------------------------------------------------------- edge cases */

static const char *const animals[] = {"cat", "dog", "고양이"};

static void test_nothing_to_learn(void **state) {
  (void)state;
  kin_error err;
  kin_context *context = test_open_context(1, KIN_ISA_AUTO);
  /* All the same: the shares of the classes. */
  const float same[] = {1, 2, 1, 2, 1, 2, 1, 2}, one[] = {1, 0, 0, 1};
  const kin_labelled_set set = {{same, 4, 2}, (const uint32_t[]){0, 1, 1, 1}, animals, 2};
  kin_classifier *classifier;
  double out[2];
  test_assert_ok(kin_classifier_fit(context, &set, NULL, &classifier, &err), &err);
  test_assert_ok(kin_classifier_predict(context, classifier, &(kin_vector_set){same, 1, 2}, out, &err), &err);
  assert_true(fabs(out[0] - 0.25) < 1e-5 && fabs(out[1] - 0.75) < 1e-5);
  kin_classifier_close(classifier);
  /* One vector a class; neighbours fewer than five. */
  const kin_labelled_set two = {{one, 2, 2}, (const uint32_t[]){0, 1}, animals, 2};
  for (int kind = KIN_CLASSIFIER_LINEAR; kind <= KIN_CLASSIFIER_KNN; kind++) {
    const kin_classifier_options o = {.kind = (kin_classifier_kind)kind, .centre = true};
    test_assert_ok(kin_classifier_fit(context, &two, &o, &classifier, &err), &err);
    test_assert_ok(kin_classifier_predict(context, classifier, &(kin_vector_set){one + 2, 1, 2}, out, &err), &err);
    assert_true(fabs(out[0] + out[1] - 1) < 1e-9 && out[1] >= 0.5);
    kin_classifier_close(classifier);
  }
  kin_context_close(context);
}

static void test_bad_input(void **state) {
  (void)state;
  kin_error err;
  kin_context *context = test_open_context(1, KIN_ISA_AUTO);
  const kin_status argument = KIN_ERR_ARGUMENT;
  const float values[] = {1, 0, 0, 1, 1, 1, NAN, 0};
  const uint32_t labels[] = {0, 1, 0, 1}, far[] = {0, 7, 0}, same[] = {0, 0, 0};
  const char *const twice[] = {"cat", "cat"}, *const blank[] = {"cat", " \t"}, *const broken[] = {"cat", "\xFF"};
  kin_classifier *out;
  kin_labelled_set s = {{values, 3, 2}, labels, animals, 2};
  const kin_labelled_set good = s;
  kin_classifier_options o = {.kind = KIN_CLASSIFIER_KNN, .k = 4};
  test_assert_error(kin_classifier_fit(context, &s, &o, &out, &err), argument, &err, "4 neighbours");
  o.k = 1, o.c = -1;
  test_assert_error(kin_classifier_fit(context, &s, &o, &out, &err), argument, &err, "positive");
  s.n_classes = 1;
  test_assert_error(kin_classifier_fit(context, &s, NULL, &out, &err), argument, &err, "two classes");
  s.n_classes = 3;
  test_assert_error(kin_classifier_fit(context, &s, NULL, &out, &err), argument, &err, "\"고양이\" has no vector");
  s = good, s.vectors.n = 4;
  test_assert_error(kin_classifier_fit(context, &s, NULL, &out, &err), argument, &err, "vector 3");
  s.vectors.n = 0;
  test_assert_error(kin_classifier_fit(context, &s, NULL, &out, &err), argument, &err, "needs vectors");
  s = good, s.labels = far;
  test_assert_error(kin_classifier_fit(context, &s, NULL, &out, &err), argument, &err, "class 7");
  s.labels = same;
  test_assert_error(kin_classifier_fit(context, &s, NULL, &out, &err), argument, &err, "\"dog\" has no vector");
  s = good, s.classes = twice;
  test_assert_error(kin_classifier_fit(context, &s, NULL, &out, &err), argument, &err, "given twice");
  s.classes = blank;
  test_assert_error(kin_classifier_fit(context, &s, NULL, &out, &err), argument, &err, "2 of 2 is empty");
  s.classes = broken;
  test_assert_error(kin_classifier_fit(context, &s, NULL, &out, &err), KIN_ERR_FORMAT, &err, "UTF-8");
  uint32_t folds[4];
  test_assert_error(kin_stratified_folds(labels, 4, 1, 0, folds, &err), argument, &err, "2 to 4");
  test_assert_error(kin_stratified_folds(labels, 4, 3, 0, folds, &err), argument, &err, "only 2 vectors");
  double row[2];
  test_assert_ok(kin_classifier_fit(context, &good, NULL, &out, &err), &err);
  test_assert_error(kin_classifier_predict(context, out, &(kin_vector_set){values, 1, 3}, row, &err), KIN_ERR_MISMATCH,
                    &err, "2 floats, these have 3");
  test_assert_error(kin_classifier_predict(context, out, &(kin_vector_set){values + 6, 1, 2}, row, &err), argument,
                    &err, "finite");
  kin_classifier_close(out);
  kin_context_close(context);
}

/* A class that only one fold holds can't be told there, and the others are. */
static void test_lonely_class(void **state) {
  (void)state;
  kin_error err;
  kin_context *context = test_open_context(1, KIN_ISA_AUTO);
  const float values[] = {1, 0, 2, 0, 3, 0.1f, 0, 1, 0, 2, 0.1f, 3, -1, -1};
  const uint32_t labels[] = {0, 0, 0, 1, 1, 1, 2}, folds[] = {0, 1, 2, 0, 1, 2, 0};
  uint32_t predicted[7];
  kin_validation v;
  const kin_labelled_set set = {{values, 7, 2}, labels, animals, 3};
  const kin_classifier_options o = {.c = 1};
  test_assert_ok(kin_cross_validate(context, &set, &o, folds, 3, predicted, NULL, &v, &err), &err);
  assert_int_equal(v.right, 6);
  /* The folds' accuracies are 2/3, 1 and 1. */
  assert_true(fabs(v.accuracy - 6.0 / 7) < 1e-12 && fabs(v.deviation - 1 / sqrt(27)) < 1e-12);
  assert_true(predicted[6] < 2);
  kin_context_close(context);
}

/* ------------------------------------------------------------------- files */

static void check_same(kin_context *context, const kin_classifier *a, const kin_classifier *b,
                       const kin_vector_set *items) {
  kin_error err;
  double first[64], second[64];
  assert_true(items->n * a->info.n_classes <= 64);
  test_assert_ok(kin_classifier_predict(context, a, items, first, &err), &err);
  test_assert_ok(kin_classifier_predict(context, b, items, second, &err), &err);
  assert_memory_equal(first, second, items->n * a->info.n_classes * sizeof *first);
  assert_int_equal(a->info.kind, b->info.kind);
  assert_string_equal(a->info.model_id, b->info.model_id);
  assert_true(a->info.c == b->info.c && a->info.k == b->info.k && a->info.centred == b->info.centred);
  assert_int_equal(a->info.examples, b->info.examples);
  for (size_t i = 0; i < a->info.n_classes; i++)
    assert_string_equal(kin_classifier_class(a, i), kin_classifier_class(b, i));
  assert_null(kin_classifier_class(b, a->info.n_classes));
}

/* Every byte of the file changed in turn, and every shorter file: an error, or (a space between) the same. */
static void check_damage(const char *folder, const char *path) {
  kin_error err;
  char *data;
  size_t size;
  kin_classifier *c;
  test_assert_ok(kin_read_file(path, 1 << 20, &data, &size, &err), &err);
  char *damaged = kin_format("%s/damaged.kin", folder);
  for (size_t i = 0; i < size; i++) {
    data[i] ^= 1;
    test_write_file(folder, "damaged.kin", data, size);
    data[i] ^= 1;
    assert_true(kin_classifier_open(damaged, &c, &err) != KIN_OK);
    if (i % 7) continue;
    test_write_file(folder, "damaged.kin", data, i);
    assert_true(kin_classifier_open(damaged, &c, &err) != KIN_OK);
  }
  free(damaged), free(data);
}

static void test_files(void **state) {
  (void)state;
  kin_error err;
  kin_context *context = test_open_context(1, KIN_ISA_AUTO);
  const float values[] = {1, 0, 2, 0.5f, 0, 1, 0.5f, 3, -1, -1, -2, -1};
  const kin_labelled_set set = {{values, 6, 2}, (const uint32_t[]){0, 0, 1, 1, 2, 2}, animals, 3};
  char *folder = test_temporary_folder(), *path = kin_format("%s/a.kin", folder), *missing;
  for (int kind = KIN_CLASSIFIER_LINEAR; kind <= KIN_CLASSIFIER_KNN; kind++) {
    const kin_classifier_options o = {
        .kind = (kin_classifier_kind)kind, .c = 0.5, .k = 3, .centre = kind == KIN_CLASSIFIER_KNN, .model_id = "abc"};
    kin_classifier *made, *read;
    test_assert_ok(kin_classifier_fit(context, &set, &o, &made, &err), &err);
    test_assert_ok(kin_classifier_save(made, path, &err), &err);
    test_assert_ok(kin_classifier_open(path, &read, &err), &err);
    check_same(context, made, read, &set.vectors);
    test_assert_ok(kin_classifier_check(read, "abc", 2, &err), &err);
    test_assert_ok(kin_classifier_check(read, NULL, 2, &err), &err);
    test_assert_error(kin_classifier_check(read, "abd", 2, &err), KIN_ERR_MISMATCH, &err, "model abc");
    test_assert_error(kin_classifier_check(read, "abc", 3, &err), KIN_ERR_MISMATCH, &err, "2 floats");
    kin_classifier_close(made), kin_classifier_close(read);
    check_damage(folder, path);
  }
  kin_classifier *none;
  missing = kin_format("%s/none/a.kin", folder);
  test_assert_error(kin_classifier_open(missing, &none, &err), KIN_ERR_IO, &err, "none/a.kin");
  char *weights = test_source_path("tests/data/refs/classify.json");
  test_assert_error(kin_classifier_open(weights, &none, &err), KIN_ERR_FORMAT, &err, "classify.json");
  free(weights), free(missing), free(path);
  test_remove_tree(folder);
  free(folder);
  kin_context_close(context);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_scikit_learn),     cmocka_unit_test(test_same_bits), cmocka_unit_test(test_choice),
      cmocka_unit_test(test_shuffled_folds),   cmocka_unit_test(test_bad_input), cmocka_unit_test(test_lonely_class),
      cmocka_unit_test(test_nothing_to_learn), cmocka_unit_test(test_files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
