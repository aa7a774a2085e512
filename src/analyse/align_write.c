/* A bridge's directory: bridge.safetensors, then config.json, each in one step. */
#include "analyse/align.h"
#include "model/bridge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct tensor {
  const char *name;
  const double *values;
  size_t rows, columns; /* rows 0: a vector */
} tensor;

static size_t elements(const tensor *t) {
  return (t->rows ? t->rows : 1) * t->columns;
}

static json_t *shape(const tensor *t) {
  return t->rows ? json_pack("[I,I]", (json_int_t)t->rows, (json_int_t)t->columns)
                 : json_pack("[I]", (json_int_t)t->columns);
}

/* What the file begins with; `config` tells of the models and the figures. */
static char *header(const tensor *tensors, size_t n, const json_t *config) {
  json_t *all = json_object(), *meta = json_object();
  size_t at = 0;
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)config, key, value) {
    char *text =
        json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
    json_object_set_new(meta, key, json_string(text ? text : json_string_value(value)));
    free(text);
  }
  json_object_set_new(all, "__metadata__", meta);
  for (size_t i = 0; i < n; i++) {
    const size_t end = at + elements(&tensors[i]) * sizeof(float);
    json_object_set_new(all, tensors[i].name,
                        json_pack("{s:s,s:o,s:[I,I]}", "dtype", "F32", "shape", shape(&tensors[i]), "data_offsets",
                                  (json_int_t)at, (json_int_t)end));
    at = end;
  }
  char *text = json_dumps(all, JSON_COMPACT);
  json_decref(all);
  char *padded = text ? kin_format("%s%*s", text, (int)((8 - strlen(text) % 8) % 8), "") : NULL;
  free(text);
  return padded;
}

static bool put_floats(FILE *f, const tensor *t) {
  bool ok = true;
  for (size_t i = 0; ok && i < elements(t); i++) {
    const float value = (float)t->values[i];
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint8_t bytes[] = {(uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16), (uint8_t)(bits >> 24)};
    ok = fwrite(bytes, sizeof bytes, 1, f) == 1;
  }
  return ok;
}

typedef bool put_contents(FILE *f, const void *contents);

/* Write DIR/NAME under another name, sync it, and give it its own. */
static kin_status put_file(const char *dir, const char *name, put_contents *put, const void *contents, kin_error *err) {
  char *path = kin_format("%s/%s", dir, name), *temporary = kin_format("%s/.%s.part", dir, name);
  kin_status status = KIN_OK;
  if (!path || !temporary) {
    status = kin_fail(err, KIN_ERR_MEMORY, "no memory to write %s", dir);
  } else {
    FILE *f = fopen(temporary, "wb");
    bool ok = f && put(f, contents) && fflush(f) == 0 && fsync(fileno(f)) == 0;
    int errnum = errno;
    if (f && fclose(f) != 0 && ok) ok = false, errnum = errno;
    if (ok && rename(temporary, path) != 0) ok = false, errnum = errno;
    if (!ok) {
      remove(temporary);
      status = kin_fail_errno(err, errnum, "can't write %s", path);
    }
  }
  free(path), free(temporary);
  return status;
}

typedef struct weights_file {
  const char *header;
  const tensor *tensors;
  size_t n;
} weights_file;

static bool put_weights(FILE *f, const void *contents) {
  const weights_file *w = contents;
  const uint64_t size = strlen(w->header);
  uint8_t bytes[8];
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(size >> 8 * i);
  bool ok = fwrite(bytes, sizeof bytes, 1, f) == 1 && fputs(w->header, f) >= 0;
  for (size_t i = 0; ok && i < w->n; i++) ok = put_floats(f, &w->tensors[i]);
  return ok;
}

static bool put_config(FILE *f, const void *contents) {
  return json_dumpf(contents, f, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) == 0 && fputc('\n', f) != EOF;
}

kin_status kin_align_write(const char *dir, const json_t *config, const kin_align_map *map, kin_error *err) {
  const size_t k = map->n_points ? map->n_points : map->features;
  const tensor tensors[] = {{"image.deviation", map->image_deviation, 0, map->features},
                            {"image.mean", map->image_mean, 0, map->features},
                            {"image.weight", map->image_weight, map->dim, k},
                            {"text.mean", map->text_mean, 0, map->dim},
                            {"text.weight", map->projection, map->dim, map->dim},
                            {"image.points", map->points, map->n_points, map->features}};
  const size_t n = sizeof tensors / sizeof *tensors - (map->n_points ? 0 : 1);
  if (mkdir(dir, 0777) != 0 && errno != EEXIST) return kin_fail_errno(err, errno, "can't make the directory %s", dir);
  char *text = header(tensors, n, config);
  if (!text) return kin_fail(err, KIN_ERR_MEMORY, "no memory to write %s", dir);
  kin_status status = put_file(dir, KIN_BRIDGE_FILE, put_weights, &(weights_file){text, tensors, n}, err);
  if (status == KIN_OK) status = put_file(dir, "config.json", put_config, config, err);
  free(text);
  return status;
}
