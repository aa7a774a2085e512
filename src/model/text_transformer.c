/* A text transformer: reading CLIP's, and the forward pass. Texts are packed by their true length: no padding is
 * computed. */
#include "model/text_transformer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP_ROWS = 1024 };

void kin_text_describe(const kin_text_transformer *t, kin_model_info *info) {
  info->text_context = t->context, info->vocabulary = t->vocabulary;
  info->text_layers = t->stack.layers, info->text_width = t->stack.width, info->text_heads = t->stack.heads;
}

kin_status kin_text_load_clip(kin_loader *l, kin_text_transformer *t, const kin_text_names *names) {
  size_t width = t->stack.width;
  kin_load_table(l, t->vocabulary, width, &t->tokens, names->tokens);
  kin_load_floats(l, 2, (const size_t[]){t->context, width}, &t->positions, "%s", names->positions);
  kin_stack_load(l, &t->stack, names->blocks, names->block);
  kin_load_norm(l, width, t->stack.eps, &t->final_norm, "%s", names->final_norm);
  kin_linear *projection = &t->projections[0];
  t->n_projections = 1;
  if (names->projection_transposed)
    kin_load_transposed(l, t->dim, width, projection, "%s", names->projection);
  else
    kin_load_matrix(l, 2, (const size_t[]){t->dim, width}, t->dim, width, projection, "%s", names->projection);
  return l->status;
}

/* The row that becomes the vector. */
static size_t pooled_row(const kin_text_transformer *t, const int32_t *ids, size_t length) {
  size_t row = 0;
  if (t->pooling == KIN_POOL_FIRST) return 0;
  for (size_t i = 0; i < length; i++) {
    if (t->pooling == KIN_POOL_END_OF_TEXT && ids[i] == t->end_of_text) return i;
    if (t->pooling == KIN_POOL_LARGEST_ID && ids[i] > ids[row]) row = i;
  }
  return row;
}

typedef struct group {
  const kin_text_transformer *t;
  const kin_kernels *kernels;
  const int32_t *const *ids;
  const size_t *starts;
  kin_workspace *w;
} group;

static void embed_tokens(void *arg, size_t text) {
  const group *g = arg;
  size_t width = g->t->stack.width;
  for (size_t i = 0; i < g->starts[text + 1] - g->starts[text]; i++) {
    float *x = g->w->x + (g->starts[text] + i) * g->w->ld;
    g->kernels->add(kin_table_row(&g->t->tokens, (size_t)g->ids[text][i], x), g->t->positions + i * width, width, x);
  }
}

/* The mean of each text's rows, one behind the other in w->x. */
static void mean_rows(const group *g, size_t n) {
  size_t width = g->t->stack.width, ld = g->w->ld;
  for (size_t text = 0; text < n; text++) {
    float *mean = g->w->x + text * ld;
    size_t first = g->starts[text], rows = g->starts[text + 1] - first;
    memmove(mean, g->w->x + first * ld, width * sizeof *mean);
    for (size_t i = 1; i < rows; i++) g->kernels->add(mean, g->w->x + (first + i) * ld, width, mean);
    g->kernels->scale(mean, 1.0f / (float)rows, width);
  }
}

/* Projections of n rows of `x`, by way of w->wide and w->spare, into out[n][dim]. */
static void project(const kin_text_transformer *t, const kin_context *context, kin_workspace *w, const float *x,
                    size_t n, float *out) {
  size_t ld = w->ld;
  for (size_t p = 0; p < t->n_projections; p++) {
    bool last = p + 1 == t->n_projections;
    float *to = last ? out : p % 2 ? w->spare : w->wide;
    size_t to_ld = last ? t->dim : p % 2 ? w->qkv.ld : w->wide_ld;
    kin_gemm(context, n, x, ld, &t->projections[p].w, to, to_ld, &(kin_tail){.bias = t->projections[p].bias});
    x = to, ld = to_ld;
  }
  for (size_t i = 0; t->n_projections == 0 && i < n; i++) memcpy(out + i * t->dim, x + i * ld, t->dim * sizeof *out);
  for (size_t i = 0; t->normalise && i < n; i++) {
    float *row = out + i * t->dim, squared = context->kernels->dot(row, row, t->dim);
    if (squared > 0) context->kernels->scale(row, 1.0f / sqrtf(squared), t->dim);
  }
}

