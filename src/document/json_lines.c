/* JSON: objects with a "text" one after another, on lines of their own or in one array. */
#include "base/json.h"
#include "document/records.h"

#include <stdlib.h>
#include <string.h>

typedef struct json_reader {
  kin_line line; /* being read, from `at` on */
  size_t at;
  bool end;
  kin_bytes object;
  kin_record record;
} json_reader;

static kin_status json_open(kin_lines *lines, const char *text_column, void **state, kin_error *err) {
  (void)text_column;
  *state = calloc(1, sizeof(json_reader));
  return *state ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", kin_lines_path(lines));
}

static void json_reader_close(void *state) {
  json_reader *r = state;
  kin_bytes_free(&r->object);
  kin_bytes_free(&r->record.text);
  free(r);
}

static kin_status next_line(json_reader *r, kin_lines *lines, kin_error *err) {
  r->at = 0;
  kin_status status = kin_lines_next(lines, &r->line, err);
  r->end = !r->line.text;
  return status;
}

/* Move to the next object's brace. What may lie between objects is white space and the signs of an array. */
static kin_status find_object(json_reader *r, kin_lines *lines, kin_error *err) {
  for (;;) {
    for (; r->at < r->line.size; r->at++) {
      char c = r->line.text[r->at];
      if (c == '{') return KIN_OK;
      if (!strchr(" \t,[]", c))
        return kin_fail(err, KIN_ERR_FORMAT, "%s:%llu: expected a JSON object with a \"text\"", kin_lines_path(lines),
                        (unsigned long long)r->line.number);
    }
    kin_status status = next_line(r, lines, err);
    if (status != KIN_OK || r->end) return status;
  }
}

typedef struct nesting {
  size_t depth;
  bool in_string, escaped;
} nesting;

/* Whether `c` ends the object. */
static bool ends_object(nesting *n, char c) {
  if (n->in_string) {
    if (!n->escaped && c == '"') n->in_string = false;
    n->escaped = !n->escaped && c == '\\';
    return false;
  }
  n->in_string = c == '"';
  n->depth += c == '{' || c == '[';
  if (c == '}' || c == ']') n->depth--;
  return n->depth == 0;
}

/* Copy the object at hand, to its closing brace, to r->object. */
static kin_status copy_object(json_reader *r, kin_lines *lines, kin_error *err) {
  nesting n = {0};
  const char *path = kin_lines_path(lines);
  unsigned long long first = r->line.number;
  r->object.size = 0;
  for (;;) {
    size_t start = r->at;
    bool done = false;
    while (!done && r->at < r->line.size) done = ends_object(&n, r->line.text[r->at++]);
    kin_bytes_append(&r->object, r->line.text + start, r->at - start);
    if (!done && !r->line.continues) kin_bytes_append(&r->object, "\n", 1);
    if (r->object.failed) return kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", path);
    if (done) return KIN_OK;
    if (r->object.size > KIN_RECORD_LIMIT)
      return kin_fail(err, KIN_ERR_LIMIT, "%s:%llu: an object of over %zu MiB", path, first, KIN_RECORD_LIMIT >> 20);
    kin_status status = next_line(r, lines, err);
    if (status != KIN_OK) return status;
    if (r->end) return kin_fail(err, KIN_ERR_FORMAT, "%s:%llu: the JSON object has no end", path, first);
  }
}

static kin_status take_text(json_reader *r, kin_lines *lines, kin_error *err) {
  char place[4200];
  snprintf(place, sizeof place, "%s:%llu", kin_lines_path(lines), (unsigned long long)r->record.line);
  json_t *object = NULL;
  kin_status status = kin_json_parse(r->object.data, r->object.size, place, &object, err);
  if (status != KIN_OK) return status;
  const json_t *text = json_object_get(object, "text");
  r->record.at = r->record.text.size = 0;
  if (json_is_string(text)) kin_bytes_append(&r->record.text, json_string_value(text), json_string_length(text));
  json_decref(object);
  return r->record.text.failed ? kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", place) : KIN_OK;
}

static kin_status json_next(void *state, kin_lines *lines, kin_document_piece *out, kin_error *err) {
  json_reader *r = state;
  while (!kin_record_part(&r->record, out)) {
    kin_status status = find_object(r, lines, err);
    if (status != KIN_OK || r->end) return status;
    r->record.line = r->line.number;
    r->record.offset = r->line.offset;
    status = copy_object(r, lines, err);
    if (status == KIN_OK) status = take_text(r, lines, err);
    if (status != KIN_OK) return status;
  }
  return KIN_OK;
}

const kin_reader kin_reader_json = {json_open, json_next, json_reader_close};
