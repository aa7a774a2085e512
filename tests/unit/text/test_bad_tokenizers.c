/* Damaged or unknown tokenizer files: each a clear error. */
#include "support.h"
#include "text/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Write `text` as `name` into a new folder, open it, and demand an error that holds `part`. */
static void assert_refused(const char *name, const char *text, kin_status status, const char *part) {
  char *folder = test_temporary_folder();
  kin_tokenizer *t = NULL;
  kin_error err = {0};
  test_write_file(folder, name, text, strlen(text));
  kin_status got = kin_tokenizer_open(folder, &t, &err);
  if (got == KIN_OK) print_error("not refused: %s\n", text);
  test_assert_error(got, status, &err, part);
  if (status != KIN_ERR_IO) test_assert_error(got, status, &err, name); /* the file is named */
  test_remove_tree(folder);
  free(folder);
}

#define BPE_HEAD "{\"model\":{\"type\":\"BPE\",\"vocab\":"
#define AB "{\"a\":0,\"b\":1,\"ab\":2}"
/* A sound model; the file goes on behind it. */
#define BPE_AB BPE_HEAD AB ",\"merges\":[[\"a\",\"b\"]]}"

static void refused_json(const char *text, kin_status status, const char *part) {
  assert_refused("tokenizer.json", text, status, part);
}

static void test_no_files(void **state) {
  (void)state;
  assert_refused("other.txt", "", KIN_ERR_IO, "no tokenizer: neither tokenizer.json");
}

static void test_broken_json(void **state) {
  (void)state;
  refused_json("", KIN_ERR_FORMAT, "bad JSON");
  refused_json("[]", KIN_ERR_FORMAT, "not a JSON object");
  refused_json("{\"model\":", KIN_ERR_FORMAT, "bad JSON at line 1");
  refused_json("{\"model\":{}} x", KIN_ERR_FORMAT, "bad JSON");
  refused_json("{\"model\":\n{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]\n,[\"b\",1]]}\n,,}", KIN_ERR_FORMAT, "line 4");
  refused_json("{}", KIN_ERR_FORMAT, "\"model\" must be an object");
}

static void test_unknown_types(void **state) {
  (void)state;
  refused_json("{\"model\":{\"type\":\"WordLevel\",\"vocab\":{}}}", KIN_ERR_UNSUPPORTED,
               "unknown model type \"WordLevel\"");
  refused_json(BPE_AB ",\"normalizer\":{\"type\":\"Nope\"}}", KIN_ERR_UNSUPPORTED, "unknown normalizer type \"Nope\"");
  refused_json(BPE_AB ",\"normalizer\":{}}", KIN_ERR_FORMAT, "a normalizer has no \"type\"");
  refused_json(BPE_AB ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Nope\"}]}}",
               KIN_ERR_UNSUPPORTED, "unknown normalizer type \"Nope\"");
  refused_json(BPE_AB ",\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"x+\"},\"content\":\"\"}}",
               KIN_ERR_UNSUPPORTED, "regular expression \"x+\"");
  refused_json(BPE_AB ",\"pre_tokenizer\":{\"type\":\"Digits\"}}", KIN_ERR_UNSUPPORTED,
               "unknown pre_tokenizer type \"Digits\"");
  refused_json(BPE_AB
               ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\d\"},\"behavior\":\"Removed\","
               "\"invert\":true}}",
               KIN_ERR_UNSUPPORTED, "Split pattern \"\\d\"");
  refused_json(BPE_AB ",\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"first\"}}",
               KIN_ERR_UNSUPPORTED, "prepend_scheme \"first\"");
  refused_json(BPE_AB ",\"post_processor\":{\"type\":\"Nope\"}}", KIN_ERR_UNSUPPORTED,
               "unknown post_processor type \"Nope\"");
}

static void test_bpe_options(void **state) {
  (void)state;
  refused_json(BPE_HEAD AB ",\"merges\":[],\"byte_fallback\":true}}", KIN_ERR_UNSUPPORTED, "byte_fallback");
  refused_json(BPE_HEAD AB ",\"merges\":[],\"dropout\":0.5}}", KIN_ERR_UNSUPPORTED, "dropout");
  refused_json(BPE_HEAD AB ",\"merges\":[],\"continuing_subword_prefix\":\"@@\"}}", KIN_ERR_UNSUPPORTED,
               "continuing_subword_prefix");
}

