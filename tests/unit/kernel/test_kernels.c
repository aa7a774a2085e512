/* Every kernel of every instruction set: the bits of the plain C one, and the numbers of libm in double. */
#include "kernel_fixture.h"

static const size_t lengths[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 257, 384, 768, 1000};
#define LENGTHS (sizeof lengths / sizeof *lengths)

/* A guard beyond the end shows a kernel that writes too far. */
static const float guard = 12345.0f;

static float *with_guard(const float *x, size_t n) {
  float *y = kin_alloc_aligned((n + 1) * sizeof *y);
  assert_non_null(y);
  memcpy(y, x, n * sizeof *y);
  y[n] = guard;
  return y;
}

static double activate(double x, kin_activation act) {
  switch (act) {
  case KIN_ACT_GELU:
    return 0.5 * x * (1 + erf(x / sqrt(2.0)));
  case KIN_ACT_QUICK_GELU:
    return x / (1 + exp(-1.702 * x));
  case KIN_ACT_RELU:
    return x > 0 ? x : 0;
  case KIN_ACT_NONE:
    break;
  }
  return x;
}

static void check_tail(const kin_kernels *k, size_t n, kin_activation act, const float *bias, const float *scale,
                       const float *residual, kin_activation last) {
  float *x = seeded_floats(n, 9.0f, n);
  float *got = with_guard(x, n), *scalar = with_guard(x, n);
  k->tail_row(got, bias, act, scale, residual, last, n, got);
  kin_kernels_scalar.tail_row(scalar, bias, act, scale, residual, last, n, scalar);
  assert_memory_equal(got, scalar, (n + 1) * sizeof *got);
  assert_true(got[n] == guard);
  for (size_t i = 0; i < n; i++) {
    double sum = bias ? (double)(x[i] + bias[i]) : (double)x[i];
    double expected = activate(sum, act) * (scale ? (double)scale[i] : 1) + (residual ? (double)residual[i] : 0);
    expected = activate(expected, last);
    if (fabs((double)got[i] - expected) > 2e-6 * (1 + fabs(expected) + fabs(sum)))
      fail_msg("%s act %d [%zu of %zu]: %.9g, expected %.9g", k->name, (int)act, i, n, (double)got[i], expected);
  }
  kin_free_aligned(x), kin_free_aligned(got), kin_free_aligned(scalar);
}

static void tails_match(void **state) {
  (void)state;
  float *bias = seeded_floats(1000, 1.0f, 1), *scale = seeded_floats(1000, 2.0f, 2),
        *add = seeded_floats(1000, 3.0f, 3);
  for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++) {
    const kin_kernels *k = kernels_or_note(isa);
    for (size_t l = 0; k && l < LENGTHS; l++)
      for (kin_activation act = KIN_ACT_NONE; act <= KIN_ACT_RELU; act++)
        for (int with = 0; with < 16; with++)
          check_tail(k, lengths[l], act, with & 1 ? bias : NULL, with & 2 ? scale : NULL, with & 4 ? add : NULL,
                     with & 8 ? KIN_ACT_RELU : KIN_ACT_NONE);
  }
  kin_free_aligned(bias), kin_free_aligned(scale), kin_free_aligned(add);
}

/* gelu and quick_gelu over a fine grid, tails included. */
static void activations_are_accurate(void **state) {
  (void)state;
  enum { N = 4096 };
  float *x = kin_alloc_aligned(N * sizeof *x);
  for (size_t block = 0; block < 64; block++)
    for (kin_activation act = KIN_ACT_GELU; act <= KIN_ACT_QUICK_GELU; act++) {
      for (size_t i = 0; i < N; i++) x[i] = -16.0f + 32.0f * (float)(block * N + i) / (64 * N);
      float *y = copy_floats(x, N);
      kin_kernels_for(KIN_ISA_AUTO)->tail_row(y, NULL, act, NULL, NULL, KIN_ACT_NONE, N, y);
      for (size_t i = 0; i < N; i++) {
        double expected = activate((double)x[i], act);
        if (fabs((double)y[i] - expected) > 4e-7 * (fabs(expected) + 0.25))
          fail_msg("act %d at %.9g: %.9g, expected %.9g", (int)act, (double)x[i], (double)y[i], expected);
      }
      kin_free_aligned(y);
    }
  kin_free_aligned(x);
}

