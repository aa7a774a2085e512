/* Kernels for AVX2 with FMA: 16 lanes are two registers. */
#include "kernel/kernel.h"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#include <string.h>

typedef struct v16 {
  __m256 lo, hi;
} v16;

#define BOTH(operation) ((v16){_mm256_##operation(a.lo, b.lo), _mm256_##operation(a.hi, b.hi)})

static inline v16 v_load(const float *p) {
  return (v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
static inline void v_store(float *p, v16 a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
/* All ones in the lanes below n. */
static inline __m256i first_lanes(size_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline v16 v_load_some(const float *p, size_t n) {
  if (n >= 16) return v_load(p);
  if (n > 8) return (v16){_mm256_loadu_ps(p), _mm256_maskload_ps(p + 8, first_lanes(n - 8))};
  return (v16){_mm256_maskload_ps(p, first_lanes(n)), _mm256_setzero_ps()};
}
static inline void v_store_some(float *p, v16 a, size_t n) {
  if (n >= 16) {
    v_store(p, a);
    return;
  }
  _mm256_maskstore_ps(p, first_lanes(n), a.lo);
  if (n > 8) _mm256_maskstore_ps(p + 8, first_lanes(n - 8), a.hi);
}
static inline v16 v_set(float a) {
  return (v16){_mm256_set1_ps(a), _mm256_set1_ps(a)};
}
static inline v16 v_add(v16 a, v16 b) {
  return BOTH(add_ps);
}
static inline v16 v_sub(v16 a, v16 b) {
  return BOTH(sub_ps);
}
static inline v16 v_mul(v16 a, v16 b) {
  return BOTH(mul_ps);
}
static inline v16 v_div(v16 a, v16 b) {
  return BOTH(div_ps);
}
static inline v16 v_max(v16 a, v16 b) {
  return BOTH(max_ps);
}
static inline v16 v_min(v16 a, v16 b) {
  return BOTH(min_ps);
}
static inline v16 v_fma(v16 a, v16 b, v16 c) {
  return (v16){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
static inline v16 v_and_not(v16 a, v16 b) {
  return BOTH(andnot_ps);
}
static inline v16 v_abs(v16 a) {
  return v_and_not(v_set(-0.0f), a);
}
static inline __m256 scale_exponent8(__m256 a, __m256 shifted) {
  __m256i n = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), n));
}
static inline uint32_t v_at_least(v16 a, v16 b) {
  return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a.lo, b.lo, _CMP_GE_OQ)) |
         (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a.hi, b.hi, _CMP_GE_OQ)) << 8;
}
static inline v16 v_scale_exponent(v16 a, v16 shifted) {
  return (v16){scale_exponent8(a.lo, shifted.lo), scale_exponent8(a.hi, shifted.hi)};
}
static inline __m256 split_exponent8(__m256 x, __m256 *mantissa) {
  const __m256i least = _mm256_set1_epi32(0x3f3504f3);
  __m256i bits = _mm256_sub_epi32(_mm256_castps_si256(x), least);
  __m256i low = _mm256_add_epi32(_mm256_and_si256(bits, _mm256_set1_epi32(0x7fffff)), least);
  *mantissa = _mm256_castsi256_ps(low);
  return _mm256_cvtepi32_ps(_mm256_srai_epi32(bits, 23));
}
static inline v16 v_split_exponent(v16 x, v16 *mantissa) {
  return (v16){split_exponent8(x.lo, &mantissa->lo), split_exponent8(x.hi, &mantissa->hi)};
}
static inline __m256 centred_sums8(const int32_t *sums, __m256i zero, const int32_t *weight_sums) {
  __m256i correction = _mm256_mullo_epi32(zero, _mm256_loadu_si256((const __m256i *)(const void *)weight_sums));
  return _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_loadu_si256((const __m256i *)(const void *)sums), correction));
}
static inline v16 v_centred_sums(const int32_t *sums, int32_t zero, const int32_t *weight_sums) {
  __m256i z = _mm256_set1_epi32(zero);
  return (v16){centred_sums8(sums, z, weight_sums), centred_sums8(sums + 8, z, weight_sums + 8)};
}
static inline void v_store_low_bytes(uint8_t *p, v16 a, size_t n) {
  const __m256i low = _mm256_set1_epi32(0xff);
  __m256i words = _mm256_packus_epi32(_mm256_and_si256(_mm256_castps_si256(a.lo), low),
                                      _mm256_and_si256(_mm256_castps_si256(a.hi), low));
  words = _mm256_permute4x64_epi64(words, 0xd8);
  __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  if (n >= 16) {
    _mm_storeu_si128((__m128i *)(void *)p, bytes);
    return;
  }
  uint8_t all[16];
  _mm_storeu_si128((__m128i *)(void *)all, bytes);
  memcpy(p, all, n);
}

