/* CSV as RFC 4180 has it: one column's fields. */
#include "document/records.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct csv {
  size_t column; /* from 0 */
  bool end;
  kin_record record; /* the wanted field */
} csv;

/* Called with each field of a record. */
typedef struct field_state {
  size_t column;
  bool quoted, closed; /* inside quotes; behind the closing one */
  bool any;            /* a character of the field was seen */
} field_state;

/* The next line behind `out`; a record that is cut off inside its quotes is an error. */
static kin_status next_line(kin_lines *lines, kin_line *out, unsigned long long first, bool quoted, kin_error *err) {
  kin_status status = kin_lines_next(lines, out, err);
  if (status == KIN_OK && !out->text && quoted)
    return kin_fail(err, KIN_ERR_FORMAT, "%s:%llu: a quoted field has no end", kin_lines_path(lines), first);
  return status;
}

/* Take the characters of one line; each that belongs to column `wanted` (SIZE_MAX: to all, a NUL behind each but the
 * last) goes to `text`. False at one that RFC 4180 doesn't allow. */
static bool take_line(const kin_line *line, field_state *f, size_t wanted, kin_bytes *text) {
  for (size_t i = 0; i < line->size; i++) {
    char c = line->text[i];
    bool here = wanted == SIZE_MAX || wanted == f->column;
    if (f->quoted && c == '"') {
      f->quoted = false;
      f->closed = true;
    } else if (f->quoted) {
      if (here) kin_bytes_append(text, &c, 1);
    } else if (c == ',') {
      *f = (field_state){.column = f->column + 1};
      if (wanted == SIZE_MAX) kin_bytes_append(text, "", 1);
    } else if (f->closed && c == '"') { /* two quotes stand for one */
      f->closed = false;
      f->quoted = true;
      if (here) kin_bytes_append(text, &c, 1);
    } else if (f->closed) {
      return false;
    } else if (c == '"' && !f->any) {
      f->quoted = f->any = true;
    } else {
      f->any = true;
      if (here) kin_bytes_append(text, &c, 1);
    }
  }
  return true;
}

/* Read one record into r->text; *end tells that there was none. */
static kin_status read_record(kin_lines *lines, size_t wanted, kin_record *r, bool *end, kin_error *err) {
  kin_line line;
  field_state f = {0};
  r->at = r->text.size = 0;
  kin_status status = kin_lines_next(lines, &line, err);
  *end = status == KIN_OK && !line.text;
  if (status != KIN_OK || *end) return status;
  r->line = line.number;
  r->offset = line.offset;
  const char *path = kin_lines_path(lines);
  unsigned long long first = line.number;
  for (;;) {
    if (!take_line(&line, &f, wanted, &r->text))
      return kin_fail(err, KIN_ERR_FORMAT, "%s:%llu: text behind a field's closing quote", path, first);
    if (f.quoted && !line.continues && (wanted == SIZE_MAX || wanted == f.column)) kin_bytes_append(&r->text, "\n", 1);
    if (r->text.failed) return kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", path);
    if (r->text.size > KIN_RECORD_LIMIT)
      return kin_fail(err, KIN_ERR_LIMIT, "%s:%llu: a field of over %zu MiB", path, first, KIN_RECORD_LIMIT >> 20);
    if (!f.quoted && !line.continues) return KIN_OK;
    status = next_line(lines, &line, first, f.quoted, err);
    if (status != KIN_OK || !line.text) return status;
  }
}

kin_status kin_csv_next(kin_lines *lines, kin_record *record, bool *end, kin_error *err) {
  kin_status status = read_record(lines, SIZE_MAX, record, end, err);
  if (status == KIN_OK) kin_bytes_append(&record->text, "", 1);
  if (status == KIN_OK && record->text.failed)
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", kin_lines_path(lines));
  return status;
}

/* Find the column by name in the header. */
static kin_status find_column(csv *c, kin_lines *lines, const char *name, kin_error *err) {
  kin_status status = kin_csv_next(lines, &c->record, &c->end, err);
  if (status != KIN_OK) return status;
  char *fields = c->record.text.data;
  size_t size = c->record.text.size;
  for (size_t at = 0, column = 0; at < size; at += strlen(fields + at) + 1, column++) {
    if (strcmp(fields + at, name) != 0) continue;
    c->column = column;
    c->record.text.size = 0;
    return KIN_OK;
  }
  for (size_t i = 0; i + 1 < size; i++)
    if (!fields[i]) fields[i] = ',';
  return kin_fail(err, KIN_ERR_NOT_FOUND, "%s: has no column \"%s\" (--text-column); its columns are %.300s",
                  kin_lines_path(lines), name, fields);
}

static void csv_close(void *state) {
  csv *c = state;
  kin_bytes_free(&c->record.text);
  free(c);
}

static kin_status csv_open(kin_lines *lines, const char *text_column, void **state, kin_error *err) {
  csv *c = calloc(1, sizeof *c);
  if (!c) return kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", kin_lines_path(lines));
  const char *name = text_column ? text_column : "text";
  char *end;
  unsigned long number = isdigit((unsigned char)name[0]) ? strtoul(name, &end, 10) : 0;
  kin_status status = KIN_OK;
  if (number && *end == '\0')
    c->column = number - 1;
  else
    status = find_column(c, lines, name, err);
  if (status == KIN_OK)
    *state = c;
  else
    csv_close(c);
  return status;
}

static kin_status csv_next(void *state, kin_lines *lines, kin_document_piece *out, kin_error *err) {
  csv *c = state;
  while (!kin_record_part(&c->record, out)) {
    bool end;
    kin_status status = read_record(lines, c->column, &c->record, &end, err);
    if (status != KIN_OK || end) return status;
  }
  return KIN_OK;
}

const kin_reader kin_reader_csv = {csv_open, csv_next, csv_close};
