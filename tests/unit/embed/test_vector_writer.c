/* Vector files against the bytes that NumPy, safetensors and the format's definition give. */
#include "support.h"
#include "weights/weights.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *folder;
static const float rows[2][2] = {{1.5f, -0.0f}, {0.1f, 3e-39f}};
#define ROW_BYTES "\x00\x00\xc0\x3f\x00\x00\x00\x80", "\xcd\xcc\xcc\x3d\xc8\xaa\x20\x00"

static int make_folder(void **state) {
  (void)state;
  folder = test_temporary_folder();
  return 0;
}

static int drop_folder(void **state) {
  (void)state;
  test_remove_tree(folder);
  free(folder);
  return 0;
}

static char *in_folder(const char *name) {
  char *path = kin_format("%s/%s", folder, name);
  assert_non_null(path);
  return path;
}

static size_t count_files(void) {
  DIR *dir = opendir(folder);
  assert_non_null(dir);
  size_t n = 0;
  for (const struct dirent *entry; (entry = readdir(dir));) n += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
  closedir(dir);
  return n;
}

/* Write `n` of `rows`, with keys and names for JSON lines, and return the file's bytes. */
static char *write_rows(const char *name, size_t n, size_t *size) {
  char *path = in_folder(name), *bytes;
  kin_vector_writer *w;
  kin_error err;
  test_assert_ok(kin_vector_writer_open(path, 2, &w, &err), &err);
  for (size_t i = 0; i < n; i++)
    test_assert_ok(kin_vector_writer_add(w, rows[i], i ? "text" : "path", i ? "\"눈\"\n" : "a/b.jpg", &err), &err);
  assert_false(kin_file_exists(path));
  test_assert_ok(kin_vector_writer_commit(w, &err), &err);
  kin_vector_writer_close(w);
  test_assert_ok(kin_read_file(path, 1 << 20, &bytes, size, &err), &err);
  assert_int_equal(count_files(), 1);
  free(path);
  return bytes;
}

static void npy_equals_numpy(void **state) {
  (void)state;
  size_t size;
  char *bytes = write_rows("v.npy", 2, &size);
  assert_int_equal(size, 128 + 16);
  /* numpy.save(file, numpy.float32([[1.5, -0.0], [0.1, 3e-39]])) */
  assert_memory_equal(bytes, "\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }", 69);
  for (size_t i = 69; i < 127; i++) assert_int_equal(bytes[i], ' ');
  assert_int_equal(bytes[127], '\n');
  static const char *const data[] = {ROW_BYTES};
  assert_memory_equal(bytes + 128, data[0], 8);
  assert_memory_equal(bytes + 136, data[1], 8);
  free(bytes);
}

static void an_empty_npy_has_no_rows(void **state) {
  (void)state;
  size_t size;
  char *bytes = write_rows("v.npy", 0, &size);
  assert_int_equal(size, 128);
  assert_non_null(strstr(bytes + 10, "'shape': (0, 2)"));
  free(bytes);
}

static void safetensors_reads_back(void **state) {
  (void)state;
  size_t size;
  char *bytes = write_rows("v.safetensors", 2, &size);
  uint64_t header;
  memcpy(&header, bytes, sizeof header);
  assert_int_equal(size, 8 + header + 16);
  assert_int_equal(header % 8, 0);
  assert_memory_equal(bytes + 8, "{\"vectors\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}} ", 64);
  static const char *const data[] = {ROW_BYTES};
  assert_memory_equal(bytes + size - 16, data[0], 8);
  assert_memory_equal(bytes + size - 8, data[1], 8);
  free(bytes);

  kin_weights *weights;
  kin_error err;
  test_assert_ok(kin_weights_open(folder, "v.safetensors", &weights, &err), &err);
  const kin_tensor *tensor = kin_weights_find(weights, "vectors");
  assert_non_null(tensor);
  assert_int_equal(tensor->elements, 4);
  kin_weights_close(weights);
}

