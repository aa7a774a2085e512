/* Agglomerative clustering by the nearest-neighbour chain: from any cluster go to its nearest, and on, until two are
 * each other's; those are joined in any case. The joints are then put in order of distance, and all but the last k - 1
 * done (Mullner, "Modern hierarchical, agglomerative clustering algorithms"). */
#include "analyse/analyse.h"
#include "analyse/clustering.h"
#include "base/context.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 20000, LANES = 8 };

static const char *const linkages[] = {"average", "complete", "single", "ward"};

kin_status kin_linkage_parse(const char *name, kin_linkage *out, kin_error *err) {
  for (size_t i = 0; i < sizeof linkages / sizeof *linkages; i++)
    if (strcmp(linkages[i], name) == 0) {
      *out = (kin_linkage)i;
      return KIN_OK;
    }
  return kin_fail(err, KIN_ERR_ARGUMENT, "linkage \"%s\" is not one of average, complete, single, ward", name);
}

typedef struct joint {
  size_t a, b, order; /* members of the two clusters */
  double distance;
} joint;

typedef struct merging {
  const kin_vector_set *set;
  const double *inverse; /* [n] factors; 1 without cosines */
  kin_metric metric;
  kin_linkage linkage;
  size_t n;
  double *distances; /* above the diagonal, row by row */
  size_t *sizes;     /* [n]; 0: joined to another */
  size_t *chain;     /* [n] */
  joint *joints;     /* [n - 1] */
} merging;

static double *distance_at(const merging *m, size_t a, size_t b) {
  if (a > b) {
    const size_t swap = a;
    a = b, b = swap;
  }
  return m->distances + a * m->n - a * (a + 1) / 2 + b - a - 1;
}

/* Task of the pool: a vector and all after it. */
static void measure_row(void *arg, size_t a) {
  const merging *m = arg;
  const size_t dim = m->set->dim;
  const float *x = m->set->values + a * dim;
  double *out = m->n - a > 1 ? distance_at(m, a, a + 1) : NULL;
  for (size_t b = a + 1; b < m->n; b++) {
    const float *y = m->set->values + b * dim;
    double sums[LANES] = {0}, total = 0;
    for (size_t i = 0; i < dim; i += LANES)
      for (size_t j = 0; j < LANES && i + j < dim; j++) {
        const double d = (double)x[i + j] * m->inverse[a] - (double)y[i + j] * m->inverse[b];
        sums[j] += d * d;
      }
    for (size_t j = 0; j < LANES; j++) total += sums[j];
    /* The squared distance of vectors at length 1 is twice one less the cosine. */
    const bool cosine = m->metric == KIN_METRIC_COSINE && m->linkage != KIN_LINKAGE_WARD;
    out[b - a - 1] = cosine ? total / 2 : sqrt(total);
  }
}

/* From a third cluster of size k to the join of two, of sizes i and j (Lance and Williams). */
static double joined_distance(const merging *m, double to_i, double to_j, double between, size_t i, size_t j,
                              size_t k) {
  const double a = (double)i, b = (double)j, c = (double)k;
  switch (m->linkage) {
  case KIN_LINKAGE_COMPLETE:
    return fmax(to_i, to_j);
  case KIN_LINKAGE_SINGLE:
    return fmin(to_i, to_j);
  case KIN_LINKAGE_WARD:
    return sqrt(fmax(0, ((c + a) * to_i * to_i + (c + b) * to_j * to_j - c * between * between) / (a + b + c)));
  case KIN_LINKAGE_AVERAGE:
    break;
  }
  return (a * to_i + b * to_j) / (a + b);
}

/* The nearest of a cluster; `before` among equals, so that chains end. */
static size_t nearest_of(const merging *m, size_t own, size_t before, double *distance) {
  size_t nearest = before;
  *distance = before == SIZE_MAX ? INFINITY : *distance_at(m, own, before);
  for (size_t i = 0; i < m->n; i++) {
    if (i == own || m->sizes[i] == 0) continue;
    const double d = *distance_at(m, own, i);
    if (d < *distance) *distance = d, nearest = i;
  }
  return nearest;
}

