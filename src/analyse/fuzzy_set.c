/* UMAP's fuzzy simplicial set. Around each vector distances are measured from the nearest other on (rho) and in a unit
 * (sigma) that makes the weights exp(-(distance - rho) / sigma) add up to log2 of the number of neighbours; the two
 * weights of a pair are joined as probabilities are: a + b - a b. */
#include "analyse/fuzzy_set.h"

#include "base/context.h"

#include <math.h>
#include <stdlib.h>

enum { ROWS = 256, MOST_STEPS = 64 };
static const double least_scale = 1e-3, tolerance = 1e-5;

typedef struct directed {
  uint32_t from, to;
  double weight;
} directed;

typedef struct building {
  const kin_near *near;
  size_t n, k;
  double mean;      /* of all distances */
  directed *edges;  /* [n][k]: of each vector, by ascending `to` */
  size_t *arrive;   /* [n + 1]: where in `arriving` those to a vector begin */
  size_t *arriving; /* [n * k] numbers of edges, by `to` and then `from` */
} building;

static int by_target(const void *a, const void *b) {
  const directed *x = a, *y = b;
  return x->to < y->to ? -1 : x->to > y->to;
}

/* The unit in which the weights add up to log2(k + 1). */
static double find_sigma(const kin_near *near, size_t k, double rho) {
  const double target = log2((double)(k + 1));
  double low = 0, high = INFINITY, sigma = 1;
  for (int step = 0; step < MOST_STEPS; step++) {
    double sum = 0;
    for (size_t j = 0; j < k; j++) {
      const double beyond = near[j].distance - rho;
      sum += beyond > 0 ? exp(-beyond / sigma) : 1;
    }
    if (fabs(sum - target) < tolerance) break;
    if (sum > target)
      high = sigma;
    else
      low = sigma;
    sigma = isinf(high) ? 2 * sigma : (low + high) / 2;
  }
  return sigma;
}

/* Task of the pool: the edges that leave some vectors. */
static void weigh(void *arg, size_t block) {
  const building *b = arg;
  const size_t k = b->k, end = (block + 1) * ROWS < b->n ? (block + 1) * ROWS : b->n;
  for (size_t i = block * ROWS; i < end; i++) {
    const kin_near *near = b->near + i * k;
    double rho = 0, own = 0;
    for (size_t j = 0; j < k; j++) {
      if (rho == 0) rho = near[j].distance;
      own += near[j].distance;
    }
    const double mean = rho > 0 ? own / (double)(k + 1) : b->mean;
    const double sigma = fmax(find_sigma(near, k, rho), least_scale * mean);
    for (size_t j = 0; j < k; j++) {
      const double beyond = near[j].distance - rho;
      b->edges[i * k + j] = (directed){(uint32_t)i, (uint32_t)near[j].index, beyond > 0 ? exp(-beyond / sigma) : 1};
    }
    qsort(b->edges + i * k, k, sizeof *b->edges, by_target);
  }
}

static void sort_arriving(building *b) {
  const size_t all = b->n * b->k;
  for (size_t e = 0; e < all; e++) b->arrive[b->edges[e].to + 1]++;
  for (size_t i = 0; i < b->n; i++) b->arrive[i + 1] += b->arrive[i];
  for (size_t e = 0; e < all; e++) b->arriving[b->arrive[b->edges[e].to]++] = e;
  for (size_t i = b->n; i > 0; i--) b->arrive[i] = b->arrive[i - 1];
  b->arrive[0] = 0;
}

/* Join what leaves a vector and what arrives at it; returns how many pairs there are. */
static size_t join(const building *b, size_t i, uint32_t *other, float *weight) {
  const directed *leave = b->edges + i * b->k, *end = leave + b->k;
  size_t at = b->arrive[i], n = 0;
  const size_t last = b->arrive[i + 1];
  while (leave < end || at < last) {
    const directed *back = at < last ? &b->edges[b->arriving[at]] : NULL;
    const bool out = leave < end && (!back || leave->to <= back->from), in = back && (!out || leave->to == back->from);
    const double x = out ? leave->weight : 0, y = in ? back->weight : 0;
    const float joined = (float)(x + y - x * y);
    if (joined > 0) other[n] = out ? leave->to : back->from, weight[n++] = joined;
    leave += out, at += in;
  }
  return n;
}

static bool build(kin_context *context, building *b, kin_fuzzy_set *out) {
  const size_t all = b->n * b->k;
  b->edges = kin_array(all, sizeof *b->edges);
  b->arrive = calloc(b->n + 1, sizeof *b->arrive), b->arriving = kin_array(all, sizeof *b->arriving);
  out->first = kin_array(b->n + 1, sizeof *out->first);
  out->other = kin_array(2 * all, sizeof *out->other), out->weight = kin_array(2 * all, sizeof *out->weight);
  if (!b->edges || !b->arrive || !b->arriving || !out->first || !out->other || !out->weight) return false;
  for (size_t e = 0; e < all; e++) b->mean += b->near[e].distance;
  b->mean /= (double)(b->n * (b->k + 1));
  kin_parallel_for(context->pool, (b->n + ROWS - 1) / ROWS, weigh, b);
  sort_arriving(b);
  out->first[0] = 0;
  for (size_t i = 0; i < b->n; i++)
    out->first[i + 1] = out->first[i] + join(b, i, out->other + out->first[i], out->weight + out->first[i]);
  return true;
}

kin_status kin_fuzzy_set_open(kin_context *context, const kin_near *near, size_t n, size_t k, kin_fuzzy_set *out,
                              kin_error *err) {
  *out = (kin_fuzzy_set){.n = n};
  building b = {.near = near, .n = n, .k = k};
  const bool ok = build(context, &b, out);
  free(b.edges), free(b.arrive), free(b.arriving);
  if (ok) return KIN_OK;
  kin_fuzzy_set_close(out);
  return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the neighbourhoods of %zu vectors", n);
}

void kin_fuzzy_set_close(kin_fuzzy_set *set) {
  free(set->first), free(set->other), free(set->weight);
  *set = (kin_fuzzy_set){0};
}
