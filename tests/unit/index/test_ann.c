/* Approximate indexes against the exact scan: what they find, by the effort that was measured and by others, that they
 * heed what came, went and is filtered, and that a file that isn't whole, or isn't of these rows, is never used. */
#include "index/ann.h"
#include "index/checksum.h"
#include "index/synthetic.h"
#include "support.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIM = 32, N = 4000, K = 10, QUERIES = 50 };

typedef struct fixture {
  char *folder, *path, *ann_path;
  kin_context *context;
  kin_vectors_key key;
  kin_index *index;
  kin_synthetic *synthetic;
  uint64_t clusters; /* 0: as the synthetic vectors lie, two of 4,000 in a cluster */
  float queries[QUERIES * DIM];
} fixture;

/* Near the centre of the i-th vector's cluster. */
static void pull(const fixture *f, uint64_t i, float *v) {
  float centre[DIM], squares = 0;
  if (!f->clusters) return;
  kin_synthetic_vector(f->synthetic, 1000000 + i % f->clusters, centre);
  for (size_t j = 0; j < DIM; j++) {
    v[j] = centre[j] + 0.3f * v[j];
    squares += v[j] * v[j];
  }
  for (size_t j = 0; j < DIM; j++) v[j] /= sqrtf(squares);
}

static void add_rows(fixture *f, uint64_t first, uint64_t n) {
  kin_error err;
  for (uint64_t i = first; i < first + n; i++) {
    float v[DIM];
    uint64_t row;
    kin_synthetic_vector(f->synthetic, i, v);
    pull(f, i, v);
    test_assert_ok(kin_index_add(f->index, (int64_t)i + 1, v, &row, &err), &err);
  }
  test_assert_ok(kin_index_save(f->index, &err), &err);
  kin_index_committed(f->index);
}

static void open_index(fixture *f, uint64_t rows) {
  kin_error err;
  kin_index_state state = {.rows = rows};
  test_assert_ok(kin_index_open_flat(f->context, f->path, true, &f->key, &state, &f->index, &err), &err);
}

/* Rows are items 1 .. n in their order. */
static fixture *make_clustered(uint64_t n, uint64_t seed, uint64_t clusters) {
  kin_error err;
  fixture *f = calloc(1, sizeof *f);
  assert_non_null(f);
  f->clusters = clusters;
  f->folder = test_temporary_folder();
  f->path = kin_format("%s/v", f->folder);
  f->ann_path = kin_format("%s/v.ann", f->folder);
  f->key = (kin_vectors_key){.uuid = "fifteen bytes..", .collection = 1, .dim = DIM};
  test_assert_ok(kin_context_open(&(kin_context_options){.threads = 1}, &f->context, &err), &err);
  test_assert_ok(kin_synthetic_open(DIM, seed, &f->synthetic, &err), &err);
  test_assert_ok(kin_vectors_create(f->path, &f->key, &err), &err);
  open_index(f, 0);
  add_rows(f, 0, n);
  for (size_t i = 0; i < QUERIES; i++) {
    kin_synthetic_query(f->synthetic, i, f->queries + i * DIM);
    pull(f, i, f->queries + i * DIM);
  }
  return f;
}

static fixture *make(uint64_t n, uint64_t seed) {
  return make_clustered(n, seed, 0);
}

static void end(fixture *f) {
  kin_index_close(f->index);
  kin_synthetic_close(f->synthetic);
  kin_context_close(f->context);
  test_remove_tree(f->folder);
  free(f->folder);
  free(f->path);
  free(f->ann_path);
  free(f);
}

static void optimize(fixture *f, const char *factory) {
  kin_error err;
  test_assert_ok(kin_index_optimize(f->index, &(kin_index_build){.factory = factory}, &err), &err);
}

typedef struct answer {
  kin_match matches[QUERIES * K];
  size_t n[QUERIES];
} answer;

static void search(fixture *f, const kin_ann_query *ann, const kin_row_filter *filter, answer *out) {
  kin_error err;
  kin_index_query query = {f->queries, QUERIES, K, filter, ann};
  test_assert_ok(kin_index_search(f->index, &query, out->matches, out->n, &err), &err);
}

