/* One store in several hands: two writers, readers beside a writer, and files that a crash or an accident left. */
#include "fake_encoder.h"
#include "support.h"

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIM 16

typedef struct fixture {
  char *folder, *photos, *path, *vectors;
  kin_context *context;
  fake_encoder fake;
  kin_error err;
} fixture;

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  f->folder = test_temporary_folder();
  f->photos = kin_format("%s/photos", f->folder);
  f->path = kin_format("%s/kindred.db", f->folder);
  f->vectors = kin_format("%s.vectors", f->path);
  assert_int_equal(mkdir(f->photos, 0755), 0);
  test_assert_ok(kin_context_open(&(kin_context_options){.threads = 2}, &f->context, &f->err), &f->err);
  fake_encoder_init(&f->fake, "model", DIM);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  kin_context_close(f->context);
  test_remove_tree(f->folder);
  free(f->folder);
  free(f->photos);
  free(f->path);
  free(f->vectors);
  free(f);
  return 0;
}

static kin_store *open_store(fixture *f, kin_store_mode mode) {
  kin_store *store;
  test_assert_ok(kin_store_open(f->context, f->path, mode, &store, &f->err), &f->err);
  return store;
}

static void put(fixture *f, size_t from, size_t to) {
  for (size_t i = from; i < to; i++) {
    char name[32], content[32];
    snprintf(name, sizeof name, "%05zu.jpg", i);
    test_write_file(f->photos, name, content, (size_t)snprintf(content, sizeof content, "content %zu", i));
  }
}

static void update(fixture *f, kin_store *store, size_t batch) {
  const char *paths[] = {f->photos};
  test_assert_ok(
      kin_store_update(store, &f->fake.encoder, paths, 1, &(kin_index_options){.batch = batch}, NULL, &f->err),
      &f->err);
}

static size_t count(kin_store *store) {
  kin_error err;
  kin_hits *hits;
  float query[DIM] = {1};
  test_assert_ok(test_search(store, query, DIM, 100000, &hits, &err), &err);
  size_t n = kin_hits_count(hits);
  kin_hits_close(hits);
  return n;
}

static void test_second_writer_is_told(void **state) {
  fixture *f = *state;
  kin_store *first = open_store(f, KIN_STORE_WRITE), *second;
  kin_status status = kin_store_open(f->context, f->path, KIN_STORE_WRITE, &second, &f->err);
  char pid[32];
  snprintf(pid, sizeof pid, "process %ld", (long)getpid());
  test_assert_error(status, KIN_ERR_BUSY, &f->err, pid);
  assert_non_null(strstr(f->err.message, f->path));
  assert_null(second);
  kin_store *reader = open_store(f, KIN_STORE_READ); /* needs no lock */
  const char *paths[] = {f->photos};
  status = kin_store_update(reader, &f->fake.encoder, paths, 1, NULL, NULL, &f->err);
  test_assert_error(status, KIN_ERR_ARGUMENT, &f->err, "reading only");
  kin_store_close(first);
  second = open_store(f, KIN_STORE_WRITE);
  kin_store_close(second);
  kin_store_close(reader);
}

typedef struct writer {
  fixture *f;
  kin_store *store;
  atomic_bool done;
} writer;

static void *write_all(void *arg) {
  writer *w = arg;
  const char *paths[] = {w->f->photos};
  kin_error err;
  for (size_t round = 0; round < 3; round++) {
    /* Every file changes its content each round: rows become holes while they are being read. */
    for (size_t i = 0; i < 400; i++) {
      char name[32], content[64];
      snprintf(name, sizeof name, "%05zu.jpg", i);
      test_write_file(w->f->photos, name, content,
                      (size_t)snprintf(content, sizeof content, "round %zu file %zu", round, i));
    }
    kin_status status =
        kin_store_update(w->store, &w->f->fake.encoder, paths, 1, &(kin_index_options){.batch = 8}, NULL, &err);
    if (status != KIN_OK) fprintf(stderr, "%s\n", err.message);
    if (status != KIN_OK) abort();
  }
  atomic_store(&w->done, true);
  return NULL;
}

static void test_readers_beside_a_writer(void **state) {
  fixture *f = *state;
  writer w = {.f = f, .store = open_store(f, KIN_STORE_WRITE)};
  kin_store *old = open_store(f, KIN_STORE_READ);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, write_all, &w), 0);
  size_t seen = 0, searches = 0;
  while (!atomic_load(&w.done)) {
    size_t n = count(old); /* checks every record's sum on the way */
    assert_true(n >= seen && n <= 400);
    seen = n;
    kin_store *fresh = open_store(f, KIN_STORE_READ);
    assert_true(count(fresh) >= seen);
    kin_store_close(fresh);
    searches++;
  }
  pthread_join(thread, NULL);
  assert_int_equal(count(old), 400);
  assert_true(searches > 0);
  kin_store_close(old);
  kin_store_close(w.store);
}

static off_t size_of(const char *path) {
  struct stat s;
  assert_int_equal(stat(path, &s), 0);
  return s.st_size;
}

static void test_torn_tail_is_cut(void **state) {
  fixture *f = *state;
  put(f, 0, 10);
  kin_store *store = open_store(f, KIN_STORE_WRITE);
  update(f, store, 0);
  kin_store_close(store);
  off_t whole = size_of(f->vectors);

  /* What a kill between the vectors and the commit leaves: a whole record and a piece of one. */
  int fd = open(f->vectors, O_WRONLY | O_APPEND);
  char rubbish[200];
  memset(rubbish, 0x5a, sizeof rubbish);
  assert_true(fd >= 0 && write(fd, rubbish, sizeof rubbish) == sizeof rubbish);
  close(fd);
  store = open_store(f, KIN_STORE_READ);
  assert_int_equal(count(store), 10);
  assert_int_equal(size_of(f->vectors), whole + 200);
  kin_store_close(store);
  store = open_store(f, KIN_STORE_WRITE);
  assert_int_equal(size_of(f->vectors), whole);
  put(f, 10, 13);
  update(f, store, 0);
  assert_int_equal(count(store), 13);
  kin_store_close(store);
}

