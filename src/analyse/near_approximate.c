/* First in cells: some vectors of the set, taken at even steps, are pivots; each vector belongs to the cells of its
 * nearest ones, and those of a cell are compared with one another. Pivots out of the data lie as densely as it does,
 * which keeps cells of one size without any training.
 *
 * Then by NN-descent: neighbours of neighbours are likely to be neighbours, so each vector's nearest so far, and those
 * that it is near to, are compared with one another, until a sample of vectors, whose neighbours are looked for among
 * all, shows that nearly all are found. */
#include "analyse/near_approximate.h"

#include "analyse/analyse.h"
#include "analyse/exact.h"
#include "analyse/near_lists.h"
#include "base/context.h"
#include "base/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
  FEW_CELLS = 4,
  SOME_CELLS = 8, /* where not so many need be found: a quarter of the work of ... */
  MANY_CELLS = 16,
  PIVOTS = 8,     /* times sqrt(n) */
  MOST_TIMES = 3, /* of the mean size: a larger cell is cut */
  SAMPLE = 256,
  MOST_ROUNDS = 4,
  BATCH = 4096, /* groups between two looks at progress */
  ROWS = 64
};
/* Of a sample, the share that must be found to go no further, unless the caller names one; the share to which some
 * cells will do; the one below which the exact search is taken; and the one in few cells that shows that no place is
 * near another. */
static const double usual_enough = 0.97, modest = 0.9, least = 0.95, hopeless = 0.2;

typedef struct member {
  uint32_t cell, vector;
} member;

typedef struct searching {
  kin_context *context;
  const kin_vector_set *set;
  const kin_near_options *options;
  size_t k;
  kin_near *out;   /* [n][k] */
  double *inverse; /* [n] */
  kin_nearest_frame frame;
  kin_nearest_side side;
  kin_near_lists *lists;
  size_t own;                                /* the most cells that a vector belongs to */
  uint32_t *cells;                           /* [n][own]: of each vector, the nearest first */
  member *members;                           /* by cell, then vector */
  size_t n_pivots, n_members, n_parts, most; /* most members of a part */
  size_t *parts;                             /* [n_parts + 1]: where in `members` a cell, or a piece of one, begins */
  uint32_t *ahead, *n_ahead;                 /* of a round: [n][k], [n]: the lists when it began ... */
  size_t *arrive;     /* [n + 1] ... and where in `arriving` those begin that have a vector in theirs */
  uint32_t *arriving; /* [n * k] */
  bool *changed;      /* [n] */
  size_t sample[SAMPLE], n_sample;
  kin_near *sampled; /* [n_sample][k]: the true ones */
} searching;

static bool report(const searching *s, double done) {
  return !s->options->on_progress || s->options->on_progress(s->options->user, done);
}

static kin_status stopped(kin_error *err) {
  return kin_fail(err, KIN_ERR_CANCELLED, "stopped while neighbours were looked for");
}

/* ------------------------------------------------------------------- cells */

static int by_cell(const void *a, const void *b) {
  const member *x = a, *y = b;
  if (x->cell != y->cell) return x->cell < y->cell ? -1 : 1;
  return (x->vector > y->vector) - (x->vector < y->vector);
}

static kin_status assign(searching *s, kin_error *err) {
  const kin_vector_set *set = s->set;
  const size_t n_pivots = s->n_pivots, own = s->own;
  float *pivots = kin_array(n_pivots, set->dim * sizeof *pivots);
  kin_near *near = kin_array(set->n, own * sizeof *near);
  s->cells = kin_array(set->n, own * sizeof *s->cells);
  kin_status status = KIN_OK;
  if (!pivots || !near || !s->cells)
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for the cells of %zu vectors", set->n);
  for (size_t p = 0; status == KIN_OK && p < n_pivots; p++)
    memcpy(pivots + p * set->dim, set->values + p * set->n / n_pivots * set->dim, set->dim * sizeof *pivots);
  const kin_vector_set cells = {pivots, n_pivots, set->dim};
  if (status == KIN_OK) status = kin_nearest(s->context, &cells, set, s->options->metric, own, near, err);
  for (size_t i = 0; status == KIN_OK && i < set->n * own; i++) s->cells[i] = (uint32_t)near[i].index;
  free(pivots), free(near);
  return status;
}