static void layer_norms_match(void **state) {
  (void)state;
  float *weight = seeded_floats(1000, 1.0f, 1), *bias = seeded_floats(1000, 1.0f, 2);
  for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++) {
    const kin_kernels *k = kernels_or_note(isa);
    for (size_t l = 0; k && l < LENGTHS; l++) {
      size_t n = lengths[l];
      float *x = seeded_floats(n, 5.0f, n), *got = with_guard(x, n), *scalar = with_guard(x, n);
      k->layer_norm(got, weight, bias, 1e-5f, n, got);
      kin_kernels_scalar.layer_norm(x, weight, bias, 1e-5f, n, scalar);
      assert_memory_equal(got, scalar, (n + 1) * sizeof *got);
      double mean = 0, variance = 0;
      for (size_t i = 0; i < n; i++) mean += (double)x[i] / (double)n;
      for (size_t i = 0; i < n; i++) variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
      for (size_t i = 0; i < n; i++) {
        double expected = ((double)x[i] - mean) / sqrt(variance + 1e-5) * (double)weight[i] + (double)bias[i];
        assert_true(fabs((double)got[i] - expected) < 4e-6);
      }
      kin_free_aligned(x), kin_free_aligned(got), kin_free_aligned(scalar);
    }
  }
  kin_free_aligned(weight), kin_free_aligned(bias);
}

static void softmaxes_match(void **state) {
  (void)state;
  for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++) {
    const kin_kernels *k = kernels_or_note(isa);
    for (size_t l = 0; k && l < LENGTHS; l++) {
      size_t n = lengths[l];
      float *x = seeded_floats(n, 300.0f, n), *got = with_guard(x, n), *scalar = with_guard(x, n);
      k->softmax(got, 0.125f, n);
      kin_kernels_scalar.softmax(scalar, 0.125f, n);
      assert_memory_equal(got, scalar, (n + 1) * sizeof *got);
      double max = -1e30, total = 0;
      for (size_t i = 0; i < n; i++) max = fmax(max, 0.125 * (double)x[i]);
      assert_true(0.125 * (double)k->maximum(x, n) == max);
      for (size_t i = 0; i < n; i++) total += exp(0.125 * (double)x[i] - max);
      for (size_t i = 0; i < n; i++) {
        double expected = exp(0.125 * (double)x[i] - max) / total;
        assert_true(fabs((double)got[i] - expected) < 1e-6 * expected + 1e-12);
      }
      kin_free_aligned(x), kin_free_aligned(got), kin_free_aligned(scalar);
    }
  }
}

static void check_nearest(const kin_kernels *kernels, size_t columns, size_t k, size_t n) {
  float *x = seeded_floats(n * k, 1.0f, n), *panels = seeded_floats(columns * k, 1.0f, k);
  float *starts = seeded_floats(columns, 1.0f, columns), scores[6] = {0}, plain[6] = {0};
  int32_t found[6] = {0}, found_plain[6] = {0};
  /* The last panel is the first once more: of equal ones the first counts. */
  memcpy(panels + (columns - KIN_PANEL) * k, panels, KIN_PANEL * k * sizeof *panels);
  memcpy(starts + columns - KIN_PANEL, starts, KIN_PANEL * sizeof *starts);
  kernels->nearest(panels, starts, columns, k, x, n, scores, found);
  kin_kernels_scalar.nearest(panels, starts, columns, k, x, n, plain, found_plain);
  assert_memory_equal(scores, plain, sizeof plain);
  assert_memory_equal(found, found_plain, sizeof found);
  for (size_t i = 0; i < n; i++) {
    double most = -INFINITY, at = 0;
    for (size_t c = 0; c < columns; c++) {
      double sum = (double)starts[c];
      for (size_t j = 0; j < k; j++)
        sum += (double)x[i * k + j] * (double)panels[(c / KIN_PANEL * k + j) * KIN_PANEL + c % KIN_PANEL];
      if ((int32_t)c == found[i]) at = sum;
      most = sum > most ? sum : most;
    }
    assert_true(most - at < 1e-5 && fabs((double)scores[i] - most) < 1e-5);
    assert_true(columns == KIN_PANEL || found[i] < (int32_t)(columns - KIN_PANEL));
  }
  assert_true(scores[n] == 0 && found[n] == 0);
  kin_free_aligned(x), kin_free_aligned(panels), kin_free_aligned(starts);
}

