/* Real weights in 8 bits against fp32, which other tests hold to the references: cosine at least 0.99, and the same
 * paraphrases found. bench/accuracy.py measures more of it. */
#include "base/json.h"
#include "model/model.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64 };

typedef struct inputs {
  size_t n;
  const char *texts[MOST];
  kin_image_source images[MOST]; /* instead of texts where paths are set */
} inputs;

static float *embed(const char *dir, kin_precision precision, const inputs *in, size_t *dim) {
  kin_context *context;
  kin_model *model;
  kin_error err;
  test_assert_ok(kin_context_open(NULL, &context, &err), &err);
  test_assert_ok(kin_model_open_with(context, dir, &(kin_model_options){.precision = precision}, &model, &err), &err);
  *dim = kin_model_dim(model);
  float *out = calloc(in->n * *dim, sizeof *out);
  assert_non_null(out);
  test_assert_ok(in->images[0].path ? kin_embed_images(model, in->images, in->n, NULL, out, &err)
                                    : kin_embed_texts(model, in->texts, in->n, NULL, out, &err),
                 &err);
  kin_model_close(model);
  kin_context_close(context);
  return out;
}

static double cosine(const float *a, const float *b, size_t dim) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < dim; i++) {
    ab += (double)a[i] * (double)b[i];
    aa += (double)a[i] * (double)a[i], bb += (double)b[i] * (double)b[i];
  }
  return ab / sqrt(aa * bb);
}

/* Both precisions' vectors of one material's model, which are near each other; false where it hasn't been fetched. */
static bool embed_both(const char *material, const inputs *in, float **exact, float **rounded, size_t *dim) {
  char *dir = test_material(material);
  if (!dir) return false;
  *exact = embed(dir, KIN_PRECISION_FP32, in, dim);
  *rounded = embed(dir, KIN_PRECISION_INT8, in, dim);
  double least = 1;
  for (size_t i = 0; i < in->n; i++) least = fmin(least, cosine(*exact + i * *dim, *rounded + i * *dim, *dim));
  print_message("  %s: %zu inputs, cosine at least %.5f\n", material, in->n, least);
  assert_true(least >= 0.99);
  free(dir);
  return true;
}

static void check_near(const char *material, const inputs *in) {
  float *exact, *rounded;
  size_t dim;
  if (!embed_both(material, in, &exact, &rounded, &dim)) skip();
  free(exact), free(rounded);
}

static void texts_are_near(void **state) {
  char *path = test_source_path("tests/data/texts.json");
  json_t *list;
  kin_error err;
  inputs in = {0};
  test_assert_ok(kin_json_load(path, 1u << 24, &list, &err), &err);
  for (; in.n < json_array_size(list) && in.n < MOST; in.n++)
    in.texts[in.n] = json_string_value(json_array_get(list, in.n));
  check_near(*state, &in);
  json_decref(list);
  free(path);
}

static void photos_are_near(void **state) {
  char *folder = test_material("gcompris-photos"), *names[MOST];
  inputs in = {0};
  if (!folder) skip();
  in.n = test_read_lines("tests/data/focus/photos.txt", names, MOST);
  for (size_t i = 0; i < in.n; i++) in.images[i].path = kin_format("%s/%s", folder, names[i]);
  check_near(*state, &in);
  for (size_t i = 0; i < in.n; i++) free((char *)(uintptr_t)in.images[i].path), free(names[i]);
  free(folder);
}

/* Of the second sentences the one nearest to the first of line i. */
static size_t nearest(const float *rows, size_t dim, size_t lines, size_t i) {
  size_t best = 0;
  for (size_t j = 1; j < lines; j++)
    if (cosine(rows + 2 * i * dim, rows + (2 * j + 1) * dim, dim) >
        cosine(rows + 2 * i * dim, rows + (2 * best + 1) * dim, dim))
      best = j;
  return best;
}

static void paraphrases_are_the_same(void **state) {
  (void)state;
  char *lines[MOST / 2];
  inputs in = {0};
  size_t n = test_read_lines("tests/data/minilm/order.tsv", lines, MOST / 2), dim;
  for (size_t i = 0; i < n; i++) {
    char *rest = lines[i];
    in.texts[in.n++] = strsep(&rest, "\t");
    in.texts[in.n++] = strsep(&rest, "\t");
  }
  float *exact, *rounded;
  if (!embed_both("minilm", &in, &exact, &rounded, &dim)) skip();
  for (size_t i = 0; i < n; i++) assert_int_equal(nearest(exact, dim, n, i), nearest(rounded, dim, n, i));
  for (size_t i = 0; i < n; i++) free(lines[i]);
  free(exact), free(rounded);
}

#define NEAR(test, material) \
  { .name = #test " of " material, .test_func = test, .initial_state = (void *)(uintptr_t)material }

int main(void) {
  const struct CMUnitTest tests[] = {NEAR(texts_are_near, "minilm"), NEAR(texts_are_near, "e5-small"),
                                     NEAR(photos_are_near, "vit-s-focus"), cmocka_unit_test(paraphrases_are_the_same)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
