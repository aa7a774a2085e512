/* Detectors of anomalies: names, fitting, the threshold, scores. */
#include "analyse/detector.h"

#include "analyse/analyse.h"
#include "base/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_KNN = 5, DEFAULT_LOF = 20 };

static const char *const methods[] = {[KIN_DETECTOR_MEAN] = "mean",         [KIN_DETECTOR_MAHALANOBIS] = "mahalanobis",
                                      [KIN_DETECTOR_CLUSTERS] = "clusters", [KIN_DETECTOR_KNN] = "knn",
                                      [KIN_DETECTOR_LOF] = "lof",           [KIN_DETECTOR_PATCHES] = "patches"};
static const char *const rules[] = {
    [KIN_THRESHOLD_MAD] = "mad", [KIN_THRESHOLD_QUANTILE] = "quantile", [KIN_THRESHOLD_CONFORMAL] = "conformal"};
static const double levels[] = {
    [KIN_THRESHOLD_MAD] = 5, [KIN_THRESHOLD_QUANTILE] = 0.99, [KIN_THRESHOLD_CONFORMAL] = 0.01};
enum { METHODS = sizeof methods / sizeof *methods, RULES = sizeof rules / sizeof *rules };

/* ------------------------------------------------------------------- names */

kin_status kin_detector_method_parse(const char *name, kin_detector_method *out, kin_error *err) {
  for (size_t i = 0; name && i < METHODS; i++)
    if (strcmp(name, methods[i]) == 0) {
      *out = (kin_detector_method)i;
      return KIN_OK;
    }
  return kin_fail(err, KIN_ERR_ARGUMENT, "%s is no method: there are mean, mahalanobis, clusters, knn, lof and patches",
                  name ? name : "(null)");
}

const char *kin_detector_method_name(kin_detector_method method) {
  return (size_t)method < METHODS ? methods[method] : "(unknown)";
}

static void set_default(kin_threshold *t) {
  if ((size_t)t->rule < RULES && t->level == 0) t->level = levels[t->rule];
}

static kin_status check_threshold(const kin_threshold *t, kin_error *err) {
  if ((size_t)t->rule >= RULES) return kin_fail(err, KIN_ERR_ARGUMENT, "threshold %d is none", (int)t->rule);
  if (t->level > 0 && isfinite(t->level) && (t->rule == KIN_THRESHOLD_MAD || t->level < 1)) return KIN_OK;
  return kin_fail(err, KIN_ERR_ARGUMENT, "the level of a %s threshold must be above 0%s, not %g", rules[t->rule],
                  t->rule == KIN_THRESHOLD_MAD ? "" : " and below 1", t->level);
}

kin_status kin_threshold_parse(const char *text, kin_threshold *out, kin_error *err) {
  const size_t n = text ? strcspn(text, ":") : 0;
  for (size_t i = 0; i < RULES; i++) {
    if (strlen(rules[i]) != n || strncmp(text, rules[i], n) != 0) continue;
    kin_threshold found = {(kin_threshold_rule)i, levels[i]};
    char *end = NULL;
    if (text[n]) found.level = strtod(text + n + 1, &end);
    if (end && (end == text + n + 1 || *end))
      return kin_fail(err, KIN_ERR_ARGUMENT, "\"%s\" is no number in the threshold %s", text + n + 1, text);
    const kin_status status = check_threshold(&found, err);
    if (status == KIN_OK) *out = found;
    return status;
  }
  return kin_fail(err, KIN_ERR_ARGUMENT, "%s is no threshold: there are mad:LEVEL, quantile:SHARE and conformal:RATE",
                  text ? text : "(null)");
}

const char *kin_threshold_name(kin_threshold_rule rule) {
  return (size_t)rule < RULES ? rules[rule] : "(unknown)";
}

/* --------------------------------------------------------------- threshold */

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

/* Of ascending values, between two of them in proportion. */
static double quantile(const double *sorted, size_t n, double share) {
  const double at = share * (double)(n - 1);
  const size_t below = (size_t)at, above = below + 1 < n ? below + 1 : below;
  return sorted[below] + (at - (double)below) * (sorted[above] - sorted[below]);
}

