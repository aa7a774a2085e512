/* The multiply-adds a second that this machine reaches on registers alone, and the bytes a second that it reads
 * from memory: what every other benchmark is a fraction of. One line of JSON an instruction set.
 *
 *   bench-peak [THREADS]        default: every CPU */
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

typedef struct run {
  const kin_kernels *kernels;
  float (*peak)(size_t iterations);
  size_t iterations;
  const float *data;
  size_t floats_per_task;
  volatile float sink;
} run;

static void multiply_add(void *arg, size_t task) {
  (void)task;
  run *r = arg;
  r->sink = r->peak(r->iterations);
}

static void read_memory(void *arg, size_t task) {
  run *r = arg;
  const float *x = r->data + task * r->floats_per_task;
  r->sink = r->kernels->dot(x, x, r->floats_per_task);
}

/* The best of several rounds: what the machine can, not what its neighbours leave. */
static double best_seconds(const kin_context *context, void (*fn)(void *, size_t), run *r, size_t tasks) {
  double best = 1e30;
  for (int round = 0; round < 7; round++) {
    double start = now();
    kin_parallel_for(context->pool, tasks, fn, r);
    double seconds = now() - start;
    if (seconds < best) best = seconds;
  }
  return best;
}

static void print_peak(const kin_context *context, kin_isa isa, bool bf16, run *r) {
  size_t threads = kin_context_threads(context);
  size_t each = bf16 ? context->bf16->peak_multiply_adds : context->kernels->peak_multiply_adds;
  r->peak = bf16 ? context->bf16->peak : context->kernels->peak;
  r->iterations = isa == KIN_ISA_SCALAR ? 200000 : 20000000;
  double seconds = best_seconds(context, multiply_add, r, threads);
  printf("{\"isa\": \"%s\", \"precision\": \"%s\", \"threads\": %zu, \"gmac_per_second\": %.2f}\n",
         bf16 ? context->bf16->name : context->kernels->name, bf16 ? "bf16" : "fp32", threads,
         (double)(r->iterations * each * threads) / seconds * 1e-9);
}

int main(int argc, char **argv) {
  kin_context_options options = {.threads = argc > 1 ? (unsigned)atoi(argv[1]) : 0};
  for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++) {
    options.isa = isa;
    kin_context *context;
    kin_error err;
    if (kin_context_open(&options, &context, &err) != KIN_OK) {
      fprintf(stderr, "%s\n", err.message);
      continue;
    }
    size_t threads = kin_context_threads(context);
    run r = {.kernels = context->kernels};
    print_peak(context, isa, false, &r);
    if (isa != KIN_ISA_SCALAR) {
      if (context->bf16) print_peak(context, isa, true, &r);
      size_t floats = (size_t)128 << 20;
      float *data = kin_alloc_aligned(floats * sizeof *data);
      if (!data) return 1;
      memset(data, 0, floats * sizeof *data);
      r.data = data;
      r.floats_per_task = (size_t)1 << 18;
      double seconds = best_seconds(context, read_memory, &r, floats / r.floats_per_task);
      printf("{\"isa\": \"%s\", \"threads\": %zu, \"read_gb_per_second\": %.2f}\n", r.kernels->name, threads,
             (double)(floats * sizeof *data) / seconds * 1e-9);
      kin_free_aligned(data);
    }
    kin_context_close(context);
  }
  return 0;
}
