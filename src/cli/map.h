/* kindred map: what its parts share. */
#ifndef KIN_CLI_MAP_H
#define KIN_CLI_MAP_H

#include "cli/items.h"

typedef enum map_colours {
  MAP_PLAIN,
  MAP_LABEL,
  MAP_CLUSTER,
  MAP_DATE,
  MAP_UNIQUENESS,
  MAP_ANOMALY,
  MAP_COLOURS
} map_colours;

/* The ends of a scale of colours. */
typedef struct map_scale {
  double low, high;
  bool known; /* there are values */
} map_scale;

typedef struct map_job {
  cli_common common;
  cli_vectors_options input;
  const char *method_name, *metric_name, *search_name, *colour_name, *detector_path, *csv, *html, *svg, *png;
  size_t neighbours, seed, trusted, side; /* neighbours 0: the default; trusted 0: not measured */
  size_t thumbnails;                      /* in the page, at most */
  double min_dist;
  bool centre;

  bool pca;
  kin_metric metric;
  kin_near_search search;
  kin_detector *detector; /* NULL: none was given */
  map_colours colours;    /* what the colours tell */
  cli_vectors v;
  cli_output svg_file, png_file;
  double seconds;
  float *points;           /* [n][2] */
  double variances[2];     /* of PCA: the shares of the axes */
  double trustworthiness;  /* where measured: */
  size_t measured;         /* on so many items */
  kin_clustering clusters; /* labels NULL: not looked for */
  kin_near *near;          /* [n][near_each]; NULL: not looked for */
  size_t near_each;
  double recall;                 /* of `near`, about */
  double *uniqueness;            /* [n]; NULL: not measured */
  double *anomaly;               /* [n], the detector's scores; NULL: none was given */
  map_scale scales[MAP_COLOURS]; /* of MAP_DATE, in seconds since 1970, MAP_UNIQUENESS and MAP_ANOMALY */
} map_job;

/* map_colours.c */
const char *map_colours_name(map_colours colours);
/* How many classes the colours tell apart; 0: they are a scale, or all points have one. */
size_t map_classes(const map_job *j, map_colours colours);
/* A class, which `room` may be needed for. */
const char *map_class_name(const map_job *j, map_colours colours, size_t number, char room[32]);
/* Of an item; SIZE_MAX: none. */
size_t map_class_of(const map_job *j, map_colours colours, size_t item);
/* Of the scale; NAN: not known. */
double map_value_of(const map_job *j, map_colours colours, size_t item);
/* Where an item is on the scale, 0 to 1; negative: not known. */
double map_share_of(const map_job *j, map_colours colours, size_t item);
void map_find_scales(map_job *j);
const map_scale *map_scale_of(const map_job *j, map_colours colours); /* NULL: no scale */
/* An end of a scale in words. */
void map_scale_text(map_colours colours, double value, char out[32]);
/* Colours are 0xRRGGBB and show on white and on black. */
uint32_t map_class_colour(size_t number); /* SIZE_MAX: of no class */
uint32_t map_scale_colour(double share);  /* negative: not known */
uint32_t map_colour_of(const map_job *j, size_t item);

/* map_print.c */
void map_print(const map_job *j, bool points);
json_t *map_describe(const map_job *j); /* NULL for lack of memory */
void map_write_csv(const map_job *j, FILE *out);

/* map_picture.c: each prints its error and returns an exit status. */
int map_write_svg(const map_job *j, cli_output *to);
int map_write_png(const map_job *j, cli_output *to);

/* map_page.c: prints its error and returns an exit status. */
int map_write_page(const map_job *j, cli_page *page);

#endif
