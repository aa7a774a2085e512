/* Centring, rounding and packing vectors for products, with a bound on what rounding loses.
 *
 * Distances don't change when all vectors are moved, and cosines change by terms of one vector each; but what
 * rounding loses is a share of the lengths, which are least about the mean. */
#include "analyse/nearest_side.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SLICE = 64, ROWS = 1024 };

typedef struct framing {
  kin_nearest_frame *frame;
  const kin_vector_set *set;
  const double *inverse;
  double *longest; /* [blocks of ROWS] */
} framing;

/* Task of the pool: some floats of the mean. */
static void average_slice(void *arg, size_t slice) {
  const framing *f = arg;
  const size_t dim = f->set->dim, first = slice * SLICE, end = first + SLICE < dim ? first + SLICE : dim;
  double *mean = f->frame->mean;
  for (size_t i = 0; i < f->set->n; i++) {
    const double factor = f->inverse ? f->inverse[i] : 1;
    for (size_t j = first; j < end; j++) mean[j] += (double)f->set->values[i * dim + j] * factor;
  }
  for (size_t j = first; j < end; j++) mean[j] /= (double)f->set->n;
}

/* Task of the pool: the greatest squared length among some rows. */
static void find_longest(void *arg, size_t block) {
  const framing *f = arg;
  const size_t dim = f->set->dim, end = (block + 1) * ROWS < f->set->n ? (block + 1) * ROWS : f->set->n;
  f->longest[block] = 0;
  for (size_t i = block * ROWS; i < end; i++) {
    double squares = 0;
    for (size_t j = 0; j < dim; j++) {
      const double v = (double)f->set->values[i * dim + j] - f->frame->mean[j];
      squares += v * v;
    }
    f->longest[block] = fmax(f->longest[block], squares);
  }
}

kin_status kin_nearest_frame_open(kin_context *context, const kin_vector_set *set, const double *inverse,
                                  kin_metric metric, kin_nearest_frame *out, kin_error *err) {
  const size_t dim = set->dim, blocks = (set->n + ROWS - 1) / ROWS;
  *out = (kin_nearest_frame){.metric = metric, .dim = dim, .scale = 1, .mean = calloc(dim, sizeof *out->mean)};
  framing f = {out, set, inverse, kin_array(blocks, sizeof *f.longest)};
  if (!out->mean || !f.longest) {
    free(f.longest);
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a mean of %zu floats", dim);
  }
  kin_parallel_for(context->pool, (dim + SLICE - 1) / SLICE, average_slice, &f);
  double longest = 0;
  if (metric == KIN_METRIC_EUCLIDEAN) kin_parallel_for(context->pool, blocks, find_longest, &f);
  for (size_t i = 0; i < blocks && metric == KIN_METRIC_EUCLIDEAN; i++) longest = fmax(longest, f.longest[i]);
  if (longest > 0) out->scale = 1 / sqrt(longest);
  free(f.longest);
  return KIN_OK;
}

void kin_nearest_frame_close(kin_nearest_frame *frame) {
  free(frame->mean);
}

typedef struct filling {
  const kin_nearest_frame *frame;
  const kin_vector_set *set;
  const double *inverse;
  const size_t *chosen;
  const kin_bf16_kernels *bf16;
  kin_nearest_side *side;
  float *scratch; /* [padded / KIN_PANEL][dim] */
} filling;

static double widen(uint16_t bf16) {
  const uint32_t bits = (uint32_t)bf16 << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return (double)value;
}

static void fill_row(const filling *f, size_t i, float *values) {
  const size_t dim = f->frame->dim, from = f->chosen ? f->chosen[i] : i;
  kin_nearest_side *s = f->side;
  const double *mean = f->frame->mean, scale = f->frame->scale;
  const double factor = f->inverse ? f->inverse[from] : 1;
  const float *v = f->set->values + from * dim;
  uint16_t *rounded = f->frame->bf16 ? (uint16_t *)s->rows + i * 2 * s->words : NULL;
  float *row = f->frame->bf16 ? values : (float *)s->rows + i * s->words;
  double squares = 0, lost = 0, along = 0, means = 0;
  for (size_t j = 0; j < dim; j++) row[j] = (float)(((double)v[j] * factor - mean[j]) * scale);
  if (rounded) f->bf16->round(row, dim, rounded);
  if (rounded && dim % 2) rounded[dim] = 0;
  for (size_t j = 0; j < dim; j++) {
    const double exact = ((double)v[j] * factor - mean[j]) * scale;
    const double less = exact - (rounded ? widen(rounded[j]) : (double)row[j]);
    squares += exact * exact, lost += less * less;
    along += mean[j] * exact, means += mean[j] * mean[j];
  }
  const bool unit = f->frame->metric == KIN_METRIC_COSINE;
  s->bias[i] = (float)(unit ? -along : squares / 2);
  s->offset[i] = unit ? along + means : squares / 2;
  s->length[i] = (float)sqrt(squares);
  s->lost[i] = (float)sqrt(lost);
}

