/* Model directories with weights made from a seed, equal bit for bit to those of tools/reference/seeded.py. */
#ifndef KIN_TEST_SEEDED_H
#define KIN_TEST_SEEDED_H

#include "base/base.h"

/* The directory of the model that tests/data/seeded/`name`.json describes, in the cache folder
 * (KINDRED_CACHE, or ~/.cache/kindred)/seeded. It is written when missing or made from another table,
 * by one process at a time; the table's tokenizer is linked in, or CLIP's where the cache holds it.
 * Failures end the test. Release with free. */
char *seeded_model(const char *name);
/* False, with a message, where the model's tokenizer is a material that the cache doesn't hold. */
bool seeded_ready(const char *name);

/* Write the model of the table `spec` (a file) into the existing folder `dir`. */
kin_status seeded_write(const char *spec, const char *dir, kin_error *err);

#endif