static void fvecs_has_a_count_before_each_row(void **state) {
  (void)state;
  size_t size;
  char *bytes = write_rows("v.fvecs", 2, &size);
  static const char *const data[] = {ROW_BYTES};
  assert_int_equal(size, 24);
  assert_memory_equal(bytes, "\2\0\0\0", 4);
  assert_memory_equal(bytes + 4, data[0], 8);
  assert_memory_equal(bytes + 12, "\2\0\0\0", 4);
  assert_memory_equal(bytes + 16, data[1], 8);
  free(bytes);
}

static void json_lines_keep_every_bit(void **state) {
  (void)state;
  size_t size;
  char *bytes = write_rows("v.jsonl", 2, &size);
  char *line = bytes;
  for (size_t i = 0; i < 2; i++) {
    char *end = strchr(line, '\n');
    assert_non_null(end);
    json_t *row = json_loadb(line, (size_t)(end - line), 0, NULL);
    assert_non_null(row);
    const char *name = json_string_value(json_object_get(row, i ? "text" : "path"));
    assert_string_equal(name, i ? "\"눈\"\n" : "a/b.jpg");
    for (size_t j = 0; j < 2; j++) {
      float value = (float)json_real_value(json_array_get(json_object_get(row, "vector"), j));
      assert_memory_equal(&value, &rows[i][j], sizeof value);
    }
    json_decref(row);
    line = end + 1;
  }
  assert_int_equal(line - bytes, size);
  free(bytes);
}

static void a_path_that_is_not_utf8_can_be_recovered(void **state) {
  (void)state;
  char *path = in_folder("v.jsonl"), *bytes;
  size_t size;
  kin_vector_writer *w;
  kin_error err;
  test_assert_ok(kin_vector_writer_open(path, 2, &w, &err), &err);
  test_assert_ok(kin_vector_writer_add(w, rows[0], "path", "\xB4\xAB-\xEB\x88\x88.jpg", &err), &err);
  test_assert_ok(kin_vector_writer_commit(w, &err), &err);
  kin_vector_writer_close(w);
  test_assert_ok(kin_read_file(path, 1 << 20, &bytes, &size, &err), &err);
  assert_non_null(strstr(bytes, "\"path\":\"\xEF\xBF\xBD\xEF\xBF\xBD-\xEB\x88\x88.jpg\""));
  assert_non_null(strstr(bytes, "\"path_hex\":\"b4ab2deb88882e6a7067\""));
  free(bytes);
  free(path);
}

static void without_commit_nothing_changes(void **state) {
  (void)state;
  test_write_file(folder, "v.npy", "old", 3);
  char *path = in_folder("v.npy"), *bytes;
  size_t size;
  kin_vector_writer *w;
  kin_error err;
  test_assert_ok(kin_vector_writer_open(path, 2, &w, &err), &err);
  test_assert_ok(kin_vector_writer_add(w, rows[0], NULL, NULL, &err), &err);
  assert_int_equal(count_files(), 2);
  kin_vector_writer_close(w);
  assert_int_equal(count_files(), 1);
  test_assert_ok(kin_read_file(path, 100, &bytes, &size, &err), &err);
  assert_string_equal(bytes, "old");
  free(bytes);
  free(path);
}

static void commit_follows_links_and_keeps_rights(void **state) {
  (void)state;
  test_write_file(folder, "v.npy", "old", 3);
  char *path = in_folder("v.npy"), *link = in_folder("link.npy");
  assert_int_equal(chmod(path, 0640), 0);
  assert_int_equal(symlink("v.npy", link), 0);
  kin_vector_writer *w;
  kin_error err;
  test_assert_ok(kin_vector_writer_open(link, 2, &w, &err), &err);
  test_assert_ok(kin_vector_writer_commit(w, &err), &err);
  kin_vector_writer_close(w);
  struct stat s;
  assert_int_equal(lstat(link, &s), 0);
  assert_true(S_ISLNK(s.st_mode));
  assert_int_equal(lstat(path, &s), 0);
  assert_int_equal(s.st_size, 128);
  assert_int_equal(s.st_mode & 07777, 0640);
  free(path);
  free(link);
}

