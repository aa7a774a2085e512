/* Makes a vector file of clustered, seeded vectors and searches it as told: the driver of bench/scan.py and
 * bench/ann.py.
 *
 *   bench-scan PATH ROWS DIM [THREADS]
 *
 * makes PATH and its codes (bfloat16 of up to a million rows), unless they are there, and PATH.queries: 1,000 queries,
 * float32. Then, a line each on stdin: search ROWS QUERIES K REPEAT CODES OUT searches the first ROWS rows for the
 * first QUERIES queries REPEAT times, by their codes in int8 (1) or bfloat16 (2), or by the vectors alone (0); writes
 * the rows found, int64 [QUERIES][K], to OUT ("-": nowhere); prints the seconds of one as JSON. optimize FACTORY makes
 * an approximate index of all rows, and prints its seconds, bytes and effort; ann PROBES EF CANDIDATES searches by it
 * from then on. */
#include "index/scan.h"

#include "index/ann.h"
#include "index/synthetic.h"
#include "kernel/measure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { QUERIES = 1000, MOST_BF16_ROWS = 1000000 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fail(const kin_error *err) {
  fprintf(stderr, "bench-scan: %s\n", err->message);
  exit(1);
}

static bool is_there(const char *path, const kin_vectors_key *key, uint64_t rows) {
  kin_vectors *file;
  if (kin_vectors_open(path, false, key, &file, NULL) != KIN_OK) return false;
  bool there = kin_vectors_set_rows(file, rows, NULL) == KIN_OK;
  kin_vectors_close(file);
  return there;
}

static void make_file(const kin_synthetic *synthetic, kin_context *context, const char *path,
                      const kin_vectors_key *key, uint64_t rows) {
  kin_error err;
  kin_index *index;
  kin_index_state state = {0}, whole = {.rows = rows};
  float *v = kin_array(key->dim, sizeof *v);
  kin_codes_remove(path);
  if (!v || kin_vectors_create(path, key, &err) != KIN_OK ||
      kin_index_open_flat(context, path, true, key, &state, &index, &err) != KIN_OK)
    fail(&err);
  for (uint64_t row = 0, added; row < rows; row++) {
    kin_synthetic_vector(synthetic, row, v);
    if (kin_index_add(index, (int64_t)row, v, &added, &err) != KIN_OK) fail(&err);
    if (row % 65536 == 65535) kin_index_committed(index);
  }
  if (kin_index_save(index, &err) != KIN_OK) fail(&err);
  kin_index_committed(index);
  kin_index_close(index);
  if (rows <= MOST_BF16_ROWS &&
      kin_index_open_flat_coded(context, path, true, key, &whole, KIN_CODE_BF16, &index, &err) != KIN_OK)
    fail(&err);
  if (rows <= MOST_BF16_ROWS) kin_index_close(index);
  free(v);
}

static float *make_queries(const kin_synthetic *synthetic, size_t dim, const char *path) {
  float *queries = kin_array(QUERIES, dim * sizeof *queries);
  char *name = kin_format("%s.queries", path);
  FILE *f = name ? fopen(name, "wb") : NULL;
  if (!queries || !f) exit(1);
  for (size_t i = 0; i < QUERIES; i++) kin_synthetic_query(synthetic, i, queries + i * dim);
  fwrite(queries, sizeof *queries, QUERIES * dim, f);
  fclose(f);
  free(name);
  return queries;
}

typedef struct order {
  unsigned long long rows;
  size_t queries, k, repeat;
  int codes;
  char out[1024];
} order;

static void search(kin_index *index, const order *o, const kin_ann_query *ann, const float *queries) {
  kin_error err;
  kin_match *matches = kin_array(o->queries * o->k, sizeof *matches);
  size_t *n = kin_array(o->queries, sizeof *n);
  if (!matches || !n) exit(1);
  kin_index_query query = {queries, o->queries, o->k, NULL, ann};
  if (kin_index_search(index, &query, matches, n, &err) != KIN_OK) fail(&err); /* checks the checksums */
  double start = now(), least = INFINITY;
  for (size_t i = 0; i < o->repeat; i++) {
    double began = now();
    if (kin_index_search(index, &query, matches, n, &err) != KIN_OK) fail(&err);
    least = fmin(least, now() - began);
  }
  double seconds = (now() - start) / (double)(o->repeat ? o->repeat : 1);
  kin_index_stats stats;
  kin_index_statistics(index, &stats);
  if (strcmp(o->out, "-") != 0) {
    FILE *f = fopen(o->out, "wb");
    if (!f) exit(1);
    for (size_t i = 0; i < o->queries * o->k; i++) {
      int64_t row = (int64_t)matches[i].row;
      fwrite(&row, sizeof row, 1, f);
    }
    fclose(f);
  }
  printf("{\"seconds\": %.9f, \"least_seconds\": %.9f, \"code_bytes\": %llu}\n", seconds, least,
         (unsigned long long)stats.derived_bytes);
  fflush(stdout);
  free(matches);
  free(n);
}

