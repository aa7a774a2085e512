/* bench-elasticsearch ADDRESS FOLDER [N] [DIM]: how fast N synthetic vectors (50,000 of 512 floats) go into an index of
 * Elasticsearch, and how fast and how well they are found again. The texts that they stand for are written below
 * FOLDER. bench/elasticsearch.py starts a node and runs this. */
#include "embed/embed.h"
#include "index/synthetic.h"
#include "kernel/kernel.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORDS = 1000, QUERIES = 200, K = 10 };

typedef struct bench {
  kin_context *context;
  kin_synthetic *synthetic;
  size_t n, dim;
  float *vectors, *queries;
  uint64_t *truth; /* [QUERIES][K] */
} bench;

static void need(kin_status status, const kin_error *err) {
  if (status == KIN_OK) return;
  fprintf(stderr, "bench-elasticsearch: %s\n", err->message);
  exit(1);
}

static void *room(size_t bytes) {
  void *p = malloc(bytes);
  if (p) return p;
  fprintf(stderr, "bench-elasticsearch: out of memory\n");
  exit(1);
}

/* ----------------------------------------------------------------------- filling */

static kin_status embed_texts(void *user, const char *const *texts, size_t n, const kin_embed_options *options,
                              float *out, kin_error *err) {
  const bench *b = user;
  (void)options;
  (void)err;
  for (size_t i = 0; i < n; i++)
    memcpy(out + i * b->dim, b->vectors + strtoull(texts[i], NULL, 10) * b->dim, b->dim * sizeof *out);
  return KIN_OK;
}

static kin_status count_tokens(void *user, const char *text, size_t size, size_t *out, kin_error *err) {
  (void)user;
  (void)text;
  (void)size;
  (void)err;
  *out = 1;
  return KIN_OK;
}

/* A thousand numbers in each file, one for each vector. */
static void write_texts(const bench *b, const char *folder) {
  for (size_t first = 0; first < b->n; first += RECORDS) {
    char path[4200];
    snprintf(path, sizeof path, "%s/%08zu.jsonl", folder, first);
    FILE *f = fopen(path, "w");
    for (size_t i = first; f && i < first + RECORDS && i < b->n; i++) fprintf(f, "{\"text\": \"%zu\"}\n", i);
    if (!f || fclose(f) != 0) {
      perror(path);
      exit(1);
    }
  }
}

static void fill(bench *b, const char *address, const char *folder) {
  kin_error err;
  kin_store *store;
  kin_index_progress progress;
  kin_store_encoder encoder = {.model_id = "synthetic",
                               .model_path = "synthetic",
                               .dim = b->dim,
                               .has_text = true,
                               .embed_texts = embed_texts,
                               .count_tokens = count_tokens,
                               .max_tokens = 100,
                               .user = b};
  write_texts(b, folder);
  need(kin_store_open(b->context, address, KIN_STORE_WRITE, &store, &err), &err);
  double start = kin_embed_now();
  need(kin_store_update(store, &encoder, &folder, 1, NULL, &progress, &err), &err);
  double seconds = kin_embed_now() - start;
  printf("filling   %zu vectors of %zu floats in %.1f s: %.0f a second (%llu files, %llu failures)\n", b->n, b->dim,
         seconds, (double)b->n / seconds, (unsigned long long)progress.done, (unsigned long long)progress.failed);
  kin_store_close(store);
}

/* --------------------------------------------------------------------- searching */

static void find_truth(void *arg, size_t q) {
  bench *b = arg;
  float best[K];
  size_t found = 0;
  for (size_t i = 0; i < b->n; i++) {
    float score = b->context->kernels->dot(b->queries + q * b->dim, b->vectors + i * b->dim, b->dim);
    if (found == K && score <= best[K - 1]) continue;
    size_t at = found < K ? found++ : K - 1;
    for (; at && best[at - 1] < score; at--) {
      best[at] = best[at - 1];
      b->truth[q * K + at] = b->truth[q * K + at - 1];
    }
    best[at] = score;
    b->truth[q * K + at] = i;
  }
}

static int by_time(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static size_t count_right(const bench *b, size_t q, const kin_hits *hits) {
  size_t right = 0;
  for (size_t i = 0; i < kin_hits_count(hits); i++)
    for (size_t k = 0; k < K; k++) right += strtoull(kin_hits_get(hits, i)->passage, NULL, 10) == b->truth[q * K + k];
  return right;
}

static void search(const bench *b, const char *address, size_t candidates) {
  kin_error err;
  kin_store *store;
  double times[QUERIES];
  size_t right = 0;
  const kin_elastic_options options = {.candidates = candidates};
  need(kin_store_open_with(b->context, address, KIN_STORE_READ, &options, &store, &err), &err);
  for (size_t q = 0; q < QUERIES; q++) {
    const kin_example example = {.vector = b->queries + q * b->dim};
    const kin_query query = {.examples = &example, .n_examples = 1, .dim = b->dim, .k = K};
    kin_hits *hits;
    double start = kin_embed_now();
    need(kin_store_find(store, &query, &hits, &err), &err);
    times[q] = kin_embed_now() - start;
    right += count_right(b, q, hits);
    kin_hits_close(hits);
  }
  qsort(times, QUERIES, sizeof *times, by_time);
  printf("searching %5zu candidates: recall@%d %.4f, median %.1f ms, 95%% below %.1f ms\n", candidates, K,
         (double)right / (QUERIES * K), times[QUERIES / 2] * 1e3, times[QUERIES * 95 / 100] * 1e3);
  kin_store_close(store);
}

int main(int argc, char **argv) {
  static const size_t candidates[] = {50, 100, 200, 500, 1000};
  if (argc < 3) {
    fprintf(stderr, "usage: bench-elasticsearch ADDRESS FOLDER [N] [DIM]\n");
    return 2;
  }
  kin_error err;
  bench b = {.n = argc > 3 ? strtoull(argv[3], NULL, 10) : 50000, .dim = argc > 4 ? strtoull(argv[4], NULL, 10) : 512};
  need(kin_context_open(NULL, &b.context, &err), &err);
  need(kin_synthetic_open(b.dim, 1, &b.synthetic, &err), &err);
  b.vectors = room(b.n * b.dim * sizeof *b.vectors);
  b.queries = room(QUERIES * b.dim * sizeof *b.queries);
  b.truth = room(QUERIES * K * sizeof *b.truth);
  for (size_t i = 0; i < b.n; i++) kin_synthetic_vector(b.synthetic, i, b.vectors + i * b.dim);
  for (size_t i = 0; i < QUERIES; i++) kin_synthetic_query(b.synthetic, i, b.queries + i * b.dim);
  fill(&b, argv[1], argv[2]);
  kin_parallel_for(b.context->pool, QUERIES, find_truth, &b);
  for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++) search(&b, argv[1], candidates[i]);
  free(b.vectors);
  free(b.queries);
  free(b.truth);
  kin_synthetic_close(b.synthetic);
  kin_context_close(b.context);
  return 0;
}
