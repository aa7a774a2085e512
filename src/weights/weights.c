/* The tensors of a model directory: one safetensors file, or the shards that an index lists. */
#include "weights/weights.h"

#include "weights/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_NAME "model.safetensors.index.json"
#define MAX_INDEX (64u * 1024 * 1024)

struct kin_weights {
  char *path; /* the file or the index, for messages */
  kin_shard *shards;
  size_t n_shards, shard_capacity;
  kin_tensor *tensors; /* of all shards, sorted by name */
  size_t count;
};

static int by_name(const void *a, const void *b) {
  return strcmp(((const kin_tensor *)a)->name, ((const kin_tensor *)b)->name);
}

static kin_status out_of_memory(const char *path, kin_error *err) {
  return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", path);
}

static kin_status add_shard(kin_weights *w, const char *path, kin_error *err) {
  if (!kin_grow((void **)&w->shards, &w->shard_capacity, w->n_shards + 1, sizeof *w->shards))
    return out_of_memory(path, err);
  kin_status status = kin_shard_open(path, &w->shards[w->n_shards], err);
  if (status == KIN_OK) w->n_shards++;
  return status;
}

/* Merge the shards' tensors, sorted; two of one name are an error. */
static kin_status collect(kin_weights *w, kin_error *err) {
  size_t total = 0;
  for (size_t i = 0; i < w->n_shards; i++) total += w->shards[i].count;
  w->tensors = kin_array(total + 1, sizeof *w->tensors);
  if (!w->tensors) return out_of_memory(w->path, err);
  for (size_t i = 0; i < w->n_shards; i++) {
    memcpy(w->tensors + w->count, w->shards[i].tensors, w->shards[i].count * sizeof *w->tensors);
    w->count += w->shards[i].count;
  }
  qsort(w->tensors, w->count, sizeof *w->tensors, by_name);
  for (size_t i = 1; i < w->count; i++)
    if (by_name(&w->tensors[i - 1], &w->tensors[i]) == 0)
      return kin_fail(err, KIN_ERR_FORMAT, "%s: tensor \"%s\" is in two shards: %s and %s", w->path, w->tensors[i].name,
                      w->tensors[i - 1].file, w->tensors[i].file);
  return KIN_OK;
}

static bool has_shard(const kin_weights *w, const char *path) {
  for (size_t i = 0; i < w->n_shards; i++)
    if (strcmp(w->shards[i].path, path) == 0) return true;
  return false;
}

/* A shard lies beside its index: a path elsewhere is refused. */
static kin_status shard_path(const kin_weights *w, const char *dir, const char *tensor, const json_t *value, char **out,
                             kin_error *err) {
  const char *name = json_string_value(value);
  if (!name || !*name || strchr(name, '/') || strcmp(name, "..") == 0)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: tensor \"%.200s\": its shard must be the name of a file in the folder",
                    w->path, tensor);
  *out = kin_format("%s/%s", dir, name);
  return *out ? KIN_OK : out_of_memory(w->path, err);
}

static kin_status open_shards(kin_weights *w, const char *dir, json_t *map, kin_error *err) {
  if (!json_is_object(map) || json_object_size(map) == 0)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: \"weight_map\" is missing, empty or not an object", w->path);
  const char *name;
  json_t *value;
  json_object_foreach(map, name, value) {
    char *path;
    kin_status status = shard_path(w, dir, name, value, &path, err);
    if (status != KIN_OK) return status;
    if (!has_shard(w, path)) status = add_shard(w, path, err);
    free(path);
    if (status != KIN_OK) return kin_prefix(err, status, "%s", w->path);
  }
  return KIN_OK;
}

/* Every tensor of the index must be in the shard that it names. */
static kin_status check_map(const kin_weights *w, json_t *map, kin_error *err) {
  const char *name;
  json_t *value;
  json_object_foreach(map, name, value) {
    const kin_tensor *t = kin_weights_find(w, name);
    const char *file = json_string_value(value);
    if (!t) return kin_fail(err, KIN_ERR_FORMAT, "%s: tensor \"%.200s\" isn't in its shard %s", w->path, name, file);
    if (strcmp(strrchr(t->file, '/') + 1, file) != 0)
      return kin_fail(err, KIN_ERR_FORMAT, "%s: tensor \"%.200s\" should be in %s, but is in %s", w->path, name, file,
                      t->file);
  }
  return KIN_OK;
}

