/* Token ids against the reference tokenizer's, on the whole corpus of tools/make_text_corpus.py. */
#include "support.h"
#include "text/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 10 /* lines a digest, as in tools/reference/make_token_refs.py */

typedef struct corpus {
  char *data;
  size_t *starts; /* count + 1; line i is data[starts[i] + 4 .. starts[i + 1]) */
  size_t count;
} corpus;

static corpus lines;

static char *read_all(FILE *stream, size_t *size) {
  char *data = NULL;
  size_t capacity = 0, n;
  *size = 0;
  do {
    assert_true(kin_grow((void **)&data, &capacity, *size + 65536, 1));
    n = fread(data + *size, 1, 65536, stream);
    *size += n;
  } while (n);
  return data;
}

static int make_corpus(void **state) {
  (void)state;
  char *script = test_source_path("tools/make_text_corpus.py");
  char *command = kin_format("python3 '%s'", script);
  FILE *stream = popen(command, "r");
  assert_non_null(stream);
  size_t size, capacity = 0;
  lines.data = read_all(stream, &size);
  assert_int_equal(pclose(stream), 0);
  for (size_t at = 0; at <= size;) {
    uint32_t length = 0;
    assert_true(kin_grow((void **)&lines.starts, &capacity, lines.count + 1, sizeof *lines.starts));
    lines.starts[lines.count] = at;
    if (at == size) break;
    memcpy(&length, lines.data + at, 4);
    at += 4 + length;
    lines.count++;
  }
  free(command);
  free(script);
  return lines.count >= 20000 ? 0 : -1;
}

static int free_corpus(void **state) {
  (void)state;
  free(lines.data);
  free(lines.starts);
  return 0;
}

static uint64_t add_word(uint64_t digest, uint32_t word) {
  for (int i = 0; i < 4; i++) digest = (digest ^ (word >> 8 * i & 0xFF)) * 0x100000001B3u;
  return digest;
}

static uint64_t add_ids(uint64_t digest, const kin_tokenizer *tokenizer, size_t line, size_t limit) {
  int32_t *ids;
  size_t n;
  kin_error err = {0};
  const char *text = lines.data + lines.starts[line] + 4;
  test_assert_ok(kin_tokenize(tokenizer, text, lines.starts[line + 1] - lines.starts[line] - 4, limit, &ids, &n, &err),
                 &err);
  assert_true(!limit || n <= limit);
  digest = add_word(digest, (uint32_t)n);
  for (size_t i = 0; i < n; i++) {
    assert_in_range(ids[i], 0, kin_tokenizer_vocabulary(tokenizer) - 1);
    digest = add_word(digest, (uint32_t)ids[i]);
  }
  free(ids);
  return digest;
}

static void compare(const char *folder, const char *digests, size_t limit) {
  char *path = test_source_path(digests);
  char *expected;
  size_t size, wrong = 0;
  kin_error err = {0};
  test_assert_ok(kin_read_file(path, 1 << 20, &expected, &size, &err), &err);
  assert_int_equal(size / 8, (lines.count + BLOCK - 1) / BLOCK);
  kin_tokenizer *tokenizer;
  test_assert_ok(kin_tokenizer_open(folder, &tokenizer, &err), &err);
  for (size_t block = 0; block < size / 8; block++) {
    uint64_t digest = 0xCBF29CE484222325u, wanted;
    size_t first = block * BLOCK, last = first + BLOCK < lines.count ? first + BLOCK : lines.count;
    for (size_t line = first; line < last; line++) {
      digest = add_ids(digest, tokenizer, line, 0);
      digest = add_ids(digest, tokenizer, line, limit);
    }
    memcpy(&wanted, expected + 8 * block, 8);
    if (digest == wanted) continue;
    if (!wrong++) print_error("first difference in lines %zu to %zu of the corpus\n", first, last - 1);
  }
  kin_tokenizer_close(tokenizer);
  free(expected);
  free(path);
  assert_int_equal(wrong, 0);
}

/* A folder of the materials' cache; the test is skipped where it hasn't been fetched. */
static char *material(const char *name) {
  const char *cache = getenv("KINDRED_CACHE");
  char *folder = kin_format("%s/%s", cache ? cache : "", name), *file = kin_format("%s/tokenizer.json", folder);
  bool there = kin_file_exists(file);
  free(file);
  if (!there) {
    print_message("skipped: tools/materials.py %s first\n", name);
    free(folder);
    skip();
  }
  return folder;
}

static void test_clip(void **state) {
  (void)state;
  char *folder = material("clip-vocab");
  compare(folder, "tests/parity/text/clip.digests", 77);
  free(folder);
}

/* Without tokenizer.json. */
static void test_clip_from_vocabulary_and_merges(void **state) {
  (void)state;
  static const char *const names[] = {"vocab.json", "merges.txt"};
  char *folder = material("clip-vocab"), *copy = test_temporary_folder();
  for (size_t i = 0; i < 2; i++) {
    char *path = kin_format("%s/%s", folder, names[i]), *data;
    size_t size;
    kin_error err = {0};
    test_assert_ok(kin_read_file(path, 1 << 24, &data, &size, &err), &err);
    test_write_file(copy, names[i], data, size);
    free(data);
    free(path);
  }
  compare(copy, "tests/parity/text/clip-files.digests", 77);
  test_remove_tree(copy);
  free(copy);
  free(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_clip),
      cmocka_unit_test(test_clip_from_vocabulary_and_merges),
  };
  return cmocka_run_group_tests(tests, make_corpus, free_corpus);
}
