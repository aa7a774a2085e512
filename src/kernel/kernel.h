/* The table of kernels that one instruction set fills, and what is built on it.
 *
 * Every kernel gives the same bits on every instruction set. That holds because each is written as
 * operations on 16 lanes (lanes.h), each lane doing the same correctly rounded steps in the same
 * order, and because a GEMM element is one chain of fused multiply-adds over ascending k. */
#ifndef KIN_KERNEL_H
#define KIN_KERNEL_H

#include "base/context.h"

typedef enum kin_activation { KIN_ACT_NONE, KIN_ACT_GELU, KIN_ACT_QUICK_GELU, KIN_ACT_RELU } kin_activation;

/* Columns of a packed weight panel. */
#define KIN_PANEL 32

/* What happens to a finished GEMM row: c = last(residual + scale * act(c + bias)). Any pointer may be NULL. */
typedef struct kin_tail {
  const float *bias; /* [n] */
  kin_activation act;
  const float *scale;    /* [n], layer scale */
  const float *residual; /* [m][residual_ld]; may be the output itself */
  size_t residual_ld;
  kin_activation last; /* as in a residual network's relu(x + f(x)) */
} kin_tail;

/* A tile of integer sums: element j of row i stands for
 * scales[i] * weight_scales[j] * (sums[i * ld + j] - zeros[i] * weight_sums[j]). */
typedef struct kin_sums {
  const int32_t *sums;
  size_t ld;
  const float *scales;
  const int32_t *zeros;
  const float *weight_scales; /* these two are padded to whole panels */
  const int32_t *weight_sums;
} kin_sums;

/* Rows that a scan takes at once. */
#define KIN_SCAN_ROWS 64

/* What a row's estimated score for one query may be off by, and what it must reach to be of interest. */
typedef struct kin_scan_bound {
  float factor; /* estimate = factor * the row's scale * product */
  float error;  /* it's off by at most error * the row's error + constant */
  float constant;
  float least;
} kin_scan_bound;

/* Cache lines that a tile brings into the second-level cache, spread over its products: a burst of them would let its
 * own loads wait. Only a hint. */
typedef struct kin_ahead {
  const void *from;
  size_t lines;
} kin_ahead;

/* Sixteen points of a map, each with the neighbour that draws it (the first other) and those that push it away. */
#define KIN_MAP_LANES 16
#define KIN_MAP_OTHERS 6
typedef struct kin_map_step {
  float x[KIN_MAP_LANES], y[KIN_MAP_LANES];
  float other_x[KIN_MAP_OTHERS][KIN_MAP_LANES], other_y[KIN_MAP_OTHERS][KIN_MAP_LANES];
  float a, b; /* of UMAP's curve 1 / (1 + a d^(2 b)) */
  float alpha;
} kin_map_step;

