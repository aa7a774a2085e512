/* Kernels for AVX-512 (F, BW, DQ, VL): 16 lanes are one register. */
#include "kernel/kernel.h"

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#include <immintrin.h>

typedef __m512 v16;

static inline v16 v_load(const float *p) {
  return _mm512_loadu_ps(p);
}
static inline void v_store(float *p, v16 a) {
  _mm512_storeu_ps(p, a);
}
static inline __mmask16 first_lanes(size_t n) {
  return n >= 16 ? _cvtu32_mask16(0xffff) : _cvtu32_mask16((1u << n) - 1);
}
static inline v16 v_load_some(const float *p, size_t n) {
  return _mm512_maskz_loadu_ps(first_lanes(n), p);
}
static inline void v_store_some(float *p, v16 a, size_t n) {
  _mm512_mask_storeu_ps(p, first_lanes(n), a);
}
static inline v16 v_set(float a) {
  return _mm512_set1_ps(a);
}
static inline v16 v_add(v16 a, v16 b) {
  return _mm512_add_ps(a, b);
}
static inline v16 v_sub(v16 a, v16 b) {
  return _mm512_sub_ps(a, b);
}
static inline v16 v_mul(v16 a, v16 b) {
  return _mm512_mul_ps(a, b);
}
static inline v16 v_div(v16 a, v16 b) {
  return _mm512_div_ps(a, b);
}
static inline v16 v_max(v16 a, v16 b) {
  return _mm512_max_ps(a, b);
}
static inline v16 v_min(v16 a, v16 b) {
  return _mm512_min_ps(a, b);
}
static inline v16 v_fma(v16 a, v16 b, v16 c) {
  return _mm512_fmadd_ps(a, b, c);
}
static inline v16 v_abs(v16 a) {
  return _mm512_abs_ps(a);
}
static inline uint32_t v_at_least(v16 a, v16 b) {
  return _cvtmask16_u32(_mm512_cmp_ps_mask(a, b, _CMP_GE_OQ));
}
static inline v16 v_scale_exponent(v16 a, v16 shifted) {
  __m512i n = _mm512_slli_epi32(_mm512_castps_si512(shifted), 23);
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), n));
}
static inline v16 v_split_exponent(v16 x, v16 *mantissa) {
  const __m512i least = _mm512_set1_epi32(0x3f3504f3);
  __m512i bits = _mm512_sub_epi32(_mm512_castps_si512(x), least);
  __m512i low = _mm512_add_epi32(_mm512_and_si512(bits, _mm512_set1_epi32(0x7fffff)), least);
  *mantissa = _mm512_castsi512_ps(low);
  return _mm512_cvtepi32_ps(_mm512_srai_epi32(bits, 23));
}
static inline v16 v_centred_sums(const int32_t *sums, int32_t zero, const int32_t *weight_sums) {
  __m512i correction = _mm512_mullo_epi32(_mm512_set1_epi32(zero), _mm512_loadu_si512(weight_sums));
  return _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_loadu_si512(sums), correction));
}
static inline void v_store_low_bytes(uint8_t *p, v16 a, size_t n) {
  _mm512_mask_cvtepi32_storeu_epi8(p, first_lanes(n), _mm512_castps_si512(a));
}

#define PEAK_CHAINS 12
#define DOT_QUERIES 4
#define TILE_ROWS 12
#define PANEL_STAYS false
#define BLOCK_COLUMNS 256
#define BLOCK_K 384

/* 12 x 32 keeps 24 sums, 2 weights and the activations in the 32 registers. */
static inline __attribute__((always_inline)) void tile(const size_t rows, size_t k, const float *a, size_t lda,
                                                       const float *b, size_t ldb, float *c, size_t ldc,
                                                       bool accumulate) {
  __m512 total[TILE_ROWS][2];
#pragma GCC unroll 12
  for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (size_t v = 0; v < 2; v++)
      total[r][v] = accumulate ? _mm512_loadu_ps(c + r * ldc + 16 * v) : _mm512_setzero_ps();
  for (size_t i = 0; i < k; i++, b += ldb, a++) {
    __m512 b0 = _mm512_loadu_ps(b), b1 = _mm512_loadu_ps(b + 16);
#pragma GCC unroll 12
    for (size_t r = 0; r < rows; r++) {
      __m512 x = _mm512_set1_ps(a[r * lda]);
      total[r][0] = _mm512_fmadd_ps(x, b0, total[r][0]);
      total[r][1] = _mm512_fmadd_ps(x, b1, total[r][1]);
    }
  }
#pragma GCC unroll 12
  for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (size_t v = 0; v < 2; v++) _mm512_storeu_ps(c + r * ldc + 16 * v, total[r][v]);
}

