/* Products of codes with queries, as each instruction set's scan file makes them from a few operations. The including
 * file defines
 *   LANES, ROW_VECTORS, PLANES   a tile is ROW_VECTORS registers of LANES rows, times PLANES planes
 *   ints, int8_rows, int8_plane, load_int8_rows, spread_int8, add_int8, spread_int, store_int
 *   floats, bf16_rows, bf16_plane, load_bf16_rows, spread_bf16, add_bf16, zero_float, store_float
 *   load_bytes, magnitudes, signed_like, add_bytes, sum_of
 * and NAME and TABLE; PLANES is at most 6. */

#include <string.h>

static inline int32_t load_unit(const void *p) {
  int32_t unit;
  memcpy(&unit, p, sizeof unit);
  return unit;
}

static inline __attribute__((always_inline)) void int8_tile(const size_t n, const uint8_t *codes, size_t units,
                                                            const int8_t *planes, size_t ld, const int32_t *starts,
                                                            float *out) {
  ints total[PLANES][ROW_VECTORS];
#pragma GCC unroll 6
  for (size_t i = 0; i < n; i++)
#pragma GCC unroll 4
    for (size_t v = 0; v < ROW_VECTORS; v++) total[i][v] = spread_int(starts[i]);
  for (size_t u = 0; u < units; u++, codes += 4 * KIN_SCAN_ROWS, planes += 4) {
    int8_rows rows[ROW_VECTORS];
#pragma GCC unroll 4
    for (size_t v = 0; v < ROW_VECTORS; v++) rows[v] = load_int8_rows(codes + 4 * LANES * v);
#pragma GCC unroll 6
    for (size_t i = 0; i < n; i++) {
      int8_plane plane = spread_int8(load_unit(planes + i * ld));
#pragma GCC unroll 4
      for (size_t v = 0; v < ROW_VECTORS; v++) total[i][v] = add_int8(total[i][v], rows[v], plane);
    }
  }
#pragma GCC unroll 6
  for (size_t i = 0; i < n; i++)
#pragma GCC unroll 4
    for (size_t v = 0; v < ROW_VECTORS; v++) store_int(out + i * KIN_SCAN_ROWS + LANES * v, total[i][v]);
}

static inline __attribute__((always_inline)) void bf16_tile(const size_t n, const uint8_t *codes, size_t units,
                                                            const uint16_t *planes, size_t ld, float *out) {
  floats total[PLANES][ROW_VECTORS];
#pragma GCC unroll 6
  for (size_t i = 0; i < n; i++)
#pragma GCC unroll 4
    for (size_t v = 0; v < ROW_VECTORS; v++) total[i][v] = zero_float();
  for (size_t u = 0; u < units; u++, codes += 4 * KIN_SCAN_ROWS, planes += 2) {
    bf16_rows rows[ROW_VECTORS];
#pragma GCC unroll 4
    for (size_t v = 0; v < ROW_VECTORS; v++) rows[v] = load_bf16_rows(codes + 4 * LANES * v);
#pragma GCC unroll 6
    for (size_t i = 0; i < n; i++) {
      bf16_plane plane = spread_bf16(load_unit(planes + i * ld));
#pragma GCC unroll 4
      for (size_t v = 0; v < ROW_VECTORS; v++) total[i][v] = add_bf16(total[i][v], rows[v], plane);
    }
  }
#pragma GCC unroll 6
  for (size_t i = 0; i < n; i++)
#pragma GCC unroll 4
    for (size_t v = 0; v < ROW_VECTORS; v++) store_float(out + i * KIN_SCAN_ROWS + LANES * v, total[i][v]);
}

/* Tiles over all rows and planes; the size of the last one is a constant to the compiler, too. */
#define FOR_EACH_TILE(TILE)                                             \
  for (size_t row = 0; row < KIN_SCAN_ROWS; row += LANES * ROW_VECTORS) \
    for (size_t i = 0; i < n; i += PLANES) switch (n - i) {             \
      case 1:                                                           \
        TILE(1);                                                        \
        break;                                                          \
      case 2:                                                           \
        TILE(2);                                                        \
        break;                                                          \
      case 3:                                                           \
        TILE(PLANES < 3 ? PLANES : 3);                                  \
        break;                                                          \
      case 4:                                                           \
        TILE(PLANES < 4 ? PLANES : 4);                                  \
        break;                                                          \
      case 5:                                                           \
        TILE(PLANES < 5 ? PLANES : 5);                                  \
        break;                                                          \
      default:                                                          \
        TILE(PLANES);                                                   \
      }

static void scan_int8(const uint8_t *codes, size_t units, const int8_t *planes, size_t ld, const int32_t *starts,
                      size_t n, float *out) {
#define TILE(count) \
  int8_tile(count, codes + 4 * row, units, planes + i * ld, ld, starts + i, out + i * KIN_SCAN_ROWS + row)
  FOR_EACH_TILE(TILE)
#undef TILE
}

static void scan_bf16(const uint8_t *codes, size_t units, const uint16_t *planes, size_t ld, size_t n, float *out) {
#define TILE(count) bf16_tile(count, codes + 4 * row, units, planes + i * ld, ld, out + i * KIN_SCAN_ROWS + row)
  FOR_EACH_TILE(TILE)
#undef TILE
}

/* Products of bytes take one of them unsigned: |q| * (r with the sign of q) is q * r. */
static void int8_four(const int8_t *query, const int8_t *const rows[4], size_t n, int32_t out[4]) {
  ints total[4] = {spread_int(0), spread_int(0), spread_int(0), spread_int(0)};
  for (size_t j = 0; j < n; j += 4 * LANES) {
    ints q = load_bytes(query + j), magnitude = magnitudes(q);
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) total[i] = add_bytes(total[i], magnitude, signed_like(load_bytes(rows[i] + j), q));
  }
  for (size_t i = 0; i < 4; i++) out[i] = sum_of(total[i]);
}

const kin_scan_kernels TABLE = {.name = NAME, .int8 = scan_int8, .bf16 = scan_bf16, .int8_four = int8_four};
