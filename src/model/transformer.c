/* A stack of transformer blocks: reading it, and the forward pass. */
#include "model/transformer.h"

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
    /* Errors of queries and keys drown in the softmax; those of values pass straight on. */
    kin_load_int8(l, &b->qkv, s->post_norm ? input_norm : &b->norm1, 2 * s->width);
    kin_load_int8(l, &b->out, NULL, 0);
    kin_load_int8(l, &b->up, s->post_norm ? &b->norm1 : &b->norm2, 0);
    kin_load_int8(l, &b->down, NULL, 0);
  }
  if (names->scale1) kin_load_floats(l, 1, &s->width, &b->scale1, "%s%s", prefix, names->scale1);
  if (names->scale2) kin_load_floats(l, 1, &s->width, &b->scale2, "%s%s", prefix, names->scale2);
}

void kin_stack_load(kin_loader *l, kin_stack *stack, const char *prefix, const kin_block_names *names) {
  if (l->status == KIN_OK && (l->bf16 || l->int8) && stack->width > KIN_MAX_NARROW_WIDTH)
    l->status = kin_fail(l->err, KIN_ERR_UNSUPPORTED, "%s: rows of %zu are more than the %d that bf16 and int8 take",
                         prefix, stack->width, KIN_MAX_NARROW_WIDTH);
  if (l->status != KIN_OK && l->status != KIN_LOAD_NOTHING) return;
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

void kin_stack_visit(kin_stack *stack, kin_visitor *v) {
  for (size_t i = 0; stack->blocks && i < stack->layers; i++) {
    kin_block *b = &stack->blocks[i];
    kin_visit_norm(v, &b->norm1, stack->width), kin_visit_norm(v, &b->norm2, stack->width);
    kin_visit_linear(v, &b->qkv), kin_visit_linear(v, &b->out), kin_visit_linear(v, &b->up);
    kin_visit_linear(v, &b->down);
    kin_visit_floats(v, &b->scale1, stack->width), kin_visit_floats(v, &b->scale2, stack->width);
  }
}

/* ------------------------------------------------------------- workspace */

static void workspace_free(kin_workspace *w) {
  if (w) kin_free_aligned(w->x), kin_free_aligned(w->bytes);
  free(w);
}

static kin_workspace *workspace_open(const kin_stack *stack, size_t rows, size_t wide_ld) {
  kin_workspace *w = calloc(1, sizeof *w);
  if (!w) return NULL;
  size_t ld = kin_row_stride(stack->width), qkv_ld = kin_row_stride(3 * stack->width);
  *w = (kin_workspace){.rows = rows, .ld = ld, .wide_ld = wide_ld};
  w->x = kin_alloc_aligned(rows * (2 * ld + qkv_ld + wide_ld) * sizeof *w->x);
  bool int8 = stack->blocks[0].qkv.w.int8;
  if (int8) w->bytes = kin_alloc_aligned(kin_quantised_bytes(rows, wide_ld > ld ? wide_ld : ld));
  if (!w->x || (int8 && !w->bytes)) {
    workspace_free(w);
    return NULL;
  }
  w->spare = w->x + rows * ld;
  w->qkv = (kin_rows){.f = w->spare, .ld = qkv_ld};
  w->wide = w->spare + rows * qkv_ld;
  float *normed = w->wide + rows * wide_ld;
  w->normed = (kin_rows){.f = normed, .ld = ld};
  w->hidden = (kin_rows){.f = w->wide, .ld = wide_ld};
  if (stack->blocks[0].qkv.w.bf16) {
    w->normed = (kin_rows){.h = (uint16_t *)(void *)normed, .ld = ld};
    if (stack->width / stack->heads % 2 == 0) w->qkv = (kin_rows){.h = (uint16_t *)(void *)w->spare, .ld = qkv_ld};
    /* Behind the gate's results, which are as many floats. */
    w->hidden = stack->gated ? (kin_rows){.h = (uint16_t *)(void *)(w->wide + stack->hidden), .ld = 2 * wide_ld}
                             : (kin_rows){.h = (uint16_t *)(void *)w->wide, .ld = wide_ld};
  }
  return w;
}

kin_workspace *kin_workspace_take(kin_kept *kept, const kin_stack *stack, size_t rows, size_t wide) {
  size_t up = stack->gated ? 2 * stack->hidden : stack->hidden;
  size_t wide_ld = kin_row_stride(up > wide ? up : wide);
  kin_workspace *w = kin_kept_take(kept);
  if (w && w->rows >= rows && w->wide_ld >= wide_ld) return w;
  workspace_free(w);
  return workspace_open(stack, rows, wide_ld);
}

const kin_quantised *kin_workspace_quantised(kin_workspace *w, size_t k) {
  w->quantised = kin_quantised_place(w->bytes, w->rows, k);
  return &w->quantised;
}

void kin_workspace_give(kin_kept *kept, kin_workspace *w) {
  workspace_free(kin_kept_give(kept, w));
}

void kin_workspaces_free(kin_kept *kept) {
  for (kin_workspace *w; (w = kin_kept_take(kept)) != NULL;) workspace_free(w);
}

/* --------------------------------------------------------------- forward */

enum { TASK_ROWS = 16 };

/* Row operations of one kind, TASK_ROWS a task. */
typedef struct row_task {
  const kin_kernels *kernels;
  const kin_bf16_kernels *bf16;
  const kin_norm *norm;     /* NULL: none */
  const kin_linear *reader; /* of quantised rows */
  size_t rows, n, x_ld;
  const float *x;
  kin_rows out;
} row_task;

static void run_norm_rows(void *arg, size_t task) {
  const row_task *t = arg;
  size_t end = (task + 1) * TASK_ROWS < t->rows ? (task + 1) * TASK_ROWS : t->rows;
  for (size_t r = task * TASK_ROWS; r < end; r++) {
    float row[KIN_MAX_NARROW_WIDTH], *to = t->out.f ? t->out.f + r * t->out.ld : row;
    const float *x = t->x + r * t->x_ld;
    if (t->norm) {
      t->kernels->layer_norm(x, t->norm->weight, t->norm->bias, t->norm->eps, t->n, to);
      x = to;
    }
    if (t->out.h) t->bf16->round(x, t->n, t->out.h + r * t->out.ld);
    if (t->out.q) kin_quantise_row(t->kernels, t->n, x, t->reader->multiply, t->reader->add, t->out.q, r);
  }
}

static void run_gate_rows(void *arg, size_t task) {
  const row_task *t = arg;
  size_t end = (task + 1) * TASK_ROWS < t->rows ? (task + 1) * TASK_ROWS : t->rows;
  for (size_t r = task * TASK_ROWS; r < end; r++) {
    float *x = (float *)t->x + r * t->x_ld;
    t->kernels->gate(x, x + t->n, t->n, x);
    if (t->out.h) t->bf16->round(x, t->n, t->out.h + r * t->out.ld);
  }
}

static void run_rows(const kin_context *context, void (*run)(void *arg, size_t task), row_task t) {
  t.kernels = context->kernels, t.bf16 = context->bf16;
  kin_parallel_for(context->pool, (t.rows + TASK_ROWS - 1) / TASK_ROWS, run, &t);
}

void kin_norm_rows(const kin_context *context, const kin_norm *norm, size_t rows, size_t n, const float *x, size_t x_ld,
                   kin_rows out) {
  run_rows(context, run_norm_rows, (row_task){.norm = norm, .rows = rows, .n = n, .x = x, .x_ld = x_ld, .out = out});
}

typedef struct pass {
  const kin_context *context;
  const kin_stack *stack;
  kin_workspace *w;
  const size_t *starts;
  size_t sequences, rows;
} pass;

/* c = tail(input w). */
static void product(const pass *p, kin_rows input, const kin_linear *linear, kin_rows c, const kin_tail *tail) {
  if (linear->w.int8 && !input.q) {
    const kin_quantised *q = kin_workspace_quantised(p->w, linear->w.k);
    kin_quantise_rows(p->context, p->rows, linear->w.k, input.f, input.ld, linear->multiply, linear->add, q);
    input = (kin_rows){.q = q};
  }
  kin_gemm_rows(p->context, p->rows, input, &linear->w, c, tail);
}

/* What a part's first product reads: the rows as they are, or normed where the norm comes first. */
static kin_rows part_input(const pass *p, const kin_norm *norm, const kin_linear *reader) {
  kin_workspace *w = p->w;
  row_task t = {.norm = p->stack->post_norm ? NULL : norm,
                .reader = reader,
                .rows = p->rows,
                .n = p->stack->width,
                .x = w->x,
                .x_ld = w->ld,
                .out = w->normed};
  if (reader->w.int8)
    t.out = (kin_rows){.q = kin_workspace_quantised(w, reader->w.k)};
  else if (!t.norm && t.out.f)
    return (kin_rows){.f = w->x, .ld = w->ld};
  run_rows(p->context, run_norm_rows, t);
  return t.out;
}

/* x += scale * (input w + bias), then the norm, where that comes last. */
static void part_output(const pass *p, kin_rows input, const kin_linear *linear, const float *scale,
                        const kin_norm *norm) {
  kin_rows x = {.f = p->w->x, .ld = p->w->ld};
  product(p, input, linear, x,
          &(kin_tail){.bias = linear->bias, .scale = scale, .residual = p->w->x, .residual_ld = p->w->ld});
  if (p->stack->post_norm) kin_norm_rows(p->context, norm, p->rows, p->stack->width, p->w->x, p->w->ld, x);
}

static void feed_forward(const pass *p, const kin_block *b) {
  const kin_stack *s = p->stack;
  kin_workspace *w = p->w;
  kin_rows wide = {.f = w->wide, .ld = w->wide_ld};
  product(p, part_input(p, &b->norm2, &b->up), &b->up, s->gated ? wide : w->hidden,
          &(kin_tail){.bias = b->up.bias, .act = s->gated ? KIN_ACT_NONE : s->act});
  if (s->gated)
    run_rows(p->context, run_gate_rows,
             (row_task){.rows = p->rows, .n = s->hidden, .x = w->wide, .x_ld = w->wide_ld, .out = w->hidden});
  part_output(p, w->hidden, &b->down, b->scale2, &b->norm2);
}

/* Keep only row pooled[s] of each sequence, n wide, one behind the other. */
static void keep_pooled(const pass *p, const size_t *pooled, kin_rows x, size_t n) {
  for (size_t s = 0; s < p->sequences; s++) {
    size_t from = p->starts[s] + pooled[s];
    if (x.q) {
      memmove(x.q->values + s * x.q->ld, x.q->values + from * x.q->ld, kin_int8_stride(n));
      x.q->scales[s] = x.q->scales[from], x.q->zeros[s] = x.q->zeros[from];
    } else if (x.h) {
      memmove(x.h + s * x.ld, x.h + from * x.ld, n * sizeof *x.h);
    } else {
      memmove(x.f + s * x.ld, x.f + from * x.ld, n * sizeof *x.f);
    }
  }
}

static kin_rows from_column(kin_rows x, size_t column) {
  return (kin_rows){.f = x.f ? x.f + column : NULL, .h = x.h ? x.h + column : NULL, .ld = x.ld};
}

/* Queries, keys and values of all rows into w->qkv; of the last block, queries of the pooled rows
 * alone, one behind the other, as are then the rows. */
static void project_qkv(pass *p, const kin_block *b, const size_t *pooled) {
  kin_workspace *w = p->w;
  size_t width = p->stack->width;
  kin_rows input = part_input(p, &b->norm1, &b->qkv), x = {.f = w->x, .ld = w->ld}, q = w->qkv;
  if (!pooled || width % KIN_PANEL) {
    product(p, input, &b->qkv, q, &(kin_tail){.bias = b->qkv.bias});
    if (!pooled) return;
    keep_pooled(p, pooled, q, width);
    keep_pooled(p, pooled, x, width);
    p->rows = p->sequences;
    return;
  }
  kin_packed kv = kin_packed_columns(&b->qkv.w, width, 2 * width), only_q = kin_packed_columns(&b->qkv.w, 0, width);
  kin_gemm_rows(p->context, p->rows, input, &kv, from_column(q, width),
                &(kin_tail){.bias = b->qkv.bias ? b->qkv.bias + width : NULL});
  keep_pooled(p, pooled, x, width);
  if (input.f != w->x) keep_pooled(p, pooled, input, width);
  p->rows = p->sequences;
  kin_gemm_rows(p->context, p->rows, input, &only_q, q, &(kin_tail){.bias = b->qkv.bias});
}

static kin_status run_block(pass *p, const kin_block *b, const size_t *pooled, kin_error *err) {
  kin_workspace *w = p->w;
  size_t width = p->stack->width;
  project_qkv(p, b, pooled);
  kin_attention attention = {.heads = p->stack->heads,
                             .head_dim = width / p->stack->heads,
                             .causal = p->stack->causal,
                             .q = w->qkv,
                             .k = from_column(w->qkv, width),
                             .v = from_column(w->qkv, 2 * width),
                             .starts = p->starts,
                             .sequences = p->sequences,
                             .query_rows = pooled,
                             .out = w->normed};
  kin_status status = kin_attend(p->context, &attention, err);
  if (status != KIN_OK) return status;
  part_output(p, w->normed, &b->out, b->scale1, &b->norm1);
  feed_forward(p, b);
  return KIN_OK;
}

kin_status kin_stack_forward(const kin_context *context, const kin_stack *stack, kin_workspace *w, const size_t *starts,
                             size_t sequences, const size_t *pooled, kin_error *err) {
  pass p = {context, stack, w, starts, sequences, starts[sequences]};
  kin_status status = KIN_OK;
  for (size_t i = 0; status == KIN_OK && i < stack->layers; i++)
    status = run_block(&p, &stack->blocks[i], i + 1 == stack->layers ? pooled : NULL, err);
  return status;
}
