/* One run of indexing: update.c walks and sweeps, batch.c embeds and writes what the walk gives it, documents.c does so
 * for text files. */
#ifndef KIN_UPDATE_H
#define KIN_UPDATE_H

#include "document/document.h"
#include "embed/walk.h"
#include "store/store.h"

/* A file that isn't in the store as it is on disk now. */
typedef struct kin_candidate {
  char *path;
  uint64_t size;
  int64_t mtime_ns;
  int64_t item; /* that the store has under this path; 0: none */
  int64_t row;  /* of that item's (first) vector; -1: none in this collection */
  uint8_t known_sha256[32];
  uint8_t sha256[32];
  kin_status status; /* of reading and embedding it */
  kin_error error;
  bool same;                  /* only size or mtime are new */
  bool embed;                 /* goes through the encoder */
  kin_document_format format; /* of a document; NONE: a picture */
  int64_t twin;               /* a document with the same content that the collection has; 0: none */
  size_t passages;            /* of a document, found so far */
  bool written, complete;     /* of a document: its item is in the open transaction; all of it is read */
  float *vector;              /* in kin_update.vectors; NULL when `same` or failed */
  uint32_t width, height;
} kin_candidate;

typedef struct kin_update {
  kin_store *store;
  const kin_store_encoder *encoder;
  kin_index_options options;
  kin_walk_options walk;
  kin_index_progress progress;
  size_t batch;
  kin_candidate *candidates; /* [batch] */
  size_t n;
  float *vectors;               /* [batch][dim] */
  kin_image_source *sources;    /* [batch] */
  size_t *embedded;             /* candidate of each source */
  struct kin_passage *passages; /* of documents, waiting for the encoder */
  size_t n_passages;
  const char **texts;         /* [KIN_PASSAGES] */
  float *passage_vectors;     /* [KIN_PASSAGES][dim] */
  bool writing;               /* a transaction is open */
  size_t operations;          /* in it */
  kin_index_progress pending; /* counts that hold once it is committed */
} kin_update;

/* A passage of a document on its way. */
typedef struct kin_passage {
  size_t candidate, ordinal;
  uint64_t line, offset;
  char *text;
} kin_passage;
enum { KIN_PASSAGES = 64 };

kin_status kin_update_init(kin_update *u, kin_error *err);
void kin_update_free(kin_update *u);
/* Tell the caller how far it is; KIN_ERR_CANCELLED if that wants no more. */
kin_status kin_update_report(kin_update *u, kin_error *err);
/* Count and name a file or folder that can't be taken. */
void kin_update_failure(kin_update *u, const char *path, kin_status status, const char *message);

/* Put the candidate's item as it is now into the open transaction, without what it had in this collection. */
kin_status kin_update_write_item(kin_update *u, kin_candidate *c, kin_error *err);
/* The candidate could not be read or embedded: an item whose file is no picture or text any more goes; one that can't
 * be read now stays as it was. */
kin_status kin_update_write_failed(kin_update *u, const kin_candidate *c, kin_error *err);
/* Read, cut, embed and write the candidates that are documents. On failure no part of a document is left. */
kin_status kin_update_documents(kin_update *u, kin_error *err);
void kin_update_free_passages(kin_update *u);

/* Embed and write the candidates. On failure what was written before stays in the open transaction, unless writing
 * itself failed, which takes the transaction back. */
kin_status kin_update_flush(kin_update *u, kin_error *err);
/* Open the transaction, if there is none. */
kin_status kin_update_begin(kin_update *u, kin_error *err);
/* Take item `id` with its vectors out of the store. */
kin_status kin_update_drop(kin_update *u, int64_t id, kin_error *err);
/* Take its vectors out of this collection (*left tells whether there were any), and the item where no other has it. */
kin_status kin_update_leave(kin_update *u, int64_t id, bool *left, kin_error *err);
/* Make the vectors durable, then commit; on failure take everything since the last commit back. */
kin_status kin_update_commit(kin_update *u, kin_error *err);
void kin_update_rollback(kin_update *u);

#endif