/* The share of the exact matches that the others have, with the same scores and in the right order. */
static double recall(const answer *exact, const answer *other) {
  size_t found = 0, all = 0;
  for (size_t q = 0; q < QUERIES; q++) {
    const kin_match *a = exact->matches + q * K, *b = other->matches + q * K;
    assert_int_equal(exact->n[q], other->n[q]);
    all += exact->n[q];
    for (size_t j = 0; j < other->n[q]; j++) {
      assert_true(j == 0 || kin_match_is_better(b[j - 1], b[j]));
      for (size_t i = 0; i < exact->n[q]; i++) {
        if (a[i].id != b[j].id) continue;
        assert_true(a[i].score == b[j].score && a[i].row == b[j].row);
        found++;
      }
    }
  }
  return (double)found / (double)all;
}

static void test_kinds(void **state) {
  (void)state;
  static const char *const factories[] = {"HNSW16", "IVF32,Flat", "IVF32,SQ8", "IVF32,PQ16", "SQ8"};
  static answer exact, found;
  fixture *f = make(N, 1);
  search(f, NULL, NULL, &exact);
  for (size_t i = 0; i < sizeof factories / sizeof *factories; i++) {
    optimize(f, factories[i]);
    search(f, &(kin_ann_query){.factory = factories[i]}, NULL, &found);
    double share = recall(&exact, &found);
    if (share < 0.95) fail_msg("%s: recall@10 %.3f", factories[i], share);
    /* The same out of the file. */
    kin_index_close(f->index);
    open_index(f, N);
    search(f, &(kin_ann_query){.factory = factories[i]}, NULL, &found);
    assert_true(recall(&exact, &found) >= share);
  }
  end(f);
}

static kin_ann_effort effort_of(const fixture *f) {
  kin_error err;
  kin_ann_head head;
  test_assert_ok(kin_ann_read_head(f->path, &f->key, &head, &err), &err);
  return head.effort;
}

/* By default a search finds 0.95 of the nearest ten of queries that nobody measured with, about as much as was measured
 * by the rows; the same index, the same effort. */
static void test_measured_effort(void **state) {
  (void)state;
  static const char *const factories[] = {"HNSW16", "IVF64,Flat", "IVF64,SQ4", "HNSW16_SQ8"};
  static const uint64_t clusters[] = {0, 20, 300};
  static answer exact, found;
  for (size_t c = 0; c < sizeof clusters / sizeof *clusters; c++) {
    fixture *f = make_clustered(N, 11, clusters[c]);
    search(f, NULL, NULL, &exact);
    for (size_t i = 0; i < sizeof factories / sizeof *factories; i++) {
      optimize(f, factories[i]);
      kin_ann_effort effort = effort_of(f);
      search(f, &(kin_ann_query){.factory = factories[i]}, NULL, &found);
      double share = recall(&exact, &found);
      if (share < 0.95 || effort.recall < 0.98f || (i < 3 && fabs(share - (double)effort.recall) > 0.03))
        fail_msg("%s, %d clusters: recall@10 %.3f, measured %.3f with %u probes, ef %u, %u candidates", factories[i],
                 (int)clusters[c], share, (double)effort.recall, effort.probes, effort.ef, effort.candidates);
      assert_int_equal(effort.probes > 0, strncmp(factories[i], "IVF", 3) == 0);
      assert_int_equal(effort.ef > 0, strncmp(factories[i], "HNSW", 4) == 0);
      if (i) continue;
      optimize(f, factories[i]);
      kin_ann_effort again = effort_of(f);
      assert_memory_equal(&again, &effort, sizeof effort);
    }
    end(f);
  }
}

/* Of so few rows HNSW compares too many. IVF has a list for each of many small clusters; few large ones it cuts up. */
static void test_auto(void **state) {
  (void)state;
  static answer exact, found;
  kin_error err;
  kin_ann_head head;
  for (size_t many = 0; many < 2; many++) {
    fixture *f = make_clustered(N, 12, many ? 100 : 5);
    kin_ann_trial trials[KIN_ANN_TRIALS] = {0};
    kin_index_build build = {.factory = "auto", .auto_rows = N, .trials = trials};
    optimize(f, "HNSW8");
    test_assert_ok(kin_index_optimize(f->index, &build, &err), &err);
    assert_string_equal(trials[0].factory, "HNSW32");
    assert_false(trials[0].kept);
    assert_string_equal(trials[1].factory, "IVF256,SQ8");
    assert_int_equal(trials[1].kept, many);
    assert_int_equal(kin_ann_read_head(f->path, &f->key, &head, NULL), many ? KIN_OK : KIN_ERR_NOT_FOUND);
    search(f, NULL, NULL, &exact);
    search(f, &(kin_ann_query){0}, NULL, &found);
    assert_true(recall(&exact, &found) >= (many ? 0.95 : 1));

    build.auto_rows = N + 1;
    test_assert_ok(kin_index_optimize(f->index, &build, &err), &err);
    assert_false(kin_file_exists(f->ann_path));
    end(f);
  }
}

