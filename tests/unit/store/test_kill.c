/* kill -9 of an indexing process at random moments: the last commit is there, whole, and the next run goes on. */
#include "fake_encoder.h"
#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DIM 40
#define FILES 120
#if TEST_SANITIZED
#define KILLS 40
#define DELAY_US 300 /* a file */
#else
#define KILLS 200
#define DELAY_US 100
#endif
#define FIRST_KILLS (KILLS / 4) /* before files begin to change */
#define LONGEST_US (FILES * DELAY_US * 2)
#define MOST_RUNS 3000

typedef struct fixture {
  char *folder, *photos, *path;
  unsigned version[FILES]; /* of each file's content, from 1 */
  bool exists[FILES];
} fixture;

static size_t content_of(size_t file, unsigned version, char out[64]) {
  return (size_t)snprintf(out, 64, "file %zu version %u", file, version);
}

static void put(fixture *f, size_t file) {
  char name[32], content[64];
  snprintf(name, sizeof name, "%03zu.jpg", file);
  test_write_file(f->photos, name, content, content_of(file, ++f->version[file], content));
  f->exists[file] = true;
}

static void drop(fixture *f, size_t file) {
  char *path = kin_format("%s/%03zu.jpg", f->photos, file);
  unlink(path);
  free(path);
  f->exists[file] = false;
}

/* In a child: index until done or killed. Exits 0 when done. */
static void index_and_exit(const fixture *f, unsigned delay_us) {
  kin_context *context;
  kin_store *store;
  kin_error err;
  fake_encoder fake;
  const char *paths[] = {f->photos};
  fake_encoder_init(&fake, "model", DIM);
  fake.delay_us = delay_us;
  if (kin_context_open(&(kin_context_options){.threads = 2}, &context, &err) != KIN_OK) _exit(2);
  if (kin_store_open(context, f->path, KIN_STORE_WRITE, &store, &err) != KIN_OK ||
      kin_store_update(store, &fake.encoder, paths, 1, &(kin_index_options){.batch = 3}, NULL, &err) != KIN_OK) {
    fprintf(stderr, "%s\n", err.message);
    _exit(3);
  }
  kin_store_close(store);
  kin_context_close(context);
  _exit(0);
}

static int run_child(const fixture *f, unsigned delay_us, long kill_after_us) {
  fflush(NULL);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) index_and_exit(f, delay_us);
  if (kill_after_us >= 0) {
    nanosleep(&(struct timespec){.tv_sec = kill_after_us / 1000000, .tv_nsec = kill_after_us % 1000000 * 1000}, NULL);
    kill(pid, SIGKILL);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  if (WIFSIGNALED(status))
    assert_int_equal(WTERMSIG(status), SIGKILL);
  else
    assert_int_equal(WEXITSTATUS(status), 0);
  return WIFSIGNALED(status);
}

static void on_problem(void *user, const kin_store_problem *p) {
  (void)user;
  print_message("%s: %s\n", p->file, p->what);
}

/* Every item is one file, once, with the vector of that file's content now or before. Returns how many. */
static size_t check(const fixture *f, bool complete) {
  kin_context *context;
  kin_store *store;
  kin_error err;
  kin_hits *hits;
  float query[DIM] = {1}, stored[DIM], expected[DIM];
  size_t times[FILES] = {0}, n;
  test_assert_ok(kin_context_open(&(kin_context_options){.threads = 2}, &context, &err), &err);
  test_assert_ok(kin_store_open(context, f->path, KIN_STORE_READ, &store, &err), &err);
  test_assert_ok(test_search(store, query, DIM, FILES * 2, &hits, &err), &err);
  n = kin_hits_count(hits);
  for (size_t i = 0; i < n; i++) {
    const kin_hit *hit = kin_hits_get(hits, i);
    size_t file = (size_t)strtoul(strrchr(hit->path, '/') + 1, NULL, 10);
    assert_true(file < FILES);
    times[file]++;
    test_assert_ok(kin_store_read_vector(store, hit->id, stored, &err), &err);
    bool right = false;
    for (unsigned v = complete ? f->version[file] : 1; v <= f->version[file] && !right; v++) {
      char content[64];
      fake_encoder_vector(content, content_of(file, v, content), DIM, expected);
      right = memcmp(stored, expected, sizeof stored) == 0;
    }
    assert_true(right);
  }
  for (size_t i = 0; i < FILES; i++) {
    assert_true(times[i] <= 1);
    if (complete) assert_int_equal(times[i], f->exists[i]);
  }
  kin_hits_close(hits);
  kin_store_close(store);
  /* The next writer takes away what was left over. */
  test_assert_ok(kin_store_open(context, f->path, KIN_STORE_WRITE, &store, &err), &err);
  kin_store_close(store);
  kin_check_report report;
  test_assert_ok(kin_store_check(context, f->path, &(kin_check_options){.on_problem = on_problem}, &report, &err),
                 &err);
  assert_int_equal(report.problems, 0);
  kin_context_close(context);
  return n;
}

static void test_kill(void **state) {
  (void)state;
  fixture f = {.folder = test_temporary_folder()};
  f.photos = kin_format("%s/photos", f.folder);
  f.path = kin_format("%s/kindred.db", f.folder);
  assert_int_equal(mkdir(f.photos, 0755), 0);
  for (size_t i = 0; i < FILES; i++) put(&f, i);
  srand(12345);
  size_t killed = 0, partial = 0, before = 0;
  for (size_t i = 0; i < MOST_RUNS && killed < KILLS; i++) {
    /* From before the store's file exists to after the end. */
    bool first = killed < FIRST_KILLS;
    bool was_killed = run_child(&f, DELAY_US, first && i < 40 ? (long)i * LONGEST_US / 100 : rand() % LONGEST_US);
    killed += was_killed;
    if (access(f.path, F_OK) != 0) continue;
    size_t n = check(&f, false);
    partial += was_killed && n > before && n < FILES;
    if (first) {
      assert_true(n >= before); /* nothing committed was lost */
      before = n;
    }
    /* Later files change and go, so that every run has work. */
    for (size_t k = 0; k < FILES && killed >= FIRST_KILLS; k++) {
      int what = rand() % 12;
      if (what < 4)
        put(&f, k);
      else if (what == 4)
        drop(&f, k);
    }
  }
  print_message("%zu killed, %zu of them after a part was committed\n", killed, partial);
  assert_int_equal(killed, KILLS);
  assert_int_equal(run_child(&f, 0, -1), 0);
  check(&f, true);
  test_remove_tree(f.folder);
  free(f.folder);
  free(f.photos);
  free(f.path);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_kill)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
