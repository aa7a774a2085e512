/* kindred model compare: what is measured of each model, shared by its parts. */
#ifndef KIN_CLI_MODEL_COMPARE_H
#define KIN_CLI_MODEL_COMPARE_H

#include "cli/cli.h"
#include "cli/page.h"

#define CLI_NO_CLASS UINT32_MAX

typedef struct compared_photo {
  char *path, *class_name; /* owned; class_name NULL: none */
  const char *shown;       /* the end of `path` that tells it from the others */
  uint32_t class_number;   /* of `classes`, or CLI_NO_CLASS */
} compared_photo;

typedef struct compared_class {
  const char *name; /* of one of its photos */
  size_t photos;
} compared_class;

typedef struct compared_model {
  const char *operand; /* as it was named */
  char *label;         /* a short name for it; owned */
  kin_model_info info;
  double load_seconds;
  double photos_per_second;  /* read, decode, resize, encode */
  double encoder_per_second; /* encode alone, in batches */
  uint64_t memory_bytes;     /* most that was resident while embedding, above what was before the model was opened */
  kin_retrieval at_1, at_k;  /* of the labelled photos */
  double silhouette;
  kin_neighbour *nearest; /* [n_queries][k] */
} compared_model;

typedef struct comparison {
  cli_common common;
  cli_list model_names, exclude;
  const char *html;
  size_t k, n_queries;
  bool centre, follow, hidden;
  cli_session session;
  cli_list roots; /* of the photos */
  compared_model *models;
  size_t n_models;
  compared_photo *photos; /* readable ones, once the first model has seen them */
  size_t n_photos, photo_capacity, skipped;
  compared_class *classes; /* sorted by name, each of at least two photos; none unless there are two */
  size_t n_classes, n_labelled;
  size_t *queries; /* [n_queries] indices of photos */
} comparison;

/* Embed the photos with a model and measure it. The first of them (`model` 0) drops the photos that can't be read and
 * settles classes and queries. Prints its error; returns an exit status. */
int compare_measure(comparison *c, size_t model);
/* Note the classes of the photos and pick the queries; called by compare_measure. */
int compare_settle(comparison *c);

/* What is told of each model, for the table and the page. */
typedef enum compare_metric {
  METRIC_VECTOR,
  METRIC_PARAMETERS,
  METRIC_MEMORY,
  METRIC_LOAD,
  METRIC_SPEED,
  METRIC_ENCODER,
  METRIC_ACCURACY, /* this and the next need classes */
  METRIC_SILHOUETTE,
  METRIC_RECALL_1,
  METRIC_RECALL_K,
  METRICS
} compare_metric;

void compare_heading(const comparison *c, compare_metric metric, char out[32]);
void compare_value(const comparison *c, const compared_model *m, compare_metric metric, char out[48]);
/* Whether no other model does better in this metric; false where there is no better, or no other. */
bool compare_is_best(const comparison *c, const compared_model *m, compare_metric metric);

void compare_print_table(const comparison *c);
json_t *compare_describe(const comparison *c);

/* Prints its error and returns an exit status. */
int compare_page_write(cli_page *page, const comparison *c);

#endif
