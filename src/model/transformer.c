/* A stack of transformer blocks: reading it, and the forward pass. */
#include "model/transformer.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void load_block(kin_loader *l, const kin_stack *s, const char *prefix, const kin_block_names *names,
                       kin_block *b) {
  kin_load_norm(l, s->width, s->eps, &b->norm1, "%s%s", prefix, names->norm1);
  if (names->qkv_weight) {
    size_t three = 3 * s->width;
    kin_load_matrix(l, 2, (const size_t[]){three, s->width}, three, s->width, &b->qkv, "%s%s", prefix,
                    names->qkv_weight);
    kin_load_floats(l, 1, &three, &b->qkv.bias, "%s%s", prefix, names->qkv_bias);
  } else {
    const char *const parts[] = {names->q, names->k, names->v};
    kin_load_fused(l, 3, s->width, s->width, true, prefix, parts, &b->qkv);
  }
  kin_load_linear(l, s->width, s->width, true, &b->out, "%s%s", prefix, names->out);
  kin_load_norm(l, s->width, s->eps, &b->norm2, "%s%s", prefix, names->norm2);
  kin_load_linear(l, s->gated ? 2 * s->hidden : s->hidden, s->width, true, &b->up, "%s%s", prefix, names->up);
  kin_load_linear(l, s->width, s->hidden, true, &b->down, "%s%s", prefix, names->down);
  if (names->scale1) kin_load_floats(l, 1, &s->width, &b->scale1, "%s%s", prefix, names->scale1);
  if (names->scale2) kin_load_floats(l, 1, &s->width, &b->scale2, "%s%s", prefix, names->scale2);
}

void kin_stack_load(kin_loader *l, kin_stack *stack, const char *prefix, const kin_block_names *names) {
  if (l->status != KIN_OK) return;
  stack->blocks = calloc(stack->layers, sizeof *stack->blocks);
  if (!stack->blocks) {
    l->status = kin_fail(l->err, KIN_ERR_MEMORY, "no memory for %zu layers", stack->layers);
    return;
  }
  for (size_t i = 0; i < stack->layers; i++) {
    char block[128];
    snprintf(block, sizeof block, "%s.%zu.", prefix, i);
    load_block(l, stack, block, names, &stack->blocks[i]);
  }
}

void kin_stack_free(kin_stack *stack) {
  for (size_t i = 0; stack->blocks && i < stack->layers; i++) {
    kin_block *b = &stack->blocks[i];
    kin_norm_free(&b->norm1), kin_norm_free(&b->norm2);
    kin_linear_free(&b->qkv), kin_linear_free(&b->out), kin_linear_free(&b->up), kin_linear_free(&b->down);
    kin_free_aligned(b->scale1), kin_free_aligned(b->scale2);
  }
  free(stack->blocks);
  stack->blocks = NULL;
}

/* ------------------------------------------------------------- workspace */

static void workspace_free(kin_workspace *w) {
  if (w) kin_free_aligned(w->x);
  free(w);
}

kin_workspace *kin_workspace_take(kin_workspace_cache *cache, const kin_stack *stack, size_t rows, size_t wide) {
  kin_workspace *w = atomic_exchange(&cache->kept, NULL);
  size_t up = stack->gated ? 2 * stack->hidden : stack->hidden;
  size_t wide_ld = kin_row_stride(up > wide ? up : wide);
  if (w && w->rows >= rows && w->wide_ld >= wide_ld) return w;
  workspace_free(w);
  w = calloc(1, sizeof *w);
  if (!w) return NULL;
  *w = (kin_workspace){
      .rows = rows, .ld = kin_row_stride(stack->width), .qkv_ld = kin_row_stride(3 * stack->width), .wide_ld = wide_ld};
  w->x = kin_alloc_aligned(rows * (3 * w->ld + w->qkv_ld + w->wide_ld) * sizeof *w->x);
  if (!w->x) {
    free(w);
    return NULL;
  }
  w->next = w->x + rows * w->ld;
  w->normed = w->next + rows * w->ld;
  w->qkv = w->normed + rows * w->ld;
  w->wide = w->qkv + rows * w->qkv_ld;
  return w;
}

