/* The parts of kin_align_fit: the data, the regression, measuring, the files. */
#ifndef KIN_ALIGN_H
#define KIN_ALIGN_H

#include "base/json.h"

/* Pictures as the encoders see them. */
typedef struct kin_align_data {
  size_t n, features, dim, columns; /* `dim`: of the text vectors */
  float *images;                    /* [n][features] */
  float *texts;                     /* [columns][n][dim], of length 1; zeros where there is no caption */
  bool *has;                        /* [columns][n] */
  size_t *group;                    /* [n]: the number of a picture's first caption, numbers in random order */
  size_t groups;
} kin_align_data;

/* picture: weight x, where x = (features - mean) / deviation; with points, weight k, where
 * k[i] = exp(-|x - point i|^2 / features). text: projection (unit vector - mean). */
typedef struct kin_align_map {
  size_t features, dim;
  double *image_mean, *image_deviation; /* [features] */
  size_t n_points;                      /* 0: a linear map */
  double *points;                       /* [n_points][features] */
  double *image_weight;                 /* [dim][n_points or features] */
  double *text_mean;                    /* [dim] */
  double *projection;                   /* [dim][dim], symmetric */
  double lambda;
} kin_align_map;

/* Fit to the pictures `rows` [n_rows]. `lambda` 0: chosen by cross-validation. */
kin_status kin_ridge_fit(kin_context *context, const kin_align_data *data, const size_t *rows, size_t n_rows,
                         kin_align_method method, double lambda, kin_align_map *out, kin_error *err);
void kin_align_map_free(kin_align_map *map);

/* The vectors of pictures `rows` [n] into out[n][dim], and of their captions of one column. */
kin_status kin_align_map_images(kin_context *context, const kin_align_map *map, const kin_align_data *data,
                                const size_t *rows, size_t n, double *out, kin_error *err);
kin_status kin_align_map_texts(kin_context *context, const kin_align_map *map, const kin_align_data *data,
                               size_t column, const size_t *rows, size_t n, double *out, kin_error *err);

/* Search for each caption of a column among the pictures: images[n][dim], texts[n][dim], both of pictures `rows` [n];
 * one query a group. *mean_reciprocal (may be NULL): of the ranks. Scales the images to length 1. */
void kin_align_measure(const kin_align_data *data, size_t column, const size_t *rows, size_t n, double *images,
                       const double *texts, kin_align_recall *out, double *mean_reciprocal);

/* The directory's two files. */
kin_status kin_align_write(const char *dir, const json_t *config, const kin_align_map *map, kin_error *err);

#endif
