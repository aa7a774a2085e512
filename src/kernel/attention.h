/* What attention over float rows and over bfloat16 rows share. */
#ifndef KIN_ATTENTION_H
#define KIN_ATTENTION_H

#include "kernel/blocks.h"

#include <stdatomic.h>

/* Queries that share one pass over the keys. */
enum { QUERY_BLOCK = 48 };

/* A call of kin_attend: a task for each sequence and head. */
typedef struct attend {
  const kin_kernels *kernels;
  const kin_bf16_kernels *bf16;
  const kin_attention *a;
  size_t longest; /* tokens of a sequence */
  float scale;
  atomic_bool no_memory;
} attend;

static inline size_t whole_panels(size_t n) {
  return divide_up(n, KIN_PANEL) * KIN_PANEL;
}

/* Task `task` of the attend `arg`, of bfloat16 rows. */
void kin_attend_head_bf16(void *arg, size_t task);

#endif
