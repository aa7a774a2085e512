/* Weights in 8 bits, and the blocked GEMM over them.
 *
 * A task owns a block of rows and of panels, as in gemm.c. A strip's sums of all its panels stay in the first-level
 * cache as integers until the last slice of k; then the tail makes them floats, and c is written once. */
#include "kernel/blocks.h"

#include <math.h>
#include <string.h>

enum {
  STEP = 64,           /* bytes of k: a row of a tile of AMX */
  COLUMNS = 256,       /* of a task, at most */
  SLICE = 1536,        /* of k: a strip of it, its sums and a panel's rows stay in the first-level cache */
  MIN_ROWS = 48,       /* of a task, to pay for reading its panels */
  MAX_SPREAD_ROWS = 6, /* tile_rows of tables that spread */
  SPREAD_LD = 2 * SLICE + STEP,
  MAX_K = 65536,     /* 255 * 127 * 65536 < 2^31 */
  QUANTISE_ROWS = 16 /* of a task */
};

size_t kin_int8_stride(size_t k) {
  return divide_up(k, STEP) * STEP;
}

static void quantise_column(const kin_packed *p, size_t column, int8_t *to) {
  const float *from = p->panels + column / KIN_PANEL * KIN_PANEL * p->k + column % KIN_PANEL;
  float most = 0;
  for (size_t i = 0; i < p->k; i++) most = fmaxf(most, fabsf(from[i * KIN_PANEL]));
  float inverse = most > 1e-30f ? 127.0f / most : 0.0f;
  int32_t sum = 0;
  for (size_t i = 0; i < p->k; i++) {
    int8_t q = (int8_t)rintf(from[i * KIN_PANEL] * inverse);
    to[i / 4 * 4 * KIN_PANEL + i % 4] = q;
    sum += q;
  }
  p->scales[column] = most > 1e-30f ? most / 127.0f : 0.0f;
  p->sums[column] = sum;
}

kin_status kin_pack_to_int8(kin_packed *p, kin_error *err) {
  size_t columns = divide_up(p->n, KIN_PANEL) * KIN_PANEL, k = kin_int8_stride(p->k);
  if (p->k > MAX_K)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "int8: sums over %zu products may overflow; use another precision", p->k);
  p->int8 = kin_alloc_aligned(columns * k);
  p->scales = kin_alloc_aligned(columns * sizeof *p->scales);
  p->sums = kin_alloc_aligned(columns * sizeof *p->sums);
  if (!p->int8 || !p->scales || !p->sums)
    return kin_fail(err, KIN_ERR_MEMORY, "no memory for %zu x %zu weights", p->n, p->k);
  memset(p->int8, 0, columns * k);
  for (size_t j = 0; j < columns; j++)
    quantise_column(p, j, p->int8 + j / KIN_PANEL * KIN_PANEL * k + j % KIN_PANEL * 4);
  kin_free_aligned(p->panels);
  p->panels = NULL;
  return KIN_OK;
}

/* ------------------------------------------------------------- activations */

/* An odd number of cache lines, so that a strip's rows don't fall onto the same cache sets. */
static size_t quantised_ld(size_t k) {
  return (kin_int8_stride(k) / STEP | 1) * STEP;
}

size_t kin_quantised_bytes(size_t rows, size_t k) {
  return rows * (quantised_ld(k) + sizeof(float) + sizeof(int32_t));
}

kin_quantised kin_quantised_place(void *memory, size_t rows, size_t k) {
  kin_quantised q = {.ld = quantised_ld(k), .values = memory};
  q.scales = (float *)(void *)(q.values + rows * q.ld);
  q.zeros = (int32_t *)(void *)(q.scales + rows);
  return q;
}

void kin_quantise_row(const kin_kernels *kernels, size_t k, const float *x, const float *multiply, const float *add,
                      const kin_quantised *out, size_t row) {
  uint8_t *values = out->values + row * out->ld;
  kernels->quantise(x, multiply, add, k, values, &out->scales[row], &out->zeros[row]);
  memset(values + k, 0, kin_int8_stride(k) - k);
}

typedef struct quantise_rows {
  const kin_kernels *kernels;
  size_t count, k, ldx;
  const float *x, *multiply, *add;
  const kin_quantised *out;
} quantise_rows;

static void run_quantise_rows(void *arg, size_t task) {
  const quantise_rows *t = arg;
  size_t end = (task + 1) * QUANTISE_ROWS < t->count ? (task + 1) * QUANTISE_ROWS : t->count;
  for (size_t r = task * QUANTISE_ROWS; r < end; r++)
    kin_quantise_row(t->kernels, t->k, t->x + r * t->ldx, t->multiply, t->add, t->out, r);
}

void kin_quantise_rows(const kin_context *context, size_t count, size_t k, const float *x, size_t ldx,
                       const float *multiply, const float *add, const kin_quantised *out) {
  quantise_rows t = {context->kernels, count, k, ldx, x, multiply, add, out};
  kin_parallel_for(context->pool, divide_up(count, QUANTISE_ROWS), run_quantise_rows, &t);
}

/* -------------------------------------------------------------------- GEMM */

