/* Walking an HNSW graph. */
#include "index/links.h"

#include <stdlib.h>
#include <string.h>

#define AT_ONCE 4 /* rows that are compared at once */

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

/* What a search compares. */
typedef struct rows {
  const kin_vectors *file;
  size_t dim;
  kin_links_dots *dots;
  const float *query;
} rows;

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

/* The scores of up to AT_ONCE rows; a missing one is the first again. */
static void score(const rows *r, const int32_t *list, size_t n, float out[AT_ONCE]) {
  const float *vectors[AT_ONCE];
  for (size_t i = 0; i < AT_ONCE; i++) vectors[i] = kin_vectors_at(r->file, (uint64_t)list[i < n ? i : 0]);
  r->dots(r->query, vectors, r->dim, out);
}

static size_t group_of(size_t left) {
  return left < AT_ONCE ? left : AT_ONCE;
}

/* At the levels above the lowest: go to the best neighbour for as long as there is a better one. */
static vertex descend(const kin_links *links, const rows *r) {
  float scores[AT_ONCE];
  score(r, &links->entry, 1, scores);
  vertex best = {scores[0], links->entry};
  for (int level = links->top; level > 0; level--)
    for (bool better = true; better;) {
      size_t n, end = 0;
      const int32_t *list = neighbours_of(links, best.row, level, &n);
      better = false;
      while (end < n && list[end] >= 0) end++;
      for (size_t i = 0; i < end; i += AT_ONCE) {
        size_t group = group_of(end - i);
        score(r, list + i, group, scores);
        for (size_t j = 0; j < group; j++) {
          if (scores[j] <= best.key) continue;
          best = (vertex){scores[j], list[i + j]};
          better = true;
        }
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

/* The neighbours that are new; each vector's first line is asked for, and with it where its page lies. */
static size_t list_fresh(const kin_links *links, const kin_vectors *file, kin_links_room *room, int32_t row) {
  size_t n, fresh = 0;
  const int32_t *list = neighbours_of(links, row, 0, &n);
  for (size_t i = 0; i < n && list[i] >= 0; i++) __builtin_prefetch(room->seen + list[i]);
  for (size_t i = 0; i < n && list[i] >= 0; i++) {
    if (room->seen[list[i]] == room->mark) continue;
    room->seen[list[i]] = room->mark;
    room->fresh[fresh++] = list[i];
    __builtin_prefetch(kin_vectors_at(file, (uint64_t)list[i]));
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

/* From the room's first visit on to where no better row is known. */
static void walk(const kin_links *links, const rows *r, kin_links_room *room) {
  float scores[AT_ONCE];
  while (room->visits.n) {
    vertex next = pop(&room->visits);
    if (room->kept.n == room->ef && -next.key < room->kept.items[0].key) break;
    size_t n = list_fresh(links, r->file, room, next.row);
    if (room->visits.n) __builtin_prefetch(links->neighbours + links->offsets[room->visits.items[0].row]);
    for (size_t i = 0; i < n; i += AT_ONCE) {
      size_t group = group_of(n - i);
      score(r, room->fresh + i, group, scores);
      for (size_t j = 0; j < group; j++) meet(room, room->fresh[i + j], scores[j]);
    }
  }
}

void kin_links_search(const kin_links *links, const kin_vectors *file, kin_links_dots *dots, kin_links_room *room,
                      const float *query, size_t k, int64_t *out) {
  const rows r = {.file = file, .dim = kin_vectors_dim(file), .dots = dots, .query = query};
  start(room, descend(links, &r));
  walk(links, &r, room);
  for (size_t i = k; i > room->kept.n; i--) out[i - 1] = -1;
  while (room->kept.n > k) pop(&room->kept);
  while (room->kept.n) {
    size_t at = room->kept.n - 1;
    out[at] = pop(&room->kept).row;
  }
}
