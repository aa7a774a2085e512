/* Products in bfloat16 for AVX512-BF16: two multiply-adds a lane and instruction. */
#include "kernel/kernel.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>
#include <string.h>

/* By integers, since the conversion instruction takes denormals for zero. */
static inline __m256i round16(__m512 x) {
  __m512i bits = _mm512_castps_si512(x);
  __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  bits = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16));
}

static void round_bf16(const float *x, size_t n, uint16_t *out) {
  size_t i = 0;
  for (; i + 16 <= n; i += 16) _mm256_storeu_si256((__m256i *)(void *)(out + i), round16(_mm512_loadu_ps(x + i)));
  if (i < n) {
    __mmask16 rest = _cvtu32_mask16((1u << (n - i)) - 1);
    _mm256_mask_storeu_epi16(out + i, rest, round16(_mm512_maskz_loadu_ps(rest, x + i)));
  }
}

static inline __m512bh load_pairs(const uint16_t *p) {
  return (__m512bh)_mm512_loadu_si512(p);
}

/* One pair of a row in every lane. */
static inline __m512bh spread_pair(const uint16_t *p) {
  int32_t pair;
  memcpy(&pair, p, sizeof pair);
  return (__m512bh)_mm512_set1_epi32(pair);
}

#define TILE_ROWS 12

static inline __attribute__((always_inline)) void tile(const size_t rows, size_t pairs, const uint16_t *a, size_t lda,
                                                       const uint16_t *b, float *c, size_t ldc, bool accumulate) {
  __m512 total[TILE_ROWS][2];
#pragma GCC unroll 12
  for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (size_t v = 0; v < 2; v++)
      total[r][v] = accumulate ? _mm512_loadu_ps(c + r * ldc + 16 * v) : _mm512_setzero_ps();
  for (size_t i = 0; i < pairs; i++, b += 2 * KIN_PANEL, a += 2) {
    __m512bh b0 = load_pairs(b), b1 = load_pairs(b + KIN_PANEL);
#pragma GCC unroll 12
    for (size_t r = 0; r < rows; r++) {
      __m512bh x = spread_pair(a + r * lda);
      total[r][0] = _mm512_dpbf16_ps(total[r][0], x, b0);
      total[r][1] = _mm512_dpbf16_ps(total[r][1], x, b1);
    }
  }
#pragma GCC unroll 12
  for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (size_t v = 0; v < 2; v++) _mm512_storeu_ps(c + r * ldc + 16 * v, total[r][v]);
}

static void gemm_tile(size_t rows, size_t pairs, const uint16_t *a, size_t lda, const uint16_t *b, float *c, size_t ldc,
                      bool accumulate) {
  switch (rows) {
  case 1:
    tile(1, pairs, a, lda, b, c, ldc, accumulate);
    break;
  case 2:
    tile(2, pairs, a, lda, b, c, ldc, accumulate);
    break;
  case 3:
    tile(3, pairs, a, lda, b, c, ldc, accumulate);
    break;
  case 4:
    tile(4, pairs, a, lda, b, c, ldc, accumulate);
    break;
  case 5:
    tile(5, pairs, a, lda, b, c, ldc, accumulate);
    break;
  case 6:
    tile(6, pairs, a, lda, b, c, ldc, accumulate);
    break;
  case 7:
    tile(7, pairs, a, lda, b, c, ldc, accumulate);
    break;
  case 8:
    tile(8, pairs, a, lda, b, c, ldc, accumulate);
    break;
  case 9:
    tile(9, pairs, a, lda, b, c, ldc, accumulate);
    break;
  case 10:
    tile(10, pairs, a, lda, b, c, ldc, accumulate);
    break;
  case 11:
    tile(11, pairs, a, lda, b, c, ldc, accumulate);
    break;
  default:
    tile(12, pairs, a, lda, b, c, ldc, accumulate);
    break;
  }
}

#define PEAK_CHAINS 12

static float peak(size_t iterations) {
  volatile int32_t pair = 0x00013f80; /* one, and next to nothing */
  __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
  __m512 total[PEAK_CHAINS];
  for (size_t c = 0; c < PEAK_CHAINS; c++) total[c] = _mm512_setzero_ps();
  for (size_t i = 0; i < iterations; i++)
#pragma GCC unroll 16
    for (size_t c = 0; c < PEAK_CHAINS; c++) total[c] = _mm512_dpbf16_ps(total[c], x, x);
  for (size_t c = 1; c < PEAK_CHAINS; c++) total[0] = _mm512_add_ps(total[0], total[c]);
  return _mm512_reduce_add_ps(total[0]);
}

const kin_bf16_kernels kin_bf16_avx512 = {
    .name = "avx512bf16",
    .tile_rows = TILE_ROWS,
    .round = round_bf16,
    .gemm_tile = gemm_tile,
    .peak = peak,
    .peak_multiply_adds = PEAK_CHAINS * 32,
};
#endif
