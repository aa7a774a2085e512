/* Token strings and their ids: a hash table over one block of bytes, built once and then only read. */
#ifndef KIN_TEXT_VOCABULARY_H
#define KIN_TEXT_VOCABULARY_H

#include "base/base.h"

#define KIN_VOCABULARY_MAX_ID ((1 << 24) - 1)

typedef struct kin_vocabulary_slot {
  uint32_t hash;
  int32_t id; /* -1: free */
  uint32_t start, size;
} kin_vocabulary_slot;

typedef struct kin_vocabulary {
  char *text;
  size_t text_size, text_capacity;
  kin_vocabulary_slot *slots;
  size_t mask; /* slots - 1; a power of two minus one */
  size_t count;
  size_t longest; /* bytes of the longest token */
} kin_vocabulary;

/* Make room for `count` tokens. KIN_ERR_MEMORY; release with kin_vocabulary_free in any case. */
kin_status kin_vocabulary_init(kin_vocabulary *v, size_t count, kin_error *err);
void kin_vocabulary_free(kin_vocabulary *v);

/* Add a token (copied), at most the `count` of init. A second one of the same spelling replaces the id of the first. */
kin_status kin_vocabulary_add(kin_vocabulary *v, const char *token, size_t size, int32_t id, kin_error *err);

/* The id, or -1. */
int32_t kin_vocabulary_find(const kin_vocabulary *v, const char *token, size_t size);

/* The same in steps, for callers that try many lengths of one string: the hash is that of its bytes in order. */
#define KIN_HASH_START 0x811C9DC5u
static inline uint32_t kin_hash_step(uint32_t hash, char byte) {
  return (hash ^ (uint8_t)byte) * 0x01000193u;
}
int32_t kin_vocabulary_find_hashed(const kin_vocabulary *v, uint32_t hash, const char *token, size_t size);

#endif
