/* Words in a store: what finds what, and that the indices follow every change. */
#include "base/json.h"
#include "fake_encoder.h"
#include "store/words.h"
#include "support.h"
#include "text/buffer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIM 24

typedef struct fixture {
  char *folder, *files, *path;
  kin_context *context;
  kin_store *store;
  fake_encoder pictures, texts;
  kin_error err;
} fixture;

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  f->folder = test_temporary_folder();
  f->files = kin_format("%s/files", f->folder);
  f->path = kin_format("%s/kindred.db", f->folder);
  assert_int_equal(mkdir(f->files, 0755), 0);
  test_assert_ok(kin_context_open(&(kin_context_options){.threads = 2}, &f->context, &f->err), &f->err);
  fake_encoder_init(&f->pictures, "model-a", DIM);
  fake_encoder_init(&f->texts, "model-t", DIM);
  fake_encoder_take_texts(&f->texts, 8);
  *state = f;
  return 0;
}

static void open_store(fixture *f) {
  test_assert_ok(kin_store_open(f->context, f->path, KIN_STORE_WRITE, &f->store, &f->err), &f->err);
}

static int teardown(void **state) {
  fixture *f = *state;
  kin_store_close(f->store);
  kin_context_close(f->context);
  test_remove_tree(f->folder);
  free(f->folder);
  free(f->files);
  free(f->path);
  free(f);
  return 0;
}

static void put(fixture *f, const char *name, const char *content) {
  test_write_file(f->files, name, content, strlen(content));
}

static void drop(fixture *f, const char *name) {
  char *path = kin_format("%s/%s", f->files, name);
  assert_int_equal(unlink(path), 0);
  free(path);
}

static void update(fixture *f, fake_encoder *encoder) {
  const char *paths[] = {f->files};
  kin_index_options options = {0};
  test_assert_ok(kin_store_update(f->store, &encoder->encoder, paths, 1, &options, NULL, &f->err), &f->err);
}

/* Names in the tests of words are of four letters and more: shorter ones may stand in the random name of the folder. */

/* The full-text indices hold exactly what their tables do. */
static void assert_whole(fixture *f) {
  static const char *const checks[] = {"INSERT INTO name_words (name_words, rank) VALUES ('integrity-check', 1)",
                                       "INSERT INTO caption_words (caption_words, rank) VALUES ('integrity-check', 1)",
                                       "INSERT INTO passage_words (passage_words, rank) VALUES ('integrity-check', 1)"};
  for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
    char *message = NULL;
    if (sqlite3_exec(f->store->db, checks[i], NULL, NULL, &message) != SQLITE_OK)
      fail_msg("%s: %s", checks[i], message);
  }
}

/* "name name#ordinal" of what `text` finds, best first. */
static void find(fixture *f, const char *text, char *out, size_t size) {
  kin_word_match *matches;
  size_t n;
  out[0] = '\0';
  test_assert_ok(kin_words_find(f->store, text, 0, &matches, &n, &f->err), &f->err);
  sqlite3_stmt *s;
  assert_int_equal(sqlite3_prepare_v2(f->store->db, "SELECT path FROM items WHERE id = ?", -1, &s, NULL), SQLITE_OK);
  for (size_t i = 0; i < n; i++) {
    assert_true(matches[i].score > 0);
    assert_true(i == 0 || matches[i].score <= matches[i - 1].score);
    sqlite3_reset(s);
    sqlite3_bind_int64(s, 1, matches[i].item);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    const char *path = (const char *)sqlite3_column_text(s, 0);
    size_t used = strlen(out);
    snprintf(out + used, size - used, "%s%s", used ? " " : "", strrchr(path, '/') + 1);
    used = strlen(out);
    if (matches[i].ordinal) snprintf(out + used, size - used, "#%d", (int)matches[i].ordinal);
  }
  sqlite3_finalize(s);
  free(matches);
}

static void assert_finds(fixture *f, const char *text, const char *expected) {
  char found[1024];
  find(f, text, found, sizeof found);
  assert_string_equal(found, expected);
}

/* -------------------------------------------------------------------- expressions */

static void assert_expression(const char *text, const char *expected) {
  char *expression;
  kin_error err = {0};
  test_assert_ok(kin_words_expression(text, &expression, &err), &err);
  if (expected)
    assert_string_equal(expression, expected);
  else
    assert_null(expression);
  free(expression);
}

