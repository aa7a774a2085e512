/* Searching words: the full-text indices of names, captions and passages, by BM25. */
#ifndef KIN_WORDS_H
#define KIN_WORDS_H

#include "store/find.h"

/* What is found: a passage of a document, or an item by its name or caption, which then stands for its first vector. */
typedef struct kin_word_match {
  int64_t item, collection, ordinal;
  float score; /* the larger, the better; only of use beside others of the same query */
} kin_word_match;

/* `text` as the expression that FTS5 takes, in new memory: its words joined by OR, those in "quotes" a phrase; nothing
 * else in it has a meaning. NULL where there are no words. KIN_ERR_LIMIT for very many. */
kin_status kin_words_expression(const char *text, char **out, kin_error *err);

/* In a transaction: everything that has some word of `text`, best first, ties by item and ordinal, into a new array.
 * Passages are those of `collection` (0: of any, but an item's all of one). An item found by name or caption alone has
 * collection 0 and ordinal 0, and isn't necessarily in a collection. */
kin_status kin_words_find(kin_store *store, const char *text, int64_t collection, kin_word_match **out, size_t *n,
                          kin_error *err);

#endif
