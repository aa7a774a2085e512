/* EXIF orientation: found in the containers' metadata by bounds-checked walks, and applied. */
#include "image/codec.h"

#include <stdlib.h>
#include <string.h>

#define TAG_ORIENTATION 0x0112

typedef struct bytes {
  const uint8_t *data;
  size_t size;
} bytes;

static bool starts_with(bytes b, const char *prefix, size_t n) {
  return b.size >= n && memcmp(b.data, prefix, n) == 0;
}

static bytes drop(bytes b, size_t n) {
  return (bytes){b.data + n, b.size - n};
}

/* The orientation in a TIFF structure's first directory; 0 if it has none. */
static unsigned exif_orientation(bytes exif) {
  while (starts_with(exif, "Exif\0\0", 6)) exif = drop(exif, 6);
  if (exif.size < 8) return 0;
  bool big = starts_with(exif, "MM\0*", 4);
  if (!big && !starts_with(exif, "II*\0", 4)) return 0;
  size_t at = big ? kin_be32(exif.data + 4) : kin_le32(exif.data + 4);
  if (at > exif.size - 2) return 0;
  size_t entries = big ? kin_be16(exif.data + at) : kin_le16(exif.data + at);
  at += 2;
  for (size_t i = 0; i < entries && exif.size - at >= 12; i++, at += 12) {
    const uint8_t *entry = exif.data + at;
    if ((big ? kin_be16(entry) : kin_le16(entry)) != TAG_ORIENTATION) continue;
    uint32_t type = big ? kin_be16(entry + 2) : kin_le16(entry + 2);
    uint32_t value = 0;
    if (type == 1) /* BYTE */
      value = entry[8];
    else if (type == 3) /* SHORT, what the standard asks for */
      value = big ? kin_be16(entry + 8) : kin_le16(entry + 8);
    else if (type == 4) /* LONG */
      value = big ? kin_be32(entry + 8) : kin_le32(entry + 8);
    return value;
  }
  return 0;
}

/* The digit in tiff:Orientation="6" or <tiff:Orientation>6; 0 if there is none. */
static unsigned xmp_orientation(bytes xmp) {
  static const char key[] = "tiff:Orientation";
  const size_t n = sizeof key - 1;
  while (xmp.size > n + 2) {
    const uint8_t *hit = memmem(xmp.data, xmp.size, key, n);
    if (!hit) return 0;
    xmp = drop(xmp, (size_t)(hit - xmp.data) + n);
    size_t skip = starts_with(xmp, "=\"", 2) ? 2 : starts_with(xmp, ">", 1) ? 1 : 0;
    if (skip && xmp.size > skip && xmp.data[skip] >= '0' && xmp.data[skip] <= '9') return xmp.data[skip] - '0';
  }
  return 0;
}

/* EXIF first; XMP only where EXIF is silent, as Pillow does. */
static unsigned settle(bytes exif, bytes xmp) {
  unsigned orientation = exif_orientation(exif);
  if (!orientation) orientation = xmp_orientation(xmp);
  return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

unsigned kin_jpeg_orientation(const uint8_t *data, size_t size) {
  static const char xmp_name[] = "http://ns.adobe.com/xap/1.0/";
  bytes exif = {0}, xmp = {0};
  size_t at = 2;
  while (size >= 4 && at <= size - 4) {
    if (data[at] != 0xff) {
      at++;
      continue;
    }
    unsigned marker = data[at + 1];
    if (marker == 0xff || marker == 0x00 || marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8)) {
      at += marker == 0xff ? 1 : 2; /* fill bytes and markers without a length */
      continue;
    }
    if (marker == 0xda || marker == 0xd9) break; /* the picture itself, or the end */
    size_t length = kin_be16(data + at + 2);
    if (length < 2 || length > size - at - 2) break;
    bytes segment = {data + at + 4, length - 2};
    if (marker == 0xe1 && starts_with(segment, "Exif\0\0", 6)) {
      if (!exif.data) exif = segment;
    } else if (marker == 0xe1 && starts_with(segment, xmp_name, sizeof xmp_name)) {
      xmp = drop(segment, sizeof xmp_name);
    }
    at += 2 + length;
  }
  return settle(exif, xmp);
}

unsigned kin_png_orientation(const uint8_t *data, size_t size) {
  static const char xmp_name[] = "XML:com.adobe.xmp";
  bytes exif = {0}, xmp = {0};
  size_t at = 8;
  while (size >= 12 && at <= size - 12) {
    size_t length = kin_be32(data + at);
    if (length > size - at - 12) break;
    bytes chunk = {data + at + 8, length};
    if (memcmp(data + at + 4, "eXIf", 4) == 0) exif = chunk;
    if (memcmp(data + at + 4, "iTXt", 4) == 0 && starts_with(chunk, xmp_name, sizeof xmp_name)) xmp = chunk;
    at += 12 + length;
  }
  return settle(exif, xmp);
}

unsigned kin_webp_orientation(const uint8_t *data, size_t size) {
  bytes exif = {0}, xmp = {0};
  size_t at = 12;
  while (size >= 8 && at <= size - 8) {
    size_t length = kin_le32(data + at + 4);
    if (length > size - at - 8) break;
    bytes chunk = {data + at + 8, length};
    if (memcmp(data + at, "EXIF", 4) == 0 && !exif.data) exif = chunk;
    if (memcmp(data + at, "XMP ", 4) == 0 && !xmp.data) xmp = chunk;
    at += 8 + length + (length & 1);
  }
  return settle(exif, xmp);
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
