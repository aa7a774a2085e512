/* Appending to, checking and mapping the vector file. */
#include "index/vectors.h"

#include "index/checksum.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the vector file is little-endian");

#define HEADER_BYTES 4096
#define FORMAT_VERSION 1
static const char file_magic[8] = {'K', 'I', 'N', 'V', 'E', 'C', 'T', 'S'};

typedef struct file_header {
  char magic[8];
  uint32_t version;
  uint32_t header_bytes;
  uint64_t dim;
  uint64_t record_bytes;
  uint8_t uuid[KIN_UUID_SIZE];
  int64_t collection;
  uint64_t checksum; /* of the bytes before it */
} file_header;
_Static_assert(sizeof(file_header) == 64, "as docs/store-format.md says");

/* Stands before each vector; 64 bytes keep the vector aligned for the widest loads. */
typedef struct record_head {
  uint64_t checksum; /* of the rest of the record, seeded with the row's number */
  int64_t id;
  uint8_t reserved[48];
} record_head;
_Static_assert(sizeof(record_head) == 64, "as docs/store-format.md says");

struct kin_vectors {
  char *path;
  int fd;
  bool writable;
  size_t dim;
  size_t record_bytes;
  uint64_t rows;
  uint8_t *record; /* one record, for writing and reading */
  uint8_t *map;
  size_t map_bytes;
};

static bool record_bytes_of(size_t dim, size_t *out) {
  size_t bytes;
  if (dim == 0 || __builtin_mul_overflow(dim, sizeof(float), &bytes) || bytes > ((size_t)1 << 30)) return false;
  *out = sizeof(record_head) + (bytes + 63) / 64 * 64;
  return true;
}

/* Byte offset of `row`; only for rows that the file has or is about to get. */
static off_t offset_of(const kin_vectors *file, uint64_t row) {
  return (off_t)(HEADER_BYTES + row * file->record_bytes);
}

static uint64_t record_checksum(const uint8_t *record, size_t record_bytes, uint64_t row) {
  return kin_checksum(record + sizeof(uint64_t), record_bytes - sizeof(uint64_t), row);
}

static kin_status fail_write(const char *path, int errnum, kin_error *err) {
  if (errnum == ENOSPC || errnum == EDQUOT)
    return kin_fail(err, KIN_ERR_IO,
                    "%s: no space left on the device; what was committed before is kept: free some "
                    "space and run again",
                    path);
  return kin_fail_errno(err, errnum, "%s: can't write", path);
}

static kin_status write_all(int fd, const char *path, const void *data, size_t size, off_t at, kin_error *err) {
  const uint8_t *p = data;
  while (size) {
    ssize_t n = pwrite(fd, p, size, at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail_write(path, n < 0 ? errno : ENOSPC, err);
    p += n;
    at += n;
    size -= (size_t)n;
  }
  return KIN_OK;
}

static kin_status read_all(int fd, const char *path, void *data, size_t size, off_t at, kin_error *err) {
  uint8_t *p = data;
  while (size) {
    ssize_t n = pread(fd, p, size, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return kin_fail_errno(err, errno, "%s: can't read", path);
    if (n == 0) return kin_fail(err, KIN_ERR_FORMAT, "%s: the file is cut short", path);
    p += n;
    at += n;
    size -= (size_t)n;
  }
  return KIN_OK;
}

static kin_status sync_folder_of(const char *path, kin_error *err) {
  const char *slash = strrchr(path, '/');
  char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : kin_strdup(".");
  if (!folder) return kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", path);
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) {
    fsync(fd); /* some file systems can't; then the data's own sync must do */
    close(fd);
  }
  free(folder);
  return KIN_OK;
}

kin_status kin_vectors_create(const char *path, const kin_vectors_key *key, kin_error *err) {
  file_header header = {.version = FORMAT_VERSION, .header_bytes = HEADER_BYTES, .dim = key->dim};
  size_t record_bytes;
  if (!record_bytes_of(key->dim, &record_bytes))
    return kin_fail(err, KIN_ERR_ARGUMENT, "%s: vectors of %zu floats can't be stored", path, key->dim);
  memcpy(header.magic, file_magic, sizeof file_magic);
  memcpy(header.uuid, key->uuid, sizeof header.uuid);
  header.record_bytes = record_bytes;
  header.collection = key->collection;
  header.checksum = kin_checksum(&header, offsetof(file_header, checksum), 0);
  uint8_t page[HEADER_BYTES] = {0};
  memcpy(page, &header, sizeof header);

  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return fail_write(path, errno, err);
  kin_status status = write_all(fd, path, page, sizeof page, 0, err);
  if (status == KIN_OK && fsync(fd) != 0) status = fail_write(path, errno, err);
  close(fd);
  return status == KIN_OK ? sync_folder_of(path, err) : status;
}

static kin_status check_header(const char *path, const file_header *h, const kin_vectors_key *key, kin_error *err) {
  if (memcmp(h->magic, file_magic, sizeof file_magic) != 0)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: not a vector file", path);
  if (h->checksum != kin_checksum(h, offsetof(file_header, checksum), 0))
    return kin_fail(err, KIN_ERR_FORMAT, "%s: the header is damaged (wrong checksum)", path);
  if (h->version != FORMAT_VERSION || h->header_bytes != HEADER_BYTES)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: format version %u, this build reads version %d", path,
                    (unsigned)h->version, FORMAT_VERSION);
  if (memcmp(h->uuid, key->uuid, sizeof h->uuid) != 0 || h->collection != key->collection)
    return kin_fail(err, KIN_ERR_MISMATCH, "%s: belongs to another store; restore the file that was beside this one",
                    path);
  size_t record_bytes;
  if (h->dim != key->dim || !record_bytes_of(key->dim, &record_bytes) || h->record_bytes != record_bytes)
    return kin_fail(err, KIN_ERR_MISMATCH, "%s: holds vectors of %llu floats, the store says %zu", path,
                    (unsigned long long)h->dim, key->dim);
  return KIN_OK;
}

