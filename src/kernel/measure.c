/* Timing the register-only loops, and a read of much memory. */
#include "kernel/measure.h"

#include <math.h>
#include <time.h>

/* Floats that a task reads: small enough that no thread waits long for the last one. */
#define TASK_FLOATS ((size_t)1 << 18)

typedef struct run {
  const kin_context *context;
  float (*peak)(size_t iterations); /* NULL: peak_int8 */
  int32_t (*peak_int8)(size_t iterations);
  size_t iterations;
  const float *data;
} run;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void multiply_add(void *arg, size_t task) {
  (void)task;
  const run *r = arg;
  volatile float sink = r->peak ? r->peak(r->iterations) : (float)r->peak_int8(r->iterations);
  (void)sink;
}

static void read_memory(void *arg, size_t task) {
  const run *r = arg;
  const float *x = r->data + task * TASK_FLOATS;
  volatile float sink = r->context->kernels->dot(x, x, TASK_FLOATS);
  (void)sink;
}

/* The best of several rounds: what the machine can, not what its neighbours leave. */
static double best_seconds(run *r, void (*fn)(void *, size_t), size_t tasks, int rounds) {
  double best = INFINITY;
  for (int round = 0; round < rounds; round++) {
    double start = now();
    kin_parallel_for(r->context->pool, tasks, fn, r);
    double seconds = now() - start;
    best = seconds < best ? seconds : best;
  }
  return best;
}

const char *kin_measure_name(const kin_context *context, kin_peak what) {
  switch (what) {
  case KIN_PEAK_FP32:
    return context->kernels->name;
  case KIN_PEAK_BF16:
    return context->bf16 ? context->bf16->name : NULL;
  case KIN_PEAK_INT8:
    return context->int8->name;
  }
  return NULL;
}

double kin_measure_multiply_adds(const kin_context *context, kin_peak what, int rounds) {
  size_t each, threads = kin_pool_threads(context->pool);
  run r = {.context = context};
  if (!kin_measure_name(context, what)) return 0;
  if (what == KIN_PEAK_FP32) {
    r.peak = context->kernels->peak;
    each = context->kernels->peak_multiply_adds;
  } else if (what == KIN_PEAK_BF16) {
    r.peak = context->bf16->peak;
    each = context->bf16->peak_multiply_adds;
  } else {
    r.peak_int8 = context->int8->peak;
    each = context->int8->peak_multiply_adds;
  }
  /* About a fifth of a second a round, from a short trial. */
  r.iterations = 1000;
  double trial = best_seconds(&r, multiply_add, threads, 3);
  r.iterations = (size_t)(1000 * (trial > 0 ? fmin(0.2 / trial, 1e6) : 1e3)) + 1;
  return (double)(r.iterations * each * threads) / best_seconds(&r, multiply_add, threads, rounds);
}

double kin_measure_read(const kin_context *context, const float *data, size_t bytes, int rounds) {
  size_t tasks = bytes / (TASK_FLOATS * sizeof *data);
  run r = {.context = context, .data = data};
  return (double)(tasks * TASK_FLOATS * sizeof *data) / best_seconds(&r, read_memory, tasks, rounds);
}
