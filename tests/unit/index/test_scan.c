/* The scan by codes: never another answer than the scan of the vectors, whatever becomes of the code file. */
#include "index/scan.h"
#include "support.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t random_state = 1;

static float random_float(void) {
  return test_random(&random_state);
}

typedef enum likeness { SPREAD, CLUSTERED, NEAR_DUPLICATES, ODD } likeness;

/* Rows of length 1; of ODD, any length, some of them zero, tiny or far too long to be coded. */
static void make_vector(likeness kind, size_t dim, size_t row, float *v) {
  double squares = 0;
  for (size_t i = 0; i < dim; i++) {
    float centre = sinf((float)((row % 5 + 1) * (i + 1)));
    float noise = random_float();
    v[i] = kind == CLUSTERED ? centre + 0.5f * noise : kind == NEAR_DUPLICATES ? centre + 1e-4f * noise : noise;
    squares += (double)v[i] * (double)v[i];
  }
  double scale = squares > 0 ? 1 / sqrt(squares) : 0;
  if (kind == ODD)
    scale = row % 50 == 7 ? 0 : row % 50 == 9 ? 1e-35 : row % 300 == 11 ? 1e9 : scale * (double)(row % 4);
  for (size_t i = 0; i < dim; i++) v[i] = (float)((double)v[i] * scale);
}

typedef struct fixture {
  char *folder, *path, *codes_path;
  kin_context *context;
  kin_vectors_key key;
  float *vectors;
  size_t n;
} fixture;

static kin_index *open_as(const fixture *f, bool writable, kin_code kind, uint64_t rows) {
  kin_error err;
  kin_index *index;
  kin_index_state state = {.rows = rows};
  test_assert_ok(kin_index_open_flat_coded(f->context, f->path, writable, &f->key, &state, kind, &index, &err), &err);
  return index;
}

static void add_rows(kin_index *index, const float *vectors, size_t dim, size_t first, size_t n) {
  kin_error err;
  for (size_t i = first; i < first + n; i++) {
    uint64_t row;
    test_assert_ok(kin_index_add(index, 5000 - (int64_t)i, vectors + i * dim, &row, &err), &err);
    assert_int_equal(row, i);
  }
  test_assert_ok(kin_index_save(index, &err), &err);
}

static fixture make(likeness how, size_t dim, size_t n, unsigned threads) {
  kin_error err;
  fixture f = {.folder = test_temporary_folder(), .n = n, .vectors = kin_array(n * dim, sizeof(float))};
  f.path = kin_format("%s/v", f.folder);
  f.codes_path = kin_format("%s/v.int8", f.folder);
  f.key = (kin_vectors_key){.uuid = "fifteen bytes..", .collection = 1, .dim = dim};
  random_state = dim;
  for (size_t i = 0; i < n; i++) make_vector(how, dim, i, f.vectors + i * dim);
  for (size_t i = 40; i + 3 < n; i += 40) memcpy(f.vectors + (i + 3) * dim, f.vectors + i * dim, dim * sizeof(float));
  test_assert_ok(kin_context_open(&(kin_context_options){.threads = threads}, &f.context, &err), &err);
  test_assert_ok(kin_vectors_create(f.path, &f.key, &err), &err);
  kin_index *index = open_as(&f, true, KIN_CODE_INT8, 0);
  add_rows(index, f.vectors, dim, 0, n);
  kin_index_committed(index);
  kin_index_close(index);
  kin_index_close(open_as(&f, true, KIN_CODE_BF16, n));
  return f;
}

static void end(fixture *f) {
  kin_context_close(f->context);
  test_remove_tree(f->folder);
  free(f->folder);
  free(f->path);
  free(f->codes_path);
  free(f->vectors);
}

static uint64_t derived_bytes(const kin_index *index) {
  kin_index_stats stats;
  kin_index_statistics(index, &stats);
  return stats.derived_bytes;
}

