/* Filters as queries of Elasticsearch, which mean what where.c's mean in SQL. */
#include "store/elastic_parts.h"
#include "text/buffer.h"

#include <stdlib.h>
#include <string.h>

#define NANOSECONDS INT64_C(1000000000)

static const char *const fields[] = {
    [KIN_FIELD_ID] = "item",       [KIN_FIELD_PATH] = "path",      [KIN_FIELD_NAME] = "name",
    [KIN_FIELD_FOLDER] = "folder", [KIN_FIELD_WIDTH] = "width",    [KIN_FIELD_HEIGHT] = "height",
    [KIN_FIELD_SIZE] = "size",     [KIN_FIELD_MTIME] = "mtime_ns", [KIN_FIELD_KIND] = "kind",
};

/* ---------------------------------------------------------------------- patterns */

/* One character of a pattern, which may mean something in Lucene's regular expressions. */
static size_t put_character(kin_bytes *out, const char *c) {
  size_t n = 1;
  while (((unsigned char)c[n] & 0xC0) == 0x80) n++;
  if (strchr(".?+*|{}[]()\"\\#@&<>~^$-/,!=:'", *c)) kin_bytes_append(out, "\\", 1);
  kin_bytes_append(out, c, n);
  return n;
}

/* "[a-z]" or "[^a-z]" of a glob; a "]" in the first place is a member. Returns its size; 0: it has no end, so that
 * nothing matches. */
static size_t put_class(kin_bytes *out, const char *glob) {
  const char *c = glob + 1;
  kin_bytes_append(out, "[", 1);
  if (*c == '^') kin_bytes_append(out, c++, 1);
  const char *first = c;
  while (*c && (*c != ']' || c == first)) {
    if (*c == '-' && c != first && c[1] && c[1] != ']')
      kin_bytes_append(out, c++, 1);
    else
      c += put_character(out, c);
  }
  kin_bytes_append(out, "]", 1);
  return *c ? (size_t)(c + 1 - glob) : 0;
}

/* A GLOB or LIKE pattern as a regular expression on the whole value; `anywhere`: also behind any slash. */
static json_t *regexp_of(const char *pattern, bool glob, bool anywhere) {
  kin_bytes out = {0};
  if (anywhere) kin_bytes_append(&out, "(.*\\/)?", 7);
  for (const char *c = pattern; *c;) {
    if (*c == (glob ? '*' : '%')) {
      kin_bytes_append(&out, ".*", 2), c++;
    } else if (*c == (glob ? '?' : '_')) {
      kin_bytes_append(&out, ".", 1), c++;
    } else if (glob && *c == '[') {
      size_t n = put_class(&out, c);
      if (!n) {
        kin_bytes_free(&out);
        return json_pack("{s{}}", "match_none");
      }
      c += n;
    } else {
      c += put_character(&out, c);
    }
  }
  json_t *text = out.failed ? NULL : json_stringn(out.size ? out.data : "", out.size);
  kin_bytes_free(&out);
  return text;
}

/* ------------------------------------------------------------------- comparisons */

static json_t *value_of(const kin_filter *f, const kin_filter_value *v) {
  int64_t scaled;
  if (v->type == KIN_VALUE_TEXT) return json_string(v->text);
  if (v->type == KIN_VALUE_REAL) return json_real(v->real);
  if (f->field != KIN_FIELD_MTIME) return json_integer(v->integer);
  if (__builtin_mul_overflow(v->integer, NANOSECONDS, &scaled)) scaled = v->integer < 0 ? INT64_MIN : INT64_MAX;
  return json_integer(scaled);
}

/* {"kind": {"field": {"key": value}}}, or without the key {"kind": {"field": value}}; takes the value. */
static json_t *about(const char *kind, const char *field, const char *key, json_t *value) {
  if (key) value = json_pack("{so}", key, value);
  return json_pack("{s{so}}", kind, field, value);
}

static json_t *pattern(const kin_filter *f, const char *field) {
  bool glob = f->op == KIN_FILTER_GLOB, place = f->field == KIN_FIELD_PATH || f->field == KIN_FIELD_FOLDER;
  json_t *text = regexp_of(f->values[0].text, glob, glob && place && kin_filter_is_relative(f->values[0].text));
  if (json_is_object(text)) return text; /* matches nothing */
  return json_pack("{s{s{so sb si}}}", "regexp", field, "value", text, "case_insensitive", !glob,
                   "max_determinized_states", 100000);
}

/* Values [0, n_values) of one type, where `numbers` is not 2 (all): those that are numbers, or aren't. */
static json_t *values_of(const kin_filter *f, int numbers) {
  json_t *list = json_array();
  bool ok = true;
  for (size_t i = 0; ok && i < f->n_values; i++)
    if (numbers == 2 || (f->values[i].type != KIN_VALUE_TEXT) == numbers)
      ok = json_array_append_new(list, value_of(f, &f->values[i])) == 0;
  if (ok) return list;
  json_decref(list);
  return NULL;
}

static json_t *exists(const char *field) {
  return json_pack("{s{ss}}", "exists", "field", field);
}

