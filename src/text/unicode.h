/* UTF-8, character classes, case and normalisation forms, as the reference tokenizer's libraries see them. */
#ifndef KIN_TEXT_UNICODE_H
#define KIN_TEXT_UNICODE_H

#include "text/buffer.h"

/* Offset of the first byte that isn't well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, at most
 * U+10FFFF); `size` when all is well. */
size_t kin_utf8_check(const char *text, size_t size);

/* The code point at text[*at], of checked UTF-8; moves *at behind it. */
static inline uint32_t kin_utf8_next(const char *text, size_t *at) {
  const uint8_t *p = (const uint8_t *)text + *at;
  if (p[0] < 0x80) {
    *at += 1;
    return p[0];
  }
  if (p[0] < 0xE0) {
    *at += 2;
    return (uint32_t)(p[0] & 0x1F) << 6 | (p[1] & 0x3F);
  }
  if (p[0] < 0xF0) {
    *at += 3;
    return (uint32_t)(p[0] & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3F);
  }
  *at += 4;
  return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3F) << 12 | (uint32_t)(p[2] & 0x3F) << 6 | (p[3] & 0x3F);
}

/* Bytes of the character that starts with `lead`, in checked UTF-8. */
static inline size_t kin_utf8_length(char lead) {
  uint8_t b = (uint8_t)lead;
  return b < 0x80 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
}

/* Write `code_point`, return its 1 to 4 bytes. */
size_t kin_utf8_encode(uint32_t code_point, char out[4]);

bool kin_is_space(uint32_t c);       /* White_Space */
bool kin_is_letter(uint32_t c);      /* \p{L} */
bool kin_is_number(uint32_t c);      /* \p{N} */
bool kin_is_punctuation(uint32_t c); /* \p{P}, or an ASCII symbol */
bool kin_is_other(uint32_t c);       /* control, format or private use */
bool kin_is_nonspacing(uint32_t c);  /* \p{Mn} */

/* Lower case of one character, without regard to its neighbours: 1 or 2 code points. */
size_t kin_lower(uint32_t c, uint32_t out[2]);

typedef enum kin_normal_form { KIN_NFC, KIN_NFD, KIN_NFKC, KIN_NFKD } kin_normal_form;

/* Append `text` in the given form to `out`. Time grows linearly, whatever the marks. */
void kin_normal_form_append(kin_normal_form form, const char *text, size_t size, kin_bytes *out);

/* Offset behind the extended grapheme cluster that starts at text[at]. */
size_t kin_grapheme_end(const char *text, size_t size, size_t at);

#endif
