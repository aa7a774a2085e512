/* Clusters as results. */
#include "analyse/clustering.h"

#include <stdlib.h>

kin_status kin_clustering_open(size_t n, bool strength, kin_clustering *out, kin_error *err) {
  *out = (kin_clustering){.n = n, .labels = kin_array(n, sizeof *out->labels)};
  if (strength) out->strength = kin_array(n, sizeof *out->strength);
  if (out->labels && (out->strength || !strength)) return KIN_OK;
  kin_clustering_free(out);
  return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the labels of %zu vectors", n);
}

void kin_clustering_free(kin_clustering *clustering) {
  if (!clustering) return;
  free(clustering->labels);
  free(clustering->strength);
  *clustering = (kin_clustering){0};
}

typedef struct found {
  size_t size, first, label;
  bool by_first;
} found;

static int in_order(const void *a, const void *b) {
  const found *x = a, *y = b;
  if (!x->by_first && x->size != y->size) return x->size > y->size ? -1 : 1;
  return x->first < y->first ? -1 : x->first > y->first;
}

kin_status kin_clustering_number(kin_clustering *out, size_t k, bool by_first, kin_error *err) {
  found *clusters = calloc(k + 1, sizeof *clusters);
  uint32_t *numbers = calloc(k + 1, sizeof *numbers);
  if (!clusters || !numbers) {
    free(clusters), free(numbers);
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu clusters", k);
  }
  for (size_t c = 0; c < k; c++) clusters[c] = (found){.first = SIZE_MAX, .label = c, .by_first = by_first};
  for (size_t i = 0; i < out->n; i++) {
    if (out->labels[i] == KIN_NO_CLUSTER) continue;
    found *c = &clusters[out->labels[i]];
    if (c->size++ == 0) c->first = i;
  }
  if (k) qsort(clusters, k, sizeof *clusters, in_order);
  out->k = 0;
  for (size_t c = 0; c < k; c++)
    if (clusters[c].size) numbers[clusters[c].label] = (uint32_t)out->k++;
  for (size_t i = 0; i < out->n; i++)
    if (out->labels[i] != KIN_NO_CLUSTER) out->labels[i] = numbers[out->labels[i]];
  free(clusters), free(numbers);
  return KIN_OK;
}
