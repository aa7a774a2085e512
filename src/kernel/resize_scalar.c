/* The resize in plain C: the truth for the other tables, and the ends that they leave. */
#include "kernel/resize.h"

#define ROUND (1 << (KIN_TAP_BITS - 1))

static inline int32_t weight(const kin_taps *t, size_t at) {
  return t->high[at] * (1 << KIN_TAP_LOW_BITS) + t->low[at];
}

static inline uint8_t clip8(int32_t sum) {
  sum >>= KIN_TAP_BITS;
  return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

void kin_resize_across_rest(const kin_taps *t, size_t begin, const uint8_t *row, uint32_t first, uint8_t *out) {
  for (size_t i = begin; i < t->n; i++) {
    const uint8_t *p = row + (size_t)(t->first[i] - first) * 3;
    int32_t red = ROUND, green = ROUND, blue = ROUND;
    for (size_t x = 0; x < t->count[i]; x++) {
      int32_t w = weight(t, i * t->stride + x);
      red += p[3 * x] * w;
      green += p[3 * x + 1] * w;
      blue += p[3 * x + 2] * w;
    }
    out[3 * i] = clip8(red);
    out[3 * i + 1] = clip8(green);
    out[3 * i + 2] = clip8(blue);
  }
}

void kin_resize_down_rest(const kin_taps *t, size_t i, const uint8_t *const *rows, size_t begin, size_t n,
                          uint8_t *out) {
  for (size_t x = begin; x < n; x++) {
    int32_t sum = ROUND;
    for (size_t y = 0; y < t->count[i]; y++) sum += rows[y][x] * weight(t, i * t->stride + y);
    out[x] = clip8(sum);
  }
}

size_t kin_resize_inside(const kin_taps *t, uint32_t first, size_t row_bytes, size_t over) {
  size_t n = t->n;
  /* By t->stride, not by the count of each: rounded up to whole steps, an output may read further than the next. */
  while (n && (t->first[n - 1] - first + t->stride) * 3 + over > row_bytes) n--;
  return n;
}

static void across(const kin_taps *t, const uint8_t *const *rows, size_t n_rows, uint32_t first, size_t row_bytes,
                   uint8_t *const *out) {
  (void)row_bytes;
  for (size_t r = 0; r < n_rows; r++) kin_resize_across_rest(t, 0, rows[r], first, out[r]);
}

static void down(const kin_taps *t, size_t i, const uint8_t *const *rows, size_t n, uint8_t *out) {
  kin_resize_down_rest(t, i, rows, 0, n, out);
}

const kin_resize_kernels kin_resize_scalar = {"scalar", across, down};
