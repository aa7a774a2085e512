/* Damaged and hostile safetensors: each is refused with the file, the tensor and the reason. */
#include "support.h"
#include "weights/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Write a file whose header length field says `claimed` and open it. */
static kin_status open_bytes(uint64_t claimed, const char *header, size_t header_size, size_t data_size,
                             kin_error *err) {
  char *dir = test_temporary_folder();
  uint8_t *bytes = calloc(1, 8 + header_size + data_size);
  for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(claimed >> (8 * i));
  memcpy(bytes + 8, header, header_size);
  test_write_file(dir, "model.safetensors", bytes, 8 + header_size + data_size);
  kin_weights *weights = NULL;
  kin_status status = kin_weights_open(dir, NULL, &weights, err);
  kin_weights_close(weights);
  free(bytes);
  test_remove_tree(dir);
  free(dir);
  return status;
}

static void bad_headers_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *header, *message;
    size_t data_size;
  } cases[] = {
      {"", "doesn't begin with '{'", 0},
      {"[1]", "doesn't begin with '{'", 0},
      {" {}", "doesn't begin with '{'", 0},
      {"{\"a\":", "bad JSON at line 1", 0},
      {"{}x", "bad JSON at line 1", 0},
      {"{\"a\\u0000\":1}", "bad JSON at line 1", 0},
      {"{\"\xff\":1}", "bad JSON at line 1", 0},
      {"{\"a\":1}", "tensor \"a\": its header entry isn't a JSON object", 0},
      {"{\"a\":null}", "tensor \"a\": its header entry isn't a JSON object", 0},
      {"{\"a\":{}}", "tensor \"a\": \"dtype\" is missing", 0},
      {"{\"a\":{\"dtype\":3,\"shape\":[1],\"data_offsets\":[0,4]}}", "tensor \"a\": \"dtype\" is missing or isn't", 4},
      {"{\"a\":{\"dtype\":\"F31\",\"shape\":[1],\"data_offsets\":[0,4]}}", "tensor \"a\": unknown dtype \"F31\"", 4},
      {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", "tensor \"a\": \"shape\" is missing", 4},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":{},\"data_offsets\":[0,4]}}", "tensor \"a\": \"shape\" is missing or", 4},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", "\"shape\" holds something that isn't", 4},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", "\"shape\" holds something that isn't", 4},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[[1]],\"data_offsets\":[0,4]}}", "\"shape\" holds something that isn't", 4},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", "\"a\": 9 dimensions", 4},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}", "product overflows", 4},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,4]}}", "in bytes overflows", 4},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,4]}}", "bad JSON", 4},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", "\"data_offsets\" must be an array of two offsets", 4},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", "must be an array of two offsets", 4},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", "must be an array of two offsets", 8},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", "must be an array of two offsets", 4},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", "\"data_offsets\" end before they begin", 4},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", "ends at byte 8, but the file holds 7", 7},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,9223372036854775807]}}", "but the file holds 8", 8},
      {"{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,8]}}", "dtype F16 make 4 bytes", 8},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
       "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
       "tensor \"b\": its data overlaps that of \"a\"", 6},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
       "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
       "overlaps", 4},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
       "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[6,10]}}",
       "tensor \"b\": a hole of 2 bytes before its data", 10},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[1,5]}}", "tensor \"a\": a hole of 1 bytes", 5},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", "3 bytes after the last tensor", 7},
      {"{}", "5 bytes after the last tensor", 5},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
       "\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
       "duplicate object key near '\"a\"'", 0},
      {"{\"__metadata__\":[]}", "\"__metadata__\" isn't a JSON object", 0},
      {"{\"__metadata__\":{\"format\":1}}", "\"__metadata__\" may hold only strings, \"format\" isn't one", 0},
      {"{\"__metadata__\":{\"a\":\"b\",\"a\":\"c\"}}", "duplicate object key", 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    kin_error err;
    size_t length = strlen(cases[i].header);
    kin_status status = open_bytes(length, cases[i].header, length, cases[i].data_size, &err);
    test_assert_error(status, KIN_ERR_FORMAT, &err, cases[i].message);
    test_assert_error(status, KIN_ERR_FORMAT, &err, "model.safetensors: ");
  }
}

