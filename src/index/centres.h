/* The centres of an IVF index's lists or of a product quantizer, and which of them are nearest to a vector: k-means is
 * little else, and with thousands of centres it is most of the time of a search that looks into few lists. */
#ifndef KIN_CENTRES_H
#define KIN_CENTRES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kin_kernels;
typedef struct kin_centres kin_centres;

/* A copy of vectors[n][dim], n >= 1, packed for matrix products. The nearest have the largest products with a query or,
 * by_distance, the least distances from it. NULL: out of memory. */
kin_centres *kin_centres_new(const struct kin_kernels *kernels, const float *vectors, size_t n, size_t dim,
                             bool by_distance);
void kin_centres_free(kin_centres *centres);

/* For each of `n` queries the `k` nearest centres, best first: their products, or the squares of their distances, into
 * scores[n][k] and their numbers into found[n][k], -1 where there are fewer. A query's result doesn't depend on the
 * others. On the calling thread alone; several may ask at once. False: out of memory. */
bool kin_centres_nearest(const kin_centres *centres, const float *queries, size_t n, size_t k, float *scores,
                         int64_t *found);

#endif