static void nearest_match(void **state) {
  (void)state;
  for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++) {
    const kin_kernels *kernels = kernels_or_note(isa);
    for (size_t columns = KIN_PANEL; kernels && columns <= KIN_NEAREST_COLUMNS; columns *= 2)
      for (size_t k = 1; k <= 33; k += 8)
        for (size_t n = 1; n <= 5; n++) check_nearest(kernels, columns, k, n);
  }
}

static void dots_match(void **state) {
  (void)state;
  for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++) {
    const kin_kernels *k = kernels_or_note(isa);
    for (size_t l = 0; k && l < LENGTHS; l++) {
      size_t n = lengths[l];
      float *a = seeded_floats(n, 1.0f, 1), *b = seeded_floats(n, 1.0f, 2);
      float got = k->dot(a, b, n), scalar = kin_kernels_scalar.dot(a, b, n);
      assert_memory_equal(&got, &scalar, sizeof got);
      double expected = 0;
      for (size_t i = 0; i < n; i++) expected += (double)a[i] * (double)b[i];
      assert_true(fabs((double)got - expected) < 1e-5);
      kin_free_aligned(a), kin_free_aligned(b);
    }
  }
}

static void additions_and_scalings_match(void **state) {
  (void)state;
  for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++) {
    const kin_kernels *k = kernels_or_note(isa);
    for (size_t l = 0; k && l < LENGTHS; l++) {
      size_t n = lengths[l];
      float *a = seeded_floats(n, 1.0f, 1), *b = seeded_floats(n, 1.0f, 2), *got = with_guard(a, n);
      k->add(got, b, n, got);
      for (size_t i = 0; i < n; i++) assert_true(got[i] == a[i] + b[i]);
      k->scale(got, 0.3f, n);
      for (size_t i = 0; i < n; i++) assert_true(got[i] == (a[i] + b[i]) * 0.3f);
      assert_true(got[n] == guard);
      kin_free_aligned(a), kin_free_aligned(b), kin_free_aligned(got);
    }
  }
}

static void gates_and_averages_match(void **state) {
  (void)state;
  for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++) {
    const kin_kernels *k = kernels_or_note(isa);
    for (size_t l = 0; k && l < LENGTHS; l++) {
      size_t n = lengths[l];
      float *a = seeded_floats(n, l % 2 ? 4.0f : 200.0f, 1), *b = seeded_floats(n, 1.0f, 2);
      float *c = seeded_floats(n, 1.0f, 3), *d = seeded_floats(n, 1.0f, 4);
      float *got = with_guard(a, n), *scalar = with_guard(a, n);
      k->gate(got, b, n, got);
      kin_kernels_scalar.gate(scalar, b, n, scalar);
      assert_memory_equal(got, scalar, (n + 1) * sizeof *got);
      for (size_t i = 0; i < n; i++) {
        double expected = (double)a[i] / (1 + exp(-(double)a[i])) * (double)b[i];
        assert_true(fabs((double)got[i] - expected) <= 4e-7 * fabs(expected) + 1e-30);
      }
      k->average(a, b, c, d, n, got);
      for (size_t i = 0; i < n; i++) assert_true(got[i] == ((a[i] + b[i]) + (c[i] + d[i])) * 0.25f);
      assert_true(got[n] == guard);
      kin_free_aligned(a), kin_free_aligned(b), kin_free_aligned(c), kin_free_aligned(d);
      kin_free_aligned(got), kin_free_aligned(scalar);
    }
  }
}

static void transposes_match(void **state) {
  (void)state;
  static const size_t sizes[][3] = {{32, 64, 32}, {18, 64, 32}, {1, 1, 16}, {16, 32, 32}, {31, 80, 32}, {5, 17, 48}};
  for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++) {
    const kin_kernels *k = kernels_or_note(isa);
    for (size_t s = 0; k && s < sizeof sizes / sizeof *sizes; s++) {
      size_t rows = sizes[s][0], columns = sizes[s][1], width = sizes[s][2], lda = columns + 3, ldb = width;
      float *a = seeded_floats(rows * lda, 1.0f, s), *b = seeded_floats(columns * ldb + 1, 9.0f, 7);
      float last = b[columns * ldb];
      k->transpose(a, lda, rows, columns, b, ldb, width);
      for (size_t j = 0; j < columns; j++)
        for (size_t i = 0; i < width; i++) assert_true(b[j * ldb + i] == (i < rows ? a[i * lda + j] : 0.0f));
      assert_true(b[columns * ldb] == last);
      kin_free_aligned(a), kin_free_aligned(b);
    }
  }
}

