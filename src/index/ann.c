/* Making an approximate index and searching it. */
#include "index/ann.h"

#include "index/ann_file.h"
#include "kernel/kernel.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Below, the exact scan is as fast (docs/ann.md). */
#define LEAST_ROWS 200000

/* An index that compares something smaller than the vectors is asked for more matches, which the vectors put in order.
 */
#define LOSSY_FACTOR 8
#define LOSSY_MORE 32
/* Where a filter leaves less than one of so many rows, or so large a part of them is wanted, a scan is no slower. */
#define LEAST_SHARE 16
#define MOST_SHARE 16

/* Candidates that an HNSW graph keeps unless told otherwise. */
#define DEFAULT_EF 128

#define QUERIES_AT_ONCE 32

struct kin_ann {
  kin_context *context;
  kin_faiss_rows rows;
  const kin_faiss_calls *calls;
  kin_faiss *faiss;
  kin_links links; /* where has_links */
  bool has_links;
  kin_ann_head head;
  char *path;
  dev_t device; /* of the file that was read */
  ino_t inode;
};

const char *kin_ann_choose(uint64_t rows) {
  return rows < LEAST_ROWS ? NULL : "HNSW32";
}

/* ------------------------------------------------------------------- opening */

static kin_faiss_rows rows_of(const kin_context *context, const kin_vectors *file) {
  return (kin_faiss_rows){.file = file,
                          .dim = kin_vectors_dim(file),
                          .at = kin_vectors_at,
                          .dot = context->kernels->dot,
                          .dots = context->kernels->dots,
                          .dot_four = context->kernels->dot_four};
}

void kin_ann_close(kin_ann *ann) {
  if (!ann) return;
  if (ann->calls) ann->calls->free(ann->faiss);
  free(ann->path);
  free(ann);
}

kin_status kin_ann_open(kin_context *context, const kin_vectors *file, const kin_vectors_key *key, kin_ann **out,
                        kin_error *err) {
  struct stat s;
  *out = NULL;
  kin_ann *ann = calloc(1, sizeof *ann);
  if (ann) ann->path = kin_ann_path(kin_vectors_path(file));
  if (!ann || !ann->path) {
    free(ann);
    return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", kin_vectors_path(file));
  }
  ann->context = context;
  ann->rows = rows_of(context, file);
  if (stat(ann->path, &s) == 0) {
    ann->device = s.st_dev;
    ann->inode = s.st_ino;
  }
  kin_status status = kin_ann_load(ann->path, file, key, &ann->rows, &ann->head, &ann->calls, &ann->faiss, err);
  if (status != KIN_OK) {
    kin_ann_close(ann);
    return status;
  }
  ann->has_links = ann->calls->get_links(ann->faiss, &ann->links);
  *out = ann;
  return KIN_OK;
}

const kin_ann_head *kin_ann_get_head(const kin_ann *ann) {
  return &ann->head;
}

bool kin_ann_is_current(const kin_ann *ann) {
  struct stat s;
  return stat(ann->path, &s) == 0 && s.st_dev == ann->device && s.st_ino == ann->inode;
}

/* -------------------------------------------------------------------- making */

typedef struct row_check {
  const kin_vectors *file;
  uint64_t rows;
  size_t tasks;
  uint64_t *bad; /* [tasks], `rows`: none */
} row_check;

static void check_rows_task(void *arg, size_t task) {
  row_check *c = arg;
  uint64_t row = c->rows * task / c->tasks, end = c->rows * (task + 1) / c->tasks;
  while (row < end && kin_vectors_check(c->file, row)) row++;
  c->bad[task] = row < end ? row : c->rows;
}

static kin_status check_rows(kin_context *context, const kin_vectors *file, uint64_t rows, kin_error *err) {
  row_check c = {.file = file, .rows = rows, .tasks = 8 * kin_pool_threads(context->pool)};
  c.bad = kin_array(c.tasks, sizeof *c.bad);
  if (!c.bad) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for an index");
  kin_parallel_for(context->pool, c.tasks, check_rows_task, &c);
  kin_status status = KIN_OK;
  for (size_t i = 0; status == KIN_OK && i < c.tasks; i++)
    if (c.bad[i] < rows) status = kin_vectors_fail_row(file, c.bad[i], err);
  free(c.bad);
  return status;
}