void kin_workspace_give(kin_workspace_cache *cache, kin_workspace *w) {
  /* Passes swap x and next; the allocation begins at the lower one. */
  if (w->x > w->next) {
    float *x = w->x;
    w->x = w->next, w->next = x;
  }
  workspace_free(atomic_exchange(&cache->kept, w));
}

void kin_workspace_cache_free(kin_workspace_cache *cache) {
  workspace_free(atomic_exchange(&cache->kept, NULL));
}

/* --------------------------------------------------------------- forward */

typedef struct norm_rows {
  const kin_kernels *kernels;
  const kin_norm *norm;
  size_t rows, n, x_ld, out_ld;
  const float *x;
  float *out;
} norm_rows;

enum { NORM_ROWS = 32 }; /* of a task */

static void run_norm_rows(void *arg, size_t task) {
  const norm_rows *t = arg;
  size_t end = (task + 1) * NORM_ROWS < t->rows ? (task + 1) * NORM_ROWS : t->rows;
  for (size_t r = task * NORM_ROWS; r < end; r++)
    t->kernels->layer_norm(t->x + r * t->x_ld, t->norm->weight, t->norm->bias, t->norm->eps, t->n,
                           t->out + r * t->out_ld);
}

void kin_norm_rows(const kin_context *context, const kin_norm *norm, size_t rows, size_t n, const float *x, size_t x_ld,
                   float *out, size_t out_ld) {
  norm_rows t = {context->kernels, norm, rows, n, x_ld, out_ld, x, out};
  kin_parallel_for(context->pool, (rows + NORM_ROWS - 1) / NORM_ROWS, run_norm_rows, &t);
}

/* x += scale * (input w + bias) over `rows` rows, by way of w->next. */
static void add_product(const kin_context *context, kin_workspace *w, size_t rows, const float *input, size_t input_ld,
                        const kin_linear *linear, const float *scale) {
  kin_tail tail = {.bias = linear->bias, .scale = scale, .residual = w->x, .residual_ld = w->ld};
  kin_gemm(context, rows, input, input_ld, &linear->w, w->next, w->ld, &tail);
  float *x = w->x;
  w->x = w->next, w->next = x;
}

/* What a part reads: the rows themselves, or normed where the norm comes first. */
static const float *part_input(const kin_context *context, const kin_stack *s, const kin_norm *norm, kin_workspace *w,
                               size_t rows) {
  if (s->post_norm) return w->x;
  kin_norm_rows(context, norm, rows, s->width, w->x, w->ld, w->normed, w->ld);
  return w->normed;
}

/* After a part: its norm, where that comes last. */
static void part_output(const kin_context *context, const kin_stack *s, const kin_norm *norm, kin_workspace *w,
                        size_t rows) {
  if (s->post_norm) kin_norm_rows(context, norm, rows, s->width, w->x, w->ld, w->x, w->ld);
}

typedef struct gate_rows {
  const kin_kernels *kernels;
  size_t rows, n, ld;
  float *x;
} gate_rows;

static void run_gate_rows(void *arg, size_t task) {
  const gate_rows *t = arg;
  size_t end = (task + 1) * NORM_ROWS < t->rows ? (task + 1) * NORM_ROWS : t->rows;
  for (size_t r = task * NORM_ROWS; r < end; r++) {
    float *x = t->x + r * t->ld;
    t->kernels->gate(x, x + t->n, t->n, x);
  }
}

