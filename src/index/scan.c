/* A scan in two passes. First, tasks go over the rows: each keeps, for each query, the k largest lower bounds of
 * scores, and as candidates all rows whose upper bound reaches the least of them. Then the candidates of a query are
 * scored by their vectors, the most promising first, until the next one's upper bound is below the k-th best score: no
 * row that is left out can belong to the answer. */
#include "index/scan.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define TASKS_PER_THREAD 4
/* Products of one group with so many planes are made before they are looked at. */
#define PLANES_AT_ONCE 72
/* Queries that one pass over the rows takes; and bytes of their lists of lower bounds. */
#define QUERIES_AT_ONCE 256
#define LIST_BYTES ((size_t)64 << 20)

/* --------------------------------------------------------------- candidates */

typedef struct candidate {
  uint64_t row;
  float upper, lower; /* the same: that is the score */
} candidate;

/* What a task knows of the best rows for one query. */
typedef struct finder {
  float *lower; /* [k] heap, the least on top */
  size_t n, k;
  candidate *list;
  size_t count, capacity;
  size_t prune_at; /* when the list grows to this, the hopeless are taken out */
  bool failed;     /* no memory */
} finder;

static float finder_least(const finder *f) {
  return f->n == f->k ? f->lower[0] : -INFINITY;
}

