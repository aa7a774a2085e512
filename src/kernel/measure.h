/* What this machine can do, for benchmarks: multiply-adds on registers alone, and reading from memory. */
#ifndef KIN_MEASURE_H
#define KIN_MEASURE_H

#include "kernel/kernel.h"

typedef enum kin_peak { KIN_PEAK_FP32, KIN_PEAK_BF16, KIN_PEAK_INT8 } kin_peak;

/* Multiply-adds a second of all the context's threads together, the best of `rounds` short runs; 0 where the context's
 * instruction set has no such kernel. */
double kin_measure_multiply_adds(const kin_context *context, kin_peak what, int rounds);

/* The name of the kernels that kin_measure_multiply_adds runs; NULL where there are none. */
const char *kin_measure_name(const kin_context *context, kin_peak what);

/* Bytes a second that all threads together read from `bytes` of memory, in order, once a round; the best of `rounds`.
 * `data` is far larger than the caches and was written. */
double kin_measure_read(const kin_context *context, const float *data, size_t bytes, int rounds);

#endif
