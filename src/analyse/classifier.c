/* Trained classifiers: fitting, and what they say of vectors. */
#include "analyse/classify.h"
#include "kernel/kernel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_ITERATIONS = 2000, DEFAULT_K = 5, BLOCK = 1024 };
#define DEFAULT_TOLERANCE 1e-6

void kin_classifier_close(kin_classifier *c) {
  if (!c) return;
  for (size_t i = 0; c->names && i < c->info.n_classes; i++) free(c->names[i]);
  free(c->names);
  kin_free_aligned(c->weight);
  kin_free_aligned(c->bias);
  kin_free_aligned(c->points);
  kin_free_aligned(c->mean);
  free(c->votes);
  free(c);
}

void kin_classifier_get_info(const kin_classifier *c, kin_classifier_info *out) {
  *out = c->info;
}

const char *kin_classifier_class(const kin_classifier *c, size_t i) {
  return i < c->info.n_classes ? c->names[i] : NULL;
}

/* ------------------------------------------------------------------ fitting */

static kin_status check_options(const kin_classifier_options *o, kin_error *err) {
  if (o->kind != KIN_CLASSIFIER_LINEAR && o->kind != KIN_CLASSIFIER_KNN)
    return kin_fail(err, KIN_ERR_ARGUMENT, "classifier %d is none", (int)o->kind);
  if (!(o->c >= 0) || !isfinite(o->c)) return kin_fail(err, KIN_ERR_ARGUMENT, "c must be positive, not %g", o->c);
  if (!(o->tolerance >= 0)) return kin_fail(err, KIN_ERR_ARGUMENT, "the tolerance must be positive");
  if (o->model_id && strlen(o->model_id) > 64)
    return kin_fail(err, KIN_ERR_ARGUMENT, "a model's id has 64 characters, not %zu", strlen(o->model_id));
  return KIN_OK;
}

/* Of vectors, labels and names; fills counts[n_classes]. */
static kin_status count_classes(const kin_labelled_set *set, size_t *counts, kin_error *err) {
  for (size_t i = 0; i < set->vectors.n; i++) {
    if (set->labels[i] >= set->n_classes)
      return kin_fail(err, KIN_ERR_ARGUMENT, "vector %zu is of class %u, but there are %zu", i, set->labels[i],
                      set->n_classes);
    counts[set->labels[i]]++;
  }
  for (size_t c = 0; c < set->n_classes; c++)
    if (counts[c] == 0)
      return kin_fail(err, KIN_ERR_ARGUMENT, "class \"%.200s\" has no vector to learn from", set->classes[c]);
  return KIN_OK;
}

static kin_status check_set(const kin_labelled_set *set, kin_error *err) {
  if (!set || !set->vectors.values || set->vectors.n == 0 || set->vectors.dim == 0 || !set->labels || !set->classes)
    return kin_fail(err, KIN_ERR_ARGUMENT, "a classifier needs vectors, their labels, and the classes' names");
  if (set->n_classes < 2)
    return kin_fail(err, KIN_ERR_ARGUMENT, "a classifier needs at least two classes, and there is %s",
                    set->n_classes ? "one" : "none");
  kin_status status = kin_check_names("class", set->classes, set->n_classes, err);
  if (status != KIN_OK) return status;
  double *inverse; /* a check that all is finite */
  status = kin_inverse_lengths(&set->vectors, &inverse, err);
  free(inverse);
  if (status != KIN_OK) return status;
  size_t *counts = calloc(set->n_classes, sizeof *counts);
  if (!counts) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu classes", set->n_classes);
  status = count_classes(set, counts, err);
  free(counts);
  return status;
}

static kin_status out_of_memory(const kin_labelled_set *set, kin_error *err) {
  return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a classifier of %zu vectors in %zu classes", set->vectors.n,
                  set->n_classes);
}

