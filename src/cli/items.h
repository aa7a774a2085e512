/* The items of an analysis as they are shown: in lines, JSON, CSV and pages. */
#ifndef KIN_CLI_ITEMS_H
#define KIN_CLI_ITEMS_H

#include "cli/output.h"
#include "cli/page.h"
#include "cli/vectors_input.h"

/* What a line has room for: the name of the file, or the item's own. */
const char *cli_item_name(const cli_item *item);
/* The beginning of its text, or of its name, with an ellipsis where there is more, into out[most + 4]. */
void cli_item_beginning(const cli_item *item, char *out, size_t most);
/* {"path" or "name": ..., "line": ...}; NULL for lack of memory. */
json_t *cli_item_describe(const cli_item *item);
/* null where the value isn't finite; NULL for lack of memory. */
json_t *cli_json_number(double value);
/* The columns name and line of a CSV file, each with its comma. */
void cli_csv_put_item(FILE *out, const cli_item *item);
/* An <li> of an ol.pictures or a ul.texts: the thumbnail and the file's name, or the beginning of the text. `note`,
 * what is told of it, may be NULL. */
void cli_put_item(FILE *out, const cli_item *item, const char *note);
/* The list for such items, and its end. */
void cli_put_items_begin(FILE *out, const cli_item *first);
void cli_put_items_end(FILE *out, const cli_item *first);

/* "cosine" or "euclidean" of --metric; prints its error and returns an exit status. */
int cli_metric_parse(const cli_command *command, const char *name, kin_metric *out);

/* A command that reads vectors, computes and reports. `compute` and `report` print their errors and return exit
 * statuses; without `csv` or `html` the file of that argument isn't open. */
typedef struct cli_analysis {
  const cli_common *common;
  const cli_vectors_options *input;
  const char *csv, *html; /* NULL: none. Opened first, so that no work is lost to a path that can't be written. */
  cli_vectors *vectors;   /* read here; the caller's to close */
  void *job;
  int (*compute)(void *job);
  int (*report)(void *job, cli_output *csv, cli_page *page);
} cli_analysis;
/* Returns an exit status. */
int cli_analyse(const cli_command *command, const cli_analysis *analysis, const cli_list *operands);

#endif
