/* The inside of a detector of anomalies. */
#ifndef KIN_DETECTOR_H
#define KIN_DETECTOR_H

#include "base/base.h"

struct kin_detector {
  kin_detector_info info;
  double *scores; /* [n_scores], ascending: what the threshold rests on */
  size_t n_scores;
  double *mean;      /* [dim] of mean (with cosines at length 1) and Mahalanobis */
  double *precision; /* [dim][dim] of Mahalanobis: the inverse of the covariance */
  float *centres;    /* [k][dim] of clusters */
  double *spreads;   /* [k] */
  float *points;     /* [n_points][dim] of neighbours: the items; of patches the bank, a patch each */
  size_t n_points;
  double *k_distances, *densities; /* [items] of the local outlier factor */
};

/* Each fits what its method needs of checked, finite vectors, at least two. */
kin_status kin_detector_fit_mean(const kin_vector_set *set, kin_detector *d, kin_error *err);
kin_status kin_detector_fit_mahalanobis(kin_context *context, const kin_vector_set *set, kin_detector *d,
                                        kin_error *err);
/* `k` 0: chosen by silhouette. */
kin_status kin_detector_fit_clusters(kin_context *context, const kin_vector_set *set, size_t k, uint64_t seed,
                                     kin_detector *d, kin_error *err);
/* scores[n] of the vectors, each left out of its own. */
kin_status kin_detector_fit_neighbours(kin_context *context, const kin_vector_set *set, kin_detector *d, double *scores,
                                       kin_error *err);
kin_status kin_detector_fit_patches(kin_context *context, const kin_vector_set *set, size_t patches, kin_detector *d,
                                    kin_error *err);

/* Score new vectors, of the right size and finite; inverse[n] brings each to length 1. */
void kin_detector_score_mean(kin_context *context, const kin_detector *d, const kin_vector_set *items,
                             const double *inverse, double *scores);
kin_status kin_detector_score_mahalanobis(kin_context *context, const kin_detector *d, const kin_vector_set *items,
                                          double *scores, kin_error *err);
void kin_detector_score_clusters(kin_context *context, const kin_detector *d, const kin_vector_set *items,
                                 const double *inverse, double *scores);
kin_status kin_detector_score_neighbours(kin_context *context, const kin_detector *d, const kin_vector_set *items,
                                         double *scores, kin_error *err);
kin_status kin_detector_score_patches(kin_context *context, const kin_detector *d, const kin_vector_set *items,
                                      double *scores, kin_error *err);

#endif
