/* A store on a file system that fills up: a clear error, nothing committed is lost, and the next run goes on. Then
 * the same file system for a user who may only read it, and read-only. */
#include "fake_encoder.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIM 256
#define FILES 600
#define NOBODY 65534

static char *folder, *disk, *photos, *store_path;

static void fill_up(const char *path) {
  static char block[4096];
  int fd = open(path, O_WRONLY | O_CREAT, 0644);
  assert_true(fd >= 0);
  while (write(fd, block, sizeof block) > 0) {
  }
  close(fd);
}

static size_t count(kin_context *context) {
  kin_error err;
  kin_store *store;
  kin_hits *hits;
  float query[DIM] = {1};
  test_assert_ok(kin_store_open(context, store_path, KIN_STORE_READ, &store, &err), &err);
  test_assert_ok(test_search(store, query, DIM, FILES, &hits, &err), &err);
  size_t n = kin_hits_count(hits);
  kin_hits_close(hits);
  kin_store_close(store);
  return n;
}

static kin_status update(kin_context *context, kin_index_progress *progress, kin_error *err) {
  fake_encoder fake;
  kin_store *store;
  fake_encoder_init(&fake, "model", DIM);
  kin_status status = kin_store_open(context, store_path, KIN_STORE_WRITE, &store, err);
  if (status != KIN_OK) return status;
  const char *paths[] = {photos};
  status = kin_store_update(store, &fake.encoder, paths, 1, NULL, progress, err);
  kin_store_close(store);
  return status;
}

static void test_full_disk(void **state) {
  (void)state;
  kin_error err;
  kin_context *context;
  kin_index_progress progress = {0};
  test_assert_ok(kin_context_open(&(kin_context_options){.threads = 2}, &context, &err), &err);
  for (size_t i = 0; i < FILES; i++) {
    char name[32], content[32];
    snprintf(name, sizeof name, "%04zu.jpg", i);
    test_write_file(photos, name, content, (size_t)snprintf(content, sizeof content, "content %zu", i));
  }

  test_assert_error(update(context, &progress, &err), KIN_ERR_IO, &err, "no space left on the device");
  assert_non_null(strstr(err.message, store_path));
  size_t kept = progress.done;
  print_message("%s\n%zu of %d were committed\n", err.message, kept, FILES);
  assert_true(kept > 0 && kept < FILES);
  assert_int_equal(count(context), kept);

  /* Not a byte left: what is there can still be searched, and a run says what is wrong. */
  char *filler = kin_format("%s/filler", disk);
  fill_up(filler);
  assert_int_equal(count(context), kept);
  test_assert_error(update(context, &progress, &err), KIN_ERR_IO, &err, store_path);
  print_message("%s\n", err.message);
  assert_int_equal(count(context), kept + progress.done);

  assert_int_equal(unlink(filler), 0);
  assert_int_equal(mount("none", disk, NULL, MS_REMOUNT, "size=16m"), 0);
  test_assert_ok(update(context, &progress, &err), &err);
  assert_int_equal(count(context), FILES);

  /* In a folder that belongs to others, who let it be read, the store is searched all the same. */
  assert_int_equal(chmod(folder, 0755), 0);
  assert_int_equal(chmod(disk, 0555), 0);
  assert_int_equal(seteuid(NOBODY), 0);
  size_t seen = count(context);
  kin_status status = update(context, &progress, &err);
  assert_int_equal(seteuid(0), 0);
  assert_int_equal(seen, FILES);
  test_assert_error(status, KIN_ERR_IO, &err, "Permission denied");

  /* So it is on a medium that can't be written. */
  assert_int_equal(mount("none", disk, NULL, MS_REMOUNT | MS_RDONLY, "size=16m"), 0);
  assert_int_equal(count(context), FILES);
  test_assert_error(update(context, &progress, &err), KIN_ERR_IO, &err, "Read-only file system");
  kin_context_close(context);
  free(filler);
}

int main(void) {
  folder = test_temporary_folder();
  disk = kin_format("%s/disk", folder);
  photos = kin_format("%s/photos", folder);
  store_path = kin_format("%s/kindred.db", disk);
  int result = 77; /* skipped: only the superuser mounts */
  if (mkdir(disk, 0755) == 0 && mkdir(photos, 0755) == 0 && mount("none", disk, "tmpfs", 0, "size=600k") == 0) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_full_disk)};
    result = cmocka_run_group_tests(tests, NULL, NULL);
    umount2(disk, MNT_DETACH);
  } else {
    printf("skipped: can't mount a small tmpfs: %s\n", strerror(errno));
  }
  test_remove_tree(folder);
  free(folder);
  free(disk);
  free(photos);
  free(store_path);
  return result;
}
