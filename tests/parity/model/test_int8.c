/* Models in 8 bits against the fp32 references: cosine at least 0.99, and the same bits for any batch, number of
 * threads and instruction set. */
#include "kernel/kernel.h"
#include "model/model.h"
#include "refs.h"
#include "seeded.h"
#include "support.h"

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

/* Of the first `most` pictures and texts. */
static void check_same_bits(const char *dir, refs r, const float *images, const float *texts, size_t most, kin_isa isa,
                            unsigned threads, size_t batch) {
  if (r.n_images > most) r.n_images = most;
  if (r.n_texts > most) r.n_texts = most;
  kin_context *context;
  kin_model *model = open_model(dir, isa, threads, &context);
  float *images2 = refs_embed(model, &r, false, batch), *texts2 = refs_embed(model, &r, true, batch);
  assert_memory_equal(images, images2, r.n_images * r.dim * sizeof *images);
  assert_memory_equal(texts, texts2, r.n_texts * r.dim * sizeof *texts);
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
  float *images = refs_embed(model, &r, false, 1), *texts = refs_embed(model, &r, true, 1);
  kin_model_close(model);
  kin_context_close(context);
  assert_true(refs_least_cosine(images, r.image_vectors, r.n_images, r.dim) >= 0.99);
  assert_true(refs_least_cosine(texts, r.text_vectors, r.n_texts, r.dim) >= 0.99);

  const bool tiny = strstr(name, "tiny");
  const size_t most = tiny ? 20 : 6; /* of large models in batches of 1, 5 and 6 */
  check_same_bits(dir, r, images, texts, most, KIN_ISA_AUTO, 2, 17);
  if (kin_kernels_for(KIN_ISA_AVX2)) check_same_bits(dir, r, images, texts, most, KIN_ISA_AVX2, 2, 5);
  if (tiny) check_same_bits(dir, r, images, texts, 7, KIN_ISA_SCALAR, 1, 3); /* plain C is slow */
  free(images), free(texts), free(dir);
  refs_close(&r);
}

#define MODEL(model) \
  { .name = model, .test_func = check_model, .initial_state = (void *)(uintptr_t)model }

int main(void) {
  const struct CMUnitTest tests[] = {
    MODEL("clip-tiny"),
    MODEL("clip-open-tiny"),
    MODEL("clip-rn-tiny"),
    MODEL("dinov2-tiny"),
    MODEL("dinov2-registers-tiny"),
    MODEL("dinov2-swiglu-tiny"),
#if !TEST_SMALL
    MODEL("clip-vit-b-32"),
    MODEL("dinov2-small"),
    MODEL("dinov2-base"),
#endif
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
