/* Any bytes as a filter: read, or refused with a message; what is read keeps the bounds that others rely on. */
#include "index/filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "%s\n", what);
  abort();
}

static size_t check_tree(const kin_filter *f, size_t depth) {
  size_t comparisons = f->n_parts == 0;
  check(depth <= 4 * KIN_FILTER_MOST_DEPTH, "too deep");
  check((f->op <= KIN_FILTER_NOT) == (f->n_parts > 0), "parts where none belong");
  check(f->n_parts == 0 || (f->op == KIN_FILTER_NOT ? f->n_parts == 1 : f->n_parts > 1), "a wrong number of parts");
  check((f->field == KIN_FIELD_META && f->n_parts == 0) == (f->key != NULL), "a key where none belongs");
  for (size_t i = 0; i < f->n_values; i++)
    check((f->values[i].type == KIN_VALUE_TEXT) == (f->values[i].text != NULL), "a value of two kinds");
  for (size_t i = 0; i < f->n_parts; i++) comparisons += check_tree(f->parts[i], depth + 1);
  return comparisons;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = malloc(size + 1);
  check(text != NULL, "out of memory");
  memcpy(text, data, size);
  text[size] = '\0';
  kin_filter *filter = NULL;
  kin_error err = {0};
  kin_status status = kin_filter_parse(text, &filter, &err);
  check(status == KIN_OK || (!filter && err.status == status && err.message[0]), "an error without its message");
  if (filter) check(check_tree(filter, 1) <= KIN_FILTER_MOST_COMPARISONS, "too many comparisons");
  kin_filter_free(filter);
  free(text);
  return 0;
}
