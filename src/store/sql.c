/* All of the store's SQL but that of filters (where.c): the schema with its migrations, the statements, and SQLite's
 * errors as ours. */
#include "store/elastic.h"
#include "store/find.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define APPLICATION_ID 0x4b494e44 /* "KIND" */

/* Migration i brings a file from user_version i to i + 1; a released one never changes.
 * - An item is a file; its vectors go when its content changes (the sha256 no longer fits) or it is dropped.
 *   AUTOINCREMENT: the id of a dropped item is never given to another.
 * - vectors.row is the record in the collection's vector file; the trigger notes the rows that nothing names
 *   any more, which keeps "live rows" = [0, rows) without holes.
 * - From 2 on an item has several vectors in a collection, one a passage, counted by ordinal. A collection's state
 *   grows with each of its vectors that goes, so that those who hold it notice whoever dropped it.
 * - From 3 on names, captions and passages are in full-text indices, kept by triggers, which hold no text of their
 *   own. items.described: the captions in the file itself have been read.
 * - From 4 on items have metadata: what users give (source 0) and what the file tells (1). A key may have several
 *   values; number is the value as one, where it is one.
 * - From 5 on a collection knows how its models were opened; NULL: not known. */
static const char *const migrations[] = {
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
    "INSERT INTO meta VALUES ('uuid', randomblob(16));"
    "CREATE TABLE collections ("
    "  id INTEGER PRIMARY KEY,"
    "  model_id TEXT NOT NULL UNIQUE,"
    "  model_path TEXT NOT NULL,"
    "  text_model_id TEXT,"
    "  text_model_path TEXT,"
    "  dim INTEGER NOT NULL CHECK (dim > 0),"
    "  vectors_suffix TEXT NOT NULL UNIQUE,"
    "  rows INTEGER NOT NULL DEFAULT 0 CHECK (rows >= 0),"
    "  state INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE items ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  path TEXT NOT NULL UNIQUE,"
    "  size INTEGER NOT NULL,"
    "  mtime_ns INTEGER NOT NULL,"
    "  sha256 BLOB NOT NULL CHECK (length(sha256) = 32),"
    "  width INTEGER NOT NULL,"
    "  height INTEGER NOT NULL);"
    "CREATE INDEX items_by_sha256 ON items (sha256);"
    "CREATE TABLE vectors ("
    "  collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,"
    "  item INTEGER NOT NULL REFERENCES items ON DELETE CASCADE,"
    "  row INTEGER NOT NULL CHECK (row >= 0),"
    "  PRIMARY KEY (collection, item)) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX vectors_by_row ON vectors (collection, row);"
    "CREATE INDEX vectors_by_item ON vectors (item);"
    "CREATE TABLE holes ("
    "  collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,"
    "  row INTEGER NOT NULL,"
    "  PRIMARY KEY (collection, row)) WITHOUT ROWID;"
    "CREATE TRIGGER vectors_dropped AFTER DELETE ON vectors BEGIN"
    "  INSERT INTO holes VALUES (old.collection, old.row);"
    "END;",

    "ALTER TABLE collections ADD COLUMN image INTEGER;"
    "ALTER TABLE collections ADD COLUMN text INTEGER;"
    "UPDATE collections SET image = 1;"
    "INSERT INTO meta SELECT 'last_collection', ifnull(max(id), 0) FROM collections;"
    "DROP TRIGGER vectors_dropped;"
    "ALTER TABLE vectors RENAME TO vectors_1;"
    "CREATE TABLE vectors ("
    "  collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,"
    "  item INTEGER NOT NULL REFERENCES items ON DELETE CASCADE,"
    "  ordinal INTEGER NOT NULL CHECK (ordinal >= 0),"
    "  row INTEGER NOT NULL CHECK (row >= 0),"
    "  PRIMARY KEY (collection, item, ordinal)) WITHOUT ROWID;"
    "INSERT INTO vectors SELECT collection, item, 0, row FROM vectors_1;"
    "DROP TABLE vectors_1;"
    "CREATE UNIQUE INDEX vectors_by_row ON vectors (collection, row);"
    "CREATE INDEX vectors_by_item ON vectors (item);"
    "CREATE INDEX later_vectors ON vectors (collection) WHERE ordinal > 0;"
    "CREATE TRIGGER vectors_dropped AFTER DELETE ON vectors"
    "  WHEN EXISTS (SELECT 1 FROM collections WHERE id = old.collection) BEGIN"
    "  INSERT INTO holes VALUES (old.collection, old.row);"
    "  UPDATE collections SET state = state + 1 WHERE id = old.collection;"
    "END;"
    "CREATE TABLE passages ("
    "  id INTEGER PRIMARY KEY,"
    "  collection INTEGER NOT NULL,"
    "  item INTEGER NOT NULL,"
    "  ordinal INTEGER NOT NULL,"
    "  line INTEGER NOT NULL,"
    "  offset INTEGER NOT NULL,"
    "  text TEXT NOT NULL,"
    "  UNIQUE (collection, item, ordinal),"
    "  FOREIGN KEY (collection, item, ordinal) REFERENCES vectors ON DELETE CASCADE);",

    "ALTER TABLE items ADD COLUMN described INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE captions ("
    "  item INTEGER PRIMARY KEY REFERENCES items ON DELETE CASCADE,"
    "  given TEXT,"
    "  sidecar TEXT,"
    "  embedded TEXT,"
    "  sidecar_size INTEGER NOT NULL DEFAULT -1,"
    "  sidecar_mtime_ns INTEGER NOT NULL DEFAULT 0);"
    "CREATE VIRTUAL TABLE name_words USING fts5"
    "  (path, content = 'items', content_rowid = 'id', tokenize = 'kindred paths');"
    "CREATE VIRTUAL TABLE caption_words USING fts5"
    "  (given, sidecar, embedded, content = 'captions', content_rowid = 'item', tokenize = 'kindred');"
    "CREATE VIRTUAL TABLE passage_words USING fts5"
    "  (text, content = 'passages', content_rowid = 'id', tokenize = 'kindred');"
    "CREATE TRIGGER name_added AFTER INSERT ON items BEGIN"
    "  INSERT INTO name_words (rowid, path) VALUES (new.id, new.path);"
    "END;"
    "CREATE TRIGGER name_changed AFTER UPDATE OF path ON items BEGIN"
    "  INSERT INTO name_words (name_words, rowid, path) VALUES ('delete', old.id, old.path);"
    "  INSERT INTO name_words (rowid, path) VALUES (new.id, new.path);"
    "END;"
    "CREATE TRIGGER name_dropped AFTER DELETE ON items BEGIN"
    "  INSERT INTO name_words (name_words, rowid, path) VALUES ('delete', old.id, old.path);"
    "END;"
    "CREATE TRIGGER caption_added AFTER INSERT ON captions BEGIN"
    "  INSERT INTO caption_words (rowid, given, sidecar, embedded)"
    "   VALUES (new.item, new.given, new.sidecar, new.embedded);"
    "END;"
    "CREATE TRIGGER caption_changed AFTER UPDATE ON captions BEGIN"
    "  INSERT INTO caption_words (caption_words, rowid, given, sidecar, embedded)"
    "   VALUES ('delete', old.item, old.given, old.sidecar, old.embedded);"
    "  INSERT INTO caption_words (rowid, given, sidecar, embedded)"
    "   VALUES (new.item, new.given, new.sidecar, new.embedded);"
    "END;"
    "CREATE TRIGGER caption_dropped AFTER DELETE ON captions BEGIN"
    "  INSERT INTO caption_words (caption_words, rowid, given, sidecar, embedded)"
    "   VALUES ('delete', old.item, old.given, old.sidecar, old.embedded);"
    "END;"
    "CREATE TRIGGER passage_added AFTER INSERT ON passages BEGIN"
    "  INSERT INTO passage_words (rowid, text) VALUES (new.id, new.text);"
    "END;"
    "CREATE TRIGGER passage_changed AFTER UPDATE OF text ON passages BEGIN"
    "  INSERT INTO passage_words (passage_words, rowid, text) VALUES ('delete', old.id, old.text);"
    "  INSERT INTO passage_words (rowid, text) VALUES (new.id, new.text);"
    "END;"
    "CREATE TRIGGER passage_dropped AFTER DELETE ON passages BEGIN"
    "  INSERT INTO passage_words (passage_words, rowid, text) VALUES ('delete', old.id, old.text);"
    "END;"
    "INSERT INTO name_words (name_words) VALUES ('rebuild');"
    "INSERT INTO passage_words (passage_words) VALUES ('rebuild');",

    "CREATE TABLE metadata ("
    "  item INTEGER NOT NULL REFERENCES items ON DELETE CASCADE,"
    "  key TEXT NOT NULL,"
    "  source INTEGER NOT NULL,"
    "  value TEXT NOT NULL,"
    "  number REAL,"
    "  PRIMARY KEY (item, key, source, value)) WITHOUT ROWID;",

    "ALTER TABLE collections ADD COLUMN precision TEXT;"
    "ALTER TABLE collections ADD COLUMN pooling TEXT;"
    "ALTER TABLE collections ADD COLUMN text_precision TEXT;",
};
#define SCHEMA_VERSION ((int)(sizeof migrations / sizeof *migrations))

