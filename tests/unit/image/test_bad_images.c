/* Pictures that are truncated, damaged, hostile or no pictures at all: a clear error, never a crash. */
#include "image/codec.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* libdav1d, which libheif calls, loses a few bytes when an AVIF is damaged; that is not ours to mend. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
  return "leak:libdav1d.so\n";
}

static const char *const one_of_each[] = {
    "photo.jpg",      "progressive.jpg", "cmyk_adobe.jpg", "rgb8.png",      "rgb16_interlaced.png",
    "palette4.png",   "lossy.webp",      "lossless.webp",  "animated.webp", "plain.gif",
    "interlaced.gif", "photo.avif",      "photo.heic",     "bayer.dng"};
enum { N_FORMATS = sizeof one_of_each / sizeof one_of_each[0] };

static uint8_t *read_picture(const char *name, size_t *size) {
  char *relative = kin_format("tests/data/images/%s", name), *path = test_source_path(relative), *bytes;
  kin_error err;
  test_assert_ok(kin_read_file(path, 1 << 20, &bytes, size, &err), &err);
  free(relative);
  free(path);
  return (uint8_t *)bytes;
}

/* Decode from a buffer of exactly `size` bytes, so that ASan sees a read over its end. */
static kin_status decode_bytes(const uint8_t *bytes, size_t size, uint64_t max_pixels, kin_error *err) {
  uint8_t *copy = malloc(size ? size : 1);
  memcpy(copy, bytes, size);
  kin_image image;
  *err = (kin_error){0};
  kin_status status = kin_image_decode(copy, size, "holiday.jpg", max_pixels, &image, err);
  if (status == KIN_OK) {
    assert_non_null(image.rgb);
    assert_true(image.width > 0 && image.height > 0);
  } else {
    assert_null(image.rgb);
    assert_int_equal(err->status, status);
    if (!strstr(err->message, "holiday.jpg")) fail_msg("the message doesn't name the file: %s", err->message);
  }
  kin_image_free(&image);
  free(copy);
  return status;
}

static void truncated_pictures_are_refused(void **state) {
  (void)state;
  for (size_t i = 0; i < N_FORMATS; i++) {
    size_t size;
    uint8_t *bytes = read_picture(one_of_each[i], &size);
    kin_error err;
    for (size_t percent = 3; percent <= 90; percent += 3) {
      kin_status status = decode_bytes(bytes, size * percent / 100, 0, &err);
      if (status == KIN_ERR_UNSUPPORTED && strstr(err.message, "install")) break;
      if (status != KIN_ERR_FORMAT && status != KIN_ERR_UNSUPPORTED)
        fail_msg("%s cut to %zu%%: %s", one_of_each[i], percent, kin_status_name(status));
      if (percent == 60) test_assert_error(status, KIN_ERR_FORMAT, &err, "truncated");
    }
    free(bytes);
  }
}

static void damaged_pictures_never_crash(void **state) {
  (void)state;
  uint32_t random = 1;
  for (size_t i = 0; i < N_FORMATS; i++) {
    size_t size;
    uint8_t *bytes = read_picture(one_of_each[i], &size), *damaged = malloc(size);
    for (int round = 0; round < 60; round++) {
      memcpy(damaged, bytes, size);
      for (int hits = 0; hits < 1 + round / 10; hits++) {
        random = random * 1664525u + 1013904223u;
        /* Half of the hits fall into the first bytes, where the headers are. */
        size_t range = random & 0x100 ? size : size < 200 ? size : 200;
        damaged[(random >> 9) % range] ^= (uint8_t)(1u << (random & 7));
      }
      kin_error err;
      decode_bytes(damaged, size, 1 << 22, &err);
    }
    free(damaged);
    free(bytes);
  }
}

static void damage_is_named(void **state) {
  (void)state;
  size_t size;
  kin_error err;
  uint8_t *bytes = read_picture("rgb8.png", &size);
  bytes[size / 2] ^= 0xff;
  test_assert_error(decode_bytes(bytes, size, 0, &err), KIN_ERR_FORMAT, &err, "bad PNG");
  free(bytes);
  bytes = read_picture("photo.jpg", &size);
  memset(bytes + 20, 0, 300); /* the quantisation tables, among others */
  test_assert_error(decode_bytes(bytes, size, 0, &err), KIN_ERR_FORMAT, &err, "bad JPEG");
  free(bytes);
  bytes = read_picture("lossless.webp", &size);
  memset(bytes + 30, 0xff, 200);
  test_assert_error(decode_bytes(bytes, size, 0, &err), KIN_ERR_FORMAT, &err, "bad WebP");
  free(bytes);
  bytes = read_picture("plain.gif", &size);
  memset(bytes + 13 + 768 + 40, 0xff, 200);
  test_assert_error(decode_bytes(bytes, size, 0, &err), KIN_ERR_FORMAT, &err, "bad GIF");
  free(bytes);
}

static void bombs_are_refused_from_their_header(void **state) {
  (void)state;
  static const char *const bombs[] = {"bad/bomb.png", "bad/bomb.jpg", "bad/bomb_progressive.jpg", "bad/bomb.gif"};
  kin_error err;
  size_t size;
  for (size_t i = 0; i < sizeof bombs / sizeof bombs[0]; i++) {
    uint8_t *bytes = read_picture(bombs[i], &size);
    test_assert_error(decode_bytes(bytes, size, 0, &err), KIN_ERR_LIMIT, &err, "60000 x 60000 pixels");
    free(bytes);
  }
  for (size_t i = 0; i < N_FORMATS; i++) {
    uint8_t *bytes = read_picture(one_of_each[i], &size);
    kin_status status = decode_bytes(bytes, size, 100, &err);
    if (status != KIN_ERR_UNSUPPORTED || !strstr(err.message, "install"))
      test_assert_error(status, KIN_ERR_LIMIT, &err, "more than the limit of 100");
    free(bytes);
  }
}

