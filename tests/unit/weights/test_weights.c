/* Good files: one or sharded, every float dtype, looked up, converted, hashed. */
#include "support.h"
#include "weights/weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static kin_weights *open_ok(const char *dir, const char *file) {
  kin_weights *weights = NULL;
  kin_error err;
  test_assert_ok(kin_weights_open(dir, file, &weights, &err), &err);
  return weights;
}

/* A header of `json` and `data` behind it. */
static void write_safetensors(const char *folder, const char *name, const char *json, const void *data, size_t size) {
  size_t length = strlen(json);
  uint8_t *bytes = malloc(8 + length + size);
  for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)length >> (8 * i));
  memcpy(bytes + 8, json, length);
  if (size) memcpy(bytes + 8 + length, data, size);
  test_write_file(folder, name, bytes, 8 + length + size);
  free(bytes);
}

/* mixed.safetensors was written by the safetensors library, expected.safetensors holds PyTorch's floats. */
static void every_dtype_converts_as_pytorch_does(void **state) {
  (void)state;
  char *dir = test_source_path("tests/data/weights");
  kin_weights *mixed = open_ok(dir, "mixed.safetensors"), *expected = open_ok(dir, "expected.safetensors");
  assert_int_equal(kin_weights_count(mixed), 7);
  assert_int_equal(kin_weights_count(expected), 5);
  for (size_t i = 0; i < kin_weights_count(expected); i++) {
    const kin_tensor *want = kin_weights_at(expected, i), *got = kin_weights_find(mixed, want->name);
    assert_non_null(got);
    assert_int_equal(got->rank, want->rank);
    assert_int_equal(got->elements, want->elements);
    float *values = malloc((got->elements + 1) * sizeof *values);
    kin_tensor_to_float(got, values);
    assert_memory_equal(values, want->data, want->bytes);
    free(values);
  }
  kin_weights_close(mixed);
  kin_weights_close(expected);
  free(dir);
}

/* All 65,536 halves against the definition of the format. */
static void every_half_equals_its_definition(void **state) {
  (void)state;
  for (uint32_t h = 0; h < 0x10000; h++) {
    uint16_t bits = (uint16_t)h;
    kin_tensor t = {.dtype = KIN_F16, .elements = 1, .data = &bits, .bytes = 2};
    float got;
    kin_tensor_to_float(&t, &got);
    int exponent = (int)(h >> 10 & 31), mantissa = (int)(h & 1023);
    double magnitude = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    if (exponent == 31) magnitude = INFINITY;
    if (exponent == 31 && mantissa)
      assert_true(isnan(got));
    else
      assert_true((double)got == (h & 0x8000 ? -magnitude : magnitude) && !signbit(got) == !(h & 0x8000));
  }
}

static void tensors_are_found_and_sorted(void **state) {
  (void)state;
  char *dir = test_source_path("tests/data/weights");
  kin_weights *w = open_ok(dir, "mixed.safetensors");
  for (size_t i = 1; i < kin_weights_count(w); i++)
    assert_true(strcmp(kin_weights_at(w, i - 1)->name, kin_weights_at(w, i)->name) < 0);
  const kin_tensor *ids = kin_weights_find(w, "ids");
  assert_string_equal(ids->dtype_name, "I64");
  assert_int_equal(ids->dtype, KIN_DTYPE_OTHER);
  assert_int_equal(ids->rank, 2);
  assert_int_equal(ids->shape[1], 3);
  assert_int_equal(kin_weights_find(w, "scalar")->elements, 1);
  assert_int_equal(kin_weights_find(w, "empty")->elements, 0);
  assert_null(kin_weights_find(w, "other"));
  assert_null(kin_weights_find(w, ""));
  kin_weights_close(w);
  free(dir);
}

