/* k-means: starts, iterations, and the clusters that are kept. */
#include "analyse/kmeans.h"

#include "analyse/clustering.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SLICE = 64, BLOCK = 256, STARTS = 4, BATCH_STARTS = 3, ITERATIONS = 300 };

/* ------------------------------------------------------------------ centres */

void kin_points_normalise(kin_points *p) {
  const size_t dim = p->set->dim;
  if (p->metric != KIN_METRIC_COSINE) return;
  for (size_t c = 0; c < p->k; c++) {
    float *centre = p->centres + c * dim;
    double squares = 0;
    for (size_t j = 0; j < dim; j++) squares += (double)centre[j] * (double)centre[j];
    for (size_t j = 0; j < dim && squares > 0; j++) centre[j] = (float)((double)centre[j] / sqrt(squares));
  }
}

/* Task of the pool: some floats of the sums, for the points whose label changed. */
static void add_slice(void *arg, size_t slice) {
  kin_points *p = arg;
  const size_t dim = p->set->dim, first = slice * SLICE, end = first + SLICE < dim ? first + SLICE : dim;
  for (size_t i = 0; i < p->n_changed; i++) {
    const size_t point = p->changed[i];
    const float *x = p->set->values + point * dim;
    const double factor = p->inverse[point];
    double *to = p->sums + p->labels[point] * dim;
    for (size_t j = first; j < end; j++) to[j] += (double)x[j] * factor;
    if (p->previous[point] == KIN_NO_CLUSTER) continue;
    double *from = p->sums + p->previous[point] * dim;
    for (size_t j = first; j < end; j++) from[j] -= (double)x[j] * factor;
  }
}

static void add_changes(kin_points *p) {
  for (size_t i = 0; i < p->n_changed; i++) {
    const size_t point = p->changed[i];
    p->counts[p->labels[point]]++;
    if (p->previous[point] != KIN_NO_CLUSTER) p->counts[p->previous[point]]--;
  }
  kin_parallel_for(p->context->pool, (p->set->dim + SLICE - 1) / SLICE, add_slice, p);
}

/* Move a point to a centre that has none. */
static void give(kin_points *p, size_t point, size_t centre) {
  p->previous[point] = p->labels[point], p->labels[point] = (uint32_t)centre;
  p->changed[0] = point, p->n_changed = 1;
  add_changes(p);
  p->upper[point] = 0, p->lower[point] = 0; /* nothing is known */
}

/* Each centre without points gets the point that is farthest from its own, where that one has others. */
static void fill_empty(kin_points *p) {
  for (size_t c = 0; c < p->k; c++) {
    if (p->counts[c]) continue;
    double most = -1;
    size_t farthest = 0;
    for (size_t i = 0; i < p->set->n; i++) {
      if (p->counts[p->labels[i]] < 2) continue;
      const double d = kin_points_distance(p, i, p->labels[i]);
      if (d > most) most = d, farthest = i;
    }
    if (most > 0) give(p, farthest, c);
  }
}

/* Centres from the sums; returns their squared moves, summed. */
static double move_centres(kin_points *p) {
  const size_t dim = p->set->dim;
  double total = 0;
  for (size_t c = 0; c < p->k; c++) {
    float *centre = p->centres + c * dim;
    const double *sum = p->sums + c * dim;
    double squares = 0, moved = 0, divisor = (double)p->counts[c];
    for (size_t j = 0; j < dim; j++) squares += sum[j] * sum[j];
    if (p->metric == KIN_METRIC_COSINE) divisor = sqrt(squares);
    p->shift[c] = 0;
    if (p->counts[c] == 0 || !(divisor > 0)) continue; /* it stays where it was */
    for (size_t j = 0; j < dim; j++) {
      const float now = (float)(sum[j] / divisor);
      const double step = (double)now - (double)centre[j];
      moved += step * step, centre[j] = now;
    }
    p->shift[c] = sqrt(moved), total += moved;
  }
  return total;
}

/* ------------------------------------------------------------------- starts */

