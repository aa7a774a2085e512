/* How fast N synthetic vectors of DIM floats go into an index of Elasticsearch, and how fast and how well they are
 * found again; bench/elasticsearch.py starts a node and runs these.
 *
 *   bench-elasticsearch fill ADDRESS FOLDER N DIM [FIRST]    vectors FIRST (0) to N - 1; the texts that they stand for
 * are written below FOLDER bench-elasticsearch search ADDRESS N DIM [CANDIDATES]... with 1 client and with 2 at the
 * same time */
#include "embed/embed.h"
#include "index/synthetic.h"
#include "kernel/kernel.h"
#include "store/store.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORDS = 1000, QUERIES = 200, K = 10, MOST_CLIENTS = 2 };
#define WARM_SECONDS 10.0
#define MEASURE_SECONDS 6.0

typedef struct bench {
  kin_context *context;
  kin_synthetic *synthetic;
  size_t first, n, dim;
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
  for (size_t first = b->first; first < b->n; first += RECORDS) {
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
  const size_t n = b->n - b->first;
  printf("filling   %zu vectors of %zu floats in %.1f s: %.0f a second (%llu files, %llu failures)\n", n, b->dim,
         seconds, (double)n / seconds, (unsigned long long)progress.done, (unsigned long long)progress.failed);
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

static size_t count_right(const bench *b, size_t q, const kin_hits *hits) {
  size_t right = 0;
  for (size_t i = 0; i < kin_hits_count(hits); i++)
    for (size_t k = 0; k < K; k++) right += strtoull(kin_hits_get(hits, i)->passage, NULL, 10) == b->truth[q * K + k];
  return right;
}

typedef struct client {
  const bench *bench;
  const char *address;
  size_t candidates, first; /* of the queries, that with which it begins */
  double seconds;           /* to go on for */
  size_t asked, right;
} client;

static void *ask(void *arg) {
  client *c = arg;
  const bench *b = c->bench;
  kin_error err;
  kin_context *context;
  kin_store *store;
  const kin_context_options one = {.threads = 1};
  const kin_elastic_options options = {.candidates = c->candidates};
  need(kin_context_open(&one, &context, &err), &err);
  need(kin_store_open_with(context, c->address, KIN_STORE_READ, &options, &store, &err), &err);
  for (double end = kin_embed_now() + c->seconds; kin_embed_now() < end; c->asked++) {
    const size_t q = (c->first + c->asked) % QUERIES;
    const kin_example example = {.vector = b->queries + q * b->dim};
    const kin_query query = {.examples = &example, .n_examples = 1, .dim = b->dim, .k = K};
    kin_hits *hits;
    need(kin_store_find(store, &query, &hits, &err), &err);
    c->right += count_right(b, q, hits);
    kin_hits_close(hits);
  }
  kin_store_close(store);
  kin_context_close(context);
  return NULL;
}

static void search(const bench *b, const char *address, size_t candidates, size_t n_clients, double seconds,
                   bool tell) {
  client clients[MOST_CLIENTS];
  pthread_t threads[MOST_CLIENTS];
  size_t asked = 0, right = 0;
  double start = kin_embed_now();
  for (size_t i = 0; i < n_clients; i++) {
    clients[i] = (client){b, address, candidates, i * QUERIES / n_clients, seconds, 0, 0};
    if (pthread_create(&threads[i], NULL, ask, &clients[i]) != 0) exit(1);
  }
  for (size_t i = 0; i < n_clients; i++) {
    pthread_join(threads[i], NULL);
    asked += clients[i].asked;
    right += clients[i].right;
  }
  if (!tell) return;
  printf("searching %5zu candidates, %zu client%s: recall@%d %.4f, %.1f queries/s\n", candidates, n_clients,
         n_clients == 1 ? "" : "s", K, (double)right / (double)(asked * K), (double)asked / (kin_embed_now() - start));
  fflush(stdout);
}

static void search_all(bench *b, const char *address, const size_t *candidates, size_t n) {
  b->queries = room(QUERIES * b->dim * sizeof *b->queries);
  b->truth = room(QUERIES * K * sizeof *b->truth);
  for (size_t i = 0; i < QUERIES; i++) kin_synthetic_query(b->synthetic, i, b->queries + i * b->dim);
  kin_parallel_for(b->context->pool, QUERIES, find_truth, b);
  search(b, address, candidates[n - 1], MOST_CLIENTS, WARM_SECONDS, false);
  for (size_t i = 0; i < n; i++)
    for (size_t clients = 1; clients <= MOST_CLIENTS; clients++)
      search(b, address, candidates[i], clients, MEASURE_SECONDS, true);
  free(b->queries);
  free(b->truth);
}

static int usage(void) {
  fprintf(stderr, "usage: bench-elasticsearch fill ADDRESS FOLDER N DIM [FIRST]\n"
                  "       bench-elasticsearch search ADDRESS N DIM [CANDIDATES]...\n");
  return 2;
}

int main(int argc, char **argv) {
  size_t candidates[16] = {50, 100, 200, 500, 1000}, n = 5;
  const bool filling = argc > 1 && strcmp(argv[1], "fill") == 0;
  if (argc < (filling ? 6 : 5) || argc > 20 || (!filling && strcmp(argv[1], "search") != 0)) return usage();
  char **numbers = argv + (filling ? 4 : 3);
  kin_error err;
  bench b = {.n = strtoull(numbers[0], NULL, 10), .dim = strtoull(numbers[1], NULL, 10)};
  if (filling && argc > 6) b.first = strtoull(argv[6], NULL, 10);
  if (!filling && argc > 5) n = 0;
  for (int i = 5; !filling && i < argc; i++) candidates[n++] = strtoull(argv[i], NULL, 10);
  need(kin_context_open(NULL, &b.context, &err), &err);
  need(kin_synthetic_open(b.dim, 1, &b.synthetic, &err), &err);
  b.vectors = room(b.n * b.dim * sizeof *b.vectors);
  for (size_t i = 0; i < b.n; i++) kin_synthetic_vector(b.synthetic, i, b.vectors + i * b.dim);
  if (filling)
    fill(&b, argv[2], argv[3]);
  else
    search_all(&b, argv[2], candidates, n);
  free(b.vectors);
  kin_synthetic_close(b.synthetic);
  kin_context_close(b.context);
  return 0;
}
