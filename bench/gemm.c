/* The GEMM at the shapes of CLIP ViT-B/32 and DINOv2-small, as a fraction of the register-only peak.
 *
 *   bench-gemm [THREADS [avx2|avx512]] */
#include "kernel/kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef enum number { FP32, BF16, INT8, NUMBERS } number;

typedef struct peak_run {
  const kin_context *context;
  number kind;
  volatile float sink;
} peak_run;

enum { PEAK_ITERATIONS = 5000000 };

static void multiply_add(void *arg, size_t task) {
  (void)task;
  peak_run *r = arg;
  r->sink = r->kind == INT8   ? (float)r->context->int8->peak(PEAK_ITERATIONS)
            : r->kind == BF16 ? r->context->bf16->peak(PEAK_ITERATIONS)
                              : r->context->kernels->peak(PEAK_ITERATIONS);
}

static double peak_rate(const kin_context *context, number kind) {
  peak_run r = {.context = context, .kind = kind};
  size_t each = kind == INT8   ? context->int8->peak_multiply_adds
                : kind == BF16 ? context->bf16->peak_multiply_adds
                               : context->kernels->peak_multiply_adds;
  size_t threads = kin_context_threads(context);
  double start = now();
  kin_parallel_for(context->pool, threads, multiply_add, &r);
  return (double)(PEAK_ITERATIONS * each * threads) / (now() - start);
}

static float *values(size_t n, float scale) {
  float *x = kin_alloc_aligned(n * sizeof *x);
  if (!x) exit(1);
  for (size_t i = 0; i < n; i++) x[i] = scale * (float)((int)(i * 2654435761u >> 16 & 255) - 128);
  return x;
}

static void measure(const kin_context *context, const size_t shape[3], number kind) {
  const char *name = kind == INT8 ? context->int8->name : kind == BF16 ? context->bf16->name : context->kernels->name;
  size_t m = shape[0], n = shape[1], k = shape[2], lda = kin_row_stride(k), ldc = kin_row_stride(n);
  float *a = values(m * lda, 0.01f), *w = values(n * k, 0.001f), *c = values(m * ldc, 0.0f);
  void *memory = kin_alloc_aligned(kin_quantised_bytes(m, k));
  kin_packed packed;
  if (!memory || kin_pack((const float *const[]){w}, &n, 1, k, &packed, NULL) != KIN_OK) exit(1);
  if (kind == BF16 && kin_pack_to_bf16(&packed, NULL) != KIN_OK) exit(1);
  if (kind == INT8 && kin_pack_to_int8(&packed, NULL) != KIN_OK) exit(1);
  kin_quantised q = kin_quantised_place(memory, m, k);
  kin_quantise_rows(context, m, k, a, lda, NULL, NULL, &q);
  uint16_t *rounded = kin_alloc_aligned(m * lda * sizeof *rounded);
  if (!rounded) exit(1);
  if (kind == BF16) context->bf16->round(a, m * lda, rounded);
  kin_rows rows = kind == INT8   ? (kin_rows){.q = &q}
                  : kind == BF16 ? (kin_rows){.h = rounded, .ld = lda}
                                 : (kin_rows){.f = a, .ld = lda};
  double best = 1e30, peak = 0;
  for (int round = 0; round < 12; round++) {
    double rate = peak_rate(context, kind);
    if (rate > peak) peak = rate;
    double start = now();
    kin_gemm_rows(context, m, rows, &packed, (kin_rows){.f = c, .ld = ldc}, NULL);
    double seconds = now() - start;
    if (seconds < best) best = seconds;
  }
  double rate = (double)(m * n * k) / best;
  printf("%-10s %6zu %6zu %6zu %10.2f %7.1f%%\n", name, m, n, k, rate * 1e-9, 100 * rate / peak);
  kin_packed_free(&packed);
  kin_free_aligned(a), kin_free_aligned(w), kin_free_aligned(c), kin_free_aligned(memory), kin_free_aligned(rounded);
}

int main(int argc, char **argv) {
  static const size_t shapes[][3] = {{800, 2304, 768}, {800, 768, 768},   {800, 3072, 768},
                                     {800, 768, 3072}, {784, 768, 3072},  {50, 2304, 768},
                                     {50, 768, 3072},  {4112, 1536, 384}, {4112, 384, 1536}};
  kin_context_options options = {.threads = argc > 1 ? (unsigned)atoi(argv[1]) : 0,
                                 .isa = argc > 2 && !strcmp(argv[2], "avx2") ? KIN_ISA_AVX2 : KIN_ISA_AUTO};
  kin_context *context;
  kin_error err;
  if (kin_context_open(&options, &context, &err) != KIN_OK) {
    fprintf(stderr, "%s\n", err.message);
    return 1;
  }
  printf("%s, %u threads\n%6s %6s %6s %10s %8s\n", kin_context_isa_name(context), kin_context_threads(context), "m",
         "n", "k", "GMAC/s", "of peak");
  for (number kind = FP32; kind < NUMBERS; kind++)
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes && (kind != BF16 || context->bf16); s++)
      measure(context, shapes[s], kind);
  kin_context_close(context);
  return 0;
}
