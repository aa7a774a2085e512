/* 8-bit products: every instruction set against plain C, bit for bit, and plain C against arithmetic in double. */
#include "int8_tiles.h"

enum { STEP = 64 };

static void tiles_match(void **state) {
  (void)state;
  for (size_t i = 0; kin_int8_tables[i]; i++)
    if (int8_runs(kin_int8_tables[i])) check_int8_tiles(kin_int8_tables[i]);
}

/* ------------------------------------------------------------------ rows */

static void rows_are_quantised_alike(void **state) {
  (void)state;
  for (size_t n = 1; n <= 100; n += n < 20 ? 1 : 13)
    for (int kind = 0; kind < 5; kind++) {
      /* around zero; all above; all below; one value alone; zeros */
      float *x = seeded_floats(n, 3.0f, n), *multiply = seeded_floats(n, 2.0f, 7), *add = seeded_floats(n, 1.0f, 8);
      for (size_t i = 0; i < n; i++)
        x[i] = kind == 1 ? 100 + x[i] : kind == 2 ? -50 + x[i] : kind == 3 && i ? 0 : kind == 4 ? 0 : x[i];
      uint8_t expected[128], got[128];
      float scale, got_scale;
      int32_t zero, got_zero;
      memset(expected, 99, sizeof expected);
      kin_kernels_scalar.quantise(x, n % 2 ? multiply : NULL, add, n, expected, &scale, &zero);
      assert_true(zero >= 0 && zero <= 255);
      for (size_t i = 0; i < n; i++) {
        double y = n % 2 ? (double)multiply[i] * (double)x[i] + (double)add[i] : (double)x[i];
        assert_true(fabs((double)scale * (expected[i] - zero) - y) <= 0.51 * (double)scale + 1e-5);
      }
      for (kin_isa isa = KIN_ISA_AVX2; isa <= KIN_ISA_AVX512; isa++) {
        const kin_kernels *k = kin_kernels_for(isa);
        if (!k) continue;
        memset(got, 99, sizeof got);
        k->quantise(x, n % 2 ? multiply : NULL, add, n, got, &got_scale, &got_zero);
        assert_memory_equal(got, expected, sizeof got);
        assert_memory_equal(&got_scale, &scale, sizeof scale);
        assert_int_equal(got_zero, zero);
      }
      kin_free_aligned(x), kin_free_aligned(multiply), kin_free_aligned(add);
    }
}

/* -------------------------------------------------------------- products */

typedef struct product {
  size_t m, n, k, ldc;
  float *a, *w, *bias, *scale, *residual;
} product;

static product product_open(size_t m, size_t n, size_t k) {
  return (product){.m = m,
                   .n = n,
                   .k = k,
                   .ldc = n + 3,
                   .a = seeded_floats(m * k, 2.0f, m),
                   .w = seeded_floats(n * k, 0.3f, n),
                   .bias = seeded_floats(n, 1.0f, k),
                   .scale = seeded_floats(n, 1.0f, 5),
                   .residual = seeded_floats(m * n, 1.0f, 6)};
}

static void product_close(product *p) {
  kin_free_aligned(p->a), kin_free_aligned(p->w), kin_free_aligned(p->bias);
  kin_free_aligned(p->scale), kin_free_aligned(p->residual);
}

/* c[m][ldc], of rows [first, first + count) alone. */
static float *run(const product *p, kin_isa isa, unsigned threads, kin_activation act, size_t first, size_t count) {
  kin_context *context = open_context(isa, threads);
  kin_packed packed;
  kin_error err;
  test_assert_ok(kin_pack((const float *const[]){p->w}, &p->n, 1, p->k, &packed, &err), &err);
  size_t bytes = kin_packed_bytes(&packed);
  test_assert_ok(kin_pack_to_int8(&packed, &err), &err);
  assert_null(packed.panels);
  assert_true(p->k % STEP || kin_packed_bytes(&packed) <= bytes / 4 + 8 * (p->n + KIN_PANEL));
  void *memory = kin_alloc_aligned(kin_quantised_bytes(count, p->k));
  kin_quantised q = kin_quantised_place(memory, count, p->k);
  kin_quantise_rows(context, count, p->k, p->a + first * p->k, p->k, NULL, NULL, &q);
  float *c = kin_alloc_aligned(count * p->ldc * sizeof *c);
  for (size_t i = 0; i < count * p->ldc; i++) c[i] = 777.0f;
  kin_tail tail = {
      .bias = p->bias, .act = act, .scale = p->scale, .residual = p->residual + first * p->n, .residual_ld = p->n};
  kin_gemm_int8(context, count, &q, &packed, c, p->ldc, &tail);
  kin_free_aligned(memory);
  kin_packed_free(&packed);
  kin_context_close(context);
  return c;
}

