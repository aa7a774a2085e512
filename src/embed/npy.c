/* Reading a .npy file of vectors. */
#include "embed/npy.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct npy_header {
  char type; /* 'f' with `bytes` 2, 4 or 8 */
  size_t bytes, rows, columns;
  bool columns_first;
  const uint8_t *data;
} npy_header;

struct kin_npy {
  kin_map map;
  npy_header header;
};

static kin_status damaged(const char *path, const char *what, kin_error *err) {
  return kin_fail(err, KIN_ERR_FORMAT, "%s: isn't a readable .npy file: %s", path, what);
}

/* The text behind 'key': in the header, or NULL. */
static const char *value_of(const char *text, const char *key) {
  const char *at = strstr(text, key);
  if (!at) return NULL;
  at += strlen(key);
  while (*at == ' ' || *at == ':') at++;
  return at;
}

static kin_status read_type(const char *path, const char *at, npy_header *h, kin_error *err) {
  if (at && (*at == '\'' || *at == '"')) at++;
  if (!at || (at[0] != '<' && at[0] != '=') || at[1] != 'f' || !at[2] || !strchr("248", at[2]) ||
      isalnum((unsigned char)at[3]))
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: holds no little-endian floats; save it with x.astype('<f4')", path);
  h->type = 'f', h->bytes = (size_t)(at[2] - '0');
  return KIN_OK;
}

static kin_status read_shape(const char *path, const char *at, npy_header *h, kin_error *err) {
  unsigned long long rows = 0, columns = 0;
  int used = 0;
  if (!at || sscanf(at, "(%llu , %llu %n", &rows, &columns, &used) != 2 || at[used] != ')')
    return kin_fail(err, KIN_ERR_FORMAT, "%s: its shape isn't (vectors, floats)", path);
  h->rows = (size_t)rows, h->columns = (size_t)columns;
  if (rows == 0 || columns == 0) return kin_fail(err, KIN_ERR_FORMAT, "%s: holds no vectors", path);
  return KIN_OK;
}

static kin_status read_header(const char *path, const kin_map *map, npy_header *h, kin_error *err) {
  if (map->size < 12 || memcmp(map->data, "\x93NUMPY", 6) != 0) return damaged(path, "it doesn't begin like one", err);
  const bool long_size = map->data[6] > 1;
  const size_t start = long_size ? 12 : 10;
  size_t size = map->data[8] | (size_t)map->data[9] << 8;
  if (long_size) size |= (size_t)map->data[10] << 16 | (size_t)map->data[11] << 24;
  if (size > map->size - start) return damaged(path, "its header is cut off", err);
  char *text = kin_format("%.*s", (int)(size > 65535 ? 65535 : size), (const char *)map->data + start);
  if (!text) return kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", path);
  const char *order = value_of(text, "'fortran_order'");
  h->columns_first = order && strncmp(order, "True", 4) == 0;
  kin_status status = read_type(path, value_of(text, "'descr'"), h, err);
  if (status == KIN_OK) status = read_shape(path, value_of(text, "'shape'"), h, err);
  free(text);
  if (status != KIN_OK) return status;
  h->data = map->data + start + size;
  size_t values, bytes;
  if (__builtin_mul_overflow(h->rows, h->columns, &values) || __builtin_mul_overflow(values, h->bytes, &bytes) ||
      bytes > map->size - start - size)
    return damaged(path, "it ends before its last vector", err);
  return KIN_OK;
}

static float from_half(uint16_t half) {
  const int exponent = half >> 10 & 31, fraction = half & 1023;
  float value = exponent == 31  ? (fraction ? NAN : INFINITY)
                : exponent == 0 ? ldexpf((float)fraction, -24)
                                : ldexpf((float)(fraction + 1024), exponent - 25);
  return half >> 15 ? -value : value;
}

static float value_at(const npy_header *h, size_t i) {
  uint16_t half;
  float single;
  double wide;
  switch (h->bytes) {
  case 2:
    memcpy(&half, h->data + 2 * i, 2);
    return from_half(half);
  case 4:
    memcpy(&single, h->data + 4 * i, 4);
    return single;
  default:
    memcpy(&wide, h->data + 8 * i, 8);
    return (float)wide;
  }
}

kin_status kin_npy_open(const char *path, kin_npy **out, kin_error *err) {
  *out = NULL;
  kin_npy *npy = calloc(1, sizeof *npy);
  if (!npy) return kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", path);
  kin_status status = kin_map_open(path, &npy->map, err);
  if (status == KIN_OK) status = read_header(path, &npy->map, &npy->header, err);
  if (status == KIN_OK)
    *out = npy;
  else
    kin_npy_close(npy);
  return status;
}

void kin_npy_close(kin_npy *npy) {
  if (npy) kin_map_close(&npy->map);
  free(npy);
}

size_t kin_npy_rows(const kin_npy *npy) {
  return npy->header.rows;
}

size_t kin_npy_dim(const kin_npy *npy) {
  return npy->header.columns;
}

void kin_npy_get(const kin_npy *npy, size_t row, float *out) {
  const npy_header *h = &npy->header;
  for (size_t j = 0; j < h->columns; j++)
    out[j] = value_at(h, h->columns_first ? j * h->rows + row : row * h->columns + j);
}

kin_status kin_npy_read(const char *path, float **out, size_t *n, size_t *dim, kin_error *err) {
  kin_npy *npy;
  *out = NULL;
  kin_status status = kin_npy_open(path, &npy, err);
  if (status != KIN_OK) return status;
  const size_t rows = kin_npy_rows(npy), columns = kin_npy_dim(npy);
  float *values = kin_array(rows * columns, sizeof *values);
  if (!values)
    status = kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for %zu vectors of %zu floats", path, rows, columns);
  for (size_t i = 0; values && i < rows; i++) kin_npy_get(npy, i, values + i * columns);
  if (values) *out = values, *n = rows, *dim = columns;
  kin_npy_close(npy);
  return status;
}
