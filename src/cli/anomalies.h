/* kindred anomalies: what its parts share. */
#ifndef KIN_CLI_ANOMALIES_H
#define KIN_CLI_ANOMALIES_H

#include "cli/items.h"

typedef struct anomalies_job {
  cli_common common;
  cli_vectors_options input;
  const char *method_name, *metric_name, *threshold_text, *csv, *html, *save;
  const char *heat_maps; /* folder, of patches; NULL: none */
  size_t count;          /* items to show; 0: all */
  size_t seed;
  kin_detector_options options;

  const char *saved; /* the detector's file, which the items are new to; NULL: it is fitted to the items */
  cli_vectors v;
  kin_detector *detector;
  kin_detector_info info;
  double seconds;
  double *scores;   /* [n] */
  double *p_values; /* [n]; NULL: fitted to the items */
  size_t *order;    /* [n] items, the highest score first */
  size_t anomalies; /* scores above the limit; they come first */
} anomalies_job;

/* anomalies_print.c */
void anomalies_print(const anomalies_job *j);
json_t *anomalies_describe(const anomalies_job *j); /* NULL for lack of memory */
void anomalies_write_csv(const anomalies_job *j, FILE *out);
/* What was fitted, and to what. */
void anomalies_print_fit(const anomalies_job *j);
json_t *anomalies_describe_fit(const anomalies_job *j); /* NULL for lack of memory */
/* "the median and 5 deviations" and so on, into `out`; returns `out`. */
const char *anomalies_threshold_text(const kin_detector_info *info, char out[96]);

/* anomalies_page.c: prints its error and returns an exit status. */
int anomalies_write_page(const anomalies_job *j, cli_page *page);

/* anomalies_heat.c: a PNG for each picture shown. Prints its error and returns an exit status. */
int anomalies_write_heat_maps(const anomalies_job *j);

/* anomalies_watch.c: score the pictures of a folder by the job's detector, those there now (unless `only_new`) and then
 * each that comes, until a signal does. Prints its error and returns an exit status. */
int anomalies_watch(const cli_command *command, anomalies_job *j, const char *folder, bool only_new);

#endif
