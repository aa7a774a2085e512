/* Compacting a store: the same vectors without the holes, for whoever reads meanwhile, and after kill -9 at any moment.
 */
#include "store_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DIM 24
#define FILES 200
#define RECORD 192 /* bytes: 64 and 24 floats, rounded up */
#define HEADER 4096
#if TEST_SANITIZED
#define KILLS 20
#else
#define KILLS 40
#endif
#define MOST_RUNS 2000
#define RACES 15

typedef struct fixture {
  store_fixture base;
  fake_encoder pictures, texts;
  unsigned version[FILES]; /* of each picture's content; 0: there is none */
} fixture;

static size_t content_of(size_t file, unsigned version, char out[64]) {
  return (size_t)snprintf(out, 64, "file %zu version %u", file, version);
}

static void put(fixture *f, size_t file) {
  char name[32], content[64];
  snprintf(name, sizeof name, "%03zu.jpg", file);
  content_of(file, ++f->version[file], content);
  store_fixture_put(&f->base, name, content);
}

/* Change every third file from the `from`th on, and index. */
static void make_holes(fixture *f, size_t from) {
  for (size_t i = from; i < FILES; i += 3) put(f, i);
  store_fixture_open(&f->base, KIN_STORE_WRITE);
  store_fixture_index(&f->base, &f->pictures, NULL);
}

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  store_fixture_init(&f->base);
  fake_encoder_init(&f->pictures, "model-a", DIM);
  fake_encoder_init(&f->texts, "model-t", DIM);
  fake_encoder_take_texts(&f->texts, 8);
  store_fixture_put(&f->base, "notes.md", "One two three four five. Six seven eight nine ten. Eleven twelve.\n");
  for (size_t i = 0; i < FILES; i++) put(f, i);
  make_holes(f, FILES);
  store_fixture_index(&f->base, &f->texts, NULL);
  make_holes(f, 1);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  store_fixture_free(&f->base);
  free(f);
  return 0;
}

static void on_problem(void *user, const kin_store_problem *p) {
  (void)user;
  print_message("%s: %s\n", p->file, p->what);
}

static void assert_whole(fixture *f) {
  kin_check_report report;
  kin_check_options options = {.on_problem = on_problem};
  test_assert_ok(kin_store_check(f->base.context, f->base.path, &options, &report, &f->base.err), &f->base.err);
  assert_int_equal(report.problems, 0);
}

static bool visit(void *user, const kin_stored *item) {
  fixture *f = user;
  float expected[DIM];
  char content[64];
  size_t file = (size_t)strtoul(strrchr(item->path, '/') + 1, NULL, 10);
  fake_encoder_vector(content, content_of(file, f->version[file], content), DIM, expected);
  assert_memory_equal(item->vector, expected, sizeof expected);
  return true;
}

/* Every picture is there once, with the vector of its content. */
static void assert_pictures(fixture *f, kin_store *store) {
  kin_store_stats stats;
  kin_error *err = &f->base.err;
  test_assert_ok(kin_store_select(store, &(kin_collection_wish){.image = true}, err), err);
  test_assert_ok(kin_store_get_stats(store, &stats, err), err);
  assert_int_equal(stats.items, FILES);
  test_assert_ok(kin_store_each(store, visit, f, err), err);
}

static void compact(fixture *f, kin_compact_report *report) {
  test_assert_ok(kin_store_compact(f->base.store, NULL, report, &f->base.err), &f->base.err);
}

static size_t count_files(fixture *f, kin_file_kind kind) {
  kin_store_files *files;
  size_t n = 0;
  test_assert_ok(kin_store_list_files(f->base.store, &files, &f->base.err), &f->base.err);
  for (size_t i = 0; i < kin_store_files_count(files); i++) n += kin_store_files_get(files, i)->kind == kind;
  kin_store_files_close(files);
  return n;
}

