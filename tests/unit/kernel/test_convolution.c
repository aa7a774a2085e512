/* The 3x3 convolution: the bits of the plain C kernels whatever the threads and the batch, the numbers of a loop in
 * double. */
#include "kernel_fixture.h"

typedef struct shape {
  size_t images, height, width, channels, n;
} shape;

/* Pictures smaller than a tile, and of whole and partial ones; few and many tiles; partial panels and channels. */
static const shape shapes[] = {{1, 1, 1, 1, 1},    {2, 1, 5, 3, 33},    {1, 5, 1, 4, 32},    {2, 2, 2, 7, 40},
                               {3, 7, 7, 300, 70}, {2, 14, 13, 48, 96}, {1, 9, 28, 20, 260}, {3, 35, 34, 17, 40}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

typedef struct problem {
  shape s;
  size_t ld, out_ld;
  float *in, *w, *bias;
} problem;

static problem problem_open(shape s) {
  problem p = {.s = s, .ld = s.channels + 3, .out_ld = s.n + 5};
  size_t pixels = s.images * s.height * s.width;
  p.in = seeded_floats(pixels * p.ld, 1.0f, 1), p.w = seeded_floats(s.n * 9 * s.channels, 1.0f, 2);
  p.bias = seeded_floats(s.n, 1.0f, 3);
  return p;
}

static void problem_close(problem *p) {
  kin_free_aligned(p->in), kin_free_aligned(p->w), kin_free_aligned(p->bias);
}

static kin_packed pack(const problem *p, size_t side) {
  const size_t points = (side + 2) * (side + 2), channels = p->s.channels, k = points * channels;
  float *w = kin_alloc_aligned(p->s.n * k * sizeof *w);
  for (size_t n = 0; n < p->s.n; n++)
    for (size_t c = 0; c < channels; c++) {
      double taps[9], transformed[36];
      for (size_t tap = 0; tap < 9; tap++) taps[tap] = (double)p->w[(n * 9 + tap) * channels + c];
      kin_convolution_weights(side, taps, transformed);
      for (size_t i = 0; i < points; i++) w[n * k + i * channels + c] = (float)transformed[i];
    }
  kin_packed packed;
  kin_error err;
  test_assert_ok(kin_pack((const float *const[]){w}, &p->s.n, 1, k, &packed, &err), &err);
  kin_free_aligned(w);
  return packed;
}

/* Pictures [first, first + images) alone. */
static float *run(const problem *p, size_t side, size_t first, size_t images, kin_isa isa, unsigned threads) {
  kin_context *context = open_context(isa, threads);
  size_t skipped = first * p->s.height * p->s.width, pixels = images * p->s.height * p->s.width;
  kin_packed packed = pack(p, side);
  float *out = kin_alloc_aligned(pixels * p->out_ld * sizeof *out);
  for (size_t i = 0; i < pixels * p->out_ld; i++) out[i] = 777.0f;
  kin_pictures in = {images, p->s.height, p->s.width, p->s.channels, p->in + skipped * p->ld, p->ld};
  float *scratch = kin_alloc_aligned(kin_convolution_floats(&in, side) * sizeof *scratch);
  kin_convolve_3x3(context, &in, side, &packed, scratch, p->bias, KIN_ACT_RELU, out, p->out_ld);
  kin_free_aligned(scratch);
  kin_packed_free(&packed);
  kin_context_close(context);
  return out;
}

static double element(const problem *p, size_t image, size_t y, size_t x, size_t n) {
  const shape *s = &p->s;
  double total = (double)p->bias[n];
  for (size_t tap = 0; tap < 9; tap++) {
    size_t sy = y + tap / 3, sx = x + tap % 3;
    if (sy < 1 || sy > s->height || sx < 1 || sx > s->width) continue;
    const float *from = p->in + ((image * s->height + sy - 1) * s->width + sx - 1) * p->ld;
    const float *w = p->w + (n * 9 + tap) * s->channels;
    for (size_t c = 0; c < s->channels; c++) total += (double)from[c] * (double)w[c];
  }
  return fmax(0, total);
}

static void check_numbers(const problem *p, const float *out) {
  const shape *s = &p->s;
  for (size_t i = 0; i < s->images * s->height * s->width; i++) {
    size_t x = i % s->width, y = i / s->width % s->height, image = i / s->width / s->height;
    for (size_t n = 0; n < s->n; n += 1 + s->channels / 40) {
      double expected = element(p, image, y, x, n);
      if (fabs((double)out[i * p->out_ld + n] - expected) > 1e-6 * (double)(9 * s->channels + 10))
        fail_msg("%zu %zu %zu %zu: %.9g, expected %.9g", image, y, x, n, (double)out[i * p->out_ld + n], expected);
    }
    for (size_t n = s->n; n < p->out_ld; n++) assert_true(out[i * p->out_ld + n] == 777.0f);
  }
}

static void check(const problem *p, size_t side) {
  size_t floats = p->s.images * p->s.height * p->s.width * p->out_ld;
  float *truth = run(p, side, 0, p->s.images, KIN_ISA_SCALAR, 1);
  check_numbers(p, truth);
  for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++)
    for (unsigned threads = 1; threads <= 3 && kernels_or_note(isa); threads++) {
      float *out = run(p, side, 0, p->s.images, isa, threads);
      assert_memory_equal(out, truth, floats * sizeof *out);
      kin_free_aligned(out);
    }
  for (size_t image = 0; image < p->s.images; image++) {
    size_t one = p->s.height * p->s.width * p->out_ld;
    float *out = run(p, side, image, 1, KIN_ISA_AUTO, 2);
    assert_memory_equal(out, truth + image * one, one * sizeof *out);
    kin_free_aligned(out);
  }
  kin_free_aligned(truth);
}

static void convolutions_match(void **state) {
  (void)state;
  for (size_t i = 0; i < SHAPES; i++)
    for (size_t side = 2; side <= 4; side += 2) {
      problem p = problem_open(shapes[i]);
      check(&p, side);
      problem_close(&p);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(convolutions_match)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
