/* Looking after a store: what kin_store_check finds where bytes were changed, and the list of its files. */
#include "store_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIM 24
#define PICTURES 150 /* more than two groups of codes */
#define RECORD 192   /* bytes: 64 and 24 floats, rounded up */
#define HEADER 4096

typedef struct fixture {
  store_fixture base;
  fake_encoder pictures, texts;
  char *vectors;
  char problems[8192]; /* "file: what" lines of the last check */
  kin_check_report report;
} fixture;

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  store_fixture_init(&f->base);
  fake_encoder_init(&f->pictures, "model-a", DIM);
  fake_encoder_init(&f->texts, "model-t", DIM);
  fake_encoder_take_texts(&f->texts, 8);
  f->vectors = kin_format("%s.vectors", f->base.path);
  for (int i = 0; i < PICTURES; i++) {
    char name[32];
    snprintf(name, sizeof name, "%03d.jpg", i);
    store_fixture_put(&f->base, name, name);
  }
  store_fixture_put(&f->base, "007.jpg.txt", "a road without people");
  store_fixture_put(&f->base, "notes.md", "One two three four five. Six seven eight nine ten. Eleven twelve.\n");
  store_fixture_open(&f->base, KIN_STORE_WRITE);
  store_fixture_index(&f->base, &f->pictures, NULL);
  store_fixture_index(&f->base, &f->texts, NULL);
  /* Two holes. */
  store_fixture_drop(&f->base, "003.jpg");
  store_fixture_put(&f->base, "100.jpg", "other content");
  store_fixture_index(&f->base, &f->pictures, NULL);
  store_fixture_close(&f->base);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  store_fixture_free(&f->base);
  free(f->vectors);
  free(f);
  return 0;
}

static void on_problem(void *user, const kin_store_problem *p) {
  fixture *f = user;
  size_t n = strlen(f->problems);
  assert_true(*p->fix);
  snprintf(f->problems + n, sizeof f->problems - n, "%s: %s\n", p->file, p->what);
}

static void check_with(fixture *f, bool repair) {
  const kin_check_options options = {.repair = repair, .on_problem = on_problem, .user = f};
  f->problems[0] = '\0';
  test_assert_ok(kin_store_check(f->base.context, f->base.path, &options, &f->report, &f->base.err), &f->base.err);
}

static void check(fixture *f) {
  check_with(f, false);
}

/* Repair `n` problems; then `to_do` files are indexed anew, and once it is compacted the store is whole. */
static void assert_repaired(fixture *f, size_t n, size_t to_do) {
  check_with(f, true);
  if (f->report.problems != n || f->report.repaired != n) fail_msg("%zu wanted:\n%s", n, f->problems);
  store_fixture_open(&f->base, KIN_STORE_WRITE);
  assert_int_equal(store_fixture_index(&f->base, &f->pictures, NULL).done, to_do);
  float query[DIM] = {1};
  kin_hits *hits;
  test_assert_ok(test_search(f->base.store, query, DIM, 2 * PICTURES, &hits, &f->base.err), &f->base.err);
  assert_int_equal(kin_hits_count(hits), PICTURES - 1);
  kin_hits_close(hits);
  test_assert_ok(kin_store_compact(f->base.store, NULL, NULL, &f->base.err), &f->base.err);
  store_fixture_close(&f->base);
  check(f);
  if (f->report.problems) fail_msg("%s", f->problems);
}

/* The check finds `n` problems, one of them with `part` in the line of `file`. */
static void assert_found(fixture *f, size_t n, const char *file, const char *part) {
  check(f);
  bool found = false;
  char copy[sizeof f->problems], *rest = copy;
  memcpy(copy, f->problems, sizeof copy);
  for (char *line; (line = strtok_r(rest, "\n", &rest));)
    found = found || (strncmp(line, file, strlen(file)) == 0 && line[strlen(file)] == ':' && strstr(line, part));
  if (!found || f->report.problems != n)
    fail_msg("%zu problems wanted, one of %s with \"%s\":\n%s", n, file, part, f->problems);
}

static void flip(const char *path, off_t at) {
  int fd = open(path, O_RDWR);
  uint8_t byte;
  assert_true(fd >= 0 && pread(fd, &byte, 1, at) == 1);
  byte ^= 0x10;
  assert_int_equal(pwrite(fd, &byte, 1, at), 1);
  close(fd);
}