static const char *const statements[KIN_SQL_COUNT] = {
    [KIN_SQL_READ_COLLECTIONS] = "SELECT id, model_id, model_path, vectors_suffix, dim, rows, state, text_model_id,"
                                 " text_model_path, image, ifnull(text, 1), precision, pooling, text_precision"
                                 " FROM collections WHERE ?1 IN (0, id)"
                                 " ORDER BY id",
    [KIN_SQL_FIND_COLLECTION] = "SELECT id FROM collections WHERE model_id = ?1",
    [KIN_SQL_NEXT_COLLECTION] = "UPDATE meta SET value = value + 1 WHERE key = 'last_collection' RETURNING value",
    [KIN_SQL_ADD_COLLECTION] = "INSERT INTO collections (id, model_id, model_path, dim, vectors_suffix, image, text,"
                               " precision, pooling) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [KIN_SQL_SET_COLLECTION_STATE] = "UPDATE collections SET rows = ?2, state = state + 1 WHERE id = ?1"
                                     " RETURNING state",
    [KIN_SQL_SET_MODEL] = "UPDATE collections SET model_path = ?2, image = ?3, text = ?4, precision = ?5, pooling = ?6,"
                          " state = state + 1 WHERE id = ?1 AND (model_path IS NOT ?2 OR image IS NOT ?3"
                          " OR text IS NOT ?4 OR precision IS NOT ?5 OR pooling IS NOT ?6)",
    [KIN_SQL_SET_TEXT_MODEL] = "UPDATE collections SET text_model_id = ?2, text_model_path = ?3, text_precision = ?4,"
                               " state = state + 1"
                               " WHERE id = ?1",
    [KIN_SQL_DROP_COLLECTION] = "DELETE FROM collections WHERE id = ?1",
    [KIN_SQL_DROP_BARE_ITEMS] = "DELETE FROM items WHERE id NOT IN (SELECT item FROM vectors)",
    [KIN_SQL_COUNT_VECTORS] = "SELECT c.rows - (SELECT count(*) FROM holes h WHERE h.collection = c.id),"
                              " (SELECT count(*) FROM vectors v WHERE v.collection = c.id AND v.ordinal > 0)"
                              " FROM collections c WHERE c.id = ?1",
    [KIN_SQL_COUNT_ITEMS] = "SELECT count(*) FROM items",
    [KIN_SQL_READ_HOLES] = "SELECT row FROM holes WHERE collection = ?1 ORDER BY row",
    [KIN_SQL_FIND_PATH] = "SELECT i.id, i.size, i.mtime_ns, i.sha256, v.row,"
                          " EXISTS (SELECT 1 FROM temp.seen s WHERE s.item = i.id), i.described,"
                          " ifnull(c.sidecar_size, -1), ifnull(c.sidecar_mtime_ns, 0) FROM items i"
                          " LEFT JOIN captions c ON c.item = i.id LEFT JOIN vectors v"
                          " ON v.item = i.id AND v.collection = ?2 AND v.ordinal = 0 WHERE i.path = ?1",
    [KIN_SQL_FIND_ITEM] = "SELECT id FROM items WHERE path = ?1",
    /* CROSS: from the hash to the vector; left to itself the planner goes through all vectors. */
    [KIN_SQL_FIND_SHA256] =
        "SELECT i.id, i.width, i.height, v.row, i.path, EXISTS (SELECT 1 FROM passages p WHERE"
        " p.collection = v.collection AND p.item = i.id AND p.ordinal = 0) FROM items i CROSS JOIN vectors v"
        " ON v.item = i.id AND v.collection = ?2 AND v.ordinal = 0 WHERE i.sha256 = ?1 LIMIT 1",
    [KIN_SQL_READ_HIT] = "SELECT i.path, i.width, i.height, p.line, p.offset, p.text FROM vectors v"
                         " JOIN items i ON i.id = v.item LEFT JOIN passages p"
                         " ON p.collection = v.collection AND p.item = v.item AND p.ordinal = v.ordinal"
                         " WHERE v.collection = ?1 AND v.row = ?2",
    [KIN_SQL_EACH_VECTOR] =
        "SELECT i.id, v.row, i.path, i.mtime_ns, i.width, i.height, p.line, p.offset, p.text,"
        " (SELECT m.value FROM metadata m WHERE m.item = i.id AND m.key = 'date' ORDER BY m.source LIMIT 1)"
        " FROM vectors v JOIN items i ON i.id = v.item LEFT JOIN passages p"
        " ON p.collection = v.collection AND p.item = v.item AND p.ordinal = v.ordinal"
        " WHERE v.collection = ?1 ORDER BY i.path, v.ordinal",
    [KIN_SQL_ADD_ITEM] = "INSERT INTO items (id, path, size, mtime_ns, sha256, width, height)"
                         " VALUES (nullif(?7, 0), ?1, ?2, ?3, ?4, ?5, ?6)",
    [KIN_SQL_CHANGE_ITEM] = "UPDATE items SET size = ?2, mtime_ns = ?3, sha256 = ?4, width = ?5, height = ?6"
                            " WHERE id = ?1",
    [KIN_SQL_TOUCH_ITEM] = "UPDATE items SET size = ?2, mtime_ns = ?3 WHERE id = ?1",
    [KIN_SQL_DROP_ITEM] = "DELETE FROM items WHERE id = ?1",
    [KIN_SQL_DROP_BARE_ITEM] = "DELETE FROM items WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM vectors WHERE item = ?1)",
    /* Of one collection (?2), or of all (0). */
    [KIN_SQL_DROP_VECTORS] = "DELETE FROM vectors WHERE item = ?1 AND ?2 IN (0, collection)",
    [KIN_SQL_ADD_VECTOR] = "INSERT INTO vectors VALUES (?1, ?2, ?3, ?4)",
    [KIN_SQL_ADD_PASSAGE] = "INSERT INTO passages (collection, item, ordinal, line, offset, text)"
                            " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [KIN_SQL_COPY_PASSAGE] = "INSERT INTO passages (collection, item, ordinal, line, offset, text)"
                             " SELECT collection, ?3, ordinal, line, offset, text FROM passages"
                             " WHERE collection = ?1 AND item = ?2 AND ordinal = ?4",
    /* bm25() is the smaller, the better. ?2 would be the collection, which names and captions don't have. */
    [KIN_SQL_MATCH_NAMES] = "SELECT rowid, ?2, 0, -bm25(name_words) FROM name_words WHERE name_words MATCH ?1",
    [KIN_SQL_MATCH_CAPTIONS] = "SELECT rowid, ?2, 0, -bm25(caption_words) FROM caption_words"
                               " WHERE caption_words MATCH ?1",
    [KIN_SQL_MATCH_PASSAGES] = "SELECT p.item, p.collection, p.ordinal, -bm25(passage_words) FROM passage_words"
                               " CROSS JOIN passages p ON p.id = passage_words.rowid"
                               " WHERE passage_words MATCH ?1 AND ?2 IN (0, p.collection)",
    [KIN_SQL_VECTOR_ROW] = "SELECT row FROM vectors WHERE collection = ?1 AND item = ?2 AND ordinal = ?3",
    [KIN_SQL_SET_GIVEN] = "INSERT INTO captions (item, given) VALUES (?1, ?2)"
                          " ON CONFLICT DO UPDATE SET given = excluded.given",
    [KIN_SQL_SET_SIDECAR] = "INSERT INTO captions (item, sidecar, sidecar_size, sidecar_mtime_ns)"
                            " VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET sidecar = excluded.sidecar,"
                            " sidecar_size = excluded.sidecar_size, sidecar_mtime_ns = excluded.sidecar_mtime_ns",
    /* Most pictures have none, and need no row. */
    [KIN_SQL_SET_EMBEDDED] = "INSERT INTO captions (item, embedded) SELECT ?1, ?2 WHERE ?2 IS NOT NULL"
                             " OR EXISTS (SELECT 1 FROM captions WHERE item = ?1)"
                             " ON CONFLICT DO UPDATE SET embedded = excluded.embedded",
    [KIN_SQL_SET_DESCRIBED] = "UPDATE items SET described = ?2 WHERE id = ?1",
    [KIN_SQL_VECTOR_ROWS] = "SELECT row FROM vectors WHERE collection = ?1 AND item = ?2 ORDER BY ordinal",
    [KIN_SQL_ADD_METADATA] = "INSERT OR IGNORE INTO metadata VALUES (?1, ?2, 0, ?3, CAST(?4 AS REAL))",
    [KIN_SQL_CLEAR_METADATA] = "DELETE FROM metadata WHERE item = ?1 AND key = ?2 AND source = 0",
    [KIN_SQL_ADD_FILE_METADATA] = "INSERT INTO metadata VALUES (?1, ?2, 1, ?3, NULL)",
    [KIN_SQL_CLEAR_FILE_METADATA] = "DELETE FROM metadata WHERE item = ?1 AND source = 1",
    [KIN_SQL_MARK_SEEN] = "INSERT OR IGNORE INTO temp.seen VALUES (?1)",
    [KIN_SQL_CHECK_PAGES] = "PRAGMA integrity_check",
    [KIN_SQL_CHECK_KEYS] = "SELECT \"table\", parent, count(*) FROM pragma_foreign_key_check GROUP BY 1, 2",
    [KIN_SQL_CHECK_NAME_WORDS] = "INSERT INTO name_words (name_words, rank) VALUES ('integrity-check', 1)",
    [KIN_SQL_CHECK_CAPTION_WORDS] = "INSERT INTO caption_words (caption_words, rank) VALUES ('integrity-check', 1)",
    [KIN_SQL_CHECK_PASSAGE_WORDS] = "INSERT INTO passage_words (passage_words, rank) VALUES ('integrity-check', 1)",
    [KIN_SQL_REBUILD_NAME_WORDS] = "INSERT INTO name_words (name_words) VALUES ('rebuild')",
    [KIN_SQL_REBUILD_CAPTION_WORDS] = "INSERT INTO caption_words (caption_words) VALUES ('rebuild')",
    [KIN_SQL_REBUILD_PASSAGE_WORDS] = "INSERT INTO passage_words (passage_words) VALUES ('rebuild')",
    [KIN_SQL_DROP_VECTORS_OF_ROWS] = "DELETE FROM vectors WHERE collection = ?1 AND item IN (SELECT item FROM vectors"
                                     " WHERE collection = ?1 AND row BETWEEN ?2 AND ?3)",
    [KIN_SQL_DROP_HOLES_OF_ROWS] = "DELETE FROM holes WHERE collection = ?1 AND row BETWEEN ?2 AND ?3",
    [KIN_SQL_ADD_HOLES] = "WITH RECURSIVE r (row) AS (SELECT ?2 UNION ALL SELECT row + 1 FROM r WHERE row < ?3)"
                          " INSERT OR IGNORE INTO holes SELECT ?1, row FROM r",
    /* Each row as often as it is named, with its item, or 0 of a hole. */
    [KIN_SQL_EACH_ROW] = "SELECT row, item FROM vectors WHERE collection = ?1 UNION ALL"
                         " SELECT row, 0 FROM holes WHERE collection = ?1 ORDER BY row",
    [KIN_SQL_EACH_VECTOR_ROW] = "SELECT row, item FROM vectors WHERE collection = ?1 ORDER BY row",
    [KIN_SQL_MOVE_VECTOR] = "UPDATE vectors SET row = ?3 WHERE collection = ?1 AND row = ?2",
    [KIN_SQL_DROP_HOLES] = "DELETE FROM holes WHERE collection = ?1",
    [KIN_SQL_SET_VECTORS_FILE] = "UPDATE collections SET vectors_suffix = ?2, rows = ?3, state = state + 1"
                                 " WHERE id = ?1",
    [KIN_SQL_EXPORT] = "SELECT i.id, v.row, i.path, i.size, i.mtime_ns, i.sha256, i.width, i.height, p.line, p.offset,"
                       " p.text, c.given, c.sidecar, c.embedded, (SELECT json_group_array(json_array(m.key, m.value))"
                       " FROM metadata m WHERE m.item = i.id AND m.source = 0), v.ordinal"
                       " FROM vectors v JOIN items i ON i.id = v.item LEFT JOIN captions c ON c.item = i.id"
                       " LEFT JOIN passages p ON p.collection = v.collection AND p.item = v.item"
                       " AND p.ordinal = v.ordinal WHERE v.collection = ?1 ORDER BY i.path, v.ordinal",
    [KIN_SQL_FIND_ID] = "SELECT path FROM items WHERE id = ?1",
    [KIN_SQL_NEXT_UNSEEN] = "SELECT id, path FROM items WHERE path >= ?1 AND path < ?2"
                            " AND id NOT IN (SELECT item FROM temp.seen) ORDER BY path LIMIT 1",
};

