/* What scores against windows share. */
#ifndef KIN_RECENT_H
#define KIN_RECENT_H

#include "base/base.h"

/* KIN_ERR_ARGUMENT unless windows are scored against by this. */
kin_status kin_window_check(kin_detector_method method, size_t k, kin_error *err);
/* The score of the last vector of the set against all before it, as kin_window_scores gives it. inverse[n] with
 * cosines, else NULL; room[k] by neighbours, room[dim] by the mean. */
double kin_window_score(const kin_vector_set *set, const double *inverse, kin_detector_method method, size_t k,
                        double *room);

#endif
