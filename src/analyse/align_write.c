/* A bridge's directory: bridge.safetensors, then config.json, each in one step. */
#include "analyse/align.h"
#include "model/bridge.h"
#include "weights/weights.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct part {
  const char *name;
  const double *values;
  size_t rows, columns; /* rows 0: a vector */
} part;

/* The metadata of the file: what `config` tells of the models and the figures, as strings. */
static json_t *metadata_of(const json_t *config) {
  json_t *meta = json_object();
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)config, key, value) {
    char *text =
        json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
    json_object_set_new(meta, key, json_string(text ? text : json_string_value(value)));
    free(text);
  }
  return meta;
}

/* In float, into a new array that out->data points to; NULL there for lack of memory. */
static void make_tensor(const part *p, kin_tensor *out) {
  *out = (kin_tensor){.name = p->name, .dtype_name = "F32", .elements = (p->rows ? p->rows : 1) * p->columns};
  if (p->rows) out->shape[out->rank++] = p->rows;
  out->shape[out->rank++] = p->columns;
  out->bytes = out->elements * sizeof(float);
  float *values = kin_array(out->elements, sizeof *values);
  for (size_t i = 0; values && i < out->elements; i++) values[i] = (float)p->values[i];
  out->data = values;
}

static kin_status write_weights(const char *dir, const json_t *config, const part *parts, size_t n, kin_error *err) {
  kin_tensor *tensors = kin_array(n, sizeof *tensors);
  json_t *metadata = metadata_of(config);
  char *path = kin_format("%s/%s", dir, KIN_BRIDGE_FILE);
  bool ok = tensors && metadata && path;
  for (size_t i = 0; tensors && i < n; i++) {
    make_tensor(&parts[i], &tensors[i]);
    ok = ok && tensors[i].data;
  }
  const kin_status status = ok ? kin_weights_write(path, metadata, tensors, n, err)
                               : kin_fail(err, KIN_ERR_MEMORY, "no memory to write %s", dir);
  for (size_t i = 0; tensors && i < n; i++) free((void *)tensors[i].data);
  free(tensors);
  json_decref(metadata);
  free(path);
  return status;
}

/* Write DIR/config.json under another name, sync it, and give it its own. */
static kin_status write_config(const char *dir, const json_t *config, kin_error *err) {
  char *path = kin_format("%s/config.json", dir), *temporary = kin_format("%s/.config.json.part", dir);
  kin_status status = KIN_OK;
  if (!path || !temporary) {
    status = kin_fail(err, KIN_ERR_MEMORY, "no memory to write %s", dir);
  } else {
    FILE *f = fopen(temporary, "wb");
    bool ok = f && json_dumpf(config, f, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) == 0 && fputc('\n', f) != EOF &&
              fflush(f) == 0 && fsync(fileno(f)) == 0;
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

kin_status kin_align_write(const char *dir, const json_t *config, const kin_align_map *map, kin_error *err) {
  const size_t k = map->n_points ? map->n_points : map->features;
  const part parts[] = {{"image.deviation", map->image_deviation, 0, map->features},
                        {"image.mean", map->image_mean, 0, map->features},
                        {"image.weight", map->image_weight, map->dim, k},
                        {"text.mean", map->text_mean, 0, map->dim},
                        {"text.weight", map->projection, map->dim, map->dim},
                        {"image.points", map->points, map->n_points, map->features}};
  const size_t n = sizeof parts / sizeof *parts - (map->n_points ? 0 : 1);
  if (mkdir(dir, 0777) != 0 && errno != EEXIST) return kin_fail_errno(err, errno, "can't make the directory %s", dir);
  kin_status status = write_weights(dir, config, parts, n, err);
  if (status == KIN_OK) status = write_config(dir, config, err);
  return status;
}
