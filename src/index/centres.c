/* The nearest of the centres of an IVF index. */
#include "index/centres.h"

#include "index/heap.h"
#include "kernel/kernel.h"

#include <stdlib.h>

/* Of so many queries with so many centres the products stay in the second-level cache. */
enum { QUERIES_AT_ONCE = 64, CENTRES_AT_ONCE = 16 * KIN_PANEL, LD = CENTRES_AT_ONCE + 16, BLOCK = 64 };

struct kin_centres {
  kin_context alone; /* no pool: the calling thread */
  kin_packed packed;
};

kin_centres *kin_centres_new(const struct kin_kernels *kernels, const float *vectors, size_t n, size_t dim) {
  kin_centres *centres = calloc(1, sizeof *centres);
  if (!centres) return NULL;
  centres->alone.kernels = kernels;
  if (kin_pack(&vectors, &n, 1, dim, &centres->packed, NULL) == KIN_OK) return centres;
  free(centres);
  return NULL;
}

void kin_centres_free(kin_centres *centres) {
  if (!centres) return;
  kin_packed_free(&centres->packed);
  free(centres);
}

/* Of the centres from `first` on, those that belong to the best k. Most blocks are soon without any; for one centre, as
 * k-means asks, only the first of the largest products counts. */
static void offer(const kin_kernels *kernels, const float *products, size_t first, size_t n, size_t k, kin_heap *best) {
  for (size_t i = 0, end; i < n; i = end) {
    end = n - i < BLOCK ? n : i + BLOCK;
    const float most = kernels->maximum(products + i, end - i);
    if (best->n == k && !(most > best->items[0].key)) continue;
    while (k == 1 && i < end && products[i] != most) i++;
    const size_t stop = k == 1 && i < end ? i + 1 : end;
    for (; i < stop; i++) kin_heap_keep(best, k, (kin_heap_item){products[i], (int32_t)(first + i)});
  }
}

static void sort(kin_heap *best, size_t k, float *scores, int64_t *found) {
  for (size_t i = best->n; i < k; i++) scores[i] = 0, found[i] = -1;
  while (best->n) {
    kin_heap_item item = kin_heap_pop(best);
    scores[best->n] = item.key, found[best->n] = item.row;
  }
}

/* Of QUERIES_AT_ONCE queries at most. */
static void find(const kin_centres *centres, const float *queries, size_t n, size_t k, kin_heap *best) {
  const kin_packed *all = &centres->packed;
  float products[QUERIES_AT_ONCE * LD];
  for (size_t first = 0; first < all->n; first += CENTRES_AT_ONCE) {
    size_t some = all->n - first < CENTRES_AT_ONCE ? all->n - first : CENTRES_AT_ONCE;
    const kin_packed part = kin_packed_columns(all, first, some);
    kin_gemm(&centres->alone, n, queries, all->k, &part, products, LD, NULL);
    for (size_t q = 0; q < n; q++) offer(centres->alone.kernels, products + q * LD, first, some, k, &best[q]);
  }
}

bool kin_centres_nearest(const kin_centres *centres, const float *queries, size_t n, size_t k, float *scores,
                         int64_t *found) {
  size_t together = n < QUERIES_AT_ONCE ? n : QUERIES_AT_ONCE;
  kin_heap best[QUERIES_AT_ONCE] = {{0}};
  kin_heap_item *items = kin_array(together, k * sizeof *items);
  if (!items) return false;
  for (size_t q = 0; q < together; q++) best[q].items = items + q * k;
  for (size_t first = 0, some; first < n; first += some) {
    some = n - first < together ? n - first : together;
    find(centres, queries + first * centres->packed.k, some, k, best);
    for (size_t q = 0; q < some; q++) sort(&best[q], k, scores + (first + q) * k, found + (first + q) * k);
  }
  free(items);
  return true;
}
