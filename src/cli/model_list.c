/* kindred model list: the models in the cache. */
#include "cli/cli.h"
#include "embed/path_json.h"

#include <stdio.h>
#include <string.h>

/* The alias of `repo`, or NULL. */
static const char *alias_of(const char *repo) {
  const char *target, *alias;
  for (size_t i = 0; (alias = kin_hub_alias(i, &target)); i++)
    if (strcmp(repo, target) == 0) return alias;
  return NULL;
}

static json_t *describe(const kin_hub_model *m) {
  const char *alias = alias_of(m->repo);
  json_t *refs = json_array();
  for (const char *ref = m->refs; refs && *ref;) {
    const char *end = strstr(ref, ", ");
    size_t length = end ? (size_t)(end - ref) : strlen(ref);
    json_array_append_new(refs, json_stringn(ref, length));
    ref += end ? length + 2 : length;
  }
  json_t *out =
      json_pack("{ss ss? ss so sI sI sb}", "model", m->repo, "alias", alias, "commit", m->commit, "refs", refs, "bytes",
                (json_int_t)m->bytes, "files", (json_int_t)m->files, "complete", (int)m->complete);
  if (out && kin_json_set_text(out, "directory", m->dir)) return out;
  json_decref(out);
  return NULL;
}

static int print_json(const kin_hub_models *models) {
  json_t *out = json_array();
  for (size_t i = 0; out && i < kin_hub_models_count(models); i++) {
    if (json_array_append_new(out, describe(kin_hub_models_get(models, i))) == 0) continue;
    json_decref(out);
    out = NULL;
  }
  return cli_print_json(out);
}

static void print_table(const kin_hub_models *models) {
  int width = (int)strlen("MODEL");
  for (size_t i = 0; i < kin_hub_models_count(models); i++) {
    int length = (int)strlen(kin_hub_models_get(models, i)->repo);
    if (length > width) width = length;
  }
  printf("%-*s  %-12s  %10s  REVISION\n", width, "MODEL", "COMMIT", "SIZE");
  for (size_t i = 0; i < kin_hub_models_count(models); i++) {
    const kin_hub_model *m = kin_hub_models_get(models, i);
    const char *alias = alias_of(m->repo);
    printf("%-*s  %.12s  %7.1f MB  ", width, m->repo, m->commit, (double)m->bytes / 1e6);
    cli_put_text(*m->refs ? m->refs : "-");
    if (alias) printf("  (%s)", alias);
    puts(m->complete ? "" : "  no weights that can be read: pull it again");
  }
}

static void print_aliases(void) {
  const char *repo, *alias;
  fprintf(stderr, "No models are cached. Get one with: kindred model pull NAME, NAME being ORG/NAME or one of\n");
  for (size_t i = 0; (alias = kin_hub_alias(i, &repo)); i++) fprintf(stderr, "  %-18s%s\n", alias, repo);
}

static int list(const cli_command *command, const cli_common *common, const cli_list *operands) {
  if (operands->count) return cli_usage_error(command, "nothing more to give: \"%s\"", operands->items[0]);
  kin_hub_models *models;
  kin_error err;
  if (kin_hub_list(NULL, &models, &err) != KIN_OK) return cli_failed(&err);
  int status = CLI_OK;
  if (common->json)
    status = print_json(models);
  else if (kin_hub_models_count(models))
    print_table(models);
  else
    print_aliases();
  kin_hub_models_close(models);
  return status;
}

static int run(const cli_command *command, int argc, char **argv) {
  cli_common common = {0};
  const cli_option options[] = {
      {"json", 0, CLI_FLAG, &common.json, NULL, "print JSON"},
      {"help", 'h', CLI_FLAG, &common.help, NULL, "show this help"},
  };
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &common, argc, argv, &operands, &status))
    status = list(command, &common, &operands);
  cli_list_free(&operands);
  return status;
}

const cli_command cli_command_model_list = {
    .name = "model list",
    .usage = "[OPTION]...",
    .summary = "the models in the cache",
    .details = "List every model that was pulled, or downloaded by the Python tools into the\n"
               "same cache (HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub).",
    .examples = "  kindred model list\n"
                "  kindred model list --json\n",
    .run = run};
