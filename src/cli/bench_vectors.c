/* Vectors to measure searches on, synthetic or copied from a store. */
#include "cli/bench_vectors.h"

#include "index/scan.h"
#include "index/synthetic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static kin_status stopped(kin_error *err) {
  return kin_fail(err, KIN_ERR_CANCELLED, "stopped");
}

static kin_status open_file(cli_bench_vectors *d, kin_context *context, kin_index **out, kin_error *err) {
  kin_index_state none = {0};
  d->key = (kin_vectors_key){.uuid = "kindred bench", .collection = 1, .dim = d->dim};
  d->vectors = kin_array(d->queries, d->dim * sizeof *d->vectors);
  if (!d->vectors) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu queries", d->queries);
  kin_status status = kin_vectors_create(d->path, &d->key, err);
  return status == KIN_OK ? kin_index_open_flat_coded(context, d->path, true, &d->key, &none, KIN_CODE_NONE, out, err)
                          : status;
}

/* ----------------------------------------------------------------- synthetic */

static kin_status fill_synthetic(cli_bench_vectors *d, kin_context *context, kin_index **index, kin_error *err) {
  kin_synthetic *synthetic = NULL;
  kin_status status = open_file(d, context, index, err);
  if (status == KIN_OK) status = kin_synthetic_open(d->dim, 1, &synthetic, err);
  float *v = kin_array(d->dim, sizeof *v);
  if (status == KIN_OK && !v) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for a vector");
  for (uint64_t row = 0, added; status == KIN_OK && row < d->count; row++) {
    kin_synthetic_vector(synthetic, row, v);
    status = kin_index_add(*index, (int64_t)row, v, &added, err);
    if (cli_signal()) status = stopped(err);
  }
  for (size_t i = 0; status == KIN_OK && i < d->queries; i++)
    kin_synthetic_query(synthetic, i, d->vectors + i * d->dim);
  kin_synthetic_close(synthetic);
  free(v);
  return status;
}

/* ------------------------------------------------------------------- a store */

typedef struct copy {
  cli_bench_vectors *data;
  kin_index *index;
  size_t seen, step, taken; /* each step-th vector becomes a query */
  kin_status status;
  kin_error *err;
} copy;

static bool copy_one(void *user, const kin_stored *item) {
  copy *c = user;
  cli_bench_vectors *d = c->data;
  uint64_t row;
  if (c->seen++ % c->step == 0 && c->taken < d->queries)
    memcpy(d->vectors + c->taken++ * d->dim, item->vector, d->dim * sizeof *d->vectors);
  else
    c->status = kin_index_add(c->index, (int64_t)d->count++, item->vector, &row, c->err);
  if (cli_signal()) c->status = stopped(c->err);
  return c->status == KIN_OK;
}

static kin_status choose(cli_bench_vectors *d, kin_store *store, size_t *vectors, kin_error *err) {
  kin_collections *all;
  kin_collection_wish wish = {0};
  kin_status status = kin_store_collections(store, &all, err);
  if (status != KIN_OK) return status;
  const kin_collection_info *c = d->collection ? cli_find_collection(all, d->collection) : kin_collections_get(all, 0);
  if (!c)
    status = kin_fail(err, KIN_ERR_NOT_FOUND, "%s: no such collection; 'kindred collections' lists them", d->store);
  if (status == KIN_OK && d->collection) wish.model_id = c->model_id;
  if (status == KIN_OK) status = kin_store_select(store, &wish, err);
  if (status == KIN_OK) {
    d->dim = c->dim;
    *vectors = c->vectors;
  }
  kin_collections_close(all);
  return status;
}

static kin_status fill_from_store(cli_bench_vectors *d, kin_context *context, kin_index **index, kin_error *err) {
  kin_store *store = NULL;
  copy c = {.data = d, .err = err};
  size_t vectors = 0;
  kin_status status = kin_store_open(context, d->store, KIN_STORE_READ, &store, err);
  if (status == KIN_OK) status = choose(d, store, &vectors, err);
  if (status == KIN_OK && vectors < 2)
    status = kin_fail(err, KIN_ERR_ARGUMENT, "%s: too few vectors to search in", d->store);
  if (d->queries > vectors / 2) d->queries = vectors / 2;
  if (status == KIN_OK) status = open_file(d, context, index, err);
  c.index = *index;
  c.step = d->queries ? vectors / d->queries : 1;
  d->count = 0;
  if (status == KIN_OK && kin_store_each(store, copy_one, &c, err) != KIN_OK)
    status = c.status == KIN_OK ? err->status : c.status;
  d->queries = c.taken;
  kin_store_close(store);
  return status;
}

/* ---------------------------------------------------------------------- both */

kin_status cli_bench_vectors_make(cli_bench_vectors *d, kin_context *context, kin_error *err) {
  const char *parent = getenv("TMPDIR");
  kin_index *index = NULL;
  d->folder = kin_format("%s/kindred-bench-XXXXXX", parent && *parent ? parent : "/tmp");
  if (!d->folder) return kin_fail(err, KIN_ERR_MEMORY, "out of memory");
  if (!mkdtemp(d->folder)) {
    kin_status status = kin_fail_errno(err, errno, "%s: can't make a folder", d->folder);
    free(d->folder);
    d->folder = NULL;
    return status;
  }
  d->path = kin_format("%s/vectors", d->folder);
  if (!d->path) return kin_fail(err, KIN_ERR_MEMORY, "out of memory");
  kin_status status = d->store ? fill_from_store(d, context, &index, err) : fill_synthetic(d, context, &index, err);
  if (status == KIN_OK) status = kin_index_save(index, err);
  kin_index_close(index);
  return status;
}

void cli_bench_vectors_remove(cli_bench_vectors *d) {
  if (d->path) {
    kin_index_remove_derived(d->path);
    unlink(d->path);
  }
  if (d->folder) rmdir(d->folder);
  free(d->vectors);
  free(d->folder);
  free(d->path);
}

int cli_bench_compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
