/* The 3x3 convolution over the GEMM's tiles, straight from the pictures.
 *
 * A strip is a run of pixels of one line. For each of the nine taps its inputs are a run of pixels too, of
 * the same stride, so that a tile reads them where they lie; a tap's pixels beyond the border are zeros and
 * left out. An output element is one chain of fused multiply-adds over ascending k, whatever the strips. */
#include "kernel/blocks.h"

#include <string.h>

enum { MIN_PIXELS = 96 };

typedef struct convolution {
  const kin_kernels *kernels;
  const kin_pictures *in;
  const kin_packed *w;
  float *out;
  size_t out_ld;
  const kin_tail *tail;
  size_t line_blocks, lines_per_block;
} convolution;

/* Pixels [first, last) of one line; `line` counts through all pictures. */
typedef struct strip {
  size_t line, first, last;
} strip;

/* c[pixels][KIN_PANEL] += tap's inputs * b, for the channels [channel, channel + k) */
static void run_tap(const convolution *t, const strip *s, size_t tap, size_t channel, size_t k, const float *b,
                    float *c, size_t ldc) {
  const kin_pictures *in = t->in;
  size_t y = s->line % in->height, up = tap / 3, left = tap % 3;
  if (y + up < 1 || y + up > in->height) return;
  size_t first = s->first + left < 1 ? 1 : s->first;
  size_t last = s->last + left > in->width + 1 ? s->last - 1 : s->last;
  if (first >= last) return;
  const float *a = in->values + ((s->line + up - 1) * in->width + first + left - 1) * in->ld + channel;
  t->kernels->gemm_tile(last - first, k, a, in->ld, b, KIN_PANEL, c + (first - s->first) * ldc, ldc, true,
                        (kin_ahead){0});
}

/* One panel's columns of a strip, over the slice [k0, k0 + k). */
static void run_panel(const convolution *t, const strip *s, size_t panel, size_t k0, size_t k) {
  size_t pixels = s->last - s->first, column = panel * KIN_PANEL, channels = t->in->channels;
  size_t columns = t->w->n - column < KIN_PANEL ? t->w->n - column : KIN_PANEL;
  float *out = t->out + (s->line * t->in->width + s->first) * t->out_ld + column;
  /* The last panel may be wider than the output: through a buffer. */
  float buffer[KIN_MAX_TILE_ROWS * KIN_PANEL] = {0};
  bool direct = columns == KIN_PANEL;
  float *c = direct ? out : buffer;
  size_t ldc = direct ? t->out_ld : KIN_PANEL;
  for (size_t i = 0; i < pixels; i++) {
    if (k0 == 0 && direct) memset(c + i * ldc, 0, KIN_PANEL * sizeof *c);
    if (k0 > 0 && !direct) memcpy(c + i * ldc, out + i * t->out_ld, columns * sizeof *c);
  }
  for (size_t i = k0; i < k0 + k;) {
    size_t tap = i / channels, channel = i % channels, left = k0 + k - i;
    size_t n = channels - channel < left ? channels - channel : left;
    run_tap(t, s, tap, channel, n, t->w->panels + (panel * t->w->k + i) * KIN_PANEL, c, ldc);
    i += n;
  }
  for (size_t i = 0; !direct && i < pixels; i++) memcpy(out + i * t->out_ld, c + i * ldc, columns * sizeof *c);
}

/* Floats of k that a block's weights may have: whole taps, or an even part of one. */
static size_t slice_of(const kin_kernels *kernels, size_t channels, size_t columns) {
  size_t most = kernels->block_k * kernels->block_columns / (divide_up(columns, KIN_PANEL) * KIN_PANEL),
         parts = divide_up(channels, most);
  return parts > 1 ? divide_up(channels, parts) : most / channels * channels;
}

static void run_block(void *arg, size_t task) {
  const convolution *t = arg;
  const kin_pictures *in = t->in;
  size_t lines = in->images * in->height, line0 = task % t->line_blocks * t->lines_per_block;
  size_t line1 = line0 + t->lines_per_block < lines ? line0 + t->lines_per_block : lines;
  size_t widest = t->kernels->block_columns, column = task / t->line_blocks * widest;
  size_t columns = t->w->n - column < widest ? t->w->n - column : widest;
  size_t strips = divide_up(in->width, t->kernels->tile_rows), slice = slice_of(t->kernels, in->channels, columns);
  for (size_t k0 = 0; k0 < t->w->k; k0 += slice) {
    size_t k = t->w->k - k0 < slice ? t->w->k - k0 : slice;
    for (size_t i = 0; i < (line1 - line0) * strips; i++) {
      size_t line = line0 + i / strips, part = i % strips;
      strip s = {line, in->width * part / strips, in->width * (part + 1) / strips};
      for (size_t j = 0; j < columns; j += KIN_PANEL) run_panel(t, &s, (column + j) / KIN_PANEL, k0, k);
      for (size_t x = s.first; t->tail && k0 + k == t->w->k && x < s.last; x++) {
        size_t row = line * in->width + x;
        float *c = t->out + row * t->out_ld + column;
        kin_finish_row(t->kernels, t->tail, c, c, row, column, columns);
      }
    }
  }
}

void kin_convolve_3x3(const kin_context *context, const kin_pictures *in, const kin_packed *w, float *out,
                      size_t out_ld, const kin_tail *tail) {
  size_t lines = in->images * in->height;
  if (lines == 0 || in->width == 0) return;
  convolution t = {.kernels = context->kernels, .in = in, .w = w, .out = out, .out_ld = out_ld, .tail = tail};
  size_t column_blocks = divide_up(w->n, context->kernels->block_columns);
  /* Enough tasks to keep the threads level, each of enough pixels to pay for reading its weights. */
  size_t wanted = divide_up(4 * (size_t)kin_pool_threads(context->pool), column_blocks);
  size_t most = lines / divide_up(MIN_PIXELS, in->width);
  if (most < 1) most = 1;
  t.lines_per_block = divide_up(lines, wanted < most ? wanted : most);
  t.line_blocks = divide_up(lines, t.lines_per_block);
  kin_parallel_for(context->pool, t.line_blocks * column_blocks, run_block, &t);
}
