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

static inline ints load_bytes(const int8_t *p) {
  return _mm512_loadu_si512(p);
}
static inline ints magnitudes(ints x) {
  return _mm512_abs_epi8(x);
}
static inline ints signed_like(ints x, ints y) {
  return _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(y), _mm512_setzero_si512(), x);
}
static inline int32_t sum_of(ints x) {
  return _mm512_reduce_add_epi32(x);
}

#define ROW_VECTORS 4
