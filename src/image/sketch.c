/* Making a sketch of a picture. */
#include "image/sketch.h"

#include <stdlib.h>

/* Thinner pictures are taken to be so wide. */
enum { LEAST_SIDE = 8 };

static uint32_t shrunk(uint32_t side, uint32_t longer) {
  const uint32_t out = (uint32_t)(((uint64_t)side * KIN_SKETCH_SIDE + longer / 2) / longer);
  return out < LEAST_SIDE ? LEAST_SIDE : out;
}

static kin_status fill(const kin_image *grey, kin_sketch *out, kin_error *err) {
  const uint32_t longer = grey->width > grey->height ? grey->width : grey->height;
  out->width = grey->width, out->height = grey->height;
  out->columns = shrunk(grey->width, longer), out->rows = shrunk(grey->height, longer);
  kin_image small;
  kin_status status = kin_image_phash(grey, &out->hash, err);
  if (status == KIN_OK) status = kin_image_resize(grey, out->columns, out->rows, KIN_FILTER_BILINEAR, &small, err);
  if (status != KIN_OK) return status;
  const size_t n = (size_t)out->columns * out->rows;
  out->grey = malloc(n);
  for (size_t i = 0; out->grey && i < n; i++) out->grey[i] = small.rgb[i * 3];
  kin_image_free(&small);
  return out->grey ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "out of memory for a sketch");
}

kin_status kin_sketch_read(const char *path, kin_sketch *out, kin_error *err) {
  *out = (kin_sketch){0};
  kin_image image;
  kin_status status = kin_image_decode_file(path, 0, &image, err);
  if (status != KIN_OK) return status;
  kin_image_make_grey(&image);
  status = fill(&image, out, err);
  kin_image_free(&image);
  return status;
}

void kin_sketch_free(kin_sketch *sketch) {
  free(sketch->grey);
  sketch->grey = NULL;
}
