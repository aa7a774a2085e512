/* SentencePiece's blanks ("Metaspace"). */
#include "text/pretokenizer.h"

#include <string.h>

kin_status kin_metaspace_parse(const json_t *json, const char *file, kin_metaspace *out, kin_error *err) {
  *out = (kin_metaspace){.prepend = true, .split = true};
  const char *blank = NULL, *scheme = NULL;
  kin_status status = kin_json_string(json, "replacement", file, &blank, err);
  if (status == KIN_OK) status = kin_json_string(json, "prepend_scheme", file, &scheme, err);
  if (status == KIN_OK) status = kin_json_bool(json, "split", file, &out->split, err);
  if (status == KIN_OK) status = kin_json_bool(json, "add_prefix_space", file, &out->prepend, err);
  if (status != KIN_OK) return status;
  if (!blank || !*blank || strlen(blank) != kin_utf8_length(*blank))
    return kin_fail(err, KIN_ERR_FORMAT, "%s: Metaspace's \"replacement\" must be one character", file);
  strcpy(out->blank, blank);
  if (!scheme) return KIN_OK;
  bool always = !strcmp(scheme, "always"), never = !strcmp(scheme, "never");
  if (!always && !never)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: unsupported Metaspace prepend_scheme \"%s\" (known: always, never)",
                    file, scheme);
  if (always && !out->prepend)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: Metaspace's add_prefix_space and prepend_scheme contradict each other",
                    file);
  out->prepend = always;
  return KIN_OK;
}

void kin_metaspace_cut(const kin_metaspace *m, const char *text, size_t size, kin_pieces *out) {
  if (!size) return;
  size_t n = strlen(m->blank), start = out->text.size;
  bool blank_first = text[0] == ' ' || (size >= n && !memcmp(text, m->blank, n));
  if (m->prepend && !blank_first) kin_bytes_append(&out->text, m->blank, n);
  for (size_t at = 0; at < size;) {
    size_t length = kin_utf8_length(text[at]);
    bool blank = text[at] == ' ' || (length == n && !memcmp(text + at, m->blank, n));
    if (blank && m->split) {
      kin_pieces_close(out, start, -1);
      start = out->text.size;
    }
    if (blank)
      kin_bytes_append(&out->text, m->blank, n);
    else
      kin_bytes_append(&out->text, text + at, length);
    at += length;
  }
  kin_pieces_close(out, start, -1);
}
