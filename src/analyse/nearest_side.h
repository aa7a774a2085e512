/* Vectors made ready for products whose error is known: centred, in bfloat16 or float, in rows and in panels. */
#ifndef KIN_NEAREST_SIDE_H
#define KIN_NEAREST_SIDE_H

#include "analyse/nearest.h"
#include "kernel/kernel.h"

/* What turns a vector into a row: v -> (v * factor, less the mean) * scale, the factors being given with the vectors:
 * 1 / |v| with cosines. */
typedef struct kin_nearest_frame {
  kin_metric metric;
  size_t dim;
  double *mean; /* [dim], of the set */
  double scale; /* brings the set within length 1; 1 for cosines */
  bool bf16;
} kin_nearest_frame;

/* Scores are looked at in chunks of so many, which the last panels may not fill. */
#define KIN_NEAREST_CHUNK 64
/* Floats of a vector below which products are the least of the work, and bfloat16 isn't worth it. */
#define KIN_LEAST_BF16 48

/* The score of column j for row i is rows[i] . rows[j] - bias[j]; the greater, the nearer.
 *   cosine:    cosine = score + offset[i]
 *   Euclidean: (scale * distance)^2 / 2 = offset[i] - score */
typedef struct kin_nearest_side {
  size_t n, padded; /* padded to whole panels */
  size_t words;     /* 32-bit words of a row: a float, or a pair of bfloat16 */
  void *rows;       /* [padded][words] */
  void *panels;     /* [padded / KIN_PANEL][words][KIN_PANEL]; NULL: not wanted */
  float *bias;      /* [padded + KIN_NEAREST_CHUNK]; infinite beyond n, so that nothing there is near */
  double *offset;   /* [n] */
  float *length;    /* [n], of the centred vectors */
  float *lost;      /* [n]: the length of what rounding took from them */
} kin_nearest_side;

/* The mean and scale of `set`; inverse[n] are its factors, NULL: 1. */
kin_status kin_nearest_frame_open(kin_context *context, const kin_vector_set *set, const double *inverse,
                                  kin_metric metric, kin_nearest_frame *out, kin_error *err);
void kin_nearest_frame_close(kin_nearest_frame *frame);

/* Vectors `chosen[n]` of `set` (NULL: all n); factors by vector of the set, NULL: 1. */
kin_status kin_nearest_side_open(kin_context *context, const kin_nearest_frame *frame, const kin_vector_set *set,
                                 const double *inverse, const size_t *chosen, size_t n, bool panels,
                                 kin_nearest_side *out, kin_error *err);
void kin_nearest_side_close(kin_nearest_side *side);

/* What the error of a score depends on in the columns. */
typedef struct kin_nearest_reach {
  double longest, lost, bias; /* the greatest of each */
  size_t dim;
} kin_nearest_reach;

kin_nearest_reach kin_nearest_reach_of(const kin_nearest_side *columns, size_t dim);
/* No score of row i with any of the columns is further from the true one. */
float kin_nearest_error(const kin_nearest_side *rows, size_t i, const kin_nearest_reach *reach);

/* out[rows][ld] = products of `count` rows that lie one after another from `rows` on (a side's words) with the panels
 * [panel, panel + panels) of `columns`; count at most kin_nearest_tile_rows. */
void kin_nearest_multiply(const kin_context *context, bool bf16, const void *rows, size_t count,
                          const kin_nearest_side *columns, size_t panel, size_t panels, float *out, size_t ld);
size_t kin_nearest_tile_rows(const kin_context *context, bool bf16);

/* Row i of a side. */
static inline const void *kin_nearest_row(const kin_nearest_side *side, size_t i) {
  return (const char *)side->rows + i * side->words * 4;
}

#endif
