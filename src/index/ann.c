/* Making an approximate index and searching it. */
#include "index/ann.h"

#include "index/ann_file.h"
#include "index/ann_measure.h"
#include "kernel/kernel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Below, the exact scan is as fast (docs/ann.md). */
#define LEAST_ROWS 200000

/* Where a filter leaves less than one of so many rows, or so large a part of them is wanted, a scan is no slower. */
#define LEAST_SHARE 16
#define MOST_SHARE 16

/* A graph keeps so many candidates for each match that is wanted, unless told otherwise. */
#define EF_OF_A_MATCH 2

/* The centres of an IVF index's lists come from further away than a thread's own caches, once for each block of
 * queries. */
#define QUERIES_AT_ONCE 192

#define AHEAD 2 /* vectors on their way while one is scored */

/* ------------------------------------------------------------------- opening */

static kin_faiss_rows rows_of(const kin_context *context, const kin_vectors *file) {
  return (kin_faiss_rows){.file = file,
                          .dim = kin_vectors_dim(file),
                          .at = kin_vectors_at,
                          .dot = context->kernels->dot,
                          .dot_four = context->kernels->dot_four,
                          .context = context,
                          .graph_new = kin_graph_new,
                          .graph_free = kin_graph_free,
                          .graph_renew = kin_graph_renew,
                          .graph_link = kin_graph_link,
                          .kernels = context->kernels,
                          .centres_new = kin_centres_new,
                          .centres_free = kin_centres_free,
                          .centres_nearest = kin_centres_nearest};
}

void kin_ann_close(kin_ann *ann) {
  if (!ann) return;
  for (size_t i = 0; i < ann->n_rooms; i++) kin_graph_room_free(ann->rooms[i]);
  pthread_mutex_destroy(&ann->lock);
  kin_ann_free_parts(&ann->parts);
  free(ann->checked);
  free(ann->path);
  free(ann);
}

static kin_ann *new_ann(kin_context *context, const kin_vectors *file) {
  kin_ann *ann = calloc(1, sizeof *ann);
  if (!ann) return NULL;
  pthread_mutex_init(&ann->lock, NULL);
  ann->context = context;
  ann->rows = rows_of(context, file);
  return ann;
}

/* Once there is an index in it: what kind it is, and where nothing was measured a guess, of lists 4 times the root. */
static void know_kind(kin_ann *ann) {
  ann->parts.calls->describe(ann->parts.faiss, &ann->kind);
  kin_ann_effort *e = &ann->head.effort;
  if (!e->probes) e->probes = (uint32_t)ceil(4 * sqrt((double)ann->kind.lists));
  if (!e->ef) e->ef = KIN_ANN_EF;
  if (!e->candidates) e->candidates = KIN_ANN_CANDIDATES;
}

