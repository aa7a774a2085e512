/* One run of indexing: update.c walks and sweeps, batch.c embeds and writes what the walk gives it, documents.c does so
 * for text files, captions.c reads what is written about a picture. What the store knows of files is read and changed
 * through kin_catalogue. */
#ifndef KIN_UPDATE_H
#define KIN_UPDATE_H

#include "document/document.h"
#include "embed/walk.h"
#include "image/exif.h"
#include "store/store.h"

/* A file of the walk, or one that the store knows. */
typedef struct kin_candidate {
  char *path;
  uint64_t size;
  int64_t mtime_ns;
  int64_t item;        /* that the store has under this path; 0: none */
  int64_t wanted_item; /* the id that a new one gets; 0: any */
  bool indexed;        /* it has a vector in this collection */
  bool seen;           /* already in this run, below another of the given paths */
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
  bool described;       /* of a picture: captions and EXIF in the file, as it is now, are known */
  int64_t sidecar_size; /* of the file with its caption, as it is known; -1: none */
  int64_t sidecar_mtime_ns;
} kin_candidate;

/* Captions and EXIF of a picture that aren't known yet, or not any more. */
typedef struct kin_caption_news {
  bool has_sidecar; /* the next three are news */
  char *sidecar;    /* UTF-8, or nearly; NULL: none */
  int64_t sidecar_size, sidecar_mtime_ns;
  bool has_embedded; /* the next one is news */
  char *embedded;
  bool has_exif; /* likewise, together with has_embedded */
  kin_exif exif;
} kin_caption_news;

typedef struct kin_catalogue kin_catalogue;

typedef struct kin_update {
  kin_store *store;
  const kin_catalogue *catalogue; /* of the store */
  const kin_store_encoder *encoder;
  size_t n_roots; /* paths that are walked, some perhaps below others */
  kin_index_options options;
  kin_walk_options walk;
  kin_index_progress progress;
  kin_candidate *ahead; /* [KIN_AHEAD]: of the walk, not looked up yet */
  size_t n_ahead;
  size_t batch;              /* of the encoder */
  size_t chunk, most_chunk;  /* candidates that share a commit, now and at most */
  kin_candidate *candidates; /* [2 * most_chunk]: a chunk is read ahead while the one before is embedded */
  size_t n;
  float *vectors;               /* [most_chunk][dim] */
  kin_image_source *sources;    /* [most_chunk] */
  size_t *embedded;             /* candidate of each source */
  struct kin_passage *passages; /* of documents, waiting for the encoder */
  size_t n_passages;
  const char **texts;         /* [KIN_PASSAGES] */
  float *passage_vectors;     /* [KIN_PASSAGES][dim] */
  bool writing;               /* a transaction is open */
  size_t operations;          /* in it */
  kin_index_progress pending; /* counts that hold once it is committed */
} kin_update;

enum { KIN_AHEAD = 64 };
/* Files that only moved or were touched are cheap: so many of them share a commit. */
enum { KIN_OPERATIONS = 256 };

/* A passage of a document on its way. */
typedef struct kin_passage {
  size_t candidate, ordinal;
  uint64_t line, offset;
  char *text;
} kin_passage;
enum { KIN_PASSAGES = 64 };

/* What the store knows of files, and how a run changes it. Changes stand between begin and commit or rollback. */
struct kin_catalogue {
  /* A run begins: no file is seen yet. */
  kin_status (*start)(kin_update *u, kin_error *err);
  void (*end)(kin_update *u); /* it is over, also after start failed; may be NULL */
  /* Fill in what is known of each path: item, known_sha256, indexed, seen, described, the sidecar's size and mtime, and
   * `same`: size and mtime are as known. */
  kin_status (*find)(kin_update *u, kin_candidate *files, size_t n, kin_error *err);
  /* For each picture of the batch that must be embedded: if another one with the same content has a vector, copy it
   * and the size in pixels, and let c->vector point to it. *slots vectors are taken, from the start of u->vectors. */
  kin_status (*find_contents)(kin_update *u, size_t *slots, kin_error *err);
  /* A document with the same content and format that the collection has now, to c->twin. */
  kin_status (*find_twin)(kin_update *u, kin_candidate *c, kin_error *err);
  kin_status (*mark_seen)(kin_update *u, const kin_candidate *c, kin_error *err);
  /* The first known file with `from` <= path < `to` that wasn't seen: its item, and its path in new memory; NULL:
   * there is none. */
  kin_status (*next_unseen)(kin_update *u, const char *from, const char *to, kin_candidate *out, kin_error *err);

