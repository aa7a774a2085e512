/* The "vocab" of a Unigram model, read straight from the text of tokenizer.json. */
#include "text/unigram_vocabulary.h"

#include "text/unicode.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A place in the text; reading behind its end gives '\0', which no JSON holds. */
typedef struct cursor {
  const char *at, *end;
} cursor;

static char peek(const cursor *c) {
  return c->at < c->end ? *c->at : '\0';
}

static char skip_space(cursor *c) {
  while (peek(c) == ' ' || peek(c) == '\n' || peek(c) == '\r' || peek(c) == '\t') c->at++;
  return peek(c);
}

/* Skip white space and take `wanted`. */
static bool take(cursor *c, char wanted) {
  if (skip_space(c) != wanted) return false;
  c->at++;
  return true;
}

/* -------------------------------------------------------------- strings */

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') return (c | 0x20) - 'a' + 10;
  return -1;
}

/* The four digits of \u at the cursor; UINT32_MAX if they aren't there. */
static uint32_t take_hex(cursor *c) {
  uint32_t value = 0;
  for (int i = 0; i < 4; i++) {
    int digit = hex_digit(peek(c));
    if (digit < 0) return UINT32_MAX;
    value = value << 4 | (uint32_t)digit;
    c->at++;
  }
  return value;
}

/* What follows "\u": one unit, or a pair of surrogates. */
static bool take_unicode(cursor *c, kin_bytes *out) {
  uint32_t unit = take_hex(c);
  if (unit >= 0xD800 && unit < 0xDC00) {
    if (peek(c) != '\\') return false;
    c->at++;
    if (peek(c) != 'u') return false;
    c->at++;
    uint32_t low = take_hex(c);
    if (low < 0xDC00 || low > 0xDFFF) return false;
    unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
  } else if (unit > 0xFFFF || (unit >= 0xDC00 && unit <= 0xDFFF)) {
    return false;
  }
  kin_bytes_put(out, unit);
  return true;
}

static bool take_escape(cursor *c, kin_bytes *out) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  char kind = peek(c);
  c->at++;
  if (kind == 'u') return take_unicode(c, out);
  const char *found = kind ? strchr(from, kind) : NULL;
  if (found) kin_bytes_append(out, &to[found - from], 1);
  return found != NULL;
}

static bool take_string(cursor *c, kin_bytes *out) {
  if (!take(c, '"')) return false;
  for (;;) {
    const char *start = c->at;
    while (c->at < c->end && *c->at != '"' && *c->at != '\\' && (uint8_t)*c->at >= ' ') c->at++;
    kin_bytes_append(out, start, (size_t)(c->at - start));
    char stop = peek(c);
    c->at++;
    if (stop == '"') return true;
    if (stop != '\\' || !take_escape(c, out)) return false;
  }
}

/* -------------------------------------------------------------- numbers */

