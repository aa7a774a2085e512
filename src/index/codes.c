/* The code file: extending it, and mapping what of it can be trusted. */
#include "index/codes.h"

#include "index/checksum.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_BYTES 4096
#define FORMAT_VERSION 1
/* Groups whose tails lie together, before their codes: a scan reads codes as one long run, which is a fifth faster than
 * with a gap after each group. */
#define CHUNK 64
#define CHUNK_TAILS (CHUNK * sizeof(kin_code_tail))
static const char file_magic[8] = {'K', 'I', 'N', 'C', 'O', 'D', 'E', 'S'};

typedef struct file_header {
  char magic[8];
  uint32_t version;
  uint32_t kind;
  uint64_t dim;
  uint64_t code_bytes; /* of a group */
  uint8_t uuid[KIN_UUID_SIZE];
  int64_t collection;
  uint64_t checksum; /* of the bytes before it */
} file_header;
_Static_assert(sizeof(file_header) == 64, "as docs/store-format.md says");

enum { UNCHECKED, GOOD, BAD };

struct kin_codes {
  char *path;
  bool writable;
  kin_code kind;
  size_t dim, code_bytes;
  file_header header;
  int fd;          /* -1: no file */
  uint64_t groups; /* in use */
  uint8_t *states; /* one a group in use */
  size_t states_capacity;
  uint8_t *map;
  size_t map_bytes;
};

static const char *ending_of(kin_code kind) {
  return kind == KIN_CODE_INT8 ? ".int8" : ".bf16";
}

static char *path_of(const char *vectors_path, kin_code kind) {
  return kin_format("%s%s", vectors_path, ending_of(kind));
}

bool kin_codes_is_ending(const char *ending) {
  return strcmp(ending, ending_of(KIN_CODE_INT8)) == 0 || strcmp(ending, ending_of(KIN_CODE_BF16)) == 0;
}

void kin_codes_remove(const char *vectors_path) {
  for (kin_code kind = KIN_CODE_INT8; kind <= KIN_CODE_BF16; kind++) {
    char *path = path_of(vectors_path, kind);
    if (path) unlink(path);
    free(path);
  }
}

kin_status kin_codes_open(const char *vectors_path, bool writable, kin_code kind, const kin_vectors_key *key,
                          kin_codes **out, kin_error *err) {
  kin_codes *codes = calloc(1, sizeof *codes);
  *out = codes;
  if (codes) codes->path = path_of(vectors_path, kind);
  if (!codes || !codes->path) {
    free(codes);
    *out = NULL;
    return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", vectors_path);
  }
  codes->writable = writable;
  codes->kind = kind;
  codes->dim = key->dim;
  codes->code_bytes = kin_code_bytes(kind, key->dim);
  codes->fd = -1;
  file_header *h = &codes->header;
  *h = (file_header){.version = FORMAT_VERSION, .kind = kind, .dim = key->dim, .collection = key->collection};
  memcpy(h->magic, file_magic, sizeof file_magic);
  memcpy(h->uuid, key->uuid, sizeof h->uuid);
  h->code_bytes = codes->code_bytes;
  h->checksum = kin_checksum(h, offsetof(file_header, checksum), 0);
  return KIN_OK;
}

/* Use nothing, and let go of the file. */
static void release(kin_codes *codes) {
  if (codes->map) munmap(codes->map, codes->map_bytes);
  if (codes->fd >= 0) close(codes->fd);
  codes->map = NULL;
  codes->map_bytes = 0;
  codes->fd = -1;
  codes->groups = 0;
}

void kin_codes_close(kin_codes *codes) {
  if (!codes) return;
  release(codes);
  free(codes->states);
  free(codes->path);
  free(codes);
}

void kin_codes_distrust(kin_codes *codes) {
  release(codes);
  /* The file goes and isn't cut: another process may have it mapped. */
  if (codes->writable) unlink(codes->path);
}

