/* CLIP's Split pre-tokenizer. */
#include "text/pretokenizer.h"

#include <string.h>

static const char pattern[] =
    "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";

kin_status kin_clip_split_check(const json_t *json, const char *file, kin_error *err) {
  const json_t *p = json_object_get(json, "pattern");
  const char *regex = json_string_value(json_object_get(p, "Regex"));
  const char *text = json_string_value(json_object_get(p, "String"));
  if (!regex || strcmp(regex, pattern))
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: unsupported Split pattern \"%.200s\" (known: CLIP's)", file,
                    regex  ? regex
                    : text ? text
                           : "");
  const char *behavior = json_string_value(json_object_get(json, "behavior"));
  if (!behavior || strcmp(behavior, "Removed") || !json_is_true(json_object_get(json, "invert")))
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: unsupported Split behavior \"%s\" (known: \"Removed\", inverted)",
                    file, behavior ? behavior : "");
  return KIN_OK;
}

static size_t literal_at(const char *text, size_t size, size_t at, const char *literal) {
  size_t n = strlen(literal);
  return size - at >= n && !memcmp(text + at, literal, n) ? n : 0;
}

/* Offset behind the match at text[at]; `at` where there is none (white space). */
static size_t match_end(const char *text, size_t size, size_t at) {
  size_t n = literal_at(text, size, at, "<|startoftext|>");
  if (!n) n = literal_at(text, size, at, "<|endoftext|>");
  if (!n) n = kin_contraction_at(text, size, at);
  if (n) return at + n;
  size_t next = at;
  uint32_t c = kin_utf8_next(text, &next);
  if (kin_is_space(c)) return at;
  if (kin_is_number(c)) return next;
  bool letter = kin_is_letter(c);
  for (size_t end = next; end < size; next = end) {
    c = kin_utf8_next(text, &end);
    bool more = letter ? kin_is_letter(c) : !kin_is_space(c) && !kin_is_letter(c) && !kin_is_number(c);
    if (!more) return next;
  }
  return next;
}

void kin_clip_split_cut(const char *text, size_t size, kin_pieces *out) {
  for (size_t at = 0; at < size;) {
    size_t end = match_end(text, size, at);
    kin_pieces_add(out, text + at, end - at, -1);
    at = end > at ? end : at + kin_utf8_length(text[at]);
  }
}
