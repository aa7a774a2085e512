/* Measuring an approximate index. A sampled row is searched for as if it weren't there: found, it would lead straight
 * to its neighbours, which no query from outside has done for it. */
#include "index/ann_measure.h"

#include "base/random.h"

#include <stdlib.h>
#include <string.h>

#define SAMPLE 400
#define NEAREST KIN_ANN_NEAREST
#define AT_ONCE 50
/* For 0.95 of queries from outside, also of another kind (docs/ann.md). Of 400 rows the share is off by up to 0.01. */
#define ENOUGH 0.98f

#define FIRST_EF 16
#define FIRST_CANDIDATES 16
#define MOST_CANDIDATES 2048
/* Reading a vector where it lies takes as long as 16 to 27 of the exact scan's, whose codes come in their order. */
#define GRAPH_SHARE 32
/* And a list's codes as long as some fifty, where FAISS is built for any CPU. */
#define LISTS_SHARE 64
/* An index that was named may take more, where it isn't much. */
#define FREE_COMPARED 5000
#define FREE_CODES 20000
#define FREE_SHARE 16
#define CANDIDATES_SHARE 4

struct kin_ann_sample {
  size_t n;
  int64_t rows[SAMPLE];
  float least[SAMPLE]; /* score of the tenth nearest */
  size_t wanted[SAMPLE];
  size_t all; /* their sum */
  float vectors[];
};

/* ------------------------------------------------------------------ the sample */

/* One of each of SAMPLE equal parts of the rows; a dead one is replaced by the next that lives. */
static void choose_rows(kin_ann_sample *s, uint64_t rows, const uint64_t *dead) {
  uint64_t from = 0;
  size_t parts = rows < SAMPLE ? (size_t)rows : SAMPLE;
  for (size_t i = 0; i < parts; i++) {
    kin_random random = {i};
    uint64_t first = rows * i / parts, end = rows * (i + 1) / parts;
    uint64_t row = first + kin_random_next(&random) % (end - first);
    if (row < from) row = from;
    while (row < rows && (dead[row / 64] >> (row % 64) & 1)) row++;
    if (row == rows) return;
    s->rows[s->n++] = (int64_t)row;
    from = row + 1;
  }
}

static kin_status go_on(const kin_index_build *build, size_t done, size_t total, kin_error *err) {
  bool on = !build->on_progress || build->on_progress(build->user, "measuring", done, total);
  return on ? KIN_OK : kin_fail(err, KIN_ERR_CANCELLED, "stopped");
}

/* Of a row's nearest, without itself. */
static void note_nearest(kin_ann_sample *s, size_t i, const kin_match *matches, size_t n) {
  for (size_t j = 0; j < n && s->wanted[i] < NEAREST; j++) {
    if ((int64_t)matches[j].row == s->rows[i]) continue;
    s->least[i] = matches[j].score;
    s->wanted[i]++;
  }
  s->all += s->wanted[i];
}

static kin_status scan_exactly(kin_ann_sample *s, size_t dim, const kin_ann_truth *truth, const kin_index_build *build,
                               kin_error *err) {
  static const size_t k = NEAREST + 1;
  kin_match matches[AT_ONCE * (NEAREST + 1)];
  kin_status status = go_on(build, 0, s->n, err);
  for (size_t at = 0; status == KIN_OK && at < s->n; at += AT_ONCE) {
    size_t found[AT_ONCE] = {0}, n = s->n - at < AT_ONCE ? s->n - at : AT_ONCE;
    kin_index_query query = {.vectors = s->vectors + at * dim, .n = n, .k = k};
    status = truth->search(truth->user, &query, matches, found, err);
    for (size_t i = 0; status == KIN_OK && i < n; i++) note_nearest(s, at + i, matches + i * k, found[i]);
    if (status == KIN_OK) status = go_on(build, at + n, s->n, err);
  }
  return status;
}

kin_status kin_ann_sample_make(const kin_vectors *file, uint64_t rows, const kin_ann_truth *truth,
                               const kin_index_build *build, kin_ann_sample **out, kin_error *err) {
  size_t dim = kin_vectors_dim(file);
  kin_ann_sample *s = calloc(1, sizeof *s + SAMPLE * dim * sizeof(float));
  *out = NULL;
  if (!s) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for measuring an index");
  choose_rows(s, rows, truth->dead);
  for (size_t i = 0; i < s->n; i++)
    memcpy(s->vectors + i * dim, kin_vectors_at(file, (uint64_t)s->rows[i]), dim * sizeof(float));
  kin_status status = scan_exactly(s, dim, truth, build, err);
  if (status == KIN_OK)
    *out = s;
  else
    kin_ann_sample_free(s);
  return status;
}

void kin_ann_sample_free(kin_ann_sample *sample) {
  free(sample);
}

/* -------------------------------------------------------------------- measuring */

