/* AVIF by libavif where this was built with its header and the system has the library: it interpolates
 * halved chroma, and so agrees with Pillow. Otherwise libheif reads AVIF, too, with coarser chroma. */
#include "image/codec.h"

#if __has_include(<avif/avif.h>)
#include <avif/avif.h>
#include <dlfcn.h>
#endif

#if defined(AVIF_VERSION) && AVIF_VERSION >= 110000

/* The structures' layout belongs to the header, so only the library of that very interface will do. */
#if AVIF_VERSION >= 1000000
#define AVIF_LIBRARY "libavif.so.16"
#define MIRROR_AXIS axis
#else
#define AVIF_LIBRARY "libavif.so.15"
#define MIRROR_AXIS mode
#endif

typedef struct avif_api {
  __typeof__(&avifDecoderCreate) create;
  __typeof__(&avifDecoderDestroy) destroy;
  __typeof__(&avifDecoderSetIOMemory) set_memory;
  __typeof__(&avifDecoderParse) parse;
  __typeof__(&avifDecoderNextImage) next;
  __typeof__(&avifRGBImageSetDefaults) rgb_defaults;
  __typeof__(&avifImageYUVToRGB) to_rgb;
  __typeof__(&avifResultToString) explain;
} avif_api;

static bool load(const kin_encoded *in, avif_api *a, void **library) {
  static const char *const names[] = {AVIF_LIBRARY, NULL};
  const kin_symbol symbols[] = {
      {"avifDecoderCreate", &a->create},          {"avifDecoderDestroy", &a->destroy},
      {"avifDecoderSetIOMemory", &a->set_memory}, {"avifDecoderParse", &a->parse},
      {"avifDecoderNextImage", &a->next},         {"avifRGBImageSetDefaults", &a->rgb_defaults},
      {"avifImageYUVToRGB", &a->to_rgb},          {"avifResultToString", &a->explain},
  };
  return kin_library_open(in, names, "AVIF", "libavif", symbols, sizeof symbols / sizeof symbols[0], library, NULL) ==
         KIN_OK;
}

static kin_status fail(const kin_encoded *in, const avif_api *a, avifResult problem, kin_error *err) {
  if (problem == AVIF_RESULT_OUT_OF_MEMORY)
    return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory while decoding AVIF", in->name);
  if (problem == AVIF_RESULT_NO_CODEC_AVAILABLE || problem == AVIF_RESULT_NOT_IMPLEMENTED)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: libavif can't decode this: %s", in->name, a->explain(problem));
  return kin_fail(err, KIN_ERR_FORMAT, "%s: truncated or bad AVIF: %s", in->name, a->explain(problem));
}

/* Rotation (anti-clockwise quarter turns) and then mirroring, as an EXIF orientation. */
static unsigned orientation_of(const avifImage *image) {
  static const unsigned turned[4] = {1, 8, 3, 6};
  static const unsigned mirrored[4][2] = {{4, 2}, {5, 7}, {2, 4}, {7, 5}}; /* top and bottom, left and right */
  unsigned angle = image->transformFlags & AVIF_TRANSFORM_IROT ? image->irot.angle & 3u : 0;
  if (image->transformFlags & AVIF_TRANSFORM_IMIR) return mirrored[angle][image->imir.MIRROR_AXIS & 1];
  return turned[angle];
}

static kin_status decode(const kin_encoded *in, const avif_api *a, avifDecoder *decoder, kin_image *out,
                         kin_error *err) {
  /* As lenient as Pillow. The orientation in EXIF has no say (HEIF standard). */
  decoder->strictFlags &= ~(avifStrictFlags)(AVIF_STRICT_CLAP_VALID | AVIF_STRICT_PIXI_REQUIRED);
  decoder->ignoreExif = decoder->ignoreXMP = AVIF_TRUE;
  decoder->maxThreads = 1;
  avifResult problem = a->set_memory(decoder, in->data, in->size);
  if (problem == AVIF_RESULT_OK) problem = a->parse(decoder);
  if (problem != AVIF_RESULT_OK) return fail(in, a, problem, err);
  kin_status status = kin_image_check_size(in, decoder->image->width, decoder->image->height, err);
  if (status != KIN_OK) return status;
  problem = a->next(decoder);
  if (problem != AVIF_RESULT_OK) return fail(in, a, problem, err);
  status = kin_image_alloc(in, decoder->image->width, decoder->image->height, out, err);
  if (status != KIN_OK) return status;
  /* Else the colours would be multiplied by an alpha that RGB has no place for; Pillow drops it. */
  decoder->image->alphaPremultiplied = AVIF_TRUE;
  avifRGBImage rgb;
  a->rgb_defaults(&rgb, decoder->image);
  rgb.depth = 8;
  rgb.format = AVIF_RGB_FORMAT_RGB;
  rgb.pixels = out->rgb;
  rgb.rowBytes = out->width * 3;
  problem = a->to_rgb(decoder->image, &rgb);
  status = problem == AVIF_RESULT_OK ? kin_image_orient(out, orientation_of(decoder->image), err)
                                     : fail(in, a, problem, err);
  if (status != KIN_OK) kin_image_free(out);
  return status;
}

kin_status kin_decode_avif(const kin_encoded *in, kin_image *out, kin_error *err) {
  avif_api a;
  void *library;
  if (!load(in, &a, &library)) return kin_decode_heif(in, out, err);
  avifDecoder *decoder = a.create();
  kin_status status = decoder ? decode(in, &a, decoder, out, err)
                              : kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for the AVIF decoder", in->name);
  if (decoder) a.destroy(decoder);
  dlclose(library);
  return status;
}

#else

kin_status kin_decode_avif(const kin_encoded *in, kin_image *out, kin_error *err) {
  return kin_decode_heif(in, out, err);
}

#endif
