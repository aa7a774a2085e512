/* Metadata of items from a file: JSON lines or CSV, an item a record. */
#include "base/json.h"
#include "document/records.h"
#include "store/elastic.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct metadata_file {
  kin_store *store;
  const char *path;
  kin_lines *lines;
  kin_record record; /* the one at hand */
  kin_metadata_report report;
} metadata_file;

/* ------------------------------------------------------------------------ values */

/* Whether all of `text` is a number as filters write them. */
static bool is_number(const char *text) {
  const char *c = text;
  size_t digits = 0;
  c += *c == '-' || *c == '+';
  for (; isdigit((unsigned char)*c); c++) digits++;
  if (*c == '.')
    for (c++; isdigit((unsigned char)*c); c++) digits++;
  if (!digits) return false;
  if (*c == 'e' || *c == 'E') {
    c++;
    c += *c == '-' || *c == '+';
    if (!isdigit((unsigned char)*c)) return false;
    while (isdigit((unsigned char)*c)) c++;
  }
  return *c == '\0';
}

static kin_status add_value(kin_store *store, int64_t item, const char *key, const char *value, kin_error *err) {
  if (store->remote) return kin_remote_add_value(store, item, key, value, is_number(value), err);
  return kin_sql_run(store, KIN_SQL_ADD_METADATA, err, "isss", item, key, value, is_number(value) ? value : NULL);
}

static kin_status clear_key(kin_store *store, int64_t item, const char *key, kin_error *err) {
  if (store->remote) return kin_remote_clear_key(store, item, key, err);
  return kin_sql_run(store, KIN_SQL_CLEAR_METADATA, err, "is", item, key);
}

/* A text, a number, true or false. */
static kin_status add_json(kin_store *store, int64_t item, const char *key, const json_t *value, kin_error *err) {
  if (json_is_string(value)) return add_value(store, item, key, json_string_value(value), err);
  if (json_is_boolean(value)) return add_value(store, item, key, json_is_true(value) ? "true" : "false", err);
  if (!json_is_number(value))
    return kin_fail(err, KIN_ERR_FORMAT, "a value must be a text, a number, true, false, null or a list of such");
  char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
  if (!text) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for metadata");
  kin_status status = add_value(store, item, key, text, err);
  free(text);
  return status;
}

kin_status kin_metadata_set(kin_store *store, int64_t item, const char *key, const json_t *value, kin_error *err) {
  kin_status status = clear_key(store, item, key, err);
  for (size_t i = 0; status == KIN_OK && i < json_array_size(value); i++)
    status = add_json(store, item, key, json_array_get(value, i), err);
  if (status == KIN_OK && !json_is_array(value) && !json_is_null(value))
    status = add_json(store, item, key, value, err);
  return status;
}

static kin_status fail_record(const metadata_file *m, const char *reason, kin_error *err) {
  return kin_fail(err, KIN_ERR_FORMAT, "%s:%llu: %s", m->path, (unsigned long long)m->record.line, reason);
}

/* The item at `path`, which is seen from the folder of the metadata; 0: the store has none. */
static kin_status find_item(metadata_file *m, const char *path, int64_t *out, kin_error *err) {
  const char *slash = *path != '/' ? strrchr(m->path, '/') : NULL;
  char *whole = slash ? kin_format("%.*s/%s", (int)(slash - m->path), m->path, path) : kin_strdup(path);
  *out = 0;
  if (!whole) return kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", path);
  kin_status status = *path ? kin_store_find_item(m->store, whole, out, err) : fail_record(m, "an empty path", err);
  if (status == KIN_ERR_NOT_FOUND || (status == KIN_ERR_IO && !m->store->remote)) { /* its folder isn't there either */
    m->report.unknown++;
    status = KIN_OK;
  } else if (status == KIN_OK) {
    m->report.items++;
  }
  free(whole);
  return status;
}

/* --------------------------------------------------------------------------- CSV */

/* The field behind `field`, or NULL; `end` is behind the last one's NUL. */
static const char *next_field(const char *field, const char *end) {
  field += strlen(field) + 1;
  return field < end ? field : NULL;
}

static const char *fields_end(const kin_record *record) {
  return record->text.data + record->text.size;
}

/* The field under the header's "path"; NULL: the record has none. */
static const char *find_path(const kin_bytes *header, const kin_record *record) {
  const char *name = header->data, *value = record->text.data;
  while (name && value && strcmp(name, "path") != 0) {
    name = next_field(name, header->data + header->size);
    value = next_field(value, fields_end(record));
  }
  return name ? value : NULL;
}

