/* AMX-BF16's instructions against plain C; a test of its own, so that a CPU without them shows it as skipped. */
#include "kernel_fixture.h"

static void tiles_match(void **state) {
  (void)state;
  for (size_t rows = 1; rows <= kin_bf16_amx.tile_rows; rows++)
    for (size_t pairs = 1; pairs <= 70; pairs += 3) {
      size_t lda = 2 * pairs, ldc = KIN_PANEL + 3, sums = (rows - 1) * ldc + KIN_PANEL;
      float *x = seeded_floats(rows * lda, 1.0f, rows), *y = seeded_floats(pairs * KIN_PANEL * 2, 1.0f, pairs);
      uint16_t *a = malloc(rows * lda * sizeof *a), *b = malloc(pairs * KIN_PANEL * 2 * sizeof *b);
      float *expected = calloc(sums, sizeof *expected), *got = calloc(sums, sizeof *got);
      assert_true(a && b && expected && got);
      kin_bf16_amx.round(x, rows * lda, a);
      kin_bf16_amx.round(y, pairs * KIN_PANEL * 2, b);
      for (size_t accumulate = 0; accumulate < 2; accumulate++) {
        kin_bf16_scalar.gemm_tile(rows, pairs, a, lda, b, expected, ldc, accumulate);
        kin_bf16_amx.gemm_tile(rows, pairs, a, lda, b, got, ldc, accumulate);
        for (size_t i = 0; i < sums; i++) assert_true(fabsf(got[i] - expected[i]) < 1e-5f * (float)(pairs + 4));
      }
      free(a), free(b), free(expected), free(got);
      kin_free_aligned(x), kin_free_aligned(y);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(tiles_match)};
  if (kin_amx_bf16_usable()) return cmocka_run_group_tests(tests, NULL, NULL);
  print_message("[  NOTE  ] this CPU lacks AMX-BF16: left untested\n");
  return 77;
}
