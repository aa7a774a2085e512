/* The 3x3 convolution by Winograd's F(2x2, 3x3) or F(4x4, 3x3): 2.25 or 4 times fewer products than
 * the sum over nine taps.
 *
 * A tile is side x side outputs. Its (side + 2)^2 inputs are transformed, for each channel alone, into as many points;
 * at each point the tiles are the rows of a product over the channels; the products of a tile are transformed back into
 * its outputs. An output depends on its tile's inputs alone, by the same steps whatever the batch and the threads.
 *
 * A block of tiles is multiplied by one panel of weights at all points, so that its sums stay in the second-level
 * cache. Where there are few tiles, the threads transform them first and then share the panels out. */
#include "kernel/blocks.h"

#include <string.h>

enum { BLOCK_TILES = 24, MAX_SIDE = 4, MAX_POINTS = (MAX_SIDE + 2) * (MAX_SIDE + 2), LINE = 16 };
enum { SUM_PLANE = BLOCK_TILES * KIN_PANEL + LINE };

typedef struct convolution {
  const kin_kernels *kernels;
  const kin_pictures *in;
  const kin_packed *w;
  float *out, *transformed, *zeros;
  size_t out_ld;
  const float *bias;
  kin_activation act;
  size_t side, points, across, down, tiles; /* of all pictures */
  size_t ld, parts, groups;                 /* of tiles, and of panels */
} convolution;

/* Tiles [first, last), their points [points][plane], a tile every `ld` floats. */
typedef struct block {
  size_t first, last, plane;
  float *values;
} block;

static size_t odd_lines(size_t floats) {
  return (divide_up(floats, LINE) | 1) * LINE;
}

/* Floats from one tile to the next; where they are many, as in kin_row_stride. */
static size_t stride_of(size_t channels) {
  return channels < 256 ? divide_up(channels, LINE) * LINE : kin_row_stride(channels);
}

static void transform_tile(const convolution *t, size_t tile, float *to, size_t plane) {
  const kin_pictures *in = t->in;
  size_t image = tile / (t->across * t->down), n = t->side + 2;
  size_t y0 = tile / t->across % t->down * t->side, x0 = tile % t->across * t->side; /* of its inputs, plus one */
  const float *pixels[MAX_POINTS];
  for (size_t y = 0; y < n; y++)
    for (size_t x = 0; x < n; x++) {
      bool inside = y0 + y >= 1 && y0 + y <= in->height && x0 + x >= 1 && x0 + x <= in->width;
      pixels[y * n + x] =
          inside ? in->values + ((image * in->height + y0 + y - 1) * in->width + x0 + x - 1) * in->ld : t->zeros;
    }
  t->kernels->winograd_input(t->side, pixels, in->channels, to, plane);
}

static void transform_block(const convolution *t, const block *b) {
  for (size_t i = b->first; i < b->last; i++) transform_tile(t, i, b->values + (i - b->first) * t->ld, b->plane);
}

/* sums[point][tile][KIN_PANEL] of one panel; while it multiplies it asks for the weights of the next point. */
static void multiply_panel(const convolution *t, const block *b, size_t panel, float *sums) {
  size_t tiles = b->last - b->first, strips = divide_up(tiles, t->kernels->tile_rows), k = t->in->channels;
  const float *w = t->w->panels + panel * t->w->k * KIN_PANEL;
  size_t lines = k * KIN_PANEL / LINE;
  for (size_t point = 0; point < t->points; point++, w += k * KIN_PANEL)
    for (size_t i = 0; i < strips; i++) {
      size_t begin = tiles * i / strips, end = tiles * (i + 1) / strips, part = lines * i / strips;
      kin_ahead ahead = {w + k * KIN_PANEL + part * LINE, lines * (i + 1) / strips - part};
      if (point + 1 == t->points && panel + 1 == divide_up(t->w->n, KIN_PANEL)) ahead = (kin_ahead){0};
      t->kernels->gemm_tile(end - begin, k, b->values + point * b->plane + begin * t->ld, t->ld, w, KIN_PANEL,
                            sums + point * SUM_PLANE + begin * KIN_PANEL, KIN_PANEL, false, ahead);
    }
}

static void finish_tile(const convolution *t, size_t tile, size_t column, const float *sums) {
  const kin_pictures *in = t->in;
  size_t image = tile / (t->across * t->down), side = t->side;
  size_t y0 = tile / t->across % t->down * side, x0 = tile % t->across * side;
  size_t columns = t->w->n - column < KIN_PANEL ? t->w->n - column : KIN_PANEL;
  float *pixels[MAX_SIDE * MAX_SIDE];
  for (size_t y = 0; y < side; y++)
    for (size_t x = 0; x < side; x++) {
      bool inside = y0 + y < in->height && x0 + x < in->width;
      pixels[y * side + x] =
          inside ? t->out + ((image * in->height + y0 + y) * in->width + x0 + x) * t->out_ld + column : NULL;
    }
  t->kernels->winograd_output(side, sums, SUM_PLANE, columns, t->bias ? t->bias + column : NULL, t->act, pixels);
}

