/* bench-classify THREADS FILE.npy CLASSES TOLERANCE: fit a logistic regression with c 1 to vectors whose classes come
 * by turns; print seconds and the objective reached (bench/classify.py). */
#include "analyse/classify.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The summed loss and half the square of the weights, which scikit-learn minimises at C = 1. */
static kin_status measure(kin_context *context, const kin_classifier *c, const kin_vector_set *set,
                          const uint32_t *labels, double *out, kin_error *err) {
  const size_t classes = c->info.n_classes;
  double *p = kin_array(set->n, classes * sizeof *p);
  if (!p) return kin_fail(err, KIN_ERR_MEMORY, "out of memory");
  kin_status status = kin_classifier_predict(context, c, set, p, err);
  *out = 0;
  for (size_t i = 0; status == KIN_OK && i < set->n; i++) *out -= log(p[i * classes + labels[i]]);
  for (size_t i = 0; i < classes * set->dim; i++) *out += 0.5 * (double)c->weight[i] * (double)c->weight[i];
  free(p);
  return status;
}

static kin_status fit(kin_context *context, const kin_vector_set *set, size_t classes, double tolerance,
                      kin_error *err) {
  uint32_t *labels = kin_array(set->n, sizeof *labels);
  const char **names = kin_array(classes, sizeof *names);
  char(*text)[24] = kin_array(classes, sizeof *text);
  if (!labels || !names || !text) return kin_fail(err, KIN_ERR_MEMORY, "out of memory");
  for (size_t i = 0; i < set->n; i++) labels[i] = (uint32_t)(i % classes);
  for (size_t i = 0; i < classes; i++) snprintf(text[i], sizeof text[i], "%zu", i), names[i] = text[i];
  kin_classifier *c = NULL;
  double objective = 0;
  const double start = now();
  kin_status status = kin_classifier_fit(context, &(kin_labelled_set){*set, labels, names, classes},
                                         &(kin_classifier_options){.c = 1, .tolerance = tolerance}, &c, err);
  const double seconds = now() - start;
  if (status == KIN_OK) status = measure(context, c, set, labels, &objective, err);
  if (status == KIN_OK) printf("%.4f %.6f %zu\n", seconds, objective, c->info.iterations);
  kin_classifier_close(c);
  free(labels), free(names), free(text);
  return status;
}

int main(int argc, char **argv) {
  if (argc != 5) return fprintf(stderr, "usage: bench-classify THREADS FILE.npy CLASSES TOLERANCE\n"), 2;
  kin_error err;
  kin_context *context = NULL;
  float *values = NULL;
  kin_vector_set set = {0};
  const kin_context_options options = {.threads = (unsigned)strtoul(argv[1], NULL, 10)};
  kin_status status = kin_context_open(&options, &context, &err);
  if (status == KIN_OK) status = kin_npy_read(argv[2], &values, &set.n, &set.dim, &err);
  set.values = values;
  if (status == KIN_OK) status = fit(context, &set, strtoul(argv[3], NULL, 10), strtod(argv[4], NULL), &err);
  if (status != KIN_OK) fprintf(stderr, "bench-classify: %s\n", err.message);
  free(values);
  kin_context_close(context);
  return status != KIN_OK;
}
