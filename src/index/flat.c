/* The exact scan: every thread keeps the best k of the rows that it takes, and the lists are merged. */
#include "index/index.h"
#include "kernel/kernel.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_PER_TASK_MIN 256

typedef struct flat_index {
  kin_index base;
  kin_context *context;
  kin_vectors *file;
  uint64_t *dead; /* one bit a row */
  size_t dead_words;
  uint64_t n_dead;
  uint64_t verified; /* rows whose checksums were found right; each is checked on its first scan */
} flat_index;

static kin_status reserve_dead(flat_index *flat, uint64_t rows, kin_error *err) {
  size_t had = flat->dead_words;
  if (!kin_grow((void **)&flat->dead, &flat->dead_words, (size_t)(rows / 64 + 1), sizeof *flat->dead))
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for an index of %llu rows", (unsigned long long)rows);
  memset(flat->dead + had, 0, (flat->dead_words - had) * sizeof *flat->dead);
  return KIN_OK;
}

static bool is_allowed(const kin_row_filter *filter, uint64_t row) {
  return !filter || (row < filter->rows && filter->words[row / 64] >> (row % 64) & 1);
}

static bool is_dead(const flat_index *flat, uint64_t row) {
  return flat->dead[row / 64] >> (row % 64) & 1;
}

static void mark_dead(flat_index *flat, uint64_t row) {
  if (is_dead(flat, row)) return;
  flat->dead[row / 64] |= (uint64_t)1 << (row % 64);
  flat->n_dead++;
}

static kin_status flat_add(kin_index *index, int64_t id, const float *vector, uint64_t *row, kin_error *err) {
  flat_index *flat = (flat_index *)index;
  kin_status status = reserve_dead(flat, kin_vectors_rows(flat->file) + 1, err);
  return status == KIN_OK ? kin_vectors_append(flat->file, id, vector, row, err) : status;
}

static kin_status flat_remove(kin_index *index, int64_t id, uint64_t row, kin_error *err) {
  flat_index *flat = (flat_index *)index;
  if (row >= kin_vectors_rows(flat->file) || is_dead(flat, row))
    return kin_fail(err, KIN_ERR_NOT_FOUND, "%s: no vector of item %lld at row %llu", kin_vectors_path(flat->file),
                    (long long)id, (unsigned long long)row);
  mark_dead(flat, row);
  return KIN_OK;
}

static kin_status flat_get(kin_index *index, int64_t id, uint64_t row, float *out, kin_error *err) {
  return kin_vectors_read(((flat_index *)index)->file, row, id, out, err);
}

static kin_status flat_save(kin_index *index, kin_error *err) {
  return kin_vectors_sync(((flat_index *)index)->file, err);
}

static kin_status flat_refresh(kin_index *index, const kin_index_state *state, kin_error *err) {
  flat_index *flat = (flat_index *)index;
  kin_status status = kin_vectors_set_rows(flat->file, state->rows, err);
  if (status == KIN_OK) status = reserve_dead(flat, state->rows, err);
  if (status != KIN_OK) return status;
  memset(flat->dead, 0, flat->dead_words * sizeof *flat->dead);
  flat->n_dead = 0;
  if (flat->verified > state->rows) flat->verified = state->rows;
  for (size_t i = 0; i < state->n_holes; i++) {
    if (state->holes[i] >= state->rows)
      return kin_fail(err, KIN_ERR_FORMAT, "%s: the store names row %llu of %llu", kin_vectors_path(flat->file),
                      (unsigned long long)state->holes[i], (unsigned long long)state->rows);
    mark_dead(flat, state->holes[i]);
  }
  return KIN_OK;
}

static void flat_statistics(const kin_index *index, kin_index_stats *out) {
  const flat_index *flat = (const flat_index *)index;
  uint64_t rows = kin_vectors_rows(flat->file);
  *out = (kin_index_stats){.kind = "flat",
                           .dim = index->dim,
                           .items = rows - flat->n_dead,
                           .holes = flat->n_dead,
                           .bytes = kin_vectors_bytes(flat->file)};
}

static void flat_close(kin_index *index) {
  flat_index *flat = (flat_index *)index;
  kin_vectors_close(flat->file);
  free(flat->dead);
  free(flat);
}

/* ---------------------------------------------------------------- search */

/* The best matches seen so far, as a heap with the worst of them on top. */
typedef struct best_list {
  kin_match *heap;
  size_t n, k;
} best_list;

static void sift_down(best_list *best, kin_match m) {
  size_t at = 0;
  for (size_t child; (child = 2 * at + 1) < best->n; at = child) {
    if (child + 1 < best->n && kin_match_is_better(best->heap[child], best->heap[child + 1])) child++;
    if (!kin_match_is_better(m, best->heap[child])) break;
    best->heap[at] = best->heap[child];
  }
  best->heap[at] = m;
}

static void offer(best_list *best, kin_match m) {
  if (best->n == best->k) {
    if (kin_match_is_better(m, best->heap[0])) sift_down(best, m);
    return;
  }
  size_t at = best->n++;
  for (; at > 0 && kin_match_is_better(best->heap[(at - 1) / 2], m); at = (at - 1) / 2)
    best->heap[at] = best->heap[(at - 1) / 2];
  best->heap[at] = m;
}

