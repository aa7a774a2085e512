/* Token strings and their ids: open addressing, FNV-1a, at most half full. */
#include "text/vocabulary.h"

#include <stdlib.h>
#include <string.h>

kin_status kin_vocabulary_init(kin_vocabulary *v, size_t count, kin_error *err) {
  *v = (kin_vocabulary){0};
  size_t n = 16;
  while (n < 2 * count) n *= 2;
  v->slots = kin_array(n, sizeof *v->slots);
  if (!v->slots) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a vocabulary of %zu tokens", count);
  for (size_t i = 0; i < n; i++) v->slots[i].id = -1;
  v->mask = n - 1;
  return KIN_OK;
}

void kin_vocabulary_free(kin_vocabulary *v) {
  free(v->text);
  free(v->slots);
  *v = (kin_vocabulary){0};
}

/* FNV's low bits alone would cluster: fold the high ones in. */
static size_t first_slot(const kin_vocabulary *v, uint32_t hash) {
  return (hash ^ hash >> 15) & v->mask;
}

static kin_vocabulary_slot *slot_of(const kin_vocabulary *v, uint32_t hash, const char *token, size_t size) {
  for (size_t i = first_slot(v, hash);; i = (i + 1) & v->mask) {
    kin_vocabulary_slot *slot = &v->slots[i];
    if (slot->id < 0) return slot;
    if (slot->hash == hash && slot->size == size && !memcmp(v->text + slot->start, token, size)) return slot;
  }
}

static uint32_t hash_of(const char *token, size_t size) {
  uint32_t hash = KIN_HASH_START;
  for (size_t i = 0; i < size; i++) hash = kin_hash_step(hash, token[i]);
  return hash;
}

kin_status kin_vocabulary_add(kin_vocabulary *v, const char *token, size_t size, int32_t id, kin_error *err) {
  uint32_t hash = hash_of(token, size);
  kin_vocabulary_slot *slot = slot_of(v, hash, token, size);
  if (slot->id >= 0) {
    slot->id = id;
    return KIN_OK;
  }
  size_t end = v->text_size + size;
  /* One byte to spare, so that the block exists even for an empty token. */
  if (end >= UINT32_MAX || !kin_grow((void **)&v->text, &v->text_capacity, end + 1, 1))
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the vocabulary");
  memcpy(v->text + v->text_size, token, size);
  *slot = (kin_vocabulary_slot){hash, id, (uint32_t)v->text_size, (uint32_t)size};
  v->text_size = end;
  v->count++;
  if (size > v->longest) v->longest = size;
  return KIN_OK;
}

int32_t kin_vocabulary_find_hashed(const kin_vocabulary *v, uint32_t hash, const char *token, size_t size) {
  return slot_of(v, hash, token, size)->id;
}

int32_t kin_vocabulary_find(const kin_vocabulary *v, const char *token, size_t size) {
  return kin_vocabulary_find_hashed(v, hash_of(token, size), token, size);
}
