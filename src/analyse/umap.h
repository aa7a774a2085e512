/* The parts of UMAP. */
#ifndef KIN_UMAP_H
#define KIN_UMAP_H

#include "analyse/fuzzy_set.h"

/* a and b of the curve 1 / (1 + a d^(2 b)) that is nearest, in least squares over [0, 3], to 1 below min_dist and
 * exp(min_dist - d) beyond: how near two points of the map are taken to be. */
void kin_umap_curve(double min_dist, double *a, double *b);

typedef struct kin_umap_layout {
  kin_context *context;
  const kin_fuzzy_set *set;
  double a, b;
  size_t epochs;
  uint64_t seed;
  bool (*on_progress)(void *user, double done); /* may be NULL */
  void *user;
} kin_umap_layout;

/* Move the points[n][2] about until neighbours are near one another and others apart. */
kin_status kin_umap_move(const kin_umap_layout *layout, float *points, kin_error *err);

#endif
