/* Walks over folders made here: order, what is left out, links and loops, what can't be read. */
#include "embed/walk.h"
#include "image/image.h"
#include "support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *root;

static char *below(const char *name) {
  char *path = kin_format("%s/%s", root, name);
  assert_non_null(path);
  return path;
}

static void make_folder(const char *name) {
  char *path = below(name);
  assert_int_equal(mkdir(path, 0777), 0);
  free(path);
}

static void make_link(const char *target, const char *name) {
  char *path = below(name);
  assert_int_equal(symlink(target, path), 0);
  free(path);
}

static int make_root(void **state) {
  (void)state;
  root = test_temporary_folder();
  return 0;
}

static int drop_root(void **state) {
  (void)state;
  test_remove_tree(root);
  free(root);
  return 0;
}

/* Names found below `root`, one a line, relative to it; unreadable ones as "!name". */
static char *walk(const char *const *roots, size_t n, const kin_walk_options *options) {
  kin_walk *w;
  kin_walk_entry entry;
  kin_error err;
  char *all = kin_strdup("");
  test_assert_ok(kin_walk_open(roots, n, options, &w, &err), &err);
  for (;;) {
    test_assert_ok(kin_walk_next(w, &entry, &err), &err);
    if (!entry.path) break;
    size_t length = strlen(root);
    const char *name = strncmp(entry.path, root, length) == 0 ? entry.path + length + 1 : entry.path;
    char *more = kin_format("%s%s%s\n", all, entry.status == KIN_OK ? "" : "!", name);
    if (entry.status != KIN_OK) assert_non_null(strstr(entry.message, entry.path));
    assert_non_null(more);
    free(all);
    all = more;
  }
  kin_walk_close(w);
  return all;
}

static void expect(const kin_walk_options *options, const char *expected) {
  const char *const roots[] = {root};
  char *found = walk(roots, 1, options);
  assert_string_equal(found, expected);
  free(found);
}

static void put(const char *name) {
  test_write_file(root, name, "x", 1);
}

static void order_is_that_of_whole_paths(void **state) {
  (void)state;
  make_folder("a");
  make_folder("a/z");
  make_folder("empty");
  put("a/2.jpg");
  put("a/z/1.png");
  put("a.jpg"); /* '.' sorts before '/' */
  put("a0.jpg");
  put("B.webp");
  put("notes.txt");
  expect(NULL, "B.webp\na.jpg\na/2.jpg\na/z/1.png\na0.jpg\n");
}

static void hidden_and_system_names_are_left_out(void **state) {
  (void)state;
  make_folder(".git");
  make_folder(".cache");
  make_folder("node_modules");
  make_folder("@eaDir");
  make_folder("System Volume Information");
  put(".git/1.jpg");
  put(".cache/1.jpg");
  put("node_modules/1.jpg");
  put("@eaDir/1.jpg");
  put("System Volume Information/1.jpg");
  put(".hidden.jpg");
  put("seen.jpg");
  expect(NULL, "seen.jpg\n");
  expect(&(kin_walk_options){.hidden = true}, ".cache/1.jpg\n.hidden.jpg\nseen.jpg\n");
}

static void patterns_match_names_and_paths(void **state) {
  (void)state;
  make_folder("trash");
  make_folder("keep");
  put("trash/1.jpg");
  put("keep/1.jpg");
  put("keep/2.gif");
  const char *const exclude[] = {"trash", "*.gif"};
  expect(&(kin_walk_options){.exclude = exclude, .n_exclude = 2}, "keep/1.jpg\n");
  const char *const whole[] = {"*/keep/1*"};
  expect(&(kin_walk_options){.exclude = whole, .n_exclude = 1}, "keep/2.gif\ntrash/1.jpg\n");
}

static void links_are_followed_on_demand_and_loops_end(void **state) {
  (void)state;
  make_folder("a");
  make_folder("b");
  put("a/1.jpg");
  make_link("../b", "a/to_b");
  make_link("../a", "b/to_a");
  make_link("..", "b/up");
  make_link("a/1.jpg", "link.jpg");
  make_link("nowhere.jpg", "broken.jpg");
  put("b/2.jpg");
  expect(NULL, "a/1.jpg\nb/2.jpg\n");
  expect(&(kin_walk_options){.follow = true}, "a/1.jpg\na/to_b/2.jpg\nlink.jpg\n");
}

static void many_followed_folders_are_each_entered_once(void **state) {
  (void)state;
  for (int i = 0; i < 200; i++) {
    char name[32];
    snprintf(name, sizeof name, "d%03d", i);
    make_folder(name);
    snprintf(name, sizeof name, "d%03d/1.jpg", i);
    put(name);
    snprintf(name, sizeof name, "d%03d/all", i);
    make_link("..", name);
  }
  const char *const roots[] = {root};
  char *found = walk(roots, 1, &(kin_walk_options){.follow = true});
  size_t lines = 0;
  for (const char *c = found; *c; c++) lines += *c == '\n';
  assert_int_equal(lines, 200);
  free(found);
}

