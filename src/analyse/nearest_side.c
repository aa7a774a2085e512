/* Centring, rounding and packing vectors for products, with a bound on what rounding loses.
 *
 * Distances don't change when all vectors are moved, and cosines change by terms of one vector each; but what
 * rounding loses is a share of the lengths, which are least about the mean. */
#include "analyse/nearest_side.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

kin_status kin_nearest_frame_open(const kin_vector_set *set, const double *inverse, kin_metric metric,
                                  kin_nearest_frame *out, kin_error *err) {
  const size_t dim = set->dim;
  *out = (kin_nearest_frame){.metric = metric, .dim = dim, .scale = 1, .mean = calloc(dim, sizeof *out->mean)};
  if (!out->mean) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a mean of %zu floats", dim);
  const bool unit = metric == KIN_METRIC_COSINE;
  for (size_t i = 0; i < set->n; i++)
    for (size_t j = 0; j < dim; j++)
      out->mean[j] += (double)set->values[i * dim + j] * (unit ? inverse[i] : 1) / (double)set->n;
  if (unit) return KIN_OK;
  double longest = 0;
  for (size_t i = 0; i < set->n; i++) {
    double squares = 0;
    for (size_t j = 0; j < dim; j++) {
      const double v = (double)set->values[i * dim + j] - out->mean[j];
      squares += v * v;
    }
    longest = fmax(longest, squares);
  }
  if (longest > 0) out->scale = 1 / sqrt(longest);
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
  const double factor = f->frame->metric == KIN_METRIC_COSINE ? f->inverse[from] : 1;
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

/* x.y - x'y' = (x - x')y + x'(y - y'), at most |x - x'| |y| + |x'| |y - y'|; then the sums of the product, whose
 * terms are at most |x'| |y'| together, and the rounding of bias, score and cosine. */
void kin_nearest_bound(const kin_nearest_side *rows, const kin_nearest_side *columns, size_t dim, float *error) {
  double longest = 0, lost = 0, bias = 0;
  for (size_t j = 0; j < columns->n; j++) {
    longest = fmax(longest, (double)columns->length[j]);
    lost = fmax(lost, (double)columns->lost[j]);
    bias = fmax(bias, fabs((double)columns->bias[j]));
  }
  const double step = 0x1p-23;
  for (size_t i = 0; i < rows->n; i++) {
    const double most = (double)rows->length[i] + (double)rows->lost[i];
    const double product = most * (longest + lost);
    const double e = (double)rows->lost[i] * longest + most * lost + (double)(dim + 8) * step * product +
                     4 * step * (product + bias + 1);
    error[i] = (float)(e * 1.001);
  }
}
