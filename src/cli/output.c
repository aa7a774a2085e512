/* Files that appear only when they are complete, and fields of CSV. */
#include "cli/output.h"

#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int cli_output_open(const char *path, cli_output *out) {
  *out = (cli_output){0};
  struct stat s;
  const bool standard = strcmp(path, "-") == 0;
  const bool in_place = standard || (stat(path, &s) == 0 && !S_ISREG(s.st_mode));
  const size_t size = strlen(path) + 32;
  out->path = strdup(standard ? "the standard output" : path);
  out->temporary = in_place ? NULL : malloc(size);
  if (!out->path || (!in_place && !out->temporary)) {
    cli_error("out of memory");
    cli_output_close(out);
    return CLI_FAILED;
  }
  if (out->temporary) snprintf(out->temporary, size, "%s.%ld.partial", path, (long)getpid());
  if (standard)
    out->file = stdout;
  else
    out->file = fopen(in_place ? path : out->temporary, "w");
  if (out->file) return CLI_OK;
  cli_error("can't write %s: %s", path, strerror(errno));
  free(out->temporary); /* there is nothing to remove */
  out->temporary = NULL;
  cli_output_close(out);
  return CLI_FAILED;
}

int cli_output_commit(cli_output *output) {
  if (!output->file) return CLI_OK;
  bool ok = fflush(output->file) == 0 && !ferror(output->file);
  if (output->file != stdout) ok = fclose(output->file) == 0 && ok;
  output->file = NULL;
  if (ok && output->temporary) ok = rename(output->temporary, output->path) == 0;
  if (!ok) {
    cli_error("can't write %s: %s", output->path, strerror(errno));
    return CLI_FAILED;
  }
  free(output->temporary);
  output->temporary = NULL;
  return CLI_OK;
}

void cli_output_close(cli_output *output) {
  if (output->file && output->file != stdout) fclose(output->file);
  if (output->temporary) unlink(output->temporary);
  free(output->path);
  free(output->temporary);
  *output = (cli_output){0};
}

void cli_csv_put(FILE *out, const char *text) {
  const bool quoted = *text == ' ' || strpbrk(text, ",\"\r\n") != NULL;
  if (quoted) putc('"', out);
  for (; *text; text++) {
    if (*text == '"') putc('"', out);
    putc(*text, out);
  }
  if (quoted) putc('"', out);
}
