/* Indexing and searching with a stand-in for the model: what is embedded, kept, dropped and reported. */
#include "fake_encoder.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DIM 24

typedef struct fixture {
  char *folder, *photos, *path;
  kin_context *context;
  kin_store *store;
  fake_encoder fake;
  kin_index_progress progress;
  kin_error err;
  char failures[4096]; /* "path: message" lines of the last run */
} fixture;

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  f->folder = test_temporary_folder();
  f->photos = kin_format("%s/photos", f->folder);
  f->path = kin_format("%s/kindred.db", f->folder);
  assert_int_equal(mkdir(f->photos, 0755), 0);
  test_assert_ok(kin_context_open(&(kin_context_options){.threads = 3}, &f->context, &f->err), &f->err);
  test_assert_ok(kin_store_open(f->context, f->path, KIN_STORE_WRITE, &f->store, &f->err), &f->err);
  fake_encoder_init(&f->fake, "model-a", DIM);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  kin_store_close(f->store);
  kin_context_close(f->context);
  test_remove_tree(f->folder);
  free(f->folder);
  free(f->photos);
  free(f->path);
  free(f);
  return 0;
}

static void put(fixture *f, const char *name, const char *content) {
  test_write_file(f->photos, name, content, strlen(content));
}

static void make_folder(fixture *f, const char *name) {
  char *path = kin_format("%s/%s", f->photos, name);
  assert_int_equal(mkdir(path, 0755), 0);
  free(path);
}

static void drop(fixture *f, const char *name) {
  char *path = kin_format("%s/%s", f->photos, name);
  assert_int_equal(unlink(path), 0);
  free(path);
}

static void on_failure(void *user, const char *path, kin_status status, const char *message) {
  fixture *f = user;
  size_t n = strlen(f->failures);
  snprintf(f->failures + n, sizeof f->failures - n, "%s: %s: %s\n", path, kin_status_name(status), message);
}

static kin_status update_with(fixture *f, kin_index_options options, const char *const *paths, size_t n) {
  options.on_failure = on_failure;
  options.user = f;
  f->failures[0] = '\0';
  f->fake.embedded = 0;
  return kin_store_update(f->store, &f->fake.encoder, paths, n, &options, &f->progress, &f->err);
}

static void update(fixture *f, kin_index_options options) {
  const char *paths[] = {f->photos};
  test_assert_ok(update_with(f, options, paths, 1), &f->err);
}

/* found, done, unchanged, removed, failed; `embedded` is what the encoder was asked for. */
static void assert_counts(const fixture *f, size_t found, size_t done, size_t unchanged, size_t removed, size_t failed,
                          size_t embedded) {
  const kin_index_progress *p = &f->progress;
  char got[128], wanted[128];
  snprintf(got, sizeof got, "found %llu done %llu unchanged %llu removed %llu failed %llu embedded %zu",
           (unsigned long long)p->found, (unsigned long long)p->done, (unsigned long long)p->unchanged,
           (unsigned long long)p->removed, (unsigned long long)p->failed, f->fake.embedded);
  snprintf(wanted, sizeof wanted, "found %zu done %zu unchanged %zu removed %zu failed %zu embedded %zu", found, done,
           unchanged, removed, failed, embedded);
  assert_string_equal(got, wanted);
}

/* The store holds `name` with the vector of `content`, found first with cosine 1. */
static void assert_holds(fixture *f, const char *name, const char *content) {
  float query[DIM], stored[DIM];
  kin_hits *hits;
  char *path = kin_format("%s/%s", f->photos, name);
  fake_encoder_vector(content, strlen(content), DIM, query);
  test_assert_ok(test_search(f->store, query, DIM, 100000, &hits, &f->err), &f->err);
  bool found = false;
  for (size_t i = 0; i < kin_hits_count(hits); i++) {
    const kin_hit *hit = kin_hits_get(hits, i);
    if (strcmp(hit->path, path) != 0) continue;
    assert_false(found);
    found = true;
    assert_true(fabsf(hit->score - 1) < 1e-6f);
    assert_int_equal(hit->width, strlen(content));
    assert_int_equal(hit->height, 1);
    test_assert_ok(kin_store_read_vector(f->store, hit->id, stored, &f->err), &f->err);
    assert_memory_equal(stored, query, sizeof query);
  }
  if (!found) fail_msg("%s isn't in the store", path);
  kin_hits_close(hits);
  free(path);
}

