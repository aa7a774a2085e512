/* Filters: what they are read as, and what is said of those that are wrong. */
#include "index/filter.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ------------------------------------------------ a tree as text, (and (> width 1000) (glob path '2023')) */

static void put(FILE *out, const kin_filter *f) {
  static const char *const ops[] = {"and", "or",   "not",  "=",  "<",       "<=",  ">",
                                    ">=",  "glob", "like", "in", "between", "null"};
  static const char *const fields[] = {"id",     "path", "name",  "folder", "width",
                                       "height", "size", "mtime", "kind",   "meta."};
  fprintf(out, "(%s", ops[f->op]);
  for (size_t i = 0; i < f->n_parts; i++) {
    putc(' ', out);
    put(out, f->parts[i]);
  }
  if (!f->n_parts) fprintf(out, " %s%s", fields[f->field], f->key ? f->key : "");
  for (size_t i = 0; i < f->n_values; i++) {
    const kin_filter_value *v = &f->values[i];
    if (v->type == KIN_VALUE_TEXT)
      fprintf(out, " '%s'", v->text);
    else if (v->type == KIN_VALUE_INTEGER)
      fprintf(out, " %lld", (long long)v->integer);
    else
      fprintf(out, " %.17g", v->real);
  }
  putc(')', out);
}

static char *tree_of(const char *text) {
  kin_filter *f;
  kin_error err;
  char *out = NULL;
  size_t size;
  if (kin_filter_parse(text, &f, &err) != KIN_OK) fail_msg("%s: %s", text, err.message);
  FILE *file = open_memstream(&out, &size);
  assert_non_null(file);
  if (f) put(file, f);
  assert_int_equal(fclose(file), 0);
  kin_filter_free(f);
  return out;
}

static void assert_tree(const char *text, const char *expected) {
  char *tree = tree_of(text);
  if (strcmp(tree, expected) != 0) fail_msg("%s is read as\n%s, not as\n%s", text, tree, expected);
  free(tree);
}

static void assert_wrong(const char *text, const char *message) {
  kin_filter *f = NULL;
  kin_error err = {0};
  kin_status status = kin_filter_parse(text, &f, &err);
  if (status != KIN_ERR_ARGUMENT || f) fail_msg("%s: status %s", text, kin_status_name(status));
  if (strcmp(err.message, message) != 0) fail_msg("%s: the message is\n%s, not\n%s", text, err.message, message);
}

/* -------------------------------------------------------------------------- what is read */

static void test_operators(void **state) {
  (void)state;
  assert_tree("", "");
  assert_tree(" \t\n", "");
  assert_tree("width > 1000 and path glob '2023/*'", "(and (> width 1000) (glob path '2023/*'))");
  assert_tree("WIDTH>=1 AND height<=2", "(and (>= width 1) (<= height 2))");
  assert_tree("size = 5 or size == 6 or id < 7", "(or (= size 5) (= size 6) (< id 7))");
  assert_tree("id != 5", "(not (= id 5))");
  assert_tree("id <> -5", "(not (= id -5))");
  assert_tree("name like '%.jpg'", "(like name '%.jpg')");
  assert_tree("name not like '%.jpg'", "(not (like name '%.jpg'))");
  assert_tree("folder not glob '/a/*'", "(not (glob folder '/a/*'))");
  assert_tree("id in (1, 2,3)", "(in id 1 2 3)");
  assert_tree("id not in(1)", "(not (in id 1))");
  assert_tree("width between 1 and 2 and height > 3", "(and (between width 1 2) (> height 3))");
  assert_tree("width not between 1 and 2.5", "(not (between width 1 2.5))");
  assert_tree("width is null", "(null width)");
  assert_tree("meta.camera is not null", "(not (null meta.camera))");
  assert_tree("kind = picture or kind = 'document'", "(or (= kind 'picture') (= kind 'document'))");
  assert_tree("kind in ('picture', document)", "(in kind 'picture' 'document')");
}

static void test_precedence(void **state) {
  (void)state;
  assert_tree("id=1 or id=2 and id=3", "(or (= id 1) (and (= id 2) (= id 3)))");
  assert_tree("(id=1 or id=2) and id=3", "(and (or (= id 1) (= id 2)) (= id 3))");
  assert_tree("not id=1 and id=2", "(and (not (= id 1)) (= id 2))");
  assert_tree("not (id=1 and id=2)", "(not (and (= id 1) (= id 2)))");
  assert_tree("not not id=1", "(not (not (= id 1)))");
  assert_tree("((id=1))", "(= id 1)");
  assert_tree("id=1 and (id=2 and id=3)", "(and (= id 1) (and (= id 2) (= id 3)))");
}