static void execute(fixture *f, const char *sql) {
  store_fixture_open(&f->base, KIN_STORE_WRITE);
  char *message = NULL;
  if (sqlite3_exec(f->base.store->db, sql, NULL, NULL, &message) != SQLITE_OK) fail_msg("%s: %s", sql, message);
  store_fixture_close(&f->base);
}

/* ------------------------------------------------------------------------ check */

static void test_a_whole_store(void **state) {
  fixture *f = *state;
  check(f);
  if (f->report.problems) fail_msg("%s", f->problems);
  assert_int_equal(f->report.collections, 2);
  assert_true(f->report.rows > PICTURES + 2);
  assert_false(f->report.read_only);
}

static void test_damaged_records(void **state) {
  fixture *f = *state;
  flip(f->vectors, HEADER + 7 * RECORD + 100);
  assert_found(f, 1, f->vectors, "row 7: wrong checksum");
  assert_non_null(strstr(f->problems, "/007.jpg"));
  for (int row = 20; row < 31; row++) flip(f->vectors, HEADER + row * RECORD + row);
  assert_found(f, 2, f->vectors, "rows 20 to 30: wrong checksum");
  assert_non_null(strstr(f->problems, "/020.jpg"));
  /* What was 003.jpg's is a hole: nobody's vector is lost. */
  flip(f->vectors, HEADER + 3 * RECORD);
  assert_found(f, 3, f->vectors, "row 3: wrong checksum");
  assert_null(strstr(f->problems, "003.jpg"));
}

static void test_a_record_in_the_wrong_place(void **state) {
  fixture *f = *state;
  uint8_t record[RECORD];
  int fd = open(f->vectors, O_RDWR);
  assert_int_equal(pread(fd, record, sizeof record, HEADER + 10 * RECORD), RECORD);
  assert_int_equal(pwrite(fd, record, sizeof record, HEADER + 11 * RECORD), RECORD);
  close(fd);
  assert_found(f, 1, f->vectors, "row 11: wrong checksum");
}

static void test_vector_files(void **state) {
  fixture *f = *state;
  assert_int_equal(truncate(f->vectors, HEADER + 100 * RECORD + 5), 0);
  assert_found(f, 1, f->vectors, "is cut short: 100 rows are whole");
  flip(f->vectors, 20);
  assert_found(f, 1, f->vectors, "header is damaged");
  assert_int_equal(unlink(f->vectors), 0);
  assert_found(f, 1, f->vectors, "can't open the vectors");
  /* The other collection was checked all the same. */
  assert_int_equal(f->report.collections, 2);
  assert_int_equal(f->report.rows > 0 && f->report.rows < 10, true);
}

static void test_codes(void **state) {
  fixture *f = *state;
  char *codes = kin_format("%s.int8", f->vectors);
  flip(codes, HEADER + 64 * 576 + 64 * 24 + 1);
  assert_found(f, 1, codes, "1 of 2 groups of codes are damaged, the first that of rows 64 to 127");
  /* Half a group at the end is what a killed writer leaves. */
  struct stat s;
  assert_int_equal(stat(codes, &s), 0);
  assert_int_equal(truncate(codes, s.st_size - 64 * 24 / 2), 0);
  check(f);
  assert_int_equal(f->report.problems, 0);
  free(codes);
}

/* They are there as soon as the rows are committed, without another opening. */
static void test_codes_follow_commits(void **state) {
  fixture *f = *state;
  store_fixture_open(&f->base, KIN_STORE_WRITE);
  for (int i = 0; i < 64; i++) {
    char name[32];
    snprintf(name, sizeof name, "new%02d.jpg", i);
    store_fixture_put(&f->base, name, name);
  }
  store_fixture_index(&f->base, &f->pictures, NULL);
  kin_index_stats stats;
  kin_index_statistics(f->base.store->index, &stats);
  assert_int_equal(stats.derived_bytes, HEADER + 64 * 576 + 3 * 64 * 24);
}

