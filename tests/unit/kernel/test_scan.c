/* Scan kernels: int8 products are exact, bfloat16 ones near those in double; dots and select have the bits of plain C.
 */
#include "kernel_fixture.h"

static const size_t unit_counts[] = {1, 2, 3, 16, 37, 128};
static const size_t plane_counts[] = {1, 2, 3, 4, 5, 6, 7, 13};
enum { MOST_PLANES = 13, MOST_UNITS = 128 };

typedef void (*check)(const kin_scan_kernels *k);

static void for_each_table(check fn) {
  fn(&kin_scan_scalar);
  for (kin_isa isa = KIN_ISA_AVX2; isa <= KIN_ISA_AVX512; isa++)
    if (kernels_or_note(isa)) fn(kin_scan_kernels_for(isa));
#if defined(__x86_64__)
  /* What a CPU with more instructions passes over. */
  if (kin_kernels_for(KIN_ISA_AVX512)) fn(&kin_scan_avx512);
  if (kin_scan_kernels_for(KIN_ISA_AVX512) != &kin_scan_avx512vnni)
    print_message("[  NOTE  ] this CPU lacks avx512vnni: left untested\n");
#endif
}

static uint8_t *random_bytes(size_t n, uint64_t seed) {
  float *x = seeded_floats(n, 128.0f, seed);
  uint8_t *bytes = kin_alloc_aligned(n);
  assert_non_null(bytes);
  for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(int)(x[i] + 128);
  kin_free_aligned(x);
  return bytes;
}

static void check_int8(const kin_scan_kernels *k, size_t units, size_t planes, bool extreme) {
  size_t ld = 4 * units + 8, n = 4 * units * KIN_SCAN_ROWS;
  uint8_t *codes = random_bytes(n, units), *bytes = random_bytes(planes * ld, planes);
  static float out[(MOST_PLANES + 1) * KIN_SCAN_ROWS];
  int32_t starts[MOST_PLANES];
  int8_t *numbers = (int8_t *)bytes;
  for (size_t i = 0; i < planes * ld; i++) numbers[i] = extreme ? (i % 3 ? 127 : -127) : (int8_t)(bytes[i] % 255 - 127);
  if (extreme) memset(codes, 255, n);
  for (size_t i = 0; i < planes; i++) starts[i] = (int32_t)(i * 1000) - 4000;
  out[planes * KIN_SCAN_ROWS] = 7;
  k->int8(codes, units, numbers, ld, starts, planes, out);
  assert_true(out[planes * KIN_SCAN_ROWS] == 7);
  for (size_t i = 0; i < planes; i++)
    for (size_t r = 0; r < KIN_SCAN_ROWS; r++) {
      int64_t sum = starts[i];
      for (size_t j = 0; j < 4 * units; j++)
        sum += codes[(j / 4 * KIN_SCAN_ROWS + r) * 4 + j % 4] * numbers[i * ld + j];
      assert_true((double)out[i * KIN_SCAN_ROWS + r] == (double)sum);
    }
  kin_free_aligned(codes);
  kin_free_aligned(bytes);
}

static void check_int8_sizes(const kin_scan_kernels *k) {
  for (size_t u = 0; u < sizeof unit_counts / sizeof *unit_counts; u++)
    for (size_t p = 0; p < sizeof plane_counts / sizeof *plane_counts; p++)
      for (int extreme = 0; extreme < 2; extreme++) check_int8(k, unit_counts[u], plane_counts[p], extreme);
}

static void check_int8_four(const kin_scan_kernels *k) {
  static const size_t lengths[] = {64, 128, 512, 1024};
  enum { MOST = 1024 };
  for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
    for (int extreme = 0; extreme < 3; extreme++) {
      uint8_t *bytes = random_bytes(5 * MOST, l);
      int8_t *query = (int8_t *)bytes, *data = query + MOST;
      for (size_t i = 0; i < 5 * MOST; i++) query[i] = (int8_t)(extreme ? 127 : bytes[i] % 255 - 127);
      for (size_t i = 0; extreme == 2 && i < MOST; i++) query[i] = -127;
      const int8_t *const rows[4] = {data + MOST, data, data + 3 * MOST, data};
      int32_t out[5] = {0, 0, 0, 0, 7};
      k->int8_four(query, rows, lengths[l], out);
      assert_int_equal(out[4], 7);
      for (size_t i = 0; i < 4; i++) {
        int64_t sum = 0;
        for (size_t j = 0; j < lengths[l]; j++) sum += query[j] * rows[i][j];
        assert_int_equal(out[i], sum);
      }
      kin_free_aligned(bytes);
    }
}

static double widen(uint16_t x) {
  uint32_t bits = (uint32_t)x << 16;
  float f;
  memcpy(&f, &bits, sizeof f);
  return (double)f;
}

static uint16_t *seeded_bf16(size_t n, uint64_t seed) {
  float *x = seeded_floats(n, 1.0f, seed);
  uint16_t *out = kin_alloc_aligned(n * sizeof *out);
  assert_non_null(out);
  kin_bf16_scalar.round(x, n, out);
  kin_free_aligned(x);
  return out;
}

