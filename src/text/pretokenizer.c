/* The "pre_tokenizer" of a tokenizer.json: its types, alone and in sequence. */
#include "text/pretokenizer.h"

#include <stdlib.h>
#include <string.h>

typedef enum pretokenizer_type {
  SEQUENCE,
  BERT,
  WHITESPACE_SPLIT,
  BYTE_LEVEL,
  CLIP_SPLIT,
  METASPACE
} pretokenizer_type;

struct kin_pretokenizer {
  pretokenizer_type type;
  kin_pretokenizer **children; /* SEQUENCE */
  size_t n_children;
  kin_byte_level byte_level;
  kin_metaspace metaspace;
};

static kin_status parse_sequence(const json_t *json, const char *file, kin_pretokenizer *p, kin_error *err) {
  const json_t *list = json_object_get(json, "pretokenizers");
  if (!json_is_array(list)) return kin_fail(err, KIN_ERR_FORMAT, "%s: \"pretokenizers\" must be an array", file);
  p->children = calloc(json_array_size(list) + 1, sizeof *p->children);
  if (!p->children) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the pre-tokenizers");
  for (size_t i = 0; i < json_array_size(list); i++) {
    kin_status status = kin_pretokenizer_parse(json_array_get(list, i), file, &p->children[p->n_children], err);
    if (status != KIN_OK) return status;
    if (p->children[p->n_children]) p->n_children++;
  }
  return KIN_OK;
}

static kin_status parse_into(const json_t *json, const char *type, const char *file, kin_pretokenizer *p,
                             kin_error *err) {
  static const struct {
    const char *name;
    pretokenizer_type type;
  } known[] = {{"Sequence", SEQUENCE},    {"BertPreTokenizer", BERT}, {"WhitespaceSplit", WHITESPACE_SPLIT},
               {"ByteLevel", BYTE_LEVEL}, {"Split", CLIP_SPLIT},      {"Metaspace", METASPACE}};
  size_t i = 0;
  while (i < sizeof known / sizeof *known && strcmp(known[i].name, type)) i++;
  if (i == sizeof known / sizeof *known)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: unknown pre_tokenizer type \"%s\"", file, type);
  p->type = known[i].type;
  switch (p->type) {
  case SEQUENCE:
    return parse_sequence(json, file, p, err);
  case BYTE_LEVEL:
    return kin_byte_level_parse(json, file, &p->byte_level, err);
  case CLIP_SPLIT:
    return kin_clip_split_check(json, file, err);
  case METASPACE:
    return kin_metaspace_parse(json, file, &p->metaspace, err);
  case BERT:
  case WHITESPACE_SPLIT:
    break;
  }
  return KIN_OK;
}

kin_status kin_pretokenizer_parse(const json_t *json, const char *file, kin_pretokenizer **out, kin_error *err) {
  *out = NULL;
  if (!json || json_is_null(json)) return KIN_OK;
  const char *type = json_string_value(json_object_get(json, "type"));
  if (!type) return kin_fail(err, KIN_ERR_FORMAT, "%s: a pre_tokenizer has no \"type\"", file);
  kin_pretokenizer *p = calloc(1, sizeof *p);
  if (!p) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the pre-tokenizers");
  kin_status status = parse_into(json, type, file, p, err);
  if (status != KIN_OK) {
    kin_pretokenizer_free(p);
    return status;
  }
  *out = p;
  return KIN_OK;
}

void kin_pretokenizer_free(kin_pretokenizer *p) {
  if (!p) return;
  for (size_t i = 0; i < p->n_children; i++) kin_pretokenizer_free(p->children[i]);
  free(p->children);
  free(p);
}

/* Words between white space; with `punctuation`, its characters stand alone (BertPreTokenizer). */
static void cut_words(bool punctuation, const char *text, size_t size, kin_pieces *out) {
  size_t start = 0;
  for (size_t at = 0; at < size;) {
    size_t here = at;
    uint32_t c = kin_utf8_next(text, &at);
    bool space = kin_is_space(c);
    if (!space && !(punctuation && kin_is_punctuation(c))) continue;
    kin_pieces_add(out, text + start, here - start, -1);
    if (!space) kin_pieces_add(out, text + here, at - here, -1);
    start = at;
  }
  kin_pieces_add(out, text + start, size - start, -1);
}

static void cut_one(const kin_pretokenizer *p, const char *text, size_t size, kin_pieces *out) {
  switch (p->type) {
  case BERT:
    cut_words(true, text, size, out);
    break;
  case WHITESPACE_SPLIT:
    cut_words(false, text, size, out);
    break;
  case BYTE_LEVEL:
    kin_byte_level_cut(&p->byte_level, text, size, out);
    break;
  case CLIP_SPLIT:
    kin_clip_split_cut(text, size, out);
    break;
  case METASPACE:
    kin_metaspace_cut(&p->metaspace, text, size, out);
    break;
  case SEQUENCE:
    break;
  }
}

void kin_pretokenize(const kin_pretokenizer *p, kin_pieces *pieces, kin_pieces *scratch) {
  if (!p) return;
  if (p->type == SEQUENCE) {
    for (size_t i = 0; i < p->n_children; i++) kin_pretokenize(p->children[i], pieces, scratch);
    return;
  }
  kin_pieces_clear(scratch);
  for (size_t i = 0; i < pieces->count; i++) {
    const kin_piece *piece = &pieces->items[i];
    const char *text = pieces->text.data + piece->start;
    if (piece->id >= 0)
      kin_pieces_add(scratch, text, piece->size, piece->id);
    else
      cut_one(p, text, piece->size, scratch);
  }
  kin_pieces swap = *pieces;
  *pieces = *scratch;
  pieces->text.failed |= swap.text.failed;
  *scratch = swap;
}