static void test_values(void **state) {
  (void)state;
  assert_tree("path = 'it''s'", "(= path 'it's')");
  assert_tree("path = ''", "(= path '')");
  assert_tree("path = ''''", "(= path ''')");
  assert_tree("path = '도로'", "(= path '도로')");
  assert_tree("width > 1.5", "(> width 1.5)");
  assert_tree("width > -.5e1", "(> width -5)");
  assert_tree("width > +3", "(> width 3)");
  assert_tree("size > 9223372036854775807", "(> size 9223372036854775807)");
  assert_tree("size > 9223372036854775808", "(> size 9.2233720368547758e+18)");
  assert_tree("meta.camera = 'X100' and meta.rating >= 4", "(and (= meta.camera 'X100') (>= meta.rating 4))");
  assert_tree("meta.'Shot at' = 1", "(= meta.Shot at 1)");
  assert_tree("meta.'it''s' is null", "(null meta.it's)");
  assert_tree("meta.exif:iso-speed.x = 1", "(= meta.exif:iso-speed.x 1)");
  assert_tree("meta.촬영 = '봄'", "(= meta.촬영 '봄')");
  assert_tree("meta.and = 1 and meta.KEY in (1, 'a')", "(and (= meta.and 1) (in meta.KEY 1 'a'))");
}

/* What would end a literal or begin a comment in SQL is text like any other. */
static void test_injection(void **state) {
  (void)state;
  assert_tree("name = '''; DROP TABLE items; --'", "(= name ''; DROP TABLE items; --')");
  assert_tree("name = 'a\" OR 1=1 /* '", "(= name 'a\" OR 1=1 /* ')");
  assert_tree("meta.'x'' OR 1=1 --' = 1", "(= meta.x' OR 1=1 -- 1)");
  assert_wrong("name = 'a' ; drop table items", "filter, column 12: ; means nothing here");
  assert_wrong("name = 'a' -- and", "filter, column 12: - means nothing here");
  assert_wrong("name = 'a' or 1=1",
               "filter, column 15: at 1: expected a field (id, path, name, folder, width, height, size, mtime, kind or "
               "meta.KEY)");
  assert_wrong("id in (select 1)", "filter, column 8: at select: expected a number, without quotes");
  assert_wrong("id = id", "filter, column 6: at id: expected a number, without quotes");
  assert_wrong("name = 'a' union select path", "filter, column 12: at union: expected and, or, or the end");
}

static void test_messages(void **state) {
  (void)state;
  static const char field[] = "expected a field (id, path, name, folder, width, height, size, mtime, kind or meta.KEY)";
  char message[200];
  snprintf(message, sizeof message, "filter, column 1: at widht: %s", field);
  assert_wrong("widht > 3", message);
  snprintf(message, sizeof message, "filter, column 15: it ends too early: %s", field);
  assert_wrong("width > 3 and ", message);
  snprintf(message, sizeof message, "filter, column 13: at ): %s", field);
  assert_wrong("name='도로'or )", message);
  assert_wrong("width", "filter, column 6: it ends too early: expected =, !=, <, <=, >, >=, glob, like, in, between or "
                        "is null");
  assert_wrong("width ~ 3", "filter, column 7: ~ means nothing here");
  assert_wrong("width é 3", "filter, column 7: at é: expected =, !=, <, <=, >, >=, glob, like, in, between or is null");
  assert_wrong("width > '3'", "filter, column 9: at '3': expected a number, without quotes");
  assert_wrong("width > 3x", "filter, column 9: at 3x: expected a number such as 12 or 1.5e3");
  assert_wrong("width > 0x10", "filter, column 9: at 0x10: expected a number such as 12 or 1.5e3");
  assert_wrong("width > 1e999", "filter, column 9: at 1e999: expected a number such as 12 or 1.5e3");
  assert_wrong("name = 3", "filter, column 8: at 3: expected a text in single quotes such as 'so'");
  assert_wrong("name = \"a\"", "filter, column 8: texts stand in single quotes: 'so' (and a ' in them is doubled)");
  assert_wrong("name = 'a", "filter, column 8: the text that begins here has no closing '");
  assert_wrong("name glob x", "filter, column 11: at x: expected a pattern in single quotes such as '*.jpg'");
  assert_wrong("width glob '1*'", "filter, column 1: at width: expected path, name, folder or meta.KEY before glob and "
                                  "like");
  assert_wrong("kind = cat", "filter, column 8: at cat: expected 'picture' or 'document'");
  assert_wrong("kind > picture", "filter, column 1: at kind: expected kind with = or != only");
  assert_wrong("(width > 3", "filter, column 11: it ends too early: expected and, or, or )");
  assert_wrong("width > 3)", "filter, column 10: at ): expected and, or, or the end");
  assert_wrong("id in 3", "filter, column 7: at 3: expected ( and values between commas");
  assert_wrong("id in ()", "filter, column 8: at ): expected a number, without quotes");
  assert_wrong("id in (1", "filter, column 9: it ends too early: expected , or )");
  assert_wrong("id between 1", "filter, column 13: it ends too early: expected and with the other end: between 1 and "
                               "2");
  assert_wrong("meta.x between 1 and 'b'", "filter, column 22: at 'b': expected a number like the other end");
  assert_wrong("id is 3", "filter, column 7: at 3: expected null or not null");
  assert_wrong("meta. = 3", "filter, column 1: at meta.: expected a key: meta.camera or meta.'any key'");
  assert_wrong("mtime > '2024-02-30'", "filter, column 9: at '2024-02-30': expected a date such as '2024-05-01' or "
                                       "'2024-05-01 12:30', or a Unix time");
}

