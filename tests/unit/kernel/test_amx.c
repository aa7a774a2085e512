/* The kernels for AMX on tiles emulated in plain C: what TILECONFIG, TDPBUSD and TDPBF16PS do, by Intel's manual. The
 * instructions themselves run in test_int8 and test_gemm, on a CPU that has them. */
#include "kernel_fixture.h"

typedef struct emulated {
  bool configured;
  size_t rows[8], row_bytes[8];
  uint8_t data[8][16][64];
} emulated;

static emulated amx;

/* LDTILECFG: palette 1; a tile has rows and bytes, or neither. */
static void emulate_configure(const uint8_t *config) {
  assert_int_equal(config[0], 1);
  assert_int_equal(config[1], 0);
  for (size_t i = 2; i < 16; i++) assert_int_equal(config[i], 0);
  for (size_t i = 0; i < 16; i++) {
    size_t bytes = config[16 + 2 * i] + 256u * config[17 + 2 * i], rows = config[48 + i];
    assert_true(bytes <= 64 && rows <= 16 && !bytes == !rows);
    assert_true(i < 8 || rows == 0);
    if (i < 8) amx.rows[i] = rows, amx.row_bytes[i] = bytes;
  }
  memset(amx.data, 0, sizeof amx.data);
  amx.configured = true;
}

static void use(size_t t) {
  assert_true(amx.configured && amx.rows[t] > 0);
}

static void emulate_zero(size_t t) {
  use(t);
  memset(amx.data[t], 0, sizeof amx.data[t]);
}

static void emulate_load(size_t t, const void *from, size_t row_bytes) {
  emulate_zero(t);
  for (size_t r = 0; r < amx.rows[t]; r++)
    memcpy(amx.data[t][r], (const uint8_t *)from + r * row_bytes, amx.row_bytes[t]);
}

static void emulate_store(size_t t, void *to, size_t row_bytes) {
  use(t);
  for (size_t r = 0; r < amx.rows[t]; r++) memcpy((uint8_t *)to + r * row_bytes, amx.data[t][r], amx.row_bytes[t]);
}

/* #UD unless the three tiles' sizes fit. */
static void check_shapes(size_t c, size_t a, size_t b) {
  use(c), use(a), use(b);
  assert_true(c != a && a != b && b != c);
  assert_int_equal(amx.rows[c], amx.rows[a]);
  assert_int_equal(amx.row_bytes[a] / 4, amx.rows[b]);
  assert_int_equal(amx.row_bytes[c], amx.row_bytes[b]);
}

static void emulate_dpbusd(size_t c, size_t a, size_t b) {
  check_shapes(c, a, b);
  for (size_t m = 0; m < amx.rows[c]; m++)
    for (size_t k = 0; k < amx.row_bytes[a] / 4; k++)
      for (size_t n = 0; n < amx.row_bytes[c] / 4; n++) {
        int32_t sum;
        memcpy(&sum, amx.data[c][m] + 4 * n, 4);
        for (size_t i = 0; i < 4; i++) sum += (int32_t)amx.data[a][m][4 * k + i] * (int8_t)amx.data[b][k][4 * n + i];
        memcpy(amx.data[c][m] + 4 * n, &sum, 4);
      }
}

