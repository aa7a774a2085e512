/* What the commands share: options, the session (context and model), messages, progress. */
#ifndef KIN_CLI_H
#define KIN_CLI_H

#include "embed/walk.h"
#include "kindred.h"

#include <jansson.h>

/* Exit statuses; a command ended by a signal gives 128 + its number (130: Ctrl-C). */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_SKIPPED = 3 };

/* ------------------------------------------------------------- options */

typedef struct cli_list {
  const char **items; /* borrowed from argv */
  size_t count, capacity;
} cli_list;

typedef enum cli_kind {
  CLI_FLAG,     /* bool */
  CLI_TEXT,     /* const char * */
  CLI_LIST,     /* cli_list: may be given again */
  CLI_COUNT,    /* size_t, to a million */
  CLI_FEW,      /* size_t, to 1024: threads, a batch */
  CLI_NUMBER,   /* double */
  CLI_SINCE,    /* int64_t: a date, a Unix time, or a time ago */
  CLI_ISA,      /* kin_isa */
  CLI_POOLING,  /* kin_pooling */
  CLI_PRECISION /* cli_precision */
} cli_kind;

typedef struct cli_option {
  const char *name; /* without its dashes */
  char letter;      /* 0: none */
  cli_kind kind;
  void *value;
  const char *argument; /* its name in the help; NULL for a flag */
  const char *help;     /* lines separated by '\n'; NULL: hidden */
} cli_option;

typedef struct cli_command {
  const char *name; /* "embed", "model info" */
  const char *usage;
  const char *summary;  /* one line, for the overview */
  const char *details;  /* paragraphs for --help */
  const char *examples; /* lines */
  int (*run)(const struct cli_command *command, int argc, char **argv);
} cli_command;

extern const cli_command cli_command_embed, cli_command_compare, cli_command_index, cli_command_search,
    cli_command_similar, cli_command_recommend, cli_command_collections, cli_command_cluster, cli_command_sample,
    cli_command_map, cli_command_align, cli_command_model, cli_command_classify, cli_command_model_compare,
    cli_command_model_list, cli_command_model_pull, cli_command_bench, cli_command_bench_search;
extern const cli_command cli_command_store;
extern const cli_command cli_command_anomalies, cli_command_anomalies_recent;
extern const cli_command cli_command_index_optimize, cli_command_bench_recall;
extern const cli_command cli_command_duplicates;

typedef struct cli_precision {
  kin_precision value;
  bool given; /* otherwise a store's own is taken */
} cli_precision;

/* Options that every command takes. */
typedef struct cli_common {
  const char *model;
  size_t threads;
  kin_isa isa;
  kin_pooling pooling;
  cli_precision precision;
  bool json, quiet, help;
} cli_common;

#define CLI_COMMON_OPTIONS(common)                                                                                    \
  {"model", 'm', CLI_TEXT, &(common).model, "DIR", "model directory or name (default: $KINDRED_MODEL)"},              \
      {"precision", 0, CLI_PRECISION, &(common).precision, "KIND", "multiply in fp32 (default), bf16, int8 or auto"}, \
      {"threads", 0, CLI_FEW, &(common).threads, "N", "threads to use (default: one for each CPU)"},                  \
      {"json", 0, CLI_FLAG, &(common).json, NULL, "print JSON"},                                                      \
      {"quiet", 'q', CLI_FLAG, &(common).quiet, NULL, "print no progress and no summary"},                            \
      {"isa", 0, CLI_ISA, &(common).isa, "NAME", NULL}, {                                                             \
    "help", 'h', CLI_FLAG, &(common).help, NULL, "show this help"                                                     \
  }

/* Of the commands that open one image model. */
#define CLI_POOLING_OPTION(common) \
  { "pooling", 0, CLI_POOLING, &(common).pooling, "HOW", "DINOv2's vector: cls, mean or cls+mean (default: cls)" }

/* Of the commands that embed pictures. */
#define CLI_FAST_DECODE_OPTION(value)                                                      \
  {                                                                                        \
    "fast-decode", 0, CLI_FLAG, value, NULL,                                               \
        "decode large JPEGs at a part of their size:\nfaster, but vectors differ a little" \
  }

/* Of the commands that take a store: what one in Elasticsearch needs. */
#define CLI_ELASTIC_OPTIONS(elastic)                                                                             \
  {"es-ca", 0, CLI_TEXT, &(elastic).ca_file, "FILE", "certificates to trust, of a store elasticsearchs://"}, {   \
    "es-api-key-file", 0, CLI_TEXT, &(elastic).api_key_file, "FILE",                                             \
        "an API key for a store elasticsearch://..., instead\nof USER:PASSWORD@ in it or $ES_USER, $ES_PASSWORD" \
  }

/* Read the options of argv[1..]; the rest goes to `operands`. True to go on; false when the command ends here
 * (help shown, or a usage error that was printed) with *status. Options may stand anywhere before "--". */
bool cli_parse(const cli_command *command, const cli_option *options, size_t n_options, const cli_common *common,
               int argc, char **argv, cli_list *operands, int *status);
