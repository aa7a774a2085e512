/* The inside of k-means: points, centres, seeds and steps. */
#ifndef KIN_KMEANS_H
#define KIN_KMEANS_H

#include "analyse/nearest_side.h"
#include "base/random.h"

typedef struct kin_points {
  kin_context *context;
  const kin_vector_set *set;
  kin_metric metric;
  double *inverse; /* [n]; factors that a point has: 1 without cosines */
  kin_nearest_frame frame;
  kin_nearest_side rows; /* all points */
  double variance;       /* of the points, summed over the floats */
  /* Of one start: */
  size_t k;
  float *centres;           /* [k][dim], in the points' own space */
  kin_nearest_side columns; /* the centres */
  uint32_t *labels;         /* [n] */
  uint32_t *previous;       /* [n]: labels before the last assignment; KIN_NO_CLUSTER at first */
  float *upper, *lower;     /* [n]: bounds on the distances to the own and to any other centre */
  double *shift;            /* [k]: how far each centre moved since the bounds were right */
  double *sums;             /* [k][dim]: of the points */
  size_t *counts;           /* [k] */
  size_t *changed;          /* [n]: points whose label changed */
  size_t n_changed;
  float *scores; /* scratch of assigning: [workers][tile rows][columns.padded] */
  void *strips;  /* likewise [workers][tile rows][words] */
} kin_points;

/* Everything but a start's arrays. */
kin_status kin_points_open(kin_context *context, const kin_vector_set *set, kin_metric metric, kin_points *out,
                           kin_error *err);
/* Make room for k centres. */
kin_status kin_points_begin(kin_points *p, size_t k, kin_error *err);
void kin_points_close(kin_points *p);

/* ---- kmeans_seed.c */

typedef struct kin_seeder kin_seeder;
kin_status kin_seeder_open(kin_points *p, size_t k, uint64_t seed, kin_seeder **out, kin_error *err);
/* Choose k centres by greedy k-means++. */
void kin_seeder_choose(kin_seeder *seeder, kin_points *p);
void kin_seeder_close(kin_seeder *seeder);

/* ---- kmeans_assign.c */

/* Bring p->columns to the centres. */
kin_status kin_points_pack_centres(kin_points *p, kin_error *err);
/* Give every point the label of exactly its nearest centre, the lowest number among equals. `fresh`: the bounds say
 * nothing. */
void kin_points_assign(kin_points *p, bool fresh);
/* The same for the points chosen[n] alone, into labels[n], without bounds. */
void kin_points_assign_some(kin_points *p, const size_t *chosen, size_t n, uint32_t *labels);
/* Squared distance of a point to a centre, in double. */
double kin_points_distance(const kin_points *p, size_t point, size_t centre);

/* ---- kmeans_batch.c */

/* Mini-batch steps until they lead nowhere; fills p->centres. */
kin_status kin_kmeans_batches(kin_points *p, const kin_kmeans_options *options, size_t start, kin_random *random,
                              size_t *iterations, kin_error *err);
/* Bring the centres to length 1 with cosines; one of zeros stays. */
void kin_points_normalise(kin_points *p);

#endif
