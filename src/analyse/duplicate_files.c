/* Files that are one file under several names, and files of the same bytes. */
#include "analyse/duplicates.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool look(const char *path, struct stat *out) {
  return stat(path, out) == 0;
}

static int64_t mtime_of(const struct stat *st) {
  return kin_time_ns(st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

static void look_at(kin_dup_search *s, size_t item) {
  kin_dup_entry *e = &s->entries[item];
  const char *path = s->items[item].path;
  struct stat st, own;
  kin_error err;
  if (!look(path, &st) || lstat(path, &own) != 0) {
    kin_fail_errno(&err, errno, "%s", path);
    kin_dup_fail(e, &err);
    return;
  }
  if (!S_ISREG(st.st_mode)) {
    kin_fail(&err, KIN_ERR_UNSUPPORTED, "%s: not a regular file", path);
    kin_dup_fail(e, &err);
    return;
  }
  e->bytes = (uint64_t)st.st_size, e->device = (uint64_t)st.st_dev, e->inode = (uint64_t)st.st_ino;
  e->mtime_ns = mtime_of(&st), e->is_symlink = S_ISLNK(own.st_mode);
}

/* ------------------------------------------------------------------ sorting */

typedef struct sorted {
  const kin_dup_entry *entry;
  size_t item;
} sorted;

static int compare(uint64_t a, uint64_t b) {
  return (a > b) - (a < b);
}

static int by_item(const sorted *a, const sorted *b) {
  return compare(a->item, b->item);
}

/* A symbolic link comes after the file itself, so that it is the one that counts as a link. */
static int by_file(const void *a, const void *b) {
  const sorted *x = a, *y = b;
  int order = compare(x->entry->device, y->entry->device);
  if (!order) order = compare(x->entry->inode, y->entry->inode);
  if (!order) order = compare(x->entry->is_symlink, y->entry->is_symlink);
  return order ? order : by_item(x, y);
}

static int by_size(const void *a, const void *b) {
  const sorted *x = a, *y = b;
  const int order = compare(x->entry->bytes, y->entry->bytes);
  return order ? order : by_item(x, y);
}

static int by_content(const void *a, const void *b) {
  const sorted *x = a, *y = b;
  const int order = strcmp(x->entry->sha256, y->entry->sha256);
  return order ? order : by_size(x, y);
}

static bool is_same_file(const kin_dup_entry *a, const kin_dup_entry *b) {
  return a->device == b->device && a->inode == b->inode;
}

/* The files that count; returns how many. */
static size_t collect(const kin_dup_search *s, sorted *out) {
  size_t n = 0;
  for (size_t i = 0; i < s->n; i++) {
    const kin_dup_entry *e = &s->entries[i];
    if (e->usable && s->items[i].path && e->link == KIN_NOT_LINKED) out[n++] = (sorted){e, i};
  }
  return n;
}

static void find_links(kin_dup_search *s, sorted *files) {
  const size_t n = collect(s, files);
  qsort(files, n, sizeof *files, by_file);
  for (size_t i = 1, first = 0; i < n; i++) {
    if (is_same_file(files[i].entry, files[first].entry))
      s->entries[files[i].item].link = files[first].item;
    else
      first = i;
  }
}

/* The items whose size another one has too, which alone can be of the same bytes. */
static size_t find_same_sizes(const kin_dup_search *s, sorted *files, size_t *chosen) {
  const size_t n = collect(s, files);
  size_t count = 0;
  qsort(files, n, sizeof *files, by_size);
  for (size_t i = 0; i < n; i++) {
    const uint64_t bytes = files[i].entry->bytes;
    const bool shared =
        (i > 0 && files[i - 1].entry->bytes == bytes) || (i + 1 < n && files[i + 1].entry->bytes == bytes);
    if (bytes && shared) chosen[count++] = files[i].item;
  }
  return count;
}

static void join_same_bytes(kin_dup_search *s, sorted *files) {
  size_t n = collect(s, files), hashed = 0;
  for (size_t i = 0; i < n; i++)
    if (*files[i].entry->sha256) files[hashed++] = files[i];
  qsort(files, hashed, sizeof *files, by_content);
  for (size_t i = 1; i < hashed; i++) {
    const size_t item = files[i].item, before = files[i - 1].item;
    if (strcmp(s->entries[item].sha256, s->entries[before].sha256) != 0) continue;
    s->entries[item].original = s->entries[before].original;
    s->entries[before].next = item;
  }
}

/* ------------------------------------------------------------------ hashing */

typedef struct hashing {
  kin_dup_search *s;
  const size_t *chosen;
} hashing;

static void hash_one(void *arg, size_t i) {
  const hashing *h = arg;
  const size_t item = h->chosen[i];
  kin_dup_entry *e = &h->s->entries[item];
  const char *path = h->s->items[item].path;
  char hex[65];
  uint64_t bytes;
  struct stat st;
  kin_error err;
  if (!e->usable || *e->sha256) return;
  if (kin_sha256_file(path, hex, &bytes, &err) != KIN_OK) {
    kin_dup_fail(e, &err);
  } else if (!look(path, &st) || bytes != e->bytes || mtime_of(&st) != e->mtime_ns || (uint64_t)st.st_ino != e->inode) {
    kin_fail(&err, KIN_ERR_IO, "%s: changed while duplicates were looked for", path);
    kin_dup_fail(e, &err);
  } else {
    memcpy(e->sha256, hex, sizeof e->sha256);
  }
}

kin_status kin_dup_hash(kin_dup_search *s, const size_t *chosen, size_t n, kin_error *err) {
  hashing h = {s, chosen};
  const kin_status status = kin_dup_run(s, "hashing", n, hash_one, &h, err);
  kin_dup_settle(s);
  return status;
}

kin_status kin_dup_read_files(kin_dup_search *s, kin_error *err) {
  sorted *files = calloc(s->n + 1, sizeof *files);
  size_t *chosen = calloc(s->n + 1, sizeof *chosen);
  kin_status status = KIN_OK;
  if (!files || !chosen) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu files", s->n);
  for (size_t i = 0; status == KIN_OK && i < s->n; i++)
    if (s->items[i].path) look_at(s, i);
  kin_dup_settle(s);
  if (status == KIN_OK) {
    find_links(s, files);
    status = kin_dup_hash(s, chosen, find_same_sizes(s, files, chosen), err);
  }
  if (status == KIN_OK) join_same_bytes(s, files);
  free(files), free(chosen);
  return status;
}
