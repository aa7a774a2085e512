/* Where containers keep EXIF and XMP, and how a TIFF structure is read: bounds-checked walks. */
#include "image/codec.h"
#include "image/exif.h"

#include <string.h>

/* -------------------------------------------------------------- containers */

kin_blocks kin_jpeg_blocks(const uint8_t *data, size_t size) {
  static const char xmp_name[] = "http://ns.adobe.com/xap/1.0/";
  kin_blocks found = {0};
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
    kin_span segment = {data + at + 4, length - 2};
    if (marker == 0xe1 && kin_span_starts(segment, "Exif\0\0", 6)) {
      if (!found.exif.data) found.exif = segment;
    } else if (marker == 0xe1 && kin_span_starts(segment, xmp_name, sizeof xmp_name)) {
      found.xmp = kin_span_drop(segment, sizeof xmp_name);
    }
    at += 2 + length;
  }
  return found;
}

kin_blocks kin_png_blocks(const uint8_t *data, size_t size) {
  static const char xmp_name[] = "XML:com.adobe.xmp";
  kin_blocks found = {0};
  size_t at = 8;
  while (size >= 12 && at <= size - 12) {
    size_t length = kin_be32(data + at);
    if (length > size - at - 12) break;
    kin_span chunk = {data + at + 8, length};
    if (memcmp(data + at + 4, "eXIf", 4) == 0) found.exif = chunk;
    if (memcmp(data + at + 4, "iTXt", 4) == 0 && kin_span_starts(chunk, xmp_name, sizeof xmp_name)) found.xmp = chunk;
    at += 12 + length;
  }
  return found;
}

kin_blocks kin_webp_blocks(const uint8_t *data, size_t size) {
  kin_blocks found = {0};
  size_t at = 12;
  while (size >= 8 && at <= size - 8) {
    size_t length = kin_le32(data + at + 4);
    if (length > size - at - 8) break;
    kin_span chunk = {data + at + 8, length};
    if (memcmp(data + at, "EXIF", 4) == 0 && !found.exif.data) found.exif = chunk;
    if (memcmp(data + at, "XMP ", 4) == 0 && !found.xmp.data) found.xmp = chunk;
    at += 8 + length + (length & 1);
  }
  return found;
}

/* -------------------------------------------------------------------- TIFF */

static uint32_t two(const kin_tiff *t, const uint8_t *at) {
  return t->big ? kin_be16(at) : kin_le16(at);
}

static uint32_t four(const kin_tiff *t, const uint8_t *at) {
  return t->big ? kin_be32(at) : kin_le32(at);
}

bool kin_tiff_open(kin_span exif, kin_tiff *out) {
  while (kin_span_starts(exif, "Exif\0\0", 6)) exif = kin_span_drop(exif, 6);
  if (exif.size < 8) return false;
  *out = (kin_tiff){.all = exif, .big = kin_span_starts(exif, "MM\0*", 4)};
  if (!out->big && !kin_span_starts(exif, "II*\0", 4)) return false;
  out->first = four(out, exif.data + 4);
  return true;
}

bool kin_tiff_find(const kin_tiff *t, size_t directory, unsigned tag, kin_tiff_value *out) {
  const kin_span all = t->all;
  if (all.size < 2 || directory > all.size - 2) return false;
  size_t entries = two(t, all.data + directory), at = directory + 2;
  for (size_t i = 0; i < entries && all.size - at >= 12; i++, at += 12) {
    const uint8_t *entry = all.data + at;
    if (two(t, entry) != tag) continue;
    *out = (kin_tiff_value){.type = two(t, entry + 2), .count = four(t, entry + 4), .field = entry + 8};
    return true;
  }
  return false;
}

uint32_t kin_tiff_integer(const kin_tiff *t, const kin_tiff_value *v) {
  return v->type == 1   ? v->field[0]       /* BYTE */
         : v->type == 3 ? two(t, v->field)  /* SHORT */
         : v->type == 4 ? four(t, v->field) /* LONG */
                        : 0;
}

kin_span kin_tiff_text(const kin_tiff *t, const kin_tiff_value *v) {
  const size_t at = four(t, v->field);
  if (v->type != 2 && v->type != 129) return (kin_span){0}; /* ASCII, and UTF-8 since EXIF 3 */
  if (v->count <= 4) return (kin_span){v->field, v->count};
  if (at > t->all.size || v->count > t->all.size - at) return (kin_span){0};
  return (kin_span){t->all.data + at, v->count};
}
