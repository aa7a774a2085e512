/* What each format's reader makes of a file: the words, their lines and offsets, and clear errors. */
#include "document/document.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct fixture {
  char *folder, *path;
  kin_error err;
  char got[1 << 16]; /* "LINE@OFFSET|text" of each piece, after a newline; '+' for one that goes on, '#' for a
                        paragraph, '=' for a record */
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

static kin_status read_pieces(fixture *f, kin_document_format format, const char *column) {
  static const char signs[] = {'+', ' ', '#', '='};
  kin_document *document;
  kin_document_piece piece;
  size_t used = 0;
  f->got[0] = '\0';
  kin_status status = kin_document_open(f->path, format, column, &document, &f->err);
  if (status != KIN_OK) return status;
  while ((status = kin_document_next(document, &piece, &f->err)) == KIN_OK && piece.text)
    used += (size_t)snprintf(f->got + used, sizeof f->got - used, "%s%c%llu@%llu|%.*s", used ? "\n" : "",
                             used ? signs[piece.before] : ' ', (unsigned long long)piece.line,
                             (unsigned long long)piece.offset, (int)piece.size, piece.text);
  kin_document_close(document);
  return status;
}

static void check_bytes(fixture *f, kin_document_format format, const char *column, const void *content, size_t size,
                        const char *expected) {
  test_write_file(f->folder, "file", content, size);
  test_assert_ok(read_pieces(f, format, column), &f->err);
  assert_string_equal(f->got, expected);
}

static void check(fixture *f, kin_document_format format, const char *content, const char *expected) {
  check_bytes(f, format, NULL, content, strlen(content), expected);
}

static void refuse(fixture *f, kin_document_format format, const char *column, const void *content, size_t size,
                   kin_status expected, const char *part) {
  test_write_file(f->folder, "file", content, size);
  test_assert_error(read_pieces(f, format, column), expected, &f->err, part);
  assert_non_null(strstr(f->err.message, f->path));
}

static void test_plain(void **state) {
  fixture *f = *state;
  check(f, KIN_DOCUMENT_PLAIN, "", "");
  check(f, KIN_DOCUMENT_PLAIN, "one", " 1@0|one");
  check(f, KIN_DOCUMENT_PLAIN, "one\r\ntwo\rthree\n\n \t\nfour\n", " 1@0|one\n 2@5|two\n 3@9|three\n#6@19|four");
  check(f, KIN_DOCUMENT_PLAIN, "\n\n눈이 왔다.\n", " 3@2|눈이 왔다.");
}

static void test_encodings(void **state) {
  fixture *f = *state;
  check(f, KIN_DOCUMENT_PLAIN,
        "\xEF\xBB\xBF"
        "a\nb",
        " 1@3|a\n 2@5|b");
  check_bytes(f, KIN_DOCUMENT_PLAIN, NULL,
              "\xFF\xFE"
              "a\0\n\0\x08\xB2\x3D\xD8\x00\xDE\n\0z\0",
              16, " 1@2|a\n 2@6|눈😀\n 3@14|z");
  check_bytes(f, KIN_DOCUMENT_PLAIN, NULL,
              "\xFE\xFF"
              "\0a\0\n\xB2\x08",
              8, " 1@2|a\n 2@6|눈");
  refuse(f, KIN_DOCUMENT_PLAIN, NULL, "good\nbad \xE9\n", 11, KIN_ERR_FORMAT, ":2: isn't UTF-8");
  refuse(f, KIN_DOCUMENT_PLAIN, NULL, "a\n\nb\0c", 6, KIN_ERR_FORMAT, ":3: holds a NUL byte");
  refuse(f, KIN_DOCUMENT_PLAIN, NULL,
         "\xFF\xFE"
         "a\0\n\0\x00\xD8"
         "b\0",
         10, KIN_ERR_FORMAT, ":2: isn't UTF-8");
  refuse(f, KIN_DOCUMENT_PLAIN, NULL,
         "\xFF\xFE"
         "a\0b",
         5, KIN_ERR_FORMAT, ":1: isn't UTF-8");
  unlink(f->path);
  test_assert_error(read_pieces(f, KIN_DOCUMENT_PLAIN, NULL), KIN_ERR_IO, &f->err, f->path);
  free(f->path);
  f->path = kin_strdup(f->folder);
  test_assert_error(read_pieces(f, KIN_DOCUMENT_PLAIN, NULL), KIN_ERR_IO, &f->err, "no regular file");
}

