/* What search, similar and recommend share: options, the store with the models that a query needs, the answer. */
#ifndef KIN_CLI_QUERY_H
#define KIN_CLI_QUERY_H

#include "cli/cli.h"

#include <math.h>

typedef struct cli_query_options {
  cli_common common;
  const char *store, *where, *group, *strategy, *ann;
  size_t count, offset, per_group, pool, probes, ef;
  double min_score; /* NaN: none */
  double diversity;
  bool fast_decode;
  kin_elastic_options elastic;
} cli_query_options;

#define CLI_QUERY_DEFAULTS \
  { .store = "./kindred.db", .count = 10, .min_score = NAN, .ann = "auto" }

#define CLI_QUERY_OPTIONS(o)                                                                                            \
  {"count", 'n', CLI_COUNT, &(o).count, "N", "results at most (default: 10)"},                                          \
      {"offset", 0, CLI_COUNT, &(o).offset, "N", "leave out the first N"},                                              \
      {"min-score", 0, CLI_NUMBER, &(o).min_score, "X", "only results with at least this score"},                       \
      {"where",                                                                                                         \
       'w',                                                                                                             \
       CLI_TEXT,                                                                                                        \
       &(o).where,                                                                                                      \
       "FILTER",                                                                                                        \
       "only files that fit: \"width > 1000\",\n\"path glob '2023/*'\", \"mtime >= '2024-05-01'\",\n"                   \
       "\"meta.camera = 'X100'\"; with and, or, not"},                                                                  \
      {"group", 0, CLI_TEXT, &(o).group, "WHAT", "one result a file or folder (file, folder)"},                         \
      {"per-group", 0, CLI_COUNT, &(o).per_group, "N", "N of them instead"},                                            \
      {"diversity", 0, CLI_NUMBER, &(o).diversity, "X", "avoid results like those before: 0 (off) to 1"},               \
      {"pool", 0, CLI_COUNT, &(o).pool, "N", "first results that --diversity reorders (default: 100)"},                 \
      {"ann",                                                                                                           \
       0,                                                                                                               \
       CLI_TEXT,                                                                                                        \
       &(o).ann,                                                                                                        \
       "WHICH",                                                                                                         \
       "auto: by the approximate index, if one was made (see\n'kindred index optimize'; default); off: exactly;\n"      \
       "HNSW32, ...: by this one"},                                                                                     \
      {"probes", 0, CLI_COUNT, &(o).probes, "N", "lists of an IVF index to look into (default:\nmeasured)"},            \
      {"ef", 0, CLI_COUNT, &(o).ef, "N", "candidates that an HNSW index keeps (default:\nmeasured)"},                   \
      {"candidates",                                                                                                    \
       0,                                                                                                               \
       CLI_COUNT,                                                                                                       \
       &(o).elastic.candidates,                                                                                         \
       "N",                                                                                                             \
       "vectors that an index of codes (PQ, SQ) names, for the\nvectors to put in order (default: measured), or "       \
       "that\neach shard of Elasticsearch looks at (default: 200, or\ntwice the results)"},                             \
      CLI_FAST_DECODE_OPTION(&(o).fast_decode),                                                                         \
      {"store",    's',    CLI_TEXT,                                                                                    \
       &(o).store, "FILE", "the store (default: ./kindred.db), or\nelasticsearch://HOST:9200/INDEX"},                   \
      {"vector-field", 0,                                                                                               \
       CLI_TEXT,       &(o).elastic.vector_field,                                                                       \
       "NAME",         "search an index that others made: its vectors, ..."},                                           \
      {"text-field", 0, CLI_TEXT, &(o).elastic.text_field, "NAME", "... its texts, to search words in and show, ..."},  \
      {"id-field", 0, CLI_TEXT, &(o).elastic.id_field, "NAME", "... and what its documents are called (default: _id)"}, \
      CLI_ELASTIC_OPTIONS((o).elastic)

#define CLI_STRATEGY_OPTION(o) \
  { "strategy", 0, CLI_TEXT, &(o).strategy, "HOW", "sum: like all of what is given (default); best: like\nany of it" }

/* Check the options; CLI_OK, or a usage error that was printed. */
int cli_query_check(const cli_command *command, const cli_query_options *options);

/* A query on its way: the store, the models and the examples. */
typedef struct cli_query {
  const cli_query_options *options;
  cli_session session; /* its model is the collection's own, where that is needed */
  cli_session text;    /* its model is a text model of its own, if there is one */
  kin_store *store;
  kin_store_stats stats;
  kin_example *examples;
  size_t n_examples;
  float **vectors; /* of the examples that were embedded; NULL where an item is the example */
  int64_t *exclude;
  size_t n_exclude;
  const char *words;    /* to search by BM25, alone or along with the examples; NULL: none */
  double vector_weight; /* of the examples beside the words; NaN: the lists are fused by rank */
} cli_query;

/* Open the store. */
int cli_query_open(cli_query *query, const cli_query_options *options);
/* Choose the collection, and open the models that `texts` and `images` are embedded with: `text_model` (may be NULL) or
 * what the store remembers. */
int cli_query_choose(const cli_command *command, cli_query *query, const char *text_model, bool texts, bool images);
/* The item that "123" or a path names; 0: there is none at that path. */
int cli_query_find_item(cli_query *query, const char *name, int64_t *out);
/* Examples of `weight` each. Items are left out of the results. */
int cli_query_add_texts(cli_query *query, const char *const *texts, size_t n, double weight);
int cli_query_add_images(cli_query *query, const char *const *paths, size_t n, double weight);
int cli_query_add_item(cli_query *query, int64_t id, double weight);
/* Search, and print what is found. */
int cli_query_run(cli_query *query);
void cli_query_close(cli_query *query);

/* ---- hits.c */

/* Print them, the first one as number `offset` + 1; `hybrid`: with their ranks in both lists. */
int cli_print_hits(const kin_hits *hits, size_t offset, bool hybrid, bool json);

#endif