static void assert_items(fixture *f, size_t n) {
  kin_store_stats stats;
  test_assert_ok(kin_store_get_stats(f->store, &stats, &f->err), &f->err);
  assert_int_equal(stats.items, n);
}

/* ---------------------------------------------------------------- what a run does */

static void test_rerun_embeds_only_what_is_new(void **state) {
  fixture *f = *state;
  put(f, "a.jpg", "one");
  put(f, "b.jpg", "two");
  put(f, "notes.txt", "not a picture by name");
  make_folder(f, "sub");
  put(f, "sub/c.png", "three");
  update(f, (kin_index_options){0});
  assert_counts(f, 3, 3, 0, 0, 0, 3);
  assert_holds(f, "a.jpg", "one");
  assert_holds(f, "sub/c.png", "three");

  update(f, (kin_index_options){0});
  assert_counts(f, 3, 0, 3, 0, 0, 0);

  put(f, "b.jpg", "another two");
  put(f, "d.jpg", "four");
  update(f, (kin_index_options){.batch = 1});
  assert_counts(f, 4, 2, 2, 0, 0, 2);
  assert_holds(f, "b.jpg", "another two");
  assert_holds(f, "d.jpg", "four");
  assert_items(f, 4);

  /* Also for a handle that was opened before, and for a new one. */
  kin_store_close(f->store);
  test_assert_ok(kin_store_open(f->context, f->path, KIN_STORE_WRITE, &f->store, &f->err), &f->err);
  assert_holds(f, "b.jpg", "another two");
  kin_store_stats stats;
  test_assert_ok(kin_store_get_stats(f->store, &stats, &f->err), &f->err);
  assert_int_equal(stats.dim, DIM);
  assert_string_equal(stats.model_id, "model-a");
  assert_string_equal(stats.model_path, "/models/fake");
}

static void set_mtime(fixture *f, const char *name, time_t seconds) {
  char *path = kin_format("%s/%s", f->photos, name);
  struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds, .tv_nsec = 5}};
  assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
  free(path);
}

static void test_touched_and_moved_files_keep_their_vectors(void **state) {
  fixture *f = *state;
  put(f, "a.jpg", "one");
  put(f, "b.jpg", "two");
  update(f, (kin_index_options){0});

  set_mtime(f, "a.jpg", 1000000);
  update(f, (kin_index_options){0});
  assert_counts(f, 2, 0, 2, 0, 0, 0);
  update(f, (kin_index_options){0});
  assert_counts(f, 2, 0, 2, 0, 0, 0);

  /* Moved to a later and to an earlier place. */
  char *from = kin_format("%s/a.jpg", f->photos), *to = kin_format("%s/z/moved.jpg", f->photos);
  make_folder(f, "z");
  assert_int_equal(rename(from, to), 0);
  update(f, (kin_index_options){0});
  assert_counts(f, 2, 0, 2, 1, 0, 0);
  assert_holds(f, "z/moved.jpg", "one");
  assert_int_equal(rename(to, from), 0);
  update(f, (kin_index_options){0});
  assert_counts(f, 2, 0, 2, 1, 0, 0);
  assert_holds(f, "a.jpg", "one");
  assert_items(f, 2);

  put(f, "copy.jpg", "one");
  update(f, (kin_index_options){0});
  assert_counts(f, 3, 0, 3, 0, 0, 0);
  assert_holds(f, "copy.jpg", "one");
  free(from);
  free(to);
}

