/* Searching words: a query becomes an expression for FTS5, and three indices' BM25 one list. */
#include "store/words.h"

#include "text/buffer.h"
#include "text/search_tokens.h"

#include <stdlib.h>
#include <string.h>

/* A name says less than what someone wrote about a picture: it has the extension, dates, the folders of others. */
static const double name_weight = 0.5, caption_weight = 1, passage_weight = 1;

enum { MOST_WORDS = 1024 };

/* --------------------------------------------------------------- expression */

typedef struct builder {
  kin_bytes out;
  bool phrase;
  size_t n, in_phrase;
  kin_search_kind last;
} builder;

static void put(builder *e, const char *text) {
  kin_bytes_append(&e->out, text, strlen(text));
}

/* A single character of Chinese, Japanese or Korean also begins bigrams. */
static void end_word(builder *e) {
  if (e->in_phrase && e->last == KIN_SEARCH_SINGLE) put(e, " *");
  e->in_phrase = 0;
}

static bool on_token(void *user, const kin_search_token *token) {
  builder *e = user;
  if (token->kind == KIN_SEARCH_TAIL) return true;
  if (!e->phrase) end_word(e);
  if (e->n++) put(e, e->in_phrase ? " + " : " OR ");
  e->in_phrase++;
  e->last = token->kind;
  put(e, "\"");
  for (size_t i = 0; i < token->size; i++) {
    if (token->text[i] == '"') put(e, "\"");
    kin_bytes_append(&e->out, token->text + i, 1);
  }
  put(e, "\"");
  return e->n <= MOST_WORDS;
}

kin_status kin_words_expression(const char *text, char **out, kin_error *err) {
  builder e = {0};
  kin_status status = KIN_OK;
  *out = NULL;
  while (status == KIN_OK && *text) {
    size_t n = strcspn(text, "\"");
    status = kin_search_tokens(text, n, on_token, &e, err);
    end_word(&e);
    text += n;
    if (*text) text++, e.phrase = !e.phrase && strchr(text, '"');
  }
  kin_bytes_append(&e.out, "", 1);
  if (status == KIN_OK && e.n > MOST_WORDS)
    status = kin_fail(err, KIN_ERR_LIMIT, "the query has more than %d words", MOST_WORDS);
  if (status == KIN_OK && e.out.failed) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for the query's words");
  if (status == KIN_OK && e.n) {
    *out = e.out.data;
    return KIN_OK;
  }
  kin_bytes_free(&e.out);
  return status;
}

/* --------------------------------------------------------------------- lists */

typedef struct list {
  kin_word_match *items;
  size_t n, capacity;
} list;

/* Rows of (item, collection, ordinal, score), the score times `weight`. */
static kin_status gather(kin_store *store, kin_sql which, const char *expression, int64_t collection, double weight,
                         list *to, kin_error *err) {
  sqlite3_stmt *s;
  bool row;
  kin_status status = kin_sql_bind(store, which, &s, err, "si", expression, collection);
  if (status == KIN_OK) status = kin_sql_step(store, s, &row, err);
  while (status == KIN_OK && row) {
    if (!kin_grow((void **)&to->items, &to->capacity, to->n + 1, sizeof *to->items)) {
      sqlite3_reset(s);
      return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for what has the words", store->path);
    }
    to->items[to->n++] = (kin_word_match){.item = sqlite3_column_int64(s, 0),
                                          .collection = sqlite3_column_int64(s, 1),
                                          .ordinal = sqlite3_column_int64(s, 2),
                                          .score = (float)(weight * sqlite3_column_double(s, 3))};
    status = kin_sql_step(store, s, &row, err);
  }
  return status;
}

#define COMPARE(a, b) ((a) < (b) ? -1 : (a) > (b))

static int by_place(const void *left, const void *right) {
  const kin_word_match *a = left, *b = right;
  if (a->item != b->item) return COMPARE(a->item, b->item);
  if (a->collection != b->collection) return COMPARE(a->collection, b->collection);
  return COMPARE(a->ordinal, b->ordinal);
}

static int by_score(const void *left, const void *right) {
  const kin_word_match *a = left, *b = right;
  return a->score != b->score ? COMPARE(b->score, a->score) : by_place(a, b);
}

/* An empty list has no array to sort. */
static void sort(list *l, int (*order)(const void *, const void *)) {
  if (l->n) qsort(l->items, l->n, sizeof *l->items, order);
}

