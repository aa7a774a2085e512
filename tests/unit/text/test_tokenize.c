/* What kin_tokenize promises beside the ids themselves. */
#include "base/threads.h"
#include "support.h"
#include "text/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static kin_tokenizer *tokenizer; /* byte-level BPE: <s> text </s> */

static kin_tokenizer *open_committed(const char *name) {
  char *relative = kin_format("tests/parity/text/%s", name), *folder = test_source_path(relative);
  kin_tokenizer *t;
  kin_error err = {0};
  test_assert_ok(kin_tokenizer_open(folder, &t, &err), &err);
  free(folder);
  free(relative);
  return t;
}

static int open_tokenizer(void **state) {
  (void)state;
  tokenizer = open_committed("roberta");
  return 0;
}

static int close_tokenizer(void **state) {
  (void)state;
  kin_tokenizer_close(tokenizer);
  kin_tokenizer_close(NULL);
  return 0;
}

static size_t count_tokens(const kin_tokenizer *t, const char *text, size_t size, size_t limit, int32_t first[4]) {
  int32_t *ids;
  size_t n;
  kin_error err = {0};
  test_assert_ok(kin_tokenize(t, text, size, limit, &ids, &n, &err), &err);
  for (size_t i = 0; i < n && i < 4; i++) first[i] = ids[i];
  free(ids);
  return n;
}

static void test_empty_text(void **state) {
  (void)state;
  int32_t ids[4];
  assert_int_equal(count_tokens(tokenizer, "", 0, 0, ids), 2);
  assert_int_equal(ids[0], 0);
  assert_int_equal(ids[1], 2);
}

static void test_cut_keeps_the_end_token(void **state) {
  (void)state;
  const char text[] = "one two three four five six seven eight";
  int32_t whole[4], ids[4];
  assert_true(count_tokens(tokenizer, text, strlen(text), 0, whole) > 8);
  assert_int_equal(count_tokens(tokenizer, text, strlen(text), 3, ids), 3);
  assert_int_equal(ids[0], whole[0]);
  assert_int_equal(ids[1], whole[1]);
  assert_int_equal(ids[2], 2);
  assert_int_equal(count_tokens(tokenizer, text, strlen(text), 2, ids), 2);
  assert_int_equal(ids[1], 2);
}

static void test_no_room_for_the_start_and_end_tokens(void **state) {
  (void)state;
  int32_t *ids;
  size_t n;
  kin_error err = {0};
  test_assert_error(kin_tokenize(tokenizer, "a", 1, 1, &ids, &n, &err), KIN_ERR_ARGUMENT, &err, "1 tokens are too few");
}

static void test_special_tokens_in_the_text(void **state) {
  (void)state;
  int32_t ids[4];
  const char text[] = "</s>  <mask><s>";
  assert_int_equal(count_tokens(tokenizer, text, strlen(text), 0, ids), 5);
  assert_int_equal(ids[0], 0);
  assert_int_equal(ids[1], 2);
  assert_int_equal(ids[2], 4); /* takes the white space before it along */
  assert_int_equal(ids[3], 0);
}

static void test_nul_is_a_character(void **state) {
  (void)state;
  int32_t ids[4];
  assert_int_equal(count_tokens(tokenizer, "a\0b", 3, 0, ids), 5);
}

/* Each with the offset of its first bad byte. */
static void test_invalid_utf8(void **state) {
  (void)state;
  static const struct {
    const char *text;
    size_t offset;
  } bad[] = {{"\x80", 0},
             {"abcdefgh\xff", 8},
             {"ab\xc0\xaf", 2}, /* overlong */
             {"\xc1\xbf", 0},
             {"a\xe0\x9f\xbf", 1},
             {"a\xf0\x8f\xbf\xbf", 1},
             {"\xed\xa0\x80", 0}, /* a surrogate */
             {"ok \xed\xbf\xbf", 3},
             {"\xf4\x90\x80\x80", 0}, /* beyond U+10FFFF */
             {"\xf5\x80\x80\x80", 0},
             {"caf\xc3", 3}, /* cut short */
             {"\xe2\x82", 0},
             {"\xf0\x9f\x98", 0},
             {"\xc3\x28", 0},
             {"\xe2\x28\xa1", 0},
             {"\xf0\x9f\x28\x80", 0},
             {"latin-1: na\xefve", 11}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    int32_t *ids;
    size_t n;
    kin_error err = {0};
    char *expected = kin_format("isn't valid UTF-8 at byte %zu", bad[i].offset);
    kin_status status = kin_tokenize(tokenizer, bad[i].text, strlen(bad[i].text), 0, &ids, &n, &err);
    test_assert_error(status, KIN_ERR_FORMAT, &err, expected);
    free(expected);
  }
}

/* A word or a run of marks of a million characters takes a moment, not minutes. */
static void test_long_runs(void **state) {
  (void)state;
  static const char *const units[] = {"a", "ab", "가", "e\u0301\u0316", "\u0301\u0316", " ", "<", "\U0001F468\u200D"};
  static const char *const names[] = {"roberta", "bert-cased", "unigram"};
  for (size_t k = 0; k < 3; k++) {
    kin_tokenizer *t = open_committed(names[k]);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
      size_t n = strlen(units[i]), repeats = 1000000 / n;
      char *text = malloc(n * repeats);
      assert_non_null(text);
      for (size_t r = 0; r < repeats; r++) memcpy(text + r * n, units[i], n);
      int32_t ids[4];
      assert_true(count_tokens(t, text, n * repeats, 0, ids) >= 2);
      assert_in_range(count_tokens(t, text, n * repeats, 77, ids), 2, 77);
      free(text);
    }
    kin_tokenizer_close(t);
  }
}

typedef struct shared {
  int32_t *ids[64];
  size_t counts[64];
} shared;

static void tokenize_one(void *arg, size_t task) {
  shared *s = arg;
  const char text[] = "Threads share one tokenizer; 모두 같은 답을 얻는다.";
  if (kin_tokenize(tokenizer, text, strlen(text), 0, &s->ids[task], &s->counts[task], NULL) != KIN_OK)
    s->counts[task] = 0;
}

static void test_threads_share_a_tokenizer(void **state) {
  (void)state;
  kin_pool *pool;
  kin_error err = {0};
  test_assert_ok(kin_pool_open(4, &pool, &err), &err);
  shared s = {0};
  kin_parallel_for(pool, 64, tokenize_one, &s);
  kin_pool_close(pool);
  for (size_t i = 0; i < 64; i++) {
    assert_true(s.counts[i] > 2);
    assert_int_equal(s.counts[i], s.counts[0]);
    assert_memory_equal(s.ids[i], s.ids[0], s.counts[0] * sizeof(int32_t));
  }
  for (size_t i = 0; i < 64; i++) free(s.ids[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_empty_text),
      cmocka_unit_test(test_cut_keeps_the_end_token),
      cmocka_unit_test(test_no_room_for_the_start_and_end_tokens),
      cmocka_unit_test(test_special_tokens_in_the_text),
      cmocka_unit_test(test_nul_is_a_character),
      cmocka_unit_test(test_invalid_utf8),
      cmocka_unit_test(test_long_runs),
      cmocka_unit_test(test_threads_share_a_tokenizer),
  };
  return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
