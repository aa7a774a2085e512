/* Status and message, memory, file mapping, hashing: what every layer stands on. */
#ifndef KIN_BASE_H
#define KIN_BASE_H

#include "kindred.h"

#include <stdarg.h>

/* Fill `err` (may be NULL) and return `status`, so that a failing function ends in one line. */
kin_status kin_fail(kin_error *err, kin_status status, const char *format, ...) KIN_PRINTF(3, 4);
/* As kin_fail, with ": " and strerror(errnum) appended. */
kin_status kin_fail_errno(kin_error *err, int errnum, const char *format, ...) KIN_PRINTF(3, 4);
/* Put `format` and ": " before the message that `err` already holds; returns its status. */
kin_status kin_prefix(kin_error *err, kin_status status, const char *format, ...) KIN_PRINTF(3, 4);

/* malloc(n * size) with an overflow check; NULL on failure or overflow. Free with free(). */
void *kin_array(size_t n, size_t size);
/* Grow *array (of `size`-byte elements, capacity *capacity) to hold `needed`; false on failure,
 * the array then being untouched. */
bool kin_grow(void **array, size_t *capacity, size_t needed, size_t size);
char *kin_strdup(const char *s);
/* printf to a new string; NULL on failure. */
char *kin_format(const char *format, ...) KIN_PRINTF(1, 2);

/* 64-byte aligned, on huge pages where large and the system has them. Free with kin_free_aligned. */
void *kin_alloc_aligned(size_t bytes);
void kin_free_aligned(void *p);
/* Give memory that was freed back to the system, where the allocator kept it: after much of it was needed for a while. */
void kin_return_freed(void);

/* A whole file, mapped read-only. */
typedef struct kin_map {
  const uint8_t *data; /* NULL for an empty file */
  size_t size;
} kin_map;
kin_status kin_map_open(const char *path, kin_map *out, kin_error *err);
void kin_map_close(kin_map *map);
/* Give back the memory of the pages read so far; they are read again when touched. */
void kin_map_drop(const kin_map *map);

/* Read a whole (small) file, at most `limit` bytes, into a new NUL-terminated buffer. Free with free(). */
kin_status kin_read_file(const char *path, size_t limit, char **out, size_t *out_size, kin_error *err);
bool kin_file_exists(const char *path);
/* Nanoseconds since 1970, held at the ends of what has room: file systems keep times of the year 2446 and later. */
int64_t kin_time_ns(int64_t seconds, long nanoseconds);
/* The time now, in these. */
int64_t kin_now_ns(void);
/* From one such time to a later one, held at INT64_MAX. */
static inline int64_t kin_ns_between(int64_t from, int64_t to) {
  int64_t ns;
  return __builtin_sub_overflow(to, from, &ns) ? INT64_MAX : ns;
}
/* Ask the system to read the file into its cache, without waiting; what goes wrong shows when it is opened. */
void kin_file_read_ahead(const char *path);

/* SHA-256 in steps. */
typedef struct kin_sha256 kin_sha256;
kin_sha256 *kin_sha256_new(void);
void kin_sha256_update(kin_sha256 *h, const void *data, size_t size);
/* Write 64 hex digits and a NUL, and release `h`. */
void kin_sha256_finish(kin_sha256 *h, char hex[65]);
/* Of a file; `size_out` may be NULL. */
kin_status kin_sha256_file(const char *path, char hex[65], uint64_t *size_out, kin_error *err);

#endif
