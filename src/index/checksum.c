/* XXH64 in plain C: four lanes of multiply and rotate, 32 bytes a round. */
#include "index/checksum.h"

#include <string.h>

static const uint64_t p1 = 0x9E3779B185EBCA87u, p2 = 0xC2B2AE3D27D4EB4Fu, p3 = 0x165667B19E3779F9u,
                      p4 = 0x85EBCA77C2B2AE63u, p5 = 0x27D4EB2F165667C5u;

static inline uint64_t rotate(uint64_t x, unsigned bits) {
  return x << bits | x >> (64 - bits);
}

static inline uint64_t load64(const uint8_t *p) {
  uint64_t x;
  memcpy(&x, p, sizeof x);
  return x;
}

static inline uint64_t lane(uint64_t acc, uint64_t input) {
  return rotate(acc + input * p2, 31) * p1;
}

static inline uint64_t merge(uint64_t hash, uint64_t acc) {
  return (hash ^ lane(0, acc)) * p1 + p4;
}

/* Mix in the last `size` < 32 bytes and make every bit depend on every other. */
static uint64_t finish(uint64_t hash, const uint8_t *p, size_t size) {
  for (; size >= 8; size -= 8, p += 8) hash = rotate(hash ^ lane(0, load64(p)), 27) * p1 + p4;
  if (size >= 4) {
    uint32_t word;
    memcpy(&word, p, sizeof word);
    hash = rotate(hash ^ word * p1, 23) * p2 + p3;
    p += 4;
    size -= 4;
  }
  for (; size; size--, p++) hash = rotate(hash ^ *p * p5, 11) * p1;
  hash = (hash ^ hash >> 33) * p2;
  hash = (hash ^ hash >> 29) * p3;
  return hash ^ hash >> 32;
}

uint64_t kin_checksum(const void *data, size_t size, uint64_t seed) {
  const uint8_t *p = data, *const end = p + size;
  uint64_t hash = seed + p5;
  if (size >= 32) {
    uint64_t a = seed + p1 + p2, b = seed + p2, c = seed, d = seed - p1;
    for (; end - p >= 32; p += 32) {
      a = lane(a, load64(p));
      b = lane(b, load64(p + 8));
      c = lane(c, load64(p + 16));
      d = lane(d, load64(p + 24));
    }
    hash = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
    hash = merge(merge(merge(merge(hash, a), b), c), d);
  }
  return finish(hash + size, p, (size_t)(end - p));
}
