/* Words to search by: word breaking, and overlapping bigrams where a script has no spaces. */
#include "text/search_tokens.h"

#include "text/unicode.h"
#include "text/word_class.h"

#include <string.h>
#include <utf8proc.h>

enum {
  LONGEST = 255, /* characters of a word; a longer one goes on as the next token */
  ZERO_WIDTH_JOINER = 0x200D,
  TEXT_STYLE = 0xFE0E, /* ends an emoji */
  KEYCAP = 0x20E3
};

/* --------------------------------------------------------------- preparation */

/* Half-width kana from U+FF65; the last two are the combining sound marks. */
static const uint16_t kana[] = {0x30FB, 0x30F2, 0x30A1, 0x30A3, 0x30A5, 0x30A7, 0x30A9, 0x30E3, 0x30E5, 0x30E7,
                                0x30C3, 0x30FC, 0x30A2, 0x30A4, 0x30A6, 0x30A8, 0x30AA, 0x30AB, 0x30AD, 0x30AF,
                                0x30B1, 0x30B3, 0x30B5, 0x30B7, 0x30B9, 0x30BB, 0x30BD, 0x30BF, 0x30C1, 0x30C4,
                                0x30C6, 0x30C8, 0x30CA, 0x30CB, 0x30CC, 0x30CD, 0x30CE, 0x30CF, 0x30D2, 0x30D5,
                                0x30D8, 0x30DB, 0x30DE, 0x30DF, 0x30E0, 0x30E1, 0x30E2, 0x30E4, 0x30E6, 0x30E8,
                                0x30E9, 0x30EA, 0x30EB, 0x30EC, 0x30ED, 0x30EF, 0x30F3, 0x3099, 0x309A};

static uint32_t fold_width(uint32_t c) {
  if (c >= 0xFF01 && c <= 0xFF5E) return c - 0xFEE0;
  return c >= 0xFF65 && c <= 0xFF9F ? kana[c - 0xFF65] : c;
}

/* Whether the text is folded and composed as it stands. */
static bool is_plain(const char *text, size_t size) {
  for (size_t at = 0; at < size;) {
    if ((uint8_t)text[at] < 0x80) {
      at++;
      continue;
    }
    uint32_t c = kin_utf8_next(text, &at);
    if (fold_width(c) != c || kin_word_class_of(c) == KIN_WORD_EXTEND || (c >= 0x1100 && c <= 0x11FF)) return false;
  }
  return true;
}

/* Append the text with a space for each byte that isn't UTF-8. */
static void append_valid(const char *text, size_t size, kin_bytes *out) {
  while (size) {
    size_t good = kin_utf8_check(text, size);
    kin_bytes_append(out, text, good);
    if (good < size) kin_bytes_put(out, ' '), good++;
    text += good;
    size -= good;
  }
}

/* *text becomes valid, folded and composed, in `out` where it wasn't. */
static void prepare(const char **text, size_t *size, kin_bytes *valid, kin_bytes *out) {
  if (kin_utf8_check(*text, *size) < *size) {
    append_valid(*text, *size, valid);
    *text = valid->data;
    *size = valid->size;
  }
  if (valid->failed || is_plain(*text, *size)) return;
  kin_bytes folded = {0};
  for (size_t at = 0; at < *size;) kin_bytes_put(&folded, fold_width(kin_utf8_next(*text, &at)));
  if (folded.failed)
    out->failed = true;
  else
    kin_normal_form_append(KIN_NFC, folded.data, folded.size, out);
  kin_bytes_free(&folded);
  *text = out->data;
  *size = out->size;
}

/* ------------------------------------------------------------------- scanner */

typedef struct scanner {
  const char *text;
  size_t size;
  kin_search_sink sink;
  void *user;
  kin_bytes token;
  uint32_t last;  /* character of the run of Chinese, Japanese and Korean ... */
  size_t run;     /* ... that has so many ... */
  size_t run_end; /* ... and ends here */
  bool stopped;
} scanner;

/* The class of the character at *at, which moves behind it; OTHER at the end. */
static kin_word_class next_class(const scanner *s, size_t *at) {
  return *at < s->size ? kin_word_class_of(kin_utf8_next(s->text, at)) : KIN_WORD_OTHER;
}

/* Behind the marks and joiners that belong to the character before. */
static size_t skip_extends(const scanner *s, size_t at) {
  for (size_t next = at; next_class(s, &next) == KIN_WORD_EXTEND; at = next) {
  }
  return at;
}

/* The class of the character at *at, which moves behind it and what belongs to it. */
static kin_word_class next_whole(const scanner *s, size_t *at) {
  kin_word_class class = next_class(s, at);
  *at = skip_extends(s, *at);
  return class;
}

static void pass_on(scanner *s, kin_search_kind kind) {
  const kin_search_token token = {kind, s->token.data, s->token.size};
  if (!s->token.failed && !s->stopped && token.size) s->stopped = !s->sink(s->user, &token);
  s->token.size = 0;
}

