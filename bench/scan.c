/* Makes a vector file of clustered, seeded vectors and searches it as told: the driver of bench/scan.py.
 *
 *   bench-scan PATH ROWS DIM [THREADS]
 *
 * makes PATH and its codes, unless they are there, and PATH.queries: 1,000 queries, float32. Then, a line each on
 * stdin:
 *   search ROWS QUERIES K REPEAT CODES OUT
 *     searches the first ROWS rows for the first QUERIES queries REPEAT times, by their codes in int8 (1) or bfloat16
 *     (2), or by the vectors alone (0); writes the rows found, int64 [QUERIES][K], to OUT ("-": nowhere); prints the
 * seconds of one as JSON. */
#include "index/scan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CLUSTERS = 2000, QUERIES = 1000 };

typedef struct generator {
  size_t dim;
  float *centres;
} generator;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fail(const kin_error *err) {
  fprintf(stderr, "bench-scan: %s\n", err->message);
  exit(1);
}

static uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/* About normal: the sum of four 16-bit numbers of one hash. */
static float normal(uint64_t seed, size_t i) {
  uint64_t z = mix(seed * 0x9e3779b97f4a7c15u + (i + 1) * 0xd1342543de82ef95u);
  float sum = (float)(z & 0xffff) + (float)(z >> 16 & 0xffff) + (float)(z >> 32 & 0xffff) + (float)(z >> 48);
  return (sum - 131070.0f) / 37837.0f;
}

/* Of length 1: a cluster's centre and as much noise, so that cosines within a cluster are about a half. */
static void make_vector(const generator *g, uint64_t seed, float *out) {
  const float *centre = g->centres + mix(seed) % CLUSTERS * g->dim;
  float squares = 0;
  for (size_t i = 0; i < g->dim; i++) {
    out[i] = centre[i] + normal(seed, i);
    squares += out[i] * out[i];
  }
  for (size_t i = 0; i < g->dim; i++) out[i] /= sqrtf(squares);
}

static bool is_there(const char *path, const kin_vectors_key *key, uint64_t rows) {
  kin_vectors *file;
  if (kin_vectors_open(path, false, key, &file, NULL) != KIN_OK) return false;
  bool there = kin_vectors_set_rows(file, rows, NULL) == KIN_OK;
  kin_vectors_close(file);
  return there;
}

static void make_file(const generator *g, kin_context *context, const char *path, const kin_vectors_key *key,
                      uint64_t rows) {
  kin_error err;
  kin_index *index;
  kin_index_state state = {0}, whole = {.rows = rows};
  float *v = kin_array(g->dim, sizeof *v);
  kin_codes_remove(path);
  if (!v || kin_vectors_create(path, key, &err) != KIN_OK ||
      kin_index_open_flat(context, path, true, key, &state, &index, &err) != KIN_OK)
    fail(&err);
  for (uint64_t row = 0, added; row < rows; row++) {
    make_vector(g, row + 1, v);
    if (kin_index_add(index, (int64_t)row, v, &added, &err) != KIN_OK) fail(&err);
    if (row % 65536 == 65535) kin_index_committed(index);
  }
  if (kin_index_save(index, &err) != KIN_OK) fail(&err);
  kin_index_committed(index);
  kin_index_close(index);
  if (kin_index_open_flat_coded(context, path, true, key, &whole, KIN_CODE_BF16, &index, &err) != KIN_OK) fail(&err);
  kin_index_close(index);
  free(v);
}

static float *make_queries(const generator *g, const char *path) {
  float *queries = kin_array(QUERIES, g->dim * sizeof *queries);
  char *name = kin_format("%s.queries", path);
  FILE *f = name ? fopen(name, "wb") : NULL;
  if (!queries || !f) exit(1);
  for (size_t i = 0; i < QUERIES; i++) make_vector(g, ((uint64_t)1 << 40) + i, queries + i * g->dim);
  fwrite(queries, sizeof *queries, QUERIES * g->dim, f);
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

static void search(kin_index *index, const order *o, const float *queries) {
  kin_error err;
  kin_match *matches = kin_array(o->queries * o->k, sizeof *matches);
  size_t *n = kin_array(o->queries, sizeof *n);
  if (!matches || !n) exit(1);
  kin_index_query query = {queries, o->queries, o->k, NULL};
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

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  uint64_t rows = strtoull(argv[2], NULL, 10);
  generator g = {.dim = strtoul(argv[3], NULL, 10)};
  kin_vectors_key key = {.uuid = "bench-scan", .collection = 1, .dim = g.dim};
  kin_context *context;
  kin_error err;
  kin_context_options options = {.threads = argc > 4 ? (unsigned)atoi(argv[4]) : 0};
  g.centres = kin_array(CLUSTERS * g.dim, sizeof *g.centres);
  if (!g.centres) return 1;
  for (size_t i = 0; i < CLUSTERS * g.dim; i++) g.centres[i] = normal(77, i);
  if (kin_context_open(&options, &context, &err) != KIN_OK) fail(&err);
  if (!is_there(argv[1], &key, rows)) make_file(&g, context, argv[1], &key, rows);
  float *queries = make_queries(&g, argv[1]);
  printf("{\"threads\": %u, \"isa\": \"%s\"}\n", kin_context_threads(context), context->scan->name);
  fflush(stdout);

  kin_index *index = NULL;
  order o, open = {0};
  while (scanf(" search %llu %zu %zu %zu %d %1023s", &o.rows, &o.queries, &o.k, &o.repeat, &o.codes, o.out) == 6) {
    if (o.queries > QUERIES) return 2;
    if (!index || o.rows != open.rows || o.codes != open.codes) {
      kin_index_state state = {.rows = o.rows};
      kin_index_close(index);
      if (kin_index_open_flat_coded(context, argv[1], false, &key, &state, (kin_code)o.codes, &index, &err) != KIN_OK)
        fail(&err);
      open = o;
    }
    search(index, &o, queries);
  }
  kin_index_close(index);
  kin_context_close(context);
  free(queries);
  free(g.centres);
  return 0;
}
