/* Models in bfloat16 against the fp32 references: cosine at least 0.9995, and the same bits for any batch and number of
 * threads. Skipped where the CPU has no bfloat16 products. */
#include "kernel/kernel.h"
#include "model/model.h"
#include "refs.h"
#include "seeded.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static kin_model *open_model(const char *dir, unsigned threads, kin_context **context) {
  kin_model *model;
  kin_error err;
  const kin_model_options options = {.precision = KIN_PRECISION_BF16};
  test_assert_ok(kin_context_open(&(kin_context_options){.threads = threads}, context, &err), &err);
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
  assert_true(least >= 0.9995);
}

static void check_model(void **state) {
  refs r;
  kin_context *context;
  refs_open(*state, &r);
  if (!kin_bf16_kernels_for(KIN_ISA_AUTO) || !seeded_ready(*state)) {
    refs_close(&r);
    skip();
  }
  char *dir = seeded_model(*state);
  kin_model *model = open_model(dir, 1, &context);
  float *images = embed(model, &r, false, 1), *texts = embed(model, &r, true, 1);
  kin_model_close(model);
  kin_context_close(context);

  model = open_model(dir, 2, &context);
  float *images2 = embed(model, &r, false, 17), *texts2 = embed(model, &r, true, 64);
  assert_memory_equal(images, images2, r.n_images * r.dim * sizeof *images);
  assert_memory_equal(texts, texts2, r.n_texts * r.dim * sizeof *texts);
  kin_model_close(model);
  kin_context_close(context);

  assert_near(images, r.image_vectors, r.n_images, r.dim);
  assert_near(texts, r.text_vectors, r.n_texts, r.dim);
  free(images), free(images2), free(texts), free(texts2), free(dir);
  refs_close(&r);
}

#define MODEL(model) \
  { .name = model, .test_func = check_model, .initial_state = (void *)(uintptr_t)model }

int main(void) {
  const struct CMUnitTest tests[] = {MODEL("clip-tiny"), MODEL("clip-vit-b-32"), MODEL("dinov2-tiny"),
                                     MODEL("dinov2-small")};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
