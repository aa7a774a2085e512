/* kindred search: the photos of a store that are nearest to a text or a photo. */
#include "cli/cli.h"
#include "embed/path_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WEIGHT_UNSET -1

typedef struct search_options {
  cli_common common;
  const char *store, *image, *text_model;
  bool remember, bm25, hybrid;
  size_t count;
  double min_score, weight;
} search_options;

typedef struct job {
  const search_options *options;
  cli_session session;
  kin_store *store;
  kin_store_stats stats;
  const char *text; /* NULL: the query is options->image */
} job;

/* With both --model and --text-model the first only says which collection: its own model's. */
static int select_by_name(job *j, kin_collection_wish *wish) {
  cli_session named = {.context = j->session.context, .precision = j->session.precision};
  int status = cli_open_model(j->options->common.model, j->options->common.pooling, &named);
  if (status != CLI_OK) return status;
  wish->model_id = named.info.id;
  kin_error err;
  if (kin_store_select(j->store, wish, &err) != KIN_OK) status = cli_failed(&err);
  kin_model_close(named.model);
  return status;
}

/* Choose the collection, and open the model that the query is embedded with. */
static int open_query(const cli_command *command, job *j) {
  const search_options *o = j->options;
  kin_error err;
  kin_collection_wish wish = {.image = !j->text, .text = j->text != NULL};
  if (o->bm25 && !o->common.model) /* words need no vector */
    return kin_store_select(j->store, &(kin_collection_wish){0}, &err) == KIN_OK ? CLI_OK : cli_failed(&err);
  const char *name = o->text_model ? o->text_model : o->common.model;
  kin_pooling pooling = o->text_model ? KIN_POOLING_DEFAULT : o->common.pooling;
  int status = name ? cli_open_model(name, pooling, &j->session) : CLI_OK;
  if (status != CLI_OK) return status;
  if (o->text_model)
    wish.text_model = j->session.model;
  else if (name)
    wish.model_id = j->session.info.id;
  if (o->text_model && o->common.model)
    status = select_by_name(j, &wish);
  else if (kin_store_select(j->store, &wish, &err) != KIN_OK)
    status = cli_failed(&err);
  if (status != CLI_OK) return status;
  if (kin_store_get_stats(j->store, &j->stats, &err) != KIN_OK) return cli_failed(&err);
  /* Texts go to the text model that the store remembers, unless told otherwise. */
  bool text_model = j->text && !o->text_model && *j->stats.text_model_id;
  if (name && !text_model) return CLI_OK;
  const char *dir = text_model ? cli_model_dir(&(cli_common){0}, j->stats.text_model_path)
                               : cli_model_dir(&o->common, j->stats.model_path);
  if (!dir) return cli_no_model(command);
  kin_model_close(j->session.model);
  j->session.model = NULL;
  status = cli_open_model(dir, text_model ? KIN_POOLING_DEFAULT : o->common.pooling, &j->session);
  if (status == CLI_OK && kin_store_check_model(j->store, j->session.model, j->text != NULL, &err) != KIN_OK)
    return cli_failed(&err);
  return status;
}

static int open_all(const cli_command *command, job *j) {
  const search_options *o = j->options;
  kin_error err;
  int status = cli_open_context(&o->common, &j->session);
  if (status != CLI_OK) return status;
  if (kin_store_open(j->session.context, o->store, KIN_STORE_READ, &j->store, &err) != KIN_OK ||
      kin_store_get_stats(j->store, &j->stats, &err) != KIN_OK)
    return cli_failed(&err);
  if (j->stats.items == 0) {
    cli_error("%s is empty: put files in with 'kindred index PATH'", o->store);
    return CLI_FAILED;
  }
  return open_query(command, j);
}

/* After an answer: the first text model given for a collection is remembered, another with --remember. Where the
 * store can't be written now, the next search tries again. */
static void remember_text_model(job *j) {
  const search_options *o = j->options;
  if (!o->text_model || (*j->stats.text_model_id && !o->remember)) return;
  if (strcmp(j->stats.text_model_id, j->session.info.id) == 0 || strcmp(j->stats.model_id, j->session.info.id) == 0)
    return;
  kin_store *store = NULL;
  kin_error err;
  kin_collection_wish wish = {.model_id = j->stats.model_id};
  kin_status status = kin_store_open(j->session.context, o->store, KIN_STORE_WRITE, &store, &err);
  if (status == KIN_OK) status = kin_store_select(store, &wish, &err);
  if (status == KIN_OK) status = kin_store_set_text_model(store, j->session.model, &err);
  kin_store_close(store);
  if (status != KIN_OK)
    cli_error("the text model isn't remembered: %s", err.message);
  else if (!o->common.quiet)
    cli_error("%s remembers %s for text queries", o->store, o->text_model);
}