/* What finds too few is left alone, unless one insists. */
static void test_too_bad(void **state) {
  (void)state;
  static answer exact, found;
  fixture *f = make(N, 15);
  search(f, NULL, NULL, &exact);
  optimize(f, "PQ1");
  assert_true(effort_of(f).recall > 0 && effort_of(f).recall < 0.95f);
  search(f, &(kin_ann_query){.factory = "PQ1"}, NULL, &found);
  assert_true(recall(&exact, &found) == 1);
  search(f, &(kin_ann_query){.factory = "PQ1", .ef = 1}, NULL, &found);
  assert_true(recall(&exact, &found) < 0.95);
  end(f);
}

/* Files of before anything was measured, and indexes of too few rows for it, are searched by a guess. */
static void test_unmeasured(void **state) {
  (void)state;
  static answer exact, found;
  uint8_t head[256];
  fixture *f = make(N, 13), *small = make(300, 14);
  search(f, NULL, NULL, &exact);
  optimize(f, "IVF16,Flat");
  kin_index_close(f->index);
  int fd = open(f->ann_path, O_RDWR);
  assert_int_equal(pread(fd, head, sizeof head, 0), sizeof head);
  memset(head + 208, 0, 16);
  uint64_t checksum = kin_checksum(head, 248, 0);
  memcpy(head + 248, &checksum, sizeof checksum);
  assert_int_equal(pwrite(fd, head, sizeof head, 0), sizeof head);
  close(fd);
  open_index(f, N);
  assert_true(effort_of(f).recall == 0);
  search(f, &(kin_ann_query){.factory = "IVF16,Flat"}, NULL, &found);
  assert_true(recall(&exact, &found) == 1); /* 16 of 16 lists */
  end(f);

  optimize(small, "HNSW8");
  assert_true(effort_of(small).recall == 0 && effort_of(small).ef == 0);
  search(small, NULL, NULL, &exact);
  search(small, &(kin_ann_query){.factory = "HNSW8"}, NULL, &found);
  assert_true(recall(&exact, &found) > 0.99);
  end(small);
}

/* Some lists miss some matches, all lists none: it is the index that is searched. */
static void test_effort(void **state) {
  (void)state;
  static answer exact, found;
  fixture *f = make(N, 2);
  search(f, NULL, NULL, &exact);
  optimize(f, "IVF64,Flat");
  search(f, &(kin_ann_query){.probes = 1}, NULL, &found);
  assert_true(recall(&exact, &found) < 1);
  search(f, &(kin_ann_query){.probes = 64}, NULL, &found);
  assert_true(recall(&exact, &found) == 1);
  optimize(f, "HNSW4");
  search(f, &(kin_ann_query){.ef = K}, NULL, &found);
  double low = recall(&exact, &found);
  search(f, &(kin_ann_query){.ef = 1000}, NULL, &found);
  assert_true(low < recall(&exact, &found));
  end(f);
}

/* An index of small codes finds the more, the more rows the vectors put in order; their scores are exact either way. */
static void test_candidates(void **state) {
  (void)state;
  static const size_t candidates[] = {1, K, 64, 1000};
  static answer exact, found;
  fixture *f = make(N, 12);
  search(f, NULL, NULL, &exact);
  optimize(f, "IVF16,PQ4");
  double before = 0;
  for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++) {
    search(f, &(kin_ann_query){.factory = "IVF16,PQ4", .probes = 16, .candidates = candidates[i]}, NULL, &found);
    double share = recall(&exact, &found);
    assert_true(i == 1 ? share == before : share > before);
    before = share;
    for (size_t q = 0; q < QUERIES; q++) {
      assert_int_equal(found.n[q], K);
      for (size_t j = 0; j < K; j++)
        for (size_t e = 0; e < K; e++)
          if (found.matches[q * K + j].id == exact.matches[q * K + e].id)
            assert_true(found.matches[q * K + j].score == exact.matches[q * K + e].score);
    }
  }
  assert_true(before > 0.95);
  end(f);
}

