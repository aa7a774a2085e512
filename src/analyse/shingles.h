/* Texts as sets of runs of three words. */
#ifndef KIN_SHINGLES_H
#define KIN_SHINGLES_H

#include "base/base.h"

typedef struct kin_shingles {
  uint64_t *hashes; /* [n], ascending, all different */
  size_t n;
} kin_shingles;

/* Of a text with fewer than three words, all of them are one. */
kin_status kin_shingles_read(const char *text, size_t size, kin_shingles *out, kin_error *err);
void kin_shingles_free(kin_shingles *shingles);
/* How many both have. */
size_t kin_shingles_common(const kin_shingles *a, const kin_shingles *b);

#endif
