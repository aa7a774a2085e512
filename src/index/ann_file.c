/* The file of an approximate index: a head of ours, checked with all that follows before FAISS reads it. */
#include "index/ann_file.h"

#include "index/ann.h"
#include "index/checksum.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMAT_VERSION 1
#define BOUND_ROWS 64 /* the last rows, whose checksums tell one history from another */
static const char file_magic[8] = {'K', 'I', 'N', 'A', 'N', 'N', 'I', 'X'};

typedef struct file_head {
  char magic[8];
  uint32_t version;
  uint32_t head_bytes;
  uint64_t dim;
  uint8_t uuid[KIN_UUID_SIZE];
  int64_t collection;
  uint64_t rows;
  uint64_t binding; /* kin_vectors_digest of the last BOUND_ROWS of them, or of all */
  uint64_t bytes;   /* of what follows the head */
  uint64_t content; /* its checksum */
  char factory[KIN_ANN_FACTORY];
  uint32_t probes, ef, candidates; /* kin_ann_effort; zeros in files of before it was measured */
  float recall;
  uint64_t graph_bytes; /* of them, at the end, kin_graph_write's; 0 for other kinds, and in older files */
  uint8_t reserved[16];
  uint64_t checksum; /* of the bytes before it */
} file_head;
_Static_assert(sizeof(file_head) == 256, "as docs/store-format.md says");

static const char ending[] = ".ann", temporary_ending[] = ".ann.new";

char *kin_ann_path(const char *vectors_path) {
  return kin_format("%s%s", vectors_path, ending);
}

static char *temporary_path(const char *vectors_path) {
  return kin_format("%s%s", vectors_path, temporary_ending);
}

bool kin_ann_is_ending(const char *text) {
  return strcmp(text, ending) == 0 || strcmp(text, temporary_ending) == 0;
}

void kin_ann_remove(const char *vectors_path) {
  char *path = kin_ann_path(vectors_path), *temporary = temporary_path(vectors_path);
  if (path) unlink(path);
  if (temporary) unlink(temporary);
  free(path);
  free(temporary);
}

static uint64_t head_checksum(const file_head *h) {
  return kin_checksum(h, offsetof(file_head, checksum), 0);
}

static kin_status digest(const kin_vectors *file, uint64_t rows, uint64_t *out, kin_error *err) {
  uint64_t n = rows < BOUND_ROWS ? rows : BOUND_ROWS;
  return kin_vectors_digest(file, rows - n, (size_t)n, out, err);
}

static kin_status damaged(const char *path, const char *what, kin_error *err) {
  return kin_fail(err, KIN_ERR_FORMAT, "%s: %s; make it again with kindred index optimize", path, what);
}

/* ------------------------------------------------------------------- reading */

static kin_status check_head(const char *path, const file_head *h, const kin_vectors_key *key, kin_error *err) {
  if (memcmp(h->magic, file_magic, sizeof file_magic) != 0) return damaged(path, "not an approximate index", err);
  if (h->version != FORMAT_VERSION || h->head_bytes != sizeof *h)
    return kin_fail(err, KIN_ERR_UNSUPPORTED,
                    "%s: format version %u, this build reads version %d; make it again with kindred index optimize",
                    path, (unsigned)h->version, FORMAT_VERSION);
  if (h->checksum != head_checksum(h) || !memchr(h->factory, '\0', sizeof h->factory))
    return damaged(path, "the head is damaged (wrong checksum)", err);
  if (memcmp(h->uuid, key->uuid, sizeof h->uuid) != 0 || h->collection != key->collection || h->dim != key->dim)
    return kin_fail(err, KIN_ERR_MISMATCH, "%s: belongs to another store; make it again with kindred index optimize",
                    path);
  return KIN_OK;
}

static kin_status read_head(const char *path, int fd, const kin_vectors_key *key, file_head *h, kin_error *err) {
  ssize_t n = pread(fd, h, sizeof *h, 0);
  if (n < 0) return kin_fail_errno(err, errno, "%s: can't read", path);
  return n == (ssize_t)sizeof *h ? check_head(path, h, key, err) : damaged(path, "the file is cut short", err);
}

static kin_ann_head ann_head(const file_head *h) {
  kin_ann_head out = {
      .rows = h->rows, .bytes = sizeof *h + h->bytes, .effort = {h->probes, h->ef, h->candidates, h->recall}};
  memcpy(out.factory, h->factory, sizeof out.factory);
  return out;
}

