/* The files of which a store consists. */
#include "store/elastic.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct kin_store_files {
  kin_store_file *items;
  size_t n, capacity;
};

const char *kin_file_kind_name(kin_file_kind kind) {
  static const char *const names[] = {"catalogue", "log", "lock", "vectors", "derived", "stray"};
  return (unsigned)kind < sizeof names / sizeof *names ? names[kind] : "?";
}

size_t kin_store_files_count(const kin_store_files *files) {
  return files->n;
}

const kin_store_file *kin_store_files_get(const kin_store_files *files, size_t i) {
  return i < files->n ? &files->items[i] : NULL;
}

void kin_store_files_close(kin_store_files *files) {
  if (files) free(files->items);
  free(files);
}

/* What follows `start` in `text`; NULL: it doesn't begin so. */
static const char *after(const char *text, const char *start) {
  size_t n = strlen(start);
  return strncmp(text, start, n) == 0 ? text + n : NULL;
}

/* Whether `rest`, of a name behind the store's, is as collections' vector files and what is beside them are called. */
static bool is_vectors_name(const char *rest) {
  while (rest[0] == '.' && isdigit((unsigned char)rest[1])) rest += 1 + strspn(rest + 1, "0123456789");
  rest = after(rest, ".vectors");
  return rest && (*rest == '\0' || kin_index_is_derived(rest));
}

/* False: the file isn't the store's. */
static bool kind_of(const char *path, const char *store_path, const kin_collection *collections, size_t n,
                    kin_file_kind *out) {
  const char *rest = after(path, store_path);
  if (!rest) return false;
  *out = KIN_FILE_CATALOGUE;
  if (*rest == '\0') return true;
  *out = KIN_FILE_LOG;
  if (strcmp(rest, "-wal") == 0 || strcmp(rest, "-shm") == 0 || strcmp(rest, "-journal") == 0) return true;
  *out = KIN_FILE_LOCK;
  if (strcmp(rest, ".lock") == 0) return true;
  for (size_t i = 0; i < n; i++) {
    const char *beside = after(path, collections[i].vectors_path);
    *out = beside && *beside == '\0' ? KIN_FILE_VECTORS : KIN_FILE_DERIVED;
    if (beside && (*beside == '\0' || kin_index_is_derived(beside))) return true;
  }
  *out = KIN_FILE_STRAY;
  return is_vectors_name(rest);
}

static int compare_files(const void *a, const void *b) {
  const kin_store_file *x = a, *y = b;
  return x->kind != y->kind ? (x->kind > y->kind) - (x->kind < y->kind) : strcmp(x->path, y->path);
}

static bool add(kin_store_files *files, const char *path, kin_file_kind kind) {
  struct stat s;
  if (stat(path, &s) != 0 || !S_ISREG(s.st_mode)) return true; /* gone meanwhile, or a folder of that name */
  if (!kin_grow((void **)&files->items, &files->capacity, files->n + 1, sizeof *files->items)) return false;
  kin_store_file *file = &files->items[files->n++];
  *file = (kin_store_file){.bytes = (uint64_t)s.st_size, .kind = kind};
  snprintf(file->path, sizeof file->path, "%s", path);
  return true;
}

static bool list(DIR *folder, const char *store_path, const kin_collection *collections, size_t n,
                 kin_store_files *files) {
  const int length = (int)(strrchr(store_path, '/') - store_path);
  bool ok = true;
  for (const struct dirent *entry; ok && (entry = readdir(folder));) {
    kin_file_kind kind;
    char *path = kin_format("%.*s/%s", length, store_path, entry->d_name);
    ok = path && (!kind_of(path, store_path, collections, n, &kind) || add(files, path, kind));
    free(path);
  }
  if (files->n) qsort(files->items, files->n, sizeof *files->items, compare_files);
  return ok;
}

kin_status kin_files_list(const char *path, const kin_collection *collections, size_t n, kin_store_files **out,
                          kin_error *err) {
  *out = NULL;
  char *name = kin_format("%.*s", (int)(strrchr(path, '/') - path) + 1, path);
  kin_store_files *files = calloc(1, sizeof *files);
  DIR *folder = name ? opendir(name) : NULL;
  kin_status status = KIN_OK;
  if (name && !folder)
    status = kin_fail_errno(err, errno, "%s: can't read the folder of the store", name);
  else if (!name || !files || !list(folder, path, collections, n, files))
    status = kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", path);
  if (folder) closedir(folder);
  free(name);
  if (status == KIN_OK)
    *out = files;
  else
    kin_store_files_close(files);
  return status;
}

kin_status kin_store_list_files(kin_store *store, kin_store_files **out, kin_error *err) {
  kin_collection *all = NULL;
  size_t n = 0;
  *out = NULL;
  if (store->remote) return kin_remote_cant(store, "an index of Elasticsearch has no files here", err);
  kin_status status = kin_sql_transact(store, KIN_SQL_BEGIN_READ, err);
  if (status == KIN_OK) status = kin_collections_read(store, 0, &all, &n, err);
  kin_sql_rollback(store);
  if (status == KIN_OK) status = kin_files_list(store->path, all, n, out, err);
  kin_collections_free(all, n);
  return status;
}

bool kin_files_remove_stray(const kin_store *store, const kin_store_file *file) {
  if (file->kind != KIN_FILE_STRAY || !kin_vectors_is_of(file->path, store->uuid)) return false;
  kin_index_remove_derived(file->path);
  return unlink(file->path) == 0;
}

void kin_files_remove_strays(const kin_store *store, const kin_collection *collections, size_t n) {
  kin_store_files *files;
  if (kin_files_list(store->path, collections, n, &files, NULL) != KIN_OK) return;
  for (size_t i = 0; i < files->n; i++) kin_files_remove_stray(store, &files->items[i]);
  kin_store_files_close(files);
}
