/* The two passes of an antialiased resize of 8-bit pixels in fixed point: one table an instruction set, all giving
 * the same bytes. */
#ifndef KIN_KERNEL_RESIZE_H
#define KIN_KERNEL_RESIZE_H

#include "base/base.h"

/* Weights are scaled by 2^22: 8 bits of pixel and 2 of headroom for negative lobes fit 32. A weight is kept as
 * 2048 * high + low, low being 0 to 2047, so that two 16-bit products make the exact 32-bit one. */
#define KIN_TAP_BITS 22
#define KIN_TAP_LOW_BITS 11

/* For each output of an axis: the inputs that it takes, and their weights. */
typedef struct kin_taps {
  size_t n, stride;        /* outputs; weights reserved for each: a multiple of 8 with zeros beyond its own */
  uint32_t *first, *count; /* [n]; first ascends, count >= 1 */
  int16_t *high, *low;     /* [n][stride] */
} kin_taps;

/* Rows that `across` takes at once, at most. */
#define KIN_RESIZE_ROWS 4

typedef struct kin_resize_kernels {
  const char *name;
  /* n_rows rows of RGB, which begin at pixel `first` of the picture and have `row_bytes` that may be read, to
   * t->n pixels each. */
  void (*across)(const kin_taps *t, const uint8_t *const *rows, size_t n_rows, uint32_t first, size_t row_bytes,
                 uint8_t *const *out);
  /* out[n] is the weighted sum of `count` rows, for output `i` of t. */
  void (*down)(const kin_taps *t, size_t i, const uint8_t *const *rows, size_t n, uint8_t *out);
} kin_resize_kernels;

extern const kin_resize_kernels kin_resize_scalar, kin_resize_avx2, kin_resize_avx512;

/* The table for `isa`, or NULL where this CPU, this system or this build lacks it. AUTO: the best. */
const kin_resize_kernels *kin_resize_kernels_for(kin_isa isa);

/* In plain C: outputs [begin, t->n) of one row, and bytes [begin, n). What is left over by wider kernels. */
void kin_resize_across_rest(const kin_taps *t, size_t begin, const uint8_t *row, uint32_t first, uint8_t *out);
void kin_resize_down_rest(const kin_taps *t, size_t i, const uint8_t *const *rows, size_t begin, size_t n,
                          uint8_t *out);

/* How many outputs can read t->stride pixels, and `over` bytes beyond, without leaving the row. */
size_t kin_resize_inside(const kin_taps *t, uint32_t first, size_t row_bytes, size_t over);

#endif
