/* Boruvka's algorithm: in each round every component takes the least edge that leads out of it.
 *
 * The nearest neighbours of each vector settle most of the first rounds: what isn't among them is at least as far as
 * the last of them. Later a vector is searched for again only if what is known of it (nothing nearer than so much leads
 * out) leaves room below the least edge that its component has already. */
#include "analyse/spanning_tree.h"

#include "analyse/nearest.h"
#include "base/context.h"

#include <math.h>
#include <stdlib.h>

enum { LEAST_NEIGHBOURS = 24 };

typedef struct vertex {
  double core;
  double bound;  /* no edge that leads out is less */
  size_t target; /* the least known edge that leads out of the component; SIZE_MAX: none */
  double weight;
} vertex;

typedef struct tree {
  kin_context *context;
  const kin_vector_set *set;
  kin_metric metric;
  size_t n, k;
  kin_near *near; /* [n][k] */
  vertex *vertices;
  uint32_t *component;  /* [n]: a vertex of it */
  uint32_t *parent;     /* [n]: union-find */
  kin_edge *least;      /* [n], by component: the least known edge that leads out */
  size_t *active;       /* [n] vertices to be searched for */
  double *core, *limit; /* [n] */
  kin_near *found;      /* [n] */
  kin_edge *edges;
  size_t n_edges;
} tree;

static uint32_t find(uint32_t *parent, uint32_t i) {
  while (parent[i] != i) i = parent[i] = parent[parent[i]];
  return i;
}

static bool less(const kin_edge *x, const kin_edge *y) {
  if (x->weight != y->weight) return x->weight < y->weight;
  return x->a != y->a ? x->a < y->a : x->b < y->b;
}

/* Offer the vertex's edge to the components at both its ends. */
static void offer(tree *t, size_t i) {
  const vertex *v = &t->vertices[i];
  if (v->target == SIZE_MAX) return;
  const kin_edge edge = {i < v->target ? i : v->target, i < v->target ? v->target : i, v->weight};
  for (int end = 0; end < 2; end++) {
    kin_edge *least = &t->least[t->component[end ? v->target : i]];
    if (least->a == SIZE_MAX || less(&edge, least)) *least = edge;
  }
}

/* The least edge out among the neighbours, where the one known before leads out no more. */
static void look_nearby(tree *t, size_t i) {
  vertex *v = &t->vertices[i];
  if (v->target != SIZE_MAX && t->component[v->target] != t->component[i]) return;
  v->target = SIZE_MAX, v->weight = INFINITY;
  const kin_near *near = t->near + i * t->k;
  for (size_t j = 0; j < t->k; j++) {
    const size_t other = near[j].index;
    if (t->component[other] == t->component[i]) continue;
    const double weight = fmax(fmax(v->core, t->vertices[other].core), near[j].distance);
    if (weight < v->weight || (weight == v->weight && other < v->target)) v->weight = weight, v->target = other;
  }
}

/* Task of the pool. */
static void look_nearby_block(void *arg, size_t block) {
  tree *t = arg;
  for (size_t i = block * 256; i < block * 256 + 256 && i < t->n; i++) look_nearby(t, i);
}

/* Search for the vertices that may have a lesser edge than their component knows. */
static kin_status search(tree *t, kin_error *err) {
  size_t n = 0;
  for (size_t i = 0; i < t->n; i++) {
    const vertex *v = &t->vertices[i];
    const kin_edge *least = &t->least[t->component[i]];
    const double limit = least->a == SIZE_MAX ? INFINITY : least->weight;
    if (v->bound >= limit || v->weight <= v->bound) continue;
    t->limit[n] = limit, t->active[n++] = i;
  }
  kin_nearest_task task = {.context = t->context, .set = t->set, .chosen = t->active, .n_queries = n};
  task.metric = t->metric, task.k = 1, task.out = t->found;
  task.group = t->component, task.core = t->core, task.limit = t->limit;
  kin_status status = kin_nearest_run(&task, err);
  for (size_t i = 0; status == KIN_OK && i < n; i++) {
    vertex *v = &t->vertices[t->active[i]];
    if (t->found[i].index == SIZE_MAX) {
      v->bound = t->limit[i];
      continue;
    }
    v->target = t->found[i].index;
    v->weight = fmax(fmax(v->core, t->vertices[v->target].core), t->found[i].distance), v->bound = v->weight;
  }
  return status;
}