bool kin_vectors_is_of(const char *path, const uint8_t uuid[KIN_UUID_SIZE]) {
  file_header h = {0};
  struct stat s;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool is = fstat(fd, &s) == 0 && s.st_size < HEADER_BYTES;
  if (!is && read_all(fd, path, &h, sizeof h, 0, NULL) == KIN_OK)
    is = memcmp(h.magic, file_magic, sizeof file_magic) == 0 && memcmp(h.uuid, uuid, KIN_UUID_SIZE) == 0;
  close(fd);
  return is;
}

kin_status kin_vectors_open(const char *path, bool writable, const kin_vectors_key *key, kin_vectors **out,
                            kin_error *err) {
  *out = NULL;
  int fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
  if (fd < 0) return kin_fail_errno(err, errno, "%s: can't open the vectors of the store", path);
  file_header header;
  kin_status status = read_all(fd, path, &header, sizeof header, 0, err);
  if (status == KIN_OK) status = check_header(path, &header, key, err);
  kin_vectors *file = NULL;
  if (status == KIN_OK) {
    file = calloc(1, sizeof *file);
    if (file) {
      *file = (kin_vectors){.fd = fd, .writable = writable, .dim = key->dim, .path = kin_strdup(path)};
      record_bytes_of(key->dim, &file->record_bytes);
      file->record = kin_alloc_aligned(file->record_bytes);
    }
    if (file && file->path && file->record) {
      *out = file;
      return KIN_OK;
    }
    status = kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", path);
  }
  if (file) {
    kin_free_aligned(file->record);
    free(file->path);
    free(file);
  }
  close(fd);
  return status;
}

static void unmap(kin_vectors *file) {
  if (file->map) munmap(file->map, file->map_bytes);
  file->map = NULL;
  file->map_bytes = 0;
}

void kin_vectors_close(kin_vectors *file) {
  if (!file) return;
  unmap(file);
  close(file->fd);
  kin_free_aligned(file->record);
  free(file->path);
  free(file);
}

kin_status kin_vectors_set_rows(kin_vectors *file, uint64_t rows, kin_error *err) {
  struct stat s;
  if (fstat(file->fd, &s) != 0) return kin_fail_errno(err, errno, "%s: can't read", file->path);
  uint64_t size = (uint64_t)s.st_size, body = size < HEADER_BYTES ? 0 : size - HEADER_BYTES;
  if (rows > body / file->record_bytes)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: is cut short: %llu rows are whole, the store needs %llu", file->path,
                    (unsigned long long)(body / file->record_bytes), (unsigned long long)rows);
  if (file->writable && (off_t)size > offset_of(file, rows) && ftruncate(file->fd, offset_of(file, rows)) != 0)
    return kin_fail_errno(err, errno, "%s: can't cut off unfinished rows", file->path);
  file->rows = rows;
  return KIN_OK;
}

uint64_t kin_vectors_rows(const kin_vectors *file) {
  return file->rows;
}

size_t kin_vectors_dim(const kin_vectors *file) {
  return file->dim;
}

uint64_t kin_vectors_bytes(const kin_vectors *file) {
  return HEADER_BYTES + file->rows * file->record_bytes;
}

uint64_t kin_vectors_bytes_of(size_t dim, uint64_t rows) {
  size_t record_bytes;
  return record_bytes_of(dim, &record_bytes) ? HEADER_BYTES + rows * record_bytes : 0;
}

const char *kin_vectors_path(const kin_vectors *file) {
  return file->path;
}

kin_status kin_vectors_append(kin_vectors *file, int64_t id, const float *vector, uint64_t *row, kin_error *err) {
  record_head head = {.id = id};
  memset(file->record, 0, file->record_bytes);
  memcpy(file->record, &head, sizeof head);
  memcpy(file->record + sizeof head, vector, file->dim * sizeof *vector);
  head.checksum = record_checksum(file->record, file->record_bytes, file->rows);
  memcpy(file->record, &head.checksum, sizeof head.checksum);
  kin_status status =
      write_all(file->fd, file->path, file->record, file->record_bytes, offset_of(file, file->rows), err);
  if (status == KIN_OK) *row = file->rows++;
  return status;
}

