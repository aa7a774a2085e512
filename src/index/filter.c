/* The parser of filters, by recursive descent:
 *   expression:  conjunction { "or" conjunction }
 *   conjunction: negation { "and" negation }
 *   negation:    "not" negation | "(" expression ")" | comparison */
#include "index/filter.h"

#include "index/filter_tokens.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct parser {
  kin_tokens tokens;
  size_t comparisons, n_values, depth;
  locale_t locale; /* "C": a number is read alike everywhere */
} parser;

static kin_status out_of_memory(const parser *p) {
  return kin_fail(p->tokens.err, KIN_ERR_MEMORY, "out of memory for a filter");
}

static kin_status too_many(const parser *p, kin_token where, int most, const char *what) {
  return kin_fail(p->tokens.err, KIN_ERR_LIMIT, "filter, column %zu: more than %d %s",
                  kin_token_column(&p->tokens, where), most, what);
}

static bool take(parser *p, const char *word, kin_status *status) {
  if (!kin_token_is(p->tokens.now, word)) return false;
  *status = kin_token_next(&p->tokens);
  return *status == KIN_OK;
}

/* ------------------------------------------------------------------------- nodes */

void kin_filter_free(kin_filter *f) {
  if (!f) return;
  for (size_t i = 0; i < f->n_parts; i++) kin_filter_free(f->parts[i]);
  for (size_t i = 0; i < f->n_values; i++) free(f->values[i].text);
  free(f->parts);
  free(f->values);
  free(f->key);
  free(f);
}

bool kin_filter_is_relative(const char *pattern) {
  return *pattern != '/';
}

/* Put *filter under a new AND, OR or NOT, which takes its place. */
static kin_status wrap(parser *p, kin_filter_op op, kin_filter **filter) {
  kin_filter *node = calloc(1, sizeof *node);
  if (node) node->parts = kin_array(1, sizeof(kin_filter *));
  if (!node || !node->parts) {
    free(node);
    return out_of_memory(p);
  }
  node->op = op;
  node->parts[0] = *filter;
  node->n_parts = 1;
  *filter = node;
  return KIN_OK;
}

/* Add `part`, which is taken, to the AND or OR *whole; any other *whole is put into one first. */
static kin_status join(parser *p, kin_filter_op op, kin_filter **whole, kin_filter *part) {
  kin_status status = (*whole)->op == op ? KIN_OK : wrap(p, op, whole);
  if (status == KIN_OK) {
    size_t capacity = (*whole)->n_parts;
    if (!kin_grow((void **)&(*whole)->parts, &capacity, (*whole)->n_parts + 1, sizeof(kin_filter *)))
      status = out_of_memory(p);
  }
  if (status == KIN_OK)
    (*whole)->parts[(*whole)->n_parts++] = part;
  else
    kin_filter_free(part);
  return status;
}

/* What a comparison is of. */
typedef struct subject {
  kin_token token;
  kin_filter_field field;
  char *key;
} subject;

static kin_status new_comparison(parser *p, const subject *s, kin_filter_op op, kin_filter **out) {
  *out = NULL;
  if (++p->comparisons > KIN_FILTER_MOST_COMPARISONS)
    return too_many(p, s->token, KIN_FILTER_MOST_COMPARISONS, "comparisons");
  kin_filter *node = calloc(1, sizeof *node);
  if (!node) return out_of_memory(p);
  node->op = op;
  node->field = s->field;
  node->key = s->key ? kin_strdup(s->key) : NULL;
  if (s->key && !node->key) {
    free(node);
    return out_of_memory(p);
  }
  *out = node;
  return KIN_OK;
}

/* Takes the value. */
static kin_status add_value(parser *p, kin_filter *f, kin_filter_value value, kin_token where) {
  size_t capacity = f->n_values;
  kin_status status = KIN_OK;
  if (++p->n_values > KIN_FILTER_MOST_VALUES)
    status = too_many(p, where, KIN_FILTER_MOST_VALUES, "values");
  else if (!kin_grow((void **)&f->values, &capacity, f->n_values + 1, sizeof *f->values))
    status = out_of_memory(p);
  if (status == KIN_OK)
    f->values[f->n_values++] = value;
  else
    free(value.text);
  return status;
}

/* ------------------------------------------------------------------------ values */

