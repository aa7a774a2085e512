/* kindred search: the photos and passages of a store that are nearest to texts and photos. */
#include "cli/query.h"

#include <string.h>

typedef struct search_options {
  cli_query_options query;
  cli_list images, not_texts, not_images;
  const char *text_model;
  bool remember, bm25, hybrid;
  double image_weight, not_weight;
  double weight; /* of --hybrid; NaN: fuse by rank */
} search_options;

/* After an answer: the first text model given for a collection is remembered, another with --remember. Where the
 * store can't be written now, the next search tries again. */
static void remember_text_model(const cli_query *q, const search_options *o) {
  if (!q->text.model || !o->text_model || (*q->stats.text_model_id && !o->remember)) return;
  if (strcmp(q->stats.text_model_id, q->text.info.id) == 0 || strcmp(q->stats.model_id, q->text.info.id) == 0) return;
  kin_store *store = NULL;
  kin_error err;
  kin_collection_wish wish = {.model_id = q->stats.model_id};
  kin_status status =
      kin_store_open_with(q->session.context, o->query.store, KIN_STORE_WRITE, &o->query.elastic, &store, &err);
  if (status == KIN_OK) status = kin_store_select(store, &wish, &err);
  if (status == KIN_OK) status = kin_store_set_text_model(store, q->text.model, &err);
  kin_store_close(store);
  if (status != KIN_OK)
    cli_error("the text model isn't remembered: %s", err.message);
  else if (!o->query.common.quiet)
    cli_error("%s remembers %s for text queries", cli_store_name(o->query.store), o->text_model);
}

/* The weight of each of `n` examples that weigh `total` together. */
static double each(double total, size_t n) {
  return n ? total / (double)n : 0;
}

/* The text, plus image_weight times the mean of the images, less not_weight times the mean of what is unwanted. With
 * the strategy "best" each stands for itself. */
static int add_examples(cli_query *q, const search_options *o, const char *text) {
  size_t n_nots = o->not_texts.count + o->not_images.count;
  bool best = o->query.strategy && strcmp(o->query.strategy, "best") == 0;
  double image = best ? o->image_weight : each(o->image_weight, o->images.count);
  double unwanted = -(best ? o->not_weight : each(o->not_weight, n_nots));
  int status = text ? cli_query_add_texts(q, &text, 1, 1) : CLI_OK;
  if (status == CLI_OK && image > 0) status = cli_query_add_images(q, o->images.items, o->images.count, image);
  if (unwanted == 0) return status;
  if (status == CLI_OK) status = cli_query_add_texts(q, o->not_texts.items, o->not_texts.count, unwanted);
  return status == CLI_OK ? cli_query_add_images(q, o->not_images.items, o->not_images.count, unwanted) : status;
}

static int check_words(const cli_command *command, const search_options *o, const cli_list *operands) {
  bool examples = o->images.count || o->not_texts.count || o->not_images.count;
  if (o->bm25 && o->hybrid) return cli_usage_error(command, "--hybrid has --bm25 in it: give one of them");
  if ((o->bm25 || o->hybrid) && !operands->count) return cli_usage_error(command, "search for which words?");
  if (o->bm25 && examples) return cli_usage_error(command, "--bm25 takes words alone; --hybrid takes photos and --not");
  if (o->bm25 && o->text_model) return cli_usage_error(command, "--bm25 needs no --text-model");
  if (!isnan(o->weight) && !o->hybrid) return cli_usage_error(command, "--weight is for --hybrid");
  if (!isnan(o->weight) && !(o->weight >= 0 && o->weight <= 1))
    return cli_usage_error(command, "--weight goes from 0 (words only) to 1 (vectors only)");
  return cli_query_check(command, &o->query);
}

