/* What the blocked products (gemm.c, convolution.c) share. */
#ifndef KIN_BLOCKS_H
#define KIN_BLOCKS_H

#include "kernel/kernel.h"

static inline size_t divide_up(size_t a, size_t b) {
  return (a + b - 1) / b;
}

/* The tail over columns [column, column + n) of row `row`, whose sums become out[n]. */
static inline void kin_finish_row(const kin_kernels *kernels, const kin_tail *t, const float *sums, float *out,
                                  size_t row, size_t column, size_t n) {
  kernels->tail_row(sums, t->bias ? t->bias + column : NULL, t->act, t->scale ? t->scale + column : NULL,
                    t->residual ? t->residual + row * t->residual_ld + column : NULL, t->last, n, out);
}

#endif
