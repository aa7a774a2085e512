/* Mapped and whole-file reading. */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Open a regular file for reading; *size gets its length. Returns a descriptor, or -1 with `err` filled. */
static int open_regular(const char *path, size_t *size, kin_error *err) {
  /* O_NONBLOCK: opening a FIFO must not hang. It has no effect on regular files. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    kin_fail_errno(err, errno, "%s", path);
    return -1;
  }
  struct stat st;
  if (fstat(fd, &st) != 0) {
    kin_fail_errno(err, errno, "%s", path);
  } else if (!S_ISREG(st.st_mode)) {
    kin_fail(err, KIN_ERR_IO, "%s: %s", path, S_ISDIR(st.st_mode) ? "is a directory" : "is not a regular file");
  } else {
    *size = (size_t)st.st_size;
    return fd;
  }
  close(fd);
  return -1;
}

kin_status kin_map_open(const char *path, kin_map *out, kin_error *err) {
  *out = (kin_map){0};
  size_t size = 0;
  int fd = open_regular(path, &size, err);
  if (fd < 0) return KIN_ERR_IO;
  kin_status status = KIN_OK;
  if (size) {
    void *p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
      status = kin_fail_errno(err, errno, "%s: cannot map", path);
    else
      *out = (kin_map){p, size};
  }
  close(fd);
  return status;
}

void kin_map_close(kin_map *map) {
  if (map->data) munmap((void *)(uintptr_t)map->data, map->size);
  *map = (kin_map){0};
}

void kin_map_drop(const kin_map *map) {
  if (map->data) madvise((void *)(uintptr_t)map->data, map->size, MADV_DONTNEED);
}

kin_status kin_read_file(const char *path, size_t limit, char **out, size_t *out_size, kin_error *err) {
  *out = NULL;
  size_t size = 0;
  int fd = open_regular(path, &size, err);
  if (fd < 0) return KIN_ERR_IO;
  char *data = NULL;
  kin_status status = KIN_OK;
  if (size > limit) {
    status = kin_fail(err, KIN_ERR_LIMIT, "%s: %zu bytes, more than the limit of %zu", path, size, limit);
  } else if (!(data = malloc(size + 1))) {
    status = kin_fail(err, KIN_ERR_MEMORY, "%s: no memory for %zu bytes", path, size);
  } else {
    size_t done = 0;
    while (done < size) {
      ssize_t n = read(fd, data + done, size - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) status = kin_fail_errno(err, errno, "%s", path);
      if (n <= 0) break; /* the file shrank: take what there is */
      done += (size_t)n;
    }
    data[done] = '\0';
    *out_size = done;
  }
  close(fd);
  if (status != KIN_OK)
    free(data);
  else
    *out = data;
  return status;
}

bool kin_file_exists(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

int64_t kin_time_ns(int64_t seconds, long nanoseconds) {
  int64_t ns;
  if (__builtin_mul_overflow(seconds, INT64_C(1000000000), &ns) || __builtin_add_overflow(ns, nanoseconds, &ns))
    return seconds < 0 ? INT64_MIN : INT64_MAX;
  return ns;
}

int64_t kin_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return kin_time_ns(now.tv_sec, now.tv_nsec);
}

void kin_file_read_ahead(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return;
  posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED);
  close(fd);
}
