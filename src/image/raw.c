/* Camera RAW by libraw, loaded when such a picture comes. */
#include "image/codec.h"

#include <dlfcn.h>
#include <string.h>

/* The part of libraw's C interface that is used here; none of it depends on the layout of its big
 * structure, which changes from version to version. */
typedef struct raw_picture {
  int type; /* 2: a bitmap */
  uint16_t height, width, colors, bits;
  uint32_t data_size;
  uint8_t data[];
} raw_picture;

/* Its default handlers print on stderr; these flags keep it quiet. */
enum { RAW_NO_MEMORY_HANDLER = 1, RAW_NO_DATA_HANDLER = 2 };
enum { RAW_BITMAP = 2, RAW_FILE_UNSUPPORTED = -2, RAW_OUT_OF_MEMORY = -100007, RAW_DEMOSAIC_LINEAR = 0 };

typedef struct raw_api {
  void *(*init)(unsigned flags);
  void (*close)(void *raw);
  int (*open_buffer)(void *raw, const void *data, size_t size);
  int (*raw_width)(void *raw);
  int (*raw_height)(void *raw);
  float (*camera_multiplier)(void *raw, int channel);
  void (*set_multiplier)(void *raw, int channel, float value);
  void (*set_demosaic)(void *raw, int method);
  int (*unpack)(void *raw);
  int (*process)(void *raw);
  raw_picture *(*make_picture)(void *raw, int *problem);
  void (*clear_picture)(raw_picture *picture);
  const char *(*explain)(int problem);
} raw_api;

static kin_status load(const kin_encoded *in, raw_api *r, void **library, kin_error *err) {
  /* The variant "_r" may be used from several threads. */
  static const char *const names[] = {
      "libraw_r.so.24", "libraw_r.so.23", "libraw_r.so.22", "libraw_r.so.21", "libraw_r.so.20", "libraw_r.so", NULL};
  const kin_symbol symbols[] = {
      {"libraw_init", &r->init},
      {"libraw_close", &r->close},
      {"libraw_open_buffer", &r->open_buffer},
      {"libraw_get_raw_width", &r->raw_width},
      {"libraw_get_raw_height", &r->raw_height},
      {"libraw_get_cam_mul", &r->camera_multiplier},
      {"libraw_set_user_mul", &r->set_multiplier},
      {"libraw_set_demosaic", &r->set_demosaic},
      {"libraw_unpack", &r->unpack},
      {"libraw_dcraw_process", &r->process},
      {"libraw_dcraw_make_mem_image", &r->make_picture},
      {"libraw_dcraw_clear_mem", &r->clear_picture},
      {"libraw_strerror", &r->explain},
  };
  return kin_library_open(in, names, "TIFF-like files and camera RAW",
                          "libraw (package libraw20 in Debian 12, libraw23 in Debian 13 and Ubuntu 24.04)", symbols,
                          sizeof symbols / sizeof symbols[0], library, err);
}

static kin_status fail(const kin_encoded *in, const raw_api *r, int problem, kin_error *err) {
  if (problem == RAW_OUT_OF_MEMORY)
    return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory while decoding camera RAW", in->name);
  if (problem == RAW_FILE_UNSUPPORTED)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: a TIFF or RAW file of a kind that libraw doesn't know", in->name);
  return kin_fail(err, KIN_ERR_FORMAT, "%s: truncated or bad camera RAW: %s", in->name, r->explain(problem));
}

static kin_status copy_pixels(const kin_encoded *in, const raw_picture *picture, kin_image *out, kin_error *err) {
  size_t pixels = (size_t)picture->width * picture->height;
  bool grey = picture->colors == 1;
  if (picture->type != RAW_BITMAP || picture->bits != 8 || (!grey && picture->colors != 3) ||
      picture->data_size / picture->colors < pixels)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: libraw gave %u colours of %u bits", in->name, picture->colors,
                    picture->bits);
  kin_status status = kin_image_alloc(in, picture->width, picture->height, out, err);
  if (status != KIN_OK) return status;
  if (!grey) {
    memcpy(out->rgb, picture->data, pixels * 3);
    return KIN_OK;
  }
  for (size_t i = 0; i < pixels; i++) memset(out->rgb + 3 * i, picture->data[i], 3);
  return KIN_OK;
}

static kin_status decode(const kin_encoded *in, const raw_api *r, void *raw, kin_image *out, kin_error *err) {
  int problem = r->open_buffer(raw, in->data, in->size);
  if (problem) return fail(in, r, problem, err);
  int width = r->raw_width(raw), height = r->raw_height(raw);
  kin_status status = kin_image_check_size(in, width > 0 ? (uint64_t)width : 0, height > 0 ? (uint64_t)height : 0, err);
  if (status != KIN_OK) return status;
  /* The camera's white balance, if it noted one; linear demosaicing, since the encoder sees a small copy. */
  if (r->camera_multiplier(raw, 0) > 0.0F)
    for (int c = 0; c < 4; c++) r->set_multiplier(raw, c, r->camera_multiplier(raw, c));
  r->set_demosaic(raw, RAW_DEMOSAIC_LINEAR);
  problem = r->unpack(raw);
  if (!problem) problem = r->process(raw);
  if (problem) return fail(in, r, problem, err);
  raw_picture *picture = r->make_picture(raw, &problem);
  if (!picture) return fail(in, r, problem, err);
  status = copy_pixels(in, picture, out, err);
  r->clear_picture(picture);
  return status;
}

kin_status kin_decode_raw(const kin_encoded *in, kin_image *out, kin_error *err) {
  raw_api r;
  void *library;
  kin_status status = load(in, &r, &library, err);
  if (status != KIN_OK) return status;
  void *raw = r.init(RAW_NO_MEMORY_HANDLER | RAW_NO_DATA_HANDLER);
  if (!raw) {
    dlclose(library);
    return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for the RAW decoder", in->name);
  }
  status = decode(in, &r, raw, out, err);
  r.close(raw);
  dlclose(library);
  return status;
}