static void convolve_block(const convolution *t, const block *b, size_t first_panel, size_t last_panel) {
  float sums[MAX_POINTS * SUM_PLANE];
  for (size_t panel = first_panel; panel < last_panel; panel++) {
    multiply_panel(t, b, panel, sums);
    for (size_t i = b->first; i < b->last; i++) finish_tile(t, i, panel * KIN_PANEL, sums + (i - b->first) * KIN_PANEL);
  }
}

/* Block `i` of `count` of the tiles [first, last), in memory for the largest of them. */
static block block_of(const convolution *t, size_t first, size_t last, size_t i, size_t count) {
  size_t n = last - first, most = divide_up(n, count);
  return (block){first + n * i / count, first + n * (i + 1) / count, odd_lines(most * t->ld), NULL};
}

/* All panels for a part of the tiles, whose blocks share the memory of one. */
static void convolve_part(void *arg, size_t task) {
  const convolution *t = arg;
  size_t first = t->tiles * task / t->parts, last = t->tiles * (task + 1) / t->parts;
  size_t count = divide_up(last - first, BLOCK_TILES);
  for (size_t i = 0; i < count; i++) {
    block b = block_of(t, first, last, i, count);
    b.values = t->transformed + task * t->points * odd_lines(BLOCK_TILES * t->ld);
    transform_block(t, &b);
    convolve_block(t, &b, 0, divide_up(t->w->n, KIN_PANEL));
  }
}

static block whole_block(const convolution *t, size_t i) {
  block b = block_of(t, 0, t->tiles, i, t->parts);
  b.values = t->transformed + i * t->points * b.plane;
  return b;
}

static void transform_one(void *arg, size_t tile) {
  const convolution *t = arg;
  size_t i = 0;
  block b = whole_block(t, i);
  while (tile >= b.last) b = whole_block(t, ++i);
  transform_tile(t, tile, b.values + (tile - b.first) * t->ld, b.plane);
}

static void convolve_panels(void *arg, size_t task) {
  const convolution *t = arg;
  block b = whole_block(t, task % t->parts);
  size_t group = task / t->parts, panels = divide_up(t->w->n, KIN_PANEL);
  convolve_block(t, &b, panels * group / t->groups, panels * (group + 1) / t->groups);
}

static size_t tiles_of(const kin_pictures *in, size_t side) {
  return in->images * divide_up(in->height, side) * divide_up(in->width, side);
}

size_t kin_convolution_floats(const kin_pictures *in, size_t side) {
  size_t tiles = tiles_of(in, side), blocks = divide_up(tiles, BLOCK_TILES), ld = stride_of(in->channels);
  return ld + (side + 2) * (side + 2) * ((tiles + blocks) * ld + 2 * blocks * LINE);
}

void kin_convolve_3x3(const kin_context *context, const kin_pictures *in, size_t side, const kin_packed *w,
                      float *scratch, const float *bias, kin_activation act, float *out, size_t out_ld) {
  if (in->images == 0 || in->height == 0 || in->width == 0) return;
  size_t threads = kin_pool_threads(context->pool);
  convolution t = {.kernels = context->kernels, .in = in, .w = w, .out = out, .out_ld = out_ld, .zeros = scratch};
  t.bias = bias, t.act = act;
  t.side = side, t.points = (side + 2) * (side + 2), t.tiles = tiles_of(in, side);
  t.across = divide_up(in->width, side), t.down = divide_up(in->height, side);
  t.ld = stride_of(in->channels), t.transformed = scratch + t.ld;
  memset(t.zeros, 0, t.ld * sizeof *t.zeros);
  t.parts = t.tiles / BLOCK_TILES;
  if (threads == 1 || t.parts >= threads) {
    t.parts = threads == 1 ? 1 : t.parts < 2 * threads ? threads : 2 * threads;
    kin_parallel_for(context->pool, t.parts, convolve_part, &t);
    return;
  }
  size_t panels = divide_up(w->n, KIN_PANEL);
  t.parts = divide_up(t.tiles, BLOCK_TILES);
  t.groups = panels < 2 * threads ? panels : 2 * threads;
  kin_parallel_for(context->pool, t.tiles, transform_one, &t);
  kin_parallel_for(context->pool, t.parts * t.groups, convolve_panels, &t);
}

/* G g G' for the matrix G of the side. */
void kin_convolution_weights(size_t side, const double g[9], double *points) {
  static const double two[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
  /* Of a point p, other points +-q: [1, p, p^2] / (2 p^2 (p^2 - q^2)), p and q being 2/3 and 3/2. */
  static const double near = -162.0 / 260.0, far = 32.0 / 260.0;
  static const double four[6][3] = {{1, 0, 0},
                                    {near, near * 2 / 3, near * 4 / 9},
                                    {near, -near * 2 / 3, near * 4 / 9},
                                    {far, far * 3 / 2, far * 9 / 4},
                                    {far, -far * 3 / 2, far * 9 / 4},
                                    {0, 0, 1}};
  const double(*m)[3] = side == 2 ? two : four;
  size_t n = side + 2;
  for (size_t i = 0; i < n; i++) {
    double line[3];
    for (size_t x = 0; x < 3; x++) line[x] = m[i][0] * g[x] + m[i][1] * g[3 + x] + m[i][2] * g[6 + x];
    for (size_t j = 0; j < n; j++) points[i * n + j] = line[0] * m[j][0] + line[1] * m[j][1] + line[2] * m[j][2];
  }
}
