/* Between the decoders: one function a format, and what they share. */
#ifndef KIN_IMAGE_CODEC_H
#define KIN_IMAGE_CODEC_H

#include "image/image.h"

/* An encoded picture. `name` is for messages; `max_pixels` is never 0 here. */
typedef struct kin_encoded {
  const uint8_t *data;
  size_t size;
  const char *name;
  uint64_t max_pixels;
} kin_encoded;

/* Each decodes the first picture as it is stored (kin_image_decode turns it upright), leaving *out
 * untouched or zero on failure. */
kin_status kin_decode_jpeg(const kin_encoded *in, kin_image *out, kin_error *err);
kin_status kin_decode_png(const kin_encoded *in, kin_image *out, kin_error *err);
kin_status kin_decode_webp(const kin_encoded *in, kin_image *out, kin_error *err);
kin_status kin_decode_gif(const kin_encoded *in, kin_image *out, kin_error *err);
/* These load their library when called and turn the picture upright themselves. */
kin_status kin_decode_avif(const kin_encoded *in, kin_image *out, kin_error *err);
kin_status kin_decode_heif(const kin_encoded *in, kin_image *out, kin_error *err);
kin_status kin_decode_raw(const kin_encoded *in, kin_image *out, kin_error *err);

/* The EXIF orientation, 1 to 8, that the container's EXIF or else XMP block states; 1 if none. */
unsigned kin_jpeg_orientation(const uint8_t *data, size_t size);
unsigned kin_png_orientation(const uint8_t *data, size_t size);
unsigned kin_webp_orientation(const uint8_t *data, size_t size);
/* Turn the picture upright; orientation 1 does nothing. On failure the picture is unchanged. */
kin_status kin_image_orient(kin_image *image, unsigned orientation, kin_error *err);

/* Check width x height against the limit, before anything of that size is allocated. */
kin_status kin_image_check_size(const kin_encoded *in, uint64_t width, uint64_t height, kin_error *err);
/* The same, and allocate the pixels (not cleared). */
kin_status kin_image_alloc(const kin_encoded *in, uint64_t width, uint64_t height, kin_image *out, kin_error *err);

typedef struct kin_region {
  uint32_t x, y, width, height;
} kin_region;

/* Resize `image` to out_width x out_height, but compute only `region` of the result, into `out` whose rows are `stride`
 * bytes apart. The same bytes as those of the full resize. */
kin_status kin_image_resize_region(const kin_image *image, uint32_t out_width, uint32_t out_height, kin_filter filter,
                                   const kin_region *region, uint8_t *out, size_t stride, kin_error *err);

/* The same for a picture whose rows come one after another and which may be stored turned. */
typedef struct kin_resize {
  uint32_t width, height; /* as stored */
  unsigned orientation;   /* EXIF's, 1 to 8; what follows is upright */
  uint32_t out_width, out_height;
  kin_filter filter; /* not NEAREST */
  kin_region region; /* of the result */
  uint8_t *out;
  size_t stride;
} kin_resize;
typedef struct kin_resizer kin_resizer;
kin_status kin_resizer_open(const kin_resize *job, kin_resizer **out, kin_error *err);
void kin_resizer_close(kin_resizer *r);
/* The part of the stored picture that is read: nothing else need be decoded. */
kin_region kin_resizer_reads(const kin_resizer *r);
/* The next `n` rows of that part, each beginning at its first column, with `row_bytes` bytes that may be read. With
 * `stay` they must stay where they are until the end; otherwise they are needed during the call only. */
void kin_resizer_push(kin_resizer *r, const uint8_t *const *rows, size_t n, size_t row_bytes, bool stay);
/* After the last row: turn the result upright. */
kin_status kin_resizer_finish(kin_resizer *r, kin_error *err);

/* What makes the crop of an upright picture of this size: all but `orientation`, which is 1. Clears `out` where a small
 * picture leaves it open. */
kin_status kin_preprocess_plan(const kin_preprocess *p, uint32_t width, uint32_t height, uint8_t *out, kin_resize *job,
                               kin_error *err);

/* A JPEG straight into the encoder's crop: only what that needs is decoded, and no row is kept longer than it is
 * needed. The same bytes as decoding, turning and preprocessing, unless `fast`. *width and *height are the whole
 * picture's, upright. p->filter isn't NEAREST. */
kin_status kin_crop_jpeg(const kin_encoded *in, const kin_preprocess *p, bool fast, uint8_t *out, uint32_t *width,
                         uint32_t *height, kin_error *err);

/* A shared library that is loaded only when a picture needs it. */
typedef struct kin_symbol {
  const char *name;
  void *function; /* the address of the function pointer to set */
} kin_symbol;
/* Load the first of `names` (ended by NULL) that the system has and set all `n` symbols. `package` is
 * what to install, for the message; `what` names the kind of picture. KIN_ERR_UNSUPPORTED if it isn't
 * there or lacks a function. It stays loaded; *handle must be released with dlclose. */
kin_status kin_library_open(const kin_encoded *in, const char *const *names, const char *what, const char *package,
                            const kin_symbol *symbols, size_t n, void **handle, kin_error *err);

static inline uint32_t kin_be32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static inline uint32_t kin_le32(const uint8_t *p) {
  return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}
static inline uint32_t kin_be16(const uint8_t *p) {
  return (uint32_t)p[0] << 8 | p[1];
}
static inline uint32_t kin_le16(const uint8_t *p) {
  return (uint32_t)p[1] << 8 | p[0];
}
static inline uint32_t kin_le24(const uint8_t *p) {
  return (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

#endif
