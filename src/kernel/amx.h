/* Products on AMX's tiles, of 16 rows of 64 bytes, in int8 and bfloat16. Written on TILE_CONFIGURE, TILE_RELEASE,
 * TILE_ZERO, TILE_LOAD, TILE_STORE, TILE_DPBUSD and TILE_DPBF16PS, which the including file defines: amx.c as the
 * instructions, the tests in plain C, so that what is loaded where is checked on any CPU.
 *
 * A panel's rows of 4 bytes (int8) or 2 numbers (bfloat16) by 32 columns are two tiles side by side as they lie. Tiles
 * 0 to 3 hold the sums of 32 x 32, 4 and 5 the activations, 6 and 7 the weights. */
#include "kernel/kernel.h"

#include <string.h>

enum { TILE_HEIGHT = 16, TILE_BYTES = 64, PANEL_BYTES = 4 * KIN_PANEL };

typedef struct tile_config {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} tile_config;

/* Tiles for `rows` rows, 1 to 32: a tile that isn't used must have no rows and no bytes. */
static inline void configure(size_t rows) {
  size_t top = rows < TILE_HEIGHT ? rows : TILE_HEIGHT;
  const size_t heights[8] = {top, top, rows - top, rows - top, top, rows - top, TILE_HEIGHT, TILE_HEIGHT};
  tile_config config = {.palette = 1};
  for (size_t i = 0; i < 8; i++) {
    config.rows[i] = (uint8_t)heights[i];
    config.row_bytes[i] = heights[i] ? TILE_BYTES : 0;
  }
  TILE_CONFIGURE(&config);
}

/* Sums of 32 bits each, `row_bytes` apart. */
static inline void open_sums(bool two, const void *sums, size_t row_bytes, bool accumulate) {
  const uint8_t *top = sums, *bottom = top + TILE_HEIGHT * row_bytes;
  if (!accumulate) {
    TILE_ZERO(0);
    TILE_ZERO(1);
    if (two) {
      TILE_ZERO(2);
      TILE_ZERO(3);
    }
    return;
  }
  TILE_LOAD(0, top, row_bytes);
  TILE_LOAD(1, top + TILE_BYTES, row_bytes);
  if (two) {
    TILE_LOAD(2, bottom, row_bytes);
    TILE_LOAD(3, bottom + TILE_BYTES, row_bytes);
  }
}

static inline void close_sums(bool two, void *sums, size_t row_bytes) {
  uint8_t *top = sums, *bottom = top + TILE_HEIGHT * row_bytes;
  TILE_STORE(0, top, row_bytes);
  TILE_STORE(1, top + TILE_BYTES, row_bytes);
  if (two) {
    TILE_STORE(2, bottom, row_bytes);
    TILE_STORE(3, bottom + TILE_BYTES, row_bytes);
  }
  TILE_RELEASE();
}

static void gemm_tile_int8(size_t rows, size_t quads, const uint8_t *a, size_t lda, const int8_t *b, int32_t *sums,
                           size_t ld_sums, bool accumulate) {
  bool two = rows > TILE_HEIGHT;
  configure(rows);
  open_sums(two, sums, ld_sums * sizeof *sums, accumulate);
  for (size_t i = 0; i < quads; i += TILE_HEIGHT, a += TILE_BYTES, b += TILE_HEIGHT * PANEL_BYTES) {
    TILE_LOAD(6, b, PANEL_BYTES);
    TILE_LOAD(7, b + TILE_BYTES, PANEL_BYTES);
    TILE_LOAD(4, a, lda);
    TILE_DPBUSD(0, 4, 6);
    TILE_DPBUSD(1, 4, 7);
    if (!two) continue;
    TILE_LOAD(5, a + TILE_HEIGHT * lda, lda);
    TILE_DPBUSD(2, 5, 6);
    TILE_DPBUSD(3, 5, 7);
  }
  close_sums(two, sums, ld_sums * sizeof *sums);
}

/* One step of 16 pairs; row strides in bytes. */
static inline void step_bf16(bool two, const uint8_t *a, size_t row_bytes, const uint8_t *b) {
  TILE_LOAD(6, b, PANEL_BYTES);
  TILE_LOAD(7, b + TILE_BYTES, PANEL_BYTES);
  TILE_LOAD(4, a, row_bytes);
  TILE_DPBF16PS(0, 4, 6);
  TILE_DPBF16PS(1, 4, 7);
  if (!two) return;
  TILE_LOAD(5, a + TILE_HEIGHT * row_bytes, row_bytes);
  TILE_DPBF16PS(2, 5, 6);
  TILE_DPBF16PS(3, 5, 7);
}

static void gemm_tile_bf16(size_t rows, size_t pairs, const uint16_t *a, size_t lda, const uint16_t *b, float *c,
                           size_t ldc, bool accumulate) {
  bool two = rows > TILE_HEIGHT;
  size_t whole = pairs / TILE_HEIGHT * TILE_HEIGHT, rest = pairs - whole, row_bytes = lda * sizeof *a;
  const uint8_t *x = (const uint8_t *)a, *w = (const uint8_t *)b;
  configure(rows);
  open_sums(two, c, ldc * sizeof *c, accumulate);
  for (size_t i = 0; i < whole; i += TILE_HEIGHT, x += TILE_BYTES, w += TILE_HEIGHT * PANEL_BYTES)
    step_bf16(two, x, row_bytes, w);
  if (rest) { /* the last pairs, with zeros behind them */
    uint8_t last_x[2 * TILE_HEIGHT * TILE_BYTES] = {0}, last_w[TILE_HEIGHT * PANEL_BYTES] = {0};
    for (size_t r = 0; r < rows; r++) memcpy(last_x + r * TILE_BYTES, x + r * row_bytes, rest * 4);
    memcpy(last_w, w, rest * PANEL_BYTES);
    step_bf16(two, last_x, TILE_BYTES, last_w);
  }
  close_sums(two, c, ldc * sizeof *c);
}