static void gemm_tile(size_t rows, size_t k, const float *a, size_t lda, const float *b, size_t ldb, float *c,
                      size_t ldc, bool accumulate, kin_ahead ahead) {
  (void)ahead;
  switch (rows) {
  case 1:
    tile(1, k, a, lda, b, ldb, c, ldc, accumulate);
    break;
  case 2:
    tile(2, k, a, lda, b, ldb, c, ldc, accumulate);
    break;
  case 3:
    tile(3, k, a, lda, b, ldb, c, ldc, accumulate);
    break;
  case 4:
    tile(4, k, a, lda, b, ldb, c, ldc, accumulate);
    break;
  case 5:
    tile(5, k, a, lda, b, ldb, c, ldc, accumulate);
    break;
  case 6:
    tile(6, k, a, lda, b, ldb, c, ldc, accumulate);
    break;
  case 7:
    tile(7, k, a, lda, b, ldb, c, ldc, accumulate);
    break;
  case 8:
    tile(8, k, a, lda, b, ldb, c, ldc, accumulate);
    break;
  case 9:
    tile(9, k, a, lda, b, ldb, c, ldc, accumulate);
    break;
  case 10:
    tile(10, k, a, lda, b, ldb, c, ldc, accumulate);
    break;
  case 11:
    tile(11, k, a, lda, b, ldb, c, ldc, accumulate);
    break;
  default:
    tile(12, k, a, lda, b, ldb, c, ldc, accumulate);
    break;
  }
}

/* Rows become columns by pairs, by fours within each 128 bits, then by those. */
static void transpose_block(const float *a, size_t lda, size_t rows, size_t columns, float *b, size_t ldb) {
  __m512 x[16], y[16];
#pragma GCC unroll 16
  for (size_t i = 0; i < 16; i++)
    x[i] = i < rows ? _mm512_maskz_loadu_ps(first_lanes(columns), a + i * lda) : _mm512_setzero_ps();
#pragma GCC unroll 8
  for (size_t i = 0; i < 16; i += 2) {
    y[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
  }
  /* x[4 g + c]: in its 128 bits number l, rows 4 g .. 4 g + 3 of column 4 l + c. */
#pragma GCC unroll 4
  for (size_t g = 0; g < 16; g += 4) {
    __m512d low0 = _mm512_castps_pd(y[g]), low1 = _mm512_castps_pd(y[g + 2]);
    __m512d high0 = _mm512_castps_pd(y[g + 1]), high1 = _mm512_castps_pd(y[g + 3]);
    x[g] = _mm512_castpd_ps(_mm512_unpacklo_pd(low0, low1));
    x[g + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low0, low1));
    x[g + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high0, high1));
    x[g + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high0, high1));
  }
#pragma GCC unroll 4
  for (size_t c = 0; c < 4; c++) {
    __m512 even01 = _mm512_shuffle_f32x4(x[c], x[4 + c], 0x88), odd01 = _mm512_shuffle_f32x4(x[c], x[4 + c], 0xdd);
    __m512 even23 = _mm512_shuffle_f32x4(x[8 + c], x[12 + c], 0x88);
    __m512 odd23 = _mm512_shuffle_f32x4(x[8 + c], x[12 + c], 0xdd);
    y[c] = _mm512_shuffle_f32x4(even01, even23, 0x88);
    y[8 + c] = _mm512_shuffle_f32x4(even01, even23, 0xdd);
    y[4 + c] = _mm512_shuffle_f32x4(odd01, odd23, 0x88);
    y[12 + c] = _mm512_shuffle_f32x4(odd01, odd23, 0xdd);
  }
#pragma GCC unroll 16
  for (size_t j = 0; j < 16; j++)
    if (j < columns) _mm512_storeu_ps(b + j * ldb, y[j]);
}

#define NAME "avx512"
#define ISA KIN_ISA_AVX512
#define TABLE kin_kernels_avx512
#include "kernel/lanes.h"
#endif
