/* 8-bit products for AVX512-VNNI: four multiply-adds a lane and instruction. */
#include "kernel/kernel.h"

#if defined(__AVX512VNNI__)
#include <immintrin.h>
#include <string.h>

#define TILE_ROWS 12

/* Four bytes of a row in every lane. */
static inline __m512i spread_quad(const uint8_t *p) {
  int32_t quad;
  memcpy(&quad, p, sizeof quad);
  return _mm512_set1_epi32(quad);
}

/* 12 x 32 keeps 24 sums, 2 weights and the activations in the 32 registers. */
static inline __attribute__((always_inline)) void tile(const size_t rows, size_t quads, const uint8_t *a, size_t lda,
                                                       const int8_t *b, int32_t *sums, size_t ld, bool accumulate) {
  __m512i total[TILE_ROWS][2];
#pragma GCC unroll 12
  for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (size_t v = 0; v < 2; v++)
      total[r][v] = accumulate ? _mm512_loadu_si512(sums + r * ld + 16 * v) : _mm512_setzero_si512();
  for (size_t i = 0; i < quads; i++, b += 4 * KIN_PANEL, a += 4) {
    __m512i b0 = _mm512_loadu_si512(b), b1 = _mm512_loadu_si512(b + 2 * KIN_PANEL);
#pragma GCC unroll 12
    for (size_t r = 0; r < rows; r++) {
      __m512i x = spread_quad(a + r * lda);
      total[r][0] = _mm512_dpbusd_epi32(total[r][0], x, b0);
      total[r][1] = _mm512_dpbusd_epi32(total[r][1], x, b1);
    }
  }
#pragma GCC unroll 12
  for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (size_t v = 0; v < 2; v++) _mm512_storeu_si512(sums + r * ld + 16 * v, total[r][v]);
}

#define ROWS(n)                                      \
  case n:                                            \
    tile(n, quads, a, lda, b, sums, ld, accumulate); \
    break;

static void gemm_tile(size_t rows, size_t quads, const uint8_t *a, size_t lda, const int8_t *b, int32_t *sums,
                      size_t ld, bool accumulate) {
  switch (rows) {
    ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) ROWS(7) ROWS(8) ROWS(9) ROWS(10) ROWS(11) ROWS(12) default : break;
  }
}

#define PEAK_CHAINS 12

static int32_t peak(size_t iterations) {
  volatile int32_t quad = 0x00010203;
  __m512i x = _mm512_set1_epi32(quad), total[PEAK_CHAINS];
  for (size_t c = 0; c < PEAK_CHAINS; c++) total[c] = _mm512_setzero_si512();
  for (size_t i = 0; i < iterations; i++)
#pragma GCC unroll 16
    for (size_t c = 0; c < PEAK_CHAINS; c++) total[c] = _mm512_dpbusd_epi32(total[c], x, x);
  for (size_t c = 1; c < PEAK_CHAINS; c++) total[0] = _mm512_add_epi32(total[0], total[c]);
  return _mm512_reduce_add_epi32(total[0]);
}

static bool usable(void) {
  return __builtin_cpu_supports("avx512vnni");
}

const kin_int8_kernels kin_int8_vnni = {
    .name = "avx512vnni",
    .isa = KIN_ISA_AVX512,
    .usable = usable,
    .tile_rows = TILE_ROWS,
    .gemm_tile = gemm_tile,
    .peak = peak,
    .peak_multiply_adds = PEAK_CHAINS * 64,
};
#endif
