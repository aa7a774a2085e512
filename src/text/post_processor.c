/* The "post_processor" of a tokenizer.json. */
#include "text/post_processor.h"

#include <string.h>

static kin_status add(kin_tokenizer *t, kin_ids *side, const json_t *id, const char *file, kin_error *err) {
  json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;
  if (value < 0 || (size_t)value >= t->n_ids)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: the post_processor adds a token id that the vocabulary of %zu lacks",
                    file, t->n_ids);
  kin_ids_add(side, (int32_t)value);
  return side->failed ? kin_fail(err, KIN_ERR_MEMORY, "out of memory for the post-processor") : KIN_OK;
}

/* RobertaProcessing and BertProcessing: "cls" and "sep" are [token, id]. */
static kin_status parse_cls_sep(kin_tokenizer *t, const json_t *json, const char *file, kin_error *err) {
  kin_status status = add(t, &t->prefix, json_array_get(json_object_get(json, "cls"), 1), file, err);
  return status == KIN_OK ? add(t, &t->suffix, json_array_get(json_object_get(json, "sep"), 1), file, err) : status;
}

static kin_status parse_template(kin_tokenizer *t, const json_t *json, const char *file, kin_error *err) {
  const json_t *single = json_object_get(json, "single"), *tokens = json_object_get(json, "special_tokens");
  size_t sequences = 0;
  for (size_t i = 0; i < json_array_size(single); i++) {
    const json_t *piece = json_array_get(single, i);
    const json_t *sequence = json_object_get(piece, "Sequence");
    const char *name = json_string_value(json_object_get(json_object_get(piece, "SpecialToken"), "id"));
    if (sequence) {
      sequences++;
      continue;
    }
    const json_t *ids = name ? json_object_get(json_object_get(tokens, name), "ids") : NULL;
    if (!json_is_array(ids))
      return kin_fail(err, KIN_ERR_FORMAT, "%s: TemplateProcessing's piece %zu names no known special token", file, i);
    for (size_t k = 0; k < json_array_size(ids); k++) {
      kin_status status = add(t, sequences ? &t->suffix : &t->prefix, json_array_get(ids, k), file, err);
      if (status != KIN_OK) return status;
    }
  }
  if (sequences == 1) return KIN_OK;
  return kin_fail(err, KIN_ERR_UNSUPPORTED,
                  "%s: TemplateProcessing's \"single\" must hold the text once, not %zu times", file, sequences);
}

kin_status kin_post_processor_parse(kin_tokenizer *t, const json_t *json, const char *file, kin_error *err) {
  if (!json || json_is_null(json)) return KIN_OK;
  const char *type = json_string_value(json_object_get(json, "type"));
  if (!type) return kin_fail(err, KIN_ERR_FORMAT, "%s: the post_processor has no \"type\"", file);
  if (!strcmp(type, "RobertaProcessing") || !strcmp(type, "BertProcessing")) return parse_cls_sep(t, json, file, err);
  if (!strcmp(type, "TemplateProcessing")) return parse_template(t, json, file, err);
  if (!strcmp(type, "ByteLevel")) return KIN_OK; /* about offsets alone */
  return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: unknown post_processor type \"%s\"", file, type);
}
