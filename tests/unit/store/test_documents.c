/* Indexing text files with a stand-in for the model: passages, changes, moves, failures, and kill -9. */
#include "document/chunker.h"
#include "fake_encoder.h"
#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DIM 24
#define LIMIT 8 /* six words a passage */

typedef struct fixture {
  char *folder, *notes, *path;
  kin_context *context;
  kin_store *store;
  fake_encoder fake;
  kin_index_progress progress;
  kin_error err;
  char failures[4096];
  struct watch *watch;
} fixture;

static void open_store(fixture *f) {
  test_assert_ok(kin_context_open(&(kin_context_options){.threads = 2}, &f->context, &f->err), &f->err);
  test_assert_ok(kin_store_open(f->context, f->path, KIN_STORE_WRITE, &f->store, &f->err), &f->err);
}

static void close_store(fixture *f) {
  kin_store_close(f->store);
  kin_context_close(f->context);
  f->store = NULL;
  f->context = NULL;
}

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  f->folder = test_temporary_folder();
  f->notes = kin_format("%s/notes", f->folder);
  f->path = kin_format("%s/kindred.db", f->folder);
  assert_int_equal(mkdir(f->notes, 0755), 0);
  fake_encoder_init(&f->fake, "text-model", DIM);
  fake_encoder_take_texts(&f->fake, LIMIT);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  close_store(f);
  test_remove_tree(f->folder);
  free(f->folder);
  free(f->notes);
  free(f->path);
  free(f);
  return 0;
}

static void put(fixture *f, const char *name, const char *content) {
  test_write_file(f->notes, name, content, strlen(content));
}

static void on_failure(void *user, const char *path, kin_status status, const char *message) {
  fixture *f = user;
  size_t n = strlen(f->failures);
  snprintf(f->failures + n, sizeof f->failures - n, "%s: %s: %s\n", path, kin_status_name(status), message);
}

static kin_status try_update(fixture *f, kin_index_options options) {
  const char *paths[] = {f->notes};
  options.on_failure = on_failure;
  options.user = f;
  f->failures[0] = '\0';
  f->fake.embedded = 0;
  return kin_store_update(f->store, &f->fake.encoder, paths, 1, &options, &f->progress, &f->err);
}

/* found, done, unchanged, removed, failed; texts that the encoder was asked for. */
static void update(fixture *f, size_t found, size_t done, size_t unchanged, size_t removed, size_t failed,
                   size_t embedded) {
  test_assert_ok(try_update(f, (kin_index_options){.text_column = "text"}), &f->err);
  const kin_index_progress *p = &f->progress;
  char got[128], wanted[128];
  snprintf(got, sizeof got, "found %llu done %llu unchanged %llu removed %llu failed %llu embedded %zu",
           (unsigned long long)p->found, (unsigned long long)p->done, (unsigned long long)p->unchanged,
           (unsigned long long)p->removed, (unsigned long long)p->failed, f->fake.embedded);
  snprintf(wanted, sizeof wanted, "found %zu done %zu unchanged %zu removed %zu failed %zu embedded %zu", found, done,
           unchanged, removed, failed, embedded);
  assert_string_equal(got, wanted);
}

