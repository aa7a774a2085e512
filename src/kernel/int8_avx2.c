/* 8-bit products for AVX2. Its own instruction for them, maddubs, adds two products into 16 bits and saturates;
 * bytes spread to 16 bits and multiplied by madd are exact. */
#include "kernel/kernel.h"

#if defined(__AVX2__)
#include <immintrin.h>
#include <string.h>

/* The even and the odd bytes of each lane. */
typedef struct v8_weights {
  __m256i even, odd;
} v8_weights;

static inline v8_weights v8_prepare(__m256i bytes) {
  return (v8_weights){_mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8), _mm256_srai_epi16(bytes, 8)};
}

static inline __m256i v8_multiply_add(__m256i total, __m256i x, v8_weights w) {
  __m256i even = _mm256_and_si256(x, _mm256_set1_epi16(0xff)), odd = _mm256_srli_epi16(x, 8);
  total = _mm256_add_epi32(total, _mm256_madd_epi16(even, w.even));
  return _mm256_add_epi32(total, _mm256_madd_epi16(odd, w.odd));
}

static bool usable(void) {
  return true;
}

#define NAME "avx2"
#define TABLE kin_int8_avx2
#include "kernel/int8_8lanes.h"
#endif
