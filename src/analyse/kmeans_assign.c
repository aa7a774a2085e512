/* The nearest centre of each point: bounds that spare most of the products, products that decide most of the rest, and
 * distances in double where a product's error leaves it open.
 *
 * Bounds are Hamerly's: a point keeps its label while the greatest distance that its own centre may have by now is less
 * than the least that any other may have. */
#include "analyse/analyse.h"
#include "analyse/kmeans.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 256, LANES = 8 };

double kin_points_distance(const kin_points *p, size_t point, size_t centre) {
  const size_t dim = p->set->dim;
  const float *x = p->set->values + point * dim, *c = p->centres + centre * dim;
  const double factor = p->inverse[point];
  double sums[LANES] = {0}, total = 0;
  size_t i = 0;
  for (; i + LANES <= dim; i += LANES)
    for (size_t j = 0; j < LANES; j++) {
      const double d = (double)x[i + j] * factor - (double)c[i + j];
      sums[j] += d * d;
    }
  for (size_t j = 0; i + j < dim; j++) {
    const double d = (double)x[i + j] * factor - (double)c[i + j];
    sums[j] += d * d;
  }
  for (size_t j = 0; j < LANES; j++) total += sums[j];
  return total;
}

kin_status kin_points_pack_centres(kin_points *p, kin_error *err) {
  const kin_vector_set centres = {p->centres, p->k, p->set->dim};
  kin_nearest_side_close(&p->columns);
  p->columns = (kin_nearest_side){0};
  return kin_nearest_side_open(p->context, &p->frame, &centres, NULL, NULL, p->k, true, &p->columns, err);
}

typedef struct assignment {
  kin_points *p;
  kin_nearest_reach reach;
  bool fresh;
  size_t farthest;      /* the centre that moved most ... */
  double most, second;  /* ... by so much, and the next */
  const size_t *chosen; /* NULL: all points */
  size_t n, workers;
  uint32_t *labels; /* of the chosen */
} assignment;

/* Squared distance for a score that may be `error` more. */
static double squared(const kin_points *p, size_t point, double score, double error) {
  return 2 * (p->rows.offset[point] - score + error) / (p->frame.scale * p->frame.scale);
}

/* Decide a point by its scores; returns the label. Bounds where there is room for them. */
static uint32_t decide(const assignment *a, size_t point, const float *scores, float *upper, float *lower) {
  const kin_points *p = a->p;
  const float *bias = p->columns.bias, error = kin_nearest_error(&p->rows, point, &a->reach);
  size_t best = 0;
  float top = scores[0] - bias[0], next = -INFINITY;
  for (size_t j = 1; j < p->k; j++) {
    const float s = scores[j] - bias[j];
    if (s > top)
      next = top, top = s, best = j;
    else if (s > next)
      next = s;
  }
  if (!(top - next > 2.001f * error)) { /* open: measure all that may be nearest */
    const float bar = top - 2.001f * error;
    double least = INFINITY;
    for (size_t j = 0; j < p->k; j++) {
      if (scores[j] - bias[j] < bar) continue;
      const double d = kin_points_distance(p, point, j);
      if (d < least) least = d, best = j;
    }
    next = -INFINITY;
    for (size_t j = 0; j < p->k; j++)
      if (j != best) next = fmaxf(next, scores[j] - bias[j]);
    top = scores[best] - bias[best];
  }
  if (upper) {
    const double far = squared(p, point, (double)top, (double)error),
                 near = squared(p, point, (double)next, -(double)error);
    *upper = (float)(sqrt(fmax(0, far)) * (1 + 1e-6));
    *lower = (float)(sqrt(fmax(0, near)) * (1 - 1e-6));
  }
  return (uint32_t)best;
}

/* Multiply the `count` points gathered in the worker's strip with all centres. */
static void run_strip(const assignment *a, size_t worker, const size_t *points, const size_t *places, size_t count) {
  kin_points *p = a->p;
  const size_t rows = kin_nearest_tile_rows(p->context, p->frame.bf16), bytes = p->columns.words * 4;
  char *strip = (char *)p->strips + worker * rows * bytes;
  float *scores = p->scores + worker * rows * p->columns.padded;
  for (size_t r = 0; r < count; r++) memcpy(strip + r * bytes, kin_nearest_row(&p->rows, points[r]), bytes);
  kin_nearest_multiply(p->context, p->frame.bf16, strip, count, &p->columns, 0, p->columns.padded / KIN_PANEL, scores,
                       p->columns.padded);
  for (size_t r = 0; r < count; r++) {
    const size_t point = points[r];
    const bool bounds = !a->chosen;
    a->labels[places[r]] = decide(a, point, scores + r * p->columns.padded, bounds ? &p->upper[point] : NULL,
                                  bounds ? &p->lower[point] : NULL);
  }
}

/* Move the bounds by what the centres moved; whether they still decide the point. */
static bool still_decided(const assignment *a, size_t point) {
  kin_points *p = a->p;
  const uint32_t label = p->labels[point];
  const double others = label == a->farthest ? a->second : a->most;
  p->upper[point] = (float)(((double)p->upper[point] + p->shift[label]) * (1 + 1e-6));
  p->lower[point] = (float)(((double)p->lower[point] - others) * (1 - 1e-6) - 1e-12);
  return p->upper[point] < p->lower[point];
}