static bool is_number_field(kin_filter_field field) {
  return field == KIN_FIELD_ID || field == KIN_FIELD_WIDTH || field == KIN_FIELD_HEIGHT || field == KIN_FIELD_SIZE;
}

static kin_status read_number(const parser *p, kin_token t, kin_filter_value *out) {
  char digits[64], *end;
  *out = (kin_filter_value){.type = KIN_VALUE_INTEGER};
  if (t.size >= sizeof digits) return kin_token_fail(&p->tokens, t, "a shorter number");
  memcpy(digits, t.at, t.size);
  digits[t.size] = '\0';
  errno = 0;
  out->integer = strtoll(digits, &end, 10);
  out->real = (double)out->integer;
  if (!*end && !errno) return KIN_OK;
  *out = (kin_filter_value){.type = KIN_VALUE_REAL, .real = strtod_l(digits, &end, p->locale)};
  bool hex = strpbrk(digits, "xX") != NULL;
  if (*end || hex || !isfinite(out->real)) return kin_token_fail(&p->tokens, t, "a number such as 12 or 1.5e3");
  return KIN_OK;
}

/* picture or document, in quotes or not. */
static kin_status read_kind(const parser *p, kin_token t, kin_filter_value *out) {
  static const char *const names[] = {"picture", "document", "'picture'", "'document'"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (t.size != strlen(names[i]) || strncmp(t.at, names[i], t.size) != 0) continue;
    *out = (kin_filter_value){.type = KIN_VALUE_TEXT, .text = kin_strdup(names[i % 2])};
    return out->text ? KIN_OK : out_of_memory(p);
  }
  return kin_token_fail(&p->tokens, t, "'picture' or 'document'");
}

/* The value at the token, for any field but mtime. */
static kin_status read_value(parser *p, kin_filter_field field, kin_filter_value *out) {
  kin_token t = p->tokens.now;
  kin_status status = KIN_OK;
  *out = (kin_filter_value){0};
  if (field == KIN_FIELD_KIND) {
    status = read_kind(p, t, out);
  } else if (t.type == KIN_TOKEN_NUMBER && (field == KIN_FIELD_META || is_number_field(field))) {
    status = read_number(p, t, out);
  } else if (is_number_field(field)) {
    status = kin_token_fail(&p->tokens, t, "a number, without quotes");
  } else if (t.type == KIN_TOKEN_TEXT) {
    *out = (kin_filter_value){.type = KIN_VALUE_TEXT, .text = kin_token_unquote(t)};
    if (!out->text) status = out_of_memory(p);
  } else {
    status = kin_token_fail(&p->tokens, t,
                            field == KIN_FIELD_META ? "a number, or a text in single quotes such as 'so'"
                                                    : "a text in single quotes such as 'so'");
  }
  if (status == KIN_OK && (status = kin_token_next(&p->tokens)) != KIN_OK) free(out->text);
  return status;
}

/* The seconds [*from, *to) of a date or a Unix time. */
static kin_status read_time(parser *p, int64_t *from, int64_t *to) {
  static const char expected[] = "a date such as '2024-05-01' or '2024-05-01 12:30', or a Unix time";
  kin_token t = p->tokens.now;
  kin_filter_value number;
  char *text = NULL;
  kin_status status = KIN_OK;
  if (t.type == KIN_TOKEN_NUMBER) {
    status = read_number(p, t, &number);
    if (status == KIN_OK && (number.type != KIN_VALUE_INTEGER || number.integer == INT64_MAX))
      status = kin_token_fail(&p->tokens, t, expected);
    *from = number.integer;
    *to = status == KIN_OK ? *from + 1 : *from;
  } else if (t.type != KIN_TOKEN_TEXT) {
    status = kin_token_fail(&p->tokens, t, expected);
  } else if (!(text = kin_token_unquote(t))) {
    status = out_of_memory(p);
  } else if (!kin_filter_parse_time(text, from, to)) {
    status = kin_token_fail(&p->tokens, t, expected);
  }
  free(text);
  return status == KIN_OK ? kin_token_next(&p->tokens) : status;
}

/* ------------------------------------------------------------------- comparisons */

/* mtime compared with a number of seconds. */
static kin_status compare_time(parser *p, const subject *s, kin_filter_op op, int64_t seconds, kin_filter **out) {
  kin_filter_value value = {.type = KIN_VALUE_INTEGER, .integer = seconds, .real = (double)seconds};
  kin_status status = new_comparison(p, s, op, out);
  return status == KIN_OK ? add_value(p, *out, value, s->token) : status;
}

