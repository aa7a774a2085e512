/* JPEG by libjpeg-turbo: grey, YCbCr, RGB, CMYK and YCCK, baseline or progressive. */
#include "image/codec.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

/* jpeglib.h needs stdio.h before it. */
#include <jpeglib.h>

/* A progressive file may repeat scans of the whole picture; real encoders write about ten. */
#define MAX_SCANS 100
/* Rows a call to the decoder; it gives them in groups of 8 to 32. */
#define ROWS_A_CALL 16

typedef struct reader {
  struct jpeg_decompress_struct jpeg;
  struct jpeg_error_mgr errors;
  struct jpeg_source_mgr source;
  struct jpeg_progress_mgr progress;
  jmp_buf jump;
  const kin_encoded *in;
  kin_image image;
  uint8_t *cmyk; /* one row, for CMYK only */
  kin_error *err;
  kin_status status;
} reader;

static reader *reader_of(j_common_ptr jpeg) {
  return jpeg->client_data;
}

static void give_up(j_common_ptr jpeg) {
  reader *r = reader_of(jpeg);
  char message[JMSG_LENGTH_MAX];
  jpeg->err->format_message(jpeg, message);
  r->status = kin_fail(r->err, KIN_ERR_FORMAT, "%s: bad JPEG: %s", r->in->name, message);
  longjmp(r->jump, 1);
}

/* Warnings (a few damaged bits, unknown markers) don't stop Pillow, and don't stop us. */
static void ignore_message(j_common_ptr jpeg, int level) {
  (void)jpeg;
  (void)level;
}

static void ignore_output(j_common_ptr jpeg) {
  (void)jpeg;
}

static void nothing(j_decompress_ptr jpeg) {
  (void)jpeg;
}

static boolean out_of_data(j_decompress_ptr jpeg) {
  reader *r = reader_of((j_common_ptr)jpeg);
  if (r->image.rgb)
    r->status = kin_fail(r->err, KIN_ERR_FORMAT, "%s: truncated JPEG: the data ends in row %u of %u", r->in->name,
                         jpeg->output_scanline + 1, jpeg->output_height);
  else
    r->status = kin_fail(r->err, KIN_ERR_FORMAT, "%s: truncated JPEG: the data ends inside the header", r->in->name);
  longjmp(r->jump, 1);
}

static void skip(j_decompress_ptr jpeg, long n) {
  if (n <= 0) return;
  struct jpeg_source_mgr *source = jpeg->src;
  if ((size_t)n > source->bytes_in_buffer) out_of_data(jpeg);
  source->next_input_byte += n;
  source->bytes_in_buffer -= (size_t)n;
}

static void check_scans(j_common_ptr jpeg) {
  reader *r = reader_of(jpeg);
  if (r->jpeg.input_scan_number <= MAX_SCANS) return;
  r->status = kin_fail(r->err, KIN_ERR_LIMIT, "%s: JPEG with more than %d scans", r->in->name, MAX_SCANS);
  longjmp(r->jump, 1);
}

/* Pillow's conversion, of CMYK stored inverted as Adobe does (Pillow takes every file to be so). */
static void convert_cmyk_row(const uint8_t *cmyk, uint8_t *rgb, size_t width) {
  for (size_t i = 0; i < width; i++, cmyk += 4, rgb += 3) {
    unsigned light = cmyk[3];
    for (size_t c = 0; c < 3; c++) {
      unsigned t = (255u - cmyk[c]) * light + 128;
      rgb[c] = (uint8_t)(light - (((t >> 8) + t) >> 8));
    }
  }
}

static void set_up(reader *r) {
  r->jpeg.err = jpeg_std_error(&r->errors);
  r->errors.error_exit = give_up;
  r->errors.emit_message = ignore_message;
  r->errors.output_message = ignore_output;
  r->jpeg.client_data = r;
}

static void set_input(reader *r) {
  r->source = (struct jpeg_source_mgr){.next_input_byte = r->in->data,
                                       .bytes_in_buffer = r->in->size,
                                       .init_source = nothing,
                                       .fill_input_buffer = out_of_data,
                                       .skip_input_data = skip,
                                       .resync_to_restart = jpeg_resync_to_restart,
                                       .term_source = nothing};
  r->progress.progress_monitor = check_scans;
  r->jpeg.src = &r->source;
  r->jpeg.progress = &r->progress;
}

static void read_rows(reader *r) {
  struct jpeg_decompress_struct *jpeg = &r->jpeg;
  size_t stride = (size_t)r->image.width * 3;
  while (jpeg->output_scanline < jpeg->output_height) {
    uint8_t *first = r->image.rgb + jpeg->output_scanline * stride;
    if (r->cmyk) {
      JSAMPROW row = r->cmyk;
      jpeg_read_scanlines(jpeg, &row, 1);
      convert_cmyk_row(r->cmyk, first, r->image.width);
      continue;
    }
    JSAMPROW rows[ROWS_A_CALL];
    JDIMENSION left = jpeg->output_height - jpeg->output_scanline;
    JDIMENSION n = left < ROWS_A_CALL ? left : ROWS_A_CALL;
    for (JDIMENSION i = 0; i < n; i++) rows[i] = first + i * stride;
    jpeg_read_scanlines(jpeg, rows, n);
  }
}

/* Everything that may longjmp; r->status says how it ended. */
static void decode(reader *r) {
  struct jpeg_decompress_struct *jpeg = &r->jpeg;
  if (setjmp(r->jump)) return;
  jpeg_create_decompress(jpeg);
  set_input(r);
  jpeg_read_header(jpeg, TRUE);
  bool cmyk = jpeg->num_components == 4;
  if (!cmyk && jpeg->num_components != 1 && jpeg->num_components != 3) {
    r->status =
        kin_fail(r->err, KIN_ERR_UNSUPPORTED, "%s: JPEG with %d colour components", r->in->name, jpeg->num_components);
    return;
  }
  jpeg->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  /* This checks the limit, before jpeg_start_decompress allocates for a progressive picture. */
  r->status = kin_image_alloc(r->in, jpeg->image_width, jpeg->image_height, &r->image, r->err);
  if (r->status != KIN_OK) return;
  if (cmyk) {
    r->cmyk = kin_array(r->image.width, 4);
    if (!r->cmyk) {
      r->status = kin_fail(r->err, KIN_ERR_MEMORY, "%s: out of memory for a row of CMYK", r->in->name);
      return;
    }
  }
  jpeg_start_decompress(jpeg);
  /* No jpeg_finish_decompress: what follows the last row doesn't matter (Pillow, too, doesn't mind). */
  read_rows(r);
}

kin_status kin_decode_jpeg(const kin_encoded *in, kin_image *out, kin_error *err) {
  reader *r = calloc(1, sizeof *r);
  if (!r) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for the JPEG decoder", in->name);
  r->in = in;
  r->err = err;
  set_up(r);
  decode(r);
  jpeg_destroy_decompress(&r->jpeg);
  free(r->cmyk);
  kin_status status = r->status;
  if (status == KIN_OK)
    *out = r->image;
  else
    kin_image_free(&r->image);
  free(r);
  return status;
}
