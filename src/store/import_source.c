/* The files that kin_store_import reads. */
#include "base/json.h"
#include "document/reader.h"
#include "embed/npy.h"
#include "store/import.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kin_import_source {
  const char *path, *paths;
  size_t dim;
  kin_import_row row;
  kin_lines *lines; /* of JSON */
  kin_bytes text;
  json_t *header;
  json_t *object; /* of the line at hand */
  bool waiting;   /* that line was read to learn dim, and wasn't given out */
  kin_npy *npy;
  FILE *fvecs;
  FILE *names; /* `paths` */
  char *name;
  size_t name_capacity;
};

kin_status kin_import_fail(const kin_import_source *s, kin_error *err, const char *format, ...) {
  char message[900];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  const char *unit = s->lines ? "line" : "row";
  return kin_fail(err, KIN_ERR_FORMAT, "%s: %s %llu: %s", s->path, unit, (unsigned long long)s->row.number, message);
}

static kin_status no_memory(const kin_import_source *s, kin_error *err) {
  return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", s->path);
}

/* `name` as the file at `file` means it: seen from its folder. */
static kin_status set_path(kin_import_source *s, const char *file, const char *name, kin_error *err) {
  const char *slash = *name != '/' ? strrchr(file, '/') : NULL;
  free(s->row.path);
  s->row.path = slash ? kin_format("%.*s/%s", (int)(slash - file), file, name) : kin_strdup(name);
  if (!s->row.path) return no_memory(s, err);
  return *name ? KIN_OK : kin_import_fail(s, err, "an empty path");
}

/* ---------------------------------------------------------------- JSON lines */

static kin_status next_object(kin_import_source *s, kin_error *err) {
  bool end = false;
  char name[4200];
  json_decref(s->object);
  s->object = NULL;
  kin_status status;
  do status = kin_lines_next_whole(s->lines, &s->text, &s->row.number, &end, err);
  while (status == KIN_OK && !end && s->text.size == 0);
  if (status != KIN_OK || end) return status;
  snprintf(name, sizeof name, "%s: line %llu", s->path, (unsigned long long)s->row.number);
  return kin_json_parse(s->text.data, s->text.size, name, &s->object, err);
}

/* A name that isn't UTF-8 is there in hex. */
static kin_status read_json_path(kin_import_source *s, kin_error *err) {
  const char *path = json_string_value(json_object_get(s->object, "path"));
  const char *hex = json_string_value(json_object_get(s->object, "path_hex"));
  if (!path) return kin_import_fail(s, err, "needs a \"path\"");
  if (!hex) return set_path(s, s->path, path, err);
  size_t n = strlen(hex) / 2;
  char *bytes = calloc(n + 1, 1);
  if (!bytes) return no_memory(s, err);
  for (size_t i = 0; i < n; i++) {
    unsigned value = 0;
    if (sscanf(hex + 2 * i, "%2x", &value) == 1) bytes[i] = (char)value;
  }
  kin_status status = set_path(s, s->path, bytes, err);
  free(bytes);
  return status;
}

static kin_status read_json_row(kin_import_source *s, kin_error *err) {
  if (!s->waiting) {
    kin_status status = next_object(s, err);
    if (status != KIN_OK) return status;
  }
  s->waiting = false;
  if (!s->object) {
    free(s->row.path);
    s->row.path = NULL;
    return KIN_OK;
  }
  const json_t *values = json_object_get(s->object, "vector");
  if (!json_is_array(values)) return kin_import_fail(s, err, "needs a \"vector\"");
  if (json_array_size(values) != s->dim)
    return kin_import_fail(s, err, "a vector of %zu floats among vectors of %zu", json_array_size(values), s->dim);
  for (size_t i = 0; i < s->dim; i++) {
    const json_t *value = json_array_get(values, i);
    if (!json_is_number(value)) return kin_import_fail(s, err, "value %zu of the vector is no number", i + 1);
    s->row.vector[i] = (float)json_number_value(value);
  }
  s->row.object = s->object;
  return read_json_path(s, err);
}

static kin_status open_json(kin_import_source *s, kin_error *err) {
  if (s->paths) return kin_fail(err, KIN_ERR_ARGUMENT, "%s: JSON lines name their paths themselves", s->path);
  kin_status status = kin_lines_open(s->path, &s->lines, err);
  if (status == KIN_OK) status = next_object(s, err);
  if (status == KIN_OK && s->object && json_object_get(s->object, "model_id") &&
      !json_object_get(s->object, "vector")) {
    s->header = s->object;
    s->object = NULL;
    status = next_object(s, err);
  }
  if (status != KIN_OK) return status;
  s->waiting = true;
  s->dim = json_array_size(json_object_get(s->object, "vector"));
  if (!s->dim && s->object) return kin_import_fail(s, err, "needs a \"vector\"");
  if (!s->dim) s->dim = (size_t)json_integer_value(json_object_get(s->header, "dim"));
  return KIN_OK;
}

/* -------------------------------------------------------------- .npy, .fvecs */

/* The next of the paths' lines; the last may lack its end. */
static kin_status read_name(kin_import_source *s, kin_error *err) {
  errno = 0;
  ssize_t n = getline(&s->name, &s->name_capacity, s->names);
  if (n < 0 && (ferror(s->names) || errno)) return kin_fail_errno(err, errno, "can't read %s", s->paths);
  if (n < 0) return kin_import_fail(s, err, "%s has no line for it", s->paths);
  if (n && s->name[n - 1] == '\n') s->name[--n] = '\0';
  if (strlen(s->name) != (size_t)n) return kin_import_fail(s, err, "its line of %s has a NUL byte", s->paths);
  return set_path(s, s->paths, s->name, err);
}