static kin_status open_index(kin_weights *w, const char *dir, kin_error *err) {
  json_t *index = NULL;
  kin_status status = kin_json_load(w->path, MAX_INDEX, &index, err);
  if (status != KIN_OK) return status;
  json_t *map = json_object_get(index, "weight_map");
  status = open_shards(w, dir, map, err);
  if (status == KIN_OK) status = collect(w, err);
  if (status == KIN_OK) status = check_map(w, map, err);
  json_decref(index);
  return status;
}

static kin_status open_single(kin_weights *w, kin_error *err) {
  kin_status status = add_shard(w, w->path, err);
  return status == KIN_OK ? collect(w, err) : status;
}

static bool dir_has(const char *dir, const char *name) {
  char *path = kin_format("%s/%s", dir, name);
  bool found = path && kin_file_exists(path);
  free(path);
  return found;
}

kin_status kin_weights_open(const char *dir, const char *file, kin_weights **out, kin_error *err) {
  bool sharded = false;
  if (!file) {
    file = "model.safetensors";
    sharded = !dir_has(dir, file) && dir_has(dir, INDEX_NAME);
    if (!sharded && !dir_has(dir, file))
      return kin_fail(err, KIN_ERR_IO, "%s: neither model.safetensors nor " INDEX_NAME " is there%s", dir,
                      dir_has(dir, "pytorch_model.bin") ? "; pytorch_model.bin isn't read: save it as safetensors"
                                                        : "");
  }
  kin_weights *w = calloc(1, sizeof *w);
  if (!w) return out_of_memory(dir, err);
  w->path = kin_format("%s/%s", dir, sharded ? INDEX_NAME : file);
  kin_status status;
  if (!w->path)
    status = out_of_memory(dir, err);
  else
    status = sharded ? open_index(w, dir, err) : open_single(w, err);
  if (status != KIN_OK) {
    kin_weights_close(w);
    return status;
  }
  *out = w;
  return KIN_OK;
}

void kin_weights_close(kin_weights *w) {
  if (!w) return;
  for (size_t i = 0; i < w->n_shards; i++) kin_shard_close(&w->shards[i]);
  free(w->shards);
  free(w->tensors);
  free(w->path);
  free(w);
}

const char *kin_weights_metadata(const kin_weights *w, const char *key) {
  return json_string_value(json_object_get(json_object_get(w->shards[0].header, "__metadata__"), key));
}

size_t kin_weights_count(const kin_weights *w) {
  return w->count;
}

const kin_tensor *kin_weights_at(const kin_weights *w, size_t i) {
  return &w->tensors[i];
}

const kin_tensor *kin_weights_find(const kin_weights *w, const char *name) {
  kin_tensor key = {.name = name};
  return bsearch(&key, w->tensors, w->count, sizeof key, by_name);
}

/* "[2, 3]"; a 0 is "any" where `expected`. */
static const char *shape_text(size_t rank, const size_t *shape, bool expected, char text[256]) {
  int at = snprintf(text, 256, "[");
  for (size_t i = 0; i < rank && at < 220; i++) {
    const char *comma = i ? ", " : "";
    if (expected && shape[i] == 0)
      at += snprintf(text + at, 256 - (size_t)at, "%sany", comma);
    else
      at += snprintf(text + at, 256 - (size_t)at, "%s%zu", comma, shape[i]);
  }
  snprintf(text + at, 256 - (size_t)at, "]");
  return text;
}

static kin_status check_shape(const kin_tensor *t, size_t rank, const size_t *shape, kin_error *err) {
  bool same = t->rank == rank;
  for (size_t i = 0; same && i < rank; i++) same = shape[i] == 0 || shape[i] == t->shape[i];
  if (same) return KIN_OK;
  char found[256], wanted[256];
  return kin_fail(err, KIN_ERR_FORMAT, "%s: tensor \"%s\" has shape %s, expected %s", t->file, t->name,
                  shape_text(t->rank, t->shape, false, found), shape_text(rank, shape, true, wanted));
}

