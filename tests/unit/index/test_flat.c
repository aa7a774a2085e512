/* The vector file and the exact scan: checksums against published values, results against brute force in double. */
#include "index/checksum.h"
#include "index/index.h"
#include "support.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t random_state = 1;

static float random_float(void) {
  return test_random(&random_state);
}

static void random_unit(float *v, size_t dim) {
  double sum = 0;
  for (size_t i = 0; i < dim; i++) {
    v[i] = random_float();
    sum += (double)v[i] * (double)v[i];
  }
  for (size_t i = 0; i < dim; i++) v[i] = (float)((double)v[i] / sqrt(sum));
}

static kin_context *open_context(unsigned threads) {
  kin_error err;
  kin_context *context;
  test_assert_ok(kin_context_open(&(kin_context_options){.threads = threads}, &context, &err), &err);
  return context;
}

/* From xxHash's own test vectors and the specification. */
static void test_checksum(void **state) {
  (void)state;
  assert_true(kin_checksum("", 0, 0) == 0xEF46DB3751D8E999u);
  assert_true(kin_checksum("a", 1, 0) == 0xD24EC4F1A98C6E5Bu);
  assert_true(kin_checksum("abc", 3, 0) == 0x44BC2CF5AD770999u);
  const char *pangram = "Nobody inspects the spammish repetition"; /* 39 bytes: all paths */
  assert_true(kin_checksum(pangram, strlen(pangram), 0) == 0xFBCEA83C8A378BF1u);
}

typedef struct fixture {
  char *folder, *path;
  kin_context *context;
  kin_vectors_key key;
  kin_index *index;
} fixture;

static void open_index(fixture *f, uint64_t rows) {
  kin_error err;
  kin_index_state state = {.rows = rows};
  test_assert_ok(kin_index_open_flat(f->context, f->path, true, &f->key, &state, &f->index, &err), &err);
}

static fixture make(size_t dim, unsigned threads) {
  kin_error err;
  fixture f = {.folder = test_temporary_folder(), .context = open_context(threads)};
  f.path = kin_format("%s/v", f.folder);
  f.key = (kin_vectors_key){.uuid = "fifteen bytes..", .collection = 1, .dim = dim};
  test_assert_ok(kin_vectors_create(f.path, &f.key, &err), &err);
  open_index(&f, 0);
  return f;
}

static void end(fixture *f) {
  kin_index_close(f->index);
  kin_context_close(f->context);
  test_remove_tree(f->folder);
  free(f->folder);
  free(f->path);
}

/* Item ids are 1000 - row, so that ties show that the order is by id and not by row. */
static void fill(fixture *f, float *vectors, size_t n) {
  kin_error err;
  for (size_t i = 0; i < n; i++) {
    uint64_t row;
    random_unit(vectors + i * f->key.dim, f->key.dim);
    if (i % 10 == 9) memcpy(vectors + i * f->key.dim, vectors + (i - 1) * f->key.dim, f->key.dim * sizeof *vectors);
    test_assert_ok(kin_index_add(f->index, 1000 - (int64_t)i, vectors + i * f->key.dim, &row, &err), &err);
    assert_int_equal(row, i);
  }
  test_assert_ok(kin_index_save(f->index, &err), &err);
}

static double exact(const float *a, const float *b, size_t dim) {
  double sum = 0;
  for (size_t i = 0; i < dim; i++) sum += (double)a[i] * (double)b[i];
  return sum;
}

static void search_equals_brute_force(size_t dim, size_t n, size_t k, unsigned threads) {
  kin_error err;
  fixture f = make(dim, threads);
  float *vectors = kin_array(n * dim, sizeof *vectors), *query = kin_alloc_aligned(dim * sizeof *query);
  kin_match *out = kin_array(k, sizeof *out);
  fill(&f, vectors, n);
  for (size_t i = 3; i < n; i += 7) test_assert_ok(kin_index_remove(f.index, 1000 - (int64_t)i, i, &err), &err);
  random_unit(query, dim);
  size_t found, alive = n - (n > 3 ? (n - 4) / 7 + 1 : 0);
  test_assert_ok(kin_index_search(f.index, &(kin_index_query){query, 1, k, NULL, NULL}, out, &found, &err), &err);
  assert_int_equal(found, k < alive ? k : alive);
  for (size_t i = 0; i < found; i++) {
    size_t row = (size_t)(1000 - out[i].id);
    assert_true(row < n && row % 7 != 3);
    assert_true(fabs(exact(query, vectors + row * dim, dim) - (double)out[i].score) < 1e-6);
    if (i)
      assert_true(out[i - 1].score > out[i].score || (out[i - 1].score == out[i].score && out[i - 1].id < out[i].id));
  }
  /* Nothing left out is better than the worst that was found. */
  for (size_t row = 0; row < n && found == k; row++) {
    if (row % 7 == 3) continue;
    bool listed = false;
    for (size_t i = 0; i < found; i++) listed |= out[i].id == 1000 - (int64_t)row;
    if (!listed) assert_true(exact(query, vectors + row * dim, dim) <= (double)out[found - 1].score + 1e-6);
  }
  free(vectors);
  kin_free_aligned(query);
  free(out);
  end(&f);
}

