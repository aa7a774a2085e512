/* The part that a character plays in word breaking. */
#include "text/word_class.h"

#include <stddef.h>

typedef struct range {
  uint32_t first, last;
  kin_word_class class;
} range;

static const range ranges[] = {
#include "text/word_classes.inc"
};

kin_word_class kin_word_class_of(uint32_t c) {
  size_t low = 0, high = sizeof ranges / sizeof *ranges;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (c > ranges[middle].last)
      low = middle + 1;
    else
      high = middle;
  }
  return low < sizeof ranges / sizeof *ranges && c >= ranges[low].first ? ranges[low].class : KIN_WORD_OTHER;
}
