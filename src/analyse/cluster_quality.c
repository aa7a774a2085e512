/* What clusters are like and how good they are: Davies-Bouldin, agreement with other labels, centres and spread, words,
 * and the number of clusters that silhouettes speak for. */
#include "analyse/analyse.h"
#include "base/context.h"
#include "base/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ----------------------------------------------------------------- centres */

typedef struct centring {
  const kin_vector_set *set;
  kin_metric metric;
  const double *inverse; /* [n] */
  const uint32_t *labels;
  size_t k;
  size_t *sizes;    /* [k] */
  double *centres;  /* [k][dim] */
  double *distance; /* [n] of each vector to its own centre; infinite for noise */
} centring;

static void centring_free(centring *c) {
  free((void *)c->inverse), free(c->sizes), free(c->centres), free(c->distance);
}

/* Task of the pool. */
static void measure_own(void *arg, size_t i) {
  centring *c = arg;
  const size_t dim = c->set->dim;
  const float *x = c->set->values + i * dim;
  c->distance[i] = INFINITY;
  if (c->labels[i] == KIN_NO_CLUSTER) return;
  const double *centre = c->centres + c->labels[i] * dim;
  double sum = 0;
  if (c->metric == KIN_METRIC_COSINE) {
    for (size_t j = 0; j < dim; j++) sum += (double)x[j] * c->inverse[i] * centre[j];
    c->distance[i] = fmax(0, 1 - sum);
  } else {
    for (size_t j = 0; j < dim; j++) sum += ((double)x[j] - centre[j]) * ((double)x[j] - centre[j]);
    c->distance[i] = sqrt(sum);
  }
}

static void sum_up(centring *c) {
  const size_t dim = c->set->dim;
  const bool unit = c->metric == KIN_METRIC_COSINE;
  for (size_t i = 0; i < c->set->n; i++) {
    if (c->labels[i] == KIN_NO_CLUSTER) continue;
    c->sizes[c->labels[i]]++;
    double *centre = c->centres + c->labels[i] * dim;
    for (size_t j = 0; j < dim; j++) centre[j] += (double)c->set->values[i * dim + j] * (unit ? c->inverse[i] : 1);
  }
  for (size_t k = 0; k < c->k; k++) {
    double *centre = c->centres + k * dim, squares = 0, divisor = (double)c->sizes[k];
    for (size_t j = 0; j < dim; j++) squares += centre[j] * centre[j];
    if (unit) divisor = sqrt(squares);
    for (size_t j = 0; j < dim && divisor > 0; j++) centre[j] /= divisor;
  }
}

/* Centres and distances; labels are below k or KIN_NO_CLUSTER. Release with centring_free in any case. */
static kin_status centre(kin_context *context, const kin_vector_set *set, kin_metric metric, const uint32_t *labels,
                         size_t k, centring *out, kin_error *err) {
  *out = (centring){.set = set, .metric = metric, .labels = labels, .k = k};
  if (!context || !labels || k < 1)
    return kin_fail(err, KIN_ERR_ARGUMENT, "clusters need a context, labels and a number");
  double *inverse;
  kin_status status = kin_inverse_lengths(set, &inverse, err);
  if (status != KIN_OK) return status;
  out->inverse = inverse;
  for (size_t i = 0; i < set->n; i++)
    if (labels[i] >= k && labels[i] != KIN_NO_CLUSTER)
      return kin_fail(err, KIN_ERR_ARGUMENT, "label %zu is cluster %u of %zu", i, labels[i], k);
  size_t floats;
  if (!__builtin_mul_overflow(k, set->dim, &floats)) out->centres = calloc(floats, sizeof *out->centres);
  out->sizes = calloc(k, sizeof *out->sizes), out->distance = kin_array(set->n, sizeof *out->distance);
  if (!out->centres || !out->sizes || !out->distance)
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu centres of %zu floats", k, set->dim);
  sum_up(out);
  kin_parallel_for(context->pool, set->n, measure_own, out);
  return KIN_OK;
}

static double between(const centring *c, size_t a, size_t b) {
  const size_t dim = c->set->dim;
  const double *x = c->centres + a * dim, *y = c->centres + b * dim;
  double sum = 0;
  for (size_t j = 0; j < dim; j++) sum += c->metric == KIN_METRIC_COSINE ? x[j] * y[j] : (x[j] - y[j]) * (x[j] - y[j]);
  return c->metric == KIN_METRIC_COSINE ? fmax(0, 1 - sum) : sqrt(sum);
}