static void load_demands_the_shape(void **state) {
  (void)state;
  char *dir = test_source_path("tests/data/weights");
  kin_weights *w = open_ok(dir, "mixed.safetensors");
  kin_error err;
  float *values = NULL;
  test_assert_ok(kin_weights_load(w, "single", 3, (size_t[]){3, 0, 7}, &values, &err), &err);
  assert_memory_equal(values, kin_weights_find(w, "single")->data, 3 * 5 * 7 * sizeof(float));
  kin_free_aligned(values);
  test_assert_ok(kin_weights_load(w, "empty", 2, (size_t[]){0, 4}, &values, &err), &err);
  kin_free_aligned(values);
  test_assert_ok(kin_weights_load(w, "scalar", 0, NULL, &values, &err), &err);
  assert_true(values[0] == 2.5f);
  kin_free_aligned(values);

  kin_status status = kin_weights_load(w, "single", 3, (size_t[]){3, 0, 8}, &values, &err);
  test_assert_error(status, KIN_ERR_FORMAT, &err,
                    "mixed.safetensors: tensor \"single\" has shape [3, 5, 7], expected [3, any, 8]");
  status = kin_weights_load(w, "single", 2, (size_t[]){15, 7}, &values, &err);
  test_assert_error(status, KIN_ERR_FORMAT, &err, "has shape [3, 5, 7], expected [15, 7]");
  status = kin_weights_load(w, "lost", 1, (size_t[]){1}, &values, &err);
  test_assert_error(status, KIN_ERR_FORMAT, &err, "mixed.safetensors: tensor \"lost\" is missing");
  status = kin_weights_load(w, "ids", 2, (size_t[]){2, 3}, &values, &err);
  test_assert_error(status, KIN_ERR_FORMAT, &err, "tensor \"ids\" has dtype I64, expected F32, F16 or BF16");
  kin_weights_close(w);
  free(dir);
}

static void not_finite_values_are_named(void **state) {
  (void)state;
  static const struct {
    const char *json;
    uint32_t bits;
    const char *message;
  } cases[] = {
      {"{\"w\":{\"dtype\":\"F32\",\"shape\":[5000],\"data_offsets\":[0,20000]}}", 0x7fc00000, "NaN"},
      {"{\"w\":{\"dtype\":\"F32\",\"shape\":[5000],\"data_offsets\":[0,20000]}}", 0xff800000, "infinite"},
      {"{\"w\":{\"dtype\":\"F16\",\"shape\":[10000],\"data_offsets\":[0,20000]}}", 0x7c01, "NaN"},
      {"{\"w\":{\"dtype\":\"BF16\",\"shape\":[10000],\"data_offsets\":[0,20000]}}", 0x7f80, "infinite"},
  };
  char *dir = test_temporary_folder();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    uint8_t data[20000] = {0};
    memcpy(data + 4900 * 4, &cases[i].bits, 4);
    write_safetensors(dir, "model.safetensors", cases[i].json, data, sizeof data);
    kin_weights *w = open_ok(dir, NULL);
    kin_error err;
    float *values = NULL;
    kin_status status = kin_weights_load(w, "w", 1, (size_t[]){0}, &values, &err);
    test_assert_error(status, KIN_ERR_FORMAT, &err, cases[i].message);
    test_assert_error(status, KIN_ERR_FORMAT, &err, i < 2 ? "\"w\": element 4900 " : "\"w\": element 9800 ");
    kin_weights_close(w);
  }
  test_remove_tree(dir);
  free(dir);
}

/* An odd header length leaves the data unaligned. */
static void unaligned_data_is_read(void **state) {
  (void)state;
  char *dir = test_temporary_folder();
  const float data[3] = {1.5f, -2.0f, 1e-40f};
  for (int pad = 0; pad < 4; pad++) {
    char *json = kin_format("{\"w\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}%*s", pad, "");
    write_safetensors(dir, "model.safetensors", json, data, sizeof data);
    kin_weights *w = open_ok(dir, NULL);
    kin_error err;
    float *values = NULL;
    test_assert_ok(kin_weights_load(w, "w", 1, (size_t[]){3}, &values, &err), &err);
    assert_memory_equal(values, data, sizeof data);
    kin_free_aligned(values);
    kin_weights_close(w);
    free(json);
  }
  test_remove_tree(dir);
  free(dir);
}

static void write_two_shards(const char *dir) {
  const float one[2] = {1, 2}, two[3] = {3, 4, 5};
  write_safetensors(dir, "a.safetensors", "{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", one, 8);
  write_safetensors(dir, "b.safetensors", "{\"b\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}", two, 12);
}

static void write_index(const char *dir, const char *json) {
  test_write_file(dir, "model.safetensors.index.json", json, strlen(json));
}

static void hash(const kin_weights *w, char hex[65]) {
  kin_sha256 *h = kin_sha256_new();
  kin_weights_hash(w, h);
  kin_sha256_finish(h, hex);
}

