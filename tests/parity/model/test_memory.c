/* What CLIP ViT-B/32 with both towers keeps resident after a batch of 16: the packed weights and little else, since the
 * file's pages are given back and the table of tokens stays in the file. */
#include "kernel/kernel.h"
#include "refs.h"
#include "seeded.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 16 };

/* VmRSS, file pages among it. */
static double resident_megabytes(void) {
  char line[256];
  long kilobytes = 0;
  FILE *f = fopen("/proc/self/status", "r");
  assert_non_null(f);
  while (fgets(line, sizeof line, f))
    if (sscanf(line, "VmRSS: %ld kB", &kilobytes) == 1) break;
  fclose(f);
  assert_true(kilobytes > 0);
  return (double)kilobytes * 1024e-6;
}

/* Resident megabytes with the model open, after a batch of each kind. */
static double embed_batches(kin_precision precision, double *packed) {
  refs r;
  kin_context *context;
  kin_model *model;
  kin_error err;
  kin_model_info info;
  refs_open("clip-vit-b-32", &r);
  char *dir = seeded_model("clip-vit-b-32");
  test_assert_ok(kin_context_open(&(kin_context_options){.threads = 2}, &context, &err), &err);
  test_assert_ok(kin_model_open_with(context, dir, &(kin_model_options){.precision = precision}, &model, &err), &err);
  kin_model_get_info(model, &info);
  float *out = calloc(BATCH * info.dim, sizeof *out);
  assert_non_null(out);
  const kin_embed_options options = {.batch = BATCH};
  test_assert_ok(kin_embed_images(model, r.images, BATCH, &options, out, &err), &err);
  test_assert_ok(kin_embed_texts(model, r.texts, BATCH, &options, out, &err), &err);
  double resident = resident_megabytes();
  *packed = (double)info.memory_bytes * 1e-6;
  print_message("%s: %.1f MB resident, %.1f MB of packed weights\n", kin_precision_name(precision), resident, *packed);
  free(out), free(dir);
  kin_model_close(model);
  kin_context_close(context);
  refs_close(&r);
  return resident;
}

static void little_more_than_the_weights_is_resident(void **state) {
  (void)state;
  if (TEST_SANITIZED || !seeded_ready("clip-vit-b-32")) skip();
  double packed, resident = embed_batches(KIN_PRECISION_INT8, &packed);
  assert_true(resident < 280);
  assert_true(resident <= 1.15 * packed + 64 * 1.048576);
  if (kin_bf16_kernels_for(KIN_ISA_AUTO)) {
    resident = embed_batches(KIN_PRECISION_BF16, &packed);
    assert_true(resident <= 1.15 * packed + 64 * 1.048576);
  }
  resident = embed_batches(KIN_PRECISION_FP32, &packed);
  assert_true(resident <= 1.15 * packed + 64 * 1.048576);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(little_more_than_the_weights_is_resident)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
