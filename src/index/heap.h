/* A heap of scored rows, the least key on top. */
#ifndef KIN_HEAP_H
#define KIN_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kin_heap_item {
  float key;
  int32_t row;
} kin_heap_item;

typedef struct kin_heap {
  kin_heap_item *items; /* there is room for one more */
  size_t n, capacity;
} kin_heap;

static inline void kin_heap_push(kin_heap *h, kin_heap_item item) {
  size_t at = h->n++;
  for (; at > 0 && h->items[(at - 1) / 2].key > item.key; at = (at - 1) / 2) h->items[at] = h->items[(at - 1) / 2];
  h->items[at] = item;
}

/* Put `item` in the place of the one on top. */
static inline void kin_heap_replace(kin_heap *h, kin_heap_item item) {
  size_t at = 0;
  for (size_t child; (child = 2 * at + 1) < h->n; at = child) {
    if (child + 1 < h->n && h->items[child + 1].key < h->items[child].key) child++;
    if (item.key <= h->items[child].key) break;
    h->items[at] = h->items[child];
  }
  h->items[at] = item;
}

/* Keep the `most` items of the largest keys, of those seen; whether this is one. */
static inline bool kin_heap_keep(kin_heap *h, size_t most, kin_heap_item item) {
  if (h->n < most)
    kin_heap_push(h, item);
  else if (item.key > h->items[0].key)
    kin_heap_replace(h, item);
  else
    return false;
  return true;
}

/* Of at least one. */
static inline kin_heap_item kin_heap_pop(kin_heap *h) {
  kin_heap_item top = h->items[0], last = h->items[--h->n];
  if (h->n) kin_heap_replace(h, last);
  return top;
}

#endif
