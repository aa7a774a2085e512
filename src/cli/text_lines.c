/* Text files as arrays of lines, and what a line says. */
#include "cli/text_lines.h"

#include "base/base.h"
#include "cli/cli.h"
#include "document/reader.h"
#include "index/filter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Append a line, or more of the last one. */
static bool add(cli_lines *lines, const kin_line *line, bool continued) {
  if (!continued) {
    if (!kin_grow((void **)&lines->items, &lines->capacity, lines->n + 1, sizeof *lines->items)) return false;
    lines->items[lines->n] = strndup(line->text, line->size);
    return lines->items[lines->n] != NULL && ++lines->n;
  }
  char **last = &lines->items[lines->n - 1];
  const size_t had = strlen(*last);
  char *longer = realloc(*last, had + line->size + 1);
  if (!longer) return false;
  memcpy(longer + had, line->text, line->size);
  longer[had + line->size] = '\0';
  *last = longer;
  return true;
}

int cli_lines_read(const char *path, cli_lines *out) {
  *out = (cli_lines){0};
  kin_lines *file;
  kin_line line = {0};
  kin_error err;
  kin_status status = kin_lines_open(path, &file, &err);
  if (status != KIN_OK) return cli_failed(&err);
  for (bool continued = false; status == KIN_OK; continued = line.continues) {
    status = kin_lines_next(file, &line, &err);
    if (status != KIN_OK || !line.text) break;
    if (!add(out, &line, continued)) status = kin_fail(&err, KIN_ERR_MEMORY, "out of memory at %s", path);
  }
  kin_lines_close(file);
  return status == KIN_OK ? CLI_OK : cli_failed(&err);
}

void cli_lines_free(cli_lines *lines) {
  for (size_t i = 0; i < lines->n; i++) free(lines->items[i]);
  free(lines->items);
  *lines = (cli_lines){0};
}

bool cli_read_time(const char *text, int64_t *out) {
  int64_t from, to;
  char *end;
  const double seconds = strtod(text, &end);
  if (kin_filter_parse_time(text, &from, &to))
    *out = kin_time_ns(from, 0);
  else if (end != text && !*end && fabs(seconds) < 9e9)
    *out = (int64_t)(seconds * 1e9);
  else
    return false;
  return true;
}
