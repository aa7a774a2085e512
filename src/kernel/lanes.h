/* Kernels written on 16 lanes. The including file defines the type v16 and the v_* operations for its
 * instruction set, gemm_tile, transpose_block, TILE_ROWS, PANEL_STAYS, BLOCK_COLUMNS, BLOCK_K, PEAK_CHAINS,
 * DOT_QUERIES, ISA, NAME and TABLE; this file makes the rest. Each lane operation is correctly rounded, so that every
 * instruction set gives the same bits. */

#include <math.h>

/* Sixteen lanes become one: halves onto halves. */
static inline float lanes_sum(v16 v) {
  float x[16];
  v_store(x, v);
  for (int half = 8; half; half /= 2)
    for (int i = 0; i < half; i++) x[i] += x[i + half];
  return x[0];
}

static inline float lanes_max(v16 v) {
  float x[16];
  v_store(x, v);
  float m = x[0];
  for (int i = 1; i < 16; i++) m = x[i] > m ? x[i] : m;
  return m;
}

/* exp to about 1 ulp for -87.3 <= x <= 88, clamped outside: Cephes' reduction and polynomial. */
static inline v16 lanes_exp(v16 x) {
  const v16 magic = v_set(12582912.0f); /* 1.5 * 2^23: adding it leaves the nearest integer in the low bits */
  x = v_min(v_max(x, v_set(-87.3f)), v_set(88.0f));
  v16 shifted = v_fma(x, v_set(1.44269504f), magic);
  v16 n = v_sub(shifted, magic);
  v16 r = v_fma(n, v_set(-0.693359375f), x);
  r = v_fma(n, v_set(2.12194440e-4f), r);
  v16 p = v_set(1.9875691500e-4f);
  p = v_fma(p, r, v_set(1.3981999507e-3f));
  p = v_fma(p, r, v_set(8.3334519073e-3f));
  p = v_fma(p, r, v_set(4.1665795894e-2f));
  p = v_fma(p, r, v_set(1.6666665459e-1f));
  p = v_fma(p, r, v_set(5.0000001201e-1f));
  p = v_fma(p, v_mul(r, r), v_add(r, v_set(1.0f)));
  return v_scale_exponent(p, shifted);
}

/* x erfc(-x / sqrt(2)) / 2 = max(x, 0) - |x| / 2 erfc(|x| / sqrt(2)) within 1e-7 and its own rounding: log2 of erfc is
 * a polynomial of |x|, fitted to the least error of the whole. */
static inline v16 lanes_gelu(v16 x) {
  const v16 magic = v_set(12582912.0f), t = v_abs(x); /* as in lanes_exp */
  v16 y = v_set(-1.90206549e-6f);
  y = v_fma(y, t, v_set(2.80569384e-5f));
  y = v_fma(y, t, v_set(-1.31473207e-4f));
  y = v_fma(y, t, v_set(-2.72075762e-4f));
  y = v_fma(y, t, v_set(7.24542141e-3f));
  y = v_fma(y, t, v_set(-5.26276119e-2f));
  y = v_fma(y, t, v_set(-4.59162146e-1f));
  y = v_fma(y, t, v_set(-1.15111101f));
  y = v_max(v_mul(y, t), v_set(-125.0f));
  v16 shifted = v_add(y, magic), f = v_sub(y, v_sub(shifted, magic));
  v16 p = v_set(1.32647273e-3f);
  p = v_fma(p, f, v_set(9.67151299e-3f));
  p = v_fma(p, f, v_set(5.55073358e-2f));
  p = v_fma(p, f, v_set(2.40222424e-1f));
  p = v_fma(p, f, v_set(6.93147004e-1f));
  p = v_fma(p, f, v_set(1.0f));
  return v_fma(v_mul(t, v_set(-0.5f)), v_scale_exponent(p, shifted), v_max(x, v_set(0.0f)));
}