/* Long lines come in parts that together are the line, wherever the parts' and the blocks' ends fall. */
static void test_long_lines(void **state) {
  fixture *f = *state;
  for (size_t shift = 0; shift < 5; shift++) {
    size_t n = 300000, at = 0;
    char *content = malloc(n + 8);
    while (at < shift) content[at++] = 'x';
    while (at + 3 <= n) memcpy(content + at, "눈", 3), at += 3;
    test_write_file(f->folder, "file", content, at);
    kin_document *document;
    kin_document_piece piece;
    size_t sum = 0, parts = 0;
    test_assert_ok(kin_document_open(f->path, KIN_DOCUMENT_PLAIN, NULL, &document, &f->err), &f->err);
    for (;; parts++) {
      test_assert_ok(kin_document_next(document, &piece, &f->err), &f->err);
      if (!piece.text) break;
      assert_int_equal(piece.before, parts ? KIN_BREAK_NONE : KIN_BREAK_LINE);
      assert_int_equal(piece.line, 1);
      assert_int_equal(piece.offset, sum);
      assert_memory_equal(piece.text, content + sum, piece.size);
      sum += piece.size;
    }
    assert_int_equal(sum, at);
    assert_true(parts > 10);
    kin_document_close(document);
    free(content);
  }
}

static void test_markdown(void **state) {
  fixture *f = *state;
  check(f, KIN_DOCUMENT_MARKDOWN, "---\ntitle: x\ntags: [a]\n---\n\n# Snow\nA *road* in **white**.\n",
        " 6@28|Snow\n#7@35|A road in white.");
  check(f, KIN_DOCUMENT_MARKDOWN,
        "See [the *map*](http://a.b/c_(d)) and ![a cat](cat.png), `code_x`, <b>bold</b>, <http://e.f>.\n"
        "snake_case, 2 * 3, \\*stars\\*, ~~gone~~, ~5.\n",
        " 1@0|See the map and a cat, code_x, bold, http://e.f.\n 2@94|snake_case, 2 * 3, *stars*, gone, ~5.");
  check(f, KIN_DOCUMENT_MARKDOWN, "Title\n=====\n> quoted\n\n- one\n* [x] two\n\n***\n[id]: http://x\nend\n",
        " 1@0|Title\n#3@12|quoted\n#5@22|one\n#6@28|two\n#10@58|end");
  check(f, KIN_DOCUMENT_MARKDOWN, "a\n```c\n*p = 1;\n```\nb\n<!-- hidden\nstill --> c\n| x | y |\n|---|---|\n",
        " 1@0|a\n#3@7|*p = 1;\n#5@19|b\n 7@33| c\n 8@45|  x   y  ");
}

static void test_html(void **state) {
  fixture *f = *state;
  check(f, KIN_DOCUMENT_HTML,
        "<!DOCTYPE html><html><head><meta charset=euc-kr><title>눈 &amp; 길</title>\n"
        "<style>p { color: red }</style><script>if (a < b) document.write('<p>no</p>');</script></head>\n"
        "<body><p>One\n  and &eacute;&#44032; <b>bo</b>ld.<br>next</p><!-- not this -->\n"
        "<ul><li>first<li>second</ul>\n<table><tr><td>x</td><td>y</td></tr></table></body></html>",
        " 1@0|눈 & 길\n#3@172|One and é가 bold.\n 4@185|next\n#5@250|first\n#5@250|second\n#6@279|x\n 6@279|y");
  check(f, KIN_DOCUMENT_HTML, "just words, <i>no tags", " 1@0|just words, no tags");
  check(f, KIN_DOCUMENT_HTML, "", "");
  refuse(f, KIN_DOCUMENT_HTML, NULL, "<p>a\n<p>\xFF", 9, KIN_ERR_FORMAT, ":2: isn't UTF-8");
}

