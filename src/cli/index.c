/* kindred index: embed what is new or changed below folders into a store. */
#include "cli/captions.h"
#include "cli/cli.h"
#include "embed/path_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct index_options {
  cli_common common;
  cli_list exclude;
  const char *store, *text_model, *text_column, *captions, *metadata;
  bool follow, hidden, documents, fast_decode, rebuild;
  int64_t since;
  size_t batch;
  kin_elastic_options elastic;
} index_options;

typedef struct job {
  const index_options *options;
  cli_session session;
  cli_session text; /* its model is --text-model's, if that is given */
  kin_store *store;
  const char *model_dir;
  cli_captions captions;
  size_t captioned; /* files of the store that have some of these */
  kin_metadata_report described;
  uint64_t total;             /* files, counted beforehand for the progress bar; 0: not counted */
  kin_store_stats remembered; /* of the store's only collection */
} job;

static bool on_progress(void *user, const kin_index_progress *p) {
  const job *j = user;
  cli_progress_update((cli_progress){.done = p->done + p->unchanged + p->failed,
                                     .total = j->total,
                                     .worked = p->done + p->failed,
                                     .failed = p->failed});
  return !cli_signal();
}

static void on_failure(void *user, const char *path, kin_status status, const char *message) {
  (void)user;
  (void)path; /* the message names it */
  (void)status;
  cli_error("%s", message);
}

static int open_store(job *j) {
  kin_error err;
  kin_status status = kin_store_open_with(j->session.context, j->options->store, KIN_STORE_WRITE, &j->options->elastic,
                                          &j->store, &err);
  return status == KIN_OK ? CLI_OK : cli_failed(&err);
}

/* The model of the store's only collection. */
static int find_remembered(job *j) {
  kin_error err;
  if (!j->options->common.model && kin_store_select(j->store, &(kin_collection_wish){0}, &err) != KIN_OK)
    return cli_failed(&err);
  return kin_store_get_stats(j->store, &j->remembered, &err) == KIN_OK ? CLI_OK : cli_failed(&err);
}

/* A store's own model opened in another way than for it would begin a second collection; that must be meant. */
static int check_opening(const cli_command *command, const job *j) {
  const kin_store_stats *r = &j->remembered;
  const kin_model_info *info = &j->session.info;
  if (j->options->common.model || !*r->model_id || strcmp(info->id, r->model_id) == 0) return CLI_OK;
  if (info->precision == r->precision && (info->pooling == r->pooling || !r->pooling)) return CLI_OK;
  return cli_usage_error(command,
                         "the vectors of %s were made with --precision %s%s%s, which don't go with others; leave it "
                         "away, or name the model, too, to begin a collection of its own",
                         j->options->store, kin_precision_name(r->precision), r->pooling ? " --pooling " : "",
                         r->pooling ? kin_pooling_name(r->pooling) : "");
}

/* An existing store tells which model to use; a new one is made only when the model could be opened. */
static int open_all(const cli_command *command, job *j) {
  bool exists = strstr(j->options->store, "://") || access(j->options->store, F_OK) == 0;
  int status = cli_open_context(&j->options->common, &j->session);
  if (status == CLI_OK && j->options->text_model) {
    j->text.context = j->session.context;
    j->text.precision = j->session.precision;
    status = cli_open_model(j->options->text_model, KIN_POOLING_DEFAULT, &j->text);
  }
  if (status == CLI_OK && exists) status = open_store(j);
  if (status == CLI_OK && exists) status = find_remembered(j);
  if (status != CLI_OK) return status;
  j->model_dir = cli_model_dir(&j->options->common, j->remembered.model_path);
  if (!j->model_dir) return cli_no_model(command);
  if (!exists) {
    status = cli_open_model(j->model_dir, j->options->common.pooling, &j->session);
    return status == CLI_OK ? open_store(j) : status;
  }
  status = cli_open_model_of(j->store, j->model_dir, &j->options->common, &j->session);
  return status == CLI_OK ? check_opening(command, j) : status;
}

/* What the model can embed; with both towers pictures alone, unless --documents asks for texts too. */
static kin_content content_of(const job *j) {
  const kin_model_info *info = &j->session.info;
  if (!info->has_image) return KIN_CONTENT_DOCUMENTS;
  return j->options->documents ? KIN_CONTENT_BOTH : KIN_CONTENT_PICTURES;
}

