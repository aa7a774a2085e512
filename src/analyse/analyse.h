/* What the analyses share. */
#ifndef KIN_ANALYSE_H
#define KIN_ANALYSE_H

#include "base/base.h"

/* Check that `set` is well-formed and holds finite values, and set *out, to be released with free(), to
 * [n] factors that bring each vector to length 1; 0 for one of zeros. */
kin_status kin_inverse_lengths(const kin_vector_set *set, double **out, kin_error *err);

#endif