static void test_expressions(void **state) {
  (void)state;
  assert_expression("Snowy road", "\"snowy\" OR \"road\"");
  assert_expression("a \"snowy road\" b", "\"a\" OR \"snowy\" + \"road\" OR \"b\"");
  assert_expression("도로에서", "\"도로\" OR \"로에\" OR \"에서\"");
  assert_expression("\"도로에서\"", "\"도로\" + \"로에\" + \"에서\"");
  assert_expression("길 snow 山", "\"길\" * OR \"snow\" OR \"山\" *");
  assert_expression("\"snow 길\" x", "\"snow\" + \"길\" * OR \"x\"");
  assert_expression("an \"open quote", "\"an\" OR \"open\" OR \"quote\"");
  assert_expression("\"\"", NULL);
  assert_expression("  ... !", NULL);
  /* Nothing is FTS5's syntax. */
  assert_expression("NEAR(a b) AND path:c* - ^d", "\"near\" OR \"a\" OR \"b\" OR \"and\" OR \"path:c\" OR \"d\"");
  assert_expression("צה\"ל", "\"צה\" OR \"ל\"");
  kin_bytes many = {0};
  char *expression;
  kin_error err = {0};
  for (int i = 0; i < 1100; i++) kin_bytes_append(&many, "word ", 5);
  kin_bytes_append(&many, "", 1);
  test_assert_error(kin_words_expression(many.data, &expression, &err), KIN_ERR_LIMIT, &err, "1024 words");
  kin_bytes_free(&many);
}

static void test_any_text_is_a_query(void **state) {
  fixture *f = *state;
  char out[1024], text[64];
  open_store(f);
  put(f, "a.jpg", "a");
  update(f, &f->pictures);
  static const char alphabet[] = "ab\"*^:(){}+-_ \xEB\x8F\x84\xFF NEAR AND OR NOT";
  uint32_t seed = 3;
  for (size_t round = 0; round < 3000; round++) {
    for (size_t i = 0; i < sizeof text - 1; i++)
      text[i] = alphabet[(seed = seed * 1664525 + 1013904223) % (sizeof alphabet - 1)];
    text[sizeof text - 1] = '\0';
    find(f, text, out, sizeof out);
  }
}

/* ------------------------------------------------------------------------ pictures */

static void test_names_follow_the_items(void **state) {
  fixture *f = *state;
  open_store(f);
  put(f, "SnowyRoad_01.jpg", "a");
  put(f, "여름휴가2023.jpg", "b");
  put(f, "red wagon.jpg", "c");
  update(f, &f->pictures);
  assert_finds(f, "snowy", "SnowyRoad_01.jpg");
  assert_finds(f, "SNOWYROAD_01", "SnowyRoad_01.jpg");
  assert_finds(f, "휴가", "여름휴가2023.jpg");
  assert_finds(f, "가", "여름휴가2023.jpg"); /* ends a run */
  assert_finds(f, "2023", "여름휴가2023.jpg");
  assert_finds(f, "wagons", "");
  assert_whole(f);
  drop(f, "SnowyRoad_01.jpg");
  put(f, "red wagon.jpg", "changed");
  update(f, &f->pictures);
  assert_finds(f, "snowy", "");
  assert_finds(f, "wagon", "red wagon.jpg");
  assert_whole(f);
}

static void test_captions_follow_their_sources(void **state) {
  fixture *f = *state;
  open_store(f);
  put(f, "1.jpg", "a");
  put(f, "1.txt", "a fire truck\nko.utf8=소방차.\n");
  put(f, "2.jpg", "b");
  put(f, "2.jpg.txt", "사람이 없는 도로에서");
  put(f, "2.txt", "not this either");
  put(f, "3.jpg", "c");
  update(f, &f->pictures);
  assert_finds(f, "소방차", "1.jpg");
  assert_finds(f, "도로", "2.jpg");
  assert_finds(f, "either", "");
  assert_finds(f, "\"없는 도로\"", "2.jpg");
  assert_finds(f, "\"도로 없는\"", "");
  put(f, "1.txt", "a blue truck"); /* the picture itself is unchanged */
  drop(f, "2.jpg.txt");
  drop(f, "2.txt");
  put(f, "3.txt", "a boat");
  update(f, &f->pictures);
  assert_finds(f, "fire", "");
  assert_finds(f, "blue", "1.jpg");
  assert_finds(f, "도로", "");
  assert_finds(f, "boat", "3.jpg");
  assert_whole(f);
  drop(f, "1.jpg");
  update(f, &f->pictures);
  assert_finds(f, "blue", "");
  assert_whole(f);
}