/* Task of the pool: every so-manieth block of points. */
static void assign_blocks(void *arg, size_t worker) {
  const assignment *a = arg;
  const size_t rows = kin_nearest_tile_rows(a->p->context, a->p->frame.bf16);
  size_t points[KIN_MAX_TILE_ROWS], places[KIN_MAX_TILE_ROWS], count = 0;
  for (size_t first = worker * BLOCK; first < a->n; first += a->workers * BLOCK)
    for (size_t i = first; i < first + BLOCK && i < a->n; i++) {
      const size_t point = a->chosen ? a->chosen[i] : i;
      if (!a->chosen && !a->fresh && still_decided(a, point)) continue;
      points[count] = point, places[count] = i;
      if (++count < rows) continue;
      run_strip(a, worker, points, places, count);
      count = 0;
    }
  if (count) run_strip(a, worker, points, places, count);
}

static size_t workers_of(const kin_points *p) {
  return 4 * (size_t)kin_context_threads(p->context);
}

void kin_points_assign(kin_points *p, bool fresh) {
  assignment a = {.p = p, .fresh = fresh, .n = p->set->n, .workers = workers_of(p), .labels = p->labels};
  a.reach = kin_nearest_reach_of(&p->columns, p->set->dim);
  for (size_t j = 0; j < p->k && !fresh; j++) {
    if (p->shift[j] > a.most)
      a.second = a.most, a.most = p->shift[j], a.farthest = j;
    else if (p->shift[j] > a.second)
      a.second = p->shift[j];
  }
  memcpy(p->previous, p->labels, p->set->n * sizeof *p->labels);
  kin_parallel_for(p->context->pool, a.workers, assign_blocks, &a);
  p->n_changed = 0;
  for (size_t i = 0; i < p->set->n; i++)
    if (p->labels[i] != p->previous[i]) p->changed[p->n_changed++] = i;
}

void kin_points_assign_some(kin_points *p, const size_t *chosen, size_t n, uint32_t *labels) {
  assignment a = {.p = p, .n = n, .workers = workers_of(p), .chosen = chosen, .labels = labels};
  a.reach = kin_nearest_reach_of(&p->columns, p->set->dim);
  kin_parallel_for(p->context->pool, a.workers, assign_blocks, &a);
}

/* ------------------------------------------------------------------ points */

kin_status kin_points_open(kin_context *context, const kin_vector_set *set, kin_metric metric, kin_points *out,
                           kin_error *err) {
  *out = (kin_points){.context = context, .set = set, .metric = metric};
  kin_status status = kin_inverse_lengths(set, &out->inverse, err);
  if (status != KIN_OK) return status;
  for (size_t i = 0; i < set->n && metric == KIN_METRIC_EUCLIDEAN; i++) out->inverse[i] = 1;
  status = kin_nearest_frame_open(context, set, out->inverse, metric, &out->frame, err);
  /* With cosines too it is distances, of vectors at length 1. */
  out->frame.metric = KIN_METRIC_EUCLIDEAN;
  out->frame.bf16 = context->bf16 && set->dim >= KIN_LEAST_BF16;
  if (status == KIN_OK)
    status = kin_nearest_side_open(context, &out->frame, set, out->inverse, NULL, set->n, false, &out->rows, err);
  for (size_t i = 0; status == KIN_OK && i < set->n; i++)
    out->variance += 2 * out->rows.offset[i] / (out->frame.scale * out->frame.scale) / (double)set->n;
  return status;
}

kin_status kin_points_begin(kin_points *p, size_t k, kin_error *err) {
  const size_t n = p->set->n, dim = p->set->dim, padded = (k + KIN_PANEL - 1) / KIN_PANEL * KIN_PANEL;
  const size_t strip = workers_of(p) * kin_nearest_tile_rows(p->context, p->frame.bf16);
  p->k = k;
  p->centres = kin_array(k, dim * sizeof *p->centres);
  p->labels = kin_array(n, sizeof *p->labels), p->previous = kin_array(n, sizeof *p->previous);
  p->upper = kin_array(n, sizeof *p->upper), p->lower = kin_array(n, sizeof *p->lower);
  p->shift = kin_array(k, sizeof *p->shift), p->counts = kin_array(k, sizeof *p->counts);
  p->sums = kin_array(k, dim * sizeof *p->sums), p->changed = kin_array(n, sizeof *p->changed);
  p->scores = kin_alloc_aligned(strip * padded * sizeof *p->scores);
  p->strips = kin_alloc_aligned(strip * p->rows.words * 4);
  if (p->centres && p->labels && p->previous && p->upper && p->lower && p->shift && p->counts && p->sums &&
      p->changed && p->scores && p->strips)
    return KIN_OK;
  return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu clusters of %zu vectors", k, n);
}

void kin_points_close(kin_points *p) {
  kin_nearest_side_close(&p->rows);
  kin_nearest_side_close(&p->columns);
  kin_nearest_frame_close(&p->frame);
  kin_free_aligned(p->scores), kin_free_aligned(p->strips);
  free(p->inverse), free(p->centres), free(p->labels), free(p->previous), free(p->upper), free(p->lower);
  free(p->shift), free(p->counts), free(p->sums), free(p->changed);
}
