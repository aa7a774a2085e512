/* The vectors that a command analyses: of photos or texts embedded now, of a store, or of a .npy file; with what they
 * are of, and classes where they are known.
 *
 *   cli_vectors_options input = {0};
 *   const cli_option options[] = {..., CLI_VECTORS_OPTIONS(input), CLI_POOLING_OPTION(o.common),
 * CLI_COMMON_OPTIONS(...)};
 *   ... cli_parse(...)
 *   cli_vectors vectors;
 *   status = cli_vectors_read(command, &o.common, &input, &operands, &vectors);   prints its error
 *   ... vectors.set, vectors.items, vectors.session.context ...
 *   cli_vectors_close(&vectors), cli_vectors_options_free(&input);                in any case
 *
 * A command that leaves inputs out goes on; it ends with CLI_SKIPPED when vectors.skipped. */
#ifndef KIN_CLI_VECTORS_INPUT_H
#define KIN_CLI_VECTORS_INPUT_H

#include "cli/cli.h"

#define CLI_NO_LABEL UINT32_MAX

typedef struct cli_vectors_options {
  const char *store, *names, *labels, *texts;
  cli_list exclude;
  bool follow, hidden;
  bool dates;      /* find out item.date_ns */
  bool files_only; /* of folders find the files, pictures and documents, and embed none: there are no vectors */
  kin_elastic_options elastic;
} cli_vectors_options;

#define CLI_VECTORS_OPTIONS(v)                                                                                       \
  {"store", 's', CLI_TEXT, &(v).store, "FILE", "take the vectors of a store (default without PATH:\n./kindred.db)"}, \
      {"texts", 0, CLI_TEXT, &(v).texts, "FILE", "take each line of FILE as a text"},                                \
      {"names", 0, CLI_TEXT, &(v).names, "FILE", "what the rows of a .npy are of: a line each"},                     \
      {"labels-from", 0,       CLI_TEXT,                                                                             \
       &(v).labels,   "WHERE", "known classes: \"folders\", or a file with a line for\neach item"},                  \
      {"exclude",    'x',    CLI_LIST,                                                                               \
       &(v).exclude, "GLOB", "leave out matching names or paths in folders;\nmay be given again"},                   \
      {"follow", 'L', CLI_FLAG, &(v).follow, NULL, "follow symbolic links in folders"},                              \
      {"hidden", 0, CLI_FLAG, &(v).hidden, NULL, "take hidden files and folders too"},                               \
      CLI_ELASTIC_OPTIONS((v).elastic)

/* For a command's usage and details. */
#define CLI_VECTORS_USAGE "[OPTION]... PATH... | FILE.npy | --store FILE | --texts FILE"

/* What a vector is of. */
typedef struct cli_item {
  char *name;       /* a path, a line of --names or --texts, or "row 7" */
  char *text;       /* the text that was embedded; NULL: a picture, or not known */
  uint64_t line;    /* where in the file the text begins, from 1; 0: a whole file or no file */
  int64_t mtime_ns; /* of the file, since 1970; 0: not known */
  int64_t date_ns;  /* when a photo was taken, or a store's metadata "date", likewise */
  bool is_file;     /* `name` is a path */
  bool is_picture;  /* likewise, and a thumbnail can be made */
} cli_item;

typedef struct cli_vectors {
  kin_vector_set set; /* of length 1, but those of a .npy are as they are; files_only: .values may be NULL */
  float *values;      /* set.values */
  cli_item *items;    /* [set.n] */
  uint32_t *labels;   /* [set.n] numbers of `classes`, or CLI_NO_LABEL; NULL without --labels-from */
  char **classes;     /* [n_classes], sorted */
  size_t n_classes;
  size_t skipped;        /* inputs that can't be read; each was named */
  cli_session session;   /* the context is open, the model where it was needed */
  char model_id[65];     /* of the model that made the vectors; "": not known */
  char *model_name;      /* the model that made the vectors, NULL: not known */
  char *text_model_name; /* one whose texts can be compared with the vectors; NULL: none or not known */
} cli_vectors;

/* Prints its error and returns an exit status. At least one vector, all finite. */
int cli_vectors_read(const cli_command *command, const cli_common *common, const cli_vectors_options *options,
                     const cli_list *operands, cli_vectors *out);
void cli_vectors_close(cli_vectors *vectors);
void cli_vectors_options_free(cli_vectors_options *options);

/* Whether texts can be compared with the vectors; opens the model that it takes, quietly. */
bool cli_vectors_has_texts(cli_vectors *vectors);
/* Embed such texts, as queries, into out[n][set.dim]; says so where there can be none. Prints its error and returns an
 * exit status. */
int cli_vectors_embed_texts(cli_vectors *vectors, const char *const *texts, size_t n, float *out);

/* A class by the folder of a file: the first folder below the root that it was found under, or, where it lies in the
 * root itself and there are other roots, the folder that it lies in. *out NULL: none. False for lack of memory. */
bool cli_class_of_path(const char *path, const char *root, bool other_roots, char **out);

#endif
