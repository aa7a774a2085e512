/* Reading CLIP's ResNet: batch norms folded into the convolutions, the attention pool cut into heads. */
#include "model/resnet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const double batch_norm_eps = 1e-5;

static void no_memory(kin_loader *l) {
  if (l->status == KIN_OK) l->status = kin_fail(l->err, KIN_ERR_MEMORY, "no memory for the image tower's weights");
}

typedef struct batch_norm {
  float *weight, *bias, *mean, *variance;
} batch_norm;

static void load_batch_norm(kin_loader *l, size_t n, batch_norm *out, const char *name) {
  kin_load_floats(l, 1, &n, &out->weight, "%s.weight", name);
  kin_load_floats(l, 1, &n, &out->bias, "%s.bias", name);
  kin_load_floats(l, 1, &n, &out->mean, "%s.running_mean", name);
  kin_load_floats(l, 1, &n, &out->variance, "%s.running_var", name);
  for (size_t i = 0; l->status == KIN_OK && i < n; i++)
    if (!((double)out->variance[i] + batch_norm_eps > 0))
      l->status = kin_fail(l->err, KIN_ERR_FORMAT, "%s.running_var: value %zu is %g, but a variance can't be negative",
                           name, i, (double)out->variance[i]);
}

static void batch_norm_free(batch_norm *p) {
  kin_free_aligned(p->weight), kin_free_aligned(p->bias), kin_free_aligned(p->mean), kin_free_aligned(p->variance);
}

/* What becomes of the area weights from one channel to another. */
typedef struct kernel_form {
  size_t area, points; /* weights, and numbers that they are packed as */
  size_t tile;         /* of kin_convolve_3x3; 0: packed as they are */
} kernel_form;

static const kernel_form one_by_one = {1, 1, 0};

static kernel_form three_by_three(size_t side) {
  size_t tile = kin_resnet_tile(side);
  return (kernel_form){9, (tile + 2) * (tile + 2), tile};
}

/* A convolution and the batch norm after it as one, packed with k in the order (point, channel). */
static void load_convolution(kin_loader *l, const char *prefix, const char *convolution, const char *norm, size_t n,
                             size_t channels, kernel_form form, kin_linear *out) {
  size_t area = form.area, side = area == 1 ? 1 : 3, k = channels * form.points;
  char norm_name[160];
  if (l->status != KIN_OK) return;
  float *weights = NULL, *folded = kin_alloc_aligned(n * k * sizeof *folded);
  float *bias = kin_alloc_aligned(n * sizeof *bias);
  batch_norm b = {0};
  uint64_t bytes = l->bytes; /* what is folded isn't held */
  if (!folded || !bias) no_memory(l);
  kin_load_floats(l, 4, (const size_t[]){n, channels, side, side}, &weights, "%s%s.weight", prefix, convolution);
  snprintf(norm_name, sizeof norm_name, "%s%s", prefix, norm);
  load_batch_norm(l, n, &b, norm_name);
  l->bytes = bytes;
  if (l->status == KIN_OK) {
    for (size_t i = 0; i < n; i++) {
      double scale = (double)b.weight[i] / sqrt((double)b.variance[i] + batch_norm_eps), taps[9], points[36];
      bias[i] = (float)((double)b.bias[i] - (double)b.mean[i] * scale);
      for (size_t c = 0; c < channels; c++) {
        for (size_t tap = 0; tap < area; tap++) taps[tap] = (double)weights[(i * channels + c) * area + tap] * scale;
        if (form.tile) kin_convolution_weights(form.tile, taps, points);
        for (size_t p = 0; p < form.points; p++)
          folded[i * k + p * channels + c] = (float)(form.tile ? points : taps)[p];
      }
    }
    kin_load_packed(l, n, k, folded, bias, out);
  } else {
    kin_free_aligned(bias);
  }
  batch_norm_free(&b);
  kin_free_aligned(weights), kin_free_aligned(folded);
}

