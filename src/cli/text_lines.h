/* A text file as an array of lines: labels, names, words. */
#ifndef KIN_CLI_TEXT_LINES_H
#define KIN_CLI_TEXT_LINES_H

#include "kindred.h"

typedef struct cli_lines {
  char **items; /* [n], owned, without their ends, empty ones too */
  size_t n, capacity;
} cli_lines;

/* UTF-8, or UTF-16 with a byte order mark. Prints its error and returns an exit status; release either way. */
int cli_lines_read(const char *path, cli_lines *out);
void cli_lines_free(cli_lines *lines);

/* A date or a Unix time as nanoseconds since 1970; false for other texts. */
bool cli_read_time(const char *text, int64_t *out);

#endif
