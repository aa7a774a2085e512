/* One interface for everything that finds the nearest vectors: add, remove, search, save, open, statistics.
 *
 * An index doesn't decide what is committed: the store tells it the committed state (kin_index_state), which
 * the index takes on in open and refresh. What was added or removed since the last state is visible to
 * searches on this handle, durable after save, and forgotten by refresh. */
#ifndef KIN_INDEX_H
#define KIN_INDEX_H

#include "base/context.h"
#include "index/vectors.h"

typedef struct kin_index kin_index;

/* A committed state of a vector file: its first `rows` rows without the `holes`, rows whose item is gone or has
 * a newer vector. Rows are never written twice, so that a reader's state stays whole while a writer goes on. */
typedef struct kin_index_state {
  uint64_t rows;
  const uint64_t *holes; /* ascending */
  size_t n_holes;
} kin_index_state;

typedef struct kin_match {
  int64_t id;
  uint64_t row; /* that kin_index_add gave */
  float score;
} kin_match;

/* The order of results. */
static inline bool kin_match_is_better(kin_match a, kin_match b) {
  if (a.score != b.score) return a.score > b.score;
  return a.id < b.id || (a.id == b.id && a.row < b.row);
}

/* The same for qsort. */
static inline int kin_match_compare(const void *a, const void *b) {
  const kin_match *x = (const kin_match *)a, *y = (const kin_match *)b;
  return kin_match_is_better(*x, *y) ? -1 : kin_match_is_better(*y, *x);
}

/* Rows that a search may find: bit row % 64 of words[row / 64], for row < rows; no row from `rows` on. */
typedef struct kin_row_filter {
  const uint64_t *words;
  uint64_t rows;
} kin_row_filter;

/* How to search by the approximate index, if there is one. */
typedef struct kin_ann_query {
  const char *factory; /* the one that must be there; NULL: any, or none, which is an exact scan */
  size_t probes;       /* lists of an IVF index to look into; 0: the default */
  size_t ef;           /* candidates that an HNSW index keeps; 0: the default */
  size_t candidates;   /* rows that an index of smaller codes is asked for, k at least; 0: the default */
} kin_ann_query;

/* Several queries are answered in one call, which costs far less than one call each. */
typedef struct kin_index_query {
  const float *vectors; /* [n][dim], all finite */
  size_t n;
  size_t k;                     /* matches wanted for each */
  const kin_row_filter *filter; /* NULL: every row */
  const kin_ann_query *ann;     /* NULL: exactly */
} kin_index_query;

#define KIN_ANN_FACTORY 128 /* bytes of a factory string with its end */

/* How far searches look in an approximate index unless told otherwise, as measuring found it (ann_measure.h). All zero:
 * not measured. */
typedef struct kin_ann_effort {
  uint32_t probes;     /* of an IVF index */
  uint32_t ef;         /* of a graph */
  uint32_t candidates; /* rows that an index of smaller codes is asked for when ten matches are wanted */
  float recall;        /* of the nearest ten of a sample, so searched for; below 0.95 searches are exact instead */
} kin_ann_effort;

/* What came of making an approximate index. */
typedef struct kin_ann_trial {
  char factory[KIN_ANN_FACTORY];
  kin_ann_effort effort;
  bool kept; /* false: "auto" wanted more of it */
} kin_ann_trial;

#define KIN_ANN_TRIALS 2 /* that "auto" makes at most */

/* An approximate index to make. */
typedef struct kin_index_build {
  /* As FAISS's index_factory reads it: "HNSW32". "auto": by the rows, and by what measuring says. NULL: none, so that
   * what there is goes. */
  const char *factory;
  bool (*on_progress)(void *user, const char *stage, uint64_t done, uint64_t total); /* may be NULL; false: stop */
  void *user;
  uint64_t auto_rows;    /* from so many rows on "auto" makes one; 0: as docs/ann.md says */
  kin_ann_trial *trials; /* [KIN_ANN_TRIALS], filled from the first on, the others left alone; may be NULL */
} kin_index_build;