/* Put each vector into its nearest `own` cells. */
static kin_status fill_cells(searching *s, size_t own, kin_error *err) {
  const size_t n = s->set->n;
  free(s->members);
  s->members = kin_array(n, own * sizeof *s->members), s->n_members = 0;
  if (!s->members) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the cells of %zu vectors", n);
  for (size_t i = 0; i < n * own; i++)
    s->members[s->n_members++] = (member){s->cells[i / own * s->own + i % own], (uint32_t)(i / own)};
  if (s->n_members) qsort(s->members, s->n_members, sizeof *s->members, by_cell);
  return KIN_OK;
}

static kin_status cut(searching *s, kin_error *err) {
  free(s->parts);
  s->parts = kin_array(s->n_pivots + s->n_members / s->most + 2, sizeof *s->parts), s->n_parts = 0;
  if (!s->parts) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu cells", s->n_pivots);
  for (size_t i = 0, end; i < s->n_members; i = end) {
    for (end = i + 1; end < s->n_members && end - i < s->most && s->members[end].cell == s->members[i].cell;) end++;
    s->parts[s->n_parts++] = i;
  }
  s->parts[s->n_parts] = s->n_members;
  return KIN_OK;
}

static size_t members_of_part(void *user, size_t part, uint32_t *out) {
  const searching *s = user;
  const size_t first = s->parts[part], n = s->parts[part + 1] - first;
  for (size_t i = 0; i < n; i++) out[i] = s->members[first + i].vector;
  return n;
}

/* Join groups, `from` to `to` of the work. */
static kin_status join(searching *s, size_t groups, size_t (*members)(void *user, size_t group, uint32_t *out),
                       double from, double to, kin_error *err) {
  kin_status status = KIN_OK;
  for (size_t first = 0, end; status == KIN_OK && first < groups; first = end) {
    if (!report(s, from + (to - from) * (double)first / (double)groups)) return stopped(err);
    end = groups - first < BATCH ? groups : first + BATCH;
    status = kin_near_lists_join(s->lists, first, end, members, s, err);
  }
  return status;
}

/* ------------------------------------------------------------------ rounds */

static bool holds(const uint32_t *list, size_t n, uint32_t wanted) {
  for (size_t i = 0; i < n; i++)
    if (list[i] == wanted) return true;
  return false;
}

/* A vector, its nearest so far, and as many of those that it is near to. Nothing where all know one another. */
static size_t members_around(void *user, size_t group, uint32_t *out) {
  const searching *s = user;
  const size_t k = s->k, first = s->arrive[group], all = s->arrive[group + 1] - first, most = all < k ? all : k;
  const uint32_t *ahead = s->ahead + group * k;
  bool changed = s->changed[group];
  size_t n = 0;
  out[n++] = (uint32_t)group;
  for (size_t i = 0; i < s->n_ahead[group]; i++) out[n++] = ahead[i];
  for (size_t i = 0; i < most; i++) {
    const uint32_t other = s->arriving[first + i * all / most];
    changed = changed || s->changed[other];
    if (!holds(ahead, s->n_ahead[group], other)) out[n++] = other;
  }
  return changed ? n : 0;
}

static void begin_round(searching *s) {
  const size_t n = s->set->n, k = s->k;
  memset(s->arrive, 0, (n + 1) * sizeof *s->arrive);
  for (size_t i = 0; i < n; i++) {
    s->n_ahead[i] = (uint32_t)kin_near_lists_get(s->lists, i, s->ahead + i * k);
    s->changed[i] = kin_near_lists_changed(s->lists, i);
    for (size_t j = 0; j < s->n_ahead[i]; j++) s->arrive[s->ahead[i * k + j] + 1]++;
  }
  for (size_t i = 0; i < n; i++) s->arrive[i + 1] += s->arrive[i];
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < s->n_ahead[i]; j++) s->arriving[s->arrive[s->ahead[i * k + j]]++] = (uint32_t)i;
  for (size_t i = n; i > 0; i--) s->arrive[i] = s->arrive[i - 1];
  s->arrive[0] = 0;
  kin_near_lists_mark(s->lists);
}

/* ---------------------------------------------------------------- measuring */

