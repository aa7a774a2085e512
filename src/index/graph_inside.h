/* The inside of graph.h. */
#ifndef KIN_GRAPH_INSIDE_H
#define KIN_GRAPH_INSIDE_H

#include "index/graph.h"
#include "index/heap.h"
#include "kernel/kernel.h"

#define KIN_GRAPH_AT_ONCE 4 /* vectors that are compared at once */

/* A row above the lowest level. */
typedef struct kin_graph_vertex {
  int32_t row;
  size_t list; /* where its neighbours at level 1 begin; those at the next follow */
} kin_graph_vertex;

struct kin_graph {
  const kin_context *context;
  const kin_vectors *file;
  kin_links links;
  kin_graph_vertex *vertices; /* [n], in the order of their rows */
  size_t n, vertices_capacity;
  float *scales; /* [n]: a vector is about so many times its code; the beginning of the codes' memory */
  int8_t *codes; /* [n][stride] */
  size_t stride, codes_capacity;
  int32_t *neighbours; /* vertices */
  size_t n_neighbours, neighbours_capacity;
};

struct kin_graph_room {
  size_t ef;
  /* On top of the kept is the worst, and of those to visit, whose keys are less their scores, the best. */
  kin_heap kept, visits; /* of visits only the best ef can matter, but they are not sorted out */
  uint8_t *seen;         /* [rows]: `mark` where this walk met the vertex */
  uint8_t mark;
  uint64_t rows;
  int32_t *fresh; /* neighbours that weren't met before */
  int8_t *code;   /* of the query */
  uint64_t compared;
};

static inline size_t kin_graph_degree(const kin_graph *g, int level) {
  return (size_t)(g->links.starts[level + 1] - g->links.starts[level]);
}

/* Where others may link meanwhile. */
static inline int32_t kin_graph_load(const int32_t *neighbour) {
  return __atomic_load_n(neighbour, __ATOMIC_RELAXED);
}

/* The products of `query` and up to KIN_GRAPH_AT_ONCE rows; a missing one is the first again. */
static inline void kin_graph_score(const kin_graph *g, const float *query, const int32_t *rows, size_t n,
                                   float out[KIN_GRAPH_AT_ONCE]) {
  const float *vectors[KIN_GRAPH_AT_ONCE];
  for (size_t i = 0; i < KIN_GRAPH_AT_ONCE; i++) vectors[i] = kin_vectors_at(g->file, (uint64_t)rows[i < n ? i : 0]);
  g->context->kernels->dot_four(query, vectors, kin_vectors_dim(g->file), out);
}

static inline size_t kin_graph_group(size_t left) {
  return left < KIN_GRAPH_AT_ONCE ? left : KIN_GRAPH_AT_ONCE;
}

/* The vertex of a row; -1: it isn't above the lowest level. */
int32_t kin_graph_vertex_of(const kin_graph *graph, int64_t row);

/* Keep the best rows that a walk from the top down meets, as many as the room's ef, and `upper` above the lowest level,
 * at most KIN_GRAPH_UPPER_EF. */
void kin_graph_walk(const kin_graph *graph, kin_graph_room *room, const float *query, int64_t without, size_t upper);

#endif
