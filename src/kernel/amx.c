/* Products on AMX's tiles: AMX-INT8 and AMX-BF16. */
#include "kernel/kernel.h"

#if defined(__AMX_TILE__) && defined(__AMX_INT8__) && defined(__AMX_BF16__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Compilers' intrinsics don't all say that they read memory: what was stored must be there. */
#define STORED() __asm__ volatile("" ::: "memory")
#define TILE_CONFIGURE(config) \
  do {                         \
    STORED();                  \
    _tile_loadconfig(config);  \
  } while (0)
#define TILE_RELEASE() _tile_release()
#define TILE_ZERO(t) _tile_zero(t)
#define TILE_LOAD(t, from, row_bytes) \
  do {                                \
    STORED();                         \
    _tile_loadd(t, from, row_bytes);  \
  } while (0)
#define TILE_STORE(t, to, row_bytes) _tile_stored(t, to, row_bytes)
#define TILE_DPBUSD(sums, a, b) _tile_dpbusd(sums, a, b)
#define TILE_DPBF16PS(sums, a, b) _tile_dpbf16ps(sums, a, b)
#include "kernel/amx.h"

enum { EDX_AMX_BF16 = 1 << 22, EDX_AMX_TILE = 1 << 24, EDX_AMX_INT8 = 1 << 25 };
enum { REQUEST_PERMISSION = 0x1023 /* ARCH_REQ_XCOMP_PERM */, TILE_DATA = 18 };

/* The CPU must have the tiles, the system must keep them (XCR0), and this process must ask for them. */
static bool usable(unsigned feature) {
  unsigned a, b, c, d, low, high;
  if (!__get_cpuid_count(1, 0, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return false;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & EDX_AMX_TILE) || !(d & feature)) return false;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  const unsigned tiles = 3u << 17; /* configuration and data */
  return (low & tiles) == tiles && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

static bool usable_int8(void) {
  return usable(EDX_AMX_INT8);
}

bool kin_amx_bf16_usable(void) {
  return usable(EDX_AMX_BF16);
}

static void round_bf16(const float *x, size_t n, uint16_t *out) {
  kin_bf16_avx512.round(x, n, out);
}

static void finish_bf16(const float *sums, const float *bias, kin_activation act, size_t n, uint16_t *out) {
  kin_bf16_avx512.finish(sums, bias, act, n, out);
}

static void softmax_bf16(float *x, float scale, size_t n, uint16_t *out) {
  kin_bf16_avx512.softmax(x, scale, n, out);
}

static void open_peak(void) {
  configure(2 * TILE_HEIGHT);
  open_sums(true, NULL, 0, false);
  TILE_ZERO(4);
  TILE_ZERO(5);
  TILE_ZERO(6);
  TILE_ZERO(7);
}

static int32_t peak_int8(size_t iterations) {
  int32_t sums[2 * TILE_HEIGHT * KIN_PANEL];
  open_peak();
  for (size_t i = 0; i < iterations; i++) {
    TILE_DPBUSD(0, 4, 6);
    TILE_DPBUSD(1, 4, 7);
    TILE_DPBUSD(2, 5, 6);
    TILE_DPBUSD(3, 5, 7);
  }
  close_sums(true, sums, KIN_PANEL * sizeof *sums);
  return sums[0];
}

static float peak_bf16(size_t iterations) {
  float sums[2 * TILE_HEIGHT * KIN_PANEL];
  open_peak();
  for (size_t i = 0; i < iterations; i++) {
    TILE_DPBF16PS(0, 4, 6);
    TILE_DPBF16PS(1, 4, 7);
    TILE_DPBF16PS(2, 5, 6);
    TILE_DPBF16PS(3, 5, 7);
  }
  close_sums(true, sums, KIN_PANEL * sizeof *sums);
  return sums[0];
}

const kin_int8_kernels kin_int8_amx = {
    .name = "amx-int8",
    .isa = KIN_ISA_AVX512,
    .usable = usable_int8,
    .tile_rows = 2 * TILE_HEIGHT,
    .gemm_tile = gemm_tile_int8,
    .peak = peak_int8,
    .peak_multiply_adds = 4 * TILE_HEIGHT * TILE_HEIGHT * TILE_BYTES,
};

const kin_bf16_kernels kin_bf16_amx = {
    .name = "amx-bf16",
    .tile_rows = 2 * TILE_HEIGHT,
    .round = round_bf16,
    .finish = finish_bf16,
    .softmax = softmax_bf16,
    .gemm_tile = gemm_tile_bf16,
    .peak = peak_bf16,
    .peak_multiply_adds = 4 * TILE_HEIGHT * TILE_HEIGHT * TILE_BYTES / 2,
};
#endif
