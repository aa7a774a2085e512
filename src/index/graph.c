/* The copy of what lies above a graph's lowest level. */
#include "index/codes.h"
#include "index/graph_inside.h"

#include <stdlib.h>
#include <string.h>

#define TASK 1024 /* vertices */

static bool renew(kin_graph *g, const kin_links *links, const void *saved, size_t bytes);

kin_graph *kin_graph_new(const kin_context *context, const kin_vectors *file, const kin_links *links, const void *saved,
                         size_t bytes) {
  kin_graph *g = calloc(1, sizeof *g);
  if (!g) return NULL;
  g->context = context;
  g->file = file;
  g->stride = (kin_vectors_dim(file) + KIN_INT8_STEP - 1) / KIN_INT8_STEP * KIN_INT8_STEP;
  if (renew(g, links, saved, bytes)) return g;
  kin_graph_free(g);
  return NULL;
}

void kin_graph_free(kin_graph *g) {
  if (!g) return;
  free(g->vertices);
  kin_free_aligned(g->scales);
  free(g->neighbours);
  free(g);
}

int32_t kin_graph_vertex_of(const kin_graph *g, int64_t row) {
  size_t low = 0, high = g->n;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (g->vertices[middle].row < row)
      low = middle + 1;
    else
      high = middle;
  }
  return low < g->n && g->vertices[low].row == row ? (int32_t)low : -1;
}

/* How many neighbours a row has room for above the lowest level. */
static size_t upper_neighbours(const kin_links *links, uint64_t row) {
  return links->offsets[row + 1] - links->offsets[row] - (size_t)links->starts[1];
}

/* Of the rows from the first on. */
static bool add_vertices(kin_graph *g, uint64_t first) {
  for (uint64_t row = first; row < g->links.rows; row++) {
    size_t n = upper_neighbours(&g->links, row);
    if (!n) continue;
    if (!kin_grow((void **)&g->vertices, &g->vertices_capacity, g->n + 1, sizeof *g->vertices)) return false;
    g->vertices[g->n++] = (kin_graph_vertex){.row = (int32_t)row, .list = g->n_neighbours};
    g->n_neighbours += n;
  }
  return true;
}

static bool grow_codes(kin_graph *g, size_t old) {
  if (g->n <= g->codes_capacity) return true;
  size_t capacity = (g->vertices_capacity + 15) / 16 * 16; /* so that codes are aligned, too */
  float *scales = kin_alloc_aligned(capacity * (sizeof *scales + g->stride));
  if (!scales) return false;
  int8_t *codes = (int8_t *)(scales + capacity);
  if (old) memcpy(scales, g->scales, old * sizeof *scales);
  if (old) memcpy(codes, g->codes, old * g->stride);
  kin_free_aligned(g->scales);
  g->scales = scales;
  g->codes = codes;
  g->codes_capacity = capacity;
  return true;
}

/* Whether they are of as many vertices. */
static bool take_saved(kin_graph *g, const uint8_t *saved, size_t bytes) {
  size_t scales = g->n * sizeof *g->scales;
  if (bytes != scales + g->n * g->stride) return false;
  memcpy(g->scales, saved, scales);
  memcpy(g->codes, saved + scales, bytes - scales);
  return true;
}

bool kin_graph_write(const kin_graph *g, bool (*write)(void *user, const void *data, size_t size), void *user) {
  return write(user, g->scales, g->n * sizeof *g->scales) && write(user, g->codes, g->n * g->stride);
}

typedef struct renewal {
  kin_graph *graph;
  size_t first;       /* vertex that has no code */
  int32_t *vertex_of; /* [rows] */
} renewal;

static void code(kin_graph *g, size_t vertex) {
  int8_t *to = g->codes + vertex * g->stride;
  size_t dim = kin_vectors_dim(g->file);
  g->scales[vertex] = kin_code_int8(kin_vectors_at(g->file, (uint64_t)g->vertices[vertex].row), dim, to);
  memset(to + dim, 0, g->stride - dim);
}

static void renew_task(void *arg, size_t task) {
  renewal *r = arg;
  kin_graph *g = r->graph;
  size_t end = (task + 1) * TASK < g->n ? (task + 1) * TASK : g->n;
  for (size_t vertex = task * TASK; vertex < end; vertex++) {
    const kin_graph_vertex *v = g->vertices + vertex;
    const int32_t *from = g->links.neighbours + g->links.offsets[v->row] + g->links.starts[1];
    int32_t *to = g->neighbours + v->list;
    for (size_t i = 0, n = upper_neighbours(&g->links, (uint64_t)v->row); i < n; i++)
      to[i] = from[i] < 0 ? -1 : r->vertex_of[from[i]];
    if (vertex >= r->first) code(g, vertex);
  }
}

static bool renew(kin_graph *g, const kin_links *links, const void *saved, size_t bytes) {
  size_t old = g->n;
  uint64_t first = g->links.rows;
  g->links = *links;
  if (!add_vertices(g, first) || !grow_codes(g, old) ||
      !kin_grow((void **)&g->neighbours, &g->neighbours_capacity, g->n_neighbours, sizeof *g->neighbours))
    return false;
  if (!g->n) return true;
  renewal r = {g, old, kin_array(links->rows, sizeof *r.vertex_of)};
  if (!r.vertex_of) return false;
  if (bytes && take_saved(g, saved, bytes)) r.first = g->n;
  for (size_t i = 0; i < g->n; i++) r.vertex_of[g->vertices[i].row] = (int32_t)i;
  kin_parallel_for(g->context->pool, (g->n + TASK - 1) / TASK, renew_task, &r);
  free(r.vertex_of);
  return true;
}

bool kin_graph_renew(kin_graph *g, const kin_links *links) {
  return renew(g, links, NULL, 0);
}
