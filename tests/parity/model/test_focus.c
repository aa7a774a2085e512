/* Real weights: the converted ViT-S/14 against ONNX Runtime on the original file, for twelve photos. */
#include "support.h"
#include "weights/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PHOTOS 12

static void read_photos(const char *folder, char *paths[PHOTOS]) {
  char *list_path = test_source_path("tests/data/focus/photos.txt"), *list;
  size_t size, n = 0;
  kin_error err;
  test_assert_ok(kin_read_file(list_path, 10000, &list, &size, &err), &err);
  for (char *line = strtok(list, "\n"); line; line = strtok(NULL, "\n")) {
    assert_true(n < PHOTOS);
    paths[n++] = kin_format("%s/%s", folder, line);
  }
  assert_int_equal(n, PHOTOS);
  free(list);
  free(list_path);
}

static void compare(const kin_context *context, const float *got, const float *expected, size_t dim, float least) {
  for (size_t i = 0; i < PHOTOS; i++) {
    float cosine = kin_cosine(context, got + i * dim, expected + i * dim, dim);
    printf("photo %zu: cosine %.7f\n", i, (double)cosine);
    assert_true(cosine >= least);
  }
}

/* Subtract the mean of `rows` from them and from `others`. */
static void remove_mean(float *rows, size_t dim, float *others) {
  for (size_t k = 0; k < dim; k++) {
    double sum = 0;
    for (size_t i = 0; i < PHOTOS; i++) sum += (double)rows[i * dim + k];
    float mean = (float)(sum / PHOTOS);
    for (size_t i = 0; i < PHOTOS; i++) {
      rows[i * dim + k] -= mean;
      others[i * dim + k] -= mean;
    }
  }
}

static void vectors_equal_the_original_models(void **state) {
  (void)state;
  kin_error err;
  char *model_dir = test_material("vit-s-focus"), *photo_dir = test_material("gcompris-photos"), *paths[PHOTOS];
  read_photos(photo_dir, paths);
  kin_context *context = NULL;
  test_assert_ok(kin_context_open(NULL, &context, &err), &err);
  kin_model *model = NULL;
  test_assert_ok(kin_model_open(context, model_dir, &model, &err), &err);
  size_t dim = kin_model_dim(model);
  assert_int_equal(dim, 384);
  kin_image_source sources[PHOTOS] = {0};
  for (size_t i = 0; i < PHOTOS; i++) sources[i].path = paths[i];
  float *vectors = calloc(PHOTOS * dim, sizeof *vectors);
  kin_embed_options options = {.raw = true};
  test_assert_ok(kin_embed_images(model, sources, PHOTOS, &options, vectors, &err), &err);

  char *data = test_source_path("tests/data/focus");
  kin_weights *reference = NULL;
  float *expected = NULL;
  test_assert_ok(kin_weights_open(data, "cls.safetensors", &reference, &err), &err);
  test_assert_ok(kin_weights_load(reference, "cls", 2, (size_t[]){PHOTOS, dim}, &expected, &err), &err);
  compare(context, vectors, expected, dim, 0.9999f);
  /* All photos share a large part of their vectors: without it, differences count for more. */
  remove_mean(expected, dim, vectors);
  compare(context, vectors, expected, dim, 0.9999f);
  for (size_t i = 0; i < PHOTOS; i++)
    for (size_t k = 0; k < i; k++) assert_true(kin_cosine(context, vectors + i * dim, expected + k * dim, dim) < 0.95f);

  kin_free_aligned(expected);
  kin_weights_close(reference);
  free(data);
  free(vectors);
  kin_model_close(model);
  kin_context_close(context);
  for (size_t i = 0; i < PHOTOS; i++) free(paths[i]);
  free(model_dir);
  free(photo_dir);
}

int main(void) {
  char *model_dir = test_material("vit-s-focus"), *photo_dir = test_material("gcompris-photos");
  bool ready = model_dir && photo_dir;
  free(model_dir);
  free(photo_dir);
  if (!ready) {
    puts("skipped: fetch the materials with: tools/materials.py vit-s-focus gcompris-photos");
    return 77;
  }
  const struct CMUnitTest tests[] = {cmocka_unit_test(vectors_equal_the_original_models)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