static void test_coming_and_going(void **state) {
  (void)state;
  static answer exact, found;
  kin_error err;
  fixture *f = make(N - 1000, 3);
  optimize(f, "HNSW16");
  add_rows(f, N - 1000, 1000);
  for (size_t i = 0; i < QUERIES; i += 2) kin_synthetic_vector(f->synthetic, N - 1000 + i, f->queries + i * DIM);
  search(f, NULL, NULL, &exact);
  search(f, &(kin_ann_query){0}, NULL, &found);
  assert_true(recall(&exact, &found) > 0.9);
  for (size_t i = 0; i < QUERIES; i += 2) assert_int_equal(found.matches[i * K].id, N - 1000 + i + 1);

  /* Whatever was found first goes. */
  for (size_t i = 0; i < QUERIES; i++)
    for (size_t j = 0; j < 3; j++)
      kin_index_remove(f->index, found.matches[i * K + j].id, found.matches[i * K + j].row, &err);
  search(f, NULL, NULL, &exact);
  search(f, &(kin_ann_query){0}, NULL, &found);
  assert_true(recall(&exact, &found) > 0.9);

  /* Nearly all of what is indexed. */
  for (uint64_t row = 0; row < N - 1000; row++)
    if (row % 100) kin_index_remove(f->index, (int64_t)row + 1, row, &err);
  search(f, NULL, NULL, &exact);
  search(f, &(kin_ann_query){0}, NULL, &found);
  assert_true(recall(&exact, &found) == 1);
  end(f);
}

static void test_filter(void **state) {
  (void)state;
  static answer exact, found;
  static const uint64_t every[] = {3, 100};
  fixture *f = make(N - 100, 4);
  optimize(f, "HNSW16");
  add_rows(f, N - 100, 100);
  for (size_t i = 0; i < 2; i++) {
    uint64_t words[N / 64 + 1] = {0};
    const kin_row_filter filter = {words, N - 30};
    for (uint64_t row = 0; row < N; row += every[i]) words[row / 64] |= (uint64_t)1 << (row % 64);
    search(f, NULL, &filter, &exact);
    search(f, &(kin_ann_query){0}, &filter, &found);
    assert_true(recall(&exact, &found) > 0.9);
    for (size_t j = 0; j < QUERIES * K; j++)
      assert_true(found.matches[j].row % every[i] == 0 && found.matches[j].row < N - 30);
  }
  end(f);
}

static off_t size_of(const char *path) {
  struct stat s;
  assert_int_equal(stat(path, &s), 0);
  return s.st_size;
}

static void flip_byte(const char *path, off_t at) {
  uint8_t byte;
  int fd = open(path, O_RDWR);
  assert_int_equal(pread(fd, &byte, 1, at), 1);
  byte ^= 0x10;
  assert_int_equal(pwrite(fd, &byte, 1, at), 1);
  close(fd);
}

/* Demanded, the index is refused with `status`; otherwise the search is exact. */
static void refused(fixture *f, uint64_t rows, kin_status status, const char *part) {
  static answer exact, found;
  kin_error err;
  kin_ann_query demanded = {.factory = "IVF16,Flat"};
  kin_index_query query = {f->queries, QUERIES, K, NULL, &demanded};
  kin_index_close(f->index);
  open_index(f, rows);
  test_assert_error(kin_index_search(f->index, &query, found.matches, found.n, &err), status, &err, part);
  search(f, NULL, NULL, &exact);
  search(f, &(kin_ann_query){.probes = 1}, NULL, &found);
  assert_true(recall(&exact, &found) == 1);
}

static void test_damage(void **state) {
  (void)state;
  fixture *f = make(N, 5);
  optimize(f, "IVF16,Flat");
  off_t size = size_of(f->ann_path);
  for (off_t at = 0; at < size; at += at < 256 ? 5 : 65537) {
    flip_byte(f->ann_path, at);
    if (at < 8)
      refused(f, N, KIN_ERR_FORMAT, "not an approximate index");
    else if (at < 16)
      refused(f, N, KIN_ERR_UNSUPPORTED, "version");
    else
      refused(f, N, KIN_ERR_FORMAT, "checksum");
    flip_byte(f->ann_path, at);
  }
  for (off_t cut = size - 1; cut > 0; cut = cut > 256 ? cut / 3 : cut - 41) {
    assert_int_equal(truncate(f->ann_path, cut), 0);
    refused(f, N, KIN_ERR_FORMAT, "cut short");
  }
  unlink(f->ann_path);
  refused(f, N, KIN_ERR_NOT_FOUND, "kindred index optimize");
  end(f);
}