static int by_distance(const void *a, const void *b) {
  const kin_near *x = a, *y = b;
  if (x->distance != y->distance) return x->distance < y->distance ? -1 : 1;
  return (x->index > y->index) - (x->index < y->index);
}

/* Vector i's list as it is to be given back. */
static size_t measure(const searching *s, size_t i, uint32_t *list, kin_near *out) {
  const size_t dim = s->set->dim, n = kin_near_lists_get(s->lists, i, list);
  const float *values = s->set->values;
  for (size_t j = 0; j < n; j++) {
    const float *x = values + i * dim, *y = values + list[j] * dim;
    out[j].index = list[j];
    if (s->options->metric == KIN_METRIC_EUCLIDEAN)
      out[j].distance = sqrt(kin_exact_squares(x, y, dim));
    else
      out[j].distance = 1 - fmax(-1, fmin(1, kin_exact_dot(x, y, dim) * s->inverse[i] * s->inverse[list[j]]));
  }
  qsort(out, n, sizeof *out, by_distance);
  return n;
}

/* Task of the pool. */
static void measure_rows(void *arg, size_t block) {
  const searching *s = arg;
  const size_t k = s->k, n = s->set->n, end = (block + 1) * ROWS < n ? (block + 1) * ROWS : n;
  for (size_t i = block * ROWS; i < end; i++) {
    kin_near *out = s->out + i * k;
    for (size_t found = measure(s, i, s->ahead + i * k, out); found < k; found++)
      out[found] = (kin_near){SIZE_MAX, INFINITY};
  }
}

static kin_status find_exact(const searching *s, const size_t *chosen, size_t n, kin_near *out, kin_error *err) {
  const kin_nearest_task task = {.context = s->context,
                                 .set = s->set,
                                 .chosen = chosen,
                                 .n_queries = n,
                                 .metric = s->options->metric,
                                 .k = s->k,
                                 .out = out};
  return kin_nearest_run(&task, err);
}

/* Of each part of the set one, by lot: pivots, which lie at even steps, find more than others. */
static kin_status open_sample(searching *s, kin_error *err) {
  const size_t n = s->set->n;
  s->n_sample = n < SAMPLE ? n : SAMPLE;
  kin_random random = {0};
  for (size_t i = 0; i < s->n_sample; i++) {
    const size_t first = i * n / s->n_sample, end = (i + 1) * n / s->n_sample;
    s->sample[i] = first + kin_random_below(&random, end - first);
  }
  s->sampled = kin_array(s->n_sample, s->k * sizeof *s->sampled);
  if (!s->sampled) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the neighbours of %zu vectors", s->n_sample);
  return find_exact(s, s->sample, s->n_sample, s->sampled, err);
}

/* The share of the sample's neighbours that are as near as the true ones. */
static double find_recall(const searching *s) {
  const size_t k = s->k;
  size_t found = 0;
  for (size_t i = 0; i < s->n_sample; i++) {
    kin_near *out = s->out; /* nothing is in it yet */
    const size_t n = measure(s, s->sample[i], s->ahead, out);
    for (size_t j = 0; j < n; j++) found += out[j].distance <= s->sampled[(i + 1) * k - 1].distance;
  }
  return (double)found / (double)(s->n_sample * k);
}

/* ----------------------------------------------------------------- searching */

static kin_status open(searching *s, kin_error *err) {
  const size_t n = s->set->n, k = s->k;
  s->n_pivots = (size_t)(PIVOTS * sqrt((double)n));
  if (s->n_pivots > n) s->n_pivots = n;
  const size_t cell = MOST_TIMES * (MANY_CELLS * n / s->n_pivots + 1), group = 2 * k + 1;
  s->most = cell > group ? cell : group;
  kin_status status = kin_inverse_lengths(s->set, &s->inverse, err);
  const double *factors = s->options->metric == KIN_METRIC_COSINE ? s->inverse : NULL;
  if (status == KIN_OK)
    status = kin_nearest_frame_open(s->context, s->set, factors, s->options->metric, &s->frame, err);
  if (status == KIN_OK)
    status = kin_nearest_side_open(s->context, &s->frame, s->set, factors, NULL, n, false, &s->side, err);
  if (status == KIN_OK) status = kin_near_lists_open(s->context, &s->side, k, s->most, &s->lists, err);
  s->ahead = kin_array(n, k * sizeof *s->ahead), s->n_ahead = kin_array(n, sizeof *s->n_ahead);
  s->arrive = kin_array(n + 1, sizeof *s->arrive), s->arriving = kin_array(n, k * sizeof *s->arriving);
  s->changed = kin_array(n, sizeof *s->changed);
  if (status == KIN_OK && (!s->ahead || !s->n_ahead || !s->arrive || !s->arriving || !s->changed))
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for the neighbours of %zu vectors", n);
  return status == KIN_OK ? open_sample(s, err) : status;
}

