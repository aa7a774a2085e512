/* The inside of a store that is an index of Elasticsearch. A document of it is a vector: a picture, or a passage of a
 * document with number `ordinal`. What is known of the file stands in the one with ordinal 0, which of a document's is
 * written last: where that is missing, the file isn't known. */
#ifndef KIN_STORE_ELASTIC_PARTS_H
#define KIN_STORE_ELASTIC_PARTS_H

#include "elastic/elastic.h"
#include "store/elastic.h"
#include "store/find.h"
#include "store/update.h"

/* A part of the answer is none. */
#define KIN_ELASTIC_SEARCH "_search?allow_partial_search_results=false"
/* Behind the name of a caption's field: its text, where that field holds this library's own tokens. */
#define KIN_ELASTIC_WHOLE "_text"
/* The analysers that are used where a cluster has them: of Korean stems, of pairs of characters. The stems' suit no
 * other language: a field of theirs has another inside it, with the pairs and their name. */
#define KIN_ELASTIC_STEMS "nori"
#define KIN_ELASTIC_PAIRS "cjk"
enum { KIN_ELASTIC_MOST_HITS = 10000, KIN_ELASTIC_PAGE = 500 };

/* A file's document with ordinal 0 while its parts come in. */
typedef struct kin_elastic_open_item {
  int64_t item;
  char *path;
  json_t *fields; /* without the vector */
  float *vector;  /* NULL: only fields change */
  bool exists;    /* what is known of it stays unless `fields` change it */
  bool counts;    /* embedded in this run */
} kin_elastic_open_item;

/* A line or two of a bulk request. */
typedef struct kin_elastic_operation {
  int64_t item;
  char name[48]; /* _id */
  char *path, *text;
  size_t size;
  bool counts;
} kin_elastic_operation;

/* Of a run of indexing: what isn't sent yet. */
typedef struct kin_elastic_run {
  kin_elastic_open_item *items;
  size_t n_items, items_capacity;
  kin_elastic_operation *operations;
  size_t n, capacity, bytes;
  double since;          /* the first of them came */
  json_t *page;          /* of next_unseen: hits sorted by path ... */
  size_t at;             /* ... the next of them ... */
  char *to;              /* ... up to this path */
  kin_groups *seen;      /* of several roots, which may overlap: the items that were looked up; NULL: there is one */
  json_t *asked, *known; /* of an import: names to look up, and by name what is known of those that exist */
} kin_elastic_run;

struct kin_remote {
  kin_elastic_address address;
  kin_elastic *client;
  kin_collection collection; /* as of the mapping; id 0: there is no index */
  char *index;               /* behind the address's name, which may be an alias of it */
  bool foreign;              /* others made it */
  bool knows_exif;           /* its mapping has what EXIF tells */
  const char *words;         /* texts' analyser, "nori" or "cjk"; NULL: they are indexed as this library's own tokens */
  const char *target;        /* an index to write to in its place; NULL: none */
  bool cosines;              /* its scores are (1 + cosine) / 2 */
  bool no_rescoring, no_fusion; /* the cluster was asked in vain to rank by whole vectors, or for rrf */
  size_t candidates;
  char *vector_field, *text_field, *id_field; /* of a foreign index */
  json_t *hits;                               /* of the query at work: by what kin_remote_name gives */
  json_t *names;                              /* of a foreign index: _id by id, as text */
  json_t *given;                              /* metadata that waits to be written: by id, as text */
  kin_elastic_run run;
};

/* ---- elastic_document.c: what documents look like, and requests that several need */

/* The id of the file at `path`: from its hash, so that every process gives the same. */
int64_t kin_remote_item_of(const char *path);
/* The _id of a document; `out` has room for 48. */
void kin_remote_name(int64_t item, uint64_t ordinal, char out[48]);
/* The path in a document's _source, in new memory; NULL: there is none, or no memory. */
char *kin_remote_path(const json_t *source);
/* The words of a text, or of a path's names, with blanks between, as they are indexed; NULL: out of memory. */
json_t *kin_remote_words_of(const char *text, bool path);
/* POST to the index; `call` is KIN_ELASTIC_SEARCH and so on; the body is released. */
kin_status kin_remote_post(kin_store *store, const char *call, json_t *body, json_t **answer, kin_error *err);
/* hits.hits of an answer; NULL: it has none. */
json_t *kin_remote_hits(const json_t *answer);
/* The vector of a hit with "fields". False: it isn't there. */
bool kin_remote_vector(const kin_store *store, const json_t *hit, float *out, size_t dim);
/* Visit all documents that pass `query` (released) in the order of path and ordinal; `source`: the fields to read
 * (released; NULL: none), with `vectors` those too; `moment`: a point in time that all are of, or NULL. */
