/* Drives the hub calls for hub_test.py: driver_hub pull|find NAME [KEY=VALUE]..., driver_hub list [KEY=VALUE]...
 * The last line on stdout is "KIN_OK RESULT" or the status' name and the message; notes go to stderr. */
#include "kindred.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct settings {
  kin_hub_options options;
  unsigned long long cancel_at; /* bytes; 0: never */
  char note[2048];
  kin_hub_progress last;
} settings;

static bool on_progress(void *user, const kin_hub_progress *progress) {
  settings *s = user;
  s->last = *progress;
  if (progress->note && strcmp(progress->note, s->note) != 0) {
    snprintf(s->note, sizeof s->note, "%s", progress->note);
    fprintf(stderr, "note: %s\n", s->note);
  }
  if (progress->done > progress->total) {
    fprintf(stderr, "progress beyond its total\n");
    abort();
  }
  return s->cancel_at == 0 || progress->done < s->cancel_at;
}

static void set(settings *s, const char *argument) {
  const char *equals = strchr(argument, '=');
  if (!equals) exit(2);
  const char *value = equals + 1;
  unsigned number = (unsigned)strtoul(value, NULL, 10);
#define IS(name) (strncmp(argument, name "=", sizeof(name)) == 0)
  if (IS("cache")) s->options.cache_dir = value;
  if (IS("endpoint")) s->options.endpoint = value;
  if (IS("token")) s->options.token = value;
  if (IS("connect")) s->options.connect_timeout_s = number;
  if (IS("stall")) s->options.stall_timeout_s = number;
  if (IS("retries")) s->options.retries = number;
  if (IS("backoff")) s->options.backoff_ms = number;
  if (IS("cancel_at")) s->cancel_at = strtoull(value, NULL, 10);
#undef IS
}

static kin_status list(const settings *s, kin_error *err) {
  kin_hub_models *models;
  kin_status status = kin_hub_list(s->options.cache_dir, &models, err);
  if (status != KIN_OK) return status;
  for (size_t i = 0; i < kin_hub_models_count(models); i++) {
    const kin_hub_model *m = kin_hub_models_get(models, i);
    printf("%s\t%s\t%s\t%llu\t%zu\t%s\t%s\n", m->repo, m->commit, m->refs, (unsigned long long)m->bytes, m->files,
           m->complete ? "complete" : "partial", m->dir);
  }
  kin_hub_models_close(models);
  return KIN_OK;
}

int main(int argc, char **argv) {
  settings s = {.options = {.on_progress = on_progress, .user = &s}};
  kin_error err = {0};
  char *dir = NULL;
  kin_status status = KIN_ERR_ARGUMENT;
  bool named = argc > 2 && strcmp(argv[1], "list") != 0;
  for (int i = named ? 3 : 2; i < argc; i++) set(&s, argv[i]);
  if (named && strcmp(argv[1], "pull") == 0) status = kin_hub_pull(argv[2], &s.options, &dir, &err);
  if (named && strcmp(argv[1], "find") == 0) status = kin_hub_find(argv[2], s.options.cache_dir, &dir, &err);
  if (!named) status = list(&s, &err);
  if (dir && strcmp(argv[1], "pull") == 0)
    fprintf(stderr, "progress: %llu/%llu bytes, %zu/%zu files\n", (unsigned long long)s.last.done,
            (unsigned long long)s.last.total, s.last.files_done, s.last.files);
  printf("%s %s\n", kin_status_name(status), status != KIN_OK ? err.message : dir ? dir : "");
  free(dir);
  return status == KIN_OK ? 0 : 1;
}