  kin_status (*begin)(kin_update *u, kin_error *err);
  /* The item as it is on disk now, without the vectors that it had of its old content. */
  kin_status (*write_item)(kin_update *u, kin_candidate *c, kin_error *err);
  /* A vector of it, with the passage that it stands for; NULL: of a picture. */
  kin_status (*write_vector)(kin_update *u, kin_candidate *c, const float *vector, const kin_passage *passage,
                             kin_error *err);
  /* The twin's passages with their vectors, under this item, counted in c->passages. */
  kin_status (*copy_passages)(kin_update *u, kin_candidate *c, kin_error *err);
  /* All passages of a document are written. */
  kin_status (*complete)(kin_update *u, const kin_candidate *c, kin_error *err);
  /* Captions of an item; NULL where a kind of store keeps none. */
  kin_status (*write_captions)(kin_update *u, const kin_candidate *c, const kin_caption_news *news, kin_error *err);
  /* Only the file's size and mtime are new. */
  kin_status (*touch)(kin_update *u, const kin_candidate *c, kin_error *err);
  /* Take the item with all its vectors out of the store. */
  kin_status (*drop)(kin_update *u, const kin_candidate *c, kin_error *err);
  /* Take its vectors out of this collection (*left tells whether there were any), and the item where no other has it.
   */
  kin_status (*leave)(kin_update *u, const kin_candidate *c, bool *left, kin_error *err);
  /* Whether enough has gathered to be worth a commit. */
  bool (*is_due)(const kin_update *u);
  kin_status (*commit)(kin_update *u, kin_error *err);
  /* Take everything since the last commit back. */
  void (*rollback)(kin_update *u);
};

/* The one of a store in SQLite. */
extern const kin_catalogue kin_sql_catalogue;

/* A SHA-256 out of 64 hex digits, and that of a file. */
void kin_update_parse_sha256(const char *hex, uint8_t out[32]);
kin_status kin_update_hash(const char *path, uint8_t out[32], kin_error *err);

kin_status kin_update_init(kin_update *u, kin_error *err);
void kin_update_free(kin_update *u);
/* Tell the caller how far it is; KIN_ERR_CANCELLED if that wants no more. */
kin_status kin_update_report(kin_update *u, kin_error *err);
/* Count and name a file or folder that can't be taken. */
void kin_update_failure(kin_update *u, const char *path, kin_status status, const char *message);

/* The candidate could not be read or embedded: an item whose file is no picture or text any more goes; one that can't
 * be read now stays as it was. */
kin_status kin_update_write_failed(kin_update *u, const kin_candidate *c, kin_error *err);
/* Read, cut, embed and write the candidates that are documents. On failure no part of a document is left. */
kin_status kin_update_documents(kin_update *u, kin_error *err);
void kin_update_free_passages(kin_update *u);
/* Read and write the captions of a picture, whose item is written, as far as they aren't known. */
kin_status kin_update_captions(kin_update *u, const kin_candidate *c, kin_error *err);

/* Embed and write a chunk of the candidates. On failure what was written before stays in the open transaction, unless
 * writing itself failed, which takes the transaction back. */
kin_status kin_update_flush(kin_update *u, kin_error *err);
/* Open the transaction, if there is none. */
kin_status kin_update_begin(kin_update *u, kin_error *err);
/* catalogue->drop and ->leave, counted. */
kin_status kin_update_drop(kin_update *u, const kin_candidate *c, kin_error *err);
kin_status kin_update_leave(kin_update *u, const kin_candidate *c, bool *left, kin_error *err);
/* Make what was written durable; on failure take everything since the last commit back. */
kin_status kin_update_commit(kin_update *u, kin_error *err);
void kin_update_rollback(kin_update *u);

#endif
