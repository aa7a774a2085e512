/* kindred anomalies recent: items against the window before them, and when what comes in changes. */
#include "cli/recent.h"

#include "cli/text_lines.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_TESTED = 10, LEAST_SCORES = 20, LEAST_PERMUTATIONS = 999, MOST_PERMUTATIONS = 9999 };

static int out_of_memory(const recent_job *j) {
  cli_error("out of memory for the windows of %zu items", j->v.set.n);
  return CLI_FAILED;
}

/* ---------------------------------------------------------------------- time */

/* Times from the file that names them, a line each. */
static int read_times(recent_job *j) {
  cli_lines lines;
  int status = cli_lines_read(j->times, &lines);
  if (status == CLI_OK && lines.n != j->v.set.n + j->v.skipped) {
    cli_error("%s has %zu lines, and there are %zu items: a line each is needed", j->times, lines.n,
              j->v.set.n + j->v.skipped);
    status = CLI_FAILED;
  } else if (status == CLI_OK && j->v.skipped) {
    cli_error("some items can't be read, so that the lines of %s belong to none", j->times);
    status = CLI_FAILED;
  }
  for (size_t i = 0; status == CLI_OK && i < lines.n; i++)
    if (!cli_read_time(lines.items[i], &j->v.items[i].date_ns)) {
      cli_error("%s:%zu: \"%.40s\" is no time: write a date like 2024-12-31T09:30, or a Unix time", j->times, i + 1,
                lines.items[i]);
      status = CLI_FAILED;
    }
  cli_lines_free(&lines);
  return status;
}

typedef struct timed {
  int64_t time_ns;
  size_t item;
} timed;

static int by_time(const void *a, const void *b) {
  const timed *x = a, *y = b;
  if (x->time_ns != y->time_ns) return x->time_ns < y->time_ns ? -1 : 1;
  return x->item < y->item ? -1 : x->item > y->item;
}

/* Of --times, or when a photo was taken; else of the file. */
static int64_t time_of(const recent_job *j, const cli_item *item) {
  return j->times || (item->date_ns && !j->file_times) ? item->date_ns : item->mtime_ns;
}

/* Items in the order of their times, or as they come where one isn't known. */
static int sort_items(recent_job *j) {
  const size_t n = j->v.set.n, dim = j->v.set.dim;
  timed *all = calloc(n, sizeof *all);
  bool known = true;
  j->order = calloc(n, sizeof *j->order), j->time_ns = calloc(n, sizeof *j->time_ns);
  j->values = malloc(n * dim * sizeof *j->values);
  const bool ok = all && j->order && j->time_ns && j->values;
  for (size_t i = 0; i < n; i++) known = known && (j->times || time_of(j, &j->v.items[i]) != 0);
  for (size_t i = 0; ok && i < n; i++) all[i] = (timed){known ? time_of(j, &j->v.items[i]) : 0, i};
  if (ok) qsort(all, n, sizeof *all, by_time);
  for (size_t i = 0; ok && i < n; i++) {
    j->order[i] = all[i].item, j->time_ns[i] = all[i].time_ns;
    memcpy(j->values + i * dim, j->v.values + all[i].item * dim, dim * sizeof *j->values);
  }
  free(all);
  if (ok && !known && j->window_ns) {
    cli_error("the items have no times: give --times FILE, or a window of so many items (--window 500)");
    return CLI_FAILED;
  }
  return ok ? CLI_OK : out_of_memory(j);
}

/* -------------------------------------------------------------------- scores */

static int find_windows(recent_job *j) {
  const size_t n = j->v.set.n;
  j->first = calloc(n, sizeof *j->first);
  if (!j->first) return out_of_memory(j);
  for (size_t i = 0, first = 0; i < n; i++) {
    while (first < i &&
           (j->window ? i - first > j->window : kin_ns_between(j->time_ns[first], j->time_ns[i]) > j->window_ns))
      first++;
    j->first[i] = first;
  }
  return CLI_OK;
}

/* The limit of each place, from the scores in its window. */
static int find_limits(recent_job *j) {
  const size_t n = j->v.set.n;
  double *known = calloc(n, sizeof *known);
  int status = known ? CLI_OK : out_of_memory(j);
  for (size_t i = 0; status == CLI_OK && i < n; i++) {
    size_t count = 0;
    for (size_t p = j->first[i]; p < i; p++)
      if (!isnan(j->scores[p])) known[count++] = j->scores[p];
    kin_error err;
    j->limits[i] = NAN;
    if (count >= LEAST_SCORES && kin_threshold_limit(&j->threshold, known, count, &j->limits[i], &err) != KIN_OK)
      status = cli_failed(&err);
    if (cli_signal()) status = cli_stopped();
  }
  free(known);
  return status;
}

