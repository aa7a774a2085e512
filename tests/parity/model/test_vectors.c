/* Vectors of full-size and small models against the reference implementations: cosine >= 0.99999, relative
 * error <= 1e-4 for every photo and text, on weights that give different inputs different vectors. */
#include "base/json.h"
#include "model/model.h"
#include "refs.h"
#include "seeded.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

/* Different inputs must give clearly different vectors, or agreement would show nothing. */
static void assert_spread(const refs *r, const float *rows, size_t n) {
  double least, most;
  refs_spread(rows, n, r->dim, &least, &most);
  print_message("  cosines between different inputs: %.3f to %.3f\n", least, most);
  /* Fifty layers of ReLU on random weights bring 5 of 190 pairs of photos above 0.95, two small layers one of texts. */
  const char *model = json_string_value(json_object_get(r->json, "model"));
  const double limit = strcmp(model, "clip-rn50") == 0 ? 0.99 : strcmp(model, "clip-open-tiny") == 0 ? 0.96 : 0.95;
  assert_true(least < 0.5 && most < limit);
}

static void compare(const refs *r, const float *ours, const float *theirs, size_t n, const char *const *names) {
  const size_t dim = r->dim;
  double worst = 0;
  for (size_t i = 0; i < n; i++) {
    const double error = refs_assert_near(ours + i * dim, theirs + i * dim, dim, names[i]);
    if (error > worst) worst = error;
  }
  print_message("  %zu inputs, relative error at most %.1e\n", n, worst);
}

static void check_images(kin_model *model, const refs *r) {
  kin_error err;
  float *out = calloc(r->n_images * r->dim, sizeof *out);
  const char **names = calloc(r->n_images, sizeof *names);
  assert_true(out != NULL && names != NULL);
  for (size_t i = 0; i < r->n_images; i++) names[i] = r->images[i].path;
  const kin_embed_options options = {.raw = true};
  test_assert_ok(kin_embed_images(model, r->images, r->n_images, &options, out, &err), &err);
  compare(r, out, r->image_vectors, r->n_images, names);
  assert_spread(r, out, r->n_images);
  free(names), free(out);
}

/* The vectors of texts that have different tokens: a small vocabulary takes rare scripts for one unknown word. */
static size_t keep_different(const refs *r, const float *rows, float *out) {
  size_t kept = 0;
  for (size_t i = 0; i < r->n_texts; i++) {
    bool seen = false;
    for (size_t j = 0; j < i && !seen; j++)
      seen = r->lengths[i] == r->lengths[j] && memcmp(r->ids[i], r->ids[j], r->lengths[i] * sizeof(int32_t)) == 0;
    if (!seen) memcpy(out + kept++ * r->dim, rows + i * r->dim, r->dim * sizeof *out);
  }
  return kept;
}

/* From the text, and from the reference tokenizer's ids. */
static void check_texts(kin_model *model, const refs *r) {
  kin_error err;
  float *out = calloc(r->n_texts * r->dim, sizeof *out);
  assert_non_null(out);
  test_assert_ok(kin_model_encode_tokens(model, (const int32_t *const *)r->ids, r->lengths, r->n_texts, out, &err),
                 &err);
  compare(r, out, r->text_vectors, r->n_texts, r->texts);
  const kin_embed_options options = {.raw = true};
  test_assert_ok(kin_embed_texts(model, r->texts, r->n_texts, &options, out, &err), &err);
  compare(r, out, r->text_vectors, r->n_texts, r->texts);
  float *different = calloc(r->n_texts * r->dim, sizeof *different);
  assert_non_null(different);
  const size_t kept = keep_different(r, out, different);
  assert_true(kept > r->n_texts * 3 / 4);
  assert_spread(r, different, kept);
  free(different);
  free(out);
}