/* Both answer alike, to the bit; queries are rows and vectors beside them. */
static void assert_same_answers(const fixture *f, kin_index *expected, kin_index *got, size_t n, size_t k,
                                const kin_row_filter *filter) {
  kin_error err;
  size_t dim = f->key.dim;
  float *queries = kin_array(n * dim, sizeof *queries);
  kin_match *a = kin_array(2 * n * k, sizeof *a), *b = a + n * k;
  size_t *n_a = kin_array(2 * n, sizeof *n_a), *n_b = n_a + n;
  random_state = 99;
  for (size_t i = 0; i < n; i++) {
    const float *v = f->vectors + i * 37 % f->n * dim;
    for (size_t j = 0; j < dim; j++) queries[i * dim + j] = v[j] + (i % 3 ? 0.05f * random_float() : 0);
  }
  kin_index_query query = {queries, n, k, filter, NULL};
  test_assert_ok(kin_index_search(expected, &query, a, n_a, &err), &err);
  test_assert_ok(kin_index_search(got, &query, b, n_b, &err), &err);
  for (size_t i = 0; i < n; i++) {
    assert_int_equal(n_a[i], n_b[i]);
    for (size_t j = 0; j < n_a[i]; j++) {
      const kin_match *x = &a[i * k + j], *y = &b[i * k + j];
      if (x->row != y->row || x->id != y->id || x->score != y->score)
        fail_msg("query %zu of %zu, match %zu of %zu: row %llu (%.9g), expected %llu (%.9g)", i, n, j, k,
                 (unsigned long long)y->row, (double)y->score, (unsigned long long)x->row, (double)x->score);
    }
  }
  free(queries);
  free(a);
  free(n_a);
}

static void remove_some(kin_index *index, size_t n) {
  kin_error err;
  for (size_t i = 2; i < n; i += 9) test_assert_ok(kin_index_remove(index, 5000 - (int64_t)i, i, &err), &err);
}

static void test_codes_change_nothing(void **state) {
  (void)state;
  static const size_t dims[] = {1, 3, 17, 64, 101, 512};
  enum { N = 1500 };
  uint64_t words[(N + 63) / 64];
  const kin_row_filter filter = {words, N - 70};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) words[i] = i % 4 == 3 ? 0 : 0x5a5af00f12345678u * (i + 1);
  for (likeness how = SPREAD; how <= ODD; how++)
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
      fixture f = make(how, dims[d], N, (unsigned)d % 3 + 1);
      for (kin_code kind = KIN_CODE_INT8; kind <= KIN_CODE_BF16; kind++) {
        kin_index *plain = open_as(&f, false, KIN_CODE_NONE, N), *coded = open_as(&f, false, kind, N);
        assert_true(derived_bytes(coded) > 0);
        assert_same_answers(&f, plain, coded, 1, 10, NULL);
        remove_some(plain, N);
        remove_some(coded, N);
        assert_same_answers(&f, plain, coded, 5, 1, NULL);
        assert_same_answers(&f, plain, coded, 30, 12, &filter);
        assert_same_answers(&f, plain, coded, 3, 100, &filter);
        assert_same_answers(&f, plain, coded, 2, N, NULL);
        assert_same_answers(&f, plain, coded, 300, 3, NULL);
        kin_index_close(plain);
        kin_index_close(coded);
      }
      end(&f);
    }
}

/* Estimates are within the bounds, and these aren't so wide as to tell nothing. */
static void bounds_hold(const kin_context *context, kin_code kind, likeness how, size_t dim, size_t n_queries) {
  kin_error err;
  bool usable;
  kin_scan_query q;
  float *rows = kin_array(KIN_SCAN_ROWS + n_queries, dim * sizeof *rows), *queries = rows + KIN_SCAN_ROWS * dim;
  uint8_t *codes = kin_alloc_aligned(kin_code_bytes(kind, dim));
  float *products = kin_array(2 * n_queries * KIN_SCAN_ROWS, sizeof *products);
  kin_code_tail tail;
  for (size_t i = 0; i < KIN_SCAN_ROWS + n_queries; i++) make_vector(how, dim, i, rows + i * dim);
  kin_codes_encode(kind, rows, dim, 3, 4, codes, &tail);
  test_assert_ok(kin_scan_query_make(kind, queries, n_queries, dim, &q, &usable, &err), &err);
  assert_true(usable);
  size_t units = kin_code_units(kind, dim), planes = n_queries * q.per_query;
  if (kind == KIN_CODE_INT8)
    context->scan->int8(codes, units, q.planes, q.ld, q.starts, planes, products);
  else
    context->scan->bf16(codes, units, q.planes, q.ld, planes, products);
  for (size_t i = 0; i < n_queries; i++) {
    kin_scan_bound b = q.bounds[i];
    const float *high = products + i * q.per_query * KIN_SCAN_ROWS,
                *low = q.per_query == 2 ? high + KIN_SCAN_ROWS : NULL;
    float estimates[KIN_SCAN_ROWS];
    b.constant *= tail.length;
    context->kernels->select(high, low, tail.scales, tail.errors, &b, estimates);
    for (size_t r = 0; r < KIN_SCAN_ROWS; r++) {
      double exact = 0, margin = (double)b.error * (double)tail.errors[r] + (double)b.constant;
      for (size_t j = 0; j < dim; j++) exact += (double)rows[r * dim + j] * (double)queries[i * dim + j];
      float score = context->kernels->dot(rows + r * dim, queries + i * dim, dim);
      assert_true(fabs((double)estimates[r] - exact) <= margin);
      assert_true(fabs((double)estimates[r] - (double)score) <= margin);
      assert_true(margin < 0.03);
    }
  }
  kin_scan_query_free(&q);
  free(rows);
  free(products);
  kin_free_aligned(codes);
}

