/* Captions in pictures' files, against what exiftool wrote and reads. */
#include "image/captions.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_text(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The parts of `text` between `separator`s, sorted and joined by '|'. */
static void sorted(char *text, const char *separator, char *out, size_t size) {
  char *parts[32], *rest = text, *part;
  size_t n = 0;
  while ((part = strsep(&rest, separator)) && n < 32)
    if (*part) parts[n++] = part;
  qsort(parts, n, sizeof *parts, by_text);
  out[0] = '\0';
  for (size_t i = 0; i < n; i++) {
    size_t used = strlen(out);
    snprintf(out + used, size - used, "%s|", parts[i]);
  }
}

static void test_captions_are_exiftools(void **state) {
  (void)state;
  char *lines[64];
  size_t n = test_read_lines("tests/data/captions/captions.tsv", lines, 64);
  assert_true(n >= 8);
  for (size_t i = 0; i < n; i++) {
    char *rest = lines[i], *name = strsep(&rest, "\t"), *text, expected[2048], actual[2048] = "";
    char *relative = kin_format("tests/data/captions/%s", name), *path = test_source_path(relative);
    kin_error err = {0};
    test_assert_ok(kin_image_read_captions(path, &text, &err), &err);
    sorted(rest ? rest : (char[1]){0}, "\t", expected, sizeof expected);
    if (text) sorted(text, "\n", actual, sizeof actual);
    if (strcmp(expected, actual) != 0) fail_msg("%s: \"%s\" instead of \"%s\"", name, actual, expected);
    free(text);
    free(path);
    free(relative);
    free(lines[i]);
  }
}

/* Whatever is cut off or changed, nothing outside is read, and it ends. */
static void test_damaged_files(void **state) {
  (void)state;
  static const char *const names[] = {"both.jpg", "xmp.png", "xmp.jpg"};
  uint32_t seed = 11;
  for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
    char *relative = kin_format("tests/data/captions/%s", names[k]), *path = test_source_path(relative), *text, *file;
    size_t size;
    kin_error err = {0};
    test_assert_ok(kin_read_file(path, 1 << 20, &file, &size, &err), &err);
    for (size_t cut = 0; cut < size; cut += 1 + cut / 64) {
      uint8_t *part = malloc(cut + 1); /* of its own, so that a sanitizer sees its end */
      memcpy(part, file, cut);
      test_assert_ok(kin_image_find_captions(part, cut, &text, &err), &err);
      free(text);
      free(part);
    }
    for (size_t round = 0; round < 500; round++) {
      char *copy = malloc(size);
      memcpy(copy, file, size);
      for (int i = 0; i < 4; i++) {
        seed = seed * 1664525 + 1013904223;
        copy[(seed >> 8) % size] = (char)(seed & 0xFF);
      }
      test_assert_ok(kin_image_find_captions((uint8_t *)copy, size, &text, &err), &err);
      free(text);
      free(copy);
    }
    free(file);
    free(path);
    free(relative);
  }
  kin_error err = {0};
  char *text;
  test_assert_error(kin_image_read_captions("/nowhere/a.jpg", &text, &err), KIN_ERR_IO, &err, "/nowhere/a.jpg");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_captions_are_exiftools),
                                     cmocka_unit_test(test_damaged_files)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
