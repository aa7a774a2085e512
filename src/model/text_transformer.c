/* The text transformer's forward pass. */
#include "model/text_transformer.h"

#include <stdlib.h>

enum { GROUP_ROWS = 1024 };

/* The row that becomes the vector. Later rows can't reach it (attention is causal), so they are
 * not computed. */
static size_t pooled_row(const kin_text_transformer *t, const int32_t *ids, size_t length) {
  size_t row = 0;
  for (size_t i = 0; i < length; i++) {
    if (t->end_of_text >= 0 && ids[i] == t->end_of_text) return i;
    if (t->end_of_text < 0 && ids[i] > ids[row]) row = i;
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
  for (size_t i = 0; i < g->starts[text + 1] - g->starts[text]; i++)
    g->kernels->add(g->t->tokens + (size_t)g->ids[text][i] * width, g->t->positions + i * width, width,
                    g->w->x + (g->starts[text] + i) * g->w->ld);
}

static kin_status encode_group(const kin_text_transformer *t, const kin_context *context, kin_workspace *w,
                               const int32_t *const *ids, const size_t *starts, const size_t *pooled, size_t n,
                               float *out, kin_error *err) {
  group g = {t, context->kernels, ids, starts, w};
  kin_parallel_for(context->pool, n, embed_tokens, &g);
  kin_status status = kin_stack_forward(context, &t->stack, w, starts, n, pooled, err);
  if (status != KIN_OK) return status;
  kin_norm_rows(context, &t->final_norm, n, t->stack.width, w->x, w->ld, w->x, w->ld);
  kin_gemm(context, n, w->x, w->ld, &t->projection.w, out, t->dim, NULL);
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
    starts[count + 1] = starts[count] + pooled[count] + 1;
    if (count > 0 && starts[count + 1] > rows) break;
  }
  return count;
}

kin_status kin_text_encode(void *self, const kin_context *context, const int32_t *const *ids, const size_t *lengths,
                           size_t n, float *out, kin_error *err) {
  kin_text_transformer *t = self;
  size_t total = 0;
  for (size_t i = 0; i < n; i++) {
    kin_status status = check_ids(t, ids[i], lengths[i], err);
    if (status != KIN_OK) return status;
    total += lengths[i];
  }
  size_t rows = total < GROUP_ROWS ? total : GROUP_ROWS;
  if (rows < t->context) rows = t->context;
  kin_workspace *w = kin_workspace_take(&t->cache, &t->stack, rows, 0);
  size_t *starts = kin_array(2 * n + 1, sizeof *starts), *pooled = starts ? starts + n + 1 : NULL;
  kin_status status = KIN_OK;
  if (!w || !starts) status = kin_fail(err, KIN_ERR_MEMORY, "no memory to encode %zu texts", n);
  for (size_t i = 0, count; status == KIN_OK && i < n; i += count) {
    count = take_group(t, ids, lengths, n, i, rows, starts, pooled);
    status = encode_group(t, context, w, ids + i, starts, pooled, count, out + i * t->dim, err);
  }
  free(starts);
  if (w) kin_workspace_give(&t->cache, w);
  return status;
}

void kin_text_close(void *self) {
  kin_text_transformer *t = self;
  if (!t) return;
  kin_stack_free(&t->stack);
  kin_free_aligned(t->tokens), kin_free_aligned(t->positions);
  kin_norm_free(&t->final_norm), kin_linear_free(&t->projection);
  kin_workspace_cache_free(&t->cache);
  free(t);
}