static kin_status limit_by_mad(const double *sorted, size_t n, double level, double *out, kin_error *err) {
  double *apart = kin_array(n, sizeof *apart);
  if (!apart) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu scores", n);
  const double median = quantile(sorted, n, 0.5);
  for (size_t i = 0; i < n; i++) apart[i] = fabs(sorted[i] - median);
  qsort(apart, n, sizeof *apart, by_value);
  *out = median + level * quantile(apart, n, 0.5);
  free(apart);
  return KIN_OK;
}

/* (1 + scores at least as high) / (1 + scores) is at most `rate` for scores above the limit. */
static kin_status limit_by_rate(const double *sorted, size_t n, double rate, double *out, kin_error *err) {
  const double most = floor(rate * (double)(n + 1) * (1 + 1e-12)) - 1;
  if (most < 0)
    return kin_fail(err, KIN_ERR_ARGUMENT,
                    "%zu scores of usual vectors can't show a false alarm rate of %g: it takes %.0f of them (a larger "
                    "reference, more of it kept apart, or a higher rate)",
                    n, rate, ceil(1 / rate) - 1);
  *out = sorted[n - 1 - (size_t)most];
  return KIN_OK;
}

static kin_status limit_of(const kin_threshold *t, const double *sorted, size_t n, double *out, kin_error *err) {
  switch (t->rule) {
  case KIN_THRESHOLD_QUANTILE:
    *out = quantile(sorted, n, t->level);
    break;
  case KIN_THRESHOLD_CONFORMAL:
    return limit_by_rate(sorted, n, t->level, out, err);
  case KIN_THRESHOLD_MAD:
    return limit_by_mad(sorted, n, t->level, out, err);
  }
  return KIN_OK;
}

kin_status kin_threshold_limit(const kin_threshold *threshold, const double *scores, size_t n, double *out,
                               kin_error *err) {
  if (!threshold || !scores || !out || n == 0)
    return kin_fail(err, KIN_ERR_ARGUMENT, "a limit needs a threshold, at least one score, and a result");
  kin_threshold t = *threshold;
  set_default(&t);
  kin_status status = check_threshold(&t, err);
  double *sorted = status == KIN_OK ? kin_array(n, sizeof *sorted) : NULL;
  if (status != KIN_OK) return status;
  if (!sorted) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu scores", n);
  memcpy(sorted, scores, n * sizeof *sorted);
  qsort(sorted, n, sizeof *sorted, by_value);
  status = limit_of(&t, sorted, n, out, err);
  free(sorted);
  return status;
}

/* How many of the scores that the threshold rests on are at least this one. */
static size_t count_from(const kin_detector *d, double score) {
  size_t low = 0, high = d->n_scores;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (d->scores[middle] < score)
      low = middle + 1;
    else
      high = middle;
  }
  return d->n_scores - low;
}

/* ----------------------------------------------------------------- scoring */

static kin_status score(kin_context *context, const kin_detector *d, const kin_vector_set *items, double *scores,
                        kin_error *err) {
  double *inverse;
  kin_status status = kin_inverse_lengths(items, &inverse, err);
  if (status != KIN_OK) return status;
  switch (d->info.method) {
  case KIN_DETECTOR_MEAN:
    kin_detector_score_mean(context, d, items, inverse, scores);
    break;
  case KIN_DETECTOR_CLUSTERS:
    kin_detector_score_clusters(context, d, items, inverse, scores);
    break;
  case KIN_DETECTOR_MAHALANOBIS:
    status = kin_detector_score_mahalanobis(context, d, items, scores, err);
    break;
  case KIN_DETECTOR_KNN:
  case KIN_DETECTOR_LOF:
    status = kin_detector_score_neighbours(context, d, items, scores, err);
    break;
  case KIN_DETECTOR_PATCHES:
    status = kin_detector_score_patches(context, d, items, scores, err);
    break;
  }
  free(inverse);
  return status;
}

