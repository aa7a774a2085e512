/* Filters as SQL: the text is made of the words below and of places for values, the values are bound. */
#include "store/find.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NANOSECONDS INT64_C(1000000000)

static const char *const columns[] = {
    [KIN_FIELD_ID] = "i.id",
    [KIN_FIELD_PATH] = "i.path",
    [KIN_FIELD_NAME] = "path_name(i.path)",
    [KIN_FIELD_FOLDER] = "path_folder(i.path)",
    [KIN_FIELD_WIDTH] = "nullif(i.width, 0)",
    [KIN_FIELD_HEIGHT] = "nullif(i.height, 0)",
    [KIN_FIELD_SIZE] = "i.size",
    [KIN_FIELD_MTIME] = "i.mtime_ns",
    [KIN_FIELD_KIND] = "iif(i.width > 0, 'picture', 'document')",
};

/* ------------------------------------------------------------------------- text */

static void put_places(FILE *out, size_t n) {
  putc('(', out);
  for (size_t i = 0; i < n; i++) fputs(i ? ", ?" : "?", out);
  putc(')', out);
}

/* What `column` is compared with, as its values are of one type. */
static void put_comparison(FILE *out, const kin_filter *f, const char *column, size_t n_values) {
  static const char *const signs[] = {
      [KIN_FILTER_EQUAL] = "=",          [KIN_FILTER_LESS] = "<",    [KIN_FILTER_GREATER] = ">",
      [KIN_FILTER_LESS_OR_EQUAL] = "<=", [KIN_FILTER_GLOB] = "GLOB", [KIN_FILTER_GREATER_OR_EQUAL] = ">=",
      [KIN_FILTER_LIKE] = "LIKE",
  };
  if (f->op == KIN_FILTER_IS_NULL) {
    fprintf(out, "%s IS NULL", column);
  } else if (f->op == KIN_FILTER_BETWEEN) {
    fprintf(out, "%s BETWEEN ? AND ?", column);
  } else if (f->op == KIN_FILTER_IN) {
    fprintf(out, "%s IN ", column);
    put_places(out, n_values);
  } else {
    fprintf(out, "%s %s ?", column, signs[f->op]);
  }
}

static size_t count_texts(const kin_filter *f) {
  size_t n = 0;
  for (size_t i = 0; i < f->n_values; i++) n += f->values[i].type == KIN_VALUE_TEXT;
  return n;
}

/* True if any value of the key compares so: texts with the value, numbers with what it is as a number. What the user
 * gave stands in for what the file tells. */
static void put_meta(FILE *out, const kin_filter *f) {
  size_t texts = count_texts(f), numbers = f->n_values - texts;
  if (f->op == KIN_FILTER_IS_NULL) fputs("NOT ", out);
  fputs("EXISTS (SELECT 1 FROM metadata m WHERE m.item = i.id AND m.key = ? AND (m.source = 0 OR NOT EXISTS (SELECT 1"
        " FROM metadata g WHERE g.item = m.item AND g.key = m.key AND g.source = 0))",
        out);
  if (f->op != KIN_FILTER_IS_NULL) {
    fputs(" AND (", out);
    if (texts) put_comparison(out, f, "m.value", texts);
    if (texts && numbers) fputs(" OR ", out);
    if (numbers) put_comparison(out, f, "m.number", numbers);
    putc(')', out);
  }
  putc(')', out);
}

/* A relative pattern on a path also matches what comes after any slash. */
static bool is_twofold(const kin_filter *f) {
  bool place = f->field == KIN_FIELD_PATH || f->field == KIN_FIELD_FOLDER;
  return f->op == KIN_FILTER_GLOB && place && kin_filter_is_relative(f->values[0].text);
}

/* As true or false, never NULL. */
static void put(FILE *out, const kin_filter *f) {
  if (f->op == KIN_FILTER_NOT) fputs("NOT ", out);
  putc('(', out);
  for (size_t i = 0; i < f->n_parts; i++) {
    if (i) fputs(f->op == KIN_FILTER_AND ? " AND " : " OR ", out);
    put(out, f->parts[i]);
  }
  if (!f->n_parts && f->field == KIN_FIELD_META) {
    put_meta(out, f);
  } else if (!f->n_parts) {
    fputs("ifnull(", out);
    put_comparison(out, f, columns[f->field], f->n_values);
    if (is_twofold(f)) {
      fputs(" OR ", out);
      put_comparison(out, f, columns[f->field], 1);
    }
    fputs(", 0)", out);
  }
  putc(')', out);
}

