/* kindred anomalies: which items are unlike the others, or unlike a reference. */
#include "cli/anomalies.h"

#include <stdio.h>
#include <stdlib.h>

/* ----------------------------------------------------------------- computing */

typedef struct scored {
  double score;
  size_t item;
} scored;

static int by_score(const void *a, const void *b) {
  const scored *x = a, *y = b;
  if (x->score != y->score) return x->score > y->score ? -1 : 1;
  return x->item < y->item ? -1 : x->item > y->item;
}

static int out_of_memory(const anomalies_job *j) {
  cli_error("out of memory for the scores of %zu items", j->v.set.n);
  return CLI_FAILED;
}

static int rank(anomalies_job *j) {
  const size_t n = j->v.set.n;
  scored *all = calloc(n, sizeof *all);
  j->order = calloc(n, sizeof *j->order);
  const bool ok = all && j->order;
  for (size_t i = 0; ok && i < n; i++) {
    all[i] = (scored){j->scores[i], i};
    j->anomalies += j->scores[i] > j->info.limit;
  }
  if (ok) qsort(all, n, sizeof *all, by_score);
  for (size_t i = 0; ok && i < n; i++) j->order[i] = all[i].item;
  free(all);
  return ok ? CLI_OK : out_of_memory(j);
}

static kin_status fit(anomalies_job *j, kin_error *err) {
  j->options.model_id = j->v.model_id;
  const kin_model_info *info = &j->v.session.info;
  if (j->options.method == KIN_DETECTOR_PATCHES && !j->options.k && j->v.session.model && info->patch_size)
    j->options.k = (info->image_size / info->patch_size) * (info->image_size / info->patch_size);
  return kin_detector_fit(j->v.session.context, &j->v.set, &j->options, &j->detector, j->scores, err);
}

static kin_status score(anomalies_job *j, kin_error *err) {
  const kin_status status = kin_detector_check(j->detector, j->v.model_id, j->v.set.dim, err);
  return status == KIN_OK
             ? kin_detector_score(j->v.session.context, j->detector, &j->v.set, j->scores, j->p_values, err)
             : status;
}

static int compute(void *job) {
  anomalies_job *j = job;
  const size_t n = j->v.set.n;
  const double start = cli_now();
  kin_error err;
  j->scores = calloc(n, sizeof *j->scores);
  if (j->saved) j->p_values = calloc(n, sizeof *j->p_values);
  if (!j->scores || (j->saved && !j->p_values)) return out_of_memory(j);
  if ((j->saved ? score(j, &err) : fit(j, &err)) != KIN_OK) return cli_failed(&err);
  kin_detector_get_info(j->detector, &j->info);
  if (j->save && kin_detector_save(j->detector, j->save, &err) != KIN_OK) return cli_failed(&err);
  j->seconds = cli_now() - start;
  const int status = rank(j);
  if (j->count == 0 || j->count > n) j->count = n;
  return status == CLI_OK && cli_signal() ? cli_stopped() : status;
}

static int report(void *job, cli_output *csv, cli_page *page) {
  const anomalies_job *j = job;
  int status = CLI_OK;
  if (csv->file) anomalies_write_csv(j, csv->file), status = cli_output_commit(csv);
  if (status == CLI_OK && j->html) status = anomalies_write_page(j, page);
  if (status == CLI_OK && j->heat_maps) status = anomalies_write_heat_maps(j);
  if (status != CLI_OK) return status;
  if (j->common.json) return cli_print_json(j->save ? anomalies_describe_fit(j) : anomalies_describe(j));
  if (!j->common.quiet && j->save)
    anomalies_print_fit(j);
  else if (!j->common.quiet)
    anomalies_print(j);
  return CLI_OK;
}

static int analyse(const cli_command *command, anomalies_job *j, const cli_list *operands) {
  const bool patches = (j->saved ? j->info.method : j->options.method) == KIN_DETECTOR_PATCHES;
  if (j->heat_maps && (!patches || j->input.store || j->input.texts))
    return cli_usage_error(command, "--heat-maps is for pictures embedded now, and --method patches");
  if (patches) j->common.pooling = KIN_POOLING_PATCHES;
  const cli_analysis analysis = {&j->common, &j->input, j->csv, j->html, &j->v, j, compute, report};
  return cli_analyse(command, &analysis, operands);
}

static void release(anomalies_job *j) {
  cli_vectors_close(&j->v);
  cli_vectors_options_free(&j->input);
  kin_detector_close(j->detector);
  free(j->scores), free(j->p_values), free(j->order);
}

/* ------------------------------------------------------------------- options */

