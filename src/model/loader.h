/* Reading a tower's parameters out of safetensors. The first failure sticks: later calls do nothing,
 * so that a tower is read as a plain list and checked once. */
#ifndef KIN_LOADER_H
#define KIN_LOADER_H

#include "base/json.h"
#include "kernel/kernel.h"
#include "weights/weights.h"

typedef struct kin_loader {
  const kin_weights *weights;
  bool bf16; /* matrices are packed as such, but for kin_load_packed's */
  bool int8; /* what a transformer's blocks and patches multiply with becomes 8-bit (kin_load_int8) */
  kin_status status;
  kin_error *err;
  uint64_t parameters, bytes; /* read so far; held in memory */
} kin_loader;

typedef struct kin_linear {
  kin_packed w; /* y = x w + bias */
  float *bias;  /* NULL: none */
  /* With int8 weights: the input is quantised as input * multiply + add ([k]; NULL: as it is). */
  float *multiply, *add;
} kin_linear;

/* A tensor [rows][width] that stays in the mapped file: only the rows that are asked for are ever read again. */
typedef struct kin_table {
  kin_tensor tensor;
  size_t width;
} kin_table;

typedef struct kin_norm {
  float *weight, *bias;
  float eps;
} kin_norm;

/* `name...` formats the tensor's name. Results are released by the _free calls or kin_free_aligned. */
void kin_load_floats(kin_loader *l, size_t rank, const size_t *shape, float **out, const char *name, ...)
    KIN_PRINTF(5, 6);
/* The tensor `name` [rows][width]; valid for as long as the weights are open. Found even where packed weights make up
 * for all else (KIN_LOAD_NOTHING): its values were checked when those were made. */
void kin_load_table(kin_loader *l, size_t rows, size_t width, kin_table *out, const char *name);
/* A row of it: where it lies, or converted into buffer[width]. */
const float *kin_table_row(const kin_table *table, size_t row, float *buffer);
/* name.weight [n] and name.bias [n] */
void kin_load_norm(kin_loader *l, size_t n, double eps, kin_norm *out, const char *name, ...) KIN_PRINTF(5, 6);
/* name.weight [n][k], and name.bias [n] where `bias`. */
void kin_load_linear(kin_loader *l, size_t n, size_t k, bool bias, kin_linear *out, const char *name, ...)
    KIN_PRINTF(6, 7);
/* `count` such matrices side by side in one: part i is prefix + parts[i]. */
void kin_load_fused(kin_loader *l, size_t count, size_t n, size_t k, bool bias, const char *prefix,
                    const char *const *parts, kin_linear *out);
/* The tensor `name` seen as a matrix [n][k] (a convolution's weight, a bare projection), no bias. */
void kin_load_matrix(kin_loader *l, size_t rank, const size_t *shape, size_t n, size_t k, kin_linear *out,
                     const char *name, ...) KIN_PRINTF(7, 8);

/* The tensor `name` [k][n], which a row vector is multiplied with from the left, no bias. */
void kin_load_transposed(kin_loader *l, size_t n, size_t k, kin_linear *out, const char *name, ...) KIN_PRINTF(5, 6);
/* Pack weights [n][k] that were read and changed by the caller; `bias` [n] (NULL: none) passes to `out`. */
void kin_load_packed(kin_loader *l, size_t n, size_t k, const float *weights, float *bias, kin_linear *out);

/* Make the weights 8-bit ones. `norm` is what gives the input, NULL where none does. Where one does, its bias, which
 * all inputs share, moves from there into p->bias, and channels in which inputs are large and weights small are evened
 * out, lest a few of them coarsen the steps of all: by the weights of outputs from `first` on. The norm is only read.
 */
void kin_load_int8(kin_loader *l, kin_linear *p, const kin_norm *norm, size_t first);
/* The same for weights [n][3 * area] that read pixels normalised by normalise[3][256]: they then read the pixels'
 * levels themselves, which need no rounding (scale 1, zero 0). */
void kin_load_int8_pixels(kin_loader *l, kin_linear *p, size_t area, const float *normalise);

/* The status of a loader for a tower that will be taken from packed weights: nothing is read, and what would have been
 * stays as it was. */
#define KIN_LOAD_NOTHING ((kin_status)1000)

/* exp of the tensor logit_scale, which has one element. */
kin_status kin_load_logit_scale(const kin_weights *weights, double *out, kin_error *err);

void kin_linear_free(kin_linear *p);

#endif
