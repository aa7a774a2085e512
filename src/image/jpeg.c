/* JPEG by libjpeg-turbo: grey, YCbCr, RGB, CMYK and YCCK, baseline or progressive; as a whole, or straight into the
 * encoder's crop. */
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
/* Columns beside the wanted ones: the upsampling of colours looks at neighbours. */
#define NEIGHBOURS 16
/* How many times the width and height that are needed a reduced picture must have: at 1 the vectors differ ten times
 * as much, for a sixth less time. */
#define FAST_MARGIN 2
/* Bytes after a row that the resize may read, so that it has few outputs left that its wide kernels can't reach. */
#define SLACK 256

/* What a crop needs beside the decoder. */
typedef struct crop_job {
  const kin_preprocess *preprocess;
  bool fast;
  uint8_t *out;
  uint32_t width, height; /* of the whole picture, upright */
  kin_resizer *resizer;
  uint8_t *rows; /* [ROWS_A_CALL][width + SLACK] */
  size_t stride;
} crop_job;

typedef struct reader {
  struct jpeg_decompress_struct jpeg;
  struct jpeg_error_mgr errors;
  struct jpeg_source_mgr source;
  struct jpeg_progress_mgr progress;
  jmp_buf jump;
  const kin_encoded *in;
  bool started;    /* the header was read */
  kin_image image; /* the whole picture, unless crop */
  crop_job *crop;
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
  if (r->started)
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

/* Read up to `n` rows of the `width` pixels that the decoder gives; how many there were. */
static JDIMENSION read_some(reader *r, uint8_t *first, size_t stride, JDIMENSION n) {
  struct jpeg_decompress_struct *jpeg = &r->jpeg;
  if (r->cmyk) {
    JSAMPROW row = r->cmyk;
    jpeg_read_scanlines(jpeg, &row, 1);
    convert_cmyk_row(r->cmyk, first, jpeg->output_width);
    return 1;
  }
  JSAMPROW rows[ROWS_A_CALL];
  if (n > ROWS_A_CALL) n = ROWS_A_CALL;
  for (JDIMENSION i = 0; i < n; i++) rows[i] = first + i * stride;
  return jpeg_read_scanlines(jpeg, rows, n);
}

static void read_whole(reader *r) {
  struct jpeg_decompress_struct *jpeg = &r->jpeg;
  const size_t stride = (size_t)r->image.width * 3;
  while (jpeg->output_scanline < jpeg->output_height)
    read_some(r, r->image.rgb + jpeg->output_scanline * stride, stride, jpeg->output_height - jpeg->output_scanline);
}

/* Read past the rows up to `end`, without their pixels, but so that missing data is noticed. */
static void skip_rows(reader *r, JDIMENSION end) {
  if (end > r->jpeg.output_scanline) jpeg_skip_scanlines(&r->jpeg, end - r->jpeg.output_scanline);
}

/* Decode what the resizer reads and hand it on. */
static void read_crop(reader *r) {
  struct jpeg_decompress_struct *jpeg = &r->jpeg;
  crop_job *c = r->crop;
  const kin_region reads = kin_resizer_reads(c->resizer);
  JDIMENSION left = reads.x > NEIGHBOURS ? reads.x - NEIGHBOURS : 0, right = reads.x + reads.width + NEIGHBOURS;
  if (right > jpeg->output_width) right = jpeg->output_width;
  JDIMENSION width = right - left;
  if (!r->cmyk && width < jpeg->output_width) jpeg_crop_scanline(jpeg, &left, &width);
  if (r->cmyk) left = 0;
  const size_t before = (size_t)(reads.x - left) * 3;
  skip_rows(r, reads.y);
  for (JDIMENSION end = reads.y + reads.height; jpeg->output_scanline < end;) {
    JDIMENSION n = 0;
    const uint8_t *rows[ROWS_A_CALL];
    while (n < ROWS_A_CALL && jpeg->output_scanline < end) {
      JDIMENSION most = end - jpeg->output_scanline;
      if (most > ROWS_A_CALL - n) most = ROWS_A_CALL - n;
      n += read_some(r, c->rows + n * c->stride, c->stride, most);
    }
    for (JDIMENSION i = 0; i < n; i++) rows[i] = c->rows + i * c->stride + before;
    kin_resizer_push(c->resizer, rows, n, c->stride - before, false);
  }
  /* Skipping up to the very end would not look at the data. */
  if (jpeg->output_scanline == jpeg->output_height) return;
  skip_rows(r, jpeg->output_height - 1);
  read_some(r, c->rows, c->stride, 1);
}

/* The largest reduction, of 1/2, 1/4 and 1/8, that leaves FAST_MARGIN times the pixels that the resize makes. */
static void choose_reduction(reader *r, const kin_resize *job) {
  const bool swap = job->orientation >= 5;
  const uint64_t needed_width = swap ? job->out_height : job->out_width;
  const uint64_t needed_height = swap ? job->out_width : job->out_height;
  unsigned reduction = 8;
  while (reduction > 1 && (r->jpeg.image_width < needed_width * reduction * FAST_MARGIN ||
                           r->jpeg.image_height < needed_height * reduction * FAST_MARGIN))
    reduction /= 2;
  r->jpeg.scale_num = 1;
  r->jpeg.scale_denom = reduction;
}

static kin_status start_crop(reader *r) {
  struct jpeg_decompress_struct *jpeg = &r->jpeg;
  crop_job *c = r->crop;
  kin_status status = kin_image_check_size(r->in, jpeg->image_width, jpeg->image_height, r->err);
  if (status != KIN_OK) return status;
  const unsigned orientation = kin_jpeg_orientation(r->in->data, r->in->size);
  c->width = orientation >= 5 ? jpeg->image_height : jpeg->image_width;
  c->height = orientation >= 5 ? jpeg->image_width : jpeg->image_height;
  kin_resize job;
  status = kin_preprocess_plan(c->preprocess, c->width, c->height, c->out, &job, r->err);
  if (status != KIN_OK) return status;
  job.orientation = orientation;
  if (c->fast) choose_reduction(r, &job);
  jpeg_calc_output_dimensions(jpeg);
  job.width = jpeg->output_width;
  job.height = jpeg->output_height;
  status = kin_resizer_open(&job, &c->resizer, r->err);
  if (status != KIN_OK) return status;
  c->stride = (size_t)jpeg->output_width * 3 + SLACK;
  c->rows = calloc(ROWS_A_CALL, c->stride);
  return c->rows ? KIN_OK : kin_fail(r->err, KIN_ERR_MEMORY, "%s: out of memory for rows of a JPEG", r->in->name);
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
  r->started = true;
  /* Either checks the limit, before jpeg_start_decompress allocates for a progressive picture. */
  r->status =
      r->crop ? start_crop(r) : kin_image_alloc(r->in, jpeg->image_width, jpeg->image_height, &r->image, r->err);
  if (r->status != KIN_OK) return;
  if (cmyk) {
    r->cmyk = kin_array(jpeg->image_width, 4);
    if (!r->cmyk) {
      r->status = kin_fail(r->err, KIN_ERR_MEMORY, "%s: out of memory for a row of CMYK", r->in->name);
      return;
    }
  }
  jpeg_start_decompress(jpeg);
  /* No jpeg_finish_decompress: what follows the last row doesn't matter (Pillow, too, doesn't mind). */
  if (r->crop)
    read_crop(r);
  else
    read_whole(r);
}

/* With `crop` NULL, *out gets the whole picture. */
static kin_status run(const kin_encoded *in, crop_job *crop, kin_image *out, kin_error *err) {
  reader *r = calloc(1, sizeof *r);
  if (!r) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for the JPEG decoder", in->name);
  r->in = in;
  r->err = err;
  r->crop = crop;
  set_up(r);
  decode(r);
  jpeg_destroy_decompress(&r->jpeg);
  free(r->cmyk);
  kin_status status = r->status;
  if (status == KIN_OK && out)
    *out = r->image;
  else
    kin_image_free(&r->image);
  free(r);
  return status;
}

kin_status kin_decode_jpeg(const kin_encoded *in, kin_image *out, kin_error *err) {
  return run(in, NULL, out, err);
}

kin_status kin_crop_jpeg(const kin_encoded *in, const kin_preprocess *p, bool fast, uint8_t *out, uint32_t *width,
                         uint32_t *height, kin_error *err) {
  crop_job c = {.preprocess = p, .fast = fast, .out = out};
  kin_status status = run(in, &c, NULL, err);
  if (status == KIN_OK) status = kin_resizer_finish(c.resizer, err);
  kin_resizer_close(c.resizer);
  free(c.rows);
  *width = c.width;
  *height = c.height;
  return status;
}
