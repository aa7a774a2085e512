/* File names in JSON: bytes that aren't UTF-8 are kept in hex. */
#include "embed/path_json.h"

#include "base/base.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

char *kin_replace_invalid(const char *text) {
  size_t left = strlen(text), at = 0;
  char *out = kin_array(left + 1, 3);
  if (!out) return NULL;
  while (left > 0) {
    utf8proc_int32_t character;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)left, &character);
    size_t step = n > 0 ? (size_t)n : 1;
    memcpy(out + at, n > 0 ? text : "\xEF\xBF\xBD", n > 0 ? step : 3);
    at += n > 0 ? step : 3;
    text += step;
    left -= step;
  }
  out[at] = '\0';
  return out;
}

static char *hex(const char *text) {
  static const char digits[] = "0123456789abcdef";
  size_t size = strlen(text);
  char *out = kin_array(size + 1, 2);
  if (!out) return NULL;
  for (size_t i = 0; i < size; i++) {
    out[2 * i] = digits[(unsigned char)text[i] >> 4];
    out[2 * i + 1] = digits[text[i] & 15];
  }
  out[2 * size] = '\0';
  return out;
}

bool kin_json_set_text(json_t *object, const char *key, const char *text) {
  if (json_object_set_new(object, key, json_string(text)) == 0) return true;
  char *shown = kin_replace_invalid(text), *bytes = hex(text), *hex_key = kin_format("%s_hex", key);
  bool ok = shown && bytes && hex_key && json_object_set_new(object, key, json_string(shown)) == 0 &&
            json_object_set_new(object, hex_key, json_string(bytes)) == 0;
  free(shown);
  free(bytes);
  free(hex_key);
  return ok;
}
