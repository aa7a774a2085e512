/* Vectors out of a store and into one: the same bits and words come back, and a file with a mistake changes nothing. */
#include "store_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIM 24
#define PICTURES 40
#define MODEL "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define TEXT_MODEL "tttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt"

typedef struct fixture {
  store_fixture base;
  fake_encoder pictures, texts;
  char *other; /* path of a second store */
  kin_store *target;
} fixture;

static char *path_of(fixture *f, const char *name) {
  return kin_format("%s/%s", f->base.folder, name);
}

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  store_fixture *b = &f->base;
  store_fixture_init(b);
  fake_encoder_init(&f->pictures, MODEL, DIM);
  fake_encoder_init(&f->texts, TEXT_MODEL, DIM);
  fake_encoder_take_texts(&f->texts, 8);
  f->other = path_of(f, "other.db");
  for (int i = 0; i < PICTURES; i++) {
    char name[32];
    snprintf(name, sizeof name, "%03d.jpg", i);
    store_fixture_put(b, name, name);
  }
  store_fixture_put(b, "007.jpg.txt", "사람이 없는 도로");
  store_fixture_put(b, "\xff odd \"name\".jpg", "odd");
  store_fixture_put(b, "notes.md", "One two three four five. Six seven eight nine ten. Eleven twelve.\n");
  store_fixture_put(b, "more.md", "Thirteen.\n");
  store_fixture_open(b, KIN_STORE_WRITE);
  store_fixture_index(b, &f->pictures, NULL);
  store_fixture_index(b, &f->texts, NULL);
  const char metadata[] =
      "{\"path\": \"files/003.jpg\", \"rating\": 5, \"place\": [\"서울\", \"B \\\"x\\\"\"], \"f\": 0.25}\n";
  test_write_file(b->folder, "metadata.jsonl", metadata, strlen(metadata));
  char *file = path_of(f, "metadata.jsonl"), *named = path_of(f, "files/005.jpg");
  test_assert_ok(kin_store_read_metadata(b->store, file, NULL, &b->err), &b->err);
  const char *captions[] = {"given by hand"};
  const kin_captioned given = {named, captions};
  test_assert_ok(kin_store_set_captions(b->store, &given, 1, 1, NULL, &b->err), &b->err);
  test_assert_ok(kin_store_open(b->context, f->other, KIN_STORE_WRITE, &f->target, &b->err), &b->err);
  free(file), free(named);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  kin_store_close(f->target);
  store_fixture_free(&f->base);
  free(f->other);
  free(f);
  return 0;
}

static void select_model(fixture *f, kin_store *store, const char *model) {
  test_assert_ok(kin_store_select(store, &(kin_collection_wish){.model_id = model}, &f->base.err), &f->base.err);
}

static uint64_t export_to(fixture *f, kin_store *store, const char *model, const char *name) {
  uint64_t n;
  char *path = path_of(f, name);
  select_model(f, store, model);
  test_assert_ok(kin_store_export(store, &(kin_export_options){.path = path}, &n, &f->base.err), &f->base.err);
  free(path);
  return n;
}

static kin_status import_from(fixture *f, const char *name, const char *paths, kin_import_report *out) {
  char *path = path_of(f, name), *names = paths ? path_of(f, paths) : NULL;
  kin_import_options options = {.path = path, .paths = names};
  kin_status status = kin_store_import(f->target, &options, out, &f->base.err);
  free(path), free(names);
  return status;
}

static void assert_same_file(fixture *f, const char *a, const char *b) {
  char *paths[] = {path_of(f, a), path_of(f, b)}, *data[2];
  size_t sizes[2];
  for (int i = 0; i < 2; i++)
    test_assert_ok(kin_read_file(paths[i], 1 << 24, &data[i], &sizes[i], &f->base.err), &f->base.err);
  assert_int_equal(sizes[0], sizes[1]);
  assert_memory_equal(data[0], data[1], sizes[0]);
  for (int i = 0; i < 2; i++) free(paths[i]), free(data[i]);
}

/* ------------------------------------------------------------------- round trips */

