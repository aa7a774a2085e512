/* Models in 8 bits against the fp32 references: cosine at least 0.99, and the same bits for any batch, number of
 * threads and instruction set. */
#include "kernel/kernel.h"
#include "model/model.h"
#include "refs.h"
#include "seeded.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static kin_model *open_model(const char *dir, kin_isa isa, unsigned threads, kin_context **context) {
  kin_model *model;
  kin_error err;
  const kin_model_options options = {.precision = KIN_PRECISION_INT8};
  test_assert_ok(kin_context_open(&(kin_context_options){.threads = threads, .isa = isa}, context, &err), &err);
  test_assert_ok(kin_model_open_with(*context, dir, &options, &model, &err), &err);
  return model;
}

static float *embed(kin_model *model, const refs *r, bool texts, size_t batch) {
  kin_error err;
  size_t n = texts ? r->n_texts : r->n_images;
  float *out = calloc(n * r->dim + 1, sizeof *out);
  assert_non_null(out);
  for (size_t i = 0; i < n; i += batch) {
    size_t count = n - i < batch ? n - i : batch;
    const kin_embed_options options = {.batch = batch};
    test_assert_ok(texts ? kin_embed_texts(model, r->texts + i, count, &options, out + i * r->dim, &err)
                         : kin_embed_images(model, r->images + i, count, &options, out + i * r->dim, &err),
                   &err);
  }
  return out;
}

static void assert_near(const float *ours, const float *theirs, size_t n, size_t dim) {
  double least = 1;
  for (size_t i = 0; i < n; i++) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t j = 0; j < dim; j++) {
      double a = (double)ours[i * dim + j], b = (double)theirs[i * dim + j];
      ab += a * b, aa += a * a, bb += b * b;
    }
    least = fmin(least, ab / sqrt(aa * bb));
  }
  print_message("  %zu inputs, cosine at least %.6f\n", n, least);
  assert_true(least >= 0.99);
}

static void check_same_bits(const char *dir, const refs *r, const float *images, const float *texts, kin_isa isa,
                            unsigned threads, size_t batch) {
  kin_context *context;
  kin_model *model = open_model(dir, isa, threads, &context);
  float *images2 = embed(model, r, false, batch), *texts2 = embed(model, r, true, batch);
  assert_memory_equal(images, images2, r->n_images * r->dim * sizeof *images);
  assert_memory_equal(texts, texts2, r->n_texts * r->dim * sizeof *texts);
  free(images2), free(texts2);
  kin_model_close(model);
  kin_context_close(context);
}

static void check_model(void **state) {
  const char *name = *state;
  refs r;
  kin_context *context;
  refs_open(name, &r);
  if (!seeded_ready(name)) {
    refs_close(&r);
    skip();
  }
  char *dir = seeded_model(name);
  kin_model *model = open_model(dir, KIN_ISA_AUTO, 1, &context);
  float *images = embed(model, &r, false, 1), *texts = embed(model, &r, true, 1);
  kin_model_close(model);
  kin_context_close(context);
  assert_near(images, r.image_vectors, r.n_images, r.dim);
  assert_near(texts, r.text_vectors, r.n_texts, r.dim);

  bool tiny = strstr(name, "tiny");
  check_same_bits(dir, &r, images, texts, KIN_ISA_AUTO, 2, 17);
  if (kin_kernels_for(KIN_ISA_AVX2)) check_same_bits(dir, &r, images, texts, KIN_ISA_AVX2, 2, 5);
  if (tiny) check_same_bits(dir, &r, images, texts, KIN_ISA_SCALAR, 1, 3);
  free(images), free(texts), free(dir);
  refs_close(&r);
}

#define MODEL(model) \
  { .name = model, .test_func = check_model, .initial_state = (void *)(uintptr_t)model }

int main(void) {
  const struct CMUnitTest tests[] = {
      MODEL("clip-tiny"),          MODEL("clip-vit-b-32"), MODEL("clip-open-tiny"),
      MODEL("clip-rn-tiny"),       MODEL("dinov2-tiny"),   MODEL("dinov2-registers-tiny"),
      MODEL("dinov2-swiglu-tiny"), MODEL("dinov2-small"),  MODEL("dinov2-base"),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
