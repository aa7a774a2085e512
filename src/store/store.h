/* The inside of kin_store, and its calls that don't need a model. */
#ifndef KIN_STORE_H
#define KIN_STORE_H

#include "base/context.h"
#include "index/index.h"

#include <jansson.h>
#include <sqlite3.h>

/* Every statement that the store runs more than once; the texts are in sql.c. */
typedef enum kin_sql {
  KIN_SQL_READ_COLLECTIONS,
  KIN_SQL_FIND_COLLECTION,
  KIN_SQL_NEXT_COLLECTION,
  KIN_SQL_ADD_COLLECTION,
  KIN_SQL_SET_COLLECTION_STATE,
  KIN_SQL_SET_MODEL,
  KIN_SQL_SET_TEXT_MODEL,
  KIN_SQL_DROP_COLLECTION,
  KIN_SQL_DROP_BARE_ITEMS,
  KIN_SQL_COUNT_VECTORS,
  KIN_SQL_COUNT_ITEMS,
  KIN_SQL_READ_HOLES,
  KIN_SQL_FIND_PATH,
  KIN_SQL_FIND_ITEM,
  KIN_SQL_FIND_SHA256,
  KIN_SQL_READ_HIT,
  KIN_SQL_EACH_VECTOR,
  KIN_SQL_ADD_ITEM,
  KIN_SQL_CHANGE_ITEM,
  KIN_SQL_TOUCH_ITEM,
  KIN_SQL_DROP_ITEM,
  KIN_SQL_DROP_BARE_ITEM,
  KIN_SQL_DROP_VECTORS,
  KIN_SQL_ADD_VECTOR,
  KIN_SQL_ADD_PASSAGE,
  KIN_SQL_COPY_PASSAGE,
  KIN_SQL_MATCH_NAMES,
  KIN_SQL_MATCH_CAPTIONS,
  KIN_SQL_MATCH_PASSAGES,
  KIN_SQL_VECTOR_ROW,
  KIN_SQL_SET_GIVEN,
  KIN_SQL_SET_SIDECAR,
  KIN_SQL_SET_EMBEDDED,
  KIN_SQL_SET_DESCRIBED,
  KIN_SQL_VECTOR_ROWS,
  KIN_SQL_ADD_METADATA,
  KIN_SQL_CLEAR_METADATA,
  KIN_SQL_ADD_FILE_METADATA,
  KIN_SQL_CLEAR_FILE_METADATA,
  KIN_SQL_MARK_SEEN,
  KIN_SQL_NEXT_UNSEEN,
  KIN_SQL_CHECK_PAGES,
  KIN_SQL_CHECK_KEYS,
  KIN_SQL_CHECK_NAME_WORDS,
  KIN_SQL_CHECK_CAPTION_WORDS,
  KIN_SQL_CHECK_PASSAGE_WORDS,
  KIN_SQL_REBUILD_NAME_WORDS,
  KIN_SQL_REBUILD_CAPTION_WORDS,
  KIN_SQL_REBUILD_PASSAGE_WORDS,
  KIN_SQL_DROP_VECTORS_OF_ROWS,
  KIN_SQL_DROP_HOLES_OF_ROWS,
  KIN_SQL_ADD_HOLES,
  KIN_SQL_EACH_ROW,
  KIN_SQL_EACH_VECTOR_ROW,
  KIN_SQL_MOVE_VECTOR,
  KIN_SQL_DROP_HOLES,
  KIN_SQL_SET_VECTORS_FILE,
  KIN_SQL_EXPORT,
  KIN_SQL_FIND_ID,
  KIN_SQL_COUNT
} kin_sql;

/* The vectors of one model. */
typedef struct kin_collection {
  int64_t id; /* 0: none */
  char model_id[65];
  char text_model_id[65];                            /* "": none */
  char *model_path, *text_model_path, *vectors_path; /* the second may be NULL */
  size_t dim;
  uint64_t rows;    /* committed */
  uint64_t state;   /* grows with every commit that touches the collection */
  bool image, text; /* what it can be asked with; text is true where that isn't known */
  kin_precision precision, text_precision;
  kin_pooling pooling;
} kin_collection;

struct kin_store {
  kin_context *context;
  char *path; /* absolute */
  bool writable;
  int lock; /* descriptor of the writer's lock; -1 without */
  sqlite3 *db;
  sqlite3_stmt *statements[KIN_SQL_COUNT];
  uint8_t uuid[KIN_UUID_SIZE];
  int64_t selected;          /* the id of the collection that was chosen; 0: the only one, if there is only one */
  size_t n_collections;      /* as of the last refresh, like the next two */
  kin_collection collection; /* the chosen one */
  kin_index *index;          /* of it; NULL without one */
  struct kin_remote *remote; /* an index of Elasticsearch (elastic.h) in place of all that is in SQLite; else NULL */
};

/* What fills a collection: a model, or a test's stand-in for one. */
typedef struct kin_store_encoder {
  const char *model_id, *model_path;
  size_t dim;
  bool has_image, has_text; /* the model's towers: which of the following there are */
  kin_precision precision;
  kin_pooling pooling;
  /* As kin_embed_images with a model. */
  kin_status (*embed)(void *user, const kin_image_source *images, size_t n, const kin_embed_options *options,
                      float *out, kin_error *err);
  /* As kin_embed_texts. */
  kin_status (*embed_texts)(void *user, const char *const *texts, size_t n, const kin_embed_options *options,
                            float *out, kin_error *err);
  /* Tokens of a document's text, with all that the model puts around it; at most max_tokens are encoded. */
  kin_status (*count_tokens)(void *user, const char *text, size_t size, size_t *out, kin_error *err);
  size_t max_tokens;
  void *user;
} kin_store_encoder;