typedef struct kin_kernels {
  const char *name;
  kin_isa isa;
  size_t tile_rows; /* most rows that gemm_tile takes, at most KIN_MAX_TILE_ROWS, unless: */
  bool panel_stays; /* gemm_tile takes any number of rows and keeps the panel in the first-level cache */
  /* Columns and k of the weights that a task works on at a time, which stay in the second-level cache; at most
   * KIN_MAX_BLOCK_COLUMNS and KIN_MAX_BLOCK_K. */
  size_t block_columns, block_k;

  /* c[rows][KIN_PANEL] (+)= a[rows][k] * b[k][KIN_PANEL], rows >= 1; row strides in floats. */
  void (*gemm_tile)(size_t rows, size_t k, const float *a, size_t lda, const float *b, size_t ldb, float *c, size_t ldc,
                    bool accumulate, kin_ahead ahead);
  /* One row of the tail: out[i] = last(residual[i] + scale[i] * act(c[i] + bias[i])); out may be c or residual. */
  void (*tail_row)(const float *c, const float *bias, kin_activation act, const float *scale, const float *residual,
                   kin_activation last, size_t n, float *out);
  /* The same tail on rows of at most KIN_PANEL integer sums, into c; the tail's arrays begin at the tile. */
  void (*tail_sums)(const kin_sums *s, size_t rows, size_t n, const kin_tail *tail, float *c, size_t ldc);
  /* y = x * multiply + add (multiply NULL: y = x) is about *scale * (out - *zero), out from 0 to 255: the range of y
   * and zero in equal steps. */
  void (*quantise)(const float *x, const float *multiply, const float *add, size_t n, uint8_t *out, float *scale,
                   int32_t *zero);
  /* out = (x - mean) / sqrt(variance + eps) * weight + bias; out may be x. */
  void (*layer_norm)(const float *x, const float *weight, const float *bias, float eps, size_t n, float *out);
  /* The largest of x[n]; n >= 1. */
  float (*maximum)(const float *x, size_t n);
  /* For each of x[n][k] the first of the largest of starts[c] + x * column c: that sum, and c. There are up to
   * KIN_NEAREST_COLUMNS columns, whole panels of them. */
  void (*nearest)(const float *panels, const float *starts, size_t columns, size_t k, const float *x, size_t n,
                  float *scores, int32_t *found);
  /* x = exp(scale * (x - max)) / sum, in place; n >= 1, scale > 0. */
  void (*softmax)(float *x, float scale, size_t n);
  float (*dot)(const float *a, const float *b, size_t n);
  /* out[i] = dot(row, queries + i * ld, dim), to the bit, for i < n */
  void (*dots)(const float *row, const float *queries, size_t ld, size_t dim, size_t n, float *out);
  /* out[i] = the product of `query` and rows[i], i < 4, in one chain of sixteen lanes each: four rows come from memory
   * at once. Not to the bit that of dot(). */
  void (*dot_four)(const float *query, const float *const rows[4], size_t dim, float out[4]);
  /* estimates[r] = factor * scales[r] * (high[r] + low[r] / 254), `low` may be NULL; bit r of the result tells
   * whether estimates[r] + error * errors[r] + constant >= least. All of KIN_SCAN_ROWS. */
  uint64_t (*select)(const float *high, const float *low, const float *scales, const float *errors,
                     const kin_scan_bound *bound, float *estimates);
  /* out = a + b; out may be either. */
  void (*add)(const float *a, const float *b, size_t n, float *out);
  /* x *= factor */
  void (*scale)(float *x, float factor, size_t n);
  /* out = a / (1 + exp(-a)) * b, the gate of SwiGLU; out may be either. */
  void (*gate)(const float *a, const float *b, size_t n, float *out);
  /* Winograd's transforms for outputs of side x side (convolution.c), side being 2 or 4. (side + 2)^2 pixels of
   * `channels` become as many points, `plane` floats apart. */
  void (*winograd_input)(size_t side, const float *const *pixels, size_t channels, float *points, size_t plane);
  /* And the sums at the points become act(outputs + bias) of side x side pixels, those which aren't NULL; sums are
   * padded to 16 channels. */
  void (*winograd_output)(size_t side, const float *sums, size_t plane, size_t channels, const float *bias,
                          kin_activation act, float *const *pixels);
  /* out = ((a + b) + (c + d)) / 4 */
  void (*average)(const float *a, const float *b, const float *c, const float *d, size_t n, float *out);
  /* b[j][i] = a[i][j] for a[rows][columns]; columns of b from rows up to b_columns (a multiple of 16) get 0. */
  void (*transpose)(const float *a, size_t lda, size_t rows, size_t columns, float *b, size_t ldb, size_t b_columns);
  /* Move x and y by one step of UMAP's gradient, alpha long: twice that of the first other, no part above 4. */
  void (*map_step)(kin_map_step *step);
  /* For benchmarks: `iterations` rounds of fused multiply-adds on registers alone, each of
   * peak_multiply_adds of them. The result only keeps the compiler from leaving them out. */
  float (*peak)(size_t iterations);
  size_t peak_multiply_adds;
} kin_kernels;

#define KIN_NEAREST_COLUMNS 512
#define KIN_MAX_TILE_ROWS 32
#define KIN_MAX_BLOCK_COLUMNS 256
#define KIN_MAX_BLOCK_K 384

extern const kin_kernels kin_kernels_scalar, kin_kernels_avx2, kin_kernels_avx512;

/* The table for `isa`, or NULL where this CPU, this system or this build lacks it. AUTO: the best. */
const kin_kernels *kin_kernels_for(kin_isa isa);

/* Products in bfloat16, summed in float. The bits depend on the table, but on nothing else. */
typedef struct kin_bf16_kernels {
  const char *name;
  size_t tile_rows;
  /* out[i] = x[i], rounded to nearest, ties to even */
  void (*round)(const float *x, size_t n, uint16_t *out);
  /* out[i] = act(sums[i] + bias[i]), rounded; bias may be NULL */
  void (*finish)(const float *sums, const float *bias, kin_activation act, size_t n, uint16_t *out);
  /* out = exp(scale * (x - max)) / sum, rounded; x is overwritten; n >= 1, scale > 0. */
  void (*softmax)(float *x, float scale, size_t n, uint16_t *out);
  /* c[rows][KIN_PANEL] (+)= a[rows][2 * pairs] * b, where b[pairs][KIN_PANEL][2] holds k in pairs. */
  void (*gemm_tile)(size_t rows, size_t pairs, const uint16_t *a, size_t lda, const uint16_t *b, float *c, size_t ldc,
                    bool accumulate);
  float (*peak)(size_t iterations); /* as in kin_kernels */
  size_t peak_multiply_adds;
} kin_bf16_kernels;