static void bad_targets_are_named(void **state) {
  (void)state;
  kin_vector_writer *w;
  kin_error err;
  test_assert_error(kin_vector_writer_open("v.txt", 2, &w, &err), KIN_ERR_ARGUMENT, &err, "v.txt: the ending must be");
  test_assert_error(kin_vector_writer_open(".npy", 2, &w, &err), KIN_ERR_ARGUMENT, &err, "ending");
  test_assert_error(kin_vector_writer_open("v.npy", 0, &w, &err), KIN_ERR_ARGUMENT, &err, "vector size");
  char *path = in_folder("missing/v.npy");
  test_assert_error(kin_vector_writer_open(path, 2, &w, &err), KIN_ERR_IO, &err, "missing/v.npy: No such file");
  free(path);
  path = in_folder("dir.npy");
  assert_int_equal(mkdir(path, 0777), 0);
  test_assert_error(kin_vector_writer_open(path, 2, &w, &err), KIN_ERR_IO, &err, "dir.npy is a folder");
  free(path);
  path = in_folder("pipe.npy");
  assert_int_equal(mkfifo(path, 0777), 0);
  int keep = open(path, O_RDWR);
  test_assert_error(kin_vector_writer_open(path, 2, &w, &err), KIN_ERR_UNSUPPORTED, &err, "is a pipe");
  close(keep);
  free(path);
}

static void a_full_disk_is_named(void **state) {
  (void)state;
  static const char *const names[] = {"full.npy", "full.jsonl", "full.safetensors", "full.fvecs"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char *path = in_folder(names[i]);
    assert_int_equal(symlink("/dev/full", path), 0);
    kin_vector_writer *w;
    kin_error err;
    test_assert_ok(kin_vector_writer_open(path, 2, &w, &err), &err);
    kin_status status = KIN_OK;
    for (size_t row = 0; row < 5000 && status == KIN_OK; row++)
      status = kin_vector_writer_add(w, rows[0], "path", "a.jpg", &err);
    test_assert_error(status, KIN_ERR_IO, &err, "No space left on device");
    assert_non_null(strstr(err.message, names[i]));
    test_assert_error(kin_vector_writer_commit(w, &err), KIN_ERR_IO, &err, "No space left on device");
    kin_vector_writer_close(w);
    free(path);
  }
}

static void bad_rows_are_refused(void **state) {
  (void)state;
  char *path = in_folder("v.npy");
  kin_vector_writer *w;
  kin_error err;
  const float bad[] = {1, NAN};
  test_assert_ok(kin_vector_writer_open(path, 2, &w, &err), &err);
  test_assert_error(kin_vector_writer_add(w, bad, NULL, NULL, &err), KIN_ERR_ARGUMENT, &err, "row 0 isn't finite");
  test_assert_error(kin_vector_writer_add(w, rows[0], "path", NULL, &err), KIN_ERR_ARGUMENT, &err, "name");
  test_assert_ok(kin_vector_writer_commit(w, &err), &err);
  test_assert_error(kin_vector_writer_add(w, rows[0], NULL, NULL, &err), KIN_ERR_ARGUMENT, &err, "open writer");
  test_assert_error(kin_vector_writer_commit(w, &err), KIN_ERR_ARGUMENT, &err, "committed already");
  kin_vector_writer_close(w);
  kin_vector_writer_close(NULL);
  free(path);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, drop_folder)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(npy_equals_numpy),
      TEST(an_empty_npy_has_no_rows),
      TEST(safetensors_reads_back),
      TEST(fvecs_has_a_count_before_each_row),
      TEST(json_lines_keep_every_bit),
      TEST(a_path_that_is_not_utf8_can_be_recovered),
      TEST(without_commit_nothing_changes),
      TEST(commit_follows_links_and_keeps_rights),
      TEST(bad_targets_are_named),
      TEST(a_full_disk_is_named),
      TEST(bad_rows_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
