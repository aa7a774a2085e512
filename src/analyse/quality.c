/* How well vectors tell labelled classes apart: k-NN accuracy, recall, silhouette. */
#include "analyse/analyse.h"
#include "analyse/exact.h"
#include "base/context.h"

#include <math.h>
#include <stdlib.h>

/* The class that most of the k neighbours have, the lowest number among equals. */
static uint32_t vote(const kin_neighbour *neighbours, size_t k, const uint32_t *labels) {
  uint32_t winner = 0;
  size_t most = 0;
  for (size_t i = 0; i < k; i++) {
    uint32_t label = labels[neighbours[i].index];
    size_t votes = 0;
    for (size_t j = 0; j < k; j++) votes += labels[neighbours[j].index] == label;
    if (votes > most || (votes == most && label < winner)) winner = label, most = votes;
  }
  return winner;
}

kin_status kin_measure_retrieval(const kin_neighbour *neighbours, size_t n, size_t k, size_t at, const uint32_t *labels,
                                 kin_retrieval *out, kin_error *err) {
  if (!neighbours || !labels || !out)
    return kin_fail(err, KIN_ERR_ARGUMENT, "kin_measure_retrieval needs neighbours, labels and a result");
  if (at < 1 || at > k) return kin_fail(err, KIN_ERR_ARGUMENT, "at %zu of %zu neighbours: must be 1 to %zu", at, k, k);
  *out = (kin_retrieval){0};
  for (size_t i = 0; i < n; i++) {
    const kin_neighbour *nearest = neighbours + i * k;
    out->right += vote(nearest, at, labels) == labels[i];
    bool found = false;
    for (size_t j = 0; j < at && !found; j++) found = labels[nearest[j].index] == labels[i];
    out->found += found;
  }
  return KIN_OK;
}

/* The sum of the cosine distances from a vector to a class is the class's size less the product with the sum of its
 * unit vectors, so that no pair is ever looked at. All in double. */
typedef struct silhouette {
  const kin_vector_set *set;
  kin_metric metric;
  const double *inverse; /* [n]: to length 1 */
  const uint32_t *labels;
  size_t classes;
  size_t *sizes; /* [classes] */
  double *sums;  /* [classes][dim]: of the unit vectors */
  double *each;  /* [n]: the result of each vector */
} silhouette;

/* Summed distance from vector i to all of class c, itself (if in it) counting 1 - |u|^2. */
static double distance_to(const silhouette *s, size_t i, size_t c) {
  const float *v = s->set->values + i * s->set->dim;
  const double *sum = s->sums + c * s->set->dim;
  double product = 0;
  for (size_t j = 0; j < s->set->dim; j++) product += (double)v[j] * sum[j];
  return (double)s->sizes[c] - product * s->inverse[i];
}

/* Task of the pool. */
static void measure_one(void *arg, size_t i) {
  silhouette *s = arg;
  size_t own = s->labels[i];
  s->each[i] = 0;
  if (s->sizes[own] < 2) return;
  double itself = s->inverse[i] > 0 ? 0 : 1; /* a vector of zeros is at 1 from all, and at 0 from itself */
  double inside = (distance_to(s, i, own) - itself) / (double)(s->sizes[own] - 1), outside = INFINITY;
  for (size_t c = 0; c < s->classes; c++)
    if (c != own && s->sizes[c] > 0) outside = fmin(outside, distance_to(s, i, c) / (double)s->sizes[c]);
  double larger = fmax(inside, outside);
  /* Where all are the same there is nothing but rounding. */
  if (larger > 1e-14) s->each[i] = (outside - inside) / larger;
}

/* Of Euclidean distances every pair is looked at: each worker takes every so-manieth vector. */
typedef struct pairs {
  silhouette *s;
  size_t workers;
  double *sums; /* [workers][classes] */
} pairs;

static double distance_between(const kin_vector_set *set, size_t a, size_t b) {
  return sqrt(kin_exact_squares(set->values + a * set->dim, set->values + b * set->dim, set->dim));
}

