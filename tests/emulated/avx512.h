/* Included before everything else into the kernels for AVX-512 (with BF16 and VNNI) and AVX-VNNI, so that a CPU with
 * AVX2 runs them: SIMDe has most of the instructions, the rest are here, after Intel's intrinsics guide. */
#ifndef KIN_EMULATED_AVX512_H
#define KIN_EMULATED_AVX512_H

#include <cpuid.h>
#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

/* This CPU has what is emulated, if it has what the emulation is compiled for. */
#define __builtin_cpu_supports(name) (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#define __get_cpuid_count(leaf, subleaf, a, b, c, d) (*(a) = *(b) = *(c) = *(d) = ~0u, 1)

#define __AVX512F__ 1
#define __AVX512BW__ 1
#define __AVX512DQ__ 1
#define __AVX512VL__ 1
#define __AVX512VNNI__ 1
#define __AVX512BF16__ 1
#define __AVXVNNI__ 1

typedef union emulated_lanes {
  __m512 ps;
  __m512i i;
  __m256i half[2];
  float f32[16];
  int32_t i32[16];
  int16_t i16[32];
  uint8_t u8[64];
  int8_t i8[64];
} emulated_lanes;

#define EMULATED static inline __attribute__((unused))
#define EACH_LANE for (size_t lane = 0; lane < 16; lane++)

#define _cvtu32_mask16(bits) ((__mmask16)(bits))
#define _cvtmask16_u32(mask) ((uint32_t)(mask))

EMULATED __m512 emulated_maskz_loadu_ps(__mmask16 mask, const void *from) {
  emulated_lanes x = {0};
  EACH_LANE if (mask >> lane & 1) memcpy(&x.f32[lane], (const float *)from + lane, sizeof(float));
  return x.ps;
}
#define _mm512_maskz_loadu_ps emulated_maskz_loadu_ps

EMULATED __m512 emulated_mask_loadu_ps(__m512 other, __mmask16 mask, const void *from) {
  emulated_lanes x = {.ps = other};
  EACH_LANE if (mask >> lane & 1) memcpy(&x.f32[lane], (const float *)from + lane, sizeof(float));
  return x.ps;
}
#define _mm512_mask_loadu_ps emulated_mask_loadu_ps

EMULATED void emulated_mask_storeu_ps(void *to, __mmask16 mask, __m512 a) {
  emulated_lanes x = {.ps = a};
  EACH_LANE if (mask >> lane & 1) memcpy((float *)to + lane, &x.f32[lane], sizeof(float));
}
#define _mm512_mask_storeu_ps emulated_mask_storeu_ps

EMULATED void emulated_mask256_storeu_epi16(void *to, __mmask16 mask, __m256i a) {
  emulated_lanes x = {.half = {a}};
  EACH_LANE if (mask >> lane & 1) memcpy((int16_t *)to + lane, &x.i16[lane], sizeof(int16_t));
}
#define _mm256_mask_storeu_epi16 emulated_mask256_storeu_epi16

EMULATED void emulated_mask_cvtepi32_storeu_epi8(void *to, __mmask16 mask, __m512i a) {
  emulated_lanes x = {.i = a};
  EACH_LANE if (mask >> lane & 1) ((int8_t *)to)[lane] = (int8_t)x.i32[lane];
}
#define _mm512_mask_cvtepi32_storeu_epi8 emulated_mask_cvtepi32_storeu_epi8

EMULATED __m256i emulated_cvtepi32_epi16(__m512i a) {
  emulated_lanes x = {.i = a}, low = {0};
  EACH_LANE low.i16[lane] = (int16_t)x.i32[lane];
  return low.half[0];
}
#define _mm512_cvtepi32_epi16 emulated_cvtepi32_epi16

EMULATED __m512 emulated_cvtepi32_ps(__m512i a) {
  emulated_lanes x = {.i = a};
  EACH_LANE x.f32[lane] = (float)x.i32[lane];
  return x.ps;
}
#define _mm512_cvtepi32_ps emulated_cvtepi32_ps

/* The instruction's error is below 2^-14. */
EMULATED __m512 emulated_rcp14_ps(__m512 a) {
  emulated_lanes x = {.ps = a};
  EACH_LANE x.f32[lane] = 1.0f / x.f32[lane];
  return x.ps;
}
#define _mm512_rcp14_ps emulated_rcp14_ps

EMULATED int32_t emulated_reduce_add_epi32(__m512i a) {
  emulated_lanes x = {.i = a};
  uint32_t sum = 0;
  EACH_LANE sum += (uint32_t)x.i32[lane];
  return (int32_t)sum;
}
#define _mm512_reduce_add_epi32 emulated_reduce_add_epi32

/* Halves are added to halves: the order that compilers use. */
EMULATED float emulated_reduce_add_ps(__m512 a) {
  emulated_lanes x = {.ps = a};
  for (size_t n = 8; n > 0; n /= 2)
    for (size_t lane = 0; lane < n; lane++) x.f32[lane] += x.f32[lane + n];
  return x.f32[0];
}
#define _mm512_reduce_add_ps emulated_reduce_add_ps

EMULATED float emulated_reduce_max_ps(__m512 a) {
  emulated_lanes x = {.ps = a};
  EACH_LANE x.f32[0] = fmaxf(x.f32[0], x.f32[lane]);
  return x.f32[0];
}
#define _mm512_reduce_max_ps emulated_reduce_max_ps

#undef _mm512_srai_epi32
EMULATED __m512i emulated_srai_epi32(__m512i a, unsigned bits) {
  emulated_lanes x = {.i = a};
  EACH_LANE x.i32[lane] >>= bits;
  return x.i;
}
#define _mm512_srai_epi32 emulated_srai_epi32

/* Lanes of 128 bits: two of a, then two of b. */
#undef _mm512_shuffle_f32x4
EMULATED __m512 emulated_shuffle_f32x4(__m512 a, __m512 b, unsigned choice) {
  emulated_lanes x = {.ps = a}, y = {.ps = b}, out;
  for (size_t part = 0; part < 4; part++)
    memcpy(&out.f32[4 * part], &(part < 2 ? x : y).f32[4 * (choice >> 2 * part & 3)], 4 * sizeof(float));
  return out.ps;
}
#define _mm512_shuffle_f32x4 emulated_shuffle_f32x4

/* SIMDe's own takes _mm512_mask_madd_epi16's arguments. */
#undef _mm512_madd_epi16
EMULATED __m512i emulated_madd_epi16(__m512i a, __m512i b) {
  emulated_lanes x = {.i = a}, y = {.i = b};
  for (size_t h = 0; h < 2; h++) x.half[h] = _mm256_madd_epi16(x.half[h], y.half[h]);
  return x.i;
}
#define _mm512_madd_epi16 emulated_madd_epi16

EMULATED __m256i emulated_dpbusd_avx_epi32(__m256i sums, __m256i a, __m256i b) {
  emulated_lanes total = {.half = {sums}}, x = {.half = {a}}, y = {.half = {b}};
  for (size_t i = 0; i < 32; i++) total.i32[i / 4] += x.u8[i] * y.i8[i];
  return total.half[0];
}
#define _mm256_dpbusd_avx_epi32 emulated_dpbusd_avx_epi32

#endif
