/* Graphs whose lowest level is linked here, without FAISS: that they hold together, what walks find, and that they are
 * linked and walked by several threads. */
#include "index/graph.h"
#include "index/synthetic.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

enum { DIM = 40, N = 3000, K = 10, QUERIES = 100, DEGREE = 8, EF = 40, UPPER = 16 /* of so many rows one */ };

typedef struct fixture {
  char *folder;
  kin_context *context;
  kin_vectors *file;
  kin_synthetic *synthetic;
  uint64_t rows;
  int32_t *neighbours;
  size_t *offsets;
  int starts[3];
} fixture;

static const float *vector_of(const fixture *f, uint64_t row) {
  return kin_vectors_at(f->file, row);
}

static double product(const float *a, const float *b) {
  double sum = 0;
  for (size_t i = 0; i < DIM; i++) sum += (double)a[i] * (double)b[i];
  return sum;
}

static bool is_upper(uint64_t row) {
  return row % UPPER == 3;
}

/* The n best rows for a vector, of those above the lowest level or of all, without one. */
static size_t nearest(const fixture *f, const float *vector, uint64_t rows, bool upper, uint64_t without, size_t n,
                      int64_t *out) {
  double best[64];
  size_t found = 0;
  for (uint64_t row = 0; row < rows; row++) {
    if (row == without || (upper && !is_upper(row))) continue;
    double score = product(vector, vector_of(f, row));
    if (found == n && score <= best[n - 1]) continue;
    size_t at = found < n ? found++ : n - 1;
    for (; at > 0 && best[at - 1] < score; at--) best[at] = best[at - 1], out[at] = out[at - 1];
    best[at] = score;
    out[at] = (int64_t)row;
  }
  return found;
}

/* The first `rows` rows; those above the lowest level are linked with their nearest among the same, and there with the
 * one behind them, so that all can be reached. */
static kin_links links_of(fixture *f, uint64_t rows) {
  int32_t before = -1;
  for (uint64_t row = 0; row < rows; row++) {
    int32_t *lowest = f->neighbours + f->offsets[row], *list = lowest + f->starts[1];
    if (!is_upper(row)) continue;
    int64_t near[DEGREE];
    size_t n = nearest(f, vector_of(f, row), rows, true, row, DEGREE - 1, near);
    bool linked = lowest[0] >= 0;
    for (size_t i = 0; i < n; i++) list[i] = (int32_t)near[i];
    for (size_t i = 0; i < n && !linked; i++) lowest[i] = (int32_t)near[i];
    if (before >= 0) f->neighbours[f->offsets[before] + (size_t)f->starts[2] - 1] = (int32_t)row;
    before = (int32_t)row;
  }
  return (kin_links){f->neighbours, f->offsets, f->starts, 3, 1, rows};
}

static fixture *make(unsigned threads) {
  static const kin_vectors_key key = {.uuid = "fifteen bytes..", .collection = 1, .dim = DIM};
  kin_error err;
  fixture *f = calloc(1, sizeof *f);
  assert_non_null(f);
  f->folder = test_temporary_folder();
  f->rows = N;
  char *path = kin_format("%s/v", f->folder);
  test_assert_ok(kin_context_open(&(kin_context_options){.threads = threads}, &f->context, &err), &err);
  test_assert_ok(kin_synthetic_open(DIM, 5, &f->synthetic, &err), &err);
  test_assert_ok(kin_vectors_create(path, &key, &err), &err);
  test_assert_ok(kin_vectors_open(path, true, &key, &f->file, &err), &err);
  for (uint64_t i = 0, row; i < N; i++) {
    float v[DIM];
    kin_synthetic_vector(f->synthetic, i, v);
    test_assert_ok(kin_vectors_append(f->file, (int64_t)i + 1, v, &row, &err), &err);
  }
  test_assert_ok(kin_vectors_set_rows(f->file, N, &err), &err);
  test_assert_ok(kin_vectors_map(f->file, &err), &err);
  free(path);
  f->starts[1] = 2 * DEGREE, f->starts[2] = 3 * DEGREE;
  f->offsets = kin_array(N + 1, sizeof *f->offsets);
  f->offsets[0] = 0;
  for (uint64_t row = 0; row < N; row++)
    f->offsets[row + 1] = f->offsets[row] + (size_t)f->starts[is_upper(row) ? 2 : 1];
  f->neighbours = kin_array(f->offsets[N], sizeof *f->neighbours);
  memset(f->neighbours, 255, f->offsets[N] * sizeof *f->neighbours);
  return f;
}

static void end(fixture *f) {
  kin_vectors_close(f->file);
  kin_synthetic_close(f->synthetic);
  kin_context_close(f->context);
  test_remove_tree(f->folder);
  free(f->folder);
  free(f->neighbours);
  free(f->offsets);
  free(f);
}

static void link_rows(kin_graph *graph, uint64_t first, uint64_t rows) {
  int32_t *list = kin_array(rows, sizeof *list);
  size_t n = 0;
  for (uint64_t row = first; row < rows; row++)
    if (!is_upper(row)) list[n++] = (int32_t)row;
  assert_true(kin_graph_link(graph, list, n, EF));
  free(list);
}

