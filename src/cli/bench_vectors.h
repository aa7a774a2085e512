/* What searches are measured on: a vector file in $TMPDIR, and queries. */
#ifndef KIN_CLI_BENCH_VECTORS_H
#define KIN_CLI_BENCH_VECTORS_H

#include "cli/cli.h"
#include "index/vectors.h"

typedef struct cli_bench_vectors {
  size_t count, dim, queries; /* of a store: what it has, and no more queries than half of that */
  const char *store;      /* take its vectors, some of which become queries and are left out; NULL: synthetic ones */
  const char *collection; /* of the store; NULL: the only one */
  char *folder, *path;
  kin_vectors_key key;
  float *vectors; /* [queries][dim]: the queries */
} cli_bench_vectors;

/* KIN_ERR_CANCELLED when a signal asked to stop. To be removed in any case. */
kin_status cli_bench_vectors_make(cli_bench_vectors *data, kin_context *context, kin_error *err);
void cli_bench_vectors_remove(cli_bench_vectors *data);

/* Doubles for qsort. */
int cli_bench_compare(const void *a, const void *b);

#endif