static inline v16 lanes_activate(v16 x, kin_activation act) {
  switch (act) {
  case KIN_ACT_GELU:
    return lanes_gelu(x);
  case KIN_ACT_QUICK_GELU:
    return v_div(x, v_add(v_set(1.0f), lanes_exp(v_mul(x, v_set(-1.702f)))));
  case KIN_ACT_RELU:
    return v_max(x, v_set(0.0f));
  case KIN_ACT_NONE:
    break;
  }
  return x;
}

/* Up to 16 elements of the tail. */
static inline __attribute__((always_inline)) v16 tail_lanes(v16 x, size_t i, size_t n, const float *bias,
                                                            kin_activation act, const float *scale,
                                                            const float *residual, kin_activation last) {
  if (bias) x = v_add(x, v_load_some(bias + i, n));
  x = lanes_activate(x, act);
  if (scale && residual)
    x = v_fma(x, v_load_some(scale + i, n), v_load_some(residual + i, n));
  else if (scale)
    x = v_mul(x, v_load_some(scale + i, n));
  else if (residual)
    x = v_add(x, v_load_some(residual + i, n));
  return lanes_activate(x, last);
}

static void tail_row(const float *c, const float *bias, kin_activation act, const float *scale, const float *residual,
                     kin_activation last, size_t n, float *out) {
  size_t i = 0;
  for (; i + 16 <= n; i += 16) v_store(out + i, tail_lanes(v_load(c + i), i, 16, bias, act, scale, residual, last));
  n -= i;
  if (n) v_store_some(out + i, tail_lanes(v_load_some(c + i, n), i, n, bias, act, scale, residual, last), n);
}

static void tail_sums(const kin_sums *s, size_t rows, size_t n, const kin_tail *tail, float *c, size_t ldc) {
  for (size_t i = 0; i < n; i += 16) {
    v16 weight_scales = v_load(s->weight_scales + i);
    size_t some = n - i < 16 ? n - i : 16;
    for (size_t r = 0; r < rows; r++) {
      v16 x = v_centred_sums(s->sums + r * s->ld + i, s->zeros[r], s->weight_sums + i);
      x = v_mul(x, v_mul(v_set(s->scales[r]), weight_scales));
      x = tail_lanes(x, i, some, tail->bias, tail->act, tail->scale,
                     tail->residual ? tail->residual + r * tail->residual_ld : NULL, tail->last);
      v_store_some(c + r * ldc + i, x, some);
    }
  }
}

static void quantise(const float *x, const float *multiply, const float *add, size_t n, uint8_t *out, float *scale,
                     int32_t *zero) {
  v16 low = v_set(0.0f), high = low;
  for (size_t i = 0; i < n; i += 16) {
    v16 y = v_load_some(x + i, n - i); /* lanes beyond n are 0, and 0 is in the range anyway */
    if (multiply) y = v_fma(y, v_load_some(multiply + i, n - i), v_load_some(add + i, n - i));
    low = v_min(y, low), high = v_max(y, high);
  }
  const float magic = 12582912.0f; /* as in lanes_exp */
  float bottom = -lanes_max(v_sub(v_set(0.0f), low)), range = lanes_max(high) - bottom;
  float inverse = range > 1e-30f ? 255.0f / range : 0.0f, offset = (-bottom * inverse + magic) - magic;
  *scale = range > 1e-30f ? range / 255.0f : 0.0f;
  *zero = (int32_t)offset;
  v16 f = v_set(inverse), o = v_set(offset);
  for (size_t i = 0; i < n; i += 16) {
    v16 y = v_load_some(x + i, n - i);
    if (multiply) y = v_fma(y, v_load_some(multiply + i, n - i), v_load_some(add + i, n - i));
    y = v_min(v_max(v_fma(y, f, o), v_set(0.0f)), v_set(255.0f));
    v_store_low_bytes(out + i, v_add(y, v_set(magic)), n - i);
  }
}