#define PEAK_CHAINS 5
#define DOT_QUERIES 1
#define TILE_ROWS 6
#define PANEL_STAYS true
#define BLOCK_COLUMNS 128
#define BLOCK_K 256
/* Products between two lines that are brought in ahead. */
#define LEAST_RUN 4

/* Half a panel: 6 x 16 keeps 12 sums, 2 weights and 1 activation in the 16 registers. */
static inline __attribute__((always_inline)) void half_tile(const size_t rows, size_t k, const float *a, size_t lda,
                                                            const float *b, size_t ldb, float *c, size_t ldc,
                                                            bool accumulate, kin_ahead ahead) {
  __m256 total[TILE_ROWS][2];
#pragma GCC unroll 6
  for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (size_t v = 0; v < 2; v++)
      total[r][v] = accumulate ? _mm256_loadu_ps(c + r * ldc + 8 * v) : _mm256_setzero_ps();
  const size_t run = ahead.lines == 0 ? k : k / ahead.lines < LEAST_RUN ? LEAST_RUN : k / ahead.lines;
  const size_t each = (ahead.lines * run + k - 1) / k;
  const char *line = ahead.from;
  for (size_t i = 0, end; i < k;) {
    for (size_t l = 0; l < each; l++, line += 64) _mm_prefetch(line, _MM_HINT_T1);
    for (end = i + run < k ? i + run : k; i < end; i++) {
      __m256 b0 = _mm256_loadu_ps(b + i * ldb), b1 = _mm256_loadu_ps(b + i * ldb + 8);
#pragma GCC unroll 6
      for (size_t r = 0; r < rows; r++) {
        __m256 x = _mm256_broadcast_ss(a + r * lda + i);
        total[r][0] = _mm256_fmadd_ps(x, b0, total[r][0]);
        total[r][1] = _mm256_fmadd_ps(x, b1, total[r][1]);
      }
    }
  }
#pragma GCC unroll 6
  for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (size_t v = 0; v < 2; v++) _mm256_storeu_ps(c + r * ldc + 8 * v, total[r][v]);
}

#define ROWS(n)                                                             \
  case n:                                                                   \
    half_tile(n, k, from, lda, b, ldb, to, ldc, accumulate, part_of_ahead); \
    break;

static void gemm_tile(size_t rows, size_t k, const float *a, size_t lda, const float *b, size_t ldb, float *c,
                      size_t ldc, bool accumulate, kin_ahead ahead) {
  /* Strips of nearly equal height: 13 rows are 4 + 4 + 5, not 6 + 6 and a slow 1. */
  const size_t strips = (rows + TILE_ROWS - 1) / TILE_ROWS;
  size_t part = 0;
  for (size_t half = 0; half < KIN_PANEL; half += 16, b += 16, c += 16)
    for (size_t i = 0; i < strips; i++, part++) {
      const size_t begin = rows * i / strips, line = ahead.lines * part / (2 * strips);
      const float *from = a + begin * lda;
      float *to = c + begin * ldc;
      const kin_ahead part_of_ahead = {(const char *)ahead.from + 64 * line,
                                       ahead.lines * (part + 1) / (2 * strips) - line};
      switch (rows * (i + 1) / strips - begin) { ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) default : break; }
    }
}

static inline void transpose8(const float *a, size_t lda, float *b, size_t ldb) {
  __m256 r[8], t[8];
  for (size_t i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(a + i * lda);
  for (size_t i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (size_t i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (size_t i = 0; i < 4; i++) {
    _mm256_storeu_ps(b + i * ldb, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    _mm256_storeu_ps(b + (i + 4) * ldb, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}

static void transpose_block(const float *a, size_t lda, size_t rows, size_t columns, float *b, size_t ldb) {
  if (rows == 16 && columns == 16) {
    for (size_t i = 0; i < 16; i += 8)
      for (size_t j = 0; j < 16; j += 8) transpose8(a + i * lda + j, lda, b + j * ldb + i, ldb);
    return;
  }
  for (size_t j = 0; j < columns; j++)
    for (size_t i = 0; i < 16; i++) b[j * ldb + i] = i < rows ? a[i * lda + j] : 0.0f;
}

#define NAME "avx2"
#define ISA KIN_ISA_AVX2
#define TABLE kin_kernels_avx2
#include "kernel/lanes.h"
#endif
