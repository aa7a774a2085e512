/* What was trained, on disk. */
#include "analyse/saved.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t count_keys(const kin_saved_kind *kind) {
  return kind->n_keys + 2;
}

static const char *key_at(const kin_saved_kind *kind, size_t i) {
  return i == 0 ? "format" : i == 1 ? "version" : kind->keys[i - 2];
}

/* Over the facts, each with its terminating zero, then the tensors. False for lack of memory. */
static bool checksum(const char *const *values, size_t n_values, const kin_tensor *tensors, size_t n, char hex[65]) {
  kin_sha256 *h = kin_sha256_new();
  if (!h) return false;
  for (size_t i = 0; i < n_values; i++) kin_sha256_update(h, values[i], strlen(values[i]) + 1);
  for (size_t i = 0; i < n; i++) {
    kin_sha256_update(h, tensors[i].name, strlen(tensors[i].name) + 1);
    kin_sha256_update(h, tensors[i].data, tensors[i].bytes);
  }
  kin_sha256_finish(h, hex);
  return true;
}

/* ------------------------------------------------------------------ writing */

kin_tensor kin_saved_tensor(const char *name, const char *dtype, size_t size, const void *data, size_t rows,
                            size_t columns) {
  kin_tensor t = {.name = name, .dtype_name = dtype, .rank = 1, .shape = {rows}, .elements = rows, .data = data};
  if (columns) t.shape[t.rank++] = columns, t.elements *= columns;
  t.bytes = size * t.elements;
  return t;
}

static bool complete(const kin_saved_kind *kind, json_t *facts, const kin_tensor *tensors, size_t n) {
  char format[64], hex[65];
  const char *values[KIN_SAVED_KEYS];
  snprintf(format, sizeof format, "kindred %s", kind->what);
  if (!facts || json_object_set_new(facts, "format", json_string(format)) != 0 ||
      json_object_set_new(facts, "version", json_string(kind->version)) != 0)
    return false;
  for (size_t i = 0; i < count_keys(kind); i++)
    if (!(values[i] = json_string_value(json_object_get(facts, key_at(kind, i))))) return false;
  return checksum(values, count_keys(kind), tensors, n, hex) &&
         json_object_set_new(facts, "sha256", json_string(hex)) == 0;
}

kin_status kin_saved_write(const kin_saved_kind *kind, const char *path, json_t *facts, const kin_tensor *tensors,
                           size_t n, kin_error *err) {
  const kin_status status = complete(kind, facts, tensors, n)
                                ? kin_weights_write(path, facts, tensors, n, err)
                                : kin_fail(err, KIN_ERR_MEMORY, "out of memory to write %s", path);
  json_decref(facts);
  return status;
}

/* ------------------------------------------------------------------ reading */

static kin_status read_facts(kin_saved *s, kin_error *err) {
  const char *what = s->kind->what, *format = kin_weights_metadata(s->weights, "format"),
             *version = kin_weights_metadata(s->weights, "version");
  if (!format || strncmp(format, "kindred ", 8) != 0 || strcmp(format + 8, what) != 0)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: is no %s: its metadata doesn't say \"kindred %s\"", s->path, what, what);
  if (!version || strcmp(version, s->kind->version) != 0)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: a %s of version %.20s, this build reads %s", s->path, what,
                    version ? version : "(none)", s->kind->version);
  for (size_t i = 0; i < count_keys(s->kind); i++)
    if (!(s->values[i] = kin_weights_metadata(s->weights, key_at(s->kind, i))))
      return kin_fail(err, KIN_ERR_FORMAT, "%s: \"%s\" is missing from its metadata", s->path, key_at(s->kind, i));
  return KIN_OK;
}

static kin_status check_sum(const kin_saved *s, kin_error *err) {
  const char *expected = kin_weights_metadata(s->weights, "sha256");
  const size_t n = kin_weights_count(s->weights);
  char hex[65];
  kin_tensor *tensors = kin_array(n, sizeof *tensors);
  for (size_t i = 0; tensors && i < n; i++) tensors[i] = *kin_weights_at(s->weights, i);
  const bool ok = tensors && checksum(s->values, count_keys(s->kind), tensors, n, hex);
  free(tensors);
  if (!ok) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", s->path);
  if (expected && strcmp(expected, hex) == 0) return KIN_OK;
  return kin_fail(err, KIN_ERR_FORMAT, "%s: is damaged: its checksum is wrong", s->path);
}