/* The choices of pooling beside the class token's: the mean, and both, one after the other. */
static void check_pooling(kin_context *context, const char *dir, const refs *r) {
  static const char *const names[] = {"mean", "cls+mean"};
  char ids[2][65];
  for (size_t p = 0; p < 2; p++) {
    kin_model_options options = {0};
    kin_model *model;
    kin_model_info info;
    kin_error err;
    test_assert_ok(kin_pooling_parse(names[p], &options.pooling, &err), &err);
    test_assert_ok(kin_model_open_with(context, dir, &options, &model, &err), &err);
    kin_model_get_info(model, &info);
    strcpy(ids[p], info.id);
    assert_int_equal(info.dim, (p + 1) * r->dim);
    float *out = calloc(r->n_images * info.dim, sizeof *out);
    assert_non_null(out);
    test_assert_ok(kin_embed_images(model, r->images, r->n_images, &(kin_embed_options){.raw = true}, out, &err), &err);
    for (size_t i = 0; i < r->n_images; i++) {
      const float *row = out + i * info.dim;
      if (p > 0) refs_assert_near(row, r->image_vectors + i * r->dim, r->dim, r->images[i].path);
      refs_assert_near(row + p * r->dim, r->mean_vectors + i * r->dim, r->dim, r->images[i].path);
    }
    free(out);
    kin_model_close(model);
  }
  assert_string_not_equal(ids[0], ids[1]);
}

/* All patch tokens of the first two pictures, in the picture's order. */
static void check_patches(kin_context *context, const char *dir, const refs *r) {
  kin_model *model;
  kin_model_info info;
  kin_error err;
  test_assert_ok(kin_model_open_with(context, dir, &(kin_model_options){.pooling = KIN_POOLING_PATCHES}, &model, &err),
                 &err);
  kin_model_get_info(model, &info);
  const size_t grid = info.image_size / info.patch_size;
  assert_int_equal(info.dim, grid * grid * r->dim);
  char *name = kin_format("tests/data/refs/%s.patches.f32", json_string_value(json_object_get(r->json, "model")));
  char *path = test_source_path(name), *expected;
  size_t size;
  test_assert_ok(kin_read_file(path, 1 << 24, &expected, &size, &err), &err);
  assert_int_equal(size, 2 * info.dim * sizeof(float));
  float *out = calloc(2 * info.dim, sizeof *out), *tokens = malloc(size);
  assert_true(out && tokens);
  memcpy(tokens, expected, size);
  test_assert_ok(kin_embed_images(model, r->images, 2, &(kin_embed_options){.raw = true}, out, &err), &err);
  for (size_t i = 0; i < 2 * grid * grid; i++)
    refs_assert_near(out + i * r->dim, tokens + i * r->dim, r->dim, r->images[i / (grid * grid)].path);
  free(out), free(tokens), free(expected), free(path), free(name);
  kin_model_close(model);
}

static void check_model(void **state) {
  refs r;
  kin_context *context;
  kin_model *model;
  kin_error err;
  refs_open(*state, &r);
  assert_true(r.n_images >= 12 || (r.n_images == 0 && r.n_texts >= 60));
  if (!seeded_ready(*state)) {
    refs_close(&r);
    skip();
  }
  char *dir = seeded_model(*state);
  test_assert_ok(kin_context_open(&(kin_context_options){.threads = 2}, &context, &err), &err);
  test_assert_ok(kin_model_open(context, dir, &model, &err), &err);
  assert_int_equal(kin_model_dim(model), r.dim);
  if (r.n_images > 0) check_images(model, &r);
  if (r.n_texts > 0) check_texts(model, &r);
  if (r.mean_vectors != NULL) check_pooling(context, dir, &r), check_patches(context, dir, &r);
  kin_model_close(model);
  kin_context_close(context);
  free(dir);
  refs_close(&r);
}

#define MODEL(model) \
  { .name = model, .test_func = check_model, .initial_state = (void *)(uintptr_t)model }

int main(void) {
  const struct CMUnitTest tests[] = {
    MODEL("clip-tiny"),
    MODEL("dinov2-tiny"),
    MODEL("clip-rn-tiny"),
    MODEL("dinov2-registers-tiny"),
    MODEL("dinov2-registers-swiglu-tiny"),
    MODEL("roberta-tiny"),
    MODEL("dinov2-swiglu-tiny"),
    MODEL("clip-open-tiny"),
#if !TEST_SMALL
    MODEL("dinov2-small"),
    MODEL("clip-vit-b-32"),
    MODEL("clip-rn50"),
    MODEL("dinov2-base"),
    MODEL("multilingual-clip"),
#endif
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
