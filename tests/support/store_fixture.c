/* See store_fixture.h. */
#include "store_fixture.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void store_fixture_init(store_fixture *f) {
  *f = (store_fixture){0};
  f->folder = test_temporary_folder();
  f->files = kin_format("%s/files", f->folder);
  f->path = kin_format("%s/kindred.db", f->folder);
  assert_int_equal(mkdir(f->files, 0755), 0);
  test_assert_ok(kin_context_open(&(kin_context_options){.threads = 2}, &f->context, &f->err), &f->err);
}

void store_fixture_free(store_fixture *f) {
  store_fixture_close(f);
  kin_context_close(f->context);
  test_remove_tree(f->folder);
  free(f->folder);
  free(f->files);
  free(f->path);
}

void store_fixture_close(store_fixture *f) {
  kin_store_close(f->store);
  f->store = NULL;
}

void store_fixture_open(store_fixture *f, kin_store_mode mode) {
  store_fixture_close(f);
  test_assert_ok(kin_store_open(f->context, f->path, mode, &f->store, &f->err), &f->err);
}

void store_fixture_put(store_fixture *f, const char *name, const char *content) {
  test_write_file(f->files, name, content, strlen(content));
}

void store_fixture_drop(store_fixture *f, const char *name) {
  char *path = kin_format("%s/%s", f->files, name);
  assert_int_equal(unlink(path), 0);
  free(path);
}

kin_index_progress store_fixture_index(store_fixture *f, fake_encoder *fake, const kin_index_options *options) {
  const char *paths[] = {f->files};
  kin_index_progress progress;
  test_assert_ok(kin_store_update(f->store, &fake->encoder, paths, 1, options, &progress, &f->err), &f->err);
  return progress;
}
