/* An approximate index beside a vector file: made by FAISS for the rows that there were (faiss.h), kept in a file of
 * its own (docs/store-format.md), and searched with the rows since then scanned exactly. It is derived: what is
 * missing, damaged or of other rows can be left out of use and made again. */
#ifndef KIN_ANN_H
#define KIN_ANN_H

#include "index/faiss.h"
#include "index/index.h"

typedef struct kin_ann kin_ann;

/* What stands in the file's head. */
typedef struct kin_ann_head {
  char factory[KIN_ANN_FACTORY];
  uint64_t rows;  /* the first ones of the vector file, which the index is of */
  uint64_t bytes; /* of the file */
  kin_ann_effort effort;
} kin_ann_head;

/* The exact scan, by which an index is measured. */
typedef struct kin_ann_truth {
  kin_status (*search)(void *user, const kin_index_query *query, kin_match *out, size_t *n_out, kin_error *err);
  void *user;
  const uint64_t *dead; /* rows that it doesn't find */
} kin_ann_truth;

/* Read and check the head beside the vector file at `vectors_path`, without the index behind it. KIN_ERR_NOT_FOUND,
 * KIN_ERR_FORMAT (damaged), KIN_ERR_UNSUPPORTED (another version), KIN_ERR_MISMATCH (of other vectors). */
kin_status kin_ann_read_head(const char *vectors_path, const kin_vectors_key *key, kin_ann_head *out, kin_error *err);
/* Check the whole file, for `file` (which need not be mapped), without FAISS. The errors above and below. */
kin_status kin_ann_check(const kin_vectors *file, const kin_vectors_key *key, kin_error *err);
/* Open the index for `file`, which must be mapped and hold its rows. The errors above, KIN_ERR_MISMATCH also for
 * another history of the rows, and those of kin_faiss_load. */
kin_status kin_ann_open(kin_context *context, const kin_vectors *file, const kin_vectors_key *key, kin_ann **out,
                        kin_error *err);
/* Make one of the first `rows` rows of `file`, which must be mapped, measure it, and put its file in place of what is
 * there. "auto" makes none where the exact scan is as good: what is there goes then. Errors of kin_faiss_load and of
 * making an index (faiss.h); KIN_ERR_FORMAT: a row is damaged; KIN_ERR_IO. What was there stays until all is done. */
kin_status kin_ann_build(kin_context *context, const kin_vectors *file, const kin_vectors_key *key, uint64_t rows,
                         const kin_index_build *build, const kin_ann_truth *truth, kin_error *err);
void kin_ann_close(kin_ann *ann);
void kin_ann_remove(const char *vectors_path);
/* Whether a file whose name is a vector file's with `ending` behind it is one, or is to become one. */
bool kin_ann_is_ending(const char *ending);

const kin_ann_head *kin_ann_get_head(const kin_ann *ann);
/* Whether the file is the one that was opened. */
bool kin_ann_is_current(const kin_ann *ann);

/* Of the index's rows those that aren't marked in `dead`. */
uint64_t kin_ann_count_living(const kin_ann *ann, const uint64_t *dead);
/* Search the index's rows, but for those marked in `dead`, which leaves the `living`, under the query's filter: k
 * matches each, scored by their vectors. *complete: false when some query found fewer than there may be, or wants so
 * much that a scan is no slower, or the effort is the measured one and finds less than 0.95; the results are worth
 * nothing then. KIN_ERR_FORMAT: a found row is damaged. */
kin_status kin_ann_search(kin_ann *ann, const kin_vectors *file, const uint64_t *dead, uint64_t living,
                          const kin_index_query *query, kin_match *out, size_t *n_out, bool *complete, kin_error *err);

#endif
