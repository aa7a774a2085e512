/* Many queries in one process, for test_conformance.py: driver_queries STORE QUERIES.npy K [KEY=VALUE]..., where KEY is
 * ann, where, candidates, or words, a file with the words of each query on a line. A line for each hit: the query, id,
 * score, rank by vectors, rank by words, line, offset, path. */
#include "kindred.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct settings {
  const char *ann, *where;
  kin_elastic_options elastic;
  FILE *words;
} settings;

static void set(settings *s, const char *argument) {
  const char *equals = strchr(argument, '=');
  if (!equals) exit(2);
  const char *value = equals + 1;
#define IS(name) (strncmp(argument, name "=", sizeof(name)) == 0)
  if (IS("ann")) s->ann = value;
  if (IS("where")) s->where = value;
  if (IS("candidates")) s->elastic.candidates = strtoul(value, NULL, 10);
  if (IS("words") && !(s->words = fopen(value, "r"))) exit(2);
#undef IS
}

static void print(size_t query, const kin_hits *hits) {
  for (size_t i = 0; i < kin_hits_count(hits); i++) {
    const kin_hit *h = kin_hits_get(hits, i);
    printf("%zu\t%lld\t%.9g\t%zu\t%zu\t%llu\t%llu\t%s\n", query, (long long)h->id, (double)h->score, h->vector_rank,
           h->bm25_rank, (unsigned long long)h->line, (unsigned long long)h->offset, h->path);
  }
}

static kin_status run(kin_store *store, const settings *s, const float *rows, size_t n, size_t dim, size_t k,
                      kin_error *err) {
  char words[1000];
  kin_status status = KIN_OK;
  for (size_t i = 0; status == KIN_OK && i < n; i++) {
    const kin_example example = {.vector = rows + i * dim};
    kin_query query = {.examples = &example, .n_examples = 1, .dim = dim, .k = k, .ann = s->ann, .where = s->where};
    kin_hits *hits;
    if (s->words && !(query.words = fgets(words, sizeof words, s->words))) exit(2);
    status = kin_store_find(store, &query, &hits, err);
    if (status != KIN_OK) break;
    print(i, hits);
    kin_hits_close(hits);
  }
  return status;
}

int main(int argc, char **argv) {
  settings s = {0};
  kin_error err;
  kin_context *context = NULL;
  kin_store *store = NULL;
  float *rows = NULL;
  size_t n = 0, dim = 0;
  if (argc < 4) return 2;
  for (int i = 4; i < argc; i++) set(&s, argv[i]);
  kin_status status = kin_context_open(NULL, &context, &err);
  if (status == KIN_OK) status = kin_npy_read(argv[2], &rows, &n, &dim, &err);
  if (status == KIN_OK) status = kin_store_open_with(context, argv[1], KIN_STORE_READ, &s.elastic, &store, &err);
  if (status == KIN_OK) status = run(store, &s, rows, n, dim, strtoul(argv[3], NULL, 10), &err);
  if (status != KIN_OK) fprintf(stderr, "%s\n", err.message);
  kin_store_close(store);
  kin_context_close(context);
  free(rows);
  if (s.words) fclose(s.words);
  return status == KIN_OK ? 0 : 1;
}