kin_status kin_ann_open(kin_context *context, const kin_vectors *file, const kin_vectors_key *key, kin_ann **out,
                        kin_error *err) {
  struct stat s;
  *out = NULL;
  kin_ann *ann = new_ann(context, file);
  if (ann) ann->path = kin_ann_path(kin_vectors_path(file));
  if (!ann || !ann->path) {
    kin_ann_close(ann);
    return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", kin_vectors_path(file));
  }
  if (stat(ann->path, &s) == 0) {
    ann->device = s.st_dev;
    ann->inode = s.st_ino;
  }
  kin_status status = kin_ann_load(ann->path, file, key, &ann->rows, &ann->head, &ann->parts, err);
  if (status != KIN_OK) {
    kin_ann_close(ann);
    return status;
  }
  know_kind(ann);
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

/* The index that "auto" tries in its turn, as FAISS's index_factory reads it. */
static void name_trial(uint64_t rows, size_t turn, char out[KIN_ANN_FACTORY]) {
  size_t lists = 16;
  while (lists * lists < 8 * rows) lists *= 2; /* about four times the root */
  if (turn == 0)
    snprintf(out, KIN_ANN_FACTORY, "HNSW32");
  else
    snprintf(out, KIN_ANN_FACTORY, "IVF%zu,SQ8", lists);
}

/* A build at work. */
typedef struct making {
  kin_context *context;
  const kin_vectors *file;
  const kin_vectors_key *key;
  uint64_t rows;
  const kin_index_build *build;
  const kin_ann_truth *truth;
  const kin_faiss_calls *calls;
  kin_ann_sample *sample;
} making;

/* Make an index and measure it; it is saved if it will do, or must: with `frugal`, only what finds enough will. */
static kin_status make_one(making *m, bool frugal, kin_ann_trial *trial, kin_error *err) {
  kin_faiss_build how = {.factory = trial->factory,
                         .rows = m->rows,
                         .threads = kin_pool_threads(m->context->pool),
                         .on_progress = m->build->on_progress,
                         .user = m->build->user};
  bool enough = false;
  kin_ann *ann = new_ann(m->context, m->file);
  if (!ann) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for an index");
  ann->parts.calls = m->calls;
  ann->head.rows = m->rows;
  memcpy(ann->head.factory, trial->factory, sizeof trial->factory);
  kin_status status = m->calls->make(&ann->rows, &how, &ann->parts.faiss, err);
  if (status == KIN_OK && !m->sample)
    status = kin_ann_sample_make(m->file, m->rows, m->truth, m->build, &m->sample, err);
  if (status == KIN_OK) status = kin_ann_get_graph(&ann->parts, &ann->rows, NULL, 0, err);
  if (status == KIN_OK) {
    know_kind(ann);
    status = kin_ann_measure(ann, m->file, m->sample, m->truth->dead, m->build, frugal, &enough, err);
  }
  trial->effort = ann->head.effort;
  trial->kept = enough || !frugal;
  if (status == KIN_OK && trial->kept) status = kin_ann_save(m->file, m->key, &ann->head, &ann->parts, err);
  kin_ann_close(ann);
  return status;
}

static kin_status make_automatically(making *m, kin_error *err) {
  kin_ann_trial trial = {0};
  kin_status status = KIN_OK;
  for (size_t i = 0; status == KIN_OK && i < KIN_ANN_TRIALS && !trial.kept; i++) {
    name_trial(m->rows, i, trial.factory);
    status = make_one(m, true, &trial, err);
    if (status == KIN_OK && m->build->trials) m->build->trials[i] = trial;
  }
  if (status == KIN_OK && !trial.kept) kin_ann_remove(kin_vectors_path(m->file));
  return status;
}

kin_status kin_ann_build(kin_context *context, const kin_vectors *file, const kin_vectors_key *key, uint64_t rows,
                         const kin_index_build *build, const kin_ann_truth *truth, kin_error *err) {
  bool automatic = strcmp(build->factory, "auto") == 0;
  making m = {context, file, key, rows, build, truth, NULL, NULL};
  kin_ann_trial trial = {0};
  if (strlen(build->factory) >= KIN_ANN_FACTORY)
    return kin_fail(err, KIN_ERR_ARGUMENT, "an index's factory string of more than %d bytes", KIN_ANN_FACTORY - 1);
  if (automatic && rows < (build->auto_rows ? build->auto_rows : LEAST_ROWS)) {
    kin_ann_remove(kin_vectors_path(file));
    return KIN_OK;
  }
  if (!rows) return kin_fail(err, KIN_ERR_ARGUMENT, "%s: holds no vectors to index", kin_vectors_path(file));
  kin_status status = kin_faiss_load(&m.calls, err);
  if (status == KIN_OK) status = check_rows(context, file, rows, err);
  if (status == KIN_OK && automatic) status = make_automatically(&m, err);
  if (status == KIN_OK && !automatic) {
    memcpy(trial.factory, build->factory, strlen(build->factory));
    status = make_one(&m, false, &trial, err);
    if (build->trials) build->trials[0] = trial;
  }
  kin_ann_sample_free(m.sample);
  return status;
}

/* ----------------------------------------------------------------- searching */

/* Queries at work: blocks of them, each by one thread. */
typedef struct search {
  kin_ann *ann;
  const kin_vectors *file;
  const uint64_t *dead;
  const kin_index_query *query;
  const int64_t *without; /* [queries]; NULL: none */
  size_t depth;           /* rows that FAISS is asked for */
  size_t ef;              /* of a graph */
  size_t most;            /* matches that a query can have */
  size_t block;           /* queries of a task */
  kin_match *out;
  size_t *n_out;
  struct search_part *parts;
} search;

/* What comes of a block. */
typedef struct search_part {
  kin_status status;
  kin_error err;
  bool complete; /* each query has as many matches as it can have */
  uint64_t compared;
} search_part;

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

/* Whether a row's checksum is right; once it was, it isn't looked at again. */
static bool check(search *s, uint64_t row) {
  _Atomic uint64_t *word = &s->ann->checked[row / 64];
  uint64_t bit = (uint64_t)1 << (row % 64);
  if (atomic_load_explicit(word, memory_order_relaxed) & bit) return true;
  if (!kin_vectors_check(s->file, row)) return false;
  atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
  return true;
}

static uint64_t count_wanted(const uint64_t *dead, const kin_row_filter *filter, uint64_t rows) {
  uint64_t n = 0;
  for (uint64_t word = 0; word * 64 < rows; word++)
    n += (uint64_t)__builtin_popcountll(wanted_of(dead, filter, rows, word));
  return n;
}

/* How deep to look so that k of the wanted rows are found; 0: a scan is no slower. */
static size_t depth_of(const kin_ann *ann, size_t k, size_t candidates, uint64_t wanted) {
  uint64_t rows = ann->head.rows;
  if (wanted < rows / LEAST_SHARE || k > rows / MOST_SHARE) return 0;
  double depth = (double)k;
  if (!ann->kind.lossless)
    depth =
        candidates ? fmax(depth, (double)candidates) : ann->head.effort.candidates * fmax(1, depth / KIN_ANN_NEAREST);
  if (wanted < rows) depth = depth * 1.2 * (double)rows / (double)wanted + 16;
  return depth < (double)(rows / 2) ? (size_t)depth : 0;
}

/* Score what FAISS named for a query by the vectors. */
static kin_status score(search *s, size_t query, const int64_t *found, kin_match *scored, kin_error *err) {
  const kin_index_query *q = s->query;
  const float *vector = q->vectors + query * s->ann->rows.dim;
  int64_t without = s->without ? s->without[query] : -1;
  size_t n = 0;
  for (size_t i = 0; i < s->depth && found[i] >= 0; i++) {
    uint64_t row = (uint64_t)found[i];
    if (i + AHEAD < s->depth && found[i + AHEAD] >= 0) kin_vectors_prefetch(s->file, (uint64_t)found[i + AHEAD]);
    if (row >= s->ann->head.rows || !is_wanted(s, row) || found[i] == without) continue;
    if (!check(s, row)) return kin_vectors_fail_row(s->file, row, err);
    float dot = s->ann->rows.dot(vector, kin_vectors_at(s->file, row), s->ann->rows.dim);
    scored[n++] = (kin_match){kin_vectors_id(s->file, row), row, dot};
  }
  qsort(scored, n, sizeof *scored, kin_match_compare);
  if (n > q->k) n = q->k;
  memcpy(s->out + query * q->k, scored, n * sizeof *scored);
  s->n_out[query] = n;
  return KIN_OK;
}

static kin_graph_room *take_room(kin_ann *ann, size_t ef) {
  pthread_mutex_lock(&ann->lock);
  kin_graph_room *room = ann->n_rooms ? ann->rooms[--ann->n_rooms] : NULL;
  pthread_mutex_unlock(&ann->lock);
  if (!room) return kin_graph_room_new(ann->parts.graph, ef);
  if (kin_graph_room_set_ef(room, ef)) return room;
  kin_graph_room_free(room);
  return NULL;
}

static void give_room(kin_ann *ann, kin_graph_room *room) {
  pthread_mutex_lock(&ann->lock);
  bool fits = ann->n_rooms < KIN_ANN_ROOMS;
  if (fits) ann->rooms[ann->n_rooms++] = room;
  pthread_mutex_unlock(&ann->lock);
  if (!fits) kin_graph_room_free(room);
}

/* About the s->depth nearest rows of queries [first, first + n) into found[n][s->depth]. */
static kin_status find(const search *s, size_t first, size_t n, int64_t *found, uint64_t *compared, kin_error *err) {
  kin_ann *ann = s->ann;
  const float *vectors = s->query->vectors + first * ann->rows.dim;
  if (!ann->parts.graph) return ann->parts.calls->search(ann->parts.faiss, vectors, n, s->depth, found, err);
  kin_graph_room *room = take_room(ann, s->ef > s->depth ? s->ef : s->depth);
  if (!room) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a search");
  for (size_t i = 0; i < n; i++) {
    kin_graph_search(ann->parts.graph, room, vectors + i * ann->rows.dim, s->without ? s->without[first + i] : -1,
                     s->depth, found + i * s->depth);
    *compared += kin_graph_compared(room);
  }
  give_room(ann, room);
  return KIN_OK;
}

static kin_status search_block(search *s, size_t first, size_t n, search_part *part) {
  kin_error *err = &part->err;
  int64_t *found = kin_array(n, s->depth * sizeof *found);
  kin_match *scored = kin_array(s->depth, sizeof *scored);
  kin_status status = KIN_OK;
  if (!found || !scored) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for a search");
  if (status == KIN_OK) status = find(s, first, n, found, &part->compared, err);
  for (size_t i = 0; status == KIN_OK && i < n; i++) {
    status = score(s, first + i, found + i * s->depth, scored, err);
    if (s->n_out[first + i] < s->most) part->complete = false;
  }
  free(found);
  free(scored);
  return status;
}

static void search_task(void *arg, size_t task) {
  search *s = arg;
  size_t first = task * s->block, n = s->query->n - first < s->block ? s->query->n - first : s->block;
  s->parts[task].complete = true;
  s->parts[task].status = search_block(s, first, n, &s->parts[task]);
}

static kin_status run(search *s, uint64_t *compared, bool *complete, kin_error *err) {
  size_t tasks = (s->query->n + s->block - 1) / s->block;
  kin_status status = KIN_OK;
  s->parts = calloc(tasks, sizeof *s->parts);
  if (!s->parts) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a search");
  kin_parallel_for(s->ann->context->pool, tasks, search_task, s);
  for (size_t i = 0; status == KIN_OK && i < tasks; i++) {
    *compared += s->parts[i].compared;
    *complete = *complete && s->parts[i].complete;
    if (s->parts[i].status != KIN_OK) status = kin_fail(err, s->parts[i].status, "%s", s->parts[i].err.message);
  }
  free(s->parts);
  return status;
}

/* Several for each thread, where there are more, as some take longer. */
static size_t block_of(const kin_ann *ann, size_t queries) {
  size_t threads = kin_pool_threads(ann->context->pool), block = threads == 1 ? queries : queries / (4 * threads);
  return block < 1 ? 1 : block < QUERIES_AT_ONCE ? block : QUERIES_AT_ONCE;
}

kin_status kin_ann_search_without(kin_ann *ann, const kin_vectors *file, const uint64_t *dead, uint64_t living,
                                  const kin_index_query *query, const int64_t *without, kin_match *out, size_t *n_out,
                                  uint64_t *compared, bool *complete, kin_error *err) {
  uint64_t wanted = query->filter ? count_wanted(dead, query->filter, ann->head.rows) : living;
  const kin_ann_effort *usual = &ann->head.effort;
  size_t probes = query->ann->probes ? query->ann->probes : usual->probes, ef = query->ann->ef;
  size_t candidates = ann->kind.lossless ? 0 : query->ann->candidates;
  bool told = query->ann->probes || ef || candidates;
  bool too_bad = usual->recall > 0 && usual->recall < KIN_ANN_PROMISE && !told && !without;
  search s = {.ann = ann,
              .file = file,
              .dead = dead,
              .query = query,
              .without = without,
              .depth = too_bad ? 0 : depth_of(ann, query->k + (without ? 1 : 0), candidates, wanted),
              .most = query->k < wanted ? query->k : (size_t)wanted,
              .block = block_of(ann, query->n),
              .out = out,
              .n_out = n_out};
  *complete = s.depth > 0;
  *compared = 0;
  if (!s.depth) return KIN_OK;
  if (!ann->checked) ann->checked = calloc((size_t)(ann->head.rows / 64 + 1), sizeof *ann->checked);
  if (!ann->checked) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a search");
  s.ef = ef ? ef : usual->ef > EF_OF_A_MATCH * query->k ? usual->ef : EF_OF_A_MATCH * query->k;
  kin_status status = ann->parts.calls->set_effort(ann->parts.faiss, probes, s.ef, err);
  return status == KIN_OK ? run(&s, compared, complete, err) : status;
}

uint64_t kin_ann_count_living(const kin_ann *ann, const uint64_t *dead) {
  return count_wanted(dead, NULL, ann->head.rows);
}

kin_status kin_ann_search(kin_ann *ann, const kin_vectors *file, const uint64_t *dead, uint64_t living,
                          const kin_index_query *query, kin_match *out, size_t *n_out, bool *complete, kin_error *err) {
  uint64_t compared;
  return kin_ann_search_without(ann, file, dead, living, query, NULL, out, n_out, &compared, complete, err);
}
