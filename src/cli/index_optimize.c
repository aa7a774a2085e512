/* kindred index optimize: the approximate index of a store's vectors. */
#include "cli/cli.h"

#include <stdio.h>

typedef struct optimize_options {
  cli_common common;
  const char *store, *collection, *ann;
} optimize_options;

typedef struct job {
  const optimize_options *options;
  cli_session session;
  kin_store *store;
  kin_collections *all;
  int64_t id; /* of the collection */
  kin_optimized made;
} job;

static int no_collection(const job *j) {
  cli_error("%s has no collection of \"%s\"; 'kindred collections' lists them", cli_store_name(j->options->store),
            j->options->collection);
  return CLI_FAILED;
}

static int choose(job *j) {
  kin_error err;
  kin_collection_wish wish = {0};
  if (kin_store_collections(j->store, &j->all, &err) != KIN_OK) return cli_failed(&err);
  const kin_collection_info *c =
      j->options->collection ? cli_find_collection(j->all, j->options->collection) : kin_collections_get(j->all, 0);
  if (!c && j->options->collection) return no_collection(j);
  if (j->options->collection) wish.model_id = c->model_id;
  if (kin_store_select(j->store, &wish, &err) != KIN_OK) return cli_failed(&err);
  j->id = c ? c->id : 0;
  return CLI_OK;
}

/* The collection as it is now; NULL with a message printed. */
static const kin_collection_info *read_again(job *j) {
  kin_error err;
  kin_collections_close(j->all);
  j->all = NULL;
  if (kin_store_collections(j->store, &j->all, &err) != KIN_OK) {
    cli_failed(&err);
    return NULL;
  }
  for (size_t i = 0; i < kin_collections_count(j->all); i++)
    if (kin_collections_get(j->all, i)->id == j->id) return kin_collections_get(j->all, i);
  return NULL;
}

static int report_json(const job *j, const kin_collection_info *c, double seconds) {
  json_t *tried = json_array();
  for (size_t i = 0; i < j->made.n; i++) {
    const kin_optimize_trial *t = &j->made.trials[i];
    json_t *one = json_pack("{ss sb}", "ann", t->ann, "kept", t->kept);
    cli_set_effort(one, t->probes, t->ef, t->recall);
    json_array_append_new(tried, one);
  }
  json_t *out = json_pack("{ss sI sI sf so}", "ann", *c->ann ? c->ann : "off", "vectors",
                          (json_int_t)(*c->ann ? c->ann_vectors : c->vectors), "bytes", (json_int_t)c->ann_bytes,
                          "seconds", seconds, "tried", tried);
  cli_set_effort(out, c->ann_probes, c->ann_ef, c->ann_recall);
  return cli_print_json(out);
}

static int report(job *j, double seconds) {
  const kin_collection_info *c = read_again(j);
  if (!c) return CLI_FAILED;
  if (j->options->common.json) return report_json(j, c, seconds);
  if (j->options->common.quiet) return CLI_OK;
  char vectors[32], effort[CLI_EFFORT];
  for (size_t i = 0; i < j->made.n; i++) {
    const kin_optimize_trial *t = &j->made.trials[i];
    if (!t->kept)
      printf("%s finds %.3g of the nearest ten for less than the exact scan's work: not kept\n", t->ann, t->recall);
  }
  if (*c->ann)
    printf("%s of %s vector%s, %.1f MB, %s; %.1f s\n", c->ann, cli_group_digits(c->ann_vectors, vectors),
           cli_plural(c->ann_vectors), (double)c->ann_bytes / 1e6,
           cli_describe_effort(c->ann_probes, c->ann_ef, c->ann_recall, effort), seconds);
  else
    printf("no approximate index: %s vector%s are searched exactly\n", cli_group_digits(c->vectors, vectors),
           cli_plural(c->vectors));
  return CLI_OK;
}

