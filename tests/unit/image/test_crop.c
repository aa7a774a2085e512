/* A crop in one go equals decoding, turning, resizing and cropping, byte for byte: every way that JPEG stores a
 * picture, every orientation, landscape and portrait. */
#include "image/image.h"
#include "support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* jpeglib.h needs stdio.h before it. */
#include <jpeglib.h>

typedef struct kind {
  int horizontal, vertical; /* luma samples for one of colour */
  bool progressive, grey;
  unsigned restart;
} kind;
static const kind kinds[] = {{2, 2, false, false, 0}, {2, 1, false, false, 0}, {1, 1, false, false, 0},
                             {1, 2, false, false, 3}, {2, 2, true, false, 0},  {1, 1, true, true, 0},
                             {1, 1, false, true, 0},  {4, 1, false, false, 0}, {2, 2, false, false, 5}};

/* Smooth, with edges and noise, so that neighbours matter. */
static uint8_t value(uint32_t x, uint32_t y, uint32_t c) {
  uint32_t noise = (x * 2654435761u) ^ (y * 40503u + c * 977u);
  noise = noise * 1664525u + 1013904223u;
  const uint32_t edge = (x / 13 + y / 9 + c) % 2 * 90;
  return (uint8_t)((x * (c + 1) + y * 2) % 120 + edge + (noise >> 27));
}

/* Orientation in a minimal EXIF block, big-endian. */
static void write_orientation(struct jpeg_compress_struct *jpeg, unsigned orientation) {
  uint8_t exif[] = {'E', 'x',  'i', 'f', 0, 0, 'M', 'M', 0, 42,
                    0,   0,    0,   8,   0, 1, /* */
                    1,   0x12, 0,   3,   0, 0, 0,   1,   0, (uint8_t)orientation,
                    0,   0,    0,   0,   0, 0};
  jpeg_write_marker(jpeg, JPEG_APP0 + 1, exif, sizeof exif);
}

static size_t make_jpeg(const kind *k, uint32_t width, uint32_t height, unsigned orientation, unsigned char **out) {
  struct jpeg_compress_struct jpeg;
  struct jpeg_error_mgr errors;
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned long size = 0;
  *out = NULL;
  jpeg_mem_dest(&jpeg, out, &size);
  jpeg.image_width = width, jpeg.image_height = height;
  jpeg.input_components = k->grey ? 1 : 3;
  jpeg.in_color_space = k->grey ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, 85, TRUE);
  jpeg.comp_info[0].h_samp_factor = k->horizontal, jpeg.comp_info[0].v_samp_factor = k->vertical;
  jpeg.restart_interval = k->restart;
  if (k->progressive) jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  write_orientation(&jpeg, orientation);
  uint8_t *row = malloc((size_t)width * 3);
  for (uint32_t y = 0; y < height; y++) {
    for (uint32_t i = 0; i < width * (k->grey ? 1u : 3u); i++)
      row[i] = k->grey ? value(i, y, 0) : value(i / 3, y, i % 3);
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  free(row);
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  return size;
}

static const kin_filter filters[] = {KIN_FILTER_BICUBIC, KIN_FILTER_BILINEAR, KIN_FILTER_LANCZOS, KIN_FILTER_NEAREST};

static void check(const void *data, size_t size, const char *name, size_t edge, size_t crop, kin_filter filter) {
  const kin_preprocess p = {.resize = edge > 0,
                            .shortest_edge = edge,
                            .filter = filter,
                            .center_crop = true,
                            .crop_width = crop,
                            .crop_height = crop};
  uint8_t *expected = malloc(crop * crop * 3), *out = malloc(crop * crop * 3);
  kin_image image;
  kin_error err;
  uint32_t width, height;
  test_assert_ok(kin_image_decode(data, size, name, 0, &image, &err), &err);
  test_assert_ok(kin_preprocess_run(&p, &image, expected, &err), &err);
  memset(out, 0xA5, crop * crop * 3);
  test_assert_ok(kin_image_crop(&p, data, size, name, &(kin_crop_options){0}, out, &width, &height, &err), &err);
  assert_int_equal(width, image.width);
  assert_int_equal(height, image.height);
  if (memcmp(out, expected, crop * crop * 3) != 0)
    fail_msg("%s, %u x %u to %zu, crop %zu, filter %d: differs", name, width, height, edge, crop, (int)filter);
  kin_image_free(&image);
  free(expected);
  free(out);
}

static void every_kind_and_orientation(void **state) {
  (void)state;
  static const uint32_t sizes[][2] = {{333, 250}, {250, 333}, {640, 90}, {90, 64}, {17, 33}, {1, 1}, {224, 300}};
  static const size_t crops[][2] = {{64, 64}, {72, 48}, {0, 4}, {300, 224}, {40, 60}};
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
      for (unsigned orientation = 1; orientation <= 8; orientation++) {
        unsigned char *jpeg;
        char name[64];
        snprintf(name, sizeof name, "kind %zu, orientation %u", k, orientation);
        const size_t size = make_jpeg(&kinds[k], sizes[s][0], sizes[s][1], orientation, &jpeg);
        const size_t *c = crops[(k + s + orientation) % 5];
        check(jpeg, size, name, c[0], c[1], filters[(k + orientation) % 4]);
        check(jpeg, size, name, 64, 64, KIN_FILTER_BICUBIC);
        free(jpeg);
      }
}