/* `field`'s comparison with the filter's values, or some of them (values_of). */
static json_t *compare(const kin_filter *f, const char *field, int numbers) {
  static const char *const signs[] = {[KIN_FILTER_LESS] = "lt",
                                      [KIN_FILTER_LESS_OR_EQUAL] = "lte",
                                      [KIN_FILTER_GREATER] = "gt",
                                      [KIN_FILTER_GREATER_OR_EQUAL] = "gte"};
  switch (f->op) {
  case KIN_FILTER_EQUAL:
  case KIN_FILTER_IN:
    return about("terms", field, NULL, values_of(f, numbers));
  case KIN_FILTER_GLOB:
  case KIN_FILTER_LIKE:
    return pattern(f, field);
  case KIN_FILTER_BETWEEN:
    return json_pack("{s{s{so so}}}", "range", field, "gte", value_of(f, &f->values[0]), "lte",
                     value_of(f, &f->values[1]));
  case KIN_FILTER_IS_NULL:
    return json_pack("{s{so}}", "bool", "must_not", exists(field));
  case KIN_FILTER_LESS:
  case KIN_FILTER_LESS_OR_EQUAL:
  case KIN_FILTER_GREATER:
  case KIN_FILTER_GREATER_OR_EQUAL:
    return about("range", field, signs[f->op], value_of(f, &f->values[0]));
  case KIN_FILTER_AND:
  case KIN_FILTER_OR:
  case KIN_FILTER_NOT:
    break;
  }
  return NULL;
}

/* A comparison with a whole number's field whose value isn't whole is true of no equal number: Elasticsearch would
 * refuse or cut it. */
static json_t *compare_field(const kin_filter *f) {
  if (f->op == KIN_FILTER_EQUAL && f->values[0].type == KIN_VALUE_REAL &&
      f->values[0].real != (double)(int64_t)f->values[0].real)
    return json_pack("{s{}}", "match_none");
  return compare(f, fields[f->field], 2);
}

/* Texts are compared with a value as a text, numbers with what it is as a number. */
static json_t *compare_given(const kin_filter *f) {
  json_t *key = json_pack("{s{ss}}", "term", "meta.key", f->key), *either = json_array();
  size_t texts = 0;
  for (size_t i = 0; i < f->n_values; i++) texts += f->values[i].type == KIN_VALUE_TEXT;
  bool ok = !texts || json_array_append_new(either, compare(f, "meta.text", 0)) == 0;
  if (texts < f->n_values) ok = json_array_append_new(either, compare(f, "meta.number", 1)) == 0 && ok;
  if (!ok) {
    json_decref(key);
    json_decref(either);
    return NULL;
  }
  json_t *among = f->op == KIN_FILTER_IS_NULL
                      ? json_pack("{s{so}}", "bool", "filter", key)
                      : json_pack("{s{so sO si}}", "bool", "filter", key, "should", either, "minimum_should_match", 1);
  json_decref(either);
  return json_pack("{s{ss so}}", "nested", "path", "meta", "query", among);
}

/* What the user gave stands in for what the file tells. */
static json_t *compare_meta(const kin_filter *f) {
  const char *told = strcmp(f->key, "date") == 0 ? "exif.date" : strcmp(f->key, "camera") == 0 ? "exif.camera" : NULL;
  if (f->op == KIN_FILTER_IS_NULL)
    return json_pack("{s{s[oo*]}}", "bool", "must_not", compare_given(f), told ? exists(told) : NULL);
  bool texts = false;
  for (size_t i = 0; i < f->n_values; i++) texts = texts || f->values[i].type == KIN_VALUE_TEXT;
  if (!told || !texts) return compare_given(f);
  const kin_filter given = {.field = KIN_FIELD_META, .op = KIN_FILTER_IS_NULL, .key = f->key};
  return json_pack("{s{s[o{s{so so}}] si}}", "bool", "should", compare_given(f), "bool", "filter", compare(f, told, 0),
                   "must_not", compare_given(&given), "minimum_should_match", 1);
}

/* ------------------------------------------------------------------------- trees */

/* A part that there is no memory for makes the whole NULL: without it other files would pass. */
static json_t *render(const kin_store *store, const kin_filter *f, const char **missing) {
  if (!f->n_parts) {
    if (store->remote->foreign && f->field != KIN_FIELD_META) *missing = fields[f->field];
    if (store->remote->foreign) return compare(f, f->key ? f->key : "_id", 2);
    return f->field == KIN_FIELD_META ? compare_meta(f) : compare_field(f);
  }
  json_t *parts = json_array();
  bool ok = true;
  for (size_t i = 0; ok && i < f->n_parts; i++)
    ok = json_array_append_new(parts, render(store, f->parts[i], missing)) == 0;
  if (!ok) {
    json_decref(parts);
    return NULL;
  }
  if (f->op == KIN_FILTER_OR) return json_pack("{s{so si}}", "bool", "should", parts, "minimum_should_match", 1);
  return json_pack("{s{so}}", "bool", f->op == KIN_FILTER_NOT ? "must_not" : "filter", parts);
}

kin_status kin_remote_where(const kin_store *store, const kin_filter *filter, json_t **out, kin_error *err) {
  const char *missing = NULL;
  *out = render(store, filter, &missing);
  if (missing) {
    json_decref(*out);
    *out = NULL;
    return kin_fail(err, KIN_ERR_UNSUPPORTED,
                    "%s: %s isn't known of documents that others indexed; filter by their fields as meta.NAME",
                    store->path, missing);
  }
  return *out ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for a filter", store->path);
}
