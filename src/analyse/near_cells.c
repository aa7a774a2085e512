/* Some vectors of the set, taken at even steps, are pivots; each vector belongs to the cells of its 8 nearest ones. Two
 * vectors that are near each other have nearest pivots in common, so it is enough to look in one's own cells. Pivots
 * out of the data lie as densely as it does, which keeps cells of one size without any training. With 8 sqrt(n) of
 * them, finding the pivots and looking in the cells take as long as each other. */
#include "analyse/near_cells.h"

#include "base/context.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
  OWN_CELLS = 8,
  BATCH = 256,   /* cells between two looks at progress */
  MOST_TIMES = 8 /* of the mean size: a larger cell, of many equal vectors, is cut */
};

typedef struct member {
  uint32_t cell, vector;
} member;

typedef struct part {
  size_t first, n; /* of the members: a cell, or a piece of one */
  kin_near *near;  /* [n][k]; NULL: failed */
  kin_error err;
} part;

typedef struct searching {
  kin_context *context;
  const kin_vector_set *set;
  size_t k;
  member *members; /* [n * OWN_CELLS] by cell, then vector */
  size_t n_members;
  part *parts;
  size_t n_parts, first_part; /* of the batch */
  kin_near *out;
} searching;

static int by_cell(const void *a, const void *b) {
  const member *x = a, *y = b;
  if (x->cell != y->cell) return x->cell < y->cell ? -1 : 1;
  return (x->vector > y->vector) - (x->vector < y->vector);
}

static kin_status assign(searching *s, size_t n_pivots, kin_error *err) {
  const kin_vector_set *set = s->set;
  const size_t own = OWN_CELLS < n_pivots ? OWN_CELLS : n_pivots;
  float *pivots = kin_array(n_pivots, set->dim * sizeof *pivots);
  kin_near *near = kin_array(set->n, own * sizeof *near);
  s->members = kin_array(set->n, own * sizeof *s->members);
  kin_status status = KIN_OK;
  if (!pivots || !near || !s->members)
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for the cells of %zu vectors", set->n);
  for (size_t p = 0; status == KIN_OK && p < n_pivots; p++)
    memcpy(pivots + p * set->dim, set->values + p * set->n / n_pivots * set->dim, set->dim * sizeof *pivots);
  const kin_vector_set cells = {pivots, n_pivots, set->dim};
  if (status == KIN_OK) status = kin_nearest(s->context, &cells, set, KIN_METRIC_COSINE, own, near, err);
  for (size_t i = 0; status == KIN_OK && i < set->n * own; i++)
    s->members[s->n_members++] = (member){(uint32_t)near[i].index, (uint32_t)(i / own)};
  free(pivots), free(near);
  if (s->n_members) qsort(s->members, s->n_members, sizeof *s->members, by_cell);
  return status;
}

/* Cells of one vector tell nothing. */
static kin_status cut(searching *s, size_t n_pivots, kin_error *err) {
  const size_t most = MOST_TIMES * (s->n_members / n_pivots + s->k + 1);
  s->parts = kin_array(n_pivots + s->n_members / most + 1, sizeof *s->parts);
  if (!s->parts) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu cells", n_pivots);
  for (size_t i = 0, end; i < s->n_members; i = end) {
    for (end = i + 1; end < s->n_members && end - i < most && s->members[end].cell == s->members[i].cell;) end++;
    if (end - i > 1) s->parts[s->n_parts++] = (part){.first = i, .n = end - i};
  }
  return KIN_OK;
}

/* ---------------------------------------------------------------- searching */

/* Task of the pool. */
static void search_part(void *arg, size_t i) {
  const searching *s = arg;
  part *p = &s->parts[s->first_part + i];
  const size_t dim = s->set->dim, k = s->k < p->n ? s->k : p->n - 1;
  float *values = kin_array(p->n, dim * sizeof *values);
  p->near = kin_array(p->n, s->k * sizeof *p->near);
  kin_status status = KIN_OK;
  if (!values || !p->near) status = kin_fail(&p->err, KIN_ERR_MEMORY, "out of memory for a cell of %zu vectors", p->n);
  for (size_t v = 0; status == KIN_OK && v < p->n; v++)
    memcpy(values + v * dim, s->set->values + s->members[p->first + v].vector * dim, dim * sizeof *values);
  const kin_vector_set set = {values, p->n, dim};
  if (status == KIN_OK) status = kin_nearest(s->context, &set, NULL, KIN_METRIC_COSINE, k, p->near, &p->err);
  free(values);
  if (status == KIN_OK) return;
  free(p->near), p->near = NULL;
}

/* Put one into a list of k, nearest first, unless it is there. */
static void offer(kin_near *list, size_t k, kin_near one) {
  if (!(one.distance < list[k - 1].distance)) return;
  for (size_t i = 0; i < k; i++)
    if (list[i].index == one.index) return;
  size_t at = k - 1;
  for (; at > 0 && one.distance < list[at - 1].distance; at--) list[at] = list[at - 1];
  list[at] = one;
}

static kin_status merge(searching *s, part *p, kin_error *err) {
  if (!p->near) {
    if (err) *err = p->err;
    return p->err.status;
  }
  const member *members = s->members + p->first;
  const size_t k = s->k < p->n ? s->k : p->n - 1;
  for (size_t v = 0; v < p->n; v++)
    for (size_t i = 0; i < k; i++) {
      const kin_near near = p->near[v * k + i];
      offer(s->out + members[v].vector * s->k, s->k, (kin_near){members[near.index].vector, near.distance});
    }
  free(p->near), p->near = NULL;
  return KIN_OK;
}

static kin_status search(searching *s, bool (*on_progress)(void *user, size_t done, size_t total), void *user,
                         kin_error *err) {
  kin_status status = KIN_OK;
  for (size_t i = 0; i < s->set->n * s->k; i++) s->out[i] = (kin_near){SIZE_MAX, INFINITY};
  for (size_t n; status == KIN_OK && s->first_part < s->n_parts; s->first_part += n) {
    n = s->n_parts - s->first_part < BATCH ? s->n_parts - s->first_part : BATCH;
    if (on_progress && !on_progress(user, s->first_part, s->n_parts))
      return kin_fail(err, KIN_ERR_CANCELLED, "stopped while neighbours were looked for");
    kin_parallel_for(s->context->pool, n, search_part, s);
    for (size_t i = 0; i < n; i++) {
      const kin_status merged = merge(s, &s->parts[s->first_part + i], err);
      if (status == KIN_OK) status = merged;
    }
  }
  return status;
}

kin_status kin_nearest_in_cells(kin_context *context, const kin_vector_set *set, size_t k,
                                bool (*on_progress)(void *user, size_t done, size_t total), void *user, kin_near *out,
                                kin_error *err) {
  searching s = {.context = context, .set = set, .k = k, .out = out};
  size_t n_pivots = (size_t)(OWN_CELLS * sqrt((double)set->n));
  if (n_pivots > set->n) n_pivots = set->n;
  kin_status status = assign(&s, n_pivots, err);
  if (status == KIN_OK) status = cut(&s, n_pivots, err);
  if (status == KIN_OK) status = search(&s, on_progress, user, err);
  free(s.members), free(s.parts);
  return status;
}
