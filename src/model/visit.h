/* What a tower holds, listed once for three purposes: to release it, to save it into a file of packed weights, and to
 * take it from such a file, which is then mapped and costs page faults only. */
#ifndef KIN_VISIT_H
#define KIN_VISIT_H

#include "model/loader.h"

typedef enum kin_visit { KIN_VISIT_FREE, KIN_VISIT_SAVE, KIN_VISIT_ATTACH } kin_visit;

/* A piece of memory, or a number: then bytes is KIN_VISIT_NUMBER and `at` the number. */
typedef struct kin_visit_entry {
  uint64_t at, bytes; /* in the file */
} kin_visit_entry;
#define KIN_VISIT_NUMBER UINT64_MAX

typedef struct kin_visitor {
  kin_visit kind;
  kin_visit_entry *entries; /* ATTACH: [n]; SAVE: grown; free with free() */
  const void **pieces;      /* SAVE: where each entry's bytes are */
  size_t n, capacity, pieces_capacity, next;
  uint8_t *map; /* ATTACH: the file, every entry of which lies in it */
  bool failed;  /* SAVE: no memory; ATTACH: the entries don't fit */
} kin_visitor;

/* *pointer is a pointer to `bytes` of kin_alloc_aligned's, or NULL. After FREE it is NULL. */
void kin_visit_memory(kin_visitor *v, void *pointer, size_t bytes);
void kin_visit_floats(kin_visitor *v, float **p, size_t n);
void kin_visit_size(kin_visitor *v, size_t *n);
void kin_visit_packed(kin_visitor *v, kin_packed *p);
void kin_visit_linear(kin_visitor *v, kin_linear *p);
/* `n` floats each in weight and bias. */
void kin_visit_norm(kin_visitor *v, kin_norm *p, size_t n);

#endif
