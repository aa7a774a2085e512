/* Small pictures for pages: decode, scale down, encode as JPEG. */
#include "image/image.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

/* jpeglib.h needs stdio.h before it. */
#include <jpeglib.h>

kin_status kin_image_thumbnail(const char *path, uint64_t max_pixels, uint32_t side, kin_image *out, kin_error *err) {
  kin_image image;
  kin_status status = kin_image_decode_file(path, max_pixels, &image, err);
  if (status != KIN_OK) return status;
  uint32_t longer = image.width > image.height ? image.width : image.height;
  if (longer <= side) {
    *out = image;
    return KIN_OK;
  }
  uint32_t width = (uint32_t)((uint64_t)image.width * side / longer);
  uint32_t height = (uint32_t)((uint64_t)image.height * side / longer);
  status = kin_image_resize(&image, width ? width : 1, height ? height : 1, KIN_FILTER_BICUBIC, out, err);
  kin_image_free(&image);
  return status;
}

typedef struct writer {
  struct jpeg_compress_struct jpeg;
  struct jpeg_error_mgr errors;
  jmp_buf jump;
  unsigned char *buffer, *data; /* the library moves `data` away if `buffer` is too small */
  unsigned long size;
  char message[JMSG_LENGTH_MAX];
} writer;

static void give_up(j_common_ptr jpeg) {
  writer *w = jpeg->client_data;
  jpeg->err->format_message(jpeg, w->message);
  longjmp(w->jump, 1);
}

static void write_picture(writer *w, const kin_image *image, int quality) {
  jpeg_create_compress(&w->jpeg);
  jpeg_mem_dest(&w->jpeg, &w->data, &w->size);
  w->jpeg.image_width = image->width;
  w->jpeg.image_height = image->height;
  w->jpeg.input_components = 3;
  w->jpeg.in_color_space = JCS_RGB;
  jpeg_set_defaults(&w->jpeg);
  jpeg_set_quality(&w->jpeg, quality, TRUE);
  w->jpeg.optimize_coding = TRUE;
  jpeg_start_compress(&w->jpeg, TRUE);
  while (w->jpeg.next_scanline < w->jpeg.image_height) {
    JSAMPROW row = image->rgb + (size_t)w->jpeg.next_scanline * image->width * 3;
    jpeg_write_scanlines(&w->jpeg, &row, 1);
  }
  jpeg_finish_compress(&w->jpeg);
}

kin_status kin_image_encode_jpeg(const kin_image *image, int quality, uint8_t **out, size_t *out_size, kin_error *err) {
  writer *w = calloc(1, sizeof *w);
  if (!w) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a JPEG writer");
  w->jpeg.err = jpeg_std_error(&w->errors);
  w->jpeg.client_data = w;
  w->errors.error_exit = give_up;
  w->size = (unsigned long)image->width * image->height * 3 + 65536;
  w->data = w->buffer = kin_array(w->size, 1);
  kin_status status = KIN_OK;
  if (!w->buffer) {
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for a JPEG of %ux%u pixels", image->width, image->height);
  } else if (setjmp(w->jump) == 0) {
    write_picture(w, image, quality);
    if (w->data != w->buffer) free(w->buffer);
    *out = w->data;
    *out_size = w->size;
  } else {
    free(w->buffer);
    status = kin_fail(err, KIN_ERR_ARGUMENT, "can't write a picture of %ux%u pixels as JPEG: %s", image->width,
                      image->height, w->message);
  }
  jpeg_destroy_compress(&w->jpeg);
  free(w);
  return status;
}
