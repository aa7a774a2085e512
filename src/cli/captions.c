/* Pictures with captions: JSON lines, CSV, or a folder with a .txt beside each picture. */
#include "cli/captions.h"

#include "base/json.h"
#include "cli/cli.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_LIMIT = 1 << 28, TEXT_LIMIT = 1 << 16 };

typedef struct caption_row {
  char *path;
  char *captions[KIN_ALIGN_MAX_COLUMNS];
} row;

struct caption_rows {
  row *list;
  size_t n, capacity;
};

void cli_captions_free(cli_captions *c) {
  for (size_t i = 0; c->rows && i < c->rows->n; i++) {
    free(c->rows->list[i].path);
    for (size_t k = 0; k < KIN_ALIGN_MAX_COLUMNS; k++) free(c->rows->list[i].captions[k]);
  }
  if (c->rows) free(c->rows->list);
  for (size_t k = 0; k < c->n_columns; k++) free(c->columns[k]);
  free(c->rows), free(c->items);
  *c = (cli_captions){0};
}

static bool no_memory(void) {
  cli_error("out of memory for captions");
  return false;
}

/* The number of the column `name`, made where it is new; false when there are too many. */
static bool column_of(cli_captions *c, const char *name, const char *file, size_t *out) {
  for (*out = 0; *out < c->n_columns; ++*out)
    if (strcmp(c->columns[*out], name) == 0) return true;
  if (c->n_columns == KIN_ALIGN_MAX_COLUMNS) {
    cli_error("%s: more than %d columns of captions", file, KIN_ALIGN_MAX_COLUMNS);
    return false;
  }
  c->columns[c->n_columns] = kin_strdup(name);
  return c->columns[c->n_columns] ? (c->n_columns++, true) : no_memory();
}

/* A new picture at `path`, seen from the folder of `file` (NULL: as it is); NULL when there is no memory. */
static row *add_row(cli_captions *c, const char *file, const char *path) {
  void *list = c->rows->list;
  if (!kin_grow(&list, &c->rows->capacity, c->rows->n + 1, sizeof *c->rows->list)) return NULL;
  c->rows->list = list;
  row *r = &c->rows->list[c->rows->n];
  *r = (row){0};
  const char *slash = file && *path != '/' ? strrchr(file, '/') : NULL;
  r->path = slash ? kin_format("%.*s/%s", (int)(slash - file), file, path) : kin_strdup(path);
  if (r->path) c->rows->n++;
  return r->path ? r : NULL;
}

/* Without the white space around; an empty one counts as none. */
static bool set_caption(row *r, size_t column, const char *text) {
  while (isspace((unsigned char)*text)) text++;
  size_t n = strlen(text);
  while (n && isspace((unsigned char)text[n - 1])) n--;
  if (n == 0) return true;
  free(r->captions[column]);
  r->captions[column] = kin_format("%.*s", (int)n, text);
  return r->captions[column] ? true : no_memory();
}

/* -------------------------------------------------------------- JSON lines */

static bool read_object(cli_captions *c, const char *file, size_t line, const json_t *object) {
  const char *path = json_string_value(json_object_get(object, "path")), *key;
  const json_t *one = json_object_get(object, "caption"), *many = json_object_get(object, "captions"), *value;
  size_t column;
  if (!path || (!json_is_string(one) && !json_is_object(many))) {
    cli_error("%s: line %zu needs \"path\" and \"caption\" (a text) or \"captions\" (texts by language)", file, line);
    return false;
  }
  row *r = add_row(c, file, path);
  if (!r) return no_memory();
  if (json_is_string(one)) {
    if (!column_of(c, "caption", file, &column) || !set_caption(r, column, json_string_value(one))) return false;
  }
  json_object_foreach((json_t *)many, key, value) {
    if (!json_is_string(value)) continue;
    if (!column_of(c, key, file, &column) || !set_caption(r, column, json_string_value(value))) return false;
  }
  return true;
}

static bool read_jsonl(cli_captions *c, const char *file, char *text) {
  size_t line = 0;
  for (char *start = text, *end; start; start = end ? end + 1 : NULL) {
    end = strchr(start, '\n');
    if (end) *end = '\0';
    line++;
    if (start[strspn(start, " \t\r")] == '\0') continue;
    kin_error err;
    json_t *object = NULL;
    char *name = kin_format("%s: line %zu", file, line);
    if (!name) return no_memory();
    bool ok = kin_json_parse(start, strlen(start), name, &object, &err) == KIN_OK;
    if (!ok) cli_error("%s", err.message);
    ok = ok && read_object(c, file, line, object);
    json_decref(object);
    free(name);
    if (!ok) return false;
  }
  return true;
}

/* --------------------------------------------------------------------- CSV */

/* The next field of RFC 4180, unquoted in place; *more tells whether the record goes on. */
static char *next_field(char **at, bool *more) {
  char *p = *at, *out = p, *field = p;
  const bool quoted = *p == '"';
  if (quoted) p++;
  while (*p && (quoted || (*p != ',' && *p != '\n' && *p != '\r'))) {
    if (quoted && *p == '"' && *++p != '"') break;
    *out++ = *p++;
  }
  while (*p && *p != ',' && *p != '\n' && *p != '\r') p++;
  *more = *p == ',';
  if (*p == '\r') p++;
  if (*p) p++;
  *out = '\0';
  *at = p;
  return field;
}

