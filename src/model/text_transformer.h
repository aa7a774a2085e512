/* A text transformer: tokens -> blocks -> one pooled row -> projections. CLIP's causal tower and BERT's family. */
#ifndef KIN_TEXT_TRANSFORMER_H
#define KIN_TEXT_TRANSFORMER_H

#include "model/transformer.h"

typedef enum kin_text_pooling {
  KIN_POOL_END_OF_TEXT, /* the row of the first end-of-text token */
  KIN_POOL_LARGEST_ID,  /* the first row of the largest id */
  KIN_POOL_FIRST,       /* row 0, BERT's [CLS] */
  KIN_POOL_MEAN         /* the mean of all rows */
} kin_text_pooling;

enum { KIN_MAX_PROJECTIONS = 4 };

typedef struct kin_text_transformer {
  size_t vocabulary, context, dim;
  kin_text_pooling pooling;
  int32_t end_of_text;
  kin_stack stack;
  kin_table tokens;                            /* [vocabulary][width] */
  float *positions;                            /* [context][width], with whatever else every text gets added */
  kin_norm embed_norm;                         /* weight NULL: none */
  kin_norm final_norm;                         /* weight NULL: none */
  kin_linear projections[KIN_MAX_PROJECTIONS]; /* one after another */
  size_t n_projections;
  bool normalise; /* the model itself ends in an L2 normalisation */
  kin_kept workspaces;
} kin_text_transformer;

/* How a layout of CLIP spells the tower's tensors; as kin_vision_names. */
typedef struct kin_text_names {
  const char *tokens, *positions, *blocks, *final_norm, *projection;
  bool projection_transposed;
  const kin_block_names *block;
} kin_text_names;

/* The tower's sizes into *info, all but dim. */
void kin_text_describe(const kin_text_transformer *t, kin_model_info *info);
/* Read the tensors of CLIP's tower, whose sizes are set. */
kin_status kin_text_load_clip(kin_loader *l, kin_text_transformer *t, const kin_text_names *names);

/* A kin_text_tower's functions; `self` is a kin_text_transformer, allocated with calloc. */
kin_status kin_text_encode(void *self, const kin_context *context, const int32_t *const *ids, const size_t *lengths,
                           size_t n, float *out, kin_error *err);
void kin_text_visit(void *self, kin_visitor *visitor);
void kin_text_close(void *self);

#endif
