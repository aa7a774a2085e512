/* Packing weights into panels, and the blocked GEMM over tiles.
 *
 * A task owns a block of rows and of panels. For each slice of k its panels (at most SLICE * COLUMNS
 * floats) stay in the second-level cache while strips of tile_rows activations, which stay in the
 * first, pass over them. Slices come in ascending order, so that a sum over k is one chain.
 *
 * With bfloat16 weights a strip is rounded when its task comes to it; a slice has twice the k, which are as many
 * bytes. */
#include "kernel/blocks.h"

#include <string.h>

enum { SLICE = KIN_BLOCK_FLOATS / KIN_BLOCK_COLUMNS, COLUMNS = KIN_BLOCK_COLUMNS, MIN_ROWS = 96 };

size_t kin_row_stride(size_t n) {
  return (divide_up(n, 16) | 1) * 16; /* an odd number of cache lines */
}

/* k of bfloat16 panels, which are in pairs. */
static size_t even(size_t k) {
  return (k + 1) / 2 * 2;
}

size_t kin_packed_bytes(const kin_packed *p) {
  size_t columns = divide_up(p->n, KIN_PANEL) * KIN_PANEL;
  if (p->int8) return columns * (kin_int8_stride(p->k) + sizeof *p->scales + sizeof *p->sums);
  return p->bf16 ? columns * even(p->k) * sizeof *p->bf16 : columns * p->k * sizeof *p->panels;
}

/* Rows [row, row + rows) of a part become columns [column, ...) of one panel. */
static void pack_rows(const float *from, size_t k, size_t rows, float *panel, size_t column) {
  enum { BLOCK = 16 }; /* a cache line of each row at a time */
  for (size_t j0 = 0; j0 < k; j0 += BLOCK) {
    size_t j1 = j0 + BLOCK < k ? j0 + BLOCK : k;
    for (size_t r = 0; r < rows; r++)
      for (size_t j = j0; j < j1; j++) panel[j * KIN_PANEL + column + r] = from[r * k + j];
  }
}

kin_status kin_pack(const float *const *parts, const size_t *n_parts, size_t count, size_t k, kin_packed *out,
                    kin_error *err) {
  *out = (kin_packed){.k = k};
  for (size_t i = 0; i < count; i++) out->n += n_parts[i];
  out->panels = kin_alloc_aligned(kin_packed_bytes(out));
  if (!out->panels) return kin_fail(err, KIN_ERR_MEMORY, "no memory for %zu x %zu weights", out->n, k);
  size_t n = 0;
  for (size_t i = 0; i < count; i++)
    for (size_t r = 0, rows; r < n_parts[i]; r += rows, n += rows) {
      size_t column = n % KIN_PANEL, room = KIN_PANEL - column;
      rows = n_parts[i] - r < room ? n_parts[i] - r : room;
      pack_rows(parts[i] + r * k, k, rows, out->panels + n / KIN_PANEL * KIN_PANEL * k, column);
    }
  float *last = out->panels + n / KIN_PANEL * KIN_PANEL * k;
  for (size_t j = 0; n % KIN_PANEL && j < k; j++)
    memset(last + j * KIN_PANEL + n % KIN_PANEL, 0, (KIN_PANEL - n % KIN_PANEL) * sizeof *last);
  return KIN_OK;
}

kin_status kin_pack_to_bf16(kin_packed *p, kin_error *err) {
  size_t panels = divide_up(p->n, KIN_PANEL), k = even(p->k);
  uint16_t *bf16 = kin_alloc_aligned(panels * KIN_PANEL * k * sizeof *bf16);
  if (!bf16) return kin_fail(err, KIN_ERR_MEMORY, "no memory for %zu x %zu weights", p->n, p->k);
  for (size_t i = 0; i < panels * k; i++) {
    size_t panel = i / k, row = i % k;
    uint16_t rounded[KIN_PANEL] = {0};
    if (row < p->k) kin_bf16_scalar.round(p->panels + (panel * p->k + row) * KIN_PANEL, KIN_PANEL, rounded);
    uint16_t *to = bf16 + (panel * k + row / 2 * 2) * KIN_PANEL + row % 2;
    for (size_t j = 0; j < KIN_PANEL; j++) to[2 * j] = rounded[j];
  }
  kin_free_aligned(p->panels);
  p->panels = NULL, p->bf16 = bf16;
  return KIN_OK;
}

kin_packed kin_packed_columns(const kin_packed *p, size_t first, size_t n) {
  kin_packed part = {.n = n, .k = p->k};
  if (p->int8)
    part.int8 = p->int8 + first * kin_int8_stride(p->k), part.scales = p->scales + first, part.sums = p->sums + first;
  else if (p->bf16)
    part.bf16 = p->bf16 + first * even(p->k);
  else
    part.panels = p->panels + first * p->k;
  return part;
}

void kin_packed_free(kin_packed *p) {
  kin_free_aligned(p->panels);
  kin_free_aligned(p->bf16);
  kin_free_aligned(p->int8), kin_free_aligned(p->scales), kin_free_aligned(p->sums);
  *p = (kin_packed){0};
}

