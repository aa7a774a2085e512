/* PNG by libspng: every colour type and depth, interlaced or not. */
#include "image/codec.h"

#include <spng.h>
#include <stdlib.h>

/* Text and colour profiles larger than this are refused; they are kept in memory while decoding. */
#define MAX_CHUNK_BYTES ((size_t)64 << 20)

static kin_status fail(const kin_encoded *in, int problem, kin_error *err) {
  if (problem == SPNG_EMEM) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory while decoding PNG", in->name);
  if (problem == SPNG_IO_EOF)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: truncated PNG: the data ends before the picture does", in->name);
  return kin_fail(err, KIN_ERR_FORMAT, "%s: bad PNG: %s", in->name, spng_strerror(problem));
}

/* 16-bit grey clips at 255 where other 16-bit kinds keep the high byte: what Pillow's convert("RGB")
 * does with its "I;16", and so what the reference embeds. */
static kin_status decode_grey16(const kin_encoded *in, spng_ctx *png, const kin_image *image, kin_error *err) {
  size_t pixels = (size_t)image->width * image->height;
  uint16_t *grey = kin_array(pixels, sizeof *grey);
  if (!grey) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for 16-bit grey", in->name);
  int problem = spng_decode_image(png, grey, pixels * sizeof *grey, SPNG_FMT_PNG, 0);
  for (size_t i = 0; !problem && i < pixels; i++) {
    uint8_t value = (uint8_t)(grey[i] > 255 ? 255 : grey[i]);
    image->rgb[3 * i] = image->rgb[3 * i + 1] = image->rgb[3 * i + 2] = value;
  }
  free(grey);
  return problem ? fail(in, problem, err) : KIN_OK;
}

static kin_status decode(const kin_encoded *in, spng_ctx *png, kin_image *image, kin_error *err) {
  struct spng_ihdr header;
  int problem = spng_set_chunk_limits(png, MAX_CHUNK_BYTES, MAX_CHUNK_BYTES);
  if (!problem) problem = spng_set_png_buffer(png, in->data, in->size);
  if (!problem) problem = spng_get_ihdr(png, &header);
  if (problem) return fail(in, problem, err);
  kin_status status = kin_image_alloc(in, header.width, header.height, image, err);
  if (status != KIN_OK) return status;
  if (header.color_type == SPNG_COLOR_TYPE_GRAYSCALE && header.bit_depth == 16)
    return decode_grey16(in, png, image, err);
  problem = spng_decode_image(png, image->rgb, (size_t)image->width * image->height * 3, SPNG_FMT_RGB8, 0);
  return problem ? fail(in, problem, err) : KIN_OK;
}

kin_status kin_decode_png(const kin_encoded *in, kin_image *out, kin_error *err) {
  spng_ctx *png = spng_ctx_new(0);
  if (!png) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for the PNG decoder", in->name);
  kin_image image = {0};
  kin_status status = decode(in, png, &image, err);
  spng_ctx_free(png);
  if (status == KIN_OK)
    *out = image;
  else
    kin_image_free(&image);
  return status;
}

kin_status kin_image_encode_png(const kin_image *image, uint8_t **out, size_t *out_size, kin_error *err) {
  struct spng_ihdr header = {
      .width = image->width, .height = image->height, .bit_depth = 8, .color_type = SPNG_COLOR_TYPE_TRUECOLOR};
  spng_ctx *png = spng_ctx_new(SPNG_CTX_ENCODER);
  if (!png) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the PNG encoder");
  const size_t size = (size_t)image->width * image->height * 3;
  int problem = spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1);
  if (!problem) problem = spng_set_ihdr(png, &header);
  if (!problem) problem = spng_encode_image(png, image->rgb, size, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
  if (!problem) *out = spng_get_png_buffer(png, out_size, &problem);
  spng_ctx_free(png);
  if (!problem) return KIN_OK;
  return kin_fail(err, problem == SPNG_EMEM ? KIN_ERR_MEMORY : KIN_ERR_ARGUMENT,
                  "can't write a picture of %ux%u pixels as PNG: %s", image->width, image->height,
                  spng_strerror(problem));
}
