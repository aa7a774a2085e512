/* Examples as unit vectors, and the matches that they rank first. */
#include "index/fusion.h"
#include "kernel/kernel.h"
#include "store/find.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_DEPTH 64 /* matches of each like that are looked at first */
#define READ_AT_ONCE 256

static double weight_of(const kin_example *e) {
  return e->weight != 0 ? e->weight : 1;
}

static bool is_unlike(const kin_example *e) {
  return e->weight < 0;
}

/* ---------------------------------------------------------------------- examples */

static double length_of(const double *v, size_t dim) {
  double sum = 0;
  for (size_t i = 0; i < dim; i++) sum += v[i] * v[i];
  return sqrt(sum);
}

/* The example at length 1 into out[dim]; all zeros stay so. */
static kin_status read_example(kin_find *f, const kin_example *e, double *out, kin_error *err) {
  kin_status status = KIN_OK;
  if (!isfinite(e->weight)) return kin_fail(err, KIN_ERR_ARGUMENT, "a query's weight isn't finite");
  if (e->vector)
    for (size_t i = 0; i < f->dim; i++) out[i] = (double)e->vector[i];
  else
    status = f->finder->read_item(f, e->item, out, err);
  if (status != KIN_OK) return status;
  double length = length_of(out, f->dim);
  if (!isfinite(length)) return kin_fail(err, KIN_ERR_ARGUMENT, "the query vector isn't finite");
  double scale = length > 0 ? 1 / length : 0;
  for (size_t i = 0; i < f->dim; i++) out[i] *= scale;
  return KIN_OK;
}

/* The sum of the weighted examples at length 1, into r->vectors[0]. */
static kin_status sum_examples(kin_ranking *r, double *one, double *sum, kin_error *err) {
  const kin_query *q = r->find->query;
  size_t dim = r->find->dim;
  double total = 0;
  memset(sum, 0, dim * sizeof *sum);
  for (size_t k = 0; k < q->n_examples; k++) {
    double weight = weight_of(&q->examples[k]);
    kin_status status = read_example(r->find, &q->examples[k], one, err);
    if (status != KIN_OK) return status;
    for (size_t i = 0; i < dim; i++) sum[i] += weight * one[i];
    total += fabs(weight);
  }
  double length = length_of(sum, dim);
  if (q->n_examples > 1 && !(length > 1e-6 * total))
    return kin_fail(err, KIN_ERR_ARGUMENT,
                    "the parts of the query cancel each other out; change them or their weights");
  for (size_t i = 0; i < dim; i++) r->vectors[i] = (float)(length > 0 ? sum[i] / length : 0);
  r->n_likes = 1;
  r->weights[0] = 1;
  return KIN_OK;
}

/* Each example of its own: first the likes, then the unlikes. */
static kin_status list_examples(kin_ranking *r, double *one, kin_error *err) {
  const kin_query *q = r->find->query;
  size_t dim = r->find->dim, n = 0;
  for (int unlike = 0; unlike < 2; unlike++)
    for (size_t k = 0; k < q->n_examples; k++) {
      if (is_unlike(&q->examples[k]) != (unlike == 1)) continue;
      kin_status status = read_example(r->find, &q->examples[k], one, err);
      if (status != KIN_OK) return status;
      for (size_t i = 0; i < dim; i++) r->vectors[n * dim + i] = (float)one[i];
      r->weights[n++] = fabs(weight_of(&q->examples[k]));
      if (unlike) r->n_unlikes++;
    }
  r->n_likes = n - r->n_unlikes;
  if (r->n_likes) return KIN_OK;
  return kin_fail(err, KIN_ERR_ARGUMENT, "the best of what is liked: nothing is given to be like");
}

kin_status kin_ranking_open(kin_find *f, kin_ranking *r, kin_error *err) {
  *r = (kin_ranking){.find = f, .complete = f->dim == 0};
  if (f->dim == 0 || !f->query->n_examples) return KIN_OK; /* words alone need no vectors */
  bool sum = f->query->strategy == KIN_STRATEGY_SUM;
  size_t floats, n = sum ? 1 : f->query->n_examples;
  r->weights = kin_array(n, sizeof *r->weights);
  if (!__builtin_mul_overflow(n * sizeof(float), f->dim, &floats)) r->vectors = kin_alloc_aligned(floats);
  double *room = kin_array(2 * f->dim, sizeof *room);
  kin_status status = KIN_OK;
  if (!r->weights || !r->vectors || !room)
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for a query of %zu vectors", n);
  if (status == KIN_OK) status = sum ? sum_examples(r, room, room + f->dim, err) : list_examples(r, room, err);
  free(room);
  return status;
}

