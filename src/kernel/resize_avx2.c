/* The resize for AVX2. */
#include "kernel/resize.h"

#if defined(__AVX2__)
#include <immintrin.h>
#include <string.h>

typedef __m256i v_bytes;

static inline v_bytes v_load(const uint8_t *p) {
  return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
static inline void v_store(uint8_t *p, v_bytes a) {
  _mm256_storeu_si256((__m256i *)(void *)p, a);
}
static inline v_bytes v_set32(int32_t a) {
  return _mm256_set1_epi32(a);
}
static inline v_bytes v_set_pair(const int16_t *p) {
  int32_t pair;
  memcpy(&pair, p, sizeof pair);
  return _mm256_set1_epi32(pair);
}
static inline v_bytes v_add32(v_bytes a, v_bytes b) {
  return _mm256_add_epi32(a, b);
}
static inline v_bytes v_shift_left(v_bytes a) {
  return _mm256_slli_epi32(a, KIN_TAP_LOW_BITS);
}
static inline v_bytes v_shift_right(v_bytes a) {
  return _mm256_srai_epi32(a, KIN_TAP_BITS);
}
static inline v_bytes v_multiply_pairs(v_bytes a, v_bytes b) {
  return _mm256_madd_epi16(a, b);
}
static inline v_bytes v_interleave_low(v_bytes a, v_bytes b) {
  return _mm256_unpacklo_epi8(a, b);
}
static inline v_bytes v_interleave_high(v_bytes a, v_bytes b) {
  return _mm256_unpackhi_epi8(a, b);
}
static inline v_bytes v_pack(v_bytes a, v_bytes b, v_bytes c, v_bytes d) {
  return _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
}

#define TAPS 4
#define OVER 4 /* 16 bytes for 4 pixels */

/* Four pixels: the lanes hold the first and the last two, as 16-bit (R, R) (G, G) (B, B) (0, 0). */
static inline v_bytes load_pixels(const uint8_t *p) {
  const __m256i order = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, /* */
                                         6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)p)), order);
}

static inline v_bytes load_weights(const int16_t *p) {
  const __m256i lanes = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
  return _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(_mm_loadl_epi64((const __m128i *)(const void *)p)), lanes);
}

/* Each row's sum of lanes, rounded and clipped: red in the low byte. */
static inline __attribute__((always_inline)) void finish_pixels(const size_t n, const v_bytes *sums, uint32_t *rgb) {
  const v_bytes half = v_set32(1 << (KIN_TAP_BITS - 1));
  for (size_t r = 0; r < n; r += 2) {
    const v_bytes a = sums[r], b = sums[r + 1 < n ? r + 1 : r];
    v_bytes x = v_add32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
    x = v_shift_right(v_add32(x, half));
    x = v_pack(x, x, x, x);
    rgb[r] = (uint32_t)_mm256_extract_epi32(x, 0);
    if (r + 1 < n) rgb[r + 1] = (uint32_t)_mm256_extract_epi32(x, 4);
  }
}

#define NAME "avx2"
#define TABLE kin_resize_avx2
#include "kernel/resize_lanes.h"
#endif
