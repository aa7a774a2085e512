/* Exact nearest neighbours of many vectors at once.
 *
 * A block of rows times a block of columns is multiplied in bfloat16 (where the CPU has it, else in float), and each
 * score that may still belong to the k best of its row is noted: those at least the k-th best less twice the bound on
 * the error of a score. What was noted is then measured in double, so that the answer is exact, and the same
 * whatever the products were made with. When rows and columns are the same vectors, a block serves both ways.
 *
 * Blocks are paired as in a round-robin tournament: no two tasks of a round write to the same rows. */
#include "analyse/nearest.h"

#include "analyse/analyse.h"
#include "analyse/exact.h"
#include "analyse/nearest_side.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ROWS = 512, LEAST_ROWS = 64, CHUNK = KIN_NEAREST_CHUNK, BLOCK_BYTES = 512 << 10, ROW_BLOCKS = 8 };

typedef struct candidate {
  float score;
  uint32_t column;
} candidate;

typedef struct row_list {
  uint32_t held;    /* noted and not yet measured */
  uint32_t settled; /* measured: so many of the row's k are in `out`, in order */
} row_list;

typedef struct search {
  const kin_nearest_task *task;
  double *inverse, *query_inverse; /* of set and queries; the second may be the first */
  kin_nearest_frame frame;
  kin_nearest_side columns, own_rows;
  const kin_nearest_side *rows; /* &columns when the set is searched for itself */
  bool mirrored;
  size_t block, n_blocks; /* of columns; of rows too when mirrored */
  size_t row_blocks, first_row_block, round;
  size_t capacity; /* candidates noted of a row */
  candidate *candidates;
  row_list *lists;
  float *bar;   /* [rows padded]: scores must be above it; infinite beyond n */
  float *error; /* [rows] */
} search;

/* --------------------------------------------------------------- measuring */

static size_t source_of(const search *s, size_t row) {
  return s->task->chosen ? s->task->chosen[row] : row;
}

/* What ranks: one less the cosine, or the square of the distance. */
static double measure_pair(const search *s, size_t row, size_t column) {
  const kin_nearest_task *t = s->task;
  const size_t dim = t->set->dim, source = source_of(s, row);
  const float *x = (t->queries ? t->queries : t->set)->values + source * dim, *y = t->set->values + column * dim;
  if (t->metric == KIN_METRIC_EUCLIDEAN) return kin_exact_squares(x, y, dim);
  double cosine = kin_exact_dot(x, y, dim) * s->query_inverse[source] * s->inverse[column];
  if (t->as_float) cosine = (double)(float)cosine;
  return 1 - fmax(-1, fmin(1, cosine));
}

static double ranked_of(const search *s, double distance) {
  return s->task->metric == KIN_METRIC_EUCLIDEAN ? distance * distance : distance;
}

static double measure(const search *s, size_t row, size_t column) {
  const double pair = measure_pair(s, row, column), *core = s->task->core;
  return core ? fmax(pair, ranked_of(s, fmax(core[source_of(s, row)], core[column]))) : pair;
}

static double score_of(const search *s, size_t row, double ranked) {
  const double offset = s->rows->offset[row];
  if (s->task->metric == KIN_METRIC_COSINE) return 1 - ranked - offset;
  return offset - ranked * s->frame.scale * s->frame.scale / 2;
}

static int by_score(const void *a, const void *b) {
  const candidate *x = a, *y = b;
  if (x->score != y->score) return x->score < y->score ? 1 : -1;
  return x->column < y->column ? -1 : x->column > y->column;
}

/* Measure what was noted of a row, and keep the k best. */
static void settle(search *s, size_t row) {
  row_list *list = &s->lists[row];
  candidate *noted = s->candidates + row * s->capacity;
  const size_t k = s->task->k;
  kin_near *best = s->task->out + row * k;
  qsort(noted, list->held, sizeof *noted, by_score); /* nearly the right order, so that insertion is short */
  for (size_t i = 0; i < list->held; i++) {
    const kin_near one = {noted[i].column, measure(s, row, noted[i].column)};
    if (s->task->limit && !(one.distance < ranked_of(s, s->task->limit[row]))) continue;
    size_t at = list->settled < k ? list->settled++ : k;
    for (; at > 0; at--) {
      const kin_near *before = &best[at - 1];
      if (before->distance < one.distance || (before->distance == one.distance && before->index < one.index)) break;
      if (at < k) best[at] = *before;
    }
    if (at < k) best[at] = one;
  }
  list->held = 0;
  if (list->settled == k) s->bar[row] = (float)(score_of(s, row, best[k - 1].distance) - (double)s->error[row] * 1.001);
}

