/* bench-analyse THREADS ANALYSIS FILE.npy NUMBER: seconds, and what was found (bench/analyse.py). */
#include "analyse/classify.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double ended; /* when what is timed was done; 0: everything is timed */

static kin_status neighbours(kin_context *context, const kin_vector_set *set, size_t k, char *said, size_t size,
                             kin_error *err) {
  kin_near *near = calloc(set->n * k, sizeof *near);
  kin_status status = kin_nearest(context, set, NULL, KIN_METRIC_EUCLIDEAN, k, near, err);
  double sum = 0;
  for (size_t i = 0; status == KIN_OK && i < set->n * k; i++) sum += near[i].distance;
  snprintf(said, size, "mean distance %.6f", sum / (double)(set->n * k));
  free(near);
  return status;
}

static kin_status kmeans(kin_context *context, const kin_vector_set *set, size_t k, size_t batch, char *said,
                         size_t size, kin_error *err) {
  kin_clustering c = {0};
  const kin_kmeans_options options = {.metric = KIN_METRIC_EUCLIDEAN, .k = k, .starts = 1, .batch = batch};
  kin_status status = kin_kmeans(context, set, &options, &c, err);
  snprintf(said, size, "inertia %.6g, %zu %s", c.inertia, c.iterations, batch ? "steps" : "iterations");
  kin_clustering_free(&c);
  return status;
}

static kin_status hdbscan(kin_context *context, const kin_vector_set *set, size_t least, char *said, size_t size,
                          kin_error *err) {
  kin_clustering c = {0};
  const kin_hdbscan_options options = {.metric = KIN_METRIC_EUCLIDEAN, .min_cluster_size = least};
  kin_status status = kin_hdbscan(context, set, &options, &c, err);
  size_t noise = 0;
  for (size_t i = 0; i < c.n; i++) noise += c.labels[i] == KIN_NO_CLUSTER;
  snprintf(said, size, "%zu clusters, %zu noise", c.k, noise);
  kin_clustering_free(&c);
  return status;
}

static kin_status detector(kin_context *context, const kin_vector_set *set, kin_detector_method method, size_t k,
                           char *said, size_t size, kin_error *err) {
  const kin_detector_options options = {.method = method, .metric = KIN_METRIC_EUCLIDEAN, .k = k};
  double *scores = calloc(set->n, sizeof *scores), sum = 0;
  kin_detector *d = NULL;
  kin_status status = kin_detector_fit(context, set, &options, &d, scores, err);
  for (size_t i = 0; status == KIN_OK && i < set->n; i++) sum += scores[i];
  snprintf(said, size, "mean score %.6f", sum / (double)set->n);
  kin_detector_close(d);
  free(scores);
  return status;
}

static kin_status umap(kin_context *context, const kin_vector_set *set, size_t neighbours, char *said, size_t size,
                       kin_error *err) {
  float *map = calloc(set->n, 2 * sizeof *map);
  const kin_umap_options options = {.metric = KIN_METRIC_EUCLIDEAN, .neighbours = neighbours};
  kin_status status = kin_umap(context, set, &options, map, err);
  float low = 0, high = 0;
  for (size_t i = 0; i < set->n; i++) low = fminf(low, map[2 * i]), high = fmaxf(high, map[2 * i]);
  snprintf(said, size, "%.0f wide", (double)(high - low));
  free(map);
  return status;
}

static kin_status sample(kin_context *context, const kin_vector_set *set, size_t k, char *said, size_t size,
                         kin_error *err) {
  kin_near *picks = calloc(k, sizeof *picks);
  double *distances = calloc(set->n, sizeof *distances), furthest = 0;
  const kin_k_centre_options options = {.metric = KIN_METRIC_EUCLIDEAN};
  kin_status status = kin_k_centre(context, set, &options, k, picks, NULL, distances, err);
  for (size_t i = 0; status == KIN_OK && i < set->n; i++) furthest = fmax(furthest, distances[i]);
  snprintf(said, size, "furthest %.4f", furthest);
  free(picks), free(distances);
  return status;
}

static kin_status uniqueness(kin_context *context, const kin_vector_set *set, size_t k, char *said, size_t size,
                             kin_error *err) {
  double *scores = calloc(set->n, sizeof *scores), sum = 0;
  kin_status status = kin_uniqueness(context, set, KIN_METRIC_EUCLIDEAN, k, scores, NULL, err);
  for (size_t i = 0; status == KIN_OK && i < set->n; i++) sum += scores[i];
  snprintf(said, size, "mean score %.6f", sum / (double)set->n);
  free(scores);
  return status;
}

