/* Temporary folders and files for tests. */
#include "support.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *test_temporary_folder(void) {
  const char *root = getenv("TMPDIR");
  char *path = kin_format("%s/kindred-test-XXXXXX", root && *root ? root : "/tmp");
  assert_non_null(path);
  assert_non_null(mkdtemp(path));
  char *resolved = realpath(path, NULL);
  assert_non_null(resolved);
  free(path);
  return resolved;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
  (void)st, (void)type, (void)ftw;
  return remove(path);
}

void test_remove_tree(const char *path) {
  nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void test_write_file(const char *folder, const char *name, const void *data, size_t size) {
  char *path = kin_format("%s/%s", folder, name);
  assert_non_null(path);
  FILE *f = fopen(path, "wb");
  if (!f) fail_msg("cannot write %s", path);
  assert_int_equal(fwrite(data, 1, size, f), size);
  assert_int_equal(fclose(f), 0);
  free(path);
}

char *test_source_path(const char *relative) {
  const char *source = getenv("KINDRED_SOURCE");
  if (!source) fail_msg("KINDRED_SOURCE is not set: run the tests through ctest");
  char *path = kin_format("%s/%s", source, relative);
  assert_non_null(path);
  return path;
}

char *test_material(const char *name) {
  const char *cache = getenv("KINDRED_CACHE");
  char *path = cache ? kin_format("%s/%s", cache, name) : NULL;
  char *stamp = path ? kin_format("%s/.material", path) : NULL;
  const bool there = stamp && kin_file_exists(stamp);
  free(stamp);
  if (there) return path;
  free(path);
  return NULL;
}

size_t test_read_lines(const char *relative, char **lines, size_t most) {
  char *path = test_source_path(relative), *text, *rest = NULL;
  size_t size, n = 0;
  kin_error err;
  test_assert_ok(kin_read_file(path, 1u << 24, &text, &size, &err), &err);
  for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
    assert_true(n < most);
    lines[n] = kin_strdup(line);
    assert_non_null(lines[n++]);
  }
  free(text), free(path);
  return n;
}

void test_assert_error(kin_status status, kin_status expected, const kin_error *err, const char *part) {
  if (status != expected)
    fail_msg("got %s, expected %s; message: %s", kin_status_name(status), kin_status_name(expected),
             status == KIN_OK ? "" : err->message);
  if (!strstr(err->message, part)) fail_msg("\"%s\" is not in the message: %s", part, err->message);
}

void test_assert_ok(kin_status status, const kin_error *err) {
  if (status != KIN_OK) fail_msg("%s: %s", kin_status_name(status), err->message);
}

kin_context *test_open_context(unsigned threads, kin_isa isa) {
  kin_error err;
  kin_context *context;
  test_assert_ok(kin_context_open(&(kin_context_options){.threads = threads, .isa = isa}, &context, &err), &err);
  return context;
}

kin_context *test_open_context_if_usable(unsigned threads, kin_isa isa) {
  kin_context *context;
  const kin_context_options options = {.threads = threads, .isa = isa};
  return kin_context_open(&options, &context, NULL) == KIN_OK ? context : NULL;
}

float test_random(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (float)(int32_t)(*state >> 32) / 2147483648.0f;
}

float *test_random_floats(size_t n, uint64_t seed) {
  float *values = calloc(n, sizeof *values);
  assert_non_null(values);
  for (size_t i = 0; i < n; i++) values[i] = test_random(&seed);
  return values;
}

long test_resident_bytes(void) {
  long size = 0, all = 0, shared = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  assert_non_null(f);
  assert_int_equal(fscanf(f, "%ld %ld %ld", &size, &all, &shared), 3);
  fclose(f);
  return (all - shared) * sysconf(_SC_PAGESIZE);
}