static void check_bf16(const kin_scan_kernels *k, size_t units, size_t planes) {
  size_t ld = 2 * units + 4;
  uint16_t *codes = seeded_bf16(2 * units * KIN_SCAN_ROWS, units), *numbers = seeded_bf16(planes * ld, planes);
  static float out[(MOST_PLANES + 1) * KIN_SCAN_ROWS];
  out[planes * KIN_SCAN_ROWS] = 7;
  k->bf16((const uint8_t *)codes, units, numbers, ld, planes, out);
  assert_true(out[planes * KIN_SCAN_ROWS] == 7);
  for (size_t i = 0; i < planes; i++)
    for (size_t r = 0; r < KIN_SCAN_ROWS; r++) {
      double sum = 0, size = 0;
      for (size_t j = 0; j < 2 * units; j++) {
        double product = widen(codes[(j / 2 * KIN_SCAN_ROWS + r) * 2 + j % 2]) * widen(numbers[i * ld + j]);
        sum += product;
        size += fabs(product);
      }
      /* The bound that a scan counts on. */
      assert_true(fabs((double)out[i * KIN_SCAN_ROWS + r] - sum) <= (4.0 * 2 * (double)units + 64) * 0x1p-24 * size);
    }
  kin_free_aligned(codes);
  kin_free_aligned(numbers);
}

static void check_bf16_sizes(const kin_scan_kernels *k) {
  for (size_t u = 0; u < sizeof unit_counts / sizeof *unit_counts; u++)
    for (size_t p = 0; p < sizeof plane_counts / sizeof *plane_counts; p++)
      check_bf16(k, unit_counts[u], plane_counts[p]);
}

static void int8_products_are_exact(void **state) {
  (void)state;
  for_each_table(check_int8_sizes);
}

static void int8_products_of_four_rows_are_exact(void **state) {
  (void)state;
  for_each_table(check_int8_four);
}

static void bf16_products_are_near(void **state) {
  (void)state;
  for_each_table(check_bf16_sizes);
}

static void dots_have_the_bits_of_dot(void **state) {
  (void)state;
  static const size_t dims[] = {1, 15, 16, 64, 65, 100, 512, 771};
  float *row = seeded_floats(771, 1.0f, 5), *queries = seeded_floats(9 * 780, 1.0f, 6), out[10];
  for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++) {
    const kin_kernels *k = kernels_or_note(isa);
    for (size_t d = 0; k && d < sizeof dims / sizeof *dims; d++)
      for (size_t n = 1; n <= 9; n++) {
        out[n] = 7;
        k->dots(row, queries, 780, dims[d], n, out);
        assert_true(out[n] == 7);
        for (size_t i = 0; i < n; i++) {
          float one = kin_kernels_scalar.dot(row, queries + i * 780, dims[d]);
          assert_memory_equal(&out[i], &one, sizeof one);
        }
      }
  }
  kin_free_aligned(row);
  kin_free_aligned(queries);
}

static void four_rows_at_once(void **state) {
  (void)state;
  static const size_t dims[] = {1, 15, 16, 64, 65, 100, 512, 771};
  float *query = seeded_floats(771, 1.0f, 5), *data = seeded_floats(4 * 780, 1.0f, 6);
  const float *const rows[4] = {data + 780, data, data + 3 * 780, data};
  for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++) {
    const kin_kernels *k = kernels_or_note(isa);
    for (size_t d = 0; k && d < sizeof dims / sizeof *dims; d++) {
      float out[4], plain[4];
      k->dot_four(query, rows, dims[d], out);
      kin_kernels_scalar.dot_four(query, rows, dims[d], plain);
      assert_memory_equal(out, plain, sizeof plain);
      assert_true(out[1] == out[3]);
      for (size_t i = 0; i < 4; i++) {
        double exact = 0, size = 0;
        for (size_t j = 0; j < dims[d]; j++) {
          exact += (double)query[j] * (double)rows[i][j];
          size += fabs((double)query[j] * (double)rows[i][j]);
        }
        assert_true(fabs((double)out[i] - exact) <= 1e-6 * size);
      }
    }
  }
  kin_free_aligned(query);
  kin_free_aligned(data);
}

static void select_finds_what_reaches(void **state) {
  (void)state;
  float *high = seeded_floats(KIN_SCAN_ROWS, 1000.0f, 1), *low = seeded_floats(KIN_SCAN_ROWS, 1000.0f, 2);
  float *scales = seeded_floats(KIN_SCAN_ROWS, 1.0f, 3), *errors = seeded_floats(KIN_SCAN_ROWS, 0.1f, 4);
  for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++) {
    const kin_kernels *k = kernels_or_note(isa);
    for (int with_low = 0; k && with_low < 2; with_low++)
      for (int step = -4; step <= 4; step++) {
        kin_scan_bound bound = {.factor = 0.01f, .error = 1.5f, .constant = 0.25f, .least = (float)step};
        float estimates[KIN_SCAN_ROWS], plain[KIN_SCAN_ROWS];
        uint64_t passed = k->select(high, with_low ? low : NULL, scales, errors, &bound, estimates);
        kin_kernels_scalar.select(high, with_low ? low : NULL, scales, errors, &bound, plain);
        assert_memory_equal(estimates, plain, sizeof plain);
        for (size_t r = 0; r < KIN_SCAN_ROWS; r++) {
          double estimate = 0.01 * (double)scales[r] * ((double)high[r] + (with_low ? (double)low[r] / 254 : 0));
          double upper = estimate + 1.5 * (double)errors[r] + 0.25;
          assert_true(fabs(estimate - (double)estimates[r]) < 1e-5);
          if (fabs(upper - step) > 1e-4) assert_int_equal(passed >> r & 1, upper >= step);
        }
        bound.least = -INFINITY;
        assert_true(k->select(high, NULL, scales, errors, &bound, estimates) == UINT64_MAX);
      }
  }
  kin_free_aligned(high), kin_free_aligned(low), kin_free_aligned(scales), kin_free_aligned(errors);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(int8_products_are_exact),   cmocka_unit_test(bf16_products_are_near),
      cmocka_unit_test(dots_have_the_bits_of_dot), cmocka_unit_test(four_rows_at_once),
      cmocka_unit_test(select_finds_what_reaches), cmocka_unit_test(int8_products_of_four_rows_are_exact),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
