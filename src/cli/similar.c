/* kindred similar: more like an item that is in the store already; no model is needed. */
#include "cli/query.h"

static int similar(const cli_command *command, const cli_query_options *o, const cli_list *operands) {
  int64_t id = 0;
  if (operands->count == 0) return cli_usage_error(command, "similar to what? give an item's id or path");
  if (operands->count > 1) return cli_usage_error(command, "more than one; 'kindred recommend' takes several");
  int status = cli_query_check(command, o);
  if (status != CLI_OK) return status;
  cli_query q = {0};
  status = cli_query_open(&q, o);
  if (status == CLI_OK) status = cli_query_choose(command, &q, NULL, false, false);
  if (status == CLI_OK) status = cli_query_find_item(&q, operands->items[0], &id);
  if (status == CLI_OK && !id) {
    cli_error("%s: isn't in %s; with files that aren't, use 'kindred search --image'", operands->items[0],
              cli_store_name(o->store));
    status = CLI_FAILED;
  }
  if (status == CLI_OK) status = cli_query_add_item(&q, id, 1);
  if (status == CLI_OK) status = cli_query_run(&q);
  cli_query_close(&q);
  return status;
}

static int run(const cli_command *command, int argc, char **argv) {
  cli_query_options o = CLI_QUERY_DEFAULTS;
  const cli_option options[] = {CLI_QUERY_OPTIONS(o), CLI_POOLING_OPTION(o.common), CLI_COMMON_OPTIONS(o.common)};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &o.common, argc, argv, &operands, &status))
    status = similar(command, &o, &operands);
  cli_list_free(&operands);
  return status;
}

const cli_command cli_command_similar = {
    .name = "similar",
    .usage = "[OPTION]... ID|PATH",
    .summary = "find what is like a file that is in the store",
    .details = "Print what is nearest to an item of the store, which is named by its id (as\n"
               "--json prints it) or its file's path, and is left out itself. Its vector is in\n"
               "the store, so that no model is opened and the file may be gone. Of a document\n"
               "the mean of its passages is taken. --model is only needed where the store holds\n"
               "vectors of several models.",
    .examples = "  kindred similar ~/Photos/2023/cat.jpg\n"
                "  kindred similar 4711 -n 20 --where \"path glob '2024/*'\"\n"
                "  kindred similar notes/todo.md --group file\n",
    .run = run};
