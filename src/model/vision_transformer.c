/* The vision transformer: reading CLIP's, and the forward pass. */
#include "model/vision_transformer.h"

#include <stdlib.h>
#include <string.h>

/* Rows that go through the blocks at once: more would leave the caches, fewer would starve the threads. */
enum { GROUP_ROWS = 1024, GROUP_ROWS_PER_THREAD = 128 };

void kin_vision_describe(const kin_vision_transformer *v, kin_model_info *info) {
  info->image_size = v->image_size, info->patch_size = v->patch;
  info->image_layers = v->stack.layers, info->image_width = v->stack.width, info->image_heads = v->stack.heads;
}

kin_status kin_vision_load_clip(kin_loader *l, kin_vision_transformer *v, const kin_vision_names *names) {
  size_t width = v->stack.width, patches = v->grid * v->grid, p = v->patch;
  kin_load_matrix(l, 4, (const size_t[]){width, 3, p, p}, width, 3 * p * p, &v->embed, "%s", names->embed);
  if (l->int8) kin_load_int8_pixels(l, &v->embed, p * p, v->normalise[0]);
  kin_load_floats(l, 1, &width, &v->prefix, "%s", names->class_token);
  kin_load_floats(l, 2, (const size_t[]){patches + 1, width}, &v->positions, "%s", names->positions);
  kin_load_norm(l, width, v->stack.eps, &v->pre_norm, "%s", names->pre_norm);
  kin_stack_load(l, &v->stack, names->blocks, names->block);
  kin_load_norm(l, width, v->stack.eps, &v->post_norm, "%s", names->post_norm);
  if (names->projection_transposed)
    kin_load_transposed(l, v->dim, width, &v->projection, "%s", names->projection);
  else
    kin_load_matrix(l, 2, (const size_t[]){v->dim, width}, v->dim, width, &v->projection, "%s", names->projection);
  if (l->status != KIN_OK) return l->status;
  for (size_t i = 0; i < width; i++) v->prefix[i] += v->positions[i];
  memmove(v->positions, v->positions + width, patches * width * sizeof *v->positions);
  return KIN_OK;
}

typedef struct input {
  const kin_vision_transformer *v;
  const kin_kernels *kernels;
  const kin_bf16_kernels *bf16;
  const uint8_t *crops;
  kin_workspace *w;
} input;

/* One picture's patches, as rows in the order of a convolution's weights: channel, y, x. */
static void cut_patches(void *arg, size_t image) {
  const input *in = arg;
  const kin_vision_transformer *v = in->v;
  kin_rows to = in->w->hidden;
  size_t side = v->image_size, p = v->patch;
  const uint8_t *crop = in->crops + image * side * side * 3;
  uint16_t rounded[3][256];
  for (size_t c = 0; to.h && c < 3; c++) in->bf16->round(v->normalise[c], 256, rounded[c]);
  for (size_t t = 0; t < v->grid * v->grid; t++) {
    size_t row = (image * v->grid * v->grid + t) * to.ld;
    const uint8_t *corner = crop + (t / v->grid * p * side + t % v->grid * p) * 3;
    for (size_t c = 0; c < 3; c++)
      for (size_t y = 0; y < p; y++, row += p) {
        const uint8_t *pixel = corner + y * side * 3 + c;
        for (size_t x = 0; to.h && x < p; x++) to.h[row + x] = rounded[c][pixel[3 * x]];
        for (size_t x = 0; to.f && x < p; x++) to.f[row + x] = v->normalise[c][pixel[3 * x]];
      }
  }
}

