/* kindred classify: what its parts share. */
#ifndef KIN_CLI_CLASSIFY_H
#define KIN_CLI_CLASSIFY_H

#include "cli/page.h"
#include "cli/text_lines.h"
#include "cli/vectors_input.h"

#define CLASSIFY_NONE "none of these"

typedef struct classify_options {
  cli_common common;
  cli_vectors_options input;
  cli_list labels, templates, against;
  const char *labels_file, *template_file, *text_model;
  bool pairs, linear, centre;
  double scale, threshold, c;
  size_t top, k, folds, seed;
  const char *train, *train_labels, *save, *classifier, *html, *csv;
} classify_options;

/* How well the true classes were told. */
typedef struct classify_scores {
  size_t n, right; /* n 0: not measured */
  size_t folds;    /* of a cross-validation; 0: the true classes of what was classified were known */
  double accuracy, deviation;
  size_t *confusion; /* [n_classes][n_classes]: true, told */
} classify_scores;

typedef struct classification {
  const classify_options *o;
  const char *mode;   /* "zero-shot", "pairs", "linear", "knn" */
  const char **names; /* [n_classes], borrowed */
  size_t n_classes;
  double threshold, scale;    /* as used; scale 0: trained */
  cli_vectors items;          /* what is classified; set.n 0: nothing */
  double *probabilities;      /* [set.n][n_classes] */
  float *cosines;             /* likewise; NULL: trained */
  kin_classifier *classifier; /* NULL: zero-shot */
  kin_classifier_info info;
  cli_vectors train;  /* what it was trained on; set.n 0: loaded */
  uint32_t *told;     /* [train.set.n]: by cross-validation; NULL: none */
  double *confidence; /* likewise */
  classify_scores validation, known;
} classification;

/* Each prints its error and returns an exit status. */
int classify_zero_shot(classification *c, const cli_command *command, const cli_list *labels);
int classify_train(classification *c, const cli_command *command);
int classify_load(classification *c);
/* Predict the items. */
int classify_apply(classification *c);
/* Where the items' classes are known, measure. */
int classify_measure(classification *c);

/* The classes that an item is given, best first, into out[..] of o->top; 0: none of these. */
size_t classify_given(const classification *c, size_t item, size_t *out);
/* Whether an item has a known class that it wasn't given (`truth`). */
bool classify_is_wrong(const classification *c, size_t item, const char **truth);

int classify_print(const classification *c);
int classify_write_csv(const classification *c, cli_output *out);
int classify_write_page(const classification *c, cli_page *page);

#endif
