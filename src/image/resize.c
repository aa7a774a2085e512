/* Pillow's antialiased resize of 8-bit RGB: fixed-point weights, one pass an axis, row by row as they come. */
#include "kernel/resize.h"

#include "image/codec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

static void taps_free(kin_taps *t) {
  free(t->first);
  free(t->count);
  free(t->high);
  free(t->low);
}

static bool taps_alloc(kin_taps *t, size_t n, size_t weights) {
  *t = (kin_taps){.n = n, .stride = (weights + 7) / 8 * 8};
  t->first = kin_array(n, sizeof *t->first);
  t->count = kin_array(n, sizeof *t->count);
  if (t->stride <= SIZE_MAX / sizeof *t->high) {
    t->high = calloc(n, t->stride * sizeof *t->high);
    t->low = calloc(n, t->stride * sizeof *t->low);
  }
  return t->first && t->count && t->high && t->low;
}

static void set_weight(kin_taps *t, size_t at, int32_t weight) {
  t->low[at] = (int16_t)(weight & ((1 << KIN_TAP_LOW_BITS) - 1));
  t->high[at] = (int16_t)((weight - t->low[at]) / (1 << KIN_TAP_LOW_BITS));
}

/* An axis that keeps its size has no pass in Pillow. */
static void identity_taps(kin_taps *t, uint32_t begin) {
  for (size_t i = 0; i < t->n; i++) {
    t->first[i] = begin + (uint32_t)i;
    t->count[i] = 1;
    set_weight(t, i * t->stride, 1 << KIN_TAP_BITS);
  }
}

/* The operations and their order are Pillow's, in double, so that every weight rounds alike. */
static void compute_taps(kin_taps *t, const kernel *k, double *scratch, uint32_t in_size, uint32_t out_size,
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
    for (size_t x = 0; x < count; x++) {
      double w = (sum != 0.0 ? scratch[x] / sum : scratch[x]) * (1 << KIN_TAP_BITS);
      set_weight(t, i * t->stride + x, (int32_t)(w < 0 ? w - 0.5 : w + 0.5));
    }
  }
}

/* The taps of outputs [begin, begin + n). */
static bool make_taps(kin_taps *t, kin_filter filter, uint32_t in_size, uint32_t out_size, uint32_t begin, uint32_t n) {
  const kernel k = kernel_of(filter);
  const double scale = (double)in_size / out_size;
  const size_t weights = in_size == out_size ? 1 : (size_t)ceil(k.support * (scale < 1.0 ? 1.0 : scale)) * 2 + 1;
  if (!taps_alloc(t, n, weights)) return false;
  if (in_size == out_size) {
    identity_taps(t, begin);
    return true;
  }
  double *scratch = kin_array(weights, sizeof *scratch);
  if (scratch) compute_taps(t, &k, scratch, in_size, out_size, begin);
  free(scratch);
  return scratch;
}

static void swap_weights(int16_t *a, int16_t *b) {
  int16_t t = *a;
  *a = *b;
  *b = t;
}

/* For an axis that is stored the other way round: the outputs, too, come in the order of what is stored. */
static bool mirror_taps(kin_taps *t, uint32_t in_size) {
  kin_taps m;
  bool ok = taps_alloc(&m, t->n, t->stride);
  for (size_t i = 0; ok && i < t->n; i++) {
    const size_t from = t->n - 1 - i, count = t->count[from];
    m.first[i] = in_size - t->first[from] - t->count[from];
    m.count[i] = t->count[from];
    memcpy(m.high + i * m.stride, t->high + from * t->stride, t->stride * sizeof *m.high);
    memcpy(m.low + i * m.stride, t->low + from * t->stride, t->stride * sizeof *m.low);
    for (size_t x = 0; x < count / 2; x++) {
      swap_weights(m.high + i * m.stride + x, m.high + i * m.stride + count - 1 - x);
      swap_weights(m.low + i * m.stride + x, m.low + i * m.stride + count - 1 - x);
    }
  }
  taps_free(t);
  *t = m;
  return ok;
}

/* ------------------------------------------------------------- row by row */