static void test_all_comes_back(void **state) {
  fixture *f = *state;
  kin_import_report r;
  assert_int_equal(export_to(f, f->base.store, MODEL, "a.jsonl"), PICTURES + 1);
  size_t passages = export_to(f, f->base.store, TEXT_MODEL, "t.jsonl");
  assert_true(passages > 2);
  test_assert_ok(import_from(f, "a.jsonl", NULL, &r), &f->base.err);
  assert_int_equal(r.vectors, PICTURES + 1);
  assert_int_equal(r.items, PICTURES + 1);
  assert_int_equal(r.replaced + r.normalised, 0);
  test_assert_ok(import_from(f, "t.jsonl", NULL, &r), &f->base.err);
  assert_int_equal(r.vectors, passages);
  assert_int_equal(r.items, 3); /* the sidecar's text is a document too */
  export_to(f, f->target, MODEL, "a2.jsonl");
  export_to(f, f->target, TEXT_MODEL, "t2.jsonl");
  assert_same_file(f, "a.jsonl", "a2.jsonl");
  assert_same_file(f, "t.jsonl", "t2.jsonl");

  /* Words and metadata are found there, and indexing finds nothing to do. */
  kin_hits *hits;
  const kin_query words = {.words = "\"by hand\"", .k = 9},
                  rated = {.words = "003", .k = 9, .where = "meta.rating > 4"};
  select_model(f, f->target, MODEL);
  test_assert_ok(kin_store_find(f->target, &words, &hits, &f->base.err), &f->base.err);
  assert_int_equal(kin_hits_count(hits), 1);
  kin_hits_close(hits);
  test_assert_ok(kin_store_find(f->target, &rated, &hits, &f->base.err), &f->base.err);
  assert_int_equal(kin_hits_count(hits), 1);
  kin_hits_close(hits);
  kin_index_progress progress;
  const char *files[] = {f->base.files};
  test_assert_ok(kin_store_update(f->target, &f->pictures.encoder, files, 1, NULL, &progress, &f->base.err),
                 &f->base.err);
  assert_int_equal(progress.unchanged, PICTURES + 1);
  assert_int_equal(progress.done, 0);

  /* Once more: everything is replaced by itself. */
  test_assert_ok(import_from(f, "t.jsonl", NULL, &r), &f->base.err);
  assert_int_equal(r.replaced, r.items);
  export_to(f, f->target, TEXT_MODEL, "t3.jsonl");
  assert_same_file(f, "t.jsonl", "t3.jsonl");
  kin_store_close(f->target);
  kin_check_report report;
  test_assert_ok(kin_store_check(f->base.context, f->other, NULL, &report, &f->base.err), &f->base.err);
  assert_int_equal(report.problems, 0);
  test_assert_ok(kin_store_open(f->base.context, f->other, KIN_STORE_WRITE, &f->target, &f->base.err), &f->base.err);
}

static bool list_path(void *user, const char *path, uint64_t done, uint64_t total) {
  assert_true(done <= total);
  fprintf(user, "%s\n", path);
  return true;
}

static void test_numbers_come_back(void **state) {
  fixture *f = *state;
  char *names = path_of(f, "names.txt");
  export_to(f, f->base.store, MODEL, "a.jsonl");
  test_assert_ok(import_from(f, "a.jsonl", NULL, NULL), &f->base.err);
  for (int i = 0; i < 2; i++) {
    const char *file = i ? "a.fvecs" : "a.npy";
    kin_import_report r;
    char *path = path_of(f, file);
    FILE *list = fopen(names, "w");
    kin_export_options options = {.path = path, .on_vector = list_path, .user = list};
    select_model(f, f->base.store, MODEL);
    test_assert_ok(kin_store_export(f->base.store, &options, NULL, &f->base.err), &f->base.err);
    assert_int_equal(fclose(list), 0);
    test_assert_ok(import_from(f, file, "names.txt", &r), &f->base.err);
    assert_int_equal(r.vectors, PICTURES + 1);
    assert_int_equal(r.replaced, PICTURES + 1);
    export_to(f, f->target, MODEL, i ? "b.fvecs" : "b.npy");
    assert_same_file(f, file, i ? "b.fvecs" : "b.npy");
    free(path);
  }
  free(names);
}

/* ------------------------------------------------------------------------ mistakes */

/* A line of JSON about `path` with a vector of `n` floats, the first of which is `first`. */
static void put_line(FILE *file, const char *path, size_t n, const char *first, const char *more) {
  fprintf(file, "{\"path\": \"%s\", %s\"vector\": [%s", path, more, first);
  for (size_t i = 1; i < n; i++) fprintf(file, ", %d", (int)(i % 3) - 1);
  fprintf(file, "]}\n");
}