static void test_given_captions_stay(void **state) {
  fixture *f = *state;
  open_store(f);
  put(f, "1.jpg", "a");
  put(f, "2.jpg", "b");
  put(f, "2.txt", "beside");
  update(f, &f->pictures);
  char *one = kin_format("%s/1.jpg", f->files), *two = kin_format("%s/2.jpg", f->files);
  const char *const first[] = {"a red house", "빨간 집"}, *const second[] = {NULL, "바다"},
                    *const third[] = {"a ship", NULL};
  const kin_captioned items[] = {{one, first}, {two, second}, {"/nowhere/3.jpg", third}};
  size_t set;
  test_assert_ok(kin_store_set_captions(f->store, items, 3, 2, &set, &f->err), &f->err);
  assert_int_equal(set, 2);
  assert_finds(f, "집", "1.jpg");
  assert_finds(f, "house", "1.jpg");
  assert_finds(f, "바다", "2.jpg");
  assert_finds(f, "beside", "2.jpg");
  put(f, "1.jpg", "changed");
  update(f, &f->pictures);
  assert_finds(f, "house", "1.jpg");
  const kin_captioned again[] = {{one, third}};
  test_assert_ok(kin_store_set_captions(f->store, again, 1, 2, NULL, &f->err), &f->err);
  assert_finds(f, "house", "");
  assert_finds(f, "ship", "1.jpg");
  assert_whole(f);
  free(one);
  free(two);
}

/* ----------------------------------------------------------------------- documents */

static void test_passages_follow_their_documents(void **state) {
  fixture *f = *state;
  open_store(f);
  put(f, "notes.txt", "One two three four five. Snow lay on the road. The end of all this.");
  put(f, "other.txt", "Nothing of the kind here.");
  update(f, &f->texts);
  assert_finds(f, "snow", "notes.txt#1");
  assert_finds(f, "nothing", "other.txt");
  assert_finds(f, "other", "other.txt");
  assert_finds(f, "notes", "notes.txt"); /* by its name: the first passage */
  assert_finds(f, "notes snow", "notes.txt#1");
  assert_whole(f);
  put(f, "notes.txt", "One two three four five. Rain fell on the road.");
  update(f, &f->texts);
  assert_finds(f, "snow", "");
  assert_finds(f, "rain", "notes.txt#1");
  drop(f, "other.txt");
  update(f, &f->texts);
  assert_finds(f, "nothing", "");
  assert_whole(f);
}

static void test_a_document_of_two_collections_is_found_once(void **state) {
  fixture *f = *state;
  fake_encoder wide;
  open_store(f);
  put(f, "notes.txt", "One two three four five. Snow lay on the road.");
  update(f, &f->texts);
  fake_encoder_init(&wide, "model-w", DIM);
  fake_encoder_take_texts(&wide, 100);
  update(f, &wide);
  assert_finds(f, "snow", "notes.txt#1");
  kin_word_match *matches;
  size_t n;
  test_assert_ok(kin_words_find(f->store, "snow", 2, &matches, &n, &f->err), &f->err);
  assert_int_equal(n, 1);
  assert_int_equal(matches[0].collection, 2);
  assert_int_equal(matches[0].ordinal, 0);
  free(matches);
  test_assert_ok(kin_store_drop_collection(f->store, 1, &f->err), &f->err);
  assert_finds(f, "snow", "notes.txt");
  assert_whole(f);
}

/* ------------------------------------------------------------------------------ BM25 */

static void assert_scores(fixture *f, const json_t *reference) {
  kin_word_match *matches;
  size_t n;
  const json_t *scores = json_object_get(reference, "scores");
  const char *query = json_string_value(json_object_get(reference, "query"));
  test_assert_ok(kin_words_find(f->store, query, 0, &matches, &n, &f->err), &f->err);
  assert_int_equal(n, json_object_size(scores));
  for (size_t i = 0; i < n; i++) {
    char key[24];
    snprintf(key, sizeof key, "%lld", (long long)matches[i].item - 1); /* items are numbered in the order of names */
    double expected = json_number_value(json_object_get(scores, key));
    if (fabs((double)matches[i].score - expected) > 1e-5 * expected)
      fail_msg("\"%s\", document %s: %g instead of %g", query, key, (double)matches[i].score, expected);
  }
  free(matches);
}

static void test_scores_are_rank_bm25s(void **state) {
  fixture *f = *state;
  char *lines[1024];
  size_t n = test_read_lines("tests/data/words/bm25.jsonl", lines, 1024), queries = 0;
  fake_encoder_take_texts(&f->texts, 1000);
  open_store(f);
  for (size_t i = 0; i < n; i++) {
    json_t *object;
    test_assert_ok(kin_json_parse(lines[i], strlen(lines[i]), "bm25.jsonl", &object, &f->err), &f->err);
    const char *text = json_string_value(json_object_get(object, "document"));
    char name[32];
    snprintf(name, sizeof name, "%04zu.txt", i);
    if (text) put(f, name, text);
    if (!text && !queries++) update(f, &f->texts);
    if (!text) assert_scores(f, object);
    json_decref(object);
    free(lines[i]);
  }
  assert_true(queries >= 8);
}

/* ------------------------------------------------------------------------- schema 2 */