void kin_ranking_close(kin_ranking *r) {
  kin_free_aligned(r->vectors);
  free(r->weights);
  free(r->matches);
  free(r->near);
  free(r->worded);
}

/* --------------------------------------------------------------- several likes */

static int compare_rows(const void *a, const void *b) {
  const kin_match *x = a, *y = b;
  if (x->id != y->id) return x->id < y->id ? -1 : 1;
  return (x->row > y->row) - (x->row < y->row);
}

/* Each match once. */
static size_t drop_twins(kin_match *matches, size_t n) {
  size_t kept = 0;
  qsort(matches, n, sizeof *matches, compare_rows);
  for (size_t i = 0; i < n; i++)
    if (kept == 0 || compare_rows(&matches[kept - 1], &matches[i]) != 0) matches[kept++] = matches[i];
  return kept;
}

/* The score of KIN_STRATEGY_BEST. */
static float score_of(const kin_ranking *r, const float *vector) {
  const kin_context *context = r->find->store->context;
  size_t dim = r->find->dim;
  double best = -INFINITY, worst = 0;
  for (size_t i = 0; i < r->n_likes + r->n_unlikes; i++) {
    double cosine = r->weights[i] * (double)context->kernels->dot(r->vectors + i * dim, vector, dim);
    if (i < r->n_likes)
      best = fmax(best, cosine);
    else
      worst = fmax(worst, cosine);
  }
  return (float)(best - worst);
}

static kin_status score_matches(kin_ranking *r, kin_match *matches, size_t n, kin_error *err) {
  size_t dim = r->find->dim;
  float *vectors = kin_alloc_aligned(READ_AT_ONCE * dim * sizeof *vectors);
  if (!vectors) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %d vectors", READ_AT_ONCE);
  kin_status status = KIN_OK;
  for (size_t at = 0; status == KIN_OK && at < n; at += READ_AT_ONCE) {
    size_t m = n - at < READ_AT_ONCE ? n - at : READ_AT_ONCE;
    status = r->find->finder->read_vectors(r->find, matches + at, m, vectors, err);
    for (size_t i = 0; status == KIN_OK && i < m; i++) matches[at + i].score = score_of(r, vectors + i * dim);
  }
  kin_free_aligned(vectors);
  return status;
}

/* Score all that is among the `depth` best of any like. What isn't scores at most what the last of some like's list
 * has with it: only what scores more than that is sure to stand where it does. */
static kin_status rank_best(kin_ranking *r, size_t depth, kin_error *err) {
  kin_match *lists = kin_array(r->n_likes * depth, sizeof *lists);
  size_t *found = kin_array(r->n_likes, sizeof *found), n = 0;
  kin_status status = KIN_OK;
  if (!lists || !found) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu results", depth);
  if (status == KIN_OK) status = r->find->finder->search(r->find, r->vectors, r->n_likes, depth, lists, found, err);
  double bound = -INFINITY;
  for (size_t i = 0; status == KIN_OK && i < r->n_likes; i++) {
    if (found[i] == depth) bound = fmax(bound, r->weights[i] * (double)lists[i * depth + depth - 1].score);
    memmove(lists + n, lists + i * depth, found[i] * sizeof *lists);
    n += found[i];
  }
  if (status == KIN_OK) n = drop_twins(lists, n);
  if (status == KIN_OK) status = score_matches(r, lists, n, err);
  free(found);
  if (status != KIN_OK) {
    free(lists);
    return status;
  }
  qsort(lists, n, sizeof *lists, kin_match_compare);
  r->complete = bound == -INFINITY || depth >= r->find->population;
  for (r->n = 0; r->n < n && (r->complete || (double)lists[r->n].score > bound);) r->n++;
  free(r->matches);
  r->matches = lists;
  return KIN_OK;
}

/* --------------------------------------------------------------------- extending */