extern const kin_bf16_kernels kin_bf16_scalar, kin_bf16_avx512, kin_bf16_amx;

/* Whether this CPU has AMX-BF16 and the system lets this process use it. */
bool kin_amx_bf16_usable(void);

/* The table for `isa`, or NULL where there is none (AVX2, or a CPU without AVX512-BF16). */
const kin_bf16_kernels *kin_bf16_kernels_for(kin_isa isa);

/* Products of 8-bit activations (unsigned) and weights (signed), summed in 32-bit integers: exact, and so the same on
 * every instruction set. */
typedef struct kin_int8_kernels {
  const char *name;
  kin_isa isa;          /* what else of the CPU it needs */
  bool (*usable)(void); /* whether this CPU and system run it (where they have `isa`) */
  size_t tile_rows;     /* at most KIN_MAX_INT8_ROWS */
  /* What gemm_tile takes for 4 * quads bytes of a row, twice as many bytes; NULL: the bytes themselves. */
  void (*spread)(const uint8_t *row, size_t quads, uint8_t *out);
  /* sums[rows][KIN_PANEL] (+)= a[rows][4 * quads] * b[quads][KIN_PANEL][4]; quads is a multiple of 16; lda in bytes. */
  void (*gemm_tile)(size_t rows, size_t quads, const uint8_t *a, size_t lda, const int8_t *b, int32_t *sums,
                    size_t ld_sums, bool accumulate);
  int32_t (*peak)(size_t iterations); /* as in kin_kernels */
  size_t peak_multiply_adds;
} kin_int8_kernels;

#define KIN_MAX_INT8_ROWS 32

/* The tables of this build, the fastest first, ended by NULL. */
extern const kin_int8_kernels *const kin_int8_tables[];
extern const kin_int8_kernels kin_int8_scalar, kin_int8_avx2, kin_int8_avxvnni, kin_int8_vnni, kin_int8_amx;

/* The fastest usable table that needs no more than `isa`; AUTO: of all. */
const kin_int8_kernels *kin_int8_kernels_for(kin_isa isa);

/* Products of compact codes of KIN_SCAN_ROWS rows with queries. Unit u of row r lies at byte 4 * (u * KIN_SCAN_ROWS +
 * r): four int8 plus 128, or two bfloat16. */
typedef struct kin_scan_kernels {
  const char *name;
  /* out[i][r] = (starts[i] + sum of code * plane i), exact while below 2^24; plane i is planes[i * ld ...], each
   * number within [-127, 127]. */
  void (*int8)(const uint8_t *codes, size_t units, const int8_t *planes, size_t ld, const int32_t *starts, size_t n,
               float *out);
  /* out[i][r] = sum of code * plane i, in float in some order; ld in numbers. */
  void (*bf16)(const uint8_t *codes, size_t units, const uint16_t *planes, size_t ld, size_t n, float *out);
  /* out[i] = the sum of query * rows[i], i < 4, over n numbers within [-127, 127]: exact. n is a multiple of
   * KIN_INT8_STEP. */
  void (*int8_four)(const int8_t *query, const int8_t *const rows[4], size_t n, int32_t out[4]);
} kin_scan_kernels;

#define KIN_INT8_STEP 64

extern const kin_scan_kernels kin_scan_scalar, kin_scan_avx2, kin_scan_avx512, kin_scan_avx512vnni;

/* The fastest table for `isa`; never NULL where kin_kernels_for isn't. */
const kin_scan_kernels *kin_scan_kernels_for(kin_isa isa);

/* ------------------------------------------------------------------ GEMM */

/* A weight matrix in panels of KIN_PANEL columns, zero-padded: one of panels, bf16 and int8 is set
 * (kin_alloc_aligned). */
typedef struct kin_packed {
  size_t n, k;
  float *panels;  /* each [k][KIN_PANEL] */
  uint16_t *bf16; /* each [(k + 1) / 2][KIN_PANEL][2] */
  int8_t *int8;   /* each [kin_int8_stride(k) / 4][KIN_PANEL][4]: column j is scales[j] times that */
  float *scales;  /* of int8: [n, whole panels] ... */
  int32_t *sums;  /* ... and the sum of each column */
} kin_packed;

size_t kin_packed_bytes(const kin_packed *p);
/* Pack `count` matrices, part i being [n_parts[i]][k] as nn.Linear keeps it, one below the other. */
kin_status kin_pack(const float *const *parts, const size_t *n_parts, size_t count, size_t k, kin_packed *out,
                    kin_error *err);
/* Make float panels bfloat16 ones, in place of them. */
kin_status kin_pack_to_bf16(kin_packed *p, kin_error *err);
/* Make float panels 8-bit ones, in place of them: symmetric, the largest of each column becoming 127.
 * KIN_ERR_UNSUPPORTED where k is so large that a sum could overflow. */
