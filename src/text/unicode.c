/* UTF-8, character classes, case and normalisation forms: utf8proc, with the reference's libraries' tables where they
 * are of another Unicode version. */
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

typedef struct kin_range {
  uint32_t first, last;
} kin_range;

typedef struct kin_lower_range {
  uint32_t first, last;
  int32_t delta;
} kin_lower_range;

#include "text/unicode_overrides.inc"

#define IN(table, c) in_ranges((table), sizeof(table) / sizeof *(table), (c))

static bool in_ranges(const kin_range *table, size_t n, uint32_t c) {
  while (n) {
    const kin_range *middle = table + n / 2;
    if (c > middle->last) {
      table = middle + 1;
      n -= n / 2 + 1;
    } else {
      if (c >= middle->first) return true;
      n /= 2;
    }
  }
  return false;
}

/* ---------------------------------------------------------------- UTF-8 */

/* Bytes of the well-formed sequence at p, of `left` bytes; 0 if there is none. */
static size_t well_formed(const uint8_t *p, size_t left) {
  uint8_t b = p[0];
  if (b < 0xC2 || b > 0xF4) return 0;
  size_t n = b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
  if (left < n) return 0;
  uint8_t low = 0x80, high = 0xBF;
  if (b == 0xE0) low = 0xA0;
  if (b == 0xED) high = 0x9F;
  if (b == 0xF0) low = 0x90;
  if (b == 0xF4) high = 0x8F;
  if (p[1] < low || p[1] > high) return 0;
  for (size_t i = 2; i < n; i++)
    if ((p[i] & 0xC0) != 0x80) return 0;
  return n;
}

size_t kin_utf8_check(const char *text, size_t size) {
  size_t at = 0;
  while (at < size) {
    uint64_t word;
    if (size - at >= sizeof word) {
      memcpy(&word, text + at, sizeof word);
      if (!(word & 0x8080808080808080u)) {
        at += sizeof word;
        continue;
      }
    }
    if (!(text[at] & 0x80)) {
      at++;
      continue;
    }
    size_t n = well_formed((const uint8_t *)text + at, size - at);
    if (!n) return at;
    at += n;
  }
  return size;
}

size_t kin_utf8_encode(uint32_t c, char out[4]) {
  if (c < 0x80) {
    out[0] = (char)c;
    return 1;
  }
  if (c < 0x800) {
    out[0] = (char)(0xC0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3F));
    return 2;
  }
  if (c < 0x10000) {
    out[0] = (char)(0xE0 | c >> 12);
    out[1] = (char)(0x80 | (c >> 6 & 0x3F));
    out[2] = (char)(0x80 | (c & 0x3F));
    return 3;
  }
  out[0] = (char)(0xF0 | c >> 18);
  out[1] = (char)(0x80 | (c >> 12 & 0x3F));
  out[2] = (char)(0x80 | (c >> 6 & 0x3F));
  out[3] = (char)(0x80 | (c & 0x3F));
  return 4;
}

/* -------------------------------------------------------------- classes */

static utf8proc_category_t category(uint32_t c) {
  return utf8proc_category((utf8proc_int32_t)c);
}

bool kin_is_space(uint32_t c) {
  if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

bool kin_is_letter(uint32_t c) {
  if (c < 0x80) return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
  utf8proc_category_t k = category(c);
  return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) || IN(letter_also, c);
}

bool kin_is_number(uint32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  utf8proc_category_t k = category(c);
  return (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO) || IN(number_also, c);
}

bool kin_is_punctuation(uint32_t c) {
  if (c < 0x80) return c > ' ' && c < 0x7F && !kin_is_letter(c) && !kin_is_number(c);
  utf8proc_category_t k = category(c);
  if (k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO) return !IN(punctuation_not, c);
  return IN(punctuation_also, c);
}

bool kin_is_other(uint32_t c) {
  if (c < 0x80) return c < ' ' || c == 0x7F;
  utf8proc_category_t k = category(c);
  bool other = k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CO;
  return other && !IN(other_not, c);
}

bool kin_is_nonspacing(uint32_t c) {
  if (c < 0x300) return false;
  if (category(c) == UTF8PROC_CATEGORY_MN) return !IN(nonspacing_not, c);
  return IN(nonspacing_also, c);
}

size_t kin_lower(uint32_t c, uint32_t out[2]) {
  out[0] = c;
  if (c < 0x80) {
    if (c >= 'A' && c <= 'Z') out[0] = c | 0x20;
    return 1;
  }
  if (c == 0x130) { /* the one letter whose lower case is two characters */
    out[0] = 'i';
    out[1] = 0x307;
    return 2;
  }
  out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
  if (out[0] != c) return 1;
  for (size_t i = 0; i < sizeof lower_also / sizeof *lower_also; i++)
    if (c >= lower_also[i].first && c <= lower_also[i].last) out[0] = (uint32_t)((int32_t)c + lower_also[i].delta);
  return 1;
}

/* --------------------------------------------------------- normal forms */

typedef struct code_points {
  int32_t *data;
  size_t size, capacity;
  bool failed;
} code_points;

static int combining_class(int32_t c) {
  return utf8proc_get_property(c)->combining_class;
}

/* Canonical order of the marks data[0..n): a stable sort by combining class. Counting keeps long runs linear;
 * utf8proc's own ordering swaps neighbours, which a hostile run of marks makes quadratic. */