typedef struct excess {
  double share; /* of the limit */
  size_t place;
} excess;

static int by_excess(const void *a, const void *b) {
  const excess *x = a, *y = b;
  if (x->share != y->share) return x->share > y->share ? -1 : 1;
  return x->place < y->place ? -1 : x->place > y->place;
}

static int rank_unusual(recent_job *j) {
  const size_t n = j->v.set.n;
  excess *all = calloc(n, sizeof *all);
  j->unusual = calloc(n, sizeof *j->unusual);
  if (!all || !j->unusual) {
    free(all);
    return out_of_memory(j);
  }
  for (size_t i = 0; i < n; i++)
    if (recent_is_unusual(j, i)) all[j->n_unusual++] = (excess){j->scores[i] / j->limits[i], i};
  qsort(all, j->n_unusual, sizeof *all, by_excess);
  for (size_t i = 0; i < j->n_unusual; i++) j->unusual[i] = all[i].place;
  free(all);
  return CLI_OK;
}

static int score(recent_job *j) {
  const kin_vector_set set = {j->values, j->v.set.n, j->v.set.dim};
  kin_error err;
  j->scores = calloc(set.n, sizeof *j->scores), j->limits = calloc(set.n, sizeof *j->limits);
  if (!j->scores || !j->limits) return out_of_memory(j);
  if (kin_window_scores(j->v.session.context, &set, j->first, j->method, j->metric, j->neighbours, j->scores, &err) !=
      KIN_OK)
    return cli_failed(&err);
  const int status = find_limits(j);
  return status == CLI_OK ? rank_unusual(j) : status;
}

/* --------------------------------------------------------------------- drift */

/* Where the window that ends before `end` begins; windows follow one another, and the last is whole. */
static size_t begin_of(const recent_job *j, size_t end) {
  if (j->window) return end > j->window ? end - j->window : 0;
  size_t begin = end - 1;
  while (begin > 0 && j->time_ns[end - 1] - j->time_ns[begin - 1] < j->window_ns) begin--;
  return begin;
}

/* Pairs of windows in a row with enough items, the earliest first. */
static int list_tests(recent_job *j) {
  const size_t n = j->v.set.n;
  j->tests = calloc(n, sizeof *j->tests);
  if (!j->tests) return out_of_memory(j);
  for (size_t end = n, middle; end > 0; end = middle) {
    middle = begin_of(j, end);
    if (middle == 0) break;
    const size_t first = begin_of(j, middle);
    if (middle - first >= LEAST_TESTED && end - middle >= LEAST_TESTED)
      j->tests[j->n_tests++] = (recent_test){.first = first, .middle = middle, .end = end};
  }
  for (size_t i = 0, k = j->n_tests; i + 1 < k; i++, k--) {
    const recent_test swap = j->tests[i];
    j->tests[i] = j->tests[k - 1], j->tests[k - 1] = swap;
  }
  return CLI_OK;
}

static int by_p(const void *a, const void *b) {
  const double x = (*(recent_test *const *)a)->drift.p, y = (*(recent_test *const *)b)->drift.p;
  return x < y ? -1 : x > y;
}

/* Benjamini's and Hochberg's: p times the number of tests over its rank, no greater than that of a greater p. */
static int adjust(recent_job *j) {
  recent_test **sorted = calloc(j->n_tests + 1, sizeof *sorted);
  if (!sorted) return out_of_memory(j);
  for (size_t i = 0; i < j->n_tests; i++) sorted[i] = &j->tests[i];
  qsort(sorted, j->n_tests, sizeof(recent_test *), by_p);
  double least = 1;
  for (size_t i = j->n_tests; i-- > 0;) {
    least = fmin(least, sorted[i]->drift.p * (double)j->n_tests / (double)(i + 1));
    sorted[i]->p = least, sorted[i]->changed = least <= j->level;
  }
  free(sorted);
  return CLI_OK;
}

/* Two tests that share a window may find the same change: what is nearer than a quarter window to one that differs more
 * is left out. */
static int list_changes(recent_job *j) {
  j->changes = calloc(j->n_tests + 1, sizeof *j->changes), j->change_tests = calloc(j->n_tests + 1, sizeof *j->changes);
  if (!j->changes || !j->change_tests) return out_of_memory(j);
  for (size_t i = 0; i < j->n_tests; i++) {
    const recent_test *t = &j->tests[i];
    if (!t->changed) continue;
    const size_t place = t->first + t->drift.change, last = j->n_changes ? j->n_changes - 1 : 0;
    const bool same = j->n_changes && place < j->changes[last] + (t->end - t->first) / 8;
    if (same && j->tests[j->change_tests[last]].drift.mmd >= t->drift.mmd) continue;
    const size_t at = same ? last : j->n_changes++;
    j->changes[at] = place, j->change_tests[at] = i;
  }
  return CLI_OK;
}