/* Crops whose edges fall on every place within the decoder's blocks. */
static void every_edge(void **state) {
  (void)state;
  for (uint32_t width = 400; width < 440; width++)
    for (size_t k = 0; k < 5; k++) {
      unsigned char *jpeg;
      size_t size = make_jpeg(&kinds[k], width, 120, 1, &jpeg);
      check(jpeg, size, "wide", 60, 60, KIN_FILTER_BICUBIC);
      free(jpeg);
      size = make_jpeg(&kinds[k], 120, width, 1, &jpeg);
      check(jpeg, size, "high", 60, 60, KIN_FILTER_BICUBIC);
      free(jpeg);
    }
}

static void every_picture_at_hand(void **state) {
  (void)state;
  char *folder = test_source_path("tests/data/images");
  DIR *dir = opendir(folder);
  assert_non_null(dir);
  size_t n = 0;
  for (struct dirent *e; (e = readdir(dir));) {
    char *path = kin_format("%s/%s", folder, e->d_name);
    kin_map map;
    kin_image image;
    if (kin_image_has_known_extension(path) && kin_map_open(path, &map, NULL) == KIN_OK) {
      if (kin_image_decode(map.data, map.size, path, 0, &image, NULL) == KIN_OK) {
        kin_image_free(&image);
        check(map.data, map.size, path, 60, 56, KIN_FILTER_BICUBIC);
        n++;
      }
      kin_map_close(&map);
    }
    free(path);
  }
  closedir(dir);
  free(folder);
  assert_true(n > 60);
}

/* What the crop doesn't need must still be there, as when everything is decoded. */
static void missing_data_is_an_error(void **state) {
  (void)state;
  const kin_preprocess p = {.resize = true,
                            .shortest_edge = 32,
                            .filter = KIN_FILTER_BICUBIC,
                            .center_crop = true,
                            .crop_width = 32,
                            .crop_height = 32};
  uint8_t *out = malloc(32 * 32 * 3);
  uint32_t width, height;
  kin_error err;
  for (size_t k = 0; k < 5; k++) {
    unsigned char *jpeg;
    const size_t size = make_jpeg(&kinds[k], 100, 400, 1, &jpeg);
    for (size_t keep = 20; keep < size - 2; keep += size / 37)
      test_assert_error(kin_image_crop(&p, jpeg, keep, "half.jpg", &(kin_crop_options){0}, out, &width, &height, &err),
                        KIN_ERR_FORMAT, &err, "half.jpg: truncated JPEG");
    test_assert_error(
        kin_image_crop(&p, jpeg, size, "big.jpg", &(kin_crop_options){.max_pixels = 39999}, out, &width, &height, &err),
        KIN_ERR_LIMIT, &err, "big.jpg: 100 x 400 pixels");
    free(jpeg);
  }
  test_assert_error(kin_image_crop(&p, "", 0, "none.jpg", &(kin_crop_options){0}, out, &width, &height, &err),
                    KIN_ERR_FORMAT, &err, "none.jpg: the file is empty");
  free(out);
}

/* Reduced decoding gives nearly the same picture, and the same one where it is not large enough. */
static void fast_is_close(void **state) {
  (void)state;
  static const struct {
    uint32_t width, height;
    double most; /* mean difference */
  } cases[] = {{1200, 900, 6}, {900, 1200, 6}, {3000, 400, 6}, {100, 90, 0}};
  const kin_preprocess p = {.resize = true,
                            .shortest_edge = 60,
                            .filter = KIN_FILTER_BICUBIC,
                            .center_crop = true,
                            .crop_width = 60,
                            .crop_height = 60};
  enum { BYTES = 60 * 60 * 3 };
  uint8_t exact[BYTES], fast[BYTES];
  uint32_t width, height;
  kin_error err;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
      for (unsigned orientation = 1; orientation <= 8; orientation += 5) {
        unsigned char *jpeg;
        const size_t size = make_jpeg(&kinds[k], cases[i].width, cases[i].height, orientation, &jpeg);
        test_assert_ok(kin_image_crop(&p, jpeg, size, "x", &(kin_crop_options){0}, exact, &width, &height, &err), &err);
        test_assert_ok(
            kin_image_crop(&p, jpeg, size, "x", &(kin_crop_options){.fast = true}, fast, &width, &height, &err), &err);
        assert_int_equal(width, orientation == 6 ? cases[i].height : cases[i].width);
        double sum = 0;
        for (size_t b = 0; b < BYTES; b++) sum += abs(exact[b] - fast[b]);
        if (sum / BYTES > cases[i].most) fail_msg("kind %zu, case %zu: mean difference %g", k, i, sum / BYTES);
        assert_true(cases[i].most > 0 ? sum > 0 : sum == 0);
        free(jpeg);
      }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_kind_and_orientation),
      cmocka_unit_test(every_edge),
      cmocka_unit_test(every_picture_at_hand),
      cmocka_unit_test(missing_data_is_an_error),
      cmocka_unit_test(fast_is_close),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
