/* kindred sample: what its parts share. */
#ifndef KIN_CLI_SAMPLE_H
#define KIN_CLI_SAMPLE_H

#include "cli/items.h"
#include "cli/page.h"

typedef struct sample_job {
  cli_common common;
  cli_vectors_options input;
  const char *metric_name, *csv, *html;
  size_t count, neighbours;
  bool uniqueness, centre;

  kin_metric metric;
  cli_vectors v;
  double seconds;
  size_t shown; /* `count`, or all items where there are fewer */
  /* Of the picks: */
  kin_near *picks;    /* [shown] */
  size_t *stands_for; /* [shown] items, itself counted, whose nearest pick this is */
  size_t *nearest;    /* [n] the number of that pick */
  double *distances;  /* [n] to it */
  double radius;      /* the greatest of these */
  /* With --uniqueness: */
  double *scores;    /* [n] */
  kin_near *closest; /* [n]: the nearest other */
  size_t *order;     /* [n] items, the most unique first */
} sample_job;

/* sample_print.c */
void sample_print(const sample_job *j);
json_t *sample_describe(const sample_job *j); /* NULL for lack of memory */
void sample_write_csv(const sample_job *j, FILE *out);
/* Prints its error and returns an exit status. */
int sample_write_page(const sample_job *j, cli_page *page);

#endif
