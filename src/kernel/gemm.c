/* Packing weights into panels, and the blocked GEMM over tiles.
 *
 * A task owns a block of rows and of panels. For each slice of k its panels (at most block_k * block_columns floats)
 * stay in the second-level cache. Either strips of tile_rows activations, which stay in the first, pass over them, or
 * each half of a panel stays in the first while all the activations pass, and brings in the panel after it: the better
 * order where a tile is wider than it is high. Slices come in ascending order, so that a sum over k is one chain. The
 * sums stay with the task until the tail has made outputs of them, so that an output is written once, and may be the
 * residual.
 *
 * A slice of bfloat16 has twice the k, which are as many bytes. */
#include "kernel/blocks.h"

#include <string.h>

enum { MAX_ROWS = 96, SUM_LD = KIN_MAX_BLOCK_COLUMNS + 16, LINE_FLOATS = 16 };

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
  size_t m;
  kin_rows a, c;
  const kin_packed *w;
  const kin_tail *tail;
  size_t threads, strip_rows, row_blocks, panels_per_block;
  bool panel_stays; /* in the first-level cache, while a task's rows pass; else a strip of them stays there */
} gemm;

/* A strip's activations of one slice of k; `rounded` is where they are bfloat16 only now. */
typedef struct strip {
  size_t row, rows, k0, k;
  uint16_t rounded[KIN_MAX_TILE_ROWS * 2 * KIN_MAX_BLOCK_K];
} strip;

static void round_strip(const gemm *g, strip *s) {
  for (size_t r = 0; r < s->rows; r++) {
    uint16_t *to = s->rounded + r * even(s->k);
    g->bf16->round(g->a.f + (s->row + r) * g->a.ld + s->k0, s->k, to);
    if (s->k % 2) to[s->k] = 0;
  }
}

/* The panel after this one: of the same slice, of the next, or of the task that the thread has next. */
static kin_ahead next_panel(const gemm *g, const strip *s, size_t task, size_t panel, size_t last) {
  const kin_packed *w = g->w;
  size_t k0 = s->k0;
  if (++panel == last) {
    const size_t first = task / g->row_blocks * g->panels_per_block;
    k0 = s->k0 + s->k < w->k ? s->k0 + s->k : 0;
    panel = k0 ? first : (task + g->threads) / g->row_blocks * g->panels_per_block;
    if ((k0 == 0 && panel == first) || panel >= divide_up(w->n, KIN_PANEL)) return (kin_ahead){0};
  }
  const size_t k = w->k - k0 < s->k ? w->k - k0 : s->k;
  return (kin_ahead){w->panels + (panel * w->k + k0) * KIN_PANEL, k * KIN_PANEL / LINE_FLOATS};
}

static void run_tile(const gemm *g, const strip *s, size_t panel, float *sums, kin_ahead ahead) {
  bool more = s->k0 > 0;
  if (!g->bf16) {
    const float *b = g->w->panels + (panel * g->w->k + s->k0) * KIN_PANEL;
    g->kernels->gemm_tile(s->rows, s->k, g->a.f + s->row * g->a.ld + s->k0, g->a.ld, b, KIN_PANEL, sums, SUM_LD, more,
                          ahead);
    return;
  }
  const uint16_t *b = g->w->bf16 + (panel * even(g->w->k) + s->k0) * KIN_PANEL;
  const uint16_t *a = g->a.h ? g->a.h + s->row * g->a.ld + s->k0 : s->rounded;
  g->bf16->gemm_tile(s->rows, even(s->k) / 2, a, g->a.h ? g->a.ld : even(s->k), b, sums, SUM_LD, more);
}

static inline void prefetch(const void *from, size_t bytes, bool to_write) {
  enum { LINE = 64 };
  const char *line = from;
  for (size_t i = 0; i < bytes; i += LINE)
    if (to_write)
      __builtin_prefetch(line + i, 1, 3);
    else
      __builtin_prefetch(line + i, 0, 3);
}

/* Bring in what is needed soon, a little before each tile, so that no thread waits for a burst of it: part `part` of
 * `parts` of the next strip's activations, and where this strip's panel will be written. */
static void look_ahead(const gemm *g, const strip *s, size_t next_rows, size_t part, size_t parts, size_t panel) {
  size_t first = s->k * part / parts, n = s->k * (part + 1) / parts - first, element = g->a.h ? 2 : 4;
  const char *a = g->a.h ? (const char *)g->a.h : (const char *)g->a.f;
  for (size_t r = s->row + s->rows; r < s->row + s->rows + next_rows; r++)
    prefetch(a + (r * g->a.ld + s->k0 + first) * element, n * element, false);
  if (s->k0 + s->k < g->w->k) return;
  for (size_t r = s->row; r < s->row + s->rows; r++) {
    size_t at = r * g->c.ld + panel * KIN_PANEL;
    prefetch(g->c.h ? (const void *)(g->c.h + at) : g->c.f + at, KIN_PANEL * (g->c.h ? 2 : 4), true);
    if (g->tail && g->tail->residual && g->tail->residual != g->c.f)
      prefetch(g->tail->residual + r * g->tail->residual_ld + panel * KIN_PANEL, KIN_PANEL * 4, false);
  }
}