#define FIT_OPTIONS(j)                                                                                                \
  {"method",         0,      CLI_TEXT,                                                                                \
   &(j).method_name, "NAME", "knn (default), lof, mean, mahalanobis, clusters or\npatches (of pictures, by DINOv2)"}, \
      {"k",       'k',                                                                                                \
       CLI_COUNT, &(j).options.k,                                                                                     \
       "K",       "neighbours (default: 5 of knn, 20 of lof) or clusters\n(default: as the silhouette speaks for)"},  \
      {"metric", 0, CLI_TEXT, &(j).metric_name, "NAME", "cosine (default) or euclidean"},                             \
      {"threshold",                                                                                                   \
       't',                                                                                                           \
       CLI_TEXT,                                                                                                      \
       &(j).threshold_text,                                                                                           \
       "RULE",                                                                                                        \
       "mad:5 (default): the median and so many deviations;\nquantile:0.99; of fit also conformal:0.01, a rate of\n"  \
       "false alarms"},                                                                                               \
  {                                                                                                                   \
    "seed", 0, CLI_COUNT, &(j).seed, "N", "what is drawn by chance (default: 0)"                                      \
  }

#define SHOW_OPTIONS(j)                                                                                            \
  {"csv", 0, CLI_TEXT, &(j).csv, "FILE", "write a line for each item"},                                            \
      {"heat-maps",    0,     CLI_TEXT,                                                                            \
       &(j).heat_maps, "DIR", "of patches: a PNG of each picture shown, where the anomaly\nlies painted over it"}, \
  {                                                                                                                \
    "html", 0, CLI_TEXT, &(j).html, "FILE", "write a page with the pictures and the scores"                        \
  }

static int check_fit(const cli_command *command, anomalies_job *j) {
  kin_error err;
  const int status = cli_metric_parse(command, j->metric_name, &j->options.metric);
  if (status != CLI_OK) return status;
  if (kin_detector_method_parse(j->method_name, &j->options.method, &err) != KIN_OK ||
      kin_threshold_parse(j->threshold_text, &j->options.threshold, &err) != KIN_OK)
    return cli_usage_error(command, "%s", err.message);
  j->options.seed = j->seed;
  return CLI_OK;
}

static int rank_items(const cli_command *command, anomalies_job *j, const cli_list *operands) {
  const int status = check_fit(command, j);
  if (status != CLI_OK) return status;
  if (j->options.threshold.rule == KIN_THRESHOLD_CONFORMAL)
    return cli_usage_error(command, "a conformal threshold needs a reference without anomalies: see 'kindred anomalies "
                                    "fit'");
  return analyse(command, j, operands);
}

static int run_rank(const cli_command *command, int argc, char **argv) {
  anomalies_job j = {.count = 20, .method_name = "knn", .metric_name = "cosine", .threshold_text = "mad"};
  const cli_option options[] = {{"count", 'n', CLI_COUNT, &j.count, "N", "items to show (default: 20; 0: all)"},
                                FIT_OPTIONS(j),
                                SHOW_OPTIONS(j),
                                CLI_VECTORS_OPTIONS(j.input),
                                CLI_POOLING_OPTION(j.common),
                                CLI_COMMON_OPTIONS(j.common)};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &j.common, argc, argv, &operands, &status))
    status = rank_items(command, &j, &operands);
  cli_list_free(&operands);
  release(&j);
  return status;
}

/* ----------------------------------------------------------------------- fit */

static int fit_reference(const cli_command *command, anomalies_job *j, const cli_list *operands) {
  const int status = check_fit(command, j);
  if (status != CLI_OK) return status;
  if (!j->save) return cli_usage_error(command, "where to? give -o FILE");
  return analyse(command, j, operands);
}

static int run_fit(const cli_command *command, int argc, char **argv) {
  anomalies_job j = {.method_name = "knn", .metric_name = "cosine", .threshold_text = "mad"};
  const cli_option options[] = {
      {"output", 'o', CLI_TEXT, &j.save, "FILE", "keep the detector in FILE"},
      FIT_OPTIONS(j),
      {"holdout", 0, CLI_NUMBER, &j.options.holdout, "SHARE",
       "keep such a share apart for the threshold (default:\na third for conformal, else none)"},
      CLI_VECTORS_OPTIONS(j.input),
      CLI_POOLING_OPTION(j.common),
      CLI_COMMON_OPTIONS(j.common)};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &j.common, argc, argv, &operands, &status))
    status = fit_reference(command, &j, &operands);
  cli_list_free(&operands);
  release(&j);
  return status;
}

static const cli_command fit_command = {
    .name = "anomalies fit",
    .usage = "[OPTION]... REFERENCE... -o FILE",
    .summary = "learn what is usual from a reference",
    .details = "Fit a detector to a folder, a store or a .npy file without anomalies (or with few), for\n"
               "'kindred anomalies score'. With --threshold conformal:0.01 a part is kept apart, so that\n"
               "of new items like the reference at most 1% raise an alarm, whatever the method.",
    .examples = "  kindred anomalies fit good/ --model dinov2-small -o good.kin\n"
                "  kindred anomalies fit --store kindred.db --method lof --threshold conformal:0.01 -o usual.kin\n",
    .run = run_fit};