static int test_drift(recent_job *j) {
  const size_t dim = j->v.set.dim;
  int status = list_tests(j);
  size_t permutations = j->permutations;
  /* So many that the least p they can give is low enough even if only one of the tests has it. */
  if (!permutations) permutations = 80 * j->n_tests;
  if (!j->permutations && permutations < LEAST_PERMUTATIONS) permutations = LEAST_PERMUTATIONS;
  if (!j->permutations && permutations > MOST_PERMUTATIONS) permutations = MOST_PERMUTATIONS;
  const kin_drift_options options = {.metric = j->metric, .permutations = permutations, .seed = j->seed};
  if (status == CLI_OK) cli_progress_start("comparing windows", j->common.quiet);
  for (size_t i = 0; status == CLI_OK && i < j->n_tests; i++) {
    recent_test *t = &j->tests[i];
    const kin_vector_set before = {j->values + t->first * dim, t->middle - t->first, dim};
    const kin_vector_set after = {j->values + t->middle * dim, t->end - t->middle, dim};
    kin_error err;
    if (kin_drift_test(j->v.session.context, &before, &after, &options, &t->drift, &err) != KIN_OK)
      status = cli_failed(&err);
    cli_progress_update((cli_progress){.done = i + 1, .total = j->n_tests, .worked = i + 1});
    if (cli_signal()) status = cli_stopped();
  }
  cli_progress_stop();
  if (status != CLI_OK) return status;
  status = adjust(j);
  return status == CLI_OK ? list_changes(j) : status;
}

/* ------------------------------------------------------------------- command */

static int compute(void *job) {
  recent_job *j = job;
  const double start = cli_now();
  int status = j->times ? read_times(j) : CLI_OK;
  if (status == CLI_OK) status = sort_items(j);
  if (status == CLI_OK) status = find_windows(j);
  if (status == CLI_OK) status = score(j);
  if (status == CLI_OK) status = test_drift(j);
  j->seconds = cli_now() - start;
  if (j->count == 0 || j->count > j->n_unusual) j->count = j->n_unusual;
  return status;
}

static int report(void *job, cli_output *csv, cli_page *page) {
  const recent_job *j = job;
  int status = CLI_OK;
  if (csv->file) recent_write_csv(j, csv->file), status = cli_output_commit(csv);
  if (status == CLI_OK && j->html) status = recent_write_page(j, page);
  if (status != CLI_OK) return status;
  if (j->common.json) return cli_print_json(recent_describe(j));
  if (!j->common.quiet) recent_print(j);
  return CLI_OK;
}

