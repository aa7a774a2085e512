/* The inside of ann.h: its file. */
#ifndef KIN_ANN_FILE_H
#define KIN_ANN_FILE_H

#include "index/ann.h"

/* What searches use. */
typedef struct kin_ann_parts {
  const kin_faiss_calls *calls;
  kin_faiss *faiss;
  kin_graph *graph; /* of vectors themselves; NULL: another kind */
} kin_ann_parts;

/* Set parts->graph where there is one in FAISS's index; `saved` as for kin_graph_new. KIN_ERR_MEMORY. */
kin_status kin_ann_get_graph(kin_ann_parts *parts, const kin_faiss_rows *rows, const void *saved, size_t bytes,
                             kin_error *err);
void kin_ann_free_parts(kin_ann_parts *parts);

/* Where it lies; release with free. */
char *kin_ann_path(const char *vectors_path);
/* Read it from `path`, checked whole and found to be of the rows of `file`, with FAISS, which is loaded where
 * there is such a file. Errors as kin_ann_open. */
kin_status kin_ann_load(const char *path, const kin_vectors *file, const kin_vectors_key *key,
                        const kin_faiss_rows *rows, kin_ann_head *head, kin_ann_parts *out, kin_error *err);
/* Write it beside `file`, with what `head` says but for its bytes. */
kin_status kin_ann_save(const kin_vectors *file, const kin_vectors_key *key, const kin_ann_head *head,
                        const kin_ann_parts *parts, kin_error *err);

#endif