static int optimize(job *j) {
  const optimize_options *o = j->options;
  kin_error err;
  cli_stages stages = {.quiet = o->common.quiet};
  kin_optimize_options options = {.ann = o->ann, .on_progress = cli_stages_update, .user = &stages};
  int status = cli_open_context(&o->common, &j->session);
  if (status != CLI_OK) return status;
  /* Opened for reading first: writing would make a store where there is none. */
  if (kin_store_open(j->session.context, o->store, KIN_STORE_READ, &j->store, &err) != KIN_OK) return cli_failed(&err);
  kin_store_close(j->store);
  if (kin_store_open(j->session.context, o->store, KIN_STORE_WRITE, &j->store, &err) != KIN_OK) return cli_failed(&err);
  status = choose(j);
  if (status != CLI_OK) return status;
  double start = cli_now();
  kin_status done = kin_store_optimize(j->store, &options, &j->made, &err);
  cli_stages_stop(&stages);
  if (done == KIN_ERR_CANCELLED) {
    cli_error("stopped; the index that there was is kept");
    return 128 + cli_signal();
  }
  return done == KIN_OK ? report(j, cli_now() - start) : cli_failed(&err);
}

static int run(const cli_command *command, int argc, char **argv) {
  optimize_options o = {.store = "./kindred.db", .ann = "auto"};
  const cli_option options[] = {
      {"store", 's', CLI_TEXT, &o.store, "FILE", "the store (default: ./kindred.db)"},
      {"collection", 'c', CLI_TEXT, &o.collection, "MODEL",
       "of this model: a directory, a name, an id's first\ndigits, or the collection's number"},
      {"ann", 0, CLI_TEXT, &o.ann, "FACTORY",
       "HNSW32, \"IVF1024,Flat\", \"IVF4096,PQ64\", ...: a factory\nstring of FAISS; off: none; auto: by the number "
       "of\n"
       "vectors and by what it finds (default)"},
      {"threads", 0, CLI_FEW, &o.common.threads, "N", "threads to use (default: one for each CPU)"},
      {"json", 0, CLI_FLAG, &o.common.json, NULL, "print JSON"},
      {"quiet", 'q', CLI_FLAG, &o.common.quiet, NULL, "print no progress and no summary"},
      {"isa", 0, CLI_ISA, &o.common.isa, "NAME", NULL},
      {"help", 'h', CLI_FLAG, &o.common.help, NULL, "show this help"}};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &o.common, argc, argv, &operands, &status)) {
    job j = {.options = &o};
    status = operands.count ? cli_usage_error(command, "which store? give it as --store FILE") : optimize(&j);
    kin_collections_close(j.all);
    kin_store_close(j.store);
    cli_session_close(&j.session);
  }
  cli_list_free(&operands);
  return status;
}

const cli_command cli_command_index_optimize = {
    .name = "index optimize",
    .usage = "[OPTION]...",
    .summary = "make an approximate index of a store's vectors",
    .details = "Searches are exact, by reading codes of all vectors, which is fast to some hundred\n"
               "thousand. Beyond, an approximate index (by FAISS) finds most of the nearest\n"
               "without looking at all. Searches use it from then on, unless --ann off is given;\n"
               "what is indexed later is found at once, and what goes isn't found any more. Make\n"
               "it again when much has changed. How far a search looks in it is measured: so far\n"
               "that it finds 0.95 of the nearest ten, and a little to spare. 'auto' makes none\n"
               "below 200,000 vectors, then HNSW32, or an IVF index where HNSW32 would have to\n"
               "look too far. Ctrl-C keeps the index that there was.\n"
               "A folder that is called optimize is indexed as ./optimize.",
    .examples = "  kindred index optimize\n"
                "  kindred index optimize --ann HNSW32\n"
                "  kindred index optimize --ann IVF4096,PQ64 --collection clip-vit-b-32\n"
                "  kindred index optimize --ann off\n",
    .run = run};
