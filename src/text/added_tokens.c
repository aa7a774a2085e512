/* The "added_tokens" of a tokenizer.json. */
#include "text/added_tokens.h"

#include <stdlib.h>
#include <string.h>

kin_status kin_added_tokens_init(kin_added_tokens *tokens, size_t count, kin_error *err) {
  *tokens = (kin_added_tokens){0};
  return kin_vocabulary_init(&tokens->ids, count, err);
}

static kin_status append(kin_added_list *list, const char *spelling, size_t size, int32_t id,
                         const kin_added_options *options, kin_error *err) {
  if (!size) return KIN_OK;
  char *copy = kin_array(size, 1);
  if (!copy || !kin_grow((void **)&list->items, &list->capacity, list->count + 1, sizeof *list->items)) {
    free(copy);
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the added tokens");
  }
  memcpy(copy, spelling, size);
  list->items[list->count++] = (kin_added_token){copy, size, id, options->lstrip, options->rstrip};
  return KIN_OK;
}

kin_status kin_added_tokens_add(kin_added_tokens *tokens, const char *content, int32_t id,
                                const kin_added_options *options, const kin_normalizer *normalizer, kin_error *err) {
  kin_status status = kin_vocabulary_add(&tokens->ids, content, strlen(content), id, err);
  if (status != KIN_OK || !options->normalized)
    return status == KIN_OK ? append(&tokens->raw, content, strlen(content), id, options, err) : status;
  kin_bytes spelling = {0}, scratch = {0};
  kin_bytes_append(&spelling, content, strlen(content));
  kin_normalize(normalizer, &spelling, &scratch);
  if (spelling.failed || scratch.failed)
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for the added tokens");
  else
    status = append(&tokens->normalized, spelling.data, spelling.size, id, options, err);
  kin_bytes_free(&spelling);
  kin_bytes_free(&scratch);
  return status;
}

static int by_first_byte_then_longest(const void *a, const void *b) {
  const kin_added_token *x = a, *y = b;
  int first = (uint8_t)x->spelling[0] - (uint8_t)y->spelling[0];
  if (first) return first;
  return (x->size < y->size) - (x->size > y->size);
}

static void finish(kin_added_list *list) {
  if (list->count) qsort(list->items, list->count, sizeof *list->items, by_first_byte_then_longest);
  size_t i = 0;
  for (size_t b = 0; b < 256; b++) {
    list->first[b] = i;
    while (i < list->count && (uint8_t)list->items[i].spelling[0] == b) i++;
  }
  list->first[256] = i;
}

void kin_added_tokens_finish(kin_added_tokens *tokens) {
  finish(&tokens->raw);
  finish(&tokens->normalized);
}

static void free_list(kin_added_list *list) {
  for (size_t i = 0; i < list->count; i++) free(list->items[i].spelling);
  free(list->items);
}

void kin_added_tokens_free(kin_added_tokens *tokens) {
  free_list(&tokens->raw);
  free_list(&tokens->normalized);
  kin_vocabulary_free(&tokens->ids);
  *tokens = (kin_added_tokens){0};
}

static const kin_added_token *match_at(const kin_added_list *list, const char *text, size_t size) {
  uint8_t b = (uint8_t)text[0];
  for (size_t i = list->first[b]; i < list->first[b + 1]; i++) {
    const kin_added_token *t = &list->items[i];
    if (t->size <= size && !memcmp(text, t->spelling, t->size)) return t;
  }
  return NULL;
}

/* Where the white space that ends at text[end] begins, not before text[from]. */
static size_t space_before(const char *text, size_t from, size_t end) {
  while (end > from) {
    size_t at = end - 1;
    while ((text[at] & 0xC0) == 0x80) at--;
    size_t start = at;
    if (!kin_is_space(kin_utf8_next(text, &at))) break;
    end = start;
  }
  return end > from ? end : from;
}

static size_t space_after(const char *text, size_t size, size_t at) {
  for (size_t next = at; at < size && kin_is_space(kin_utf8_next(text, &next));) at = next;
  return at;
}

void kin_added_tokens_cut(const kin_added_list *list, const char *text, size_t size, kin_pieces *out) {
  size_t done = 0;
  for (size_t at = 0; list->count && at < size;) {
    const kin_added_token *t = match_at(list, text + at, size - at);
    if (!t) {
      at++;
      continue;
    }
    size_t start = at, end = at + t->size;
    at = end;
    if (t->lstrip) start = space_before(text, done, start);
    if (t->rstrip) end = space_after(text, size, end);
    if (start > done) kin_pieces_add(out, text + done, start - done, -1);
    kin_pieces_add(out, text + start, end - start, t->id);
    done = end;
  }
  if (done < size) kin_pieces_add(out, text + done, size - done, -1);
}