static void feed_forward(const kin_context *context, const kin_stack *s, const kin_block *b, kin_workspace *w,
                         size_t rows) {
  const float *input = part_input(context, s, &b->norm2, w, rows);
  kin_gemm(context, rows, input, w->ld, &b->up.w, w->wide, w->wide_ld,
           &(kin_tail){.bias = b->up.bias, .act = s->gated ? KIN_ACT_NONE : s->act});
  if (s->gated) {
    gate_rows t = {context->kernels, rows, s->hidden, w->wide_ld, w->wide};
    kin_parallel_for(context->pool, (rows + NORM_ROWS - 1) / NORM_ROWS, run_gate_rows, &t);
  }
  add_product(context, w, rows, w->wide, w->wide_ld, &b->down, b->scale2);
  part_output(context, s, &b->norm2, w, rows);
}

/* Keep only row pooled[s] of each sequence of `from`, into `to`. */
static void gather_rows(const float *from, size_t ld, size_t n, const size_t *starts, size_t sequences,
                        const size_t *pooled, float *to) {
  for (size_t s = 0; s < sequences; s++) memcpy(to + s * ld, from + (starts[s] + pooled[s]) * ld, n * sizeof *to);
}

/* Queries, keys and values of all rows into w->qkv; of the last block, queries of the pooled rows
 * alone, compacted. On return w->x holds the rows that go on. */
static void project_qkv(const kin_context *context, const kin_stack *s, const kin_block *b, kin_workspace *w,
                        const size_t *starts, size_t sequences, const size_t *pooled) {
  size_t rows = starts[sequences], width = s->width;
  const float *input = part_input(context, s, &b->norm1, w, rows);
  if (!pooled || width % KIN_PANEL) {
    kin_gemm(context, rows, input, w->ld, &b->qkv.w, w->qkv, w->qkv_ld, &(kin_tail){.bias = b->qkv.bias});
    if (!pooled) return;
    for (size_t i = 0; i < sequences; i++)
      memmove(w->qkv + i * w->qkv_ld, w->qkv + (starts[i] + pooled[i]) * w->qkv_ld, width * sizeof *w->qkv);
  } else {
    kin_packed kv = kin_packed_columns(&b->qkv.w, width, 2 * width), q = kin_packed_columns(&b->qkv.w, 0, width);
    kin_gemm(context, rows, input, w->ld, &kv, w->qkv + width, w->qkv_ld,
             &(kin_tail){.bias = b->qkv.bias ? b->qkv.bias + width : NULL});
    gather_rows(input, w->ld, width, starts, sequences, pooled, w->next);
    kin_gemm(context, sequences, w->next, w->ld, &q, w->qkv, w->qkv_ld, &(kin_tail){.bias = b->qkv.bias});
  }
  gather_rows(w->x, w->ld, width, starts, sequences, pooled, w->next);
  float *x = w->x;
  w->x = w->next, w->next = x;
}

kin_status kin_stack_forward(const kin_context *context, const kin_stack *stack, kin_workspace *w, const size_t *starts,
                             size_t sequences, const size_t *pooled, kin_error *err) {
  size_t width = stack->width;
  for (size_t i = 0; i < stack->layers; i++) {
    const kin_block *b = &stack->blocks[i];
    const size_t *only = i + 1 == stack->layers ? pooled : NULL;
    project_qkv(context, stack, b, w, starts, sequences, only);
    kin_attention attention = {.heads = stack->heads,
                               .head_dim = width / stack->heads,
                               .causal = stack->causal,
                               .q = w->qkv,
                               .k = w->qkv + width,
                               .v = w->qkv + 2 * width,
                               .q_ld = w->qkv_ld,
                               .kv_ld = w->qkv_ld,
                               .starts = starts,
                               .sequences = sequences,
                               .query_rows = only,
                               .out = w->normed,
                               .out_ld = w->ld};
    kin_status status = kin_attend(context, &attention, err);
    if (status != KIN_OK) return status;
    size_t rows = only ? sequences : starts[sequences];
    add_product(context, w, rows, w->normed, w->ld, &b->out, b->scale1);
    part_output(context, stack, &b->norm1, w, rows);
    feed_forward(context, stack, b, w, rows);
  }
  return KIN_OK;
}
