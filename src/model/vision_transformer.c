/* The vision transformer's forward pass. */
#include "model/vision_transformer.h"

#include <stdlib.h>
#include <string.h>

/* Rows that go through the blocks at once: more would leave the caches, fewer would starve the threads. */
enum { GROUP_ROWS = 1024, GROUP_ROWS_PER_THREAD = 128 };

void kin_vision_set_normalise(kin_vision_transformer *v, const kin_preprocess *p) {
  for (size_t c = 0; c < 3; c++)
    for (size_t level = 0; level < 256; level++)
      v->normalise[c][level] = ((float)((double)level * (double)p->rescale) - p->mean[c]) / p->deviation[c];
}

typedef struct input {
  const kin_vision_transformer *v;
  const kin_kernels *kernels;
  const uint8_t *crops;
  kin_workspace *w;
} input;

/* One picture's patches, as rows in the order of a convolution's weights: channel, y, x. */
static void cut_patches(void *arg, size_t image) {
  const input *in = arg;
  const kin_vision_transformer *v = in->v;
  size_t side = v->image_size, p = v->patch;
  const uint8_t *crop = in->crops + image * side * side * 3;
  for (size_t t = 0; t < v->grid * v->grid; t++) {
    float *row = in->w->wide + (image * v->grid * v->grid + t) * in->w->wide_ld;
    const uint8_t *corner = crop + (t / v->grid * p * side + t % v->grid * p) * 3;
    for (size_t c = 0; c < 3; c++)
      for (size_t y = 0; y < p; y++)
        for (size_t x = 0; x < p; x++) *row++ = v->normalise[c][corner[(y * side + x) * 3 + c]];
  }
}

/* One picture's tokens: class token and registers, then the patches with their positions. */
static void place_tokens(void *arg, size_t image) {
  const input *in = arg;
  const kin_vision_transformer *v = in->v;
  size_t patches = v->grid * v->grid, width = v->stack.width, ld = in->w->ld;
  float *row = in->w->x + image * (v->prefix_tokens + patches) * ld;
  for (size_t t = 0; t < v->prefix_tokens; t++, row += ld) memcpy(row, v->prefix + t * width, width * sizeof *row);
  for (size_t t = 0; t < patches; t++, row += ld)
    in->kernels->add(in->w->next + (image * patches + t) * ld, v->positions + t * width, width, row);
}

static kin_status encode_group(const kin_vision_transformer *v, const kin_context *context, kin_workspace *w,
                               const uint8_t *crops, size_t n, size_t *starts, size_t *pooled, float *out,
                               kin_error *err) {
  size_t patches = v->grid * v->grid, tokens = v->prefix_tokens + patches, width = v->stack.width;
  input in = {v, context->kernels, crops, w};
  kin_parallel_for(context->pool, n, cut_patches, &in);
  kin_gemm(context, n * patches, w->wide, w->wide_ld, &v->embed.w, w->next, w->ld, &(kin_tail){.bias = v->embed.bias});
  kin_parallel_for(context->pool, n, place_tokens, &in);
  if (v->pre_norm.weight) kin_norm_rows(context, &v->pre_norm, n * tokens, width, w->x, w->ld, w->x, w->ld);
  for (size_t i = 0; i <= n; i++) starts[i] = i * tokens;
  memset(pooled, 0, n * sizeof *pooled);
  kin_status status = kin_stack_forward(context, &v->stack, w, starts, n, pooled, err);
  if (status != KIN_OK) return status;
  if (v->post_norm.weight) kin_norm_rows(context, &v->post_norm, n, width, w->x, w->ld, w->x, w->ld);
  if (v->projection.w.panels) {
    kin_gemm(context, n, w->x, w->ld, &v->projection.w, out, v->dim, NULL);
  } else {
    for (size_t i = 0; i < n; i++) memcpy(out + i * v->dim, w->x + i * w->ld, v->dim * sizeof *out);
  }
  return KIN_OK;
}

kin_status kin_vision_encode(void *self, const kin_context *context, const uint8_t *crops, size_t n, float *out,
                             kin_error *err) {
  kin_vision_transformer *v = self;
  size_t tokens = v->prefix_tokens + v->grid * v->grid;
  size_t rows = GROUP_ROWS_PER_THREAD * (size_t)kin_pool_threads(context->pool);
  size_t group = (rows > GROUP_ROWS ? rows : GROUP_ROWS) / tokens;
  if (group < 1) group = 1;
  if (group > n) group = n;
  kin_workspace *w = kin_workspace_take(&v->cache, &v->stack, group * tokens, 3 * v->patch * v->patch);
  size_t *starts = kin_array(2 * group + 1, sizeof *starts);
  kin_status status = KIN_OK;
  if (!w || !starts) status = kin_fail(err, KIN_ERR_MEMORY, "no memory to encode %zu pictures at once", group);
  for (size_t i = 0; status == KIN_OK && i < n; i += group)
    status = encode_group(v, context, w, crops + i * v->image_size * v->image_size * 3, n - i < group ? n - i : group,
                          starts, starts + group + 1, out + i * v->dim, err);
  free(starts);
  if (w) kin_workspace_give(&v->cache, w);
  return status;
}

void kin_vision_close(void *self) {
  kin_vision_transformer *v = self;
  if (!v) return;
  kin_stack_free(&v->stack);
  kin_linear_free(&v->embed), kin_linear_free(&v->projection);
  kin_free_aligned(v->prefix), kin_free_aligned(v->positions);
  kin_norm_free(&v->pre_norm), kin_norm_free(&v->post_norm);
  kin_workspace_cache_free(&v->cache);
  free(v);
}