static void offer_lower(finder *f, float x) {
  float *heap = f->lower;
  if (f->n < f->k) {
    size_t at = f->n++;
    for (; at > 0 && heap[(at - 1) / 2] > x; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    heap[at] = x;
    return;
  }
  if (x <= heap[0]) return;
  size_t at = 0;
  for (size_t child; (child = 2 * at + 1) < f->n; at = child) {
    if (child + 1 < f->n && heap[child + 1] < heap[child]) child++;
    if (x <= heap[child]) break;
    heap[at] = heap[child];
  }
  heap[at] = x;
}

static void prune(finder *f, float least) {
  size_t kept = 0;
  for (size_t i = 0; i < f->count; i++)
    if (f->list[i].upper >= least) f->list[kept++] = f->list[i];
  f->count = kept;
}

static void add_candidate(finder *f, candidate c) {
  offer_lower(f, c.lower);
  if (f->count >= f->prune_at) {
    prune(f, finder_least(f));
    f->prune_at = f->count * 2 > f->prune_at ? f->count * 2 : f->prune_at;
  }
  if (!kin_grow((void **)&f->list, &f->capacity, f->count + 1, sizeof c))
    f->failed = true;
  else
    f->list[f->count++] = c;
}

/* --------------------------------------------------------------------- pass */

typedef struct pass {
  const kin_scan *scan;
  const float *queries; /* [n][dim] of this pass */
  size_t dim, n;
  kin_scan_query coded;
  bool use_codes;
  size_t tasks;
  uint64_t first_group, groups, groups_per_task;
  finder *finders;         /* [tasks][n] */
  _Atomic(float) *reached; /* [n]: some task's k-th lower bound; whatever is below is out */
  uint64_t *bad;           /* [tasks]: a row whose checksum is wrong, or UINT64_MAX */
  size_t k;
  kin_match *out;
  size_t *n_out;
  kin_status *statuses; /* [n] */
  uint64_t *damaged;    /* [n]: the row that a status KIN_ERR_FORMAT is about */
} pass;

static void raise_reached(_Atomic(float) *reached, float x) {
  float seen = atomic_load_explicit(reached, memory_order_relaxed);
  while (x > seen &&
         !atomic_compare_exchange_weak_explicit(reached, &seen, x, memory_order_relaxed, memory_order_relaxed)) {
  }
}

static float threshold(const pass *p, const finder *f, size_t query) {
  float own = finder_least(f), others = atomic_load_explicit(&p->reached[query], memory_order_relaxed);
  return own > others ? own : others;
}

static uint64_t rows_alive(const kin_scan *s, uint64_t group) {
  uint64_t first = group * KIN_SCAN_ROWS, alive = ~s->dead[group];
  if (s->rows - first < KIN_SCAN_ROWS) alive &= ((uint64_t)1 << (s->rows - first)) - 1;
  return alive;
}

static uint64_t rows_wanted(const kin_scan *s, uint64_t group) {
  uint64_t first = group * KIN_SCAN_ROWS, wanted = rows_alive(s, group);
  if (first < s->first) wanted &= s->first - first < KIN_SCAN_ROWS ? ~(uint64_t)0 << (s->first - first) : 0;
  const kin_row_filter *filter = s->query->filter;
  if (!filter) return wanted;
  if (first >= filter->rows) return 0;
  if (filter->rows - first < KIN_SCAN_ROWS) wanted &= ((uint64_t)1 << (filter->rows - first)) - 1;
  return wanted & filter->words[group];
}

/* The wanted rows of a group, by their codes, for the queries whose first plane is among [plane, plane + n). */
static void select_group(pass *p, finder *finders, uint64_t group, uint64_t wanted, size_t plane, size_t n,
                         const float *products) {
  const kin_code_tail *tail = kin_codes_tail(p->scan->codes, group);
  size_t per_query = p->coded.per_query;
  for (size_t i = 0; i < n; i += per_query, products += per_query * KIN_SCAN_ROWS) {
    size_t query = (plane + i) / per_query;
    finder *f = &finders[query];
    kin_scan_bound bound = p->coded.bounds[query];
    float estimates[KIN_SCAN_ROWS], had = finder_least(f);
    bound.constant *= tail->length;
    bound.least = threshold(p, f, query);
    uint64_t passed =
        wanted & p->scan->context->kernels->select(products, per_query == 2 ? products + KIN_SCAN_ROWS : NULL,
                                                   tail->scales, tail->errors, &bound, estimates);
    for (; passed; passed &= passed - 1) {
      size_t r = (size_t)__builtin_ctzll(passed);
      float margin = bound.error * tail->errors[r] + bound.constant;
      add_candidate(f, (candidate){group * KIN_SCAN_ROWS + r, estimates[r] + margin, estimates[r] - margin});
    }
    if (finder_least(f) > had) raise_reached(&p->reached[query], finder_least(f));
  }
}

/* Groups whose codes are looked at one after another. */
typedef struct run {
  size_t n, most;
  uint64_t groups[PLANES_AT_ONCE], wanted[PLANES_AT_ONCE]; /* the rows */
} run;

static void make_products(const pass *p, uint64_t group, size_t plane, size_t n, float *out) {
  const kin_scan_kernels *kernels = p->scan->context->scan;
  const kin_scan_query *q = &p->coded;
  const uint8_t *codes = kin_codes_at(p->scan->codes, group);
  size_t units = kin_code_units(q->kind, p->dim);
  if (q->kind == KIN_CODE_INT8)
    kernels->int8(codes, units, (const int8_t *)q->planes + plane * q->ld, q->ld, q->starts + plane, n, out);
  else
    kernels->bf16(codes, units, (const uint16_t *)q->planes + plane * q->ld, q->ld, n, out);
}

/* All of the run's products come before any of them is looked at: memory is to be read without a pause. */
static void scan_codes(pass *p, finder *finders, run *r) {
  float products[PLANES_AT_ONCE * KIN_SCAN_ROWS];
  size_t planes = p->coded.n * p->coded.per_query;
  for (size_t plane = 0; r->n && plane < planes; plane += PLANES_AT_ONCE) {
    size_t n = planes - plane < PLANES_AT_ONCE ? planes - plane : PLANES_AT_ONCE;
    for (size_t i = 0; i < r->n; i++) make_products(p, r->groups[i], plane, n, products + i * n * KIN_SCAN_ROWS);
    for (size_t i = 0; i < r->n; i++)
      select_group(p, finders, r->groups[i], r->wanted[i], plane, n, products + i * n * KIN_SCAN_ROWS);
  }
  r->n = 0;
}

/* The same by the vectors; false with *bad when one of the group's is damaged. */
static bool scan_vectors(pass *p, finder *finders, uint64_t group, uint64_t wanted, uint64_t *bad) {
  const kin_scan *s = p->scan;
  float scores[QUERIES_AT_ONCE];
  uint64_t first = group * KIN_SCAN_ROWS;
  for (uint64_t alive = s->verified[group] ? 0 : rows_alive(s, group); alive; alive &= alive - 1) {
    *bad = first + (uint64_t)__builtin_ctzll(alive);
    if (!kin_vectors_check(s->file, *bad)) return false;
  }
  if (s->rows - first >= KIN_SCAN_ROWS) s->verified[group] = 1;
  for (; wanted; wanted &= wanted - 1) {
    uint64_t row = first + (uint64_t)__builtin_ctzll(wanted);
    s->context->kernels->dots(kin_vectors_at(s->file, row), p->queries, p->dim, p->dim, p->n, scores);
    for (size_t i = 0; i < p->n; i++) {
      float least = threshold(p, &finders[i], i);
      if (scores[i] < least) continue;
      add_candidate(&finders[i], (candidate){row, scores[i], scores[i]});
      if (finder_least(&finders[i]) > least) raise_reached(&p->reached[i], finder_least(&finders[i]));
    }
  }
  return true;
}

static void pass_task(void *arg, size_t task) {
  pass *p = arg;
  const kin_scan *s = p->scan;
  finder *finders = p->finders + task * p->n;
  uint64_t group = p->first_group + task * p->groups_per_task, end = group + p->groups_per_task, bad;
  size_t planes = p->coded.n * p->coded.per_query;
  run r = {.most = planes && planes < PLANES_AT_ONCE ? PLANES_AT_ONCE / planes : 1};
  for (; group < end && group < p->groups; group++) {
    uint64_t wanted = rows_wanted(s, group);
    if (!wanted) continue;
    if (p->use_codes && group < kin_codes_groups(s->codes) && kin_codes_usable(s->codes, group)) {
      r.groups[r.n] = group;
      r.wanted[r.n++] = wanted;
      if (r.n == r.most) scan_codes(p, finders, &r);
    } else if (!scan_vectors(p, finders, group, wanted, &bad)) {
      p->bad[task] = bad;
      return;
    }
  }
  scan_codes(p, finders, &r);
}

/* ------------------------------------------------------------------ rescore */

typedef struct best_list {
  kin_match *heap; /* the worst on top */
  size_t n, k;
} best_list;

static void offer_match(best_list *best, kin_match m) {
  kin_match *heap = best->heap;
  if (best->n < best->k) {
    size_t at = best->n++;
    for (; at > 0 && kin_match_is_better(heap[(at - 1) / 2], m); at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    heap[at] = m;
    return;
  }
  if (!kin_match_is_better(m, heap[0])) return;
  size_t at = 0;
  for (size_t child; (child = 2 * at + 1) < best->n; at = child) {
    if (child + 1 < best->n && kin_match_is_better(heap[child], heap[child + 1])) child++;
    if (!kin_match_is_better(m, heap[child])) break;
    heap[at] = heap[child];
  }
  heap[at] = m;
}

static int compare_candidates(const void *a, const void *b) {
  const candidate *x = a, *y = b;
  if (x->upper != y->upper) return x->upper > y->upper ? -1 : 1;
  return x->row < y->row ? -1 : x->row > y->row;
}

/* All tasks' candidates of a query that the k-th lower bound of them all leaves, the most promising first. */
static candidate *gather(pass *p, size_t query, size_t *n_out) {
  finder *first = &p->finders[query];
  size_t n = 0;
  for (size_t t = 1; t < p->tasks; t++) {
    const finder *f = &p->finders[t * p->n + query];
    for (size_t i = 0; i < f->n; i++) offer_lower(first, f->lower[i]);
  }
  for (size_t t = 0; t < p->tasks; t++) {
    finder *f = &p->finders[t * p->n + query];
    if (f->failed) return NULL;
    prune(f, finder_least(first));
    n += f->count;
  }
  candidate *all = kin_array(n, sizeof *all);
  *n_out = 0;
  for (size_t t = 0; all && t < p->tasks; t++) {
    const finder *f = &p->finders[t * p->n + query];
    if (f->count) memcpy(all + *n_out, f->list, f->count * sizeof *all);
    *n_out += f->count;
  }
  if (all) qsort(all, n, sizeof *all, compare_candidates);
  return all;
}

static void rescore_task(void *arg, size_t query) {
  pass *p = arg;
  const kin_scan *s = p->scan;
  best_list best = {.heap = p->out + query * s->query->k, .k = s->query->k};
  size_t n;
  candidate *all = gather(p, query, &n);
  p->statuses[query] = all ? KIN_OK : KIN_ERR_MEMORY;
  for (size_t i = 0; all && i < n; i++) {
    candidate c = all[i];
    if (best.n == best.k && c.upper < best.heap[0].score) break;
    if (i + 2 < n && all[i + 2].lower < all[i + 2].upper) kin_vectors_prefetch(s->file, all[i + 2].row);
    float score = c.upper;
    if (c.lower < c.upper) {
      bool right = kin_vectors_check(s->file, c.row);
      if (right) score = s->context->kernels->dot(p->queries + query * p->dim, kin_vectors_at(s->file, c.row), p->dim);
      if (!right || score > c.upper || score < c.lower) {
        p->statuses[query] = right ? KIN_ERR_MISMATCH : KIN_ERR_FORMAT;
        p->damaged[query] = c.row;
        break;
      }
    }
    offer_match(&best, (kin_match){kin_vectors_id(s->file, c.row), c.row, score});
  }
  free(all);
  qsort(best.heap, best.n, sizeof *best.heap, kin_match_compare);
  p->n_out[query] = best.n;
}

/* ---------------------------------------------------------------------- run */

static void free_finders(pass *p) {
  for (size_t i = 0; p->finders && i < p->tasks * p->n; i++) {
    free(p->finders[i].lower);
    free(p->finders[i].list);
  }
  free(p->finders);
}

static bool make_finders(pass *p) {
  p->finders = calloc(p->tasks * p->n, sizeof *p->finders);
  for (size_t i = 0; p->finders && i < p->tasks * p->n; i++) {
    finder *f = &p->finders[i];
    *f = (finder){.k = p->k, .prune_at = 4 * p->k + 1024, .lower = kin_array(p->k, sizeof *f->lower)};
    if (!f->lower) return false;
  }
  return p->finders != NULL;
}

static kin_status outcome(const pass *p, bool *stale, kin_error *err) {
  for (size_t t = 0; t < p->tasks; t++)
    if (p->bad[t] != UINT64_MAX) return kin_vectors_fail_row(p->scan->file, p->bad[t], err);
  for (size_t i = 0; i < p->n; i++) {
    if (p->statuses[i] == KIN_ERR_FORMAT) return kin_vectors_fail_row(p->scan->file, p->damaged[i], err);
    if (p->statuses[i] == KIN_ERR_MEMORY) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a search");
    if (p->statuses[i] == KIN_ERR_MISMATCH) *stale = true;
  }
  return KIN_OK;
}

static kin_status run_pass(pass *p, bool *stale, kin_error *err) {
  kin_pool *pool = p->scan->context->pool;
  kin_status status = KIN_OK;
  p->reached = kin_array(p->n, sizeof *p->reached);
  p->bad = kin_array(p->tasks, sizeof *p->bad);
  p->statuses = calloc(p->n, sizeof *p->statuses);
  p->damaged = kin_array(p->n, sizeof *p->damaged);
  if (make_finders(p) && p->reached && p->bad && p->statuses && p->damaged) {
    for (size_t i = 0; i < p->n; i++) atomic_init(&p->reached[i], -INFINITY);
    for (size_t t = 0; t < p->tasks; t++) p->bad[t] = UINT64_MAX;
    kin_parallel_for(pool, p->tasks, pass_task, p);
    bool whole = true;
    for (size_t t = 0; t < p->tasks; t++) whole = whole && p->bad[t] == UINT64_MAX;
    if (whole) kin_parallel_for(pool, p->n, rescore_task, p);
    status = outcome(p, stale, err);
  } else {
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for a search of %zu matches", p->k);
  }
  free_finders(p);
  free(p->reached);
  free(p->bad);
  free(p->statuses);
  free(p->damaged);
  return status;
}

/* Queries [first, first + n) in one pass. */
static kin_status run_queries(const kin_scan *scan, size_t first, pass p, bool *stale, kin_error *err) {
  p.queries = scan->query->vectors + first * p.dim;
  kin_status status = KIN_OK;
  if (p.use_codes)
    status = kin_scan_query_make(kin_codes_kind(scan->codes), p.queries, p.n, p.dim, &p.coded, &p.use_codes, err);
  if (status == KIN_OK) status = run_pass(&p, stale, err);
  kin_scan_query_free(&p.coded);
  return status;
}

kin_status kin_scan_run(const kin_scan *scan, kin_match *out, size_t *n_out, bool *stale, kin_error *err) {
  const kin_index_query *query = scan->query;
  size_t threads = kin_pool_threads(scan->context->pool);
  pass p = {.scan = scan, .dim = kin_vectors_dim(scan->file), .tasks = threads > 1 ? threads * TASKS_PER_THREAD : 1};
  p.groups = (scan->rows + KIN_SCAN_ROWS - 1) / KIN_SCAN_ROWS;
  p.first_group = scan->first / KIN_SCAN_ROWS;
  p.groups_per_task = (p.groups - p.first_group + p.tasks - 1) / p.tasks;
  p.tasks = (size_t)((p.groups - p.first_group + p.groups_per_task - 1) / p.groups_per_task);
  p.k = query->k < scan->rows ? query->k : (size_t)scan->rows;
  /* Where much of the collection is wanted, bounds only delay. */
  p.use_codes = scan->codes && p.k < scan->rows / 8;
  size_t most = LIST_BYTES / (p.tasks * p.k * sizeof(float));
  most = most > QUERIES_AT_ONCE ? QUERIES_AT_ONCE : most < 1 ? 1 : most;
  *stale = false;
  kin_status status = KIN_OK;
  for (size_t first = 0; status == KIN_OK && !*stale && first < query->n; first += p.n) {
    p.n = query->n - first < most ? query->n - first : most;
    p.out = out + first * query->k;
    p.n_out = n_out + first;
    status = run_queries(scan, first, p, stale, err);
  }
  return status;
}
