/* Status codes and error messages. */
#include "base/base.h"

#include <stdio.h>
#include <string.h>

const char *kin_status_name(kin_status status) {
  switch (status) {
  case KIN_OK:
    return "KIN_OK";
  case KIN_ERR_ARGUMENT:
    return "KIN_ERR_ARGUMENT";
  case KIN_ERR_MEMORY:
    return "KIN_ERR_MEMORY";
  case KIN_ERR_IO:
    return "KIN_ERR_IO";
  case KIN_ERR_FORMAT:
    return "KIN_ERR_FORMAT";
  case KIN_ERR_UNSUPPORTED:
    return "KIN_ERR_UNSUPPORTED";
  case KIN_ERR_LIMIT:
    return "KIN_ERR_LIMIT";
  case KIN_ERR_BUSY:
    return "KIN_ERR_BUSY";
  case KIN_ERR_CANCELLED:
    return "KIN_ERR_CANCELLED";
  case KIN_ERR_MISMATCH:
    return "KIN_ERR_MISMATCH";
  case KIN_ERR_NOT_FOUND:
    return "KIN_ERR_NOT_FOUND";
  }
  return "unknown status";
}

/* Messages are one line: file names may hold control characters. */
static void make_one_line(char *s) {
  for (; *s; s++)
    if ((unsigned char)*s < 0x20 || *s == 0x7f) *s = '?';
}

static kin_status KIN_PRINTF(3, 0)
    fill(kin_error *err, kin_status status, const char *format, va_list args, const char *tail) {
  if (err) {
    err->status = status;
    int used = vsnprintf(err->message, sizeof err->message, format, args);
    if (tail && used >= 0 && (size_t)used < sizeof err->message)
      snprintf(err->message + used, sizeof err->message - (size_t)used, ": %s", tail);
    make_one_line(err->message);
  }
  return status;
}

kin_status kin_fail(kin_error *err, kin_status status, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fill(err, status, format, args, NULL);
  va_end(args);
  return status;
}

kin_status kin_fail_errno(kin_error *err, int errnum, const char *format, ...) {
  char buffer[128];
  va_list args;
  va_start(args, format);
  fill(err, KIN_ERR_IO, format, args, strerror_r(errnum, buffer, sizeof buffer));
  va_end(args);
  return KIN_ERR_IO;
}

kin_status kin_prefix(kin_error *err, kin_status status, const char *format, ...) {
  if (err) {
    char tail[sizeof err->message];
    memcpy(tail, err->message, sizeof tail);
    va_list args;
    va_start(args, format);
    fill(err, status, format, args, tail);
    va_end(args);
  }
  return status;
}
