/* The centres of an IVF index's lists, and which of them are nearest to a query: for thousands of centres that is most
 * of the time of a search that looks into few lists. */
#ifndef KIN_CENTRES_H
#define KIN_CENTRES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kin_kernels;
typedef struct kin_centres kin_centres;

/* A copy of vectors[n][dim], packed for matrix products. NULL: out of memory. */
kin_centres *kin_centres_new(const struct kin_kernels *kernels, const float *vectors, size_t n, size_t dim);
void kin_centres_free(kin_centres *centres);

/* For each of `n` queries the `k` centres with the largest products, best first: their products into scores[n][k] and
 * their numbers into found[n][k], -1 where there are fewer. A query's result doesn't depend on the others. On the
 * calling thread alone; several may ask at once. False: out of memory. */
bool kin_centres_nearest(const kin_centres *centres, const float *queries, size_t n, size_t k, float *scores,
                         int64_t *found);

#endif
