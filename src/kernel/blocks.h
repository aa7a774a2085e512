/* What the blocked products (gemm.c, convolution.c) share: the size of a block of weights, and the tail. */
#ifndef KIN_BLOCKS_H
#define KIN_BLOCKS_H

#include "kernel/kernel.h"

/* A task's columns, and its weights of one slice of k, which stay in the second-level cache. */
enum { KIN_BLOCK_COLUMNS = 256, KIN_BLOCK_FLOATS = 384 * KIN_BLOCK_COLUMNS };

static inline size_t divide_up(size_t a, size_t b) {
  return (a + b - 1) / b;
}

/* The tail over rows [row, row + rows) and columns [column, column + columns) of c. */
static inline void kin_finish_rows(const kin_kernels *kernels, const kin_tail *t, float *c, size_t ldc, size_t row,
                                   size_t rows, size_t column, size_t columns) {
  for (size_t r = row; r < row + rows; r++)
    kernels->tail_row(c + r * ldc + column, t->bias ? t->bias + column : NULL, t->act,
                      t->scale ? t->scale + column : NULL,
                      t->residual ? t->residual + r * t->residual_ld + column : NULL, t->last, columns);
}

#endif