/* Mean distance of the vectors to their centre, into spread[k]. */
static void spread_of(const centring *c, double *spread) {
  memset(spread, 0, c->k * sizeof *spread);
  for (size_t i = 0; i < c->set->n; i++)
    if (c->labels[i] != KIN_NO_CLUSTER) spread[c->labels[i]] += c->distance[i] / (double)c->sizes[c->labels[i]];
}

kin_status kin_describe_clusters(kin_context *context, const kin_vector_set *set, kin_metric metric,
                                 const uint32_t *labels, size_t k, kin_cluster_info *infos, float *centres,
                                 double *distances, kin_error *err) {
  centring c;
  kin_status status = centre(context, set, metric, labels, k, &c, err);
  double *spread = status == KIN_OK ? kin_array(k, sizeof *spread) : NULL;
  if (status == KIN_OK && !spread) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu clusters", k);
  if (status == KIN_OK) {
    spread_of(&c, spread);
    for (size_t i = 0; i < k; i++) {
      infos[i] = (kin_cluster_info){.size = c.sizes[i], .spread = spread[i]};
      for (size_t j = 0; j < k; j++) {
        if (i == j || !c.sizes[j]) continue;
        const double d = between(&c, i, j);
        if (infos[i].nearest == 0 || d < infos[i].nearest) infos[i].nearest = d;
      }
    }
    for (size_t i = 0; centres && i < k * set->dim; i++) centres[i] = (float)c.centres[i];
    if (distances) memcpy(distances, c.distance, set->n * sizeof *distances);
  }
  free(spread);
  centring_free(&c);
  return status;
}

/* ---------------------------------------------------------- Davies-Bouldin */

kin_status kin_davies_bouldin(kin_context *context, const kin_vector_set *set, const uint32_t *labels, size_t classes,
                              double *out, kin_error *err) {
  centring c;
  kin_status status = centre(context, set, KIN_METRIC_EUCLIDEAN, labels, classes, &c, err);
  size_t occurring = 0;
  for (size_t i = 0; status == KIN_OK && i < classes; i++) occurring += c.sizes[i] > 0;
  if (status == KIN_OK && (occurring < 2 || occurring >= set->n))
    status = kin_fail(err, KIN_ERR_ARGUMENT, "a Davies-Bouldin index of %zu vectors needs 2 to %zu classes, not %zu",
                      set->n, set->n > 1 ? set->n - 1 : 1, occurring);
  double *spread = status == KIN_OK ? kin_array(classes, sizeof *spread) : NULL;
  if (status == KIN_OK && !spread) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu classes", classes);
  if (status == KIN_OK) {
    spread_of(&c, spread);
    double sum = 0;
    for (size_t i = 0; i < classes; i++) {
      double worst = 0;
      for (size_t j = 0; j < classes && c.sizes[i]; j++) {
        const double apart = i != j && c.sizes[j] ? between(&c, i, j) : 0;
        if (apart > 0) worst = fmax(worst, (spread[i] + spread[j]) / apart);
      }
      sum += worst;
    }
    *out = sum / (double)occurring;
  }
  free(spread);
  centring_free(&c);
  return status;
}

/* ------------------------------------------------------------------- words */

static double cosine_of(const float *a, const float *b, size_t dim) {
  double dot = 0, aa = 0, bb = 0;
  for (size_t j = 0; j < dim; j++)
    dot += (double)a[j] * (double)b[j], aa += (double)a[j] * (double)a[j], bb += (double)b[j] * (double)b[j];
  return aa > 0 && bb > 0 ? dot / sqrt(aa * bb) : 0;
}