typedef struct gemm {
  const kin_kernels *kernels;
  const kin_int8_kernels *int8;
  size_t m, ldc;
  const kin_quantised *a;
  const kin_packed *w;
  float *c;
  const kin_tail *tail;
  size_t row_blocks, rows_per_block, panels_per_block;
} gemm;

/* A strip's sums of one task's columns. */
typedef struct strip {
  size_t row, rows;
  int32_t sums[KIN_MAX_INT8_ROWS * COLUMNS];
  uint8_t spread[MAX_SPREAD_ROWS * SPREAD_LD]; /* the activations of one slice, where the kernels want that */
} strip;

/* Activations [k0, k0 + k) of a strip as gemm_tile takes them. */
static const uint8_t *strip_values(const gemm *g, strip *s, size_t k0, size_t k, size_t *ld) {
  const uint8_t *values = g->a->values + s->row * g->a->ld + k0;
  *ld = g->a->ld;
  if (!g->int8->spread) return values;
  for (size_t r = 0; r < s->rows; r++) g->int8->spread(values + r * *ld, k / 4, s->spread + r * SPREAD_LD);
  *ld = SPREAD_LD;
  return s->spread;
}

static void finish_tile(const gemm *g, const strip *s, const int32_t *sums, size_t panel) {
  size_t column = panel * KIN_PANEL, left = g->w->n - column;
  const kin_sums tile = {.sums = sums,
                         .ld = COLUMNS,
                         .scales = g->a->scales + s->row,
                         .zeros = g->a->zeros + s->row,
                         .weight_scales = g->w->scales + column,
                         .weight_sums = g->w->sums + column};
  kin_tail tail = {0};
  if (g->tail) {
    tail = *g->tail;
    if (tail.bias) tail.bias += column;
    if (tail.scale) tail.scale += column;
    if (tail.residual) tail.residual += s->row * tail.residual_ld + column;
  }
  g->kernels->tail_sums(&tile, s->rows, left < KIN_PANEL ? left : KIN_PANEL, &tail, g->c + s->row * g->ldc + column,
                        g->ldc);
}

static void run_strip(const gemm *g, strip *s, size_t first, size_t last) {
  size_t stride = kin_int8_stride(g->w->k), slices = divide_up(stride, SLICE);
  size_t slice = divide_up(divide_up(stride, slices), STEP) * STEP;
  for (size_t k0 = 0; k0 < stride; k0 += slice) {
    size_t k = stride - k0 < slice ? stride - k0 : slice, ld;
    const uint8_t *values = strip_values(g, s, k0, k, &ld);
    for (size_t p = first; p < last; p++) {
      int32_t *sums = s->sums + (p - first) * KIN_PANEL;
      bool done = k0 + k == stride;
      /* The tail's lines come while the product is computed. */
      for (size_t r = 0; done && r < s->rows; r++) {
        const float *c = g->c + (s->row + r) * g->ldc + p * KIN_PANEL;
        __builtin_prefetch(c, 1), __builtin_prefetch(c + 16, 1);
      }
      g->int8->gemm_tile(s->rows, k / 4, values, ld, g->w->int8 + (p * stride + k0) * KIN_PANEL, sums, COLUMNS, k0 > 0);
      if (done) finish_tile(g, s, sums, p);
    }
  }
}

static void run_block(void *arg, size_t task) {
  const gemm *g = arg;
  size_t row0 = task % g->row_blocks * g->rows_per_block;
  size_t rows = g->m - row0 < g->rows_per_block ? g->m - row0 : g->rows_per_block;
  size_t first = task / g->row_blocks * g->panels_per_block, panels = divide_up(g->w->n, KIN_PANEL);
  size_t last = first + g->panels_per_block < panels ? first + g->panels_per_block : panels;
  size_t strips = divide_up(rows, g->int8->tile_rows);
  strip s;
  for (size_t i = 0; i < strips; i++) {
    s.row = row0 + rows * i / strips;
    s.rows = row0 + rows * (i + 1) / strips - s.row;
    run_strip(g, &s, first, last);
  }
}

void kin_gemm_int8(const kin_context *context, size_t m, const kin_quantised *a, const kin_packed *w, float *c,
                   size_t ldc, const kin_tail *tail) {
  if (m == 0) return;
  gemm g = {context->kernels, context->int8, m, ldc, a, w, c, tail, 0, 0, 0};
  size_t panels = divide_up(w->n, KIN_PANEL), wanted = 4 * (size_t)kin_pool_threads(context->pool);
  /* Enough tasks to keep the threads level: few rows are cut by columns, many by rows too. */
  g.panels_per_block = COLUMNS / KIN_PANEL;
  if (m < 2 * MIN_ROWS && divide_up(panels, g.panels_per_block) < wanted)
    g.panels_per_block = divide_up(panels, wanted);
  size_t column_blocks = divide_up(panels, g.panels_per_block);
  size_t blocks = divide_up(wanted, column_blocks), most = m / MIN_ROWS ? m / MIN_ROWS : 1;
  g.rows_per_block = divide_up(m, blocks < most ? blocks : most);
  g.row_blocks = divide_up(m, g.rows_per_block);
  kin_parallel_for(context->pool, g.row_blocks * column_blocks, run_block, &g);
}
