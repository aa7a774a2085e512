/* kin_store_check: what is wrong with a store, each problem with its file and what to do about it; and doing it. */
#include "elastic/elastic.h"
#include "index/ann.h"
#include "index/codes.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RESTORE "restore a copy of the store, or delete it and index again"
#define REPAIR "run kindred store check --repair"
#define STEPS 100000 /* of SQLite's machine between two looks at the caller */
#define REPORT_EVERY 1024

typedef struct check {
  kin_store *store;
  kin_check_options options;
  kin_check_report report;
  uint64_t total; /* rows */
  bool cancelled;
} check;

static void tell(check *c, const char *file, bool repaired, const char *fix, const char *format, ...) KIN_PRINTF(5, 6);
static void tell(check *c, const char *file, bool repaired, const char *fix, const char *format, ...) {
  char what[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(what, sizeof what, format, args);
  va_end(args);
  c->report.problems++;
  c->report.repaired += repaired;
  const kin_store_problem problem = {.file = file, .what = what, .fix = fix, .repaired = repaired};
  if (c->options.on_problem) c->options.on_problem(c->options.user, &problem);
}

static bool goes_on(check *c) {
  if (!c->cancelled && c->options.on_progress)
    c->cancelled = !c->options.on_progress(c->options.user, c->report.rows, c->total);
  return !c->cancelled;
}

static int on_steps(void *user) {
  return !goes_on(user);
}

/* A failure that is damage is told, and the check goes on; any other ends it. */
static kin_status absorb(check *c, kin_status status, const kin_error *reason, const char *file, kin_error *err) {
  if (c->cancelled) return kin_fail(err, KIN_ERR_CANCELLED, "%s: stopped", c->store->path);
  if (status == KIN_OK) return KIN_OK;
  if (status == KIN_ERR_MEMORY || status == KIN_ERR_BUSY) return kin_fail(err, status, "%s", reason->message);
  size_t n = strlen(file);
  bool named = strncmp(reason->message, file, n) == 0 && strncmp(reason->message + n, ": ", 2) == 0;
  tell(c, file, false, RESTORE, "%s", reason->message + (named ? n + 2 : 0));
  return KIN_OK;
}

/* -------------------------------------------------------------------- SQLite */

static kin_status check_pages(check *c, kin_error *err) {
  sqlite3_stmt *s;
  bool row;
  kin_status status = kin_sql_bind(c->store, KIN_SQL_CHECK_PAGES, &s, err, "");
  if (status == KIN_OK) status = kin_sql_step(c->store, s, &row, err);
  while (status == KIN_OK && row) {
    const char *text = (const char *)sqlite3_column_text(s, 0);
    if (text && strcmp(text, "ok") != 0) tell(c, c->store->path, false, RESTORE, "SQLite's integrity check: %s", text);
    status = kin_sql_step(c->store, s, &row, err);
  }
  return status;
}

static kin_status check_keys(check *c, kin_error *err) {
  sqlite3_stmt *s;
  bool row;
  kin_status status = kin_sql_bind(c->store, KIN_SQL_CHECK_KEYS, &s, err, "");
  if (status == KIN_OK) status = kin_sql_step(c->store, s, &row, err);
  while (status == KIN_OK && row) {
    tell(c, c->store->path, false, RESTORE, "the table %s refers to rows of %s that aren't there: %lld",
         (const char *)sqlite3_column_text(s, 0), (const char *)sqlite3_column_text(s, 1),
         (long long)sqlite3_column_int64(s, 2));
    status = kin_sql_step(c->store, s, &row, err);
  }
  return status;
}

static kin_status check_words(check *c, kin_error *err) {
  static const struct {
    kin_sql check, rebuild;
    const char *name;
  } indices[] = {{KIN_SQL_CHECK_NAME_WORDS, KIN_SQL_REBUILD_NAME_WORDS, "names"},
                 {KIN_SQL_CHECK_CAPTION_WORDS, KIN_SQL_REBUILD_CAPTION_WORDS, "captions"},
                 {KIN_SQL_CHECK_PASSAGE_WORDS, KIN_SQL_REBUILD_PASSAGE_WORDS, "passages"}};
  for (size_t i = 0; i < sizeof indices / sizeof *indices; i++) {
    kin_error reason;
    kin_status status = kin_sql_run(c->store, indices[i].check, &reason, "");
    if (status == KIN_ERR_FORMAT && !c->cancelled) {
      bool repaired = c->options.repair && kin_sql_run(c->store, indices[i].rebuild, NULL, "") == KIN_OK;
      tell(c, c->store->path, repaired, repaired ? "it was made anew" : REPAIR,
           "the full-text index of %s doesn't hold what its table does", indices[i].name);
      status = KIN_OK;
    } else {
      status = absorb(c, status, &reason, c->store->path, err);
    }
    if (status != KIN_OK) return status;
  }
  return KIN_OK;
}

/* ---------------------------------------------------------------------- rows */

typedef enum fault { GOOD, DAMAGED, DAMAGED_HOLE, FOREIGN, UNNAMED, DOUBLE, BEYOND } fault;

/* Rows after each other with the same fault. */
typedef struct span {
  fault fault;
  uint64_t first, last;
} span;

typedef struct spans {
  span *items;
  size_t n, capacity;
} spans;

static void path_of_row(check *c, const kin_collection *k, uint64_t row, char *out, size_t size) {
  sqlite3_stmt *s;
  bool found = false;
  snprintf(out, size, "an item that isn't there");
  if (kin_sql_bind(c->store, KIN_SQL_READ_HIT, &s, NULL, "ii", k->id, (int64_t)row) == KIN_OK)
    kin_sql_step(c->store, s, &found, NULL);
  if (!found) return;
  snprintf(out, size, "%s", (const char *)sqlite3_column_text(s, 0));
  sqlite3_reset(s);
}

static void tell_span(check *c, const kin_collection *k, const span *s, const char *path, bool repaired) {
  char rows[64];
  const char *file = k->vectors_path, *catalogue = c->store->path;
  const char *fix = repaired
                        ? "kindred index makes anew what was taken out, and kindred store compact gives back the rows"
                        : REPAIR ", and index the files again";
  const bool many = s->last > s->first;
  if (many)
    snprintf(rows, sizeof rows, "rows %llu to %llu", (unsigned long long)s->first, (unsigned long long)s->last);
  else
    snprintf(rows, sizeof rows, "row %llu", (unsigned long long)s->first);
  if (s->fault == DAMAGED)
    tell(c, file, repaired, fix, "%s: wrong checksum: damaged %s of %s%s", rows, many ? "vectors" : "vector", path,
         many ? " and those after it" : "");
  else if (s->fault == DAMAGED_HOLE)
    tell(c, file, false, "none is needed, for no item has a vector there; kindred store compact leaves it out",
         "%s: wrong checksum", rows);
  else if (s->fault == FOREIGN)
    tell(c, file, repaired, fix, "%s: the vector is another item's than %s", rows, path);
  else if (s->fault == UNNAMED)
    tell(c, catalogue, repaired, fix, "%s of %s belong%s to no item, and no hole is noted", rows, file,
         many ? "" : "s");
  else if (s->fault == DOUBLE)
    tell(c, catalogue, repaired, fix, "%s of %s: both a vector's and a hole", rows, file);
  else
    tell(c, catalogue, repaired, fix, "%s of %s: the catalogue names what was never committed", rows, file);
}

/* In a transaction. A row without a good vector becomes a hole; its item loses all vectors here, so that it counts as
 * not indexed. */
static kin_status repair_span(check *c, const kin_collection *k, const span *s, kin_error *err) {
  const int64_t first = (int64_t)s->first, last = (int64_t)s->last;
  kin_status status = KIN_OK;
  if (s->fault == DAMAGED || s->fault == FOREIGN || s->fault == BEYOND)
    status = kin_sql_run(c->store, KIN_SQL_DROP_VECTORS_OF_ROWS, err, "iii", k->id, first, last);
  if (status == KIN_OK && (s->fault == DOUBLE || s->fault == BEYOND))
    status = kin_sql_run(c->store, KIN_SQL_DROP_HOLES_OF_ROWS, err, "iii", k->id, first, last);
  if (status == KIN_OK && s->fault == UNNAMED)
    status = kin_sql_run(c->store, KIN_SQL_ADD_HOLES, err, "iii", k->id, first, last);
  return status;
}

static bool repair(check *c, const kin_collection *k, const spans *all) {
  if (!c->options.repair || !c->store->writable || all->n == 0) return false;
  kin_status status = kin_sql_transact(c->store, KIN_SQL_BEGIN_WRITE, NULL);
  for (size_t i = 0; status == KIN_OK && i < all->n; i++) status = repair_span(c, k, &all->items[i], NULL);
  if (status == KIN_OK)
    status = kin_sql_run(c->store, KIN_SQL_SET_COLLECTION_STATE, NULL, "ii", k->id, (int64_t)k->rows);
  if (status == KIN_OK) status = kin_sql_transact(c->store, KIN_SQL_COMMIT, NULL);
  kin_sql_rollback(c->store);
  return status == KIN_OK;
}

/* Mend what there is, where that is wanted, and tell of it. */
static kin_status settle(check *c, const kin_collection *k, const spans *all, kin_error *err) {
  enum { PATH = 700 };
  char *paths = kin_array(all->n + 1, PATH); /* as they are before items lose their rows */
  if (!paths) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", c->store->path);
  for (size_t i = 0; i < all->n; i++) path_of_row(c, k, all->items[i].first, paths + i * PATH, PATH);
  const bool repaired = repair(c, k, all);
  for (size_t i = 0; i < all->n; i++) tell_span(c, k, &all->items[i], paths + i * PATH, repaired);
  free(paths);
  return KIN_OK;
}

static kin_status note(check *c, spans *all, uint64_t row, fault what, kin_error *err) {
  if (what == GOOD) return KIN_OK;
  span *s = all->n ? &all->items[all->n - 1] : NULL;
  if (s && s->fault == what && row == s->last + 1) {
    s->last = row;
    return KIN_OK;
  }
  if (!kin_grow((void **)&all->items, &all->capacity, all->n + 1, sizeof *all->items))
    return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", c->store->path);
  all->items[all->n++] = (span){what, row, row};
  return KIN_OK;
}

/* The rows that the catalogue names, in order, beside those of the file. */
typedef struct names {
  sqlite3_stmt *statement;
  bool more;
  uint64_t row;
  int64_t item; /* 0: a hole */
} names;

static kin_status next_name(check *c, names *n, kin_error *err) {
  kin_status status = kin_sql_step(c->store, n->statement, &n->more, err);
  if (status != KIN_OK || !n->more) return status;
  n->row = (uint64_t)sqlite3_column_int64(n->statement, 0);
  n->item = sqlite3_column_int64(n->statement, 1);
  return KIN_OK;
}

/* What the catalogue and, where it could be opened, the file say of a row. */
static kin_status inspect(check *c, kin_vectors *file, uint64_t row, names *n, fault *out, kin_error *err) {
  size_t times = 0;
  int64_t item = 0, id = 0;
  kin_status status = KIN_OK;
  for (; status == KIN_OK && n->more && n->row == row; times++) {
    if (n->item) item = n->item;
    status = next_name(c, n, err);
  }
  *out = times == 0 ? UNNAMED : times > 1 ? DOUBLE : GOOD;
  if (*out != GOOD || !file) return status;
  if (!kin_vectors_inspect(file, row, &id))
    *out = item ? DAMAGED : DAMAGED_HOLE;
  else if (item && id != item)
    *out = FOREIGN;
  return status;
}

static kin_status check_rows(check *c, const kin_collection *k, kin_vectors *file, kin_error *err) {
  names n = {0};
  spans found = {0};
  kin_status status = kin_sql_bind(c->store, KIN_SQL_EACH_ROW, &n.statement, err, "i", k->id);
  if (status == KIN_OK) status = next_name(c, &n, err);
  for (uint64_t row = 0; status == KIN_OK && row < k->rows; row++) {
    fault what;
    status = inspect(c, file, row, &n, &what, err);
    if (status == KIN_OK) status = note(c, &found, row, what, err);
    if (row % REPORT_EVERY == 0 && !goes_on(c)) status = KIN_ERR_CANCELLED;
    c->report.rows += file != NULL;
  }
  while (status == KIN_OK && n.more) {
    status = note(c, &found, n.row, BEYOND, err);
    if (status == KIN_OK) status = next_name(c, &n, err);
  }
  if (n.statement) sqlite3_reset(n.statement);
  if (status == KIN_OK) status = settle(c, k, &found, err);
  free(found.items);
  return status;
}

/* --------------------------------------------------------------------- files */

/* Codes that are missing are no problem: the next writer makes them. */
static kin_status check_codes(check *c, const kin_collection *k, const kin_vectors_key *key, const kin_vectors *file,
                              kin_error *err) {
  kin_codes *codes;
  if (k->dim > KIN_CODE_MOST_DIM) return KIN_OK;
  kin_status status = kin_codes_open(k->vectors_path, false, KIN_CODE_INT8, key, &codes, err);
  if (status != KIN_OK) return status;
  kin_codes_refresh(codes, file, k->rows);
  uint64_t bad = 0, first = 0, groups = kin_codes_groups(codes);
  for (uint64_t group = 0; group < groups && goes_on(c); group++) {
    if (kin_codes_usable(codes, group)) continue;
    if (bad++ == 0) first = group;
  }
  bool repaired = bad && c->options.repair && unlink(kin_codes_path(codes)) == 0;
  if (bad)
    tell(c, kin_codes_path(codes), repaired,
         repaired ? "it was removed, and kindred index makes it anew" : "delete this file: kindred index makes it anew",
         "%llu of %llu groups of codes are damaged, the first that of rows %llu to %llu; searches read the vectors "
         "instead",
         (unsigned long long)bad, (unsigned long long)groups, (unsigned long long)first * KIN_SCAN_ROWS,
         (unsigned long long)first * KIN_SCAN_ROWS + KIN_SCAN_ROWS - 1);
  kin_codes_close(codes);
  return absorb(c, KIN_OK, NULL, k->vectors_path, err);
}

/* An approximate index that can't be used; none is no problem. */
static kin_status check_ann(check *c, const kin_collection *k, const kin_vectors_key *key, const kin_vectors *file,
                            kin_error *err) {
  kin_error reason;
  kin_status status = kin_ann_check(file, key, &reason);
  if (status == KIN_ERR_FORMAT || status == KIN_ERR_MISMATCH || status == KIN_ERR_UNSUPPORTED)
    tell(c, k->vectors_path, false, "make it again with kindred index optimize, or remove it with --ann off",
         "its approximate index isn't used: %s", reason.message);
  else if (status != KIN_ERR_NOT_FOUND)
    return absorb(c, status, &reason, k->vectors_path, err);
  return KIN_OK;
}

static kin_status check_collection(check *c, const kin_collection *k, kin_error *err) {
  kin_vectors_key key = kin_store_vectors_key(c->store, k);
  kin_vectors *file = NULL;
  kin_error reason;
  kin_status status = kin_vectors_open(k->vectors_path, false, &key, &file, &reason);
  if (status == KIN_OK) status = kin_vectors_set_rows(file, k->rows, &reason);
  bool whole = status == KIN_OK;
  status = absorb(c, status, &reason, k->vectors_path, err);
  if (status == KIN_OK) {
    status = check_rows(c, k, whole ? file : NULL, &reason);
    status = absorb(c, status, &reason, c->store->path, err);
  }
  if (status == KIN_OK && whole) status = check_codes(c, k, &key, file, err);
  if (status == KIN_OK && whole) status = check_ann(c, k, &key, file, err);
  kin_vectors_close(file);
  return status;
}

static kin_status check_collections(check *c, const kin_collection *all, size_t n, kin_error *err) {
  kin_status status = KIN_OK;
  for (size_t i = 0; i < n; i++) c->total += all[i].rows;
  for (size_t i = 0; status == KIN_OK && i < n; i++) status = check_collection(c, &all[i], err);
  kin_store_files *files = NULL;
  if (status == KIN_OK) status = kin_files_list(c->store->path, all, n, &files, err);
  for (size_t i = 0; status == KIN_OK && i < kin_store_files_count(files); i++) {
    const kin_store_file *file = kin_store_files_get(files, i);
    if (file->kind != KIN_FILE_STRAY) continue;
    bool removed = c->options.repair && c->store->writable && kin_files_remove_stray(c->store, file);
    tell(c, file->path, removed,
         removed ? "it was removed" : "delete this file, unless the store beside it is an old copy",
         "no collection of the store names it: a writer that was cut off left it");
  }
  kin_store_files_close(files);
  c->report.collections = n;
  return status;
}

/* ----------------------------------------------------------------------- run */

static kin_status check_all(check *c, kin_error *err) {
  kin_store *store = c->store;
  kin_collection *all = NULL;
  size_t n = 0;
  kin_error reason;
  kin_status status = kin_sql_open(store, &reason);
  bool open = status == KIN_OK;
  status = absorb(c, status, &reason, store->path, err);
  if (status != KIN_OK || !open) return status;
  sqlite3_progress_handler(store->db, STEPS, on_steps, c);
  status = check_pages(c, &reason);
  status = absorb(c, status, &reason, store->path, err);
  if (status == KIN_OK) {
    status = check_keys(c, &reason);
    status = absorb(c, status, &reason, store->path, err);
  }
  if (status == KIN_OK && store->writable) status = check_words(c, err);
  if (status == KIN_OK) {
    status = kin_collections_read(store, 0, &all, &n, &reason);
    bool known = status == KIN_OK;
    status = absorb(c, status, &reason, store->path, err);
    if (status == KIN_OK && known) status = check_collections(c, all, n, err);
    kin_collections_free(all, n);
  }
  sqlite3_progress_handler(store->db, 0, NULL, NULL);
  return status;
}

/* Nobody may write meanwhile; where the lock has no place, nobody can. */
static kin_status take_lock(kin_store *store, kin_error *err) {
  kin_status status = kin_lock_take(store->path, &store->lock, err);
  store->writable = status == KIN_OK;
  return status == KIN_ERR_IO ? KIN_OK : status;
}

static kin_status refuse_address(const char *path, kin_error *err) {
  kin_elastic_address address;
  kin_status status = kin_elastic_address_parse(path, &address, err);
  if (status == KIN_OK)
    status = kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: an index of Elasticsearch has no files here", address.name);
  kin_elastic_address_free(&address);
  return status;
}

kin_status kin_store_check(kin_context *context, const char *path, const kin_check_options *options,
                           kin_check_report *out, kin_error *err) {
  if (out) *out = (kin_check_report){0};
  if (kin_elastic_is_address(path)) return refuse_address(path, err);
  kin_store *store = calloc(1, sizeof *store);
  if (!store) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", path);
  store->context = context;
  store->lock = -1;
  check c = {.store = store};
  if (options) c.options = *options;
  kin_status status = kin_store_absolute_path(path, &store->path, err);
  if (status == KIN_OK && !kin_file_exists(store->path))
    status = kin_fail(err, KIN_ERR_IO, "%s: no such store", store->path);
  if (status == KIN_OK) status = take_lock(store, err);
  if (status == KIN_OK) status = check_all(&c, err);
  c.report.read_only = !store->writable;
  kin_store_close(store);
  if (status == KIN_OK && out) *out = c.report;
  return status;
}
