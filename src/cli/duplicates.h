/* kindred duplicates: what its parts share. */
#ifndef KIN_CLI_DUPLICATES_H
#define KIN_CLI_DUPLICATES_H

#include "cli/items.h"
#include "cli/page.h"

typedef struct duplicates_job {
  cli_common common;
  cli_vectors_options input;
  const char *csv, *html;
  size_t neighbours;
  double min_cosine;
  bool exact, delete, link, edited, yes;

  cli_vectors v;
  /* What may have copies: the passages of a document together are one. */
  size_t n;
  size_t *first;             /* [n + 1]: where in v.items each begins */
  kin_duplicate_item *items; /* [n] */
  char **texts;              /* [n] of documents of several passages, joined; else NULL */
  float *vectors;            /* [n][v.set.dim]; NULL: none */
  kin_duplicates found;
  size_t copies;     /* that aren't the best, nor links */
  uint64_t bytes;    /* in these */
  size_t left_out;   /* while searching */
  const char *stage; /* that progress is shown of */
  double seconds;
} duplicates_job;

/* The item of v that a copy is, or begins with. */
const cli_item *duplicates_item(const duplicates_job *j, const kin_copy *copy);

/* duplicates_print.c */
void duplicates_print(const duplicates_job *j);
json_t *duplicates_describe(const duplicates_job *j); /* NULL for lack of memory */
/* "best, 1024 x 768, 39.8 KB", "part, 34% of it, ..." */
void duplicates_note(const kin_copy *copy, char out[96]);
void duplicates_write_csv(const duplicates_job *j, FILE *out);

/* duplicates_page.c: prints its error and returns an exit status. */
int duplicates_write_page(const duplicates_job *j, cli_page *page);

/* duplicates_remove.c: what --delete or --link does; carried out with --yes, else only shown. `json` NULL: printed,
 * else told there. Prints its errors and returns an exit status: CLI_SKIPPED where files were left alone. */
int duplicates_remove(const duplicates_job *j, json_t *json);

#endif