static kin_status take_row(metadata_file *m, const kin_bytes *header, kin_error *err) {
  const char *path = find_path(header, &m->record), *name = header->data, *value = m->record.text.data;
  int64_t item;
  if (!path) return fail_record(m, "too few fields", err);
  kin_status status = find_item(m, path, &item, err);
  while (status == KIN_OK && item && name && value) {
    if (value != path && *name) {
      status = clear_key(m->store, item, name, err);
      if (status == KIN_OK && *value) status = add_value(m->store, item, name, value, err);
    }
    name = next_field(name, header->data + header->size);
    value = next_field(value, fields_end(&m->record));
  }
  return status == KIN_OK && value && !name ? fail_record(m, "more fields than the header has", err) : status;
}

static kin_status read_csv(metadata_file *m, kin_error *err) {
  bool end = false, path = false;
  kin_status status = kin_csv_next(m->lines, &m->record, &end, err);
  kin_bytes header = m->record.text;
  m->record.text = (kin_bytes){0};
  for (const char *name = end ? NULL : header.data; name; name = next_field(name, header.data + header.size))
    path = path || strcmp(name, "path") == 0;
  if (status == KIN_OK && !path)
    status = kin_fail(err, KIN_ERR_FORMAT, "%s: the first line names no column \"path\"", m->path);
  while (status == KIN_OK && (status = kin_csv_next(m->lines, &m->record, &end, err)) == KIN_OK && !end)
    if (m->record.text.size > 1) status = take_row(m, &header, err); /* not an empty line */
  kin_bytes_free(&header);
  return status;
}

/* -------------------------------------------------------------------- JSON lines */

static kin_status take_object(metadata_file *m, json_t *object, kin_error *err) {
  const char *path = json_string_value(json_object_get(object, "path")), *key;
  json_t *value;
  int64_t item;
  if (!path) return fail_record(m, "expected an object with a \"path\"", err);
  kin_status status = find_item(m, path, &item, err);
  if (status != KIN_OK || !item) return status;
  json_object_foreach(object, key, value) {
    if (strcmp(key, "path") == 0) continue;
    status = kin_metadata_set(m->store, item, key, value, err);
    if (status == KIN_ERR_FORMAT) kin_prefix(err, status, "%s:%llu", m->path, (unsigned long long)m->record.line);
    if (status != KIN_OK) break;
  }
  return status;
}

static kin_status read_json_lines(metadata_file *m, kin_error *err) {
  bool end = false;
  kin_status status = KIN_OK;
  while (status == KIN_OK &&
         (status = kin_lines_next_whole(m->lines, &m->record.text, &m->record.line, &end, err)) == KIN_OK && !end) {
    json_t *object = NULL;
    char name[4200];
    if (m->record.text.size == 0) continue;
    snprintf(name, sizeof name, "%s:%llu", m->path, (unsigned long long)m->record.line);
    status = kin_json_parse(m->record.text.data, m->record.text.size, name, &object, err);
    if (status == KIN_OK) status = take_object(m, object, err);
    json_decref(object);
  }
  return status;
}

/* --------------------------------------------------------------------------- all */

kin_status kin_store_read_metadata(kin_store *store, const char *path, kin_metadata_report *out, kin_error *err) {
  metadata_file m = {.store = store, .path = path};
  if (out) *out = m.report;
  if (!store->writable) return kin_fail(err, KIN_ERR_ARGUMENT, "%s: is open for reading only", store->path);
  kin_document_format format = kin_document_format_of(path);
  if (format != KIN_DOCUMENT_CSV && format != KIN_DOCUMENT_JSON)
    return kin_fail(err, KIN_ERR_ARGUMENT, "%s: metadata comes in .jsonl or .csv files", path);
  kin_status status = kin_lines_open(path, &m.lines, err);
  if (status == KIN_OK) status = kin_sql_transact(store, KIN_SQL_BEGIN_WRITE, err);
  if (status == KIN_OK) status = format == KIN_DOCUMENT_CSV ? read_csv(&m, err) : read_json_lines(&m, err);
  if (status == KIN_OK && store->remote) status = kin_remote_send_given(store, err);
  if (status == KIN_OK) status = kin_sql_transact(store, KIN_SQL_COMMIT, err);
  kin_sql_rollback(store);
  kin_lines_close(m.lines);
  kin_bytes_free(&m.record.text);
  if (status == KIN_OK && out) *out = m.report;
  return status;
}
