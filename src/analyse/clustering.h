/* What the ways to cluster share. */
#ifndef KIN_CLUSTERING_H
#define KIN_CLUSTERING_H

#include "base/base.h"

/* Room for the labels (and strengths) of n vectors. */
kin_status kin_clustering_open(size_t n, bool strength, kin_clustering *out, kin_error *err);
/* Drop the clusters without vectors and number the others: the largest first (then by first vector), or by first
 * vector. Labels are below k or KIN_NO_CLUSTER; sets out->k. */
kin_status kin_clustering_number(kin_clustering *out, size_t k, bool by_first, kin_error *err);

#endif
