/* HDBSCAN's tree of clusters, from a minimum spanning tree. */
#ifndef KIN_CONDENSED_TREE_H
#define KIN_CONDENSED_TREE_H

#include "analyse/spanning_tree.h"

/* Sort the edges, build the tree of clusters of at least `least` vectors, choose by excess of mass, and fill the labels
 * (of n = out->n) and strengths; *k is how many clusters there are. The root is never chosen. */
kin_status kin_condense(kin_edge *edges, size_t least, kin_clustering *out, size_t *k, kin_error *err);

#endif
