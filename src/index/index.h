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

typedef struct kin_index_stats {
  const char *kind; /* "flat" */
  size_t dim;
  uint64_t items; /* vectors that searches find */
  uint64_t holes; /* rows that only take space */
  uint64_t bytes; /* on disk */
} kin_index_stats;

/* What an index is made of; call through the functions below. */
typedef struct kin_index_ops {
  kin_status (*add)(kin_index *index, int64_t id, const float *vector, uint64_t *row, kin_error *err);
  kin_status (*remove)(kin_index *index, int64_t id, uint64_t row, kin_error *err);
  kin_status (*get)(kin_index *index, int64_t id, uint64_t row, float *out, kin_error *err);
  kin_status (*search)(kin_index *index, const float *query, size_t k, kin_match *out, size_t *n_out, kin_error *err);
  kin_status (*save)(kin_index *index, kin_error *err);
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

/* Add `vector` (dim floats, all finite, of length 1) for item `id`; *row is where it lies, to be given back with
 * the item in the calls below. */
kin_status kin_index_add(kin_index *index, int64_t id, const float *vector, uint64_t *row, kin_error *err);
/* Take the item's vector out. KIN_ERR_NOT_FOUND if there is no such row. */
kin_status kin_index_remove(kin_index *index, int64_t id, uint64_t row, kin_error *err);
/* The item's vector, as it was added, into out[dim]. */
kin_status kin_index_get(kin_index *index, int64_t id, uint64_t row, float *out, kin_error *err);

/* The `k` vectors with the largest dot product with `query` (dim floats), best first, ties by id and row, into `out`;
 * *n_out <= k of them. A record whose checksum is wrong is KIN_ERR_FORMAT naming file and row. */
kin_status kin_index_search(kin_index *index, const float *query, size_t k, kin_match *out, size_t *n_out,
                            kin_error *err);
/* Make what was added durable; to be called before the state that names it is committed. */
kin_status kin_index_save(kin_index *index, kin_error *err);
/* Take on a committed state: after another process's commit, or to forget what wasn't committed. */
kin_status kin_index_refresh(kin_index *index, const kin_index_state *state, kin_error *err);
void kin_index_statistics(const kin_index *index, kin_index_stats *out);

#endif