/* Names and captions of an item count together. */
static void merge_items(list *l) {
  size_t n = 0;
  sort(l, by_place);
  for (size_t i = 0; i < l->n; i++) {
    if (n && l->items[n - 1].item == l->items[i].item)
      l->items[n - 1].score += l->items[i].score;
    else
      l->items[n++] = l->items[i];
  }
  l->n = n;
}

/* What an item's name and caption score counts for each of its passages that has words; of several collections' the
 * first one's are kept. Items without such a passage join the list. */
static kin_status join(kin_store *store, list *passages, const list *items, kin_error *err) {
  size_t kept = 0, next = 0, n = passages->n;
  sort(passages, by_place);
  if (!kin_grow((void **)&passages->items, &passages->capacity, n + items->n + 1, sizeof *passages->items))
    return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for what has the words", store->path);
  kin_word_match *alone = passages->items + n;
  size_t n_alone = 0;
  for (size_t i = 0; i <= n; i++) {
    int64_t item = i < n ? passages->items[i].item : INT64_MAX;
    for (; next < items->n && items->items[next].item < item; next++)
      if (!kept || passages->items[kept - 1].item != items->items[next].item) alone[n_alone++] = items->items[next];
    if (i == n) break;
    kin_word_match p = passages->items[i];
    if (kept && passages->items[kept - 1].item == item && passages->items[kept - 1].collection != p.collection)
      continue;
    if (next < items->n && items->items[next].item == item) p.score += items->items[next].score;
    passages->items[kept++] = p;
  }
  memmove(passages->items + kept, alone, n_alone * sizeof *alone);
  passages->n = kept + n_alone;
  return KIN_OK;
}

kin_status kin_words_find(kin_store *store, const char *text, int64_t collection, kin_word_match **out, size_t *n,
                          kin_error *err) {
  char *expression;
  list items = {0}, passages = {0};
  *out = NULL;
  *n = 0;
  kin_status status = kin_words_expression(text, &expression, err);
  if (status != KIN_OK || !expression) return status;
  status = gather(store, KIN_SQL_MATCH_NAMES, expression, 0, name_weight, &items, err);
  if (status == KIN_OK) status = gather(store, KIN_SQL_MATCH_CAPTIONS, expression, 0, caption_weight, &items, err);
  if (status == KIN_OK)
    status = gather(store, KIN_SQL_MATCH_PASSAGES, expression, collection, passage_weight, &passages, err);
  merge_items(&items);
  if (status == KIN_OK) status = join(store, &passages, &items, err);
  free(expression);
  free(items.items);
  if (status != KIN_OK) {
    free(passages.items);
    return status;
  }
  sort(&passages, by_score);
  *out = passages.items;
  *n = passages.n;
  return KIN_OK;
}

/* --------------------------------------------------------------------- searching */

/* Where the match's vector lies in the collection; *ok: there is one, and the filter lets it through. */
static kin_status place(kin_find *f, const kin_word_match *match, kin_match *out, bool *ok, kin_error *err) {
  sqlite3_stmt *s;
  kin_status status =
      kin_sql_bind(f->store, KIN_SQL_VECTOR_ROW, &s, err, "iii", f->store->collection.id, match->item, match->ordinal);
  if (status == KIN_OK) status = kin_sql_step(f->store, s, ok, err);
  if (status != KIN_OK || !*ok) return status;
  *out = (kin_match){match->item, (uint64_t)sqlite3_column_int64(s, 0), match->score};
  sqlite3_reset(s);
  if (f->words) *ok = out->row < f->rows.rows && f->words[out->row / 64] >> (out->row % 64) & 1;
  return KIN_OK;
}

kin_status kin_words_search(kin_find *f, const char *text, size_t most, kin_match **out, size_t *n_out,
                            kin_error *err) {
  kin_word_match *found = NULL;
  size_t n = 0;
  *out = NULL;
  *n_out = 0;
  kin_status status = kin_words_find(f->store, text, f->store->collection.id, &found, &n, err);
  if (status != KIN_OK) return status;
  *out = kin_array(n < most ? n + 1 : most, sizeof **out);
  if (!*out) status = kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for %zu results", f->store->path, n);
  for (size_t i = 0; status == KIN_OK && i < n && *n_out < most; i++) {
    bool ok = false;
    status = place(f, &found[i], &(*out)[*n_out], &ok, err);
    *n_out += ok;
  }
  free(found);
  return status;
}
