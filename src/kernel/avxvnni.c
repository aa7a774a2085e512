/* 8-bit products for AVX-VNNI: AVX512-VNNI's instruction on AVX2's registers, as desktop CPUs have it. */
#include "kernel/kernel.h"

#if defined(__AVXVNNI__)
#include <cpuid.h>
#include <immintrin.h>
#include <string.h>

#define PHASES 1

static inline __m256i v8_weights(__m256i bytes, size_t phase) {
  (void)phase;
  return bytes;
}

static inline __m256i v8_multiply_add(__m256i total, __m256i x, __m256i w) {
  return _mm256_dpbusd_avx_epi32(total, x, w);
}

static bool usable(void) {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

#define SPREAD NULL
#define NAME "avxvnni"
#define TABLE kin_int8_avxvnni
#include "kernel/int8_8lanes.h"
#endif
