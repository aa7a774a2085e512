/* The resize's passes: the numbers of a loop in 64 bits, and on every instruction set the same bytes. */
#include "kernel/resize.h"
#include "kernel_fixture.h"

static uint32_t next_random(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return *state >> 8;
}

/* Windows of `least` to `most` weights that move on over `size` inputs; the weights of each sum to about 1, some are
 * negative. */
static kin_taps make_taps(size_t n, uint32_t size, uint32_t least, uint32_t most, uint32_t *state) {
  kin_taps t = {.n = n, .stride = (most + 7) / 8 * 8};
  t.first = calloc(n, sizeof *t.first), t.count = calloc(n, sizeof *t.count);
  t.high = calloc(n, t.stride * sizeof *t.high), t.low = calloc(n, t.stride * sizeof *t.low);
  for (size_t i = 0; i < n; i++) {
    t.count[i] = least + next_random(state) % (most - least + 1);
    t.first[i] = n == 1 ? 0 : (uint32_t)((size - most) * i / (n - 1));
    for (size_t x = 0; x < t.count[i]; x++) {
      const int32_t share = (1 << KIN_TAP_BITS) / (int32_t)t.count[i];
      const int32_t w = (int32_t)(next_random(state) % (uint32_t)(share * 3 / 2)) - (x % 3 == 0 ? share : 0);
      t.low[i * t.stride + x] = (int16_t)(w & 2047);
      t.high[i * t.stride + x] = (int16_t)(w >> 11);
    }
  }
  return t;
}

static void free_taps(kin_taps *t) {
  free(t->first), free(t->count), free(t->high), free(t->low);
}

static uint8_t *noise(size_t n, uint32_t *state) {
  uint8_t *x = malloc(n); /* of just this size, so that a sanitizer sees every byte read beyond */
  for (size_t i = 0; i < n; i++) x[i] = next_random(state) % 5 ? (uint8_t)next_random(state) : 255;
  return x;
}

static uint8_t weighted(const kin_taps *t, size_t i, const uint8_t *at, size_t step) {
  int64_t sum = 1 << (KIN_TAP_BITS - 1);
  for (size_t x = 0; x < t->count[i]; x++)
    sum += (int64_t)at[x * step] * (t->high[i * t->stride + x] * 2048 + t->low[i * t->stride + x]);
  sum >>= KIN_TAP_BITS;
  return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static const kin_resize_kernels *table_or_note(kin_isa isa) {
  const kin_resize_kernels *k = kin_resize_kernels_for(isa);
  if (!k) print_message("[  NOTE  ] this CPU lacks %s: left untested\n", isa == KIN_ISA_AVX2 ? "avx2" : "avx512");
  return k;
}

typedef struct shape {
  size_t n;
  uint32_t size, least, most;
} shape;
static const shape shapes[] = {{1, 1, 1, 1},      {5, 9, 1, 4},      {40, 17, 1, 9},       {7, 300, 3, 100},
                               {30, 31, 1, 1},    {224, 298, 5, 12}, {224, 374, 7, 8},     {33, 2100, 61, 90},
                               {3, 2000, 16, 64}, {64, 70, 4, 4},    {1, 5000, 4500, 5000}};

static void across_matches(void **state) {
  (void)state;
  uint32_t seed = 1;
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
    kin_taps t = make_taps(shapes[s].n, shapes[s].size, shapes[s].least, shapes[s].most, &seed);
    for (uint32_t skipped = 0; skipped <= t.first[0]; skipped += 3)
      for (size_t n_rows = 1; n_rows <= KIN_RESIZE_ROWS; n_rows++) {
        const size_t bytes = (size_t)(shapes[s].size - skipped) * 3;
        uint8_t *rows[KIN_RESIZE_ROWS], *out[KIN_RESIZE_ROWS];
        for (size_t r = 0; r < n_rows; r++) rows[r] = noise(bytes, &seed), out[r] = malloc(3 * t.n);
        for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++) {
          const kin_resize_kernels *k = table_or_note(isa);
          if (!k) continue;
          for (size_t r = 0; r < n_rows; r++) memset(out[r], 77, 3 * t.n);
          k->across(&t, (const uint8_t *const *)rows, n_rows, skipped, bytes, out);
          for (size_t r = 0; r < n_rows; r++)
            for (size_t i = 0; i < 3 * t.n; i++)
              assert_int_equal(out[r][i],
                               weighted(&t, i / 3, rows[r] + (size_t)(t.first[i / 3] - skipped) * 3 + i % 3, 3));
        }
        for (size_t r = 0; r < n_rows; r++) free(rows[r]), free(out[r]);
      }
    free_taps(&t);
  }
}

static void down_matches(void **state) {
  (void)state;
  static const size_t widths[] = {1, 15, 16, 31, 32, 33, 63, 64, 65, 130, 672};
  uint32_t seed = 2;
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
      kin_taps t = make_taps(1, shapes[s].size, shapes[s].least, shapes[s].most, &seed);
      const size_t n = widths[w], count = t.count[0];
      uint8_t *pixels = noise(count * n, &seed), *out = malloc(n);
      const uint8_t **rows = malloc(count * sizeof *rows);
      for (size_t y = 0; y < count; y++) rows[y] = pixels + y * n;
      for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++) {
        const kin_resize_kernels *k = table_or_note(isa);
        if (!k) continue;
        memset(out, 77, n);
        k->down(&t, 0, rows, n, out);
        for (size_t x = 0; x < n; x++) assert_int_equal(out[x], weighted(&t, 0, pixels + x, n));
      }
      free(pixels), free(out), free(rows);
      free_taps(&t);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(across_matches), cmocka_unit_test(down_matches)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
