/* Token ids against the reference tokenizer's, on the whole corpus of tools/make_text_corpus.py. */
#include "support.h"
#include "text/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 20 /* lines a digest, as in tools/reference/make_token_refs.py */

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

/* How the tokenizer's folder is made, and what it is compared with. */
typedef struct reference {
  const char *name;   /* of the digests */
  const char *folder; /* under tests/parity/text, or a material */
  size_t limit;
  const char *files[3];  /* copy these alone; NULL: tokenizer.json */
  const char *old, *new; /* one replacement in tokenizer.json */
} reference;

#define METASPACE \
  "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\u2581\",\"prepend_scheme\":\"always\",\"split\":true}"
#define WORDS                                                                                   \
  "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"}," \
  "{\"type\":\"Metaspace\",\"replacement\":\"\u2581\",\"add_prefix_space\":true}]}"

/* The same list as in tools/reference/make_token_refs.py. */
static reference references[] = {
    {"clip", "clip-vocab", 77, {NULL}, NULL, NULL},
    {"clip-files", "clip-vocab", 77, {"vocab.json", "merges.txt"}, NULL, NULL},
    {"minilm", "minilm", 128, {NULL}, NULL, NULL},
    {"minilm-files", "minilm", 128, {"vocab.txt"}, NULL, NULL},
    {"bert-cased", "bert-cased", 16, {NULL}, NULL, NULL},
    {"bert-strip", "bert-cased", 16, {NULL}, "\"strip_accents\":null", "\"strip_accents\":true"},
    {"bert-files", "bert-files", 16, {"vocab.txt", "tokenizer_config.json"}, NULL, NULL},
    {"roberta", "roberta", 16, {NULL}, NULL, NULL},
    {"roberta-prefix", "roberta", 16, {NULL}, "\"add_prefix_space\":false", "\"add_prefix_space\":true"},
    {"e5", "e5-small", 512, {NULL}, NULL, NULL},
    {"unigram", "unigram", 16, {NULL}, NULL, NULL},
    {"unigram-bytes", "unigram", 16, {NULL}, "\"byte_fallback\":false", "\"byte_fallback\":true"},
    {"unigram-words", "unigram", 16, {NULL}, METASPACE, WORDS},
};
#define N_REFERENCES (sizeof references / sizeof *references)

/* Copy source/name to target, with one replacement if `old` isn't NULL. */
static void copy_file(const char *source, const char *target, const char *name, const char *old, const char *new) {
  char *path = kin_format("%s/%s", source, name), *data;
  size_t size;
  kin_error err = {0};
  test_assert_ok(kin_read_file(path, (size_t)1 << 26, &data, &size, &err), &err);
  if (old) {
    char *at = strstr(data, old);
    assert_non_null(at);
    char *changed = kin_format("%.*s%s%s", (int)(at - data), data, new, at + strlen(old));
    free(data);
    data = changed;
    size = strlen(data);
  }
  test_write_file(target, name, data, size);
  free(data);
  free(path);
}

/* The folder that holds `r`'s files; NULL where it is a material that hasn't been fetched. */
static char *source_folder(const reference *r) {
  const char *cache = getenv("KINDRED_CACHE"), *file = r->files[0] ? r->files[0] : "tokenizer.json";
  char *relative = kin_format("tests/parity/text/%s", r->folder), *committed = test_source_path(relative);
  char *material = kin_format("%s/%s", cache ? cache : "", r->folder), *found = NULL;
  free(relative);
  for (int i = 0; i < 2 && !found; i++) {
    char *folder = i ? material : committed, *path = kin_format("%s/%s", folder, file);
    if (kin_file_exists(path)) found = kin_strdup(folder);
    free(path);
  }
  free(committed);
  free(material);
  return found;
}

static void test_reference(void **state) {
  const reference *r = *state;
  char *source = source_folder(r), *folder = test_temporary_folder();
  if (!source) {
    print_message("skipped: tools/materials.py %s first\n", r->folder);
    test_remove_tree(folder);
    free(folder);
    skip();
  }
  if (!r->files[0]) copy_file(source, folder, "tokenizer.json", r->old, r->new);
  for (size_t i = 0; r->files[i]; i++) copy_file(source, folder, r->files[i], NULL, NULL);
  char *digests = kin_format("tests/parity/text/%s.digests", r->name);
  compare(folder, digests, r->limit);
  free(digests);
  test_remove_tree(folder);
  free(folder);
  free(source);
}

int main(void) {
  struct CMUnitTest tests[N_REFERENCES];
  for (size_t i = 0; i < N_REFERENCES; i++)
    tests[i] = (struct CMUnitTest){references[i].name, test_reference, NULL, NULL, &references[i]};
  return cmocka_run_group_tests(tests, make_corpus, free_corpus);
}
