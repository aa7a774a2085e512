/* kindred cluster: what its parts share. */
#ifndef KIN_CLI_CLUSTER_H
#define KIN_CLI_CLUSTER_H

#include "cli/page.h"
#include "cli/text_lines.h"
#include "cli/vectors_input.h"

enum { CLUSTER_WORDS = 3 }; /* words that name a cluster */

typedef enum cluster_method { METHOD_KMEANS, METHOD_MINIBATCH, METHOD_HDBSCAN, METHOD_AGGLOMERATIVE } cluster_method;

typedef struct cluster_job {
  cli_common common;
  cli_vectors_options input;
  const char *k_text, *method_name, *metric_name, *linkage_name, *words_file;
  const char *csv, *html, *move, *link;
  size_t min_size, min_samples, starts, seed, batch, shown;
  bool centre, yes;

  cluster_method method;
  kin_metric metric;
  kin_linkage linkage;
  size_t k; /* 0: to be chosen */

  cli_vectors v;
  kin_clustering clusters;
  double seconds;
  kin_k_score scores[KIN_MAX_K_SCORES]; /* the curve, where k was chosen */
  size_t n_scores;
  kin_cluster_info *infos; /* [clusters.k] */
  float *centres;          /* [clusters.k][dim] */
  double *distances;       /* [n] to the own centre */
  size_t *order;           /* [n] items by cluster, the most central first, noise last */
  size_t *first;           /* [clusters.k + 2]: where in `order` each cluster begins, then noise, then the end */
  bool measured;           /* there are at least two clusters, and fewer than vectors: */
  double silhouette, davies_bouldin;
  kin_agreement agreement; /* with the known classes, over the n_labelled items that have one */
  size_t n_labelled;
  cli_lines words;
  size_t *names; /* [clusters.k][n_names] numbers of words; NULL: no names */
  size_t n_names;
} cluster_job;

/* The i-th word of a cluster's name, best first; NULL beyond. */
const char *cluster_word(const cluster_job *j, size_t cluster, size_t i);
const char *cluster_method_name(const cluster_job *j);

/* cluster_words.c: the built-in words; NULL beyond the last. */
const char *cluster_default_word(size_t i);

/* cluster_print.c */
void cluster_print(const cluster_job *j);
json_t *cluster_describe(const cluster_job *j); /* NULL for lack of memory */
void cluster_write_csv(const cluster_job *j, FILE *out);

/* cluster_page.c: prints its error and returns an exit status. */
int cluster_write_page(cluster_job *j, cli_page *page);

/* cluster_sort.c: where --move or --link puts each file; carried out with --yes, else only shown. Never overwrites.
 * Adds "sorted" to `json` (may be NULL). Prints its error and returns an exit status. */
int cluster_sort_files(const cluster_job *j, json_t *json);

#endif
