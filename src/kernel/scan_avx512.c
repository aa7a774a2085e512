/* Scan kernels for AVX-512 without its dot product instructions: int8 as 16-bit pairs, bfloat16 as float. */
#include "kernel/kernel.h"

#if defined(__AVX512BW__)
#include "kernel/scan_avx512.h"

#define PLANES 3

/* Bytes 0 and 2 of each unit, and bytes 1 and 3, as 16-bit numbers. */
typedef struct int8_pairs {
  __m512i even, odd;
} int8_rows, int8_plane;

static inline int8_rows load_int8_rows(const uint8_t *p) {
  __m512i x = _mm512_loadu_si512(p);
  return (int8_rows){_mm512_and_si512(x, _mm512_set1_epi32(0x00ff00ff)), _mm512_srli_epi16(x, 8)};
}
static inline int8_plane spread_int8(int32_t unit) {
  __m512i x = _mm512_set1_epi32(unit);
  return (int8_plane){_mm512_srai_epi16(_mm512_slli_epi16(x, 8), 8), _mm512_srai_epi16(x, 8)};
}
static inline ints add_int8(ints total, int8_rows rows, int8_plane plane) {
  total = _mm512_add_epi32(total, _mm512_madd_epi16(rows.even, plane.even));
  return _mm512_add_epi32(total, _mm512_madd_epi16(rows.odd, plane.odd));
}

/* The two numbers of each unit. */
typedef struct bf16_pairs {
  __m512 low, high;
} bf16_rows, bf16_plane;

static inline bf16_rows widen(__m512i x) {
  return (bf16_rows){_mm512_castsi512_ps(_mm512_slli_epi32(x, 16)),
                     _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32((int)0xffff0000)))};
}
static inline bf16_rows load_bf16_rows(const uint8_t *p) {
  return widen(_mm512_loadu_si512(p));
}
static inline bf16_plane spread_bf16(int32_t unit) {
  return widen(_mm512_set1_epi32(unit));
}
static inline floats add_bf16(floats total, bf16_rows rows, bf16_plane plane) {
  return _mm512_fmadd_ps(rows.high, plane.high, _mm512_fmadd_ps(rows.low, plane.low, total));
}

static inline ints add_bytes(ints total, ints magnitude, ints x) {
  return _mm512_add_epi32(total, _mm512_madd_epi16(_mm512_maddubs_epi16(magnitude, x), _mm512_set1_epi16(1)));
}

#define NAME "avx512"
#define TABLE kin_scan_avx512
#include "kernel/scan_tile.h"
#endif