static int open_file(const char *path, kin_status *status, kin_error *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  *status = KIN_OK;
  if (fd < 0 && errno == ENOENT)
    *status = kin_fail(err, KIN_ERR_NOT_FOUND, "%s: there is no approximate index; make it with kindred index optimize",
                       path);
  else if (fd < 0)
    *status = kin_fail_errno(err, errno, "%s: can't open", path);
  return fd;
}

kin_status kin_ann_read_head(const char *vectors_path, const kin_vectors_key *key, kin_ann_head *out, kin_error *err) {
  file_head h;
  kin_status status;
  char *path = kin_ann_path(vectors_path);
  if (!path) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", vectors_path);
  int fd = open_file(path, &status, err);
  if (status == KIN_OK) status = read_head(path, fd, key, &h, err);
  if (fd >= 0) close(fd);
  if (status == KIN_OK) *out = ann_head(&h);
  free(path);
  return status;
}

/* The head and what follows it, in a map. */
static kin_status check_file(const char *path, const kin_map *map, const kin_vectors *file, const kin_vectors_key *key,
                             file_head *h, kin_error *err) {
  if (map->size < sizeof *h) return damaged(path, "the file is cut short", err);
  memcpy(h, map->data, sizeof *h);
  kin_status status = check_head(path, h, key, err);
  if (status != KIN_OK) return status;
  if (h->bytes != map->size - sizeof *h) return damaged(path, "the file is cut short", err);
  uint64_t binding = 0;
  if (h->rows <= kin_vectors_rows(file)) status = digest(file, h->rows, &binding, err);
  if (status != KIN_OK) return status;
  if (h->rows > kin_vectors_rows(file) || binding != h->binding)
    return kin_fail(err, KIN_ERR_MISMATCH,
                    "%s: is of vectors that have changed places; make it again with kindred index optimize", path);
  if (kin_checksum(map->data + sizeof *h, (size_t)h->bytes, h->rows) != h->content)
    return damaged(path, "is damaged (wrong checksum)", err);
  return KIN_OK;
}

static kin_status check_is_there(const char *path, kin_error *err) {
  kin_status status;
  int fd = open_file(path, &status, err);
  if (fd >= 0) close(fd);
  return status;
}

/* Map the file and check it; to be unmapped when that went well. */
static kin_status map_checked(const char *path, const kin_vectors *file, const kin_vectors_key *key, kin_map *map,
                              file_head *h, kin_error *err) {
  kin_status status = check_is_there(path, err);
  if (status == KIN_OK) status = kin_map_open(path, map, err);
  if (status != KIN_OK) return status;
  status = check_file(path, map, file, key, h, err);
  if (status != KIN_OK) kin_map_close(map);
  return status;
}

kin_status kin_ann_check(const kin_vectors *file, const kin_vectors_key *key, kin_error *err) {
  kin_map map;
  file_head h;
  char *path = kin_ann_path(kin_vectors_path(file));
  if (!path) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", kin_vectors_path(file));
  kin_status status = map_checked(path, file, key, &map, &h, err);
  if (status == KIN_OK) kin_map_close(&map);
  free(path);
  return status;
}

kin_status kin_ann_get_graph(kin_ann_parts *parts, const kin_faiss_rows *rows, const void *saved, size_t bytes,
                             kin_error *err) {
  kin_links links;
  if (!parts->calls->get_links(parts->faiss, &links)) return KIN_OK;
  parts->graph = kin_graph_new(rows->context, rows->file, &links, saved, bytes);
  return parts->graph ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "out of memory for an index");
}

void kin_ann_free_parts(kin_ann_parts *parts) {
  kin_graph_free(parts->graph);
  if (parts->calls) parts->calls->free(parts->faiss);
  *parts = (kin_ann_parts){0};
}

static kin_status read_parts(const char *path, const uint8_t *data, const file_head *h, const kin_faiss_rows *rows,
                             kin_ann_parts *parts, kin_error *err) {
  if (h->graph_bytes > h->bytes) return damaged(path, "the file is cut short", err);
  size_t bytes = (size_t)(h->bytes - h->graph_bytes);
  kin_status status = parts->calls->read(rows, data, bytes, &parts->faiss, err);
  if (status != KIN_OK) return status;
  if (parts->calls->count(parts->faiss) != h->rows)
    return damaged(path, "holds another number of rows than its head says", err);
  return kin_ann_get_graph(parts, rows, data + bytes, (size_t)h->graph_bytes, err);
}

