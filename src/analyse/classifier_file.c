/* A trained classifier on disk (docs/classifier-format.md). */
#include "analyse/classify.h"
#include "analyse/saved.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {"linear", "knn"};
static const char *const keys[] = {"kind", "model_id", "classes", "examples", "k", "c"};
static const kin_saved_kind format = {"classifier", "1", keys, sizeof keys / sizeof *keys};
enum { MOST_CLASSES = 1 << 20 };

/* ------------------------------------------------------------------- writing */

static size_t list_tensors(const kin_classifier *c, kin_tensor out[4]) {
  const size_t classes = c->info.n_classes, dim = c->info.dim;
  size_t n = 0;
  if (c->info.kind == KIN_CLASSIFIER_LINEAR) {
    out[n++] = kin_saved_tensor("bias", "F32", 4, c->bias, classes, 0);
    out[n++] = kin_saved_tensor("weight", "F32", 4, c->weight, classes, dim);
    return n;
  }
  if (c->mean) out[n++] = kin_saved_tensor("mean", "F32", 4, c->mean, dim, 0);
  out[n++] = kin_saved_tensor("vectors", "F32", 4, c->points, c->info.examples, dim);
  out[n++] = kin_saved_tensor("votes", "U32", 4, c->votes, c->info.examples, 0);
  return n;
}

static json_t *describe(const kin_classifier *c) {
  json_t *names = json_array();
  char examples[32], k[32], strength[32];
  bool ok = names != NULL;
  for (size_t i = 0; ok && i < c->info.n_classes; i++) ok = json_array_append_new(names, json_string(c->names[i])) == 0;
  char *classes = ok ? json_dumps(names, JSON_COMPACT) : NULL;
  json_decref(names);
  snprintf(examples, sizeof examples, "%zu", c->info.examples);
  snprintf(k, sizeof k, "%zu", c->info.k);
  snprintf(strength, sizeof strength, "%.17g", c->info.c);
  json_t *out = classes ? json_pack("{ss ss ss ss ss ss}", "kind", kinds[c->info.kind], "model_id", c->info.model_id,
                                    "classes", classes, "examples", examples, "k", k, "c", strength)
                        : NULL;
  free(classes);
  return out;
}

kin_status kin_classifier_save(const kin_classifier *c, const char *path, kin_error *err) {
  if (!c || !path) return kin_fail(err, KIN_ERR_ARGUMENT, "kin_classifier_save needs a classifier and a path");
  kin_tensor tensors[4];
  const size_t n = list_tensors(c, tensors);
  return kin_saved_write(&format, path, describe(c), tensors, n, err);
}

/* ------------------------------------------------------------------- reading */

static kin_status read_names(const kin_saved *f, kin_classifier *c, kin_error *err) {
  const char *text = kin_saved_fact(f, "classes");
  json_t *names;
  kin_status status = kin_json_parse(text, strlen(text), f->path, &names, err);
  if (status != KIN_OK) return status;
  const size_t n = json_array_size(names);
  if (n < 2 || n > MOST_CLASSES)
    status = kin_fail(err, KIN_ERR_FORMAT, "%s: \"classes\" must be an array of at least two names", f->path);
  if (status == KIN_OK && !(c->names = calloc(n, sizeof *c->names)))
    status = kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", f->path);
  for (size_t i = 0; status == KIN_OK && i < n; i++) {
    const char *name = json_string_value(json_array_get(names, i));
    if (!name)
      status = kin_fail(err, KIN_ERR_FORMAT, "%s: class %zu has no name", f->path, i);
    else if (!(c->names[i] = kin_strdup(name)))
      status = kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", f->path);
    c->info.n_classes = i + 1;
  }
  if (status == KIN_OK) status = kin_check_names("class", (const char *const *)c->names, n, err);
  json_decref(names);
  return status;
}