static void test_damaged_vectors(void **state) {
  fixture *f = *state;
  put(f, 0, 10);
  kin_store *store = open_store(f, KIN_STORE_WRITE);
  update(f, store, 0);
  kin_store_close(store);
  int fd = open(f->vectors, O_RDWR);
  assert_true(fd >= 0 && pwrite(fd, "x", 1, 4096 + 4 * 128 + 70) == 1);
  close(fd);
  store = open_store(f, KIN_STORE_READ);
  float query[DIM] = {1};
  kin_hits *hits;
  kin_status status = test_search(store, query, DIM, 3, &hits, &f->err);
  test_assert_error(status, KIN_ERR_FORMAT, &f->err, "row 4 is damaged");
  assert_non_null(strstr(f->err.message, f->vectors));
  kin_store_close(store);

  assert_int_equal(truncate(f->vectors, 4096 + 9 * 128), 0);
  status = kin_store_open(f->context, f->path, KIN_STORE_READ, &store, &f->err);
  test_assert_error(status, KIN_ERR_FORMAT, &f->err, "9 rows are whole, the store needs 10");
  assert_int_equal(unlink(f->vectors), 0);
  status = kin_store_open(f->context, f->path, KIN_STORE_READ, &store, &f->err);
  test_assert_error(status, KIN_ERR_IO, &f->err, f->vectors);
}

static void run_sql(const char *path, const char *sql) {
  sqlite3 *db;
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
  sqlite3_close(db);
}

static void test_files_that_are_no_store(void **state) {
  fixture *f = *state;
  kin_store *store;
  for (int mode = KIN_STORE_READ; mode <= KIN_STORE_WRITE; mode++) {
    test_write_file(f->folder, "kindred.db", "this is a text, and a long one, but no database at all", 54);
    kin_status status = kin_store_open(f->context, f->path, (kin_store_mode)mode, &store, &f->err);
    test_assert_error(status, KIN_ERR_FORMAT, &f->err, "not a store");
    unlink(f->path);
    run_sql(f->path, "CREATE TABLE mine (x)");
    status = kin_store_open(f->context, f->path, (kin_store_mode)mode, &store, &f->err);
    test_assert_error(status, KIN_ERR_FORMAT, &f->err, "another program's");
    unlink(f->path);
  }
  kin_status status = kin_store_open(f->context, f->path, KIN_STORE_READ, &store, &f->err);
  test_assert_error(status, KIN_ERR_IO, &f->err, "no such store");
  status = kin_store_open(f->context, f->photos, KIN_STORE_WRITE, &store, &f->err);
  test_assert_error(status, KIN_ERR_IO, &f->err, f->photos);
  char *deep = kin_format("%s/none/kindred.db", f->folder);
  status = kin_store_open(f->context, deep, KIN_STORE_WRITE, &store, &f->err);
  test_assert_error(status, KIN_ERR_IO, &f->err, "none");
  free(deep);

  kin_store_close(open_store(f, KIN_STORE_WRITE));
  run_sql(f->path, "PRAGMA user_version = 1000");
  status = kin_store_open(f->context, f->path, KIN_STORE_READ, &store, &f->err);
  test_assert_error(status, KIN_ERR_UNSUPPORTED, &f->err, "newer kindred");
}

/* A writer killed before the schema was written leaves an empty file: it opens, for reading too. */
static void test_empty_file_is_an_empty_store(void **state) {
  fixture *f = *state;
  test_write_file(f->folder, "kindred.db", "", 0);
  kin_store *store = open_store(f, KIN_STORE_READ);
  assert_int_equal(count(store), 0);
  kin_store_close(store);
}

/* The other store's vectors beside this one's items must not be mixed up. */
static void test_swapped_vectors(void **state) {
  fixture *f = *state;
  put(f, 0, 3);
  kin_store *store = open_store(f, KIN_STORE_WRITE);
  update(f, store, 0);
  kin_store_close(store);
  char *kept = kin_format("%s/kept", f->folder);
  assert_int_equal(rename(f->vectors, kept), 0);
  assert_int_equal(unlink(f->path), 0);
  store = open_store(f, KIN_STORE_WRITE);
  update(f, store, 0);
  kin_store_close(store);
  assert_int_equal(rename(kept, f->vectors), 0);
  kin_status status = kin_store_open(f->context, f->path, KIN_STORE_READ, &store, &f->err);
  test_assert_error(status, KIN_ERR_MISMATCH, &f->err, "another store");
  free(kept);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_second_writer_is_told, setup, teardown),
      cmocka_unit_test_setup_teardown(test_readers_beside_a_writer, setup, teardown),
      cmocka_unit_test_setup_teardown(test_torn_tail_is_cut, setup, teardown),
      cmocka_unit_test_setup_teardown(test_damaged_vectors, setup, teardown),
      cmocka_unit_test_setup_teardown(test_files_that_are_no_store, setup, teardown),
      cmocka_unit_test_setup_teardown(test_empty_file_is_an_empty_store, setup, teardown),
      cmocka_unit_test_setup_teardown(test_swapped_vectors, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