static void test_merges(void **state) {
  (void)state;
  refused_json(BPE_HEAD AB "}}", KIN_ERR_FORMAT, "\"merges\" must be an array");
  refused_json(BPE_HEAD AB ",\"merges\":[\"a c\"]}}", KIN_ERR_FORMAT, "merge 1 needs the token \"c\"");
  refused_json(BPE_HEAD AB ",\"merges\":[\"a b\",[\"b\",\"a\"]]}}", KIN_ERR_FORMAT, "merge 2 needs the token \"ba\"");
  refused_json(BPE_HEAD AB ",\"merges\":[\"a b c\"]}}", KIN_ERR_FORMAT, "merge 1 isn't a pair");
  refused_json(BPE_HEAD AB ",\"merges\":[\"ab\"]}}", KIN_ERR_FORMAT, "merge 1 isn't a pair");
  refused_json(BPE_HEAD AB ",\"merges\":[[\"a\"]]}}", KIN_ERR_FORMAT, "merge 1 isn't a pair");
  refused_json(BPE_HEAD AB ",\"merges\":[7]}}", KIN_ERR_FORMAT, "merge 1 isn't a pair");
}

static void test_ids(void **state) {
  (void)state;
  refused_json(BPE_HEAD "{\"a\":0,\"b\":0},\"merges\":[]}}", KIN_ERR_FORMAT, "two tokens have the id 0");
  refused_json(BPE_HEAD "{\"a\":-1},\"merges\":[]}}", KIN_ERR_FORMAT, "the id of token \"a\"");
  refused_json(BPE_HEAD "{\"a\":99999999999},\"merges\":[]}}", KIN_ERR_FORMAT, "the id of token \"a\"");
  refused_json(BPE_HEAD "{\"a\":0.5},\"merges\":[]}}", KIN_ERR_FORMAT, "the id of token \"a\"");
  refused_json(BPE_HEAD "{\"a\":0,\"a\":1},\"merges\":[]}}", KIN_ERR_FORMAT, "bad JSON");
  refused_json(BPE_HEAD "[\"a\"],\"merges\":[]}}", KIN_ERR_FORMAT, "");
  /* A hole where the reference would put the added token. */
  refused_json(BPE_HEAD "{\"a\":0,\"b\":5},\"merges\":[]},\"added_tokens\":[{\"id\":6,\"content\":\"<x>\"}]}",
               KIN_ERR_FORMAT, "added token \"<x>\" says id 6, but its place is 2");
  refused_json(BPE_AB ",\"added_tokens\":[{\"id\":1,\"content\":\"a\"}]}", KIN_ERR_FORMAT,
               "says id 1, but its place is 0");
  refused_json(BPE_AB ",\"added_tokens\":[{\"id\":3}]}", KIN_ERR_FORMAT, "an added token has no \"content\"");
  refused_json(BPE_AB ",\"added_tokens\":[{\"id\":3,\"content\":\"<x>\",\"single_word\":true}]}", KIN_ERR_UNSUPPORTED,
               "\"single_word\" is unsupported");
  refused_json(BPE_AB ",\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"a\",0],\"sep\":[\"z\",9]}}",
               KIN_ERR_FORMAT, "a token id that the vocabulary of 3 lacks");
}

static void test_wordpiece(void **state) {
  (void)state;
  refused_json("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0}}}", KIN_ERR_FORMAT,
               "the unknown token \"[UNK]\"");
  assert_refused("vocab.txt", "[UNK]\n[CLS]\n[SEP]\n[PAD]\na\n", KIN_ERR_FORMAT, "the special token \"[MASK]\"");
  assert_refused("vocab.txt", "[UNK]\n\xff\n", KIN_ERR_FORMAT, "not valid UTF-8 at byte 6");
}

#define UNIGRAM(vocab) "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":" vocab "}}"