/* The same for int8 weights, which read the levels. */
static void cut_levels(void *arg, size_t image) {
  const input *in = arg;
  const kin_vision_transformer *v = in->v;
  size_t side = v->image_size, p = v->patch, patches = v->grid * v->grid, k = 3 * p * p;
  const kin_quantised *q = &in->w->quantised;
  const uint8_t *crop = in->crops + image * side * side * 3;
  for (size_t t = 0; t < patches; t++) {
    size_t row = image * patches + t;
    uint8_t *to = q->values + row * q->ld;
    const uint8_t *corner = crop + (t / v->grid * p * side + t % v->grid * p) * 3;
    for (size_t c = 0; c < 3; c++)
      for (size_t y = 0; y < p; y++)
        for (size_t x = 0; x < p; x++) *to++ = corner[(y * side + x) * 3 + c];
    memset(to, 0, kin_int8_stride(k) - k);
    q->scales[row] = 1.0f, q->zeros[row] = 0;
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
    in->kernels->add(in->w->spare + (image * patches + t) * in->w->qkv.ld, v->positions + t * width, width, row);
}

/* Crops -> tokens in w->x. */
static void embed_patches(const kin_vision_transformer *v, const kin_context *context, kin_workspace *w,
                          const uint8_t *crops, size_t n) {
  size_t patches = v->grid * v->grid, tokens = v->prefix_tokens + patches, width = v->stack.width;
  kin_rows x = {.f = w->x, .ld = w->ld};
  input in = {v, context->kernels, context->bf16, crops, w};
  kin_rows rows = v->embed.w.int8 ? (kin_rows){.q = kin_workspace_quantised(w, v->embed.w.k)} : w->hidden;
  kin_parallel_for(context->pool, n, rows.q ? cut_levels : cut_patches, &in);
  kin_gemm_rows(context, n * patches, rows, &v->embed.w, (kin_rows){.f = w->spare, .ld = w->qkv.ld},
                &(kin_tail){.bias = v->embed.bias});
  kin_parallel_for(context->pool, n, place_tokens, &in);
  if (v->pre_norm.weight) kin_norm_rows(context, &v->pre_norm, n * tokens, width, w->x, w->ld, x);
}

typedef struct pool {
  const kin_vision_transformer *v;
  const kin_kernels *kernels;
  const kin_workspace *w;
  bool with_class; /* the class token before the mean */
  float *out;      /* of the first picture; the next lies v->dim further on */
} pool;

/* One picture's vector, or a part of it, out of all its rows. */
static void pool_rows(void *arg, size_t image) {
  const pool *t = arg;
  const kin_vision_transformer *v = t->v;
  size_t patches = v->grid * v->grid, width = v->stack.width, ld = t->w->ld;
  const float *row = t->w->x + image * (v->prefix_tokens + patches) * ld;
  float *mean = t->out + image * v->dim;
  if (t->with_class) {
    memcpy(mean, row, width * sizeof *mean);
    mean += width;
  }
  memcpy(mean, row + v->prefix_tokens * ld, width * sizeof *mean);
  for (size_t i = 1; i < patches; i++) t->kernels->add(mean, row + (v->prefix_tokens + i) * ld, width, mean);
  t->kernels->scale(mean, 1.0f / (float)patches, width);
}

/* One picture's patch tokens. */
static void copy_patches(void *arg, size_t image) {
  const pool *t = arg;
  const kin_vision_transformer *v = t->v;
  size_t patches = v->grid * v->grid, width = v->stack.width, ld = t->w->ld;
  const float *row = t->w->x + (image * (v->prefix_tokens + patches) + v->prefix_tokens) * ld;
  for (size_t i = 0; i < patches; i++) memcpy(t->out + image * v->dim + i * width, row + i * ld, width * sizeof *row);
}

/* Tokens in w->x -> what the blocks of v->taps make of them. */
static kin_status tap_group(const kin_vision_transformer *v, const kin_context *context, kin_workspace *w, size_t n,
                            const size_t *starts, float *out, kin_error *err) {
  kin_status status = KIN_OK;
  size_t first = 0;
  for (size_t i = 0; status == KIN_OK && i < v->n_taps; i++) {
    kin_stack part = v->stack;
    part.blocks += first, part.layers = v->taps[i] + 1 - first;
    first = v->taps[i] + 1;
    status = kin_stack_forward(context, &part, w, starts, n, NULL, err);
    pool t = {v, context->kernels, w, true, out + i * 2 * v->stack.width};
    if (status == KIN_OK) kin_parallel_for(context->pool, n, pool_rows, &t);
  }
  return status;
}

/* Tokens in w->x -> vectors. */
static kin_status finish_group(const kin_vision_transformer *v, const kin_context *context, kin_workspace *w, size_t n,
                               size_t *starts, size_t *pooled, float *out, kin_error *err) {
  size_t tokens = v->prefix_tokens + v->grid * v->grid, width = v->stack.width;
  bool class_only = v->pooling == KIN_POOLING_CLS;
  for (size_t i = 0; i <= n; i++) starts[i] = i * tokens;
  if (v->n_taps) return tap_group(v, context, w, n, starts, out, err);
  memset(pooled, 0, n * sizeof *pooled);
  kin_status status = kin_stack_forward(context, &v->stack, w, starts, n, class_only ? pooled : NULL, err);
  if (status != KIN_OK) return status;
  if (v->post_norm.weight)
    kin_norm_rows(context, &v->post_norm, class_only ? n : n * tokens, width, w->x, w->ld,
                  (kin_rows){.f = w->x, .ld = w->ld});
  if (!class_only) {
    pool t = {v, context->kernels, w, v->pooling == KIN_POOLING_CLS_MEAN, out};
    kin_parallel_for(context->pool, n, v->pooling == KIN_POOLING_PATCHES ? copy_patches : pool_rows, &t);
  } else if (v->projection.w.n) {
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
  kin_workspace *w = kin_workspace_take(&v->workspaces, &v->stack, group * tokens, 3 * v->patch * v->patch);
  size_t *starts = kin_array(2 * group + 1, sizeof *starts);
  kin_status status = KIN_OK;
  if (!w || !starts) status = kin_fail(err, KIN_ERR_MEMORY, "no memory to encode %zu pictures at once", group);
  for (size_t i = 0, count; status == KIN_OK && i < n; i += count) {
    count = n - i < group ? n - i : group;
    embed_patches(v, context, w, crops + i * v->image_size * v->image_size * 3, count);
    status = finish_group(v, context, w, count, starts, starts + group + 1, out + i * v->dim, err);
  }
  free(starts);
  if (w) kin_workspace_give(&v->workspaces, w);
  return status;
}

void kin_vision_visit(void *self, kin_visitor *visitor) {
  kin_vision_transformer *v = self;
  size_t width = v->stack.width;
  kin_stack_visit(&v->stack, visitor);
  kin_visit_linear(visitor, &v->embed), kin_visit_linear(visitor, &v->projection);
  kin_visit_floats(visitor, &v->prefix, v->prefix_tokens * width);
  kin_visit_floats(visitor, &v->positions, v->grid * v->grid * width);
  kin_visit_norm(visitor, &v->pre_norm, width), kin_visit_norm(visitor, &v->post_norm, width);
}

void kin_vision_close(void *self) {
  kin_vision_transformer *v = self;
  if (!v) return;
  free(v->stack.blocks);
  kin_workspaces_free(&v->workspaces);
  free(v);
}
