/* SentencePiece's precompiled rewrite rules ("Precompiled"). */
#include "text/normalizer.h"

#include <stdlib.h>
#include <string.h>

struct kin_charsmap {
  uint32_t *units; /* the Darts double array */
  size_t n_units;
  char *replacements; /* NUL-terminated strings; a leaf's value is the offset of one */
  size_t replacements_size;
};

static int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Into out[size / 4 * 3]; false if it isn't base64. */
static bool base64_decode(const char *text, size_t size, uint8_t *out, size_t *out_size) {
  if (size % 4) return false;
  size_t n = 0, padding = 0;
  while (padding < 2 && padding < size && text[size - 1 - padding] == '=') padding++;
  for (size_t i = 0; i < size; i += 4) {
    uint32_t group = 0;
    for (size_t k = 0; k < 4; k++) {
      int digit = i + k >= size - padding ? 0 : base64_digit(text[i + k]);
      if (digit < 0) return false;
      group = group << 6 | (uint32_t)digit;
    }
    out[n++] = (uint8_t)(group >> 16);
    out[n++] = (uint8_t)(group >> 8);
    out[n++] = (uint8_t)group;
  }
  *out_size = n - padding;
  return true;
}

static uint32_t little_endian(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static kin_status split_blob(const uint8_t *blob, size_t size, const char *file, kin_charsmap *map, kin_error *err) {
  size_t trie = size < 4 ? 0 : little_endian(blob);
  if (trie < 4 || trie % 4 || trie > size - 4)
    return kin_fail(err, KIN_ERR_FORMAT,
                    "%s: \"precompiled_charsmap\" is damaged: a trie of %zu bytes in a block of %zu", file, trie, size);
  map->n_units = trie / 4;
  map->replacements_size = size - 4 - trie;
  map->units = kin_array(map->n_units, sizeof *map->units);
  map->replacements = kin_array(map->replacements_size + 1, 1);
  if (!map->units || !map->replacements) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the rewrite rules");
  for (size_t i = 0; i < map->n_units; i++) map->units[i] = little_endian(blob + 4 + 4 * i);
  memcpy(map->replacements, blob + 4 + trie, map->replacements_size);
  map->replacements[map->replacements_size] = '\0';
  if (kin_utf8_check(map->replacements, map->replacements_size) != map->replacements_size)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: \"precompiled_charsmap\" is damaged: its replacements aren't UTF-8",
                    file);
  return KIN_OK;
}

kin_status kin_charsmap_parse(const json_t *json, const char *file, kin_charsmap **out, kin_error *err) {
  const json_t *text = json_object_get(json, "precompiled_charsmap");
  if (!json_is_string(text))
    return kin_fail(err, KIN_ERR_FORMAT, "%s: Precompiled lacks the string \"precompiled_charsmap\"", file);
  size_t size = json_string_length(text);
  uint8_t *blob = kin_array(size / 4 * 3 + 3, 1);
  kin_charsmap *map = calloc(1, sizeof *map);
  kin_status status = KIN_OK;
  if (!blob || !map)
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for the rewrite rules");
  else if (!base64_decode(json_string_value(text), size, blob, &size))
    status = kin_fail(err, KIN_ERR_FORMAT, "%s: \"precompiled_charsmap\" isn't base64", file);
  else
    status = split_blob(blob, size, file, map, err);
  free(blob);
  if (status != KIN_OK) {
    kin_charsmap_free(map);
    return status;
  }
  *out = map;
  return KIN_OK;
}

void kin_charsmap_free(kin_charsmap *map) {
  if (!map) return;
  free(map->units);
  free(map->replacements);
  free(map);
}

static size_t child_offset(uint32_t unit) {
  return (size_t)(unit >> 10) << ((unit & 1u << 9) >> 6);
}

/* What replaces the shortest prefix of `key` that has a rule; NULL if none has. (SentencePiece takes the longest; the
 * reference takes the shortest, and drops the rest of the key.) */
static const char *find_rule(const kin_charsmap *map, const char *key, size_t size) {
  size_t node = child_offset(map->units[0]);
  for (size_t i = 0; i < size && key[i]; i++) {
    node ^= (uint8_t)key[i];
    if (node >= map->n_units) return NULL;
    uint32_t unit = map->units[node];
    if ((unit & (1u << 31 | 0xFF)) != (uint8_t)key[i]) return NULL;
    node ^= child_offset(unit);
    if (!(unit >> 8 & 1)) continue;
    size_t value = node < map->n_units ? map->units[node] & ~(1u << 31) : SIZE_MAX;
    /* A rule that points outside, or into the middle of a character, is no rule. */
    bool inside = value < map->replacements_size && (map->replacements[value] & 0xC0) != 0x80;
    return inside ? map->replacements + value : NULL;
  }
  return NULL;
}

/* Whole graphemes of less than this many bytes are looked up before their characters are. */
#define LONGEST_RULE 6

void kin_charsmap_normalize(const kin_charsmap *map, const char *text, size_t size, kin_bytes *out) {
  for (size_t at = 0; at < size;) {
    size_t end = kin_grapheme_end(text, size, at);
    const char *rule = end - at < LONGEST_RULE ? find_rule(map, text + at, end - at) : NULL;
    if (rule) {
      kin_bytes_append(out, rule, strlen(rule));
      at = end;
      continue;
    }
    while (at < end) {
      size_t length = kin_utf8_length(text[at]);
      rule = find_rule(map, text + at, length);
      if (rule)
        kin_bytes_append(out, rule, strlen(rule));
      else
        kin_bytes_append(out, text + at, length);
      at += length;
    }
  }
}
