/* Seeded numbers, and a loop over the instruction sets that this CPU has. */
#ifndef KIN_KERNEL_FIXTURE_H
#define KIN_KERNEL_FIXTURE_H

#include "kernel/kernel.h"
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Uniform in [-scale, scale], from a seed. */
static inline float *seeded_floats(size_t n, float scale, uint64_t seed) {
  float *x = kin_alloc_aligned(n * sizeof *x);
  assert_non_null(x);
  for (size_t i = 0; i < n; i++) {
    uint64_t z = (seed << 32) + (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    x[i] = scale * ((float)(z >> 40) / 8388608.0f - 1.0f);
  }
  return x;
}

static inline float *copy_floats(const float *x, size_t n) {
  float *y = kin_alloc_aligned(n * sizeof *y);
  assert_non_null(y);
  memcpy(y, x, n * sizeof *y);
  return y;
}

/* The table of `isa`, or NULL with a line that names what is left untested. */
static inline const kin_kernels *kernels_or_note(kin_isa isa) {
  const kin_kernels *k = kin_kernels_for(isa);
  if (!k) print_message("[  NOTE  ] this CPU lacks %s: left untested\n", isa == KIN_ISA_AVX2 ? "avx2" : "avx512");
  return k;
}

static inline kin_context *open_context(kin_isa isa, unsigned threads) {
  kin_context *context;
  kin_error err;
  test_assert_ok(kin_context_open(&(kin_context_options){.threads = threads, .isa = isa}, &context, &err), &err);
  return context;
}

#endif