/* from <= mtime < to. */
static kin_status within_time(parser *p, const subject *s, int64_t from, int64_t to, kin_filter **out) {
  kin_filter *before = NULL;
  kin_status status = compare_time(p, s, KIN_FILTER_GREATER_OR_EQUAL, from, out);
  if (status == KIN_OK) status = compare_time(p, s, KIN_FILTER_LESS, to, &before);
  if (status == KIN_OK) return join(p, KIN_FILTER_AND, out, before);
  kin_filter_free(before);
  return status;
}

/* mtime with one date. */
static kin_status parse_time(parser *p, const subject *s, kin_filter_op op, kin_filter **out) {
  int64_t from, to;
  kin_status status = read_time(p, &from, &to);
  if (status != KIN_OK) return status;
  switch (op) {
  case KIN_FILTER_LESS:
    return compare_time(p, s, KIN_FILTER_LESS, from, out);
  case KIN_FILTER_LESS_OR_EQUAL:
    return compare_time(p, s, KIN_FILTER_LESS, to, out);
  case KIN_FILTER_GREATER:
    return compare_time(p, s, KIN_FILTER_GREATER_OR_EQUAL, to, out);
  case KIN_FILTER_GREATER_OR_EQUAL:
    return compare_time(p, s, KIN_FILTER_GREATER_OR_EQUAL, from, out);
  default:
    return within_time(p, s, from, to, out);
  }
}

static kin_status parse_in_times(parser *p, const subject *s, kin_filter **out) {
  kin_status status;
  do {
    kin_filter *one = NULL;
    status = parse_time(p, s, KIN_FILTER_EQUAL, &one);
    if (status == KIN_OK && *out)
      status = join(p, KIN_FILTER_OR, out, one);
    else if (status == KIN_OK)
      *out = one;
    else
      kin_filter_free(one);
  } while (status == KIN_OK && take(p, ",", &status));
  return status;
}

static kin_status parse_in(parser *p, const subject *s, kin_filter **out) {
  kin_status status = kin_token_expect(&p->tokens, "(", "( and values between commas");
  if (status == KIN_OK && s->field == KIN_FIELD_MTIME) {
    status = parse_in_times(p, s, out);
  } else if (status == KIN_OK) {
    status = new_comparison(p, s, KIN_FILTER_IN, out);
    if (status != KIN_OK) return status;
    do {
      kin_filter_value value;
      kin_token where = p->tokens.now;
      status = read_value(p, s->field, &value);
      if (status == KIN_OK) status = add_value(p, *out, value, where);
    } while (status == KIN_OK && take(p, ",", &status));
  }
  return status == KIN_OK ? kin_token_expect(&p->tokens, ")", ", or )") : status;
}

static kin_status parse_between(parser *p, const subject *s, kin_filter **out) {
  static const char and_other[] = "and with the other end: between 1 and 2";
  int64_t from, to, ignored;
  kin_filter_value value;
  if (s->field == KIN_FIELD_MTIME) {
    kin_status status = read_time(p, &from, &ignored);
    if (status == KIN_OK) status = kin_token_expect(&p->tokens, "and", and_other);
    if (status == KIN_OK) status = read_time(p, &ignored, &to);
    return status == KIN_OK ? within_time(p, s, from, to, out) : status;
  }
  kin_token where = p->tokens.now;
  kin_status status = new_comparison(p, s, KIN_FILTER_BETWEEN, out);
  if (status == KIN_OK) status = read_value(p, s->field, &value);
  if (status == KIN_OK) status = add_value(p, *out, value, where);
  if (status == KIN_OK) status = kin_token_expect(&p->tokens, "and", and_other);
  if (status != KIN_OK) return status;
  where = p->tokens.now;
  status = read_value(p, s->field, &value);
  if (status == KIN_OK) status = add_value(p, *out, value, where);
  if (status != KIN_OK) return status;
  bool is_text = (*out)->values[0].type == KIN_VALUE_TEXT;
  if (is_text == (value.type == KIN_VALUE_TEXT)) return KIN_OK;
  return kin_token_fail(&p->tokens, where, is_text ? "a text like the other end" : "a number like the other end");
}

