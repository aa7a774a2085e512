/* GEMM and attention: the bits of the plain C kernels whatever the threads, the numbers of a loop in double. */
#include "kernel_fixture.h"

typedef struct product {
  size_t m, n, k, lda, ldc;
  float *a, *w, *bias, *scale, *residual;
} product;

static product product_open(size_t m, size_t n, size_t k) {
  product p = {.m = m, .n = n, .k = k, .lda = kin_row_stride(k), .ldc = kin_row_stride(n) + 5};
  p.a = seeded_floats(m * p.lda, 1.0f, m), p.w = seeded_floats(n * k, 1.0f, n);
  p.bias = seeded_floats(n, 1.0f, 3), p.scale = seeded_floats(n, 1.0f, 4),
  p.residual = seeded_floats(m * p.ldc, 1.0f, 5);
  return p;
}

static void product_close(product *p) {
  kin_free_aligned(p->a), kin_free_aligned(p->w), kin_free_aligned(p->bias), kin_free_aligned(p->scale);
  kin_free_aligned(p->residual);
}

/* c[m][ldc], beyond n untouched. */
static float *run_product(const product *p, kin_isa isa, unsigned threads) {
  kin_context *context = open_context(isa, threads);
  kin_packed packed;
  kin_error err;
  size_t first = p->n / 3, parts[2] = {first, p->n - first};
  test_assert_ok(kin_pack((const float *const[]){p->w, p->w + first * p->k}, parts, 2, p->k, &packed, &err), &err);
  float *c = kin_alloc_aligned(p->m * p->ldc * sizeof *c);
  for (size_t i = 0; i < p->m * p->ldc; i++) c[i] = 777.0f;
  kin_tail tail = {p->bias, KIN_ACT_QUICK_GELU, p->scale, p->residual, p->ldc, KIN_ACT_RELU};
  kin_gemm(context, p->m, p->a, p->lda, &packed, c, p->ldc, &tail);
  kin_packed_free(&packed);
  kin_context_close(context);
  return c;
}

static void check_product(const product *p, const float *c) {
  for (size_t i = 0; i < p->m; i++) {
    for (size_t j = 0; j < p->n; j++) {
      double x = (double)p->bias[j];
      for (size_t l = 0; l < p->k; l++) x += (double)p->a[i * p->lda + l] * (double)p->w[j * p->k + l];
      x = fmax(0, x / (1 + exp(-1.702 * x)) * (double)p->scale[j] + (double)p->residual[i * p->ldc + j]);
      assert_true(fabs((double)c[i * p->ldc + j] - x) < 1e-5 * (double)(p->k + 10) / 10);
    }
    for (size_t j = p->n; j < p->ldc; j++) assert_true(c[i * p->ldc + j] == 777.0f);
  }
}

static void products_match(void **state) {
  (void)state;
  static const size_t shapes[][3] = {{1, 1, 1},      {1, 32, 7},  {2, 33, 16},   {13, 96, 100},
                                     {50, 260, 768}, {25, 31, 9}, {210, 64, 31}, {49, 300, 800}};
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
    product p = product_open(shapes[s][0], shapes[s][1], shapes[s][2]);
    float *truth = run_product(&p, KIN_ISA_SCALAR, 1);
    check_product(&p, truth);
    for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++)
      for (unsigned threads = 1; threads <= 3 && kernels_or_note(isa); threads++) {
        float *c = run_product(&p, isa, threads);
        assert_memory_equal(c, truth, p.m * p.ldc * sizeof *c);
        kin_free_aligned(c);
      }
    kin_free_aligned(truth);
    product_close(&p);
  }
}

/* A row's bits don't depend on the rows beside it. */
static void rows_are_independent(void **state) {
  (void)state;
  product all = product_open(61, 96, 128);
  float *c = run_product(&all, KIN_ISA_AUTO, 2);
  for (size_t i = 0; i < all.m; i += 7) {
    product one = all;
    one.m = 1, one.a = all.a + i * all.lda, one.residual = all.residual + i * all.ldc;
    float *row = run_product(&one, KIN_ISA_AUTO, 1);
    assert_memory_equal(row, c + i * all.ldc, all.n * sizeof *row);
    kin_free_aligned(row);
  }
  kin_free_aligned(c);
  product_close(&all);
}

/* ------------------------------------------------------------------ bf16 */

