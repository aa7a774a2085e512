/* The graph that a map is laid out by: how surely each vector belongs to the neighbourhoods of others. */
#ifndef KIN_FUZZY_SET_H
#define KIN_FUZZY_SET_H

#include "base/base.h"

/* Symmetric; weights are above 0, to 1. Row i holds [first[i], first[i + 1]), by ascending `other`. */
typedef struct kin_fuzzy_set {
  size_t n;
  size_t *first; /* [n + 1] */
  uint32_t *other;
  float *weight;
} kin_fuzzy_set;

/* Of the k nearest others of n vectors, near[n][k], nearest first: weights equal those of umap-learn's
 * fuzzy_simplicial_set with k + 1 neighbours, the vector itself being the first. Release with kin_fuzzy_set_close. */
kin_status kin_fuzzy_set_open(kin_context *context, const kin_near *near, size_t n, size_t k, kin_fuzzy_set *out,
                              kin_error *err);
void kin_fuzzy_set_close(kin_fuzzy_set *set);

#endif