kin_status kin_remote_each(kin_store *store, json_t *query, json_t *source, bool vectors, const json_t *moment,
                           kin_status (*visit)(void *user, const json_t *hit, kin_error *err), void *user,
                           kin_error *err);

/* ---- elastic_bulk.c: changes on their way */

/* The open item of `c`, made if there is none. */
kin_elastic_open_item *kin_remote_item(kin_update *u, const kin_candidate *c);
/* Turn the open item into an operation. */
kin_status kin_remote_close_item(kin_update *u, int64_t item, kin_error *err);
/* Queue one more document, or the removal of one. */
kin_status kin_remote_add(kin_update *u, int64_t item, const char *path, uint64_t ordinal, json_t *fields,
                          const float *vector, bool counts, kin_error *err);
/* Change what is in `fields` (not released) of a document that exists. */
kin_status kin_remote_change(kin_update *u, int64_t item, uint64_t ordinal, json_t *fields, kin_error *err);
kin_status kin_remote_remove(kin_update *u, int64_t item, const char *path, const char *name, kin_error *err);
/* Take back what is queued of the item. */
void kin_remote_forget(kin_store *store, int64_t item);
kin_status kin_remote_send(kin_update *u, kin_error *err);
void kin_remote_clear(kin_elastic_run *run);
/* Let searches find what was written. */
kin_status kin_remote_make_visible(kin_store *store, kin_error *err);
/* A caption (NULL: none) as it is indexed. */
bool kin_remote_set_caption_field(const kin_store *store, json_t *fields, const char *key, const char *text);

/* ---- elastic_catalogue.c */

/* What is known of the files whose documents have these names, an answer with as many "docs" ... */
kin_status kin_remote_get_known(kin_update *u, json_t *names, json_t **out, kin_error *err);
/* ... and one's _source. */
void kin_remote_read_known(kin_candidate *c, const json_t *source);

/* ---- elastic_given.c */

/* The item's metadata, a new array. */
kin_status kin_remote_read_metadata(kin_store *store, int64_t item, json_t **out, kin_error *err);

/* ---- elastic_find.c */

/* What every hit must be, {"bool": ...}. */
kin_status kin_remote_make_filter(const kin_find *f, json_t **out, kin_error *err);
/* A knn search for the k nearest, some more being asked for: the index ranks by codes. NULL: out of memory. */
json_t *kin_remote_knn(const kin_find *f, const float *vector, size_t k, json_t *filter);
/* Words under the filter as a query; *out is NULL where there are none. */
kin_status kin_remote_word_query(const kin_find *f, const char *text, json_t **out, kin_error *err);
/* Let a search give what fill needs of each hit, and its vector. */
bool kin_remote_set_fields(const kin_find *f, json_t *body, bool vectors);
/* What a hit is, by its _source, or item and ordinal among its "fields". */
kin_status kin_remote_identify(kin_find *f, const json_t *hit, kin_match *out, kin_error *err);
/* Likewise, and note it, for fill and read_vectors. */
kin_status kin_remote_take_hit(kin_find *f, json_t *hit, kin_match *out, kin_error *err);

/* ---- elastic_both.c: kin_finder's */

kin_status kin_remote_list_both(kin_ranking *r, bool *done, kin_error *err);
kin_status kin_remote_fuse_both(kin_ranking *r, size_t wanted, bool *done, kin_error *err);

/* ---- elastic_where.c */

/* A filter as a query of Elasticsearch. KIN_ERR_UNSUPPORTED: a field that a foreign index doesn't have. */
kin_status kin_remote_where(const kin_store *store, const kin_filter *filter, json_t **out, kin_error *err);

/* ---- elastic_words.c */

/* Words as a query; *out is NULL where there are none. */
kin_status kin_remote_words(const kin_store *store, const char *text, json_t **out, kin_error *err);

/* A point in time for kin_remote_each, whose id is in *out. */
kin_status kin_remote_open_moment(kin_store *store, json_t **out, kin_error *err);
/* Takes `moment`. */
void kin_remote_close_moment(kin_store *store, json_t *moment);

/* ---- elastic_store.c */

/* Make an index; with `first` the address's name is an alias of it, and its words are as the cluster can. */
kin_status kin_remote_create(kin_store *store, const kin_collection *collection, const char *name, bool first,
                             kin_error *err);

#endif
