/* Single linkage, the tree of clusters large enough, and the choice among them (Campello, Moulavi and Sander). A
 * density (lambda) is one over a distance. */
#include "analyse/condensed_tree.h"

#include <math.h>
#include <stdlib.h>

/* The density of what is at no distance: finite, so that differences stay defined. */
#define MOST_LAMBDA 1e100

/* Nodes below n are vectors; node n + i joins two. */
typedef struct joint {
  size_t left, right, size;
  double distance;
} joint;

typedef struct cluster {
  size_t parent, size;
  double birth, stability, most; /* `most`: the greatest density at which something left it */
  bool chosen;
} cluster;

typedef struct condensed {
  size_t n, least;
  joint *joints;     /* [n - 1] */
  cluster *clusters; /* [n_clusters]; the first is the root, children come after their parents */
  size_t n_clusters, capacity;
  size_t *parent;   /* [n] cluster that a vector fell out of ... */
  double *lambda;   /* [n] ... and at which density */
  size_t *of_joint; /* [n - 1]: the cluster of a joint that is still to be looked at; SIZE_MAX: none */
  size_t *stack;    /* [n] */
} condensed;

static int by_weight(const void *x, const void *y) {
  const kin_edge *a = x, *b = y;
  if (a->weight != b->weight) return a->weight < b->weight ? -1 : 1;
  if (a->a != b->a) return a->a < b->a ? -1 : 1;
  return a->b < b->b ? -1 : a->b > b->b;
}

static size_t size_of(const condensed *t, size_t node) {
  return node < t->n ? 1 : t->joints[node - t->n].size;
}

/* Edges in ascending order -> joints. `root` [2 n - 1] is scratch: the joint above a node. */
static void link_up(condensed *t, kin_edge *edges, size_t *root) {
  qsort(edges, t->n - 1, sizeof *edges, by_weight);
  for (size_t i = 0; i < 2 * t->n - 1; i++) root[i] = i;
  for (size_t i = 0; i + 1 < t->n; i++) {
    size_t ends[2] = {edges[i].a, edges[i].b};
    for (int e = 0; e < 2; e++)
      while (root[ends[e]] != ends[e]) ends[e] = root[ends[e]] = root[root[ends[e]]];
    t->joints[i] = (joint){ends[0], ends[1], size_of(t, ends[0]) + size_of(t, ends[1]), edges[i].weight};
    root[ends[0]] = root[ends[1]] = t->n + i;
  }
}

/* All vectors below `node` fall out of the cluster. */
static void fall_out(condensed *t, size_t node, size_t from, double lambda) {
  size_t n = 0;
  t->stack[n++] = node;
  while (n) {
    const size_t at = t->stack[--n];
    if (at < t->n) {
      t->parent[at] = from, t->lambda[at] = lambda;
      continue;
    }
    t->stack[n++] = t->joints[at - t->n].left;
    t->stack[n++] = t->joints[at - t->n].right;
  }
}

static bool add_cluster(condensed *t, size_t parent, size_t size, double birth) {
  if (!kin_grow((void **)&t->clusters, &t->capacity, t->n_clusters + 1, sizeof *t->clusters)) return false;
  t->clusters[t->n_clusters++] = (cluster){.parent = parent, .size = size, .birth = birth};
  return true;
}

/* From the last joint down: where both sides are large enough the cluster ends and two begin; else what is too small
 * falls out of it. */
static bool condense(condensed *t) {
  for (size_t i = 0; i + 1 < t->n; i++) t->of_joint[i] = SIZE_MAX;
  if (!add_cluster(t, SIZE_MAX, t->n, 0)) return false;
  t->of_joint[t->n - 2] = 0;
  for (size_t i = t->n - 1; i-- > 0;) {
    const size_t own = t->of_joint[i];
    if (own == SIZE_MAX) continue;
    const joint *j = &t->joints[i];
    const double lambda = j->distance > 1 / MOST_LAMBDA ? 1 / j->distance : MOST_LAMBDA;
    const size_t sides[2] = {j->left, j->right};
    const bool splits = size_of(t, j->left) >= t->least && size_of(t, j->right) >= t->least;
    for (int s = 0; s < 2; s++) {
      if (size_of(t, sides[s]) < t->least) {
        fall_out(t, sides[s], own, lambda);
      } else { /* `least` is at least 2, so that the side is a joint */
        if (splits && !add_cluster(t, own, size_of(t, sides[s]), lambda)) return false;
        t->of_joint[sides[s] - t->n] = splits ? t->n_clusters - 1 : own;
      }
    }
  }
  return true;
}