/* --------------------------------------------------------------------- score */

typedef struct score_options {
  anomalies_job job;
  const char *watch;
  bool only_new;
} score_options;

static int score_new(const cli_command *command, score_options *o, const cli_list *operands) {
  anomalies_job *j = &o->job;
  kin_error err;
  if (operands->count < 1) return cli_usage_error(command, "which detector? give the file of 'kindred anomalies fit'");
  j->saved = operands->items[0];
  if (kin_detector_open(j->saved, &j->detector, &err) != KIN_OK) return cli_failed(&err);
  kin_detector_get_info(j->detector, &j->info);
  const cli_list rest = {.items = operands->items + 1, .count = operands->count - 1};
  if (o->only_new && !o->watch) return cli_usage_error(command, "--new-only is for --watch");
  if (o->watch && (rest.count || j->input.store || j->input.texts || j->csv || j->html || j->heat_maps))
    return cli_usage_error(command, "--watch DIR prints lines of JSON: it takes no paths, --store, --texts, --csv or "
                                    "--html");
  if (o->watch) return anomalies_watch(command, j, o->watch, o->only_new);
  return analyse(command, j, &rest);
}

static int run_score(const cli_command *command, int argc, char **argv) {
  score_options o = {.job = {.count = 0}};
  const cli_option options[] = {
      {"watch", 0, CLI_TEXT, &o.watch, "DIR",
       "score the files in DIR and below, then each that comes,\nand print a line of JSON for each until Ctrl-C"},
      {"new-only", 0, CLI_FLAG, &o.only_new, NULL, "of --watch: leave out what is there already"},
      {"count", 'n', CLI_COUNT, &o.job.count, "N", "items to show (default: all)"},
      SHOW_OPTIONS(o.job),
      CLI_VECTORS_OPTIONS(o.job.input),
      CLI_POOLING_OPTION(o.job.common),
      CLI_COMMON_OPTIONS(o.job.common)};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &o.job.common, argc, argv, &operands, &status))
    status = score_new(command, &o, &operands);
  cli_list_free(&operands);
  release(&o.job);
  return status;
}

static const cli_command score_command = {
    .name = "anomalies score",
    .usage = "[OPTION]... DETECTOR PATH... | DETECTOR FILE.npy | DETECTOR --watch DIR",
    .summary = "score new items by a detector",
    .details = "Tell how unlike the reference of a detector each item is, the most unlike first, with a\n"
               "p-value: the share of the reference's scores that are as high. Vectors of another model\n"
               "are refused. Exit status 3 if some inputs couldn't be read.\n"
               "\n"
               "--watch DIR scores the pictures in DIR and the folders below, or with a model of texts each\n"
               "passage of the text files there; a changed one again, as soon as each is closed or moved in. One that can't be read gives a line with\n"
               "\"error\". Ctrl-C ends it with status 0, or 3 if some couldn't be read.",
    .examples = "  kindred anomalies score good.kin new/ --model dinov2-small --html new.html\n"
                "  kindred anomalies score usual.kin --store new.db --json\n"
                "  kindred anomalies score good.kin --watch /var/camera --new-only | tee scores.jsonl\n",
    .run = run_score};

/* ------------------------------------------------------------------- command */

static const cli_command *const parts[] = {&fit_command, &score_command, &cli_command_anomalies_recent};

static int run(const cli_command *command, int argc, char **argv) {
  const cli_command *part = cli_find_part(command, parts, sizeof parts / sizeof *parts, argc, argv);
  return part ? part->run(part, argc - 1, argv + 1) : run_rank(command, argc, argv);
}

const cli_command cli_command_anomalies = {
    .name = "anomalies",
    .usage = "[fit|score|recent] [OPTION]... PATH... | FILE.npy | --store FILE | --texts FILE",
    .summary = "find the photos or texts that are unlike the others",
    .details = "Rank the items of a folder (embedded now with --model), a store, or the rows of a .npy\n"
               "file by how unlike the others each is: by the distance to its k-th neighbour (knn), by\n"
               "how much more sparsely it lies than its neighbours (lof), or by its distance to the mean\n"
               "(mean; mahalanobis: in units of the covariance) or to the nearest cluster, in units of\n"
               "that cluster's spread (clusters).\n"
               "\n"
               "  kindred anomalies fit REFERENCE -o FILE     learn what is usual, and keep it\n"
               "  kindred anomalies score FILE PATH...        tell what isn't\n"
               "  kindred anomalies recent PATH...            tell what differs from the items before it,\n"
               "                                              and when things change\n"
               "\n"
               "Exit status 3 if some inputs couldn't be read.",
    .examples = "  kindred anomalies ~/Photos --html unusual.html\n"
                "  kindred anomalies --store kindred.db --method lof -k 20 --csv scores.csv\n"
                "  kindred anomalies vectors.npy --names names.txt --method mahalanobis --threshold quantile:0.95\n",
    .run = run};