/* Task of the pool: the rows of one panel, and the panel. */
static void fill_panel(void *arg, size_t panel) {
  const filling *f = arg;
  kin_nearest_side *s = f->side;
  const size_t first = panel * KIN_PANEL, words = s->words;
  for (size_t i = first; i < first + KIN_PANEL; i++)
    if (i < s->n) {
      fill_row(f, i, f->scratch + panel * f->frame->dim);
    } else {
      memset((uint32_t *)s->rows + i * words, 0, words * sizeof(uint32_t));
    }
  if (!s->panels) return;
  const char *from = (const char *)s->rows + first * words * 4;
  char *to = (char *)s->panels + first * words * 4;
  for (size_t j = 0; j < words; j++)
    for (size_t i = 0; i < KIN_PANEL; i++) memcpy(to + (j * KIN_PANEL + i) * 4, from + (i * words + j) * 4, 4);
}

kin_status kin_nearest_side_open(kin_context *context, const kin_nearest_frame *frame, const kin_vector_set *set,
                                 const double *inverse, const size_t *chosen, size_t n, bool panels,
                                 kin_nearest_side *out, kin_error *err) {
  const size_t padded = (n + KIN_PANEL - 1) / KIN_PANEL * KIN_PANEL;
  *out = (kin_nearest_side){.n = n, .padded = padded, .words = frame->bf16 ? (frame->dim + 1) / 2 : frame->dim};
  filling f = {frame, set, inverse, chosen, context->bf16, out, NULL};
  if (frame->bf16) f.scratch = kin_array(padded / KIN_PANEL, frame->dim * sizeof *f.scratch);
  out->rows = kin_alloc_aligned(padded * out->words * 4);
  if (panels) out->panels = kin_alloc_aligned(padded * out->words * 4);
  out->bias = kin_array(padded + KIN_NEAREST_CHUNK, sizeof *out->bias);
  for (size_t i = n; out->bias && i < padded + KIN_NEAREST_CHUNK; i++) out->bias[i] = INFINITY;
  out->offset = kin_array(n, sizeof *out->offset);
  out->length = kin_array(n, sizeof *out->length);
  out->lost = kin_array(n, sizeof *out->lost);
  const bool ok = out->rows && (!panels || out->panels) && out->bias && out->offset && out->length && out->lost &&
                  (!frame->bf16 || f.scratch);
  if (ok) kin_parallel_for(context->pool, padded / KIN_PANEL, fill_panel, &f);
  free(f.scratch);
  return ok ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu vectors of %zu floats", n, frame->dim);
}

void kin_nearest_side_close(kin_nearest_side *side) {
  kin_free_aligned(side->rows);
  kin_free_aligned(side->panels);
  free(side->bias), free(side->offset), free(side->length), free(side->lost);
}

kin_nearest_reach kin_nearest_reach_of(const kin_nearest_side *columns, size_t dim) {
  kin_nearest_reach reach = {.dim = dim};
  for (size_t j = 0; j < columns->n; j++) {
    reach.longest = fmax(reach.longest, (double)columns->length[j]);
    reach.lost = fmax(reach.lost, (double)columns->lost[j]);
    reach.bias = fmax(reach.bias, fabs((double)columns->bias[j]));
  }
  return reach;
}

/* x.y - x'y' = (x - x')y + x'(y - y'), at most |x - x'| |y| + |x'| |y - y'|; then the sums of the product, whose
 * terms are at most |x'| |y'| together, and the rounding of bias, score and cosine. */
float kin_nearest_error(const kin_nearest_side *rows, size_t i, const kin_nearest_reach *reach) {
  const double step = 0x1p-23;
  const double lost = (double)rows->lost[i], most = (double)rows->length[i] + lost;
  const double product = most * (reach->longest + reach->lost);
  const double e = lost * reach->longest + most * reach->lost + (double)(reach->dim + 8) * step * product +
                   4 * step * (product + reach->bias + 1);
  return (float)(e * 1.001);
}

void kin_nearest_multiply(const kin_context *context, bool bf16, const void *rows, size_t count,
                          const kin_nearest_side *columns, size_t panel, size_t panels, float *out, size_t ld) {
  const size_t words = columns->words;
  for (size_t p = panel; p < panel + panels; p++, out += KIN_PANEL) {
    const char *b = (const char *)columns->panels + p * words * KIN_PANEL * 4;
    if (bf16)
      context->bf16->gemm_tile(count, words, rows, 2 * words, (const uint16_t *)(const void *)b, out, ld, false);
    else
      context->kernels->gemm_tile(count, words, rows, words, (const float *)(const void *)b, KIN_PANEL, out, ld, false,
                                  (kin_ahead){0});
  }
}

size_t kin_nearest_tile_rows(const kin_context *context, bool bf16) {
  return bf16 ? context->bf16->tile_rows : context->kernels->tile_rows;
}
