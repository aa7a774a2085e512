/* kindred compare: a table of cosines between photos and texts. */
#include "cli/cli.h"
#include "embed/path_json.h"
#include "image/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct compare_options {
  cli_common common;
  cli_list texts;
} compare_options;

typedef struct item {
  const char *name;
  bool is_text;
} item;

/* A file is a photo and anything else a text, save what looks like a mistyped file name. */
static int classify(const cli_command *command, const char *name, item *out) {
  struct stat s;
  *out = (item){name, false};
  if (stat(name, &s) == 0) {
    if (!S_ISDIR(s.st_mode)) return CLI_OK;
    return cli_usage_error(command, "%s is a folder; compare takes photos and texts", name);
  }
  if (kin_image_has_known_extension(name)) {
    cli_error("can't open %s: %s (to compare it as a text: --text \"%s\")", name, strerror(errno), name);
    return CLI_FAILED;
  }
  out->is_text = true;
  return CLI_OK;
}

static int embed_item(const cli_session *session, const item *in, float *row) {
  kin_error err;
  kin_status status;
  if (in->is_text) {
    status = kin_embed_texts(session->model, &in->name, 1, NULL, row, &err);
  } else {
    kin_image_source source = {.path = in->name};
    status = kin_embed_images(session->model, &source, 1, NULL, row, &err);
  }
  return status == KIN_OK ? CLI_OK : cli_failed(&err);
}

/* A text in quotes, padded to `columns`; what is longer loses its end. */
static void put_quoted(const char *text, size_t columns) {
  char label[1024];
  size_t length = strlen(text) < 512 ? strlen(text) : 512;
  snprintf(label, sizeof label, "\"%s\"", text);
  while (cli_columns(label) > columns && length-- > 0) {
    while (length > 0 && cli_inside_character(text[length])) length--;
    snprintf(label, sizeof label, "\"%.*s\xE2\x80\xA6\"", (int)length, text);
  }
  cli_put_text(label);
  for (size_t used = cli_columns(label); used < columns; used++) putchar(' ');
}

static size_t label_columns(const item *in) {
  return cli_columns(in->name) + (in->is_text ? 2 : 0);
}

static void print_table(const item *items, const float *cosines, size_t n) {
  enum { LONGEST = 48 };
  size_t widest = 0;
  for (size_t i = 0; i < n; i++)
    if (label_columns(&items[i]) > widest) widest = label_columns(&items[i]);
  if (widest > LONGEST) widest = LONGEST;
  printf("%*s", (int)widest + 5, "");
  for (size_t i = 0; i < n; i++) printf("  %7zu", i + 1);
  putchar('\n');
  for (size_t i = 0; i < n; i++) {
    printf("%3zu  ", i + 1);
    if (items[i].is_text)
      put_quoted(items[i].name, widest);
    else
      cli_put_path(items[i].name, widest);
    for (size_t j = 0; j < n; j++) printf("  %7.4f", (double)cosines[i * n + j]);
    putchar('\n');
  }
}

static json_t *describe(const item *items, const float *cosines, size_t n) {
  json_t *inputs = json_array(), *rows = json_array();
  bool ok = inputs && rows;
  for (size_t i = 0; i < n && ok; i++) {
    json_t *input = json_object(), *row = json_array();
    ok = input && kin_json_set_text(input, items[i].is_text ? "text" : "path", items[i].name);
    for (size_t j = 0; j < n && ok; j++) ok = json_array_append_new(row, json_real((double)cosines[i * n + j])) == 0;
    ok = json_array_append_new(inputs, input) == 0 && json_array_append_new(rows, row) == 0 && ok;
  }
  if (ok) return json_pack("{so so}", "inputs", inputs, "cosines", rows);
  json_decref(inputs);
  json_decref(rows);
  return NULL;
}

static int compare_items(const cli_session *session, const item *items, size_t n, bool json) {
  size_t dim = session->info.dim;
  float *rows = calloc(n, dim * sizeof *rows), *cosines = calloc(n, n * sizeof *cosines);
  int status = CLI_FAILED;
  if (rows && cosines) {
    status = CLI_OK;
    for (size_t i = 0; i < n && status == CLI_OK; i++) status = embed_item(session, &items[i], rows + i * dim);
    for (size_t i = 0; i < n * n && status == CLI_OK; i++)
      cosines[i] = kin_cosine(session->context, rows + i / n * dim, rows + i % n * dim, dim);
    if (status == CLI_OK && json)
      status = cli_print_json(describe(items, cosines, n));
    else if (status == CLI_OK)
      print_table(items, cosines, n);
  } else {
    cli_error("out of memory for %zu inputs", n);
  }
  free(rows);
  free(cosines);
  return status;
}

static int compare(const cli_command *command, const compare_options *o, const cli_list *operands) {
  size_t n = operands->count + o->texts.count;
  if (n < 2) return cli_usage_error(command, "give at least two photos or texts");
  const char *dir = cli_model_dir(&o->common, NULL);
  if (!dir) return cli_no_model(command);
  item *items = calloc(n, sizeof *items);
  if (!items) return CLI_FAILED;
  int status = CLI_OK;
  for (size_t i = 0; i < n && status == CLI_OK; i++) {
    if (i < operands->count)
      status = classify(command, operands->items[i], &items[i]);
    else
      items[i] = (item){o->texts.items[i - operands->count], true};
  }
  cli_session session = {0};
  if (status == CLI_OK) status = cli_open_session(&o->common, dir, &session);
  if (status == CLI_OK) status = compare_items(&session, items, n, o->common.json);
  cli_session_close(&session);
  free(items);
  return status;
}

static int run(const cli_command *command, int argc, char **argv) {
  compare_options o = {0};
  const cli_option options[] = {
      {"text", 't', CLI_LIST, &o.texts, "TEXT", "a text, even if a file has that name; may be given\nagain"},
      CLI_POOLING_OPTION(o.common),
      CLI_COMMON_OPTIONS(o.common)};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &o.common, argc, argv, &operands, &status))
    status = compare(command, &o, &operands);
  cli_list_free(&operands);
  cli_list_free(&o.texts);
  return status;
}

const cli_command cli_command_compare = {
    .name = "compare",
    .usage = "[OPTION]... A B [C]...",
    .summary = "show how alike photos and texts are, as a table of cosines",
    .details = "Print the cosine of each with each: 1 is the same, 0 unrelated. An argument that\n"
               "names a file is a photo, any other is a text.",
    .examples = "  kindred compare a.jpg b.jpg\n"
                "  kindred compare a.jpg b.jpg \"a snowy road\" \"an empty beach\"\n"
                "  kindred compare --json a.jpg \"a snowy road\" | jq '.cosines[0][1]'\n",
    .run = run};
