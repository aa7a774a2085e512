/* The inside of kin_context. */
#ifndef KIN_CONTEXT_H
#define KIN_CONTEXT_H

#include "base/threads.h"

struct kin_kernels;
struct kin_bf16_kernels;
struct kin_int8_kernels;
struct kin_scan_kernels;

struct kin_context {
  kin_pool *pool;
  const struct kin_kernels *kernels; /* kernel/kernel.h; chosen once when the context opens */
  const struct kin_scan_kernels *scan;
  const struct kin_bf16_kernels *bf16; /* NULL: none for this CPU and instruction set */
  const struct kin_int8_kernels *int8;
};

#endif