/* ":LINE: " and the passage on one line, cut to a screen's few lines. */
static void put_passage(const kin_hit *hit) {
  enum { MOST = 240 };
  char line[MOST + 8];
  size_t n = 0;
  const char *p = hit->passage;
  for (; *p && n < MOST; p++) {
    bool blank = strchr(" \t\r\n\f\v", *p) != NULL;
    if (!blank) line[n++] = *p;
    if (blank && n > 0 && line[n - 1] != ' ') line[n++] = ' ';
  }
  while (n > 0 && *p && ((unsigned char)*p & 0xC0) == 0x80) p--, n--; /* no part of a character */
  snprintf(line + n, sizeof line - n, "%s", *p ? "..." : "");
  printf(":%llu: ", (unsigned long long)hit->line);
  cli_put_text(line);
}

/* A place in one of the two lists of a hybrid search. */
static void print_rank(size_t rank) {
  if (rank)
    printf("%5zu  ", rank);
  else
    printf("    -  ");
}

static void print_hits(const kin_hits *hits, size_t n, bool hybrid) {
  if (hybrid && n) printf("rank    score  vector  bm25\n");
  for (size_t i = 0; i < n; i++) {
    const kin_hit *hit = kin_hits_get(hits, i);
    printf("%4zu  %7.4f  ", i + 1, (double)hit->score);
    if (hybrid) print_rank(hit->vector_rank), print_rank(hit->bm25_rank);
    cli_put_text(hit->path);
    if (hit->passage) put_passage(hit);
    putchar('\n');
  }
}

/* null: not in that list. */
static json_t *rank_value(size_t rank) {
  return rank ? json_integer((json_int_t)rank) : json_null();
}

static json_t *describe(const kin_hits *hits, size_t n, bool hybrid) {
  json_t *results = json_array();
  bool ok = results != NULL;
  for (size_t i = 0; i < n && ok; i++) {
    const kin_hit *hit = kin_hits_get(hits, i);
    json_t *entry = json_pack("{sf sI sI sI}", "score", (double)hit->score, "width", (json_int_t)hit->width, "height",
                              (json_int_t)hit->height, "id", (json_int_t)hit->id);
    ok = entry && kin_json_set_text(entry, "path", hit->path);
    if (ok && hit->passage)
      ok = json_object_set_new(entry, "line", json_integer((json_int_t)hit->line)) == 0 &&
           json_object_set_new(entry, "offset", json_integer((json_int_t)hit->offset)) == 0 &&
           json_object_set_new(entry, "passage", json_string(hit->passage)) == 0;
    if (ok && hybrid)
      ok = json_object_set_new(entry, "vector_rank", rank_value(hit->vector_rank)) == 0 &&
           json_object_set_new(entry, "bm25_rank", rank_value(hit->bm25_rank)) == 0;
    ok = json_array_append_new(results, entry) == 0 && ok;
  }
  if (ok) return json_pack("{so}", "results", results);
  json_decref(results);
  return NULL;
}

static int search_store(job *j) {
  const search_options *o = j->options;
  size_t dim = o->bm25 ? 0 : j->session.info.dim;
  float *query = calloc(dim + 1, sizeof *query);
  if (!query) {
    cli_error("out of memory");
    return CLI_FAILED;
  }
  kin_error err;
  kin_image_source source = {.path = o->image};
  const kin_embed_options as_query = {.role = KIN_TEXT_QUERY};
  kin_hits *hits = NULL;
  kin_status status = KIN_OK;
  if (j->text && !o->bm25)
    status = kin_embed_texts(j->session.model, &j->text, 1, &as_query, query, &err);
  else if (!j->text)
    status = kin_embed_images(j->session.model, &source, 1, NULL, query, &err);
  const kin_example example = {.vector = query};
  const kin_query what = {.examples = &example,
                          .n_examples = o->bm25 ? 0 : 1,
                          .dim = dim,
                          .words = o->bm25 || o->hybrid ? j->text : NULL,
                          .fusion = o->weight >= 0 ? KIN_FUSION_WEIGHTED : KIN_FUSION_RANK,
                          .vector_weight = o->weight,
                          .k = o->count};
  if (status == KIN_OK) status = kin_store_find(j->store, &what, &hits, &err);
  free(query);
  if (status != KIN_OK) return cli_failed(&err);
  size_t n = 0;
  while (n < kin_hits_count(hits) && (double)kin_hits_get(hits, n)->score >= o->min_score) n++;
  int result = CLI_OK;
  if (o->common.json)
    result = cli_print_json(describe(hits, n, o->hybrid));
  else
    print_hits(hits, n, o->hybrid);
  kin_hits_close(hits);
  return result;
}

