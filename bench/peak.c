/* The multiply-adds a second that this machine reaches on registers alone, and the bytes a second that it reads from
 * memory: what every other benchmark is a fraction of. One line of JSON an instruction set.
 *
 *   bench-peak [THREADS]        default: every CPU */
#include "kernel/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 7
#define READ_BYTES ((size_t)512 << 20)

static void print_peaks(const kin_context *context) {
  static const char *const precisions[] = {"fp32", "bf16", "int8"};
  unsigned threads = kin_context_threads(context);
  for (kin_peak what = KIN_PEAK_FP32; what <= KIN_PEAK_INT8; what++)
    if (kin_measure_name(context, what))
      printf("{\"isa\": \"%s\", \"precision\": \"%s\", \"threads\": %u, \"gmac_per_second\": %.2f}\n",
             kin_measure_name(context, what), precisions[what], threads,
             1e-9 * kin_measure_multiply_adds(context, what, ROUNDS));
}

int main(int argc, char **argv) {
  kin_context_options options = {.threads = argc > 1 ? (unsigned)atoi(argv[1]) : 0};
  float *data = kin_alloc_aligned(READ_BYTES);
  if (!data) return 1;
  memset(data, 0, READ_BYTES);
  for (kin_isa isa = KIN_ISA_SCALAR; isa <= KIN_ISA_AVX512; isa++) {
    options.isa = isa;
    kin_context *context;
    kin_error err;
    if (kin_context_open(&options, &context, &err) != KIN_OK) {
      fprintf(stderr, "%s\n", err.message);
      continue;
    }
    print_peaks(context);
    if (isa != KIN_ISA_SCALAR)
      printf("{\"isa\": \"%s\", \"threads\": %u, \"read_gb_per_second\": %.2f}\n", context->kernels->name,
             kin_context_threads(context), 1e-9 * kin_measure_read(context, data, READ_BYTES, ROUNDS));
    kin_context_close(context);
  }
  kin_free_aligned(data);
  return 0;
}