/* Four chains, so that the latency of addition is hidden; the same split everywhere. */
static float dot(const float *a, const float *b, size_t n) {
  v16 s0 = v_set(0.0f), s1 = s0, s2 = s0, s3 = s0;
  size_t i = 0;
  for (; i + 64 <= n; i += 64) {
    s0 = v_fma(v_load(a + i), v_load(b + i), s0);
    s1 = v_fma(v_load(a + i + 16), v_load(b + i + 16), s1);
    s2 = v_fma(v_load(a + i + 32), v_load(b + i + 32), s2);
    s3 = v_fma(v_load(a + i + 48), v_load(b + i + 48), s3);
  }
  for (; i + 16 <= n; i += 16) s0 = v_fma(v_load(a + i), v_load(b + i), s0);
  if (i < n) s1 = v_fma(v_load_some(a + i, n - i), v_load_some(b + i, n - i), s1);
  return lanes_sum(v_add(v_add(s0, s1), v_add(s2, s3)));
}

/* `n` queries share the loads of the row; each has the four chains of dot(). */
static inline __attribute__((always_inline)) void dot_some(const float *row, const float *queries, size_t ld,
                                                           size_t dim, const size_t n, float *out) {
  v16 s[DOT_QUERIES][4];
  for (size_t q = 0; q < n; q++)
    for (size_t c = 0; c < 4; c++) s[q][c] = v_set(0.0f);
  size_t i = 0;
  for (; i + 64 <= dim; i += 64)
#pragma GCC unroll 4
    for (size_t c = 0; c < 4; c++) {
      v16 x = v_load(row + i + 16 * c);
#pragma GCC unroll 4
      for (size_t q = 0; q < n; q++) s[q][c] = v_fma(x, v_load(queries + q * ld + i + 16 * c), s[q][c]);
    }
  for (size_t q = 0; q < n; q++) {
    const float *query = queries + q * ld;
    size_t j = i;
    for (; j + 16 <= dim; j += 16) s[q][0] = v_fma(v_load(row + j), v_load(query + j), s[q][0]);
    if (j < dim) s[q][1] = v_fma(v_load_some(row + j, dim - j), v_load_some(query + j, dim - j), s[q][1]);
    out[q] = lanes_sum(v_add(v_add(s[q][0], s[q][1]), v_add(s[q][2], s[q][3])));
  }
}

static void dots(const float *row, const float *queries, size_t ld, size_t dim, size_t n, float *out) {
  size_t i = 0;
  for (; i + DOT_QUERIES <= n; i += DOT_QUERIES) dot_some(row, queries + i * ld, ld, dim, DOT_QUERIES, out + i);
  for (; i < n; i++) dot_some(row, queries + i * ld, ld, dim, 1, out + i);
}

static void dot_four(const float *query, const float *const rows[4], size_t dim, float out[4]) {
  const float *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
  v16 sa = v_set(0.0f), sb = sa, sc = sa, sd = sa;
  size_t i = 0;
  for (; i + 16 <= dim; i += 16) {
    v16 x = v_load(query + i);
    sa = v_fma(x, v_load(a + i), sa);
    sb = v_fma(x, v_load(b + i), sb);
    sc = v_fma(x, v_load(c + i), sc);
    sd = v_fma(x, v_load(d + i), sd);
  }
  if (i < dim) {
    v16 x = v_load_some(query + i, dim - i);
    sa = v_fma(x, v_load_some(a + i, dim - i), sa);
    sb = v_fma(x, v_load_some(b + i, dim - i), sb);
    sc = v_fma(x, v_load_some(c + i, dim - i), sc);
    sd = v_fma(x, v_load_some(d + i, dim - i), sd);
  }
  out[0] = lanes_sum(sa), out[1] = lanes_sum(sb), out[2] = lanes_sum(sc), out[3] = lanes_sum(sd);
}