static void find_least(tree *t) {
  for (size_t i = 0; i < t->n; i++) t->least[i] = (kin_edge){SIZE_MAX, SIZE_MAX, INFINITY};
  for (size_t i = 0; i < t->n; i++) offer(t, i);
}

static void join(tree *t) {
  for (size_t c = 0; c < t->n; c++) {
    const kin_edge *edge = &t->least[c];
    if (edge->a == SIZE_MAX) continue;
    const uint32_t a = find(t->parent, (uint32_t)edge->a), b = find(t->parent, (uint32_t)edge->b);
    if (a == b) continue;
    t->parent[a > b ? a : b] = a > b ? b : a;
    t->edges[t->n_edges++] = *edge;
  }
  for (size_t i = 0; i < t->n; i++) t->component[i] = find(t->parent, (uint32_t)i);
}

static kin_status grow(tree *t, size_t samples, bool (*on_progress)(void *, double), void *user, kin_error *err) {
  kin_status status = kin_nearest(t->context, t->set, NULL, t->metric, t->k, t->near, err);
  for (size_t i = 0; status == KIN_OK && i < t->n; i++) {
    const double core = samples > 1 ? t->near[i * t->k + samples - 2].distance : 0;
    const double far = t->k + 1 < t->n ? t->near[i * t->k + t->k - 1].distance : INFINITY;
    t->core[i] = core;
    t->vertices[i] = (vertex){core, fmax(core, far), SIZE_MAX, INFINITY};
    t->component[i] = t->parent[i] = (uint32_t)i;
  }
  while (status == KIN_OK && t->n_edges + 1 < t->n) {
    if (on_progress && !on_progress(user, (double)t->n_edges / (double)t->n))
      return kin_fail(err, KIN_ERR_CANCELLED, "stopped with %zu of %zu vectors connected", t->n_edges, t->n);
    kin_parallel_for(t->context->pool, (t->n + 255) / 256, look_nearby_block, t);
    find_least(t);
    status = search(t, err);
    if (status != KIN_OK) break;
    find_least(t);
    join(t);
  }
  return status;
}

kin_status kin_spanning_tree(kin_context *context, const kin_vector_set *set, kin_metric metric, size_t samples,
                             bool (*on_progress)(void *user, double done), void *user, kin_edge *edges,
                             kin_error *err) {
  const size_t n = set->n;
  tree t = {.context = context, .set = set, .metric = metric, .n = n, .edges = edges};
  t.k = samples > LEAST_NEIGHBOURS ? samples : LEAST_NEIGHBOURS;
  if (t.k > n - 1) t.k = n - 1;
  t.near = kin_array(n, t.k * sizeof *t.near), t.vertices = kin_array(n, sizeof *t.vertices);
  t.component = kin_array(n, sizeof *t.component), t.parent = kin_array(n, sizeof *t.parent);
  t.least = kin_array(n, sizeof *t.least), t.active = kin_array(n, sizeof *t.active);
  t.core = kin_array(n, sizeof *t.core), t.limit = kin_array(n, sizeof *t.limit);
  t.found = kin_array(n, sizeof *t.found);
  kin_status status = KIN_OK;
  if (!t.near || !t.vertices || !t.component || !t.parent || !t.least || !t.active || !t.core || !t.limit || !t.found)
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for a tree of %zu vectors", n);
  if (status == KIN_OK) status = grow(&t, samples, on_progress, user, err);
  free(t.near), free(t.vertices), free(t.component), free(t.parent), free(t.least), free(t.active);
  free(t.core), free(t.limit), free(t.found);
  return status;
}