/* Every passage of the store as "NAME:LINE:TEXT" lines, sorted; each has its text's own vector. */
static int compare_strings(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *dump(fixture *f) {
  kin_hits *hits;
  float query[DIM] = {1};
  test_assert_ok(test_search(f->store, query, DIM, 100000, &hits, &f->err), &f->err);
  size_t n = kin_hits_count(hits);
  char **lines = calloc(n + 1, sizeof *lines);
  for (size_t i = 0; i < n; i++) {
    const kin_hit *hit = kin_hits_get(hits, i);
    float vector[DIM];
    assert_non_null(hit->passage);
    fake_encoder_vector(hit->passage, strlen(hit->passage), DIM, vector);
    assert_true(hit->score == vector[0]);
    lines[i] = kin_format("%s:%llu:%s\n", strrchr(hit->path, '/') + 1, (unsigned long long)hit->line, hit->passage);
  }
  qsort(lines, n, sizeof *lines, compare_strings);
  char *all = kin_strdup("");
  for (size_t i = 0; i < n; i++) {
    char *more = kin_format("%s%s", all, lines[i]);
    free(all);
    free(lines[i]);
    all = more;
  }
  free(lines);
  kin_hits_close(hits);
  return all;
}

static void assert_dump(fixture *f, const char *expected) {
  char *got = dump(f);
  assert_string_equal(got, expected);
  free(got);
}

static void test_passages(void **state) {
  fixture *f = *state;
  open_store(f);
  put(f, "a.txt", "One two three.\nFour five six. Seven.");
  put(f, "b.md", "# Title\n\nSome *text*.");
  put(f, "c.html", "<p>hyper</p><p>text</p>");
  put(f, "d.jsonl", "{\"text\": \"first\"}\n{\"text\": \"second\"}\n");
  put(f, "e.csv", "n,text\n1,cell\n");
  put(f, "f.jpg", "no text file by its name");
  put(f, "empty.txt", "\n\n");
  update(f, 6, 5, 1, 0, 0, 7);
  assert_dump(f, "a.txt:1:One two three.\nFour five six.\n"
                 "a.txt:2:Seven.\n"
                 "b.md:1:Title\n\nSome text.\n"
                 "c.html:1:hyper\n\ntext\n"
                 "d.jsonl:1:first\nd.jsonl:2:second\n"
                 "e.csv:2:cell\n");
  update(f, 6, 0, 6, 0, 0, 0);
  kin_store_stats stats;
  test_assert_ok(kin_store_get_stats(f->store, &stats, &f->err), &f->err);
  assert_int_equal(stats.items, 5);
  kin_collections *all;
  test_assert_ok(kin_store_collections(f->store, &all, &f->err), &f->err);
  assert_int_equal(kin_collections_get(all, 0)->items, 5);
  assert_int_equal(kin_collections_get(all, 0)->vectors, 7);
  assert_true(kin_collections_get(all, 0)->text && !kin_collections_get(all, 0)->image);
  kin_collections_close(all);
}

static void test_changes_moves_and_removals(void **state) {
  fixture *f = *state;
  open_store(f);
  put(f, "a.txt", "One two three. Four five six. Seven eight nine.");
  put(f, "b.txt", "Other.");
  update(f, 2, 2, 0, 0, 0, 3);
  put(f, "a.txt", "Only this.");
  update(f, 2, 1, 1, 0, 0, 1);
  assert_dump(f, "a.txt:1:Only this.\nb.txt:1:Other.\n");

  /* Moved and copied without being embedded again, but not under another format. */
  char *from = kin_format("%s/b.txt", f->notes), *to = kin_format("%s/z.txt", f->notes);
  assert_int_equal(rename(from, to), 0);
  put(f, "copy.txt", "Only this.");
  put(f, "copy.md", "Only this.");
  update(f, 4, 1, 3, 1, 0, 1);
  assert_dump(f, "a.txt:1:Only this.\ncopy.md:1:Only this.\ncopy.txt:1:Only this.\nz.txt:1:Other.\n");

  /* Two that change places. */
  put(f, "a.txt", "Other.");
  put(f, "z.txt", "Only this.");
  test_assert_ok(try_update(f, (kin_index_options){0}), &f->err);
  assert_dump(f, "a.txt:1:Other.\ncopy.md:1:Only this.\ncopy.txt:1:Only this.\nz.txt:1:Only this.\n");
  assert_int_equal(unlink(to), 0);
  put(f, "a.txt", " ");
  update(f, 3, 0, 3, 1, 0, 0);
  assert_dump(f, "copy.md:1:Only this.\ncopy.txt:1:Only this.\n");
  free(from);
  free(to);
}

static void test_failures(void **state) {
  fixture *f = *state;
  open_store(f);
  put(f, "a.txt", "Fine.");
  put(f, "bad.txt", "One two three. Four five six. Seven.\n\nbad \xFF here.");
  put(f, "c.csv", "id\n1\n");
  put(f, "d.json", "[1, 2]");
  update(f, 4, 1, 0, 0, 3, 1);
  assert_non_null(strstr(f->failures, "bad.txt:3: isn't UTF-8"));
  assert_non_null(strstr(f->failures, "no column \"text\""));
  assert_non_null(strstr(f->failures, "d.json:1: expected a JSON object"));
  assert_dump(f, "a.txt:1:Fine.\n");

  /* Also when parts of it were written already; the files around it are whole. */
  size_t size = 60000;
  char *big = malloc(size + 16);
  for (size_t i = 0; i < size; i += 8) memcpy(big + i, "Word w. ", 8);
  memcpy(big + size, "\nbad \xFF", 7);
  put(f, "bad.txt", big);
  put(f, "z.txt", "After.");
  test_assert_ok(try_update(f, (kin_index_options){0}), &f->err);
  assert_true(f->fake.embedded > 1000);
  assert_dump(f, "a.txt:1:Fine.\nz.txt:1:After.\n");
  big[size] = '\0';
  put(f, "bad.txt", big);
  test_assert_ok(try_update(f, (kin_index_options){0}), &f->err);
  char *all = dump(f);
  assert_true(strlen(all) > size);
  free(all);

  put(f, "bad-2.txt", big);
  put(f, "bad.txt", "Other.");
  put(f, "bad-3.txt", big);
  update(f, 7, 1, 4, 0, 2, 1);
  /* Two of one new content in one run: the second takes over all of the first's passages. */
  big[0] = 'V';
  put(f, "bad-2.txt", big);
  put(f, "bad-3.txt", big);
  test_assert_ok(try_update(f, (kin_index_options){0}), &f->err);
  assert_int_equal(f->progress.done, 1);
  assert_int_equal(f->progress.unchanged, 4);
  char *twins = dump(f);
  assert_true(strlen(twins) > 2 * size);
  free(twins);

  /* A good one that turns bad goes. */
  put(f, "bad.txt", "\xFF");
  put(f, "a.txt", "\xFF");
  test_assert_ok(try_update(f, (kin_index_options){0}), &f->err);
  char *rest = dump(f);
  assert_null(strstr(rest, "a.txt"));
  assert_null(strstr(rest, "bad.txt"));
  free(rest);
  free(big);
}

static bool stop_at_once(void *user, const kin_index_progress *progress) {
  (void)user;
  return progress->done < 1;
}

static void test_cancelling(void **state) {
  fixture *f = *state;
  open_store(f);
  for (char name[] = "0.txt"; name[0] <= '9'; name[0]++) put(f, name, name);
  kin_status status = try_update(f, (kin_index_options){.batch = 2, .on_progress = stop_at_once});
  test_assert_error(status, KIN_ERR_CANCELLED, &f->err, "kept");
  assert_int_equal(f->progress.done, 2);
  assert_dump(f, "0.txt:1:0.txt\n1.txt:1:1.txt\n");
  update(f, 10, 8, 2, 0, 0, 8);
}

static void test_pictures_and_documents(void **state) {
  fixture *f = *state;
  open_store(f);
  f->fake.encoder.has_image = true;
  put(f, "a.txt", "Words.");
  put(f, "b.jpg", "a picture");
  update(f, 1, 1, 0, 0, 0, 1);
  test_assert_ok(try_update(f, (kin_index_options){.content = KIN_CONTENT_BOTH}), &f->err);
  assert_int_equal(f->progress.done, 1);
  kin_hits *hits;
  float query[DIM] = {1};
  test_assert_ok(test_search(f->store, query, DIM, 10, &hits, &f->err), &f->err);
  assert_int_equal(kin_hits_count(hits), 2);
  for (size_t i = 0; i < 2; i++) {
    const kin_hit *hit = kin_hits_get(hits, i);
    bool picture = strstr(hit->path, ".jpg") != NULL;
    assert_true(picture ? !hit->passage && hit->line == 0 && hit->width == 9 : hit->passage && hit->line == 1);
  }
  kin_hits_close(hits);
  f->fake.encoder.has_image = false;
  kin_status status = try_update(f, (kin_index_options){.content = KIN_CONTENT_PICTURES});
  test_assert_error(status, KIN_ERR_UNSUPPORTED, &f->err, "no image tower");
}

/* ------------------------------------------------------------- a large file */

#define LARGE ((size_t)24 << 20)
#define GROWTH_LIMIT ((long)6 << 20)

typedef struct watch {
  size_t calls;
  long early, most;
} watch;

static bool on_passage(void *user, const kin_index_progress *progress) {
  (void)progress;
  watch *w = ((fixture *)user)->watch;
  long now = test_resident_bytes();
  if (++w->calls < 1000)
    w->early = now > w->early ? now : w->early;
  else
    w->most = now > w->most ? now : w->most;
  return true;
}

static void test_memory_does_not_grow_with_the_file(void **state) {
  fixture *f = *state;
  watch w = {0};
  char *path = kin_format("%s/large.txt", f->notes);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  for (size_t n = 0, i = 0; n < LARGE; i++)
    n += (size_t)fprintf(file, "This is sentence %zu of many.%s", i, i % 50 == 49 ? "\n\n" : i % 7 ? " " : "\n");
  fclose(file);
  open_store(f);
  fake_encoder_take_texts(&f->fake, 300);
  f->watch = &w;
  test_assert_ok(try_update(f, (kin_index_options){.on_progress = on_passage}), &f->err);
  assert_int_equal(f->progress.done, 1);
  assert_true(f->fake.embedded > 10000);
  print_message("%zu passages: %ld KiB at first, at most %ld KiB after\n", f->fake.embedded, w.early / 1024,
                w.most / 1024);
  if (!TEST_SANITIZED) assert_true(w.most - w.early < GROWTH_LIMIT);
  free(path);
}

/* ----------------------------------------------------------------- kill -9 */

enum { FILES = 30, KILLS = 30 };

static void put_numbered(fixture *f, int file, int version) {
  char name[32], content[4096];
  size_t n = 0;
  snprintf(name, sizeof name, "%02d.txt", file);
  for (int i = 0; i < 4 + file; i++)
    n += (size_t)snprintf(content + n, sizeof content - n, "File %d version %d part %d. ", file, version, i);
  put(f, name, content);
}

static void index_and_exit(fixture *f) {
  f->fake.delay_us = 200;
  if (kin_context_open(&(kin_context_options){.threads = 2}, &f->context, &f->err) != KIN_OK) _exit(2);
  if (kin_store_open(f->context, f->path, KIN_STORE_WRITE, &f->store, &f->err) != KIN_OK ||
      try_update(f, (kin_index_options){.batch = 3}) != KIN_OK)
    _exit(3);
  close_store(f);
  _exit(0);
}

static bool run_and_kill(fixture *f, long after_us) {
  fflush(NULL);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) index_and_exit(f);
  nanosleep(&(struct timespec){.tv_nsec = after_us * 1000}, NULL);
  kill(pid, SIGKILL);
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  if (!WIFSIGNALED(status)) assert_int_equal(WEXITSTATUS(status), 0);
  return WIFSIGNALED(status);
}

