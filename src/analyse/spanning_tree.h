/* The minimum spanning tree of mutual reachability: the distance of two vectors, or the core distance of either if that
 * is greater. */
#ifndef KIN_SPANNING_TREE_H
#define KIN_SPANNING_TREE_H

#include "base/base.h"

typedef struct kin_edge {
  size_t a, b; /* a < b */
  double weight;
} kin_edge;

/* Exact, into edges[n - 1], n >= 2, in no particular order. A core distance is the one to the `samples`-th nearest,
 * the vector itself being the first; 1 <= samples <= n. */
kin_status kin_spanning_tree(kin_context *context, const kin_vector_set *set, kin_metric metric, size_t samples,
                             bool (*on_progress)(void *user, double done), void *user, kin_edge *edges, kin_error *err);

#endif