static void test_bounds_hold(void **state) {
  (void)state;
  static const size_t dims[] = {2, 5, 64, 384, 1000};
  for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++) {
    kin_context *context;
    if (kin_context_open(&(kin_context_options){.threads = 1, .isa = isa}, &context, NULL) != KIN_OK) continue;
    for (kin_code kind = KIN_CODE_INT8; kind <= KIN_CODE_BF16; kind++)
      for (likeness how = SPREAD; how <= NEAR_DUPLICATES; how++)
        for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
          bounds_hold(context, kind, how, dims[d], 2);
          bounds_hold(context, kind, how, dims[d], 20);
        }
    kin_context_close(context);
  }
}

/* The codes do what they are for: with those alone a row would be missed that they rule out wrongly. */
static void test_codes_are_used(void **state) {
  (void)state;
  enum { DIM = 64, N = 1280 };
  fixture f = make(SPREAD, DIM, N, 2);
  kin_index *index = open_as(&f, false, KIN_CODE_INT8, N);
  assert_int_equal(derived_bytes(index), 4096 + 64 * 576 + N / 64 * 64 * DIM);
  kin_index_close(index);
  assert_int_equal(truncate(f.codes_path, 4096 + 64 * 576 + 3 * 64 * DIM), 0);
  index = open_as(&f, false, KIN_CODE_INT8, N);
  assert_int_equal(derived_bytes(index), 4096 + 64 * 576 + 3 * 64 * DIM);
  kin_index *plain = open_as(&f, false, KIN_CODE_NONE, N);
  assert_same_answers(&f, plain, index, 9, 10, NULL);
  kin_index_close(index);
  /* A writer makes the rest. */
  index = open_as(&f, true, KIN_CODE_INT8, N);
  assert_int_equal(derived_bytes(index), 4096 + 64 * 576 + N / 64 * 64 * DIM);
  assert_same_answers(&f, plain, index, 9, 10, NULL);
  kin_index_close(index);
  kin_index_close(plain);
  end(&f);
}

static void flip_byte(const char *path, off_t at) {
  int fd = open(path, O_RDWR);
  uint8_t byte;
  assert_true(fd >= 0 && pread(fd, &byte, 1, at) == 1);
  byte ^= 0x41;
  assert_true(pwrite(fd, &byte, 1, at) == 1);
  close(fd);
}

static void test_damaged_codes(void **state) {
  (void)state;
  enum { DIM = 32, N = 700 };
  fixture f = make(CLUSTERED, DIM, N, 2);
  struct stat s;
  assert_int_equal(stat(f.codes_path, &s), 0);
  kin_index *plain = open_as(&f, false, KIN_CODE_NONE, N);
  for (off_t at = 0; at < s.st_size; at += at < 80 ? 1 : at < 4096 + 64 * 576 ? 149 : 1571) {
    flip_byte(f.codes_path, at);
    kin_index *coded = open_as(&f, false, KIN_CODE_INT8, N);
    assert_same_answers(&f, plain, coded, 6, 10, NULL);
    kin_index_close(coded);
    flip_byte(f.codes_path, at);
  }
  /* Sizes that no writer leaves. */
  for (off_t size = s.st_size; size > 0; size -= size / 7 + 1) {
    assert_int_equal(truncate(f.codes_path, size), 0);
    kin_index *coded = open_as(&f, false, KIN_CODE_INT8, N);
    assert_same_answers(&f, plain, coded, 6, 10, NULL);
    kin_index_close(coded);
  }
  /* A writer puts a header of nothing right. */
  kin_index_close(open_as(&f, true, KIN_CODE_INT8, N));
  struct stat again;
  assert_int_equal(stat(f.codes_path, &again), 0);
  assert_true(again.st_size == s.st_size);
  kin_index_close(plain);
  end(&f);
}

static void copy_file(const char *from, const char *to) {
  char *data;
  size_t size;
  kin_error err;
  test_assert_ok(kin_read_file(from, (size_t)1 << 30, &data, &size, &err), &err);
  int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  assert_true(fd >= 0 && write(fd, data, size) == (ssize_t)size);
  close(fd);
  free(data);
}

