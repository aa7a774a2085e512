/* The inside of kindred bench recall. */
#ifndef KIN_CLI_BENCH_RECALL_H
#define KIN_CLI_BENCH_RECALL_H

#include "cli/bench_vectors.h"
#include "cli/output.h"
#include "index/index.h"

enum { RECALL_DEPTHS = 3, RECALL_MOST_POINTS = 13, RECALL_MOST_ROUNDS = 100 };

typedef struct recall_answer {
  kin_match *matches; /* [queries][k] */
  size_t *n;
} recall_answer;

/* An index at one effort. */
typedef struct recall_point {
  size_t effort;                  /* ef or probes; 0: the default, which is the last point */
  double recall[RECALL_DEPTHS];   /* at 1, 10, 100 */
  double one_thread, all_threads; /* queries a second */
} recall_point;

typedef struct recall_curve {
  const char *factory; /* NULL: the exact scan */
  bool probes;         /* the effort is probes, not ef */
  double build_seconds;
  uint64_t bytes, memory_bytes; /* of the index, or of the exact scan's codes: on disk, and in memory unless mapped */
  recall_point points[RECALL_MOST_POINTS];
  size_t n;
} recall_curve;

typedef struct recall_bench {
  cli_common common;
  cli_bench_vectors data;
  size_t k, rounds;
  size_t most; /* matches of a query, in recall_answer */
  const char *svg;
  cli_session session; /* its context has all threads */
  kin_context *single;
  recall_curve *curves; /* the exact scan, then each index */
  size_t n_curves;
  char ivf[32]; /* the usual IVF index */
} recall_bench;

/* ---- bench_recall_print.c */

/* The i-th curve in lines, the first with the table's head. */
void recall_print(const recall_bench *b, size_t i);
json_t *recall_describe(const recall_bench *b);
/* The SVG file; prints its error and returns an exit status. */
int recall_draw(const recall_bench *b, cli_output *to);

#endif