/* Sharded or not, the same tensors have the same hash; other bytes another. */
static void shards_read_as_one(void **state) {
  (void)state;
  char *dir = test_temporary_folder();
  write_two_shards(dir);
  write_index(dir,
              "{\"metadata\":{\"total_size\":20},\"weight_map\":{\"x\":\"a.safetensors\",\"b\":\"b.safetensors\"}}");
  kin_weights *sharded = open_ok(dir, NULL);
  assert_int_equal(kin_weights_count(sharded), 2);
  assert_string_equal(kin_weights_at(sharded, 0)->name, "b");
  assert_memory_equal(kin_weights_find(sharded, "b")->data, ((float[]){3, 4, 5}), 12);
  char first[65], second[65], third[65];
  hash(sharded, first);
  kin_weights_close(sharded);

  float data[5] = {1, 2, 3, 4, 5};
  const char *json = "{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                     "\"b\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[8,20]}}";
  write_safetensors(dir, "model.safetensors", json, data, sizeof data);
  kin_weights *single = open_ok(dir, NULL);
  hash(single, second);
  kin_weights_close(single);
  assert_string_equal(first, second);
  data[4] = 6;
  write_safetensors(dir, "model.safetensors", json, data, sizeof data);
  single = open_ok(dir, NULL);
  hash(single, third);
  kin_weights_close(single);
  assert_string_not_equal(first, third);
  test_remove_tree(dir);
  free(dir);
}

static void bad_indexes_are_named(void **state) {
  (void)state;
  static const struct {
    const char *json;
    kin_status status;
    const char *message;
  } cases[] = {
      {"[]", KIN_ERR_FORMAT, "\"weight_map\" is missing"},
      {"{\"weight_map\":{}}", KIN_ERR_FORMAT, "\"weight_map\" is missing, empty or not an object"},
      {"{\"weight_map\":{\"x\":1}}", KIN_ERR_FORMAT, "tensor \"x\": its shard must be the name of a file"},
      {"{\"weight_map\":{\"x\":\"../a.safetensors\"}}", KIN_ERR_FORMAT, "tensor \"x\": its shard must be the name"},
      {"{\"weight_map\":{\"x\":\"lost.safetensors\"}}", KIN_ERR_IO, "lost.safetensors"},
      {"{\"weight_map\":{\"y\":\"a.safetensors\"}}", KIN_ERR_FORMAT, "tensor \"y\" isn't in its shard a.safetensors"},
      {"{\"weight_map\":{\"x\":\"b.safetensors\",\"b\":\"a.safetensors\"}}", KIN_ERR_FORMAT,
       "tensor \"x\" should be in"},
      {"{\"weight_map\":{\"x\":\"a.safetensors\",\"b\":\"c.safetensors\"}}", KIN_ERR_FORMAT, "\"x\" is in two shards"},
      {"{\"weight_map\":{\"x\":", KIN_ERR_FORMAT, "bad JSON at line 1"},
  };
  char *dir = test_temporary_folder();
  write_two_shards(dir);
  write_safetensors(dir, "c.safetensors", "{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", "1234",
                    4);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    write_index(dir, cases[i].json);
    kin_weights *w = NULL;
    kin_error err;
    kin_status status = kin_weights_open(dir, NULL, &w, &err);
    test_assert_error(status, cases[i].status, &err, cases[i].message);
    test_assert_error(status, cases[i].status, &err, "model.safetensors.index.json");
    assert_null(w);
  }
  test_remove_tree(dir);
  free(dir);
}

static void missing_files_are_named(void **state) {
  (void)state;
  char *dir = test_temporary_folder();
  kin_weights *w = NULL;
  kin_error err;
  kin_status status = kin_weights_open(dir, NULL, &w, &err);
  test_assert_error(status, KIN_ERR_IO, &err, "neither model.safetensors nor model.safetensors.index.json");
  test_write_file(dir, "pytorch_model.bin", "x", 1);
  status = kin_weights_open(dir, NULL, &w, &err);
  test_assert_error(status, KIN_ERR_IO, &err, "save it as safetensors");
  status = kin_weights_open(dir, "open_clip_model.safetensors", &w, &err);
  test_assert_error(status, KIN_ERR_IO, &err, "open_clip_model.safetensors");
  test_remove_tree(dir);
  free(dir);
  kin_weights_close(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_dtype_converts_as_pytorch_does),
      cmocka_unit_test(every_half_equals_its_definition),
      cmocka_unit_test(tensors_are_found_and_sorted),
      cmocka_unit_test(load_demands_the_shape),
      cmocka_unit_test(not_finite_values_are_named),
      cmocka_unit_test(unaligned_data_is_read),
      cmocka_unit_test(shards_read_as_one),
      cmocka_unit_test(bad_indexes_are_named),
      cmocka_unit_test(missing_files_are_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