static void test_holes_go(void **state) {
  fixture *f = *state;
  kin_compact_report r;
  compact(f, &r);
  assert_int_equal(r.holes, (FILES + 1) / 3);
  assert_true(r.bytes_after < r.bytes_before);
  assert_pictures(f, f->base.store);
  assert_int_equal(count_files(f, KIN_FILE_VECTORS), 2);
  char *path = kin_format("%s.1.2.vectors", f->base.path), *first = kin_format("%s.vectors", f->base.path);
  struct stat s;
  assert_int_equal(stat(path, &s), 0);
  assert_int_equal(s.st_size, HEADER + FILES * RECORD);
  assert_false(kin_file_exists(first));
  store_fixture_close(&f->base);
  assert_whole(f);

  /* Nothing to do, and again some. */
  store_fixture_open(&f->base, KIN_STORE_WRITE);
  compact(f, &r);
  assert_int_equal(r.holes, 0);
  assert_true(kin_file_exists(path));
  make_holes(f, 0);
  compact(f, &r);
  assert_true(r.holes > 0);
  assert_false(kin_file_exists(path));
  assert_pictures(f, f->base.store);
  store_fixture_close(&f->base);
  assert_whole(f);
  free(path), free(first);
}

static void test_indexing_goes_on(void **state) {
  fixture *f = *state;
  compact(f, NULL);
  for (size_t i = 0; i < FILES; i += 2) put(f, i);
  store_fixture_index(&f->base, &f->pictures, NULL);
  assert_pictures(f, f->base.store);
  store_fixture_close(&f->base);
  assert_whole(f);
}

/* A reader that was there before follows; one in the middle of its reading stays with its state. */
typedef struct reading {
  fixture *f;
  size_t seen;
} reading;

static bool compact_in_between(void *user, const kin_stored *item) {
  reading *r = user;
  if (r->seen++ == FILES / 2) compact(r->f, NULL);
  return visit(r->f, item);
}

static void test_readers(void **state) {
  fixture *f = *state;
  kin_error *err = &f->base.err;
  kin_store *reader;
  reading r = {.f = f};
  test_assert_ok(kin_store_open(f->base.context, f->base.path, KIN_STORE_READ, &reader, err), err);
  assert_pictures(f, reader);
  test_assert_ok(kin_store_each(reader, compact_in_between, &r, err), err);
  assert_int_equal(r.seen, FILES);
  assert_pictures(f, reader);
  kin_store_close(reader);
}

static void test_damage_stops_it(void **state) {
  fixture *f = *state;
  char *path = kin_format("%s.vectors", f->base.path);
  store_fixture_close(&f->base);
  FILE *file = fopen(path, "r+b");
  assert_int_equal(fseek(file, HEADER + 5 * RECORD + 100, SEEK_SET), 0);
  assert_int_equal(fputs("?", file) >= 0 && fclose(file) == 0, true);
  store_fixture_open(&f->base, KIN_STORE_WRITE);
  test_assert_error(kin_store_compact(f->base.store, NULL, NULL, &f->base.err), KIN_ERR_FORMAT, &f->base.err, "row 5");
  assert_true(kin_file_exists(path));
  assert_int_equal(count_files(f, KIN_FILE_STRAY), 0);
  free(path);
}

static bool stop_in_between(void *user, uint64_t done, uint64_t total) {
  (void)user;
  assert_true(done <= total);
  return false;
}

static void test_stopping(void **state) {
  fixture *f = *state;
  kin_compact_options options = {.on_progress = stop_in_between};
  kin_status status = kin_store_compact(f->base.store, &options, NULL, &f->base.err);
  test_assert_error(status, KIN_ERR_CANCELLED, &f->base.err, "stopped");
  assert_pictures(f, f->base.store);
  store_fixture_open(&f->base, KIN_STORE_READ);
  test_assert_error(kin_store_compact(f->base.store, NULL, NULL, &f->base.err), KIN_ERR_ARGUMENT, &f->base.err,
                    "reading only");
  store_fixture_close(&f->base);
  assert_whole(f);
}