/* NaN and infinity have an exponent of all ones; on integers the loop vectorises. */
static bool all_finite(const float *values, size_t n) {
  uint32_t worst = 0;
  for (size_t i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, &values[i], sizeof bits);
    bits &= 0x7f800000u;
    worst = bits > worst ? bits : worst;
  }
  return worst < 0x7f800000u;
}

enum { PIECE = 4096 };

/* Convert in pieces that stay in the cache between conversion and check. `dst` NULL: check alone. */
static kin_status convert_checked(const kin_tensor *t, float *dst, kin_error *err) {
  size_t element_size = t->elements ? t->bytes / t->elements : 0;
  float scratch[PIECE];
  for (size_t at = 0; at < t->elements; at += PIECE) {
    kin_tensor piece = *t;
    piece.elements = t->elements - at < PIECE ? t->elements - at : PIECE;
    piece.data = (const uint8_t *)t->data + at * element_size;
    piece.bytes = piece.elements * element_size;
    float *to = dst ? dst + at : scratch;
    kin_tensor_to_float(&piece, to);
    if (all_finite(to, piece.elements)) continue;
    size_t i = 0;
    while (all_finite(to + i, 1)) i++;
    return kin_fail(err, KIN_ERR_FORMAT, "%s: tensor \"%s\": element %zu is %s; the weights are damaged", t->file,
                    t->name, at + i, to[i] != to[i] ? "not a number (NaN)" : "infinite");
  }
  return KIN_OK;
}

/* The tensor, whose dtype and shape are as wanted. */
static kin_status find_checked(const kin_weights *w, const char *name, size_t rank, const size_t *shape,
                               const kin_tensor **out, kin_error *err) {
  const kin_tensor *t = *out = kin_weights_find(w, name);
  if (!t) return kin_fail(err, KIN_ERR_FORMAT, "%s: tensor \"%s\" is missing", w->path, name);
  if (t->dtype == KIN_DTYPE_OTHER)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: tensor \"%s\" has dtype %s, expected F32, F16 or BF16", t->file, t->name,
                    t->dtype_name);
  return check_shape(t, rank, shape, err);
}

kin_status kin_weights_check(const kin_weights *w, const char *name, size_t rank, const size_t *shape, bool values,
                             const kin_tensor **out, kin_error *err) {
  kin_status status = find_checked(w, name, rank, shape, out, err);
  return status == KIN_OK && values ? convert_checked(*out, NULL, err) : status;
}

kin_status kin_weights_load(const kin_weights *w, const char *name, size_t rank, const size_t *shape, float **out,
                            kin_error *err) {
  const kin_tensor *t;
  kin_status status = find_checked(w, name, rank, shape, &t, err);
  if (status != KIN_OK) return status;
  float *values =
      t->elements > SIZE_MAX / sizeof(float) ? NULL : kin_alloc_aligned((t->elements + !t->elements) * sizeof(float));
  if (!values)
    return kin_fail(err, KIN_ERR_MEMORY, "%s: tensor \"%s\": out of memory for %zu elements", t->file, t->name,
                    t->elements);
  status = convert_checked(t, values, err);
  if (status != KIN_OK) {
    kin_free_aligned(values);
    return status;
  }
  *out = values;
  return KIN_OK;
}

void kin_weights_drop(const kin_weights *w) {
  for (size_t i = 0; i < w->n_shards; i++) kin_map_drop(&w->shards[i].map);
}

/* Counts go in as 8 little-endian bytes, so that the hash is the same everywhere. */
static void hash_size(kin_sha256 *h, size_t value) {
  uint8_t bytes[8];
  for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)value >> (8 * i));
  kin_sha256_update(h, bytes, sizeof bytes);
}

void kin_weights_hash(const kin_weights *w, kin_sha256 *h) {
  for (size_t i = 0; i < w->count; i++) {
    const kin_tensor *t = &w->tensors[i];
    kin_sha256_update(h, t->name, strlen(t->name) + 1);
    kin_sha256_update(h, t->dtype_name, strlen(t->dtype_name) + 1);
    hash_size(h, t->rank);
    for (size_t k = 0; k < t->rank; k++) hash_size(h, t->shape[k]);
    kin_sha256_update(h, t->data, t->bytes);
  }
}