static kin_graph *make_graph(fixture *f) {
  kin_links links = links_of(f, N / 2);
  kin_graph *graph = kin_graph_new(f->context, f->file, &links, NULL, 0);
  assert_non_null(graph);
  link_rows(graph, 0, N / 2);
  links = links_of(f, N);
  assert_true(kin_graph_renew(graph, &links));
  link_rows(graph, N / 2, N);
  return graph;
}

static void check_lists(const fixture *f) {
  for (uint64_t row = 0; row < N; row++) {
    const int32_t *list = f->neighbours + f->offsets[row];
    size_t n = 0;
    while (n < 2 * DEGREE && list[n] >= 0) n++;
    assert_true(n > 0);
    for (size_t i = n; i < 2 * DEGREE; i++) assert_int_equal(list[i], -1);
    for (size_t i = 0; i < n; i++) {
      assert_in_range(list[i], 0, N - 1);
      assert_int_not_equal(list[i], row);
      for (size_t j = 0; j < i; j++) assert_int_not_equal(list[i], list[j]);
    }
  }
}

/* The share of each query's K nearest that a walk finds. */
static double recall(const fixture *f, const kin_graph *graph, size_t ef) {
  kin_graph_room *room = kin_graph_room_new(graph, ef);
  size_t hits = 0;
  assert_non_null(room);
  for (uint64_t q = 0; q < QUERIES; q++) {
    float query[DIM];
    int64_t exact[K], found[K];
    kin_synthetic_query(f->synthetic, q, query);
    assert_int_equal(nearest(f, query, N, false, N, K, exact), K);
    kin_graph_search(graph, room, query, -1, K, found);
    assert_true(kin_graph_compared(room) > ef && kin_graph_compared(room) < N);
    for (size_t i = 0; i + 1 < K; i++)
      assert_true(product(query, vector_of(f, (uint64_t)found[i])) >=
                  product(query, vector_of(f, (uint64_t)found[i + 1])) - 1e-6);
    for (size_t i = 0; i < K; i++)
      for (size_t j = 0; j < K; j++) hits += exact[i] == found[j];
  }
  kin_graph_room_free(room);
  return (double)hits / (K * QUERIES);
}

static void finds_what_is_near(void **state) {
  (void)state;
  for (unsigned threads = 1; threads <= 4; threads += 3) {
    fixture *f = make(threads);
    kin_graph *graph = make_graph(f);
    check_lists(f);
    double wide = recall(f, graph, 200), narrow = recall(f, graph, 64);
    print_message("recall@10 of %d rows linked by %u threads: %.3f with ef 64, %.3f with 200\n", N, threads, narrow,
                  wide);
    assert_true(narrow > 0.88);
    assert_true(wide > 0.97);
    kin_graph_free(graph);
    end(f);
  }
}

static void leaves_one_out(void **state) {
  (void)state;
  fixture *f = make(1);
  kin_graph *graph = make_graph(f);
  kin_graph_room *room = kin_graph_room_new(graph, 64);
  for (int64_t row = 0; row < 200; row++) {
    int64_t found[K];
    kin_graph_search(graph, room, vector_of(f, (uint64_t)row), -1, K, found);
    assert_int_equal(found[0], row);
    if (row == 3) continue; /* where walks begin */
    kin_graph_search(graph, room, vector_of(f, (uint64_t)row), row, K, found);
    for (size_t i = 0; i < K; i++) assert_int_not_equal(found[i], row);
  }
  kin_graph_room_free(room);
  kin_graph_free(graph);
  end(f);
}

typedef struct buffer {
  uint8_t *bytes;
  size_t n, capacity;
} buffer;

static bool keep(void *user, const void *data, size_t size) {
  buffer *b = user;
  assert_true(kin_grow((void **)&b->bytes, &b->capacity, b->n + size, 1));
  memcpy(b->bytes + b->n, data, size);
  b->n += size;
  return true;
}

static bool refuse(void *user, const void *data, size_t size) {
  (void)user, (void)data, (void)size;
  return false;
}

static void takes_saved_codes(void **state) {
  (void)state;
  fixture *f = make(2);
  kin_graph *made = make_graph(f);
  buffer all = {0}, again = {0};
  kin_links links = links_of(f, N);
  assert_true(kin_graph_write(made, keep, &all));
  assert_false(kin_graph_write(made, refuse, NULL));
  /* Of another number they are made anew; of the same they are taken as they are. */
  kin_graph *other = kin_graph_new(f->context, f->file, &links, all.bytes, all.n - 1);
  assert_true(other && kin_graph_write(other, keep, &again));
  assert_int_equal(all.n, again.n);
  assert_memory_equal(all.bytes, again.bytes, all.n);
  kin_graph_free(other);
  again.n = 0;
  all.bytes[all.n - 1] ^= 1;
  other = kin_graph_new(f->context, f->file, &links, all.bytes, all.n);
  assert_true(other && kin_graph_write(other, keep, &again));
  assert_memory_equal(all.bytes, again.bytes, all.n);
  kin_graph_free(other);
  kin_graph_free(made);
  free(all.bytes);
  free(again.bytes);
  end(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(finds_what_is_near),
      cmocka_unit_test(leaves_one_out),
      cmocka_unit_test(takes_saved_codes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
