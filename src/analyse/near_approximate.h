/* Nearest neighbours of very many vectors, nearly all of them. */
#ifndef KIN_NEAR_APPROXIMATE_H
#define KIN_NEAR_APPROXIMATE_H

#include "base/base.h"

/* As kin_near_others without KIN_NEAR_EXACT, of checked arguments: k nearest of each vector, from 1 to n - 1.
 * *recall: 1 where the search was exact in the end. */
kin_status kin_near_approximate(kin_context *context, const kin_vector_set *set, const kin_near_options *options,
                                kin_near *out, double *recall, kin_error *err);

#endif
