/* Kernels in plain C: the truth that the other instruction sets are tested against. */
#include "kernel/kernel.h"

#include <math.h>
#include <string.h>

typedef struct v16 {
  float x[16];
} v16;

#define LANES(expression)                             \
  v16 r;                                              \
  for (int i = 0; i < 16; i++) r.x[i] = (expression); \
  return r

static inline v16 v_load(const float *p) {
  LANES(p[i]);
}
static inline v16 v_load_some(const float *p, size_t n) {
  LANES((size_t)i < n ? p[i] : 0.0f);
}
static inline void v_store(float *p, v16 a) {
  memcpy(p, a.x, sizeof a.x);
}
static inline void v_store_some(float *p, v16 a, size_t n) {
  for (size_t i = 0; i < n && i < 16; i++) p[i] = a.x[i];
}
static inline v16 v_set(float a) {
  LANES(a);
}
static inline v16 v_add(v16 a, v16 b) {
  LANES(a.x[i] + b.x[i]);
}
static inline v16 v_sub(v16 a, v16 b) {
  LANES(a.x[i] - b.x[i]);
}
static inline v16 v_mul(v16 a, v16 b) {
  LANES(a.x[i] * b.x[i]);
}
static inline v16 v_div(v16 a, v16 b) {
  LANES(a.x[i] / b.x[i]);
}
static inline v16 v_fma(v16 a, v16 b, v16 c) {
  LANES(fmaf(a.x[i], b.x[i], c.x[i]));
}
/* As the instructions: the second operand where either is NaN. */
static inline v16 v_max(v16 a, v16 b) {
  LANES(a.x[i] > b.x[i] ? a.x[i] : b.x[i]);
}
static inline v16 v_min(v16 a, v16 b) {
  LANES(a.x[i] < b.x[i] ? a.x[i] : b.x[i]);
}
static inline v16 v_abs(v16 a) {
  LANES(fabsf(a.x[i]));
}
/* Bit i tells whether a >= b in lane i. */
static inline uint32_t v_at_least(v16 a, v16 b) {
  uint32_t bits = 0;
  for (int i = 0; i < 16; i++) bits |= (uint32_t)(a.x[i] >= b.x[i]) << i;
  return bits;
}
/* a * 2^n, n being in the low bits of `shifted`. */
static inline v16 v_scale_exponent(v16 a, v16 shifted) {
  for (int i = 0; i < 16; i++) {
    uint32_t bits, n;
    memcpy(&bits, &a.x[i], 4);
    memcpy(&n, &shifted.x[i], 4);
    bits += n << 23;
    memcpy(&a.x[i], &bits, 4);
  }
  return a;
}

/* The exponent of a positive x = mantissa * 2^exponent, the mantissa lying about 1, from sqrt(1/2) on. */
static inline v16 v_split_exponent(v16 x, v16 *mantissa) {
  v16 exponent;
  for (int i = 0; i < 16; i++) {
    uint32_t bits;
    memcpy(&bits, &x.x[i], 4);
    bits -= 0x3f3504f3;
    exponent.x[i] = (float)((int32_t)bits >> 23);
    bits = (bits & 0x7fffff) + 0x3f3504f3;
    memcpy(&mantissa->x[i], &bits, 4);
  }
  return exponent;
}

/* sums - zero * weight_sums, which doesn't overflow, as floats. */
static inline v16 v_centred_sums(const int32_t *sums, int32_t zero, const int32_t *weight_sums) {
  LANES((float)(sums[i] - zero * weight_sums[i]));
}
/* The lowest byte of each of the first n lanes. */
static inline void v_store_low_bytes(uint8_t *p, v16 a, size_t n) {
  for (size_t i = 0; i < n && i < 16; i++) {
    uint32_t bits;
    memcpy(&bits, &a.x[i], 4);
    p[i] = (uint8_t)bits;
  }
}