kin_status kin_sql_fail(kin_store *store, int rc, const char *doing, kin_error *err) {
  const char *reason = store->db ? sqlite3_errmsg(store->db) : sqlite3_errstr(rc);
  switch (rc & 0xff) {
  case SQLITE_FULL:
    return kin_fail(err, KIN_ERR_IO,
                    "%s: %s: no space left on the device; what was committed before is kept: free some space and "
                    "run again",
                    store->path, doing);
  case SQLITE_BUSY:
  case SQLITE_LOCKED:
    return kin_fail(err, KIN_ERR_BUSY, "%s: %s: another process holds the store; try again", store->path, doing);
  case SQLITE_NOMEM:
    return kin_fail(err, KIN_ERR_MEMORY, "%s: %s: out of memory", store->path, doing);
  case SQLITE_NOTADB:
    return kin_fail(err, KIN_ERR_FORMAT, "%s: is not a store (not a SQLite file)", store->path);
  case SQLITE_CORRUPT:
  case SQLITE_CONSTRAINT:
  case SQLITE_ERROR:
    return kin_fail(err, KIN_ERR_FORMAT, "%s: %s: the store is damaged: %s", store->path, doing, reason);
  default:
    return kin_fail(err, KIN_ERR_IO, "%s: %s: %s", store->path, doing, reason);
  }
}

