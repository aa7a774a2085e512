/* BertNormalizer: control characters away, CJK set apart, accents stripped, lower case. */
#include "text/normalizer.h"

kin_status kin_bert_normalizer_parse(const json_t *json, const char *file, kin_bert_normalizer *out, kin_error *err) {
  *out = (kin_bert_normalizer){.clean_text = true, .handle_chinese_chars = true, .lowercase = true};
  kin_status status = kin_json_bool(json, "clean_text", file, &out->clean_text, err);
  if (status == KIN_OK) status = kin_json_bool(json, "handle_chinese_chars", file, &out->handle_chinese_chars, err);
  if (status == KIN_OK) status = kin_json_bool(json, "lowercase", file, &out->lowercase, err);
  /* Null means: as lowercase says. */
  out->strip_accents = out->lowercase;
  if (status == KIN_OK) status = kin_json_bool(json, "strip_accents", file, &out->strip_accents, err);
  return status;
}

/* The blocks that the reference counts as Chinese (it leaves a gap at U+2B820). */
static bool is_chinese(uint32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) ||
         (c >= 0x2F800 && c <= 0x2FA1F);
}

static bool is_removed(uint32_t c) {
  return c == 0xFFFD || (kin_is_other(c) && c != '\t' && c != '\n' && c != '\r');
}

static void clean(const kin_bert_normalizer *n, const char *text, size_t size, kin_bytes *out) {
  for (size_t at = 0; at < size;) {
    size_t start = at;
    uint32_t c = kin_utf8_next(text, &at);
    if (n->clean_text && is_removed(c)) continue;
    if (n->clean_text && kin_is_space(c)) {
      kin_bytes_append(out, " ", 1);
    } else if (n->handle_chinese_chars && is_chinese(c)) {
      kin_bytes_append(out, " ", 1);
      kin_bytes_append(out, text + start, at - start);
      kin_bytes_append(out, " ", 1);
    } else {
      kin_bytes_append(out, text + start, at - start);
    }
  }
}

void kin_bert_normalize(const kin_bert_normalizer *n, const char *text, size_t size, kin_bytes *out) {
  kin_bytes cleaned = {0}, decomposed = {0};
  clean(n, text, size, &cleaned);
  const kin_bytes *source = &cleaned;
  if (n->strip_accents) {
    kin_normal_form_append(KIN_NFD, cleaned.data, cleaned.size, &decomposed);
    source = &decomposed;
  }
  for (size_t at = 0; at < source->size;) {
    uint32_t c = kin_utf8_next(source->data, &at), lower[2] = {c};
    if (n->strip_accents && kin_is_nonspacing(c)) continue;
    size_t count = n->lowercase ? kin_lower(c, lower) : 1;
    for (size_t i = 0; i < count; i++) kin_bytes_put(out, lower[i]);
  }
  out->failed |= cleaned.failed || decomposed.failed;
  kin_bytes_free(&cleaned);
  kin_bytes_free(&decomposed);
}