/* Put the k greatest scores first, the least of them at k - 1; 1 <= k <= n. */
static void select_first(candidate *items, size_t n, size_t k) {
  ptrdiff_t low = 0, high = (ptrdiff_t)n - 1, wanted = (ptrdiff_t)k - 1;
  while (low < high) {
    const float pivot = items[low + (high - low) / 2].score;
    ptrdiff_t i = low, j = high;
    while (i <= j) {
      while (items[i].score > pivot) i++;
      while (items[j].score < pivot) j--;
      if (i > j) break;
      const candidate swap = items[i];
      items[i++] = items[j], items[j--] = swap;
    }
    if (wanted <= j)
      high = j;
    else if (wanted >= i)
      low = i;
    else
      return;
  }
}

/* A full list: forget what can't be among the k best any more; where that is little, measure. */
static void make_room(search *s, size_t row) {
  row_list *list = &s->lists[row];
  candidate *noted = s->candidates + row * s->capacity;
  const size_t k = s->task->k;
  if (list->settled == 0 && !s->task->core) { /* else the nearest needn't be the first */
    select_first(noted, list->held, k);
    const float bar = noted[k - 1].score - 2.001f * s->error[row];
    uint32_t kept = 0;
    for (size_t i = 0; i < list->held; i++)
      if (noted[i].score > bar) noted[kept++] = noted[i];
    list->held = kept, s->bar[row] = bar;
  }
  if (list->settled || s->task->core || list->held > s->capacity - s->capacity / 4) settle(s, row);
}

static void note(search *s, size_t row, size_t column, float score) {
  row_list *list = &s->lists[row];
  s->candidates[row * s->capacity + list->held++] = (candidate){score, (uint32_t)column};
  if (list->held == s->capacity) make_room(s, row);
}

/* ---------------------------------------------------------------- products */

/* Whether some of CHUNK scores are wanted. Without branches, for the compiler to use vectors. */
static bool any_wanted(const float *scores, const float *bias, float bar) {
  unsigned any = 0;
  for (size_t j = 0; j < CHUNK; j++) any |= (unsigned)(scores[j] - bias[j] > bar);
  return any;
}

/* The same of both ways. */
static bool any_wanted_mirrored(const float *scores, const float *bias, float bar, const float *bars, float own_bias) {
  unsigned any = 0;
  for (size_t j = 0; j < CHUNK; j++)
    any |= (unsigned)(scores[j] - bias[j] > bar) | (unsigned)(scores[j] - own_bias > bars[j]);
  return any;
}

/* Note what is wanted of a row's scores with columns [first, first + n), n a multiple of CHUNK. */
static void scan_row(search *s, size_t row, const float *scores, size_t first, size_t n, bool both) {
  const float *bias = s->columns.bias + first, own_bias = s->rows->bias[row];
  const size_t self = s->task->queries ? SIZE_MAX : source_of(s, row);
  const uint32_t *group = s->task->group;
  for (size_t j0 = 0; j0 < n; j0 += CHUNK) {
    if (both ? !any_wanted_mirrored(scores + j0, bias + j0, s->bar[row], s->bar + first + j0, own_bias)
             : !any_wanted(scores + j0, bias + j0, s->bar[row]))
      continue;
    for (size_t j = j0; j < j0 + CHUNK; j++) {
      const size_t column = first + j;
      if (scores[j] - bias[j] > s->bar[row] && column != self && (!group || group[column] != group[self]))
        note(s, row, column, scores[j] - bias[j]);
      if (both && scores[j] - own_bias > s->bar[column]) note(s, column, row, scores[j] - own_bias);
    }
  }
}

/* Rows [first, end) with a block of columns; `both`: the columns look among the rows too. */
static void run_blocks(search *s, size_t first, size_t end, size_t column_block, bool both) {
  float scores[KIN_MAX_TILE_ROWS * MOST_ROWS];
  const size_t most = kin_nearest_tile_rows(s->task->context, s->frame.bf16);
  const size_t column = column_block * s->block;
  const size_t left = s->columns.padded - column, n = left < s->block ? left : s->block;
  const size_t whole = (n + CHUNK - 1) / CHUNK * CHUNK; /* bias and bar have room for it */
  for (size_t row = first, rows; row < end; row += rows) {
    rows = end - row < most ? end - row : most;
    kin_nearest_multiply(s->task->context, s->frame.bf16, kin_nearest_row(s->rows, row), rows, &s->columns,
                         column / KIN_PANEL, n / KIN_PANEL, scores, MOST_ROWS);
    for (size_t r = 0; r < rows; r++) {
      for (size_t j = n; j < whole; j++) scores[r * MOST_ROWS + j] = 0;
      scan_row(s, row + r, scores + r * MOST_ROWS, column, whole, both);
    }
  }
}