static kin_status execute(kin_store *store, const char *sql, const char *doing, kin_error *err) {
  int rc = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
  return rc == SQLITE_OK ? KIN_OK : kin_sql_fail(store, rc, doing, err);
}

/* The first column of the first row of `sql`. */
static kin_status read_number(kin_store *store, const char *sql, int64_t *out, kin_error *err) {
  sqlite3_stmt *s = NULL;
  int rc = sqlite3_prepare_v2(store->db, sql, -1, &s, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_step(s);
  if (rc == SQLITE_ROW) *out = sqlite3_column_int64(s, 0);
  kin_status status = rc == SQLITE_ROW ? KIN_OK : kin_sql_fail(store, rc, "reading the store", err);
  sqlite3_finalize(s);
  return status;
}

/* *version gets the schema's; 0 for a file without anything in it. Refuses other programs' files. */
static kin_status read_version(kin_store *store, int64_t *version, kin_error *err) {
  int64_t application = 0, tables = 0;
  kin_status status = read_number(store, "PRAGMA application_id", &application, err);
  if (status == KIN_OK) status = read_number(store, "PRAGMA user_version", version, err);
  if (status == KIN_OK) status = read_number(store, "SELECT count(*) FROM sqlite_schema", &tables, err);
  if (status != KIN_OK) return status;
  if (tables == 0) {
    *version = 0;
  } else if (application != APPLICATION_ID) {
    return kin_fail(err, KIN_ERR_FORMAT, "%s: is another program's SQLite file, not a store", store->path);
  } else if (*version > SCHEMA_VERSION) {
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: made by a newer kindred (schema %lld, this build knows %d)",
                    store->path, (long long)*version, SCHEMA_VERSION);
  }
  return KIN_OK;
}

