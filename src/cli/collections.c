/* kindred collections: what a store holds for each model, and dropping one of them. */
#include "cli/cli.h"
#include "embed/path_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct collections_options {
  cli_common common;
  const char *store, *drop;
  kin_elastic_options elastic;
} collections_options;

static const char *kind_of(const kin_collection_info *c) {
  return c->image && c->text ? "pictures and texts" : c->image ? "pictures" : "texts";
}

static void print_model(const char *label, const char *path, const char *id, kin_precision precision,
                        kin_pooling pooling) {
  printf("    %-12s", label);
  cli_put_text(path);
  printf(" (id %.12s", id);
  if (precision != KIN_PRECISION_FP32) printf(", %s", kin_precision_name(precision));
  if (pooling > KIN_POOLING_CLS) printf(", pooling %s", kin_pooling_name(pooling));
  printf(")\n");
}

char *cli_describe_effort(size_t probes, size_t ef, double recall, char out[CLI_EFFORT]) {
  char effort[48] = "";
  if (probes) snprintf(effort, sizeof effort, " with %zu probe%s", probes, cli_plural(probes));
  if (ef) snprintf(effort, sizeof effort, " with ef %zu", ef);
  if (recall > 0)
    snprintf(out, CLI_EFFORT, "finds %.3g of the nearest ten%s%s", recall, effort,
             (float)recall < KIN_ANN_PROMISE ? ": searches are exact unless --ef or --probes asks for more" : "");
  else
    snprintf(out, CLI_EFFORT, "not measured");
  return out;
}

void cli_set_effort(json_t *to, size_t probes, size_t ef, double recall) {
  if (recall > 0) json_object_set_new(to, "recall", json_real(recall));
  if (probes) json_object_set_new(to, "probes", json_integer((json_int_t)probes));
  if (ef) json_object_set_new(to, "ef", json_integer((json_int_t)ef));
}

static void print_index(const kin_collection_info *c) {
  char vectors[32], effort[CLI_EFFORT];
  printf("    %-12s%s of %s vector%s, %.1f MB, %s\n", "index", c->ann, cli_group_digits(c->ann_vectors, vectors),
         cli_plural(c->ann_vectors), (double)c->ann_bytes / 1e6,
         cli_describe_effort(c->ann_probes, c->ann_ef, c->ann_recall, effort));
}

static void print_collections(const kin_collections *all) {
  for (size_t i = 0; i < kin_collections_count(all); i++) {
    const kin_collection_info *c = kin_collections_get(all, i);
    char items[32], vectors[32], dim[32];
    printf("%3lld  %s file%s, %s vector%s of %s floats, %.1f MB; asked with %s\n", (long long)c->id,
           cli_group_digits(c->items, items), cli_plural(c->items), cli_group_digits(c->vectors, vectors),
           cli_plural(c->vectors), cli_group_digits(c->dim, dim), (double)c->bytes / 1e6, kind_of(c));
    if (*c->ann) print_index(c);
    print_model("model", c->model_path, c->model_id, c->precision, c->pooling);
    if (*c->text_model_id)
      print_model("text model", c->text_model_path, c->text_model_id, c->text_precision, KIN_POOLING_DEFAULT);
  }
}

static json_t *describe(const kin_collection_info *c) {
  json_t *out = json_pack("{sI ss ss ss sI sI sI sI sb sb}", "id", (json_int_t)c->id, "model_id", c->model_id,
                          "precision", kin_precision_name(c->precision), "pooling", kin_pooling_name(c->pooling), "dim",
                          (json_int_t)c->dim, "items", (json_int_t)c->items, "vectors", (json_int_t)c->vectors, "bytes",
                          (json_int_t)c->bytes, "image", c->image, "text", c->text);
  bool ok = out && kin_json_set_text(out, "model", c->model_path);
  if (ok && *c->text_model_id)
    ok = kin_json_set_text(out, "text_model", c->text_model_path) &&
         json_object_set_new(out, "text_model_id", json_string(c->text_model_id)) == 0;
  if (ok && *c->ann) {
    json_t *ann = json_pack("{ss sI sI}", "factory", c->ann, "vectors", (json_int_t)c->ann_vectors, "bytes",
                            (json_int_t)c->ann_bytes);
    cli_set_effort(ann, c->ann_probes, c->ann_ef, c->ann_recall);
    ok = json_object_set_new(out, "ann", ann) == 0;
  }
  if (ok) return out;
  json_decref(out);
  return NULL;
}