/* c[m][ldc] with weights and activations rounded to bfloat16. */
static float *run_bf16(const product *p, kin_isa isa, unsigned threads) {
  kin_context *context = open_context(isa, threads);
  kin_packed packed;
  kin_error err;
  test_assert_ok(kin_pack((const float *const[]){p->w}, &p->n, 1, p->k, &packed, &err), &err);
  size_t bytes = kin_packed_bytes(&packed);
  test_assert_ok(kin_pack_to_bf16(&packed, &err), &err);
  assert_null(packed.panels);
  assert_true(kin_packed_bytes(&packed) <= bytes / 2 + 2 * (p->n + KIN_PANEL));
  float *c = kin_alloc_aligned(p->m * p->ldc * sizeof *c);
  for (size_t i = 0; i < p->m * p->ldc; i++) c[i] = 777.0f;
  kin_tail tail = {.bias = p->bias};
  kin_gemm(context, p->m, p->a, p->lda, &packed, c, p->ldc, &tail);
  kin_packed_free(&packed);
  kin_context_close(context);
  return c;
}

static double rounded(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
  memcpy(&x, &bits, sizeof bits);
  return (double)x;
}

static void check_bf16(const product *p, const float *c) {
  for (size_t i = 0; i < p->m; i++) {
    for (size_t j = 0; j < p->n; j++) {
      double x = (double)p->bias[j];
      for (size_t l = 0; l < p->k; l++) x += rounded(p->a[i * p->lda + l]) * rounded(p->w[j * p->k + l]);
      assert_true(fabs((double)c[i * p->ldc + j] - x) < 1e-6 * (double)(p->k + 10));
    }
    for (size_t j = p->n; j < p->ldc; j++) assert_true(c[i * p->ldc + j] == 777.0f);
  }
}

static void bf16_products_match(void **state) {
  (void)state;
  static const size_t shapes[][3] = {{1, 1, 1}, {13, 96, 101}, {50, 260, 768}, {25, 31, 9}, {210, 64, 1601}};
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
    product p = product_open(shapes[s][0], shapes[s][1], shapes[s][2]);
    for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++) {
      if (!kin_bf16_kernels_for(isa)) {
        print_message("[  NOTE  ] no bfloat16 kernels for instruction set %d: left untested\n", (int)isa);
        continue;
      }
      float *c = run_bf16(&p, isa, 1), *more = run_bf16(&p, isa, 3);
      check_bf16(&p, c);
      assert_memory_equal(c, more, p.m * p.ldc * sizeof *c);
      kin_free_aligned(c), kin_free_aligned(more);
    }
    product_close(&p);
  }
}

/* Ties to even, carries into the exponent, denormals and signs. */
static void bf16_rounding_matches(void **state) {
  (void)state;
  static const uint32_t bits[] = {0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff, 0x7f7f8000, 0x00000001,
                                  0x00008001, 0x80018000, 0xbf808000, 0,          0x80000000, 0x3fffffff,
                                  0x00007fff, 0x40490fdb, 0xc2c80000, 0x3eaaaaab, 0x3f19999a};
  enum { N = sizeof bits / sizeof *bits };
  float x[N];
  memcpy(x, bits, sizeof x);
  for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++) {
    const kin_bf16_kernels *k = kin_bf16_kernels_for(isa);
    for (size_t n = 1; k && n <= N; n++) {
      uint16_t out[N + 1];
      out[n] = 4711;
      k->round(x, n, out);
      for (size_t i = 0; i < n; i++) assert_int_equal(out[i], (bits[i] + 0x7fff + (bits[i] >> 16 & 1)) >> 16);
      assert_int_equal(out[n], 4711);
    }
  }
}

/* ------------------------------------------------------------- attention */

enum { HEADS = 3, SEQUENCES = 4 };
static const size_t starts[SEQUENCES + 1] = {0, 1, 18, 83, 180};

typedef struct attention_case {
  size_t head_dim;
  bool causal, pooled;
} attention_case;

static const size_t pooled_rows[SEQUENCES] = {0, 16, 9, 50};