/* As kindred wrote it before there were full-text indices. */
static const char schema_2[] =
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
    "INSERT INTO meta VALUES ('uuid', x'000102030405060708090a0b0c0d0e0f'), ('last_collection', 1);"
    "CREATE TABLE collections (id INTEGER PRIMARY KEY, model_id TEXT NOT NULL UNIQUE, model_path TEXT NOT NULL,"
    "  text_model_id TEXT, text_model_path TEXT, dim INTEGER NOT NULL CHECK (dim > 0),"
    "  vectors_suffix TEXT NOT NULL UNIQUE, rows INTEGER NOT NULL DEFAULT 0 CHECK (rows >= 0),"
    "  state INTEGER NOT NULL DEFAULT 0, image INTEGER, text INTEGER);"
    "CREATE TABLE items (id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL,"
    "  mtime_ns INTEGER NOT NULL, sha256 BLOB NOT NULL CHECK (length(sha256) = 32), width INTEGER NOT NULL,"
    "  height INTEGER NOT NULL);"
    "CREATE INDEX items_by_sha256 ON items (sha256);"
    "CREATE TABLE vectors (collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,"
    "  item INTEGER NOT NULL REFERENCES items ON DELETE CASCADE, ordinal INTEGER NOT NULL CHECK (ordinal >= 0),"
    "  row INTEGER NOT NULL CHECK (row >= 0), PRIMARY KEY (collection, item, ordinal)) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX vectors_by_row ON vectors (collection, row);"
    "CREATE INDEX vectors_by_item ON vectors (item);"
    "CREATE INDEX later_vectors ON vectors (collection) WHERE ordinal > 0;"
    "CREATE TABLE holes (collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE, row INTEGER NOT NULL,"
    "  PRIMARY KEY (collection, row)) WITHOUT ROWID;"
    "CREATE TRIGGER vectors_dropped AFTER DELETE ON vectors"
    "  WHEN EXISTS (SELECT 1 FROM collections WHERE id = old.collection) BEGIN"
    "  INSERT INTO holes VALUES (old.collection, old.row);"
    "  UPDATE collections SET state = state + 1 WHERE id = old.collection; END;"
    "CREATE TABLE passages (id INTEGER PRIMARY KEY, collection INTEGER NOT NULL, item INTEGER NOT NULL,"
    "  ordinal INTEGER NOT NULL, line INTEGER NOT NULL, offset INTEGER NOT NULL, text TEXT NOT NULL,"
    "  UNIQUE (collection, item, ordinal),"
    "  FOREIGN KEY (collection, item, ordinal) REFERENCES vectors ON DELETE CASCADE);"
    "INSERT INTO collections VALUES (1, 'model-t', '/models/fake', NULL, NULL, 24, '.vectors', 0, 7, 1, 1);"
    "INSERT INTO items VALUES (4, '/photos/SnowyRoad.jpg', 1, 5, zeroblob(32), 60, 70),"
    "  (6, '/notes/b.txt', 1, 5, zeroblob(32), 0, 0);"
    "INSERT INTO vectors VALUES (1, 4, 0, 0), (1, 6, 0, 1), (1, 6, 1, 2);"
    "INSERT INTO passages VALUES (1, 1, 6, 0, 1, 0, 'the first'), (2, 1, 6, 1, 2, 9, '사람이 없는 도로에서');"
    "PRAGMA application_id = 1263095364; PRAGMA user_version = 2; PRAGMA journal_mode = WAL;";

static void test_stores_of_schema_2_go_on(void **state) {
  fixture *f = *state;
  sqlite3 *db;
  assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, schema_2, NULL, NULL, NULL), SQLITE_OK);
  sqlite3_close(db);
  kin_vectors_key key = {.collection = 1, .dim = DIM};
  for (uint8_t i = 0; i < KIN_UUID_SIZE; i++) key.uuid[i] = i;
  char *path = kin_format("%s.vectors", f->path);
  test_assert_ok(kin_vectors_create(path, &key, &f->err), &f->err);
  free(path);
  open_store(f);
  assert_finds(f, "도로", "b.txt#1");
  assert_finds(f, "snowy", "SnowyRoad.jpg");
  assert_whole(f);
  assert_int_equal(sqlite3_exec(f->store->db, "DELETE FROM items WHERE id = 6", NULL, NULL, NULL), SQLITE_OK);
  assert_finds(f, "도로", "");
  assert_finds(f, "first", "");
  assert_whole(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_expressions),
                                     TEST(test_any_text_is_a_query),
                                     TEST(test_names_follow_the_items),
                                     TEST(test_captions_follow_their_sources),
                                     TEST(test_given_captions_stay),
                                     TEST(test_passages_follow_their_documents),
                                     TEST(test_a_document_of_two_collections_is_found_once),
                                     TEST(test_scores_are_rank_bm25s),
                                     TEST(test_stores_of_schema_2_go_on)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