static void optimize(kin_context *context, const char *path, const kin_vectors_key *key, uint64_t rows,
                     const char *factory) {
  kin_error err;
  kin_index *index;
  kin_index_state state = {.rows = rows};
  kin_ann_head head;
  if (kin_index_open_flat(context, path, true, key, &state, &index, &err) != KIN_OK) fail(&err);
  double start = now();
  if (kin_index_optimize(index, &(kin_index_build){.factory = factory}, &err) != KIN_OK ||
      kin_ann_read_head(path, key, &head, &err) != KIN_OK)
    fail(&err);
  printf("{\"seconds\": %.3f, \"bytes\": %llu, \"probes\": %u, \"ef\": %u, \"candidates\": %u, \"recall\": %.4f}\n",
         now() - start, (unsigned long long)head.bytes, head.effort.probes, head.effort.ef, head.effort.candidates,
         (double)head.effort.recall);
  fflush(stdout);
  kin_index_close(index);
}

static void print_read(const kin_context *context) {
  const size_t bytes = (size_t)512 << 20;
  float *data = kin_alloc_aligned(bytes);
  if (!data) exit(1);
  memset(data, 0, bytes);
  printf("{\"bytes_per_second\": %.0f}\n", kin_measure_read(context, data, bytes, 7));
  fflush(stdout);
  kin_free_aligned(data);
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  uint64_t rows = strtoull(argv[2], NULL, 10);
  kin_vectors_key key = {.uuid = "bench-scan", .collection = 1, .dim = strtoul(argv[3], NULL, 10)};
  kin_synthetic *synthetic;
  kin_context *context;
  kin_error err;
  kin_context_options options = {.threads = argc > 4 ? (unsigned)atoi(argv[4]) : 0};
  if (kin_synthetic_open(key.dim, 1, &synthetic, &err) != KIN_OK) fail(&err);
  if (kin_context_open(&options, &context, &err) != KIN_OK) fail(&err);
  if (!is_there(argv[1], &key, rows)) make_file(synthetic, context, argv[1], &key, rows);
  float *queries = make_queries(synthetic, key.dim, argv[1]);
  printf("{\"threads\": %u, \"isa\": \"%s\"}\n", kin_context_threads(context), context->scan->name);
  fflush(stdout);

  kin_index *index = NULL;
  order o, open = {0};
  kin_ann_query ann = {0};
  kin_ann_head head;
  bool approximate = false;
  char line[2048], factory[KIN_ANN_FACTORY];
  while (fgets(line, sizeof line, stdin)) {
    if (strcmp(line, "read\n") == 0) {
      print_read(context);
      continue;
    }
    if (sscanf(line, "optimize %127s", factory) == 1) {
      optimize(context, argv[1], &key, rows, factory);
      continue;
    }
    if (sscanf(line, "ann %zu %zu %zu", &ann.probes, &ann.ef, &ann.candidates) == 3) {
      if (kin_ann_read_head(argv[1], &key, &head, &err) != KIN_OK) fail(&err);
      ann.factory = head.factory; /* demanded: no exact scan in its place */
      approximate = true;
      continue;
    }
    if (sscanf(line, "search %llu %zu %zu %zu %d %1023s", &o.rows, &o.queries, &o.k, &o.repeat, &o.codes, o.out) != 6 ||
        o.queries > QUERIES)
      return 2;
    if (!index || o.rows != open.rows || o.codes != open.codes) {
      kin_index_state state = {.rows = o.rows};
      kin_index_close(index);
      if (kin_index_open_flat_coded(context, argv[1], false, &key, &state, (kin_code)o.codes, &index, &err) != KIN_OK)
        fail(&err);
      open = o;
    }
    search(index, &o, approximate ? &ann : NULL, queries);
  }
  kin_index_close(index);
  kin_context_close(context);
  free(queries);
  kin_synthetic_close(synthetic);
  return 0;
}