static void test_search(void **state) {
  (void)state;
  search_equals_brute_force(1, 1, 1, 1);
  search_equals_brute_force(512, 3000, 10, 1);
  search_equals_brute_force(512, 3000, 10, 4);
  search_equals_brute_force(384, 700, 700, 3);
  search_equals_brute_force(17, 5000, 100, 4);
}

/* Several queries at once give what each gives alone, of the allowed rows. */
static void test_many_queries_and_filter(void **state) {
  (void)state;
  enum { DIM = 48, N = 900, K = 12, QUERIES = 7 };
  static float vectors[N * DIM], queries[QUERIES * DIM];
  static kin_match many[QUERIES * K], one[K];
  uint64_t words[(N + 63) / 64] = {0};
  const kin_row_filter filter = {words, 800};
  for (size_t row = 0; row < N; row += 3) words[row / 64] |= (uint64_t)1 << (row % 64);
  fixture f = make(DIM, 3);
  fill(&f, vectors, N);
  for (size_t i = 0; i < QUERIES; i++) random_unit(queries + i * DIM, DIM);
  for (int filtered = 0; filtered < 2; filtered++) {
    kin_error err;
    size_t found[QUERIES], found_one;
    kin_index_query query = {queries, QUERIES, K, filtered ? &filter : NULL, NULL};
    test_assert_ok(kin_index_search(f.index, &query, many, found, &err), &err);
    for (size_t i = 0; i < QUERIES; i++) {
      kin_index_query alone = {queries + i * DIM, 1, K, query.filter, NULL};
      test_assert_ok(kin_index_search(f.index, &alone, one, &found_one, &err), &err);
      assert_int_equal(found[i], K);
      assert_int_equal(found_one, K);
      for (size_t j = 0; j < K; j++) {
        const kin_match *m = &many[i * K + j];
        assert_true(m->id == one[j].id && m->row == one[j].row && m->score == one[j].score);
        if (filtered) assert_true(m->row % 3 == 0 && m->row < 800);
      }
      double worst = (double)one[K - 1].score;
      size_t better = 0;
      for (size_t row = 0; row < N; row++)
        if (!filtered || (row % 3 == 0 && row < 800))
          better += exact(alone.vectors, vectors + row * DIM, DIM) > worst + 1e-6;
      assert_true(better < K);
    }
  }
  end(&f);
}

/* The same matches, bit for bit, whatever the number of threads. */
static void test_threads_agree(void **state) {
  (void)state;
  enum { DIM = 96, N = 4000, K = 50 };
  static float vectors[N * DIM], query[DIM];
  static kin_match first[K], other[K];
  for (unsigned threads = 1; threads <= 5; threads += 2) {
    kin_error err;
    size_t found;
    random_state = 7;
    fixture f = make(DIM, threads);
    fill(&f, vectors, N);
    random_unit(query, DIM);
    test_assert_ok(kin_index_search(f.index, &(kin_index_query){query, 1, K, NULL, NULL}, threads == 1 ? first : other,
                                    &found, &err),
                   &err);
    assert_int_equal(found, K);
    for (size_t i = 0; threads > 1 && i < K; i++) {
      assert_true(first[i].id == other[i].id);
      assert_memory_equal(&first[i].score, &other[i].score, sizeof(float));
    }
    end(&f);
  }
}

static void test_refresh_forgets(void **state) {
  (void)state;
  enum { DIM = 8, N = 40 };
  kin_error err;
  float vectors[N * DIM], read[DIM];
  fixture f = make(DIM, 2);
  fill(&f, vectors, N);
  uint64_t holes[] = {0, 5};
  kin_index_state committed = {.rows = 30, .holes = holes, .n_holes = 2};
  test_assert_ok(kin_index_refresh(f.index, &committed, &err), &err);
  kin_index_stats stats;
  kin_index_statistics(f.index, &stats);
  assert_int_equal(stats.items, 28);
  assert_int_equal(stats.holes, 2);
  assert_string_equal(stats.kind, "flat");
  assert_int_equal(stats.bytes, 4096 + 30 * 128);

  kin_match out[N];
  size_t found;
  test_assert_ok(kin_index_search(f.index, &(kin_index_query){vectors, 1, N, NULL, NULL}, out, &found, &err), &err);
  assert_int_equal(found, 28);
  for (size_t i = 0; i < found; i++) assert_true(out[i].id > 970 && out[i].id != 1000 && out[i].id != 995);
  test_assert_ok(kin_index_get(f.index, 990, 10, read, &err), &err);
  assert_memory_equal(read, vectors + 10 * DIM, sizeof read);
  test_assert_error(kin_index_get(f.index, 970, 30, read, &err), KIN_ERR_FORMAT, &err, "row 30");
  test_assert_error(kin_index_remove(f.index, 995, 5, &err), KIN_ERR_NOT_FOUND, &err, "row 5");

  /* A state that needs more rows than there are: the file was cut. */
  kin_index_state more = {.rows = 31};
  test_assert_error(kin_index_refresh(f.index, &more, &err), KIN_ERR_FORMAT, &err, "the store needs 31");
  end(&f);
}

