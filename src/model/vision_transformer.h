/* The vision transformer: patches -> blocks -> the class token's row, the mean of the patches' rows, or both; or these
 * rows of several blocks, for a linear map to read. */
#ifndef KIN_VISION_TRANSFORMER_H
#define KIN_VISION_TRANSFORMER_H

#include "image/image.h"
#include "model/transformer.h"

enum { KIN_MAX_TAPS = 16 };

typedef struct kin_vision_transformer {
  size_t image_size, patch, grid; /* grid: patches along a side */
  size_t prefix_tokens;           /* before the patches: class token, registers */
  size_t dim;                     /* floats in a vector */
  kin_pooling pooling;            /* never DEFAULT */
  /* Where n_taps > 0 the vector is, for each of these blocks (ascending), the class token and the mean of the patches
   * as the block leaves them; pooling, post_norm and projection then don't count. */
  size_t taps[KIN_MAX_TAPS], n_taps;
  kin_stack stack;
  kin_linear embed;  /* [width][3 * patch * patch] */
  float *prefix;     /* [prefix_tokens][width]: class token with its position added, registers */
  float *positions;  /* [grid * grid][width] */
  kin_norm pre_norm; /* weight NULL: none */
  kin_norm post_norm;
  kin_linear projection;   /* w.n 0: none */
  float normalise[3][256]; /* a pixel's level -> the network's input, by channel */
  kin_kept workspaces;
} kin_vision_transformer;

/* How a layout of CLIP spells the tower's tensors. */
typedef struct kin_vision_names {
  const char *embed, *class_token, *positions; /* whole names */
  const char *pre_norm, *post_norm;            /* without .weight and .bias */
  const char *blocks;                          /* before the block's number */
  const char *projection;                      /* whole name */
  bool projection_transposed;                  /* [width][dim] */
  const kin_block_names *block;
} kin_vision_names;

/* The tower's sizes into *info, all but dim. */
void kin_vision_describe(const kin_vision_transformer *v, kin_model_info *info);
/* Read the tensors of CLIP's tower, whose sizes are set. */
kin_status kin_vision_load_clip(kin_loader *l, kin_vision_transformer *v, const kin_vision_names *names);
/* A kin_image_tower's functions; `self` is a kin_vision_transformer, allocated with calloc. */
kin_status kin_vision_encode(void *self, const kin_context *context, const uint8_t *crops, size_t n, float *out,
                             kin_error *err);
void kin_vision_visit(void *self, kin_visitor *visitor);
void kin_vision_close(void *self);

#endif