/* Have the file at the path open, if there is one of the right kind; also when it has been replaced. */
static void reopen(kin_codes *codes) {
  struct stat here, open_one;
  if (stat(codes->path, &here) != 0) {
    release(codes);
    return;
  }
  if (codes->fd >= 0 && fstat(codes->fd, &open_one) == 0 && here.st_dev == open_one.st_dev &&
      here.st_ino == open_one.st_ino)
    return;
  release(codes);
  int fd = open(codes->path, (codes->writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
  if (fd < 0) return;
  file_header header;
  if (pread(fd, &header, sizeof header, 0) == (ssize_t)sizeof header &&
      memcmp(&header, &codes->header, sizeof header) == 0) {
    codes->fd = fd;
    return;
  }
  close(fd);
  if (codes->writable) unlink(codes->path); /* of another store, size or version */
}

static uint64_t chunk_at(const kin_codes *codes, uint64_t group) {
  return HEADER_BYTES + group / CHUNK * (CHUNK_TAILS + CHUNK * codes->code_bytes);
}

static uint64_t tail_at(const kin_codes *codes, uint64_t group) {
  return chunk_at(codes, group) + group % CHUNK * sizeof(kin_code_tail);
}

static uint64_t codes_at(const kin_codes *codes, uint64_t group) {
  return chunk_at(codes, group) + CHUNK_TAILS + group % CHUNK * codes->code_bytes;
}

/* Bytes of a file of so many groups, and the groups that a file of so many bytes has. */
static uint64_t bytes_of(const kin_codes *codes, uint64_t groups) {
  return groups ? codes_at(codes, groups - 1) + codes->code_bytes : HEADER_BYTES;
}

static uint64_t groups_of(const kin_codes *codes, off_t size) {
  uint64_t body = size > HEADER_BYTES ? (uint64_t)size - HEADER_BYTES : 0;
  uint64_t chunk = CHUNK_TAILS + CHUNK * codes->code_bytes, rest = body % chunk;
  return body / chunk * CHUNK + (rest > CHUNK_TAILS ? (rest - CHUNK_TAILS) / codes->code_bytes : 0);
}

/* Map the first `groups` groups and have a state for each. */
static bool use(kin_codes *codes, uint64_t groups) {
  size_t bytes = (size_t)bytes_of(codes, groups);
  if (!kin_grow((void **)&codes->states, &codes->states_capacity, (size_t)groups, 1)) return false;
  if (codes->map_bytes < bytes) {
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, codes->fd, 0);
    if (map == MAP_FAILED) return false;
    if (codes->map) munmap(codes->map, codes->map_bytes);
    codes->map = map;
    codes->map_bytes = bytes;
  }
  if (groups > codes->groups) memset(codes->states + codes->groups, UNCHECKED, (size_t)(groups - codes->groups));
  codes->groups = groups;
  return true;
}

const uint8_t *kin_codes_at(const kin_codes *codes, uint64_t group) {
  return codes->map + codes_at(codes, group);
}

const kin_code_tail *kin_codes_tail(const kin_codes *codes, uint64_t group) {
  return (const kin_code_tail *)(const void *)(codes->map + tail_at(codes, group));
}

/* Rows are only ever appended: two histories with the same last rows are the same before them. */
static bool belongs(const kin_codes *codes, const kin_vectors *file) {
  uint64_t digest, last = codes->groups - 1;
  return kin_vectors_digest(file, last * KIN_SCAN_ROWS, KIN_SCAN_ROWS, &digest, NULL) == KIN_OK &&
         digest == kin_codes_tail(codes, last)->binding;
}

void kin_codes_refresh(kin_codes *codes, const kin_vectors *file, uint64_t rows) {
  reopen(codes);
  struct stat s;
  if (codes->fd < 0 || fstat(codes->fd, &s) != 0) return;
  uint64_t whole = groups_of(codes, s.st_size), wanted = rows / KIN_SCAN_ROWS, groups = whole < wanted ? whole : wanted;
  off_t bytes = (off_t)bytes_of(codes, groups);
  if (codes->writable && s.st_size > bytes && ftruncate(codes->fd, bytes) != 0) {
    kin_codes_distrust(codes);
    return;
  }
  if (groups == codes->groups) return;
  bool usable = use(codes, groups);
  if (!usable) release(codes);
  if (usable && groups && !belongs(codes, file)) kin_codes_distrust(codes);
}

/* ---------------------------------------------------------------- extend */

/* Groups of one chunk that are coded by all threads at once, and then written. */
typedef struct step {
  const kin_codes *target;
  const kin_vectors *file;
  uint64_t first;
  uint8_t *codes; /* of up to CHUNK groups */
  kin_code_tail tails[CHUNK];
  bool failed[CHUNK]; /* damaged rows, or no memory */
} step;

static void encode_task(void *arg, size_t task) {
  step *s = arg;
  const kin_codes *c = s->target;
  uint64_t group = s->first + task, digest;
  float *vectors = kin_array(KIN_SCAN_ROWS, c->dim * sizeof *vectors);
  kin_status status = KIN_ERR_MEMORY;
  if (vectors) status = kin_vectors_read_many(s->file, group * KIN_SCAN_ROWS, KIN_SCAN_ROWS, vectors, &digest, NULL);
  s->failed[task] = status != KIN_OK;
  if (status == KIN_OK)
    kin_codes_encode(c->kind, vectors, c->dim, group, digest, s->codes + task * c->code_bytes, &s->tails[task]);
  free(vectors);
}

static bool write_at(int fd, const void *data, size_t size, uint64_t at) {
  const uint8_t *p = data;
  while (size) {
    ssize_t n = pwrite(fd, p, size, (off_t)at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    p += n;
    at += (uint64_t)n;
    size -= (size_t)n;
  }
  return true;
}

static bool create(kin_codes *codes) {
  uint8_t page[HEADER_BYTES] = {0};
  memcpy(page, &codes->header, sizeof codes->header);
  unlink(codes->path);
  codes->fd = open(codes->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  return codes->fd >= 0 && write_at(codes->fd, page, sizeof page, 0);
}

/* Code groups from `first` on, to the end of its chunk at most, and write them; how many. The file grows in order, so
 * that a killed writer leaves no gap: a tail comes before its codes, whose end is the file's. */
static uint64_t extend_step(kin_codes *codes, kin_context *context, step *s, uint64_t first, uint64_t wanted) {
  uint64_t end = (first / CHUNK + 1) * CHUNK;
  size_t n = (size_t)((end < wanted ? end : wanted) - first), good = 0;
  s->first = first;
  kin_parallel_for(context->pool, n, encode_task, s);
  while (good < n && !s->failed[good]) good++;
  if (good == 0 || (write_at(codes->fd, s->tails, good * sizeof *s->tails, tail_at(codes, first)) &&
                    write_at(codes->fd, s->codes, good * codes->code_bytes, codes_at(codes, first))))
    return good;
  if (ftruncate(codes->fd, (off_t)bytes_of(codes, first)) != 0) kin_codes_distrust(codes);
  return 0;
}

void kin_codes_extend(kin_codes *codes, kin_context *context, const kin_vectors *file, uint64_t rows) {
  uint64_t wanted = rows / KIN_SCAN_ROWS, groups = codes->groups;
  if (!codes->writable || groups >= wanted) return;
  step *s = malloc(sizeof *s);
  uint8_t *buffer = kin_array(wanted - groups < CHUNK ? (size_t)(wanted - groups) : CHUNK, codes->code_bytes);
  bool ready = s && buffer && (codes->fd >= 0 || create(codes));
  if (ready) *s = (step){.target = codes, .file = file, .codes = buffer};
  for (uint64_t n = 1; ready && n && groups < wanted; groups += n) n = extend_step(codes, context, s, groups, wanted);
  free(buffer);
  free(s);
  if (codes->fd >= 0 && (!ready || !use(codes, groups))) release(codes);
}

/* ------------------------------------------------------------------- use */

kin_code kin_codes_kind(const kin_codes *codes) {
  return codes->kind;
}

const char *kin_codes_path(const kin_codes *codes) {
  return codes->path;
}

uint64_t kin_codes_groups(const kin_codes *codes) {
  return codes->groups;
}

uint64_t kin_codes_bytes(const kin_codes *codes) {
  return codes->groups ? bytes_of(codes, codes->groups) : 0;
}

bool kin_codes_usable(kin_codes *codes, uint64_t group) {
  uint8_t *state = &codes->states[group];
  if (*state == UNCHECKED) {
    const kin_code_tail *tail = kin_codes_tail(codes, group);
    bool right = kin_code_checksum(kin_codes_at(codes, group), codes->code_bytes, tail, group) == tail->checksum;
    *state = right && isfinite(tail->length) ? GOOD : BAD;
  }
  return *state == GOOD;
}
