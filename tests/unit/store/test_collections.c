/* Several models in one store: choosing, counting and dropping collections, and stores made before there were any. */
#include "fake_encoder.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIM 24
#define OTHER_DIM 40

typedef struct fixture {
  char *folder, *photos, *path;
  kin_context *context;
  kin_store *store;
  fake_encoder a, b;
  kin_error err;
} fixture;

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  f->folder = test_temporary_folder();
  f->photos = kin_format("%s/photos", f->folder);
  f->path = kin_format("%s/kindred.db", f->folder);
  assert_int_equal(mkdir(f->photos, 0755), 0);
  test_assert_ok(kin_context_open(&(kin_context_options){.threads = 2}, &f->context, &f->err), &f->err);
  fake_encoder_init(&f->a, "model-a", DIM);
  fake_encoder_init(&f->b, "model-b", OTHER_DIM);
  f->a.encoder.has_text = true;
  f->b.encoder.model_path = "/models/other";
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

static void open_store(fixture *f) {
  test_assert_ok(kin_store_open(f->context, f->path, KIN_STORE_WRITE, &f->store, &f->err), &f->err);
}

static void put(fixture *f, const char *name, const char *content) {
  test_write_file(f->photos, name, content, strlen(content));
}

static void drop(fixture *f, const char *name) {
  char *path = kin_format("%s/%s", f->photos, name);
  assert_int_equal(unlink(path), 0);
  free(path);
}

static uint64_t update(fixture *f, fake_encoder *fake, const char *exclude) {
  const char *paths[] = {f->photos};
  kin_index_progress progress;
  kin_index_options options = {.exclude = &exclude, .n_exclude = exclude ? 1 : 0};
  test_assert_ok(kin_store_update(f->store, &fake->encoder, paths, 1, &options, &progress, &f->err), &f->err);
  return progress.done;
}

static void choose(fixture *f, const fake_encoder *fake) {
  kin_collection_wish wish = {.model_id = fake->encoder.model_id};
  test_assert_ok(kin_store_select(f->store, &wish, &f->err), &f->err);
}

/* The chosen collection, the encoder's, holds exactly these contents, as their own nearest. */
static void assert_holds(fixture *f, const fake_encoder *fake, const char *const *contents, size_t n) {
  size_t dim = fake->encoder.dim;
  choose(f, fake);
  for (size_t i = 0; i < n; i++) {
    float query[OTHER_DIM];
    kin_hits *hits;
    fake_encoder_vector(contents[i], strlen(contents[i]), dim, query);
    test_assert_ok(test_search(f->store, query, dim, 100, &hits, &f->err), &f->err);
    assert_int_equal(kin_hits_count(hits), n);
    assert_true(kin_hits_get(hits, 0)->score > 0.999f);
    kin_hits_close(hits);
  }
}

static void assert_collection(fixture *f, size_t i, int64_t id, const char *model_id, size_t items) {
  kin_collections *all;
  test_assert_ok(kin_store_collections(f->store, &all, &f->err), &f->err);
  const kin_collection_info *c = kin_collections_get(all, i);
  assert_non_null(c);
  assert_int_equal(c->id, id);
  assert_string_equal(c->model_id, model_id);
  assert_int_equal(c->items, items);
  assert_int_equal(c->vectors, items);
  kin_collections_close(all);
}

static void test_each_model_has_its_own(void **state) {
  fixture *f = *state;
  open_store(f);
  put(f, "a.jpg", "1");
  put(f, "b.jpg", "2");
  assert_int_equal(update(f, &f->a, NULL), 2);
  assert_int_equal(update(f, &f->b, NULL), 2);
  assert_int_equal(update(f, &f->a, NULL), 0);
  assert_collection(f, 0, 1, "model-a", 2);
  assert_collection(f, 1, 2, "model-b", 2);
  assert_holds(f, &f->a, (const char *const[]){"1", "2"}, 2);
  assert_holds(f, &f->b, (const char *const[]){"1", "2"}, 2);

  /* A changed file leaves both, and comes back to the one that is indexed; a file that is gone leaves both. */
  put(f, "b.jpg", "two");
  put(f, "c.jpg", "3");
  assert_int_equal(update(f, &f->b, NULL), 2);
  assert_holds(f, &f->a, (const char *const[]){"1"}, 1);
  assert_holds(f, &f->b, (const char *const[]){"1", "two", "3"}, 3);
  assert_int_equal(update(f, &f->a, NULL), 2);
  drop(f, "a.jpg");
  update(f, &f->a, NULL);
  assert_holds(f, &f->a, (const char *const[]){"two", "3"}, 2);
  assert_holds(f, &f->b, (const char *const[]){"two", "3"}, 2);

  /* What a run excludes stays in the other collection. */
  update(f, &f->b, "c.*");
  assert_holds(f, &f->a, (const char *const[]){"two", "3"}, 2);
  assert_holds(f, &f->b, (const char *const[]){"two"}, 1);
  kin_store_close(f->store);
  open_store(f);
  assert_holds(f, &f->a, (const char *const[]){"two", "3"}, 2);
  assert_holds(f, &f->b, (const char *const[]){"two"}, 1);
}

