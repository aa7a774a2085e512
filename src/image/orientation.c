/* EXIF orientation: found in the containers' metadata, and applied. */
#include "image/codec.h"
#include "image/exif.h"

#include <stdlib.h>
#include <string.h>

#define TAG_ORIENTATION 0x0112

/* The orientation in a TIFF structure's first directory; 0 if it has none. */
static unsigned exif_orientation(kin_span exif) {
  kin_tiff tiff;
  kin_tiff_value value;
  if (!kin_tiff_open(exif, &tiff) || !kin_tiff_find(&tiff, tiff.first, TAG_ORIENTATION, &value)) return 0;
  return kin_tiff_integer(&tiff, &value);
}

/* The digit in tiff:Orientation="6" or <tiff:Orientation>6; 0 if there is none. */
static unsigned xmp_orientation(kin_span xmp) {
  static const char key[] = "tiff:Orientation";
  const size_t n = sizeof key - 1;
  while (xmp.size > n + 2) {
    const uint8_t *hit = memmem(xmp.data, xmp.size, key, n);
    if (!hit) return 0;
    xmp = kin_span_drop(xmp, (size_t)(hit - xmp.data) + n);
    size_t skip = kin_span_starts(xmp, "=\"", 2) ? 2 : kin_span_starts(xmp, ">", 1) ? 1 : 0;
    if (skip && xmp.size > skip && xmp.data[skip] >= '0' && xmp.data[skip] <= '9') return xmp.data[skip] - '0';
  }
  return 0;
}

/* EXIF first; XMP only where EXIF is silent, as Pillow does. */
static unsigned settle(kin_blocks blocks) {
  unsigned orientation = exif_orientation(blocks.exif);
  if (!orientation) orientation = xmp_orientation(blocks.xmp);
  return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

unsigned kin_jpeg_orientation(const uint8_t *data, size_t size) {
  return settle(kin_jpeg_blocks(data, size));
}

unsigned kin_png_orientation(const uint8_t *data, size_t size) {
  return settle(kin_png_blocks(data, size));
}

unsigned kin_webp_orientation(const uint8_t *data, size_t size) {
  return settle(kin_webp_blocks(data, size));
}

/* Pixels of a square tile: source and target of one fit the first-level cache. */
#define TILE 32

static size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}

kin_status kin_image_orient(kin_image *image, unsigned orientation, kin_error *err) {
  if (orientation < 2 || orientation > 8) return KIN_OK;
  const size_t width = image->width, height = image->height;
  /* 5 to 8 exchange the axes. In the stored picture the upright one's rows run along y then. */
  const bool swap = orientation >= 5;
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  uint8_t *upright = kin_array(width, height * 3);
  if (!upright) return kin_fail(err, KIN_ERR_MEMORY, "out of memory to turn a picture of %zu x %zu", width, height);
  const size_t out_width = swap ? height : width, out_height = swap ? width : height;
  for (size_t y0 = 0; y0 < out_height; y0 += TILE)
    for (size_t x0 = 0; x0 < out_width; x0 += TILE)
      for (size_t y = y0; y < smaller(y0 + TILE, out_height); y++)
        for (size_t x = x0; x < smaller(x0 + TILE, out_width); x++) {
          size_t from_x = swap ? y : x, from_y = swap ? x : y;
          if (flip_x) from_x = width - 1 - from_x;
          if (flip_y) from_y = height - 1 - from_y;
          memcpy(upright + (y * out_width + x) * 3, image->rgb + (from_y * width + from_x) * 3, 3);
        }
  free(image->rgb);
  *image = (kin_image){(uint32_t)out_width, (uint32_t)out_height, upright};
  return KIN_OK;
}