kin_status kin_ann_load(const char *path, const kin_vectors *file, const kin_vectors_key *key,
                        const kin_faiss_rows *rows, kin_ann_head *head, kin_ann_parts *out, kin_error *err) {
  kin_map map;
  file_head h;
  *out = (kin_ann_parts){0};
  kin_status status = check_is_there(path, err);
  if (status == KIN_OK) status = kin_faiss_load(&out->calls, err); /* before the whole file is read in vain */
  if (status == KIN_OK) status = map_checked(path, file, key, &map, &h, err);
  if (status != KIN_OK) return status;
  *head = ann_head(&h);
  status = read_parts(path, map.data + sizeof h, &h, rows, out, err);
  kin_map_close(&map);
  if (status != KIN_OK) kin_ann_free_parts(out);
  return status;
}

/* ------------------------------------------------------------------- writing */

typedef struct sink {
  int fd;
  int errnum;
  uint64_t bytes;
} sink;

static bool write_piece(void *user, const void *data, size_t size) {
  sink *s = user;
  const uint8_t *p = data;
  s->bytes += size;
  while (size) {
    ssize_t n = write(s->fd, p, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      s->errnum = n < 0 ? errno : ENOSPC;
      return false;
    }
    p += n;
    size -= (size_t)n;
  }
  return true;
}

/* What was written is read again for its checksum: FAISS writes it in pieces of any size. */
static kin_status complete(const char *path, sink *s, file_head *h, kin_error *err) {
  kin_map map;
  kin_status status = kin_map_open(path, &map, err);
  if (status != KIN_OK) return status;
  h->bytes = s->bytes - sizeof *h;
  h->content = kin_checksum(map.data + sizeof *h, (size_t)h->bytes, h->rows);
  h->checksum = head_checksum(h);
  kin_map_close(&map);
  if (pwrite(s->fd, h, sizeof *h, 0) != (ssize_t)sizeof *h || fsync(s->fd) != 0)
    return kin_fail_errno(err, errno, "%s: can't write", path);
  return KIN_OK;
}

static kin_status write_parts(sink *s, file_head *h, const kin_ann_parts *parts, kin_error *err) {
  kin_status status =
      write_piece(s, h, sizeof *h) ? parts->calls->write(parts->faiss, write_piece, s, err) : KIN_ERR_IO;
  if (status != KIN_OK || !parts->graph) return status;
  uint64_t before = s->bytes;
  if (!kin_graph_write(parts->graph, write_piece, s)) return KIN_ERR_IO;
  h->graph_bytes = s->bytes - before;
  return KIN_OK;
}

static kin_status write_file(const char *path, const char *temporary, file_head *h, const kin_ann_parts *parts,
                             kin_error *err) {
  sink s = {.fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
  if (s.fd < 0) return kin_fail_errno(err, errno, "%s: can't write", temporary);
  kin_status status = write_parts(&s, h, parts, err);
  if (s.errnum) status = kin_fail_errno(err, s.errnum, "%s: can't write", temporary);
  if (status == KIN_OK) status = complete(temporary, &s, h, err);
  if (close(s.fd) != 0 && status == KIN_OK) status = kin_fail_errno(err, errno, "%s: can't write", temporary);
  if (status == KIN_OK && rename(temporary, path) != 0)
    status = kin_fail_errno(err, errno, "%s: can't be put in place", path);
  if (status != KIN_OK) unlink(temporary);
  return status;
}

kin_status kin_ann_save(const kin_vectors *file, const kin_vectors_key *key, const kin_ann_head *head,
                        const kin_ann_parts *parts, kin_error *err) {
  file_head h = {.version = FORMAT_VERSION,
                 .head_bytes = sizeof h,
                 .dim = key->dim,
                 .collection = key->collection,
                 .rows = head->rows,
                 .probes = head->effort.probes,
                 .ef = head->effort.ef,
                 .candidates = head->effort.candidates,
                 .recall = head->effort.recall};
  memcpy(h.magic, file_magic, sizeof file_magic);
  memcpy(h.uuid, key->uuid, sizeof h.uuid);
  memcpy(h.factory, head->factory, sizeof h.factory);
  kin_status status = digest(file, head->rows, &h.binding, err);
  if (status != KIN_OK) return status;
  char *path = kin_ann_path(kin_vectors_path(file)), *temporary = temporary_path(kin_vectors_path(file));
  if (path && temporary)
    status = write_file(path, temporary, &h, parts, err);
  else
    status = kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", kin_vectors_path(file));
  free(path);
  free(temporary);
  return status;
}