/* Against products of the unrounded numbers: the error of k rounded terms. */
static void check(const product *p, const float *c) {
  for (size_t i = 0; i < p->m; i++) {
    for (size_t j = 0; j < p->n; j++) {
      double x = (double)p->bias[j];
      for (size_t l = 0; l < p->k; l++) x += (double)p->a[i * p->k + l] * (double)p->w[j * p->k + l];
      x = (double)p->residual[i * p->n + j] + (double)p->scale[j] * x;
      /* a step of 4/255 and one of 0.3/127, off by half at most, on terms of up to 2 and 0.3 */
      double each = 0.3 * 2 / 255 + 2 * 0.15 / 127, most = each * (double)p->k, usual = 5 * each * sqrt((double)p->k);
      assert_true(fabs((double)c[i * p->ldc + j] - x) < 1e-4 + (usual < most ? usual : most));
    }
    for (size_t j = p->n; j < p->ldc; j++) assert_true(c[i * p->ldc + j] == 777.0f);
  }
}

static void products_match(void **state) {
  (void)state;
  static const size_t shapes[][3] = {{1, 1, 1},   {13, 96, 101},   {50, 260, 768},
                                     {25, 31, 9}, {210, 64, 1601}, {3, 33, 3072}};
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
    product p = product_open(shapes[s][0], shapes[s][1], shapes[s][2]);
    float *truth = run(&p, KIN_ISA_SCALAR, 1, KIN_ACT_NONE, 0, p.m);
    float *curved = run(&p, KIN_ISA_SCALAR, 1, KIN_ACT_GELU, 0, p.m);
    check(&p, truth);
    for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++)
      for (unsigned threads = 1; threads <= 3 && kernels_or_note(isa); threads += 2) {
        float *c = run(&p, isa, threads, KIN_ACT_NONE, 0, p.m), *g = run(&p, isa, threads, KIN_ACT_GELU, 0, p.m);
        assert_memory_equal(c, truth, p.m * p.ldc * sizeof *c);
        assert_memory_equal(g, curved, p.m * p.ldc * sizeof *g);
        kin_free_aligned(c), kin_free_aligned(g);
      }
    size_t half = p.m / 2;
    float *rest = run(&p, KIN_ISA_AUTO, 2, KIN_ACT_NONE, half, p.m - half);
    assert_memory_equal(rest, truth + half * p.ldc, (p.m - half) * p.ldc * sizeof *rest);
    kin_free_aligned(rest), kin_free_aligned(truth), kin_free_aligned(curved);
    product_close(&p);
  }
}

static void columns_are_parts(void **state) {
  (void)state;
  product p = product_open(5, 96, 70);
  kin_packed packed;
  kin_error err;
  test_assert_ok(kin_pack((const float *const[]){p.w}, &p.n, 1, p.k, &packed, &err), &err);
  test_assert_ok(kin_pack_to_int8(&packed, &err), &err);
  kin_context *context = open_context(KIN_ISA_AUTO, 1);
  void *memory = kin_alloc_aligned(kin_quantised_bytes(p.m, p.k));
  kin_quantised q = kin_quantised_place(memory, p.m, p.k);
  kin_quantise_rows(context, p.m, p.k, p.a, p.k, NULL, NULL, &q);
  float all[5 * 96], part[5 * 64];
  kin_packed columns = kin_packed_columns(&packed, 32, 64);
  kin_gemm_int8(context, p.m, &q, &packed, all, 96, NULL);
  kin_gemm_int8(context, p.m, &q, &columns, part, 64, NULL);
  for (size_t i = 0; i < p.m; i++) assert_memory_equal(all + i * 96 + 32, part + i * 64, 64 * sizeof *part);
  kin_free_aligned(memory);
  kin_packed_free(&packed);
  kin_context_close(context);
  product_close(&p);
}

static void sums_that_could_overflow_are_refused(void **state) {
  (void)state;
  const size_t n = 1, k = 65537;
  float *w = seeded_floats(k, 1.0f, 1);
  kin_packed packed;
  kin_error err;
  test_assert_ok(kin_pack((const float *const[]){w}, &n, 1, k, &packed, &err), &err);
  test_assert_error(kin_pack_to_int8(&packed, &err), KIN_ERR_UNSUPPORTED, &err, "65537 products may overflow");
  kin_packed_free(&packed);
  kin_free_aligned(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tiles_match),
      cmocka_unit_test(rows_are_quantised_alike),
      cmocka_unit_test(products_match),
      cmocka_unit_test(columns_are_parts),
      cmocka_unit_test(sums_that_could_overflow_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