kin_status kin_detector_score(kin_context *context, const kin_detector *d, const kin_vector_set *items, double *scores,
                              double *p_values, kin_error *err) {
  if (!context || !d || !items || !scores)
    return kin_fail(err, KIN_ERR_ARGUMENT, "kin_detector_score needs a context, a detector, vectors and room");
  kin_status status = kin_detector_check(d, NULL, items->dim, err);
  if (status == KIN_OK) status = score(context, d, items, scores, err);
  for (size_t i = 0; status == KIN_OK && p_values && i < items->n; i++)
    p_values[i] = (double)(1 + count_from(d, scores[i])) / (double)(1 + d->n_scores);
  return status;
}

kin_status kin_detector_check(const kin_detector *d, const char *model_id, size_t dim, kin_error *err) {
  const char *own = d->info.model_id;
  if (*own && model_id && *model_id && strcmp(own, model_id) != 0)
    return kin_fail(err, KIN_ERR_MISMATCH,
                    "the detector was fitted to vectors of the model %.16s..., these are of %.16s...: fit it anew, or "
                    "take that model",
                    own, model_id);
  if (dim != d->info.dim)
    return kin_fail(err, KIN_ERR_MISMATCH, "the detector was fitted to vectors of %zu floats, these have %zu",
                    d->info.dim, dim);
  return KIN_OK;
}

/* ----------------------------------------------------------------- fitting */

/* scores[n] of the vectors that it is fitted to. */
static kin_status fit_to(kin_context *context, const kin_vector_set *set, const kin_detector_options *o,
                         kin_detector *d, double *scores, kin_error *err) {
  kin_status status = KIN_OK;
  d->info.items = set->n;
  switch (d->info.method) {
  case KIN_DETECTOR_MEAN:
    status = kin_detector_fit_mean(set, d, err);
    break;
  case KIN_DETECTOR_MAHALANOBIS:
    status = kin_detector_fit_mahalanobis(context, set, d, err);
    break;
  case KIN_DETECTOR_CLUSTERS:
    status = kin_detector_fit_clusters(context, set, o->k, o->seed, d, err);
    break;
  case KIN_DETECTOR_PATCHES:
    status = kin_detector_fit_patches(context, set, o->k, d, err);
    break;
  case KIN_DETECTOR_KNN:
  case KIN_DETECTOR_LOF:
    d->info.k = o->k ? o->k : d->info.method == KIN_DETECTOR_KNN ? DEFAULT_KNN : DEFAULT_LOF;
    if (!o->k && d->info.k > set->n - 1) d->info.k = set->n - 1;
    return kin_detector_fit_neighbours(context, set, d, scores, err);
  }
  return status == KIN_OK ? score(context, d, set, scores, err) : status;
}

static int by_number(const void *a, const void *b) {
  const size_t x = *(const size_t *)a, y = *(const size_t *)b;
  return x < y ? -1 : x > y;
}

/* The numbers of n vectors, the last `kept` of which are drawn; both parts ascending. */
static void draw(size_t *order, size_t n, size_t kept, uint64_t seed) {
  kin_random random = {seed};
  for (size_t i = 0; i < n; i++) order[i] = i;
  for (size_t i = n; i-- > n - kept;) {
    const size_t other = kin_random_below(&random, i + 1), swap = order[i];
    order[i] = order[other], order[other] = swap;
  }
  qsort(order, n - kept, sizeof *order, by_number);
  qsort(order + n - kept, kept, sizeof *order, by_number);
}

/* Fit to all but `kept` vectors, which the threshold then rests on. */
static kin_status fit_apart(kin_context *context, const kin_vector_set *set, const kin_detector_options *o, size_t kept,
                            kin_detector *d, double *scores, kin_error *err) {
  const size_t n = set->n, dim = set->dim;
  size_t *order = kin_array(n, sizeof *order);
  float *values = kin_array(n, dim * sizeof *values);
  double *drawn = kin_array(n, sizeof *drawn);
  kin_status status = KIN_OK;
  if (order && values && drawn) {
    draw(order, n, kept, o->seed);
    for (size_t i = 0; i < n; i++) memcpy(values + i * dim, set->values + order[i] * dim, dim * sizeof *values);
    const kin_vector_set fitted = {values, n - kept, dim}, apart = {values + (n - kept) * dim, kept, dim};
    status = fit_to(context, &fitted, o, d, drawn, err);
    if (status == KIN_OK) status = score(context, d, &apart, drawn + n - kept, err);
  } else {
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory to keep %zu vectors apart", kept);
  }
  for (size_t i = 0; status == KIN_OK && i < n; i++) {
    scores[order[i]] = drawn[i];
    if (i >= n - kept) d->scores[i - (n - kept)] = drawn[i];
  }
  d->info.held_out = d->n_scores = kept;
  free(order), free(values), free(drawn);
  return status;
}