static void assert_refused(fixture *f, const char *name, const char *paths, kin_status expected, const char *part) {
  kin_store_stats before, after;
  test_assert_ok(kin_store_get_stats(f->target, &before, &f->base.err), &f->base.err);
  test_assert_error(import_from(f, name, paths, NULL), expected, &f->base.err, part);
  test_assert_ok(kin_store_get_stats(f->target, &after, &f->base.err), &f->base.err);
  assert_int_equal(after.items, before.items);
  assert_int_equal(after.collections, before.collections);
}

static FILE *create(fixture *f, const char *name) {
  char *path = path_of(f, name);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  free(path);
  return file;
}

static void test_mistakes_in_lines(void **state) {
  fixture *f = *state;
  static const struct {
    const char *path, *first, *more, *part;
    size_t n;
  } bad[] = {
      {"/x/b.jpg", "1", "", "line 3: a vector of 23 floats among vectors of 24", DIM - 1},
      {"/x/b.jpg", "1e999", "", "line 3", DIM},
      {"/x/b.jpg", "1e99", "", "line 3: value 1 of the vector isn't finite", DIM},
      {"/x/b.jpg", "\"one\"", "", "line 3: value 1 of the vector is no number", DIM},
      {"/x/a.jpg", "1", "", "line 3: /x/a.jpg is there twice", DIM},
      {"/x/b.jpg", "1", "\"id\": 7, ", "line 3: item 7 is /x/a.jpg already", DIM},
      {"/x/b.jpg", "1", "\"sha256\": \"12\", ", "line 3: \"sha256\" isn't 64 hex digits", DIM},
      {"/x/b.jpg", "1", "\"metadata\": {\"k\": {}}, ", "a value must be", DIM},
      {"", "1", "", "line 3: an empty path", DIM},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    FILE *file = create(f, "bad.jsonl");
    fprintf(file, "{\"model\": \"/m\", \"model_id\": \"" MODEL "\", \"dim\": 24, \"image\": true, \"text\": false}\n");
    put_line(file, "/x/a.jpg", DIM, "1", "\"id\": 7, ");
    put_line(file, bad[i].path, bad[i].n, bad[i].first, bad[i].more);
    assert_int_equal(fclose(file), 0);
    assert_refused(f, "bad.jsonl", NULL, KIN_ERR_FORMAT, bad[i].part);
  }
  FILE *file = create(f, "bad.jsonl");
  put_line(file, "/x/a.jpg", DIM, "1", "");
  assert_int_equal(fclose(file), 0);
  assert_refused(f, "bad.jsonl", NULL, KIN_ERR_MISMATCH, "doesn't say which model");
  fclose(create(f, "empty.jsonl"));
  assert_refused(f, "empty.jsonl", NULL, KIN_ERR_FORMAT, "holds no vectors");
  assert_refused(f, "none.jsonl", NULL, KIN_ERR_IO, "can't open");
  assert_refused(f, "bad.csv", NULL, KIN_ERR_ARGUMENT, "the ending must be");
  assert_refused(f, "bad.jsonl", "empty.jsonl", KIN_ERR_ARGUMENT, "name their paths themselves");
  assert_refused(f, "bad.npy", NULL, KIN_ERR_ARGUMENT, "needs a file with the path");
}

static void put_fvecs(FILE *file, int32_t dim, float first) {
  float rest[DIM] = {first, 2, 3};
  assert_int_equal(fwrite(&dim, sizeof dim, 1, file), 1);
  assert_int_equal(fwrite(rest, sizeof *rest, (size_t)dim, file), dim);
}

