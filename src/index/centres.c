/* The nearest centres. Those of the least distances come of products, too: |x - c|^2 = |x|^2 - 2 (x c - |c|^2 / 2). */
#include "index/centres.h"

#include "index/heap.h"
#include "kernel/kernel.h"

#include <math.h>
#include <stdlib.h>

/* Shorter vectors' nearest centre is found without writing products to memory first. */
#define SHORT 32

/* Of so many queries with so many centres the products stay in the second-level cache; the more queries, the less often
 * the centres come from further away. */
enum { QUERIES_AT_ONCE = 192, CENTRES_AT_ONCE = 4 * KIN_PANEL, LD = CENTRES_AT_ONCE + 16, BLOCK = 64 };

struct kin_centres {
  kin_context alone; /* no pool: the calling thread */
  kin_packed packed;
  bool by_distance;
  float *starts; /* of the products: 0 or -|c|^2 / 2; up to whole panels, where none is the nearest */
};

static float square_of(const float *x, size_t dim) {
  float sum = 0;
  for (size_t i = 0; i < dim; i++) sum += x[i] * x[i];
  return sum;
}

kin_centres *kin_centres_new(const struct kin_kernels *kernels, const float *vectors, size_t n, size_t dim,
                             bool by_distance) {
  size_t padded = (n + KIN_PANEL - 1) / KIN_PANEL * KIN_PANEL;
  kin_centres *centres = calloc(1, sizeof *centres);
  if (!centres) return NULL;
  centres->alone.kernels = kernels;
  centres->by_distance = by_distance;
  centres->starts = kin_array(padded, sizeof *centres->starts);
  if (!centres->starts || kin_pack(&vectors, &n, 1, dim, &centres->packed, NULL) != KIN_OK) {
    kin_centres_free(centres);
    return NULL;
  }
  for (size_t i = 0; i < padded; i++)
    centres->starts[i] = i >= n ? -INFINITY : by_distance ? -square_of(vectors + i * dim, dim) / 2 : 0;
  return centres;
}

void kin_centres_free(kin_centres *centres) {
  if (!centres) return;
  free(centres->starts);
  kin_packed_free(&centres->packed);
  free(centres);
}

/* Of the centres from `first` on, those that belong to the best k: most blocks are soon without any. */
static void offer(const kin_kernels *kernels, const float *products, size_t first, size_t n, size_t k, kin_heap *best) {
  for (size_t i = 0, end; i < n; i = end) {
    end = n - i < BLOCK ? n : i + BLOCK;
    const float most = kernels->maximum(products + i, end - i);
    if (best->n == k && !(most > best->items[0].key)) continue;
    for (; i < end; i++) kin_heap_keep(best, k, (kin_heap_item){products[i], (int32_t)(first + i)});
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
    const kin_tail tail = {.bias = centres->starts + first};
    kin_gemm(&centres->alone, n, queries, all->k, &part, products, LD, centres->by_distance ? &tail : NULL);
    for (size_t q = 0; q < n; q++) offer(centres->alone.kernels, products + q * LD, first, some, k, &best[q]);
  }
}

/* The one nearest, of short vectors: the first of equally near ones, as everywhere. */
static void find_one(const kin_centres *centres, const float *queries, size_t n, kin_heap *best) {
  const kin_packed *all = &centres->packed;
  float scores[QUERIES_AT_ONCE];
  int32_t found[QUERIES_AT_ONCE];
  for (size_t first = 0; first < all->n; first += KIN_NEAREST_COLUMNS) {
    size_t some = all->n - first < KIN_NEAREST_COLUMNS ? all->n - first : KIN_NEAREST_COLUMNS;
    size_t columns = (some + KIN_PANEL - 1) / KIN_PANEL * KIN_PANEL;
    centres->alone.kernels->nearest(all->panels + first * all->k, centres->starts + first, columns, all->k, queries, n,
                                    scores, found);
    for (size_t q = 0; q < n; q++) kin_heap_keep(&best[q], 1, (kin_heap_item){scores[q], (int32_t)first + found[q]});
  }
}

static void to_distances(const kin_centres *centres, const float *query, size_t k, float *scores) {
  float square = square_of(query, centres->packed.k);
  for (size_t i = 0; i < k; i++) scores[i] = square - 2 * scores[i];
}

bool kin_centres_nearest(const kin_centres *centres, const float *queries, size_t n, size_t k, float *scores,
                         int64_t *found) {
  const size_t together = n < QUERIES_AT_ONCE ? n : QUERIES_AT_ONCE, dim = centres->packed.k;
  kin_heap best[QUERIES_AT_ONCE] = {{0}};
  kin_heap_item *items = kin_array(together, k * sizeof *items);
  if (!items) return false;
  for (size_t q = 0; q < together; q++) best[q].items = items + q * k;
  for (size_t first = 0, some; first < n; first += some) {
    some = n - first < together ? n - first : together;
    if (k == 1 && dim <= SHORT)
      find_one(centres, queries + first * dim, some, best);
    else
      find(centres, queries + first * dim, some, k, best);
    for (size_t q = first; q < first + some; q++) {
      sort(&best[q - first], k, scores + q * k, found + q * k);
      if (centres->by_distance) to_distances(centres, queries + q * dim, k, scores + q * k);
    }
  }
  free(items);
  return true;
}