static void release(searching *s) {
  kin_near_lists_close(s->lists);
  kin_nearest_side_close(&s->side);
  kin_nearest_frame_close(&s->frame);
  free(s->inverse), free(s->cells), free(s->members), free(s->parts), free(s->sampled);
  free(s->ahead), free(s->n_ahead), free(s->arrive), free(s->arriving), free(s->changed);
}

static kin_status run_cells(searching *s, size_t own, double from, double to, double *recall, kin_error *err) {
  kin_status status = fill_cells(s, own < s->own ? own : s->own, err);
  if (status == KIN_OK) status = cut(s, err);
  if (status == KIN_OK) status = join(s, s->n_parts, members_of_part, from, to, err);
  if (status == KIN_OK) *recall = find_recall(s);
  return status;
}

/* False where no share that is found is too small. */
static bool must_find(const searching *s) {
  return s->options->search == KIN_NEAR_AUTO;
}

static kin_status improve(searching *s, double *recall, kin_error *err) {
  const double enough = s->options->enough > 0 ? s->options->enough : usual_enough;
  const size_t own = enough <= modest ? SOME_CELLS : MANY_CELLS;
  double done = 0.2, next = 0.4;
  s->own = own < s->n_pivots ? own : s->n_pivots;
  kin_status status = assign(s, err);
  if (status == KIN_OK) status = run_cells(s, FEW_CELLS, 0.1, done, recall, err);
  if (status == KIN_OK && *recall < enough && !(must_find(s) && *recall < hopeless))
    status = run_cells(s, own, done, next, recall, err);
  for (size_t round = 0; status == KIN_OK && *recall < enough && round < MOST_ROUNDS; round++) {
    if (must_find(s) && *recall < hopeless) break;
    done = next, next = (1 + done) / 2;
    begin_round(s);
    status = join(s, s->set->n, members_around, done, next, err);
    if (status == KIN_OK) *recall = find_recall(s);
  }
  return status;
}

/* Whole lists for vectors that met too few others. */
static kin_status fill_up(searching *s, kin_error *err) {
  const size_t n = s->set->n, k = s->k;
  size_t few = 0, *chosen = kin_array(n, sizeof *chosen);
  if (!chosen) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu vectors", n);
  for (size_t i = 0; i < n; i++)
    if (s->out[(i + 1) * k - 1].index == SIZE_MAX) chosen[few++] = i;
  kin_near *near = few ? kin_array(few, k * sizeof *near) : NULL;
  kin_status status = few && !near ? kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu vectors", few) : KIN_OK;
  if (status == KIN_OK && few) status = find_exact(s, chosen, few, near, err);
  for (size_t i = 0; status == KIN_OK && i < few; i++) memcpy(s->out + chosen[i] * k, near + i * k, k * sizeof *near);
  free(chosen), free(near);
  return status;
}

kin_status kin_near_approximate(kin_context *context, const kin_vector_set *set, const kin_near_options *options,
                                kin_near *out, double *recall, kin_error *err) {
  searching s = {.context = context, .set = set, .options = options, .k = options->k, .out = out};
  kin_status status = report(&s, 0) ? open(&s, err) : stopped(err);
  if (status == KIN_OK) status = improve(&s, recall, err);
  const bool exact = status == KIN_OK && must_find(&s) && *recall < least;
  if (status == KIN_OK && !exact) {
    kin_parallel_for(context->pool, (set->n + ROWS - 1) / ROWS, measure_rows, &s);
    status = fill_up(&s, err);
  }
  release(&s);
  if (!exact) return status;
  *recall = 1;
  return kin_near_exact(context, set, options, out, err);
}
