/* kindred store export: a collection's vectors as a file. */
#include "cli/output.h"
#include "cli/store.h"
#include "embed/path_json.h"

#include <stdio.h>
#include <string.h>

typedef struct export_options {
  cli_common common;
  const char *store, *output, *paths, *model;
  kin_elastic_options elastic;
} export_options;

typedef struct job {
  const export_options *options;
  cli_output paths;
  const char *bad_path; /* one that takes more than a line */
} job;

static bool on_vector(void *user, const char *path, uint64_t done, uint64_t total) {
  job *j = user;
  cli_progress_update((cli_progress){.done = done, .total = total, .worked = done});
  if (j->paths.file && strchr(path, '\n')) {
    cli_error("%s: a name with a line break doesn't fit into --paths; export to .jsonl", path);
    j->bad_path = path;
    return false;
  }
  if (j->paths.file) fprintf(j->paths.file, "%s\n", path);
  return !cli_signal();
}

/* The collection that --model names; without it the only one. */
static int choose(const export_options *o, kin_store *store) {
  kin_collections *all;
  kin_error err;
  if (!o->model) return CLI_OK;
  if (kin_store_collections(store, &all, &err) != KIN_OK) return cli_failed(&err);
  const kin_collection_info *c = cli_find_collection(all, o->model);
  int status = CLI_OK;
  if (!c) {
    cli_error("%s has no collection of \"%s\"; 'kindred collections' lists them", cli_store_name(o->store), o->model);
    status = CLI_FAILED;
  } else if (kin_store_select(store, &(kin_collection_wish){.model_id = c->model_id}, &err) != KIN_OK) {
    status = cli_failed(&err);
  }
  kin_collections_close(all);
  return status;
}

static int report(const export_options *o, uint64_t n) {
  if (o->common.json) {
    json_t *out = json_pack("{sI}", "vectors", (json_int_t)n);
    if (out && kin_json_set_text(out, "output", o->output) && (!o->paths || kin_json_set_text(out, "paths", o->paths)))
      return cli_print_json(out);
    json_decref(out);
    return cli_print_json(NULL);
  }
  if (o->common.quiet) return CLI_OK;
  char digits[32];
  printf("%s vector%s written to ", cli_group_digits(n, digits), cli_plural(n));
  cli_put_text(o->output);
  putchar('\n');
  return CLI_OK;
}

static int write_all(job *j, kin_store *store) {
  const export_options *o = j->options;
  const kin_export_options options = {.path = o->output, .on_vector = on_vector, .user = j};
  kin_error err;
  uint64_t n;
  cli_progress_start("exporting", o->common.quiet);
  kin_status status = kin_store_export(store, &options, &n, &err);
  cli_progress_stop();
  if (j->bad_path) return CLI_FAILED;
  if (status != KIN_OK) return cli_failed(&err);
  if (cli_output_commit(&j->paths) != CLI_OK) return CLI_FAILED;
  return strcmp(o->output, "-") == 0 ? CLI_OK : report(o, n);
}

static int export(const export_options *o) {
  cli_session session;
  kin_store *store = NULL;
  job j = {.options = o};
  kin_error err;
  int status = cli_open_context(&o->common, &session);
  if (status == CLI_OK &&
      kin_store_open_with(session.context, o->store, KIN_STORE_READ, &o->elastic, &store, &err) != KIN_OK)
    status = cli_failed(&err);
  if (status == CLI_OK) status = choose(o, store);
  if (status == CLI_OK && o->paths) status = cli_output_open(o->paths, &j.paths);
  if (status == CLI_OK) status = write_all(&j, store);
  cli_output_close(&j.paths);
  kin_store_close(store);
  cli_session_close(&session);
  return status;
}

static int run(const cli_command *command, int argc, char **argv) {
  export_options o = {.store = "./kindred.db", .output = "-"};
  const cli_option options[] = {
      {"output", 'o', CLI_TEXT, &o.output, "FILE",
       "the file to write: .jsonl, .npy, .fvecs or .safetensors\n(default: JSON lines on the standard output)"},
      {"paths", 0, CLI_TEXT, &o.paths, "FILE", "also write each vector's path, a line each"},
      {"model", 'm', CLI_TEXT, &o.model, "MODEL",
       "which collection: its model's directory, name or id's\nfirst digits, or the collection's number"},
      CLI_ELASTIC_OPTIONS(o.elastic),
      CLI_STORE_OPTIONS(o.store, o.common)};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &o.common, argc, argv, &operands, &status))
    status = operands.count ? cli_usage_error(command, "the file to write is given as -o FILE") : export(&o);
  cli_list_free(&operands);
  return status;
}

const cli_command cli_command_store_export = {
    .name = "store export",
    .usage = "[OPTION]... [-o FILE]",
    .summary = "write a collection's vectors to a file",
    .details = "Write all vectors of a store, or of one of its collections, sorted by path. JSON\n"
               "lines hold everything that 'kindred store import' needs to make the same\n"
               "collection elsewhere: the model, ids, paths, passages, captions, metadata and the\n"
               "vectors to the bit. .npy and .fvecs hold vectors alone; --paths writes beside them\n"
               "what they are of. Files appear when they are whole.",
    .examples = "  kindred store export -o photos.jsonl\n"
                "  kindred store export -o photos.npy --paths photos.txt\n"
                "  kindred store export --model minilm | jq -r .path\n",
    .run = run};