static kin_status fit_linear(kin_context *context, const kin_labelled_set *set, const kin_classifier_options *o,
                             kin_classifier *c, kin_error *err) {
  const kin_logistic_data data = {set->vectors.values, set->labels, set->vectors.n, set->vectors.dim, set->n_classes};
  const kin_logistic_options options = {o->tolerance > 0 ? o->tolerance : DEFAULT_TOLERANCE,
                                        o->max_iterations ? o->max_iterations : DEFAULT_ITERATIONS};
  const size_t n = data.classes * data.dim;
  kin_logistic fitted = {0};
  kin_status status = KIN_OK;
  c->info.c = o->c;
  if (!(o->c > 0)) status = kin_logistic_choose(context, &data, &options, &c->info.c, err);
  if (status == KIN_OK) status = kin_logistic_fit(context, &data, &c->info.c, 1, &options, &fitted, err);
  if (status != KIN_OK) return status;
  c->weight = kin_alloc_aligned(n * sizeof *c->weight);
  c->bias = kin_alloc_aligned(data.classes * sizeof *c->bias);
  if (c->weight && c->bias) {
    for (size_t i = 0; i < n; i++) c->weight[i] = (float)fitted.weight[i];
    for (size_t i = 0; i < data.classes; i++) c->bias[i] = (float)fitted.bias[i];
  } else {
    status = out_of_memory(set, err);
  }
  c->info.iterations = fitted.iterations, c->info.converged = fitted.converged;
  kin_logistic_free(&fitted);
  return status;
}

static kin_status fit_neighbours(const kin_labelled_set *set, const kin_classifier_options *o, kin_classifier *c,
                                 kin_error *err) {
  const size_t n = set->vectors.n, dim = set->vectors.dim;
  if (o->k > n) return kin_fail(err, KIN_ERR_ARGUMENT, "%zu neighbours can't vote among %zu vectors", o->k, n);
  c->info.k = o->k ? o->k : DEFAULT_K;
  if (c->info.k > n) c->info.k = n;
  c->info.converged = true;
  c->points = kin_alloc_aligned(n * dim * sizeof *c->points);
  c->votes = kin_array(n, sizeof *c->votes);
  if (!c->points || !c->votes) return out_of_memory(set, err);
  memcpy(c->points, set->vectors.values, n * dim * sizeof *c->points);
  memcpy(c->votes, set->labels, n * sizeof *c->votes);
  if (!o->centre) return KIN_OK;
  c->info.centred = true;
  c->mean = kin_alloc_aligned(dim * sizeof *c->mean);
  double *sums = calloc(dim, sizeof *sums);
  for (size_t i = 0; sums && i < n; i++)
    for (size_t j = 0; j < dim; j++) sums[j] += (double)c->points[i * dim + j];
  for (size_t j = 0; sums && c->mean && j < dim; j++) c->mean[j] = (float)(sums[j] / (double)n);
  const bool ok = sums && c->mean;
  free(sums);
  if (!ok) return out_of_memory(set, err);
  kin_subtract(c->points, n, dim, c->mean);
  return KIN_OK;
}

void kin_subtract(float *values, size_t n, size_t dim, const float *mean) {
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < dim; j++) values[i * dim + j] -= mean[j];
}

kin_status kin_classifier_fit(kin_context *context, const kin_labelled_set *set, const kin_classifier_options *options,
                              kin_classifier **out, kin_error *err) {
  if (!context || !out) return kin_fail(err, KIN_ERR_ARGUMENT, "kin_classifier_fit needs a context and a result");
  const kin_classifier_options o = options ? *options : (kin_classifier_options){0};
  kin_status status = check_options(&o, err);
  if (status == KIN_OK) status = check_set(set, err);
  if (status != KIN_OK) return status;
  kin_classifier *c = calloc(1, sizeof *c);
  if (!c) return out_of_memory(set, err);
  c->info = (kin_classifier_info){
      .kind = o.kind, .n_classes = set->n_classes, .dim = set->vectors.dim, .examples = set->vectors.n};
  if (o.model_id) snprintf(c->info.model_id, sizeof c->info.model_id, "%s", o.model_id);
  c->names = calloc(set->n_classes, sizeof *c->names);
  bool ok = c->names != NULL;
  for (size_t i = 0; ok && i < set->n_classes; i++) ok = (c->names[i] = kin_strdup(set->classes[i])) != NULL;
  if (!ok)
    status = out_of_memory(set, err);
  else if (o.kind == KIN_CLASSIFIER_LINEAR)
    status = fit_linear(context, set, &o, c, err);
  else
    status = fit_neighbours(set, &o, c, err);
  if (status == KIN_OK)
    *out = c;
  else
    kin_classifier_close(c);
  return status;
}

