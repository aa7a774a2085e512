/* One file's contents on their way into the cache: lock, resume, verify, put in place. */
#include "hub/hub.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- the lock, as the Python tools take it */

/* Whether the file behind `fd` still is the one at `path`: another process may delete a lock file when it lets go. */
static bool still_there(int fd, const char *path) {
  struct stat a, b;
  return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static kin_status lock_open(kin_hub_pull_state *pull, const char *path, int *out, kin_error *err) {
  kin_status status = kin_hub_make_parents(path, err);
  if (status != KIN_OK) return status;
  for (;;) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0664);
    if (fd < 0) return kin_fail_errno(err, errno, "%s: can't make this lock file", path);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
      if (still_there(fd, path)) {
        *out = fd;
        return KIN_OK;
      }
    } else if (errno != EWOULDBLOCK && errno != EINTR) {
      /* A file system without locks: what is fetched is verified anyway. */
      *out = fd;
      return KIN_OK;
    }
    close(fd);
    if (!kin_hub_tick(pull, "another process is fetching this file"))
      return kin_fail(err, KIN_ERR_CANCELLED, "stopped while another process fetches %s", pull->progress.file);
    struct timespec t = {.tv_nsec = 100000000};
    nanosleep(&t, NULL);
  }
}

/* ---- contents arriving */

typedef struct arrival {
  kin_hub_pull_state *pull;
  const kin_hub_file *file;
  const char *path; /* of the .incomplete file */
  int fd;
  uint64_t have;        /* bytes in it */
  bool first_of_answer; /* the next piece of body is its first */
  EVP_MD_CTX *hash;     /* NULL: nothing to compare with */
} arrival;

static const char *expected_hash(const kin_hub_file *f) {
  return f->sha256[0] ? f->sha256 : f->git_sha1;
}

static kin_status hash_start(arrival *a, kin_error *err) {
  const kin_hub_file *f = a->file;
  if (!expected_hash(f)[0]) return KIN_OK;
  if (!a->hash) a->hash = EVP_MD_CTX_new();
  bool ok = a->hash && EVP_DigestInit_ex(a->hash, f->sha256[0] ? EVP_sha256() : EVP_sha1(), NULL) == 1;
  if (ok && !f->sha256[0]) {
    /* git's own: the contents follow a header and a NUL */
    char header[40];
    int n = snprintf(header, sizeof header, "blob %llu", (unsigned long long)f->size);
    ok = EVP_DigestUpdate(a->hash, header, (size_t)n + 1) == 1;
  }
  return ok ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "no memory to check %s", f->name);
}

static kin_status hash_add(arrival *a, const void *data, size_t size, kin_error *err) {
  if (!a->hash || EVP_DigestUpdate(a->hash, data, size) == 1) return KIN_OK;
  return kin_fail(err, KIN_ERR_MEMORY, "no memory to check %s", a->file->name);
}

/* Drop what has arrived. */
static kin_status start_over(arrival *a, kin_error *err) {
  if (ftruncate(a->fd, 0) != 0 || lseek(a->fd, 0, SEEK_SET) != 0)
    return kin_fail_errno(err, errno, "%s: can't empty it", a->path);
  a->pull->progress.done -= a->have;
  a->have = 0;
  return hash_start(a, err);
}

/* Hash what an earlier pull left. */
static kin_status take_up(arrival *a, kin_error *err) {
  struct stat st;
  if (fstat(a->fd, &st) != 0) return kin_fail_errno(err, errno, "%s", a->path);
  kin_status status = hash_start(a, err);
  if (status != KIN_OK || (uint64_t)st.st_size > a->file->size) return status == KIN_OK ? start_over(a, err) : status;
  size_t room = 1 << 20;
  char *buffer = kin_array(room, 1);
  if (!buffer) return kin_fail(err, KIN_ERR_MEMORY, "no memory to check %s", a->file->name);
  while (status == KIN_OK) {
    ssize_t n = read(a->fd, buffer, room);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) status = kin_fail_errno(err, errno, "%s", a->path);
    if (n <= 0) break;
    status = hash_add(a, buffer, (size_t)n, err);
    a->have += (uint64_t)n;
    a->pull->progress.done += (uint64_t)n;
    if (status == KIN_OK && !kin_hub_tick(a->pull, "checking what an earlier pull left"))
      status = kin_fail(err, KIN_ERR_CANCELLED, "stopped while fetching %s", a->file->name);
  }
  free(buffer);
  return status;
}

/* The body function: the answer's bytes go to the file and the hash. */
static kin_status take_piece(void *arg, const kin_http_answer *answer, const void *data, size_t size, kin_error *err) {
  arrival *a = arg;
  const char *name = a->file->name;
  if (a->first_of_answer) {
    a->first_of_answer = false;
    kin_status status = KIN_OK;
    if (answer->status != 206) {
      if (a->have) status = start_over(a, err); /* a server without ranges sends all of it */
    } else if (answer->range_from != (int64_t)a->have) {
      status = kin_fail(err, KIN_ERR_FORMAT, "%s: asked for the bytes from %llu on, got those from %lld on", name,
                        (unsigned long long)a->have, (long long)answer->range_from);
    }
    if (status != KIN_OK) return status;
  }
  if (size > a->file->size - a->have)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: the server sends more than the %llu bytes it announced", name,
                    (unsigned long long)a->file->size);
  for (const char *p = data, *end = p + size; p < end;) {
    ssize_t n = write(a->fd, p, (size_t)(end - p));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return kin_fail_errno(err, errno, "%s: can't write", a->path);
    p += n;
  }
  a->have += size;
  a->pull->progress.done += size;
  a->pull->progress.file_done = a->have;
  return hash_add(a, data, size, err);
}