static void test_choosing(void **state) {
  fixture *f = *state;
  kin_hits *hits;
  float query[DIM] = {1};
  open_store(f);
  put(f, "a.jpg", "1");
  update(f, &f->a, NULL);
  update(f, &f->b, NULL);
  kin_store_close(f->store);
  open_store(f);
  kin_store_stats stats;
  test_assert_ok(kin_store_get_stats(f->store, &stats, &f->err), &f->err);
  assert_int_equal(stats.collections, 2);
  assert_int_equal(stats.items, 1);
  assert_int_equal(stats.dim, 0);

  kin_status status = test_search(f->store, query, DIM, 1, &hits, &f->err);
  test_assert_error(status, KIN_ERR_MISMATCH, &f->err, "/models/fake (24 floats, for pictures and texts)");
  assert_non_null(strstr(f->err.message, "/models/other (40 floats, for pictures)"));
  status = kin_store_select(f->store, &(kin_collection_wish){.image = true}, &f->err);
  test_assert_error(status, KIN_ERR_MISMATCH, &f->err, "several collections can answer");
  status = kin_store_select(f->store, &(kin_collection_wish){.model_id = "model-c"}, &f->err);
  test_assert_error(status, KIN_ERR_MISMATCH, &f->err, "/models/other");

  /* Only one of them takes texts. */
  test_assert_ok(kin_store_select(f->store, &(kin_collection_wish){.text = true}, &f->err), &f->err);
  test_assert_ok(test_search(f->store, query, DIM, 1, &hits, &f->err), &f->err);
  kin_hits_close(hits);
  test_assert_ok(kin_store_get_stats(f->store, &stats, &f->err), &f->err);
  assert_string_equal(stats.model_id, "model-a");
  choose(f, &f->b);
  status = test_search(f->store, query, DIM, 1, &hits, &f->err);
  test_assert_error(status, KIN_ERR_MISMATCH, &f->err, "/models/other");
}

static void test_dropping(void **state) {
  fixture *f = *state;
  kin_store *reader;
  open_store(f);
  put(f, "a.jpg", "1");
  update(f, &f->a, NULL);
  put(f, "b.jpg", "2");
  update(f, &f->b, NULL);
  test_assert_ok(kin_store_open(f->context, f->path, KIN_STORE_READ, &reader, &f->err), &f->err);
  test_assert_ok(kin_store_select(reader, &(kin_collection_wish){.model_id = "model-b"}, &f->err), &f->err);
  test_assert_error(kin_store_drop_collection(f->store, 3, &f->err), KIN_ERR_NOT_FOUND, &f->err, "collection 3");
  test_assert_error(kin_store_drop_collection(reader, 2, &f->err), KIN_ERR_ARGUMENT, &f->err, "reading only");
  test_assert_ok(kin_store_drop_collection(f->store, 2, &f->err), &f->err);

  /* Its file and the item that only it had are gone; a reader that had chosen it is told. */
  char *vectors = kin_format("%s.2.vectors", f->path);
  assert_int_not_equal(access(vectors, F_OK), 0);
  kin_store_stats stats;
  test_assert_ok(kin_store_get_stats(f->store, &stats, &f->err), &f->err);
  assert_int_equal(stats.collections, 1);
  assert_int_equal(stats.items, 1);
  assert_string_equal(stats.model_id, "model-a");
  test_assert_error(kin_store_get_stats(reader, &stats, &f->err), KIN_ERR_NOT_FOUND, &f->err, "dropped");
  kin_store_close(reader);

  assert_int_equal(update(f, &f->b, NULL), 2);
  assert_collection(f, 1, 3, "model-b", 2);
  assert_int_not_equal(access(vectors, F_OK), 0);
  assert_holds(f, &f->b, (const char *const[]){"1", "2"}, 2);
  assert_holds(f, &f->a, (const char *const[]){"1"}, 1);
  free(vectors);
}

