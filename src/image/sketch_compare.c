/* Comparing two sketches: where in one picture does the other one lie, and are the edges there the same?
 *
 * A search over places and sizes by normalised correlation of small pictures, which brightness and contrast don't
 * change, gives a few windows; the best of them are moved and scaled until the correlation is greatest; and the
 * correlation of the gradients decides, since even unlike pictures have a bright sky and a dark ground in common. */
#include "image/sketch.h"

#include <math.h>
#include <string.h>

enum {
  SIDE = KIN_SKETCH_SIDE,
  COARSE = 24, /* the longer side while places are searched for */
  GRID = 32,   /* the window is compared on so many samples each way */
  KEPT = 3,    /* windows that are looked at closely */
  LEAST_TEMPLATE = 6,
  MARGIN = 3 /* of the grid, where a frame may be */
};

static const float least_fit = 0.5f;      /* the shorter of a window's sides, of the longest that fits */
static const float size_step = 0.955f;    /* from one size of windows to the next */
static const float least_coarse = 0.6f;   /* correlation of a window that is looked at closely */
static const float least_likeness = 0.8f; /* correlation of the gradients of copies */
static const float whole_share = 0.94f;   /* of the area: no crop */

typedef struct plane {
  size_t columns, rows;
  float values[SIDE * SIDE];
} plane;

typedef struct window {
  float x, y, width, height; /* of a plane, in its pixels */
  float correlation;
} window;

static void read_plane(const kin_sketch *sketch, plane *out) {
  out->columns = sketch->columns, out->rows = sketch->rows;
  for (size_t i = 0; i < out->columns * out->rows; i++) out->values[i] = sketch->grey[i];
}

/* ---------------------------------------------------------------- sampling */

typedef struct taps {
  size_t first[SIDE], n[SIDE];
  float weights[SIDE][SIDE]; /* [output][first + ...] */
} taps;

/* Weights of `n` samples of a line of `size` pixels, from `from` on, over `length`: a triangle that grows with the
 * step, so that nothing is passed over. */
static void make_taps(size_t size, float from, float length, size_t n, taps *out) {
  const float step = length / (float)n, reach = step > 1 ? step : 1;
  for (size_t i = 0; i < n; i++) {
    float at = from + ((float)i + 0.5f) * step - 0.5f;
    at = fmaxf(0, fminf((float)(size - 1), at));
    const float low = ceilf(at - reach), high = floorf(at + reach);
    const size_t first = low < 0 ? 0 : (size_t)low, last = high > (float)(size - 1) ? size - 1 : (size_t)high;
    float sum = 0;
    out->first[i] = first, out->n[i] = last - first + 1;
    for (size_t j = first; j <= last; j++) sum += out->weights[i][j - first] = reach - fabsf((float)j - at);
    for (size_t j = 0; j < out->n[i]; j++) out->weights[i][j] /= sum;
  }
}

/* Sample a window of `in` into out[rows][columns]. */
static void sample(const plane *in, const window *w, size_t columns, size_t rows, float *out) {
  taps across, down;
  float lines[SIDE * SIDE];
  make_taps(in->columns, w->x, w->width, columns, &across);
  make_taps(in->rows, w->y, w->height, rows, &down);
  const size_t top = down.first[0], end = down.first[rows - 1] + down.n[rows - 1];
  for (size_t y = top; y < end; y++)
    for (size_t x = 0; x < columns; x++) {
      const float *line = in->values + y * in->columns + across.first[x];
      float sum = 0;
      for (size_t j = 0; j < across.n[x]; j++) sum += across.weights[x][j] * line[j];
      lines[y * columns + x] = sum;
    }
  memset(out, 0, rows * columns * sizeof *out);
  for (size_t y = 0; y < rows; y++)
    for (size_t j = 0; j < down.n[y]; j++) {
      const float weight = down.weights[y][j], *line = lines + (down.first[y] + j) * columns;
      for (size_t x = 0; x < columns; x++) out[y * columns + x] += weight * line[x];
    }
}

static window whole_of(const plane *p) {
  return (window){0, 0, (float)p->columns, (float)p->rows, 0};
}

static void shrink(const plane *in, size_t columns, size_t rows, plane *out) {
  const window all = whole_of(in);
  out->columns = columns, out->rows = rows;
  sample(in, &all, columns, rows, out->values);
}