static kin_status fit(kin_context *context, const kin_vector_set *set, const kin_detector_options *o, kin_detector *d,
                      double *scores, kin_error *err) {
  const size_t n = set->n;
  double holdout = o->holdout;
  /* Patches that are in the bank are at no distance from it: such scores tell nothing. */
  if (holdout == 0 && (o->threshold.rule == KIN_THRESHOLD_CONFORMAL || o->method == KIN_DETECTOR_PATCHES))
    holdout = 1.0 / 3;
  size_t kept = (size_t)(holdout * (double)n);
  if (holdout > 0 && kept == 0) kept = 1;
  double *own = scores ? NULL : kin_array(n, sizeof *own), *each = scores ? scores : own;
  d->scores = kin_array(n, sizeof *d->scores);
  kin_status status = KIN_OK;
  if (!d->scores || !each)
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for the scores of %zu vectors", n);
  else if (n - kept < 2)
    status = kin_fail(err, KIN_ERR_ARGUMENT, "a detector of anomalies needs at least two vectors to fit to, not %zu",
                      n - kept);
  else if (kept)
    status = fit_apart(context, set, o, kept, d, each, err);
  else
    status = fit_to(context, set, o, d, each, err);
  if (status == KIN_OK && !kept) {
    d->n_scores = n;
    memcpy(d->scores, each, n * sizeof *each);
  }
  free(own);
  if (status != KIN_OK) return status;
  qsort(d->scores, d->n_scores, sizeof *d->scores, by_value);
  return limit_of(&d->info.threshold, d->scores, d->n_scores, &d->info.limit, err);
}

static kin_status check_options(kin_detector_options *o, kin_error *err) {
  if ((size_t)o->method >= METHODS) return kin_fail(err, KIN_ERR_ARGUMENT, "method %d is none", (int)o->method);
  set_default(&o->threshold);
  if (!(o->holdout >= 0 && o->holdout <= 0.9))
    return kin_fail(err, KIN_ERR_ARGUMENT, "the share to keep apart must lie between 0 and 0.9, not be %g", o->holdout);
  if (o->model_id && strlen(o->model_id) > 64)
    return kin_fail(err, KIN_ERR_ARGUMENT, "a model's id has 64 characters, not %zu", strlen(o->model_id));
  return check_threshold(&o->threshold, err);
}

kin_status kin_detector_fit(kin_context *context, const kin_vector_set *set, const kin_detector_options *options,
                            kin_detector **out, double *scores, kin_error *err) {
  if (!context || !out) return kin_fail(err, KIN_ERR_ARGUMENT, "kin_detector_fit needs a context and a result");
  kin_detector_options o = options ? *options : (kin_detector_options){0};
  double *inverse = NULL; /* a check that all is finite */
  kin_status status = check_options(&o, err);
  if (status == KIN_OK) status = kin_inverse_lengths(set, &inverse, err);
  free(inverse);
  if (status != KIN_OK) return status;
  kin_detector *d = calloc(1, sizeof *d);
  if (!d) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a detector");
  d->info = (kin_detector_info){.method = o.method, .metric = o.metric, .dim = set->dim, .threshold = o.threshold};
  if (o.model_id) snprintf(d->info.model_id, sizeof d->info.model_id, "%s", o.model_id);
  status = fit(context, set, &o, d, scores, err);
  if (status == KIN_OK)
    *out = d;
  else
    kin_detector_close(d);
  return status;
}

void kin_detector_close(kin_detector *d) {
  if (!d) return;
  free(d->scores), free(d->mean), free(d->precision), free(d->spreads), free(d->k_distances), free(d->densities);
  kin_free_aligned(d->centres), kin_free_aligned(d->points);
  free(d);
}

void kin_detector_get_info(const kin_detector *d, kin_detector_info *out) {
  *out = d->info;
}
