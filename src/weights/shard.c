/* safetensors: 8 bytes of header length, a JSON header, then the tensors' bytes without gaps. */
#include "weights/shard.h"

#include <stdlib.h>
#include <string.h>

/* The format's own limit for a header. */
#define MAX_HEADER (100u * 1000 * 1000)
/* So that a name fits into a message beside the reason. */
#define MAX_NAME 256

static const struct {
  const char *name;
  kin_dtype dtype;
  size_t size;
} dtypes[] = {
    {"F32", KIN_F32, 4},
    {"F16", KIN_F16, 2},
    {"BF16", KIN_BF16, 2},
    {"F64", KIN_DTYPE_OTHER, 8},
    {"I64", KIN_DTYPE_OTHER, 8},
    {"U64", KIN_DTYPE_OTHER, 8},
    {"I32", KIN_DTYPE_OTHER, 4},
    {"U32", KIN_DTYPE_OTHER, 4},
    {"I16", KIN_DTYPE_OTHER, 2},
    {"U16", KIN_DTYPE_OTHER, 2},
    {"I8", KIN_DTYPE_OTHER, 1},
    {"U8", KIN_DTYPE_OTHER, 1},
    {"BOOL", KIN_DTYPE_OTHER, 1},
    {"C64", KIN_DTYPE_OTHER, 8},
    {"F8_E4M3", KIN_DTYPE_OTHER, 1},
    {"F8_E5M2", KIN_DTYPE_OTHER, 1},
    {"F8_E8M0", KIN_DTYPE_OTHER, 1},
};

static kin_status bad(const kin_tensor *t, kin_error *err, const char *reason) {
  return kin_fail(err, KIN_ERR_FORMAT, "%s: tensor \"%s\": %s", t->file, t->name, reason);
}

static kin_status read_dtype(const json_t *entry, kin_tensor *t, size_t *size, kin_error *err) {
  const json_t *value = json_object_get(entry, "dtype");
  if (!json_is_string(value)) return bad(t, err, "\"dtype\" is missing or isn't a string");
  for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
    if (strcmp(dtypes[i].name, json_string_value(value)) == 0) {
      t->dtype_name = dtypes[i].name;
      t->dtype = dtypes[i].dtype;
      *size = dtypes[i].size;
      return KIN_OK;
    }
  }
  return kin_fail(err, KIN_ERR_FORMAT, "%s: tensor \"%s\": unknown dtype \"%.40s\"", t->file, t->name,
                  json_string_value(value));
}

static bool read_count(const json_t *value, size_t *out) {
  if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
  *out = (size_t)json_integer_value(value);
  return true;
}

/* Rank, shape, and elements; *bytes is what they take at `size` bytes an element. */
static kin_status read_shape(const json_t *entry, kin_tensor *t, size_t size, size_t *bytes, kin_error *err) {
  const json_t *shape = json_object_get(entry, "shape");
  if (!json_is_array(shape)) return bad(t, err, "\"shape\" is missing or isn't an array");
  t->rank = json_array_size(shape);
  if (t->rank > KIN_MAX_RANK)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: tensor \"%s\": %zu dimensions, at most %d are supported", t->file,
                    t->name, t->rank, KIN_MAX_RANK);
  t->elements = 1;
  for (size_t i = 0; i < t->rank; i++) {
    if (!read_count(json_array_get(shape, i), &t->shape[i]))
      return bad(t, err, "\"shape\" holds something that isn't a size");
    if (__builtin_mul_overflow(t->elements, t->shape[i], &t->elements))
      return bad(t, err, "\"shape\" is too large: its product overflows");
  }
  if (__builtin_mul_overflow(t->elements, size, bytes))
    return bad(t, err, "\"shape\" is too large: its size in bytes overflows");
  return KIN_OK;
}

/* Place the tensor in the data area. */
static kin_status read_offsets(const json_t *entry, kin_tensor *t, size_t bytes, const uint8_t *data, size_t data_size,
                               kin_error *err) {
  const json_t *offsets = json_object_get(entry, "data_offsets");
  size_t begin, end;
  if (!json_is_array(offsets) || json_array_size(offsets) != 2 || !read_count(json_array_get(offsets, 0), &begin) ||
      !read_count(json_array_get(offsets, 1), &end))
    return bad(t, err, "\"data_offsets\" must be an array of two offsets");
  if (begin > end) return bad(t, err, "\"data_offsets\" end before they begin");
  if (end > data_size)
    return kin_fail(err, KIN_ERR_FORMAT,
                    "%s: tensor \"%s\": its data ends at byte %zu, but the file holds %zu bytes of data (is the file "
                    "cut short?)",
                    t->file, t->name, end, data_size);
  if (end - begin != bytes)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: tensor \"%s\": shape and dtype %s make %zu bytes, \"data_offsets\" %zu",
                    t->file, t->name, t->dtype_name, bytes, end - begin);
  t->data = data + begin;
  t->bytes = bytes;
  return KIN_OK;
}

static kin_status read_tensor(const char *name, const json_t *entry, const uint8_t *data, size_t data_size,
                              kin_tensor *t, kin_error *err) {
  if (strlen(name) > MAX_NAME)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: a tensor's name is %zu bytes long, at most %d are supported", t->file,
                    strlen(name), MAX_NAME);
  t->name = name;
  if (!json_is_object(entry)) return bad(t, err, "its header entry isn't a JSON object");
  size_t size = 0, bytes = 0;
  kin_status status = read_dtype(entry, t, &size, err);
  if (status == KIN_OK) status = read_shape(entry, t, size, &bytes, err);
  if (status == KIN_OK) status = read_offsets(entry, t, bytes, data, data_size, err);
  return status;
}