/* A search on a handle that is open sees what another handle's run took out of a collection that it wasn't about. */
static void test_readers_notice_what_other_collections_runs_drop(void **state) {
  fixture *f = *state;
  kin_store *reader;
  kin_hits *hits;
  float query[DIM] = {1};
  open_store(f);
  put(f, "a.jpg", "1");
  put(f, "b.jpg", "2");
  update(f, &f->a, NULL);
  update(f, &f->b, NULL);
  test_assert_ok(kin_store_open(f->context, f->path, KIN_STORE_READ, &reader, &f->err), &f->err);
  test_assert_ok(kin_store_select(reader, &(kin_collection_wish){.model_id = "model-a"}, &f->err), &f->err);
  test_assert_ok(test_search(reader, query, DIM, 5, &hits, &f->err), &f->err);
  assert_int_equal(kin_hits_count(hits), 2);
  kin_hits_close(hits);
  drop(f, "a.jpg");
  update(f, &f->b, NULL);
  test_assert_ok(test_search(reader, query, DIM, 5, &hits, &f->err), &f->err);
  assert_int_equal(kin_hits_count(hits), 1);
  kin_hits_close(hits);
  kin_store_close(reader);
}

/* ------------------------------------------------------------------- schema 1 */

/* As kindred wrote it when a store had one collection. */
static const char schema_1[] =
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
    "INSERT INTO meta VALUES ('uuid', x'000102030405060708090a0b0c0d0e0f');"
    "CREATE TABLE collections (id INTEGER PRIMARY KEY, model_id TEXT NOT NULL UNIQUE, model_path TEXT NOT NULL,"
    "  text_model_id TEXT, text_model_path TEXT, dim INTEGER NOT NULL CHECK (dim > 0),"
    "  vectors_suffix TEXT NOT NULL UNIQUE, rows INTEGER NOT NULL DEFAULT 0 CHECK (rows >= 0),"
    "  state INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE items (id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL,"
    "  mtime_ns INTEGER NOT NULL, sha256 BLOB NOT NULL CHECK (length(sha256) = 32), width INTEGER NOT NULL,"
    "  height INTEGER NOT NULL);"
    "CREATE INDEX items_by_sha256 ON items (sha256);"
    "CREATE TABLE vectors (collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,"
    "  item INTEGER NOT NULL REFERENCES items ON DELETE CASCADE, row INTEGER NOT NULL CHECK (row >= 0),"
    "  PRIMARY KEY (collection, item)) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX vectors_by_row ON vectors (collection, row);"
    "CREATE INDEX vectors_by_item ON vectors (item);"
    "CREATE TABLE holes (collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE, row INTEGER NOT NULL,"
    "  PRIMARY KEY (collection, row)) WITHOUT ROWID;"
    "CREATE TRIGGER vectors_dropped AFTER DELETE ON vectors BEGIN"
    "  INSERT INTO holes VALUES (old.collection, old.row); END;"
    "INSERT INTO collections VALUES (1, 'model-a', '/models/fake', NULL, NULL, 24, '.vectors', 3, 7);"
    "INSERT INTO items VALUES (4, '/photos/a.jpg', 1, 5, zeroblob(32), 60, 70),"
    "  (6, '/photos/b.jpg', 1, 5, zeroblob(32), 80, 90);"
    "INSERT INTO vectors VALUES (1, 4, 2), (1, 6, 1);"
    "INSERT INTO holes VALUES (1, 0);"
    "PRAGMA application_id = 1263095364; PRAGMA user_version = 1; PRAGMA journal_mode = WAL;";

