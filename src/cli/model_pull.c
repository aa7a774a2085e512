/* kindred model pull: get a model from a hub into the cache. */
#include "cli/cli.h"
#include "embed/path_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEGABYTE 1000000u

typedef struct pull_state {
  const cli_common *common;
  kin_hub_progress last;
  uint64_t arrived; /* bytes */
  char note[1200];  /* the last one shown */
} pull_state;

static bool on_progress(void *user, const kin_hub_progress *progress) {
  pull_state *state = user;
  if (progress->note && strcmp(progress->note, state->note) != 0) {
    snprintf(state->note, sizeof state->note, "%s", progress->note);
    if (!state->common->quiet) cli_error("%s", state->note);
  }
  /* A leap is what lay in the cache: it took no time. */
  uint64_t step = progress->done > state->last.done ? progress->done - state->last.done : 0;
  if (step) state->note[0] = '\0';
  if (step < MEGABYTE) state->arrived += step;
  state->last = *progress;
  cli_progress_update((cli_progress){.done = progress->done / MEGABYTE,
                                     .total = (progress->total + MEGABYTE - 1) / MEGABYTE,
                                     .worked = state->arrived / MEGABYTE});
  return cli_signal() == 0;
}

static int print_result(const cli_common *common, const char *name, const char *dir, const kin_hub_progress *p) {
  if (common->json) {
    json_t *out = json_pack("{sI sI}", "files", (json_int_t)p->files, "bytes", (json_int_t)p->total);
    if (out && (!kin_json_set_text(out, "model", name) || !kin_json_set_text(out, "directory", dir))) {
      json_decref(out);
      out = NULL;
    }
    return cli_print_json(out);
  }
  cli_put_text(dir);
  putchar('\n');
  if (!common->quiet)
    fprintf(stderr, "%zu file%s, %.1f MB; use it with --model %s\n", p->files, cli_plural(p->files),
            (double)p->total / 1e6, name);
  return CLI_OK;
}

static int pull(const cli_command *command, const cli_common *common, kin_hub_options *options,
                const cli_list *operands) {
  if (operands->count != 1) return cli_usage_error(command, "one model: an alias, or ORG/NAME[@REVISION]");
  const char *name = operands->items[0];
  pull_state state = {.common = common};
  kin_error err;
  char *dir = NULL;
  options->on_progress = on_progress;
  options->user = &state;
  cli_progress_start("fetching, MB", common->quiet);
  kin_status status = kin_hub_pull(name, options, &dir, &err);
  cli_progress_stop();
  int result = status == KIN_OK ? print_result(common, name, dir, &state.last) : cli_failed(&err);
  free(dir);
  return result;
}

static int run(const cli_command *command, int argc, char **argv) {
  cli_common common = {0};
  kin_hub_options settings = {0};
  size_t connect_timeout = 0;
  const cli_option options[] = {
      {"endpoint", 0, CLI_TEXT, &settings.endpoint, "URL",
       "the hub to ask (default: $HF_ENDPOINT,\nelse https://huggingface.co)"},
      {"connect-timeout", 0, CLI_COUNT, &connect_timeout, "SECONDS",
       "give up connecting after that long\n(default: 10)"},
      {"json", 0, CLI_FLAG, &common.json, NULL, "print JSON"},
      {"quiet", 'q', CLI_FLAG, &common.quiet, NULL, "print no progress and no summary"},
      {"help", 'h', CLI_FLAG, &common.help, NULL, "show this help"},
  };
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &common, argc, argv, &operands, &status)) {
    settings.connect_timeout_s = connect_timeout < 86400 ? (unsigned)connect_timeout : 86400;
    status = pull(command, &common, &settings, &operands);
  }
  cli_list_free(&operands);
  return status;
}

const cli_command cli_command_model_pull = {
    .name = "model pull",
    .usage = "[OPTION]... MODEL[@REVISION]",
    .summary = "get a model from a hub",
    .details = "Download what is needed of MODEL (configs, tokenizer, weights as safetensors)\n"
               "into the cache that the Python tools use as well, and print its directory.\n"
               "What is there already isn't fetched again, a broken download goes on where it\n"
               "stopped, and every file is checked.\n\n"
               "MODEL is ORG/NAME, or one of these: clip-vit-b-32, clip-rn50, dinov2-small,\n"
               "dinov2-base, dinov2-large, clip-multilingual, minilm, e5-small.\n\n"
               "Environment: HF_TOKEN (access token), HF_ENDPOINT, HF_HOME or HF_HUB_CACHE\n"
               "(where the cache lies), https_proxy, no_proxy.",
    .examples = "  kindred model pull clip-vit-b-32\n"
                "  kindred index --model clip-vit-b-32 ~/Photos\n"
                "  kindred model pull laion/CLIP-ViT-B-32-laion2B-s34B-b79K@main\n",
    .run = run};
