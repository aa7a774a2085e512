/* A detector of anomalies on disk (docs/detector-format.md). */
#include "analyse/detector.h"
#include "analyse/saved.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const keys[] = {"method", "metric",    "model_id",  "items", "held_out",
                                   "k",      "shrinkage", "threshold", "level", "limit"};
static const kin_saved_kind format = {"detector", "1", keys, sizeof keys / sizeof *keys};
static const char *const metrics[] = {[KIN_METRIC_COSINE] = "cosine", [KIN_METRIC_EUCLIDEAN] = "euclidean"};

/* ----------------------------------------------------------------- writing */

/* In the order of their names. */
static size_t list_tensors(const kin_detector *d, kin_tensor out[8]) {
  const size_t dim = d->info.dim, items = d->info.items;
  size_t n = 0;
  if (d->centres) out[n++] = kin_saved_tensor("centres", "F32", 4, d->centres, d->info.k, dim);
  if (d->densities) out[n++] = kin_saved_tensor("densities", "F64", 8, d->densities, items, 0);
  if (d->k_distances) out[n++] = kin_saved_tensor("k_distances", "F64", 8, d->k_distances, items, 0);
  if (d->mean) out[n++] = kin_saved_tensor("mean", "F64", 8, d->mean, dim, 0);
  if (d->precision) out[n++] = kin_saved_tensor("precision", "F64", 8, d->precision, dim, dim);
  out[n++] = kin_saved_tensor("scores", "F64", 8, d->scores, d->n_scores, 0);
  if (d->spreads) out[n++] = kin_saved_tensor("spreads", "F64", 8, d->spreads, d->info.k, 0);
  if (d->points)
    out[n++] = kin_saved_tensor("vectors", "F32", 4, d->points, d->n_points,
                                d->info.method == KIN_DETECTOR_PATCHES ? dim / d->info.k : dim);
  return n;
}

static json_t *describe(const kin_detector_info *i) {
  char items[32], held_out[32], k[32], shrinkage[32], level[32], limit[32];
  snprintf(items, sizeof items, "%zu", i->items);
  snprintf(held_out, sizeof held_out, "%zu", i->held_out);
  snprintf(k, sizeof k, "%zu", i->k);
  snprintf(shrinkage, sizeof shrinkage, "%.17g", i->shrinkage);
  snprintf(level, sizeof level, "%.17g", i->threshold.level);
  snprintf(limit, sizeof limit, "%.17g", i->limit);
  return json_pack("{ss ss ss ss ss ss ss ss ss ss}", "method", kin_detector_method_name(i->method), "metric",
                   metrics[i->metric], "model_id", i->model_id, "items", items, "held_out", held_out, "k", k,
                   "shrinkage", shrinkage, "threshold", kin_threshold_name(i->threshold.rule), "level", level, "limit",
                   limit);
}

kin_status kin_detector_save(const kin_detector *d, const char *path, kin_error *err) {
  if (!d || !path) return kin_fail(err, KIN_ERR_ARGUMENT, "kin_detector_save needs a detector and a path");
  kin_tensor tensors[8];
  const size_t n = list_tensors(d, tensors);
  return kin_saved_write(&format, path, describe(&d->info), tensors, n, err);
}

/* ----------------------------------------------------------------- reading */

static kin_status read_threshold(const kin_saved *f, kin_detector_info *info, kin_error *err) {
  char *text = kin_format("%s:%s", kin_saved_fact(f, "threshold"), kin_saved_fact(f, "level"));
  kin_error why;
  kin_status status = KIN_OK;
  if (!text)
    status = kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", f->path);
  else if (kin_threshold_parse(text, &info->threshold, &why) != KIN_OK)
    status = kin_fail(err, KIN_ERR_FORMAT, "%s: %s", f->path, why.message);
  free(text);
  return status == KIN_OK ? kin_saved_number(f, "limit", &info->limit, err) : status;
}

static kin_status read_facts(const kin_saved *f, kin_detector_info *info, kin_error *err) {
  kin_error why;
  size_t metric = 0;
  if (kin_detector_method_parse(kin_saved_fact(f, "method"), &info->method, &why) != KIN_OK)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: %s", f->path, why.message);
  kin_status status = kin_saved_choice(f, "metric", metrics, 2, &metric, err);
  info->metric = (kin_metric)metric;
  if (status == KIN_OK) status = kin_saved_model_id(f, info->model_id, err);
  if (status == KIN_OK) status = kin_saved_count(f, "items", &info->items, err);
  if (status == KIN_OK) status = kin_saved_count(f, "held_out", &info->held_out, err);
  if (status == KIN_OK) status = kin_saved_count(f, "k", &info->k, err);
  if (status == KIN_OK) status = kin_saved_number(f, "shrinkage", &info->shrinkage, err);
  return status == KIN_OK ? read_threshold(f, info, err) : status;
}

/* The size of the tensor's axis, 0 where it hasn't that axis. */
static size_t axis(const kin_saved *f, const char *name, size_t which) {
  const kin_tensor *t = kin_weights_find(f->weights, name);
  return t && which < t->rank ? t->shape[which] : 0;
}

