/* kindred duplicates: copies of photos and documents, and which one to keep. */
#include "cli/duplicates.h"

#include <stdlib.h>
#include <string.h>

static int out_of_memory(const duplicates_job *j) {
  cli_error("out of memory for the duplicates of %zu items", j->v.set.n);
  return CLI_FAILED;
}

const cli_item *duplicates_item(const duplicates_job *j, const kin_copy *copy) {
  return &j->v.items[j->first[copy->item]];
}

/* ------------------------------------------------------------- what to compare */

static bool goes_on(const cli_item *item, const cli_item *before) {
  return item->text && item->is_file && before->text && strcmp(item->name, before->name) == 0;
}

/* Of a document the mean of its passages' vectors. */
static void fill_vector(const duplicates_job *j, size_t i) {
  const size_t dim = j->v.set.dim, passages = j->first[i + 1] - j->first[i];
  float *out = j->vectors + i * dim;
  for (size_t row = j->first[i]; row < j->first[i + 1]; row++)
    for (size_t d = 0; d < dim; d++) out[d] += j->v.values[row * dim + d] / (float)passages;
}

/* The passages one after the other; what two of them share comes twice. False for lack of memory. */
static bool join_passages(duplicates_job *j, size_t i) {
  const cli_item *items = j->v.items;
  const size_t begin = j->first[i], end = j->first[i + 1];
  size_t size = 1;
  j->items[i].text = items[begin].text;
  if (end - begin < 2) return true;
  for (size_t row = begin; row < end; row++) size += strlen(items[row].text) + 1;
  char *at = j->texts[i] = malloc(size);
  if (!at) return false;
  for (size_t row = begin; row < end; row++) at = stpcpy(stpcpy(at, items[row].text), "\n");
  j->items[i].text = j->texts[i];
  return true;
}

static int gather(duplicates_job *j) {
  const size_t n = j->v.set.n;
  const bool near = j->v.values && !j->exact;
  bool ok = true;
  j->first = calloc(n + 1, sizeof *j->first), j->items = calloc(n, sizeof *j->items);
  j->texts = calloc(n, sizeof *j->texts);
  if (near) j->vectors = calloc(n, j->v.set.dim * sizeof *j->vectors);
  if (!j->first || !j->items || !j->texts || (near && !j->vectors)) return out_of_memory(j);
  for (size_t row = 0; row < n; row++) {
    const cli_item *item = &j->v.items[row];
    if (row && goes_on(item, item - 1)) continue;
    j->first[j->n] = row;
    j->items[j->n++] = (kin_duplicate_item){.path = item->is_file ? item->name : NULL, .is_picture = item->is_picture};
  }
  j->first[j->n] = n;
  for (size_t i = 0; near && ok && i < j->n; i++) {
    fill_vector(j, i);
    ok = join_passages(j, i);
  }
  return ok ? CLI_OK : out_of_memory(j);
}

/* ------------------------------------------------------------------ searching */

static bool on_progress(void *user, const char *stage, size_t done, size_t total) {
  duplicates_job *j = user;
  if (!j->stage || strcmp(stage, j->stage) != 0) {
    if (j->stage) cli_progress_stop();
    cli_progress_start(stage, j->common.quiet);
    j->stage = stage;
  }
  cli_progress_update((cli_progress){.done = done, .total = total, .worked = done});
  return !cli_signal();
}

static void on_failure(void *user, size_t item, kin_status status, const char *message) {
  duplicates_job *j = user;
  (void)item, (void)status;
  cli_error("%s", message);
  j->left_out++;
}

static int search(duplicates_job *j) {
  const kin_vector_set set = {j->vectors, j->n, j->v.set.dim};
  const kin_duplicates_options options = {.neighbours = j->neighbours,
                                          .min_cosine = j->min_cosine,
                                          .on_progress = on_progress,
                                          .on_failure = on_failure,
                                          .user = j};
  kin_error err;
  const kin_status status =
      kin_find_duplicates(j->v.session.context, j->items, j->n, j->vectors ? &set : NULL, &options, &j->found, &err);
  cli_progress_stop();
  return status == KIN_OK ? CLI_OK : cli_failed(&err);
}

static int compute(void *job) {
  duplicates_job *j = job;
  const double start = cli_now();
  int status = gather(j);
  if (status == CLI_OK) status = search(j);
  j->v.skipped += j->left_out;
  for (size_t g = 0; g < j->found.n_groups; g++)
    for (size_t i = j->found.first[g]; i < j->found.first[g + 1]; i++) {
      const kin_copy *copy = &j->found.copies[i];
      if (copy->kind != KIN_COPY_BEST && copy->kind != KIN_COPY_LINK) j->copies++, j->bytes += copy->bytes;
    }
  j->seconds = cli_now() - start;
  return status == CLI_OK && cli_signal() ? cli_stopped() : status;
}

