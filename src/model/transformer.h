/* A stack of transformer blocks: the layer norm before each part as in CLIP and DINOv2, or after it as in BERT. */
#ifndef KIN_TRANSFORMER_H
#define KIN_TRANSFORMER_H

#include "model/kept.h"
#include "model/visit.h"

typedef struct kin_block {
  kin_norm norm1, norm2;
  kin_linear qkv, out, up, down;
  float *scale1, *scale2; /* layer scale; NULL: none */
} kin_block;

typedef struct kin_stack {
  size_t width, heads, hidden, layers; /* `hidden`: of the feed-forward part */
  kin_activation act;
  bool gated; /* SwiGLU: down(silu(first half of up) * second half), `act` unused */
  bool causal;
  bool post_norm; /* norm1 and norm2 follow attention and feed-forward, on the sum with the residual */
  double eps;
  const kin_norm *input_norm; /* of post_norm: what gives the first block's rows, read while loading; NULL: none */
  kin_block *blocks;
} kin_stack;

/* How a layout spells a block's tensors, below PREFIX.N. */
typedef struct kin_block_names {
  const char *norm1, *q, *k, *v, *out, *norm2, *up, *down;
  const char *qkv_weight, *qkv_bias; /* instead of q, k and v where one tensor holds them all */
  const char *scale1, *scale2;       /* NULL: no layer scale */
} kin_block_names;

/* Read blocks 0 .. layers - 1 ("PREFIX.N.NAME.weight"); the other fields are set by the caller. */
void kin_stack_load(kin_loader *l, kin_stack *stack, const char *prefix, const kin_block_names *names);
/* `blocks` themselves, an array of calloc, are the caller's to free. */
void kin_stack_visit(kin_stack *stack, kin_visitor *v);

/* Memory for one forward pass over `rows` rows, kept between passes. */
typedef struct kin_workspace {
  size_t rows, ld, wide_ld;
  float *x, *wide;         /* [rows] of ld, wide_ld floats */
  kin_rows qkv;            /* what attention reads: floats, or bfloat16 with such weights */
  float *spare;            /* [rows][qkv.ld] floats, the memory of qkv: for use before and after the blocks */
  kin_rows normed, hidden; /* what products read, floats or bfloat16; `hidden` is `wide` or lies in it */
  void *bytes;             /* of an int8 stack: room for `quantised` rows as wide as x or wide */
  kin_quantised quantised; /* what an int8 product reads */
} kin_workspace;

/* `wide` is the least width wanted of the widest buffer (an encoder's input may need more than the
 * feed-forward part). NULL when there is no memory. Give back with kin_workspace_give. */
kin_workspace *kin_workspace_take(kin_kept *kept, const kin_stack *stack, size_t rows, size_t wide);
void kin_workspace_give(kin_kept *kept, kin_workspace *w);
void kin_workspaces_free(kin_kept *kept);

/* Run sequences that lie one after another in w->x (starts[sequences + 1]) through all blocks.
 * `pooled` NULL: w->x then holds every row. Else pooled[s] is the only row of sequence s that is
 * wanted, and w->x holds these, one a sequence: the last block computes nothing else. */
kin_status kin_stack_forward(const kin_context *context, const kin_stack *stack, kin_workspace *w, const size_t *starts,
                             size_t sequences, const size_t *pooled, kin_error *err);

/* The widest rows that a stack with bfloat16 or 8-bit weights may have. */
#define KIN_MAX_NARROW_WIDTH 4096

/* The rows that int8 weights read are to be made in what this returns: w->quantised, laid out for rows of k. */
const kin_quantised *kin_workspace_quantised(kin_workspace *w, size_t k);

/* Layer norm of `rows` rows, on the context's pool; `norm` NULL: only their rounding. `out` may be x. */
void kin_norm_rows(const kin_context *context, const kin_norm *norm, size_t rows, size_t n, const float *x, size_t x_ld,
                   kin_rows out);

#endif