static void header_lengths_are_checked(void **state) {
  (void)state;
  kin_error err;
  test_assert_error(open_bytes(3, "{}", 2, 0, &err), KIN_ERR_FORMAT, &err, "its header length is 3, but the file has");
  test_assert_error(open_bytes(UINT64_MAX, "{}", 2, 0, &err), KIN_ERR_FORMAT, &err, "or cut short");
  test_assert_error(open_bytes(0, "", 0, 0, &err), KIN_ERR_FORMAT, &err, "doesn't begin");
  test_assert_error(open_bytes(100000001, "{", 1, 100000001, &err), KIN_ERR_LIMIT, &err, "over the limit");
}

static void short_files_and_pointers_are_named(void **state) {
  (void)state;
  static const char lfs[] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 605143884\n";
  static const struct {
    const char *bytes, *message;
  } cases[] = {{"", "0 bytes, too short"}, {"1234567", "7 bytes, too short"}, {lfs, "git lfs pull"}};
  char *dir = test_temporary_folder();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    kin_weights *weights = NULL;
    kin_error err;
    test_write_file(dir, "model.safetensors", cases[i].bytes, strlen(cases[i].bytes));
    test_assert_error(kin_weights_open(dir, NULL, &weights, &err), KIN_ERR_FORMAT, &err, cases[i].message);
  }
  test_remove_tree(dir);
  free(dir);
}

/* 100,000 open brackets must not exhaust the stack. */
static void deep_nesting_is_refused(void **state) {
  (void)state;
  size_t depth = 100000;
  char *header = malloc(depth + 5);
  memcpy(header, "{\"a\":", 5);
  memset(header + 5, '[', depth);
  kin_error err;
  test_assert_error(open_bytes(depth + 5, header, depth + 5, 0, &err), KIN_ERR_FORMAT, &err, "parsing depth");
  free(header);
}

static void long_names_are_refused(void **state) {
  (void)state;
  char header[2000], name[1001];
  memset(name, 'n', 1000);
  name[1000] = '\0';
  int size = snprintf(header, sizeof header, "{\"%s\":{}}", name);
  kin_error err;
  test_assert_error(open_bytes((uint64_t)size, header, (size_t)size, 0, &err), KIN_ERR_FORMAT, &err, "1000 bytes long");
}

/* Every cut of a good file and every damaged byte of its header: an answer, never a crash. */
static void cuts_and_flips_never_crash(void **state) {
  (void)state;
  static const char header[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                               "\"a\":{\"dtype\":\"F16\",\"shape\":[2,2],\"data_offsets\":[0,8]},"
                               "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}";
  size_t length = sizeof header - 1;
  kin_error err;
  test_assert_ok(open_bytes(length, header, length, 12, &err), &err);
  for (size_t cut = 0; cut < length; cut++) assert_int_not_equal(open_bytes(length, header, cut, 0, &err), KIN_OK);
  for (size_t cut = 0; cut < 12; cut++) assert_int_not_equal(open_bytes(length, header, length, cut, &err), KIN_OK);
  for (size_t at = 0; at < length; at++) {
    char damaged[sizeof header];
    for (int bit = 0; bit < 8; bit++) {
      memcpy(damaged, header, length);
      damaged[at] = (char)(damaged[at] ^ (1 << bit));
      open_bytes(length, damaged, length, 12, &err);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bad_headers_are_refused),
      cmocka_unit_test(header_lengths_are_checked),
      cmocka_unit_test(short_files_and_pointers_are_named),
      cmocka_unit_test(deep_nesting_is_refused),
      cmocka_unit_test(long_names_are_refused),
      cmocka_unit_test(cuts_and_flips_never_crash),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
