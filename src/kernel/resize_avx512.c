/* The resize for AVX-512 (F and BW). */
#include "kernel/resize.h"

#if defined(__AVX512F__) && defined(__AVX512BW__)
#include <immintrin.h>
#include <string.h>

typedef __m512i v_bytes;

static inline v_bytes v_load(const uint8_t *p) {
  return _mm512_loadu_si512(p);
}
static inline void v_store(uint8_t *p, v_bytes a) {
  _mm512_storeu_si512(p, a);
}
static inline v_bytes v_set32(int32_t a) {
  return _mm512_set1_epi32(a);
}
static inline v_bytes v_set_pair(const int16_t *p) {
  int32_t pair;
  memcpy(&pair, p, sizeof pair);
  return _mm512_set1_epi32(pair);
}
static inline v_bytes v_add32(v_bytes a, v_bytes b) {
  return _mm512_add_epi32(a, b);
}
static inline v_bytes v_shift_left(v_bytes a) {
  return _mm512_slli_epi32(a, KIN_TAP_LOW_BITS);
}
static inline v_bytes v_shift_right(v_bytes a) {
  return _mm512_srai_epi32(a, KIN_TAP_BITS);
}
static inline v_bytes v_multiply_pairs(v_bytes a, v_bytes b) {
  return _mm512_madd_epi16(a, b);
}
static inline v_bytes v_interleave_low(v_bytes a, v_bytes b) {
  return _mm512_unpacklo_epi8(a, b);
}
static inline v_bytes v_interleave_high(v_bytes a, v_bytes b) {
  return _mm512_unpackhi_epi8(a, b);
}
static inline v_bytes v_pack(v_bytes a, v_bytes b, v_bytes c, v_bytes d) {
  return _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
}

#define TAPS 8
#define OVER 8 /* 32 bytes for 8 pixels */

/* Eight pixels: each lane holds two, as 16-bit (R, R) (G, G) (B, B) (0, 0). A pair begins every 6 bytes, so that a lane
 * takes the words of 4 bytes from there on, and its bytes lie 0 or 2 further. */
static inline v_bytes load_pixels(const uint8_t *p) {
  const __m512i words = _mm512_setr_epi32(0, 1, 0, 0, 1, 2, 0, 0, 3, 4, 0, 0, 4, 5, 0, 0);
  const __m128i even = _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
  const __m128i odd = _mm_setr_epi8(2, -1, 5, -1, 3, -1, 6, -1, 4, -1, 7, -1, -1, -1, -1, -1);
  const __m512i bytes =
      _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_setr_m128i(even, odd)), _mm256_setr_m128i(even, odd), 1);
  const __m512i x = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(const void *)p));
  return _mm512_shuffle_epi8(_mm512_permutexvar_epi32(words, x), bytes);
}

static inline v_bytes load_weights(const int16_t *p) {
  const __m512i lanes = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  const __m512i x = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(const void *)p));
  return _mm512_permutexvar_epi32(lanes, x);
}

/* Each row's sum of lanes, rounded and clipped: red in the low byte. */
static inline __attribute__((always_inline)) void finish_pixels(const size_t n, const v_bytes *sums, uint32_t *rgb) {
  const v_bytes a = sums[0], b = sums[n > 1 ? 1 : 0], c = sums[n > 2 ? 2 : 0], d = sums[n > 3 ? 3 : 0];
  const v_bytes ab = v_add32(_mm512_shuffle_i32x4(a, b, 0x44), _mm512_shuffle_i32x4(a, b, 0xee));
  const v_bytes cd = v_add32(_mm512_shuffle_i32x4(c, d, 0x44), _mm512_shuffle_i32x4(c, d, 0xee));
  v_bytes x = v_add32(_mm512_shuffle_i32x4(ab, cd, 0x88), _mm512_shuffle_i32x4(ab, cd, 0xdd));
  x = v_shift_right(v_add32(x, v_set32(1 << (KIN_TAP_BITS - 1))));
  x = v_pack(x, x, x, x);
  rgb[0] = (uint32_t)_mm_cvtsi128_si32(_mm512_castsi512_si128(x));
  if (n > 1) rgb[1] = (uint32_t)_mm_cvtsi128_si32(_mm512_extracti32x4_epi32(x, 1));
  if (n > 2) rgb[2] = (uint32_t)_mm_cvtsi128_si32(_mm512_extracti32x4_epi32(x, 2));
  if (n > 3) rgb[3] = (uint32_t)_mm_cvtsi128_si32(_mm512_extracti32x4_epi32(x, 3));
}

#define NAME "avx512"
#define TABLE kin_resize_avx512
#include "kernel/resize_lanes.h"
#endif