/* One transaction for each step: a kill leaves a version that the next opening takes up. */
static kin_status migrate(kin_store *store, int64_t version, kin_error *err) {
  kin_status status = execute(store, "PRAGMA journal_mode = WAL", "creating the store", err);
  for (; status == KIN_OK && version < SCHEMA_VERSION; version++) {
    char *sql = kin_format("BEGIN IMMEDIATE; %s PRAGMA application_id = %d; PRAGMA user_version = %lld; COMMIT",
                           migrations[version], APPLICATION_ID, (long long)version + 1);
    if (!sql) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", store->path);
    status = execute(store, sql, "creating the store", err);
    if (status != KIN_OK) kin_sql_rollback(store);
    free(sql);
  }
  return status;
}

/* Only the holder of the writer's lock migrates; a reader takes it for that long. */
static kin_status migrate_if_older(kin_store *store, kin_error *err) {
  int64_t version = 0;
  kin_status status = read_version(store, &version, err);
  if (status != KIN_OK || version == SCHEMA_VERSION) return status;
  int lock = -1;
  if (!store->writable) status = kin_lock_take(store->path, &lock, err);
  if (status == KIN_OK) status = read_version(store, &version, err);
  if (status == KIN_OK) status = migrate(store, version, err);
  kin_lock_release(lock);
  return status;
}