struct kin_resizer {
  const kin_resize_kernels *kernels;
  kin_taps columns, rows; /* of the picture as it is stored */
  kin_region reads;
  bool down_first; /* rows are added up first, then each is made narrower */
  /* The last rows that came, after the horizontal pass unless down_first: row y lies at ring[y % n_ring]. */
  size_t n_ring, kept_stride;
  uint8_t *kept; /* [n_ring][kept_stride] */
  const uint8_t **ring, **window;
  uint8_t *line; /* with down_first: one row between the passes */
  uint32_t next; /* row to come */
  size_t done;   /* output rows */
  unsigned orientation;
  kin_image turned; /* the result as it is stored, where that isn't upright */
  uint8_t *out;     /* what is written to: the caller's or turned.rgb */
  size_t stride;
  uint8_t *upright; /* the caller's */
  size_t upright_stride;
};

void kin_resizer_close(kin_resizer *r) {
  if (!r) return;
  taps_free(&r->columns);
  taps_free(&r->rows);
  free(r->kept);
  free(r->ring);
  free(r->window);
  free(r->line);
  kin_image_free(&r->turned);
  free(r);
}

static bool prepare_taps(kin_resizer *r, const kin_resize *job) {
  const bool swap = job->orientation >= 5;
  const uint32_t width = swap ? job->height : job->width, height = swap ? job->width : job->height;
  const kin_region *region = &job->region;
  kin_taps *across = swap ? &r->rows : &r->columns, *down = swap ? &r->columns : &r->rows;
  if (!make_taps(across, job->filter, width, job->out_width, region->x, region->width)) return false;
  if (!make_taps(down, job->filter, height, job->out_height, region->y, region->height)) return false;
  const unsigned o = job->orientation;
  if ((o == 2 || o == 3 || o == 7 || o == 8) && !mirror_taps(&r->columns, job->width)) return false;
  if ((o == 3 || o == 4 || o == 6 || o == 7) && !mirror_taps(&r->rows, job->height)) return false;
  /* Pillow runs the vertical pass first where the height shrinks by more than twice what the width does
   * (from version 13 on; before, the horizontal pass was always first). */
  const int64_t shrink_x = (int64_t)width - job->out_width, shrink_y = (int64_t)height - job->out_height;
  r->down_first = (shrink_y > 0 && shrink_y > 2 * shrink_x) != swap;
  return true;
}

static bool prepare_rows(kin_resizer *r) {
  const kin_taps *c = &r->columns, *d = &r->rows;
  r->reads = (kin_region){c->first[0], d->first[0], c->first[c->n - 1] + c->count[c->n - 1] - c->first[0],
                          d->first[d->n - 1] + d->count[d->n - 1] - d->first[0]};
  r->next = r->reads.y;
  size_t most = 0;
  for (size_t i = 0; i < d->n; i++)
    if (d->count[i] > most) most = d->count[i];
  r->n_ring = most + KIN_RESIZE_ROWS;
  r->kept_stride = 3 * (r->down_first ? (size_t)r->reads.width : c->n);
  r->kept = kin_array(r->n_ring, r->kept_stride);
  r->ring = kin_array(r->n_ring, sizeof *r->ring);
  r->window = kin_array(most, sizeof *r->window);
  if (r->down_first) r->line = kin_array(r->reads.width, 3);
  return r->kept && r->ring && r->window && (r->line || !r->down_first);
}

static bool prepare_output(kin_resizer *r, const kin_resize *job) {
  r->orientation = job->orientation;
  r->upright = r->out = job->out;
  r->upright_stride = r->stride = job->stride;
  if (job->orientation < 2) return true;
  r->turned = (kin_image){(uint32_t)r->columns.n, (uint32_t)r->rows.n, kin_array(r->rows.n, r->columns.n * 3)};
  r->out = r->turned.rgb;
  r->stride = r->columns.n * 3;
  return r->out;
}

static bool inside(uint32_t first, uint32_t count, uint32_t size) {
  return count > 0 && first <= size && count <= size - first;
}

kin_status kin_resizer_open(const kin_resize *job, kin_resizer **out, kin_error *err) {
  *out = NULL;
  if (job->width == 0 || job->height == 0 || !inside(job->region.x, job->region.width, job->out_width) ||
      !inside(job->region.y, job->region.height, job->out_height))
    return kin_fail(err, KIN_ERR_ARGUMENT, "cannot resize %u x %u pixels to %u x %u: empty, or a region outside",
                    job->width, job->height, job->out_width, job->out_height);
  kin_resizer *r = calloc(1, sizeof *r);
  if (r) r->kernels = kin_resize_kernels_for(KIN_ISA_AUTO);
  if (!r || !prepare_taps(r, job) || !prepare_rows(r) || !prepare_output(r, job)) {
    kin_resizer_close(r);
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory to resize %u x %u to %u x %u pixels", job->width, job->height,
                    job->out_width, job->out_height);
  }
  *out = r;
  return KIN_OK;
}

