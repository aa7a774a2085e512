/* A trained classifier on disk: safetensors with the small facts in its metadata (docs/classifier-format.md). */
#include "analyse/classify.h"
#include "weights/weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT "kindred classifier"
#define VERSION "1"

static const char *const kinds[] = {"linear", "knn"};
/* Hashed in this order, each with its terminating zero, before the tensors. */
static const char *const keys[] = {"format", "version", "kind", "model_id", "classes", "examples", "k", "c"};
enum { KEYS = sizeof keys / sizeof *keys, MOST_CLASSES = 1 << 20 };

/* ------------------------------------------------------------------- writing */

static kin_tensor tensor_of(const char *name, const char *dtype, const void *data, size_t rows, size_t columns) {
  kin_tensor t = {.name = name, .dtype_name = dtype, .rank = 1, .shape = {rows}, .elements = rows, .data = data};
  if (columns) t.shape[t.rank++] = columns, t.elements *= columns;
  t.bytes = 4 * t.elements;
  return t;
}

/* In order of their names, as reading sorts them, since the checksum follows the order. */
static size_t list_tensors(const kin_classifier *c, kin_tensor out[4]) {
  const size_t classes = c->info.n_classes, dim = c->info.dim;
  size_t n = 0;
  if (c->info.kind == KIN_CLASSIFIER_LINEAR) {
    out[n++] = tensor_of("bias", "F32", c->bias, classes, 0);
    out[n++] = tensor_of("weight", "F32", c->weight, classes, dim);
    return n;
  }
  if (c->mean) out[n++] = tensor_of("mean", "F32", c->mean, dim, 0);
  out[n++] = tensor_of("vectors", "F32", c->points, c->info.examples, dim);
  out[n++] = tensor_of("votes", "U32", c->votes, c->info.examples, 0);
  return n;
}

/* The metadata but for the checksum. */
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
  json_t *out = classes ? json_pack("{ss ss ss ss ss ss ss ss}", "format", FORMAT, "version", VERSION, "kind",
                                    kinds[c->info.kind], "model_id", c->info.model_id, "classes", classes, "examples",
                                    examples, "k", k, "c", strength)
                        : NULL;
  free(classes);
  return out;
}

/* False for lack of memory. */
static bool checksum(const char *const values[KEYS], const kin_tensor *tensors, size_t n, char hex[65]) {
  kin_sha256 *h = kin_sha256_new();
  if (!h) return false;
  for (size_t i = 0; i < KEYS; i++) kin_sha256_update(h, values[i], strlen(values[i]) + 1);
  for (size_t i = 0; i < n; i++) {
    kin_sha256_update(h, tensors[i].name, strlen(tensors[i].name) + 1);
    kin_sha256_update(h, tensors[i].data, tensors[i].bytes);
  }
  kin_sha256_finish(h, hex);
  return true;
}

kin_status kin_classifier_save(const kin_classifier *c, const char *path, kin_error *err) {
  if (!c || !path) return kin_fail(err, KIN_ERR_ARGUMENT, "kin_classifier_save needs a classifier and a path");
  kin_tensor tensors[4];
  const size_t n = list_tensors(c, tensors);
  json_t *metadata = describe(c);
  const char *values[KEYS];
  char hex[65];
  for (size_t i = 0; metadata && i < KEYS; i++) values[i] = json_string_value(json_object_get(metadata, keys[i]));
  kin_status status = KIN_OK;
  if (!metadata || !checksum(values, tensors, n, hex) || json_object_set_new(metadata, "sha256", json_string(hex)) != 0)
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory to write %s", path);
  if (status == KIN_OK) status = kin_weights_write(path, metadata, tensors, n, err);
  json_decref(metadata);
  return status;
}

/* ------------------------------------------------------------------- reading */

typedef struct file {
  const char *path;
  kin_weights *weights;
  const char *values[KEYS]; /* of the metadata */
} file;

static const char *value_of(const file *f, const char *key) {
  for (size_t i = 0; i < KEYS; i++)
    if (strcmp(keys[i], key) == 0) return f->values[i];
  return "";
}

static kin_status check_metadata(file *f, kin_error *err) {
  const char *format = kin_weights_metadata(f->weights, "format"),
             *version = kin_weights_metadata(f->weights, "version");
  if (!format || strcmp(format, FORMAT) != 0)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: is no classifier: its metadata doesn't say \"" FORMAT "\"", f->path);
  if (!version || strcmp(version, VERSION) != 0)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: a classifier of version %.20s, this build reads " VERSION, f->path,
                    version ? version : "(none)");
  for (size_t i = 0; i < KEYS; i++)
    if (!(f->values[i] = kin_weights_metadata(f->weights, keys[i])))
      return kin_fail(err, KIN_ERR_FORMAT, "%s: \"%s\" is missing from its metadata", f->path, keys[i]);
  return KIN_OK;
}

