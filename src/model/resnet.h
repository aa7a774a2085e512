/* CLIP's modified ResNet: a stem of three convolutions, four stages of bottlenecks that average before every
 * stride, and an attention pool whose only query is the mean. Activations lie channels innermost. */
#ifndef KIN_RESNET_H
#define KIN_RESNET_H

#include "image/image.h"
#include "model/kept.h"
#include "model/visit.h"

enum { KIN_RESNET_STAGES = 4 };

typedef struct kin_bottleneck {
  kin_linear conv1, conv2, conv3; /* 1x1, 3x3, 1x1, with their batch norms folded in */
  kin_linear downsample;          /* 1x1; w.n 0: none */
  bool halves;                    /* averages 2x2 pixels before conv3 and the downsample */
} kin_bottleneck;

/* Per head, so that the pool's keys and values of single tokens are never computed: with one query q,
 * q.(K x + b) is (K^T q).x + q.b, whose last part is the same for all tokens and falls out of the softmax, and
 * sum(p (V x + b)) is V sum(p x) + b. */
typedef struct kin_pool_head {
  kin_packed key;   /* K^T: head_dim -> width */
  kin_packed value; /* V: width -> head_dim */
} kin_pool_head;

typedef struct kin_resnet_workspace kin_resnet_workspace;

typedef struct kin_resnet {
  size_t image_size, width; /* channels after the stem; the last stage has 32 times as many */
  size_t heads, dim;
  size_t blocks[KIN_RESNET_STAGES];
  kin_linear stem[3];
  kin_bottleneck *bottlenecks[KIN_RESNET_STAGES];
  float *positions; /* [1 + (image_size / 32)^2][32 * width]: the mean's, then the pixels' */
  kin_linear query, out;
  kin_pool_head *pool;
  float *value_bias;
  float normalise[3][256]; /* a pixel's level -> the network's input, by channel */
  kin_kept workspaces;
} kin_resnet;

/* Outputs squared that a 3x3 convolution of pictures of `side` makes at a time: where they are small, fewer, since
 * their weights would take longer to read than to multiply with. */
static inline size_t kin_resnet_tile(size_t side) {
  return side > 14 ? 4 : 2;
}

/* Read "visual.*" as OpenAI names it; the sizes are set: image_size a multiple of 32, heads a divisor of
 * 32 * width. */
kin_status kin_resnet_load(kin_loader *l, kin_resnet *r);

/* A kin_image_tower's functions; `self` is a kin_resnet, allocated with calloc. */
kin_status kin_resnet_encode(void *self, const kin_context *context, const uint8_t *crops, size_t n, float *out,
                             kin_error *err);
void kin_resnet_visit(void *self, kin_visitor *v);
void kin_resnet_close(void *self);

#endif