typedef struct measurement {
  kin_ann *ann;
  const kin_vectors *file;
  const kin_ann_sample *sample;
  const uint64_t *dead;
  uint64_t living;
  const kin_index_build *build;
  uint64_t most_compared; /* by a graph's walk */
  uint64_t compared;      /* by those at the effort last tried, a query's mean */
} measurement;

/* The recall at the index's effort. */
static kin_status try_effort(measurement *m, kin_error *err) {
  const kin_ann_sample *s = m->sample;
  kin_match matches[SAMPLE * NEAREST];
  size_t found[SAMPLE] = {0}, hits = 0;
  bool complete; /* what a search would fall back on the exact scan for counts as missed */
  const kin_ann_query as_set = {0};
  kin_index_query query = {.vectors = s->vectors, .n = s->n, .k = NEAREST, .ann = &as_set};
  kin_status status = go_on(m->build, s->n, s->n, err);
  if (status == KIN_OK)
    status = kin_ann_search_without(m->ann, m->file, m->dead, m->living, &query, s->rows, matches, found, &m->compared,
                                    &complete, err);
  if (status != KIN_OK) return status;
  for (size_t i = 0; i < s->n; i++)
    for (size_t j = 0; j < found[i] && j < s->wanted[i]; j++) hits += matches[i * NEAREST + j].score >= s->least[i];
  m->compared /= s->n;
  m->ann->head.effort.recall = (float)hits / (float)s->all;
  return KIN_OK;
}

/* 1, 2, 3, 4, 6, 8, 12, ... */
static uint32_t step_up(uint32_t effort) {
  bool power = (effort & (effort - 1)) == 0;
  return effort == 1 ? 2 : power ? effort / 2 * 3 : effort / 3 * 4;
}

/* Try efforts from the first to the last, until one is enough. */
static kin_status climb(measurement *m, uint32_t *effort, uint32_t first, uint32_t last, bool *enough, kin_error *err) {
  for (uint32_t step = first;; step = step_up(step)) {
    *effort = step < last ? step : last;
    kin_status status = try_effort(m, err);
    if (status != KIN_OK) return status;
    *enough = m->ann->head.effort.recall >= ENOUGH;
    if (*enough || *effort == last || m->compared > m->most_compared) return KIN_OK;
  }
}

static uint32_t at_most(uint64_t n, uint32_t most) {
  return n < most ? (uint32_t)n : most;
}

static uint32_t most_probes(const kin_ann *ann, bool frugal) {
  uint64_t lists = ann->kind.lists, most = lists / (frugal ? LISTS_SHARE : FREE_SHARE);
  uint64_t free = frugal ? 1 : lists * FREE_CODES / ann->head.rows;
  return at_most(most > free ? most : free > 1 ? free : 1, (uint32_t)lists);
}

kin_status kin_ann_measure(kin_ann *ann, const kin_vectors *file, const kin_ann_sample *sample, const uint64_t *dead,
                           const kin_index_build *build, bool frugal, bool *enough, kin_error *err) {
  uint64_t rows = ann->head.rows;
  measurement m = {.ann = ann,
                   .file = file,
                   .sample = sample,
                   .dead = dead,
                   .living = kin_ann_count_living(ann, dead),
                   .build = build};
  m.most_compared = rows / GRAPH_SHARE;
  if (!frugal && m.most_compared < FREE_COMPARED) m.most_compared = FREE_COMPARED;
  *enough = false;
  ann->head.effort = (kin_ann_effort){0};
  if (sample->n < SAMPLE) return KIN_OK;
  uint32_t candidates = ann->kind.lossless ? 0 : at_most(rows / CANDIDATES_SHARE, MOST_CANDIDATES);
  kin_ann_effort *effort = &ann->head.effort;
  bool alien = ann->kind.graph && !ann->kind.lists && !ann->parts.graph; /* FAISS walks it, through the row itself */
  uint32_t first_candidates = alien ? KIN_ANN_CANDIDATES : FIRST_CANDIDATES;
  effort->candidates = candidates;
  if (ann->kind.lists && ann->kind.graph) effort->ef = KIN_ANN_EF;
  kin_status status;
  if (ann->kind.lists) {
    status = climb(&m, &effort->probes, 1, most_probes(ann, frugal), enough, err);
  } else if (ann->kind.graph) {
    status = climb(&m, &effort->ef, alien ? KIN_ANN_EF : FIRST_EF, at_most(rows / 2, 1 << 30), enough, err);
    if (m.compared > m.most_compared) *enough = *enough && !frugal;
  } else {
    status = try_effort(&m, err);
    *enough = effort->recall >= ENOUGH;
  }
  if (status == KIN_OK && *enough && candidates)
    status = climb(&m, &effort->candidates, first_candidates, candidates, enough, err);
  return status;
}
