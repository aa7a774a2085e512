/* kindred store check: all damage in a store, with what to do about it. */
#include "cli/store.h"
#include "embed/path_json.h"

#include <stdio.h>

typedef struct job {
  bool json;
  json_t *problems;
  bool failed; /* no memory */
} job;

static bool on_progress(void *user, uint64_t done, uint64_t total) {
  (void)user;
  cli_progress_update((cli_progress){.done = done, .total = total, .worked = done});
  return !cli_signal();
}

static void on_problem(void *user, const kin_store_problem *p) {
  job *j = user;
  if (!j->json) {
    cli_progress_hide();
    cli_put_text(p->file);
    fputs(": ", stdout);
    cli_put_text(p->what);
    printf("\n    %s: %s\n", p->repaired ? "repaired" : "fix", p->fix);
    return;
  }
  json_t *out = json_object();
  bool ok = out && kin_json_set_text(out, "file", p->file) && kin_json_set_text(out, "problem", p->what) &&
            kin_json_set_text(out, "fix", p->fix) &&
            json_object_set_new(out, "repaired", json_boolean(p->repaired)) == 0;
  if (!ok || json_array_append_new(j->problems, out) != 0) j->failed = true;
}

static int report(const cli_common *common, const job *j, const char *store, const kin_check_report *r) {
  const int status = r->problems > r->repaired ? CLI_FAILED : CLI_OK;
  if (common->json) {
    json_t *out = j->failed ? NULL
                            : json_pack("{sb sI sI sI sb sO}", "ok", status == CLI_OK, "repaired",
                                        (json_int_t)r->repaired, "collections", (json_int_t)r->collections, "rows",
                                        (json_int_t)r->rows, "words_checked", !r->read_only, "problems", j->problems);
    int printed = cli_print_json(out);
    return printed == CLI_OK ? status : printed;
  }
  if (r->read_only) cli_error("%s can't be written: its full-text indices weren't checked", store);
  if (common->quiet) return status;
  char rows[32], problems[32], repaired[32];
  cli_put_text(store);
  printf(": %s row%s of %zu collection%s checked, %s problem%s", cli_group_digits(r->rows, rows), cli_plural(r->rows),
         r->collections, cli_plural(r->collections), r->problems ? cli_group_digits(r->problems, problems) : "no",
         r->problems == 1 ? "" : "s");
  if (r->repaired) printf(", %s repaired", cli_group_digits(r->repaired, repaired));
  putchar('\n');
  return status;
}

static int check(const cli_common *common, const char *store, bool repair) {
  cli_session session;
  job j = {.json = common->json, .problems = json_array()};
  kin_check_options options = {.repair = repair, .on_problem = on_problem, .on_progress = on_progress, .user = &j};
  kin_check_report r;
  kin_error err;
  int status = cli_open_context(common, &session);
  if (status == CLI_OK) {
    cli_progress_start("checking", common->quiet);
    kin_status checked = kin_store_check(session.context, store, &options, &r, &err);
    cli_progress_stop();
    status = checked == KIN_OK ? report(common, &j, store, &r) : cli_failed(&err);
  }
  json_decref(j.problems);
  cli_session_close(&session);
  return status;
}

static int run(const cli_command *command, int argc, char **argv) {
  cli_common common = {0};
  const char *store = "./kindred.db";
  bool repair = false;
  const cli_option options[] = {
      {"repair", 0, CLI_FLAG, &repair, NULL, "mend what can be mended without a copy of the store"},
      CLI_STORE_OPTIONS(store, common)};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &common, argc, argv, &operands, &status))
    status = operands.count ? cli_usage_error(command, "which store? give it as --store FILE")
                            : check(&common, store, repair);
  cli_list_free(&operands);
  return status;
}

const cli_command cli_command_store_check = {
    .name = "store check",
    .usage = "[OPTION]...",
    .summary = "look for damage in a store",
    .details = "Read all of a store: SQLite's own checks and those of the full-text indices, the\n"
               "checksum of every vector, the rows of each vector file against the catalogue,\n"
               "and files that no collection names. Each problem is printed with its file and\n"
               "what to do about it. Exit status 1 if there are problems. Nothing is changed but\n"
               "with --repair: then items lose vectors that are damaged, so that 'kindred index'\n"
               "makes them anew, the catalogue's rows are put right, full-text indices are made\n"
               "anew and useless files go.",
    .examples = "  kindred store check\n"
                "  kindred store check --repair && kindred index ~/Photos\n"
                "  kindred store check --store photos.db --json | jq '.problems[].file'\n",
    .run = run};