typedef struct kin_index_stats {
  const char *kind; /* "flat" */
  size_t dim;
  uint64_t items;         /* vectors that searches find */
  uint64_t holes;         /* rows that only take space */
  uint64_t bytes;         /* of the vectors on disk */
  uint64_t derived_bytes; /* on disk beside them: what can be made again from the vectors */
  uint64_t memory_bytes;  /* held in memory, mapped files not counted */
} kin_index_stats;

/* What an index is made of; call through the functions below. */
typedef struct kin_index_ops {
  kin_status (*add)(kin_index *index, int64_t id, const float *vector, uint64_t *row, kin_error *err);
  kin_status (*remove)(kin_index *index, int64_t id, uint64_t row, kin_error *err);
  kin_status (*get)(kin_index *index, int64_t id, uint64_t row, float *out, kin_error *err);
  kin_status (*search)(kin_index *index, const kin_index_query *query, kin_match *out, size_t *n_out, kin_error *err);
  kin_status (*save)(kin_index *index, kin_error *err);
  void (*committed)(kin_index *index); /* may be NULL */
  kin_status (*optimize)(kin_index *index, const kin_index_build *build, kin_error *err);
  kin_status (*refresh)(kin_index *index, const kin_index_state *state, kin_error *err);
  void (*statistics)(const kin_index *index, kin_index_stats *out);
  void (*close)(kin_index *index);
} kin_index_ops;

struct kin_index {
  const kin_index_ops *ops;
  size_t dim;
};

/* The exact scan over the vector file at `path`, in the given state. Errors of kin_vectors_open. */
kin_status kin_index_open_flat(kin_context *context, const char *path, bool writable, const kin_vectors_key *key,
                               const kin_index_state *state, kin_index **out, kin_error *err);
void kin_index_close(kin_index *index);
/* Remove what lies beside the vector file at `path` and was derived from it. */
void kin_index_remove_derived(const char *path);
/* Whether a file with this behind the vector file's name is such. */
bool kin_index_is_derived(const char *ending);

/* Add `vector` (dim floats, all finite, of length 1) for item `id`; *row is where it lies, to be given back with
 * the item in the calls below. */
kin_status kin_index_add(kin_index *index, int64_t id, const float *vector, uint64_t *row, kin_error *err);
/* Take the item's vector out. KIN_ERR_NOT_FOUND if there is no such row. */
kin_status kin_index_remove(kin_index *index, int64_t id, uint64_t row, kin_error *err);
/* The item's vector, as it was added, into out[dim]. */
kin_status kin_index_get(kin_index *index, int64_t id, uint64_t row, float *out, kin_error *err);

/* For each of the query's vectors the `k` vectors with the largest dot product, best first, ties by id and row:
 * query i's are out[i * k ...], n_out[i] <= k of them. By an approximate index some may be missed for others; scores
 * are the same, and what was removed or came later is heeded. A record whose checksum is wrong is KIN_ERR_FORMAT naming
 * file and row. With a factory demanded: KIN_ERR_NOT_FOUND or KIN_ERR_MISMATCH where another or none is there, or what
 * keeps it from use. */
kin_status kin_index_search(kin_index *index, const kin_index_query *query, kin_match *out, size_t *n_out,
                            kin_error *err);
/* Make what was added durable; to be called before the state that names it is committed. */
kin_status kin_index_save(kin_index *index, kin_error *err);
/* The state with all that was saved is committed: what is derived from the vectors may follow. */
void kin_index_committed(kin_index *index);
/* A writer: make an approximate index of all committed rows, beside them, in place of the one before.
 * KIN_ERR_UNSUPPORTED in a build without FAISS, KIN_ERR_ARGUMENT for a factory that doesn't fit, KIN_ERR_CANCELLED,
 * KIN_ERR_IO, KIN_ERR_FORMAT (a damaged row); the one before then stays. */
kin_status kin_index_optimize(kin_index *index, const kin_index_build *build, kin_error *err);
/* Take on a committed state: after another process's commit, or to forget what wasn't committed. */
kin_status kin_index_refresh(kin_index *index, const kin_index_state *state, kin_error *err);
void kin_index_statistics(const kin_index *index, kin_index_stats *out);

#endif
