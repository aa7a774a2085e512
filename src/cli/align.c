/* kindred align: make an image encoder searchable by text, from captioned pictures. */
#include "cli/captions.h"
#include "cli/cli.h"
#include "embed/path_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct align_options {
  cli_common common;
  const char *image_model, *text_model, *captions, *output, *method;
  double holdout, lambda;
  size_t seed;
  cli_list blocks;
} align_options;

typedef struct progress {
  uint64_t failed;
} progress;

static bool on_progress(void *user, size_t done, size_t total) {
  const progress *p = user;
  cli_progress_update((cli_progress){.done = done, .total = total, .worked = done, .failed = p->failed});
  return !cli_signal();
}

static void on_failure(void *user, const char *path, kin_status status, const char *message) {
  progress *p = user;
  (void)path, (void)status;
  p->failed++;
  cli_error("%s", message);
}

static int print_json(const align_options *o, const cli_captions *c, const kin_align_report *r, uint64_t failed,
                      double seconds) {
  json_t *recall = json_object();
  for (size_t k = 0; k < c->n_columns && r->parts; k++)
    json_object_set_new(recall, c->columns[k],
                        json_pack("{sI sf sf sf}", "queries", (json_int_t)r->recall[k].queries, "recall_at_1",
                                  r->recall[k].at1, "recall_at_5", r->recall[k].at5, "recall_at_10",
                                  r->recall[k].at10));
  json_t *out =
      json_pack("{sI sI sI sI sI sf sf sb so sf}", "pictures", (json_int_t)r->pictures, "failed", (json_int_t)failed,
                "captions", (json_int_t)r->captions, "kept_captions", (json_int_t)r->kept_captions, "kept_pictures",
                (json_int_t)r->kept_pictures, "lambda", r->lambda, "chance_at_10", r->chance10, "poor", (int)r->poor,
                "recall", recall, "seconds", seconds);
  if (out && !kin_json_set_text(out, "bridge", o->output)) {
    json_decref(out);
    out = NULL;
  }
  return cli_print_json(out);
}

static void print_table(const cli_captions *c, const kin_align_report *r) {
  printf("Captions kept apart, in turn %zu of them searched for among their %zu pictures:\n", r->kept_captions,
         r->kept_pictures);
  printf("  %-10s %9s %9s %9s\n", "", "recall@1", "recall@5", "recall@10");
  for (size_t k = 0; k < c->n_columns; k++) {
    const kin_align_recall *a = &r->recall[k];
    if (a->queries) printf("  %-10s %9.3f %9.3f %9.3f\n", c->columns[k], a->at1, a->at5, a->at10);
  }
  printf("  %-10s %9s %9s %9.3f\n", "chance", "", "", r->chance10);
  if (r->poor)
    printf("This is poor: few searches will find what they mean. More captions help, above all such as describe\n"
           "pictures like those that you will search.\n");
}

static int report(const align_options *o, const cli_captions *c, const kin_align_report *r, uint64_t failed,
                  double seconds) {
  if (o->common.json) return print_json(o, c, r, failed, seconds);
  if (o->common.quiet) return CLI_OK;
  printf("%zu pictures with %zu different captions; lambda %g; %.1f s\n", r->pictures, r->captions, r->lambda, seconds);
  if (r->parts) print_table(c, r);
  printf("Bridge: ");
  cli_put_text(o->output);
  printf("\n");
  return CLI_OK;
}

/* "6,7,8,9" or --blocks given again. */
static bool parse_blocks(const cli_command *command, const cli_list *list, size_t *blocks, size_t most, size_t *n,
                         int *status) {
  *n = 0;
  for (size_t i = 0; i < list->count; i++) {
    const char *at = list->items[i];
    while (*at) {
      char *end;
      const unsigned long value = strtoul(at, &end, 10);
      if (end == at || *at == '-' || (*end && *end != ',') || value > 10000 || *n == most) {
        *status = cli_usage_error(command, "--blocks takes up to %zu numbers such as 6,7,8,9, not \"%s\"", most,
                                  list->items[i]);
        return false;
      }
      blocks[(*n)++] = value;
      at = *end ? end + 1 : end;
    }
  }
  return true;
}

