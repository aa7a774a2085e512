/* The inside of ann.h: how far searches have to look, found by searching for a sample of the indexed vectors. */
#ifndef KIN_ANN_MEASURE_H
#define KIN_ANN_MEASURE_H

#include "index/ann_file.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#define KIN_ANN_ROOMS 64

struct kin_ann {
  kin_context *context;
  kin_faiss_rows rows;
  kin_ann_parts parts;
  kin_faiss_kind kind;
  /* What searches of the graph leave for others: clean memory for each takes a tenth of the time and more. */
  pthread_mutex_t lock;
  kin_graph_room *rooms[KIN_ANN_ROOMS];
  size_t n_rooms;
  kin_ann_head head;         /* its effort is what searches take: the one measured, or a guess */
  _Atomic uint64_t *checked; /* a bit for each row whose checksum was right; of the first search on */
  char *path;
  dev_t device; /* of the file that was read */
  ino_t inode;
};

/* kin_ann_search, but that query i finds its row without[i] (NULL: none) as little as if it weren't there. *compared:
 * what the graph's walks compared, where there is one. */
kin_status kin_ann_search_without(kin_ann *ann, const kin_vectors *file, const uint64_t *dead, uint64_t living,
                                  const kin_index_query *query, const int64_t *without, kin_match *out, size_t *n_out,
                                  uint64_t *compared, bool *complete, kin_error *err);

#define KIN_ANN_NEAREST 10 /* matches for which an index is measured */
/* Of an index that can't be measured. */
#define KIN_ANN_EF 128
#define KIN_ANN_CANDIDATES 112

/* Rows, the same each time, with the scores of their nearest ten others. */
typedef struct kin_ann_sample kin_ann_sample;
/* KIN_ERR_CANCELLED, KIN_ERR_FORMAT (a damaged row), KIN_ERR_MEMORY. */
kin_status kin_ann_sample_make(const kin_vectors *file, uint64_t rows, const kin_ann_truth *truth,
                               const kin_index_build *build, kin_ann_sample **out, kin_error *err);
void kin_ann_sample_free(kin_ann_sample *sample);

/* Set the index's effort to the least that finds enough of the sample's nearest ten. Where none does, it is the largest
 * one tried and *enough is false: none is tried that makes a search slower than the exact scan, nor, but with `frugal`,
 * than so of a small index. With fewer rows than a sample has it is all zero. KIN_ERR_CANCELLED. */
kin_status kin_ann_measure(kin_ann *ann, const kin_vectors *file, const kin_ann_sample *sample, const uint64_t *dead,
                           const kin_index_build *build, bool frugal, bool *enough, kin_error *err);

#endif
