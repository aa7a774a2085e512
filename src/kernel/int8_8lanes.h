/* 8-bit products on eight lanes of 32 bits, in PHASES: a quad of activations takes 4 * PHASES bytes. The including file
 * defines v8_weights(bytes, phase), v8_multiply_add(total, activations, weights), PHASES, SPREAD, TABLE, NAME and
 * `usable`. */

#define TILE_ROWS 6

static inline __m256i v8_load(const int8_t *p) {
  return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

static inline __m256i v8_broadcast(const uint8_t *p) {
  int32_t quad;
  memcpy(&quad, p, sizeof quad);
  return _mm256_set1_epi32(quad);
}

/* Half a panel: 6 x 16 sums are 12 of the 16 registers, two hold weights and one an activation. */
static inline __attribute__((always_inline)) void half_tile(const size_t rows, size_t quads, const uint8_t *a,
                                                            size_t lda, const int8_t *b, int32_t *sums, size_t ld,
                                                            bool accumulate) {
  __m256i total[TILE_ROWS][2];
#pragma GCC unroll 6
  for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (size_t v = 0; v < 2; v++)
      total[r][v] = accumulate ? _mm256_loadu_si256((const __m256i *)(const void *)(sums + r * ld + 8 * v))
                               : _mm256_setzero_si256();
  for (size_t i = 0; i < quads; i++, b += 4 * KIN_PANEL)
#pragma GCC unroll 2
    for (size_t phase = 0; phase < PHASES; phase++, a += 4) {
      __m256i b0 = v8_weights(v8_load(b), phase), b1 = v8_weights(v8_load(b + 32), phase);
#pragma GCC unroll 6
      for (size_t r = 0; r < rows; r++) {
        __m256i x = v8_broadcast(a + r * lda);
        total[r][0] = v8_multiply_add(total[r][0], x, b0);
        total[r][1] = v8_multiply_add(total[r][1], x, b1);
        /* Else the compiler adds the phases first, which takes more registers than there are. */
        __asm__("" : "+x"(total[r][0]), "+x"(total[r][1]));
      }
    }
#pragma GCC unroll 6
  for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (size_t v = 0; v < 2; v++) _mm256_storeu_si256((__m256i *)(void *)(sums + r * ld + 8 * v), total[r][v]);
}

#define ROWS(n)                                           \
  case n:                                                 \
    half_tile(n, quads, a, lda, b, sums, ld, accumulate); \
    break;

static void gemm_tile(size_t rows, size_t quads, const uint8_t *a, size_t lda, const int8_t *b, int32_t *sums,
                      size_t ld, bool accumulate) {
  for (size_t half = 0; half < KIN_PANEL; half += 16, b += 64, sums += 16) {
    switch (rows) { ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) default : break; }
  }
}

#define PEAK_CHAINS 12

static int32_t peak(size_t iterations) {
  volatile int32_t quad = 0x00010203;
  __m256i x = _mm256_set1_epi32(quad), w = v8_weights(x, 0), total[PEAK_CHAINS];
  for (size_t c = 0; c < PEAK_CHAINS; c++) total[c] = _mm256_setzero_si256();
  for (size_t i = 0; i < iterations; i++) {
    __asm__("" : "+x"(x)); /* else the products, all the same, would be taken out of the loop */
#pragma GCC unroll 16
    for (size_t c = 0; c < PEAK_CHAINS; c++)
      for (size_t phase = 0; phase < PHASES; phase++) total[c] = v8_multiply_add(total[c], x, w);
  }
  for (size_t c = 1; c < PEAK_CHAINS; c++) total[0] = _mm256_add_epi32(total[0], total[c]);
  int32_t lanes[8], all = 0;
  _mm256_storeu_si256((__m256i *)(void *)lanes, total[0]);
  for (size_t i = 0; i < 8; i++) all ^= lanes[i];
  return all;
}

const kin_int8_kernels TABLE = {
    .name = NAME,
    .isa = KIN_ISA_AVX2,
    .usable = usable,
    .tile_rows = TILE_ROWS,
    .spread = SPREAD,
    .gemm_tile = gemm_tile,
    .peak = peak,
    .peak_multiply_adds = PEAK_CHAINS * 32,
};