static void load_stage(kin_loader *l, kin_resnet *r, size_t stage) {
  size_t planes = r->width << stage, in = stage ? 2 * planes : r->width;
  kin_bottleneck *blocks = calloc(r->blocks[stage], sizeof *blocks);
  r->bottlenecks[stage] = blocks;
  if (!blocks) no_memory(l);
  for (size_t i = 0; blocks && i < r->blocks[stage]; i++, in = 4 * planes) {
    char prefix[64];
    snprintf(prefix, sizeof prefix, "visual.layer%zu.%zu.", stage + 1, i);
    kin_bottleneck *b = &blocks[i];
    b->halves = stage > 0 && i == 0;
    size_t side = r->image_size / ((size_t)4 << stage) * (b->halves ? 2 : 1);
    load_convolution(l, prefix, "conv1", "bn1", planes, in, one_by_one, &b->conv1);
    load_convolution(l, prefix, "conv2", "bn2", planes, planes, three_by_three(side), &b->conv2);
    load_convolution(l, prefix, "conv3", "bn3", 4 * planes, planes, one_by_one, &b->conv3);
    if (i == 0) load_convolution(l, prefix, "downsample.0", "downsample.1", 4 * planes, in, one_by_one, &b->downsample);
  }
}

/* One head's rows of the key and value matrices [width][width]. */
static void pack_head(kin_loader *l, size_t width, size_t head_dim, const float *key, const float *value,
                      kin_pool_head *out) {
  float *transposed = kin_alloc_aligned(width * head_dim * sizeof *transposed);
  if (!transposed) no_memory(l);
  for (size_t i = 0; l->status == KIN_OK && i < width; i++)
    for (size_t j = 0; j < head_dim; j++) transposed[i * head_dim + j] = key[j * width + i];
  kin_linear keys = {0}, values = {0};
  kin_load_packed(l, width, head_dim, transposed, NULL, &keys);
  kin_load_packed(l, head_dim, width, value, NULL, &values);
  *out = (kin_pool_head){keys.w, values.w};
  kin_free_aligned(transposed);
}

static void load_pool(kin_loader *l, kin_resnet *r) {
  size_t width = 32 * r->width, side = r->image_size / 32, head_dim = width / r->heads;
  const size_t square[] = {width, width};
  float *key = NULL, *key_bias = NULL, *value = NULL;
  kin_load_floats(l, 2, (const size_t[]){1 + side * side, width}, &r->positions,
                  "visual.attnpool.positional_embedding");
  kin_load_linear(l, width, width, true, &r->query, "visual.attnpool.q_proj");
  kin_load_linear(l, r->dim, width, true, &r->out, "visual.attnpool.c_proj");
  kin_load_floats(l, 1, &width, &r->value_bias, "visual.attnpool.v_proj.bias");
  uint64_t bytes = l->bytes;
  kin_load_floats(l, 2, square, &key, "visual.attnpool.k_proj.weight");
  kin_load_floats(l, 1, &width, &key_bias, "visual.attnpool.k_proj.bias"); /* changes no vector: see kin_pool_head */
  kin_load_floats(l, 2, square, &value, "visual.attnpool.v_proj.weight");
  l->bytes = bytes;
  r->pool = calloc(r->heads, sizeof *r->pool);
  if (!r->pool) no_memory(l);
  for (size_t h = 0; l->status == KIN_OK && h < r->heads; h++)
    pack_head(l, width, head_dim, key + h * head_dim * width, value + h * head_dim * width, &r->pool[h]);
  kin_free_aligned(key), kin_free_aligned(key_bias), kin_free_aligned(value);
}

kin_status kin_resnet_load(kin_loader *l, kin_resnet *r) {
  size_t half = r->width / 2;
  load_convolution(l, "visual.", "conv1", "bn1", half, 3, (kernel_form){9, 9, 0}, &r->stem[0]);
  load_convolution(l, "visual.", "conv2", "bn2", half, half, three_by_three(r->image_size / 2), &r->stem[1]);
  load_convolution(l, "visual.", "conv3", "bn3", r->width, half, three_by_three(r->image_size / 2), &r->stem[2]);
  for (size_t stage = 0; stage < KIN_RESNET_STAGES; stage++) load_stage(l, r, stage);
  load_pool(l, r);
  return l->status;
}
