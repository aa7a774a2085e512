/* The vision transformer: patches -> blocks -> the class token's row. */
#ifndef KIN_VISION_TRANSFORMER_H
#define KIN_VISION_TRANSFORMER_H

#include "image/image.h"
#include "model/transformer.h"

typedef struct kin_vision_transformer {
  size_t image_size, patch, grid; /* grid: patches along a side */
  size_t prefix_tokens;           /* before the patches: class token, registers */
  size_t dim;                     /* floats in a vector */
  kin_stack stack;
  kin_linear embed;  /* [width][3 * patch * patch] */
  float *prefix;     /* [prefix_tokens][width], with the class token's position added */
  float *positions;  /* [grid * grid][width] */
  kin_norm pre_norm; /* weight NULL: none */
  kin_norm post_norm;
  kin_linear projection;   /* w.panels NULL: none */
  float normalise[3][256]; /* a pixel's level -> the network's input, by channel */
  kin_workspace_cache cache;
} kin_vision_transformer;

void kin_vision_set_normalise(kin_vision_transformer *v, const kin_preprocess *p);
/* A kin_image_tower's functions; `self` is a kin_vision_transformer, allocated with calloc. */
kin_status kin_vision_encode(void *self, const kin_context *context, const uint8_t *crops, size_t n, float *out,
                             kin_error *err);
void kin_vision_close(void *self);

#endif
