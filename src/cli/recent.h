/* kindred anomalies recent: what its parts share. */
#ifndef KIN_CLI_RECENT_H
#define KIN_CLI_RECENT_H

#include "cli/items.h"

/* Two windows in a row, and whether they differ. */
typedef struct recent_test {
  size_t first, middle, end; /* the earlier one is [first, middle) in order of time, the later one [middle, end) */
  kin_drift drift;
  double p; /* of these many tests at once: Benjamini's and Hochberg's */
  bool changed;
} recent_test;

typedef struct recent_job {
  cli_common common;
  cli_vectors_options input;
  const char *window_text, *times, *method_name, *metric_name, *threshold_text, *csv, *html;
  size_t neighbours, count, seed, permutations;
  bool stream, file_times;
  double level; /* greatest p that counts as a change */

  size_t window;     /* items, or 0 ... */
  int64_t window_ns; /* ... and a span of time */
  kin_metric metric;
  kin_detector_method method;
  kin_threshold threshold;
  cli_vectors v;
  size_t *order;    /* [n] items by time; places are numbers of this order */
  int64_t *time_ns; /* [n] by place; all 0: not known */
  float *values;    /* [n][dim] by place */
  size_t *first;    /* [n] where the window of each place begins */
  double *scores;   /* [n] by place; NAN: too few before it */
  double *limits;   /* [n] of the scores in the window; NAN: too few of them */
  size_t *unusual;  /* [n_unusual] places above their limits, furthest above first */
  size_t n_unusual;
  recent_test *tests; /* [n_tests] */
  size_t n_tests;
  size_t *changes; /* [n_changes] places at which something changes, and by which test */
  size_t *change_tests, n_changes;
  double seconds;
} recent_job;

static inline const cli_item *recent_item(const recent_job *j, size_t place) {
  return &j->v.items[j->order[place]];
}
static inline bool recent_is_unusual(const recent_job *j, size_t place) {
  return j->scores[place] > j->limits[place];
}

/* recent_print.c */
void recent_print(const recent_job *j);
json_t *recent_describe(const recent_job *j); /* NULL for lack of memory */
void recent_write_csv(const recent_job *j, FILE *out);
/* "2024-12-31T09:30:00Z" into `out`, "" where the time isn't known; returns `out`. */
const char *recent_time_text(int64_t time_ns, char out[32]);

/* recent_stream.c: items from the standard input until it ends; prints its error and returns an exit status. */
int recent_stream(const cli_command *command, recent_job *j, const cli_list *operands);

/* recent_page.c: prints its error and returns an exit status. */
int recent_write_page(const recent_job *j, cli_page *page);

#endif