static float *run_attention(attention_case t, const float *qkv, kin_isa isa, unsigned threads) {
  size_t width = HEADS * t.head_dim, ld = 3 * width, rows = t.pooled ? SEQUENCES : starts[SEQUENCES];
  kin_context *context = open_context(isa, threads);
  float *out = kin_alloc_aligned(rows * width * sizeof *out),
        *queries = kin_alloc_aligned(SEQUENCES * ld * sizeof *out);
  for (size_t s = 0; s < SEQUENCES; s++)
    memcpy(queries + s * ld, qkv + (starts[s] + pooled_rows[s]) * ld, width * sizeof *qkv);
  kin_attention a = {.heads = HEADS,
                     .head_dim = t.head_dim,
                     .causal = t.causal,
                     .q = {.f = t.pooled ? queries : (float *)(uintptr_t)qkv, .ld = ld},
                     .k = {.f = (float *)(uintptr_t)qkv + width, .ld = ld},
                     .v = {.f = (float *)(uintptr_t)qkv + 2 * width, .ld = ld},
                     .starts = starts,
                     .sequences = SEQUENCES,
                     .query_rows = t.pooled ? pooled_rows : NULL,
                     .out = {.f = out, .ld = width}};
  kin_error err;
  test_assert_ok(kin_attend(context, &a, &err), &err);
  kin_free_aligned(queries);
  kin_context_close(context);
  return out;
}

/* One output element in double. */
static double attend_element(attention_case t, const float *qkv, size_t s, size_t row, size_t head, size_t at) {
  size_t width = HEADS * t.head_dim, ld = 3 * width, tokens = starts[s + 1] - starts[s];
  const float *base = qkv + starts[s] * ld + head * t.head_dim;
  size_t visible = t.causal ? row + 1 : tokens;
  double total = 0, out = 0;
  for (size_t j = 0; j < visible; j++) {
    double score = 0;
    for (size_t d = 0; d < t.head_dim; d++) score += (double)base[row * ld + d] * (double)base[j * ld + width + d];
    double e = exp(score / sqrt((double)t.head_dim));
    total += e;
    out += e * (double)base[j * ld + 2 * width + at];
  }
  return out / total;
}

static void attention_matches(void **state) {
  (void)state;
  static const attention_case cases[] = {{64, false, false}, {64, true, false}, {64, false, true}, {64, true, true},
                                         {32, false, false}, {20, true, false}, {20, false, true}, {96, true, true}};
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    attention_case t = cases[c];
    size_t width = HEADS * t.head_dim, rows = t.pooled ? SEQUENCES : starts[SEQUENCES];
    float *qkv = seeded_floats(starts[SEQUENCES] * 3 * width, 1.0f, c);
    float *truth = run_attention(t, qkv, KIN_ISA_SCALAR, 1);
    for (size_t s = 0; s < SEQUENCES; s++)
      for (size_t r = t.pooled ? pooled_rows[s] : 0; r < (t.pooled ? pooled_rows[s] + 1 : starts[s + 1] - starts[s]);
           r++)
        for (size_t i = 0; i < width; i += 5) {
          double expected = attend_element(t, qkv, s, r, i / t.head_dim, i % t.head_dim);
          assert_true(fabs((double)truth[(t.pooled ? s : starts[s] + r) * width + i] - expected) < 2e-6);
        }
    for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++)
      for (unsigned threads = 1; threads <= 3 && kernels_or_note(isa); threads++) {
        float *out = run_attention(t, qkv, isa, threads);
        assert_memory_equal(out, truth, rows * width * sizeof *out);
        kin_free_aligned(out);
      }
    kin_free_aligned(qkv), kin_free_aligned(truth);
  }
}