/* --------------------------------------------------------------- predicting */

kin_status kin_classifier_check(const kin_classifier *c, const char *model_id, size_t dim, kin_error *err) {
  const char *own = c->info.model_id;
  if (*own && model_id && *model_id && strcmp(own, model_id) != 0)
    return kin_fail(err, KIN_ERR_MISMATCH,
                    "the classifier was trained on vectors of the model %.16s..., these are of %.16s...: train it "
                    "anew, or take that model",
                    own, model_id);
  if (dim != c->info.dim)
    return kin_fail(err, KIN_ERR_MISMATCH, "the classifier was trained on vectors of %zu floats, these have %zu",
                    c->info.dim, dim);
  return KIN_OK;
}

static kin_status predict_linear(kin_context *context, const kin_classifier *c, const kin_vector_set *items,
                                 double *out, kin_error *err) {
  const size_t classes = c->info.n_classes, dim = c->info.dim;
  kin_packed weight;
  kin_status status = kin_pack((const float *const[]){c->weight}, &classes, 1, dim, &weight, err);
  if (status != KIN_OK) return status;
  float *logits = kin_array((size_t)BLOCK * classes, sizeof *logits);
  if (!logits) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu classes", classes);
  for (size_t first = 0; logits && first < items->n; first += BLOCK) {
    const size_t rows = items->n - first < BLOCK ? items->n - first : BLOCK;
    kin_gemm(context, rows, items->values + first * dim, dim, &weight, logits, classes, NULL);
    for (size_t i = 0; i < rows; i++) {
      double *row = out + (first + i) * classes;
      for (size_t k = 0; k < classes; k++) row[k] = (double)logits[i * classes + k] + (double)c->bias[k];
      kin_softmax(row, classes);
    }
  }
  free(logits);
  kin_packed_free(&weight);
  return status;
}

static kin_status predict_neighbours(kin_context *context, const kin_classifier *c, const kin_vector_set *items,
                                     double *out, kin_error *err) {
  const size_t classes = c->info.n_classes, dim = c->info.dim, k = c->info.k;
  kin_near *nearest = kin_array(items->n, k * sizeof *nearest);
  float *centred = c->mean ? kin_array(items->n, dim * sizeof *centred) : NULL;
  kin_vector_set queries = *items;
  kin_status status = KIN_OK;
  if (!nearest || (c->mean && !centred))
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for the neighbours of %zu vectors", items->n);
  if (status == KIN_OK && centred) {
    memcpy(centred, items->values, items->n * dim * sizeof *centred);
    kin_subtract(centred, items->n, dim, c->mean);
    queries.values = centred;
  }
  const kin_vector_set points = {c->points, c->info.examples, dim};
  if (status == KIN_OK) status = kin_nearest(context, &points, &queries, KIN_METRIC_COSINE, k, nearest, err);
  for (size_t i = 0; status == KIN_OK && i < items->n; i++) {
    double *row = out + i * classes;
    for (size_t j = 0; j < classes; j++) row[j] = 0;
    for (size_t j = 0; j < k; j++) row[c->votes[nearest[i * k + j].index]] += 1;
    for (size_t j = 0; j < classes; j++) row[j] /= (double)k;
  }
  free(nearest);
  free(centred);
  return status;
}

kin_status kin_classifier_predict(kin_context *context, const kin_classifier *c, const kin_vector_set *items,
                                  double *out, kin_error *err) {
  if (!context || !c || !items || !out)
    return kin_fail(err, KIN_ERR_ARGUMENT, "kin_classifier_predict needs a context, a classifier, vectors and room");
  kin_status status = kin_classifier_check(c, NULL, items->dim, err);
  if (status != KIN_OK) return status;
  double *inverse; /* a check that all is finite */
  status = kin_inverse_lengths(items, &inverse, err);
  free(inverse);
  if (status != KIN_OK) return status;
  return c->info.kind == KIN_CLASSIFIER_LINEAR ? predict_linear(context, c, items, out, err)
                                               : predict_neighbours(context, c, items, out, err);
}