kin_status kin_vectors_sync(kin_vectors *file, kin_error *err) {
  return fdatasync(file->fd) == 0 ? KIN_OK : fail_write(file->path, errno, err);
}

kin_status kin_vectors_fail_row(const kin_vectors *file, uint64_t row, kin_error *err) {
  return kin_fail(
      err, KIN_ERR_FORMAT,
      "%s: row %llu is damaged (wrong checksum); mend it with kindred store check --repair and index the files "
      "again, or restore a copy of the store",
      file->path, (unsigned long long)row);
}

kin_status kin_vectors_read(kin_vectors *file, uint64_t row, int64_t id, float *out, kin_error *err) {
  if (row >= file->rows)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: row %llu isn't there", file->path, (unsigned long long)row);
  kin_status status = read_all(file->fd, file->path, file->record, file->record_bytes, offset_of(file, row), err);
  if (status != KIN_OK) return status;
  record_head head;
  memcpy(&head, file->record, sizeof head);
  if (head.checksum != record_checksum(file->record, file->record_bytes, row) || head.id != id)
    return kin_vectors_fail_row(file, row, err);
  memcpy(out, file->record + sizeof head, file->dim * sizeof *out);
  return KIN_OK;
}

bool kin_vectors_inspect(kin_vectors *file, uint64_t row, int64_t *id) {
  record_head head;
  if (read_all(file->fd, file->path, file->record, file->record_bytes, offset_of(file, row), NULL) != KIN_OK)
    return false;
  memcpy(&head, file->record, sizeof head);
  *id = head.id;
  return head.checksum == record_checksum(file->record, file->record_bytes, row);
}

kin_status kin_vectors_read_many(const kin_vectors *file, uint64_t row, size_t n, float *out, uint64_t *digest,
                                 kin_error *err) {
  uint8_t *records = kin_array(n, file->record_bytes);
  if (!records) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for %zu rows", file->path, n);
  kin_status status = read_all(file->fd, file->path, records, n * file->record_bytes, offset_of(file, row), err);
  uint64_t sum = 0;
  for (size_t i = 0; status == KIN_OK && i < n; i++) {
    const uint8_t *record = records + i * file->record_bytes;
    uint64_t checksum = record_checksum(record, file->record_bytes, row + i);
    if (memcmp(record, &checksum, sizeof checksum) != 0) status = kin_vectors_fail_row(file, row + i, err);
    sum = kin_checksum(&checksum, sizeof checksum, sum);
    memcpy(out + i * file->dim, record + sizeof(record_head), file->dim * sizeof *out);
  }
  free(records);
  if (digest) *digest = sum;
  return status;
}

kin_status kin_vectors_digest(const kin_vectors *file, uint64_t row, size_t n, uint64_t *digest, kin_error *err) {
  *digest = 0;
  for (size_t i = 0; i < n; i++) {
    uint64_t checksum;
    kin_status status = read_all(file->fd, file->path, &checksum, sizeof checksum, offset_of(file, row + i), err);
    if (status != KIN_OK) return status;
    *digest = kin_checksum(&checksum, sizeof checksum, *digest);
  }
  return KIN_OK;
}

kin_status kin_vectors_map(kin_vectors *file, kin_error *err) {
  size_t bytes = (size_t)offset_of(file, file->rows);
  if (file->map && file->map_bytes >= bytes) return KIN_OK;
  unmap(file);
  void *p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, file->fd, 0);
  if (p == MAP_FAILED) return kin_fail_errno(err, errno, "%s: can't map %zu bytes", file->path, bytes);
  file->map = p;
  file->map_bytes = bytes;
  return KIN_OK;
}

static const uint8_t *mapped_record(const kin_vectors *file, uint64_t row) {
  return file->map + offset_of(file, row);
}

const float *kin_vectors_at(const kin_vectors *file, uint64_t row) {
  return (const float *)(const void *)(mapped_record(file, row) + sizeof(record_head));
}

int64_t kin_vectors_id(const kin_vectors *file, uint64_t row) {
  int64_t id;
  memcpy(&id, mapped_record(file, row) + offsetof(record_head, id), sizeof id);
  return id;
}

void kin_vectors_prefetch(const kin_vectors *file, uint64_t row) {
  enum { LINE = 64 };
  const uint8_t *record = mapped_record(file, row);
  for (size_t i = 0; i < file->record_bytes; i += LINE) __builtin_prefetch(record + i);
}

bool kin_vectors_check(const kin_vectors *file, uint64_t row) {
  const uint8_t *record = mapped_record(file, row);
  uint64_t expected;
  memcpy(&expected, record, sizeof expected);
  return expected == record_checksum(record, file->record_bytes, row);
}