static void test_the_catalogue(void **state) {
  fixture *f = *state;
  execute(f, "DELETE FROM holes WHERE row = 3");
  assert_found(f, 1, f->base.path, "row 3 of ");
  assert_non_null(strstr(f->problems, "no hole is noted"));
  execute(f, "INSERT INTO holes VALUES (1, 3), (1, 9)");
  assert_found(f, 1, f->base.path, "both a vector's and a hole");
  execute(f, "DELETE FROM holes WHERE row = 9; INSERT INTO vectors SELECT 1, id, 0, 4000 FROM items WHERE id NOT IN"
             " (SELECT item FROM vectors WHERE collection = 1) LIMIT 1");
  assert_found(f, 1, f->base.path, "row 4000 of ");
  execute(f, "PRAGMA foreign_keys = OFF; DELETE FROM vectors WHERE row = 4000; DELETE FROM holes WHERE row = 4000;"
             "INSERT INTO metadata VALUES (99999, 'k', 0, 'v', NULL)");
  assert_found(f, 1, f->base.path, "the table metadata refers to rows of items that aren't there: 1");
}

/* Two items with each other's rows: both checksums are right. */
static void test_exchanged_vectors(void **state) {
  fixture *f = *state;
  execute(f, "UPDATE vectors SET row = row + 100000 WHERE collection = 1 AND row IN (40, 50);"
             "UPDATE vectors SET row = 50 WHERE row = 100040; UPDATE vectors SET row = 40 WHERE row = 100050");
  assert_found(f, 2, f->vectors, "row 40: the vector is another item's than ");
  assert_non_null(strstr(f->problems, "/050.jpg"));
}

static void test_words(void **state) {
  fixture *f = *state;
  execute(f, "INSERT INTO name_words (name_words, rowid, path) SELECT 'delete', id, path FROM items LIMIT 1");
  assert_found(f, 1, f->base.path, "full-text index of names");
  execute(f, "INSERT INTO name_words (name_words) VALUES ('rebuild');"
             "INSERT INTO passage_words (rowid, text) VALUES (777, 'nothing')");
  assert_found(f, 1, f->base.path, "full-text index of passages");
}