kin_status kin_ann_build(kin_context *context, const kin_vectors *file, const kin_vectors_key *key, uint64_t rows,
                         const kin_index_build *build, kin_error *err) {
  if (strlen(build->factory) >= KIN_ANN_FACTORY)
    return kin_fail(err, KIN_ERR_ARGUMENT, "an index's factory string of more than %d bytes", KIN_ANN_FACTORY - 1);
  if (!rows) return kin_fail(err, KIN_ERR_ARGUMENT, "%s: holds no vectors to index", kin_vectors_path(file));
  kin_faiss_rows source = rows_of(context, file);
  kin_faiss_build how = {.factory = build->factory,
                         .rows = rows,
                         .threads = kin_pool_threads(context->pool),
                         .on_progress = build->on_progress,
                         .user = build->user};
  const kin_faiss_calls *calls;
  kin_faiss *faiss = NULL;
  kin_status status = kin_faiss_load(&calls, err);
  if (status == KIN_OK) status = check_rows(context, file, rows, err);
  if (status == KIN_OK) status = calls->make(&source, &how, &faiss, err);
  if (status == KIN_OK) status = kin_ann_save(file, key, build->factory, rows, calls, faiss, err);
  if (faiss) calls->free(faiss);
  return status;
}

/* ----------------------------------------------------------------- searching */

/* Queries at work: blocks of them, each by one thread. */
typedef struct search {
  const kin_ann *ann;
  const kin_vectors *file;
  const uint64_t *dead;
  const kin_index_query *query;
  size_t depth; /* rows that FAISS is asked for */
  size_t most;  /* matches that a query can have */
  size_t block; /* queries of a task */
  kin_match *out;
  size_t *n_out;
  kin_status *statuses; /* of the blocks */
  kin_error *errors;
  bool *complete;
} search;

/* The rows of a word of 64 that may be found. */
static uint64_t wanted_of(const uint64_t *dead, const kin_row_filter *filter, uint64_t rows, uint64_t word) {
  uint64_t first = word * 64, wanted = ~dead[word];
  if (rows - first < 64) wanted &= ((uint64_t)1 << (rows - first)) - 1;
  if (!filter) return wanted;
  if (first >= filter->rows) return 0;
  if (filter->rows - first < 64) wanted &= ((uint64_t)1 << (filter->rows - first)) - 1;
  return wanted & filter->words[word];
}

static bool is_wanted(const search *s, uint64_t row) {
  return wanted_of(s->dead, s->query->filter, s->ann->head.rows, row / 64) >> (row % 64) & 1;
}

static uint64_t count_wanted(const uint64_t *dead, const kin_row_filter *filter, uint64_t rows) {
  uint64_t n = 0;
  for (uint64_t word = 0; word * 64 < rows; word++)
    n += (uint64_t)__builtin_popcountll(wanted_of(dead, filter, rows, word));
  return n;
}

/* How deep to look so that k of the wanted rows are found; 0: a scan is no slower. */
static size_t depth_of(const kin_ann *ann, size_t k, uint64_t wanted) {
  uint64_t rows = ann->head.rows;
  if (wanted < rows / LEAST_SHARE || k > rows / MOST_SHARE) return 0;
  double depth = ann->calls->is_lossless(ann->faiss) ? (double)k : (double)k * LOSSY_FACTOR + LOSSY_MORE;
  if (wanted < rows) depth = depth * 1.2 * (double)rows / (double)wanted + 16;
  return depth < (double)(rows / 2) ? (size_t)depth : 0;
}

/* Score what FAISS named for a query by the vectors. */
static kin_status score(search *s, size_t query, const int64_t *found, kin_match *scored, kin_error *err) {
  const kin_index_query *q = s->query;
  const float *vector = q->vectors + query * s->ann->rows.dim;
  size_t n = 0;
  for (size_t i = 0; i < s->depth && found[i] >= 0; i++) {
    uint64_t row = (uint64_t)found[i];
    if (row >= s->ann->head.rows || !is_wanted(s, row)) continue;
    if (!kin_vectors_check(s->file, row)) return kin_vectors_fail_row(s->file, row, err);
    float dot = s->ann->rows.dot(vector, kin_vectors_at(s->file, row), s->ann->rows.dim);
    scored[n++] = (kin_match){kin_vectors_id(s->file, row), row, dot};
  }
  qsort(scored, n, sizeof *scored, kin_match_compare);
  if (n > q->k) n = q->k;
  memcpy(s->out + query * q->k, scored, n * sizeof *scored);
  s->n_out[query] = n;
  return KIN_OK;
}