static int search(const cli_command *command, const search_options *o, const cli_list *operands) {
  if (o->image && operands->count) return cli_usage_error(command, "give a text or --image FILE, not both");
  if (!o->image && operands->count == 0)
    return cli_usage_error(command, "search for what? give a text or --image FILE");
  if (o->image && o->text_model) return cli_usage_error(command, "--text-model is for text queries");
  if (o->remember && !o->text_model) return cli_usage_error(command, "remember what? give --text-model DIR");
  if (o->bm25 && o->hybrid) return cli_usage_error(command, "--hybrid has --bm25 in it: give one of them");
  if ((o->bm25 || o->hybrid) && !operands->count) return cli_usage_error(command, "search for which words?");
  if (o->bm25 && o->text_model) return cli_usage_error(command, "--bm25 needs no --text-model");
  if (o->weight != WEIGHT_UNSET && !o->hybrid) return cli_usage_error(command, "--weight is for --hybrid");
  if (o->weight != WEIGHT_UNSET && !(o->weight >= 0 && o->weight <= 1))
    return cli_usage_error(command, "--weight goes from 0 (words only) to 1 (vectors only)");
  if (operands->count > 1) return cli_usage_error(command, "more than one text; put the words in quotes");
  if (o->count == 0) return cli_usage_error(command, "-n must be at least 1");
  job *j = calloc(1, sizeof *j);
  if (!j) return CLI_FAILED;
  j->options = o;
  j->text = o->image ? NULL : operands->items[0];
  int status = open_all(command, j);
  if (status == CLI_OK) status = search_store(j);
  if (status == CLI_OK) remember_text_model(j);
  kin_store_close(j->store);
  cli_session_close(&j->session);
  free(j);
  return status;
}

static int run(const cli_command *command, int argc, char **argv) {
  search_options o = {.store = "./kindred.db", .count = 10, .min_score = -2, .weight = WEIGHT_UNSET};
  const cli_option options[] = {
      {"image", 'i', CLI_TEXT, &o.image, "FILE", "search for what looks like this photo"},
      {"count", 'n', CLI_COUNT, &o.count, "N", "results at most (default: 10)"},
      {"min-score", 0, CLI_NUMBER, &o.min_score, "X", "only results with at least this cosine"},
      {"bm25", 0, CLI_FLAG, &o.bm25, NULL,
       "search for words, in names, captions and documents,\nranked by BM25; needs no model"},
      {"hybrid", 0, CLI_FLAG, &o.hybrid, NULL, "search both ways, and fuse the two lists by rank"},
      {"weight", 0, CLI_NUMBER, &o.weight, "X",
       "with --hybrid: fuse by scaled scores, the vectors'\ncounting X, the words' 1 - X"},
      {"text-model", 0, CLI_TEXT, &o.text_model, "DIR",
       "embed the text with this model, whose vectors share\nthe space of the store's; the first one is\nremembered"},
      {"remember", 0, CLI_FLAG, &o.remember, NULL, "remember --text-model instead of the one before"},
      {"store", 's', CLI_TEXT, &o.store, "FILE", "the store (default: ./kindred.db)"},
      CLI_POOLING_OPTION(o.common),
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
    .summary = "find the photos or passages that are nearest to a text or a photo",
    .details = "Print what is nearest in the store, best first: rank, cosine, path, and of a\n"
               "document the line and the passage that begins there. Without\n"
               "--model the model that the store was made with is used. A store that holds\n"
               "vectors of several models has a collection of each: the one that can answer is\n"
               "asked, or the one that --model names. With a text model (--text-model) a\n"
               "collection of CLIP's can be asked in other languages. With --bm25 any of the\n"
               "words is searched for, \"quoted\" ones as a phrase, by overlapping pairs of\n"
               "characters in Chinese, Japanese and Korean; --hybrid shows the ranks in both lists.",
    .examples = "  kindred search \"a snowy road\"\n"
                "  kindred search --image cat.jpg -n 20\n"
                "  kindred search --text-model clip-multilingual \"사람이 없는 도로\"\n"
                "  kindred search --bm25 'report \"annual meeting\"'\n"
                "  kindred search --hybrid \"도로\"\n"
                "  kindred search \"a red car\" --min-score 0.25 --json | jq -r '.results[].path'\n",
    .run = run};