/* ---- sql.c: all SQL but that of filters (where.c) */

/* Open, check or create, and migrate the SQLite file at store->path. */
kin_status kin_sql_open(kin_store *store, kin_error *err);
void kin_sql_close(kin_store *store);
/* What SQLite last complained of, as "`path`: `doing`: reason". */
kin_status kin_sql_fail(kin_store *store, int rc, const char *doing, kin_error *err);

typedef enum kin_sql_transaction { KIN_SQL_BEGIN_READ, KIN_SQL_BEGIN_WRITE, KIN_SQL_COMMIT } kin_sql_transaction;
kin_status kin_sql_transact(kin_store *store, kin_sql_transaction what, kin_error *err);
/* Take back the transaction, if one is open. */
void kin_sql_rollback(kin_store *store);
/* Merge the full-text indices, and write the SQLite file anew without its free pages. */
kin_status kin_sql_tidy(kin_store *store, kin_error *err);
/* (Re)make the empty on-disk table of the items that a walk has seen. */
kin_status kin_sql_clear_seen(kin_store *store, kin_error *err);

/* Prepare once, then bind `types` (i: int64_t, s: const char *, b: const void * of 32 bytes) in order. */
kin_status kin_sql_bind(kin_store *store, kin_sql which, sqlite3_stmt **out, kin_error *err, const char *types, ...);
/* Step; *row tells whether there is a row. Without one (or on failure) the statement is reset. */
kin_status kin_sql_step(kin_store *store, sqlite3_stmt *statement, bool *row, kin_error *err);
/* Bind and step a statement that gives no rows. */
kin_status kin_sql_run(kin_store *store, kin_sql which, kin_error *err, const char *types, ...);

/* ---- tokenizer.c */

/* Let the connection know the tokenizer "kindred" of the full-text indices. KIN_ERR_UNSUPPORTED without FTS5. */
kin_status kin_sql_add_tokenizer(kin_store *store, kin_error *err);

/* ---- lock.c: one writer at a time */

/* Wait up to 2 seconds for the lock beside `path`; KIN_ERR_BUSY names the holder. */
kin_status kin_lock_take(const char *path, int *out, kin_error *err);
void kin_lock_release(int lock);

/* ---- store.c */

/* The holes of a collection, ascending, into a new array. */
kin_status kin_store_read_holes(kin_store *store, const kin_collection *c, uint64_t **out, size_t *n_out,
                                kin_error *err);
/* In a transaction: bring the chosen collection and its index to the state that the transaction sees. */
kin_status kin_store_refresh(kin_store *store, kin_error *err);
/* Begin reading and refresh; kin_sql_rollback ends it, also after a failure. */
kin_status kin_store_begin_read(kin_store *store, kin_error *err);
/* What ties a collection's files to the store. */
kin_vectors_key kin_store_vectors_key(const kin_store *store, const kin_collection *collection);
/* The absolute path, without symbolic links, of a file that need not exist; its folder must. Free with free(). */
kin_status kin_store_absolute_path(const char *path, char **out, kin_error *err);
/* The same of an item's file, of which not even the folder need exist. */
kin_status kin_store_item_path(const char *path, char **out, kin_error *err);
/* The (first) vector of item `id` in the chosen collection, as stored, into out[dim]. KIN_ERR_NOT_FOUND. */
kin_status kin_store_read_vector(kin_store *store, int64_t id, float *out, kin_error *err);

/* ---- collections.c */

/* In a transaction: those of the store, by id, into a new array; `only` (0: all) picks one. */
kin_status kin_collections_read(kin_store *store, int64_t only, kin_collection **out, size_t *n_out, kin_error *err);
void kin_collections_free(kin_collection *collections, size_t n);
/* The collection of the encoder's model, made now if there is none, becomes the chosen one. `text_model` (may be NULL)
 * is checked before and set. */
kin_status kin_collection_open(kin_store *store, const kin_store_encoder *encoder, const kin_model *text_model,
                               kin_error *err);
/* `what`, then all collections with their models. */
kin_status kin_collections_fail(kin_store *store, const char *what, kin_error *err);

/* ---- metadata.c */

/* In a transaction: give the item new values of a key in place of those before: a text, a number, true, false, or a
 * list of such; null takes them away. KIN_ERR_FORMAT for anything else. */
kin_status kin_metadata_set(kin_store *store, int64_t item, const char *key, const json_t *value, kin_error *err);

/* ---- files.c */

/* The files of the store at the absolute `path`, whose collections are given. */
kin_status kin_files_list(const char *path, const kin_collection *collections, size_t n, kin_store_files **out,
                          kin_error *err);
/* A writer: remove a vector file of this store that no collection names, with what was derived from it; whether it
 * went. And all of them. */
bool kin_files_remove_stray(const kin_store *store, const kin_store_file *file);
void kin_files_remove_strays(const kin_store *store, const kin_collection *collections, size_t n);

/* ---- update.c */

/* kin_store_index for any encoder. */
kin_status kin_store_update(kin_store *store, const kin_store_encoder *encoder, const char *const *paths,
                            size_t n_paths, const kin_index_options *options, kin_index_progress *out, kin_error *err);

#endif
