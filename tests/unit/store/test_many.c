/* Fifty thousand files: memory stays where it was at ten thousand, and a second run embeds nothing. */
#include "fake_encoder.h"
#include "support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIM 8
#define FILES (TEST_SANITIZED ? 20000 : 50000) /* a sanitizer keeps memory of its own: only the rest is tested */
#define IN_ONE_FOLDER (FILES / 10 * 6)         /* the rest lies in folders of a hundred */
#define EARLY 10000                            /* files after which memory may not grow */
#define GROWTH_LIMIT ((long)7 << 18)           /* less than 46 bytes a file, not even its name */

static void make_files(const char *photos) {
  for (int i = 0; i < FILES; i++) {
    char path[4096], content[16];
    int folder = i < IN_ONE_FOLDER ? 0 : 1 + i / 100;
    if (i == 0 || (folder && i % 100 == 0)) {
      snprintf(path, sizeof path, "%s/%05d", photos, folder);
      assert_int_equal(mkdir(path, 0755), 0);
    }
    snprintf(path, sizeof path, "%s/%05d/a photo of the year %06d.jpg", photos, folder, i * 7919 % FILES);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644), n = snprintf(content, sizeof content, "%d", i);
    assert_true(fd >= 0 && write(fd, content, (size_t)n) == n);
    close(fd);
  }
}

typedef struct watch {
  long early, most;
} watch;

static bool on_progress(void *user, const kin_index_progress *progress) {
  watch *w = user;
  long now = test_resident_bytes();
  if (progress->found < EARLY)
    w->early = now > w->early ? now : w->early;
  else
    w->most = now > w->most ? now : w->most;
  return true;
}

static void run(kin_store *store, fake_encoder *fake, const char *photos, const char *name,
                kin_index_progress *progress) {
  kin_error err;
  watch w = {0};
  kin_index_options options = {.batch = 4096, .on_progress = on_progress, .user = &w};
  test_assert_ok(kin_store_update(store, &fake->encoder, &photos, 1, &options, progress, &err), &err);
  print_message("%s: %ld KiB early, at most %ld KiB after\n", name, w.early / 1024, w.most / 1024);
  if (!TEST_SANITIZED) assert_true(w.most - w.early < GROWTH_LIMIT);
  assert_int_equal(progress->found, FILES);
  assert_int_equal(progress->failed, 0);
}

static void test_many_files(void **state) {
  (void)state;
  kin_error err;
  kin_context *context;
  kin_store *store;
  kin_index_progress progress;
  fake_encoder fake;
  char *folder = test_temporary_folder(), *photos = kin_format("%s/photos", folder);
  char *path = kin_format("%s/kindred.db", folder);
  assert_int_equal(mkdir(photos, 0755), 0);
  make_files(photos);
  test_assert_ok(kin_context_open(&(kin_context_options){.threads = 2}, &context, &err), &err);
  test_assert_ok(kin_store_open(context, path, KIN_STORE_WRITE, &store, &err), &err);
  fake_encoder_init(&fake, "model", DIM);

  run(store, &fake, photos, "first run", &progress);
  assert_int_equal(progress.done, FILES);
  run(store, &fake, photos, "second run", &progress);
  assert_int_equal(progress.unchanged, FILES);
  assert_int_equal(fake.embedded, FILES);

  /* The folder goes: everything below it drops out. */
  char *moved = kin_format("%s/elsewhere", folder);
  assert_int_equal(rename(photos, moved), 0);
  assert_int_equal(mkdir(photos, 0755), 0);
  const char *paths[] = {photos};
  test_assert_ok(kin_store_update(store, &fake.encoder, paths, 1, NULL, &progress, &err), &err);
  assert_int_equal(progress.removed, FILES);
  kin_store_stats stats;
  test_assert_ok(kin_store_get_stats(store, &stats, &err), &err);
  assert_int_equal(stats.items, 0);

  kin_store_close(store);
  kin_context_close(context);
  test_remove_tree(folder);
  free(folder);
  free(photos);
  free(path);
  free(moved);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_many_files)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
