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

static inline __mmask16 first16(size_t n) {
  return n >= 16 ? _cvtu32_mask16(0xffff) : _cvtu32_mask16((1u << n) - 1);
}

static void round_bf16(const float *x, size_t n, uint16_t *out) {
  size_t i = 0;
  for (; i + 16 <= n; i += 16) _mm256_storeu_si256((__m256i *)(void *)(out + i), round16(_mm512_loadu_ps(x + i)));
  if (i < n) _mm256_mask_storeu_epi16(out + i, first16(n - i), round16(_mm512_maskz_loadu_ps(first16(n - i), x + i)));
}

/* What becomes a bfloat16 needs no more than its 8 bits: exp and the activations are short polynomials here, off by at
 * most 1e-4 of the result, or of one. */
static inline __m512 short_exp2(__m512 x) {
  x = _mm512_max_ps(x, _mm512_set1_ps(-150.0f));
  __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), r = _mm512_sub_ps(x, n);
  __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(0.05517153f), r, _mm512_set1_ps(0.24261111f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.69326103f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.99992806f));
  return _mm512_scalef_ps(p, n);
}

/* x / (1 + 2^y) */
static inline __m512 short_gate(__m512 x, __m512 y) {
  return _mm512_mul_ps(x, _mm512_rcp14_ps(_mm512_add_ps(_mm512_set1_ps(1.0f), short_exp2(y))));
}

static inline __m512 short_activate(__m512 x, kin_activation act) {
  switch (act) {
  case KIN_ACT_GELU: {
    /* The normal distribution as a logistic curve of an odd polynomial, within 3e-5 / x. */
    __m512 t = _mm512_min_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(30.0f));
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(1.01432159e-3f), t, _mm512_set1_ps(-0.10677612f));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-2.30112093f));
    return short_gate(x, _mm512_mul_ps(p, x));
  }
  case KIN_ACT_QUICK_GELU:
    return short_gate(x, _mm512_mul_ps(x, _mm512_set1_ps(-1.702f * 1.44269504f)));
  case KIN_ACT_RELU:
    return _mm512_max_ps(x, _mm512_setzero_ps());
  case KIN_ACT_NONE:
    break;
  }
  return x;
}

static inline __attribute__((always_inline)) void finish_row(const float *sums, const float *bias,
                                                             const kin_activation act, size_t n, uint16_t *out) {
  for (size_t i = 0; i < n; i += 16) {
    __mmask16 live = first16(n - i);
    __m512 x = _mm512_maskz_loadu_ps(live, sums + i);
    if (bias) x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(live, bias + i));
    _mm256_mask_storeu_epi16(out + i, live, round16(short_activate(x, act)));
  }
}

static void finish_bf16(const float *sums, const float *bias, kin_activation act, size_t n, uint16_t *out) {
  switch (act) {
  case KIN_ACT_GELU:
    finish_row(sums, bias, KIN_ACT_GELU, n, out);
    break;
  case KIN_ACT_QUICK_GELU:
    finish_row(sums, bias, KIN_ACT_QUICK_GELU, n, out);
    break;
  case KIN_ACT_RELU:
    finish_row(sums, bias, KIN_ACT_RELU, n, out);
    break;
  case KIN_ACT_NONE:
    finish_row(sums, bias, KIN_ACT_NONE, n, out);
    break;
  }
}

static void softmax_bf16(float *x, float scale, size_t n, uint16_t *out) {
  const __m512 least = _mm512_set1_ps(-3.0e38f);
  __m512 top = least, total = _mm512_setzero_ps();
  for (size_t i = 0; i < n; i += 16) top = _mm512_max_ps(top, _mm512_mask_loadu_ps(least, first16(n - i), x + i));
  __m512 max = _mm512_set1_ps(_mm512_reduce_max_ps(top)), factor = _mm512_set1_ps(scale * 1.44269504f);
  for (size_t i = 0; i < n; i += 16) {
    __mmask16 live = first16(n - i);
    __m512 e = short_exp2(_mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(live, x + i), max), factor));
    _mm512_mask_storeu_ps(x + i, live, e);
    total = _mm512_mask_add_ps(total, live, total, e);
  }
  __m512 inverse = _mm512_set1_ps(1.0f / _mm512_reduce_add_ps(total));
  for (size_t i = 0; i < n; i += 16) {
    __mmask16 live = first16(n - i);
    _mm256_mask_storeu_epi16(out + i, live, round16(_mm512_mul_ps(_mm512_maskz_loadu_ps(live, x + i), inverse)));
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
    .finish = finish_bf16,
    .softmax = softmax_bf16,
    .gemm_tile = gemm_tile,
    .peak = peak,
    .peak_multiply_adds = PEAK_CHAINS * 32,
};
#endif