static void order_marks(int32_t *data, size_t n, code_points *scratch) {
  size_t i = 1;
  while (i < n && combining_class(data[i - 1]) <= combining_class(data[i])) i++;
  if (i >= n) return;
  if (!kin_grow((void **)&scratch->data, &scratch->capacity, n, sizeof *scratch->data)) {
    scratch->failed = true;
    return;
  }
  size_t starts[257] = {0};
  for (i = 0; i < n; i++) starts[combining_class(data[i]) + 1]++;
  for (i = 1; i < 257; i++) starts[i] += starts[i - 1];
  for (i = 0; i < n; i++) scratch->data[starts[combining_class(data[i])]++] = data[i];
  memcpy(data, scratch->data, n * sizeof *data);
}

static void decompose(const char *text, size_t size, utf8proc_option_t options, code_points *out) {
  for (size_t at = 0; at < size;) {
    int32_t c = (int32_t)kin_utf8_next(text, &at);
    if (!kin_grow((void **)&out->data, &out->capacity, out->size + 32, sizeof *out->data)) {
      out->failed = true;
      return;
    }
    /* No character decomposes into more than 18. */
    utf8proc_ssize_t n = utf8proc_decompose_char(c, out->data + out->size, 32, options, NULL);
    out->size += n > 0 ? (size_t)n : 0;
  }
}

/* Text without characters that are foreign to the reference's tables. */
static void append_known(kin_normal_form form, const char *text, size_t size, code_points *buffer, code_points *scratch,
                         kin_bytes *out) {
  bool compose = form == KIN_NFC || form == KIN_NFKC;
  int options = UTF8PROC_STABLE | (compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE);
  if (form == KIN_NFKC || form == KIN_NFKD) options |= UTF8PROC_COMPAT;
  buffer->size = 0;
  decompose(text, size, (utf8proc_option_t)options, buffer);
  for (size_t i = 0; i < buffer->size;) {
    size_t end = i;
    while (end < buffer->size && combining_class(buffer->data[end])) end++;
    if (end > i + 1) order_marks(buffer->data + i, end - i, scratch);
    i = end + 1;
  }
  if (buffer->failed || scratch->failed) {
    out->failed = true;
    return;
  }
  utf8proc_ssize_t n = (utf8proc_ssize_t)buffer->size;
  if (compose) n = utf8proc_normalize_utf32(buffer->data, n, (utf8proc_option_t)options);
  for (utf8proc_ssize_t i = 0; i < n; i++) kin_bytes_put(out, (uint32_t)buffer->data[i]);
}

void kin_normal_form_append(kin_normal_form form, const char *text, size_t size, kin_bytes *out) {
  /* Nothing below the combining marks changes in NFC, nothing in ASCII changes in any form. */
  uint32_t inert = form == KIN_NFC ? 0x300 : 0x80;
  code_points buffer = {0}, scratch = {0};
  size_t done = 0, last = 0;
  bool plain = true;
  for (size_t at = 0; at < size; last = at) {
    uint32_t c = kin_utf8_next(text, &at);
    if (c < inert) continue;
    plain = false;
    if (c < 0x700 || !IN(normal_form_foreign, c)) continue;
    append_known(form, text + done, last - done, &buffer, &scratch, out);
    kin_bytes_append(out, text + last, at - last);
    done = at;
  }
  if (plain)
    kin_bytes_append(out, text, size);
  else
    append_known(form, text + done, size - done, &buffer, &scratch, out);
  free(buffer.data);
  free(scratch.data);
}

/* ------------------------------------------------------------ graphemes */

/* A character of the class that the reference's table gives to `c`. */
static int32_t grapheme_stand_in(uint32_t c) {
  if (c < 0x700) return (int32_t)c;
  if (IN(extend_also, c)) return 0x300;
  if (IN(prepend_also, c)) return 0x600;
  if (IN(prepend_not, c)) return 'a';
  return (int32_t)c;
}

/* Where an Indic conjunct stands: 0 outside, 1 behind a consonant, 2 behind a consonant and a linker. */
static int conjunct_step(int state, uint32_t c) {
  if (c >= 0x900 && IN(conjunct_consonant, c)) return 1;
  if (!state || c < 0x300) return 0;
  if (IN(conjunct_linker, c)) return 2;
  int class = utf8proc_get_property(grapheme_stand_in(c))->boundclass;
  bool extends = (class == UTF8PROC_BOUNDCLASS_EXTEND && c != 0x200C) || class == UTF8PROC_BOUNDCLASS_ZWJ;
  return extends ? state : 0;
}

size_t kin_grapheme_end(const char *text, size_t size, size_t at) {
  uint32_t previous = kin_utf8_next(text, &at);
  int32_t state = 0;
  int conjunct = conjunct_step(0, previous);
  while (at < size) {
    if (previous < 0x80 && !(text[at] & 0x80)) {
      if (previous != '\r' || text[at] != '\n') return at;
    }
    size_t next = at;
    uint32_t c = kin_utf8_next(text, &next);
    bool joined = !utf8proc_grapheme_break_stateful(grapheme_stand_in(previous), grapheme_stand_in(c), &state);
    if (!joined && !(conjunct == 2 && IN(conjunct_consonant, c))) return at;
    conjunct = conjunct_step(conjunct, c);
    previous = c;
    at = next;
  }
  return at;
}
