/* What a store finds for many queries: bench-hybrid STORE MODEL [WEIGHT...] < QUERIES, one a line. Prints a line for
 * each query and way: the query's number from 0, "bm25", "vectors", "rank" or a weight, and the names of the 10 best
 * files. bench/hybrid.py judges them. */
#include "kindred.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench {
  kin_context *context;
  kin_store *store;
  kin_model *model;
  float *vector;
  size_t dim;
  kin_error err;
} bench;

static kin_status open_all(bench *b, char **argv) {
  kin_status status = kin_context_open(NULL, &b->context, &b->err);
  if (status == KIN_OK) status = kin_store_open(b->context, argv[1], KIN_STORE_READ, &b->store, &b->err);
  if (status == KIN_OK) status = kin_model_open(b->context, argv[2], &b->model, &b->err);
  if (status != KIN_OK) return status;
  b->dim = kin_model_dim(b->model);
  b->vector = calloc(b->dim, sizeof *b->vector);
  return b->vector ? KIN_OK : KIN_ERR_MEMORY;
}

static kin_status find(bench *b, size_t number, const char *way, const kin_query *query) {
  kin_hits *hits;
  kin_status status = kin_store_find(b->store, query, &hits, &b->err);
  if (status != KIN_OK) return status;
  printf("%zu\t%s", number, way);
  for (size_t i = 0; i < kin_hits_count(hits); i++) printf("\t%s", strrchr(kin_hits_get(hits, i)->path, '/') + 1);
  printf("\n");
  kin_hits_close(hits);
  return KIN_OK;
}

static kin_status run(bench *b, size_t number, const char *text, int n_weights, char **weights) {
  const kin_embed_options as_query = {.role = KIN_TEXT_QUERY};
  kin_status status = kin_embed_texts(b->model, &text, 1, &as_query, b->vector, &b->err);
  const kin_example example = {.vector = b->vector};
  const kin_query words = {.words = text, .k = 10, .group = KIN_GROUP_FILE};
  kin_query vectors = {.examples = &example, .n_examples = 1, .dim = b->dim, .k = 10, .group = KIN_GROUP_FILE};
  if (status == KIN_OK) status = find(b, number, "bm25", &words);
  if (status == KIN_OK) status = find(b, number, "vectors", &vectors);
  vectors.words = text;
  if (status == KIN_OK) status = find(b, number, "rank", &vectors);
  vectors.fusion = KIN_FUSION_WEIGHTED;
  for (int i = 0; status == KIN_OK && i < n_weights; i++) {
    vectors.vector_weight = strtod(weights[i], NULL);
    status = find(b, number, weights[i], &vectors);
  }
  return status;
}

int main(int argc, char **argv) {
  bench b = {0};
  char *line = NULL;
  size_t room = 0;
  if (argc < 3) {
    fprintf(stderr, "usage: bench-hybrid STORE MODEL [WEIGHT...] < QUERIES\n");
    return 2;
  }
  kin_status status = open_all(&b, argv);
  for (size_t number = 0; status == KIN_OK && getline(&line, &room, stdin) > 0; number++) {
    line[strcspn(line, "\n")] = '\0';
    status = run(&b, number, line, argc - 3, argv + 3);
  }
  if (status != KIN_OK) fprintf(stderr, "%s\n", b.err.message);
  free(line);
  free(b.vector);
  kin_model_close(b.model);
  kin_store_close(b.store);
  kin_context_close(b.context);
  return status == KIN_OK ? 0 : 1;
}