static float widen(const uint8_t *p) {
  uint32_t bits = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 24;
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

static void emulate_dpbf16ps(size_t c, size_t a, size_t b) {
  check_shapes(c, a, b);
  for (size_t m = 0; m < amx.rows[c]; m++)
    for (size_t n = 0; n < amx.row_bytes[c] / 4; n++) {
      float even = 0, odd = 0, sum;
      for (size_t k = 0; k < amx.row_bytes[a] / 4; k++) {
        even = fmaf(widen(amx.data[a][m] + 4 * k), widen(amx.data[b][k] + 4 * n), even);
        odd = fmaf(widen(amx.data[a][m] + 4 * k + 2), widen(amx.data[b][k] + 4 * n + 2), odd);
      }
      memcpy(&sum, amx.data[c][m] + 4 * n, 4);
      sum += even + odd;
      memcpy(amx.data[c][m] + 4 * n, &sum, 4);
    }
}

#define TILE_CONFIGURE(config) emulate_configure((const uint8_t *)(config))
#define TILE_RELEASE() (amx.configured = false)
#define TILE_ZERO(t) emulate_zero(t)
#define TILE_LOAD(t, from, row_bytes) emulate_load(t, from, row_bytes)
#define TILE_STORE(t, to, row_bytes) emulate_store(t, to, row_bytes)
#define TILE_DPBUSD(c, a, b) emulate_dpbusd(c, a, b)
#define TILE_DPBF16PS(c, a, b) emulate_dpbf16ps(c, a, b)
#include "kernel/amx.h"

/* Exactly as many bytes as the kernel may touch, so that a sanitizer sees what lies beyond. */
static void *bytes_of(size_t n, uint32_t seed) {
  uint8_t *p = malloc(n);
  assert_non_null(p);
  for (size_t i = 0; i < n; i++) p[i] = (uint8_t)((i + seed) * 2654435761u >> 15);
  return p;
}

static void int8_tiles_match(void **state) {
  (void)state;
  for (size_t rows = 1; rows <= 32; rows++)
    for (size_t quads = 16; quads <= 48; quads += 16) {
      size_t lda = 4 * quads, ld = KIN_PANEL + 3, sums = (rows - 1) * ld + KIN_PANEL;
      uint8_t *a = bytes_of(rows * lda, 1);
      int8_t *b = bytes_of(quads * KIN_PANEL * 4, 2);
      int32_t *expected = calloc(sums, sizeof *expected), *got = calloc(sums, sizeof *got);
      assert_true(expected && got);
      for (size_t accumulate = 0; accumulate < 2; accumulate++) {
        kin_int8_scalar.gemm_tile(rows, quads, a, lda, b, expected, ld, accumulate);
        gemm_tile_int8(rows, quads, a, lda, b, got, ld, accumulate);
        assert_memory_equal(got, expected, sums * sizeof *got);
      }
      assert_false(amx.configured);
      free(a), free(b), free(expected), free(got);
    }
}

static void bf16_tiles_match(void **state) {
  (void)state;
  for (size_t rows = 1; rows <= 32; rows += rows % 16 == 15 ? 1 : 7)
    for (size_t pairs = 1; pairs <= 40; pairs++) {
      size_t lda = 2 * pairs, ldc = KIN_PANEL + 3, sums = (rows - 1) * ldc + KIN_PANEL;
      float *x = seeded_floats(rows * lda, 1.0f, rows), *y = seeded_floats(pairs * KIN_PANEL * 2, 1.0f, pairs);
      uint16_t *a = malloc(rows * lda * sizeof *a), *b = malloc(pairs * KIN_PANEL * 2 * sizeof *b);
      float *expected = calloc(sums, sizeof *expected), *got = calloc(sums, sizeof *got);
      assert_true(a && b && expected && got);
      kin_bf16_scalar.round(x, rows * lda, a);
      kin_bf16_scalar.round(y, pairs * KIN_PANEL * 2, b);
      for (size_t accumulate = 0; accumulate < 2; accumulate++) {
        kin_bf16_scalar.gemm_tile(rows, pairs, a, lda, b, expected, ldc, accumulate);
        gemm_tile_bf16(rows, pairs, a, lda, b, got, ldc, accumulate);
        for (size_t i = 0; i < sums; i++) assert_true(fabsf(got[i] - expected[i]) < 1e-5f * (float)(pairs + 4));
      }
      free(a), free(b), free(expected), free(got);
      kin_free_aligned(x), kin_free_aligned(y);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(int8_tiles_match), cmocka_unit_test(bf16_tiles_match)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
