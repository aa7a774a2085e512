/* Messages, allocation, files, hashing. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

static void messages_name_the_cause(void **state) {
  (void)state;
  kin_error err;
  assert_int_equal(kin_fail(&err, KIN_ERR_FORMAT, "%s: bad\nline", "a.bin"), KIN_ERR_FORMAT);
  assert_int_equal(err.status, KIN_ERR_FORMAT);
  assert_string_equal(err.message, "a.bin: bad?line");
  assert_int_equal(kin_prefix(&err, err.status, "opening %s", "m"), KIN_ERR_FORMAT);
  assert_string_equal(err.message, "opening m: a.bin: bad?line");
  assert_int_equal(kin_fail(NULL, KIN_ERR_IO, "nobody listens"), KIN_ERR_IO);
}

static void long_messages_are_cut(void **state) {
  (void)state;
  kin_error err;
  char *big = malloc(5000);
  memset(big, 'x', 4999);
  big[4999] = '\0';
  kin_fail_errno(&err, 2, "%s", big);
  assert_int_equal(strlen(err.message), sizeof err.message - 1);
  kin_prefix(&err, KIN_ERR_IO, "%s", big);
  assert_int_equal(strlen(err.message), sizeof err.message - 1);
  free(big);
}

static void arrays_refuse_overflow(void **state) {
  (void)state;
  assert_null(kin_array(SIZE_MAX / 2, 4));
  void *array = NULL;
  size_t capacity = 0;
  assert_true(kin_grow(&array, &capacity, 5, 8));
  assert_true(capacity >= 5);
  assert_false(kin_grow(&array, &capacity, SIZE_MAX / 2, 8));
  assert_true(capacity >= 5);
  free(array);
  void *big = kin_alloc_aligned((size_t)9 << 20);
  assert_int_equal((uintptr_t)big % ((size_t)2 << 20), 0);
  kin_free_aligned(big);
  assert_null(kin_alloc_aligned(SIZE_MAX - 8));
}

static void files_are_read_and_mapped(void **state) {
  (void)state;
  kin_error err;
  char *folder = test_temporary_folder();
  test_write_file(folder, "f", "hello", 5);
  test_write_file(folder, "empty", "", 0);
  char *path = kin_format("%s/f", folder), *empty = kin_format("%s/empty", folder);
  kin_map map;
  test_assert_ok(kin_map_open(path, &map, &err), &err);
  assert_int_equal(map.size, 5);
  assert_memory_equal(map.data, "hello", 5);
  kin_map_close(&map);
  test_assert_ok(kin_map_open(empty, &map, &err), &err);
  assert_int_equal(map.size, 0);
  kin_map_close(&map);

  char *data;
  size_t size;
  test_assert_ok(kin_read_file(path, 5, &data, &size, &err), &err);
  assert_string_equal(data, "hello");
  free(data);
  test_assert_error(kin_read_file(path, 4, &data, &size, &err), KIN_ERR_LIMIT, &err, "limit of 4");
  assert_null(data);
  test_assert_error(kin_map_open(folder, &map, &err), KIN_ERR_IO, &err, "is a directory");
  test_assert_error(kin_map_open("/nonexistent/f", &map, &err), KIN_ERR_IO, &err, "/nonexistent/f: No such file");
  assert_true(kin_file_exists(path));
  assert_false(kin_file_exists(folder));
  free(path), free(empty);
  test_remove_tree(folder);
  free(folder);
}

static void sha256_matches_the_standard(void **state) {
  (void)state;
  kin_error err;
  char hex[65];
  kin_sha256 *h = kin_sha256_new();
  kin_sha256_update(h, "ab", 2);
  kin_sha256_update(h, "c", 1);
  kin_sha256_finish(h, hex);
  /* FIPS 180-2, appendix B.1 */
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  char *folder = test_temporary_folder();
  test_write_file(folder, "f", "abc", 3);
  char *path = kin_format("%s/f", folder);
  uint64_t size;
  test_assert_ok(kin_sha256_file(path, hex, &size, &err), &err);
  assert_int_equal(size, 3);
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  test_assert_error(kin_sha256_file(folder, hex, NULL, &err), KIN_ERR_IO, &err, "Is a directory");
  free(path);
  test_remove_tree(folder);
  free(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(messages_name_the_cause),     cmocka_unit_test(long_messages_are_cut),
      cmocka_unit_test(arrays_refuse_overflow),      cmocka_unit_test(files_are_read_and_mapped),
      cmocka_unit_test(sha256_matches_the_standard),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
