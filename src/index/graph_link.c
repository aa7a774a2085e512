/* Linking rows into the lowest level of an HNSW graph: each with those of the best that a search for it meets which no
 * better one is nearer to than it is, and these back with it. */
#include "index/graph_inside.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define LOCKS 1024

/* Rows at work. */
typedef struct linking {
  const kin_graph *graph;
  const int32_t *list;
  size_t n, ef;
  atomic_size_t next; /* of the list */
  atomic_bool failed;
  pthread_mutex_t locks[LOCKS]; /* row r's neighbours are changed under the one of r modulo LOCKS */
} linking;

/* What a thread links with. */
typedef struct linker {
  const kin_graph *graph;
  kin_graph_room *room;
  size_t degree;
  kin_heap_item *near;   /* [ef]: the row's neighbours to be */
  kin_heap_item *theirs; /* [degree + 1]: those of one of these, when it has too many */
} linker;

static int compare(const void *a, const void *b) {
  const kin_heap_item *x = a, *y = b;
  if (x->key != y->key) return x->key < y->key ? 1 : -1;
  return x->row < y->row ? -1 : x->row > y->row;
}

static const float *vector_of(const kin_graph *g, int32_t row) {
  return kin_vectors_at(g->file, (uint64_t)row);
}

/* Whether one of the chosen is nearer to an item than what they are chosen for. */
static bool is_covered(const kin_graph *g, const kin_heap_item *chosen, size_t n, kin_heap_item item) {
  float scores[KIN_GRAPH_AT_ONCE];
  int32_t rows[KIN_GRAPH_AT_ONCE];
  for (size_t i = 0; i < n; i += KIN_GRAPH_AT_ONCE) {
    size_t group = kin_graph_group(n - i);
    for (size_t j = 0; j < group; j++) rows[j] = chosen[i + j].row;
    kin_graph_score(g, vector_of(g, item.row), rows, group, scores);
    for (size_t j = 0; j < group; j++)
      if (scores[j] > item.key) return true;
  }
  return false;
}

/* Put in order, and keep those that aren't covered by a better one; how many. */
static size_t choose(const kin_graph *g, kin_heap_item *items, size_t n, size_t most) {
  size_t chosen = 0;
  qsort(items, n, sizeof *items, compare);
  for (size_t i = 0; i < n && chosen < most; i++)
    if (!is_covered(g, items, chosen, items[i])) items[chosen++] = items[i];
  return chosen;
}

static void store(const linker *l, int32_t *list, const kin_heap_item *items, size_t n) {
  for (size_t i = 0; i < l->degree; i++) __atomic_store_n(list + i, i < n ? items[i].row : -1, __ATOMIC_RELAXED);
}

/* Its `n` neighbours, with their scores. */
static void score_list(const linker *l, int32_t row, const int32_t *list, size_t n, kin_heap_item *out) {
  float scores[KIN_GRAPH_AT_ONCE];
  for (size_t i = 0; i < n; i++) __builtin_prefetch(vector_of(l->graph, list[i]));
  for (size_t i = 0; i < n; i += KIN_GRAPH_AT_ONCE) {
    size_t group = kin_graph_group(n - i);
    kin_graph_score(l->graph, vector_of(l->graph, row), list + i, group, scores);
    for (size_t j = 0; j < group; j++) out[i + j] = (kin_heap_item){scores[j], list[i + j]};
  }
}

/* Under the row's lock: where there is no room for one more, they are chosen anew. */
static void add_neighbour(const linker *l, int32_t row, kin_heap_item item) {
  int32_t *list = l->graph->links.neighbours + l->graph->links.offsets[row];
  size_t n = 0;
  while (n < l->degree && list[n] >= 0) n++;
  if (n < l->degree) {
    __atomic_store_n(list + n, item.row, __ATOMIC_RELAXED);
    return;
  }
  score_list(l, row, list, n, l->theirs);
  l->theirs[n] = item;
  store(l, list, l->theirs, choose(l->graph, l->theirs, n + 1, l->degree));
}

static void link_row(linking *all, const linker *l, int32_t row) {
  const kin_graph *g = l->graph;
  kin_graph_walk(g, l->room, vector_of(g, row), -1, KIN_GRAPH_UPPER_EF);
  size_t n = l->room->kept.n;
  for (size_t i = 0; i < n; i++) l->near[i] = l->room->kept.items[i];
  n = choose(g, l->near, n, l->degree);
  pthread_mutex_lock(&all->locks[row % LOCKS]);
  store(l, g->links.neighbours + g->links.offsets[row], l->near, n);
  pthread_mutex_unlock(&all->locks[row % LOCKS]);
  for (size_t i = 0; i < n; i++) {
    int32_t other = l->near[i].row;
    pthread_mutex_lock(&all->locks[other % LOCKS]);
    add_neighbour(l, other, (kin_heap_item){l->near[i].key, row});
    pthread_mutex_unlock(&all->locks[other % LOCKS]);
  }
}

static void link_task(void *arg, size_t task) {
  linking *all = arg;
  (void)task;
  linker l = {.graph = all->graph, .degree = kin_graph_degree(all->graph, 0)};
  l.room = kin_graph_room_new(l.graph, all->ef);
  l.near = kin_array(all->ef, sizeof *l.near);
  l.theirs = kin_array(l.degree + 1, sizeof *l.theirs);
  if (!l.room || !l.near || !l.theirs) atomic_store(&all->failed, true);
  for (size_t at; !atomic_load(&all->failed) && (at = atomic_fetch_add(&all->next, 1)) < all->n;)
    link_row(all, &l, all->list[at]);
  kin_graph_room_free(l.room);
  free(l.near);
  free(l.theirs);
}

bool kin_graph_link(kin_graph *g, const int32_t *list, size_t n, size_t ef) {
  linking *all = calloc(1, sizeof *all);
  if (!all) return false;
  all->graph = g;
  all->list = list;
  all->n = n;
  all->ef = ef;
  for (size_t i = 0; i < LOCKS; i++) pthread_mutex_init(&all->locks[i], NULL);
  kin_parallel_for(g->context->pool, kin_pool_threads(g->context->pool), link_task, all);
  for (size_t i = 0; i < LOCKS; i++) pthread_mutex_destroy(&all->locks[i]);
  bool linked = !all->failed;
  free(all);
  return linked;
}