static int print_summary(const job *j, const kin_index_progress *p, double seconds) {
  const index_options *o = j->options;
  if (o->common.json) {
    json_t *out = json_pack("{sI sI sI sI sI sf}", "found", (json_int_t)p->found, "embedded", (json_int_t)p->done,
                            "unchanged", (json_int_t)p->unchanged, "removed", (json_int_t)p->removed, "failed",
                            (json_int_t)p->failed, "seconds", seconds);
    if (out && o->captions) json_object_set_new(out, "captions", json_integer((json_int_t)j->captioned));
    if (out && o->metadata) json_object_set_new(out, "metadata", json_integer((json_int_t)j->described.items));
    if (out &&
        !(kin_json_set_text(out, "store", cli_store_name(o->store)) && kin_json_set_text(out, "model", j->model_dir))) {
      json_decref(out);
      out = NULL;
    }
    return cli_print_json(out);
  }
  if (o->common.quiet) return CLI_OK;
  char done[32], unchanged[32], removed[32], failed[32];
  printf("%s embedded, %s unchanged, %s removed, %s failed", cli_group_digits(p->done, done),
         cli_group_digits(p->unchanged, unchanged), cli_group_digits(p->removed, removed),
         cli_group_digits(p->failed, failed));
  if (o->captions) {
    char captions[32];
    printf(", %s with captions", cli_group_digits(j->captioned, captions));
  }
  if (o->metadata) {
    char items[32];
    printf(", %s with metadata", cli_group_digits(j->described.items, items));
  }
  printf("; %.1f s", seconds);
  if (p->done && seconds > 0)
    printf(", %.1f %s/s", (double)p->done / seconds, content_of(j) == KIN_CONTENT_PICTURES ? "photos" : "files");
  printf(" (");
  cli_put_text(cli_store_name(o->store));
  printf(")\n");
  return CLI_OK;
}

static unsigned kinds_of(const job *j) {
  kin_content content = content_of(j);
  unsigned kinds = content & KIN_CONTENT_PICTURES ? KIN_WALK_PICTURES : 0;
  if (content & KIN_CONTENT_DOCUMENTS) kinds |= KIN_WALK_DOCUMENTS;
  if ((content & KIN_CONTENT_DOCUMENTS) && j->options->text_column) kinds |= KIN_WALK_TABLES;
  return kinds;
}

static void count(job *j, const cli_list *paths) {
  const index_options *o = j->options;
  if (!cli_progress_start("counting", o->common.quiet)) return;
  const kin_walk_options walk = {.exclude = o->exclude.items,
                                 .n_exclude = o->exclude.count,
                                 .follow = o->follow,
                                 .hidden = o->hidden,
                                 .since = o->since,
                                 .kinds = kinds_of(j)};
  j->total = cli_count_files(paths, &walk);
  cli_progress_stop();
}

static int index_paths(job *j, const cli_list *paths) {
  const index_options *o = j->options;
  kin_index_options options = {.exclude = o->exclude.items,
                               .n_exclude = o->exclude.count,
                               .follow = o->follow,
                               .hidden = o->hidden,
                               .since = o->since,
                               .batch = o->batch,
                               .fast_decode = o->fast_decode,
                               .text_model = j->text.model,
                               .content = content_of(j),
                               .text_column = o->text_column,
                               .on_progress = on_progress,
                               .on_failure = on_failure,
                               .user = j};
  kin_index_progress progress = {0};
  kin_error err;
  double start = cli_now();
  count(j, paths);
  cli_progress_start("indexing", o->common.quiet);
  cli_progress_update((cli_progress){.total = j->total});
  kin_status indexed =
      kin_store_index(j->store, j->session.model, paths->items, paths->count, &options, &progress, &err);
  cli_progress_stop();
  if (indexed == KIN_ERR_CANCELLED) {
    char done[32];
    cli_error("stopped; %s file%s embedded and kept; run it again to go on", cli_group_digits(progress.done, done),
              cli_plural(progress.done));
    return 128 + cli_signal();
  }
  if (indexed != KIN_OK) return cli_failed(&err);
  if (progress.found == 0 && progress.removed == 0 && progress.failed == 0 && o->since == 0) {
    cli_error("no %s below %s%s", content_of(j) == KIN_CONTENT_DOCUMENTS ? "text files" : "pictures", paths->items[0],
              paths->count > 1 ? " and the other paths" : "");
    return CLI_FAILED;
  }
  if (o->captions && kin_store_set_captions(j->store, j->captions.items, j->captions.n, j->captions.n_columns,
                                            &j->captioned, &err) != KIN_OK)
    return cli_failed(&err);
  if (o->metadata && kin_store_read_metadata(j->store, o->metadata, &j->described, &err) != KIN_OK)
    return cli_failed(&err);
  if (j->described.unknown && !o->common.quiet)
    cli_error("%zu file%s of %s %s in the store", j->described.unknown, cli_plural(j->described.unknown), o->metadata,
              j->described.unknown == 1 ? "isn't" : "aren't");
  int status = print_summary(j, &progress, cli_now() - start);
  return status == CLI_OK && progress.failed ? CLI_SKIPPED : status;
}

static bool on_copied(void *user, uint64_t done, uint64_t total) {
  (void)user;
  cli_progress_update((cli_progress){.done = done, .worked = done, .total = total});
  return !cli_signal();
}

/* Of the store alone, without a model. */
static int rebuild(job *j) {
  kin_error err;
  int status = cli_open_context(&j->options->common, &j->session);
  if (status == CLI_OK) status = open_store(j);
  if (status != CLI_OK) return status;
  cli_progress_start("copying", j->options->common.quiet);
  kin_status rebuilt = kin_store_rebuild(j->store, on_copied, NULL, &err);
  cli_progress_stop();
  kin_store_close(j->store);
  cli_session_close(&j->session);
  j->store = NULL;
  j->session = (cli_session){0};
  return rebuilt == KIN_OK ? CLI_OK : cli_failed(&err);
}