static void test_unigram(void **state) {
  (void)state;
  refused_json(UNIGRAM("[]"), KIN_ERR_FORMAT, "\"vocab\" must be an array");
  refused_json(UNIGRAM("{}"), KIN_ERR_FORMAT, "\"vocab\" must be an array");
  refused_json(UNIGRAM("[[\"a\",0],[\"b\"]]"), KIN_ERR_FORMAT, "entry 1 of \"vocab\"");
  refused_json(UNIGRAM("[[\"a\",0],[1,2]]"), KIN_ERR_FORMAT, "entry 1 of \"vocab\"");
  refused_json(UNIGRAM("[[\"a\",0],[\"\\ud800\",2]]"), KIN_ERR_FORMAT, "entry 1 of \"vocab\"");
  refused_json(UNIGRAM("[[\"a\",0],[\"\\q\",2]]"), KIN_ERR_FORMAT, "entry 1 of \"vocab\"");
  refused_json(UNIGRAM("[[\"a\",1e999]]"), KIN_ERR_FORMAT, "entry 0 of \"vocab\"");
  refused_json(UNIGRAM("[[\"a\",01]]"), KIN_ERR_FORMAT, "entry 0 of \"vocab\"");
  refused_json(UNIGRAM("[[\"a\",1.]]"), KIN_ERR_FORMAT, "entry 0 of \"vocab\"");
  refused_json(UNIGRAM("[[\"a\",0]"), KIN_ERR_FORMAT, "entry 1 of \"vocab\"");
  refused_json("{\"model\":{\"type\":\"Unigram\",\"unk_id\":2,\"vocab\":[[\"a\",0],[\"b\",0]]}}", KIN_ERR_FORMAT,
               "unk_id");
}

static void test_charsmap(void **state) {
  (void)state;
#define CHARSMAP(text) BPE_AB ",\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":" text "}}"
  refused_json(CHARSMAP("7"), KIN_ERR_FORMAT, "lacks the string");
  refused_json(CHARSMAP("\"***=\""), KIN_ERR_FORMAT, "isn't base64");
  refused_json(CHARSMAP("\"AAA\""), KIN_ERR_FORMAT, "isn't base64");
  refused_json(CHARSMAP("\"\""), KIN_ERR_FORMAT, "is damaged");
  refused_json(CHARSMAP("\"/////w==\""), KIN_ERR_FORMAT, "is damaged");
  refused_json(CHARSMAP("\"BAAAAAAAAAD/\""), KIN_ERR_FORMAT, "aren't UTF-8");
}

static void test_vocabulary_and_merges(void **state) {
  (void)state;
  assert_refused("vocab.json", "{\"a\":0}", KIN_ERR_UNSUPPORTED, "not CLIP's vocabulary");
  assert_refused("vocab.json", "{", KIN_ERR_FORMAT, "bad JSON");
  assert_refused("vocab.json", "{\"<|startoftext|>\":0,\"<|endoftext|>\":1}", KIN_ERR_IO, "merges.txt");
}

/* A character that is unknown, as the unknown token is: told when such a text comes, as by the reference. */
static void test_unknown_without_a_token(void **state) {
  (void)state;
  static const char *const files[] = {BPE_HEAD AB ",\"merges\":[],\"unk_token\":\"<unk>\"}}",
                                      "{\"model\":{\"type\":\"Unigram\",\"unk_id\":null,\"vocab\":[[\"a\",0]]}}"};
  for (size_t i = 0; i < 2; i++) {
    char *folder = test_temporary_folder();
    kin_tokenizer *t;
    kin_error err = {0};
    int32_t *ids;
    size_t n;
    test_write_file(folder, "tokenizer.json", files[i], strlen(files[i]));
    test_assert_ok(kin_tokenizer_open(folder, &t, &err), &err);
    test_assert_ok(kin_tokenize(t, "aa", 2, 0, &ids, &n, &err), &err);
    assert_int_equal(n, 2);
    free(ids);
    test_assert_error(kin_tokenize(t, "az", 2, 0, &ids, &n, &err), KIN_ERR_FORMAT, &err, "unknown");
    kin_tokenizer_close(t);
    test_remove_tree(folder);
    free(folder);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_no_files),
      cmocka_unit_test(test_broken_json),
      cmocka_unit_test(test_unknown_types),
      cmocka_unit_test(test_bpe_options),
      cmocka_unit_test(test_merges),
      cmocka_unit_test(test_ids),
      cmocka_unit_test(test_wordpiece),
      cmocka_unit_test(test_unigram),
      cmocka_unit_test(test_charsmap),
      cmocka_unit_test(test_vocabulary_and_merges),
      cmocka_unit_test(test_unknown_without_a_token),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
