/* The "normalizer" of a tokenizer.json: its types, alone and in sequence. */
#include "text/normalizer.h"

#include <stdlib.h>
#include <string.h>

typedef enum normalizer_type { SEQUENCE, NORMAL_FORM, LOWERCASE, STRIP, REPLACE, BERT, PRECOMPILED } normalizer_type;

/* What "Replace" looks for. */
typedef enum pattern {
  PATTERN_STRING,
  PATTERN_SPACES, /* \s+ */
  PATTERN_BLANKS  /* two or more of U+0020 */
} pattern;

struct kin_normalizer {
  normalizer_type type;
  kin_normalizer **children; /* SEQUENCE */
  size_t n_children;
  kin_normal_form form;
  bool left, right;     /* STRIP */
  pattern pattern;      /* REPLACE */
  char *find, *content; /* REPLACE */
  size_t find_size, content_size;
  kin_bert_normalizer bert;
  kin_charsmap *charsmap;
};

/* -------------------------------------------------------------- parsing */

static kin_status parse_sequence(const json_t *json, const char *file, kin_normalizer *n, kin_error *err) {
  const json_t *list = json_object_get(json, "normalizers");
  if (!json_is_array(list)) return kin_fail(err, KIN_ERR_FORMAT, "%s: \"normalizers\" must be an array", file);
  n->children = calloc(json_array_size(list) + 1, sizeof *n->children);
  if (!n->children) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the normalizers");
  for (size_t i = 0; i < json_array_size(list); i++) {
    kin_status status = kin_normalizer_parse(json_array_get(list, i), file, &n->children[n->n_children], err);
    if (status != KIN_OK) return status;
    if (n->children[n->n_children]) n->n_children++;
  }
  return KIN_OK;
}

static kin_status copy_string(const json_t *json, const char *key, const char *file, char **out, size_t *size,
                              kin_error *err) {
  const char *s = NULL;
  kin_status status = kin_json_string(json, key, file, &s, err);
  if (status != KIN_OK) return status;
  if (!s) return kin_fail(err, KIN_ERR_FORMAT, "%s: a normalizer lacks \"%s\"", file, key);
  *out = kin_strdup(s);
  *size = strlen(s);
  return *out ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "out of memory for the normalizers");
}

static kin_status parse_replace(const json_t *json, const char *file, kin_normalizer *n, kin_error *err) {
  const json_t *p = json_object_get(json, "pattern");
  const char *regex = json_string_value(json_object_get(p, "Regex"));
  if (!regex) {
    n->pattern = PATTERN_STRING;
    kin_status status = copy_string(p, "String", file, &n->find, &n->find_size, err);
    if (status != KIN_OK) return status;
    if (!n->find_size) return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: Replace with an empty pattern", file);
  } else if (!strcmp(regex, "\\s+")) {
    n->pattern = PATTERN_SPACES;
  } else if (!strcmp(regex, " {2,}")) {
    n->pattern = PATTERN_BLANKS;
  } else {
    return kin_fail(err, KIN_ERR_UNSUPPORTED,
                    "%s: unsupported regular expression \"%s\" in Replace (known: \"\\s+\", \" {2,}\")", file, regex);
  }
  return copy_string(json, "content", file, &n->content, &n->content_size, err);
}

static kin_status parse_strip(const json_t *json, const char *file, kin_normalizer *n, kin_error *err) {
  kin_status status = kin_json_bool(json, "strip_left", file, &n->left, err);
  return status == KIN_OK ? kin_json_bool(json, "strip_right", file, &n->right, err) : status;
}

static kin_status parse_into(const json_t *json, const char *type, const char *file, kin_normalizer *n,
                             kin_error *err) {
  static const struct {
    const char *name;
    normalizer_type type;
    kin_normal_form form;
  } known[] = {{"Sequence", SEQUENCE, 0},
               {"NFC", NORMAL_FORM, KIN_NFC},
               {"NFD", NORMAL_FORM, KIN_NFD},
               {"NFKC", NORMAL_FORM, KIN_NFKC},
               {"NFKD", NORMAL_FORM, KIN_NFKD},
               {"Lowercase", LOWERCASE, 0},
               {"Strip", STRIP, 0},
               {"Replace", REPLACE, 0},
               {"BertNormalizer", BERT, 0},
               {"Precompiled", PRECOMPILED, 0}};
  size_t i = 0;
  while (i < sizeof known / sizeof *known && strcmp(known[i].name, type)) i++;
  if (i == sizeof known / sizeof *known)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: unknown normalizer type \"%s\"", file, type);
  n->type = known[i].type;
  n->form = known[i].form;
  switch (n->type) {
  case SEQUENCE:
    return parse_sequence(json, file, n, err);
  case STRIP:
    return parse_strip(json, file, n, err);
  case REPLACE:
    return parse_replace(json, file, n, err);
  case BERT:
    return kin_bert_normalizer_parse(json, file, &n->bert, err);
  case PRECOMPILED:
    return kin_charsmap_parse(json, file, &n->charsmap, err);
  case NORMAL_FORM:
  case LOWERCASE:
    break;
  }
  return KIN_OK;
}

