/* Which originals are near copies: their nearest neighbours are candidates, and their pictures decide. */
#include "analyse/analyse.h"
#include "analyse/duplicates.h"
#include "base/context.h"

#include <stdlib.h>
#include <string.h>

typedef struct pair {
  uint32_t a, b; /* items, a < b */
} pair;

typedef struct pairing {
  kin_dup_search *s;
  size_t *originals; /* [n] items that candidates are looked for among */
  size_t n;
  pair *pairs;
  size_t n_pairs, capacity;
  bool *related; /* [n_pairs] */
} pairing;

static bool has_picture(const kin_dup_search *s, size_t item) {
  return s->items[item].path && s->items[item].is_picture;
}

kin_dup_relation kin_dup_relate(const kin_dup_search *s, size_t item, size_t other) {
  const kin_dup_entry *a = &s->entries[item], *b = &s->entries[other];
  kin_dup_relation out = {.kind = KIN_COPY_VECTOR, .share = 1};
  if (!has_picture(s, item) && !has_picture(s, other)) {
    out.related =
        !s->items[item].path && !s->items[other].path && kin_dup_cosine(s, item, other) >= s->options.min_cosine;
    return out;
  }
  if (!a->sketch.grey || !b->sketch.grey) return out;
  static const kin_copy_kind kinds[] = {KIN_COPY_VECTOR,   KIN_COPY_PICTURE, KIN_COPY_TURNED,
                                        KIN_COPY_MIRRORED, KIN_COPY_PART,    KIN_COPY_PART};
  kin_sketch_match match;
  kin_sketch_compare(&a->sketch, &b->sketch, &match);
  out.related = match.relation != KIN_SKETCH_DIFFERENT, out.has_more = match.relation == KIN_SKETCH_HAS_PART;
  out.kind = kinds[match.relation], out.likeness = match.likeness;
  if (out.kind == KIN_COPY_PART) out.share = match.share;
  return out;
}

/* --------------------------------------------------------------- candidates */

static int by_items(const void *a, const void *b) {
  const pair *x = a, *y = b;
  if (x->a != y->a) return x->a < y->a ? -1 : 1;
  return (x->b > y->b) - (x->b < y->b);
}

static void drop_repeated(pairing *p) {
  size_t kept = 0;
  if (p->n_pairs) qsort(p->pairs, p->n_pairs, sizeof *p->pairs, by_items);
  for (size_t i = 0; i < p->n_pairs; i++)
    if (!kept || by_items(&p->pairs[i], &p->pairs[kept - 1]) != 0) p->pairs[kept++] = p->pairs[i];
  p->n_pairs = kept;
}

/* The originals' vectors, those of pictures less their mean: what all have in common says nothing. */
static kin_status gather(const pairing *p, float *out, kin_error *err) {
  const kin_vector_set *set = p->s->set;
  bool pictures = false;
  for (size_t i = 0; i < p->n; i++) {
    memcpy(out + i * set->dim, set->values + p->originals[i] * set->dim, set->dim * sizeof *out);
    pictures |= has_picture(p->s, p->originals[i]);
  }
  return pictures ? kin_center(out, p->n, set->dim, err) : KIN_OK;
}

static kin_status find_candidates(pairing *p, kin_error *err) {
  kin_dup_search *s = p->s;
  const size_t k = s->options.neighbours < p->n - 1 ? s->options.neighbours : p->n - 1;
  float *values = kin_array(p->n, s->set->dim * sizeof *values);
  kin_near *near = kin_array(p->n, k * sizeof *near);
  p->pairs = kin_array(p->n, k * sizeof *p->pairs);
  kin_status status = KIN_OK;
  if (!values || !near || !p->pairs)
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for the neighbours of %zu items", p->n);
  if (status == KIN_OK) status = gather(p, values, err);
  const kin_vector_set set = {values, p->n, s->set->dim};
  if (status == KIN_OK) status = kin_nearest(s->context, &set, NULL, KIN_METRIC_COSINE, k, near, err);
  for (size_t i = 0; status == KIN_OK && i < p->n * k; i++) {
    const size_t a = p->originals[i / k], b = p->originals[near[i].index];
    p->pairs[p->n_pairs++] = a < b ? (pair){(uint32_t)a, (uint32_t)b} : (pair){(uint32_t)b, (uint32_t)a};
  }
  free(values), free(near);
  drop_repeated(p);
  return status;
}

/* ---------------------------------------------------------------- comparing */

static void read_sketch(void *arg, size_t i) {
  const pairing *p = arg;
  const size_t item = p->originals[i];
  kin_dup_entry *e = &p->s->entries[item];
  kin_error err;
  if (has_picture(p->s, item) && kin_sketch_read(p->s->items[item].path, &e->sketch, &err) != KIN_OK)
    kin_dup_fail(e, &err);
}

static void compare_pair(void *arg, size_t i) {
  const pairing *p = arg;
  p->related[i] = kin_dup_relate(p->s, p->pairs[i].a, p->pairs[i].b).related;
}

static kin_status compare(pairing *p, kin_error *err) {
  kin_status status = kin_dup_run(p->s, "reading pictures", p->n, read_sketch, p, err);
  kin_dup_settle(p->s);
  p->related = calloc(p->n_pairs + 1, sizeof *p->related);
  if (status == KIN_OK && !p->related)
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu pairs", p->n_pairs);
  if (status == KIN_OK) status = kin_dup_run(p->s, "comparing", p->n_pairs, compare_pair, p, err);
  kin_dup_entry *entries = p->s->entries;
  for (size_t i = 0; status == KIN_OK && i < p->n_pairs; i++) {
    if (!p->related[i]) continue;
    const size_t a = kin_dup_root(entries, p->pairs[i].a), b = kin_dup_root(entries, p->pairs[i].b);
    if (a < b)
      entries[b].parent = a;
    else
      entries[a].parent = b;
  }
  return status;
}

kin_status kin_dup_join_near(kin_dup_search *s, kin_error *err) {
  pairing p = {.s = s, .originals = kin_array(s->n, sizeof *p.originals)};
  kin_status status = KIN_OK;
  if (!p.originals) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu items", s->n);
  if (status == KIN_OK && s->n > UINT32_MAX)
    status = kin_fail(err, KIN_ERR_LIMIT, "%zu items are more than can be compared", s->n);
  for (size_t i = 0; status == KIN_OK && i < s->n; i++) {
    const kin_dup_entry *e = &s->entries[i];
    if (e->usable && e->link == KIN_NOT_LINKED && e->original == i) p.originals[p.n++] = i;
  }
  if (status == KIN_OK && p.n > 1) status = find_candidates(&p, err);
  if (status == KIN_OK && p.n > 1) status = compare(&p, err);
  free(p.originals), free(p.pairs), free(p.related);
  return status;
}
