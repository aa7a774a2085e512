/* The greatest eigenvalues of a symmetric matrix, and their vectors. */
#ifndef KIN_EIGEN_H
#define KIN_EIGEN_H

#include "base/base.h"

/* The `k` greatest eigenvalues of the positive semidefinite a[n][n], descending, and their vectors of length 1 into
 * vectors[k][n]; 1 <= k <= n. The same bits whatever the number of threads. */
kin_status kin_top_eigen(kin_context *context, const double *a, size_t n, size_t k, double *values, double *vectors,
                         kin_error *err);

#endif
