/* Vectors made ready for products whose error is known: centred, in bfloat16 or float, in rows and in panels. */
#ifndef KIN_NEAREST_SIDE_H
#define KIN_NEAREST_SIDE_H

#include "analyse/nearest.h"
#include "kernel/kernel.h"

/* What turns a vector into a row: v -> (v / |v| or v, less the mean) * scale. */
typedef struct kin_nearest_frame {
  kin_metric metric;
  size_t dim;
  double *mean; /* [dim], of the set */
  double scale; /* brings the set within length 1; 1 for cosines */
  bool bf16;
} kin_nearest_frame;

/* Scores are looked at in chunks of so many, which the last panels may not fill. */
#define KIN_NEAREST_CHUNK 64

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

/* The mean and scale of `set`; inverse[n] as kin_inverse_lengths gives it. */
kin_status kin_nearest_frame_open(const kin_vector_set *set, const double *inverse, kin_metric metric,
                                  kin_nearest_frame *out, kin_error *err);
void kin_nearest_frame_close(kin_nearest_frame *frame);

/* Vectors `chosen[n]` of `set` (NULL: all n). */
kin_status kin_nearest_side_open(kin_context *context, const kin_nearest_frame *frame, const kin_vector_set *set,
                                 const double *inverse, const size_t *chosen, size_t n, bool panels,
                                 kin_nearest_side *out, kin_error *err);
void kin_nearest_side_close(kin_nearest_side *side);

/* error[i] of row i: no score with any of `columns` is further from the true one. */
void kin_nearest_bound(const kin_nearest_side *rows, const kin_nearest_side *columns, size_t dim, float *error);

#endif