/* The summed loss and half the square of the weights, which scikit-learn minimises at C = 1. */
static kin_status measure_objective(kin_context *context, const kin_classifier *c, const kin_labelled_set *set,
                                    double *out, kin_error *err) {
  const size_t classes = set->n_classes, n = set->vectors.n;
  double *p = calloc(n, classes * sizeof *p);
  kin_status status = kin_classifier_predict(context, c, &set->vectors, p, err);
  *out = 0;
  for (size_t i = 0; status == KIN_OK && i < n; i++) *out -= log(p[i * classes + set->labels[i]]);
  for (size_t i = 0; i < classes * set->vectors.dim; i++) *out += 0.5 * (double)c->weight[i] * (double)c->weight[i];
  free(p);
  return status;
}

/* Classes come by turns. */
static kin_status logistic(kin_context *context, const kin_vector_set *set, size_t classes, char *said, size_t size,
                           kin_error *err) {
  uint32_t *labels = calloc(set->n, sizeof *labels);
  const char **names = calloc(classes, sizeof *names);
  char(*text)[24] = calloc(classes, sizeof *text);
  for (size_t i = 0; i < set->n; i++) labels[i] = (uint32_t)(i % classes);
  for (size_t i = 0; i < classes; i++) snprintf(text[i], sizeof text[i], "%zu", i), names[i] = text[i];
  const kin_labelled_set labelled = {*set, labels, names, classes};
  kin_classifier *c = NULL;
  double objective = 0;
  kin_status status = kin_classifier_fit(context, &labelled, &(kin_classifier_options){.c = 1}, &c, err);
  ended = now();
  if (status == KIN_OK) status = measure_objective(context, c, &labelled, &objective, err);
  if (status == KIN_OK) snprintf(said, size, "objective %.3f, %zu iterations", objective, c->info.iterations);
  kin_classifier_close(c);
  free(labels), free(names), free(text);
  return status;
}

static kin_status run(kin_context *context, const char *what, const kin_vector_set *set, size_t number, char *said,
                      size_t size, kin_error *err) {
  if (strcmp(what, "neighbours") == 0) return neighbours(context, set, number, said, size, err);
  if (strcmp(what, "kmeans") == 0) return kmeans(context, set, number, 0, said, size, err);
  if (strcmp(what, "minibatch") == 0) return kmeans(context, set, number, 1024, said, size, err);
  if (strcmp(what, "hdbscan") == 0) return hdbscan(context, set, number, said, size, err);
  if (strcmp(what, "lof") == 0) return detector(context, set, KIN_DETECTOR_LOF, number, said, size, err);
  if (strcmp(what, "mahalanobis") == 0)
    return detector(context, set, KIN_DETECTOR_MAHALANOBIS, number, said, size, err);
  if (strcmp(what, "sample") == 0) return sample(context, set, number, said, size, err);
  if (strcmp(what, "uniqueness") == 0) return uniqueness(context, set, number, said, size, err);
  if (strcmp(what, "logistic") == 0) return logistic(context, set, number, said, size, err);
  if (strcmp(what, "umap") == 0) return umap(context, set, number, said, size, err);
  err->status = KIN_ERR_ARGUMENT;
  snprintf(err->message, sizeof err->message, "no analysis \"%s\"", what);
  return KIN_ERR_ARGUMENT;
}

int main(int argc, char **argv) {
  if (argc != 5) return fprintf(stderr, "usage: bench-analyse THREADS ANALYSIS FILE.npy NUMBER\n"), 2;
  kin_error err;
  kin_context *context = NULL;
  float *values = NULL;
  kin_vector_set set = {0};
  char said[256] = "";
  const kin_context_options options = {.threads = (unsigned)strtoul(argv[1], NULL, 10)};
  kin_status status = kin_context_open(&options, &context, &err);
  if (status == KIN_OK) status = kin_npy_read(argv[3], &values, &set.n, &set.dim, &err);
  set.values = values;
  const double start = now();
  if (status == KIN_OK) status = run(context, argv[2], &set, strtoul(argv[4], NULL, 10), said, sizeof said, &err);
  if (status == KIN_OK)
    printf("%.3f %s\n", (ended > 0 ? ended : now()) - start, said);
  else
    fprintf(stderr, "bench-analyse: %s\n", err.message);
  free(values);
  kin_context_close(context);
  return status != KIN_OK;
}