kin_status kin_normalizer_parse(const json_t *json, const char *file, kin_normalizer **out, kin_error *err) {
  *out = NULL;
  if (!json || json_is_null(json)) return KIN_OK;
  const char *type = json_string_value(json_object_get(json, "type"));
  if (!type) return kin_fail(err, KIN_ERR_FORMAT, "%s: a normalizer has no \"type\"", file);
  kin_normalizer *n = calloc(1, sizeof *n);
  if (!n) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the normalizers");
  kin_status status = parse_into(json, type, file, n, err);
  if (status != KIN_OK) {
    kin_normalizer_free(n);
    return status;
  }
  *out = n;
  return KIN_OK;
}

void kin_normalizer_free(kin_normalizer *n) {
  if (!n) return;
  for (size_t i = 0; i < n->n_children; i++) kin_normalizer_free(n->children[i]);
  free(n->children);
  free(n->find);
  free(n->content);
  kin_charsmap_free(n->charsmap);
  free(n);
}

/* -------------------------------------------------------------- running */

static void lowercase(const char *text, size_t size, kin_bytes *out) {
  for (size_t at = 0; at < size;) {
    uint32_t lower[2];
    size_t n = kin_lower(kin_utf8_next(text, &at), lower);
    for (size_t i = 0; i < n; i++) kin_bytes_put(out, lower[i]);
  }
}

static void strip(const kin_normalizer *n, const char *text, size_t size, kin_bytes *out) {
  size_t start = 0, end = size;
  for (size_t at = 0; n->left && at < size && kin_is_space(kin_utf8_next(text, &at));) start = at;
  while (n->right && end > start) {
    size_t before = end - 1;
    while ((text[before] & 0xC0) == 0x80) before--;
    size_t at = before;
    if (!kin_is_space(kin_utf8_next(text, &at))) break;
    end = before;
  }
  kin_bytes_append(out, text + start, end - start);
}

/* Bytes of the match of n->pattern that starts at text[at]; 0 if there is none. */
static size_t match_at(const kin_normalizer *n, const char *text, size_t size, size_t at) {
  if (n->pattern == PATTERN_STRING) {
    bool same = size - at >= n->find_size && !memcmp(text + at, n->find, n->find_size);
    return same ? n->find_size : 0;
  }
  size_t end = at;
  if (n->pattern == PATTERN_BLANKS) {
    while (end < size && text[end] == ' ') end++;
    return end - at >= 2 ? end - at : 0;
  }
  for (size_t next = at; next < size && kin_is_space(kin_utf8_next(text, &next));) end = next;
  return end - at;
}

static void replace(const kin_normalizer *n, const char *text, size_t size, kin_bytes *out) {
  size_t copied = 0;
  for (size_t at = 0; at < size;) {
    size_t match = match_at(n, text, size, at);
    if (!match) {
      at += kin_utf8_length(text[at]);
      continue;
    }
    kin_bytes_append(out, text + copied, at - copied);
    kin_bytes_append(out, n->content, n->content_size);
    copied = at += match;
  }
  kin_bytes_append(out, text + copied, size - copied);
}

static void run_one(const kin_normalizer *n, const char *text, size_t size, kin_bytes *out) {
  switch (n->type) {
  case NORMAL_FORM:
    kin_normal_form_append(n->form, text, size, out);
    break;
  case LOWERCASE:
    lowercase(text, size, out);
    break;
  case STRIP:
    strip(n, text, size, out);
    break;
  case REPLACE:
    replace(n, text, size, out);
    break;
  case BERT:
    kin_bert_normalize(&n->bert, text, size, out);
    break;
  case PRECOMPILED:
    kin_charsmap_normalize(n->charsmap, text, size, out);
    break;
  case SEQUENCE:
    break;
  }
}

void kin_normalize(const kin_normalizer *n, kin_bytes *text, kin_bytes *scratch) {
  if (!n) return;
  if (n->type == SEQUENCE) {
    for (size_t i = 0; i < n->n_children; i++) kin_normalize(n->children[i], text, scratch);
    return;
  }
  scratch->size = 0;
  run_one(n, text->size ? text->data : "", text->size, scratch);
  kin_bytes swap = *text;
  *text = *scratch;
  text->failed |= swap.failed;
  *scratch = swap;
}