typedef struct gemm {
  const kin_kernels *kernels;
  const kin_bf16_kernels *bf16; /* NULL: float weights */
  size_t m, lda, ldc;
  const float *a;
  const kin_packed *w;
  float *c;
  const kin_tail *tail;
  size_t tile_rows, row_blocks, rows_per_block;
} gemm;

/* A strip's activations of one slice of k: in place, or rounded. */
typedef struct strip {
  size_t row, rows, k0, k;
  uint16_t rounded[KIN_MAX_TILE_ROWS * 2 * SLICE];
} strip;

static void round_strip(const gemm *g, strip *s) {
  for (size_t r = 0; r < s->rows; r++) {
    uint16_t *to = s->rounded + r * even(s->k);
    g->bf16->round(g->a + (s->row + r) * g->lda + s->k0, s->k, to);
    if (s->k % 2) to[s->k] = 0;
  }
}

static void multiply(const gemm *g, const strip *s, size_t panel, float *c, size_t ldc) {
  if (g->bf16) {
    const uint16_t *b = g->w->bf16 + (panel * even(g->w->k) + s->k0) * KIN_PANEL;
    g->bf16->gemm_tile(s->rows, even(s->k) / 2, s->rounded, even(s->k), b, c, ldc, s->k0 > 0);
  } else {
    const float *b = g->w->panels + (panel * g->w->k + s->k0) * KIN_PANEL;
    g->kernels->gemm_tile(s->rows, s->k, g->a + s->row * g->lda + s->k0, g->lda, b, KIN_PANEL, c, ldc, s->k0 > 0);
  }
}

static void run_tile(const gemm *g, const strip *s, size_t panel) {
  size_t columns = g->w->n - panel * KIN_PANEL;
  float *c = g->c + s->row * g->ldc + panel * KIN_PANEL;
  if (columns >= KIN_PANEL) {
    multiply(g, s, panel, c, g->ldc);
    return;
  }
  /* The last panel is wider than c: through a buffer. */
  float buffer[KIN_MAX_TILE_ROWS * KIN_PANEL] = {0};
  for (size_t r = 0; s->k0 > 0 && r < s->rows; r++) memcpy(buffer + r * KIN_PANEL, c + r * g->ldc, columns * sizeof *c);
  multiply(g, s, panel, buffer, KIN_PANEL);
  for (size_t r = 0; r < s->rows; r++) memcpy(c + r * g->ldc, buffer + r * KIN_PANEL, columns * sizeof *c);
}

static void run_block(void *arg, size_t task) {
  const gemm *g = arg;
  size_t row0 = task % g->row_blocks * g->rows_per_block;
  size_t rows = g->m - row0 < g->rows_per_block ? g->m - row0 : g->rows_per_block;
  size_t first = task / g->row_blocks * (COLUMNS / KIN_PANEL), panels = divide_up(g->w->n, KIN_PANEL);
  size_t last = first + COLUMNS / KIN_PANEL < panels ? first + COLUMNS / KIN_PANEL : panels;
  size_t column = first * KIN_PANEL;
  size_t columns = (last * KIN_PANEL < g->w->n ? last * KIN_PANEL : g->w->n) - column;
  /* Strips of nearly equal height: 50 rows are 5 x 10, not 4 x 12 and a slow 2. */
  size_t strips = divide_up(rows, g->tile_rows);
  size_t slices = divide_up(g->w->k, g->bf16 ? 2 * SLICE : SLICE), slice = even(divide_up(g->w->k, slices));
  strip s;
  for (s.k0 = 0; s.k0 < g->w->k; s.k0 += slice) {
    s.k = g->w->k - s.k0 < slice ? g->w->k - s.k0 : slice;
    for (size_t i = 0; i < strips; i++) {
      s.row = row0 + rows * i / strips;
      s.rows = row0 + rows * (i + 1) / strips - s.row;
      if (g->bf16) round_strip(g, &s);
      for (size_t p = first; p < last; p++) run_tile(g, &s, p);
      if (g->tail && s.k0 + s.k == g->w->k)
        kin_finish_rows(g->kernels, g->tail, g->c, g->ldc, s.row, s.rows, column, columns);
    }
  }
}

void kin_gemm(const kin_context *context, size_t m, const float *a, size_t lda, const kin_packed *w, float *c,
              size_t ldc, const kin_tail *tail) {
  if (m == 0) return;
  gemm g = {.kernels = context->kernels,
            .bf16 = w->bf16 ? context->bf16 : NULL,
            .m = m,
            .lda = lda,
            .ldc = ldc,
            .a = a,
            .w = w,
            .c = c,
            .tail = tail};
  g.tile_rows = g.bf16 ? g.bf16->tile_rows : g.kernels->tile_rows;
  size_t column_blocks = divide_up(w->n, COLUMNS);
  /* Enough tasks to keep the threads level, each of enough rows to pay for reading its panels. */
  size_t wanted = divide_up(4 * (size_t)kin_pool_threads(context->pool), column_blocks);
  size_t most = m / MIN_ROWS ? m / MIN_ROWS : 1;
  g.rows_per_block = divide_up(m, wanted < most ? wanted : most);
  g.row_blocks = divide_up(m, g.rows_per_block);
  kin_parallel_for(context->pool, g.row_blocks * column_blocks, run_block, &g);
}
