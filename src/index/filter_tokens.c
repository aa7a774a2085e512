/* Tokens of filters, and messages that name the column. */
#include "index/filter_tokens.h"

#include <string.h>

size_t kin_token_column(const kin_tokens *p, kin_token where) {
  size_t column = 1;
  for (const char *c = p->text; c < where.at; c++) column += ((unsigned char)*c & 0xC0) != 0x80;
  return column;
}

kin_status kin_token_fail(const kin_tokens *p, kin_token where, const char *expected) {
  size_t column = kin_token_column(p, where);
  if (where.type == KIN_TOKEN_END)
    return kin_fail(p->err, KIN_ERR_ARGUMENT, "filter, column %zu: it ends too early: expected %s", column, expected);
  size_t shown = where.size < 60 ? where.size : 60;
  while (shown < where.size && ((unsigned char)where.at[shown] & 0xC0) == 0x80) shown--; /* no part of a character */
  return kin_fail(p->err, KIN_ERR_ARGUMENT, "filter, column %zu: at %.*s%s: expected %s", column, (int)shown, where.at,
                  shown < where.size ? "..." : "", expected);
}

static bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* meta. may be followed by a key in quotes. */
static size_t word_size(const char *at) {
  size_t n = 0;
  while (is_letter(at[n]) || is_digit(at[n]) || (n > 0 && at[n] && strchr(".:-", at[n]))) n++;
  return n;
}

/* A digit, sign or point, then what a number may hold; strtod has the last word. */
static size_t number_size(const char *at) {
  size_t n = *at == '-' || *at == '+';
  if (!is_digit(at[n]) && !(at[n] == '.' && is_digit(at[n + 1]))) return 0;
  while (at[n] &&
         (is_digit(at[n]) || is_letter(at[n]) || at[n] == '.' || (strchr("+-", at[n]) && strchr("eE", at[n - 1]))))
    n++;
  return n;
}

/* With both quotes; 0: it doesn't end. */
static size_t text_size(const char *at) {
  for (size_t n = 1; at[n]; n++) {
    if (at[n] != '\'') continue;
    if (at[n + 1] != '\'') return n + 1;
    n++;
  }
  return 0;
}

static size_t sign_size(const char *at) {
  static const char *const signs[] = {"<=", ">=", "!=", "<>", "==", "<", ">", "=", "(", ")", ","};
  for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
    if (strncmp(at, signs[i], strlen(signs[i])) == 0) return strlen(signs[i]);
  return 0;
}

static kin_status unknown_token(const kin_tokens *p) {
  const char *at = p->now.at;
  size_t column = kin_token_column(p, p->now), n = 1;
  if (*at == '\'')
    return kin_fail(p->err, KIN_ERR_ARGUMENT, "filter, column %zu: the text that begins here has no closing '", column);
  if (*at == '"')
    return kin_fail(p->err, KIN_ERR_ARGUMENT,
                    "filter, column %zu: texts stand in single quotes: 'so' (and a ' in them is doubled)", column);
  while (((unsigned char)at[n] & 0xC0) == 0x80) n++;
  return kin_fail(p->err, KIN_ERR_ARGUMENT, "filter, column %zu: %.*s means nothing here", column, (int)n, at);
}

kin_status kin_token_next(kin_tokens *p) {
  const char *at = p->now.at + p->now.size;
  while (*at && strchr(" \t\r\n", *at)) at++;
  p->now = (kin_token){KIN_TOKEN_END, at, 0};
  if (!*at) return KIN_OK;
  if (*at == '\'') {
    p->now.type = KIN_TOKEN_TEXT;
    p->now.size = text_size(at);
  } else if ((p->now.size = number_size(at)) > 0) {
    p->now.type = KIN_TOKEN_NUMBER;
  } else if ((p->now.size = word_size(at)) > 0) {
    p->now.type = KIN_TOKEN_WORD;
  } else {
    p->now.type = KIN_TOKEN_SIGN;
    p->now.size = sign_size(at);
  }
  return p->now.size ? KIN_OK : unknown_token(p);
}

bool kin_token_is(kin_token t, const char *word) {
  if ((t.type != KIN_TOKEN_WORD && t.type != KIN_TOKEN_SIGN) || t.size != strlen(word)) return false;
  for (size_t i = 0; i < t.size; i++) {
    char c = t.at[i];
    if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
    if (c != word[i]) return false;
  }
  return true;
}

kin_status kin_token_expect(kin_tokens *p, const char *word, const char *expected) {
  return kin_token_is(p->now, word) ? kin_token_next(p) : kin_token_fail(p, p->now, expected);
}

char *kin_token_unquote(kin_token t) {
  char *out = kin_array(t.size, 1);
  if (!out) return NULL;
  size_t n = 0;
  for (size_t i = 1; i + 1 < t.size; i++) {
    out[n++] = t.at[i];
    if (t.at[i] == '\'') i++;
  }
  out[n] = '\0';
  return out;
}