static void test_bad_vectors(void **state) {
  (void)state;
  kin_error err;
  fixture f = make(4, 1);
  float v[4] = {1, 0, NAN, 0};
  uint64_t row;
  kin_match out;
  size_t found;
  test_assert_error(kin_index_add(f.index, 3, v, &row, &err), KIN_ERR_ARGUMENT, &err, "item 3");
  test_assert_error(kin_index_search(f.index, &(kin_index_query){v, 1, 1, NULL, NULL}, &out, &found, &err),
                    KIN_ERR_ARGUMENT, &err, "finite");
  v[2] = 0;
  test_assert_ok(kin_index_search(f.index, &(kin_index_query){v, 1, 1, NULL, NULL}, &out, &found, &err), &err);
  assert_int_equal(found, 0);
  end(&f);
}

static void flip_byte(const char *path, off_t at) {
  int fd = open(path, O_RDWR);
  uint8_t byte;
  assert_true(fd >= 0 && pread(fd, &byte, 1, at) == 1);
  byte ^= 0x10;
  assert_true(pwrite(fd, &byte, 1, at) == 1);
  close(fd);
}

/* Any flipped bit of a record is found on the first search, whichever item was asked for. */
static void test_corrupted_record(void **state) {
  (void)state;
  enum { DIM = 20, N = 600 };
  static float vectors[N * DIM];
  const size_t record = 64 + 128;
  for (size_t at = 0; at < record; at += 13) {
    kin_error err;
    fixture f = make(DIM, 2);
    fill(&f, vectors, N);
    kin_match out;
    size_t found;
    kin_index_close(f.index);
    flip_byte(f.path, (off_t)(4096 + 321 * record + at));
    open_index(&f, N);
    kin_status status = kin_index_search(f.index, &(kin_index_query){vectors, 1, 1, NULL, NULL}, &out, &found, &err);
    test_assert_error(status, KIN_ERR_FORMAT, &err, "row 321 is damaged");
    assert_non_null(strstr(err.message, f.path));
    float read[DIM];
    test_assert_error(kin_index_get(f.index, 1000 - 321, 321, read, &err), KIN_ERR_FORMAT, &err, "row 321");
    end(&f);
  }
}

static void test_bad_header(void **state) {
  (void)state;
  kin_error err;
  fixture f = make(4, 1);
  kin_index_close(f.index);
  f.index = NULL;
  kin_vectors *file;
  kin_vectors_key key = f.key;
  key.uuid[3] ^= 1;
  test_assert_error(kin_vectors_open(f.path, false, &key, &file, &err), KIN_ERR_MISMATCH, &err, "another store");
  key = f.key;
  key.dim = 5;
  test_assert_error(kin_vectors_open(f.path, false, &key, &file, &err), KIN_ERR_MISMATCH, &err, "4 floats");
  flip_byte(f.path, 30);
  test_assert_error(kin_vectors_open(f.path, false, &f.key, &file, &err), KIN_ERR_FORMAT, &err, "header is damaged");
  flip_byte(f.path, 0);
  test_assert_error(kin_vectors_open(f.path, false, &f.key, &file, &err), KIN_ERR_FORMAT, &err, "not a vector file");
  assert_int_equal(truncate(f.path, 10), 0);
  test_assert_error(kin_vectors_open(f.path, false, &f.key, &file, &err), KIN_ERR_FORMAT, &err, "cut short");
  unlink(f.path);
  test_assert_error(kin_vectors_open(f.path, false, &f.key, &file, &err), KIN_ERR_IO, &err, f.path);
  end(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_checksum),      cmocka_unit_test(test_search),
      cmocka_unit_test(test_threads_agree), cmocka_unit_test(test_refresh_forgets),
      cmocka_unit_test(test_bad_vectors),   cmocka_unit_test(test_corrupted_record),
      cmocka_unit_test(test_bad_header),    cmocka_unit_test(test_many_queries_and_filter),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