/* Coordinates of one axis, some of them the point's own. */
static float move_axis(const float *own, float others[KIN_MAP_OTHERS][KIN_MAP_LANES], size_t lane, const float *factors,
                       double alpha) {
  double sum = 0;
  for (size_t o = 0; o < KIN_MAP_OTHERS; o++) {
    const double part = (double)factors[o] * ((double)own[lane] - (double)others[o][lane]);
    sum += (o ? 1 : 2) * fmax(-4, fmin(4, part));
  }
  return (float)((double)own[lane] + alpha * sum);
}

static kin_map_step random_step(size_t seed, float width) {
  kin_map_step s = {.a = 1.577f, .b = 0.895f, .alpha = 0.7f};
  float *values = seeded_floats(2 * (KIN_MAP_OTHERS + 1) * KIN_MAP_LANES, width, seed), *next = values;
  memcpy(s.x, next, sizeof s.x), next += KIN_MAP_LANES;
  memcpy(s.y, next, sizeof s.y), next += KIN_MAP_LANES;
  memcpy(s.other_x, next, sizeof s.other_x), next += KIN_MAP_OTHERS * KIN_MAP_LANES;
  memcpy(s.other_y, next, sizeof s.other_y);
  kin_free_aligned(values);
  for (size_t o = 0; o < KIN_MAP_OTHERS; o++) s.other_x[o][o] = s.x[o], s.other_y[o][o] = s.y[o];
  return s;
}

static void map_steps_match(void **state) {
  (void)state;
  static const float widths[] = {1e-4f, 0.1f, 1.0f, 10.0f, 1000.0f};
  for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++) {
    const kin_kernels *k = kernels_or_note(isa);
    for (size_t w = 0; k && w < 5; w++) {
      kin_map_step from = random_step(w, widths[w]), got = from, scalar = from;
      k->map_step(&got);
      kin_kernels_scalar.map_step(&scalar);
      assert_memory_equal(&got, &scalar, sizeof got);
      for (size_t i = 0; i < KIN_MAP_LANES; i++) {
        const double a = (double)from.a, b = (double)from.b;
        float factors[KIN_MAP_OTHERS];
        for (size_t o = 0; o < KIN_MAP_OTHERS; o++) {
          const double dx = (double)from.x[i] - (double)from.other_x[o][i];
          const double dy = (double)from.y[i] - (double)from.other_y[o][i], square = dx * dx + dy * dy + 1e-12;
          const double power = pow(square, b), far = 1 + a * power;
          factors[o] = (float)(o ? 2 * b / ((0.001 + square) * far) : -2 * a * b * power / (square * far));
        }
        const float x = move_axis(from.x, from.other_x, i, factors, (double)from.alpha);
        const float y = move_axis(from.y, from.other_y, i, factors, (double)from.alpha);
        assert_true(fabsf(got.x[i] - x) < 1e-4f && fabsf(got.y[i] - y) < 1e-4f);
      }
    }
  }
}

static void tables_are_chosen_by_name(void **state) {
  (void)state;
  kin_error err;
  kin_context *context;
  for (kin_isa isa = KIN_ISA_AUTO; isa <= KIN_ISA_AVX512; isa++) {
    kin_status status = kin_context_open(&(kin_context_options){.threads = 1, .isa = isa}, &context, &err);
    if (!kin_kernels_for(isa)) {
      test_assert_error(status, KIN_ERR_UNSUPPORTED, &err, "this CPU or system lacks avx");
      continue;
    }
    test_assert_ok(status, &err);
    assert_string_equal(kin_context_isa_name(context), kin_kernels_for(isa)->name);
    assert_int_equal(kin_context_threads(context), 1);
    kin_context_close(context);
  }
  test_assert_error(kin_context_open(&(kin_context_options){.isa = (kin_isa)99}, &context, &err), KIN_ERR_ARGUMENT,
                    &err, "99");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tails_match),
      cmocka_unit_test(activations_are_accurate),
      cmocka_unit_test(layer_norms_match),
      cmocka_unit_test(softmaxes_match),
      cmocka_unit_test(nearest_match),
      cmocka_unit_test(dots_match),
      cmocka_unit_test(additions_and_scalings_match),
      cmocka_unit_test(transposes_match),
      cmocka_unit_test(tables_are_chosen_by_name),
      cmocka_unit_test(gates_and_averages_match),
      cmocka_unit_test(map_steps_match),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