/* "500" items, or "36h", "7d", "2w" of time. */
static int parse_window(const cli_command *command, recent_job *j) {
  static const struct {
    const char *unit;
    double seconds;
  } units[] = {{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {"w", 604800}};
  const char *text = j->window_text;
  char *unit;
  const double number = strtod(text, &unit);
  for (size_t i = 0; i < sizeof units / sizeof *units; i++)
    if (unit != text && number > 0 && number * units[i].seconds < 9e9 && strcmp(unit, units[i].unit) == 0)
      j->window_ns = (int64_t)(number * units[i].seconds * 1e9);
  if (unit != text && !*unit && number >= LEAST_TESTED && number <= 1e9) j->window = (size_t)number;
  if (j->window || j->window_ns) return CLI_OK;
  return cli_usage_error(command, "--window %s is neither a number of items, at least %d, nor a time like 36h or 7d",
                         text, LEAST_TESTED);
}

static int check_options(const cli_command *command, recent_job *j) {
  kin_error err;
  int status = cli_metric_parse(command, j->metric_name, &j->metric);
  if (status == CLI_OK) status = parse_window(command, j);
  if (status != CLI_OK) return status;
  if (kin_threshold_parse(j->threshold_text, &j->threshold, &err) != KIN_OK)
    return cli_usage_error(command, "%s", err.message);
  if (kin_detector_method_parse(j->method_name, &j->method, NULL) != KIN_OK ||
      (j->method != KIN_DETECTOR_KNN && j->method != KIN_DETECTOR_MEAN))
    return cli_usage_error(command, "--method %s is not knn or mean", j->method_name);
  if (j->threshold.rule == KIN_THRESHOLD_CONFORMAL)
    return cli_usage_error(command, "--threshold is mad:LEVEL or quantile:SHARE here");
  if (j->neighbours < 1) return cli_usage_error(command, "-k must be at least 1");
  if (j->window && j->method == KIN_DETECTOR_KNN && j->neighbours > j->window)
    return cli_usage_error(command, "-k %zu: a window of %zu has no such neighbour", j->neighbours, j->window);
  if (isnan(j->level)) j->level = j->stream ? 0.01 : 0.05;
  if (!(j->level > 0 && j->level < 1)) return cli_usage_error(command, "--level must lie between 0 and 1");
  return CLI_OK;
}

static int analyse(const cli_command *command, recent_job *j, const cli_list *operands) {
  const cli_analysis analysis = {&j->common, &j->input, j->csv, j->html, &j->v, j, compute, report};
  const int status = check_options(command, j);
  if (status != CLI_OK) return status;
  return j->stream ? recent_stream(command, j, operands) : cli_analyse(command, &analysis, operands);
}

static void release(recent_job *j) {
  cli_vectors_close(&j->v);
  cli_vectors_options_free(&j->input);
  free(j->order), free(j->time_ns), free(j->values), free(j->first), free(j->scores), free(j->limits);
  free(j->unusual), free(j->tests), free(j->changes), free(j->change_tests);
}

static int run(const cli_command *command, int argc, char **argv) {
  recent_job j = {.window_text = "500",
                  .method_name = "knn",
                  .metric_name = "cosine",
                  .threshold_text = "mad",
                  .neighbours = 5,
                  .count = 20,
                  .level = NAN,
                  .input = {.dates = true}};
  const cli_option options[] = {
      {"window", 'w', CLI_TEXT, &j.window_text, "SIZE", "so many items (default: 500), or a time: 36h, 7d, 2w"},
      {"times", 0, CLI_TEXT, &j.times, "FILE",
       "a date or Unix time for each item, a line each\n(default: when photos were taken, or a store's "
       "meta.date,\nelse the files' own; without any, the order given)"},
      {"file-times", 0, CLI_FLAG, &j.file_times, NULL, "take the files' own times"},
      {"method", 0, CLI_TEXT, &j.method_name, "NAME", "score by knn (default) or mean"},
      {"k", 'k', CLI_FEW, &j.neighbours, "K", "of knn: the neighbour in the window (default: 5)"},
      {"metric", 0, CLI_TEXT, &j.metric_name, "NAME", "cosine (default) or euclidean"},
      {"threshold", 't', CLI_TEXT, &j.threshold_text, "RULE",
       "mad:5 (default) or quantile:0.99, of the scores in the\nwindow"},
      {"level", 0, CLI_NUMBER, &j.level, "P",
       "a change is what has a p of at most this (default: 0.05;\nof a stream 0.01, for each comparison)"},
      {"permutations", 0, CLI_COUNT, &j.permutations, "N", "for each p (default: as many as it takes)"},
      {"count", 'n', CLI_COUNT, &j.count, "N", "unusual items to show (default: 20; 0: all)"},
      {"seed", 0, CLI_COUNT, &j.seed, "N", "what is drawn by chance (default: 0)"},
      {"stream", 0, CLI_FLAG, &j.stream, NULL,
       "take items from the standard input as they come, a line\neach, and print a line of JSON for each"},
      {"csv", 0, CLI_TEXT, &j.csv, "FILE", "write a line for each item, in order of time"},
      {"html", 0, CLI_TEXT, &j.html, "FILE", "write a page with the scores over time"},
      CLI_VECTORS_OPTIONS(j.input),
      CLI_POOLING_OPTION(j.common),
      CLI_COMMON_OPTIONS(j.common)};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &j.common, argc, argv, &operands, &status))
    status = analyse(command, &j, &operands);
  cli_list_free(&operands);
  release(&j);
  return status;
}

const cli_command cli_command_anomalies_recent = {
    .name = "anomalies recent",
    .usage = CLI_VECTORS_USAGE,
    .summary = "what differs from the items just before it, and when things change",
    .details = "Take items in the order of their times. Each is scored against the window before it, and\n"
               "each window is compared with the one before: by the maximum mean discrepancy, with a\n"
               "p-value by permutation, and by a Kolmogorov-Smirnov test along principal components.\n"
               "Where they differ, the item is named from which on they do. p-values are adjusted for\n"
               "the number of windows.\n"
               "With --stream each line is a picture's path or a text, as --model takes it, or JSON: an array\n"
               "of numbers, or an object with \"vector\", \"path\" or \"text\", and \"time\" and \"name\" where\n"
               "wanted. The latest window is compared with the one before each quarter of a window.\n"
               "Exit status 3 if some inputs couldn't be read.",
    .examples = "  kindred anomalies recent --store kindred.db --window 7d --html drift.html\n"
                "  kindred anomalies recent vectors.npy --times times.txt --window 200 --json\n"
                "  tail -f new-photos.txt | kindred anomalies recent --stream --model dinov2-small --window 300\n",
    .run = run};