static uint64_t scan_select(const float *high, const float *low, const float *scales, const float *errors,
                            const kin_scan_bound *bound, float *estimates) {
  v16 factor = v_set(bound->factor), error = v_set(bound->error), constant = v_set(bound->constant);
  uint64_t passed = 0;
  for (size_t r = 0; r < KIN_SCAN_ROWS; r += 16) {
    v16 x = v_load(high + r);
    if (low) x = v_fma(v_load(low + r), v_set(1.0f / 254.0f), x);
    x = v_mul(x, v_mul(factor, v_load(scales + r)));
    v_store(estimates + r, x);
    x = v_fma(error, v_load(errors + r), v_add(x, constant));
    passed |= (uint64_t)v_at_least(x, v_set(bound->least)) << r;
  }
  return passed;
}

static float sum(const float *x, size_t n) {
  v16 s0 = v_set(0.0f), s1 = s0;
  size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    s0 = v_add(s0, v_load(x + i));
    s1 = v_add(s1, v_load(x + i + 16));
  }
  for (; i < n; i += 16) s0 = v_add(s0, v_load_some(x + i, n - i));
  return lanes_sum(v_add(s0, s1));
}

static float squared_distance_to(const float *x, float mean, size_t n) {
  v16 s0 = v_set(0.0f), s1 = s0, m = v_set(mean);
  size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    v16 d0 = v_sub(v_load(x + i), m), d1 = v_sub(v_load(x + i + 16), m);
    s0 = v_fma(d0, d0, s0);
    s1 = v_fma(d1, d1, s1);
  }
  float rest = 0.0f;
  for (; i < n; i++) {
    float d = x[i] - mean;
    rest = fmaf(d, d, rest);
  }
  return lanes_sum(v_add(s0, s1)) + rest;
}

static void layer_norm(const float *x, const float *weight, const float *bias, float eps, size_t n, float *out) {
  float mean = sum(x, n) / (float)n;
  float inverse = 1.0f / sqrtf(squared_distance_to(x, mean, n) / (float)n + eps);
  v16 m = v_set(mean), r = v_set(inverse);
  for (size_t i = 0; i < n; i += 16) {
    v16 normal = v_mul(v_sub(v_load_some(x + i, n - i), m), r);
    v_store_some(out + i, v_fma(normal, v_load_some(weight + i, n - i), v_load_some(bias + i, n - i)), n - i);
  }
}

static void scale_row(float *x, float factor, size_t n) {
  v16 f = v_set(factor);
  for (size_t i = 0; i < n; i += 16) v_store_some(x + i, v_mul(v_load_some(x + i, n - i), f), n - i);
}

static float maximum(const float *x, size_t n) {
  size_t i = 0;
  v16 top = v_set(x[0]);
  for (; i + 16 <= n; i += 16) top = v_max(top, v_load(x + i));
  float max = lanes_max(top);
  for (; i < n; i++) max = x[i] > max ? x[i] : max;
  return max;
}

/* The first of sums[n] that is `most`, the largest. */
static inline int32_t place_of(const float *sums, size_t n, float most) {
  for (size_t i = 0; i < n; i += 16) {
    uint32_t reached = v_at_least(v_load(sums + i), v_set(most));
    if (reached) return (int32_t)i + __builtin_ctz(reached);
  }
  return 0;
}

static void nearest(const float *panels, const float *starts, size_t columns, size_t k, const float *x, size_t n,
                    float *scores, int32_t *found) {
  float sums[2][KIN_NEAREST_COLUMNS];
  for (size_t i = 0; i < n; i += 2) {
    const float *a = x + i * k, *b = i + 1 < n ? a + k : a;
    v16 most_a = v_set(-INFINITY), most_b = most_a;
    for (size_t c = 0; c < columns; c += KIN_PANEL) {
      const float *panel = panels + c * k;
      v16 a0 = v_load(starts + c), a1 = v_load(starts + c + 16), b0 = a0, b1 = a1;
      for (size_t j = 0; j < k; j++) {
        v16 w0 = v_load(panel + j * KIN_PANEL), w1 = v_load(panel + j * KIN_PANEL + 16);
        v16 xa = v_set(a[j]), xb = v_set(b[j]);
        a0 = v_fma(xa, w0, a0), a1 = v_fma(xa, w1, a1);
        b0 = v_fma(xb, w0, b0), b1 = v_fma(xb, w1, b1);
      }
      v_store(sums[0] + c, a0), v_store(sums[0] + c + 16, a1);
      v_store(sums[1] + c, b0), v_store(sums[1] + c + 16, b1);
      most_a = v_max(most_a, v_max(a0, a1)), most_b = v_max(most_b, v_max(b0, b1));
    }
    scores[i] = lanes_max(most_a), found[i] = place_of(sums[0], columns, scores[i]);
    if (i + 1 < n) scores[i + 1] = lanes_max(most_b), found[i + 1] = place_of(sums[1], columns, scores[i + 1]);
  }
}

