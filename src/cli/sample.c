/* kindred sample: items that stand for all, and how unlike the others each is. */
#include "cli/sample.h"

#include <math.h>
#include <stdlib.h>

static int out_of_memory(const sample_job *j) {
  cli_error("out of memory for a sample of %zu items", j->v.set.n);
  return CLI_FAILED;
}

static bool on_picked(void *user, size_t picked, size_t k) {
  (void)user;
  cli_progress_update((cli_progress){.done = picked, .total = k, .worked = picked});
  return !cli_signal();
}

static int pick(sample_job *j) {
  const size_t n = j->v.set.n, k = j->shown;
  const kin_k_centre_options options = {.metric = j->metric, .on_progress = on_picked};
  j->picks = calloc(k, sizeof *j->picks), j->stands_for = calloc(k, sizeof *j->stands_for);
  j->nearest = calloc(n, sizeof *j->nearest), j->distances = calloc(n, sizeof *j->distances);
  if (!j->picks || !j->stands_for || !j->nearest || !j->distances) return out_of_memory(j);
  kin_error err;
  cli_progress_start("picking", j->common.quiet);
  const kin_status status =
      kin_k_centre(j->v.session.context, &j->v.set, &options, k, j->picks, j->nearest, j->distances, &err);
  cli_progress_stop();
  if (status != KIN_OK) return cli_failed(&err);
  for (size_t i = 0; i < n; i++) {
    j->stands_for[j->nearest[i]]++;
    j->radius = fmax(j->radius, j->distances[i]);
  }
  return CLI_OK;
}

typedef struct scored {
  double score;
  size_t item;
} scored;

static int by_uniqueness(const void *a, const void *b) {
  const scored *x = a, *y = b;
  if (x->score != y->score) return x->score > y->score ? -1 : 1;
  return x->item < y->item ? -1 : x->item > y->item;
}

static int rank_by_uniqueness(sample_job *j) {
  const size_t n = j->v.set.n;
  j->scores = calloc(n, sizeof *j->scores), j->closest = calloc(n, sizeof *j->closest);
  j->order = calloc(n, sizeof *j->order);
  scored *all = calloc(n, sizeof *all);
  int status = j->scores && j->closest && j->order && all ? CLI_OK : out_of_memory(j);
  kin_error err;
  if (status == CLI_OK &&
      kin_uniqueness(j->v.session.context, &j->v.set, j->metric, j->neighbours, j->scores, j->closest, &err) != KIN_OK)
    status = cli_failed(&err);
  for (size_t i = 0; status == CLI_OK && i < n; i++) all[i] = (scored){j->scores[i], i};
  if (status == CLI_OK) qsort(all, n, sizeof *all, by_uniqueness);
  for (size_t i = 0; status == CLI_OK && i < n; i++) j->order[i] = all[i].item;
  free(all);
  return status;
}

static int compute(void *job) {
  sample_job *j = job;
  kin_error err;
  const double start = cli_now();
  j->shown = j->count < j->v.set.n ? j->count : j->v.set.n;
  if (j->centre && kin_center(j->v.values, j->v.set.n, j->v.set.dim, &err) != KIN_OK) return cli_failed(&err);
  const int status = j->uniqueness ? rank_by_uniqueness(j) : pick(j);
  j->seconds = cli_now() - start;
  return status == CLI_OK && cli_signal() ? cli_stopped() : status;
}

static int report(void *job, cli_output *csv, cli_page *page) {
  const sample_job *j = job;
  int status = CLI_OK;
  if (csv->file) sample_write_csv(j, csv->file), status = cli_output_commit(csv);
  if (status == CLI_OK && j->html) status = sample_write_page(j, page);
  if (status != CLI_OK) return status;
  if (j->common.json) return cli_print_json(sample_describe(j));
  if (!j->common.quiet) sample_print(j);
  return CLI_OK;
}

static int check_choice(const cli_command *command, sample_job *j) {
  const int status = cli_metric_parse(command, j->metric_name, &j->metric);
  if (status != CLI_OK) return status;
  if (j->count < 1) return cli_usage_error(command, "-n must be at least 1");
  if (j->neighbours < 1) return cli_usage_error(command, "--neighbours must be at least 1");
  return CLI_OK;
}

static int sample(const cli_command *command, sample_job *j, const cli_list *operands) {
  const cli_analysis analysis = {&j->common, &j->input, j->csv, j->html, &j->v, j, compute, report};
  const int status = check_choice(command, j);
  return status == CLI_OK ? cli_analyse(command, &analysis, operands) : status;
}

static void release(sample_job *j) {
  cli_vectors_close(&j->v);
  cli_vectors_options_free(&j->input);
  free(j->picks), free(j->stands_for), free(j->nearest), free(j->distances);
  free(j->scores), free(j->closest), free(j->order);
}

static int run(const cli_command *command, int argc, char **argv) {
  sample_job j = {.count = 50, .neighbours = 3, .metric_name = "cosine"};
  const cli_option options[] = {
      {"count", 'n', CLI_COUNT, &j.count, "N", "items to pick (default: 50)"},
      {"uniqueness", 'u', CLI_FLAG, &j.uniqueness, NULL, "show the N that are least like any other instead"},
      {"neighbours", 0, CLI_FEW, &j.neighbours, "K",
       "uniqueness is the mean distance to so many nearest\nothers (default: 3)"},
      {"metric", 0, CLI_TEXT, &j.metric_name, "NAME", "cosine (default) or euclidean"},
      {"centre", 0, CLI_FLAG, &j.centre, NULL, "subtract the mean of all vectors first"},
      {"csv", 0, CLI_TEXT, &j.csv, "FILE", "write a line for each item"},
      {"html", 0, CLI_TEXT, &j.html, "FILE", "write a page with the pictures"},
      CLI_VECTORS_OPTIONS(j.input),
      CLI_POOLING_OPTION(j.common),
      CLI_COMMON_OPTIONS(j.common)};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &j.common, argc, argv, &operands, &status))
    status = sample(command, &j, &operands);
  cli_list_free(&operands);
  release(&j);
  return status;
}

const cli_command cli_command_sample = {
    .name = "sample",
    .usage = CLI_VECTORS_USAGE,
    .summary = "pick a few photos or texts that stand for all",
    .details = "Pick items that stand for all of a folder (embedded now with --model), of a store,\n"
               "or of the rows of a .npy file: first the most central one, then each time the one\n"
               "furthest from those picked before (greedy k-centre). Each pick is shown with the\n"
               "number of items that it stands for. With --uniqueness the items least like any\n"
               "other are shown instead, scored by the mean distance to their nearest others.\n"
               "Exit status 3 if some inputs couldn't be read.",
    .examples = "  kindred sample ~/Photos -n 50 --html sample.html\n"
                "  kindred sample --store kindred.db -n 200 --csv sample.csv\n"
                "  kindred sample vectors.npy --names names.txt --uniqueness\n",
    .run = run};
