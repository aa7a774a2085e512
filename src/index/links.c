/* Walking an HNSW graph. */
#include "index/links.h"

#include <stdlib.h>
#include <string.h>

/* Vectors that are fetched ahead of the one that is compared. */
#define AHEAD 2

typedef struct vertex {
  float key; /* the least is on top of a heap: the score of the kept, less the score of those to visit */
  int32_t row;
} vertex;

typedef struct heap {
  vertex *items;
  size_t n, capacity;
} heap;

struct kin_links_room {
  size_t ef;
  heap kept, visits; /* of visits only the best ef can matter, but they are not sorted out */
  uint8_t *seen;     /* [rows]: `mark` where this search met the row */
  uint8_t mark;
  uint64_t rows;
  int32_t *fresh; /* neighbours that weren't met before */
};

static size_t most_neighbours(const kin_links *links) {
  return (size_t)links->starts[1];
}

kin_links_room *kin_links_room_new(const kin_links *links, size_t ef) {
  kin_links_room *room = calloc(1, sizeof *room);
  if (!room) return NULL;
  room->ef = ef;
  room->rows = links->rows;
  room->kept.items = kin_array(ef + 1, sizeof *room->kept.items);
  room->kept.capacity = ef + 1;
  room->visits.items = kin_array(links->rows + 1, sizeof *room->visits.items);
  room->visits.capacity = links->rows + 1;
  room->seen = calloc(links->rows, 1);
  room->fresh = kin_array(most_neighbours(links), sizeof *room->fresh);
  if (room->kept.items && room->visits.items && room->seen && room->fresh) return room;
  kin_links_room_free(room);
  return NULL;
}

void kin_links_room_free(kin_links_room *room) {
  if (!room) return;
  free(room->kept.items);
  free(room->visits.items);
  free(room->seen);
  free(room->fresh);
  free(room);
}

static void push(heap *h, vertex v) {
  size_t at = h->n++;
  for (; at > 0 && h->items[(at - 1) / 2].key > v.key; at = (at - 1) / 2) h->items[at] = h->items[(at - 1) / 2];
  h->items[at] = v;
}

static vertex pop(heap *h) {
  vertex top = h->items[0], last = h->items[--h->n];
  size_t at = 0;
  for (size_t child; (child = 2 * at + 1) < h->n; at = child) {
    if (child + 1 < h->n && h->items[child + 1].key < h->items[child].key) child++;
    if (last.key <= h->items[child].key) break;
    h->items[at] = h->items[child];
  }
  h->items[at] = last;
  return top;
}

static const int32_t *neighbours_of(const kin_links *links, int32_t row, int level, size_t *n) {
  *n = (size_t)(links->starts[level + 1] - links->starts[level]);
  return links->neighbours + links->offsets[row] + links->starts[level];
}

static void fetch(const kin_vectors *file, int32_t row) {
  const char *at = (const char *)kin_vectors_at(file, (uint64_t)row);
  size_t bytes = kin_vectors_dim(file) * sizeof(float);
  for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(at + i);
}

/* At the levels above the lowest: go to the best neighbour for as long as there is a better one. */
static vertex descend(const kin_links *links, const kin_vectors *file, kin_links_dot *dot, const float *query) {
  size_t dim = kin_vectors_dim(file), n;
  vertex best = {dot(query, kin_vectors_at(file, (uint64_t)links->entry), dim), links->entry};
  for (int level = links->top; level > 0; level--)
    for (bool better = true; better;) {
      const int32_t *list = neighbours_of(links, best.row, level, &n);
      better = false;
      for (size_t i = 0; i < n && list[i] >= 0; i++) {
        if (i + 1 < n && list[i + 1] >= 0) fetch(file, list[i + 1]);
        float score = dot(query, kin_vectors_at(file, (uint64_t)list[i]), dim);
        if (score <= best.key) continue;
        best = (vertex){score, list[i]};
        better = true;
      }
    }
  return best;
}

static void start(kin_links_room *room, vertex first) {
  if (++room->mark == 0) {
    memset(room->seen, 0, room->rows);
    room->mark = 1;
  }
  room->kept.n = room->visits.n = 0;
  push(&room->kept, first);
  push(&room->visits, (vertex){-first.key, first.row});
  room->seen[first.row] = room->mark;
}

static size_t list_fresh(const kin_links *links, kin_links_room *room, int32_t row) {
  size_t n, fresh = 0;
  const int32_t *list = neighbours_of(links, row, 0, &n);
  for (size_t i = 0; i < n && list[i] >= 0; i++) {
    if (room->seen[list[i]] == room->mark) continue;
    room->seen[list[i]] = room->mark;
    room->fresh[fresh++] = list[i];
  }
  return fresh;
}

static void meet(kin_links_room *room, int32_t row, float score) {
  heap *kept = &room->kept;
  if (kept->n == room->ef && score <= kept->items[0].key) return;
  push(kept, (vertex){score, row});
  if (kept->n > room->ef) pop(kept);
  push(&room->visits, (vertex){-score, row});
}

void kin_links_search(const kin_links *links, const kin_vectors *file, kin_links_dot *dot, kin_links_room *room,
                      const float *query, size_t k, int64_t *out) {
  size_t dim = kin_vectors_dim(file);
  start(room, descend(links, file, dot, query));
  while (room->visits.n) {
    vertex next = pop(&room->visits);
    if (room->kept.n == room->ef && -next.key < room->kept.items[0].key) break;
    size_t n = list_fresh(links, room, next.row);
    for (size_t i = 0; i < n && i < AHEAD; i++) fetch(file, room->fresh[i]);
    for (size_t i = 0; i < n; i++) {
      if (i + AHEAD < n) fetch(file, room->fresh[i + AHEAD]);
      meet(room, room->fresh[i], dot(query, kin_vectors_at(file, (uint64_t)room->fresh[i]), dim));
    }
  }
  for (size_t i = k; i > room->kept.n; i--) out[i - 1] = -1;
  while (room->kept.n > k) pop(&room->kept);
  while (room->kept.n) {
    size_t at = room->kept.n - 1;
    out[at] = pop(&room->kept).row;
  }
}