static kin_status parse_pattern(parser *p, const subject *s, kin_filter_op op, kin_filter **out) {
  kin_filter_value value = {.type = KIN_VALUE_TEXT};
  kin_token t = p->tokens.now;
  if (is_number_field(s->field) || s->field == KIN_FIELD_MTIME || s->field == KIN_FIELD_KIND)
    return kin_token_fail(&p->tokens, s->token, "path, name, folder or meta.KEY before glob and like");
  if (t.type != KIN_TOKEN_TEXT) return kin_token_fail(&p->tokens, t, "a pattern in single quotes such as '*.jpg'");
  kin_status status = new_comparison(p, s, op, out);
  if (status == KIN_OK && !(value.text = kin_token_unquote(t))) status = out_of_memory(p);
  if (status == KIN_OK) status = add_value(p, *out, value, t);
  return status == KIN_OK ? kin_token_next(&p->tokens) : status;
}

/* After "is". */
static kin_status parse_null(parser *p, const subject *s, kin_filter **out) {
  kin_status status = KIN_OK;
  bool present = take(p, "not", &status);
  if (status == KIN_OK) status = kin_token_expect(&p->tokens, "null", "null or not null");
  if (status == KIN_OK) status = new_comparison(p, s, KIN_FILTER_IS_NULL, out);
  return status == KIN_OK && present ? wrap(p, KIN_FILTER_NOT, out) : status;
}

/* The sign at the token; *negated: its opposite was given. */
static bool find_sign(kin_token t, kin_filter_op *op, bool *negated) {
  static const struct {
    const char *sign;
    kin_filter_op op;
    bool negated;
  } signs[] = {{"=", KIN_FILTER_EQUAL, false},   {"==", KIN_FILTER_EQUAL, false},
               {"!=", KIN_FILTER_EQUAL, true},   {"<>", KIN_FILTER_EQUAL, true},
               {"<", KIN_FILTER_LESS, false},    {"<=", KIN_FILTER_LESS_OR_EQUAL, false},
               {">", KIN_FILTER_GREATER, false}, {">=", KIN_FILTER_GREATER_OR_EQUAL, false}};
  for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
    if (!kin_token_is(t, signs[i].sign)) continue;
    *op = signs[i].op;
    *negated = signs[i].negated;
    return true;
  }
  return false;
}

static kin_status parse_sign(parser *p, const subject *s, kin_filter_op op, kin_filter **out) {
  if (s->field == KIN_FIELD_MTIME) return parse_time(p, s, op, out);
  if (s->field == KIN_FIELD_KIND && op != KIN_FILTER_EQUAL)
    return kin_token_fail(&p->tokens, s->token, "kind with = or != only");
  kin_filter_value value;
  kin_token where = p->tokens.now;
  kin_status status = new_comparison(p, s, op, out);
  if (status == KIN_OK) status = read_value(p, s->field, &value);
  return status == KIN_OK ? add_value(p, *out, value, where) : status;
}

/* What follows the field. On failure *out may hold a part of it. */
static kin_status parse_operator(parser *p, const subject *s, kin_filter **out) {
  kin_filter_op op;
  bool negated = false;
  kin_status status = KIN_OK;
  if (find_sign(p->tokens.now, &op, &negated)) {
    status = kin_token_next(&p->tokens);
    if (status == KIN_OK) status = parse_sign(p, s, op, out);
  } else {
    if (take(p, "is", &status)) return parse_null(p, s, out);
    if (status == KIN_OK) negated = take(p, "not", &status);
    if (take(p, "in", &status))
      status = parse_in(p, s, out);
    else if (take(p, "between", &status))
      status = parse_between(p, s, out);
    else if (take(p, "glob", &status))
      status = parse_pattern(p, s, KIN_FILTER_GLOB, out);
    else if (take(p, "like", &status))
      status = parse_pattern(p, s, KIN_FILTER_LIKE, out);
    else if (status == KIN_OK)
      status = kin_token_fail(&p->tokens, p->tokens.now, "=, !=, <, <=, >, >=, glob, like, in, between or is null");
  }
  return status == KIN_OK && negated ? wrap(p, KIN_FILTER_NOT, out) : status;
}