static int list(const collections_options *o, const kin_collections *all) {
  if (!o->common.json) {
    print_collections(all);
    return CLI_OK;
  }
  json_t *items = json_array();
  bool ok = items != NULL;
  for (size_t i = 0; ok && i < kin_collections_count(all); i++)
    ok = json_array_append_new(items, describe(kin_collections_get(all, i))) == 0;
  json_t *out = ok ? json_pack("{sO}", "collections", items) : NULL;
  json_decref(items);
  return cli_print_json(out);
}

/* Whether `name` means this collection: its number, its model's directory or name, or the first digits of its id. */
static bool is_named(const kin_collection_info *c, const char *name, const char *dir) {
  char number[24];
  snprintf(number, sizeof number, "%lld", (long long)c->id);
  if (strcmp(name, number) == 0 || strcmp(name, c->model_path) == 0) return true;
  if (dir && strcmp(dir, c->model_path) == 0) return true;
  return strlen(name) >= 8 && strncmp(name, c->model_id, strlen(name)) == 0;
}

const kin_collection_info *cli_find_collection(const kin_collections *all, const char *name) {
  char *dir = NULL, *path = NULL;
  if (kin_hub_find(name, NULL, &dir, NULL) == KIN_OK) path = realpath(dir, NULL);
  const kin_collection_info *found = NULL;
  for (size_t i = 0; !found && i < kin_collections_count(all); i++)
    if (is_named(kin_collections_get(all, i), name, path)) found = kin_collections_get(all, i);
  free(dir);
  free(path);
  return found;
}

static int drop(const collections_options *o, kin_store *store, const kin_collections *all) {
  const kin_collection_info *c = cli_find_collection(all, o->drop);
  kin_error err;
  if (!c) {
    cli_error("%s has no collection of \"%s\"; 'kindred collections' lists them", cli_store_name(o->store), o->drop);
    return CLI_FAILED;
  }
  if (kin_store_drop_collection(store, c->id, &err) != KIN_OK) return cli_failed(&err);
  if (!o->common.quiet) {
    char vectors[32];
    printf("dropped the %s vector%s of ", cli_group_digits(c->vectors, vectors), cli_plural(c->vectors));
    cli_put_text(c->model_path);
    putchar('\n');
  }
  return CLI_OK;
}

static int show(const collections_options *o) {
  cli_session session;
  kin_store *store = NULL;
  kin_collections *all = NULL;
  kin_error err;
  int status = cli_open_context(&o->common, &session);
  if (status == CLI_OK && (kin_store_open_with(session.context, o->store, o->drop ? KIN_STORE_WRITE : KIN_STORE_READ,
                                               &o->elastic, &store, &err) != KIN_OK ||
                           kin_store_collections(store, &all, &err) != KIN_OK))
    status = cli_failed(&err);
  if (status == CLI_OK) status = o->drop ? drop(o, store, all) : list(o, all);
  kin_collections_close(all);
  kin_store_close(store);
  cli_session_close(&session);
  return status;
}

static int run(const cli_command *command, int argc, char **argv) {
  collections_options o = {.store = "./kindred.db"};
  const cli_option options[] = {
      {"store", 's', CLI_TEXT, &o.store, "FILE", "the store (default: ./kindred.db)"},
      CLI_ELASTIC_OPTIONS(o.elastic),
      {"drop", 0, CLI_TEXT, &o.drop, "MODEL",
       "drop this model's collection: a directory, a name, an\nid's first digits, or the collection's number"},
      CLI_COMMON_OPTIONS(o.common)};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &o.common, argc, argv, &operands, &status))
    status = operands.count ? cli_usage_error(command, "which store? give it as --store FILE") : show(&o);
  cli_list_free(&operands);
  return status;
}

const cli_command cli_command_collections = {
    .name = "collections",
    .usage = "[OPTION]...",
    .summary = "what a store holds for each model, and dropping it",
    .details = "A store has a collection of vectors for each model that it was indexed with.\n"
               "List them, with the models that they need, or drop one: its vectors go, and the\n"
               "files that no other collection knows are forgotten (the files themselves stay).",
    .examples = "  kindred collections\n"
                "  kindred collections --drop dinov2-small\n",
    .run = run};