static kin_status read_uuid(kin_store *store, kin_error *err) {
  sqlite3_stmt *s = NULL;
  int rc = sqlite3_prepare_v2(store->db, "SELECT value FROM meta WHERE key = 'uuid'", -1, &s, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_step(s);
  kin_status status = KIN_OK;
  if (rc != SQLITE_ROW && rc != SQLITE_DONE)
    status = kin_sql_fail(store, rc, "reading the store", err);
  else if (rc == SQLITE_DONE || sqlite3_column_bytes(s, 0) != KIN_UUID_SIZE)
    status = kin_fail(err, KIN_ERR_FORMAT, "%s: the store is damaged: no uuid", store->path);
  else
    memcpy(store->uuid, sqlite3_column_blob(s, 0), KIN_UUID_SIZE);
  sqlite3_finalize(s);
  return status;
}

/* The path as a file URI that tells SQLite that nobody can change the file. */
static char *immutable_uri(const char *path) {
  static const char tail[] = "?immutable=1";
  char *uri = kin_array(3 * strlen(path) + sizeof tail + 5, 1);
  if (!uri) return NULL;
  char *out = uri + sprintf(uri, "file:");
  for (; *path; path++) {
    if (strchr("%?#", *path))
      out += sprintf(out, "%%%02X", (unsigned)(unsigned char)*path);
    else
      *out++ = *path;
  }
  memcpy(out, tail, sizeof tail);
  return uri;
}

static kin_status connect_at(kin_store *store, const char *name, int flags, kin_error *err) {
  int rc = sqlite3_open_v2(name, &store->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
  if (rc != SQLITE_OK) return kin_sql_fail(store, rc, "opening the store", err);
  sqlite3_extended_result_codes(store->db, 1);
  sqlite3_busy_timeout(store->db, 5000);
  return execute(
      store,
      "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA temp_store = FILE;"
      "PRAGMA trusted_schema = OFF; PRAGMA journal_size_limit = 67108864; SELECT count(*) FROM sqlite_schema",
      "opening the store", err);
}

/* In a folder that can't be written SQLite's log has no place; without a log left over, none is needed. */
static kin_status connect_immutable(kin_store *store, kin_error *err) {
  char *log = kin_format("%s-wal", store->path), *uri = immutable_uri(store->path);
  struct stat s;
  kin_status status = KIN_OK;
  if (!log || !uri)
    status = kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", store->path);
  else if (stat(log, &s) == 0 && s.st_size > 0)
    status = kin_fail(err, KIN_ERR_IO,
                      "%s: a writer is at work, or was cut off, and the folder can't be written to finish that; wait, "
                      "give write permission or copy the store",
                      store->path);
  if (status == KIN_OK) {
    sqlite3_close(store->db);
    store->db = NULL;
    status = connect_at(store, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, err);
  }
  free(log);
  free(uri);
  return status;
}

kin_status kin_sql_open(kin_store *store, kin_error *err) {
  /* A reader opens for writing too, where it may: SQLite recovers a killed writer's log only then. */
  int flags = SQLITE_OPEN_READWRITE | (store->writable ? SQLITE_OPEN_CREATE : 0);
  kin_status status = connect_at(store, store->path, flags, err);
  int rc = status == KIN_OK ? SQLITE_OK : sqlite3_errcode(store->db) & 0xff;
  if (!store->writable && (rc == SQLITE_CANTOPEN || rc == SQLITE_READONLY)) status = connect_immutable(store, err);
  if (status == KIN_OK && store->writable && sqlite3_db_readonly(store->db, "main"))
    status = kin_fail(err, KIN_ERR_IO, "%s: no permission to write to the store", store->path);
  if (status == KIN_OK) status = kin_sql_add_tokenizer(store, err);
  if (status == KIN_OK) status = kin_where_add_functions(store, err);
  if (status == KIN_OK) status = migrate_if_older(store, err);
  if (status == KIN_OK) status = read_uuid(store, err);
  if (status != KIN_OK) return status;
  /* The triggers that keep the full-text indices write to virtual tables, which SQLite lets trusted schemas do. */
  return execute(store, store->writable ? "PRAGMA trusted_schema = ON" : "PRAGMA query_only = ON", "opening the store",
                 err);
}

void kin_sql_close(kin_store *store) {
  for (size_t i = 0; i < KIN_SQL_COUNT; i++) sqlite3_finalize(store->statements[i]);
  sqlite3_close(store->db);
}

kin_status kin_sql_transact(kin_store *store, kin_sql_transaction what, kin_error *err) {
  if (store->remote) return KIN_OK;
  switch (what) {
  case KIN_SQL_BEGIN_READ:
    return execute(store, "BEGIN", "reading the store", err);
  case KIN_SQL_BEGIN_WRITE:
    return execute(store, "BEGIN IMMEDIATE", "writing to the store", err);
  case KIN_SQL_COMMIT:
    break;
  }
  return execute(store, "COMMIT", "committing to the store", err);
}

void kin_sql_rollback(kin_store *store) {
  if (store->remote) {
    kin_remote_rollback(store->remote);
    return;
  }
  for (size_t i = 0; i < KIN_SQL_COUNT; i++)
    if (store->statements[i]) sqlite3_reset(store->statements[i]);
  if (!sqlite3_get_autocommit(store->db)) sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}

kin_status kin_sql_tidy(kin_store *store, kin_error *err) {
  /* Readers keep the log from being cut: then the last of them cuts it. */
  return execute(store,
                 "INSERT INTO name_words (name_words) VALUES ('optimize');"
                 "INSERT INTO caption_words (caption_words) VALUES ('optimize');"
                 "INSERT INTO passage_words (passage_words) VALUES ('optimize');"
                 "VACUUM; PRAGMA wal_checkpoint(TRUNCATE)",
                 "compacting the store", err);
}

kin_status kin_sql_clear_seen(kin_store *store, kin_error *err) {
  return execute(store, "CREATE TABLE IF NOT EXISTS temp.seen (item INTEGER PRIMARY KEY); DELETE FROM temp.seen",
                 "preparing to index", err);
}

static kin_status bind_all(kin_store *store, kin_sql which, sqlite3_stmt **out, kin_error *err, const char *types,
                           va_list args) {
  if (store->remote)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: an index of Elasticsearch can't do that", store->path);
  sqlite3_stmt **s = &store->statements[which];
  int rc = SQLITE_OK;
  if (!*s) rc = sqlite3_prepare_v3(store->db, statements[which], -1, SQLITE_PREPARE_PERSISTENT, s, NULL);
  if (rc == SQLITE_OK) sqlite3_reset(*s);
  for (int i = 0; rc == SQLITE_OK && types[i]; i++) {
    if (types[i] == 'i')
      rc = sqlite3_bind_int64(*s, i + 1, va_arg(args, int64_t));
    else if (types[i] == 's')
      rc = sqlite3_bind_text(*s, i + 1, va_arg(args, const char *), -1, SQLITE_TRANSIENT);
    else
      rc = sqlite3_bind_blob(*s, i + 1, va_arg(args, const void *), 32, SQLITE_TRANSIENT);
  }
  *out = *s;
  return rc == SQLITE_OK ? KIN_OK : kin_sql_fail(store, rc, "preparing a statement", err);
}

kin_status kin_sql_bind(kin_store *store, kin_sql which, sqlite3_stmt **out, kin_error *err, const char *types, ...) {
  va_list args;
  va_start(args, types);
  kin_status status = bind_all(store, which, out, err, types, args);
  va_end(args);
  return status;
}

kin_status kin_sql_step(kin_store *store, sqlite3_stmt *statement, bool *row, kin_error *err) {
  int rc = sqlite3_step(statement);
  *row = rc == SQLITE_ROW;
  if (rc == SQLITE_ROW) return KIN_OK;
  kin_status status = rc == SQLITE_DONE ? KIN_OK : kin_sql_fail(store, rc, "using the store", err);
  sqlite3_reset(statement);
  return status;
}

kin_status kin_sql_run(kin_store *store, kin_sql which, kin_error *err, const char *types, ...) {
  va_list args;
  va_start(args, types);
  sqlite3_stmt *s;
  kin_status status = bind_all(store, which, &s, err, types, args);
  va_end(args);
  bool row = false;
  if (status == KIN_OK) status = kin_sql_step(store, s, &row, err);
  if (row) sqlite3_reset(s);
  return status;
}