bool cli_list_add(cli_list *list, const char *item);
void cli_list_free(cli_list *list);
/* The name of `names` nearest to a mistyped `word`, or NULL when none is near. */
const char *cli_nearest(const char *word, const char *const *names, size_t n);
/* Print "kindred COMMAND: message" and where to find help; returns CLI_USAGE. */
int cli_usage_error(const cli_command *command, const char *format, ...) KIN_PRINTF(2, 3);
void cli_print_help(const cli_command *command, const cli_option *options, size_t n_options);
/* The part of a command that argv[1] names, or NULL; parts have its own name with another word. */
const cli_command *cli_find_part(const cli_command *command, const cli_command *const *parts, size_t n, int argc,
                                 char **argv);
/* Of a command that has but parts: run the one that argv[1] names. */
int cli_run_part(const cli_command *command, const cli_command *const *parts, size_t n, int argc, char **argv);

/* ------------------------------------------------------------- session */

typedef struct cli_session {
  kin_context *context;
  cli_precision precision; /* of the models that it opens */
  kin_model *model;
  kin_model_info info;
} cli_session;

/* The model to use: --model, else `remembered` (by a store; may be NULL or "") if it is still there, else
 * KINDRED_MODEL; NULL: none. */
const char *cli_model_dir(const cli_common *common, const char *remembered);
/* Print that no model was named; returns CLI_USAGE. */
int cli_no_model(const cli_command *command);
/* Each prints its error. A model is a directory, or a name that the model cache knows (kin_hub_find). */
int cli_open_context(const cli_common *common, cli_session *out);
int cli_open_model(const char *name, kin_pooling pooling, cli_session *session);
/* The same, opened as the store's only collection of this model was, as far as the options don't say how. */
int cli_open_model_of(kin_store *store, const char *name, const cli_common *common, cli_session *session);
/* Both. */
int cli_open_session(const cli_common *common, const char *model, cli_session *out);
void cli_session_close(cli_session *session);
/* The collection that `name` means: its number, its model's directory or name, or the first digits of the model's id;
 * NULL: none. */
const kin_collection_info *cli_find_collection(const kin_collections *all, const char *name);
enum { CLI_EFFORT = 160 };
/* What an approximate index finds of the nearest ten, and how: in words, into and as `out`; as members of `to`. */
char *cli_describe_effort(size_t probes, size_t ef, double recall, char out[CLI_EFFORT]);
void cli_set_effort(json_t *to, size_t probes, size_t ef, double recall);

/* Ctrl-C, SIGTERM and SIGHUP ask to stop; a second one ends the process. */
void cli_catch_signals(void);
/* What to call a store in messages: an address without its password. */
const char *cli_store_name(const char *store);
/* The signal that came, or 0. */
int cli_signal(void);

/* -------------------------------------------------------------- output */

/* "kindred: " and the message on stderr, control characters shown as '?', above a running progress bar. */
void cli_error(const char *format, ...) KIN_PRINTF(1, 2);
/* Print that a signal ended the command; returns its exit status. */
int cli_stopped(void);
/* Print a library call's error; returns the exit status: of the signal if one asked to stop, else CLI_FAILED. */
int cli_failed(const kin_error *err);
/* `text` on stdout, with control characters as '?' where stdout is a terminal. */
void cli_put_text(const char *text);
/* Whether a byte of UTF-8 goes on with a character that an earlier one began. */
bool cli_inside_character(char c);
/* A path on stdout, padded to `columns`; of a longer one the end is shown, which tells it from others. */
void cli_put_path(const char *path, size_t columns);
/* Print and release `value`; returns an exit status. NULL stands for lack of memory. */
int cli_print_json(json_t *value);
/* Columns that `text` takes on a terminal. */
size_t cli_columns(const char *text);
/* "1,234,567" into `out`; returns `out`. */
char *cli_group_digits(uint64_t n, char out[32]);
/* "s" where `n` things are many. */
const char *cli_plural(uint64_t n);
/* Monotonic seconds. */
double cli_now(void);

/* ------------------------------------------------------------ progress */

/* A line on stderr, on a terminal only. One at a time. */
typedef struct cli_progress {
  uint64_t done, total; /* inputs dealt with, of how many; total 0: not known */
  uint64_t worked;      /* of those done, the ones that took work: the rate shown is theirs */
  uint64_t failed;
} cli_progress;

/* False where none is shown. */
bool cli_progress_start(const char *label, bool quiet);
void cli_progress_update(cli_progress progress);
void cli_progress_stop(void);
/* Take the line away, until it is drawn again, to print on stdout where that is the same terminal. */
void cli_progress_hide(void);
/* Work in named stages, a line for each; the signature of kin_index_build.on_progress. False: a signal asked to stop.
 */
typedef struct cli_stages {
  bool quiet;
  const char *stage; /* NULL at first */
} cli_stages;
bool cli_stages_update(void *stages, const char *stage, uint64_t done, uint64_t total);
void cli_stages_stop(cli_stages *stages);
/* A line on stderr, above the progress line. */
void cli_print_above(const char *text);

/* Files that a walk will find; progress is updated meanwhile. */
uint64_t cli_count_files(const cli_list *paths, const kin_walk_options *options);
/* Lines of a text file; false for a pipe or what can't be read. */
bool cli_count_lines(const char *path, uint64_t *out);

#endif
