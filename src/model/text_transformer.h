/* CLIP's causal text transformer: tokens -> blocks -> the end-of-text row -> projection. */
#ifndef KIN_TEXT_TRANSFORMER_H
#define KIN_TEXT_TRANSFORMER_H

#include "model/transformer.h"

typedef struct kin_text_transformer {
  size_t vocabulary, context, dim;
  int32_t end_of_text; /* the first of these is pooled; -1: the largest id */
  kin_stack stack;
  float *tokens;    /* [vocabulary][width] */
  float *positions; /* [context][width] */
  kin_norm final_norm;
  kin_linear projection;
  kin_workspace_cache cache;
} kin_text_transformer;

/* A kin_text_tower's functions; `self` is a kin_text_transformer, allocated with calloc. */
kin_status kin_text_encode(void *self, const kin_context *context, const int32_t *const *ids, const size_t *lengths,
                           size_t n, float *out, kin_error *err);
void kin_text_close(void *self);

#endif