static size_t block_end(const search *s, size_t block) {
  const size_t end = (block + 1) * s->block;
  return end < s->rows->n ? end : s->rows->n;
}

/* Task of the pool: a block of rows with itself. */
static void run_diagonal(void *arg, size_t block) {
  search *s = arg;
  run_blocks(s, block * s->block, block_end(s, block), block, false);
}

/* Task of the pool: one game of the round; an even number of blocks plays, one of them fixed. */
static void run_game(void *arg, size_t game) {
  search *s = arg;
  const size_t players = (s->n_blocks + 1) / 2 * 2, circle = players - 1;
  size_t a = game == 0 ? circle : (s->round + game) % circle, b = (s->round + circle - game) % circle;
  if (a >= s->n_blocks || b >= s->n_blocks) return; /* a bye */
  run_blocks(s, a * s->block, block_end(s, a), b, true);
}

/* Task of the pool: a block of rows with all columns. */
static void run_all_columns(void *arg, size_t block) {
  search *s = arg;
  block += s->first_row_block;
  for (size_t b = 0; b < s->n_blocks; b++) run_blocks(s, block * s->block, block_end(s, block), b, false);
}

static void finish_row(void *arg, size_t row) {
  search *s = arg;
  settle(s, row);
  kin_near *best = s->task->out + row * s->task->k;
  for (size_t i = s->lists[row].settled; i < s->task->k; i++) best[i] = (kin_near){SIZE_MAX, INFINITY};
  for (size_t i = 0; s->task->metric == KIN_METRIC_EUCLIDEAN && i < s->task->k; i++)
    best[i].distance = sqrt(best[i].distance);
}

static kin_status report(const search *s, size_t done, size_t all, kin_error *err) {
  const kin_nearest_task *t = s->task;
  if (!t->on_progress || t->on_progress(t->user, (double)done / (double)all)) return KIN_OK;
  return kin_fail(err, KIN_ERR_CANCELLED, "stopped while neighbours were looked for");
}

/* *unfit: bfloat16 tells too few apart here. */
static kin_status run_mirrored(search *s, bool *unfit, kin_error *err) {
  kin_pool *pool = s->task->context->pool;
  kin_parallel_for(pool, s->n_blocks, run_diagonal, s);
  size_t measured = 0;
  for (size_t i = 0; i < s->rows->n; i++) measured += s->lists[i].settled > 0;
  *unfit = s->frame.bf16 && measured > s->rows->n / 8;
  if (*unfit) return KIN_OK;
  const size_t players = (s->n_blocks + 1) / 2 * 2;
  kin_status status = KIN_OK;
  for (s->round = 0; status == KIN_OK && s->round + 1 < players && s->n_blocks > 1; s->round++) {
    kin_parallel_for(pool, players / 2, run_game, s);
    status = report(s, s->round + 1, players - 1, err);
  }
  return status;
}

static kin_status run_rows(search *s, kin_error *err) {
  const size_t batch = ROW_BLOCKS * kin_context_threads(s->task->context);
  kin_status status = KIN_OK;
  for (size_t n; status == KIN_OK && s->first_row_block < s->row_blocks; s->first_row_block += n) {
    n = s->row_blocks - s->first_row_block < batch ? s->row_blocks - s->first_row_block : batch;
    kin_parallel_for(s->task->context->pool, n, run_all_columns, s);
    status = report(s, s->first_row_block + n, s->row_blocks, err);
  }
  return status;
}

/* ------------------------------------------------------------------ running */

