/* pHash: which of the lowest 8 x 8 cosine terms of a 32 x 32 grey picture are above their median. Computed as Python's
 * imagehash.phash does, over Pillow's conversion to grey and its Lanczos filter. */
#include "image/sketch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 32, TERMS = 8 };

/* Less than that is nothing but rounding: of a picture without any change across, say. */
static const double rounding = 1e-8;

void kin_image_make_grey(kin_image *image) {
  const size_t n = (size_t)image->width * image->height;
  for (size_t i = 0; i < n; i++) {
    uint8_t *pixel = image->rgb + i * 3;
    const uint32_t sum = pixel[0] * 19595u + pixel[1] * 38470u + pixel[2] * 7471u + 0x8000u;
    pixel[0] = pixel[1] = pixel[2] = (uint8_t)(sum >> 16);
  }
}

/* out[k * SIDE + i]: the type 2 cosine transform's factors. */
static void make_cosines(double *out) {
  for (size_t k = 0; k < TERMS; k++)
    for (size_t i = 0; i < SIDE; i++)
      out[k * SIDE + i] = 2 * cos(3.14159265358979323846 * (double)(k * (2 * i + 1)) / (2 * SIDE));
}

/* The lowest terms of pixels[SIDE][SIDE][3], all channels the same. */
static void transform(const uint8_t *pixels, double terms[TERMS * TERMS]) {
  double cosines[TERMS * SIDE], columns[TERMS * SIDE];
  make_cosines(cosines);
  for (size_t v = 0; v < TERMS; v++)
    for (size_t x = 0; x < SIDE; x++) {
      double sum = 0;
      for (size_t y = 0; y < SIDE; y++) sum += cosines[v * SIDE + y] * pixels[(y * SIDE + x) * 3];
      columns[v * SIDE + x] = sum;
    }
  for (size_t v = 0; v < TERMS; v++)
    for (size_t u = 0; u < TERMS; u++) {
      double sum = 0;
      for (size_t x = 0; x < SIDE; x++) sum += cosines[u * SIDE + x] * columns[v * SIDE + x];
      terms[v * TERMS + u] = fabs(sum) < rounding ? 0 : sum;
    }
}

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

kin_status kin_image_phash(const kin_image *grey, uint64_t *out, kin_error *err) {
  kin_image small;
  kin_status status = kin_image_resize(grey, SIDE, SIDE, KIN_FILTER_LANCZOS, &small, err);
  if (status != KIN_OK) return status;
  double terms[TERMS * TERMS], sorted[TERMS * TERMS];
  transform(small.rgb, terms);
  kin_image_free(&small);
  memcpy(sorted, terms, sizeof sorted);
  qsort(sorted, TERMS * TERMS, sizeof *sorted, by_value);
  const double median = (sorted[TERMS * TERMS / 2 - 1] + sorted[TERMS * TERMS / 2]) / 2;
  *out = 0;
  for (size_t i = 0; i < TERMS * TERMS; i++) *out = *out << 1 | (terms[i] > median);
  return KIN_OK;
}

static kin_status load(const kin_image_source *source, kin_image *out, kin_error *err) {
  if (source->path) return kin_image_decode_file(source->path, 0, out, err);
  if (source->data) return kin_image_decode(source->data, source->data_size, "picture", 0, out, err);
  if (!source->rgb || !source->width || !source->height)
    return kin_fail(err, KIN_ERR_ARGUMENT, "a picture needs a path, data or pixels");
  const size_t row = (size_t)source->width * 3;
  *out = (kin_image){source->width, source->height, kin_array(source->height, row)};
  if (!out->rgb)
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %u x %u pixels", source->width, source->height);
  memcpy(out->rgb, source->rgb, source->height * row);
  return KIN_OK;
}

kin_status kin_perceptual_hash(const kin_image_source *source, uint64_t *out, kin_error *err) {
  if (!source || !out) return kin_fail(err, KIN_ERR_ARGUMENT, "a hash needs a picture and room");
  kin_image image;
  kin_status status = load(source, &image, err);
  if (status != KIN_OK) return status;
  kin_image_make_grey(&image);
  status = kin_image_phash(&image, out, err);
  kin_image_free(&image);
  return status;
}
