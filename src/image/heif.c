/* HEIC and AVIF by libheif, loaded when such a picture comes. */
#include "image/codec.h"

#include <dlfcn.h>
#include <string.h>

/* The part of libheif's stable C interface (1.x) that is used here, so that building needs no header. */
typedef struct heif_error {
  int code, subcode;
  const char *message;
} heif_error;

enum { HEIF_COLORSPACE_RGB = 1, HEIF_CHROMA_INTERLEAVED_RGB = 10, HEIF_CHANNEL_INTERLEAVED = 10 };
enum { HEIF_ERROR_UNSUPPORTED_FILETYPE = 3, HEIF_ERROR_UNSUPPORTED_FEATURE = 4, HEIF_ERROR_MEMORY = 6 };

typedef struct heif_options {
  uint8_t version, ignore_transformations;
  void (*progress[3])(void);
  void *progress_user_data;
  uint8_t convert_hdr_to_8bit; /* since version 2 */
} heif_options;

typedef struct heif_api {
  void *(*context_alloc)(void);
  void (*context_free)(void *context);
  heif_error (*read)(void *context, const void *data, size_t size, const void *options);
  heif_error (*primary)(void *context, void **handle);
  int (*handle_width)(const void *handle);
  int (*handle_height)(const void *handle);
  void (*handle_release)(const void *handle);
  heif_options *(*options_alloc)(void);
  void (*options_free)(heif_options *options);
  heif_error (*decode)(const void *handle, void **image, int colorspace, int chroma, const heif_options *options);
  int (*image_width)(const void *image, int channel);
  int (*image_height)(const void *image, int channel);
  const uint8_t *(*plane)(const void *image, int channel, int *stride);
  void (*image_release)(const void *image);
} heif_api;

static kin_status load(const kin_encoded *in, heif_api *h, void **library, kin_error *err) {
  static const char *const names[] = {"libheif.so.1", NULL};
  const kin_symbol symbols[] = {
      {"heif_context_alloc", &h->context_alloc},
      {"heif_context_free", &h->context_free},
      {"heif_context_read_from_memory_without_copy", &h->read},
      {"heif_context_get_primary_image_handle", &h->primary},
      {"heif_image_handle_get_width", &h->handle_width},
      {"heif_image_handle_get_height", &h->handle_height},
      {"heif_image_handle_release", &h->handle_release},
      {"heif_decoding_options_alloc", &h->options_alloc},
      {"heif_decoding_options_free", &h->options_free},
      {"heif_decode_image", &h->decode},
      {"heif_image_get_width", &h->image_width},
      {"heif_image_get_height", &h->image_height},
      {"heif_image_get_plane_readonly", &h->plane},
      {"heif_image_release", &h->image_release},
  };
  return kin_library_open(in, names, "HEIC and AVIF", "Debian's and Ubuntu's package libheif1", symbols,
                          sizeof symbols / sizeof symbols[0], library, err);
}

static kin_status fail(const kin_encoded *in, heif_error problem, kin_error *err) {
  const char *message = problem.message ? problem.message : "unknown error";
  if (problem.code == HEIF_ERROR_MEMORY)
    return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory while decoding HEIC or AVIF: %s", in->name, message);
  if (problem.code == HEIF_ERROR_UNSUPPORTED_FILETYPE || problem.code == HEIF_ERROR_UNSUPPORTED_FEATURE)
    return kin_fail(err, KIN_ERR_UNSUPPORTED,
                    "%s: libheif can't decode this: %s (newer systems put each codec in a package of its own: install "
                    "libheif-plugin-libde265 for HEIC, libheif-plugin-dav1d for AVIF)",
                    in->name, message);
  return kin_fail(err, KIN_ERR_FORMAT, "%s: truncated or bad HEIC or AVIF: %s", in->name, message);
}

static kin_status copy_pixels(const kin_encoded *in, const heif_api *h, const void *decoded, kin_image *out,
                              kin_error *err) {
  int stride = 0;
  int width = h->image_width(decoded, HEIF_CHANNEL_INTERLEAVED);
  int height = h->image_height(decoded, HEIF_CHANNEL_INTERLEAVED);
  const uint8_t *plane = h->plane(decoded, HEIF_CHANNEL_INTERLEAVED, &stride);
  if (!plane || width <= 0 || height <= 0 || stride / 3 < width)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: libheif gave no pixels", in->name);
  kin_status status = kin_image_alloc(in, (uint64_t)width, (uint64_t)height, out, err);
  if (status != KIN_OK) return status;
  size_t bytes = (size_t)width * 3;
  for (size_t y = 0; y < (size_t)height; y++) memcpy(out->rgb + y * bytes, plane + y * (size_t)stride, bytes);
  return KIN_OK;
}

/* libheif turns and mirrors as the file's own boxes say; EXIF's orientation then has no say (HEIF standard). */
static kin_status decode_primary(const kin_encoded *in, const heif_api *h, const void *handle, kin_image *out,
                                 kin_error *err) {
  int width = h->handle_width(handle), height = h->handle_height(handle);
  kin_status status = kin_image_check_size(in, width > 0 ? (uint64_t)width : 0, height > 0 ? (uint64_t)height : 0, err);
  if (status != KIN_OK) return status;
  heif_options *options = h->options_alloc();
  if (!options) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for HEIC options", in->name);
  if (options->version >= 2) options->convert_hdr_to_8bit = 1;
  void *decoded = NULL;
  heif_error problem = h->decode(handle, &decoded, HEIF_COLORSPACE_RGB, HEIF_CHROMA_INTERLEAVED_RGB, options);
  h->options_free(options);
  if (problem.code) return fail(in, problem, err);
  status = copy_pixels(in, h, decoded, out, err);
  h->image_release(decoded);
  return status;
}

kin_status kin_decode_heif(const kin_encoded *in, kin_image *out, kin_error *err) {
  heif_api h;
  void *library;
  kin_status status = load(in, &h, &library, err);
  if (status != KIN_OK) return status;
  void *context = h.context_alloc(), *handle = NULL;
  if (!context) {
    dlclose(library);
    return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for the HEIC decoder", in->name);
  }
  heif_error problem = h.read(context, in->data, in->size, NULL);
  if (!problem.code) problem = h.primary(context, &handle);
  if (problem.code) {
    status = fail(in, problem, err);
  } else {
    status = decode_primary(in, &h, handle, out, err);
    h.handle_release(handle);
  }
  h.context_free(context);
  dlclose(library);
  return status;
}
