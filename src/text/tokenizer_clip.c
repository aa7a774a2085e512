/* CLIP's tokenizer from vocab.json and merges.txt, as the reference builds it from them. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

/* The stages that these files leave unsaid. */
static const char normalizer_json[] =
    "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},"
    "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\s+\"},\"content\":\" \"},{\"type\":\"Lowercase\"}]}";
static const char pretokenizer_json[] =
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"
    "\"<\\\\|startoftext\\\\|>|<\\\\|endoftext\\\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|"
    "[^\\\\s\\\\p{L}\\\\p{N}]+\"},\"behavior\":\"Removed\",\"invert\":true},"
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}]}";
static const char start_token[] = "<|startoftext|>";
static const char end_token[] = "<|endoftext|>";

static kin_status load_stages(kin_tokenizer *t, kin_error *err) {
  json_t *json;
  kin_status status = kin_json_parse(normalizer_json, strlen(normalizer_json), "CLIP's normalizer", &json, err);
  if (status != KIN_OK) return status;
  status = kin_normalizer_parse(json, "CLIP's normalizer", &t->normalizer, err);
  json_decref(json);
  if (status != KIN_OK) return status;
  status = kin_json_parse(pretokenizer_json, strlen(pretokenizer_json), "CLIP's pre-tokenizer", &json, err);
  if (status != KIN_OK) return status;
  status = kin_pretokenizer_parse(json, "CLIP's pre-tokenizer", &t->pretokenizer, err);
  json_decref(json);
  return status;
}

static kin_status load_vocabulary(kin_tokenizer *t, const char *path, kin_error *err) {
  json_t *vocab;
  kin_status status = kin_json_load(path, KIN_TOKENIZER_FILE_LIMIT, &vocab, err);
  if (status != KIN_OK) return status;
  status = kin_tokenizer_take_vocabulary(t, vocab, path, err);
  json_decref(vocab);
  if (status != KIN_OK) return status;
  if (kin_tokenizer_find(t, start_token) < 0 || kin_tokenizer_find(t, end_token) < 0)
    return kin_fail(err, KIN_ERR_UNSUPPORTED,
                    "%s: not CLIP's vocabulary (no %s and %s); other models need tokenizer.json", path, start_token,
                    end_token);
  return KIN_OK;
}

static kin_status add_merge(kin_tokenizer *t, const char *line, size_t size, const char *path, size_t number,
                            kin_error *err) {
  const char *blank = memchr(line, ' ', size);
  size_t left = blank ? (size_t)(blank - line) : size;
  if (!blank || memchr(blank + 1, ' ', size - left - 1))
    return kin_fail(err, KIN_ERR_FORMAT, "%s: line %zu isn't a pair of tokens", path, number);
  return kin_bpe_add_merge(t->bpe, line, left, blank + 1, size - left - 1, path, err);
}

static kin_status load_merges(kin_tokenizer *t, const char *path, kin_error *err) {
  static const char version[] = "#version";
  char *text;
  size_t size, lines = 1;
  kin_status status = kin_read_file(path, KIN_TOKENIZER_FILE_LIMIT, &text, &size, err);
  if (status != KIN_OK) return status;
  for (size_t i = 0; i < size; i++) lines += text[i] == '\n';
  kin_bpe_options options = {.unk_token = end_token, .end_of_word_suffix = "</w>"};
  status = kin_bpe_open(&t->vocabulary, &options, lines, &t->bpe, err);
  const char *end = text + size;
  size_t number = 0, length;
  for (const char *line = text, *next; status == KIN_OK && line < end; line = next) {
    number++;
    next = kin_next_line(line, end, &length);
    if (length < strlen(version) || memcmp(line, version, strlen(version)))
      status = add_merge(t, line, length, path, number, err);
  }
  free(text);
  return status;
}

static kin_status load_file(kin_tokenizer *t, const char *dir, const char *name,
                            kin_status (*load)(kin_tokenizer *t, const char *path, kin_error *err), kin_error *err) {
  char *path = kin_format("%s/%s", dir, name);
  if (!path) return kin_fail(err, KIN_ERR_MEMORY, "out of memory");
  kin_status status = load(t, path, err);
  free(path);
  return status;
}

kin_status kin_tokenizer_load_clip(kin_tokenizer *t, const char *dir, kin_error *err) {
  kin_status status = load_stages(t, err);
  if (status == KIN_OK) status = load_file(t, dir, "vocab.json", load_vocabulary, err);
  if (status == KIN_OK) status = load_file(t, dir, "merges.txt", load_merges, err);
  if (status == KIN_OK) status = kin_added_tokens_init(&t->added, 2, err);
  const kin_added_options options = {0};
  const char *tokens[] = {start_token, end_token};
  for (size_t i = 0; status == KIN_OK && i < 2; i++) {
    int32_t id = kin_tokenizer_find(t, tokens[i]);
    kin_ids *side = i ? &t->suffix : &t->prefix;
    kin_ids_add(side, id);
    status = side->failed ? kin_fail(err, KIN_ERR_MEMORY, "out of memory")
                          : kin_added_tokens_add(&t->added, tokens[i], id, &options, t->normalizer, err);
  }
  kin_added_tokens_finish(&t->added);
  return status;
}
