/* Finds a picture's format by its content, decodes it within the limits and turns it upright. */
#include "image/codec.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool has_at(const kin_encoded *in, size_t offset, const char *bytes, size_t n) {
  return in->size >= offset + n && memcmp(in->data + offset, bytes, n) == 0;
}

static bool is_jpeg(const kin_encoded *in) {
  return has_at(in, 0, "\xff\xd8\xff", 3);
}

static bool is_png(const kin_encoded *in) {
  return has_at(in, 0, "\x89PNG\r\n\x1a\n", 8);
}

static bool is_webp(const kin_encoded *in) {
  return has_at(in, 0, "RIFF", 4) && has_at(in, 8, "WEBP", 4);
}

static bool is_gif(const kin_encoded *in) {
  return has_at(in, 0, "GIF87a", 6) || has_at(in, 0, "GIF89a", 6);
}

/* An ISO media file with one of `brands`, as its major or a compatible one. */
static bool has_brand(const kin_encoded *in, const char (*brands)[5], size_t n) {
  if (!has_at(in, 4, "ftyp", 4) || in->size < 16) return false;
  size_t end = kin_be32(in->data);
  if (end > in->size) end = in->size;
  for (size_t at = 8; at + 4 <= end; at += 4) {
    if (at == 12) continue; /* the minor version */
    for (size_t i = 0; i < n; i++)
      if (has_at(in, at, brands[i], 4)) return true;
  }
  return false;
}

static bool is_avif(const kin_encoded *in) {
  static const char brands[][5] = {"avif", "avis"};
  return has_brand(in, brands, sizeof brands / sizeof brands[0]);
}

static bool is_heif(const kin_encoded *in) {
  static const char brands[][5] = {"heic", "heix", "hevc", "hevx", "heim", "heis", "mif1", "msf1"};
  return has_brand(in, brands, sizeof brands / sizeof brands[0]);
}

/* Most cameras write a TIFF variant, so that a plain TIFF comes here too and libraw refuses it. */
static bool is_raw(const kin_encoded *in) {
  return has_at(in, 0, "II*\0", 4) || has_at(in, 0, "MM\0*", 4) ||           /* DNG, NEF, CR2, ARW, PEF, ... */
         has_at(in, 0, "IIU\0", 4) || has_at(in, 0, "IIRO", 4) ||            /* RW2, ORF */
         has_at(in, 0, "IIRS", 4) || has_at(in, 0, "MMOR", 4) ||             /* ORF */
         has_at(in, 0, "FUJIFILMCCD-RAW", 15) || has_at(in, 0, "FOVb", 4) || /* RAF, X3F */
         has_at(in, 0, "\0MRM", 4) || has_at(in, 6, "HEAPCCDR", 8) ||        /* MRW, CRW */
         has_at(in, 4, "ftypcrx ", 8);                                       /* CR3 */
}

typedef struct format {
  bool (*matches)(const kin_encoded *in);
  kin_status (*decode)(const kin_encoded *in, kin_image *out, kin_error *err);
  unsigned (*orientation)(const uint8_t *data, size_t size); /* NULL: the decoder turns by itself, or no such thing */
} format;

static const format formats[] = {
    {is_jpeg, kin_decode_jpeg, kin_jpeg_orientation},
    {is_png, kin_decode_png, kin_png_orientation},
    {is_webp, kin_decode_webp, kin_webp_orientation},
    {is_gif, kin_decode_gif, NULL},
    {is_avif, kin_decode_avif, NULL},
    {is_heif, kin_decode_heif, NULL},
    {is_raw, kin_decode_raw, NULL},
};

static kin_status check_not_empty(const kin_encoded *in, kin_error *err) {
  return in->size ? KIN_OK : kin_fail(err, KIN_ERR_FORMAT, "%s: the file is empty (0 bytes)", in->name);
}

kin_status kin_image_decode(const void *data, size_t size, const char *name, uint64_t max_pixels, kin_image *out,
                            kin_error *err) {
  *out = (kin_image){0};
  const kin_encoded in = {data, size, name ? name : "picture", max_pixels ? max_pixels : KIN_DEFAULT_MAX_PIXELS};
  kin_status status = check_not_empty(&in, err);
  if (status != KIN_OK) return status;
  for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
    if (!formats[i].matches(&in)) continue;
    kin_image image = {0};
    status = formats[i].decode(&in, &image, err);
    if (status == KIN_OK && formats[i].orientation)
      status = kin_image_orient(&image, formats[i].orientation(data, size), err);
    if (status != KIN_OK) {
      kin_image_free(&image);
      return status;
    }
    *out = image;
    return KIN_OK;
  }
  return kin_fail(err, KIN_ERR_UNSUPPORTED,
                  "%s: not a picture that can be read (JPEG, PNG, WebP, GIF, HEIC, AVIF or camera RAW, whatever the "
                  "file's name ends in)",
                  in.name);
}

