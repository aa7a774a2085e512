/* Reading reference vectors and comparing with them. */
#include "refs.h"

#include "base/json.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static float *load_floats(const char *model, const char *kind, size_t n) {
  char *relative = kin_format("tests/data/refs/%s.%s.f32", model, kind), *path = test_source_path(relative), *data;
  size_t size;
  kin_error err;
  test_assert_ok(kin_read_file(path, 1u << 24, &data, &size, &err), &err);
  assert_int_equal(size, n * sizeof(float));
  free(path), free(relative);
  return (float *)(void *)data;
}

static void load_ids(refs *r, const json_t *ids) {
  r->ids = calloc(r->n_texts, sizeof *r->ids);
  r->lengths = calloc(r->n_texts, sizeof *r->lengths);
  assert_true(r->ids != NULL && r->lengths != NULL);
  for (size_t i = 0; i < r->n_texts; i++) {
    const json_t *row = json_array_get(ids, i);
    r->lengths[i] = json_array_size(row);
    r->ids[i] = calloc(r->lengths[i], sizeof(int32_t));
    assert_non_null(r->ids[i]);
    for (size_t k = 0; k < r->lengths[i]; k++) r->ids[i][k] = (int32_t)json_integer_value(json_array_get(row, k));
  }
}

void refs_open(const char *model, refs *out) {
  kin_error err;
  json_t *json;
  char *relative = kin_format("tests/data/refs/%s.json", model), *path = test_source_path(relative);
  test_assert_ok(kin_json_load(path, 1u << 24, &json, &err), &err);
  const json_t *images = json_object_get(json, "images"), *texts = json_object_get(json, "texts");
  *out = (refs){.json = json,
                .dim = (size_t)json_integer_value(json_object_get(json, "dim")),
                .n_images = json_array_size(images),
                .n_texts = json_array_size(texts),
                .weights = json_string_value(json_object_get(json, "weights")),
                .weights_sha256 = json_string_value(json_object_get(json, "weights_sha256"))};
  out->images = calloc(out->n_images + 1, sizeof *out->images);
  out->texts = calloc(out->n_texts + 1, sizeof *out->texts);
  assert_true(out->images != NULL && out->texts != NULL);
  for (size_t i = 0; i < out->n_images; i++) {
    char *name = kin_format("tests/data/photos/%s", json_string_value(json_array_get(images, i)));
    out->images[i].path = test_source_path(name);
    free(name);
  }
  for (size_t i = 0; i < out->n_texts; i++) out->texts[i] = json_string_value(json_array_get(texts, i));
  if (out->n_images > 0) out->image_vectors = load_floats(model, "images", out->n_images * out->dim);
  if (json_is_true(json_object_get(json, "mean")))
    out->mean_vectors = load_floats(model, "mean", out->n_images * out->dim);
  if (out->n_texts > 0) {
    out->text_vectors = load_floats(model, "texts", out->n_texts * out->dim);
    load_ids(out, json_object_get(json, "ids"));
  }
  free(path), free(relative);
}

void refs_close(refs *r) {
  for (size_t i = 0; i < r->n_images; i++) free((char *)r->images[i].path);
  for (size_t i = 0; i < r->n_texts; i++) free(r->ids[i]);
  free(r->images), free(r->texts), free(r->ids), free(r->lengths), free(r->image_vectors), free(r->text_vectors);
  free(r->mean_vectors);
  json_decref(r->json);
}

static double dot(const float *a, const float *b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
  return sum;
}

static double cosine(const float *a, const float *b, size_t n) {
  return dot(a, b, n) / sqrt(dot(a, a, n) * dot(b, b, n));
}

double refs_assert_near(const float *ours, const float *reference, size_t dim, const char *what) {
  double difference = 0;
  for (size_t i = 0; i < dim; i++) difference += pow((double)ours[i] - (double)reference[i], 2);
  const double error = sqrt(difference / dot(reference, reference, dim)), likeness = cosine(ours, reference, dim);
  /* Written so that a NaN fails. */
  if (!(error <= 1e-4) || !(likeness >= 0.99999))
    fail_msg("%s: relative error %.3g, cosine %.7f", what, error, likeness);
  return error;
}

void refs_spread(const float *rows, size_t n, size_t dim, double *least, double *most) {
  *least = 1, *most = -1;
  for (size_t i = 0; i < n; i++)
    for (size_t j = i + 1; j < n; j++) {
      const double c = cosine(rows + i * dim, rows + j * dim, dim);
      *least = fmin(*least, c), *most = fmax(*most, c);
    }
}

float *refs_embed(kin_model *model, const refs *r, bool texts, size_t batch) {
  kin_error err;
  size_t n = texts ? r->n_texts : r->n_images;
  float *out = calloc(n * r->dim + 1, sizeof *out);
  assert_non_null(out);
  for (size_t i = 0; i < n; i += batch) {
    size_t count = n - i < batch ? n - i : batch;
    const kin_embed_options options = {.batch = batch};
    test_assert_ok(texts ? kin_embed_texts(model, r->texts + i, count, &options, out + i * r->dim, &err)
                         : kin_embed_images(model, r->images + i, count, &options, out + i * r->dim, &err),
                   &err);
  }
  return out;
}

double refs_least_cosine(const float *ours, const float *reference, size_t n, size_t dim) {
  double least = 1;
  for (size_t i = 0; i < n; i++) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t j = 0; j < dim; j++) {
      double a = (double)ours[i * dim + j], b = (double)reference[i * dim + j];
      ab += a * b, aa += a * a, bb += b * b;
    }
    double cosine = ab / sqrt(aa * bb);
    if (!(cosine >= least)) least = cosine; /* also when it is none */
  }
  print_message("  %zu inputs, cosine at least %.6f\n", n, least);
  return least;
}