static int fit(const cli_command *command, const align_options *o) {
  size_t blocks[16], n_blocks;
  kin_align_method method;
  kin_error err;
  cli_session session;
  cli_captions captions;
  int status = CLI_OK;
  if (!parse_blocks(command, &o->blocks, blocks, sizeof blocks / sizeof *blocks, &n_blocks, &status)) return status;
  if (kin_align_method_parse(o->method, &method, &err) != KIN_OK) return cli_usage_error(command, "%s", err.message);
  if (!cli_captions_read(o->captions, &captions)) {
    cli_captions_free(&captions);
    return CLI_FAILED;
  }
  status = cli_open_context(&o->common, &session);
  if (status == CLI_OK) {
    progress p = {0};
    kin_align_report r;
    kin_align_options options = {.method = method,
                                 .holdout = o->holdout > 0 ? o->holdout : -1,
                                 .seed = o->seed,
                                 .lambda = o->lambda,
                                 .blocks = blocks,
                                 .n_blocks = n_blocks,
                                 .on_progress = on_progress,
                                 .on_failure = on_failure,
                                 .user = &p};
    const double start = cli_now();
    cli_progress_start("looking", o->common.quiet);
    kin_status fitted = kin_align_fit(session.context, o->image_model, o->text_model, captions.items, captions.n,
                                      captions.n_columns, o->output, &options, &r, &err);
    cli_progress_stop();
    status = fitted == KIN_OK ? report(o, &captions, &r, p.failed, cli_now() - start) : cli_failed(&err);
    if (status == CLI_OK && p.failed) status = CLI_SKIPPED;
    cli_session_close(&session);
  }
  cli_captions_free(&captions);
  return status;
}

static int align(const cli_command *command, const align_options *o, const cli_list *operands) {
  if (operands->count)
    return cli_usage_error(command, "what is \"%s\" for? align takes options alone", operands->items[0]);
  if (!o->image_model || !o->text_model)
    return cli_usage_error(command, "between which models? give --image-model and --text-model");
  if (!o->captions)
    return cli_usage_error(command, "learn from what? give --captions (FILE.jsonl, FILE.csv or a folder)");
  if (!o->output) return cli_usage_error(command, "where to? give -o DIR");
  if (!(o->holdout >= 0 && o->holdout <= 0.5)) return cli_usage_error(command, "--holdout must be 0, or 0.01 to 0.5");
  if (!(o->lambda >= 0)) return cli_usage_error(command, "--lambda must be at least 0");
  return fit(command, o);
}

static int run(const cli_command *command, int argc, char **argv) {
  align_options o = {.holdout = 0.2, .method = "kernel"};
  const cli_option options[] = {
      {"image-model", 'i', CLI_TEXT, &o.image_model, "DIR", "encoder of pictures: a directory or a name"},
      {"text-model", 't', CLI_TEXT, &o.text_model, "DIR", "encoder of texts"},
      {"captions", 'c', CLI_TEXT, &o.captions, "FILE",
       ".jsonl with \"path\" and \"caption\" or \"captions\"\n({\"en\": ..., \"ko\": ...}), .csv with a column path, "
       "or a\n"
       "folder with a .txt beside each picture"},
      {"output", 'o', CLI_TEXT, &o.output, "DIR", "directory of the bridge"},
      {"method", 0, CLI_TEXT, &o.method, "NAME",
       "kernel (default), or ridge: a linear map, smaller,\nthat finds a little less"},
      {"holdout", 0, CLI_NUMBER, &o.holdout, "SHARE",
       "captions kept apart to measure with, in turn;\n0: none (default: 0.2)"},
      {"seed", 0, CLI_COUNT, &o.seed, "N", "which captions are kept apart together (default: 0)"},
      {"lambda", 0, CLI_NUMBER, &o.lambda, "X", "the penalty's strength (default: cross-validated)"},
      {"blocks", 0, CLI_LIST, &o.blocks, "LIST", "transformer blocks to read (default: the last four)"},
      CLI_COMMON_OPTIONS(o.common)};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &o.common, argc, argv, &operands, &status))
    status = align(command, &o, &operands);
  cli_list_free(&operands);
  cli_list_free(&o.blocks);
  return status;
}

const cli_command cli_command_align = {
    .name = "align",
    .usage = "[OPTION]... --image-model DIR --text-model DIR --captions FILE -o DIR",
    .summary = "make an image encoder searchable by text, from captions",
    .details = "Learn a map from an encoder of pictures alone, such as DINOv2, to the\n"
               "vectors of a text encoder, from some hundred pictures with captions: a bridge.\n"
               "Its directory is a model that index, search, compare and embed take like any\n"
               "other. It refers to the two models by path or name, so leave them in place.\n"
               "Captions are kept apart, a fifth at a time, and how often searching for one finds\n"
               "its picture among theirs is printed; the map that is saved is fitted to all.\n"
               "A bridge is no CLIP: it knows what its captions name. Exit status 3 if some\n"
               "pictures couldn't be read.",
    .examples = "  kindred align -i dinov2-small -t e5-small -c captions.jsonl -o bridge\n"
                "  kindred align -i dinov2-small -t e5-small -c ~/captioned-photos -o bridge\n"
                "  kindred index --model bridge ~/Photos && kindred search \"a snowy road\"\n",
    .run = run};
