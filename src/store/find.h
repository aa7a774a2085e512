/* Answering a kin_query. A kind of store gives the nearest vectors, its files' paths and stored vectors (kin_finder);
 * how examples make a score (rank.c), groups (groups.c), diversity and pages (find.c) are alike for all. */
#ifndef KIN_FIND_H
#define KIN_FIND_H

#include "index/filter.h"
#include "store/store.h"

typedef struct kin_finder kin_finder;
typedef struct kin_ranking kin_ranking;

/* A query at work. */
typedef struct kin_find {
  kin_store *store;
  const kin_finder *finder;
  const kin_query *query;
  kin_filter *filter;  /* query->where; NULL: none */
  size_t dim;          /* of the collection; 0: there is none, hence no hits */
  uint64_t population; /* no more vectors than these can be hits */
  kin_row_filter rows; /* of a store in SQLite: those that the filter and the exclusions leave ... */
  uint64_t *words;     /* ... if it isn't NULL */
} kin_find;

struct kin_finder {
  /* Take on one state of the store for all that follows, and set dim and population. */
  kin_status (*begin)(kin_find *f, kin_error *err);
  void (*end)(kin_find *f); /* also after begin failed */
  /* For each of n unit vectors the k best under the filter, as kin_index_search gives them. */
  kin_status (*search)(kin_find *f, const float *vectors, size_t n, size_t k, kin_match *out, size_t *n_out,
                       kin_error *err);
  /* The `most` best under the filter for the words of `text`, by BM25, best first, into a new array. */
  kin_status (*search_words)(kin_find *f, const char *text, size_t most, kin_match **out, size_t *n_out,
                             kin_error *err);
  /* The unit vectors of n matches of search, into out[n][dim]. */
  kin_status (*read_vectors)(kin_find *f, const kin_match *matches, size_t n, float *out, kin_error *err);
  /* The sum of an item's vectors into out[dim]. KIN_ERR_NOT_FOUND. */
  kin_status (*read_item)(kin_find *f, int64_t id, double *out, kin_error *err);
  /* All but the scores of a hit, its strings in new memory. */
  kin_status (*fill)(kin_find *f, const kin_match *match, kin_hit *out, kin_error *err);

  /* The following may be NULL. */
  /* Read at once what fill needs of n matches. */
  kin_status (*prepare)(kin_find *f, const kin_match *matches, size_t n, kin_error *err);
  /* Of a query with words and one vector, r->vectors: both lists into r, at once; or their fusion by rank into
   * r->matches (`wanted` of it, or all), and of those matches the ranks (kin_ranking). Unless *done, it can't. */
  kin_status (*list_both)(kin_ranking *r, bool *done, kin_error *err);
  kin_status (*fuse_both)(kin_ranking *r, size_t wanted, bool *done, kin_error *err);
};

/* The one of a store in SQLite. */
extern const kin_finder kin_sql_finder;

/* Whether the query's vectors can be compared with the chosen collection's; an empty store takes any. */
kin_status kin_find_check_dim(kin_store *store, const kin_query *query, kin_error *err);

/* ---- rank.c */

/* The best matches of a query. Any number of them is the beginning of any larger number. */
struct kin_ranking {
  kin_find *find;
  float *vectors; /* unit: the likes, then the unlikes; with KIN_STRATEGY_SUM one */
  double *weights;
  size_t n_likes, n_unlikes;
  kin_match *matches;
  size_t n;
  bool complete; /* there are no more */
  /* Of a query with examples and words, the two lists that became one; what isn't known of them has the id 0. */
  kin_match *near, *worded;
  size_t n_near, n_worded;
};

kin_status kin_ranking_open(kin_find *f, kin_ranking *out, kin_error *err);
void kin_ranking_close(kin_ranking *ranking);
/* Make the best `wanted` matches known, or all there are. */
kin_status kin_ranking_extend(kin_ranking *ranking, size_t wanted, kin_error *err);

/* ---- words.c */

/* kin_finder.search_words of a store in SQLite. */
kin_status kin_words_search(kin_find *f, const char *text, size_t most, kin_match **out, size_t *n_out, kin_error *err);

/* ---- groups.c: counts by name */

typedef struct kin_groups kin_groups;
kin_groups *kin_groups_new(void);
void kin_groups_free(kin_groups *groups);
/* Count one more of the group `name`; *out tells how many that makes. False: out of memory. */
bool kin_groups_count(kin_groups *groups, const void *name, size_t size, size_t *out);

/* ---- where.c */

/* A statement that gives the rows of collection ?1 whose items pass the filter, its values bound. Finalise it. */
kin_status kin_where_prepare(kin_store *store, const kin_filter *filter, sqlite3_stmt **out, kin_error *err);
/* Let SQL call path_name(path) and path_folder(path). */
kin_status kin_where_add_functions(kin_store *store, kin_error *err);

#endif
