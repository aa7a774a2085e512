/* Where sentences end, and how they are gathered into passages. */
#include "document/chunker.h"
#include "fake_encoder.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The sentences of `text`, parted by '|'. */
static void check_sentences(const char *text, const char *expected) {
  char got[4096] = "";
  size_t size = strlen(text), at = 0;
  while (at < size) {
    size_t n = kin_sentence_length(text + at, size - at, 1000);
    size_t used = strlen(got);
    snprintf(got + used, sizeof got - used, "%s%.*s", used ? "|" : "", (int)n, text + at);
    at += n;
    while (at < size && strchr(" \n\t", text[at])) at++;
  }
  assert_string_equal(got, expected);
}

static void test_sentence_ends(void **state) {
  (void)state;
  check_sentences("One. Two! Three?! Four… Five", "One.|Two!|Three?!|Four…|Five");
  check_sentences("He said \"Stop.\" Then (so it goes.) he left.", "He said \"Stop.\"|Then (so it goes.) he left.");
  check_sentences("Mr. Kim met Dr. J. Smith, e.g. at 3.5 km. No. 5 vs. No. 6.",
                  "Mr. Kim met Dr. J. Smith, e.g. at 3.5 km.|No. 5 vs. No. 6.");
  check_sentences("wait ... and go. v1.2.3 is out.", "wait ... and go.|v1.2.3 is out.");
  check_sentences("눈이 왔다. 길이 하얗다! 추운가요? 네.", "눈이 왔다.|길이 하얗다!|추운가요?|네.");
  check_sentences("雪が降った。道は白い！寒い？「はい。」彼は言った",
                  "雪が降った。|道は白い！|寒い？|「はい。」|彼は言った");
  check_sentences("A title\n\nA line\ngoes on. End\n \nLast", "A title|A line\ngoes on.|End|Last");
  check_sentences("List:\n- one\n- two\n1. three\n2) four\n• five", "List:|- one|- two|1. three|2) four|• five");
}

typedef struct fixture {
  char *folder, *path;
  kin_error err;
} fixture;

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  f->folder = test_temporary_folder();
  f->path = kin_format("%s/file", f->folder);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  test_remove_tree(f->folder);
  free(f->folder);
  free(f->path);
  free(f);
  return 0;
}

/* The passages as "LINE:text" parted by '|', line ends as '/'. */
static void chunk(fixture *f, kin_document_format format, const char *content, size_t limit, char *out, size_t size) {
  kin_document *document;
  kin_chunker *chunker;
  kin_token_counter counter = {fake_encoder_count, NULL, limit};
  kin_chunk c;
  test_write_file(f->folder, "file", content, strlen(content));
  test_assert_ok(kin_document_open(f->path, format, NULL, &document, &f->err), &f->err);
  test_assert_ok(kin_chunker_open(document, &counter, &chunker, &f->err), &f->err);
  size_t used = 0;
  out[0] = '\0';
  for (;;) {
    test_assert_ok(kin_chunker_next(chunker, &c, &f->err), &f->err);
    if (!c.text) break;
    size_t tokens;
    assert_int_equal(strlen(c.text), c.size);
    fake_encoder_count(NULL, c.text, c.size, &tokens, NULL);
    assert_true(tokens <= limit);
    used += (size_t)snprintf(out + used, size - used, "%s%llu:%s", used ? "|" : "", (unsigned long long)c.line, c.text);
  }
  for (char *p = out; *p; p++)
    if (*p == '\n') *p = '/';
  kin_chunker_close(chunker);
  kin_document_close(document);
}