static kin_status encode_group(const kin_text_transformer *t, const kin_context *context, kin_workspace *w,
                               const int32_t *const *ids, const size_t *starts, const size_t *pooled, size_t n,
                               float *out, kin_error *err) {
  group g = {t, context->kernels, ids, starts, w};
  bool mean = t->pooling == KIN_POOL_MEAN;
  kin_parallel_for(context->pool, n, embed_tokens, &g);
  kin_rows x = {.f = w->x, .ld = w->ld};
  if (t->embed_norm.weight) kin_norm_rows(context, &t->embed_norm, starts[n], t->stack.width, w->x, w->ld, x);
  kin_status status = kin_stack_forward(context, &t->stack, w, starts, n, mean ? NULL : pooled, err);
  if (status != KIN_OK) return status;
  if (t->final_norm.weight)
    kin_norm_rows(context, &t->final_norm, mean ? starts[n] : n, t->stack.width, w->x, w->ld, x);
  if (mean) mean_rows(&g, n);
  project(t, context, w, w->x, n, out);
  return KIN_OK;
}

static kin_status check_ids(const kin_text_transformer *t, const int32_t *ids, size_t length, kin_error *err) {
  if (length < 1 || length > t->context)
    return kin_fail(err, KIN_ERR_ARGUMENT, "a text of %zu tokens: must be 1 to %zu", length, t->context);
  for (size_t i = 0; i < length; i++)
    if (ids[i] < 0 || (size_t)ids[i] >= t->vocabulary)
      return kin_fail(err, KIN_ERR_MISMATCH, "token %d is outside of the model's vocabulary of %zu", (int)ids[i],
                      t->vocabulary);
  return KIN_OK;
}

/* Texts [first, ...) whose rows fit into `rows`; at least one. Sets starts and pooled. */
static size_t take_group(const kin_text_transformer *t, const int32_t *const *ids, const size_t *lengths, size_t n,
                         size_t first, size_t rows, size_t *starts, size_t *pooled) {
  size_t count = 0;
  starts[0] = 0;
  for (; first + count < n; count++) {
    pooled[count] = pooled_row(t, ids[first + count], lengths[first + count]);
    /* Rows beyond the pooled one can't reach it where attention is causal: they are not computed. */
    starts[count + 1] = starts[count] + (t->stack.causal ? pooled[count] + 1 : lengths[first + count]);
    if (count > 0 && starts[count + 1] > rows) break;
  }
  return count;
}

static size_t widest_projection(const kin_text_transformer *t) {
  size_t widest = 0;
  for (size_t i = 0; i < t->n_projections; i++)
    if (t->projections[i].w.n > widest) widest = t->projections[i].w.n;
  return widest;
}

kin_status kin_text_encode(void *self, const kin_context *context, const int32_t *const *ids, const size_t *lengths,
                           size_t n, float *out, kin_error *err) {
  kin_text_transformer *t = self;
  size_t total = 0, longest = 0;
  for (size_t i = 0; i < n; i++) {
    kin_status status = check_ids(t, ids[i], lengths[i], err);
    if (status != KIN_OK) return status;
    total += lengths[i];
    if (lengths[i] > longest) longest = lengths[i];
  }
  size_t rows = total < GROUP_ROWS ? total : GROUP_ROWS;
  if (rows < longest) rows = longest;
  kin_workspace *w = kin_workspace_take(&t->workspaces, &t->stack, rows, widest_projection(t));
  size_t *starts = kin_array(2 * n + 1, sizeof *starts), *pooled = starts ? starts + n + 1 : NULL;
  kin_status status = KIN_OK;
  if (!w || !starts) status = kin_fail(err, KIN_ERR_MEMORY, "no memory to encode %zu texts", n);
  for (size_t i = 0, count; status == KIN_OK && i < n; i += count) {
    count = take_group(t, ids, lengths, n, i, rows, starts, pooled);
    status = encode_group(t, context, w, ids + i, starts, pooled, count, out + i * t->dim, err);
  }
  free(starts);
  if (w) kin_workspace_give(&t->workspaces, w);
  return status;
}

void kin_text_visit(void *self, kin_visitor *visitor) {
  kin_text_transformer *t = self;
  size_t width = t->stack.width;
  kin_stack_visit(&t->stack, visitor);
  kin_visit_floats(visitor, &t->positions, t->context * width);
  kin_visit_norm(visitor, &t->embed_norm, width), kin_visit_norm(visitor, &t->final_norm, width);
  kin_visit_size(visitor, &t->n_projections);
  for (size_t i = 0; i < KIN_MAX_PROJECTIONS; i++) kin_visit_linear(visitor, &t->projections[i]);
}

void kin_text_close(void *self) {
  kin_text_transformer *t = self;
  if (!t) return;
  free(t->stack.blocks);
  kin_workspaces_free(&t->workspaces);
  free(t);
}
