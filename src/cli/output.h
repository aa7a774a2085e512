/* A file that a command writes: it appears under its name only when it is complete. */
#ifndef KIN_CLI_OUTPUT_H
#define KIN_CLI_OUTPUT_H

#include <stdio.h>

typedef struct cli_output {
  FILE *file;             /* write here */
  char *path, *temporary; /* temporary NULL: written in place (a device, a pipe, "-") */
} cli_output;

/* Open before the long work, so that a name that can't be written to is known at once; "-" is the standard output.
 * Each prints its error and returns an exit status. Calls on a zeroed cli_output do nothing. */
int cli_output_open(const char *path, cli_output *out);
int cli_output_commit(cli_output *output);
/* Release; what wasn't committed is removed. */
void cli_output_close(cli_output *output);

/* One field of a CSV line (RFC 4180), quoted where need be; the caller puts ',' between and "\r\n" behind. */
void cli_csv_put(FILE *out, const char *text);

#endif
