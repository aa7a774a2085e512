/* The words that a full-text index holds, against Lucene's. */
#include "base/json.h"
#include "support.h"
#include "text/search_tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tokens joined by '|'. */
typedef struct list {
  char text[8192];
  size_t n, most; /* stops after `most`; 0: never */
  bool tails;
} list;

static bool collect(void *user, const kin_search_token *token) {
  list *l = user;
  if (token->kind == KIN_SEARCH_TAIL && !l->tails) return true;
  size_t used = strlen(l->text);
  int n = snprintf(l->text + used, sizeof l->text - used, "%s%.*s", used ? "|" : "", (int)token->size, token->text);
  assert_true((size_t)n < sizeof l->text - used);
  return ++l->n != l->most;
}

static void assert_tokens(const char *text, const char *expected) {
  list l = {0};
  kin_error err = {0};
  test_assert_ok(kin_search_tokens(text, strlen(text), collect, &l, &err), &err);
  assert_string_equal(l.text, expected);
}

static void test_tokens_are_lucenes(void **state) {
  (void)state;
  char *lines[512];
  size_t n = test_read_lines("tests/data/words/lucene.jsonl", lines, 512), wrong = 0;
  assert_true(n >= 200);
  for (size_t i = 0; i < n; i++) {
    json_t *object, *token;
    size_t k;
    list expected = {0}, actual = {0};
    kin_error err = {0};
    test_assert_ok(kin_json_parse(lines[i], strlen(lines[i]), "lucene.jsonl", &object, &err), &err);
    const char *text = json_string_value(json_object_get(object, "text"));
    json_array_foreach(json_object_get(object, "tokens"), k, token) {
      kin_search_token t = {KIN_SEARCH_WORD, json_string_value(token), json_string_length(token)};
      collect(&expected, &t);
    }
    test_assert_ok(kin_search_tokens(text, strlen(text), collect, &actual, &err), &err);
    if (strcmp(expected.text, actual.text) != 0) {
      print_error("\"%s\"\n  Lucene: %s\n  ours:   %s\n", text, expected.text, actual.text);
      wrong++;
    }
    json_decref(object);
    free(lines[i]);
  }
  assert_int_equal(wrong, 0);
}

/* A query is cut into words twice: the second time must change nothing. */
static bool cut_again(void *user, const kin_search_token *token) {
  (void)user;
  list l = {0};
  char text[1024];
  snprintf(text, sizeof text, "%.*s", (int)token->size, token->text);
  kin_error err = {0};
  test_assert_ok(kin_search_tokens(text, token->size, collect, &l, &err), &err);
  assert_string_equal(l.text, text);
  return true;
}

static void test_tokens_stay_whole(void **state) {
  (void)state;
  char *lines[512];
  kin_error err = {0};
  size_t n = test_read_lines("tests/data/words/texts.txt", lines, 512);
  for (size_t i = 0; i < n; i++) {
    test_assert_ok(kin_search_tokens(lines[i], strlen(lines[i]), cut_again, NULL, &err), &err);
    free(lines[i]);
  }
}

static void test_tails(void **state) {
  (void)state;
  list l = {.tails = true};
  kin_error err = {0};
  const char *text = "산길 길 雪山, road";
  test_assert_ok(kin_search_tokens(text, strlen(text), collect, &l, &err), &err);
  assert_string_equal(l.text, "산길|길|길|雪山|山|road");
}

static void test_any_bytes(void **state) {
  (void)state;
  assert_tokens("", "");
  assert_tokens("snow\xFFroad \xEB\x8F\x84\xEB", "snow|road|도");
  assert_tokens("\xED\xA0\x80x\xC0\x80y", "x|y"); /* a surrogate, an overlong NUL */
  char *exact = malloc(4); /* its end is the heap's, so that a sanitizer sees reads behind it */
  memcpy(exact, "road", 4);
  list l4 = {0};
  kin_error err4 = {0};
  test_assert_ok(kin_search_tokens(exact, 4, collect, &l4, &err4), &err4);
  assert_string_equal(l4.text, "road");
  free(exact);
  char bytes[4096];
  uint32_t seed = 7;
  for (size_t round = 0; round < 200; round++) {
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)((seed = seed * 1664525 + 1013904223) >> 24);
    kin_error err = {0};
    list l = {.most = 500};
    test_assert_ok(kin_search_tokens(bytes, sizeof bytes, collect, &l, &err), &err);
  }
}

static void test_long_words_go_on(void **state) {
  (void)state;
  char text[601] = {0};
  memset(text, 'a', 600);
  list l = {0};
  kin_error err = {0};
  test_assert_ok(kin_search_tokens(text, 600, collect, &l, &err), &err);
  assert_int_equal(l.n, 3);
  assert_int_equal(strcspn(l.text, "|"), 255);
  list one = {.most = 1};
  test_assert_ok(kin_search_tokens("a b c", 5, collect, &one, &err), &err);
  assert_string_equal(one.text, "a");
}

static void assert_path(const char *path, const char *expected) {
  list l = {0};
  kin_error err = {0};
  test_assert_ok(kin_search_path_tokens(path, strlen(path), collect, &l, &err), &err);
  assert_string_equal(l.text, expected);
}

static void test_paths(void **state) {
  (void)state;
  assert_path("/home/ann/Photos/2023/SnowyRoad_01.jpg", "home|ann|photos|2023|snowy|road|01|jpg|snowyroad_01");
  assert_path("IMG_1234.JPG", "img|1234|jpg|img_1234");
  assert_path("snow.jpg", "snow|jpg|snow.jpg");
  assert_path("HTMLPageOfJSON2.html", "html|page|of|json|2|html|htmlpageofjson2");
  assert_path("v1.2-beta", "v|1|2|beta|v1.2");
  assert_path("여름휴가2023/제주도.png", "여름|름휴|휴가|2023|제주|주도|png");
  assert_path("사진_길.jpg", "사진|길|jpg");
  assert_path("ÉtéÀParis", "été|à|paris|étéàparis");
  assert_path("snow\xFFroad", "snow|road");
  assert_path("//", "");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_tokens_are_lucenes),
                                     cmocka_unit_test(test_tokens_stay_whole),
                                     cmocka_unit_test(test_tails),
                                     cmocka_unit_test(test_any_bytes),
                                     cmocka_unit_test(test_long_words_go_on),
                                     cmocka_unit_test(test_paths)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
