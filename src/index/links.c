/* Walking an HNSW graph. */
#include "index/links.h"

#include "index/heap.h"

#include <stdlib.h>
#include <string.h>

#define AT_ONCE 4 /* rows that are compared at once */

/* A search keeps one above the lowest level for so many there (docs/ann.md). */
#define UPPER_SHARE 2

struct kin_links_room {
  size_t ef;
  /* On top of the kept is the worst, and of those to visit, whose keys are less their scores, the best. */
  kin_heap kept, visits; /* of visits only the best ef can matter, but they are not sorted out */
  uint8_t *seen;         /* [rows]: `mark` where this search met the row */
  uint8_t mark;
  uint64_t rows;
  int32_t *fresh; /* neighbours that weren't met before */
  uint64_t compared;
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

bool kin_links_room_set_ef(kin_links_room *room, size_t ef) {
  room->ef = ef;
  return kin_grow((void **)&room->kept.items, &room->kept.capacity, ef + 1, sizeof *room->kept.items);
}

kin_links_room *kin_links_room_new(const kin_links *links, size_t ef) {
  kin_links_room *room = calloc(1, sizeof *room);
  if (!room) return NULL;
  room->rows = links->rows;
  room->visits.items = kin_array(links->rows + 1, sizeof *room->visits.items);
  room->visits.capacity = links->rows + 1;
  room->seen = calloc(links->rows, 1);
  room->fresh = kin_array(most_neighbours(links), sizeof *room->fresh);
  if (kin_links_room_set_ef(room, ef) && room->visits.items && room->seen && room->fresh) return room;
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

uint64_t kin_links_compared(const kin_links_room *room) {
  return room->compared;
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

/* At a level whose walk begins at the rows that are kept; none but these, and the one left out, have been met. */
static void begin_level(kin_links_room *room, int64_t without) {
  if (++room->mark == 0) {
    memset(room->seen, 0, room->rows);
    room->mark = 1;
  }
  if (without >= 0) room->seen[without] = room->mark;
  room->visits.n = 0;
  for (size_t i = 0; i < room->kept.n; i++) {
    kin_heap_item v = room->kept.items[i];
    room->seen[v.row] = room->mark;
    kin_heap_push(&room->visits, (kin_heap_item){-v.key, v.row});
  }
}

/* The neighbours that are new; each vector's first line is asked for, and with it where its page lies. */
static size_t list_fresh(const kin_links *links, const kin_vectors *file, kin_links_room *room, int32_t row,
                         int level) {
  size_t n, fresh = 0;
  const int32_t *list = neighbours_of(links, row, level, &n);
  for (size_t i = 0; i < n && list[i] >= 0; i++) __builtin_prefetch(room->seen + list[i]);
  for (size_t i = 0; i < n && list[i] >= 0; i++) {
    if (room->seen[list[i]] == room->mark) continue;
    room->seen[list[i]] = room->mark;
    room->fresh[fresh++] = list[i];
    __builtin_prefetch(kin_vectors_at(file, (uint64_t)list[i]));
  }
  room->compared += fresh;
  return fresh;
}

static void meet(kin_links_room *room, size_t ef, int32_t row, float score) {
  if (kin_heap_keep(&room->kept, ef, (kin_heap_item){score, row}))
    kin_heap_push(&room->visits, (kin_heap_item){-score, row});
}

/* From the visits that the room begins with to where no better row is known. */
static void walk(const kin_links *links, const rows *r, kin_links_room *room, int level, size_t ef) {
  float scores[AT_ONCE];
  while (room->visits.n) {
    kin_heap_item next = kin_heap_pop(&room->visits);
    if (room->kept.n == ef && -next.key < room->kept.items[0].key) break;
    size_t n, fresh = list_fresh(links, r->file, room, next.row, level);
    if (room->visits.n) __builtin_prefetch(neighbours_of(links, room->visits.items[0].row, level, &n));
    for (size_t i = 0; i < fresh; i += AT_ONCE) {
      size_t group = group_of(fresh - i);
      score(r, room->fresh + i, group, scores);
      for (size_t j = 0; j < group; j++) meet(room, ef, room->fresh[i + j], scores[j]);
    }
  }
}

/* Walk the levels from the highest to the `last`, keeping `upper` rows above the lowest. */
static void walk_down(const kin_links *links, const rows *r, kin_links_room *room, int64_t without, size_t upper,
                      int last) {
  float first[AT_ONCE];
  score(r, &links->entry, 1, first);
  room->kept.n = room->compared = 0;
  kin_heap_push(&room->kept, (kin_heap_item){first[0], links->entry});
  for (int level = links->top; level >= last; level--) {
    begin_level(room, without);
    walk(links, r, room, level, level ? upper : room->ef);
  }
}

int32_t kin_links_descend(const kin_links *links, const kin_vectors *file, kin_links_dots *dots, kin_links_room *room,
                          const float *query) {
  const rows r = {.file = file, .dim = kin_vectors_dim(file), .dots = dots, .query = query};
  walk_down(links, &r, room, -1, room->ef, 1);
  kin_heap_item best = room->kept.items[0];
  for (size_t i = 1; i < room->kept.n; i++)
    if (room->kept.items[i].key > best.key) best = room->kept.items[i];
  return best.row;
}

void kin_links_search(const kin_links *links, const kin_vectors *file, kin_links_dots *dots, kin_links_room *room,
                      const float *query, int64_t without, size_t k, int64_t *out) {
  const rows r = {.file = file, .dim = kin_vectors_dim(file), .dots = dots, .query = query};
  size_t upper = room->ef / UPPER_SHARE < 1 ? 1 : room->ef / UPPER_SHARE;
  walk_down(links, &r, room, without, upper < KIN_LINKS_UPPER_EF ? upper : KIN_LINKS_UPPER_EF, 0);
  for (size_t i = k; i > room->kept.n; i--) out[i - 1] = -1;
  while (room->kept.n > k) kin_heap_pop(&room->kept);
  while (room->kept.n) {
    size_t at = room->kept.n - 1;
    out[at] = kin_heap_pop(&room->kept).row;
  }
}