static kin_status iterate(kin_points *p, const kin_kmeans_options *o, size_t start, size_t *iterations,
                          kin_error *err) {
  const double tolerance = o->tolerance == 0 ? 1e-4 : o->tolerance;
  const double enough = tolerance < 0 ? -1 : tolerance * p->variance / (double)p->set->dim;
  const size_t most = o->max_iterations ? o->max_iterations : ITERATIONS;
  memset(p->sums, 0, p->k * p->set->dim * sizeof *p->sums);
  memset(p->counts, 0, p->k * sizeof *p->counts);
  for (size_t i = 0; i < p->set->n; i++) p->labels[i] = KIN_NO_CLUSTER;
  kin_status status = kin_points_pack_centres(p, err);
  for (*iterations = 0; status == KIN_OK && *iterations < most;) {
    kin_points_assign(p, *iterations == 0);
    if (++*iterations > 1 && p->n_changed == 0) return KIN_OK;
    add_changes(p);
    fill_empty(p);
    const double moved = move_centres(p);
    status = kin_points_pack_centres(p, err);
    if (status == KIN_OK && o->on_progress && !o->on_progress(o->user, start, *iterations))
      status = kin_fail(err, KIN_ERR_CANCELLED, "stopped after %zu iterations", *iterations);
    if (moved <= enough) break;
  }
  if (status == KIN_OK) kin_points_assign(p, false);
  return status;
}

static kin_status run_start(kin_points *p, kin_seeder *seeder, const kin_kmeans_options *o, size_t start,
                            kin_random *random, size_t *iterations, kin_error *err) {
  kin_seeder_choose(seeder, p);
  if (!o->batch) return iterate(p, o, start, iterations, err);
  kin_status status = kin_kmeans_batches(p, o, start, random, iterations, err);
  if (status == KIN_OK) status = kin_points_pack_centres(p, err);
  for (size_t i = 0; i < p->set->n; i++) p->labels[i] = KIN_NO_CLUSTER;
  if (status == KIN_OK) kin_points_assign(p, true);
  return status;
}

typedef struct inertia {
  const kin_points *p;
  double *partial; /* [blocks] */
} inertia;

/* Task of the pool. */
static void sum_block(void *arg, size_t block) {
  const inertia *t = arg;
  const size_t n = t->p->set->n, end = (block + 1) * BLOCK < n ? (block + 1) * BLOCK : n;
  double sum = 0;
  for (size_t i = block * BLOCK; i < end; i++) sum += kin_points_distance(t->p, i, t->p->labels[i]);
  t->partial[block] = sum;
}

static double sum_inertia(const kin_points *p, double *partial) {
  const size_t blocks = (p->set->n + BLOCK - 1) / BLOCK;
  inertia t = {p, partial};
  kin_parallel_for(p->context->pool, blocks, sum_block, &t);
  double sum = 0;
  for (size_t i = 0; i < blocks; i++) sum += partial[i];
  return sum;
}

static kin_status run_starts(kin_points *p, const kin_kmeans_options *o, kin_seeder *seeder, double *partial,
                             kin_clustering *out, kin_error *err) {
  const size_t starts = o->starts ? o->starts : o->batch ? BATCH_STARTS : STARTS;
  kin_random random = {o->seed ^ 0x5bf03635};
  out->inertia = INFINITY;
  for (size_t start = 0; start < starts; start++) {
    size_t iterations = 0;
    kin_status status = run_start(p, seeder, o, start, &random, &iterations, err);
    if (status != KIN_OK) return status;
    const double sum = sum_inertia(p, partial);
    if (!(sum < out->inertia)) continue;
    out->inertia = sum, out->iterations = iterations;
    memcpy(out->labels, p->labels, out->n * sizeof *out->labels);
  }
  return KIN_OK;
}

kin_status kin_kmeans(kin_context *context, const kin_vector_set *set, const kin_kmeans_options *options,
                      kin_clustering *out, kin_error *err) {
  if (!context || !set || !options || !out)
    return kin_fail(err, KIN_ERR_ARGUMENT, "k-means needs a context, a set, options and a result");
  *out = (kin_clustering){0};
  if (options->k < 1 || options->k > set->n || options->k >= KIN_NO_CLUSTER)
    return kin_fail(err, KIN_ERR_ARGUMENT, "%zu clusters of %zu vectors: must be 1 to %zu", options->k, set->n, set->n);
  kin_points p;
  kin_seeder *seeder = NULL;
  double *partial = NULL;
  kin_status status = kin_points_open(context, set, options->metric, &p, err);
  if (status == KIN_OK) status = kin_points_begin(&p, options->k, err);
  if (status == KIN_OK) status = kin_seeder_open(&p, options->k, options->seed, &seeder, err);
  if (status == KIN_OK) status = kin_clustering_open(set->n, false, out, err);
  if (status == KIN_OK && !(partial = kin_array(set->n / BLOCK + 1, sizeof *partial)))
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu vectors", set->n);
  if (status == KIN_OK) status = run_starts(&p, options, seeder, partial, out, err);
  if (status == KIN_OK) status = kin_clustering_number(out, options->k, false, err);
  if (status != KIN_OK) kin_clustering_free(out);
  free(partial);
  kin_seeder_close(seeder);
  kin_points_close(&p);
  return status;
}
