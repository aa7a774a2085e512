/* How unlike the others each vector is. */
#include "analyse/analyse.h"
#include "analyse/nearest.h"

#include <math.h>
#include <stdlib.h>

kin_status kin_uniqueness_of_near(const kin_near *near, size_t n, size_t each, size_t k, double *scores,
                                  kin_error *err) {
  if (!near || !scores || n == 0 || k < 1 || k > each)
    return kin_fail(err, KIN_ERR_ARGUMENT, "uniqueness by %zu neighbours of %zu that are known: must be 1 to as many",
                    k, each);
  for (size_t i = 0; i < n; i++) {
    double sum = 0;
    for (size_t j = 0; j < k; j++) sum += near[i * each + j].distance;
    scores[i] = sum / (double)k;
  }
  return KIN_OK;
}

kin_status kin_uniqueness(kin_context *context, const kin_vector_set *set, kin_metric metric, size_t k, double *scores,
                          kin_near *nearest, kin_error *err) {
  double *inverse;
  if (!context || !scores || k < 1)
    return kin_fail(err, KIN_ERR_ARGUMENT, "uniqueness needs a context, room, and at least 1 neighbour");
  kin_status status = kin_inverse_lengths(set, &inverse, err);
  free(inverse);
  if (status != KIN_OK) return status;
  if (set->n == 1) {
    scores[0] = INFINITY;
    if (nearest) nearest[0] = (kin_near){SIZE_MAX, INFINITY};
    return KIN_OK;
  }
  if (k > set->n - 1) k = set->n - 1;
  kin_near *near = kin_array(set->n, k * sizeof *near);
  if (!near) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the neighbours of %zu vectors", set->n);
  status = kin_nearest(context, set, NULL, metric, k, near, err);
  if (status == KIN_OK) status = kin_uniqueness_of_near(near, set->n, k, k, scores, err);
  for (size_t i = 0; status == KIN_OK && nearest && i < set->n; i++) nearest[i] = near[i * k];
  free(near);
  return status;
}