static void test_removed_files_drop_out_below_the_given_paths_only(void **state) {
  fixture *f = *state;
  make_folder(f, "in");
  make_folder(f, "in-2");
  put(f, "in/a.jpg", "1");
  put(f, "in/b.jpg", "2");
  put(f, "in-2/c.jpg", "3");
  put(f, "in.jpg", "4");
  update(f, (kin_index_options){0});
  assert_counts(f, 4, 4, 0, 0, 0, 4);
  drop(f, "in/a.jpg");
  drop(f, "in-2/c.jpg");
  drop(f, "in.jpg");

  char *in = kin_format("%s/in", f->photos), *file = kin_format("%s/in.jpg", f->photos);
  test_assert_ok(update_with(f, (kin_index_options){0}, (const char *const[]){in}, 1), &f->err);
  assert_counts(f, 1, 0, 1, 1, 0, 0);
  assert_items(f, 3);
  /* A given file that is gone and that the store knows. */
  test_assert_ok(update_with(f, (kin_index_options){0}, (const char *const[]){file}, 1), &f->err);
  assert_counts(f, 0, 0, 0, 1, 0, 0);
  update(f, (kin_index_options){0});
  assert_counts(f, 1, 0, 1, 1, 0, 0);
  assert_holds(f, "in/b.jpg", "2");
  assert_items(f, 1);
  free(in);
  free(file);
}

static void test_failures_are_named_and_counted(void **state) {
  fixture *f = *state;
  put(f, "a.jpg", "good");
  put(f, "broken.jpg", "bad bytes");
  put(f, "c.jpg", "fine");
  update(f, (kin_index_options){0});
  assert_counts(f, 3, 2, 0, 0, 1, 3);
  assert_non_null(strstr(f->failures, "broken.jpg: KIN_ERR_FORMAT: not a picture"));
  assert_holds(f, "c.jpg", "fine");
  /* A picture that turned bad isn't found as what it was. */
  put(f, "a.jpg", "bad now");
  update(f, (kin_index_options){0});
  assert_counts(f, 3, 0, 1, 0, 2, 2);
  assert_items(f, 1);
  put(f, "a.jpg", "good again");
  update(f, (kin_index_options){0});
  assert_counts(f, 3, 1, 1, 0, 1, 2);
}

static void test_roots(void **state) {
  fixture *f = *state;
  update(f, (kin_index_options){0}); /* an empty folder is fine */
  assert_counts(f, 0, 0, 0, 0, 0, 0);
  assert_items(f, 0);

  make_folder(f, "sub");
  put(f, "sub/a.jpg", "1");
  char *sub = kin_format("%s/sub/", f->photos), *odd = kin_format("%s/../photos/sub/a.jpg", f->photos);
  char *none = kin_format("%s/none", f->photos);
  /* Overlapping paths take a file once. */
  const char *overlap[] = {f->photos, sub, odd};
  test_assert_ok(update_with(f, (kin_index_options){0}, overlap, 3), &f->err);
  assert_counts(f, 1, 1, 0, 0, 0, 1);
  assert_holds(f, "sub/a.jpg", "1");

  const char *partly[] = {none, sub};
  test_assert_ok(update_with(f, (kin_index_options){0}, partly, 2), &f->err);
  assert_counts(f, 1, 0, 1, 0, 1, 0);
  assert_non_null(strstr(f->failures, "none: KIN_ERR_IO: can't open"));
  kin_status status = update_with(f, (kin_index_options){0}, (const char *const[]){none}, 1);
  test_assert_error(status, KIN_ERR_IO, &f->err, "none");
  free(sub);
  free(odd);
  free(none);
}