static void join(merging *m, size_t a, size_t b, double between) {
  for (size_t i = 0; i < m->n; i++) {
    if (m->sizes[i] == 0 || i == a || i == b) continue;
    double *kept = distance_at(m, i, b);
    *kept = joined_distance(m, *distance_at(m, i, a), *kept, between, m->sizes[a], m->sizes[b], m->sizes[i]);
  }
  m->sizes[b] += m->sizes[a], m->sizes[a] = 0;
}

static void run_chain(merging *m) {
  size_t length = 0, first = 0;
  for (size_t done = 0; done + 1 < m->n;) {
    while (length == 0 && m->sizes[first] == 0) first++;
    if (length == 0) m->chain[length++] = first;
    const size_t own = m->chain[length - 1], before = length > 1 ? m->chain[length - 2] : SIZE_MAX;
    double distance;
    const size_t nearest = nearest_of(m, own, before, &distance);
    if (nearest != before) {
      m->chain[length++] = nearest;
      continue;
    }
    length -= 2;
    const size_t a = own < before ? own : before, b = own < before ? before : own;
    m->joints[done] = (joint){a, b, done, distance}, done++;
    join(m, a, b, distance);
  }
}

static int by_distance(const void *x, const void *y) {
  const joint *a = x, *b = y;
  if (a->distance != b->distance) return a->distance < b->distance ? -1 : 1;
  return a->order < b->order ? -1 : a->order > b->order;
}

/* Do all but the last k - 1 joints. */
static void cut(merging *m, size_t k, uint32_t *labels) {
  if (m->n > 1) qsort(m->joints, m->n - 1, sizeof *m->joints, by_distance);
  for (size_t i = 0; i < m->n; i++) labels[i] = (uint32_t)i;
  for (size_t i = 0; i + k < m->n; i++) {
    size_t ends[2] = {m->joints[i].a, m->joints[i].b};
    for (int e = 0; e < 2; e++)
      while (labels[ends[e]] != ends[e]) ends[e] = labels[ends[e]];
    labels[ends[0] > ends[1] ? ends[0] : ends[1]] = (uint32_t)(ends[0] > ends[1] ? ends[1] : ends[0]);
  }
  for (size_t i = 0; i < m->n; i++) labels[i] = labels[labels[i]]; /* a root is the first of its cluster */
}

static kin_status run(kin_context *context, merging *m, size_t k, kin_clustering *out, kin_error *err) {
  const size_t n = m->n;
  m->distances = kin_array(n * (n - 1) / 2 + 1, sizeof *m->distances), m->sizes = kin_array(n, sizeof *m->sizes);
  m->chain = kin_array(n, sizeof *m->chain), m->joints = kin_array(n, sizeof *m->joints);
  if (!m->distances || !m->sizes || !m->chain || !m->joints)
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the distances of %zu vectors", n);
  for (size_t i = 0; i < n; i++) m->sizes[i] = 1;
  kin_parallel_for(context->pool, n, measure_row, m);
  run_chain(m);
  cut(m, k, out->labels);
  return kin_clustering_number(out, n, true, err);
}

kin_status kin_agglomerate(kin_context *context, const kin_vector_set *set, kin_metric metric, kin_linkage linkage,
                           size_t k, kin_clustering *out, kin_error *err) {
  if (!context || !set || !out) return kin_fail(err, KIN_ERR_ARGUMENT, "clusters need a context, a set and a result");
  *out = (kin_clustering){0};
  double *inverse;
  kin_status status = kin_inverse_lengths(set, &inverse, err);
  if (status != KIN_OK) return status;
  for (size_t i = 0; metric == KIN_METRIC_EUCLIDEAN && i < set->n; i++) inverse[i] = 1;
  merging m = {.set = set, .inverse = inverse, .metric = metric, .linkage = linkage, .n = set->n};
  if (k < 1 || k > set->n)
    status = kin_fail(err, KIN_ERR_ARGUMENT, "%zu clusters of %zu vectors: must be 1 to %zu", k, set->n, set->n);
  else if (set->n > MOST)
    status = kin_fail(err, KIN_ERR_LIMIT, "%zu vectors are too many to join one by one; %d are the most (use k-means)",
                      set->n, MOST);
  else
    status = kin_clustering_open(set->n, false, out, err);
  if (status == KIN_OK) status = run(context, &m, k, out, err);
  if (status != KIN_OK) kin_clustering_free(out);
  free(m.distances), free(m.sizes), free(m.chain), free(m.joints), free(inverse);
  return status;
}