/* Each document is there whole, of one version, or not at all. */
static void check_whole(fixture *f, const int *version, bool complete) {
  open_store(f);
  char *all = dump(f), *rest = all;
  for (int file = 0; file < FILES; file++) {
    char begin[32];
    int parts = 0, first = 0;
    snprintf(begin, sizeof begin, "%02d.txt:", file);
    for (; strncmp(rest, begin, strlen(begin)) == 0; rest = strchr(rest, '\n') + 1, parts++) {
      int number, of, part;
      assert_int_equal(sscanf(rest + 9, "File %d version %d part %d", &number, &of, &part), 3);
      assert_int_equal(number, file);
      if (!parts) first = of;
      assert_int_equal(of, first);
    }
    if (parts || complete) assert_int_equal(parts, 4 + file);
    if (complete) assert_int_equal(first, version[file]);
  }
  assert_string_equal(rest, "");
  free(all);
  close_store(f);
}

static void test_kill(void **state) {
  fixture *f = *state;
  int version[FILES] = {0};
  for (int i = 0; i < FILES; i++) put_numbered(f, i, version[i]);
  srand(99);
  int killed = 0;
  for (int run = 0; run < 500 && killed < KILLS; run++) {
    killed += run_and_kill(f, run < 10 ? run * 900 : rand() % 90000);
    if (access(f->path, F_OK) == 0) check_whole(f, version, false);
    for (int i = 0; i < FILES && killed > KILLS / 2; i++)
      if (rand() % 3 == 0) put_numbered(f, i, ++version[i]);
  }
  assert_int_equal(killed, KILLS);
  open_store(f);
  test_assert_ok(try_update(f, (kin_index_options){0}), &f->err);
  close_store(f);
  check_whole(f, version, true);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_passages, setup, teardown),
      cmocka_unit_test_setup_teardown(test_changes_moves_and_removals, setup, teardown),
      cmocka_unit_test_setup_teardown(test_failures, setup, teardown),
      cmocka_unit_test_setup_teardown(test_cancelling, setup, teardown),
      cmocka_unit_test_setup_teardown(test_pictures_and_documents, setup, teardown),
      cmocka_unit_test_setup_teardown(test_memory_does_not_grow_with_the_file, setup, teardown),
      cmocka_unit_test_setup_teardown(test_kill, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