kin_status kin_pack_to_int8(kin_packed *p, kin_error *err);
/* Columns [first, first + n) of p, first a multiple of KIN_PANEL. Borrowed from p: not to be freed. */
kin_packed kin_packed_columns(const kin_packed *p, size_t first, size_t n);
void kin_packed_free(kin_packed *p);

/* Rows of activations in 8 bits: element j of row i is scales[i] * (values[i * ld + j] - zeros[i]). ld is at least
 * kin_int8_stride(k); what lies beyond k is multiplied with zeros. */
typedef struct kin_quantised {
  size_t ld;
  uint8_t *values;
  float *scales;
  int32_t *zeros;
} kin_quantised;

/* k rounded up to whole steps of 64 bytes. */
size_t kin_int8_stride(size_t k);
/* Bytes of a kin_quantised of `rows` rows of k, and its parts laid into such memory (kin_alloc_aligned). */
size_t kin_quantised_bytes(size_t rows, size_t k);
kin_quantised kin_quantised_place(void *memory, size_t rows, size_t k);
/* x[k] * multiply + add (multiply NULL: x) becomes row `row` of `out`. */
void kin_quantise_row(const kin_kernels *kernels, size_t k, const float *x, const float *multiply, const float *add,
                      const kin_quantised *out, size_t row);
/* The same for the first `count` rows, on the context's pool. */
void kin_quantise_rows(const kin_context *context, size_t count, size_t k, const float *x, size_t ldx,
                       const float *multiply, const float *add, const kin_quantised *out);
/* kin_gemm_rows with int8 weights. */
void kin_gemm_int8(const kin_context *context, size_t m, const kin_quantised *a, const kin_packed *w, float *c,
                   size_t ldc, const kin_tail *tail);

/* Rows of activations as one product makes and the next reads them. One of the pointers is set. */
typedef struct kin_rows {
  float *f;
  uint16_t *h;            /* bfloat16, with such weights */
  const kin_quantised *q; /* 8 bits, with such weights; an input only */
  size_t ld;              /* of f or h: elements from one row to the next */
} kin_rows;

/* c[m][n] = tail(a[m][k] * w), on the context's pool; `tail` may be NULL. bfloat16 weights need a context with bf16
 * kernels; float rows `a` are rounded on the way to them, bfloat16 ones need an even k; bfloat16 rows c take
 * the tail's bias and act alone. Int8 weights need q and make floats. */
void kin_gemm_rows(const kin_context *context, size_t m, kin_rows a, const kin_packed *w, kin_rows c,
                   const kin_tail *tail);
/* The same of floats; not for int8 weights. */
void kin_gemm(const kin_context *context, size_t m, const float *a, size_t lda, const kin_packed *w, float *c,
              size_t ldc, const kin_tail *tail);

/* A row stride of at least n floats whose rows don't fall onto the same cache sets. */
size_t kin_row_stride(size_t n);

/* ----------------------------------------------------------- convolution */

/* Pictures one after another, channels innermost: value [image][y][x][channel] lies at
 * ((image * height + y) * width + x) * ld + channel. */
typedef struct kin_pictures {
  size_t images, height, width, channels;
  const float *values;
  size_t ld;
} kin_pictures;

/* out[images * height * width][n] = act(3x3 convolution of `in`, stride 1, one pixel of zeros around, + bias), on the
 * context's pool; bias may be NULL. w holds kin_convolution_weights, its k being (point, channel); `side` outputs
 * squared are made at a time, 2 or 4: 4 takes fewer products, but twice as many weights. `scratch` is of
 * kin_convolution_floats. */
void kin_convolve_3x3(const kin_context *context, const kin_pictures *in, size_t side, const kin_packed *w,
                      float *scratch, const float *bias, kin_activation act, float *out, size_t out_ld);
size_t kin_convolution_floats(const kin_pictures *in, size_t side);
/* The (side + 2)^2 points of the 3x3 weights g[ky][kx] from one channel to another. */
void kin_convolution_weights(size_t side, const double g[9], double *points);

/* ------------------------------------------------------------- attention */

/* Sequences lie one after another in the rows of k and v; heads side by side, head_dim wide each. */
typedef struct kin_attention {
  size_t heads, head_dim;
  bool causal;
  kin_rows q, k, v;     /* all of floats, or all of bfloat16, as then is `out`; head_dim is even then */
  const size_t *starts; /* [sequences + 1]: the first row of each sequence, then the total */
  size_t sequences;
  /* NULL: q has a row for every row of k. Else q and out have one row a sequence, which stands at
   * this row of it (which matters when causal). */
  const size_t *query_rows;
  kin_rows out; /* a row for each row of q */
} kin_attention;

/* softmax(q k^T / sqrt(head_dim)) v for every sequence and head. */
kin_status kin_attend(const kin_context *context, const kin_attention *attention, kin_error *err);

#endif