static void test_damaged_pages(void **state) {
  fixture *f = *state;
  sqlite3_stmt *page;
  store_fixture_open(&f->base, KIN_STORE_WRITE);
  const char *sql =
      "SELECT (rootpage - 1) * page_size FROM sqlite_schema, pragma_page_size WHERE name = 'items_by_sha256'";
  assert_int_equal(sqlite3_prepare_v2(f->base.store->db, sql, -1, &page, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_step(page), SQLITE_ROW);
  off_t at = sqlite3_column_int64(page, 0);
  sqlite3_finalize(page);
  store_fixture_close(&f->base);
  for (off_t i = 0; i < 8; i++) flip(f->base.path, at + i);
  check(f);
  assert_true(f->report.problems > 0);
  assert_non_null(strstr(f->problems, "kindred.db: SQLite's integrity check: "));
  /* Not even SQLite's header. */
  flip(f->base.path, 0);
  assert_found(f, 1, f->base.path, "is not a store");
}

static void test_stray_files(void **state) {
  fixture *f = *state;
  test_write_file(f->base.folder, "kindred.db.7.vectors", "x", 1);
  test_write_file(f->base.folder, "kindred.db.vectors.bak", "the user's own", 14);
  char *stray = kin_format("%s.7.vectors", f->base.path);
  assert_found(f, 1, stray, "no collection");
  free(stray);
}

static bool stop(void *user, uint64_t done, uint64_t total) {
  (void)user;
  assert_true(done <= total);
  return false;
}

static void test_checks_that_do_not_run(void **state) {
  fixture *f = *state;
  store_fixture *b = &f->base;
  kin_status status = kin_store_check(b->context, b->path, &(kin_check_options){.on_progress = stop}, NULL, &b->err);
  test_assert_error(status, KIN_ERR_CANCELLED, &b->err, "stopped");
  store_fixture_open(b, KIN_STORE_WRITE);
  test_assert_error(kin_store_check(b->context, b->path, NULL, NULL, &b->err), KIN_ERR_BUSY, &b->err, "is writing");
  test_assert_error(kin_store_check(b->context, b->files, NULL, NULL, &b->err), KIN_ERR_IO, &b->err, "");
  char *none = kin_format("%s/none.db", b->folder);
  test_assert_error(kin_store_check(b->context, none, NULL, NULL, &b->err), KIN_ERR_IO, &b->err, "no such store");
  assert_false(kin_file_exists(none));
  free(none);
}

/* ----------------------------------------------------------------------- repair */

static void test_repairing_vectors(void **state) {
  fixture *f = *state;
  flip(f->vectors, HEADER + 7 * RECORD + 100);
  for (int row = 20; row < 31; row++) flip(f->vectors, HEADER + row * RECORD + row);
  execute(f, "UPDATE vectors SET row = row + 100000 WHERE collection = 1 AND row IN (40, 50);"
             "UPDATE vectors SET row = 50 WHERE row = 100040; UPDATE vectors SET row = 40 WHERE row = 100050");
  assert_repaired(f, 4, 14);
}

static void test_repairing_the_catalogue(void **state) {
  fixture *f = *state;
  execute(f, "DELETE FROM holes WHERE row = 3; INSERT INTO holes VALUES (1, 9), (1, 10), (1, 7000);"
             "UPDATE vectors SET row = 4000 WHERE collection = 1 AND row = 12;"
             "INSERT INTO name_words (name_words, rowid, path) SELECT 'delete', id, path FROM items LIMIT 1");
  assert_repaired(f, 6, 1);
}

static void test_repairing_files(void **state) {
  fixture *f = *state;
  char *codes = kin_format("%s.int8", f->vectors);
  flip(codes, HEADER + 64 * 576 + 64 * 24 + 1);
  test_write_file(f->base.folder, "kindred.db.7.vectors", "x", 1);
  assert_repaired(f, 2, 0);
  free(codes);
}

static void test_what_needs_a_copy(void **state) {
  fixture *f = *state;
  assert_int_equal(truncate(f->vectors, HEADER + 100 * RECORD), 0);
  check_with(f, true);
  assert_int_equal(f->report.problems, 1);
  assert_int_equal(f->report.repaired, 0);
}

/* ------------------------------------------------------------------------ files */

static void test_files(void **state) {
  fixture *f = *state;
  test_write_file(f->base.folder, "kindred.db.7.vectors", "x", 1);
  test_write_file(f->base.folder, "kindred.db.vectors.bak", "y", 1);
  store_fixture_open(&f->base, KIN_STORE_READ);
  kin_store_files *files;
  char kinds[256] = "";
  test_assert_ok(kin_store_list_files(f->base.store, &files, &f->base.err), &f->base.err);
  for (size_t i = 0; i < kin_store_files_count(files); i++) {
    const kin_store_file *file = kin_store_files_get(files, i);
    struct stat s;
    assert_int_equal(stat(file->path, &s), 0);
    assert_int_equal(file->bytes, s.st_size);
    if (file->kind != KIN_FILE_LOG) strcat(strcat(kinds, kin_file_kind_name(file->kind)), " ");
  }
  assert_string_equal(kinds, "catalogue lock vectors vectors derived stray ");
  assert_null(kin_store_files_get(files, kin_store_files_count(files)));
  kin_store_files_close(files);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_a_whole_store, setup, teardown),
      cmocka_unit_test_setup_teardown(test_damaged_records, setup, teardown),
      cmocka_unit_test_setup_teardown(test_a_record_in_the_wrong_place, setup, teardown),
      cmocka_unit_test_setup_teardown(test_vector_files, setup, teardown),
      cmocka_unit_test_setup_teardown(test_codes, setup, teardown),
      cmocka_unit_test_setup_teardown(test_codes_follow_commits, setup, teardown),
      cmocka_unit_test_setup_teardown(test_the_catalogue, setup, teardown),
      cmocka_unit_test_setup_teardown(test_exchanged_vectors, setup, teardown),
      cmocka_unit_test_setup_teardown(test_words, setup, teardown),
      cmocka_unit_test_setup_teardown(test_damaged_pages, setup, teardown),
      cmocka_unit_test_setup_teardown(test_stray_files, setup, teardown),
      cmocka_unit_test_setup_teardown(test_checks_that_do_not_run, setup, teardown),
      cmocka_unit_test_setup_teardown(test_repairing_vectors, setup, teardown),
      cmocka_unit_test_setup_teardown(test_repairing_the_catalogue, setup, teardown),
      cmocka_unit_test_setup_teardown(test_repairing_files, setup, teardown),
      cmocka_unit_test_setup_teardown(test_what_needs_a_copy, setup, teardown),
      cmocka_unit_test_setup_teardown(test_files, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
