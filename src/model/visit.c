/* Listing what a tower holds. */
#include "model/visit.h"

#include <string.h>

static void add(kin_visitor *v, kin_visit_entry entry, const void *piece) {
  v->failed = v->failed || !kin_grow((void **)&v->entries, &v->capacity, v->n + 1, sizeof *v->entries) ||
              !kin_grow((void **)&v->pieces, &v->pieces_capacity, v->n + 1, sizeof *v->pieces);
  if (v->failed) return;
  v->entries[v->n] = entry, v->pieces[v->n] = piece;
  v->n++;
}

/* The next entry of a file, of the wanted kind. */
static const kin_visit_entry *next(kin_visitor *v, bool number) {
  const kin_visit_entry *e = v->next < v->n ? &v->entries[v->next++] : NULL;
  if (!e || (e->bytes == KIN_VISIT_NUMBER) != number) v->failed = true;
  return v->failed ? NULL : e;
}

void kin_visit_memory(kin_visitor *v, void *pointer, size_t bytes) {
  void *p;
  memcpy(&p, pointer, sizeof p);
  if (v->kind == KIN_VISIT_SAVE) {
    add(v, (kin_visit_entry){.bytes = p ? bytes : 0}, p);
    return;
  }
  if (v->kind == KIN_VISIT_FREE) {
    kin_free_aligned(p);
    p = NULL;
  } else {
    const kin_visit_entry *e = next(v, false);
    p = e && e->bytes ? v->map + e->at : NULL;
    /* The sizes come from the same config that the file was made with; a file that says otherwise is not ours. */
    if (p && e->bytes != bytes) v->failed = true;
  }
  memcpy(pointer, &p, sizeof p);
}

void kin_visit_floats(kin_visitor *v, float **p, size_t n) {
  kin_visit_memory(v, p, n * sizeof **p);
}

void kin_visit_size(kin_visitor *v, size_t *n) {
  if (v->kind == KIN_VISIT_SAVE) add(v, (kin_visit_entry){.at = *n, .bytes = KIN_VISIT_NUMBER}, NULL);
  if (v->kind != KIN_VISIT_ATTACH) return;
  const kin_visit_entry *e = next(v, true);
  if (e) *n = (size_t)e->at;
}

void kin_visit_packed(kin_visitor *v, kin_packed *p) {
  kin_visit_size(v, &p->n);
  kin_visit_size(v, &p->k);
  size_t columns = (p->n + KIN_PANEL - 1) / KIN_PANEL * KIN_PANEL;
  kin_visit_floats(v, &p->panels, columns * p->k);
  kin_visit_memory(v, &p->bf16, columns * ((p->k + 1) / 2 * 2) * sizeof *p->bf16);
  kin_visit_memory(v, &p->int8, columns * kin_int8_stride(p->k));
  kin_visit_floats(v, &p->scales, columns);
  kin_visit_memory(v, &p->sums, columns * sizeof *p->sums);
}

void kin_visit_linear(kin_visitor *v, kin_linear *p) {
  kin_visit_packed(v, &p->w);
  kin_visit_floats(v, &p->bias, p->w.n);
  kin_visit_floats(v, &p->multiply, p->w.k);
  kin_visit_floats(v, &p->add, p->w.k);
}

void kin_visit_norm(kin_visitor *v, kin_norm *p, size_t n) {
  kin_visit_floats(v, &p->weight, n);
  kin_visit_floats(v, &p->bias, n);
}