/* Repeating a scan of a progressive JPEG makes a small file that takes for ever. */
static void endless_scans_are_refused(void **state) {
  (void)state;
  size_t size, last = 0;
  kin_error err;
  uint8_t *bytes = read_picture("progressive.jpg", &size);
  for (size_t i = 0; i + 1 < size; i++)
    if (bytes[i] == 0xff && bytes[i + 1] == 0xda) last = i;
  const size_t scan = size - 2 - last, copies = 150;
  uint8_t *many = malloc(last + copies * scan + 2);
  memcpy(many, bytes, last);
  for (size_t i = 0; i < copies; i++) memcpy(many + last + i * scan, bytes + last, scan);
  memcpy(many + last + copies * scan, "\xff\xd9", 2);
  test_assert_error(decode_bytes(many, last + copies * scan + 2, 0, &err), KIN_ERR_LIMIT, &err, "scans");
  free(many);
  free(bytes);
}

static void a_missing_library_is_named(void **state) {
  (void)state;
  static const char *const names[] = {"libno-such-decoder.so.1", NULL}, *const any[] = {"libc.so.6", NULL};
  const kin_encoded in = {.name = "holiday.heic"};
  void (*function)(void);
  const kin_symbol symbol = {"no_such_function_in_any_library", (void *)&function};
  void *handle;
  kin_error err;
  test_assert_error(kin_library_open(&in, names, "HEIC", "package libheif1", &symbol, 1, &handle, &err),
                    KIN_ERR_UNSUPPORTED, &err, "install package libheif1");
  test_assert_error(kin_library_open(&in, any, "HEIC", "package libheif1", &symbol, 1, &handle, &err),
                    KIN_ERR_UNSUPPORTED, &err, "update package libheif1");
}

static void what_is_no_picture_is_refused(void **state) {
  (void)state;
  kin_error err;
  static const char text[] = "Dear diary, today I renamed a text file to holiday.jpg.\n";
  test_assert_error(decode_bytes((const uint8_t *)text, sizeof text, 0, &err), KIN_ERR_UNSUPPORTED, &err,
                    "not a picture");
  test_assert_error(decode_bytes((const uint8_t *)"", 0, 0, &err), KIN_ERR_FORMAT, &err, "empty");
  static const uint8_t tiff[] = "II*\0\x08\0\0\0\0\0\0\0\0\0\0\0";
  assert_int_not_equal(decode_bytes(tiff, sizeof tiff, 0, &err), KIN_OK);
  for (size_t n = 1; n < 16; n++) {
    assert_int_not_equal(decode_bytes((const uint8_t *)"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", n, 0, &err), KIN_OK);
    assert_int_not_equal(decode_bytes((const uint8_t *)"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0", n, 0, &err), KIN_OK);
    assert_int_not_equal(decode_bytes((const uint8_t *)"RIFF\xff\xff\0\0WEBPVP8 ", n, 0, &err), KIN_OK);
    assert_int_not_equal(decode_bytes((const uint8_t *)"GIF89a\1\0\1\0\0\0\0,\0\0", n, 0, &err), KIN_OK);
    assert_int_not_equal(decode_bytes((const uint8_t *)"\0\0\0\x10"
                                                       "ftypavif\0\0\0\0",
                                      n, 0, &err),
                         KIN_OK);
  }
}

static void files_that_cannot_be_read(void **state) {
  (void)state;
  kin_error err;
  kin_image image;
  char *dir = test_temporary_folder();
  test_assert_error(kin_image_decode_file(dir, 0, &image, &err), KIN_ERR_IO, &err, "is a directory");
  char *missing = kin_format("%s/missing.jpg", dir);
  test_assert_error(kin_image_decode_file(missing, 0, &image, &err), KIN_ERR_IO, &err, "missing.jpg");
  test_write_file(dir, "empty.jpg", "", 0);
  char *path = kin_format("%s/empty.jpg", dir);
  test_assert_error(kin_image_decode_file(path, 0, &image, &err), KIN_ERR_FORMAT, &err, "empty.jpg");
  assert_int_equal(chmod(path, 0), 0);
  if (geteuid() != 0) /* root may read everything */
    test_assert_error(kin_image_decode_file(path, 0, &image, &err), KIN_ERR_IO, &err, "empty.jpg");
  assert_null(image.rgb);
  free(path);
  free(missing);
  test_remove_tree(dir);
  free(dir);
}

static void extensions(void **state) {
  (void)state;
  static const char *const yes[] = {"a.jpg", "/b.d/a.JPEG", "x.y.png", "a.WebP", "a.heic", "a.dng", ".a.gif"};
  static const char *const no[] = {"a.txt", "jpg", "/b.jpg/a", "a.", "", "a.jpg/", "a.jpgx", "a.db"};
  for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) assert_true(kin_image_has_known_extension(yes[i]));
  for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) assert_false(kin_image_has_known_extension(no[i]));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(truncated_pictures_are_refused),
      cmocka_unit_test(damaged_pictures_never_crash),
      cmocka_unit_test(damage_is_named),
      cmocka_unit_test(bombs_are_refused_from_their_header),
      cmocka_unit_test(endless_scans_are_refused),
      cmocka_unit_test(a_missing_library_is_named),
      cmocka_unit_test(what_is_no_picture_is_refused),
      cmocka_unit_test(files_that_cannot_be_read),
      cmocka_unit_test(extensions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