/* Task of the pool. */
static void measure_pairs(void *arg, size_t worker) {
  const pairs *p = arg;
  silhouette *s = p->s;
  double *sums = p->sums + worker * s->classes;
  for (size_t i = worker; i < s->set->n; i += p->workers) {
    const size_t own = s->labels[i];
    s->each[i] = 0;
    if (s->sizes[own] < 2) continue;
    for (size_t c = 0; c < s->classes; c++) sums[c] = 0;
    for (size_t j = 0; j < s->set->n; j++)
      if (j != i) sums[s->labels[j]] += distance_between(s->set, i, j);
    const double inside = sums[own] / (double)(s->sizes[own] - 1);
    double outside = INFINITY;
    for (size_t c = 0; c < s->classes; c++)
      if (c != own && s->sizes[c] > 0) outside = fmin(outside, sums[c] / (double)s->sizes[c]);
    if (fmax(inside, outside) > 0) s->each[i] = (outside - inside) / fmax(inside, outside);
  }
}

static kin_status measure_all_pairs(kin_context *context, silhouette *s, kin_error *err) {
  pairs p = {.s = s, .workers = 4 * (size_t)kin_context_threads(context)};
  p.sums = kin_array(p.workers, s->classes * sizeof *p.sums);
  if (!p.sums) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu classes", s->classes);
  kin_parallel_for(context->pool, p.workers, measure_pairs, &p);
  free(p.sums);
  return KIN_OK;
}

static kin_status count_classes(silhouette *s, kin_error *err) {
  size_t n = s->set->n, occurring = 0;
  for (size_t i = 0; i < n; i++) {
    if (s->labels[i] >= s->classes)
      return kin_fail(err, KIN_ERR_ARGUMENT, "label %zu is class %u of %zu", i, s->labels[i], s->classes);
    occurring += s->sizes[s->labels[i]]++ == 0;
  }
  if (occurring >= 2 && occurring < n) return KIN_OK;
  return kin_fail(err, KIN_ERR_ARGUMENT, "a silhouette of %zu vectors needs 2 to %zu classes, not %zu", n,
                  n > 1 ? n - 1 : 1, occurring);
}

static void sum_classes(silhouette *s) {
  size_t dim = s->set->dim;
  for (size_t i = 0; i < s->set->n; i++)
    for (size_t j = 0; j < dim; j++)
      s->sums[s->labels[i] * dim + j] += (double)s->set->values[i * dim + j] * s->inverse[i];
}

static kin_status measure(kin_context *context, silhouette *s, double *out, kin_error *err) {
  kin_status status = count_classes(s, err);
  if (status != KIN_OK) return status;
  if (s->metric == KIN_METRIC_EUCLIDEAN) {
    status = measure_all_pairs(context, s, err);
    if (status != KIN_OK) return status;
  } else {
    sum_classes(s);
    kin_parallel_for(context->pool, s->set->n, measure_one, s);
  }
  double sum = 0;
  for (size_t i = 0; i < s->set->n; i++) sum += s->each[i];
  *out = sum / (double)s->set->n;
  return KIN_OK;
}

kin_status kin_silhouette(kin_context *context, const kin_vector_set *set, kin_metric metric, const uint32_t *labels,
                          size_t classes, double *out, kin_error *err) {
  if (!context || !labels || !out)
    return kin_fail(err, KIN_ERR_ARGUMENT, "kin_silhouette needs a context, labels and a result");
  double *inverse;
  kin_status status = kin_inverse_lengths(set, &inverse, err);
  if (status != KIN_OK) return status;
  silhouette s = {.set = set, .metric = metric, .inverse = inverse, .labels = labels, .classes = classes};
  s.sizes = calloc(classes ? classes : 1, sizeof *s.sizes);
  s.each = kin_array(set->n, sizeof *s.each);
  size_t floats;
  if (!__builtin_mul_overflow(classes, set->dim, &floats)) s.sums = calloc(floats ? floats : 1, sizeof *s.sums);
  if (s.sizes && s.each && s.sums)
    status = measure(context, &s, out, err);
  else
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu classes of %zu floats", classes, set->dim);
  free(s.sizes);
  free(s.each);
  free(s.sums);
  free(inverse);
  return status;
}