static int report(void *job, cli_output *csv, cli_page *page) {
  const duplicates_job *j = job;
  int status = CLI_OK;
  json_t *json = j->common.json ? duplicates_describe(j) : NULL;
  if (j->common.json && !json) return out_of_memory(j);
  if (!j->common.json && !j->common.quiet) duplicates_print(j);
  if (csv->file) duplicates_write_csv(j, csv->file), status = cli_output_commit(csv);
  if (status == CLI_OK && j->html) status = duplicates_write_page(j, page);
  if (status != CLI_OK) {
    json_decref(json);
    return status;
  }
  if (j->delete || j->link) status = duplicates_remove(j, json);
  const int printed = json ? cli_print_json(json) : CLI_OK; /* also what was done before it was stopped */
  return status == CLI_OK ? printed : status;
}

static int check_choice(const cli_command *command, const duplicates_job *j) {
  if (j->exact && j->input.texts) return cli_usage_error(command, "--exact is for files, not for --texts");
  if (j->delete &&j->link) return cli_usage_error(command, "give --delete or --link, not both");
  if (j->yes && !j->delete &&!j->link) return cli_usage_error(command, "--yes goes with --delete or --link");
  if (j->edited && !j->delete) return cli_usage_error(command, "--edited goes with --delete");
  if (j->neighbours < 1) return cli_usage_error(command, "--neighbours must be at least 1");
  if (!(j->min_cosine > 0 && j->min_cosine <= 1))
    return cli_usage_error(command, "--min-cosine must be above 0, at most 1");
  return CLI_OK;
}

static int duplicates(const cli_command *command, duplicates_job *j, const cli_list *operands) {
  const cli_analysis analysis = {&j->common, &j->input, j->csv, j->html, &j->v, j, compute, report};
  j->input.files_only = j->exact;
  const int status = check_choice(command, j);
  return status == CLI_OK ? cli_analyse(command, &analysis, operands) : status;
}

static void release(duplicates_job *j) {
  cli_vectors_close(&j->v);
  cli_vectors_options_free(&j->input);
  kin_duplicates_free(&j->found);
  for (size_t i = 0; j->texts && i < j->n; i++) free(j->texts[i]);
  free(j->first), free(j->items), free(j->texts), free(j->vectors);
}

static int run(const cli_command *command, int argc, char **argv) {
  duplicates_job j = {.neighbours = 16, .min_cosine = 0.99};
  const cli_option options[] = {
      {"exact", 'e', CLI_FLAG, &j.exact, NULL, "find files of the same bytes only; needs no model"},
      {"neighbours", 0, CLI_FEW, &j.neighbours, "K", "compare each item with its K nearest (default: 16)"},
      {"min-cosine", 0, CLI_NUMBER, &j.min_cosine, "X",
       "of vectors without files: alike from here on\n(default: 0.99)"},
      {"delete", 0, CLI_FLAG, &j.delete, NULL, "delete all but the best; not parts, mirrored or turned\nones"},
      {"edited", 0, CLI_FLAG, &j.edited, NULL, "with --delete: these too"},
      {"link", 0, CLI_FLAG, &j.link, NULL, "make copies of the same bytes hard links to the best"},
      {"yes", 'y', CLI_FLAG, &j.yes, NULL, "do it; without, --delete and --link only show what\nthey would do"},
      {"csv", 0, CLI_TEXT, &j.csv, "FILE", "write a line for each copy"},
      {"html", 0, CLI_TEXT, &j.html, "FILE", "write a page with the pictures"},
      CLI_VECTORS_OPTIONS(j.input),
      CLI_POOLING_OPTION(j.common),
      CLI_COMMON_OPTIONS(j.common)};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &j.common, argc, argv, &operands, &status))
    status = duplicates(command, &j, &operands);
  cli_list_free(&operands);
  release(&j);
  return status;
}

const cli_command cli_command_duplicates = {
    .name = "duplicates",
    .usage = CLI_VECTORS_USAGE,
    .summary = "find copies of photos and documents, and the best of each",
    .details = "Find files of the same bytes, and photos that show the same picture: saved anew,\n"
               "resized, brightened, turned, mirrored, or a part of another; or texts of nearly\n"
               "the same words. Those of a folder (embedded now with --model) or of a store are\n"
               "compared with their nearest neighbours by the vectors; pixels and words decide.\n"
               "Of each group the best copy is named first: most pixels, then bytes, then the\n"
               "oldest.\n"
               "--delete and --link show what they would do; --yes does it. Both files are read\n"
               "again before one goes: what changed since it was compared is left alone.\n"
               "Exit status 3 if some inputs couldn't be read or files were left alone.",
    .examples = "  kindred duplicates ~/Photos --exact\n"
                "  kindred duplicates ~/Photos --html copies.html\n"
                "  kindred duplicates ~/Photos --exact --delete --yes\n"
                "  kindred duplicates --store kindred.db --json\n",
    .run = run};
