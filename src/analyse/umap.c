/* UMAP: neighbours, their fuzzy set, a start by principal components, and the descent. */
#include "analyse/umap.h"

#include "analyse/analyse.h"
#include "base/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 300, MOST_STEPS = 200 };

/* ------------------------------------------------------------------- curve */

/* Summed squares of what the curve misses; the normal equations into h[3] (symmetric) and g[2]. */
static double fit_error(double min_dist, double a, double b, double h[3], double g[2]) {
  double sum = 0;
  h[0] = h[1] = h[2] = g[0] = g[1] = 0;
  for (int i = 0; i < SAMPLES; i++) {
    const double x = 3.0 * i / (SAMPLES - 1), wanted = x < min_dist ? 1 : exp(min_dist - x);
    const double p = x > 0 ? pow(x, 2 * b) : 0, curve = 1 / (1 + a * p), miss = wanted - curve;
    const double da = -p * curve * curve, db = x > 0 ? -2 * a * p * log(x) * curve * curve : 0;
    sum += miss * miss;
    h[0] += da * da, h[1] += da * db, h[2] += db * db, g[0] += da * miss, g[1] += db * miss;
  }
  return sum;
}

/* Levenberg's and Marquardt's method. */
void kin_umap_curve(double min_dist, double *a, double *b) {
  double h[3], g[2], next_h[3], next_g[2], damping = 1e-3;
  *a = *b = 1;
  double error = fit_error(min_dist, *a, *b, h, g);
  for (int step = 0; step < MOST_STEPS && damping < 1e12; step++) {
    const double h0 = h[0] * (1 + damping), h2 = h[2] * (1 + damping), det = h0 * h2 - h[1] * h[1];
    const double to_a = *a + (h2 * g[0] - h[1] * g[1]) / det, to_b = *b + (h0 * g[1] - h[1] * g[0]) / det;
    const double next = to_a > 0 && to_b > 0 ? fit_error(min_dist, to_a, to_b, next_h, next_g) : INFINITY;
    if (next > error || !isfinite(next)) {
      damping *= 10;
      continue;
    }
    *a = to_a, *b = to_b, error = next, damping /= 10;
    for (int i = 0; i < 3; i++) h[i] = next_h[i];
    for (int i = 0; i < 2; i++) g[i] = next_g[i];
  }
}

/* ------------------------------------------------------------------- start */

/* The two first principal components within 10 of the origin, a little shaken, so that equal vectors part. */
static kin_status start(kin_context *context, const kin_vector_set *set, uint64_t seed, float *points, kin_error *err) {
  kin_status status = kin_pca(context, set, 2, points, NULL, NULL, NULL, err);
  float most = 0;
  for (size_t i = 0; status == KIN_OK && i < 2 * set->n; i++) most = fmaxf(most, fabsf(points[i]));
  kin_random random = {seed};
  for (size_t i = 0; status == KIN_OK && i < 2 * set->n; i++) {
    const float shake = 2e-4f * ((float)kin_random_unit(&random) - 0.5f);
    points[i] = (most > 0 ? 10 * points[i] / most : 0) + shake;
  }
  return status;
}

static kin_status check(const kin_umap_options *o, size_t n, size_t *neighbours, double *min_dist, kin_error *err) {
  *neighbours = o->neighbours ? o->neighbours : n < 15 ? n : 15;
  *min_dist = o->min_dist == 0 ? 0.1 : o->min_dist < 0 ? 0 : o->min_dist;
  if (*neighbours > n || (*neighbours < 2 && n > 1))
    return kin_fail(err, KIN_ERR_ARGUMENT, "%zu neighbours of %zu vectors (itself counted): must be 2 to %zu",
                    *neighbours, n, n);
  if (!(*min_dist <= 1)) return kin_fail(err, KIN_ERR_ARGUMENT, "a least distance of %g: must be 0 to 1", *min_dist);
  return KIN_OK;
}

/* A part of the work. */
typedef struct progress {
  const kin_umap_options *options;
  double from, share;
} progress;

static bool on_progress(void *user, double done) {
  const progress *p = user;
  return !p->options->on_progress || p->options->on_progress(p->options->user, p->from + p->share * done);
}

static kin_status find_near(kin_context *context, const kin_vector_set *set, const kin_umap_options *o, size_t k,
                            kin_near *out, kin_error *err) {
  progress p = {o, 0, 0.5};
  const kin_near_options options = {
      .metric = o->metric, .k = k, .search = o->search, .on_progress = on_progress, .user = &p};
  if (!o->near) return kin_near_others(context, set, &options, out, NULL, err);
  if (o->near_each < k)
    return kin_fail(err, KIN_ERR_ARGUMENT, "%zu known neighbours of each vector: UMAP needs %zu", o->near_each, k);
  for (size_t i = 0; i < set->n; i++) memcpy(out + i * k, o->near + i * o->near_each, k * sizeof *out);
  return KIN_OK;
}

static kin_status find_fuzzy_set(kin_context *context, const kin_vector_set *set, const kin_umap_options *o, size_t k,
                                 kin_fuzzy_set *out, kin_error *err) {
  kin_near *near = kin_array(set->n, k * sizeof *near);
  if (!near) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the neighbours of %zu vectors", set->n);
  kin_status status = find_near(context, set, o, k, near, err);
  if (status == KIN_OK) status = kin_fuzzy_set_open(context, near, set->n, k, out, err);
  free(near);
  return status;
}

kin_status kin_umap(kin_context *context, const kin_vector_set *set, const kin_umap_options *options, float *out,
                    kin_error *err) {
  static const kin_umap_options defaults = {0};
  const kin_umap_options *o = options ? options : &defaults;
  size_t neighbours;
  double min_dist;
  if (!context || !set || !out) return kin_fail(err, KIN_ERR_ARGUMENT, "kin_umap needs a context, a set and room");
  kin_status status = check(o, set->n, &neighbours, &min_dist, err);
  if (status == KIN_OK) status = start(context, set, o->seed, out, err);
  if (status != KIN_OK) return status;
  if (set->n == 1) return out[0] = out[1] = 0, KIN_OK;
  kin_fuzzy_set fuzzy = {0};
  status = find_fuzzy_set(context, set, o, neighbours - 1, &fuzzy, err);
  kin_umap_layout layout = {.context = context, .set = &fuzzy, .seed = o->seed};
  layout.epochs = o->epochs ? o->epochs : set->n <= 10000 ? 500 : 200;
  progress p = {o, o->near ? 0 : 0.5, o->near ? 1 : 0.5};
  layout.on_progress = on_progress, layout.user = &p;
  kin_umap_curve(min_dist, &layout.a, &layout.b);
  if (status == KIN_OK) status = kin_umap_move(&layout, out, err);
  kin_fuzzy_set_close(&fuzzy);
  return status;
}