static void softmax(float *x, float scale, size_t n) {
  v16 f = v_set(scale), m = v_set(maximum(x, n)), total = v_set(0.0f);
  for (size_t i = 0; i < n; i += 16) {
    v_store_some(x + i, lanes_exp(v_mul(v_sub(v_load_some(x + i, n - i), m), f)), n - i);
    total = v_add(total, v_load_some(x + i, n - i));
  }
  scale_row(x, 1.0f / lanes_sum(total), n);
}

static void add(const float *a, const float *b, size_t n, float *out) {
  for (size_t i = 0; i < n; i += 16)
    v_store_some(out + i, v_add(v_load_some(a + i, n - i), v_load_some(b + i, n - i)), n - i);
}

static void gate(const float *a, const float *b, size_t n, float *out) {
  for (size_t i = 0; i < n; i += 16) {
    v16 x = v_load_some(a + i, n - i), y = v_load_some(b + i, n - i);
    x = v_div(x, v_add(v_set(1.0f), lanes_exp(v_sub(v_set(0.0f), x))));
    v_store_some(out + i, v_mul(x, y), n - i);
  }
}

static void average(const float *a, const float *b, const float *c, const float *d, size_t n, float *out) {
  for (size_t i = 0; i < n; i += 16) {
    v16 top = v_add(v_load_some(a + i, n - i), v_load_some(b + i, n - i));
    v16 bottom = v_add(v_load_some(c + i, n - i), v_load_some(d + i, n - i));
    v_store_some(out + i, v_mul(v_add(top, bottom), v_set(0.25f)), n - i);
  }
}

static void transpose(const float *a, size_t lda, size_t rows, size_t columns, float *b, size_t ldb, size_t b_columns) {
  for (size_t i = 0; i < b_columns; i += 16) {
    size_t live = i >= rows ? 0 : rows - i < 16 ? rows - i : 16;
    for (size_t j = 0; j < columns; j += 16)
      transpose_block(a + i * lda + j, lda, live, columns - j < 16 ? columns - j : 16, b + j * ldb + i, ldb);
  }
}

/* These are called, not inlined: as one function, the plain C one takes a compiler that checks every access minutes. */

static __attribute__((noinline)) v16 lanes_log2(v16 x) {
  const v16 one = v_set(1.0f);
  v16 m, exponent = v_split_exponent(x, &m);
  /* log2 m = 2 / ln 2 * atanh z, z = (m - 1) / (m + 1), |z| < 0.172 */
  v16 z = v_div(v_sub(m, one), v_add(m, one)), zz = v_mul(z, z);
  v16 p = v_fma(zz, v_set(0.4121985831f), v_set(0.5770780164f));
  p = v_fma(zz, p, v_set(0.9617966939f));
  p = v_fma(zz, p, v_set(2.8853900818f));
  return v_fma(z, p, exponent);
}

