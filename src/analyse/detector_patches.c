/* Pictures by their patches: how far each is from the nearest of a bank of usual ones (PatchCore's idea). */
#include "analyse/detector.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SHARE = 10, LEAST_KEPT = 1000, MOST_KEPT = 10000, TOP_SHARE = 100, PICTURES = 32 };

kin_status kin_detector_fit_patches(kin_context *context, const kin_vector_set *set, size_t patches, kin_detector *d,
                                    kin_error *err) {
  if (patches < 1 || set->dim % patches)
    return kin_fail(err, KIN_ERR_ARGUMENT, "%zu floats of a picture aren't %zu patches: k must tell how many there are",
                    set->dim, patches);
  const size_t width = set->dim / patches, all = set->n * patches, least = all < LEAST_KEPT ? all : LEAST_KEPT;
  const kin_vector_set tokens = {set->values, all, width};
  const kin_k_centre_options options = {.metric = d->info.metric};
  size_t kept = all / SHARE < least ? least : all / SHARE;
  if (kept > MOST_KEPT) kept = MOST_KEPT;
  kin_near *picks = kin_array(kept, sizeof *picks);
  d->points = kin_alloc_aligned(kept * width * sizeof *d->points);
  kin_status status = KIN_OK;
  if (!picks || !d->points) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for a bank of %zu patches", kept);
  if (status == KIN_OK) status = kin_k_centre(context, &tokens, &options, kept, picks, NULL, NULL, err);
  for (size_t i = 0; status == KIN_OK && i < kept; i++)
    memcpy(d->points + i * width, set->values + picks[i].index * width, width * sizeof *d->points);
  d->n_points = kept, d->info.k = patches;
  free(picks);
  return status;
}

/* Each patch's distance into near[n][k]. */
static kin_status measure(kin_context *context, const kin_detector *d, const kin_vector_set *items, kin_near *near,
                          kin_error *err) {
  const size_t width = d->info.dim / d->info.k;
  const kin_vector_set bank = {d->points, d->n_points, width}, tokens = {items->values, items->n * d->info.k, width};
  return kin_nearest(context, &bank, &tokens, d->info.metric, 1, near, err);
}

static int by_distance(const void *a, const void *b) {
  const double x = ((const kin_near *)a)->distance, y = ((const kin_near *)b)->distance;
  return x > y ? -1 : x < y;
}

/* The mean of the hundredth part of the patches that is furthest. */
static double score_of(kin_near *near, size_t patches) {
  const size_t top = patches / TOP_SHARE ? patches / TOP_SHARE : 1;
  double sum = 0;
  qsort(near, patches, sizeof *near, by_distance);
  for (size_t i = 0; i < top; i++) sum += near[i].distance;
  return sum / (double)top;
}

kin_status kin_detector_score_patches(kin_context *context, const kin_detector *d, const kin_vector_set *items,
                                      double *scores, kin_error *err) {
  const size_t k = d->info.k, most = items->n < PICTURES ? items->n : PICTURES;
  kin_near *near = kin_array(most, k * sizeof *near);
  kin_status status = near ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu patches", most * k);
  for (size_t first = 0; status == KIN_OK && first < items->n; first += most) {
    const kin_vector_set some = {items->values + first * items->dim, items->n - first < most ? items->n - first : most,
                                 items->dim};
    status = measure(context, d, &some, near, err);
    for (size_t i = 0; status == KIN_OK && i < some.n; i++) scores[first + i] = score_of(near + i * k, k);
  }
  free(near);
  return status;
}

kin_status kin_detector_patch_scores(kin_context *context, const kin_detector *d, const float *picture, double *scores,
                                     kin_error *err) {
  if (!context || !d || !picture || !scores)
    return kin_fail(err, KIN_ERR_ARGUMENT, "kin_detector_patch_scores needs a context, a detector, a vector and room");
  if (d->info.method != KIN_DETECTOR_PATCHES)
    return kin_fail(err, KIN_ERR_ARGUMENT, "a detector by %s knows nothing of patches",
                    kin_detector_method_name(d->info.method));
  const kin_vector_set one = {picture, 1, d->info.dim};
  kin_near *near = kin_array(d->info.k, sizeof *near);
  if (!near) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu patches", d->info.k);
  const kin_status status = measure(context, d, &one, near, err);
  for (size_t i = 0; status == KIN_OK && i < d->info.k; i++) scores[i] = near[i].distance;
  free(near);
  return status;
}
