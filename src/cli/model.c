/* kindred model, and its part info: what a model directory holds. */
#include "cli/cli.h"
#include "embed/path_json.h"

#include <stdio.h>
#include <string.h>

static void print_number(const char *label, uint64_t n, const char *unit) {
  char digits[32];
  printf("%-14s%s%s\n", label, cli_group_digits(n, digits), unit);
}

static void print_info(const char *dir, const kin_model_info *info) {
  printf("%-14s", "directory");
  cli_put_text(dir);
  printf("\n%-14s%s\n%-14s%s\n", "architecture", info->architecture, "id", info->id);
  print_number("vector", info->dim, " floats");
  if (info->has_image)
    printf("%-14s%zu layers, %zu wide, %zu heads, patches of %zu, %zux%zu pixels\n", "image tower", info->image_layers,
           info->image_width, info->image_heads, info->patch_size, info->image_size, info->image_size);
  if (info->has_text)
    printf("%-14s%zu layers, %zu wide, %zu heads, %zu tokens at most of %zu\n", "text tower", info->text_layers,
           info->text_width, info->text_heads, info->text_context, info->vocabulary);
  else
    printf("%-14snone: pictures are found by picture\n", "text tower");
  print_number("parameters", info->parameters, "");
  printf("%-14s%.1f MB, %s\n", "memory", (double)info->memory_bytes / 1e6, kin_precision_name(info->precision));
  if (info->logit_scale > 0) printf("%-14s%.4g\n", "logit scale", info->logit_scale);
}

/* One tower; `input` and `unit` name what it reads and what that is cut into. */
static json_t *describe_tower(size_t layers, size_t width, size_t heads, const char *input, size_t input_size,
                              const char *unit, size_t units) {
  return json_pack("{sI sI sI sI sI}", "layers", (json_int_t)layers, "width", (json_int_t)width, "heads",
                   (json_int_t)heads, input, (json_int_t)input_size, unit, (json_int_t)units);
}

static json_t *describe(const char *dir, const kin_model_info *m) {
  json_t *image = m->has_image ? describe_tower(m->image_layers, m->image_width, m->image_heads, "size", m->image_size,
                                                "patch", m->patch_size)
                               : json_null();
  json_t *text = m->has_text ? describe_tower(m->text_layers, m->text_width, m->text_heads, "context", m->text_context,
                                              "vocabulary", m->vocabulary)
                             : json_null();
  json_t *out = json_pack("{ss ss sI so so sI sI ss sf}", "architecture", m->architecture, "id", m->id, "dim",
                          (json_int_t)m->dim, "image", image, "text", text, "parameters", (json_int_t)m->parameters,
                          "memory_bytes", (json_int_t)m->memory_bytes, "precision", kin_precision_name(m->precision),
                          "logit_scale", m->logit_scale);
  if (out && kin_json_set_text(out, "directory", dir)) return out;
  json_decref(out);
  return NULL;
}

static int show(const cli_command *command, const cli_common *common, const cli_list *operands) {
  if (operands->count > 1) return cli_usage_error(command, "one directory at a time");
  const char *dir = operands->count ? operands->items[0] : cli_model_dir(common, NULL);
  if (!dir) return cli_no_model(command);
  cli_session session;
  int status = cli_open_session(common, dir, &session);
  if (status == CLI_OK && common->json)
    status = cli_print_json(describe(dir, &session.info));
  else if (status == CLI_OK)
    print_info(dir, &session.info);
  cli_session_close(&session);
  return status;
}

static int run_info(const cli_command *command, int argc, char **argv) {
  cli_common common = {0};
  const cli_option options[] = {CLI_POOLING_OPTION(common), CLI_COMMON_OPTIONS(common)};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &common, argc, argv, &operands, &status))
    status = show(command, &common, &operands);
  cli_list_free(&operands);
  return status;
}

static const cli_command info_command = {
    .name = "model info",
    .usage = "[OPTION]... [DIR]",
    .summary = "what a model directory holds",
    .details = "Open the model in DIR, checking all its files, and tell its architecture, sizes,\n"
               "vector length and identity.",
    .examples = "  kindred model info models/clip-vit-base-patch32\n"
                "  kindred model info models/dinov2-small --json\n",
    .run = run_info};

static const cli_command *const parts[] = {&cli_command_model_list, &cli_command_model_pull, &info_command,
                                           &cli_command_model_compare};
enum { N_PARTS = sizeof parts / sizeof *parts };

static int run(const cli_command *command, int argc, char **argv) {
  return cli_run_part(command, parts, N_PARTS, argc, argv);
}

const cli_command cli_command_model = {.name = "model",
                                       .usage = "list|pull|info|compare [OPTION]... [MODEL]...",
                                       .summary = "get models, list them, tell what one holds, compare some",
                                       .details =
                                           "  kindred model list          the models in the cache\n"
                                           "  kindred model pull MODEL    get one from a hub (ORG/NAME[@REVISION])\n"
                                           "  kindred model info MODEL    architecture, sizes, vector length\n"
                                           "  kindred model compare MODEL... PHOTOS\n"
                                           "                              which of them suits these photos",
                                       .examples = "  kindred model pull clip-vit-b-32\n"
                                                   "  kindred model info clip-vit-b-32\n",
                                       .run = run};
