/* The calls of index.h, passed to the kind of index at hand after the checks that all share. */
#include "index/index.h"

#include "index/ann.h"
#include "index/codes.h"

#include <math.h>

void kin_index_close(kin_index *index) {
  if (index) index->ops->close(index);
}

void kin_index_remove_derived(const char *path) {
  kin_codes_remove(path);
  kin_ann_remove(path);
}

bool kin_index_is_derived(const char *ending) {
  return kin_codes_is_ending(ending) || kin_ann_is_ending(ending);
}

static bool all_finite(const float *v, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (!isfinite(v[i])) return false;
  return true;
}

kin_status kin_index_add(kin_index *index, int64_t id, const float *vector, uint64_t *row, kin_error *err) {
  if (!all_finite(vector, index->dim))
    return kin_fail(err, KIN_ERR_ARGUMENT, "the vector of item %lld isn't finite: is the model damaged?",
                    (long long)id);
  return index->ops->add(index, id, vector, row, err);
}

kin_status kin_index_remove(kin_index *index, int64_t id, uint64_t row, kin_error *err) {
  return index->ops->remove(index, id, row, err);
}

kin_status kin_index_get(kin_index *index, int64_t id, uint64_t row, float *out, kin_error *err) {
  return index->ops->get(index, id, row, out, err);
}

kin_status kin_index_search(kin_index *index, const kin_index_query *query, kin_match *out, size_t *n_out,
                            kin_error *err) {
  for (size_t i = 0; i < query->n; i++) n_out[i] = 0;
  for (size_t i = 0; i < query->n; i++) {
    if (!all_finite(query->vectors + i * index->dim, index->dim))
      return kin_fail(err, KIN_ERR_ARGUMENT, "the query vector isn't finite");
  }
  return query->k && query->n ? index->ops->search(index, query, out, n_out, err) : KIN_OK;
}

kin_status kin_index_save(kin_index *index, kin_error *err) {
  return index->ops->save(index, err);
}

void kin_index_committed(kin_index *index) {
  if (index->ops->committed) index->ops->committed(index);
}

kin_status kin_index_optimize(kin_index *index, const kin_index_build *build, kin_error *err) {
  return index->ops->optimize(index, build, err);
}

kin_status kin_index_refresh(kin_index *index, const kin_index_state *state, kin_error *err) {
  return index->ops->refresh(index, state, err);
}

void kin_index_statistics(const kin_index *index, kin_index_stats *out) {
  index->ops->statistics(index, out);
}
