/* The lanes of the AVX-512 scan kernels, as scan_tile.h wants them. */

#include <immintrin.h>

#define LANES 16

typedef __m512i ints;
typedef __m512 floats;

static inline ints spread_int(int32_t x) {
  return _mm512_set1_epi32(x);
}
static inline void store_int(float *p, ints x) {
  _mm512_storeu_ps(p, _mm512_cvtepi32_ps(x));
}
static inline floats zero_float(void) {
  return _mm512_setzero_ps();
}
static inline void store_float(float *p, floats x) {
  _mm512_storeu_ps(p, x);
}

#define ROW_VECTORS 4