static void a_named_file_is_always_taken(void **state) {
  (void)state;
  put("notes.txt");
  put(".hidden");
  make_folder("d");
  put("d/1.jpg");
  char *const paths[] = {below("notes.txt"), below("missing.jpg"), below(".hidden"), below("d//")};
  char *found = walk((const char *const *)paths, 4, NULL);
  assert_string_equal(found, "notes.txt\n!missing.jpg\n.hidden\nd/1.jpg\n");
  free(found);
  for (size_t i = 0; i < 4; i++) free(paths[i]);
}

/* The size and the time of the file `path`, by a walk. */
static kin_walk_entry entry_of(const char *path) {
  kin_walk *w;
  kin_walk_entry entry;
  kin_error err;
  test_assert_ok(kin_walk_open(&path, 1, NULL, &w, &err), &err);
  test_assert_ok(kin_walk_next(w, &entry, &err), &err);
  kin_walk_close(w);
  entry.path = NULL;
  return entry;
}

static void times_are_held_at_their_ends(void **state) {
  (void)state;
  put("old.jpg");
  char *path = below("old.jpg");
  static const struct {
    int64_t seconds, ns;
  } cases[] = {{9223372036, 9223372036000000005}, {9223372037, INT64_MAX}, {15000000000, INT64_MAX}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const struct timespec times[] = {{.tv_sec = 1000}, {.tv_sec = cases[i].seconds, .tv_nsec = 5}};
    struct stat s;
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_int_equal(stat(path, &s), 0);
    if (s.st_mtim.tv_sec == cases[i].seconds) /* else the file system has no such time */
      assert_true(entry_of(path).mtime_ns == cases[i].ns);
    assert_true(kin_time_ns(cases[i].seconds, 5) == cases[i].ns);
  }
  assert_true(kin_time_ns(INT64_MIN, 0) == INT64_MIN && kin_time_ns(-1, 1) == -999999999);
  free(path);
}

static void old_files_are_left_out(void **state) {
  (void)state;
  put("old.jpg");
  put("new.jpg");
  char *path = below("old.jpg");
  const struct timespec times[] = {{.tv_sec = 1000}, {.tv_sec = 1000, .tv_nsec = 5}};
  assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
  expect(&(kin_walk_options){.since = 2000}, "new.jpg\n");
  expect(&(kin_walk_options){.since = 1000}, "new.jpg\nold.jpg\n");
  const kin_walk_entry entry = entry_of(path);
  assert_int_equal(entry.size, 1);
  assert_true(entry.mtime_ns == 1000000000005);
  free(path);
}

/* Root reads everything, so the walk runs as another user in a child. */
static void an_unreadable_folder_is_named(void **state) {
  (void)state;
  make_folder("closed");
  make_folder("open");
  put("open/1.jpg");
  put("closed/1.jpg");
  char *closed = below("closed");
  assert_int_equal(chmod(closed, 0), 0);
  assert_int_equal(chmod(root, 0755), 0);
  if (geteuid() == 0) assert_int_equal(seteuid(65534), 0);
  expect(NULL, "!closed/\nopen/1.jpg\n");
  if (getuid() == 0) assert_int_equal(seteuid(0), 0);
  assert_int_equal(chmod(closed, 0755), 0);
  free(closed);
}

/* More names in one folder than are held at once. */
static void test_large_folder_is_whole_and_sorted(void **state) {
  (void)state;
  enum { FILES = 20000 };
  for (int i = 0; i < FILES; i++) {
    char name[32];
    snprintf(name, sizeof name, "%05d%s", i * 7919 % FILES, i % 4000 == 1 ? "" : ".jpg");
    if (i % 4000 == 1) {
      make_folder(name);
      strcat(name, "/in.jpg");
    }
    put(name);
  }
  const char *const roots[] = {root};
  kin_walk *w;
  kin_walk_entry entry;
  kin_error err;
  char *last = kin_strdup("");
  test_assert_ok(kin_walk_open(roots, 1, NULL, &w, &err), &err);
  size_t n = 0;
  for (;; n++) {
    test_assert_ok(kin_walk_next(w, &entry, &err), &err);
    if (!entry.path) break;
    assert_int_equal(entry.status, KIN_OK);
    assert_true(strcmp(entry.path, last) > 0);
    free(last);
    last = kin_strdup(entry.path);
  }
  assert_int_equal(n, FILES);
  free(last);
  kin_walk_close(w);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_root, drop_root)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_large_folder_is_whole_and_sorted),
      TEST(order_is_that_of_whole_paths),
      TEST(hidden_and_system_names_are_left_out),
      TEST(patterns_match_names_and_paths),
      TEST(links_are_followed_on_demand_and_loops_end),
      TEST(many_followed_folders_are_each_entered_once),
      TEST(a_named_file_is_always_taken),
      TEST(times_are_held_at_their_ends),
      TEST(old_files_are_left_out),
      TEST(an_unreadable_folder_is_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