static __attribute__((noinline)) v16 lanes_exp2(v16 x) {
  const v16 magic = v_set(12582912.0f), one = v_set(1.0f); /* as in lanes_exp */
  x = v_max(v_min(x, v_set(126.0f)), v_set(-126.0f));
  v16 shifted = v_add(x, magic), rest = v_mul(v_sub(x, v_sub(shifted, magic)), v_set(0.6931471806f));
  v16 p = v_fma(rest, v_set(0.0083333333f), v_set(0.0416666667f));
  p = v_fma(rest, p, v_set(0.1666666667f));
  p = v_fma(rest, p, v_set(0.5f));
  p = v_fma(rest, p, one);
  return v_scale_exponent(v_fma(rest, p, one), shifted);
}

/* x += part, at most 4 either way, times `times`. */
static inline void add_clipped(float *x, v16 part, float times) {
  part = v_max(v_min(part, v_set(4.0f)), v_set(-4.0f));
  v_store(x, v_fma(part, v_set(times), v_load(x)));
}

/* What another point does to where 16 points go. */
static __attribute__((noinline)) void map_force(const kin_map_step *s, size_t other, float *sum_x, float *sum_y) {
  const float push = 2 * s->b;
  v16 dx = v_sub(v_load(s->x), v_load(s->other_x[other])), dy = v_sub(v_load(s->y), v_load(s->other_y[other]));
  v16 square = v_fma(dx, dx, v_fma(dy, dy, v_set(1e-12f)));
  v16 power = lanes_exp2(v_mul(v_set(s->b), lanes_log2(square))), far = v_fma(v_set(s->a), power, v_set(1.0f));
  v16 factor = other ? v_div(v_set(push), v_mul(v_add(square, v_set(0.001f)), far))
                     : v_div(v_mul(v_set(-push * s->a), power), v_mul(square, far));
  add_clipped(sum_x, v_mul(factor, dx), other ? 1 : 2);
  add_clipped(sum_y, v_mul(factor, dy), other ? 1 : 2);
}

static void map_step(kin_map_step *s) {
  float sum_x[KIN_MAP_LANES] = {0}, sum_y[KIN_MAP_LANES] = {0};
  for (size_t o = 0; o < KIN_MAP_OTHERS; o++) map_force(s, o, sum_x, sum_y);
  v_store(s->x, v_fma(v_set(s->alpha), v_load(sum_x), v_load(s->x)));
  v_store(s->y, v_fma(v_set(s->alpha), v_load(sum_y), v_load(s->y)));
}

#include "kernel/winograd_lanes.h"

/* PEAK_CHAINS independent chains: enough for two units of four cycles' latency, few enough for the registers. */
static float peak(size_t iterations) {
  volatile float one = 1.0f, small = 1e-30f;
  v16 x = v_set(one), y = v_set(small), total[PEAK_CHAINS];
  for (size_t c = 0; c < PEAK_CHAINS; c++) total[c] = v_set(0.0f);
  for (size_t i = 0; i < iterations; i++)
#pragma GCC unroll 16
    for (size_t c = 0; c < PEAK_CHAINS; c++) total[c] = v_fma(total[c], x, y);
  for (size_t c = 1; c < PEAK_CHAINS; c++) total[0] = v_add(total[0], total[c]);
  return lanes_sum(total[0]);
}

const kin_kernels TABLE = {
    .name = NAME,
    .isa = ISA,
    .tile_rows = TILE_ROWS,
    .panel_stays = PANEL_STAYS,
    .block_columns = BLOCK_COLUMNS,
    .block_k = BLOCK_K,
    .gemm_tile = gemm_tile,
    .tail_row = tail_row,
    .tail_sums = tail_sums,
    .quantise = quantise,
    .layer_norm = layer_norm,
    .maximum = maximum,
    .nearest = nearest,
    .softmax = softmax,
    .dot = dot,
    .dots = dots,
    .dot_four = dot_four,
    .select = scan_select,
    .add = add,
    .scale = scale_row,
    .gate = gate,
    .winograd_input = winograd_input,
    .winograd_output = winograd_output,
    .average = average,
    .transpose = transpose,
    .map_step = map_step,
    .peak = peak,
    .peak_multiply_adds = PEAK_CHAINS * 16,
};