static float widen(uint16_t half) {
  uint32_t bits = (uint32_t)half << 16;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static uint16_t *run_bf16_attention(attention_case t, const uint16_t *qkv, kin_isa isa, unsigned threads) {
  size_t width = HEADS * t.head_dim, ld = 3 * width, rows = t.pooled ? SEQUENCES : starts[SEQUENCES];
  kin_context *context = open_context(isa, threads);
  uint16_t *out = kin_alloc_aligned(rows * width * sizeof *out), *from = (uint16_t *)(uintptr_t)qkv;
  uint16_t *queries = kin_alloc_aligned(SEQUENCES * ld * sizeof *out);
  for (size_t s = 0; s < SEQUENCES; s++)
    memcpy(queries + s * ld, qkv + (starts[s] + pooled_rows[s]) * ld, width * sizeof *qkv);
  kin_attention a = {.heads = HEADS,
                     .head_dim = t.head_dim,
                     .causal = t.causal,
                     .q = {.h = t.pooled ? queries : from, .ld = ld},
                     .k = {.h = from + width, .ld = ld},
                     .v = {.h = from + 2 * width, .ld = ld},
                     .starts = starts,
                     .sequences = SEQUENCES,
                     .query_rows = t.pooled ? pooled_rows : NULL,
                     .out = {.h = out, .ld = width}};
  kin_error err;
  test_assert_ok(kin_attend(context, &a, &err), &err);
  kin_free_aligned(queries);
  kin_context_close(context);
  return out;
}

/* Against double on the same rounded rows: weights and outputs are rounded to 8 bits, values are within 1. */
static void bf16_attention_matches(void **state) {
  (void)state;
  static const attention_case cases[] = {{64, false, false}, {64, true, false}, {64, true, true},
                                         {32, false, true},  {20, true, false}, {96, false, false}};
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    attention_case t = cases[c];
    size_t width = HEADS * t.head_dim, n = starts[SEQUENCES] * 3 * width,
           rows = t.pooled ? SEQUENCES : starts[SEQUENCES];
    float *qkv = seeded_floats(n, 1.0f, c);
    uint16_t *halves = kin_alloc_aligned(n * sizeof *halves);
    kin_bf16_scalar.round(qkv, n, halves);
    for (size_t i = 0; i < n; i++) qkv[i] = widen(halves[i]);
    for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++) {
      if (!kin_bf16_kernels_for(isa)) continue; /* bf16_products_match has said so */
      uint16_t *out = run_bf16_attention(t, halves, isa, 1), *more = run_bf16_attention(t, halves, isa, 3);
      assert_memory_equal(out, more, rows * width * sizeof *out);
      for (size_t s = 0; s < SEQUENCES; s++)
        for (size_t r = t.pooled ? pooled_rows[s] : 0; r < (t.pooled ? pooled_rows[s] + 1 : starts[s + 1] - starts[s]);
             r++)
          for (size_t i = 0; i < width; i += 5) {
            double expected = attend_element(t, qkv, s, r, i / t.head_dim, i % t.head_dim);
            assert_true(fabs((double)widen(out[(t.pooled ? s : starts[s] + r) * width + i]) - expected) < 6e-3);
          }
      kin_free_aligned(out), kin_free_aligned(more);
    }
    kin_free_aligned(qkv), kin_free_aligned(halves);
  }
}

/* Activations and softmax that end in bfloat16, within its rounding and 1e-4 of the exact ones. */
static void bf16_rows_match(void **state) {
  (void)state;
  enum { N = 1203 };
  static const kin_activation acts[] = {KIN_ACT_NONE, KIN_ACT_GELU, KIN_ACT_QUICK_GELU, KIN_ACT_RELU};
  float x[N], bias[N], copy[N];
  uint16_t out[N + 1];
  for (size_t i = 0; i < N; i++) x[i] = ((float)i - 600.0f) / 40.0f, bias[i] = (float)(i % 7) * 0.1f;
  for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++) {
    const kin_bf16_kernels *k = kin_bf16_kernels_for(isa);
    for (size_t a = 0; k && a < sizeof acts / sizeof *acts; a++) {
      out[N] = 4711;
      k->finish(x, bias, acts[a], N, out);
      assert_int_equal(out[N], 4711);
      for (size_t i = 0; i < N; i++) {
        double y = (double)(x[i] + bias[i]), expected = y;
        if (acts[a] == KIN_ACT_GELU) expected = y * 0.5 * erfc(-y / sqrt(2));
        if (acts[a] == KIN_ACT_QUICK_GELU) expected = y / (1 + exp(-1.702 * y));
        if (acts[a] == KIN_ACT_RELU) expected = fmax(y, 0);
        assert_true(fabs((double)widen(out[i]) - expected) <= fabs(expected) / 250 + 1e-4);
      }
    }
    for (size_t n = 1; k && n <= N; n += 67) {
      double total = 0;
      for (size_t i = 0; i < n; i++) total += exp(((double)x[i] - (double)x[n - 1]) * 0.5);
      memcpy(copy, x, sizeof copy);
      out[n] = 4711;
      k->softmax(copy, 0.5f, n, out);
      assert_int_equal(out[n], 4711);
      for (size_t i = 0; i < n; i++) {
        double expected = exp(((double)x[i] - (double)x[n - 1]) * 0.5) / total;
        assert_true(fabs((double)widen(out[i]) - expected) <= expected / 200 + 1e-30);
      }
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(products_match),      cmocka_unit_test(rows_are_independent),
      cmocka_unit_test(bf16_products_match), cmocka_unit_test(bf16_rounding_matches),
      cmocka_unit_test(attention_matches),   cmocka_unit_test(bf16_attention_matches),
      cmocka_unit_test(bf16_rows_match),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