/* ---------------------------------------------------------------- other processes */

/* In a child: compact, and while `times` last make holes again. */
static void compact_and_exit(fixture *f, unsigned times) {
  if (kin_context_open(&(kin_context_options){.threads = 2}, &f->base.context, &f->base.err) != KIN_OK) _exit(2);
  f->base.store = NULL;
  for (; times; times--) {
    store_fixture_open(&f->base, KIN_STORE_WRITE);
    if (kin_store_compact(f->base.store, NULL, NULL, &f->base.err) != KIN_OK) _exit(3);
    /* The same contents under a new time: holes, and equal vectors. */
    if (times > 1 && sqlite3_exec(f->base.store->db, "UPDATE items SET sha256 = randomblob(32), size = 0", NULL, NULL,
                                  NULL) != SQLITE_OK)
      _exit(4);
    if (times > 1) store_fixture_index(&f->base, &f->pictures, NULL);
  }
  _exit(0);
}

static pid_t start(fixture *f, unsigned times) {
  fflush(NULL);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) compact_and_exit(f, times);
  return pid;
}

static int finish(pid_t pid) {
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  if (!WIFSIGNALED(status)) assert_int_equal(WEXITSTATUS(status), 0);
  return WIFSIGNALED(status);
}

static void test_kill(void **state) {
  fixture *f = *state;
  size_t killed = 0, strays = 0, done = 0;
  srand(2024);
  for (size_t i = 0; i < MOST_RUNS && killed < KILLS; i++) {
    store_fixture_close(&f->base);
    pid_t pid = start(f, 1);
    nanosleep(&(struct timespec){.tv_nsec = rand() % 40000 * 1000L}, NULL);
    kill(pid, SIGKILL);
    killed += (size_t)finish(pid);
    store_fixture_open(&f->base, KIN_STORE_READ);
    assert_pictures(f, f->base.store);
    size_t left = count_files(f, KIN_FILE_STRAY);
    strays += left > 0;
    /* The next writer takes them away. */
    store_fixture_open(&f->base, KIN_STORE_WRITE);
    assert_int_equal(count_files(f, KIN_FILE_STRAY), 0);
    store_fixture_close(&f->base);
    assert_whole(f);
    kin_collections *all;
    store_fixture_open(&f->base, KIN_STORE_READ);
    test_assert_ok(kin_store_collections(f->base.store, &all, &f->base.err), &f->base.err);
    bool compacted = kin_collections_get(all, 0)->holes == 0;
    kin_collections_close(all);
    done += compacted;
    if (compacted) make_holes(f, i % 7);
  }
  print_message("%zu killed; %zu left a file behind, %zu were done\n", killed, strays, done);
  assert_int_equal(killed, KILLS);
  assert_true(strays > 0 && done > 0);
}

/* Opening and reading a store whose files are being replaced again and again. */
static void test_readers_of_another_process(void **state) {
  fixture *f = *state;
  store_fixture_close(&f->base);
  pid_t pid = start(f, RACES);
  size_t n = 0;
  for (siginfo_t info = {0}; info.si_pid == 0; waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT)) {
    store_fixture_open(&f->base, KIN_STORE_READ);
    assert_pictures(f, f->base.store);
    assert_pictures(f, f->base.store);
    n++;
  }
  assert_int_equal(finish(pid), 0);
  print_message("opened %zu times while it was compacted %d times\n", n, RACES);
  assert_true(n > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_holes_go, setup, teardown),
      cmocka_unit_test_setup_teardown(test_indexing_goes_on, setup, teardown),
      cmocka_unit_test_setup_teardown(test_readers, setup, teardown),
      cmocka_unit_test_setup_teardown(test_damage_stops_it, setup, teardown),
      cmocka_unit_test_setup_teardown(test_stopping, setup, teardown),
      cmocka_unit_test_setup_teardown(test_kill, setup, teardown),
      cmocka_unit_test_setup_teardown(test_readers_of_another_process, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
