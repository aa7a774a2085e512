/* Scan kernels for AVX2 with FMA: int8 as 16-bit pairs, bfloat16 as float. */
#include "kernel/kernel.h"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

#define LANES 8
#define ROW_VECTORS 2
#define PLANES 3

typedef __m256i ints;
typedef __m256 floats;

static inline ints spread_int(int32_t x) {
  return _mm256_set1_epi32(x);
}
static inline void store_int(float *p, ints x) {
  _mm256_storeu_ps(p, _mm256_cvtepi32_ps(x));
}
static inline floats zero_float(void) {
  return _mm256_setzero_ps();
}
static inline void store_float(float *p, floats x) {
  _mm256_storeu_ps(p, x);
}
static inline __m256i load_units(const uint8_t *p) {
  return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* Bytes 0 and 2 of each unit, and bytes 1 and 3, as 16-bit numbers. */
typedef struct int8_pairs {
  __m256i even, odd;
} int8_rows, int8_plane;

static inline int8_rows load_int8_rows(const uint8_t *p) {
  __m256i x = load_units(p);
  return (int8_rows){_mm256_and_si256(x, _mm256_set1_epi32(0x00ff00ff)), _mm256_srli_epi16(x, 8)};
}
static inline int8_plane spread_int8(int32_t unit) {
  __m256i x = _mm256_set1_epi32(unit);
  return (int8_plane){_mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8), _mm256_srai_epi16(x, 8)};
}
static inline ints add_int8(ints total, int8_rows rows, int8_plane plane) {
  total = _mm256_add_epi32(total, _mm256_madd_epi16(rows.even, plane.even));
  return _mm256_add_epi32(total, _mm256_madd_epi16(rows.odd, plane.odd));
}

/* The two numbers of each unit. */
typedef struct bf16_pairs {
  __m256 low, high;
} bf16_rows, bf16_plane;

static inline bf16_rows widen(__m256i x) {
  return (bf16_rows){_mm256_castsi256_ps(_mm256_slli_epi32(x, 16)),
                     _mm256_castsi256_ps(_mm256_and_si256(x, _mm256_set1_epi32((int)0xffff0000)))};
}
static inline bf16_rows load_bf16_rows(const uint8_t *p) {
  return widen(load_units(p));
}
static inline bf16_plane spread_bf16(int32_t unit) {
  return widen(_mm256_set1_epi32(unit));
}
static inline floats add_bf16(floats total, bf16_rows rows, bf16_plane plane) {
  return _mm256_fmadd_ps(rows.high, plane.high, _mm256_fmadd_ps(rows.low, plane.low, total));
}

static inline ints load_bytes(const int8_t *p) {
  return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
static inline ints magnitudes(ints x) {
  return _mm256_abs_epi8(x);
}
static inline ints signed_like(ints x, ints y) {
  return _mm256_sign_epi8(x, y);
}
static inline ints add_bytes(ints total, ints magnitude, ints x) {
  return _mm256_add_epi32(total, _mm256_madd_epi16(_mm256_maddubs_epi16(magnitude, x), _mm256_set1_epi16(1)));
}
static inline int32_t sum_of(ints x) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

#define NAME "avx2"
#define TABLE kin_scan_avx2
#include "kernel/scan_tile.h"
#endif
