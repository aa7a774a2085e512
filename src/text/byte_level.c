/* GPT-2's byte level pre-tokenizer. */
#include "text/pretokenizer.h"

kin_status kin_byte_level_parse(const json_t *json, const char *file, kin_byte_level *out, kin_error *err) {
  *out = (kin_byte_level){.add_prefix_space = true, .use_regex = true};
  kin_status status = kin_json_bool(json, "add_prefix_space", file, &out->add_prefix_space, err);
  return status == KIN_OK ? kin_json_bool(json, "use_regex", file, &out->use_regex, err) : status;
}

uint32_t kin_byte_level_character(uint8_t byte) {
  /* Visible Latin-1 stands for itself, the others follow from U+0100 on in their order. */
  if ((byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD)) return byte;
  if (byte <= ' ') return 0x100u + byte;
  return byte == 0xAD ? 0x143u : 0x121u + (byte - 0x7Fu);
}

typedef enum word_class { SPACE, LETTER, NUMBER, SYMBOL } word_class;

static word_class class_of(uint32_t c) {
  return kin_is_letter(c) ? LETTER : kin_is_number(c) ? NUMBER : kin_is_space(c) ? SPACE : SYMBOL;
}

/* Offset behind the run of characters of `class` from text[at] on. */
static size_t run_end(const char *text, size_t size, size_t at, word_class class) {
  for (size_t next = at; at < size; at = next)
    if (class_of(kin_utf8_next(text, &next)) != class) break;
  return at;
}

size_t kin_contraction_at(const char *text, size_t size, size_t at) {
  if (text[at] != '\'' || size - at < 2) return 0;
  char a = text[at + 1], b = size - at > 2 ? text[at + 2] : '\0';
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  return ((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/* Offset behind the match of
 * 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * at text[at]: there is always one. */
static size_t word_end(const char *text, size_t size, size_t at) {
  size_t contraction = kin_contraction_at(text, size, at);
  if (contraction) return at + contraction;
  size_t start = at, next = at;
  word_class class = class_of(kin_utf8_next(text, &next));
  if (text[at] == ' ' && next < size) {
    size_t behind = next;
    word_class word = class_of(kin_utf8_next(text, &behind));
    if (word != SPACE) return run_end(text, size, next, word);
  }
  size_t end = run_end(text, size, start, class);
  if (class != SPACE || end == size) return end;
  /* White space before a word leaves its last character to the next match, unless it is the only one. */
  size_t last = end - 1;
  while ((text[last] & 0xC0) == 0x80) last--;
  return last > start ? last : end;
}

static void add_bytes(const char *text, size_t size, kin_pieces *out) {
  size_t start = out->text.size;
  for (size_t i = 0; i < size; i++) kin_bytes_put(&out->text, kin_byte_level_character((uint8_t)text[i]));
  kin_pieces_close(out, start, -1);
}

static void cut(const kin_byte_level *level, const char *text, size_t size, kin_pieces *out) {
  for (size_t at = 0; at < size;) {
    size_t end = level->use_regex ? word_end(text, size, at) : size;
    add_bytes(text + at, end - at, out);
    at = end;
  }
}

void kin_byte_level_cut(const kin_byte_level *level, const char *text, size_t size, kin_pieces *out) {
  if (!level->add_prefix_space || !size || text[0] == ' ') {
    cut(level, text, size, out);
    return;
  }
  kin_bytes prefixed = {0};
  kin_bytes_append(&prefixed, " ", 1);
  kin_bytes_append(&prefixed, text, size);
  cut(level, prefixed.data, prefixed.size, out);
  out->text.failed |= prefixed.failed;
  kin_bytes_free(&prefixed);
}
