/* Mini-batch k-means: each step moves the centres towards the means of a few drawn points, less with every point that
 * a centre has seen (Sculley's rates, as scikit-learn has them). */
#include "analyse/kmeans.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Steps without a better smoothed inertia before it ends. */
enum { PATIENCE = 10, PASSES = 100 };

typedef struct batch {
  size_t n;
  size_t *points;   /* [n] */
  uint32_t *labels; /* [n] */
  double *squared;  /* [n] */
  const kin_points *p;
} batch;

/* Task of the pool. */
static void measure_point(void *arg, size_t i) {
  batch *b = arg;
  b->squared[i] = kin_points_distance(b->p, b->points[i], b->labels[i]);
}

/* A centre that has seen nothing in a whole pass over the points goes to one of the batch. */
static void revive(kin_points *p, const batch *b, kin_random *random) {
  const size_t dim = p->set->dim;
  for (size_t c = 0; c < p->k; c++) {
    if (p->counts[c]) continue;
    const size_t point = b->points[kin_random_below(random, b->n)];
    for (size_t j = 0; j < dim; j++)
      p->centres[c * dim + j] = (float)((double)p->set->values[point * dim + j] * p->inverse[point]);
  }
}

/* Every point that a centre gets moves it by one n-th of the way, n being the points that it has got so far. */
static void move_centres(kin_points *p, const batch *b) {
  const size_t dim = p->set->dim;
  for (size_t i = 0; i < b->n; i++) {
    const size_t c = b->labels[i], point = b->points[i];
    const double rate = 1 / (double)++p->counts[c], factor = p->inverse[point];
    const float *x = p->set->values + point * dim;
    float *centre = p->centres + c * dim;
    for (size_t j = 0; j < dim; j++)
      centre[j] = (float)((double)centre[j] + ((double)x[j] * factor - (double)centre[j]) * rate);
  }
  kin_points_normalise(p);
}

static kin_status run_step(kin_points *p, batch *b, kin_random *random, double *inertia, kin_error *err) {
  for (size_t i = 0; i < b->n; i++) b->points[i] = kin_random_below(random, p->set->n);
  kin_status status = kin_points_pack_centres(p, err);
  if (status != KIN_OK) return status;
  kin_points_assign_some(p, b->points, b->n, b->labels);
  kin_parallel_for(p->context->pool, b->n, measure_point, b);
  *inertia = 0;
  for (size_t i = 0; i < b->n; i++) *inertia += b->squared[i] / (double)b->n;
  move_centres(p, b);
  return KIN_OK;
}

static kin_status run_steps(kin_points *p, const kin_kmeans_options *o, size_t start, kin_random *random, batch *b,
                            size_t *iterations, kin_error *err) {
  const size_t n = p->set->n, pass = (n + b->n - 1) / b->n;
  const size_t most = (o->max_iterations ? o->max_iterations : PASSES) * pass;
  const double share = fmin(1, 2 * (double)b->n / ((double)n + 1));
  double smooth = 0, best = INFINITY;
  size_t waited = 0;
  memset(p->counts, 0, p->k * sizeof *p->counts);
  for (*iterations = 1; *iterations <= most; ++*iterations) {
    double inertia;
    kin_status status = run_step(p, b, random, &inertia, err);
    if (status != KIN_OK) return status;
    if (o->on_progress && !o->on_progress(o->user, start, *iterations))
      return kin_fail(err, KIN_ERR_CANCELLED, "stopped after %zu steps", *iterations);
    if (*iterations % pass == 0 && *iterations < most) revive(p, b, random);
    if (*iterations == 1) continue; /* of the seeds, not of what they became */
    smooth = *iterations == 2 ? inertia : smooth * (1 - share) + inertia * share;
    waited = smooth < best ? 0 : waited + 1;
    best = fmin(best, smooth);
    if (waited >= PATIENCE && *iterations > pass) break;
  }
  if (*iterations > most) *iterations = most;
  return KIN_OK;
}

kin_status kin_kmeans_batches(kin_points *p, const kin_kmeans_options *options, size_t start, kin_random *random,
                              size_t *iterations, kin_error *err) {
  batch b = {.n = options->batch < p->set->n ? options->batch : p->set->n, .p = p};
  b.points = kin_array(b.n, sizeof *b.points);
  b.labels = kin_array(b.n, sizeof *b.labels);
  b.squared = kin_array(b.n, sizeof *b.squared);
  kin_status status = b.points && b.labels && b.squared
                          ? run_steps(p, options, start, random, &b, iterations, err)
                          : kin_fail(err, KIN_ERR_MEMORY, "out of memory for a batch of %zu vectors", b.n);
  free(b.points), free(b.labels), free(b.squared);
  return status;
}
