/* Reading a tower's parameters out of safetensors. */
#include "model/loader.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAME_MAX_BYTES = 256, SUFFIX_BYTES = 256, MAX_PARTS = 8 };

static void load_named(kin_loader *l, size_t rank, const size_t *shape, float **out, const char *name) {
  if (l->status != KIN_OK) return;
  l->status = kin_weights_load(l->weights, name, rank, shape, out, l->err);
  if (l->status == KIN_OK) l->parameters += kin_weights_find(l->weights, name)->elements;
}

#define FORMAT_NAME(buffer, name)               \
  char buffer[NAME_MAX_BYTES];                  \
  va_list args;                                 \
  va_start(args, name);                         \
  vsnprintf(buffer, sizeof buffer, name, args); \
  va_end(args)

void kin_load_floats(kin_loader *l, size_t rank, const size_t *shape, float **out, const char *name, ...) {
  FORMAT_NAME(full, name);
  uint64_t before = l->parameters;
  load_named(l, rank, shape, out, full);
  l->bytes += (l->parameters - before) * sizeof(float);
}

void kin_load_table(kin_loader *l, size_t rows, size_t width, kin_table *out, const char *name) {
  if (l->status != KIN_OK && l->status != KIN_LOAD_NOTHING) return;
  const kin_tensor *t;
  bool values = l->status == KIN_OK;
  kin_status status = kin_weights_check(l->weights, name, 2, (const size_t[]){rows, width}, values, &t, l->err);
  if (status != KIN_OK) {
    l->status = status;
    return;
  }
  *out = (kin_table){*t, width};
  if (values) l->parameters += t->elements;
}

const float *kin_table_row(const kin_table *table, size_t row, float *buffer) {
  kin_tensor t = table->tensor;
  t.bytes = t.bytes / t.elements * table->width;
  t.elements = table->width;
  const uint8_t *data = (const uint8_t *)t.data + row * t.bytes;
  if (t.dtype == KIN_F32 && (uintptr_t)data % _Alignof(float) == 0) return (const float *)(const void *)data;
  t.data = data;
  kin_tensor_to_float(&t, buffer);
  return buffer;
}

void kin_load_norm(kin_loader *l, size_t n, double eps, kin_norm *out, const char *name, ...) {
  FORMAT_NAME(full, name);
  out->eps = (float)eps;
  kin_load_floats(l, 1, &n, &out->weight, "%s.weight", full);
  kin_load_floats(l, 1, &n, &out->bias, "%s.bias", full);
}

static void pack(kin_loader *l, const float *const *parts, size_t count, size_t n, size_t k, bool bf16,
                 kin_linear *out) {
  size_t sizes[MAX_PARTS];
  for (size_t i = 0; i < count; i++) sizes[i] = n;
  if (l->status == KIN_OK) l->status = kin_pack(parts, sizes, count, k, &out->w, l->err);
  if (l->status == KIN_OK && bf16) l->status = kin_pack_to_bf16(&out->w, l->err);
  if (l->status == KIN_OK) l->bytes += kin_packed_bytes(&out->w);
}

void kin_load_fused(kin_loader *l, size_t count, size_t n, size_t k, bool bias, const char *prefix,
                    const char *const *parts, kin_linear *out) {
  float *weights[MAX_PARTS] = {0};
  char name[NAME_MAX_BYTES + SUFFIX_BYTES];
  for (size_t i = 0; i < count; i++) {
    snprintf(name, sizeof name, "%s%s.weight", prefix, parts[i]);
    load_named(l, 2, (const size_t[]){n, k}, &weights[i], name);
  }
  pack(l, (const float *const *)weights, count, n, k, l->bf16, out);
  for (size_t i = 0; i < count; i++) kin_free_aligned(weights[i]);
  if (!bias || l->status != KIN_OK) return;
  out->bias = kin_alloc_aligned(count * n * sizeof *out->bias);
  if (!out->bias) {
    l->status = kin_fail(l->err, KIN_ERR_MEMORY, "no memory for %s", prefix);
    return;
  }
  for (size_t i = 0; i < count; i++) {
    float *part = NULL;
    snprintf(name, sizeof name, "%s%s.bias", prefix, parts[i]);
    load_named(l, 1, &n, &part, name);
    if (l->status == KIN_OK) memcpy(out->bias + i * n, part, n * sizeof *part);
    kin_free_aligned(part);
  }
  l->bytes += count * n * sizeof *out->bias;
}

void kin_load_linear(kin_loader *l, size_t n, size_t k, bool bias, kin_linear *out, const char *name, ...) {
  FORMAT_NAME(full, name);
  kin_load_fused(l, 1, n, k, bias, full, (const char *const[]){""}, out);
}

void kin_load_matrix(kin_loader *l, size_t rank, const size_t *shape, size_t n, size_t k, kin_linear *out,
                     const char *name, ...) {
  FORMAT_NAME(full, name);
  float *weights = NULL;
  load_named(l, rank, shape, &weights, full);
  pack(l, (const float *const[]){weights}, 1, n, k, l->bf16, out);
  kin_free_aligned(weights);
}

void kin_load_transposed(kin_loader *l, size_t n, size_t k, kin_linear *out, const char *name, ...) {
  FORMAT_NAME(full, name);
  float *weights = NULL, *rows = l->status == KIN_OK ? kin_alloc_aligned(n * k * sizeof *rows) : NULL;
  if (l->status == KIN_OK && !rows) l->status = kin_fail(l->err, KIN_ERR_MEMORY, "no memory for %s", full);
  load_named(l, 2, (const size_t[]){k, n}, &weights, full);
  for (size_t i = 0; l->status == KIN_OK && i < n; i++)
    for (size_t j = 0; j < k; j++) rows[i * k + j] = weights[j * n + i];
  pack(l, (const float *const[]){rows}, 1, n, k, l->bf16, out);
  kin_free_aligned(weights), kin_free_aligned(rows);
}

void kin_load_packed(kin_loader *l, size_t n, size_t k, const float *weights, float *bias, kin_linear *out) {
  pack(l, &weights, 1, n, k, false, out);
  out->bias = bias;
  if (bias) l->bytes += n * sizeof *bias;
}

kin_status kin_load_logit_scale(const kin_weights *weights, double *out, kin_error *err) {
  const kin_tensor *t = kin_weights_find(weights, "logit_scale");
  static const size_t one = 1;
  float *value = NULL;
  kin_status status = kin_weights_load(weights, "logit_scale", t ? t->rank == 1 : 0, &one, &value, err);
  if (status == KIN_OK) *out = exp((double)*value);
  kin_free_aligned(value);
  return status;
}

void kin_linear_free(kin_linear *p) {
  kin_packed_free(&p->w);
  kin_free_aligned(p->bias);
  kin_free_aligned(p->multiply), kin_free_aligned(p->add);
  *p = (kin_linear){0};
}
