/* Bytes on disk -> upright 8-bit RGB -> the encoder's square crop. */
#ifndef KIN_IMAGE_H
#define KIN_IMAGE_H

#include "base/base.h"

/* 8-bit sRGB, no row padding, already turned upright by EXIF orientation. */
typedef struct kin_image {
  uint32_t width, height;
  uint8_t *rgb; /* width * height * 3; free with kin_image_free */
} kin_image;

#define KIN_DEFAULT_MAX_PIXELS (256ull * 1024 * 1024)

/* Decode by content, not by name. `max_pixels` 0: the default limit. `name` is for messages.
 * Pixels equal Pillow's Image.open + ImageOps.exif_transpose + convert("RGB").
 * KIN_ERR_IO, KIN_ERR_FORMAT (truncated or corrupt, naming what), KIN_ERR_LIMIT,
 * KIN_ERR_UNSUPPORTED (not a picture, or a format whose library isn't installed: says which). */
kin_status kin_image_decode(const void *data, size_t size, const char *name, uint64_t max_pixels, kin_image *out,
                            kin_error *err);
kin_status kin_image_decode_file(const char *path, uint64_t max_pixels, kin_image *out, kin_error *err);
void kin_image_free(kin_image *image);
/* True if the file name's ending is one that kin_image_decode may read (for folder walks). */
bool kin_image_has_known_extension(const char *path);

typedef enum kin_filter { KIN_FILTER_NEAREST, KIN_FILTER_BILINEAR, KIN_FILTER_BICUBIC, KIN_FILTER_LANCZOS } kin_filter;

/* What preprocessor_config.json (CLIPImageProcessor, BitImageProcessor) or open_clip_config.json says. */
typedef struct kin_preprocess {
  bool resize;
  size_t shortest_edge;               /* resize so that the shorter side is this, or 0 with ... */
  size_t resize_width, resize_height; /* ... an exact size */
  kin_filter filter;
  bool center_crop;
  size_t crop_width, crop_height;
  bool crop_half_even;         /* the crop's offset rounds to the nearest, halves to even (torchvision), not down */
  float rescale;               /* 1/255 */
  float mean[3], deviation[3]; /* 0 and 1 where the config says do_normalize: false */
} kin_preprocess;

/* Read `dir`/preprocessor_config.json. KIN_ERR_UNSUPPORTED for a step that isn't known. The result's
 * output size (after crop) must be square and equal for every photo, else KIN_ERR_UNSUPPORTED. */
kin_status kin_preprocess_load(const char *dir, kin_preprocess *out, kin_error *err);
/* The same from `dir`/open_clip_config.json: preprocess_cfg, and the size of the vision tower. */
kin_status kin_preprocess_load_open_clip(const char *dir, kin_preprocess *out, kin_error *err);
/* out[channel][level]: what the network sees for each 8-bit level. */
void kin_preprocess_levels(const kin_preprocess *p, float out[3][256]);

/* Resize and crop into out[crop_height][crop_width][3], 8 bits: equal to Pillow's resize (antialiased,
 * 8-bit fixed point, the two passes in its order) and transformers' crop (zero padding when the picture is
 * smaller than the crop). Rescale and normalise are left to the encoder's first layer. */
kin_status kin_preprocess_run(const kin_preprocess *p, const kin_image *image, uint8_t *out, kin_error *err);

typedef struct kin_crop_options {
  uint64_t max_pixels; /* 0: the default limit */
  /* Let libjpeg-turbo decode a JPEG that is more than four times too large at a half, a quarter or an eighth of its
   * size, by a smaller transform: not the exact pixels. */
  bool fast;
} kin_crop_options;

/* Decode, turn upright and preprocess in one go, with the least memory and work that gives the same bytes. `name` is
 * for messages; *width and *height are the upright picture's. Errors as kin_image_decode and kin_preprocess_run. */
kin_status kin_image_crop(const kin_preprocess *p, const void *data, size_t size, const char *name,
                          const kin_crop_options *options, uint8_t *out, uint32_t *width, uint32_t *height,
                          kin_error *err);
kin_status kin_image_crop_file(const kin_preprocess *p, const char *path, const kin_crop_options *options, uint8_t *out,
                               uint32_t *width, uint32_t *height, kin_error *err);

/* Pillow's Image.resize((out_width, out_height), filter) of an RGB picture. */
kin_status kin_image_resize(const kin_image *image, uint32_t out_width, uint32_t out_height, kin_filter filter,
                            kin_image *out, kin_error *err);

/* Decode the file and scale it down, if need be, so that its longer side is at most `side` pixels. */
kin_status kin_image_thumbnail(const char *path, uint64_t max_pixels, uint32_t side, kin_image *out, kin_error *err);
/* The picture as a JPEG file of `quality`, 1 to 100, in memory. *out is released with free(). */
kin_status kin_image_encode_jpeg(const kin_image *image, int quality, uint8_t **out, size_t *out_size, kin_error *err);
/* The same as PNG. */
kin_status kin_image_encode_png(const kin_image *image, uint8_t **out, size_t *out_size, kin_error *err);

#endif