static kin_status read_mean(const kin_saved *f, kin_detector *d, kin_error *err) {
  const size_t dim = d->info.dim = axis(f, "mean", 0);
  kin_status status = kin_saved_doubles(f, "mean", dim, 0, &d->mean, err);
  if (status == KIN_OK && d->info.method == KIN_DETECTOR_MAHALANOBIS)
    status = kin_saved_doubles(f, "precision", dim, dim, &d->precision, err);
  return status;
}

static kin_status read_clusters(const kin_saved *f, kin_detector *d, kin_error *err) {
  const size_t shape[2] = {d->info.k, d->info.dim = axis(f, "centres", 1)};
  kin_status status = kin_weights_load(f->weights, "centres", 2, shape, &d->centres, err);
  if (status == KIN_OK) status = kin_saved_doubles(f, "spreads", d->info.k, 0, &d->spreads, err);
  for (size_t i = 0; status == KIN_OK && i < d->info.k; i++)
    if (!(d->spreads[i] > 0)) status = kin_fail(err, KIN_ERR_FORMAT, "%s: spread %zu isn't above 0", f->path, i);
  if (status == KIN_OK && d->info.k < 1) status = kin_fail(err, KIN_ERR_FORMAT, "%s: it has no clusters", f->path);
  return status;
}

static kin_status read_neighbours(const kin_saved *f, kin_detector *d, kin_error *err) {
  const size_t items = d->info.items, shape[2] = {items, d->info.dim = axis(f, "vectors", 1)};
  if (d->info.k < 1 || d->info.k >= items)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: %zu neighbours among %zu vectors", f->path, d->info.k, items);
  kin_status status = kin_weights_load(f->weights, "vectors", 2, shape, &d->points, err);
  d->n_points = items;
  if (status != KIN_OK || d->info.method == KIN_DETECTOR_KNN) return status;
  status = kin_saved_doubles(f, "k_distances", items, 0, &d->k_distances, err);
  if (status == KIN_OK) status = kin_saved_doubles(f, "densities", items, 0, &d->densities, err);
  for (size_t i = 0; status == KIN_OK && i < items; i++)
    if (!(d->k_distances[i] >= 0 && d->densities[i] > 0))
      status = kin_fail(err, KIN_ERR_FORMAT, "%s: vector %zu has no density", f->path, i);
  return status;
}

static kin_status read_bank(const kin_saved *f, kin_detector *d, kin_error *err) {
  const size_t shape[2] = {d->n_points = axis(f, "vectors", 0), axis(f, "vectors", 1)};
  if (d->info.k < 1 || d->n_points < 1 || shape[1] > SIZE_MAX / 64 / d->info.k)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: it has no patches", f->path);
  d->info.dim = shape[1] * d->info.k;
  return kin_weights_load(f->weights, "vectors", 2, shape, &d->points, err);
}

static kin_status read_scores(const kin_saved *f, kin_detector *d, kin_error *err) {
  d->n_scores = d->info.held_out ? d->info.held_out : d->info.items;
  const kin_status status = kin_saved_doubles(f, "scores", d->n_scores, 0, &d->scores, err);
  for (size_t i = 1; status == KIN_OK && i < d->n_scores; i++)
    if (d->scores[i] < d->scores[i - 1]) return kin_fail(err, KIN_ERR_FORMAT, "%s: its scores don't ascend", f->path);
  return status;
}

static kin_status read_detector(const kin_saved *f, kin_detector *d, kin_error *err) {
  kin_status status = read_facts(f, &d->info, err);
  if (status == KIN_OK) status = read_scores(f, d, err);
  if (status != KIN_OK) return status;
  switch (d->info.method) {
  case KIN_DETECTOR_MEAN:
  case KIN_DETECTOR_MAHALANOBIS:
    status = read_mean(f, d, err);
    break;
  case KIN_DETECTOR_CLUSTERS:
    status = read_clusters(f, d, err);
    break;
  case KIN_DETECTOR_KNN:
  case KIN_DETECTOR_LOF:
    status = read_neighbours(f, d, err);
    break;
  case KIN_DETECTOR_PATCHES:
    status = read_bank(f, d, err);
    break;
  }
  if (status == KIN_OK && d->info.dim == 0)
    status = kin_fail(err, KIN_ERR_FORMAT, "%s: its vectors have no floats", f->path);
  return status;
}

kin_status kin_detector_open(const char *path, kin_detector **out, kin_error *err) {
  if (!path || !out) return kin_fail(err, KIN_ERR_ARGUMENT, "kin_detector_open needs a path and a result");
  kin_detector *d = calloc(1, sizeof *d);
  if (!d) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", path);
  kin_saved f;
  kin_status status = kin_saved_open(&format, path, &f, err);
  if (status == KIN_OK) status = read_detector(&f, d, err);
  kin_saved_close(&f);
  if (status == KIN_OK)
    *out = d;
  else
    kin_detector_close(d);
  return status;
}