/* -------------------------------------------------------------------------- dates */

static void test_dates(void **state) {
  (void)state;
  /* In UTC: seconds by date -u -d ... +%s. */
  assert_tree("mtime > '2024-05-01Z'", "(>= mtime 1714608000)");
  assert_tree("mtime >= '2024-05-01Z'", "(>= mtime 1714521600)");
  assert_tree("mtime < '2024-05Z'", "(< mtime 1714521600)");
  assert_tree("mtime <= '2024Z'", "(< mtime 1735689600)");
  assert_tree("mtime = '2024-05-01T12:30Z'", "(and (>= mtime 1714566600) (< mtime 1714566660))");
  assert_tree("mtime != '2024-05-01 12:30:59Z'", "(not (and (>= mtime 1714566659) (< mtime 1714566660)))");
  assert_tree("mtime = '2024-12-31T23Z'", "(and (>= mtime 1735686000) (< mtime 1735689600))");
  assert_tree("mtime = '2024-02-29Z'", "(and (>= mtime 1709164800) (< mtime 1709251200))");
  assert_tree("mtime between '2023Z' and '2024-05-01Z'", "(and (>= mtime 1672531200) (< mtime 1714608000))");
  assert_tree("mtime in ('2023Z', 5)",
              "(or (and (>= mtime 1672531200) (< mtime 1704067200)) (and (>= mtime 5) (< mtime 6)))");
  assert_tree("mtime > 1700000000", "(>= mtime 1700000001)");
  assert_tree("mtime is null", "(null mtime)");
  static const char *const none[] = {
      "2023-02-29",       "2024-13",     "2024-00",     "24-01-01", "2024-1-1", "2024-05-01T24",
      "2024-05-01 12:60", "2024-05-01T", "2024-05-01x", "",         "Z",        "yesterday"};
  int64_t from, to;
  for (size_t i = 0; i < sizeof none / sizeof *none; i++)
    if (kin_filter_parse_time(none[i], &from, &to)) fail_msg("\"%s\" is taken for a date", none[i]);
}

/* Local time, with a day of 23 hours. */
static void test_local_dates(void **state) {
  (void)state;
  assert_int_equal(setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1), 0);
  tzset();
  assert_tree("mtime = '2024-05-01'", "(and (>= mtime 1714514400) (< mtime 1714600800))");
  assert_tree("mtime = '2024-03-31'", "(and (>= mtime 1711839600) (< mtime 1711922400))");
}

/* ------------------------------------------------------------------------- limits */

/* `n` times `piece` between `before` and `after`. */
static char *repeated(const char *before, const char *piece, size_t n, const char *after) {
  char *out = malloc(strlen(before) + n * strlen(piece) + strlen(after) + 1);
  assert_non_null(out);
  char *at = stpcpy(out, before);
  while (n--) at = stpcpy(at, piece);
  strcpy(at, after);
  return out;
}

static kin_status parse_and_free(char *text) {
  kin_filter *f;
  kin_error err;
  kin_status status = kin_filter_parse(text, &f, &err);
  if (status != KIN_OK) assert_null(f);
  kin_filter_free(f);
  free(text);
  return status;
}

static void test_limits(void **state) {
  (void)state;
  assert_int_equal(parse_and_free(repeated("", "not ", 49, "id=1")), KIN_OK);
  assert_int_equal(parse_and_free(repeated("", "not ", 50, "id=1")), KIN_ERR_LIMIT);
  assert_int_equal(parse_and_free(repeated("", "(", 60000, "")), KIN_ERR_LIMIT);
  assert_int_equal(parse_and_free(repeated("id=0", " or id=1", 249, "")), KIN_OK);
  assert_int_equal(parse_and_free(repeated("id=0", " or id=1", 250, "")), KIN_ERR_LIMIT);
  assert_int_equal(parse_and_free(repeated("id in (0", ",1", 9999, ")")), KIN_OK);
  assert_int_equal(parse_and_free(repeated("id in (0", ",1", 10000, ")")), KIN_ERR_LIMIT);
  assert_int_equal(parse_and_free(repeated("mtime in (0", ",1", 200, ")")), KIN_ERR_LIMIT);
  assert_int_equal(parse_and_free(repeated("", " ", 65537, "")), KIN_ERR_LIMIT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_operators), cmocka_unit_test(test_precedence),  cmocka_unit_test(test_values),
      cmocka_unit_test(test_injection), cmocka_unit_test(test_messages),    cmocka_unit_test(test_dates),
      cmocka_unit_test(test_limits),    cmocka_unit_test(test_local_dates),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
