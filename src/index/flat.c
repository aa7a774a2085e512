/* The index: the vector file, which of its rows count, their codes for the exact scan, and an approximate index if one
 * was made. */
#include "index/ann.h"
#include "index/scan.h"

#include <stdlib.h>
#include <string.h>

typedef struct flat_index {
  kin_index base;
  kin_context *context;
  kin_vectors *file;
  kin_codes *codes; /* may be NULL */
  uint64_t *dead;   /* one bit a row */
  size_t dead_words;
  uint64_t n_dead;
  uint8_t *verified; /* one a word of `dead`: kin_scan's */
  size_t verified_capacity;
  uint64_t committed; /* rows */
  kin_vectors_key key;
  kin_ann *ann;      /* NULL: not opened yet, or none that can be used */
  uint64_t living;   /* rows of it that aren't dead, where ... */
  bool knows_living; /* ... they have been counted */
} flat_index;

static kin_status reserve(flat_index *flat, uint64_t rows, kin_error *err) {
  size_t had = flat->dead_words, words = (size_t)(rows / KIN_SCAN_ROWS + 1);
  if (!kin_grow((void **)&flat->dead, &flat->dead_words, words, sizeof *flat->dead))
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for an index of %llu rows", (unsigned long long)rows);
  memset(flat->dead + had, 0, (flat->dead_words - had) * sizeof *flat->dead);
  had = flat->verified_capacity;
  if (!kin_grow((void **)&flat->verified, &flat->verified_capacity, words, 1))
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for an index of %llu rows", (unsigned long long)rows);
  memset(flat->verified + had, 0, flat->verified_capacity - had);
  return KIN_OK;
}

static bool is_dead(const flat_index *flat, uint64_t row) {
  return flat->dead[row / 64] >> (row % 64) & 1;
}

static void mark_dead(flat_index *flat, uint64_t row) {
  if (is_dead(flat, row)) return;
  flat->dead[row / 64] |= (uint64_t)1 << (row % 64);
  flat->n_dead++;
  flat->knows_living = false;
}

