/* kindred search: the photos of a store that are nearest to a text or a photo. */
#include "cli/cli.h"
#include "embed/path_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct search_options {
  cli_common common;
  const char *store, *image;
  size_t count;
  double min_score;
} search_options;

typedef struct job {
  const search_options *options;
  cli_session session;
  kin_store *store;
  kin_store_stats stats;
  const char *text; /* NULL: the query is options->image */
} job;

static int open_all(const cli_command *command, job *j) {
  const search_options *o = j->options;
  kin_error err;
  int status = cli_open_context(&o->common, &j->session);
  if (status != CLI_OK) return status;
  if (kin_store_open(j->session.context, o->store, KIN_STORE_READ, &j->store, &err) != KIN_OK ||
      kin_store_get_stats(j->store, &j->stats, &err) != KIN_OK)
    return cli_failed(&err);
  if (j->stats.items == 0) {
    cli_error("%s is empty: put photos in with 'kindred index PATH'", o->store);
    return CLI_FAILED;
  }
  const char *dir = cli_model_dir(&o->common, j->stats.model_path);
  if (!dir) return cli_no_model(command);
  status = cli_open_model(dir, &j->session);
  if (status != CLI_OK) return status;
  if (strcmp(j->session.info.id, j->stats.model_id) != 0) {
    cli_error("%s was made with another model than %s: leave out --model, or index with this one into another store",
              o->store, dir);
    return CLI_FAILED;
  }
  if (j->text && !j->session.info.has_text) {
    cli_error("%s has no text tower, so words can't be searched with it; search with --image FILE", dir);
    return CLI_FAILED;
  }
  return CLI_OK;
}

static void print_hits(const kin_hits *hits, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const kin_hit *hit = kin_hits_get(hits, i);
    printf("%4zu  %7.4f  ", i + 1, (double)hit->score);
    cli_put_text(hit->path);
    putchar('\n');
  }
}

static json_t *describe(const kin_hits *hits, size_t n) {
  json_t *results = json_array();
  bool ok = results != NULL;
  for (size_t i = 0; i < n && ok; i++) {
    const kin_hit *hit = kin_hits_get(hits, i);
    json_t *entry = json_pack("{sf sI sI sI}", "score", (double)hit->score, "width", (json_int_t)hit->width, "height",
                              (json_int_t)hit->height, "id", (json_int_t)hit->id);
    ok = entry && kin_json_set_text(entry, "path", hit->path);
    ok = json_array_append_new(results, entry) == 0 && ok;
  }
  if (ok) return json_pack("{so}", "results", results);
  json_decref(results);
  return NULL;
}

static int search_store(job *j) {
  const search_options *o = j->options;
  size_t dim = j->session.info.dim;
  float *query = calloc(dim, sizeof *query);
  if (!query) {
    cli_error("out of memory");
    return CLI_FAILED;
  }
  kin_error err;
  kin_image_source source = {.path = o->image};
  const kin_embed_options as_query = {.role = KIN_TEXT_QUERY};
  kin_hits *hits = NULL;
  kin_status status = j->text ? kin_embed_texts(j->session.model, &j->text, 1, &as_query, query, &err)
                              : kin_embed_images(j->session.model, &source, 1, NULL, query, &err);
  if (status == KIN_OK) status = kin_store_search(j->store, query, dim, o->count, &hits, &err);
  free(query);
  if (status != KIN_OK) return cli_failed(&err);
  size_t n = 0;
  while (n < kin_hits_count(hits) && (double)kin_hits_get(hits, n)->score >= o->min_score) n++;
  int result = CLI_OK;
  if (o->common.json)
    result = cli_print_json(describe(hits, n));
  else
    print_hits(hits, n);
  kin_hits_close(hits);
  return result;
}

static int search(const cli_command *command, const search_options *o, const cli_list *operands) {
  if (o->image && operands->count) return cli_usage_error(command, "give a text or --image FILE, not both");
  if (!o->image && operands->count == 0)
    return cli_usage_error(command, "search for what? give a text or --image FILE");
  if (operands->count > 1) return cli_usage_error(command, "more than one text; put the words in quotes");
  if (o->count == 0) return cli_usage_error(command, "-n must be at least 1");
  job *j = calloc(1, sizeof *j);
  if (!j) return CLI_FAILED;
  j->options = o;
  j->text = o->image ? NULL : operands->items[0];
  int status = open_all(command, j);
  if (status == CLI_OK) status = search_store(j);
  kin_store_close(j->store);
  cli_session_close(&j->session);
  free(j);
  return status;
}

static int run(const cli_command *command, int argc, char **argv) {
  search_options o = {.store = "./kindred.db", .count = 10, .min_score = -2};
  const cli_option options[] = {
      {"image", 'i', CLI_TEXT, &o.image, "FILE", "search for what looks like this photo"},
      {"count", 'n', CLI_COUNT, &o.count, "N", "results at most (default: 10)"},
      {"min-score", 0, CLI_NUMBER, &o.min_score, "X", "only results with at least this cosine"},
      {"store", 's', CLI_TEXT, &o.store, "FILE", "the collection (default: ./kindred.db)"},
      CLI_COMMON_OPTIONS(o.common)};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &o.common, argc, argv, &operands, &status))
    status = search(command, &o, &operands);
  cli_list_free(&operands);
  return status;
}

const cli_command cli_command_search = {
    .name = "search",
    .usage = "[OPTION]... TEXT | --image FILE",
    .summary = "find the photos that are nearest to a text or a photo",
    .details = "Print the nearest photos of the store, best first: rank, cosine, path. Without\n"
               "--model the store's own model is used.",
    .examples = "  kindred search \"a snowy road\"\n"
                "  kindred search --image cat.jpg -n 20\n"
                "  kindred search \"a red car\" --min-score 0.25 --json | jq -r '.results[].path'\n",
    .run = run};