/* Rows of sums -> columns [column, column + n) of c. */
static void finish(const gemm *g, const float *sums, size_t row, size_t rows, size_t column, size_t n) {
  for (size_t r = row; r < row + rows; r++, sums += SUM_LD) {
    size_t at = r * g->c.ld + column;
    const kin_tail *t = g->tail;
    if (g->c.h)
      g->bf16->finish(sums, t && t->bias ? t->bias + column : NULL, t ? t->act : KIN_ACT_NONE, n, g->c.h + at);
    else if (t)
      kin_finish_row(g->kernels, t, sums, g->c.f + at, r, column, n);
    else
      memcpy(g->c.f + at, sums, n * sizeof *sums);
  }
}

static void run_block(void *arg, size_t task) {
  const gemm *g = arg;
  size_t block = task % g->row_blocks, row0 = g->m * block / g->row_blocks;
  size_t rows = g->m * (block + 1) / g->row_blocks - row0;
  size_t first = task / g->row_blocks * g->panels_per_block, panels = divide_up(g->w->n, KIN_PANEL);
  size_t last = first + g->panels_per_block < panels ? first + g->panels_per_block : panels;
  size_t column = first * KIN_PANEL, end = last * KIN_PANEL < g->w->n ? last * KIN_PANEL : g->w->n;
  /* Strips of nearly equal height: 50 rows are 5 x 10, not 4 x 12 and a slow 2. */
  size_t strips = divide_up(rows, g->strip_rows);
  size_t most = g->kernels->block_k * (g->bf16 ? 2 : 1), slices = divide_up(g->w->k, most);
  size_t slice = even(divide_up(g->w->k, slices));
  float sums[MAX_ROWS * SUM_LD];
  strip s;
  for (s.k0 = 0; s.k0 < g->w->k; s.k0 += slice) {
    s.k = g->w->k - s.k0 < slice ? g->w->k - s.k0 : slice;
    for (size_t i = 0; i < strips; i++) {
      size_t begin = rows * i / strips;
      float *to = sums + begin * SUM_LD;
      s.row = row0 + begin, s.rows = rows * (i + 1) / strips - begin;
      if (g->bf16 && !g->a.h) round_strip(g, &s);
      size_t next = i + 1 < strips ? rows * (i + 2) / strips - rows * (i + 1) / strips : 0;
      for (size_t p = first; p < last; p++) {
        kin_ahead ahead = {0};
        if (g->panel_stays)
          ahead = next_panel(g, &s, task, p, last);
        else
          look_ahead(g, &s, next, p - first, last - first, p);
        run_tile(g, &s, p, to + (p - first) * KIN_PANEL, ahead);
      }
      if (s.k0 + s.k == g->w->k) finish(g, to, s.row, s.rows, column, end - column);
    }
  }
}

/* Choose blocks that end at nearly the same time on all threads; each has to read its panels, which takes as long as
 * some rows. */
static void split(gemm *g) {
  enum { PANELS_AS_ROWS = 8 };
  size_t panels = divide_up(g->w->n, KIN_PANEL), least = SIZE_MAX, most = divide_up(g->m, MAX_ROWS) + g->threads;
  size_t widest = g->kernels->block_columns / KIN_PANEL;
  if (widest > panels) widest = panels;
  for (size_t p = widest; p > 0; p--)
    for (size_t blocks = divide_up(g->m, MAX_ROWS); blocks <= most && blocks <= g->m; blocks++) {
      size_t rounds = divide_up(blocks * divide_up(panels, p), g->threads);
      size_t cost = rounds * p * (divide_up(g->m, blocks) + PANELS_AS_ROWS);
      if (cost < least) least = cost, g->row_blocks = blocks, g->panels_per_block = p;
    }
}

void kin_gemm_rows(const kin_context *context, size_t m, kin_rows a, const kin_packed *w, kin_rows c,
                   const kin_tail *tail) {
  if (w->int8) {
    kin_gemm_int8(context, m, a.q, w, c.f, c.ld, tail);
    return;
  }
  if (m == 0) return;
  gemm g = {.kernels = context->kernels,
            .bf16 = w->bf16 ? context->bf16 : NULL,
            .m = m,
            .a = a,
            .c = c,
            .w = w,
            .tail = tail,
            .threads = kin_pool_threads(context->pool)};
  g.panel_stays = !g.bf16 && g.kernels->panel_stays;
  g.strip_rows = g.panel_stays ? MAX_ROWS : g.bf16 ? g.bf16->tile_rows : g.kernels->tile_rows;
  split(&g);
  kin_parallel_for(context->pool, g.row_blocks * divide_up(divide_up(w->n, KIN_PANEL), g.panels_per_block), run_block,
                   &g);
}

void kin_gemm(const kin_context *context, size_t m, const float *a, size_t lda, const kin_packed *w, float *c,
              size_t ldc, const kin_tail *tail) {
  kin_gemm_rows(context, m, (kin_rows){.f = (float *)a, .ld = lda}, w, (kin_rows){.f = c, .ld = ldc}, tail);
}
