/* Allocation with overflow checks, and aligned blocks on huge pages. */
#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

void *kin_array(size_t n, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(n, size, &bytes)) return NULL;
  return malloc(bytes ? bytes : 1);
}

bool kin_grow(void **array, size_t *capacity, size_t needed, size_t size) {
  if (needed <= *capacity) return true;
  size_t wanted = *capacity + *capacity / 2;
  if (wanted < needed) wanted = needed;
  if (wanted < 16) wanted = 16;
  size_t bytes;
  if (__builtin_mul_overflow(wanted, size, &bytes)) return false;
  void *grown = realloc(*array, bytes);
  if (!grown) return false;
  *array = grown;
  *capacity = wanted;
  return true;
}

char *kin_strdup(const char *s) {
  return strdup(s);
}

char *kin_format(const char *format, ...) {
  char *out = NULL;
  va_list args;
  va_start(args, format);
  int n = vasprintf(&out, format, args);
  va_end(args);
  return n < 0 ? NULL : out;
}

#define HUGE_PAGE ((size_t)2 << 20)

void *kin_alloc_aligned(size_t bytes) {
  /* Below some pages a huge page would waste more than it saves. */
  size_t align = bytes >= 4 * HUGE_PAGE ? HUGE_PAGE : 64;
  if (bytes > SIZE_MAX - align) return NULL;
  bytes = (bytes + align - 1) / align * align;
  void *p = NULL;
  if (posix_memalign(&p, align, bytes ? bytes : align)) return NULL;
  if (align == HUGE_PAGE) madvise(p, bytes, MADV_HUGEPAGE);
  return p;
}

void kin_free_aligned(void *p) {
  free(p);
}

void kin_return_freed(void) {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}