static int search(const cli_command *command, const search_options *o, const cli_list *operands) {
  bool texts = operands->count || o->not_texts.count, images = o->images.count || o->not_images.count;
  if (!texts && !images) return cli_usage_error(command, "search for what? give a text or --image FILE");
  if (operands->count && operands->items[0][strspn(operands->items[0], " \t\r\n")] == '\0')
    return cli_usage_error(command, "search for what? the text is empty");
  if (operands->count > 1) return cli_usage_error(command, "more than one text; put the words in quotes");
  if (!texts && o->text_model) return cli_usage_error(command, "--text-model is for text queries");
  if (o->remember && !o->text_model) return cli_usage_error(command, "remember what? give --text-model DIR");
  if (o->image_weight < 0 || (o->image_weight == 0 && !operands->count))
    return cli_usage_error(command, "--image-weight %g: expected more than 0", o->image_weight);
  if (o->not_weight < 0) return cli_usage_error(command, "--not-weight %g: expected 0 or more", o->not_weight);
  int status = check_words(command, o, operands);
  if (status != CLI_OK) return status;
  const char *text = operands->count ? operands->items[0] : NULL;
  cli_query q = {.words = o->bm25 || o->hybrid ? text : NULL, .vector_weight = o->weight};
  status = cli_query_open(&q, &o->query);
  bool anywhere = o->bm25 && !o->query.common.model && o->query.diversity == 0;
  if (status == CLI_OK && !anywhere) status = cli_query_choose(command, &q, o->text_model, texts && !o->bm25, images);
  if (status == CLI_OK && !o->bm25) status = add_examples(&q, o, text);
  if (status == CLI_OK) status = cli_query_run(&q);
  if (status == CLI_OK) remember_text_model(&q, o);
  cli_query_close(&q);
  return status;
}

static int run(const cli_command *command, int argc, char **argv) {
  search_options o = {.query = CLI_QUERY_DEFAULTS, .image_weight = 1, .not_weight = 0.5, .weight = NAN};
  const cli_option options[] = {
      {"image", 'i', CLI_LIST, &o.images, "FILE", "search for what looks like this photo; may be given\nagain"},
      {"image-weight", 0, CLI_NUMBER, &o.image_weight, "X", "what the photos count beside a text (default: 1)"},
      {"not", 0, CLI_LIST, &o.not_texts, "TEXT", "and unlike this; may be given again"},
      {"not-image", 0, CLI_LIST, &o.not_images, "FILE", "and unlike this photo; may be given again"},
      {"not-weight", 0, CLI_NUMBER, &o.not_weight, "X", "what the unwanted counts (default: 0.5)"},
      {"bm25", 0, CLI_FLAG, &o.bm25, NULL,
       "search for words, in names, captions and documents,\nranked by BM25; needs no model"},
      {"hybrid", 0, CLI_FLAG, &o.hybrid, NULL, "search both ways, and fuse the two lists by rank"},
      {"weight", 0, CLI_NUMBER, &o.weight, "X",
       "with --hybrid: fuse by scaled scores, the vectors'\ncounting X, the words' 1 - X"},
      CLI_STRATEGY_OPTION(o.query),
      CLI_QUERY_OPTIONS(o.query),
      {"text-model", 0, CLI_TEXT, &o.text_model, "DIR",
       "embed the text with this model, whose vectors share\nthe space of the store's; the first one is\nremembered"},
      {"remember", 0, CLI_FLAG, &o.remember, NULL, "remember --text-model instead of the one before"},
      CLI_POOLING_OPTION(o.query.common),
      CLI_COMMON_OPTIONS(o.query.common)};
  cli_list operands = {0};
  int status;
  if (cli_parse(command, options, sizeof options / sizeof *options, &o.query.common, argc, argv, &operands, &status))
    status = search(command, &o, &operands);
  cli_list_free(&operands);
  cli_list_free(&o.images);
  cli_list_free(&o.not_texts);
  cli_list_free(&o.not_images);
  return status;
}

const cli_command cli_command_search = {
    .name = "search",
    .usage = "[OPTION]... [TEXT] [--image FILE]...",
    .summary = "find the photos or passages that are nearest to a text or a photo",
    .details = "Print what is nearest in the store, best first: rank, cosine, path, and of a\n"
               "document the line and the passage that begins there. A text and photos are\n"
               "added up, what is unwanted (--not) is subtracted. Without --model the model\n"
               "that the store was made with is used. A store that holds vectors of several\n"
               "models has a collection of each: the one that can answer is asked, or the one\n"
               "that --model names. With a text model (--text-model) a collection of CLIP's can\n"
               "be asked in other languages. With --bm25 any of the words is searched for,\n"
               "\"quoted\" ones as a phrase, by overlapping pairs of characters in Chinese,\n"
               "Japanese and Korean; --hybrid shows the ranks in both lists.",
    .examples = "  kindred search \"a snowy road\"\n"
                "  kindred search \"a street\" --not people --where \"mtime >= '2024'\"\n"
                "  kindred search --image cat.jpg -n 20 --group folder\n"
                "  kindred search \"at night\" --image tower.jpg --image-weight 0.5\n"
                "  kindred search --text-model clip-multilingual \"사람이 없는 도로\"\n"
                "  kindred search --bm25 'report \"annual meeting\"'\n"
                "  kindred search --hybrid \"도로\"\n"
                "  kindred search \"a red car\" --min-score 0.25 --json | jq -r '.results[].path'\n",
    .run = run};