kin_status kin_saved_open(const kin_saved_kind *kind, const char *path, kin_saved *out, kin_error *err) {
  const char *slash = strrchr(path, '/');
  char *dir = slash == path ? kin_strdup("") : slash ? kin_format("%.*s", (int)(slash - path), path) : kin_strdup(".");
  *out = (kin_saved){.kind = kind, .path = path};
  if (!dir) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", path);
  kin_status status = kin_weights_open(dir, slash ? slash + 1 : path, &out->weights, err);
  free(dir);
  if (status == KIN_OK) status = read_facts(out, err);
  return status == KIN_OK ? check_sum(out, err) : status;
}

void kin_saved_close(kin_saved *s) {
  kin_weights_close(s->weights);
  s->weights = NULL;
}

const char *kin_saved_fact(const kin_saved *s, const char *key) {
  for (size_t i = 0; i < count_keys(s->kind); i++)
    if (strcmp(key_at(s->kind, i), key) == 0) return s->values[i];
  return "";
}

kin_status kin_saved_count(const kin_saved *s, const char *key, size_t *out, kin_error *err) {
  const char *text = kin_saved_fact(s, key);
  char *end;
  errno = 0;
  const unsigned long long value = strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end || errno || value > SIZE_MAX / 64)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: \"%s\" is no number: \"%.40s\"", s->path, key, text);
  *out = (size_t)value;
  return KIN_OK;
}

kin_status kin_saved_number(const kin_saved *s, const char *key, double *out, kin_error *err) {
  const char *text = kin_saved_fact(s, key);
  char *end;
  *out = strtod(text, &end);
  if (end == text || *end || !isfinite(*out))
    return kin_fail(err, KIN_ERR_FORMAT, "%s: \"%s\" is no number: \"%.40s\"", s->path, key, text);
  return KIN_OK;
}

kin_status kin_saved_choice(const kin_saved *s, const char *key, const char *const *names, size_t n, size_t *out,
                            kin_error *err) {
  const char *text = kin_saved_fact(s, key);
  for (*out = 0; *out < n; ++*out)
    if (strcmp(text, names[*out]) == 0) return KIN_OK;
  return kin_fail(err, KIN_ERR_FORMAT, "%s: a %s of the unknown %s \"%.40s\"", s->path, s->kind->what, key, text);
}

kin_status kin_saved_model_id(const kin_saved *s, char *out, kin_error *err) {
  const char *id = kin_saved_fact(s, "model_id");
  if (strlen(id) > 64) return kin_fail(err, KIN_ERR_FORMAT, "%s: \"model_id\" is too long", s->path);
  strcpy(out, id);
  return KIN_OK;
}

kin_status kin_saved_doubles(const kin_saved *s, const char *name, size_t rows, size_t columns, double **out,
                             kin_error *err) {
  const kin_tensor *t = kin_weights_find(s->weights, name);
  if (!t || strcmp(t->dtype_name, "F64") != 0 || t->rank != (columns ? 2u : 1u) || t->shape[0] != rows ||
      (columns && t->shape[1] != columns))
    return kin_fail(err, KIN_ERR_FORMAT,
                    columns ? "%s: it needs \"%s\" of F64, %zu by %zu" : "%s: it needs \"%s\" of F64, %zu of them",
                    s->path, name, rows, columns);
  *out = kin_array(t->elements ? t->elements : 1, sizeof **out);
  if (!*out) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", s->path);
  memcpy(*out, t->data, t->bytes);
  for (size_t i = 0; i < t->elements; i++)
    if (!isfinite((*out)[i]))
      return kin_fail(err, KIN_ERR_FORMAT, "%s: number %zu of \"%s\" isn't finite", s->path, i, name);
  return KIN_OK;
}
