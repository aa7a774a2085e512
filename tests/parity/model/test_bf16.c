/* Models in bfloat16 against the fp32 references: cosine at least 0.9995, and the same bits for any batch and number of
 * threads. Skipped where the CPU has no bfloat16 products. */
#include "kernel/kernel.h"
#include "model/model.h"
#include "refs.h"
#include "seeded.h"
#include "support.h"

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
  float *images = refs_embed(model, &r, false, 1), *texts = refs_embed(model, &r, true, 1);
  kin_model_close(model);
  kin_context_close(context);

  model = open_model(dir, 2, &context);
  float *images2 = refs_embed(model, &r, false, 17), *texts2 = refs_embed(model, &r, true, 64);
  assert_memory_equal(images, images2, r.n_images * r.dim * sizeof *images);
  assert_memory_equal(texts, texts2, r.n_texts * r.dim * sizeof *texts);
  kin_model_close(model);
  kin_context_close(context);

  assert_true(refs_least_cosine(images, r.image_vectors, r.n_images, r.dim) >= 0.9995);
  assert_true(refs_least_cosine(texts, r.text_vectors, r.n_texts, r.dim) >= 0.9995);
  free(images), free(images2), free(texts), free(texts2), free(dir);
  refs_close(&r);
}

#define MODEL(model) \
  { .name = model, .test_func = check_model, .initial_state = (void *)(uintptr_t)model }

int main(void) {
  const struct CMUnitTest tests[] = {
    MODEL("clip-tiny"),
    MODEL("dinov2-tiny"),
#if !TEST_SMALL
    MODEL("clip-vit-b-32"),
    MODEL("dinov2-small"),
#endif
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