static void test_json(void **state) {
  fixture *f = *state;
  check(f, KIN_DOCUMENT_JSON,
        "{\"text\": \"a \\\"b\\\" {\", \"n\": [1, {}]}\n\n{\"x\": 1}\n{\"text\": \"\\uB208\\nnext\"}",
        " 1@0|a \"b\" {\n=4@46|눈\nnext");
  check(f, KIN_DOCUMENT_JSON, "[\n  {\"text\": \"one\"},\n  {\"text\": 5}, {\n \"text\": \"two\"}\n]\n",
        " 2@2|one\n=3@21|two");
  check(f, KIN_DOCUMENT_JSON, "", "");
  refuse(f, KIN_DOCUMENT_JSON, NULL, "{\"text\": \"a\"}\nnonsense\n", 23, KIN_ERR_FORMAT, ":2: expected a JSON object");
  refuse(f, KIN_DOCUMENT_JSON, NULL, "\n{\"text\": }\n", 12, KIN_ERR_FORMAT, ":2");
  refuse(f, KIN_DOCUMENT_JSON, NULL, "\n{\"text\": \"a\n", 13, KIN_ERR_FORMAT, ":2: the JSON object has no end");
}

static void test_csv(void **state) {
  fixture *f = *state;
  static const char table[] =
      "id,text,\"the, note\"\r\n1,plain,n1\r\n2,\"a \"\"b\"\",\nc\",\"n,2\"\r\n3\n4,,n4\n5,last";
  check_bytes(f, KIN_DOCUMENT_CSV, NULL, table, sizeof table - 1, " 2@21|plain\n=3@33|a \"b\",\nc\n=7@63|last");
  check_bytes(f, KIN_DOCUMENT_CSV, "the, note", table, sizeof table - 1, " 2@21|n1\n=3@33|n,2\n=6@57|n4");
  check_bytes(f, KIN_DOCUMENT_CSV, "3", table, sizeof table - 1, " 1@0|the, note\n=2@21|n1\n=3@33|n,2\n=6@57|n4");
  refuse(f, KIN_DOCUMENT_CSV, "none", table, sizeof table - 1, KIN_ERR_NOT_FOUND, "no column \"none\"");
  assert_non_null(strstr(f->err.message, "id,text,the, note"));
  refuse(f, KIN_DOCUMENT_CSV, NULL, "text\n\"a\nb\n", 10, KIN_ERR_FORMAT, ":2: a quoted field has no end");
  refuse(f, KIN_DOCUMENT_CSV, NULL, "text\n\"a\"b\n", 10, KIN_ERR_FORMAT, ":2: text behind");
}

static void test_formats_by_name(void **state) {
  (void)state;
  assert_int_equal(kin_document_format_of("a/b.TXT"), KIN_DOCUMENT_PLAIN);
  assert_int_equal(kin_document_format_of("b.md"), KIN_DOCUMENT_MARKDOWN);
  assert_int_equal(kin_document_format_of("b.tar.htm"), KIN_DOCUMENT_HTML);
  assert_int_equal(kin_document_format_of("b.jsonl"), KIN_DOCUMENT_JSON);
  assert_int_equal(kin_document_format_of("b.csv"), KIN_DOCUMENT_CSV);
  assert_int_equal(kin_document_format_of("txt"), KIN_DOCUMENT_NONE);
  assert_int_equal(kin_document_format_of("b.jpg"), KIN_DOCUMENT_NONE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_plain, setup, teardown),
      cmocka_unit_test_setup_teardown(test_encodings, setup, teardown),
      cmocka_unit_test_setup_teardown(test_long_lines, setup, teardown),
      cmocka_unit_test_setup_teardown(test_markdown, setup, teardown),
      cmocka_unit_test_setup_teardown(test_html, setup, teardown),
      cmocka_unit_test_setup_teardown(test_json, setup, teardown),
      cmocka_unit_test_setup_teardown(test_csv, setup, teardown),
      cmocka_unit_test(test_formats_by_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