/* About the s->depth nearest rows of queries [first, first + n) into found[n][s->depth]. */
static kin_status find(const search *s, size_t first, size_t n, int64_t *found, kin_error *err) {
  const kin_ann *ann = s->ann;
  const float *vectors = s->query->vectors + first * ann->rows.dim;
  if (!ann->has_links) return ann->calls->search(ann->faiss, vectors, n, s->depth, found, err);
  size_t ef = s->query->ann->ef ? s->query->ann->ef : DEFAULT_EF;
  kin_links_room *room = kin_links_room_new(&ann->links, ef > s->depth ? ef : s->depth);
  if (!room) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a search");
  for (size_t i = 0; i < n; i++)
    kin_links_search(&ann->links, s->file, ann->rows.dot_four, room, vectors + i * ann->rows.dim, s->depth,
                     found + i * s->depth);
  kin_links_room_free(room);
  return KIN_OK;
}

static kin_status search_block(search *s, size_t first, size_t n, bool *complete, kin_error *err) {
  int64_t *found = kin_array(n, s->depth * sizeof *found);
  kin_match *scored = kin_array(s->depth, sizeof *scored);
  kin_status status = KIN_OK;
  if (!found || !scored) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for a search");
  if (status == KIN_OK) status = find(s, first, n, found, err);
  for (size_t i = 0; status == KIN_OK && i < n; i++) {
    status = score(s, first + i, found + i * s->depth, scored, err);
    if (s->n_out[first + i] < s->most) *complete = false;
  }
  free(found);
  free(scored);
  return status;
}

static void search_task(void *arg, size_t task) {
  search *s = arg;
  size_t first = task * s->block, n = s->query->n - first < s->block ? s->query->n - first : s->block;
  s->complete[task] = true;
  s->statuses[task] = search_block(s, first, n, &s->complete[task], &s->errors[task]);
}

static kin_status run(search *s, bool *complete, kin_error *err) {
  size_t tasks = (s->query->n + s->block - 1) / s->block;
  kin_status status = KIN_OK;
  s->statuses = kin_array(tasks, sizeof *s->statuses);
  s->errors = kin_array(tasks, sizeof *s->errors);
  s->complete = kin_array(tasks, sizeof *s->complete);
  if (s->statuses && s->errors && s->complete) {
    kin_parallel_for(s->ann->context->pool, tasks, search_task, s);
    for (size_t i = 0; status == KIN_OK && i < tasks; i++) {
      *complete = *complete && s->complete[i];
      if (s->statuses[i] != KIN_OK) status = kin_fail(err, s->statuses[i], "%s", s->errors[i].message);
    }
  } else {
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for a search");
  }
  free(s->statuses);
  free(s->errors);
  free(s->complete);
  return status;
}

kin_status kin_ann_search(kin_ann *ann, const kin_vectors *file, const uint64_t *dead, const kin_index_query *query,
                          kin_match *out, size_t *n_out, bool *complete, kin_error *err) {
  uint64_t wanted = count_wanted(dead, query->filter, ann->head.rows);
  size_t threads = kin_pool_threads(ann->context->pool), block = query->n / (4 * threads);
  search s = {.ann = ann,
              .file = file,
              .dead = dead,
              .query = query,
              .depth = depth_of(ann, query->k, wanted),
              .most = query->k < wanted ? query->k : (size_t)wanted,
              .block = block < 1                 ? 1
                       : block < QUERIES_AT_ONCE ? block
                                                 : QUERIES_AT_ONCE,
              .out = out,
              .n_out = n_out};
  *complete = s.depth > 0;
  if (!s.depth) return KIN_OK;
  kin_status status = ann->calls->set_effort(ann->faiss, query->ann->probes, query->ann->ef, err);
  return status == KIN_OK ? run(&s, complete, err) : status;
}