typedef struct scan {
  const flat_index *flat;
  const float *query;
  const kin_row_filter *filter;
  size_t dim;
  uint64_t rows, rows_per_task;
  best_list *best; /* one a task */
  uint64_t *bad;   /* one a task: the first row whose checksum is wrong, or UINT64_MAX */
} scan;

static void scan_task(void *arg, size_t task) {
  scan *s = arg;
  const flat_index *flat = s->flat;
  uint64_t row = task * s->rows_per_task, end = row + s->rows_per_task;
  if (end > s->rows) end = s->rows;
  for (; row < end; row++) {
    if (is_dead(flat, row)) continue;
    if (!is_allowed(s->filter, row)) continue;
    if (row >= flat->verified && !kin_vectors_check(flat->file, row)) {
      s->bad[task] = row;
      return;
    }
    float score = flat->context->kernels->dot(s->query, kin_vectors_at(flat->file, row), s->dim);
    offer(&s->best[task], (kin_match){kin_vectors_id(flat->file, row), row, score});
  }
}

/* Scan with `n` tasks, each keeping `k` in its part of `heaps`; then bring the lists together at the start. */
static kin_status run_scan(flat_index *flat, scan *s, size_t n, size_t k, kin_match *heaps, size_t *found,
                           kin_error *err) {
  for (size_t i = 0; i < n; i++) {
    s->best[i] = (best_list){.heap = heaps + i * k, .k = k};
    s->bad[i] = UINT64_MAX;
  }
  kin_parallel_for(flat->context->pool, n, scan_task, s);
  for (size_t i = 0; i < n; i++)
    if (s->bad[i] != UINT64_MAX) return kin_vectors_fail_row(flat->file, s->bad[i], err);
  if (!s->filter) flat->verified = s->rows;
  *found = 0;
  for (size_t i = 0; i < n; i++) {
    memmove(heaps + *found, s->best[i].heap, s->best[i].n * sizeof *heaps);
    *found += s->best[i].n;
  }
  qsort(heaps, *found, sizeof *heaps, kin_match_compare);
  return KIN_OK;
}

static kin_status search_one(kin_index *index, const float *query, const kin_row_filter *filter, size_t k,
                             kin_match *out, size_t *n_out, kin_error *err) {
  flat_index *flat = (flat_index *)index;
  uint64_t rows = kin_vectors_rows(flat->file);
  if (rows == flat->n_dead) return KIN_OK;
  kin_status status = kin_vectors_map(flat->file, err);
  if (status != KIN_OK) return status;

  uint64_t most_tasks = (uint64_t)kin_pool_threads(flat->context->pool) * 8;
  scan s = {.flat = flat, .query = query, .filter = filter, .dim = index->dim, .rows = rows};
  s.rows_per_task = (rows + most_tasks - 1) / most_tasks;
  if (s.rows_per_task < ROWS_PER_TASK_MIN) s.rows_per_task = ROWS_PER_TASK_MIN;
  size_t n = (size_t)((rows + s.rows_per_task - 1) / s.rows_per_task);
  size_t k_task = k < s.rows_per_task ? k : (size_t)s.rows_per_task;

  size_t found = 0;
  kin_match *heaps = kin_array(n * k_task, sizeof *heaps);
  s.best = kin_array(n, sizeof *s.best);
  s.bad = kin_array(n, sizeof *s.bad);
  if (heaps && s.best && s.bad)
    status = run_scan(flat, &s, n, k_task, heaps, &found, err);
  else
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for a search of %zu matches", k);
  if (status == KIN_OK) {
    *n_out = found < k ? found : k;
    memcpy(out, heaps, *n_out * sizeof *out);
  }
  free(heaps);
  free(s.best);
  free(s.bad);
  return status;
}

static kin_status flat_search(kin_index *index, const kin_index_query *query, kin_match *out, size_t *n_out,
                              kin_error *err) {
  kin_status status = KIN_OK;
  for (size_t i = 0; status == KIN_OK && i < query->n; i++)
    status =
        search_one(index, query->vectors + i * index->dim, query->filter, query->k, out + i * query->k, &n_out[i], err);
  return status;
}

kin_status kin_index_open_flat(kin_context *context, const char *path, bool writable, const kin_vectors_key *key,
                               const kin_index_state *state, kin_index **out, kin_error *err) {
  static const kin_index_ops ops = {flat_add,  flat_remove,  flat_get,        flat_search,
                                    flat_save, flat_refresh, flat_statistics, flat_close};
  *out = NULL;
  flat_index *flat = calloc(1, sizeof *flat);
  if (!flat) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for an index");
  flat->base = (kin_index){&ops, key->dim};
  flat->context = context;
  kin_status status = kin_vectors_open(path, writable, key, &flat->file, err);
  if (status == KIN_OK) status = flat_refresh(&flat->base, state, err);
  if (status != KIN_OK) {
    flat_close(&flat->base);
    return status;
  }
  *out = &flat->base;
  return KIN_OK;
}
