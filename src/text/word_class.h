/* The part that a character plays in word breaking (UAX #29). */
#ifndef KIN_WORD_CLASS_H
#define KIN_WORD_CLASS_H

#include <stdint.h>

typedef enum kin_word_class {
  KIN_WORD_OTHER = 0, /* separates */
  KIN_WORD_EXTEND,    /* belongs to the character before */
  KIN_WORD_HANGUL,
  KIN_WORD_HEBREW,
  KIN_WORD_LETTER,
  KIN_WORD_NUMBER,
  KIN_WORD_KATAKANA,
  KIN_WORD_HIRAGANA,
  KIN_WORD_HAN,
  KIN_WORD_COMPLEX,    /* Thai, Lao, Khmer, Burmese: words can't be told by the characters */
  KIN_WORD_MID_LETTER, /* joins two letters */
  KIN_WORD_MID_NUMBER, /* joins two digits */
  KIN_WORD_MID_BOTH,
  KIN_WORD_DOUBLE_QUOTE, /* joins two Hebrew letters */
  KIN_WORD_CONNECTOR,    /* the underscore and its like */
  KIN_WORD_REGIONAL,     /* two make a flag */
  KIN_WORD_PICTURE       /* emoji */
} kin_word_class;

kin_word_class kin_word_class_of(uint32_t c);

#endif