/* Replace the vector file by one of the same store, that went another way at row `from` up to row `to`. */
static void diverge(fixture *f, size_t from, size_t to) {
  kin_error err;
  char *codes = kin_format("%s/kept", f->folder);
  copy_file(f->codes_path, codes);
  random_state = 1234;
  for (size_t i = from; i < to; i++) make_vector(SPREAD, f->key.dim, i, f->vectors + i * f->key.dim);
  test_assert_ok(kin_vectors_create(f->path, &f->key, &err), &err);
  kin_index *index = open_as(f, true, KIN_CODE_NONE, 0);
  add_rows(index, f->vectors, f->key.dim, 0, f->n);
  kin_index_close(index);
  copy_file(codes, f->codes_path);
  free(codes);
}

static void test_codes_of_other_vectors(void **state) {
  (void)state;
  enum { DIM = 48, N = 64 * 12 };
  /* To the end: seen on opening. In the middle only: seen when a row's score is out of its bounds. */
  for (int middle = 0; middle < 2; middle++)
    for (int writable = 0; writable < 2; writable++) {
      kin_error err;
      kin_match a[5], b[5];
      size_t n_a, n_b;
      float query[DIM];
      fixture f = make(SPREAD, DIM, N, 2);
      memcpy(query, f.vectors + 300 * DIM, sizeof query);
      diverge(&f, 100, middle ? 600 : N);
      kin_index *plain = open_as(&f, false, KIN_CODE_NONE, N), *coded = open_as(&f, writable, KIN_CODE_INT8, N);
      assert_true((derived_bytes(coded) > 0) == (middle || writable));
      test_assert_ok(kin_index_search(plain, &(kin_index_query){query, 1, 5, NULL, NULL}, a, &n_a, &err), &err);
      test_assert_ok(kin_index_search(coded, &(kin_index_query){query, 1, 5, NULL, NULL}, b, &n_b, &err), &err);
      for (size_t i = 0; i < 5; i++) assert_true(a[i].row == b[i].row && a[i].score == b[i].score);
      assert_true((derived_bytes(coded) > 0) == writable);
      assert_same_answers(&f, plain, coded, 30, 5, NULL);
      kin_index_close(plain);
      kin_index_close(coded);
      end(&f);
    }
}

/* Codes follow commits and nothing else; a reader's stay whole while a writer goes on. */
static void test_codes_follow_commits(void **state) {
  (void)state;
  enum { DIM = 16, N = 700, CODES = 64 * DIM, FIRST = 4096 + 64 * 576 };
  kin_error err;
  fixture f = make(CLUSTERED, DIM, N, 2);
  test_assert_ok(kin_vectors_create(f.path, &f.key, &err), &err);
  kin_index_remove_derived(f.path);
  kin_index *writer = open_as(&f, true, KIN_CODE_INT8, 0), *reader = open_as(&f, false, KIN_CODE_INT8, 0);
  add_rows(writer, f.vectors, DIM, 0, 130);
  assert_int_equal(derived_bytes(writer), 0);
  kin_index_committed(writer);
  assert_int_equal(derived_bytes(writer), FIRST + 2 * CODES);
  assert_int_equal(derived_bytes(reader), 0);
  test_assert_ok(kin_index_refresh(reader, &(kin_index_state){.rows = 130}, &err), &err);
  assert_int_equal(derived_bytes(reader), FIRST + 2 * CODES);

  /* What is taken back was never coded. */
  add_rows(writer, f.vectors, DIM, 130, 200);
  test_assert_ok(kin_index_refresh(writer, &(kin_index_state){.rows = 130}, &err), &err);
  assert_int_equal(derived_bytes(writer), FIRST + 2 * CODES);
  add_rows(writer, f.vectors, DIM, 130, N - 130);
  kin_index_committed(writer);
  assert_int_equal(derived_bytes(writer), FIRST + N / 64 * CODES);
  kin_index *plain = open_as(&f, false, KIN_CODE_NONE, 130);
  assert_same_answers(&f, plain, reader, 3, 5, NULL);
  uint64_t hole = 3;
  kin_index_state all = {.rows = N, .holes = &hole, .n_holes = 1};
  test_assert_ok(kin_index_refresh(reader, &all, &err), &err);
  test_assert_ok(kin_index_refresh(plain, &all, &err), &err);
  assert_int_equal(derived_bytes(reader), FIRST + N / 64 * CODES);
  assert_same_answers(&f, plain, reader, 20, 5, NULL);

  /* The file is made anew under the reader. */
  kin_index_remove_derived(f.path);
  test_assert_ok(kin_index_refresh(writer, &all, &err), &err);
  assert_same_answers(&f, plain, reader, 20, 5, NULL);
  test_assert_ok(kin_index_refresh(reader, &all, &err), &err);
  assert_same_answers(&f, plain, reader, 20, 5, NULL);
  kin_index_close(plain);
  kin_index_close(reader);
  kin_index_close(writer);
  end(&f);
}