/* meta.KEY, or meta.'any key'. */
static kin_status parse_key(parser *p, subject *s) {
  kin_token t = s->token, quoted = p->tokens.now;
  if (t.size > 5) {
    s->key = strndup(t.at + 5, t.size - 5);
    return s->key ? KIN_OK : out_of_memory(p);
  }
  if (quoted.type != KIN_TOKEN_TEXT || quoted.at != t.at + 5)
    return kin_token_fail(&p->tokens, t, "a key: meta.camera or meta.'any key'");
  s->key = kin_token_unquote(quoted);
  return s->key ? kin_token_next(&p->tokens) : out_of_memory(p);
}

static kin_status parse_comparison(parser *p, kin_filter **out) {
  static const char *const names[] = {
      [KIN_FIELD_ID] = "id",         [KIN_FIELD_PATH] = "path",   [KIN_FIELD_NAME] = "name",
      [KIN_FIELD_FOLDER] = "folder", [KIN_FIELD_WIDTH] = "width", [KIN_FIELD_HEIGHT] = "height",
      [KIN_FIELD_SIZE] = "size",     [KIN_FIELD_MTIME] = "mtime", [KIN_FIELD_KIND] = "kind"};
  static const char expected[] = "a field (id, path, name, folder, width, height, size, mtime, kind or meta.KEY)";
  subject s = {.token = p->tokens.now, .field = KIN_FIELD_META};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (kin_token_is(s.token, names[i])) s.field = (kin_filter_field)i;
  bool meta = s.token.type == KIN_TOKEN_WORD && s.token.size >= 5 && strncmp(s.token.at, "meta.", 5) == 0;
  if (s.field == KIN_FIELD_META && !meta) return kin_token_fail(&p->tokens, s.token, expected);
  kin_status status = kin_token_next(&p->tokens);
  if (status == KIN_OK && meta) status = parse_key(p, &s);
  if (status == KIN_OK) status = parse_operator(p, &s, out);
  free(s.key);
  return status;
}

/* ------------------------------------------------------------------- expressions */

static kin_status parse_expression(parser *p, kin_filter **out);

static kin_status parse_negation(parser *p, kin_filter **out) {
  kin_token where = p->tokens.now;
  kin_status status = KIN_OK;
  if (++p->depth > KIN_FILTER_MOST_DEPTH) return too_many(p, where, KIN_FILTER_MOST_DEPTH, "levels of not and (");
  if (take(p, "not", &status)) {
    status = parse_negation(p, out);
    if (status == KIN_OK) status = wrap(p, KIN_FILTER_NOT, out);
  } else if (take(p, "(", &status)) {
    status = parse_expression(p, out);
    if (status == KIN_OK) status = kin_token_expect(&p->tokens, ")", "and, or, or )");
  } else if (status == KIN_OK) {
    status = parse_comparison(p, out);
  }
  p->depth--;
  return status;
}

static kin_status parse_series(parser *p, kin_filter_op op, kin_filter **out) {
  const char *word = op == KIN_FILTER_AND ? "and" : "or";
  kin_status status;
  do {
    kin_filter *part = NULL;
    status = op == KIN_FILTER_AND ? parse_negation(p, &part) : parse_series(p, KIN_FILTER_AND, &part);
    if (status == KIN_OK && *out)
      status = join(p, op, out, part);
    else if (status == KIN_OK)
      *out = part;
    else
      kin_filter_free(part);
  } while (status == KIN_OK && take(p, word, &status));
  return status;
}

static kin_status parse_expression(parser *p, kin_filter **out) {
  return parse_series(p, KIN_FILTER_OR, out);
}

kin_status kin_filter_parse(const char *text, kin_filter **out, kin_error *err) {
  *out = NULL;
  if (strlen(text) > KIN_FILTER_MOST_BYTES)
    return kin_fail(err, KIN_ERR_LIMIT, "the filter has more than %d bytes", KIN_FILTER_MOST_BYTES);
  parser p = {.tokens = {.text = text, .now = {.at = text}, .err = err}};
  p.locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  if (!p.locale) return out_of_memory(&p);
  kin_filter *filter = NULL;
  kin_status status = kin_token_next(&p.tokens);
  if (status == KIN_OK && p.tokens.now.type != KIN_TOKEN_END) status = parse_expression(&p, &filter);
  if (status == KIN_OK && p.tokens.now.type != KIN_TOKEN_END)
    status = kin_token_fail(&p.tokens, p.tokens.now, "and, or, or the end");
  freelocale(p.locale);
  if (status == KIN_OK)
    *out = filter;
  else
    kin_filter_free(filter);
  return status;
}