/* A file of other rows, and of rows that were cut off. */
static void test_other_rows(void **state) {
  (void)state;
  kin_error err;
  fixture *f = make(N, 6), *other = make(N, 7);
  optimize(f, "IVF16,Flat");
  assert_int_equal(rename(f->ann_path, other->ann_path), 0);
  refused(other, N, KIN_ERR_MISMATCH, "changed places");
  optimize(other, "IVF16,Flat");
  refused(other, N - 1, KIN_ERR_MISMATCH, "changed places");
  optimize(f, "IVF16,Flat");
  f->key.collection = 2;
  kin_ann_head head;
  test_assert_error(kin_ann_read_head(f->path, &f->key, &head, &err), KIN_ERR_MISMATCH, &err, "another store");
  end(f);
  end(other);
}

typedef struct stop_at {
  const char *stage;
  size_t calls;
} stop_at;

static bool stop(void *user, const char *stage, uint64_t done, uint64_t total) {
  stop_at *s = user;
  assert_true(done <= total);
  return strcmp(stage, s->stage) != 0 || s->calls++ < 2;
}

/* What ends before its time leaves what was there. */
static void test_unfinished(void **state) {
  (void)state;
  static const char *const bad[] = {"nonsense", "IVF5000,Flat", "PQ7", ""};
  static answer before, after;
  kin_error err;
  kin_ann_query another = {.factory = "HNSW16"};
  fixture *f = make(N, 8);
  optimize(f, "HNSW8");
  search(f, &(kin_ann_query){.factory = "HNSW8"}, NULL, &before);
  kin_index_query query = {f->queries, QUERIES, K, NULL, &another};
  test_assert_error(kin_index_search(f->index, &query, after.matches, after.n, &err), KIN_ERR_MISMATCH, &err, "HNSW8");
  static const char *const stages[] = {"training", "adding", "measuring"};
  for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
    stop_at at = {.stage = stages[i]};
    kin_index_build build = {.factory = i < 2 ? "IVF64,PQ16" : "IVF64,SQ8", .on_progress = stop, .user = &at};
    test_assert_error(kin_index_optimize(f->index, &build, &err), KIN_ERR_CANCELLED, &err, "stopped");
    assert_int_equal(at.calls, 3);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    test_assert_error(kin_index_optimize(f->index, &(kin_index_build){.factory = bad[i]}, &err), KIN_ERR_ARGUMENT, &err,
                      bad[i]);
  search(f, &(kin_ann_query){.factory = "HNSW8"}, NULL, &after);
  assert_true(recall(&before, &after) == 1);
  kin_ann_head head;
  test_assert_ok(kin_ann_read_head(f->path, &f->key, &head, &err), &err);
  assert_string_equal(head.factory, "HNSW8");
  assert_int_equal(head.rows, N);

  kin_index_remove_derived(f->path);
  assert_false(kin_file_exists(f->ann_path));
  optimize(f, "HNSW8");
  optimize(f, NULL);
  assert_false(kin_file_exists(f->ann_path));
  flip_byte(f->path, 4096 + 77 * (64 + 4 * DIM) + 80);
  test_assert_error(kin_index_optimize(f->index, &(kin_index_build){.factory = "HNSW8"}, &err), KIN_ERR_FORMAT, &err,
                    "row 77");
  end(f);
}

int main(void) {
  kin_error err;
  if (kin_faiss_load(&(const kin_faiss_calls *){NULL}, &err) != KIN_OK) {
    print_message("%s\n", err.message);
    return 77;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_kinds),      cmocka_unit_test(test_measured_effort),  cmocka_unit_test(test_auto),
      cmocka_unit_test(test_too_bad),    cmocka_unit_test(test_unmeasured),       cmocka_unit_test(test_effort),
      cmocka_unit_test(test_candidates), cmocka_unit_test(test_coming_and_going), cmocka_unit_test(test_filter),
      cmocka_unit_test(test_damage),     cmocka_unit_test(test_other_rows),       cmocka_unit_test(test_unfinished)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