/* A record is checked before it is returned; one that is damaged isn't coded, and found by the first search then. */
static void test_damaged_vector(void **state) {
  (void)state;
  enum { DIM = 32, N = 640, ROW = 321, RECORD = 64 + 4 * DIM };
  kin_error err;
  kin_match out[3];
  size_t found;
  fixture f = make(SPREAD, DIM, N, 2);
  flip_byte(f.path, 4096 + ROW * RECORD + 100);
  kin_index *index = open_as(&f, false, KIN_CODE_INT8, N);
  const float *vector = f.vectors + ROW * DIM;
  kin_status status = kin_index_search(index, &(kin_index_query){vector, 1, 3, NULL, NULL}, out, &found, &err);
  test_assert_error(status, KIN_ERR_FORMAT, &err, "row 321 is damaged");
  kin_index_close(index);

  kin_index_remove_derived(f.path);
  index = open_as(&f, true, KIN_CODE_INT8, N);
  assert_int_equal(derived_bytes(index), 4096 + 64 * 576 + ROW / 64 * 64 * DIM);
  status = kin_index_search(index, &(kin_index_query){f.vectors, 1, 3, NULL, NULL}, out, &found, &err);
  test_assert_error(status, KIN_ERR_FORMAT, &err, "row 321 is damaged");
  kin_index_close(index);
  end(&f);
}

static void test_odd_queries(void **state) {
  (void)state;
  enum { DIM = 40, N = 1000, K = 7 };
  kin_error err;
  fixture f = make(CLUSTERED, DIM, N, 2);
  kin_index *plain = open_as(&f, false, KIN_CODE_NONE, N), *coded = open_as(&f, false, KIN_CODE_INT8, N);
  static const float scales[] = {0, 1e-30f, 1e-4f, 100, 1e15f, 1e30f};
  for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
    float query[DIM];
    kin_match a[K], b[K];
    size_t n_a, n_b;
    for (size_t i = 0; i < DIM; i++) query[i] = f.vectors[i] * scales[s];
    test_assert_ok(kin_index_search(plain, &(kin_index_query){query, 1, K, NULL, NULL}, a, &n_a, &err), &err);
    test_assert_ok(kin_index_search(coded, &(kin_index_query){query, 1, K, NULL, NULL}, b, &n_b, &err), &err);
    assert_int_equal(n_a, K);
    assert_int_equal(n_b, K);
    for (size_t i = 0; i < K; i++) assert_true(a[i].row == b[i].row && a[i].score == b[i].score);
  }
  kin_index_close(plain);
  kin_index_close(coded);
  end(&f);
}

/* At the most floats that are coded all sums still fit; beyond there are no codes. */
static void test_long_vectors(void **state) {
  (void)state;
  for (size_t dim = KIN_CODE_MOST_DIM; dim <= KIN_CODE_MOST_DIM + 1; dim++) {
    enum { N = 128 };
    kin_error err;
    kin_match out;
    size_t found;
    fixture f = make(SPREAD, dim, N, 2);
    float *ones = kin_array(dim, sizeof *ones), length = sqrtf((float)dim);
    for (size_t i = 0; i < dim; i++) ones[i] = 1 / length;
    kin_index *index = open_as(&f, true, KIN_CODE_INT8, N);
    assert_true((derived_bytes(index) > 0) == (dim <= KIN_CODE_MOST_DIM));
    uint64_t row;
    for (size_t i = 0; i < 64; i++) test_assert_ok(kin_index_add(index, 7, ones, &row, &err), &err);
    kin_index_committed(index);
    test_assert_ok(kin_index_search(index, &(kin_index_query){ones, 1, 1, NULL, NULL}, &out, &found, &err), &err);
    assert_true(out.row == N && fabsf(out.score - 1) < 1e-3f);
    kin_index_close(index);
    free(ones);
    end(&f);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_codes_change_nothing),   cmocka_unit_test(test_bounds_hold),
      cmocka_unit_test(test_codes_are_used),         cmocka_unit_test(test_damaged_codes),
      cmocka_unit_test(test_codes_of_other_vectors), cmocka_unit_test(test_codes_follow_commits),
      cmocka_unit_test(test_damaged_vector),         cmocka_unit_test(test_odd_queries),
      cmocka_unit_test(test_long_vectors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