static kin_status rank_sum(kin_ranking *r, size_t wanted, kin_error *err) {
  kin_match *matches = kin_array(wanted, sizeof *matches);
  size_t n = 0;
  if (!matches) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu results", wanted);
  kin_status status = r->find->finder->search(r->find, r->vectors, 1, wanted, matches, &n, err);
  if (status != KIN_OK) {
    free(matches);
    return status;
  }
  free(r->matches);
  r->matches = matches;
  r->n = n;
  r->complete = n < wanted || wanted >= r->find->population;
  return KIN_OK;
}

static kin_status rank_vectors(kin_ranking *r, size_t wanted, kin_error *err) {
  uint64_t all = r->find->population;
  if (wanted > all) wanted = (size_t)all;
  if (all == 0) r->complete = true;
  if (r->complete || wanted <= r->n) return KIN_OK;
  if (r->find->query->strategy == KIN_STRATEGY_SUM) return rank_sum(r, wanted, err);
  size_t depth = wanted > FIRST_DEPTH ? wanted : FIRST_DEPTH;
  kin_status status = KIN_OK;
  for (; status == KIN_OK && !r->complete && r->n<wanted; depth = depth> SIZE_MAX / 4 ? SIZE_MAX : depth * 4)
    status = rank_best(r, depth < all ? depth : (size_t)all, err);
  return status;
}

static kin_status rank_words(kin_ranking *r, size_t wanted, kin_error *err) {
  if (r->complete || wanted <= r->n) return KIN_OK;
  free(r->matches);
  r->matches = NULL;
  r->n = 0;
  kin_status status = r->find->finder->search_words(r->find, r->find->query->words, wanted, &r->matches, &r->n, err);
  r->complete = r->n < wanted;
  return status;
}

static void forget_lists(kin_ranking *r) {
  free(r->matches);
  free(r->near);
  free(r->worded);
  r->matches = r->near = r->worded = NULL;
  r->n = r->n_near = r->n_worded = 0;
}

/* The best by the examples and the best by the words. */
static kin_status list_both(kin_ranking *r, kin_error *err) {
  const kin_finder *finder = r->find->finder;
  bool done = false;
  kin_status status = KIN_OK;
  if (finder->list_both && r->n_likes == 1 && !r->n_unlikes) status = finder->list_both(r, &done, err);
  if (status == KIN_OK && !done) status = rank_vectors(r, KIN_FUSION_WINDOW, err);
  if (status != KIN_OK || done) return status;
  r->near = r->matches;
  r->n_near = r->n < KIN_FUSION_WINDOW ? r->n : KIN_FUSION_WINDOW;
  r->matches = NULL;
  r->n = 0;
  return finder->search_words(r->find, r->find->query->words, KIN_FUSION_WINDOW, &r->worded, &r->n_worded, err);
}

/* Fuse them; there are no others. */
static kin_status rank_both(kin_ranking *r, size_t wanted, kin_error *err) {
  const kin_query *q = r->find->query;
  const kin_finder *finder = r->find->finder;
  bool by_rank = q->fusion != KIN_FUSION_WEIGHTED, done = false;
  kin_status status = KIN_OK;
  if (r->complete || wanted <= r->n) return KIN_OK;
  forget_lists(r);
  if (finder->fuse_both && by_rank && r->n_likes == 1 && !r->n_unlikes)
    status = finder->fuse_both(r, wanted, &done, err);
  if (!done) forget_lists(r);
  if (status == KIN_OK && !done) status = list_both(r, err);
  if (status != KIN_OK || done) return status;
  r->complete = true;
  r->matches = kin_array(r->n_near + r->n_worded + 1, sizeof *r->matches);
  if (!r->matches) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for fusing two lists");
  size_t n = kin_fuse((kin_ranked){r->near, r->n_near}, (kin_ranked){r->worded, r->n_worded},
                      by_rank ? -1 : q->vector_weight, r->matches);
  if (n == SIZE_MAX) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for fusing two lists");
  r->n = n;
  return KIN_OK;
}

kin_status kin_ranking_extend(kin_ranking *r, size_t wanted, kin_error *err) {
  const kin_query *q = r->find->query;
  if (!q->words) return rank_vectors(r, wanted, err);
  return q->n_examples ? rank_both(r, wanted, err) : rank_words(r, wanted, err);
}
