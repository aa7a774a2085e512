/* Scan kernels for AVX-512 with VNNI and BF16: four, or two, multiply-adds a lane and instruction. */
#include "kernel/kernel.h"

#if defined(__AVX512VNNI__) && defined(__AVX512BF16__)
#include "kernel/scan_avx512.h"

#define PLANES 6

typedef __m512i int8_rows;
typedef __m512i int8_plane;

static inline int8_rows load_int8_rows(const uint8_t *p) {
  return _mm512_loadu_si512(p);
}
static inline int8_plane spread_int8(int32_t unit) {
  return _mm512_set1_epi32(unit);
}
static inline ints add_int8(ints total, int8_rows rows, int8_plane plane) {
#ifdef KIN_EMULATED
  return _mm512_dpbusd_epi32(total, rows, plane);
#else
  /* Of the intrinsic GCC 12 makes two more copies of the sum. */
  __asm__("vpdpbusd %2, %1, %0" : "+v"(total) : "v"(rows), "v"(plane));
  return total;
#endif
}

static inline ints add_bytes(ints total, ints magnitude, ints x) {
  return add_int8(total, magnitude, x);
}

typedef __m512bh bf16_rows;
typedef __m512bh bf16_plane;

static inline bf16_rows load_bf16_rows(const uint8_t *p) {
  return (__m512bh)_mm512_loadu_si512(p);
}
static inline bf16_plane spread_bf16(int32_t unit) {
  return (__m512bh)_mm512_set1_epi32(unit);
}
static inline floats add_bf16(floats total, bf16_rows rows, bf16_plane plane) {
  return _mm512_dpbf16_ps(total, rows, plane);
}

#define NAME "avx512vnni"
#define TABLE kin_scan_avx512vnni
#include "kernel/scan_tile.h"
#endif
