/* kindred store compact: give back the space that nothing in a store uses any more. */
#include "cli/store.h"
#include "embed/path_json.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool on_progress(void *user, uint64_t done, uint64_t total) {
  (void)user;
  cli_progress_update((cli_progress){.done = done, .total = total, .worked = done});
  return !cli_signal();
}

static int report(const cli_common *common, const char *path, const kin_compact_report *r) {
  if (common->json) {
    json_t *out = json_pack("{sI sI sI}", "holes", (json_int_t)r->holes, "bytes_before", (json_int_t)r->bytes_before,
                            "bytes_after", (json_int_t)r->bytes_after);
    if (out && kin_json_set_text(out, "store", path)) return cli_print_json(out);
    json_decref(out);
    return cli_print_json(NULL);
  }
  if (common->quiet) return CLI_OK;
  char holes[32];
  cli_put_text(path);
  printf(": %s hole%s closed, %.1f MB before, %.1f MB now\n", cli_group_digits(r->holes, holes), cli_plural(r->holes),
         (double)r->bytes_before / 1e6, (double)r->bytes_after / 1e6);
  return CLI_OK;
}

static int compact(const cli_common *common, const char *path) {
  cli_session session;
  kin_store *store = NULL;
  kin_compact_report r;
  kin_error err;
  if (!strstr(path, "://") && access(path, F_OK) != 0) {
    cli_error("%s: no such store", path);
    return CLI_FAILED;
  }
  int status = cli_open_context(common, &session);
  if (status == CLI_OK && kin_store_open(session.context, path, KIN_STORE_WRITE, &store, &err) != KIN_OK)
    status = cli_failed(&err);
  if (status == CLI_OK) {
    cli_progress_start("compacting", common->quiet);
    kin_status done = kin_store_compact(store, &(kin_compact_options){.on_progress = on_progress}, &r, &err);
    cli_progress_stop();
    status = done == KIN_OK ? report(common, path, &r) : cli_failed(&err);
  }
  kin_store_close(store);
  cli_session_close(&session);
  return status;
}

static int run(const cli_command *command, int argc, char **argv) {
  return cli_run_on_store(command, argc, argv, compact);
}

const cli_command cli_command_store_compact = {
    .name = "store compact",
    .usage = "[OPTION]...",
    .summary = "give back the space that nothing in a store uses",
    .details = "Write the vector files that have holes (kindred store stats) anew without them,\n"
               "remove what a crash left, and tidy the SQLite file with its full-text indices.\n"
               "The store is whole at any moment: Ctrl-C and crashes lose nothing, and searches\n"
               "go on meanwhile. Needs room for a copy of the largest file.",
    .examples = "  kindred store compact\n"
                "  kindred store compact --store photos.db --json\n",
    .run = run};