static void make_schema_1(fixture *f) {
  sqlite3 *db;
  assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, schema_1, NULL, NULL, NULL), SQLITE_OK);
  sqlite3_close(db);
  kin_vectors_key key = {.collection = 1, .dim = DIM};
  for (uint8_t i = 0; i < KIN_UUID_SIZE; i++) key.uuid[i] = i;
  char *path = kin_format("%s.vectors", f->path);
  kin_vectors *file;
  test_assert_ok(kin_vectors_create(path, &key, &f->err), &f->err);
  test_assert_ok(kin_vectors_open(path, true, &key, &file, &f->err), &f->err);
  const int64_t ids[] = {4, 6, 4};
  for (size_t i = 0; i < 3; i++) {
    float v[DIM];
    uint64_t row;
    fake_encoder_vector(&"xyz"[i], 1, DIM, v);
    test_assert_ok(kin_vectors_append(file, ids[i], v, &row, &f->err), &f->err);
  }
  test_assert_ok(kin_vectors_sync(file, &f->err), &f->err);
  kin_vectors_close(file);
  free(path);
}

/* How the chosen collection's model is to be opened. */
static void assert_opening(fixture *f, kin_precision precision, kin_pooling pooling) {
  kin_store_stats stats;
  test_assert_ok(kin_store_get_stats(f->store, &stats, &f->err), &f->err);
  assert_int_equal(stats.precision, precision);
  assert_int_equal(stats.pooling, pooling);
}

/* It doesn't say how its model was opened, and learns it from the next run. */
static void test_stores_of_schema_4_go_on(void **state) {
  fixture *f = *state;
  f->a.encoder.precision = KIN_PRECISION_INT8;
  f->a.encoder.pooling = KIN_POOLING_MEAN;
  open_store(f);
  put(f, "a.jpg", "a");
  update(f, &f->a, NULL);
  assert_opening(f, KIN_PRECISION_INT8, KIN_POOLING_MEAN);
  assert_int_equal(sqlite3_exec(f->store->db,
                                "ALTER TABLE collections DROP COLUMN precision; ALTER TABLE collections DROP COLUMN"
                                " pooling; ALTER TABLE collections DROP COLUMN text_precision; PRAGMA user_version = 4",
                                NULL, NULL, NULL),
                   SQLITE_OK);
  kin_store_close(f->store);
  test_assert_ok(kin_store_open(f->context, f->path, KIN_STORE_READ, &f->store, &f->err), &f->err);
  assert_holds(f, &f->a, (const char *const[]){"a"}, 1);
  assert_opening(f, KIN_PRECISION_FP32, KIN_POOLING_DEFAULT);
  kin_store_close(f->store);
  open_store(f);
  update(f, &f->a, NULL);
  assert_opening(f, KIN_PRECISION_INT8, KIN_POOLING_MEAN);
}

static void test_stores_of_schema_1_go_on(void **state) {
  fixture *f = *state;
  kin_hits *hits;
  float query[DIM];
  make_schema_1(f);
  test_assert_ok(kin_store_open(f->context, f->path, KIN_STORE_READ, &f->store, &f->err), &f->err);
  assert_holds(f, &f->a, (const char *const[]){"y", "z"}, 2);
  fake_encoder_vector("z", 1, DIM, query);
  test_assert_ok(test_search(f->store, query, DIM, 1, &hits, &f->err), &f->err);
  const kin_hit *hit = kin_hits_get(hits, 0);
  assert_int_equal(hit->id, 4);
  assert_string_equal(hit->path, "/photos/a.jpg");
  assert_true(hit->width == 60 && hit->height == 70 && hit->line == 0 && !hit->passage);
  kin_hits_close(hits);
  kin_store_close(f->store);

  open_store(f);
  put(f, "new.jpg", "new");
  update(f, &f->b, NULL);
  assert_collection(f, 0, 1, "model-a", 2);
  assert_collection(f, 1, 2, "model-b", 1);
  update(f, &f->a, NULL);
  assert_collection(f, 0, 1, "model-a", 3);
  assert_opening(f, KIN_PRECISION_FP32, KIN_POOLING_DEFAULT);
  test_assert_ok(kin_store_drop_collection(f->store, 1, &f->err), &f->err);
  assert_holds(f, &f->b, (const char *const[]){"new"}, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_each_model_has_its_own, setup, teardown),
      cmocka_unit_test_setup_teardown(test_choosing, setup, teardown),
      cmocka_unit_test_setup_teardown(test_dropping, setup, teardown),
      cmocka_unit_test_setup_teardown(test_readers_notice_what_other_collections_runs_drop, setup, teardown),
      cmocka_unit_test_setup_teardown(test_stores_of_schema_1_go_on, setup, teardown),
      cmocka_unit_test_setup_teardown(test_stores_of_schema_4_go_on, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
