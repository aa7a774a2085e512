/* Walking an HNSW graph. */
#include "index/codes.h"
#include "index/graph_inside.h"

#include <stdlib.h>
#include <string.h>

/* A search keeps one above the lowest level for so many there (docs/ann.md). */
#define UPPER_SHARE 2

bool kin_graph_room_set_ef(kin_graph_room *room, size_t ef) {
  room->ef = ef;
  return kin_grow((void **)&room->kept.items, &room->kept.capacity, ef + 1, sizeof *room->kept.items);
}

kin_graph_room *kin_graph_room_new(const kin_graph *graph, size_t ef) {
  kin_graph_room *room = calloc(1, sizeof *room);
  if (!room) return NULL;
  room->rows = graph->links.rows;
  room->visits.items = kin_array(room->rows + 1, sizeof *room->visits.items);
  room->visits.capacity = room->rows + 1;
  room->seen = calloc(room->rows, 1);
  room->fresh = kin_array(kin_graph_degree(graph, 0), sizeof *room->fresh);
  room->code = calloc(graph->stride, 1);
  if (kin_graph_room_set_ef(room, ef) && room->visits.items && room->seen && room->fresh && room->code) return room;
  kin_graph_room_free(room);
  return NULL;
}

void kin_graph_room_free(kin_graph_room *room) {
  if (!room) return;
  free(room->kept.items);
  free(room->visits.items);
  free(room->seen);
  free(room->fresh);
  free(room->code);
  free(room);
}

uint64_t kin_graph_compared(const kin_graph_room *room) {
  return room->compared;
}

/* One level of a walk: of rows with their vectors at the lowest, of vertices with their codes above. */
typedef struct stage {
  const kin_graph *graph;
  const float *query; /* NULL above the lowest level */
  const int8_t *code;
  int level;
} stage;

static const int32_t *neighbours_of(const stage *s, int32_t at, size_t *n) {
  const kin_graph *g = s->graph;
  *n = kin_graph_degree(g, s->level);
  if (s->query) return g->links.neighbours + g->links.offsets[at];
  return g->neighbours + g->vertices[at].list + *n * (size_t)(s->level - 1);
}

static const void *vector_of(const stage *s, int32_t at) {
  if (s->query) return kin_vectors_at(s->graph->file, (uint64_t)at);
  return s->graph->codes + (size_t)at * s->graph->stride;
}

/* Those of codes but for the query's scale, which all have. */
static void score(const stage *s, const int32_t *list, size_t n, float out[KIN_GRAPH_AT_ONCE]) {
  const kin_graph *g = s->graph;
  if (s->query) {
    kin_graph_score(g, s->query, list, n, out);
    return;
  }
  const int8_t *codes[KIN_GRAPH_AT_ONCE];
  int32_t sums[KIN_GRAPH_AT_ONCE];
  for (size_t i = 0; i < KIN_GRAPH_AT_ONCE; i++) codes[i] = g->codes + (size_t)list[i < n ? i : 0] * g->stride;
  g->context->scan->int8_four(s->code, codes, g->stride, sums);
  for (size_t i = 0; i < n; i++) out[i] = (float)sums[i] * g->scales[list[i]];
}

