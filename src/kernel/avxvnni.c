/* 8-bit products for AVX-VNNI: AVX512-VNNI's instruction on AVX2's registers, as desktop CPUs have it. */
#include "kernel/kernel.h"

#if defined(__AVXVNNI__)
#include <cpuid.h>
#include <immintrin.h>
#include <string.h>

typedef __m256i v8_weights;

static inline v8_weights v8_prepare(__m256i bytes) {
  return bytes;
}

static inline __m256i v8_multiply_add(__m256i total, __m256i x, v8_weights w) {
  return _mm256_dpbusd_avx_epi32(total, x, w);
}

static bool usable(void) {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

#define NAME "avxvnni"
#define TABLE kin_int8_avxvnni
#include "kernel/int8_8lanes.h"
#endif
