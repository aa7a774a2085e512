/* Date and camera of photos, against what exiftool and Pillow wrote and exiftool reads. */
#include "image/exif.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *path_of(const char *name) {
  char *relative = kin_format("tests/data/exif/%s", name), *path = test_source_path(relative);
  free(relative);
  return path;
}

/* "2023:05:01 14:30:00" as ISO 8601. */
static void to_iso(char *date) {
  if (!*date) return;
  date[4] = date[7] = '-', date[10] = 'T';
}

static void test_exif_is_exiftools(void **state) {
  (void)state;
  char *lines[64];
  const size_t n = test_read_lines("tests/data/exif/exif.tsv", lines, 64);
  assert_true(n >= 12);
  for (size_t i = 0; i < n; i++) {
    char *rest = lines[i], *name = strsep(&rest, "\t"), *date = strsep(&rest, "\t"), *make = strsep(&rest, "\t");
    const char *model = rest;
    char camera[128], *path = path_of(name);
    kin_exif exif;
    kin_error err = {0};
    to_iso(date);
    /* The maker's first word isn't said twice. */
    const size_t word = strcspn(make, " ");
    const bool twice = !*make || (*model && strncmp(make, model, word) == 0);
    snprintf(camera, sizeof camera, "%s%s%s", twice ? "" : make, twice || !*model ? "" : " ", model);
    test_assert_ok(kin_image_read_exif(path, &exif, &err), &err);
    if (strcmp(exif.date, date) != 0 || strcmp(exif.camera, camera) != 0)
      fail_msg("%s: \"%s\", \"%s\" instead of \"%s\", \"%s\"", name, exif.date, exif.camera, date, camera);
    free(path), free(lines[i]);
  }
}

static void test_without(void **state) {
  (void)state;
  kin_exif exif;
  kin_error err = {0};
  char *path = test_source_path("tests/data/images/photo.heic");
  test_assert_ok(kin_image_read_exif(path, &exif, &err), &err);
  assert_string_equal(exif.date, "");
  free(path);
  assert_int_equal(kin_image_read_exif("no/such.jpg", &exif, &err), KIN_ERR_IO);
  kin_image_find_exif((const uint8_t *)"II*", 3, &exif);
  assert_string_equal(exif.camera, "");
}

/* Whatever is cut off or changed, nothing outside is read, and it ends. */
static void test_damaged(void **state) {
  (void)state;
  static const char *const names[] = {"all.jpg", "big.jpg", "all.png", "all.webp", "all.tif", "all.avif"};
  uint32_t seed = 7;
  for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
    char *path = path_of(names[k]), *file;
    size_t size;
    kin_error err = {0};
    kin_exif exif;
    test_assert_ok(kin_read_file(path, 1 << 20, &file, &size, &err), &err);
    for (size_t cut = 0; cut < size; cut++) {
      uint8_t *part = malloc(cut + 1); /* of its own, so that a sanitizer sees its end */
      memcpy(part, file, cut);
      kin_image_find_exif(part, cut, &exif);
      free(part);
    }
    for (size_t round = 0; round < 3000; round++) {
      uint8_t *copy = malloc(size);
      memcpy(copy, file, size);
      for (int i = 0; i < 4; i++) {
        seed = seed * 1664525 + 1013904223;
        copy[(seed >> 8) % size] = (uint8_t)(seed & 0xFF);
      }
      kin_image_find_exif(copy, size, &exif);
      assert_true(strlen(exif.date) == 0 || strlen(exif.date) == 19);
      free(copy);
    }
    free(file), free(path);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_exif_is_exiftools),
      cmocka_unit_test(test_without),
      cmocka_unit_test(test_damaged),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