static kin_status flat_add(kin_index *index, int64_t id, const float *vector, uint64_t *row, kin_error *err) {
  flat_index *flat = (flat_index *)index;
  kin_status status = reserve(flat, kin_vectors_rows(flat->file) + 1, err);
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

/* The rows of `state` that don't count. A group in which one comes back to life is checked again. */
static kin_status set_dead(flat_index *flat, const kin_index_state *state, kin_error *err) {
  uint64_t *before = kin_array(flat->dead_words, sizeof *before);
  if (!before)
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for an index of %llu rows", (unsigned long long)state->rows);
  memcpy(before, flat->dead, flat->dead_words * sizeof *before);
  memset(flat->dead, 0, flat->dead_words * sizeof *flat->dead);
  flat->n_dead = 0;
  flat->knows_living = false;
  kin_status status = KIN_OK;
  for (size_t i = 0; status == KIN_OK && i < state->n_holes; i++) {
    if (state->holes[i] >= state->rows)
      status = kin_fail(err, KIN_ERR_FORMAT, "%s: the store names row %llu of %llu", kin_vectors_path(flat->file),
                        (unsigned long long)state->holes[i], (unsigned long long)state->rows);
    else
      mark_dead(flat, state->holes[i]);
  }
  for (size_t i = 0; i < flat->dead_words; i++)
    if ((before[i] & ~flat->dead[i]) || i >= state->rows / KIN_SCAN_ROWS) flat->verified[i] = 0;
  free(before);
  return status;
}

static void close_ann(flat_index *flat) {
  kin_ann_close(flat->ann);
  flat->ann = NULL;
  flat->knows_living = false;
}

static kin_status flat_refresh(kin_index *index, const kin_index_state *state, kin_error *err) {
  flat_index *flat = (flat_index *)index;
  kin_status status = kin_vectors_set_rows(flat->file, state->rows, err);
  if (status == KIN_OK) status = reserve(flat, state->rows, err);
  if (status == KIN_OK) status = set_dead(flat, state, err);
  if (status != KIN_OK) return status;
  flat->committed = state->rows;
  if (flat->ann && !kin_ann_is_current(flat->ann)) close_ann(flat);
  if (!flat->codes) return KIN_OK;
  kin_codes_refresh(flat->codes, flat->file, flat->committed);
  kin_codes_extend(flat->codes, flat->context, flat->file, flat->committed);
  return KIN_OK;
}

static void flat_committed(kin_index *index) {
  flat_index *flat = (flat_index *)index;
  flat->committed = kin_vectors_rows(flat->file);
  if (flat->codes) kin_codes_extend(flat->codes, flat->context, flat->file, flat->committed);
}

static void flat_statistics(const kin_index *index, kin_index_stats *out) {
  const flat_index *flat = (const flat_index *)index;
  uint64_t rows = kin_vectors_rows(flat->file);
  *out = (kin_index_stats){.kind = "flat",
                           .dim = index->dim,
                           .items = rows - flat->n_dead,
                           .holes = flat->n_dead,
                           .bytes = kin_vectors_bytes(flat->file),
                           .derived_bytes = flat->codes ? kin_codes_bytes(flat->codes) : 0,
                           .memory_bytes = flat->dead_words * sizeof *flat->dead + flat->verified_capacity};
  if (!flat->ann) return;
  out->derived_bytes += kin_ann_get_head(flat->ann)->bytes;
  out->memory_bytes += kin_ann_get_head(flat->ann)->bytes; /* it is read into about as much */
}

static void flat_close(kin_index *index) {
  flat_index *flat = (flat_index *)index;
  close_ann(flat);
  kin_vectors_close(flat->file);
  kin_codes_close(flat->codes);
  free(flat->dead);
  free(flat->verified);
  free(flat);
}

/* Rows from `first` on. */
static kin_status scan_once(flat_index *flat, uint64_t first, const kin_index_query *query, kin_match *out,
                            size_t *n_out, bool *stale, kin_error *err) {
  kin_scan scan = {.context = flat->context,
                   .file = flat->file,
                   .codes = flat->codes,
                   .dead = flat->dead,
                   .verified = flat->verified,
                   .first = first,
                   .rows = kin_vectors_rows(flat->file),
                   .query = query};
  return kin_scan_run(&scan, out, n_out, stale, err);
}

static kin_status scan(flat_index *flat, uint64_t first, const kin_index_query *query, kin_match *out, size_t *n_out,
                       kin_error *err) {
  bool stale = false;
  kin_status status = scan_once(flat, first, query, out, n_out, &stale, err);
  if (status != KIN_OK || !stale) return status;
  kin_codes_distrust(flat->codes);
  kin_codes_extend(flat->codes, flat->context, flat->file, flat->committed);
  return scan_once(flat, first, query, out, n_out, &stale, err);
}

/* ------------------------------------------------------------- approximately */

/* Have the approximate index that the query wants, if there is one and none is demanded. */
static kin_status open_ann(flat_index *flat, const kin_ann_query *wanted, kin_error *err) {
  kin_status status = KIN_OK;
  if (!flat->ann) status = kin_ann_open(flat->context, flat->file, &flat->key, &flat->ann, err);
  if (!wanted->factory) return status == KIN_ERR_MEMORY ? status : KIN_OK;
  if (status != KIN_OK || strcmp(kin_ann_get_head(flat->ann)->factory, wanted->factory) == 0) return status;
  return kin_fail(err, KIN_ERR_MISMATCH,
                  "%s: its approximate index is %s, not %s; make that with kindred index optimize",
                  kin_vectors_path(flat->file), kin_ann_get_head(flat->ann)->factory, wanted->factory);
}

/* Of two lists of matches, each best first, the k best into `into`. */
static kin_status merge(kin_match *into, size_t *n, const kin_match *other, size_t n_other, size_t k, kin_error *err) {
  kin_match *both = kin_array(*n + n_other, sizeof *both);
  if (!both) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a search of %zu matches", k);
  memcpy(both, into, *n * sizeof *both);
  memcpy(both + *n, other, n_other * sizeof *both);
  size_t total = *n + n_other;
  qsort(both, total, sizeof *both, kin_match_compare);
  *n = total < k ? total : k;
  memcpy(into, both, *n * sizeof *both);
  free(both);
  return KIN_OK;
}

/* Scan the rows that came after the approximate index. */
static kin_status add_tail(flat_index *flat, const kin_index_query *query, kin_match *out, size_t *n_out,
                           kin_error *err) {
  uint64_t first = kin_ann_get_head(flat->ann)->rows;
  if (first == kin_vectors_rows(flat->file)) return KIN_OK;
  kin_match *tail = kin_array(query->n, query->k * sizeof *tail);
  size_t *found = calloc(query->n, sizeof *found);
  kin_status status = KIN_OK;
  if (!tail || !found) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for a search of %zu matches", query->k);
  if (status == KIN_OK) status = scan(flat, first, query, tail, found, err);
  for (size_t i = 0; status == KIN_OK && i < query->n; i++)
    status = merge(out + i * query->k, &n_out[i], tail + i * query->k, found[i], query->k, err);
  free(tail);
  free(found);
  return status;
}

static kin_status search_ann(flat_index *flat, const kin_index_query *query, kin_match *out, size_t *n_out,
                             bool *complete, kin_error *err) {
  if (!flat->knows_living) flat->living = kin_ann_count_living(flat->ann, flat->dead);
  flat->knows_living = true;
  return kin_ann_search(flat->ann, flat->file, flat->dead, flat->living, query, out, n_out, complete, err);
}

static kin_status flat_search(kin_index *index, const kin_index_query *query, kin_match *out, size_t *n_out,
                              kin_error *err) {
  flat_index *flat = (flat_index *)index;
  if (kin_vectors_rows(flat->file) == flat->n_dead) return KIN_OK;
  bool complete = false;
  kin_status status = kin_vectors_map(flat->file, err);
  if (status == KIN_OK && query->ann) status = open_ann(flat, query->ann, err);
  if (status == KIN_OK && query->ann && flat->ann) status = search_ann(flat, query, out, n_out, &complete, err);
  if (status != KIN_OK) return status;
  return complete ? add_tail(flat, query, out, n_out, err) : scan(flat, 0, query, out, n_out, err);
}

static kin_status scan_all(void *user, const kin_index_query *query, kin_match *out, size_t *n_out, kin_error *err) {
  return scan(user, 0, query, out, n_out, err);
}

static kin_status flat_optimize(kin_index *index, const kin_index_build *build, kin_error *err) {
  flat_index *flat = (flat_index *)index;
  const kin_ann_truth truth = {scan_all, flat, flat->dead};
  kin_status status = kin_vectors_map(flat->file, err);
  if (status == KIN_OK && build->factory)
    status = kin_ann_build(flat->context, flat->file, &flat->key, flat->committed, build, &truth, err);
  else if (status == KIN_OK)
    kin_ann_remove(kin_vectors_path(flat->file));
  if (status == KIN_OK) close_ann(flat);
  return status;
}

kin_status kin_index_open_flat(kin_context *context, const char *path, bool writable, const kin_vectors_key *key,
                               const kin_index_state *state, kin_index **out, kin_error *err) {
  return kin_index_open_flat_coded(context, path, writable, key, state, KIN_CODE_INT8, out, err);
}

kin_status kin_index_open_flat_coded(kin_context *context, const char *path, bool writable, const kin_vectors_key *key,
                                     const kin_index_state *state, kin_code kind, kin_index **out, kin_error *err) {
  static const kin_index_ops ops = {.add = flat_add,
                                    .remove = flat_remove,
                                    .get = flat_get,
                                    .search = flat_search,
                                    .save = flat_save,
                                    .committed = flat_committed,
                                    .optimize = flat_optimize,
                                    .refresh = flat_refresh,
                                    .statistics = flat_statistics,
                                    .close = flat_close};
  *out = NULL;
  flat_index *flat = calloc(1, sizeof *flat);
  if (!flat) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for an index");
  flat->base = (kin_index){&ops, key->dim};
  flat->context = context;
  flat->key = *key;
  kin_status status = kin_vectors_open(path, writable, key, &flat->file, err);
  if (status == KIN_OK && kind != KIN_CODE_NONE && key->dim <= KIN_CODE_MOST_DIM)
    status = kin_codes_open(path, writable, kind, key, &flat->codes, err);
  if (status == KIN_OK) status = flat_refresh(&flat->base, state, err);
  if (status != KIN_OK) {
    flat_close(&flat->base);
    return status;
  }
  *out = &flat->base;
  return KIN_OK;
}
