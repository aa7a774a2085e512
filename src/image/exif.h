/* What a picture's file says of how it was taken. */
#ifndef KIN_IMAGE_EXIF_H
#define KIN_IMAGE_EXIF_H

#include "base/base.h"

#include <stdbool.h>
#include <string.h>

typedef struct kin_exif {
  char date[20];    /* "2023-05-01T14:30:00", by the camera's clock; "": not known */
  char camera[128]; /* its maker and model, valid UTF-8; "": not known */
} kin_exif;

/* Of a file of any picture format. EXIF in JPEG, PNG, WebP, TIFF and what is built like it (most RAW), HEIC and AVIF; a
 * date is that of taking the photo, else of digitizing it, else of the last change. What is damaged counts as not
 * known; KIN_ERR_IO remains. */
kin_status kin_image_read_exif(const char *path, kin_exif *out, kin_error *err);
/* The same of a file in memory. */
void kin_image_find_exif(const uint8_t *data, size_t size, kin_exif *out);

/* ------------------------------------------------- shared with orientation.c */

typedef struct kin_span {
  const uint8_t *data;
  size_t size;
} kin_span;

static inline bool kin_span_starts(kin_span s, const char *prefix, size_t n) {
  return s.size >= n && memcmp(s.data, prefix, n) == 0;
}
static inline kin_span kin_span_drop(kin_span s, size_t n) {
  return (kin_span){s.data + n, s.size - n};
}

/* The blocks of a container, as they lie in the file; nothing where there is none. */
typedef struct kin_blocks {
  kin_span exif, xmp;
} kin_blocks;
kin_blocks kin_jpeg_blocks(const uint8_t *data, size_t size);
kin_blocks kin_png_blocks(const uint8_t *data, size_t size);
kin_blocks kin_webp_blocks(const uint8_t *data, size_t size);

/* The TIFF structure that EXIF is. */
typedef struct kin_tiff {
  kin_span all;
  bool big;     /* endian */
  size_t first; /* where the first directory is said to be */
} kin_tiff;
typedef struct kin_tiff_value {
  unsigned type;
  uint32_t count;
  const uint8_t *field; /* 4 bytes: the value, or where it is */
} kin_tiff_value;
/* False: it isn't one. */
bool kin_tiff_open(kin_span exif, kin_tiff *out);
/* The first entry with this tag in the directory at this offset, which may be anything; false: none. */
bool kin_tiff_find(const kin_tiff *tiff, size_t directory, unsigned tag, kin_tiff_value *out);
/* An integer of up to four bytes; 0 for another type. */
uint32_t kin_tiff_integer(const kin_tiff *tiff, const kin_tiff_value *value);
/* A text with what NULs end it; nothing for another type, or one that lies outside. */
kin_span kin_tiff_text(const kin_tiff *tiff, const kin_tiff_value *value);

#endif