/* To mean 0 and length 1; of one level all 0. */
static void standardise(float *values, size_t n) {
  float sum = 0, squares = 0;
  for (size_t i = 0; i < n; i++) sum += values[i];
  const float mean = sum / (float)n;
  for (size_t i = 0; i < n; i++) values[i] -= mean, squares += values[i] * values[i];
  const float scale = squares > (float)n ? 1 / sqrtf(squares) : 0; /* less than a level's deviation tells nothing */
  for (size_t i = 0; i < n; i++) values[i] *= scale;
}

static float dot(const float *a, const float *b, size_t n) {
  float sum = 0;
  for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

/* ---------------------------------------------------------------- searching */

/* The correlation of a standardised template with the window at (x, y). */
static float correlate(const plane *in, size_t x, size_t y, const plane *template) {
  float sum = 0, squares = 0, product = 0;
  for (size_t row = 0; row < template->rows; row++) {
    const float *line = in->values + (y + row) * in->columns + x, *own = template->values + row * template->columns;
    for (size_t i = 0; i < template->columns; i++)
      sum += line[i], squares += line[i] * line[i], product += line[i] * own[i];
  }
  const float n = (float)(template->rows * template->columns), variance = squares - sum * sum / n;
  return variance > n ? product / sqrtf(variance) : 0;
}

static void keep(window *kept, window one) {
  if (one.correlation <= kept[KEPT - 1].correlation) return;
  size_t at = KEPT - 1;
  for (; at > 0 && kept[at - 1].correlation < one.correlation; at--) kept[at] = kept[at - 1];
  kept[at] = one;
}

/* The windows of `large`, in its pixels, that are most like all of `small`, whose sides are as `aspect` to 1. */
static void search_places(const plane *large, const plane *small, float aspect, window *kept) {
  plane coarse, template;
  const float ratio = (float)COARSE / SIDE;
  const size_t columns = (size_t)((float)large->columns * ratio + 0.5f),
               rows = (size_t)((float)large->rows * ratio + 0.5f);
  shrink(large, columns, rows, &coarse);
  const float x_scale = (float)large->columns / (float)columns, y_scale = (float)large->rows / (float)rows;
  const float fit = fminf((float)columns, (float)rows * aspect);
  size_t last_width = 0, last_height = 0;
  for (float size = 1; size >= least_fit; size *= size_step) {
    const size_t width = (size_t)(fit * size + 0.5f), height = (size_t)(fit * size / aspect + 0.5f);
    if (width < LEAST_TEMPLATE || height < LEAST_TEMPLATE) break;
    if ((width == last_width && height == last_height) || width > columns || height > rows) continue;
    last_width = width, last_height = height;
    shrink(small, width, height, &template);
    standardise(template.values, width * height);
    window best = {.correlation = 0};
    for (size_t y = 0; y + height <= rows; y++)
      for (size_t x = 0; x + width <= columns; x++) {
        const float correlation = correlate(&coarse, x, y, &template);
        if (correlation > best.correlation)
          best = (window){(float)x * x_scale, (float)y * y_scale, (float)width * x_scale, (float)height * y_scale,
                          correlation};
      }
    keep(kept, best);
  }
}

/* ----------------------------------------------------------------- refining */

typedef struct refining {
  const plane *large;
  float target[GRID * GRID]; /* all of the small picture, standardised */
} refining;

static void measure(const refining *r, window *w) {
  float values[GRID * GRID];
  sample(r->large, w, GRID, GRID, values);
  standardise(values, GRID * GRID);
  w->correlation = dot(values, r->target, GRID * GRID);
}

static bool is_inside(const plane *p, const window *w) {
  const float slack = 0.75f;
  return w->x >= -slack && w->y >= -slack && w->x + w->width <= (float)p->columns + slack &&
         w->y + w->height <= (float)p->rows + slack;
}

static bool try_change(const refining *r, window *best, float right, float down, float grow) {
  window w = *best;
  w.width *= 1 + grow, w.height *= 1 + grow;
  w.x += right - (w.width - best->width) / 2, w.y += down - (w.height - best->height) / 2;
  if (!is_inside(r->large, &w)) return false;
  measure(r, &w);
  if (w.correlation <= best->correlation) return false;
  *best = w;
  return true;
}

/* Move and scale the window to where it fits best. */
static void refine(const refining *r, window *w) {
  measure(r, w);
  for (float step = 1.5f; step > 0.2f; step /= 2) {
    bool better = true;
    for (int round = 0; better && round < 6; round++) {
      better = false;
      for (int way = -1; way <= 1; way += 2) {
        const float by = (float)way * step;
        better |= try_change(r, w, by, 0, 0);
        better |= try_change(r, w, 0, by, 0);
        better |= try_change(r, w, 0, 0, by * 0.02f);
      }
    }
  }
}

/* The correlation of both gradients. */
static float compare_edges(const float *a, const float *b) {
  float ab = 0, aa = 0, bb = 0;
  for (size_t y = MARGIN; y + MARGIN < GRID; y++)
    for (size_t x = MARGIN; x + MARGIN < GRID; x++) {
      const size_t i = y * GRID + x;
      const float ax = a[i + 1] - a[i - 1], bx = b[i + 1] - b[i - 1];
      const float ay = a[i + GRID] - a[i - GRID], by = b[i + GRID] - b[i - GRID];
      ab += ax * bx + ay * by, aa += ax * ax + ay * ay, bb += bx * bx + by * by;
    }
  return aa > 0 && bb > 0 ? fminf(1, ab / sqrtf(aa * bb)) : 0;
}

/* ----------------------------------------------------------------- relations */

/* All of `small` in `large`, or in a part of it. */
static void find_within(const plane *large, const plane *small, float aspect, bool anywhere, kin_sketch_match *out) {
  window kept[KEPT] = {{0}};
  refining r = {.large = large};
  const window all = whole_of(small);
  if (anywhere)
    search_places(large, small, aspect, kept);
  else
    kept[0] = whole_of(large), kept[0].correlation = 1;
  sample(small, &all, GRID, GRID, r.target);
  standardise(r.target, GRID * GRID);
  *out = (kin_sketch_match){0};
  for (size_t i = 0; i < KEPT && kept[i].correlation >= least_coarse; i++) {
    float values[GRID * GRID];
    refine(&r, &kept[i]);
    sample(large, &kept[i], GRID, GRID, values);
    const float likeness = compare_edges(values, r.target);
    if (likeness <= out->likeness) continue;
    out->likeness = likeness;
    out->share = fminf(1, kept[i].width * kept[i].height / (float)(large->columns * large->rows));
  }
}

/* One of the eight symmetries of a rectangle: bit 0 mirrors, bit 1 turns upside down, bit 2 exchanges the axes. */
static void transform(const plane *in, unsigned symmetry, plane *out) {
  const bool swap = symmetry & 4;
  out->columns = swap ? in->rows : in->columns, out->rows = swap ? in->columns : in->rows;
  for (size_t y = 0; y < in->rows; y++)
    for (size_t x = 0; x < in->columns; x++) {
      const size_t to_x = symmetry & 1 ? in->columns - 1 - x : x, to_y = symmetry & 2 ? in->rows - 1 - y : y;
      out->values[swap ? to_x * out->columns + to_y : to_y * out->columns + to_x] = in->values[y * in->columns + x];
    }
}

static float aspect_of(const plane *p) {
  return (float)p->columns / (float)p->rows;
}

/* b turned or mirrored, whole. */
static void find_symmetry(const plane *a, const plane *b, kin_sketch_match *out) {
  plane turned, small_a, small_b;
  shrink(a, GRID / 2, GRID / 2, &small_a);
  standardise(small_a.values, GRID * GRID / 4);
  for (unsigned symmetry = 1; symmetry < 8; symmetry++) {
    transform(b, symmetry, &turned);
    if (fabsf(aspect_of(&turned) / aspect_of(a) - 1) > 0.06f) continue;
    shrink(&turned, GRID / 2, GRID / 2, &small_b);
    standardise(small_b.values, GRID * GRID / 4);
    if (dot(small_a.values, small_b.values, GRID * GRID / 4) < least_coarse) continue;
    kin_sketch_match match;
    find_within(a, &turned, aspect_of(&turned), false, &match);
    if (match.likeness <= out->likeness) continue;
    *out = match;
    out->relation = symmetry < 3 ? KIN_SKETCH_MIRRORED : KIN_SKETCH_TURNED;
  }
}

void kin_sketch_compare(const kin_sketch *a, const kin_sketch *b, kin_sketch_match *out) {
  plane first, second;
  kin_sketch_match match;
  read_plane(a, &first), read_plane(b, &second);
  find_within(&first, &second, (float)b->width / (float)b->height, true, out);
  out->relation = out->share >= whole_share ? KIN_SKETCH_WHOLE : KIN_SKETCH_HAS_PART;
  find_within(&second, &first, (float)a->width / (float)a->height, true, &match);
  if (match.likeness > out->likeness) {
    *out = match;
    out->relation = match.share >= whole_share ? KIN_SKETCH_WHOLE : KIN_SKETCH_PART;
  }
  if (out->likeness < least_likeness) find_symmetry(&first, &second, out);
  if (out->likeness < least_likeness) out->relation = KIN_SKETCH_DIFFERENT;
}
