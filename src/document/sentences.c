/* Where a sentence ends: after . ! ? and their relatives, unless it looks like an abbreviation, and at a paragraph's
 * end. */
#include "document/chunker.h"
#include "text/unicode.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\v';
}

/* Ends a sentence without a blank behind it. */
static bool is_wide_stop(uint32_t c) {
  return c == 0x3002 || c == 0xFF01 || c == 0xFF1F || c == 0xFF61; /* 。！？｡ */
}

static bool is_stop(uint32_t c) {
  return c == '.' || c == '!' || c == '?' || c == 0x2026 /* … */ || c == 0x0964 /* । */ || c == 0x061F /* ؟ */ ||
         is_wide_stop(c);
}

/* Quotes and brackets that may close behind the stop. */
static bool is_closer(uint32_t c) {
  return c == '"' || c == '\'' || c == ')' || c == ']' || c == '}' || c == 0x2019 || c == 0x201D || c == 0xBB ||
         c == 0x300D || c == 0x300F || c == 0x3009 || c == 0x300B || c == 0x3011 || c == 0xFF09;
}

/* The word before the full stop at text[at] is one that takes it: "Dr.", "e.g.", an initial, or a list's number. */
static bool is_abbreviation(const char *text, size_t at) {
  static const char *const known[] = {
      "mr",   "mrs",  "ms",  "dr",  "prof", "st",  "jr",   "sr",  "vs",  "etc", "e.g", "i.e", "cf",
      "fig",  "figs", "no",  "nos", "vol",  "pp",  "p",    "ed",  "eds", "inc", "ltd", "co",  "corp",
      "dept", "est",  "gen", "gov", "capt", "col", "lt",   "sgt", "rev", "hon", "al",  "jan", "feb",
      "mar",  "apr",  "jun", "jul", "aug",  "sep", "sept", "oct", "nov", "dec", "mt",  "ft",  "approx",
      "ca",   "a.m",  "p.m", "u.s", "u.k",  "z.b", "d.h",  "bzw", "usw", "nr"};
  size_t start = at;
  while (start > 0 && at - start < 8 && (isalnum((unsigned char)text[start - 1]) || text[start - 1] == '.')) start--;
  if (start > 0 && !is_blank(text[start - 1]) && !strchr("([\"'", text[start - 1])) return false;
  size_t size = at - start;
  if (size == 1 && isupper((unsigned char)text[start])) return true;
  bool digits = size > 0 && size <= 3;
  for (size_t i = 0; i < size; i++) digits = digits && isdigit((unsigned char)text[start + i]);
  if (digits) return start == 0 || text[start - 1] == '\n';
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strlen(known[i]) == size && strncasecmp(known[i], text + start, size) == 0) return true;
  return false;
}

/* Whether what stops at `at` and goes on at `next` (behind stops and closers) ends the sentence. */
static bool ends_here(const char *text, size_t size, size_t at, size_t next, uint32_t stop) {
  if (is_wide_stop(stop) || next == size) return true;
  if (!is_blank(text[next])) return false;
  if (stop != '.' && stop != 0x2026) return true;
  if (stop == '.' && next == at + 1) return !is_abbreviation(text, at);
  /* "..." and ".)" may stand inside of one. */
  while (next < size && is_blank(text[next])) next++;
  return next == size || !islower((unsigned char)text[next]);
}

/* A line that begins so is a list's: the one before it ends. */
static bool begins_item(const char *text, size_t size) {
  size_t i = 0;
  while (i < size && (text[i] == ' ' || text[i] == '\t')) i++;
  if (i + 1 < size && strchr("-*+", text[i]) && text[i + 1] == ' ') return true;
  if (i + 3 < size && memcmp(text + i, "\xE2\x80\xA2", 3) == 0) return true; /* bullet */
  size_t digits = i;
  while (i < size && i - digits < 3 && isdigit((unsigned char)text[i])) i++;
  return i > digits && i + 1 < size && (text[i] == '.' || text[i] == ')') && text[i + 1] == ' ';
}

/* Behind the last blank that leaves no less than half, else at a character's start. */
static size_t cut_of(const char *text, size_t limit) {
  for (size_t i = limit; i > limit / 2; i--)
    if (is_blank(text[i - 1])) return i;
  while (limit > 1 && ((uint8_t)text[limit] & 0xC0) == 0x80) limit--;
  return limit;
}

static size_t without_blanks(const char *text, size_t size) {
  while (size > 0 && is_blank(text[size - 1])) size--;
  return size;
}

size_t kin_sentence_length(const char *text, size_t size, size_t limit) {
  size_t at = 0;
  while (at < size && at < limit) {
    size_t here = at;
    uint32_t c = kin_utf8_next(text, &at);
    if (c == '\n') {
      size_t next = at;
      while (next < size && (text[next] == ' ' || text[next] == '\t')) next++;
      if ((next < size && text[next] == '\n') || begins_item(text + at, size - at)) return without_blanks(text, here);
    }
    if (!is_stop(c)) continue;
    size_t next = at;
    uint32_t last = c;
    while (next < size) {
      size_t behind = next;
      uint32_t d = kin_utf8_next(text, &behind);
      if (!is_stop(d) && !is_closer(d)) break;
      if (is_stop(d)) last = d;
      next = behind;
    }
    if (ends_here(text, size, here, next, is_wide_stop(c) ? c : last)) return next;
    at = next;
  }
  return at < size ? cut_of(text, at > limit ? limit : at) : without_blanks(text, size);
}