static kin_status read_facts(const kin_saved *f, kin_classifier *c, kin_error *err) {
  size_t kind = 0;
  c->info.converged = true;
  kin_status status = kin_saved_choice(f, "kind", kinds, 2, &kind, err);
  if (status == KIN_OK) status = kin_saved_model_id(f, c->info.model_id, err);
  if (status == KIN_OK) status = kin_saved_number(f, "c", &c->info.c, err);
  if (status == KIN_OK) status = kin_saved_count(f, "examples", &c->info.examples, err);
  if (status == KIN_OK) status = kin_saved_count(f, "k", &c->info.k, err);
  c->info.kind = (kin_classifier_kind)kind;
  return status;
}

static kin_status read_linear(const kin_saved *f, kin_classifier *c, kin_error *err) {
  const kin_tensor *weight = kin_weights_find(f->weights, "weight");
  c->info.dim = weight && weight->rank == 2 ? weight->shape[1] : 0;
  const size_t shape[2] = {c->info.n_classes, c->info.dim};
  kin_status status = kin_weights_load(f->weights, "weight", 2, shape, &c->weight, err);
  if (status == KIN_OK) status = kin_weights_load(f->weights, "bias", 1, shape, &c->bias, err);
  return status;
}

static kin_status read_votes(const kin_saved *f, kin_classifier *c, kin_error *err) {
  const kin_tensor *votes = kin_weights_find(f->weights, "votes");
  const size_t n = c->info.examples;
  if (!votes || strcmp(votes->dtype_name, "U32") != 0 || votes->rank != 1 || votes->shape[0] != n)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: it needs %zu \"votes\" of U32", f->path, n);
  c->votes = kin_array(n, sizeof *c->votes);
  if (!c->votes) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", f->path);
  memcpy(c->votes, votes->data, n * sizeof *c->votes);
  for (size_t i = 0; i < n; i++)
    if (c->votes[i] >= c->info.n_classes)
      return kin_fail(err, KIN_ERR_FORMAT, "%s: vote %zu is for class %u of %zu", f->path, i, c->votes[i],
                      c->info.n_classes);
  return KIN_OK;
}

static kin_status read_neighbours(const kin_saved *f, kin_classifier *c, kin_error *err) {
  const kin_tensor *vectors = kin_weights_find(f->weights, "vectors");
  c->info.dim = vectors && vectors->rank == 2 ? vectors->shape[1] : 0;
  if (c->info.k < 1 || c->info.k > c->info.examples)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: %zu neighbours among %zu vectors", f->path, c->info.k, c->info.examples);
  const size_t shape[2] = {c->info.examples, c->info.dim};
  kin_status status = kin_weights_load(f->weights, "vectors", 2, shape, &c->points, err);
  if (status == KIN_OK) status = read_votes(f, c, err);
  c->info.centred = kin_weights_find(f->weights, "mean") != NULL;
  if (status == KIN_OK && c->info.centred)
    status = kin_weights_load(f->weights, "mean", 1, &c->info.dim, &c->mean, err);
  return status;
}

static kin_status read_classifier(const kin_saved *f, kin_classifier *c, kin_error *err) {
  kin_status status = read_names(f, c, err);
  if (status == KIN_OK) status = read_facts(f, c, err);
  if (status == KIN_OK)
    status = c->info.kind == KIN_CLASSIFIER_LINEAR ? read_linear(f, c, err) : read_neighbours(f, c, err);
  if (status == KIN_OK && c->info.dim == 0)
    status = kin_fail(err, KIN_ERR_FORMAT, "%s: its vectors have no floats", f->path);
  return status;
}

kin_status kin_classifier_open(const char *path, kin_classifier **out, kin_error *err) {
  if (!path || !out) return kin_fail(err, KIN_ERR_ARGUMENT, "kin_classifier_open needs a path and a result");
  kin_classifier *c = calloc(1, sizeof *c);
  if (!c) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", path);
  kin_saved f;
  kin_status status = kin_saved_open(&format, path, &f, err);
  if (status == KIN_OK) status = read_classifier(&f, c, err);
  kin_saved_close(&f);
  if (status == KIN_OK)
    *out = c;
  else
    kin_classifier_close(c);
  return status;
}