static void test_hidden_system_and_excluded_are_skipped(void **state) {
  fixture *f = *state;
  const char *folders[] = {".git", "node_modules", "@eaDir", "System Volume Information", ".thumbs", "raw", "keep"};
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
    make_folder(f, folders[i]);
    char *name = kin_format("%s/x%zu.jpg", folders[i], i);
    put(f, name, folders[i]);
    free(name);
  }
  put(f, ".hidden.jpg", "h");
  put(f, "a.jpg", "a");
  put(f, "a_small.jpg", "s");
  const char *exclude[] = {"*_small.*", "*/photos/raw"};
  update(f, (kin_index_options){.exclude = exclude, .n_exclude = 2});
  assert_counts(f, 2, 2, 0, 0, 0, 2);
  assert_holds(f, "keep/x6.jpg", "keep");
  update(f, (kin_index_options){0});
  assert_counts(f, 4, 2, 2, 0, 0, 2);
  update(f, (kin_index_options){.hidden = true});
  assert_counts(f, 6, 2, 4, 0, 0, 2);
  /* What was taken before and is excluded now goes; what is only hidden stays. */
  update(f, (kin_index_options){.exclude = exclude, .n_exclude = 2});
  assert_counts(f, 2, 0, 2, 2, 0, 0);
  assert_items(f, 4);
}

static void test_symbolic_links(void **state) {
  fixture *f = *state;
  make_folder(f, "a");
  make_folder(f, "a/b");
  put(f, "a/b/p.jpg", "p");
  char *loop = kin_format("%s/a/b/loop", f->photos), *self = kin_format("%s/self", f->photos);
  char *outside = kin_format("%s/outside", f->folder), *link = kin_format("%s/link", f->photos);
  char *dangling = kin_format("%s/dangling.jpg", f->photos);
  assert_int_equal(mkdir(outside, 0755), 0);
  test_write_file(outside, "o.jpg", "o", 1);
  assert_int_equal(symlink("..", loop), 0);
  assert_int_equal(symlink("self", self), 0);
  assert_int_equal(symlink(outside, link), 0);
  assert_int_equal(symlink("nowhere", dangling), 0);
  update(f, (kin_index_options){0});
  assert_counts(f, 1, 1, 0, 0, 0, 1);
  update(f, (kin_index_options){.follow = true});
  assert_counts(f, 2, 1, 1, 0, 0, 1);
  assert_holds(f, "link/o.jpg", "o");
  free(loop);
  free(self);
  free(outside);
  free(link);
  free(dangling);
}

static void test_since_leaves_older_files_in_the_store(void **state) {
  fixture *f = *state;
  put(f, "old.jpg", "o");
  put(f, "new.jpg", "n");
  set_mtime(f, "old.jpg", 1000);
  set_mtime(f, "new.jpg", 3000);
  update(f, (kin_index_options){.since = 2000});
  assert_counts(f, 1, 1, 0, 0, 0, 1);
  update(f, (kin_index_options){0});
  assert_counts(f, 2, 1, 1, 0, 0, 1);
  update(f, (kin_index_options){.since = 3000});
  assert_counts(f, 1, 0, 1, 0, 0, 0);
  assert_items(f, 2);
}

static void test_odd_names(void **state) {
  fixture *f = *state;
  const char *names[] = {"\xff\xfe.jpg", "한국.jpg", "with\nline.jpg", "it's \"100%\".jpg", "UPPER.JPEG", " .jpg"};
  size_t n = sizeof names / sizeof *names;
  for (size_t i = 0; i < n; i++) put(f, names[i], names[i]);
  update(f, (kin_index_options){0});
  assert_counts(f, n, n, 0, 0, 0, n);
  for (size_t i = 0; i < n; i++) assert_holds(f, names[i], names[i]);
  update(f, (kin_index_options){0});
  assert_counts(f, n, 0, n, 0, 0, 0);
}

/* ---------------------------------------------------------------- cancelling and errors */

static bool stop_after_two(void *user, const kin_index_progress *progress) {
  (void)user;
  return progress->done < 2;
}

static void test_cancelling_keeps_what_is_committed(void **state) {
  fixture *f = *state;
  for (char name[] = "0.jpg"; name[0] <= '9'; name[0]++) put(f, name, name);
  kin_status status = update_with(f, (kin_index_options){.batch = 2, .on_progress = stop_after_two},
                                  (const char *const[]){f->photos}, 1);
  test_assert_error(status, KIN_ERR_CANCELLED, &f->err, "kept");
  assert_int_equal(f->progress.done, 2);
  assert_items(f, 2);
  update(f, (kin_index_options){.batch = 4});
  assert_counts(f, 10, 8, 2, 0, 0, 8);
}

