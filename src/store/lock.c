/* The writer's lock: flock on PATH.lock, which ends with the process that holds it, however that ends. */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS 2000
#define POLL_MS 20

static kin_status busy(const char *path, int fd, kin_error *err) {
  char holder[32] = "";
  ssize_t n = pread(fd, holder, sizeof holder - 1, 0);
  long pid = n > 0 ? strtol(holder, NULL, 10) : 0;
  if (pid > 0)
    return kin_fail(err, KIN_ERR_BUSY, "%s: process %ld is writing to the store; wait for it to end and try again",
                    path, pid);
  return kin_fail(err, KIN_ERR_BUSY, "%s: another process is writing to the store; wait for it to end and try again",
                  path);
}

kin_status kin_lock_take(const char *path, int *out, kin_error *err) {
  *out = -1;
  char *name = kin_format("%s.lock", path);
  if (!name) return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", path);
  int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  int open_errno = errno;
  free(name);
  if (fd < 0) return kin_fail_errno(err, open_errno, "%s.lock: can't open the lock file to write to the store", path);
  for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited += POLL_MS) {
    if (errno != EWOULDBLOCK || waited >= WAIT_MS) {
      kin_status status = errno == EWOULDBLOCK ? busy(path, fd, err) : kin_fail_errno(err, errno, "%s.lock", path);
      close(fd);
      return status;
    }
    nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
  }
  /* Only for the other's message: a full disk must not stop us. */
  if (ftruncate(fd, 0) == 0) dprintf(fd, "%ld\n", (long)getpid());
  *out = fd;
  return KIN_OK;
}

void kin_lock_release(int lock) {
  if (lock >= 0) close(lock);
}
