/* Decoding, resizing and cropping against Pillow and transformers: every line of references.tsv. */
#include "image/image.h"
#include "support.h"

#include <spng.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FIELDS 8

static char *data_path(const char *name) {
  char *relative = kin_format("tests/data/images/%s", name);
  char *path = test_source_path(relative);
  free(relative);
  return path;
}

/* Read an expected PNG by libspng alone, so that our decoder isn't its own reference. */
static kin_image read_expected(const char *name) {
  char *path = data_path(name);
  kin_map map;
  kin_error err;
  test_assert_ok(kin_map_open(path, &map, &err), &err);
  spng_ctx *png = spng_ctx_new(0);
  struct spng_ihdr header;
  size_t size;
  assert_int_equal(spng_set_png_buffer(png, map.data, map.size), 0);
  assert_int_equal(spng_get_ihdr(png, &header), 0);
  assert_int_equal(spng_decoded_image_size(png, SPNG_FMT_RGB8, &size), 0);
  kin_image image = {header.width, header.height, malloc(size)};
  assert_int_equal(spng_decode_image(png, image.rgb, size, SPNG_FMT_RGB8, 0), 0);
  spng_ctx_free(png);
  kin_map_close(&map);
  free(path);
  return image;
}

static int max_difference(const kin_image *a, const kin_image *b) {
  if (a->width != b->width || a->height != b->height) return 256;
  int most = 0;
  for (size_t i = 0; i < (size_t)a->width * a->height * 3; i++) {
    int difference = abs(a->rgb[i] - b->rgb[i]);
    if (difference > most) most = difference;
  }
  return most;
}

/* Compare with a PNG (within a level) or with a hash (exactly). */
static bool agrees(const kin_image *image, const char *what, const char *file, const char *expected) {
  if (expected[0] == '=') {
    char hex[65];
    kin_sha256 *hash = kin_sha256_new();
    kin_sha256_update(hash, image->rgb, (size_t)image->width * image->height * 3);
    kin_sha256_finish(hash, hex);
    if (strcmp(hex, expected + 1) == 0) return true;
    printf("%s of %s to %u x %u differs\n", what, file, image->width, image->height);
    return false;
  }
  kin_image reference = read_expected(expected);
  int difference = max_difference(image, &reference);
  printf("%s %s: largest difference %d\n", what, file, difference);
  kin_image_free(&reference);
  return difference <= 1;
}

static kin_preprocess crop_of(char **fields) {
  static const kin_filter filters[] = {KIN_FILTER_NEAREST, KIN_FILTER_LANCZOS, KIN_FILTER_BILINEAR, KIN_FILTER_BICUBIC};
  size_t crop = (size_t)atoi(fields[3]);
  return (kin_preprocess){.resize = true,
                          .shortest_edge = (size_t)atoi(fields[2]),
                          .filter = filters[atoi(fields[4])],
                          .center_crop = true,
                          .crop_width = crop,
                          .crop_height = crop};
}

static bool check_line(char **fields, size_t n, const kin_image *image) {
  kin_error err;
  if (strcmp(fields[0], "decode") == 0 && n == 3) return agrees(image, "decode", fields[1], fields[2]);
  if (strcmp(fields[0], "crop") == 0 && n == 6) {
    const kin_preprocess p = crop_of(fields);
    kin_image crop = {(uint32_t)p.crop_width, (uint32_t)p.crop_height, malloc(p.crop_width * p.crop_height * 3)};
    test_assert_ok(kin_preprocess_run(&p, image, crop.rgb, &err), &err);
    bool ok = agrees(&crop, "crop", fields[1], fields[5]);
    kin_image_free(&crop);
    return ok;
  }
  assert_string_equal(fields[0], "resize");
  assert_int_equal(n, 6);
  kin_image resized;
  const kin_filter filter = crop_of(fields).filter;
  test_assert_ok(kin_image_resize(image, (uint32_t)atoi(fields[2]), (uint32_t)atoi(fields[3]), filter, &resized, &err),
                 &err);
  bool ok = agrees(&resized, "resize", fields[1], fields[5]);
  kin_image_free(&resized);
  return ok;
}

static void every_reference_agrees(void **state) {
  (void)state;
  char *path = data_path("references.tsv"), *text;
  size_t size, lines = 0, failures = 0, skipped = 0;
  kin_error err;
  test_assert_ok(kin_read_file(path, 1 << 20, &text, &size, &err), &err);
  free(path);
  char *rest = text, *line;
  while ((line = strsep(&rest, "\n")) && *line) {
    char *fields[MAX_FIELDS], *field;
    size_t n = 0;
    while (n < MAX_FIELDS && (field = strsep(&line, "\t"))) fields[n++] = field;
    assert_true(n >= 3);
    char *picture = data_path(fields[1]);
    kin_image image;
    kin_status status = kin_image_decode_file(picture, 0, &image, &err);
    free(picture);
    lines++;
    if (status == KIN_ERR_UNSUPPORTED && strstr(err.message, "install")) {
      printf("skipped: %s\n", err.message);
      skipped++;
      continue;
    }
    test_assert_ok(status, &err);
    failures += !check_line(fields, n, &image);
    kin_image_free(&image);
  }
  free(text);
  printf("%zu references, %zu failed, %zu skipped\n", lines, failures, skipped);
  assert_true(lines > 200);
  assert_int_equal(failures, 0);
}

/* There is no second RAW decoder to compare with; the DNG was made from this photo, so the result must
 * look like it: the same content, turned by its orientation tag. */
static void raw_looks_like_its_source(void **state) {
  (void)state;
  char *raw_path = data_path("bayer.dng"), *photo_path = data_path("photo.jpg");
  kin_image raw, photo, small;
  kin_error err;
  kin_status status = kin_image_decode_file(raw_path, 0, &raw, &err);
  if (status == KIN_ERR_UNSUPPORTED) {
    print_message("skipped: %s\n", err.message);
    skip();
  }
  test_assert_ok(status, &err);
  assert_int_equal(raw.width, 106);
  assert_int_equal(raw.height, 160);
  test_assert_ok(kin_image_decode_file(photo_path, 0, &photo, &err), &err);
  test_assert_ok(kin_image_resize(&photo, 160, 106, KIN_FILTER_BICUBIC, &small, &err), &err);
  double sum = 0;
  for (size_t y = 0; y < 106; y++)
    for (size_t x = 0; x < 160; x++)
      for (size_t c = 0; c < 3; c++)
        sum += abs(small.rgb[(y * 160 + x) * 3 + c] - raw.rgb[(x * 106 + (105 - y)) * 3 + c]);
  double mean = sum / (106 * 160 * 3);
  printf("bayer.dng: mean difference from its source %.1f\n", mean);
  assert_true(mean < 25);
  kin_image_free(&raw);
  kin_image_free(&photo);
  kin_image_free(&small);
  free(raw_path);
  free(photo_path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_reference_agrees),
      cmocka_unit_test(raw_looks_like_its_source),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
