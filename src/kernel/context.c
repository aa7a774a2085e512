/* Choosing the kernels for this CPU, and the context that holds them with the worker pool. */
#include "kernel/kernel.h"
#include "kernel/resize.h"

#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__x86_64__)
/* __builtin_cpu_supports also asks (XGETBV) whether the system keeps the wide registers. */
static bool has_avx2(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
static bool has_avx512(void) {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

const kin_kernels *kin_kernels_for(kin_isa isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if ((isa == KIN_ISA_AUTO || isa == KIN_ISA_AVX512) && has_avx512()) return &kin_kernels_avx512;
  if ((isa == KIN_ISA_AUTO || isa == KIN_ISA_AVX2) && has_avx2()) return &kin_kernels_avx2;
#endif
  return isa == KIN_ISA_AUTO || isa == KIN_ISA_SCALAR ? &kin_kernels_scalar : NULL;
}

const kin_bf16_kernels *kin_bf16_kernels_for(kin_isa isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if ((isa == KIN_ISA_AUTO || isa == KIN_ISA_AVX512) && has_avx512() && __builtin_cpu_supports("avx512bf16"))
    return kin_amx_bf16_usable() ? &kin_bf16_amx : &kin_bf16_avx512;
#endif
  return isa == KIN_ISA_SCALAR ? &kin_bf16_scalar : NULL;
}

const kin_resize_kernels *kin_resize_kernels_for(kin_isa isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if ((isa == KIN_ISA_AUTO || isa == KIN_ISA_AVX512) && has_avx512()) return &kin_resize_avx512;
  if ((isa == KIN_ISA_AUTO || isa == KIN_ISA_AVX2) && has_avx2()) return &kin_resize_avx2;
#endif
  return isa == KIN_ISA_AUTO || isa == KIN_ISA_SCALAR ? &kin_resize_scalar : NULL;
}

const kin_int8_kernels *const kin_int8_tables[] = {
#if defined(__x86_64__)
    &kin_int8_amx,     &kin_int8_vnni,
    &kin_int8_avxvnni, &kin_int8_avx2,
#endif
    &kin_int8_scalar,  NULL};

const kin_int8_kernels *kin_int8_kernels_for(kin_isa isa) {
  for (size_t i = 0; kin_int8_tables[i]; i++) {
    const kin_int8_kernels *k = kin_int8_tables[i];
    if ((isa == KIN_ISA_AUTO || k->isa <= isa) && kin_kernels_for(k->isa) && k->usable()) return k;
  }
  return &kin_int8_scalar;
}

const kin_scan_kernels *kin_scan_kernels_for(kin_isa isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if ((isa == KIN_ISA_AUTO || isa == KIN_ISA_AVX512) && has_avx512())
    return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16") ? &kin_scan_avx512vnni
                                                                                        : &kin_scan_avx512;
  if ((isa == KIN_ISA_AUTO || isa == KIN_ISA_AVX2) && has_avx2()) return &kin_scan_avx2;
#endif
  return isa == KIN_ISA_AUTO || isa == KIN_ISA_SCALAR ? &kin_scan_scalar : NULL;
}

static unsigned usable_cpus(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return (unsigned)CPU_COUNT(&set);
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n > 0 ? (unsigned)n : 1;
}

kin_status kin_context_open(const kin_context_options *options, kin_context **out, kin_error *err) {
  static const char *const names[] = {"auto", "scalar", "avx2", "avx512"};
  kin_context_options o = options ? *options : (kin_context_options){0};
  *out = NULL;
  if ((unsigned)o.isa >= sizeof names / sizeof *names)
    return kin_fail(err, KIN_ERR_ARGUMENT, "instruction set %d is unknown", (int)o.isa);
  kin_context *context = calloc(1, sizeof *context);
  if (!context) return kin_fail(err, KIN_ERR_MEMORY, "no memory for a context");
  context->kernels = kin_kernels_for(o.isa);
  context->bf16 = kin_bf16_kernels_for(o.isa);
  context->int8 = kin_int8_kernels_for(o.isa);
  context->scan = kin_scan_kernels_for(o.isa);
  kin_status status = KIN_OK;
  if (!context->kernels)
    status = kin_fail(err, KIN_ERR_UNSUPPORTED, "this CPU or system lacks %s", names[o.isa]);
  else
    status = kin_pool_open(o.threads ? o.threads : usable_cpus(), &context->pool, err);
  if (status != KIN_OK) {
    free(context);
    return status;
  }
  *out = context;
  return KIN_OK;
}

void kin_context_close(kin_context *context) {
  if (!context) return;
  kin_pool_close(context->pool);
  free(context);
}

unsigned kin_context_threads(const kin_context *context) {
  return kin_pool_threads(context->pool);
}

const char *kin_context_isa_name(const kin_context *context) {
  return context->kernels->name;
}
