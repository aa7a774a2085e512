/* The exact scan over a vector file: compact codes bound every row's score, the vectors themselves decide among the
 * rows that the bounds leave. */
#ifndef KIN_SCAN_H
#define KIN_SCAN_H

#include "index/codes.h"
#include "index/index.h"

typedef struct kin_scan {
  kin_context *context;
  kin_vectors *file;
  kin_codes *codes;             /* NULL: all rows are scored by their vectors */
  const uint64_t *dead;         /* one bit a row: not to be found */
  uint8_t *verified;            /* one a group of KIN_SCAN_ROWS rows: the checksums of all but the dead were right */
  uint64_t first, rows;         /* of the file, mapped: those from `first` on are searched */
  const kin_index_query *query; /* n and k above 0 */
} kin_scan;

/* As kin_index_search. *stale: the codes aren't those of the vectors, and the results are worth nothing. */
kin_status kin_scan_run(const kin_scan *scan, kin_match *out, size_t *n_out, bool *stale, kin_error *err);

/* kin_index_open_flat with codes of another kind than int8, or with none. */
kin_status kin_index_open_flat_coded(kin_context *context, const char *path, bool writable, const kin_vectors_key *key,
                                     const kin_index_state *state, kin_code kind, kin_index **out, kin_error *err);

/* Queries as the kernels take them, with what their codes are off by. */
typedef struct kin_scan_query {
  kin_code kind;
  size_t n, per_query;    /* planes: n * per_query */
  size_t ld;              /* numbers of a plane */
  void *planes;           /* int8_t or bfloat16; kin_alloc_aligned */
  int32_t *starts;        /* of int8 */
  kin_scan_bound *bounds; /* one a query; `constant` is for rows no longer than 1 */
} kin_scan_query;

/* *usable: false when a query is too long or short for the bounds to hold. */
kin_status kin_scan_query_make(kin_code kind, const float *queries, size_t n, size_t dim, kin_scan_query *out,
                               bool *usable, kin_error *err);
void kin_scan_query_free(kin_scan_query *query);

#endif
