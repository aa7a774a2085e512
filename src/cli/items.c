/* The items of an analysis as they are shown. */
#include "cli/items.h"

#include "embed/path_json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { THUMBNAIL = 220, TEXT_SHOWN = 240 };

const char *cli_item_name(const cli_item *item) {
  return item->is_file ? cli_file_name(item->name) : item->name;
}

json_t *cli_item_describe(const cli_item *item) {
  json_t *out = json_object();
  bool ok = out && kin_json_set_text(out, item->is_file ? "path" : "name", item->name);
  if (ok && item->line) ok = json_object_set_new(out, "line", json_integer((json_int_t)item->line)) == 0;
  if (ok) return out;
  json_decref(out);
  return NULL;
}

json_t *cli_json_number(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

void cli_csv_put_item(FILE *out, const cli_item *item) {
  cli_csv_put(out, item->name);
  putc(',', out);
  if (item->line) fprintf(out, "%llu", (unsigned long long)item->line);
  putc(',', out);
}

static void put_note(FILE *out, const char *note) {
  if (!note) return;
  fputs("<span class=\"score\">", out);
  cli_put_escaped(out, note);
  fputs("</span>", out);
}

void cli_item_beginning(const cli_item *item, char *out, size_t most) {
  const char *text = item->text ? item->text : item->name;
  size_t n = strlen(text) < most ? strlen(text) : most;
  while (n > 0 && cli_inside_character(text[n])) n--;
  snprintf(out, most + 4, "%.*s%s", (int)n, text, text[n] ? "\xE2\x80\xA6" : "");
}

static void put_text(FILE *out, const cli_item *item, const char *note) {
  char shown[TEXT_SHOWN + 4];
  cli_item_beginning(item, shown, TEXT_SHOWN);
  fputs("<li>", out);
  cli_put_escaped(out, shown);
  if (note) putc(' ', out);
  put_note(out, note);
  if (item->text && item->is_file) {
    fputs(" <small>", out);
    cli_put_escaped(out, cli_file_name(item->name));
    if (item->line) fprintf(out, ":%llu", (unsigned long long)item->line);
    fputs("</small>", out);
  }
  fputs("</li>\n", out);
}

void cli_put_item(FILE *out, const cli_item *item, const char *note) {
  if (!item->is_picture) {
    put_text(out, item, note);
    return;
  }
  fputs("<li>", out);
  cli_put_picture(out, item->name, item->name, THUMBNAIL);
  put_note(out, note);
  fputs("<span class=\"name\" title=\"", out);
  cli_put_escaped(out, item->name);
  fputs("\">", out);
  cli_put_escaped(out, cli_file_name(item->name));
  fputs("</span></li>\n", out);
}

void cli_put_items_begin(FILE *out, const cli_item *first) {
  fputs(first->is_picture ? "<ol class=\"pictures\">\n" : "<ul class=\"texts\">\n", out);
}

void cli_put_items_end(FILE *out, const cli_item *first) {
  fputs(first->is_picture ? "</ol>\n" : "</ul>\n", out);
}

int cli_metric_parse(const cli_command *command, const char *name, kin_metric *out) {
  if (strcmp(name, "cosine") != 0 && strcmp(name, "euclidean") != 0)
    return cli_usage_error(command, "--metric %s is not cosine or euclidean", name);
  *out = strcmp(name, "cosine") == 0 ? KIN_METRIC_COSINE : KIN_METRIC_EUCLIDEAN;
  return CLI_OK;
}

int cli_analyse(const cli_command *command, const cli_analysis *a, const cli_list *operands) {
  int status = CLI_OK;
  cli_output csv = {0};
  cli_page page = {0};
  if (a->csv) status = cli_output_open(a->csv, &csv);
  if (status == CLI_OK && a->html) status = cli_page_open(a->html, &page);
  if (status == CLI_OK) status = cli_vectors_read(command, a->common, a->input, operands, a->vectors);
  if (status == CLI_OK) status = a->compute(a->job);
  if (status == CLI_OK) status = a->report(a->job, &csv, &page);
  if (status == CLI_OK && a->vectors->skipped) status = CLI_SKIPPED;
  cli_output_close(&csv);
  cli_page_close(&page);
  return status;
}