static char *render(const kin_filter *filter) {
  char *sql = NULL;
  size_t size;
  FILE *out = open_memstream(&sql, &size);
  if (!out) return NULL;
  fputs("SELECT v.row FROM vectors v JOIN items i ON i.id = v.item WHERE v.collection = ?1 AND ", out);
  put(out, filter);
  bool failed = ferror(out);
  if (fclose(out) == 0 && !failed) return sql;
  free(sql);
  return NULL;
}

/* ------------------------------------------------------------------------ values */

/* Seconds as nanoseconds; where they don't fit, nothing lies beyond. */
static int64_t nanoseconds(int64_t seconds) {
  int64_t out;
  if (__builtin_mul_overflow(seconds, NANOSECONDS, &out)) return seconds < 0 ? INT64_MIN : INT64_MAX;
  return out;
}

static int bind_value(sqlite3_stmt *s, int at, const kin_filter *f, const kin_filter_value *v) {
  switch (v->type) {
  case KIN_VALUE_INTEGER:
    return sqlite3_bind_int64(s, at, f->field == KIN_FIELD_MTIME ? nanoseconds(v->integer) : v->integer);
  case KIN_VALUE_REAL:
    return sqlite3_bind_double(s, at, v->real);
  case KIN_VALUE_TEXT:
    break;
  }
  return sqlite3_bind_text(s, at, v->text, -1, SQLITE_TRANSIENT);
}

static int bind_after_slash(sqlite3_stmt *s, int at, const char *pattern) {
  char *text = kin_format("*/%s", pattern);
  return text ? sqlite3_bind_text(s, at, text, -1, free) : SQLITE_NOMEM;
}

/* Bind what put() left places for, in its order, after *at. */
static int bind(sqlite3_stmt *s, int *at, const kin_filter *f) {
  int rc = SQLITE_OK;
  for (size_t i = 0; rc == SQLITE_OK && i < f->n_parts; i++) rc = bind(s, at, f->parts[i]);
  if (rc == SQLITE_OK && f->key) rc = sqlite3_bind_text(s, ++*at, f->key, -1, SQLITE_TRANSIENT);
  for (int text = 1; text >= 0; text--) /* texts come first */
    for (size_t i = 0; rc == SQLITE_OK && i < f->n_values; i++)
      if ((f->values[i].type == KIN_VALUE_TEXT) == (text == 1)) rc = bind_value(s, ++*at, f, &f->values[i]);
  if (rc == SQLITE_OK && !f->n_parts && is_twofold(f)) rc = bind_after_slash(s, ++*at, f->values[0].text);
  return rc;
}

kin_status kin_where_prepare(kin_store *store, const kin_filter *filter, sqlite3_stmt **out, kin_error *err) {
  *out = NULL;
  char *sql = render(filter);
  if (!sql) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for a filter", store->path);
  int at = 1, rc = sqlite3_prepare_v2(store->db, sql, -1, out, NULL);
  free(sql);
  if (rc == SQLITE_OK) rc = bind(*out, &at, filter);
  if (rc == SQLITE_OK) return KIN_OK;
  kin_status status = kin_sql_fail(store, rc, "filtering", err);
  sqlite3_finalize(*out);
  *out = NULL;
  return status;
}

/* --------------------------------------------------------------------- functions */

static void path_name(sqlite3_context *context, int n, sqlite3_value **values) {
  (void)n;
  const char *path = (const char *)sqlite3_value_text(values[0]), *slash = path ? strrchr(path, '/') : NULL;
  sqlite3_result_text(context, slash ? slash + 1 : path, -1, SQLITE_TRANSIENT);
}

static void path_folder(sqlite3_context *context, int n, sqlite3_value **values) {
  (void)n;
  const char *path = (const char *)sqlite3_value_text(values[0]), *slash = path ? strrchr(path, '/') : NULL;
  int size = slash ? (int)(slash - path) : 0;
  sqlite3_result_text(context, size ? path : "/", size ? size : 1, SQLITE_TRANSIENT);
}

kin_status kin_where_add_functions(kin_store *store, kin_error *err) {
  const int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY;
  int rc = sqlite3_create_function(store->db, "path_name", 1, flags, NULL, path_name, NULL, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_create_function(store->db, "path_folder", 1, flags, NULL, path_folder, NULL, NULL);
  return rc == SQLITE_OK ? KIN_OK : kin_sql_fail(store, rc, "opening the store", err);
}
