/* The items of an analysis as they are shown: in lines, JSON, CSV and pages. */
#ifndef KIN_CLI_ITEMS_H
#define KIN_CLI_ITEMS_H

#include "cli/vectors_input.h"

/* What a line has room for: the name of the file, or the item's own. */
const char *cli_item_name(const cli_item *item);
/* {"path" or "name": ..., "line": ...}; NULL for lack of memory. */
json_t *cli_item_describe(const cli_item *item);
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

#endif