kin_region kin_resizer_reads(const kin_resizer *r) {
  return r->reads;
}

/* Finish the output rows whose inputs are all there. */
static void add_up(kin_resizer *r) {
  const kin_taps *d = &r->rows;
  for (; r->done < d->n && d->first[r->done] + d->count[r->done] <= r->next; r->done++) {
    uint8_t *out = r->out + r->done * r->stride;
    for (size_t y = 0; y < d->count[r->done]; y++) r->window[y] = r->ring[(d->first[r->done] + y) % r->n_ring];
    r->kernels->down(d, r->done, r->window, r->kept_stride, r->down_first ? r->line : out);
    if (!r->down_first) continue;
    const uint8_t *line = r->line;
    r->kernels->across(&r->columns, &line, 1, r->reads.x, r->kept_stride, &out);
  }
}

void kin_resizer_push(kin_resizer *r, const uint8_t *const *rows, size_t n, size_t row_bytes, bool stay) {
  for (size_t first = 0; first < n; first += KIN_RESIZE_ROWS) {
    const size_t count = n - first < KIN_RESIZE_ROWS ? n - first : KIN_RESIZE_ROWS;
    uint8_t *slots[KIN_RESIZE_ROWS];
    for (size_t i = 0; i < count; i++) {
      const size_t at = (r->next + i) % r->n_ring;
      r->ring[at] = slots[i] = r->kept + at * r->kept_stride;
      if (r->down_first && stay) r->ring[at] = rows[first + i];
      if (r->down_first && !stay) memcpy(slots[i], rows[first + i], r->kept_stride);
    }
    if (!r->down_first) r->kernels->across(&r->columns, rows + first, count, r->reads.x, row_bytes, slots);
    r->next += (uint32_t)count;
    add_up(r);
  }
}

kin_status kin_resizer_finish(kin_resizer *r, kin_error *err) {
  if (r->orientation < 2) return KIN_OK;
  kin_status status = kin_image_orient(&r->turned, r->orientation, err);
  if (status != KIN_OK) return status;
  const size_t bytes = (size_t)r->turned.width * 3;
  for (size_t y = 0; y < r->turned.height; y++)
    memcpy(r->upright + y * r->upright_stride, r->turned.rgb + y * bytes, bytes);
  return KIN_OK;
}

/* --------------------------------------------------------- whole pictures */

/* Pillow adds up the step, rather than multiplying, and the roundings of that are part of its answer. */
static void nearest_positions(uint32_t in_size, uint32_t out_size, uint32_t begin, uint32_t n, uint32_t *out) {
  const double step = (double)in_size / out_size;
  double at = step * 0.5;
  for (uint32_t i = 0; i < begin + n; i++, at += step)
    if (i >= begin) out[i - begin] = (uint32_t)at < in_size ? (uint32_t)at : in_size - 1;
}

static kin_status nearest(const kin_image *image, uint32_t out_width, uint32_t out_height, const kin_region *region,
                          uint8_t *out, size_t stride, kin_error *err) {
  if (image->width == 0 || image->height == 0 || !inside(region->x, region->width, out_width) ||
      !inside(region->y, region->height, out_height))
    return kin_fail(err, KIN_ERR_ARGUMENT, "cannot resize %u x %u pixels to %u x %u: empty, or a region outside",
                    image->width, image->height, out_width, out_height);
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
  if (filter == KIN_FILTER_NEAREST) return nearest(image, out_width, out_height, region, out, stride, err);
  const kin_resize job = {image->width, image->height, 1, out_width, out_height, filter, *region, out, stride};
  kin_resizer *r;
  kin_status status = kin_resizer_open(&job, &r, err);
  if (status != KIN_OK) return status;
  const size_t in_stride = (size_t)image->width * 3;
  const uint8_t *row = image->rgb + r->reads.y * in_stride + (size_t)r->reads.x * 3;
  for (uint32_t y = 0; y < r->reads.height; y += KIN_RESIZE_ROWS) {
    const uint8_t *rows[KIN_RESIZE_ROWS];
    const uint32_t left = r->reads.height - y, n = left < KIN_RESIZE_ROWS ? left : KIN_RESIZE_ROWS;
    for (uint32_t i = 0; i < n; i++, row += in_stride) rows[i] = row;
    kin_resizer_push(r, rows, n, (size_t)r->reads.width * 3, true);
  }
  kin_resizer_close(r);
  return KIN_OK;
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