static void test_passages_overlap(void **state) {
  fixture *f = *state;
  char out[4096];
  /* Room for eight words; an overlap is at most two. */
  chunk(f, KIN_DOCUMENT_PLAIN, "a b c d. e f. g h.\ni j k. l m n o p q. r s.", 10, out, sizeof out);
  assert_string_equal(out, "1:a b c d. e f. g h.|1:g h./i j k.|2:l m n o p q. r s.");
  chunk(f, KIN_DOCUMENT_PLAIN, "a. b. c. d. e. f. g. h. i. j.", 10, out, sizeof out);
  assert_string_equal(out, "1:a. b. c. d. e. f. g. h.|1:g. h. i. j.");
  chunk(f, KIN_DOCUMENT_PLAIN, "a b c d e f g.\n\nh i j k l m n.", 10, out, sizeof out);
  assert_string_equal(out, "1:a b c d e f g.|3:h i j k l m n.");
  chunk(f, KIN_DOCUMENT_PLAIN, " \n\n \n", 10, out, sizeof out);
  assert_string_equal(out, "");
}

static void test_long_sentences_are_cut_between_words(void **state) {
  fixture *f = *state;
  char out[4096];
  chunk(f, KIN_DOCUMENT_PLAIN, "one two three four five six seven eight nine ten.\nend.", 6, out, sizeof out);
  assert_string_equal(out, "1:one two three four|1:five six seven eight|1:nine ten./end.");
  /* A word longer than any sentence is cut inside, at characters. */
  char *word = malloc(30001), *got = malloc(40000);
  for (size_t i = 0; i < 10000; i++) memcpy(word + 3 * i, "눈", 4);
  chunk(f, KIN_DOCUMENT_PLAIN, word, 6, got, 40000);
  size_t characters = 0;
  for (const char *p = got; (p = strstr(p, "눈")); p += 3) characters++;
  assert_true(characters >= 10000);
  free(word);
  free(got);
}

static void test_records_are_apart(void **state) {
  fixture *f = *state;
  char out[4096];
  chunk(f, KIN_DOCUMENT_JSON, "{\"text\": \"a b. c.\"}\n{\"text\": \" \"}\n{\"text\": \"d e f g. h i j k.\"}\n", 8, out,
        sizeof out);
  assert_string_equal(out, "1:a b. c.|3:d e f g.|3:h i j k.");
}

static kin_status count_all_as_many(void *user, const char *text, size_t size, size_t *out, kin_error *err) {
  (void)user, (void)text, (void)size, (void)err;
  *out = 9;
  return KIN_OK;
}

static void test_no_room(void **state) {
  fixture *f = *state;
  kin_chunker *chunker;
  kin_token_counter counter = {count_all_as_many, NULL, 10};
  test_assert_error(kin_chunker_open(NULL, &counter, &chunker, &f->err), KIN_ERR_UNSUPPORTED, &f->err, "no room");
}

/* Whatever the sentences' lengths, every word is in some passage, in order, and passages stay short. */
static void test_nothing_is_lost(void **state) {
  fixture *f = *state;
  enum { WORDS = 20000, SIZE = WORDS * 8 };
  char *content = malloc(SIZE), *out = malloc(4 * SIZE);
  srand(7);
  size_t n = 0;
  for (int i = 0; i < WORDS; i++) {
    int what = rand() % 40;
    n += (size_t)snprintf(content + n, SIZE - n, "w%d%s", i,
                          what < 5    ? ". "
                          : what == 5 ? "\n"
                          : what == 6 ? ".\n\n"
                                      : " ");
  }
  chunk(f, KIN_DOCUMENT_PLAIN, content, 18, out, 4 * SIZE);
  long next = 0, most = -1;
  for (const char *p = out; (p = strchr(p, 'w')); p++) {
    long w = strtol(p + 1, NULL, 10);
    assert_true(w <= most + 1);
    if (w == next) next++;
    if (w > most) most = w;
  }
  assert_int_equal(next, WORDS);
  free(content);
  free(out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sentence_ends),
      cmocka_unit_test_setup_teardown(test_passages_overlap, setup, teardown),
      cmocka_unit_test_setup_teardown(test_long_sentences_are_cut_between_words, setup, teardown),
      cmocka_unit_test_setup_teardown(test_records_are_apart, setup, teardown),
      cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
      cmocka_unit_test_setup_teardown(test_nothing_is_lost, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
