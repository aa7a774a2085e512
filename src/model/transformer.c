/* A stack of transformer blocks: reading it, and the forward pass. */
#include "model/transformer.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* `input_norm`: what gives the block's rows, where the norms come last. */
static void load_block(kin_loader *l, const kin_stack *s, const char *prefix, const kin_block_names *names,
                       const kin_norm *input_norm, kin_block *b) {
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
  if (l->int8) {
    kin_load_int8(l, &b->qkv, s->post_norm ? input_norm : &b->norm1);
    kin_load_int8(l, &b->out, NULL);
    kin_load_int8(l, &b->up, s->post_norm ? &b->norm1 : &b->norm2);
    kin_load_int8(l, &b->down, NULL);
  }
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
    const kin_norm *input_norm = i ? &stack->blocks[i - 1].norm2 : stack->input_norm;
    load_block(l, stack, block, names, input_norm, &stack->blocks[i]);
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

bool kin_stack_is_int8(const kin_stack *stack) {
  return stack->layers && stack->blocks[0].qkv.w.int8;
}

/* ------------------------------------------------------------- workspace */

static void workspace_free(kin_workspace *w) {
  if (w) kin_free_aligned(w->x), kin_free_aligned(w->bytes);
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
  bool int8 = kin_stack_is_int8(stack);
  if (int8) w->bytes = kin_alloc_aligned(kin_quantised_bytes(rows, w->wide_ld > w->ld ? w->wide_ld : w->ld));
  if (!w->x || (int8 && !w->bytes)) {
    workspace_free(w);
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
  const kin_linear *reader; /* NULL, or what reads the rows from `quantised` */
  const kin_quantised *quantised;
  bool keep; /* the float rows are wanted too */
} norm_rows;

enum { NORM_ROWS = 32 }; /* of a task */

static void run_norm_rows(void *arg, size_t task) {
  const norm_rows *t = arg;
  size_t end = (task + 1) * NORM_ROWS < t->rows ? (task + 1) * NORM_ROWS : t->rows;
  for (size_t r = task * NORM_ROWS; r < end; r++) {
    /* Rows that only pass on to their 8 bits share one place, which stays in the cache. */
    float *out = t->out + (!t->reader || t->keep ? r : task * NORM_ROWS) * t->out_ld;
    t->kernels->layer_norm(t->x + r * t->x_ld, t->norm->weight, t->norm->bias, t->norm->eps, t->n, out);
    if (t->reader) kin_quantise_row(t->kernels, t->n, out, t->reader->multiply, t->reader->add, t->quantised, r);
  }
}

void kin_norm_rows(const kin_context *context, const kin_norm *norm, size_t rows, size_t n, const float *x, size_t x_ld,
                   float *out, size_t out_ld) {
  norm_rows t = {context->kernels, norm, rows, n, x_ld, out_ld, x, out, NULL, NULL, true};
  kin_parallel_for(context->pool, (rows + NORM_ROWS - 1) / NORM_ROWS, run_norm_rows, &t);
}

/* The rows that `reader` reads, quantised, are in w->bytes. */
static kin_quantised quantised_rows(const kin_workspace *w, const kin_linear *reader) {
  return kin_quantised_place(w->bytes, w->rows, reader->w.k);
}

/* Layer norm of w->x into `out`, and from there into w->bytes for `reader`, where that is in 8 bits. Whether it is. */
static bool norm_for(const kin_context *context, const kin_norm *norm, const kin_linear *reader, kin_workspace *w,
                     size_t rows, size_t n, float *out, bool keep) {
  if (!reader || !reader->w.int8) {
    kin_norm_rows(context, norm, rows, n, w->x, w->ld, out, w->ld);
    return false;
  }
  kin_quantised q = quantised_rows(w, reader);
  norm_rows t = {context->kernels, norm, rows, n, w->ld, w->ld, w->x, out, reader, &q, keep};
  kin_parallel_for(context->pool, (rows + NORM_ROWS - 1) / NORM_ROWS, run_norm_rows, &t);
  return true;
}

/* c = tail(input w). Of an int8 product `input` NULL means that its rows are in w->bytes already. */
static void product(const kin_context *context, kin_workspace *w, size_t rows, const float *input, size_t input_ld,
                    const kin_linear *linear, float *c, size_t ldc, const kin_tail *tail) {
  if (!linear->w.int8) {
    kin_gemm(context, rows, input, input_ld, &linear->w, c, ldc, tail);
    return;
  }
  kin_quantised q = quantised_rows(w, linear);
  if (input) kin_quantise_rows(context, rows, linear->w.k, input, input_ld, linear->multiply, linear->add, &q);
  kin_gemm_int8(context, rows, &q, &linear->w, c, ldc, tail);
}

/* x += scale * (input w + bias) over `rows` rows, by way of w->next. */
static void add_product(const kin_context *context, kin_workspace *w, size_t rows, const float *input, size_t input_ld,
                        const kin_linear *linear, const float *scale) {
  kin_tail tail = {.bias = linear->bias, .scale = scale, .residual = w->x, .residual_ld = w->ld};
  product(context, w, rows, input, input_ld, linear, w->next, w->ld, &tail);
  float *x = w->x;
  w->x = w->next, w->next = x;
}

/* What a part's first product reads: the rows themselves, or normed where the norm comes first; NULL where they are
 * in w->bytes (`ready`: from the norm before). */
static const float *part_input(const kin_context *context, const kin_stack *s, const kin_norm *norm,
                               const kin_linear *reader, kin_workspace *w, size_t rows, bool ready) {
  if (ready) return NULL;
  if (s->post_norm) return w->x;
  return norm_for(context, norm, reader, w, rows, s->width, w->normed, false) ? NULL : w->normed;
}

/* After a part: its norm, where that comes last. Whether it left its rows in w->bytes for `reader` (NULL: none). */
static bool part_output(const kin_context *context, const kin_stack *s, const kin_norm *norm, const kin_linear *reader,
                        kin_workspace *w, size_t rows) {
  return s->post_norm && norm_for(context, norm, reader, w, rows, s->width, w->x, true);
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

/* `ready` as of part_input. */
static void feed_forward(const kin_context *context, const kin_stack *s, const kin_block *b, kin_workspace *w,
                         size_t rows, bool ready) {
  const float *input = part_input(context, s, &b->norm2, &b->up, w, rows, ready);
  product(context, w, rows, input, w->ld, &b->up, w->wide, w->wide_ld,
          &(kin_tail){.bias = b->up.bias, .act = s->gated ? KIN_ACT_NONE : s->act});
  if (s->gated) {
    gate_rows t = {context->kernels, rows, s->hidden, w->wide_ld, w->wide};
    kin_parallel_for(context->pool, (rows + NORM_ROWS - 1) / NORM_ROWS, run_gate_rows, &t);
  }
  add_product(context, w, rows, w->wide, w->wide_ld, &b->down, b->scale2);
}

/* Keep only row pooled[s] of each sequence of `from`, into `to`. */
static void gather_rows(const float *from, size_t ld, size_t n, const size_t *starts, size_t sequences,
                        const size_t *pooled, float *to) {
  for (size_t s = 0; s < sequences; s++) memcpy(to + s * ld, from + (starts[s] + pooled[s]) * ld, n * sizeof *to);
}

/* Of 8-bit rows only those that `pooled` wants, moved to the front. */
static void compact_quantised(const kin_quantised *q, size_t k, const size_t *starts, size_t sequences,
                              const size_t *pooled) {
  for (size_t s = 0; s < sequences; s++) {
    size_t from = starts[s] + pooled[s];
    memmove(q->values + s * q->ld, q->values + from * q->ld, kin_int8_stride(k));
    q->scales[s] = q->scales[from], q->zeros[s] = q->zeros[from];
  }
}

/* Queries of the pooled rows alone, compacted; keys and values of all. */
static void project_pooled(const kin_context *context, const kin_linear *qkv, size_t width, kin_workspace *w,
                           const float *input, const size_t *starts, size_t sequences, const size_t *pooled) {
  kin_linear kv = *qkv, q = *qkv;
  kv.w = kin_packed_columns(&qkv->w, width, 2 * width), q.w = kin_packed_columns(&qkv->w, 0, width);
  if (kv.bias) kv.bias += width;
  product(context, w, starts[sequences], input, w->ld, &kv, w->qkv + width, w->qkv_ld, &(kin_tail){.bias = kv.bias});
  if (q.w.int8) {
    kin_quantised rows = quantised_rows(w, &q);
    compact_quantised(&rows, width, starts, sequences, pooled);
    product(context, w, sequences, NULL, 0, &q, w->qkv, w->qkv_ld, &(kin_tail){.bias = q.bias});
  } else {
    gather_rows(input, w->ld, width, starts, sequences, pooled, w->next);
    product(context, w, sequences, w->next, w->ld, &q, w->qkv, w->qkv_ld, &(kin_tail){.bias = q.bias});
  }
}

/* Queries, keys and values of all rows into w->qkv; of the last block, queries of the pooled rows
 * alone, compacted. On return w->x holds the rows that go on. `ready` as of part_input. */
static void project_qkv(const kin_context *context, const kin_stack *s, const kin_block *b, kin_workspace *w,
                        const size_t *starts, size_t sequences, const size_t *pooled, bool ready) {
  size_t rows = starts[sequences], width = s->width;
  const float *input = part_input(context, s, &b->norm1, &b->qkv, w, rows, ready);
  if (!pooled || width % KIN_PANEL) {
    product(context, w, rows, input, w->ld, &b->qkv, w->qkv, w->qkv_ld, &(kin_tail){.bias = b->qkv.bias});
    if (!pooled) return;
    for (size_t i = 0; i < sequences; i++)
      memmove(w->qkv + i * w->qkv_ld, w->qkv + (starts[i] + pooled[i]) * w->qkv_ld, width * sizeof *w->qkv);
  } else {
    project_pooled(context, &b->qkv, width, w, input, starts, sequences, pooled);
  }
  gather_rows(w->x, w->ld, width, starts, sequences, pooled, w->next);
  float *x = w->x;
  w->x = w->next, w->next = x;
}

kin_status kin_stack_forward(const kin_context *context, const kin_stack *stack, kin_workspace *w, const size_t *starts,
                             size_t sequences, const size_t *pooled, kin_error *err) {
  size_t width = stack->width;
  bool ready = false;
  for (size_t i = 0; i < stack->layers; i++) {
    const kin_block *b = &stack->blocks[i];
    bool last = i + 1 == stack->layers;
    const size_t *only = last ? pooled : NULL;
    project_qkv(context, stack, b, w, starts, sequences, only, ready);
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
    ready = part_output(context, stack, &b->norm1, &b->up, w, rows);
    feed_forward(context, stack, b, w, rows, ready);
    ready = part_output(context, stack, &b->norm2, last ? NULL : &b[1].qkv, w, rows);
  }
  return KIN_OK;
}
