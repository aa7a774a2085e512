/* Pillow's antialiased resize of 8-bit RGB: fixed-point weights, one pass an axis. */
#include "image/codec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Weights are scaled by 2^22: 8 bits of pixel and 2 of headroom for the negative lobes fit 32. */
#define PRECISION_BITS 22
#define ROUND (1 << (PRECISION_BITS - 1))

static double bilinear(double x) {
  x = fabs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

static double bicubic(double x) {
  const double a = -0.5;
  x = fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

static double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= 3.14159265358979323846;
  return sin(x) / x;
}

static double lanczos(double x) {
  return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
}

typedef struct kernel {
  double (*weight)(double x);
  double support;
} kernel;

static kernel kernel_of(kin_filter filter) {
  switch (filter) {
  case KIN_FILTER_BILINEAR:
    return (kernel){bilinear, 1.0};
  case KIN_FILTER_LANCZOS:
    return (kernel){lanczos, 3.0};
  case KIN_FILTER_BICUBIC:
  case KIN_FILTER_NEAREST:
    break;
  }
  return (kernel){bicubic, 2.0};
}

/* For each output position of a range: the inputs it takes and their weights. */
typedef struct taps {
  size_t n, stride;        /* positions; weights reserved for each */
  uint32_t *first, *count; /* [n] */
  int32_t *weights;        /* [n][stride] */
} taps;

static void taps_free(taps *t) {
  free(t->first);
  free(t->count);
  free(t->weights);
}

/* The operations and their order are Pillow's, in double, so that every weight rounds alike. */
static void compute_taps(taps *t, const kernel *k, double *scratch, uint32_t in_size, uint32_t out_size,
                         uint32_t begin) {
  const double scale = (double)in_size / out_size;
  const double filter_scale = scale < 1.0 ? 1.0 : scale;
  const double support = k->support * filter_scale, inverse = 1.0 / filter_scale;
  for (size_t i = 0; i < t->n; i++) {
    double center = ((double)begin + (double)i + 0.5) * scale;
    int64_t low = (int64_t)(center - support + 0.5), high = (int64_t)(center + support + 0.5);
    if (low < 0) low = 0;
    if (high > in_size) high = in_size;
    size_t count = high > low ? (size_t)(high - low) : 0;
    double sum = 0.0;
    for (size_t x = 0; x < count; x++) {
      scratch[x] = k->weight(((double)x + (double)low - center + 0.5) * inverse);
      sum += scratch[x];
    }
    t->first[i] = (uint32_t)low;
    t->count[i] = (uint32_t)count;
    int32_t *weights = t->weights + i * t->stride;
    for (size_t x = 0; x < count; x++) {
      double w = (sum != 0.0 ? scratch[x] / sum : scratch[x]) * (1 << PRECISION_BITS);
      weights[x] = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
    }
  }
}

static bool make_taps(taps *t, kin_filter filter, uint32_t in_size, uint32_t out_size, uint32_t begin, uint32_t n) {
  const kernel k = kernel_of(filter);
  const double scale = (double)in_size / out_size;
  *t = (taps){.n = n, .stride = (size_t)ceil(k.support * (scale < 1.0 ? 1.0 : scale)) * 2 + 1};
  t->first = kin_array(n, sizeof *t->first);
  t->count = kin_array(n, sizeof *t->count);
  if (t->stride <= SIZE_MAX / sizeof *t->weights) t->weights = kin_array(n, t->stride * sizeof *t->weights);
  double *scratch = kin_array(t->stride, sizeof *scratch);
  bool ok = t->first && t->count && t->weights && scratch;
  if (ok) compute_taps(t, &k, scratch, in_size, out_size, begin);
  free(scratch);
  return ok;
}

static uint8_t clip8(int32_t sum) {
  sum >>= PRECISION_BITS;
  return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* Inputs that a pass over all the taps reads. */
typedef struct range {
  uint32_t first, count;
} range;

static range taps_range(const taps *t) {
  uint32_t end = t->first[t->n - 1] + t->count[t->n - 1];
  return (range){t->first[0], end - t->first[0]};
}

/* A part of a picture: `rgb` points at its pixel (x, y). */
typedef struct plane {
  const uint8_t *rgb;
  size_t stride;
  uint32_t x, y;
} plane;

static void horizontal_row(const taps *t, const uint8_t *restrict row, uint32_t row_x, uint8_t *restrict out) {
  for (size_t i = 0; i < t->n; i++) {
    const uint8_t *p = row + (size_t)(t->first[i] - row_x) * 3;
    const int32_t *w = t->weights + i * t->stride;
    const size_t n = t->count[i];
    int32_t red = ROUND, green = ROUND, blue = ROUND;
    for (size_t x = 0; x < n; x++) {
      red += p[3 * x] * w[x];
      green += p[3 * x + 1] * w[x];
      blue += p[3 * x + 2] * w[x];
    }
    out[3 * i] = clip8(red);
    out[3 * i + 1] = clip8(green);
    out[3 * i + 2] = clip8(blue);
  }
}

/* The rows `rows` of `in`, made t->n pixels wide. */
static void horizontal_pass(const taps *t, const plane *in, range rows, uint8_t *out, size_t stride) {
  const uint8_t *row = in->rgb + (size_t)(rows.first - in->y) * in->stride;
  for (size_t y = 0; y < rows.count; y++) horizontal_row(t, row + y * in->stride, in->x, out + y * stride);
}

/* One output row of `n` bytes from `count` rows that lie `stride` bytes apart. `sums` holds n. */
static void vertical_row(const uint8_t *rows, size_t stride, size_t count, const int32_t *weights, size_t n,
                         int32_t *restrict sums, uint8_t *restrict out) {
  for (size_t i = 0; i < n; i++) sums[i] = ROUND;
  for (size_t y = 0; y < count; y++) {
    const uint8_t *restrict row = rows + y * stride;
    const int32_t w = weights[y];
    for (size_t i = 0; i < n; i++) sums[i] += row[i] * w;
  }
  for (size_t i = 0; i < n; i++) out[i] = clip8(sums[i]);
}

/* The columns `columns` of `in`, made t->n pixels high. */
static void vertical_pass(const taps *t, const plane *in, range columns, int32_t *sums, uint8_t *out, size_t stride) {
  const uint8_t *top = in->rgb + (size_t)(columns.first - in->x) * 3;
  for (size_t y = 0; y < t->n; y++)
    vertical_row(top + (size_t)(t->first[y] - in->y) * in->stride, in->stride, t->count[y], t->weights + y * t->stride,
                 (size_t)columns.count * 3, sums, out + y * stride);
}

/* What the two passes of one resize need. An axis that keeps its size has no taps and no pass, as in
 * Pillow; such a pass wouldn't change a byte. */
typedef struct work {
  bool across, down, down_first;
  taps columns, rows;
  range in_columns, in_rows; /* the part of the picture that is read */
  uint8_t *between;          /* after the first of two passes */
  size_t between_stride;
  int32_t *sums; /* a row, for the vertical pass */
} work;

static void work_free(work *w) {
  taps_free(&w->columns);
  taps_free(&w->rows);
  free(w->between);
  free(w->sums);
}

static bool work_init(work *w, const kin_image *image, uint32_t out_width, uint32_t out_height, kin_filter filter,
                      const kin_region *region) {
  *w = (work){.across = out_width != image->width,
              .down = out_height != image->height,
              .in_columns = {region->x, region->width},
              .in_rows = {region->y, region->height}};
  /* Pillow runs the vertical pass first where the height shrinks by more than twice what the width does
   * (from version 13 on; before, the horizontal pass was always first). */
  const int64_t shrink_x = (int64_t)image->width - out_width, shrink_y = (int64_t)image->height - out_height;
  w->down_first = shrink_y > 0 && shrink_y > 2 * shrink_x;
  if (w->across) {
    if (!make_taps(&w->columns, filter, image->width, out_width, region->x, region->width)) return false;
    w->in_columns = taps_range(&w->columns);
  }
  if (w->down) {
    if (!make_taps(&w->rows, filter, image->height, out_height, region->y, region->height)) return false;
    w->in_rows = taps_range(&w->rows);
    const uint32_t columns = w->down_first ? w->in_columns.count : region->width;
    if (!(w->sums = kin_array(columns, 3 * sizeof *w->sums))) return false;
  }
  if (!w->across || !w->down) return true;
  w->between_stride = (size_t)(w->down_first ? w->in_columns.count : region->width) * 3;
  w->between = kin_array(w->down_first ? region->height : w->in_rows.count, w->between_stride);
  return w->between;
}

static void work_run(const work *w, const kin_image *image, const kin_region *region, uint8_t *out, size_t stride) {
  const plane in = {image->rgb, (size_t)image->width * 3, 0, 0};
  const range columns = {region->x, region->width}, rows = {region->y, region->height};
  if (w->across && w->down && w->down_first) {
    vertical_pass(&w->rows, &in, w->in_columns, w->sums, w->between, w->between_stride);
    const plane between = {w->between, w->between_stride, w->in_columns.first, region->y};
    horizontal_pass(&w->columns, &between, rows, out, stride);
  } else if (w->across && w->down) {
    horizontal_pass(&w->columns, &in, w->in_rows, w->between, w->between_stride);
    const plane between = {w->between, w->between_stride, region->x, w->in_rows.first};
    vertical_pass(&w->rows, &between, columns, w->sums, out, stride);
  } else if (w->across) {
    horizontal_pass(&w->columns, &in, rows, out, stride);
  } else if (w->down) {
    vertical_pass(&w->rows, &in, columns, w->sums, out, stride);
  } else {
    const uint8_t *first = image->rgb + region->y * in.stride + (size_t)region->x * 3;
    for (size_t y = 0; y < region->height; y++)
      memcpy(out + y * stride, first + y * in.stride, (size_t)region->width * 3);
  }
}

/* Pillow adds up the step, rather than multiplying, and the roundings of that are part of its answer. */
static void nearest_positions(uint32_t in_size, uint32_t out_size, uint32_t begin, uint32_t n, uint32_t *out) {
  const double step = (double)in_size / out_size;
  double at = step * 0.5;
  for (uint32_t i = 0; i < begin + n; i++, at += step)
    if (i >= begin) out[i - begin] = (uint32_t)at < in_size ? (uint32_t)at : in_size - 1;
}

static kin_status nearest(const kin_image *image, uint32_t out_width, uint32_t out_height, const kin_region *region,
                          uint8_t *out, size_t stride, kin_error *err) {
  uint32_t *columns = kin_array((size_t)region->width + region->height, sizeof *columns);
  if (!columns)
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory to resize to %u x %u pixels", out_width, out_height);
  uint32_t *rows = columns + region->width;
  nearest_positions(image->width, out_width, region->x, region->width, columns);
  nearest_positions(image->height, out_height, region->y, region->height, rows);
  for (size_t y = 0; y < region->height; y++) {
    const uint8_t *row = image->rgb + (size_t)rows[y] * image->width * 3;
    for (size_t x = 0; x < region->width; x++) memcpy(out + y * stride + x * 3, row + (size_t)columns[x] * 3, 3);
  }
  free(columns);
  return KIN_OK;
}

kin_status kin_image_resize_region(const kin_image *image, uint32_t out_width, uint32_t out_height, kin_filter filter,
                                   const kin_region *region, uint8_t *out, size_t stride, kin_error *err) {
  if (image->width == 0 || image->height == 0 || region->width == 0 || region->height == 0 || region->x > out_width ||
      region->width > out_width - region->x || region->y > out_height || region->height > out_height - region->y)
    return kin_fail(err, KIN_ERR_ARGUMENT, "cannot resize %u x %u pixels to %u x %u: empty, or a region outside",
                    image->width, image->height, out_width, out_height);
  if (filter == KIN_FILTER_NEAREST) return nearest(image, out_width, out_height, region, out, stride, err);
  work w;
  kin_status status = KIN_OK;
  if (work_init(&w, image, out_width, out_height, filter, region))
    work_run(&w, image, region, out, stride);
  else
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory to resize %u x %u to %u x %u pixels", image->width,
                      image->height, out_width, out_height);
  work_free(&w);
  return status;
}

kin_status kin_image_resize(const kin_image *image, uint32_t out_width, uint32_t out_height, kin_filter filter,
                            kin_image *out, kin_error *err) {
  *out = (kin_image){0};
  uint8_t *rgb = kin_array(out_height, (size_t)out_width * 3);
  if (!rgb) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %u x %u pixels", out_width, out_height);
  const kin_region all = {0, 0, out_width, out_height};
  kin_status status =
      kin_image_resize_region(image, out_width, out_height, filter, &all, rgb, (size_t)out_width * 3, err);
  if (status != KIN_OK) {
    free(rgb);
    return status;
  }
  *out = (kin_image){out_width, out_height, rgb};
  return KIN_OK;
}
