/* kindred store, and its part stats: what a store holds and what it takes on disk. */
#include "cli/store.h"

#include "embed/path_json.h"

#include <stdio.h>

int cli_run_on_store(const cli_command *command, int argc, char **argv,
                     int (*work)(const cli_common *common, const char *store)) {
  cli_common common = {0};
  const char *store = "./kindred.db";
  const cli_option options[] = {CLI_STORE_OPTIONS(store, common)};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &common, argc, argv, &operands, &status))
    status = operands.count ? cli_usage_error(command, "which store? give it as --store FILE") : work(&common, store);
  cli_list_free(&operands);
  return status;
}

typedef struct totals {
  uint64_t vectors, holes, bytes;
} totals;

static totals add_up(const kin_collections *collections, const kin_store_files *files) {
  totals t = {0};
  for (size_t i = 0; i < kin_collections_count(collections); i++) {
    t.vectors += kin_collections_get(collections, i)->vectors;
    t.holes += kin_collections_get(collections, i)->holes;
  }
  for (size_t i = 0; i < kin_store_files_count(files); i++) t.bytes += kin_store_files_get(files, i)->bytes;
  return t;
}

static void put_count(const char *label, uint64_t n) {
  char digits[32];
  printf("%-12s%15s\n", label, cli_group_digits(n, digits));
}

static void print_stats(const kin_store_stats *stats, const kin_collections *collections,
                        const kin_store_files *files) {
  const totals t = add_up(collections, files);
  char digits[32];
  put_count("items", stats->items);
  put_count("vectors", t.vectors);
  put_count("holes", t.holes);
  put_count("bytes", t.bytes);
  for (size_t i = 0; i < kin_collections_count(collections); i++) {
    const kin_collection_info *c = kin_collections_get(collections, i);
    printf("\ncollection %lld of ", (long long)c->id);
    cli_put_text(c->model_path);
    printf(" (id %.12s)\n", c->model_id);
    printf("  %s items", cli_group_digits(c->items, digits));
    printf(", %s vectors", cli_group_digits(c->vectors, digits));
    printf(" of %zu floats", c->dim);
    printf(", %s holes\n", cli_group_digits(c->holes, digits));
  }
  putchar('\n');
  for (size_t i = 0; i < kin_store_files_count(files); i++) {
    const kin_store_file *file = kin_store_files_get(files, i);
    printf("%15s  %-10s", cli_group_digits(file->bytes, digits), kin_file_kind_name(file->kind));
    cli_put_text(file->path);
    putchar('\n');
  }
}

static json_t *describe_collection(const kin_collection_info *c) {
  json_t *out = json_pack("{sI ss ss ss sI sI sI sI sI}", "id", (json_int_t)c->id, "model_id", c->model_id, "precision",
                          kin_precision_name(c->precision), "pooling", kin_pooling_name(c->pooling), "dim",
                          (json_int_t)c->dim, "items", (json_int_t)c->items, "vectors", (json_int_t)c->vectors, "holes",
                          (json_int_t)c->holes, "bytes", (json_int_t)c->bytes);
  if (out && kin_json_set_text(out, "model", c->model_path)) return out;
  json_decref(out);
  return NULL;
}

static json_t *describe_file(const kin_store_file *file) {
  json_t *out = json_pack("{sI ss}", "bytes", (json_int_t)file->bytes, "kind", kin_file_kind_name(file->kind));
  if (out && kin_json_set_text(out, "path", file->path)) return out;
  json_decref(out);
  return NULL;
}

static json_t *describe(const kin_store_stats *stats, const kin_collections *collections,
                        const kin_store_files *files) {
  const totals t = add_up(collections, files);
  json_t *list = json_array(), *file_list = json_array();
  bool ok = list && file_list;
  for (size_t i = 0; ok && i < kin_collections_count(collections); i++)
    ok = json_array_append_new(list, describe_collection(kin_collections_get(collections, i))) == 0;
  for (size_t i = 0; ok && i < kin_store_files_count(files); i++)
    ok = json_array_append_new(file_list, describe_file(kin_store_files_get(files, i))) == 0;
  json_t *out = NULL;
  if (ok)
    out = json_pack("{sI sI sI sI sO sO}", "items", (json_int_t)stats->items, "vectors", (json_int_t)t.vectors, "holes",
                    (json_int_t)t.holes, "bytes", (json_int_t)t.bytes, "collections", list, "files", file_list);
  json_decref(list), json_decref(file_list);
  return out;
}

static int show_stats(const cli_common *common, const char *path) {
  cli_session session;
  kin_store *store = NULL;
  kin_collections *collections = NULL;
  kin_store_files *files = NULL;
  kin_store_stats stats;
  kin_error err;
  int status = cli_open_context(common, &session);
  if (status == CLI_OK && (kin_store_open(session.context, path, KIN_STORE_READ, &store, &err) != KIN_OK ||
                           kin_store_get_stats(store, &stats, &err) != KIN_OK ||
                           kin_store_collections(store, &collections, &err) != KIN_OK ||
                           kin_store_list_files(store, &files, &err) != KIN_OK))
    status = cli_failed(&err);
  if (status == CLI_OK && common->json)
    status = cli_print_json(describe(&stats, collections, files));
  else if (status == CLI_OK)
    print_stats(&stats, collections, files);
  kin_store_files_close(files);
  kin_collections_close(collections);
  kin_store_close(store);
  cli_session_close(&session);
  return status;
}

static int run_stats(const cli_command *command, int argc, char **argv) {
  return cli_run_on_store(command, argc, argv, show_stats);
}

static const cli_command stats_command = {
    .name = "store stats",
    .usage = "[OPTION]...",
    .summary = "what a store holds, and the bytes of each of its files",
    .details = "Tell how many items (files), vectors and holes a store has, in all and for each\n"
               "model, and how large its files are. Holes are rows of a vector file that no item\n"
               "has any more.",
    .examples = "  kindred store stats\n"
                "  kindred store stats --store photos.db --json | jq .bytes\n",
    .run = run_stats};

static const cli_command *const parts[] = {&stats_command, &cli_command_store_check, &cli_command_store_compact,
                                           &cli_command_store_export, &cli_command_store_import};

static int run(const cli_command *command, int argc, char **argv) {
  return cli_run_part(command, parts, sizeof parts / sizeof *parts, argc, argv);
}

const cli_command cli_command_store = {.name = "store",
                                       .usage = "stats|check|compact|export|import [OPTION]...",
                                       .summary = "look after a store, take vectors out and in",
                                       .details =
                                           "  kindred store stats         items, vectors, holes, bytes\n"
                                           "  kindred store check         look for damage in all its files\n"
                                           "  kindred store compact       give back the space that nothing uses\n"
                                           "  kindred store export        write its vectors to a file\n"
                                           "  kindred store import FILE   take vectors that were made elsewhere",
                                       .examples = "  kindred store check --store photos.db\n",
                                       .run = run};