static void test_the_models_place_and_odd_queries(void **state) {
  fixture *f = *state;
  put(f, "a.jpg", "1");
  update(f, (kin_index_options){0});
  float query[DIM + 1] = {1};
  kin_hits *hits;
  kin_status status = test_search(f->store, query, DIM + 1, 1, &hits, &f->err);
  test_assert_error(status, KIN_ERR_MISMATCH, &f->err, "25 floats");
  query[0] = INFINITY;
  test_assert_error(test_search(f->store, query, DIM, 1, &hits, &f->err), KIN_ERR_ARGUMENT, &f->err, "finite");

  /* The same model in another folder is the same model. */
  f->fake.encoder.model_path = "/models/moved";
  update(f, (kin_index_options){0});
  assert_counts(f, 1, 0, 1, 0, 0, 0);
  kin_store_stats stats;
  test_assert_ok(kin_store_get_stats(f->store, &stats, &f->err), &f->err);
  assert_string_equal(stats.model_path, "/models/moved");
}

static void test_search_orders_and_limits(void **state) {
  fixture *f = *state;
  kin_hits *hits;
  float query[DIM];
  fake_encoder_vector("7", 1, DIM, query);
  test_assert_ok(test_search(f->store, query, DIM, 5, &hits, &f->err), &f->err); /* nothing indexed yet */
  assert_int_equal(kin_hits_count(hits), 0);
  assert_null(kin_hits_get(hits, 0));
  kin_hits_close(hits);
  for (char name[] = "0.jpg"; name[0] <= '9'; name[0]++) {
    char content[2] = {name[0]};
    put(f, name, content);
  }
  update(f, (kin_index_options){0});
  for (size_t i = 0; i < DIM; i++) query[i] *= 123;
  test_assert_ok(test_search(f->store, query, DIM, 4, &hits, &f->err), &f->err);
  assert_int_equal(kin_hits_count(hits), 4);
  assert_non_null(strstr(kin_hits_get(hits, 0)->path, "/7.jpg"));
  for (size_t i = 1; i < 4; i++) assert_true(kin_hits_get(hits, i - 1)->score >= kin_hits_get(hits, i)->score);
  kin_hits_close(hits);
  memset(query, 0, sizeof query);
  test_assert_ok(test_search(f->store, query, DIM, 3, &hits, &f->err), &f->err);
  assert_true(kin_hits_get(hits, 0)->score == 0 && kin_hits_get(hits, 0)->id < kin_hits_get(hits, 1)->id);
  kin_hits_close(hits);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_rerun_embeds_only_what_is_new, setup, teardown),
      cmocka_unit_test_setup_teardown(test_touched_and_moved_files_keep_their_vectors, setup, teardown),
      cmocka_unit_test_setup_teardown(test_removed_files_drop_out_below_the_given_paths_only, setup, teardown),
      cmocka_unit_test_setup_teardown(test_failures_are_named_and_counted, setup, teardown),
      cmocka_unit_test_setup_teardown(test_roots, setup, teardown),
      cmocka_unit_test_setup_teardown(test_hidden_system_and_excluded_are_skipped, setup, teardown),
      cmocka_unit_test_setup_teardown(test_symbolic_links, setup, teardown),
      cmocka_unit_test_setup_teardown(test_since_leaves_older_files_in_the_store, setup, teardown),
      cmocka_unit_test_setup_teardown(test_odd_names, setup, teardown),
      cmocka_unit_test_setup_teardown(test_cancelling_keeps_what_is_committed, setup, teardown),
      cmocka_unit_test_setup_teardown(test_the_models_place_and_odd_queries, setup, teardown),
      cmocka_unit_test_setup_teardown(test_search_orders_and_limits, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