kin_status kin_image_decode_file(const char *path, uint64_t max_pixels, kin_image *out, kin_error *err) {
  *out = (kin_image){0};
  kin_map map;
  kin_status status = kin_map_open(path, &map, err);
  if (status != KIN_OK) return status;
  status = kin_image_decode(map.data, map.size, path, max_pixels, out, err);
  kin_map_close(&map);
  return status;
}

kin_status kin_image_crop(const kin_preprocess *p, const void *data, size_t size, const char *name,
                          const kin_crop_options *options, uint8_t *out, uint32_t *width, uint32_t *height,
                          kin_error *err) {
  const uint64_t max_pixels = options->max_pixels ? options->max_pixels : KIN_DEFAULT_MAX_PIXELS;
  const kin_encoded in = {data, size, name ? name : "picture", max_pixels};
  kin_status status = check_not_empty(&in, err);
  if (status != KIN_OK) return status;
  if (is_jpeg(&in) && p->filter != KIN_FILTER_NEAREST)
    return kin_crop_jpeg(&in, p, options->fast, out, width, height, err);
  kin_image image;
  status = kin_image_decode(data, size, name, max_pixels, &image, err);
  if (status != KIN_OK) return status;
  *width = image.width;
  *height = image.height;
  status = kin_preprocess_run(p, &image, out, err);
  kin_image_free(&image);
  return status;
}

kin_status kin_image_crop_file(const kin_preprocess *p, const char *path, const kin_crop_options *options, uint8_t *out,
                               uint32_t *width, uint32_t *height, kin_error *err) {
  kin_map map;
  kin_status status = kin_map_open(path, &map, err);
  if (status != KIN_OK) return status;
  status = kin_image_crop(p, map.data, map.size, path, options, out, width, height, err);
  kin_map_close(&map);
  return status;
}

void kin_image_free(kin_image *image) {
  if (!image) return;
  free(image->rgb);
  *image = (kin_image){0};
}

bool kin_image_has_known_extension(const char *path) {
  static const char *const known[] = {"jpg",  "jpeg", "jpe", "jfif", "mpo", "png", "apng", "webp", "gif",
                                      "heic", "heif", "hif", "avif", "dng", "nef", "nrw",  "cr2",  "cr3",
                                      "crw",  "arw",  "sr2", "srf",  "orf", "rw2", "raf",  "pef",  "srw",
                                      "x3f",  "mrw",  "3fr", "iiq",  "erf", "kdc", "dcr",  "mos",  "rwl"};
  const char *slash = strrchr(path, '/');
  const char *dot = strrchr(slash ? slash + 1 : path, '.');
  if (!dot) return false;
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (strcasecmp(dot + 1, known[i]) == 0) return true;
  return false;
}

kin_status kin_image_check_size(const kin_encoded *in, uint64_t width, uint64_t height, kin_error *err) {
  if (width == 0 || height == 0)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: the header gives an empty picture of %llu x %llu pixels", in->name,
                    (unsigned long long)width, (unsigned long long)height);
  if (width > INT32_MAX || height > INT32_MAX || width > in->max_pixels / height)
    return kin_fail(err, KIN_ERR_LIMIT,
                    "%s: %llu x %llu pixels are more than the limit of %llu; raise the limit if the file is trusted",
                    in->name, (unsigned long long)width, (unsigned long long)height,
                    (unsigned long long)in->max_pixels);
  return KIN_OK;
}

kin_status kin_image_alloc(const kin_encoded *in, uint64_t width, uint64_t height, kin_image *out, kin_error *err) {
  kin_status status = kin_image_check_size(in, width, height, err);
  if (status != KIN_OK) return status;
  uint8_t *rgb = kin_array((size_t)width, (size_t)height * 3);
  if (!rgb)
    return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for %llu x %llu pixels", in->name,
                    (unsigned long long)width, (unsigned long long)height);
  *out = (kin_image){(uint32_t)width, (uint32_t)height, rgb};
  return KIN_OK;
}