static int index_command(const cli_command *command, const index_options *o, const cli_list *paths) {
  if (paths->count == 0 && !o->rebuild) return cli_usage_error(command, "index what? give folders or files");
  job *j = calloc(1, sizeof *j);
  if (!j) return CLI_FAILED;
  j->options = o;
  int status = o->captions && !cli_captions_read(o->captions, &j->captions) ? CLI_FAILED : CLI_OK;
  if (status == CLI_OK && o->rebuild) status = rebuild(j);
  if (status == CLI_OK && paths->count) status = open_all(command, j);
  if (status == CLI_OK && paths->count) status = index_paths(j, paths);
  cli_captions_free(&j->captions);
  kin_store_close(j->store);
  kin_model_close(j->text.model);
  cli_session_close(&j->session);
  free(j);
  return status;
}

static int run(const cli_command *command, int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "optimize") == 0)
    return cli_command_index_optimize.run(&cli_command_index_optimize, argc - 1, argv + 1);
  index_options o = {.store = "./kindred.db"};
  const cli_option options[] = {
      {"store", 's', CLI_TEXT, &o.store, "FILE",
       "the store (default: ./kindred.db), or\nelasticsearch://HOST:9200/INDEX"},
      CLI_ELASTIC_OPTIONS(o.elastic),
      {"rebuild", 0, CLI_FLAG, &o.rebuild, NULL,
       "copy an index of Elasticsearch into a new one first,\nwhich takes its name; searches go on"},
      {"text-model", 0, CLI_TEXT, &o.text_model, "DIR",
       "a model for text queries, whose vectors share the\nspace of --model's; the store remembers it"},
      {"documents", 0, CLI_FLAG, &o.documents, NULL, "take text files too, with a model that has both towers"},
      {"text-column", 0, CLI_TEXT, &o.text_column, "NAME",
       "take .csv files: the text is in this column, or in the\nN-th of a file without a header"},
      {"captions", 0, CLI_TEXT, &o.captions, "FILE",
       "remember captions to search words in: a .csv file\nwith the columns path and caption, or a .jsonl file"},
      {"metadata", 0, CLI_TEXT, &o.metadata, "FILE",
       "remember what --where finds as meta.KEY: a .csv file\nwith a column path and others, or a .jsonl file"},
      {"exclude", 'x', CLI_LIST, &o.exclude, "GLOB", "leave out matching names or paths; may be given\nagain"},
      {"follow", 'L', CLI_FLAG, &o.follow, NULL, "follow symbolic links"},
      {"hidden", 0, CLI_FLAG, &o.hidden, NULL, "take hidden files and folders too"},
      {"since", 0, CLI_SINCE, &o.since, "WHEN",
       "only files changed since WHEN: 2024-12-31, 7d (or m,\nh, w), or a Unix time"},
      {"batch", 'b', CLI_FEW, &o.batch, "N", "pictures encoded at once (default: 16)"},
      CLI_FAST_DECODE_OPTION(&o.fast_decode),
      CLI_POOLING_OPTION(o.common),
      CLI_COMMON_OPTIONS(o.common)};
  cli_list paths = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &o.common, argc, argv, &paths, &status))
    status = index_command(command, &o, &paths);
  cli_list_free(&paths);
  cli_list_free(&o.exclude);
  return status;
}

const cli_command cli_command_index = {
    .name = "index",
    .usage = "[OPTION]... PATH... | optimize [OPTION]...",
    .summary = "embed the photos or texts of folders that are new or changed",
    .details = "Embed the files below each PATH into a store: pictures, or, with a model of\n"
               "texts alone, documents (.txt, .md, .html, objects with a \"text\" in .json and\n"
               ".jsonl, .csv with --text-column), cut into passages. Running it again embeds\n"
               "only what is new or changed and drops what is gone. Ctrl-C is safe: what was\n"
               "embedded is kept, and the next run goes on from there. Hidden files, .git,\n"
               "node_modules, @eaDir and System Volume Information are skipped. Exit status 3 if\n"
               "some files couldn't be read. A store keeps a collection of vectors for each\n"
               "model that it was indexed with (kindred collections); without --model the only\n"
               "one's is used. Words are searched in file and folder names, in the passages, and\n"
               "in captions: a .txt beside a picture (photo.jpg.txt or photo.txt), titles,\n"
               "descriptions and keywords inside it (IPTC, XMP), and those of --captions.\n"
               "'kindred index optimize' makes an approximate index of a large store's vectors.",
    .examples = "  kindred index --model models/clip-vit-base-patch32 ~/Photos\n"
                "  kindred index ~/Photos                            # again: only what changed\n"
                "  kindred index ~/Photos --exclude '*.gif' --exclude '*/Trash/*'\n"
                "  kindred index --model minilm ~/notes\n"
                "  kindred index ~/Photos --metadata ratings.csv     # path,rating,place\n"
                "  kindred index --store elasticsearch://127.0.0.1:9200/photos ~/Photos\n"
                "  kindred index -q --since 2d ~/Photos              # from cron\n",
    .run = run};
