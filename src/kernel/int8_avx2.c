/* 8-bit products for AVX2. Its own instruction for them, maddubs, adds two products into 16 bits and saturates;
 * bytes spread to 16 bits and multiplied by madd are exact: the even bytes of each quad, then the odd ones. */
#include "kernel/kernel.h"

#if defined(__AVX2__)
#include <immintrin.h>
#include <string.h>

#define PHASES 2

static inline __m256i v8_weights(__m256i bytes, size_t phase) {
  return _mm256_srai_epi16(phase ? bytes : _mm256_slli_epi16(bytes, 8), 8);
}

static inline __m256i v8_multiply_add(__m256i total, __m256i x, __m256i w) {
  return _mm256_add_epi32(total, _mm256_madd_epi16(x, w));
}

static void spread(const uint8_t *row, size_t quads, uint8_t *out) {
  for (size_t i = 0; i < quads; i += 8, row += 32, out += 64) {
    __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)row);
    __m256i even = _mm256_and_si256(bytes, _mm256_set1_epi16(0xff)), odd = _mm256_srli_epi16(bytes, 8);
    __m256i low = _mm256_unpacklo_epi32(even, odd), high = _mm256_unpackhi_epi32(even, odd);
    _mm256_storeu_si256((__m256i *)(void *)out, _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_storeu_si256((__m256i *)(void *)(out + 32), _mm256_permute2x128_si256(low, high, 0x31));
  }
}

static bool usable(void) {
  return true;
}

#define SPREAD spread
#define NAME "avx2"
#define TABLE kin_int8_avx2
#include "kernel/int8_8lanes.h"
#endif