static uint16_t round_one(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float widen(uint16_t x) {
  uint32_t bits = (uint32_t)x << 16;
  float out;
  memcpy(&out, &bits, 4);
  return out;
}

static void round_bf16(const float *x, size_t n, uint16_t *out) {
  for (size_t i = 0; i < n; i++) out[i] = round_one(x[i]);
}

static void gemm_tile_bf16(size_t rows, size_t pairs, const uint16_t *a, size_t lda, const uint16_t *b, float *c,
                           size_t ldc, bool accumulate) {
  for (size_t r = 0; r < rows; r++) {
    float *out = c + r * ldc;
    if (!accumulate) memset(out, 0, KIN_PANEL * sizeof *out);
    for (size_t i = 0; i < 2 * pairs; i++)
      for (size_t j = 0; j < KIN_PANEL; j++)
        out[j] = fmaf(widen(a[r * lda + i]), widen(b[(i / 2 * KIN_PANEL + j) * 2 + i % 2]), out[j]);
  }
}

static void gemm_tile_int8(size_t rows, size_t quads, const uint8_t *a, size_t lda, const int8_t *b, int32_t *sums,
                           size_t ld_sums, bool accumulate) {
  for (size_t r = 0; r < rows; r++)
    for (size_t j = 0; j < KIN_PANEL; j++) {
      int32_t sum = accumulate ? sums[r * ld_sums + j] : 0;
      for (size_t i = 0; i < 4 * quads; i++)
        sum += (int32_t)a[r * lda + i] * (int32_t)b[(i / 4 * KIN_PANEL + j) * 4 + i % 4];
      sums[r * ld_sums + j] = sum;
    }
}

static int32_t peak_int8(size_t iterations) {
  volatile int32_t x = 3;
  int32_t total[4] = {0};
  for (size_t i = 0; i < iterations; i++)
    for (size_t c = 0; c < 4; c++) total[c] = (int32_t)((uint32_t)total[c] * 5u + (uint32_t)x);
  return total[0] ^ total[1] ^ total[2] ^ total[3];
}

static bool usable_int8(void) {
  return true;
}

#define PEAK_CHAINS 4
#define DOT_QUERIES 1
#define TILE_ROWS 4
#define PANEL_STAYS false
#define BLOCK_COLUMNS 256
#define BLOCK_K 384

static void gemm_tile(size_t rows, size_t k, const float *a, size_t lda, const float *b, size_t ldb, float *c,
                      size_t ldc, bool accumulate, kin_ahead ahead) {
  (void)ahead;
  for (size_t r = 0; r < rows; r++) {
    float *out = c + r * ldc;
    if (!accumulate) memset(out, 0, KIN_PANEL * sizeof *out);
    for (size_t i = 0; i < k; i++)
      for (size_t j = 0; j < KIN_PANEL; j++) out[j] = fmaf(a[r * lda + i], b[i * ldb + j], out[j]);
  }
}

static void transpose_block(const float *a, size_t lda, size_t rows, size_t columns, float *b, size_t ldb) {
  for (size_t j = 0; j < columns; j++)
    for (size_t i = 0; i < 16; i++) b[j * ldb + i] = i < rows ? a[i * lda + j] : 0.0f;
}

#define NAME "scalar"
#define ISA KIN_ISA_SCALAR
#define TABLE kin_kernels_scalar
#include "kernel/lanes.h"

static void finish_bf16(const float *sums, const float *bias, kin_activation act, size_t n, uint16_t *out) {
  for (size_t i = 0; i < n; i++) {
    float x;
    tail_row(sums + i, bias ? bias + i : NULL, act, NULL, NULL, KIN_ACT_NONE, 1, &x);
    out[i] = round_one(x);
  }
}

static void softmax_bf16(float *x, float scale, size_t n, uint16_t *out) {
  softmax(x, scale, n);
  round_bf16(x, n, out);
}

const kin_bf16_kernels kin_bf16_scalar = {
    .name = "scalar",
    .tile_rows = TILE_ROWS,
    .round = round_bf16,
    .finish = finish_bf16,
    .softmax = softmax_bf16,
    .gemm_tile = gemm_tile_bf16,
    .peak = peak,
    .peak_multiply_adds = PEAK_CHAINS * 16,
};

const kin_int8_kernels kin_int8_scalar = {
    .name = "scalar",
    .isa = KIN_ISA_SCALAR,
    .usable = usable_int8,
    .tile_rows = TILE_ROWS,
    .gemm_tile = gemm_tile_int8,
    .peak = peak_int8,
    .peak_multiply_adds = 4,
};

static void scan_int8(const uint8_t *codes, size_t units, const int8_t *planes, size_t ld, const int32_t *starts,
                      size_t n, float *out) {
  for (size_t i = 0; i < n; i++)
    for (size_t r = 0; r < KIN_SCAN_ROWS; r++) {
      int32_t total = starts[i];
      for (size_t j = 0; j < 4 * units; j++)
        total += codes[(j / 4 * KIN_SCAN_ROWS + r) * 4 + j % 4] * planes[i * ld + j];
      out[i * KIN_SCAN_ROWS + r] = (float)total;
    }
}

static void scan_bf16(const uint8_t *codes, size_t units, const uint16_t *planes, size_t ld, size_t n, float *out) {
  for (size_t i = 0; i < n; i++)
    for (size_t r = 0; r < KIN_SCAN_ROWS; r++) {
      float total = 0;
      for (size_t j = 0; j < 2 * units; j++) {
        uint16_t code;
        memcpy(&code, codes + (j / 2 * KIN_SCAN_ROWS + r) * 4 + j % 2 * 2, sizeof code);
        total = fmaf(widen(code), widen(planes[i * ld + j]), total);
      }
      out[i * KIN_SCAN_ROWS + r] = total;
    }
}

static void int8_four(const int8_t *query, const int8_t *const rows[4], size_t n, int32_t out[4]) {
  for (size_t i = 0; i < 4; i++) {
    out[i] = 0;
    for (size_t j = 0; j < n; j++) out[i] += query[j] * rows[i][j];
  }
}

const kin_scan_kernels kin_scan_scalar = {
    .name = "scalar", .int8 = scan_int8, .bf16 = scan_bf16, .int8_four = int8_four};
