/* The words of file and folder names: taken apart, and whole. */
#include "text/search_tokens.h"
#include "text/unicode.h"
#include "text/word_class.h"

#include <string.h>
#include <utf8proc.h>

/* What a character is to the border between two words of a name. */
typedef enum sort { SEPARATOR, LOWER, UPPER, DIGIT, OTHER } sort;

static sort sort_of(uint32_t c) {
  switch (kin_word_class_of(c)) {
  case KIN_WORD_NUMBER:
    return DIGIT;
  case KIN_WORD_LETTER:
    return utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_LU ? UPPER : LOWER;
  case KIN_WORD_OTHER:
  case KIN_WORD_CONNECTOR:
  case KIN_WORD_MID_BOTH:
  case KIN_WORD_MID_LETTER:
  case KIN_WORD_MID_NUMBER:
  case KIN_WORD_DOUBLE_QUOTE:
    return SEPARATOR;
  default:
    return OTHER;
  }
}

/* Between letters and digits, and before the capital that begins a word: snowyRoad, HTMLPage. */
static bool is_border(sort before, sort c, sort after) {
  if (c == DIGIT || before == DIGIT) return c != before && c != OTHER && before != OTHER;
  return c == UPPER && (before == LOWER || (before == UPPER && after == LOWER));
}

/* Append the name, checked UTF-8, with spaces at all borders. */
static void take_apart(const char *name, size_t size, kin_bytes *out) {
  sort before = SEPARATOR;
  for (size_t at = 0; at < size;) {
    uint32_t c = kin_utf8_next(name, &at);
    size_t peek = at;
    sort now = sort_of(c), after = at < size ? sort_of(kin_utf8_next(name, &peek)) : SEPARATOR;
    if (now == SEPARATOR) {
      kin_bytes_put(out, ' ');
    } else {
      if (before != SEPARATOR && is_border(before, now, after)) kin_bytes_put(out, ' ');
      kin_bytes_put(out, c);
    }
    if (kin_word_class_of(c) != KIN_WORD_EXTEND) before = now;
  }
}

typedef struct words {
  kin_bytes seen; /* each followed by a NUL */
  bool only_new, stopped;
  kin_search_sink sink;
  void *user;
} words;

static bool is_known(const words *w, const kin_search_token *token) {
  for (size_t at = 0; at < w->seen.size; at += strlen(w->seen.data + at) + 1)
    if (strlen(w->seen.data + at) == token->size && memcmp(w->seen.data + at, token->text, token->size) == 0)
      return true;
  return false;
}

static bool on_token(void *user, const kin_search_token *token) {
  words *w = user;
  if (w->only_new) {
    if (is_known(w, token)) return true;
  } else {
    kin_bytes_append(&w->seen, token->text, token->size);
    kin_bytes_append(&w->seen, "", 1);
  }
  w->stopped = w->seen.failed || !w->sink(w->user, token);
  return !w->stopped;
}

static kin_status take_name(words *w, const char *name, size_t size, kin_error *err) {
  kin_bytes parts = {0};
  w->seen.size = 0;
  w->only_new = false;
  if (kin_utf8_check(name, size) == size) take_apart(name, size, &parts);
  kin_status status = parts.failed ? kin_fail(err, KIN_ERR_MEMORY, "out of memory for the words of a name") : KIN_OK;
  if (status == KIN_OK && parts.size) status = kin_search_tokens(parts.data, parts.size, on_token, w, err);
  w->only_new = true;
  if (status == KIN_OK && !w->stopped) status = kin_search_tokens(name, size, on_token, w, err);
  if (w->seen.failed) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for the words of a name");
  kin_bytes_free(&parts);
  return status;
}

kin_status kin_search_path_tokens(const char *path, size_t size, kin_search_sink sink, void *user, kin_error *err) {
  words w = {.sink = sink, .user = user};
  kin_status status = KIN_OK;
  for (size_t at = 0; at < size && status == KIN_OK && !w.stopped;) {
    const char *slash = memchr(path + at, '/', size - at);
    size_t n = slash ? (size_t)(slash - path) - at : size - at;
    if (n) status = take_name(&w, path + at, n, err);
    at += n + 1;
  }
  kin_bytes_free(&w.seen);
  return status;
}
