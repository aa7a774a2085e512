/* The inside of vectors_input.h: items as they are gathered. */
#ifndef KIN_CLI_VECTORS_GATHER_H
#define KIN_CLI_VECTORS_GATHER_H

#include "cli/vectors_input.h"

typedef struct cli_place {
  size_t root;  /* which operand the item was found under */
  size_t input; /* its number among all that were found, also those left out later */
} cli_place;

typedef struct cli_gather {
  const cli_common *common;
  const cli_vectors_options *options;
  const cli_list *operands;
  cli_vectors *out;
  size_t capacity, value_capacity; /* of out->items, out->values */
  cli_place *places;               /* [capacity] */
  size_t found;                    /* inputs, with those left out */
} cli_gather;

int cli_gather_out_of_memory(const cli_gather *g);
/* Append an item, taking over its strings. False for lack of memory, the strings then being released. */
bool cli_gather_add(cli_gather *g, cli_item item, size_t root);
/* Where dates are wanted: that of a photo, out of its file. */
void cli_gather_date(const cli_gather *g, cli_item *item);
/* The passages of the text files that the operands name, with vectors of the model that out->session has open; no items
 * where they hold no text. Prints its error and returns an exit status; release with cli_vectors_close. */
int cli_gather_texts(const cli_common *common, const cli_vectors_options *options, const cli_list *operands,
                     cli_vectors *out);
/* Find the files (and lines of --texts), open the model and embed them. Prints its error, returns an exit status. */
int cli_gather_files(cli_gather *g, const char *model);

#endif
