/* Numbers that only a seed decides (splitmix64). */
#ifndef KIN_RANDOM_H
#define KIN_RANDOM_H

#include <stddef.h>
#include <stdint.h>

typedef struct kin_random {
  uint64_t state;
} kin_random;

/* A hash of z: what splitmix64 makes of its state. */
static inline uint64_t kin_random_mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static inline uint64_t kin_random_next(kin_random *r) {
  return kin_random_mix(r->state += 0x9e3779b97f4a7c15u);
}

/* In [0, 1). */
static inline double kin_random_unit(kin_random *r) {
  return (double)(kin_random_next(r) >> 11) * 0x1p-53;
}

/* In [0, n), n >= 1. */
static inline size_t kin_random_below(kin_random *r, size_t n) {
  return (size_t)(kin_random_unit(r) * (double)n);
}

#endif
