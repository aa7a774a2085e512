/* kindred store import: vectors of a file into a store. */
#include "cli/store.h"
#include "embed/path_json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct import_options {
  cli_common common;
  const char *store, *paths;
  bool new_ids;
  kin_elastic_options elastic;
} import_options;

static bool on_progress(void *user, uint64_t done, uint64_t total) {
  (void)user;
  cli_progress_update((cli_progress){.done = done, .total = total, .worked = done});
  return !cli_signal();
}

static int report(const import_options *o, const kin_import_report *r) {
  if (o->common.json) {
    json_t *out = json_pack("{sI sI sI sI}", "vectors", (json_int_t)r->vectors, "items", (json_int_t)r->items,
                            "replaced", (json_int_t)r->replaced, "normalised", (json_int_t)r->normalised);
    if (out && kin_json_set_text(out, "store", cli_store_name(o->store))) return cli_print_json(out);
    json_decref(out);
    return cli_print_json(NULL);
  }
  if (o->common.quiet) return CLI_OK;
  char vectors[32], items[32], replaced[32], normalised[32];
  printf("%s vector%s of %s file%s taken, %s replaced, %s brought to length 1 (", cli_group_digits(r->vectors, vectors),
         cli_plural(r->vectors), cli_group_digits(r->items, items), cli_plural(r->items),
         cli_group_digits(r->replaced, replaced), cli_group_digits(r->normalised, normalised));
  cli_put_text(cli_store_name(o->store));
  printf(")\n");
  return CLI_OK;
}

/* Take away the files of a store that was made for an import and has got nothing. */
static void remove_empty(kin_store *store) {
  kin_store_stats stats;
  kin_store_files *files;
  if (kin_store_get_stats(store, &stats, NULL) != KIN_OK || stats.items || stats.collections ||
      kin_store_list_files(store, &files, NULL) != KIN_OK)
    return;
  for (size_t i = 0; i < kin_store_files_count(files); i++) unlink(kin_store_files_get(files, i)->path);
  kin_store_files_close(files);
}

static int import(const import_options *o, const char *path) {
  cli_session session;
  kin_store *store = NULL;
  kin_import_report r;
  kin_error err;
  const bool exists = strstr(o->store, "://") || access(o->store, F_OK) == 0;
  if (access(path, R_OK) != 0) { /* before a store is made for nothing */
    cli_error("can't read %s: %s", path, strerror(errno));
    return CLI_FAILED;
  }
  int status = cli_open_context(&o->common, &session);
  if (status == CLI_OK && o->common.model && !exists)
    status = cli_open_model(o->common.model, o->common.pooling, &session);
  if (status == CLI_OK &&
      kin_store_open_with(session.context, o->store, KIN_STORE_WRITE, &o->elastic, &store, &err) != KIN_OK)
    status = cli_failed(&err);
  if (status == CLI_OK && o->common.model && exists)
    status = cli_open_model_of(store, o->common.model, &o->common, &session);
  if (status == CLI_OK) {
    const kin_import_options options = {
        .path = path, .paths = o->paths, .model = session.model, .new_ids = o->new_ids, .on_progress = on_progress};
    cli_progress_start("importing", o->common.quiet);
    kin_status imported = kin_store_import(store, &options, &r, &err);
    cli_progress_stop();
    status = imported == KIN_OK ? report(o, &r) : cli_failed(&err);
    if (imported != KIN_OK && !exists) remove_empty(store);
  }
  kin_store_close(store);
  cli_session_close(&session);
  return status;
}

static int run(const cli_command *command, int argc, char **argv) {
  import_options o = {.store = "./kindred.db"};
  const cli_option options[] = {
      {"store", 's', CLI_TEXT, &o.store, "FILE",
       "the store (default: ./kindred.db), or\nelasticsearch://HOST:9200/INDEX; made if missing"},
      {"paths", 0, CLI_TEXT, &o.paths, "FILE", "of .npy and .fvecs: the path of each vector's file, a\nline each"},
      {"new-ids", 0, CLI_FLAG, &o.new_ids, NULL, "give the items new ids instead of those in the file"},
      CLI_ELASTIC_OPTIONS(o.elastic),
      CLI_POOLING_OPTION(o.common),
      CLI_COMMON_OPTIONS(o.common)};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &o.common, argc, argv, &operands, &status))
    status =
        operands.count == 1 ? import(&o, operands.items[0]) : cli_usage_error(command, "import what? give one file");
  cli_list_free(&operands);
  return status;
}

const cli_command cli_command_store_import = {
    .name = "store import",
    .usage = "[OPTION]... FILE",
    .summary = "take vectors that were made elsewhere",
    .details = "Take the vectors of a .jsonl, .npy or .fvecs file into a store: all of them, or\n"
               "none if the file has a mistake, which is named with its line. Each line of JSON\n"
               "has a \"path\" and a \"vector\", and may have what 'kindred store export' writes.\n"
               "Paths are seen from the folder of the file that names them. The store must know\n"
               "which model made the vectors: the export says so, or name it with --model, or it\n"
               "is that of the store's only collection.",
    .examples = "  kindred store import photos.jsonl --store copy.db\n"
                "  kindred store import photos.npy --paths photos.txt --model clip-vit-b-32\n",
    .run = run};