kin_status kin_name_clusters(const float *centres, size_t k, const float *words, size_t n, size_t dim, size_t top,
                             size_t *out, kin_error *err) {
  if (!centres || !words || !out || k < 1 || dim < 1 || top < 1 || top > n)
    return kin_fail(err, KIN_ERR_ARGUMENT, "names need centres, and at least %zu words, not %zu", top, n);
  double *cosines = kin_array(k * n, sizeof *cosines), *best = kin_array(top, sizeof *best);
  if (!cosines || !best) {
    free(cosines), free(best);
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu words", n);
  }
  for (size_t w = 0; w < n; w++) {
    double mean = 0;
    for (size_t c = 0; c < k; c++) {
      cosines[c * n + w] = cosine_of(centres + c * dim, words + w * dim, dim);
      mean += cosines[c * n + w] / (double)k;
    }
    for (size_t c = 0; k > 1 && c < k; c++) cosines[c * n + w] -= mean;
  }
  for (size_t c = 0; c < k; c++) {
    size_t held = 0, *row = out + c * top;
    for (size_t w = 0; w < n; w++) {
      const double score = cosines[c * n + w];
      if (held == top && !(score > best[top - 1])) continue;
      size_t at = held < top ? held++ : top - 1;
      for (; at > 0 && best[at - 1] < score; at--) best[at] = best[at - 1], row[at] = row[at - 1];
      best[at] = score, row[at] = w;
    }
  }
  free(cosines), free(best);
  return KIN_OK;
}

/* ----------------------------------------------------------- choosing k */

enum { SAMPLE = 4096, SAMPLE_STARTS = 3, LEAST_MOST_K = 12, MOST_K = 64 };

/* A sample in order, copied. */
static float *take_sample(const kin_vector_set *set, size_t m, uint64_t seed) {
  float *sample = kin_array(m, set->dim * sizeof *sample);
  kin_random random = {seed};
  for (size_t i = 0, taken = 0; sample && taken < m; i++)
    if (kin_random_unit(&random) * (double)(set->n - i) < (double)(m - taken))
      memcpy(sample + taken++ * set->dim, set->values + i * set->dim, set->dim * sizeof *sample);
  return sample;
}

/* More clusters than this are mostly pairs and single vectors, which a silhouette likes. */
static size_t most_k(size_t n) {
  const size_t root = (size_t)(2 * sqrt((double)n));
  return root < LEAST_MOST_K ? LEAST_MOST_K : root < MOST_K ? root : MOST_K;
}

/* 2, 3 ... 12, then in steps of about a fifth. */
static size_t next_k(size_t k) {
  return k < 12 ? k + 1 : k + k / 5;
}

static kin_status score_k(kin_context *context, const kin_vector_set *sample, const kin_kmeans_options *options,
                          kin_k_score *score, bool *scored, kin_error *err) {
  kin_clustering clusters = {0};
  kin_status status = kin_kmeans(context, sample, options, &clusters, err);
  *scored = status == KIN_OK && clusters.k == options->k && clusters.k >= 2;
  if (*scored) {
    *score = (kin_k_score){.k = clusters.k, .inertia = clusters.inertia};
    status = kin_silhouette(context, sample, options->metric, clusters.labels, clusters.k, &score->silhouette, err);
  }
  kin_clustering_free(&clusters);
  return status;
}

kin_status kin_choose_k(kin_context *context, const kin_vector_set *set, const kin_kmeans_options *options, size_t *k,
                        kin_k_score *scores, size_t *n_scores, kin_error *err) {
  if (!context || !set || !options || !k || !scores || !n_scores)
    return kin_fail(err, KIN_ERR_ARGUMENT, "choosing k needs a context, a set, options and room for the curve");
  kin_kmeans_options o = {.metric = options->metric, .seed = options->seed};
  o.starts = options->starts ? options->starts : SAMPLE_STARTS;
  o.on_progress = options->on_progress, o.user = options->user;
  double *inverse;
  kin_status status = kin_inverse_lengths(set, &inverse, err);
  if (status != KIN_OK) return status;
  free(inverse);
  const size_t m = set->n < SAMPLE ? set->n : SAMPLE;
  float *values = take_sample(set, m, options->seed);
  if (!values) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a sample of %zu vectors", m);
  const kin_vector_set sample = {values, m, set->dim};
  *k = 1, *n_scores = 0;
  double best = -INFINITY;
  bool scored = true;
  for (o.k = 2; status == KIN_OK && scored && o.k < m && o.k <= most_k(m) && *n_scores < KIN_MAX_K_SCORES;
       o.k = next_k(o.k)) {
    kin_k_score *score = &scores[*n_scores];
    status = score_k(context, &sample, &o, score, &scored, err); /* fewer clusters than asked: no more are there */
    if (status != KIN_OK || !scored) break;
    if (score->silhouette > best) best = score->silhouette, *k = score->k;
    ++*n_scores;
  }
  free(values);
  return status;
}