/* *end tells that the file has no more rows. */
static kin_status read_fvecs(kin_import_source *s, bool *end, kin_error *err) {
  int32_t dim;
  size_t n = fread(&dim, 1, sizeof dim, s->fvecs);
  *end = n == 0 && feof(s->fvecs);
  if (*end) return KIN_OK;
  if (n != sizeof dim) return kin_import_fail(s, err, "the file is cut off");
  if (dim < 1 || (size_t)dim != s->dim)
    return kin_import_fail(s, err, "a vector of %d floats among vectors of %zu", (int)dim, s->dim);
  if (fread(s->row.vector, sizeof(float), s->dim, s->fvecs) != s->dim)
    return kin_import_fail(s, err, "the file is cut off");
  return KIN_OK;
}

static kin_status read_numbers(kin_import_source *s, kin_error *err) {
  bool end = s->npy && s->row.number == kin_npy_rows(s->npy);
  s->row.number++;
  kin_status status = s->fvecs ? read_fvecs(s, &end, err) : KIN_OK;
  if (status != KIN_OK) return status;
  if (s->npy && !end) kin_npy_get(s->npy, (size_t)s->row.number - 1, s->row.vector);
  if (!end) return read_name(s, err);
  free(s->row.path);
  s->row.path = NULL;
  if (getline(&s->name, &s->name_capacity, s->names) >= 0)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: has more lines than %s has vectors", s->paths, s->path);
  return KIN_OK;
}

static kin_status open_numbers(kin_import_source *s, bool npy, kin_error *err) {
  if (!s->paths)
    return kin_fail(err, KIN_ERR_ARGUMENT, "%s: needs a file with the path of each vector's file, a line each",
                    s->path);
  s->names = fopen(s->paths, "rb");
  if (!s->names) return kin_fail_errno(err, errno, "can't open %s", s->paths);
  if (npy) {
    kin_status status = kin_npy_open(s->path, &s->npy, err);
    if (status == KIN_OK) s->dim = kin_npy_dim(s->npy);
    return status;
  }
  int32_t dim = 0;
  s->fvecs = fopen(s->path, "rb");
  if (!s->fvecs) return kin_fail_errno(err, errno, "can't open %s", s->path);
  if (fread(&dim, sizeof dim, 1, s->fvecs) != 1 || dim < 1 || fseek(s->fvecs, 0, SEEK_SET) != 0)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: isn't a .fvecs file of vectors", s->path);
  s->dim = (size_t)dim;
  return KIN_OK;
}

/* ----------------------------------------------------------------------- all */

static bool ends_in(const char *path, const char *ending) {
  size_t n = strlen(path), m = strlen(ending);
  return n > m && strcmp(path + n - m, ending) == 0;
}

static kin_status open_source(kin_import_source *s, kin_error *err) {
  if (ends_in(s->path, ".jsonl")) return open_json(s, err);
  if (ends_in(s->path, ".npy")) return open_numbers(s, true, err);
  if (ends_in(s->path, ".fvecs")) return open_numbers(s, false, err);
  return kin_fail(err, KIN_ERR_ARGUMENT, "%s: the ending must be .jsonl, .npy or .fvecs", s->path);
}

kin_status kin_import_open(const char *path, const char *paths, kin_import_source **out, kin_error *err) {
  *out = NULL;
  kin_import_source *s = calloc(1, sizeof *s);
  if (!s) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", path);
  s->path = path;
  s->paths = paths;
  kin_status status = open_source(s, err);
  if (status == KIN_OK && (s->dim == 0 || s->dim > (size_t)1 << 24))
    status = kin_fail(err, KIN_ERR_FORMAT, "%s: holds no vectors that can be stored", path);
  if (status == KIN_OK && !(s->row.vector = kin_array(s->dim, sizeof *s->row.vector))) status = no_memory(s, err);
  if (status == KIN_OK)
    *out = s;
  else
    kin_import_close(s);
  return status;
}

void kin_import_close(kin_import_source *s) {
  if (!s) return;
  kin_lines_close(s->lines);
  kin_bytes_free(&s->text);
  json_decref(s->header);
  json_decref(s->object);
  kin_npy_close(s->npy);
  if (s->fvecs) fclose(s->fvecs);
  if (s->names) fclose(s->names);
  free(s->name);
  free(s->row.path);
  free(s->row.vector);
  free(s);
}

size_t kin_import_dim(const kin_import_source *s) {
  return s->dim;
}

uint64_t kin_import_total(const kin_import_source *s) {
  return s->npy ? kin_npy_rows(s->npy) : 0;
}

const json_t *kin_import_header(const kin_import_source *s) {
  return s->header;
}

kin_status kin_import_next(kin_import_source *s, kin_import_row *out, kin_error *err) {
  kin_status status = s->lines ? read_json_row(s, err) : read_numbers(s, err);
  if (status != KIN_OK) return status;
  for (size_t i = 0; s->row.path && i < s->dim; i++)
    if (!isfinite(s->row.vector[i])) return kin_import_fail(s, err, "value %zu of the vector isn't finite", i + 1);
  *out = s->row;
  return KIN_OK;
}