static kin_status check_metadata(const char *path, json_t *metadata, kin_error *err) {
  if (!json_is_object(metadata)) return kin_fail(err, KIN_ERR_FORMAT, "%s: \"__metadata__\" isn't a JSON object", path);
  const char *key;
  json_t *value;
  json_object_foreach(metadata, key, value) {
    if (!json_is_string(value))
      return kin_fail(err, KIN_ERR_FORMAT, "%s: \"__metadata__\" may hold only strings, \"%.80s\" isn't one", path,
                      key);
  }
  return KIN_OK;
}

static int by_offset(const void *a, const void *b) {
  const kin_tensor *x = *(const kin_tensor *const *)a, *y = *(const kin_tensor *const *)b;
  const uint8_t *p = x->data, *q = y->data;
  if (p != q) return p < q ? -1 : 1;
  return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* The tensors must tile the data area: no overlap, no hole, nothing behind the last. */
static kin_status check_tiling(const kin_shard *shard, const uint8_t *data, size_t data_size, kin_error *err) {
  const kin_tensor **order = kin_array(shard->count + 1, sizeof *order);
  if (!order) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", shard->path);
  for (size_t i = 0; i < shard->count; i++) order[i] = &shard->tensors[i];
  qsort(order, shard->count, sizeof *order, by_offset);
  kin_status status = KIN_OK;
  const uint8_t *expected = data;
  for (size_t i = 0; i < shard->count && status == KIN_OK; i++) {
    const uint8_t *begin = order[i]->data;
    if (begin < expected)
      status = kin_fail(err, KIN_ERR_FORMAT, "%s: tensor \"%s\": its data overlaps that of \"%s\"", shard->path,
                        order[i]->name, order[i - 1]->name);
    else if (begin > expected)
      status = kin_fail(err, KIN_ERR_FORMAT, "%s: tensor \"%s\": a hole of %zu bytes before its data", shard->path,
                        order[i]->name, (size_t)(begin - expected));
    expected = begin + order[i]->bytes;
  }
  if (status == KIN_OK && expected != data + data_size)
    status = kin_fail(err, KIN_ERR_FORMAT, "%s: %zu bytes after the last tensor belong to none", shard->path,
                      data_size - (size_t)(expected - data));
  free(order);
  return status;
}

/* The header's JSON text, inside the mapping. */
static kin_status find_header(const kin_shard *shard, const char **text, size_t *size, kin_error *err) {
  static const char lfs[] = "version https://git-lfs";
  const uint8_t *p = shard->map.data;
  if (shard->map.size >= sizeof lfs - 1 && memcmp(p, lfs, sizeof lfs - 1) == 0)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: a git-lfs pointer, not the file itself: fetch it with \"git lfs pull\"",
                    shard->path);
  if (shard->map.size < 8)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: not safetensors: %zu bytes, too short for a header", shard->path,
                    shard->map.size);
  uint64_t length = 0;
  for (int i = 7; i >= 0; i--) length = length << 8 | p[i];
  if (length > shard->map.size - 8)
    return kin_fail(err, KIN_ERR_FORMAT,
                    "%s: not safetensors, or cut short: its header length is %llu, but the file has %zu bytes",
                    shard->path, (unsigned long long)length, shard->map.size);
  if (length > MAX_HEADER)
    return kin_fail(err, KIN_ERR_LIMIT, "%s: header length %llu is over the limit of %u bytes", shard->path,
                    (unsigned long long)length, MAX_HEADER);
  if (length == 0 || p[8] != '{')
    return kin_fail(err, KIN_ERR_FORMAT, "%s: not safetensors: the header doesn't begin with '{'", shard->path);
  *text = (const char *)p + 8;
  *size = (size_t)length;
  return KIN_OK;
}

static kin_status read_header(kin_shard *shard, kin_error *err) {
  const char *text = NULL, *name;
  size_t size = 0;
  kin_status status = find_header(shard, &text, &size, err);
  if (status == KIN_OK) status = kin_json_parse(text, size, shard->path, &shard->header, err);
  if (status != KIN_OK) return status;
  const uint8_t *data = shard->map.data + 8 + size;
  size_t data_size = shard->map.size - 8 - size;
  shard->tensors = kin_array(json_object_size(shard->header) + 1, sizeof *shard->tensors);
  if (!shard->tensors) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", shard->path);
  json_t *entry;
  json_object_foreach(shard->header, name, entry) {
    if (strcmp(name, "__metadata__") == 0) {
      status = check_metadata(shard->path, entry, err);
    } else {
      kin_tensor *t = &shard->tensors[shard->count++];
      *t = (kin_tensor){.file = shard->path};
      status = read_tensor(name, entry, data, data_size, t, err);
    }
    if (status != KIN_OK) return status;
  }
  return check_tiling(shard, data, data_size, err);
}

kin_status kin_shard_open(const char *path, kin_shard *out, kin_error *err) {
  *out = (kin_shard){.path = kin_strdup(path)};
  if (!out->path) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", path);
  kin_status status = kin_map_open(path, &out->map, err);
  if (status == KIN_OK) status = read_header(out, err);
  if (status != KIN_OK) {
    kin_shard_close(out);
    *out = (kin_shard){0};
  }
  return status;
}

void kin_shard_close(kin_shard *shard) {
  free(shard->tensors);
  json_decref(shard->header);
  kin_map_close(&shard->map);
  free(shard->path);
}