static double power_of_ten(int n) {
  static const double exact[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  if (n < 23) return exact[n];
  char text[16];
  snprintf(text, sizeof text, "1e%d", n);
  return strtod(text, NULL);
}

/* significand * 10^exponent with a rounding at each step, as the reference's parser does it. */
static double scale(uint64_t significand, int exponent) {
  double f = (double)significand;
  while (exponent < -308 && f != 0) {
    f /= 1e308;
    exponent += 308;
  }
  if (f == 0) return f;
  if (exponent > 308) return INFINITY;
  return exponent < 0 ? f / power_of_ten(-exponent) : f * power_of_ten(exponent);
}

/* Digits at the cursor into *significand until it is full (the reference ignores the rest): how many were taken in
 * *used, how many were there in *seen. */
static void take_digits(cursor *c, uint64_t *significand, int *used, int *seen) {
  bool full = false;
  *used = *seen = 0;
  for (; peek(c) >= '0' && peek(c) <= '9'; c->at++) {
    uint64_t grown;
    full = full || __builtin_mul_overflow(*significand, 10, &grown) ||
           __builtin_add_overflow(grown, (uint64_t)(*c->at - '0'), &grown);
    if (!full) {
      *significand = grown;
      ++*used;
    }
    if (*seen < 1000000) ++*seen;
  }
}

/* The exponent behind 'e'; false if there is none. */
static bool take_exponent(cursor *c, int *exponent) {
  bool negative = peek(c) == '-';
  if (negative || peek(c) == '+') c->at++;
  int value = 0;
  if (peek(c) < '0' || peek(c) > '9') return false;
  for (; peek(c) >= '0' && peek(c) <= '9'; c->at++)
    if (value < 100000) value = value * 10 + (*c->at - '0');
  *exponent += negative ? -value : value;
  return true;
}

static bool take_number(cursor *c, double *out) {
  bool negative = skip_space(c) == '-';
  if (negative) c->at++;
  bool zero = peek(c) == '0';
  uint64_t significand = 0;
  int used, seen, exponent;
  take_digits(c, &significand, &used, &seen);
  if (!seen || (zero && seen > 1)) return false;
  exponent = seen - used;
  bool full = exponent > 0;
  if (peek(c) == '.') {
    c->at++;
    uint64_t longer = significand;
    take_digits(c, &longer, &used, &seen);
    if (!seen) return false;
    if (!full) {
      significand = longer;
      exponent -= used;
    }
  }
  if ((peek(c) | 0x20) == 'e') {
    c->at++;
    if (!take_exponent(c, &exponent)) return false;
  }
  double value = scale(significand, exponent);
  *out = negative ? -value : value;
  return isfinite(value);
}

/* -------------------------------------------------------------- the array */

/* Behind the string whose opening quote is at the cursor; true if it is `name`. */
static bool skip_string(cursor *c, const char *name) {
  const char *start = ++c->at;
  for (; c->at < c->end && *c->at != '"'; c->at++)
    if (*c->at == '\\') c->at++;
  if (c->at > c->end) c->at = c->end;
  size_t n = (size_t)(c->at - start);
  if (c->at < c->end) c->at++;
  return n == strlen(name) && !memcmp(start, name, n);
}

/* Move to the array of model.vocab; false if there is none. */
static bool find_array(cursor *c) {
  size_t depth = 0;
  bool model = false, named = false; /* inside "model"; behind the key that is looked for at this depth */
  for (; c->at < c->end;) {
    switch (*c->at) {
    case '"': {
      bool match = skip_string(c, depth == 1 ? "model" : "vocab");
      named = match && (depth == 1 || (depth == 2 && model)) && skip_space(c) == ':';
      continue;
    }
    case '{':
    case '[':
      if (named && depth == 2) return *c->at == '[';
      model = depth == 1 ? named && *c->at == '{' : model;
      named = false;
      depth++;
      break;
    case '}':
    case ']':
      if (depth) depth--;
      break;
    case ':':
    case ' ':
    case '\n':
    case '\r':
    case '\t':
      break;
    default: /* another value, or a comma */
      named = false;
    }
    c->at++;
  }
  return false;
}

static bool take_entry(cursor *c, kin_unigram_vocabulary *out) {
  if (!kin_grow((void **)&out->ends, &out->ends_capacity, out->count + 1, sizeof *out->ends) ||
      !kin_grow((void **)&out->scores, &out->scores_capacity, out->count + 1, sizeof *out->scores)) {
    out->text.failed = true;
    return false;
  }
  if (!take(c, '[') || !take_string(c, &out->text) || !take(c, ',') || !take_number(c, &out->scores[out->count]) ||
      !take(c, ']'))
    return false;
  out->ends[out->count++] = out->text.size;
  return true;
}

static bool take_entries(cursor *c, kin_unigram_vocabulary *out) {
  if (!take(c, '[')) return false;
  if (take(c, ']')) return true;
  do {
    if (!take_entry(c, out)) return false;
  } while (take(c, ','));
  return take(c, ']');
}

kin_status kin_unigram_vocabulary_take(char *json, size_t *size, const char *file, kin_unigram_vocabulary *out,
                                       kin_error *err) {
  *out = (kin_unigram_vocabulary){0};
  cursor c = {json, json + *size};
  if (!find_array(&c)) return KIN_OK;
  size_t start = (size_t)(c.at - json);
  bool ok = take_entries(&c, out);
  if (out->text.failed) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the vocabulary of %s", file);
  if (!ok) return kin_fail(err, KIN_ERR_FORMAT, "%s: entry %zu of \"vocab\" isn't [token, score]", file, out->count);
  size_t bad = kin_utf8_check(out->text.data, out->text.size);
  if (bad < out->text.size) return kin_fail(err, KIN_ERR_FORMAT, "%s: a token of \"vocab\" isn't valid UTF-8", file);
  /* Line ends stay, so that messages about the rest name the right line. */
  char *to = json + start + 1;
  for (const char *from = to; from + 1 < c.at; from++)
    if (*from == '\n') *to++ = '\n';
  memmove(to, c.at - 1, (size_t)(json + *size - c.at) + 1);
  *size = (size_t)(to - json) + (size_t)(c.end - c.at) + 1;
  return KIN_OK;
}

void kin_unigram_vocabulary_free(kin_unigram_vocabulary *v) {
  kin_bytes_free(&v->text);
  free(v->ends);
  free(v->scores);
  *v = (kin_unigram_vocabulary){0};
}