static void test_mistakes_in_numbers(void **state) {
  fixture *f = *state;
  export_to(f, f->base.store, MODEL, "a.jsonl");
  test_assert_ok(import_from(f, "a.jsonl", NULL, NULL), &f->base.err);
  const char paths[] = "/x/a.jpg\n/x/b.jpg";
  test_write_file(f->base.folder, "two.txt", paths, strlen(paths));
  test_write_file(f->base.folder, "same.txt", "/x/a.jpg\n/x/a.jpg\n", 18);
  FILE *file = create(f, "v.fvecs");
  put_fvecs(file, DIM, 1);
  put_fvecs(file, DIM, 5);
  fclose(file);
  assert_refused(f, "v.fvecs", "same.txt", KIN_ERR_FORMAT, "row 2: /x/a.jpg is there twice");
  file = create(f, "v.fvecs");
  put_fvecs(file, DIM, 1);
  fclose(file);
  assert_refused(f, "v.fvecs", "two.txt", KIN_ERR_FORMAT, "more lines than");
  file = create(f, "v.fvecs");
  for (int i = 0; i < 3; i++) put_fvecs(file, DIM, 1);
  fclose(file);
  assert_refused(f, "v.fvecs", "two.txt", KIN_ERR_FORMAT, "row 3: ");
  file = create(f, "v.fvecs");
  put_fvecs(file, DIM, 1);
  put_fvecs(file, DIM, NAN);
  fclose(file);
  assert_refused(f, "v.fvecs", "two.txt", KIN_ERR_FORMAT, "row 2: value 1 of the vector isn't finite");
  file = create(f, "v.fvecs");
  put_fvecs(file, DIM, 1);
  put_fvecs(file, DIM - 1, 1);
  fclose(file);
  assert_refused(f, "v.fvecs", "two.txt", KIN_ERR_FORMAT, "row 2: a vector of 23 floats among vectors of 24");
  file = create(f, "v.fvecs");
  put_fvecs(file, DIM, 1);
  fwrite("\x18\0\0\0\0\0", 6, 1, file);
  fclose(file);
  assert_refused(f, "v.fvecs", "two.txt", KIN_ERR_FORMAT, "row 2: the file is cut off");
  file = create(f, "v.fvecs");
  put_fvecs(file, 5, 1);
  fclose(file);
  assert_refused(f, "v.fvecs", "two.txt", KIN_ERR_MISMATCH, "has vectors of 5 floats, but /models/fake makes 24");
}

/* Ids of a store that has other items: refused, or new ones. */
static void test_ids(void **state) {
  fixture *f = *state;
  export_to(f, f->base.store, MODEL, "a.jsonl");
  FILE *file = create(f, "first.jsonl");
  fprintf(file, "{\"model\": \"/m\", \"model_id\": \"" MODEL "\", \"dim\": 24, \"image\": true, \"text\": false}\n");
  put_line(file, "/x/a.jpg", DIM, "3", "\"id\": 2, ");
  fclose(file);
  kin_import_report r;
  test_assert_ok(import_from(f, "first.jsonl", NULL, &r), &f->base.err);
  assert_int_equal(r.normalised, 1);
  int64_t id;
  test_assert_ok(kin_store_find_item(f->target, "/x/a.jpg", &id, &f->base.err), &f->base.err);
  assert_int_equal(id, 2);
  assert_refused(f, "a.jsonl", NULL, KIN_ERR_FORMAT, "item 2 is /x/a.jpg already");
  char *path = path_of(f, "a.jsonl");
  kin_import_options options = {.path = path, .new_ids = true};
  test_assert_ok(kin_store_import(f->target, &options, &r, &f->base.err), &f->base.err);
  assert_int_equal(r.items, PICTURES + 1);
  free(path);
}

static bool stop(void *user, const char *path, uint64_t done, uint64_t total) {
  (void)user, (void)path, (void)total;
  return done < 3;
}

static void test_stopping_leaves_no_file(void **state) {
  fixture *f = *state;
  char *path = path_of(f, "a.npy");
  kin_export_options options = {.path = path, .on_vector = stop};
  test_assert_error(kin_store_export(f->base.store, &options, NULL, &f->base.err), KIN_ERR_CANCELLED, &f->base.err,
                    "stopped");
  assert_false(kin_file_exists(path));
  test_assert_error(kin_store_export(f->target, &options, NULL, &f->base.err), KIN_ERR_MISMATCH, &f->base.err,
                    "is empty");
  free(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_all_comes_back, setup, teardown),
      cmocka_unit_test_setup_teardown(test_numbers_come_back, setup, teardown),
      cmocka_unit_test_setup_teardown(test_mistakes_in_lines, setup, teardown),
      cmocka_unit_test_setup_teardown(test_mistakes_in_numbers, setup, teardown),
      cmocka_unit_test_setup_teardown(test_ids, setup, teardown),
      cmocka_unit_test_setup_teardown(test_stopping_leaves_no_file, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
