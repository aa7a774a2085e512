/* A table of 8-bit products against plain C, bit for bit. */
#ifndef KIN_INT8_TILES_H
#define KIN_INT8_TILES_H

#include "kernel_fixture.h"

/* Whether this machine runs the table; a line names what is left untested. */
static inline bool int8_runs(const kin_int8_kernels *k) {
  if (kin_kernels_for(k->isa) && k->usable()) return true;
  print_message("[  NOTE  ] this CPU lacks %s: left untested\n", k->name);
  return false;
}

static inline void check_int8_tiles(const kin_int8_kernels *k) {
  enum { QUADS = 48, LDA = 4 * QUADS + 64, LD = KIN_PANEL + 5 };
  uint8_t *a = kin_alloc_aligned(KIN_MAX_INT8_ROWS * LDA);
  uint8_t *spread = kin_alloc_aligned(KIN_MAX_INT8_ROWS * 2 * LDA);
  int8_t *b = kin_alloc_aligned(QUADS * KIN_PANEL * 4);
  int32_t *expected = kin_alloc_aligned(KIN_MAX_INT8_ROWS * LD * sizeof *expected);
  int32_t *got = kin_alloc_aligned(KIN_MAX_INT8_ROWS * LD * sizeof *got);
  for (size_t extreme = 0; extreme < 2; extreme++) {
    /* At the extremes a sum of two products is beyond 16 bits, which saturating instructions would show. */
    for (size_t i = 0; i < KIN_MAX_INT8_ROWS * LDA; i++) a[i] = extreme ? 255 : (uint8_t)(i * 2654435761u >> 13);
    for (size_t i = 0; i < QUADS * KIN_PANEL * 4; i++)
      b[i] = (int8_t)(extreme ? (i / 4 % 2 ? 127 : -127) : (int)(i * 2246822519u >> 11 & 255) - 128);
    for (size_t rows = 1; rows <= k->tile_rows; rows++)
      for (size_t quads = 16; quads <= QUADS; quads += 16)
        for (size_t accumulate = 0; accumulate < 2; accumulate++) {
          for (size_t i = 0; i < KIN_MAX_INT8_ROWS * LD; i++) got[i] = expected[i] = (int32_t)i - 7000;
          kin_int8_scalar.gemm_tile(rows, quads, a, LDA, b, expected, LD, accumulate);
          for (size_t r = 0; k->spread && r < rows; r++) k->spread(a + r * LDA, quads, spread + r * 2 * LDA);
          k->gemm_tile(rows, quads, k->spread ? spread : a, k->spread ? 2 * LDA : LDA, b, got, LD, accumulate);
          assert_memory_equal(got, expected, KIN_MAX_INT8_ROWS * LD * sizeof *got);
        }
  }
  kin_free_aligned(a), kin_free_aligned(spread), kin_free_aligned(b), kin_free_aligned(expected), kin_free_aligned(got);
}

#endif
