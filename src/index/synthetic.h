/* Clustered vectors from a seed, for benchmarks and tests of indexes: the same on every machine. */
#ifndef KIN_SYNTHETIC_H
#define KIN_SYNTHETIC_H

#include "base/base.h"

typedef struct kin_synthetic kin_synthetic;

/* Vectors of `dim` floats around 2,000 centres; cosines within a cluster are about a half. KIN_ERR_MEMORY. */
kin_status kin_synthetic_open(size_t dim, uint64_t seed, kin_synthetic **out, kin_error *err);
void kin_synthetic_close(kin_synthetic *synthetic);
/* Number `i`, of length 1, into out[dim]. Safe to call from several threads. */
void kin_synthetic_vector(const kin_synthetic *synthetic, uint64_t i, float *out);
/* A query, from another sequence of the same clusters. */
void kin_synthetic_query(const kin_synthetic *synthetic, uint64_t i, float *out);

#endif