static void reset(search *s) {
  memset(s->lists, 0, s->rows->n * sizeof *s->lists);
  for (size_t i = 0; i < s->rows->padded + CHUNK; i++) s->bar[i] = i < s->rows->n ? -INFINITY : INFINITY;
  const kin_nearest_reach reach = kin_nearest_reach_of(&s->columns, s->frame.dim);
  for (size_t i = 0; i < s->rows->n; i++) s->error[i] = kin_nearest_error(s->rows, i, &reach);
  for (size_t i = 0; s->task->limit && i < s->rows->n; i++)
    if (s->task->limit[i] < INFINITY)
      s->bar[i] = (float)(score_of(s, i, ranked_of(s, s->task->limit[i])) - (double)s->error[i] * 1.001);
}

static kin_status open_sides(search *s, kin_error *err) {
  const kin_nearest_task *t = s->task;
  const bool unit = t->metric == KIN_METRIC_COSINE;
  kin_status status = kin_nearest_side_open(t->context, &s->frame, t->set, unit ? s->inverse : NULL, NULL, t->set->n,
                                            true, &s->columns, err);
  if (status == KIN_OK && !s->mirrored)
    status = kin_nearest_side_open(t->context, &s->frame, t->queries ? t->queries : t->set,
                                   unit ? s->query_inverse : NULL, t->chosen, t->n_queries, false, &s->own_rows, err);
  s->rows = s->mirrored ? &s->columns : &s->own_rows;
  /* Panels of a block stay in the second-level cache; small sets are cut so that every thread has some. */
  const size_t threads = kin_context_threads(t->context);
  size_t most = BLOCK_BYTES / (4 * s->columns.words), share = s->rows->n / (4 * threads);
  most = most < share ? most : share;
  most = most < LEAST_ROWS ? LEAST_ROWS : most > MOST_ROWS ? MOST_ROWS : most;
  s->block = most / CHUNK * CHUNK;
  s->n_blocks = (t->set->n + s->block - 1) / s->block;
  s->row_blocks = (s->rows->n + s->block - 1) / s->block;
  return status;
}

static void close_sides(search *s) {
  kin_nearest_side_close(&s->columns);
  kin_nearest_side_close(&s->own_rows);
  s->columns = s->own_rows = (kin_nearest_side){0};
}

static kin_status run_search(search *s, kin_error *err) {
  const kin_nearest_task *t = s->task;
  kin_status status = open_sides(s, err);
  if (status != KIN_OK) return status;
  const size_t n = s->rows->n;
  s->capacity = 2 * t->k + 64 < t->set->n ? 2 * t->k + 64 : t->set->n;
  s->candidates = kin_array(n, s->capacity * sizeof *s->candidates);
  s->lists = kin_array(n, sizeof *s->lists);
  s->bar = kin_array(s->rows->padded + CHUNK, sizeof *s->bar);
  s->error = kin_array(n, sizeof *s->error);
  if (!s->candidates || !s->lists || !s->bar || !s->error)
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the neighbours of %zu vectors", n);
  reset(s);
  bool unfit = false;
  status = s->mirrored ? run_mirrored(s, &unfit, err) : run_rows(s, err);
  if (unfit) {
    s->frame.bf16 = false;
    close_sides(s);
    status = open_sides(s, err);
    if (status != KIN_OK) return status;
    reset(s);
    status = run_mirrored(s, &unfit, err);
  }
  if (status == KIN_OK) kin_parallel_for(t->context->pool, n, finish_row, s);
  return status;
}

kin_status kin_nearest_run(const kin_nearest_task *task, kin_error *err) {
  const bool unit = task->metric == KIN_METRIC_COSINE;
  search s = {.task = task, .mirrored = !task->queries && !task->chosen};
  if (task->set->n > UINT32_MAX)
    return kin_fail(err, KIN_ERR_LIMIT, "%zu vectors are more than neighbours can be found among", task->set->n);
  if (task->n_queries == 0) return KIN_OK;
  kin_status status = kin_inverse_lengths(task->set, &s.inverse, err);
  s.query_inverse = s.inverse;
  if (status == KIN_OK && task->queries) status = kin_inverse_lengths(task->queries, &s.query_inverse, err);
  if (status == KIN_OK)
    status = kin_nearest_frame_open(task->context, task->set, unit ? s.inverse : NULL, task->metric, &s.frame, err);
  s.frame.bf16 = task->context->bf16 && task->set->dim >= KIN_LEAST_BF16;
  if (status == KIN_OK) status = run_search(&s, err);
  close_sides(&s);
  kin_nearest_frame_close(&s.frame);
  free(s.candidates), free(s.lists), free(s.bar), free(s.error);
  if (s.query_inverse != s.inverse) free(s.query_inverse);
  free(s.inverse);
  return status;
}