/* Ask for the missing bytes until they are all there. */
static kin_status receive(arrival *a, const char *url, kin_error *err) {
  kin_http *http = a->pull->http;
  uint64_t most = a->have; /* only what goes beyond is progress: a server may make us start over, again and again */
  for (unsigned failures = 0; a->have < a->file->size;) {
    kin_http_answer answer;
    kin_http_request request = {.url = url, .from = a->have, .body = take_piece, .arg = a};
    a->first_of_answer = true;
    kin_status status = kin_http_try(http, &request, a->file->name, &answer, err);
    if (status == KIN_OK && a->have == a->file->size) return KIN_OK;
    if (status == KIN_OK) {
      status = kin_fail(err, KIN_ERR_IO, "%s: the transfer ended after %llu of %llu bytes", a->file->name,
                        (unsigned long long)a->have, (unsigned long long)a->file->size);
      answer.transient = true;
    }
    if (answer.status == 416 && a->have) {
      /* The server knows another length than that of the part here. */
      kin_error ignored;
      if (start_over(a, &ignored) == KIN_OK) answer.transient = true;
    }
    if (a->have > most) failures = 0, most = a->have;
    status = kin_http_again(http, &answer, &failures, status, err);
    if (status != KIN_OK) return status;
  }
  return KIN_OK;
}

/* Compare with the hash that the hub told; *same. */
static kin_status verify(arrival *a, bool *same, char got[65], kin_error *err) {
  *same = true;
  if (!a->hash) return KIN_OK;
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned n = 0;
  if (EVP_DigestFinal_ex(a->hash, digest, &n) != 1)
    return kin_fail(err, KIN_ERR_MEMORY, "no memory to check %s", a->file->name);
  for (unsigned i = 0; i < n && i < 32; i++) snprintf(got + 2 * i, 3, "%02x", digest[i]);
  *same = strcmp(got, expected_hash(a->file)) == 0;
  return KIN_OK;
}

/* Fill the open .incomplete file and check it. What an earlier pull left may be damaged: then all of it is
 * fetched once more. */
static kin_status fill_and_check(arrival *a, const char *url, kin_error *err) {
  kin_status status = take_up(a, err);
  for (bool resumed = a->have > 0; status == KIN_OK; resumed = false) {
    bool same;
    char got[65] = "";
    a->pull->progress.file_done = a->have;
    status = receive(a, url, err);
    if (status == KIN_OK) status = verify(a, &same, got, err);
    if (status != KIN_OK || same) break;
    status = start_over(a, err);
    if (status != KIN_OK || resumed) continue;
    unlink(a->path);
    return kin_fail(err, KIN_ERR_FORMAT, "%s: the contents are damaged: %s is %s, expected %s; pull again",
                    a->file->name, a->file->sha256[0] ? "SHA-256" : "git's SHA-1", got, expected_hash(a->file));
  }
  if (status == KIN_OK && fsync(a->fd) != 0) status = kin_fail_errno(err, errno, "%s: can't write", a->path);
  return status;
}

/* With the lock held: nothing to do if another process was faster. */
static kin_status fetch_locked(kin_hub_pull_state *pull, const kin_hub_file *file, const char *url, const char *blob,
                               kin_error *err) {
  struct stat st;
  if (stat(blob, &st) == 0 && (uint64_t)st.st_size == file->size) {
    pull->progress.done += file->size;
    return KIN_OK;
  }
  char *path = kin_format("%s.incomplete", blob);
  if (!path) return kin_fail(err, KIN_ERR_MEMORY, "no memory for a path in the cache");
  arrival a = {.pull = pull, .file = file, .path = path};
  kin_status status = KIN_OK;
  a.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (a.fd < 0) status = kin_fail_errno(err, errno, "%s: can't write into the model cache", path);
  if (status == KIN_OK) status = fill_and_check(&a, url, err);
  if (a.fd >= 0 && close(a.fd) != 0 && status == KIN_OK) status = kin_fail_errno(err, errno, "%s: can't write", path);
  if (status == KIN_OK && rename(path, blob) != 0)
    status = kin_fail_errno(err, errno, "%s: can't be put in place", blob);
  EVP_MD_CTX_free(a.hash);
  free(path);
  return status;
}

kin_status kin_hub_fetch_blob(kin_hub_pull_state *pull, const kin_hub_file *file, const char *url, const char *blob,
                              kin_error *err) {
  int lock = -1;
  char *path = kin_format("%s/%s.lock", pull->locks_dir, file->etag);
  kin_status status = path ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "no memory for a path in the cache");
  if (status == KIN_OK) status = lock_open(pull, path, &lock, err);
  if (status == KIN_OK) status = fetch_locked(pull, file, url, blob, err);
  if (lock >= 0) close(lock);
  free(path);
  return status;
}
