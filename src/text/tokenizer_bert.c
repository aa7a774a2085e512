/* BERT's tokenizer from vocab.txt and tokenizer_config.json, as the reference builds it from them. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#define N_SPECIAL 5

/* What tokenizer_config.json may say, and what holds where it doesn't. */
typedef struct bert_config {
  const char *special[N_SPECIAL]; /* unknown, start, end, padding, mask */
  bool lowercase, chinese_chars, strip_accents;
} bert_config;

static kin_status read_config(const json_t *json, const char *file, bert_config *out, kin_error *err) {
  static const char *const keys[N_SPECIAL] = {"unk_token", "cls_token", "sep_token", "pad_token", "mask_token"};
  kin_status status = KIN_OK;
  for (size_t i = 0; status == KIN_OK && i < N_SPECIAL; i++) {
    /* A string, or an object with its "content". */
    const json_t *value = json_object_get(json, keys[i]);
    status = json_is_object(value) ? kin_json_string(value, "content", file, &out->special[i], err)
                                   : kin_json_string(json, keys[i], file, &out->special[i], err);
  }
  if (status == KIN_OK) status = kin_json_bool(json, "do_lower_case", file, &out->lowercase, err);
  if (status == KIN_OK) status = kin_json_bool(json, "tokenize_chinese_chars", file, &out->chinese_chars, err);
  out->strip_accents = out->lowercase;
  if (status == KIN_OK) status = kin_json_bool(json, "strip_accents", file, &out->strip_accents, err);
  return status;
}

/* One token a line; its number from 0 is its id. */
static kin_status load_vocabulary(kin_tokenizer *t, const char *path, kin_error *err) {
  char *text;
  size_t size, lines = 1;
  kin_status status = kin_read_file(path, KIN_TOKENIZER_FILE_LIMIT, &text, &size, err);
  if (status != KIN_OK) return status;
  for (size_t i = 0; i < size; i++) lines += text[i] == '\n';
  size_t bad = kin_utf8_check(text, size);
  if (bad < size)
    status = kin_fail(err, KIN_ERR_FORMAT, "%s: not valid UTF-8 at byte %zu", path, bad);
  else if (lines > KIN_VOCABULARY_MAX_ID)
    status = kin_fail(err, KIN_ERR_FORMAT, "%s: more than %d lines", path, KIN_VOCABULARY_MAX_ID);
  else
    status = kin_vocabulary_init(&t->vocabulary, lines, err);
  const char *end = text + size;
  size_t length;
  int32_t id = 0;
  for (const char *line = text; status == KIN_OK && line < end; id++) {
    const char *next = kin_next_line(line, end, &length);
    status = kin_tokenizer_add(t, line, length, id, err);
    line = next;
  }
  free(text);
  return status;
}

static kin_status build_stages(kin_tokenizer *t, const bert_config *config, const char *file, kin_error *err) {
  json_t *normalizer =
      json_pack("{s:s,s:b,s:b,s:b,s:b}", "type", "BertNormalizer", "clean_text", 1, "handle_chinese_chars",
                config->chinese_chars, "strip_accents", config->strip_accents, "lowercase", config->lowercase);
  json_t *pretokenizer = json_pack("{s:s}", "type", "BertPreTokenizer");
  kin_status status = KIN_OK;
  if (!normalizer || !pretokenizer) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for the tokenizer");
  if (status == KIN_OK) status = kin_normalizer_parse(normalizer, file, &t->normalizer, err);
  if (status == KIN_OK) status = kin_pretokenizer_parse(pretokenizer, file, &t->pretokenizer, err);
  json_decref(normalizer);
  json_decref(pretokenizer);
  const kin_wordpiece_options options = {config->special[0], "##", 100};
  return status == KIN_OK ? kin_wordpiece_open(&t->vocabulary, &options, file, &t->wordpiece, err) : status;
}

static kin_status build(kin_tokenizer *t, const bert_config *config, const char *file, kin_error *err) {
  kin_status status = build_stages(t, config, file, err);
  if (status == KIN_OK) status = kin_added_tokens_init(&t->added, N_SPECIAL, err);
  const kin_added_options options = {0};
  for (size_t i = 0; status == KIN_OK && i < N_SPECIAL; i++) {
    int32_t id = kin_tokenizer_find(t, config->special[i]);
    if (id < 0)
      return kin_fail(err, KIN_ERR_FORMAT, "%s: the special token \"%s\" isn't in the vocabulary", file,
                      config->special[i]);
    status = kin_added_tokens_add(&t->added, config->special[i], id, &options, t->normalizer, err);
    if (i == 1) kin_ids_add(&t->prefix, id);
    if (i == 2) kin_ids_add(&t->suffix, id);
  }
  kin_added_tokens_finish(&t->added);
  if (status == KIN_OK && (t->prefix.failed || t->suffix.failed)) return kin_fail(err, KIN_ERR_MEMORY, "out of memory");
  return status;
}

kin_status kin_tokenizer_load_bert(kin_tokenizer *t, const char *dir, kin_error *err) {
  bert_config config = {{"[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"}, true, true, true};
  char *vocabulary = kin_format("%s/vocab.txt", dir), *file = kin_format("%s/tokenizer_config.json", dir);
  json_t *json = NULL;
  kin_status status = KIN_OK;
  if (!vocabulary || !file)
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory");
  else if (kin_file_exists(file))
    status = kin_json_load(file, KIN_TOKENIZER_FILE_LIMIT, &json, err);
  if (status == KIN_OK && json) status = read_config(json, file, &config, err);
  if (status == KIN_OK) status = load_vocabulary(t, vocabulary, err);
  if (status == KIN_OK) status = build(t, &config, vocabulary, err);
  json_decref(json);
  free(vocabulary);
  free(file);
  return status;
}
