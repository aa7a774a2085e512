/* WebP by libwebp: lossy, lossless, with alpha (dropped), and the first frame of an animation. */
#include "image/codec.h"

#include <string.h>
#include <webp/decode.h>

static kin_status fail(const kin_encoded *in, VP8StatusCode problem, kin_error *err) {
  switch (problem) {
  case VP8_STATUS_OUT_OF_MEMORY:
    return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory while decoding WebP", in->name);
  case VP8_STATUS_NOT_ENOUGH_DATA:
  case VP8_STATUS_SUSPENDED:
    return kin_fail(err, KIN_ERR_FORMAT, "%s: truncated WebP: the data ends before the picture does", in->name);
  case VP8_STATUS_UNSUPPORTED_FEATURE:
    return kin_fail(err, KIN_ERR_FORMAT, "%s: bad WebP: a feature that libwebp doesn't know", in->name);
  default:
    return kin_fail(err, KIN_ERR_FORMAT, "%s: bad WebP: the bitstream is damaged", in->name);
  }
}

/* Where a frame lies on the canvas, and its bitstream (a chunk VP8 or VP8L, whole). */
typedef struct frame {
  uint32_t x, y, width, height;
  const uint8_t *data;
  size_t size;
} frame;

static kin_status decode_frame(const kin_encoded *in, const frame *f, const kin_image *canvas, kin_error *err) {
  WebPDecoderConfig config;
  if (!WebPInitDecoderConfig(&config))
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: libwebp is older than the one this was built with", in->name);
  size_t stride = (size_t)canvas->width * 3;
  if (stride > INT32_MAX) return kin_fail(err, KIN_ERR_LIMIT, "%s: WebP rows are too long", in->name);
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = canvas->rgb + f->y * stride + (size_t)f->x * 3;
  config.output.u.RGBA.stride = (int)stride;
  config.output.u.RGBA.size = (f->height - 1) * stride + (size_t)f->width * 3;
  VP8StatusCode problem = WebPDecode(f->data, f->size, &config);
  WebPFreeDecBuffer(&config.output);
  return problem == VP8_STATUS_OK ? KIN_OK : fail(in, problem, err);
}

/* Find the chunk `tag` in data[*at, end); *at is moved to its header, *size gets its payload's size. */
static bool find_chunk(const uint8_t *data, size_t end, const char *tag, size_t *at, size_t *size) {
  while (end >= 8 && *at <= end - 8) {
    size_t length = kin_le32(data + *at + 4);
    bool found = memcmp(data + *at, tag, 4) == 0;
    if (length > end - *at - 8) return false;
    if (found) {
      *size = length;
      return true;
    }
    *at += 8 + length + (length & 1);
  }
  return false;
}

/* The colours of a frame don't depend on its ALPH chunk, so its VP8 or VP8L chunk is all we need. */
static bool find_first_frame(const kin_encoded *in, frame *out) {
  size_t at = 12, size = 0;
  if (!find_chunk(in->data, in->size, "ANMF", &at, &size) || size < 16) return false;
  const uint8_t *p = in->data + at + 8;
  *out = (frame){
      .x = 2 * kin_le24(p), .y = 2 * kin_le24(p + 3), .width = kin_le24(p + 6) + 1, .height = kin_le24(p + 9) + 1};
  size_t inner = 16, length = 0;
  if (!find_chunk(p, size, "VP8 ", &inner, &length)) {
    inner = 16;
    if (!find_chunk(p, size, "VP8L", &inner, &length)) return false;
  }
  out->data = p + inner;
  out->size = length + 8;
  return true;
}

static kin_status decode_animation(const kin_encoded *in, const kin_image *canvas, kin_error *err) {
  frame f;
  if (!find_first_frame(in, &f))
    return kin_fail(err, KIN_ERR_FORMAT, "%s: truncated or bad WebP: no whole first frame", in->name);
  WebPBitstreamFeatures features;
  VP8StatusCode problem = WebPGetFeatures(f.data, f.size, &features);
  if (problem != VP8_STATUS_OK) return fail(in, problem, err);
  if ((uint32_t)features.width != f.width || (uint32_t)features.height != f.height || f.x > canvas->width ||
      f.width > canvas->width - f.x || f.y > canvas->height || f.height > canvas->height - f.y)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: bad WebP: the first frame doesn't fit the canvas", in->name);
  memset(canvas->rgb, 0, (size_t)canvas->width * canvas->height * 3);
  return decode_frame(in, &f, canvas, err);
}

kin_status kin_decode_webp(const kin_encoded *in, kin_image *out, kin_error *err) {
  /* libwebp would be content with a whole first frame. */
  if (kin_le32(in->data + 4) > in->size - 8) return fail(in, VP8_STATUS_NOT_ENOUGH_DATA, err);
  WebPBitstreamFeatures features;
  VP8StatusCode problem = WebPGetFeatures(in->data, in->size, &features);
  if (problem != VP8_STATUS_OK) return fail(in, problem, err);
  kin_image image = {0};
  kin_status status = kin_image_alloc(in, (uint64_t)features.width, (uint64_t)features.height, &image, err);
  if (status != KIN_OK) return status;
  if (features.has_animation) {
    status = decode_animation(in, &image, err);
  } else {
    const frame whole = {0, 0, image.width, image.height, in->data, in->size};
    status = decode_frame(in, &whole, &image, err);
  }
  if (status == KIN_OK)
    *out = image;
  else
    kin_image_free(&image);
  return status;
}