static void put_lower(scanner *s, uint32_t c) {
  kin_bytes_put(&s->token, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
}

static void end_run(scanner *s) {
  if (s->run) {
    put_lower(s, s->last);
    pass_on(s, s->run == 1 ? KIN_SEARCH_SINGLE : KIN_SEARCH_TAIL);
  }
  s->run = 0;
}

static void pass_word(scanner *s, size_t from, size_t to) {
  end_run(s);
  while (from < to) put_lower(s, kin_utf8_next(s->text, &from));
  pass_on(s, KIN_SEARCH_WORD);
}

/* The next character of Chinese, Japanese or Korean, from `at` to `end`. */
static void add_to_run(scanner *s, size_t at, size_t end) {
  if (at != s->run_end) end_run(s);
  s->run_end = end;
  uint32_t c = kin_utf8_next(s->text, &at);
  if (s->run++) {
    put_lower(s, s->last);
    put_lower(s, c);
    pass_on(s, KIN_SEARCH_BIGRAM);
  }
  s->last = c;
}

/* --------------------------------------------------------------------- words */

static bool is_letter(kin_word_class class) {
  return class == KIN_WORD_LETTER || class == KIN_WORD_HEBREW;
}

/* Whether a character of class `middle`, from `at` on, joins `before` with what follows it. */
static bool joins(const scanner *s, kin_word_class before, kin_word_class middle, size_t at) {
  bool apostrophe = at < s->size && s->text[at] == '\'';
  next_whole(s, &at);
  kin_word_class after = next_class(s, &at);
  switch (middle) {
  case KIN_WORD_MID_LETTER:
    return is_letter(before) && is_letter(after);
  case KIN_WORD_MID_NUMBER:
    return before == KIN_WORD_NUMBER && after == KIN_WORD_NUMBER;
  case KIN_WORD_MID_BOTH:
    if (before == KIN_WORD_HEBREW && apostrophe) return true;
    return is_letter(before) ? is_letter(after) : before == KIN_WORD_NUMBER && after == KIN_WORD_NUMBER;
  case KIN_WORD_DOUBLE_QUOTE:
    return before == KIN_WORD_HEBREW && after == KIN_WORD_HEBREW;
  default:
    return false;
  }
}

/* Behind the word at `at`; *any tells whether there is more to it than connectors. */
static size_t word_end(const scanner *s, size_t at, bool *any) {
  kin_word_class before = KIN_WORD_OTHER;
  size_t length = 0;
  *any = false;
  for (size_t next = at; length < LONGEST; at = next, length++) {
    kin_word_class class = next_whole(s, &next);
    bool counts = is_letter(class) || class == KIN_WORD_NUMBER;
    if (!counts && class != KIN_WORD_CONNECTOR && !joins(s, before, class, at)) break;
    *any = *any || counts;
    before = class;
  }
  return at;
}

static size_t complex_end(const scanner *s, size_t at) {
  size_t length = 0;
  for (size_t next = at; next_whole(s, &next) == KIN_WORD_COMPLEX && length < LONGEST; at = next) length++;
  return at;
}

/* Behind the emoji at `at`: parts that are joined count as one. */
static size_t picture_end(const scanner *s, size_t at) {
  for (size_t next = at; next_class(s, &next) == KIN_WORD_PICTURE;) {
    uint32_t c = 0;
    at = next;
    while (at < s->size) {
      c = kin_utf8_next(s->text, &next);
      if (c == TEXT_STYLE || kin_word_class_of(c) != KIN_WORD_EXTEND) break;
      at = next;
      if (c == ZERO_WIDTH_JOINER) break;
    }
    if (c != ZERO_WIDTH_JOINER) break;
  }
  return at;
}

/* Behind a flag, a key cap or another emoji at `at`; `at` where there is none. */
static size_t emoji_end(const scanner *s, kin_word_class class, size_t at) {
  size_t next = at;
  if (class == KIN_WORD_PICTURE) return picture_end(s, at);
  if (class == KIN_WORD_REGIONAL) {
    next_whole(s, &next);
    return next_whole(s, &next) == KIN_WORD_REGIONAL ? next : at;
  }
  if (!s->text[at] || !strchr("0123456789#*", s->text[at])) return at;
  uint32_t c = 0;
  for (next = at + 1; next < s->size && c != KEYCAP;) {
    c = kin_utf8_next(s->text, &next);
    if (kin_word_class_of(c) != KIN_WORD_EXTEND) return at;
  }
  return c == KEYCAP ? next : at;
}

/* Deal with what begins at `at`; returns where the next begins. */
static size_t scan(scanner *s, size_t at) {
  size_t next = at, end;
  bool any;
  kin_word_class class = next_class(s, &next);
  if ((end = emoji_end(s, class, at)) > at) {
    pass_word(s, at, end);
    return end;
  }
  switch (class) {
  case KIN_WORD_HAN:
  case KIN_WORD_HIRAGANA:
  case KIN_WORD_KATAKANA:
  case KIN_WORD_HANGUL:
    end = skip_extends(s, next);
    add_to_run(s, at, end);
    return end;
  case KIN_WORD_COMPLEX:
    end = complex_end(s, at);
    pass_word(s, at, end);
    return end;
  case KIN_WORD_LETTER:
  case KIN_WORD_HEBREW:
  case KIN_WORD_NUMBER:
  case KIN_WORD_CONNECTOR:
    end = word_end(s, at, &any);
    if (any) pass_word(s, at, end);
    return end;
  default:
    return next;
  }
}

kin_status kin_search_tokens(const char *text, size_t size, kin_search_sink sink, void *user, kin_error *err) {
  kin_bytes valid = {0}, folded = {0};
  prepare(&text, &size, &valid, &folded);
  scanner s = {.text = text, .size = size, .sink = sink, .user = user, .run_end = SIZE_MAX};
  bool failed = valid.failed || folded.failed;
  for (size_t at = 0; !failed && at < size && !s.stopped && !s.token.failed;) {
    size_t next = scan(&s, at);
    if (s.run && s.run_end != next) end_run(&s);
    at = next;
  }
  if (!failed) end_run(&s);
  failed = failed || s.token.failed;
  kin_bytes_free(&s.token);
  kin_bytes_free(&valid);
  kin_bytes_free(&folded);
  return failed ? kin_fail(err, KIN_ERR_MEMORY, "out of memory for the words of a text") : KIN_OK;
}