/* The first record names the columns: "path", and captions. */
static bool read_csv(cli_captions *c, const char *file, char *text) {
  size_t fields = 0, path_field = SIZE_MAX, columns[KIN_ALIGN_MAX_COLUMNS + 1];
  bool more = true;
  char *at = text;
  while (more && fields <= KIN_ALIGN_MAX_COLUMNS) {
    const char *name = next_field(&at, &more);
    if (strcmp(name, "path") == 0)
      path_field = fields;
    else if (!column_of(c, name, file, &columns[fields]))
      return false;
    fields++;
  }
  if (path_field == SIZE_MAX || more || fields < 2) {
    cli_error("%s: the first line must name the columns: path, and 1 to %d of captions", file, KIN_ALIGN_MAX_COLUMNS);
    return false;
  }
  for (size_t record = 2; *at; record++) {
    char *values[KIN_ALIGN_MAX_COLUMNS + 1];
    size_t n = 0;
    for (more = true; more && n < fields; n++) values[n] = next_field(&at, &more);
    if (n == 1 && !*values[0] && !more) continue;
    if (n < fields || more) {
      cli_error("%s: record %zu has not the %zu fields that the first line names", file, record, fields);
      return false;
    }
    row *r = add_row(c, file, values[path_field]);
    if (!r) return no_memory();
    for (size_t i = 0; i < fields; i++)
      if (i != path_field && !set_caption(r, columns[i], values[i])) return false;
  }
  return true;
}

/* ------------------------------------------------------------------ folder */

/* The first line of the .txt beside a picture. */
static bool read_sidecar(cli_captions *c, const char *path) {
  const char *dot = strrchr(path, '.');
  char *name = kin_format("%.*s.txt", (int)(dot ? dot - path : (long)strlen(path)), path), *text = NULL;
  kin_error err;
  bool ok = true;
  if (!name) return no_memory();
  if (!kin_file_exists(name)) {
    c->without++;
  } else if (kin_read_file(name, TEXT_LIMIT, &text, &(size_t){0}, &err) != KIN_OK) {
    cli_error("%s", err.message);
    ok = false;
  } else {
    text[strcspn(text, "\n")] = '\0';
    row *r = add_row(c, NULL, path);
    ok = r ? set_caption(r, 0, text) : no_memory();
  }
  free(text), free(name);
  return ok;
}

static bool read_folder(cli_captions *c, const char *folder) {
  kin_walk *walk = NULL;
  kin_walk_entry found;
  kin_error err;
  size_t column;
  if (!column_of(c, "caption", folder, &column)) return false;
  kin_status status = kin_walk_open(&folder, 1, NULL, &walk, &err);
  bool ok = true;
  while (ok && status == KIN_OK && (status = kin_walk_next(walk, &found, &err)) == KIN_OK && found.path)
    if (found.status == KIN_OK)
      ok = read_sidecar(c, found.path);
    else
      cli_error("%s", found.message);
  if (status != KIN_OK) cli_error("%s", err.message);
  kin_walk_close(walk);
  return ok && status == KIN_OK;
}

static bool ends_in(const char *path, const char *ending) {
  const size_t n = strlen(path), m = strlen(ending);
  return n >= m && strcmp(path + n - m, ending) == 0;
}

/* Pictures without a word are left out. */
static bool make_items(cli_captions *c, const char *path) {
  c->items = kin_array(c->rows->n + 1, sizeof *c->items);
  if (!c->items) return no_memory();
  for (size_t i = 0; i < c->rows->n; i++) {
    row *r = &c->rows->list[i];
    bool any = false;
    for (size_t k = 0; k < c->n_columns; k++) any = any || r->captions[k];
    if (any) c->items[c->n++] = (kin_captioned){r->path, (const char *const *)r->captions};
  }
  if (c->n == 0) cli_error("%s: holds no pictures with captions", path);
  return c->n > 0;
}

bool cli_captions_read(const char *path, cli_captions *out) {
  struct stat s;
  kin_error err;
  char *text = NULL;
  *out = (cli_captions){.rows = calloc(1, sizeof *out->rows)};
  if (!out->rows) return no_memory();
  bool ok;
  if (stat(path, &s) == 0 && S_ISDIR(s.st_mode)) {
    ok = read_folder(out, path);
  } else if (!ends_in(path, ".jsonl") && !ends_in(path, ".csv")) {
    cli_error("%s: captions come from a .jsonl file, a .csv file or a folder", path);
    return false;
  } else if (kin_read_file(path, FILE_LIMIT, &text, &(size_t){0}, &err) != KIN_OK) {
    cli_error("%s", err.message);
    return false;
  } else {
    ok = ends_in(path, ".csv") ? read_csv(out, path, text) : read_jsonl(out, path, text);
  }
  free(text);
  return ok && make_items(out, path);
}
