/* kin_perceptual_hash against imagehash.phash on the same files; bad input. */
#include "base/json.h"
#include "image/image.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_reference(void **state) {
  (void)state;
  char *refs = test_source_path("tests/data/refs/phash.json");
  json_t *root, *value;
  const char *name;
  kin_error err;
  test_assert_ok(kin_json_load(refs, 1 << 20, &root, &err), &err);
  assert_true(json_object_size(root) >= 30);
  json_object_foreach(root, name, value) {
    char relative[256];
    uint64_t hash;
    snprintf(relative, sizeof relative, "tests/data/%s", name);
    char *path = test_source_path(relative);
    const kin_image_source source = {.path = path};
    test_assert_ok(kin_perceptual_hash(&source, &hash, &err), &err);
    const uint64_t expected = strtoull(json_string_value(value), NULL, 16);
    if (hash != expected)
      print_error("%s: %016llx, not %016llx\n", name, (unsigned long long)hash, (unsigned long long)expected);
    assert_true(hash == expected);
    free(path);
  }
  json_decref(root);
  free(refs);
}

/* The same from bytes and from pixels, which are left as they are. */
static void test_sources(void **state) {
  (void)state;
  char *path = test_source_path("tests/data/images/exif_6.jpg"), *data;
  size_t size;
  kin_image image;
  kin_error err;
  uint64_t hashes[3];
  test_assert_ok(kin_read_file(path, 1 << 24, &data, &size, &err), &err);
  test_assert_ok(kin_image_decode_file(path, 0, &image, &err), &err);
  const size_t n = (size_t)image.width * image.height * 3;
  uint8_t *before = malloc(n);
  assert_non_null(before);
  memcpy(before, image.rgb, n);
  const kin_image_source sources[3] = {{.path = path},
                                       {.data = data, .data_size = size},
                                       {.rgb = image.rgb, .width = image.width, .height = image.height}};
  for (size_t i = 0; i < 3; i++) test_assert_ok(kin_perceptual_hash(&sources[i], &hashes[i], &err), &err);
  assert_true(hashes[0] == hashes[1] && hashes[0] == hashes[2]);
  assert_memory_equal(before, image.rgb, n);
  kin_image_free(&image);
  free(before), free(data), free(path);
}

static void test_bad_input(void **state) {
  (void)state;
  kin_error err;
  uint64_t hash;
  const kin_image_source none = {0}, missing = {.path = "/nowhere.png"}, junk = {.data = "junk", .data_size = 4};
  test_assert_error(kin_perceptual_hash(&none, &hash, &err), KIN_ERR_ARGUMENT, &err, "path, data or pixels");
  test_assert_error(kin_perceptual_hash(NULL, &hash, &err), KIN_ERR_ARGUMENT, &err, "picture");
  test_assert_error(kin_perceptual_hash(&missing, &hash, &err), KIN_ERR_IO, &err, "/nowhere.png");
  test_assert_error(kin_perceptual_hash(&junk, &hash, &err), KIN_ERR_UNSUPPORTED, &err, "not a picture");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_reference),
      cmocka_unit_test(test_sources),
      cmocka_unit_test(test_bad_input),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