static kin_status check_sum(const file *f, kin_error *err) {
  const char *expected = kin_weights_metadata(f->weights, "sha256");
  const size_t n = kin_weights_count(f->weights);
  char hex[65];
  kin_tensor *tensors = kin_array(n, sizeof *tensors);
  for (size_t i = 0; tensors && i < n; i++) tensors[i] = *kin_weights_at(f->weights, i);
  const bool ok = tensors && checksum(f->values, tensors, n, hex);
  free(tensors);
  if (!ok) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", f->path);
  if (expected && strcmp(expected, hex) == 0) return KIN_OK;
  return kin_fail(err, KIN_ERR_FORMAT, "%s: is damaged: its checksum is wrong", f->path);
}

static kin_status read_count(const file *f, const char *key, size_t *out, kin_error *err) {
  const char *text = value_of(f, key);
  char *end;
  const unsigned long long value = strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end || value > SIZE_MAX / 64)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: \"%s\" is no number: \"%.40s\"", f->path, key, text);
  *out = (size_t)value;
  return KIN_OK;
}

static kin_status read_names(const file *f, kin_classifier *c, kin_error *err) {
  const char *text = value_of(f, "classes");
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

static kin_status read_facts(const file *f, kin_classifier *c, kin_error *err) {
  const char *kind = value_of(f, "kind"), *strength = value_of(f, "c"), *id = value_of(f, "model_id");
  char *end;
  if (strcmp(kind, kinds[0]) != 0 && strcmp(kind, kinds[1]) != 0)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: a classifier of the unknown kind \"%.40s\"", f->path, kind);
  c->info.kind = strcmp(kind, kinds[0]) == 0 ? KIN_CLASSIFIER_LINEAR : KIN_CLASSIFIER_KNN;
  c->info.converged = true;
  if (strlen(id) >= sizeof c->info.model_id)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: \"model_id\" is too long", f->path);
  strcpy(c->info.model_id, id);
  c->info.c = strtod(strength, &end);
  if (end == strength || *end || !isfinite(c->info.c))
    return kin_fail(err, KIN_ERR_FORMAT, "%s: \"c\" is no number: \"%.40s\"", f->path, strength);
  kin_status status = read_count(f, "examples", &c->info.examples, err);
  if (status == KIN_OK) status = read_count(f, "k", &c->info.k, err);
  return status;
}

static kin_status read_linear(const file *f, kin_classifier *c, kin_error *err) {
  const kin_tensor *weight = kin_weights_find(f->weights, "weight");
  c->info.dim = weight && weight->rank == 2 ? weight->shape[1] : 0;
  const size_t shape[2] = {c->info.n_classes, c->info.dim};
  kin_status status = kin_weights_load(f->weights, "weight", 2, shape, &c->weight, err);
  if (status == KIN_OK) status = kin_weights_load(f->weights, "bias", 1, shape, &c->bias, err);
  return status;
}

static kin_status read_votes(const file *f, kin_classifier *c, kin_error *err) {
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

static kin_status read_neighbours(const file *f, kin_classifier *c, kin_error *err) {
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

static kin_status read_classifier(file *f, kin_classifier *c, kin_error *err) {
  kin_status status = check_metadata(f, err);
  if (status == KIN_OK) status = check_sum(f, err);
  if (status == KIN_OK) status = read_names(f, c, err);
  if (status == KIN_OK) status = read_facts(f, c, err);
  if (status == KIN_OK)
    status = c->info.kind == KIN_CLASSIFIER_LINEAR ? read_linear(f, c, err) : read_neighbours(f, c, err);
  if (status == KIN_OK && c->info.dim == 0)
    status = kin_fail(err, KIN_ERR_FORMAT, "%s: its vectors have no floats", f->path);
  return status;
}

kin_status kin_classifier_open(const char *path, kin_classifier **out, kin_error *err) {
  if (!path || !out) return kin_fail(err, KIN_ERR_ARGUMENT, "kin_classifier_open needs a path and a result");
  const char *slash = strrchr(path, '/');
  char *dir = slash == path ? kin_strdup("") : slash ? kin_format("%.*s", (int)(slash - path), path) : kin_strdup(".");
  kin_classifier *c = calloc(1, sizeof *c);
  file f = {.path = path};
  kin_status status = KIN_OK;
  if (!dir || !c) status = kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", path);
  if (status == KIN_OK) status = kin_weights_open(dir, slash ? slash + 1 : path, &f.weights, err);
  if (status == KIN_OK) status = read_classifier(&f, c, err);
  kin_weights_close(f.weights);
  free(dir);
  if (status == KIN_OK)
    *out = c;
  else
    kin_classifier_close(c);
  return status;
}
