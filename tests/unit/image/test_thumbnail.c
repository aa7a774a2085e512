/* Thumbnails: their size, and a JPEG that decodes to what was put in. */
#include "image/image.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>

static void test_sizes(void **state) {
  (void)state;
  static const struct {
    const char *name;
    uint32_t side, width, height;
  } cases[] = {
      {"20000x10.png", 256, 256, 1}, {"1x300.png", 30, 1, 30}, {"1x1.png", 16, 1, 1}, {"10x3000.png", 300, 1, 300}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    kin_error err;
    kin_image image;
    char name[64];
    snprintf(name, sizeof name, "tests/data/images/%s", cases[i].name);
    char *path = test_source_path(name);
    test_assert_ok(kin_image_thumbnail(path, 0, cases[i].side, &image, &err), &err);
    assert_int_equal(image.width, cases[i].width);
    assert_int_equal(image.height, cases[i].height);
    kin_image_free(&image);
    free(path);
  }
  kin_error err;
  kin_image image;
  test_assert_error(kin_image_thumbnail("/nowhere.png", 0, 10, &image, &err), KIN_ERR_IO, &err, "/nowhere.png");
}

/* A photo comes back with a mean error of a few levels; quality 100 is nearer and larger than 30. */
static void test_jpeg_round_trip(void **state) {
  (void)state;
  kin_error err;
  kin_image photo, back;
  char *path = test_source_path("tests/data/images/photo.jpg");
  test_assert_ok(kin_image_thumbnail(path, 0, 200, &photo, &err), &err);
  size_t sizes[2], bytes = (size_t)photo.width * photo.height * 3;
  double errors[2];
  const int qualities[] = {30, 100};
  for (size_t i = 0; i < 2; i++) {
    uint8_t *jpeg;
    test_assert_ok(kin_image_encode_jpeg(&photo, qualities[i], &jpeg, &sizes[i], &err), &err);
    test_assert_ok(kin_image_decode(jpeg, sizes[i], "thumbnail", 0, &back, &err), &err);
    assert_int_equal(back.width, photo.width);
    assert_int_equal(back.height, photo.height);
    double sum = 0;
    for (size_t j = 0; j < bytes; j++) sum += abs(back.rgb[j] - photo.rgb[j]);
    errors[i] = sum / (double)bytes;
    kin_image_free(&back);
    free(jpeg);
  }
  assert_true(sizes[0] < sizes[1] && errors[1] < errors[0] && errors[0] < 12 && errors[1] < 4);
  kin_image_free(&photo);
  free(path);
}

/* Also for a reader of other people's making: tests/cli/test_map.py. */
static void test_png_round_trip(void **state) {
  (void)state;
  kin_error err;
  kin_image photo, back;
  uint8_t *png;
  size_t size;
  char *path = test_source_path("tests/data/images/photo.jpg");
  test_assert_ok(kin_image_thumbnail(path, 0, 200, &photo, &err), &err);
  test_assert_ok(kin_image_encode_png(&photo, &png, &size, &err), &err);
  test_assert_ok(kin_image_decode(png, size, "picture", 0, &back, &err), &err);
  assert_int_equal(back.width, photo.width);
  assert_int_equal(back.height, photo.height);
  assert_memory_equal(back.rgb, photo.rgb, (size_t)photo.width * photo.height * 3);
  kin_image_free(&photo), kin_image_free(&back);
  free(png), free(path);
}

/* Noise, which JPEG can't make small. */
static void test_noise_and_what_is_too_large(void **state) {
  (void)state;
  enum { SIDE = 64 };
  kin_error err;
  uint8_t pixels[SIDE * SIDE * 3], *jpeg;
  size_t size;
  uint32_t random = 1;
  for (size_t i = 0; i < sizeof pixels; i++) {
    random = random * 1664525u + 1013904223u;
    pixels[i] = (uint8_t)(random >> 24);
  }
  kin_image image = {SIDE, SIDE, pixels}, back;
  test_assert_ok(kin_image_encode_jpeg(&image, 100, &jpeg, &size, &err), &err);
  test_assert_ok(kin_image_decode(jpeg, size, "noise", 0, &back, &err), &err);
  kin_image_free(&back);
  free(jpeg);
  image = (kin_image){70000, 1, pixels};
  test_assert_error(kin_image_encode_jpeg(&image, 80, &jpeg, &size, &err), KIN_ERR_ARGUMENT, &err, "70000x1");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes), cmocka_unit_test(test_jpeg_round_trip),
                                     cmocka_unit_test(test_png_round_trip),
                                     cmocka_unit_test(test_noise_and_what_is_too_large)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
