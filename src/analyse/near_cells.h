/* Nearest neighbours of very many vectors, nearly all of them. */
#ifndef KIN_NEAR_CELLS_H
#define KIN_NEAR_CELLS_H

#include "base/base.h"

/* The k nearest others by cosine of each vector, as kin_nearest gives them, but only among those that share a cell with
 * it: index SIZE_MAX where there are fewer. Time grows as n to the power of 1.5. The same bits whatever the threads.
 * `on_progress`(user, done, total) false: KIN_ERR_CANCELLED. 1 <= k < n. */
kin_status kin_nearest_in_cells(kin_context *context, const kin_vector_set *set, size_t k,
                                bool (*on_progress)(void *user, size_t done, size_t total), void *user, kin_near *out,
                                kin_error *err);

#endif
