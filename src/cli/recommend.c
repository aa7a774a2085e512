/* kindred recommend: what is like some things and unlike others. */
#include "cli/query.h"

#include <stdlib.h>
#include <string.h>

typedef struct recommend_options {
  cli_query_options query;
  cli_list likes, dislikes;
  double dislike_weight;
} recommend_options;

/* The item of each name, 0 for a file that isn't in the store. */
static int find_items(cli_query *q, const cli_list *names, int64_t *out, bool *files) {
  int status = CLI_OK;
  for (size_t i = 0; status == CLI_OK && i < names->count; i++) {
    status = cli_query_find_item(q, names->items[i], &out[i]);
    if (out[i] == 0) *files = true;
  }
  return status;
}

static int add_items(cli_query *q, const cli_list *names, const int64_t *items, double weight) {
  int status = CLI_OK;
  for (size_t i = 0; status == CLI_OK && i < names->count; i++)
    status = items[i] ? cli_query_add_item(q, items[i], weight) : cli_query_add_images(q, &names->items[i], 1, weight);
  return status;
}

static int answer(const cli_command *command, cli_query *q, const recommend_options *o, int64_t *items) {
  int64_t *disliked = items + o->likes.count;
  bool files = false, best = o->query.strategy && strcmp(o->query.strategy, "best") == 0;
  int status = cli_query_open(q, &o->query);
  if (status == CLI_OK) status = find_items(q, &o->likes, items, &files);
  if (status == CLI_OK) status = find_items(q, &o->dislikes, disliked, &files);
  if (status == CLI_OK) status = cli_query_choose(command, q, NULL, false, files);
  if (status == CLI_OK) status = add_items(q, &o->likes, items, best ? 1 : 1 / (double)o->likes.count);
  if (status != CLI_OK || o->dislikes.count == 0 || o->dislike_weight == 0)
    return status == CLI_OK ? cli_query_run(q) : status;
  status =
      add_items(q, &o->dislikes, disliked, best ? -o->dislike_weight : -o->dislike_weight / (double)o->dislikes.count);
  return status == CLI_OK ? cli_query_run(q) : status;
}

static int recommend(const cli_command *command, const recommend_options *o, const cli_list *operands) {
  if (operands->count)
    return cli_usage_error(command, "%s: liked or not? give --like or --dislike", operands->items[0]);
  if (o->likes.count == 0) return cli_usage_error(command, "recommend by what? give --like ID|PATH");
  if (o->dislike_weight < 0)
    return cli_usage_error(command, "--dislike-weight %g: expected 0 or more", o->dislike_weight);
  int status = cli_query_check(command, &o->query);
  if (status != CLI_OK) return status;
  int64_t *items = calloc(o->likes.count + o->dislikes.count, sizeof *items);
  if (!items) {
    cli_error("out of memory");
    return CLI_FAILED;
  }
  cli_query q = {0};
  status = answer(command, &q, o, items);
  cli_query_close(&q);
  free(items);
  return status;
}

static int run(const cli_command *command, int argc, char **argv) {
  recommend_options o = {.query = CLI_QUERY_DEFAULTS, .dislike_weight = 0.5};
  const cli_option options[] = {
      {"like", 0, CLI_LIST, &o.likes, "ID|PATH", "like this; may be given again"},
      {"dislike", 0, CLI_LIST, &o.dislikes, "ID|PATH", "and unlike this; may be given again"},
      {"dislike-weight", 0, CLI_NUMBER, &o.dislike_weight, "X", "what the dislikes count (default: 0.5)"},
      CLI_STRATEGY_OPTION(o.query),
      CLI_QUERY_OPTIONS(o.query),
      CLI_POOLING_OPTION(o.query.common),
      CLI_COMMON_OPTIONS(o.query.common)};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &o.query.common, argc, argv, &operands, &status))
    status = recommend(command, &o, &operands);
  cli_list_free(&operands);
  cli_list_free(&o.likes);
  cli_list_free(&o.dislikes);
  return status;
}

const cli_command cli_command_recommend = {
    .name = "recommend",
    .usage = "[OPTION]... --like ID|PATH... [--dislike ID|PATH]...",
    .summary = "find what is like some files and unlike others",
    .details = "Print what is nearest to the mean of the likes less half (--dislike-weight) the\n"
               "mean of the dislikes. With --strategy best the score is the largest cosine with\n"
               "a like, less half the largest cosine with a dislike: likes of different kinds\n"
               "don't blur into one. Each is an item's id, its file's path, or a photo that\n"
               "isn't in the store; only for the last a model is opened. What is given isn't\n"
               "recommended.",
    .examples = "  kindred recommend --like beach.jpg --like 12 --dislike 40\n"
                "  kindred recommend --like 3 --like 9 --strategy best --diversity 0.3\n",
    .run = run};
