/* Which originals are near copies: their nearest neighbours are candidates, and their pictures decide. */
#include "analyse/analyse.h"
#include "analyse/duplicates.h"
#include "base/context.h"

#include <stdlib.h>
#include <string.h>

enum { LEAST_PART = 8 }; /* runs of words that a part of a text must have */

/* Enough of the neighbours where not all are looked for: what is missed are the furthest, and a pair is found from
 * either side. */
static const double neighbours_found = 0.85;
static const float least_likeness = 0.5f, least_contained = 0.8f; /* of texts, and parts of texts */

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

static kin_dup_relation relate_pictures(const kin_sketch *a, const kin_sketch *b) {
  static const kin_copy_kind kinds[] = {KIN_COPY_VECTOR,   KIN_COPY_PICTURE, KIN_COPY_TURNED,
                                        KIN_COPY_MIRRORED, KIN_COPY_PART,    KIN_COPY_PART};
  kin_sketch_match match;
  kin_sketch_compare(a, b, &match);
  return (kin_dup_relation){.related = match.relation != KIN_SKETCH_DIFFERENT,
                            .has_more = match.relation == KIN_SKETCH_HAS_PART,
                            .kind = kinds[match.relation],
                            .likeness = match.likeness,
                            .share = kinds[match.relation] == KIN_COPY_PART ? match.share : 1};
}

static kin_dup_relation relate_texts(const kin_shingles *a, const kin_shingles *b) {
  const float common = (float)kin_shingles_common(a, b), less = (float)(a->n < b->n ? a->n : b->n);
  const float more = (float)(a->n < b->n ? b->n : a->n), likeness = common / (less + more - common);
  if (less > 0 && likeness >= least_likeness)
    return (kin_dup_relation){.related = true, .kind = KIN_COPY_TEXT, .likeness = likeness, .share = 1};
  return (kin_dup_relation){.related = less >= LEAST_PART && common >= least_contained * less,
                            .has_more = a->n > b->n,
                            .kind = KIN_COPY_PART,
                            .likeness = less > 0 ? common / less : 0,
                            .share = more > 0 ? less / more : 0};
}

kin_dup_relation kin_dup_relate(const kin_dup_search *s, size_t item, size_t other) {
  const kin_duplicate_item *x = &s->items[item], *y = &s->items[other];
  const kin_dup_entry *a = &s->entries[item], *b = &s->entries[other];
  if (a->sketch.grey && b->sketch.grey) return relate_pictures(&a->sketch, &b->sketch);
  if (x->text && y->text) return relate_texts(&a->shingles, &b->shingles);
  const bool bare = !x->path && !x->text && !y->path && !y->text;
  return (kin_dup_relation){
      .related = bare && kin_dup_cosine(s, item, other) >= s->options.min_cosine, .kind = KIN_COPY_VECTOR, .share = 1};
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

static bool on_neighbours(void *user, double done) {
  const pairing *p = user;
  const kin_duplicates_options *o = &p->s->options;
  return !o->on_progress || o->on_progress(o->user, "finding neighbours", (size_t)(done * (double)p->n), p->n);
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
  const kin_near_options options = {
      .metric = KIN_METRIC_COSINE,
      .k = k,
      .search = p->n > s->options.exhaustive ? KIN_NEAR_APPROXIMATE : KIN_NEAR_EXACT,
      .enough = neighbours_found,
      .on_progress = on_neighbours,
      .user = p,
  };
  if (status == KIN_OK) status = kin_near_others(s->context, &set, &options, near, NULL, err);
  for (size_t i = 0; status == KIN_OK && i < p->n * k; i++) {
    const size_t a = p->originals[i / k], b = p->originals[near[i].index];
    p->pairs[p->n_pairs++] = a < b ? (pair){(uint32_t)a, (uint32_t)b} : (pair){(uint32_t)b, (uint32_t)a};
  }
  free(values), free(near);
  drop_repeated(p);
  return status;
}

/* ---------------------------------------------------------------- comparing */

static void read_content(void *arg, size_t i) {
  const pairing *p = arg;
  const size_t item = p->originals[i];
  kin_dup_entry *e = &p->s->entries[item];
  kin_error err;
  const kin_duplicate_item *source = &p->s->items[item];
  kin_status status = KIN_OK;
  if (has_picture(p->s, item))
    status = kin_sketch_read(source->path, &e->sketch, &err);
  else if (source->text)
    status = kin_shingles_read(source->text, strlen(source->text), &e->shingles, &err);
  if (status != KIN_OK) kin_dup_fail(e, &err);
}

static void compare_pair(void *arg, size_t i) {
  const pairing *p = arg;
  p->related[i] = kin_dup_relate(p->s, p->pairs[i].a, p->pairs[i].b).related;
}

static kin_status compare(pairing *p, kin_error *err) {
  kin_status status = kin_dup_run(p->s, "reading", p->n, read_content, p, err);
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