static void measure_stability(condensed *t) {
  for (size_t i = 0; i < t->n; i++) {
    cluster *c = &t->clusters[t->parent[i]];
    c->stability += t->lambda[i] - c->birth, c->most = fmax(c->most, t->lambda[i]);
  }
  for (size_t i = 1; i < t->n_clusters; i++) {
    const cluster *c = &t->clusters[i];
    cluster *p = &t->clusters[c->parent];
    p->stability += (c->birth - p->birth) * (double)c->size, p->most = fmax(p->most, c->birth);
  }
}

/* Excess of mass: a cluster is kept unless its children together are more stable. below[n_clusters] is scratch. */
static void choose(condensed *t, double *below) {
  for (size_t i = 0; i < t->n_clusters; i++) below[i] = 0;
  for (size_t i = t->n_clusters; i-- > 1;) {
    cluster *c = &t->clusters[i];
    c->chosen = !(below[i] > c->stability);
    below[c->parent] += c->chosen ? c->stability : below[i];
  }
  for (size_t i = 1; i < t->n_clusters; i++) { /* the uppermost of those that are kept */
    cluster *c = &t->clusters[i];
    size_t up = c->parent;
    while (c->chosen && up != SIZE_MAX && !t->clusters[up].chosen) up = t->clusters[up].parent;
    if (c->chosen && up != SIZE_MAX) c->chosen = false;
  }
}

static void fill_labels(const condensed *t, kin_clustering *out, size_t *k, size_t *number) {
  *k = 0;
  for (size_t i = 0; i < t->n_clusters; i++) {
    const cluster *c = &t->clusters[i];
    if (c->chosen)
      number[i] = (*k)++;
    else
      number[i] = c->parent == SIZE_MAX ? SIZE_MAX : number[c->parent];
  }
  for (size_t i = 0; i < t->n; i++) {
    size_t own = t->parent[i];
    const size_t label = number[own];
    out->labels[i] = label == SIZE_MAX ? KIN_NO_CLUSTER : (uint32_t)label;
    out->strength[i] = 0;
    if (label == SIZE_MAX) continue;
    while (!t->clusters[own].chosen) own = t->clusters[own].parent;
    const double most = t->clusters[own].most;
    out->strength[i] = most > 0 ? (float)(fmin(t->lambda[i], most) / most) : 1;
  }
}

kin_status kin_condense(kin_edge *edges, size_t least, kin_clustering *out, size_t *k, kin_error *err) {
  const size_t n = out->n;
  condensed t = {.n = n, .least = least};
  size_t *scratch = kin_array(2 * n, sizeof *scratch);
  double *below = NULL;
  t.joints = kin_array(n, sizeof *t.joints), t.parent = kin_array(n, sizeof *t.parent);
  t.lambda = kin_array(n, sizeof *t.lambda), t.of_joint = kin_array(n, sizeof *t.of_joint);
  t.stack = kin_array(n + 1, sizeof *t.stack);
  bool ok = scratch && t.joints && t.parent && t.lambda && t.of_joint && t.stack;
  if (ok) {
    link_up(&t, edges, scratch);
    ok = condense(&t);
  }
  if (ok) ok = (below = kin_array(t.n_clusters, sizeof *below)) != NULL;
  if (ok) {
    measure_stability(&t);
    choose(&t, below);
    fill_labels(&t, out, k, scratch); /* there are fewer clusters than vectors */
  }
  free(scratch), free(below), free(t.joints), free(t.parent), free(t.lambda), free(t.of_joint), free(t.stack);
  free(t.clusters);
  return ok ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "out of memory for a tree of %zu vectors", n);
}
