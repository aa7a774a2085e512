/* How many files and lines a command will read, for the progress bar. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

uint64_t cli_count_files(const cli_list *paths, const kin_walk_options *options) {
  uint64_t n = 0;
  kin_walk *walk;
  kin_walk_entry entry;
  if (kin_walk_open(paths->items, paths->count, options, &walk, NULL) != KIN_OK) return 0;
  while (kin_walk_next(walk, &entry, NULL) == KIN_OK && entry.path && !cli_signal()) {
    n += entry.status == KIN_OK;
    cli_progress_update((cli_progress){.done = n});
  }
  kin_walk_close(walk);
  return n;
}

bool cli_count_lines(const char *path, uint64_t *out) {
  *out = 0;
  FILE *file = strcmp(path, "-") == 0 ? NULL : fopen(path, "r");
  if (!file) return false;
  bool seekable = fseek(file, 0, SEEK_CUR) == 0; /* a pipe can be read only once */
  int c, last = '\n';
  for (; seekable && !cli_signal() && (c = getc(file)) != EOF; last = c) *out += c == '\n';
  fclose(file);
  *out += last != '\n';
  return seekable;
}