/* At a level whose walk begins at the rows that are kept; none but these, and the one left out, have been met. */
static void begin_level(kin_graph_room *room, int64_t without) {
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
static size_t list_fresh(const stage *s, kin_graph_room *room, int32_t at) {
  size_t n, met = 0, fresh = 0;
  const int32_t *list = neighbours_of(s, at, &n);
  for (size_t i = 0; i < n; i++) {
    int32_t neighbour = kin_graph_load(list + i);
    if (neighbour < 0) break;
    room->fresh[met++] = neighbour;
    __builtin_prefetch(room->seen + neighbour);
  }
  for (size_t i = 0; i < met; i++) {
    int32_t neighbour = room->fresh[i];
    if (room->seen[neighbour] == room->mark) continue;
    room->seen[neighbour] = room->mark;
    room->fresh[fresh++] = neighbour;
    __builtin_prefetch(vector_of(s, neighbour));
  }
  if (s->query) room->compared += fresh;
  return fresh;
}

static void meet(kin_graph_room *room, size_t ef, int32_t at, float key) {
  if (kin_heap_keep(&room->kept, ef, (kin_heap_item){key, at})) kin_heap_push(&room->visits, (kin_heap_item){-key, at});
}

/* From the visits that the room begins with to where no better vertex is known. */
static void walk_level(const stage *s, kin_graph_room *room, size_t ef) {
  float scores[KIN_GRAPH_AT_ONCE];
  while (room->visits.n) {
    kin_heap_item next = kin_heap_pop(&room->visits);
    if (room->kept.n == ef && -next.key < room->kept.items[0].key) break;
    size_t n, fresh = list_fresh(s, room, next.row);
    if (room->visits.n) __builtin_prefetch(neighbours_of(s, room->visits.items[0].row, &n));
    for (size_t i = 0; i < fresh; i += KIN_GRAPH_AT_ONCE) {
      size_t group = kin_graph_group(fresh - i);
      score(s, room->fresh + i, group, scores);
      for (size_t j = 0; j < group; j++) meet(room, ef, room->fresh[i + j], scores[j]);
    }
  }
}

/* Keep rows instead of vertices, with their scores. */
static void come_down(const stage *lowest, kin_graph_room *room) {
  const kin_graph *g = lowest->graph;
  float scores[KIN_GRAPH_AT_ONCE];
  int32_t rows[KIN_GRAPH_UPPER_EF];
  size_t n = room->kept.n;
  for (size_t i = 0; i < n; i++) {
    rows[i] = g->vertices[room->kept.items[i].row].row;
    __builtin_prefetch(vector_of(lowest, rows[i]));
  }
  room->kept.n = 0;
  room->compared += n;
  for (size_t i = 0; i < n; i += KIN_GRAPH_AT_ONCE) {
    size_t group = kin_graph_group(n - i);
    score(lowest, rows + i, group, scores);
    for (size_t j = 0; j < group; j++) kin_heap_push(&room->kept, (kin_heap_item){scores[j], rows[i + j]});
  }
}

static void begin_at(const stage *s, kin_graph_room *room, int32_t entry) {
  float scores[KIN_GRAPH_AT_ONCE];
  score(s, &entry, 1, scores);
  room->kept.n = room->compared = 0;
  kin_heap_push(&room->kept, (kin_heap_item){scores[0], entry});
}

void kin_graph_walk(const kin_graph *g, kin_graph_room *room, const float *query, int64_t without, size_t upper) {
  const stage lowest = {.graph = g, .query = query};
  if (upper > room->ef) upper = room->ef;
  if (g->n) {
    stage s = {.graph = g, .code = room->code, .level = g->links.top};
    int32_t vertex = without < 0 ? -1 : kin_graph_vertex_of(g, without);
    kin_code_int8(query, kin_vectors_dim(g->file), room->code);
    begin_at(&s, room, kin_graph_vertex_of(g, g->links.entry));
    for (; s.level > 0; s.level--) {
      begin_level(room, vertex);
      walk_level(&s, room, upper);
    }
    come_down(&lowest, room);
  } else {
    begin_at(&lowest, room, g->links.entry);
  }
  begin_level(room, without);
  walk_level(&lowest, room, room->ef);
}

void kin_graph_search(const kin_graph *g, kin_graph_room *room, const float *query, int64_t without, size_t k,
                      int64_t *out) {
  size_t upper = room->ef / UPPER_SHARE;
  kin_graph_walk(g, room, query, without, upper < 1 ? 1 : upper < KIN_GRAPH_UPPER_EF ? upper : KIN_GRAPH_UPPER_EF);
  for (size_t i = k; i > room->kept.n; i--) out[i - 1] = -1;
  while (room->kept.n > k) kin_heap_pop(&room->kept);
  while (room->kept.n) {
    size_t at = room->kept.n - 1;
    out[at] = kin_heap_pop(&room->kept).row;
  }
}
