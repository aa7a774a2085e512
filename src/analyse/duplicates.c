/* Copies among files and vectors: same bytes by their hash, then pictures among nearest neighbours, joined into groups.
 */
#include "analyse/duplicates.h"

#include "analyse/analyse.h"
#include "analyse/exact.h"
#include "base/context.h"

#include <math.h>
#include <stdlib.h>

enum { STEP = 32, NEIGHBOURS = 16, EXHAUSTIVE = 50000 };

static const double least_cosine = 0.99;

const char *kin_copy_kind_name(kin_copy_kind kind) {
  static const char *const names[] = {"best",   "link", "bytes", "picture", "mirrored",
                                      "turned", "part", "text",  "vector"};
  return (size_t)kind < sizeof names / sizeof *names ? names[kind] : "unknown";
}

void kin_duplicates_free(kin_duplicates *duplicates) {
  if (!duplicates) return;
  free(duplicates->first), free(duplicates->copies);
  *duplicates = (kin_duplicates){0};
}

/* ------------------------------------------------------------ what parts use */

typedef struct step {
  void (*task)(void *arg, size_t i);
  void *arg;
  size_t first;
} step;

static void run_one(void *arg, size_t i) {
  const step *now = arg;
  now->task(now->arg, now->first + i);
}

kin_status kin_dup_run(kin_dup_search *s, const char *stage, size_t n, void (*task)(void *arg, size_t i), void *arg,
                       kin_error *err) {
  const size_t most = (size_t)STEP * kin_context_threads(s->context);
  for (size_t done = 0, count; done < n; done += count) {
    if (s->options.on_progress && !s->options.on_progress(s->options.user, stage, done, n))
      return kin_fail(err, KIN_ERR_CANCELLED, "stopped while %s", stage);
    count = n - done < most ? n - done : most;
    step now = {task, arg, done};
    kin_parallel_for(s->context->pool, count, run_one, &now);
  }
  return KIN_OK;
}

void kin_dup_fail(kin_dup_entry *entry, const kin_error *err) {
  entry->failure = err->status;
  entry->message = kin_strdup(err->message);
}

void kin_dup_settle(kin_dup_search *s) {
  for (size_t i = 0; i < s->n; i++) {
    kin_dup_entry *e = &s->entries[i];
    if (e->failure == KIN_OK) continue;
    e->usable = false;
    if (s->options.on_failure)
      s->options.on_failure(s->options.user, i, e->failure, e->message ? e->message : s->items[i].path);
    e->failure = KIN_OK;
    free(e->message), e->message = NULL;
  }
}

double kin_dup_cosine(const kin_dup_search *s, size_t a, size_t b) {
  if (!s->set) return NAN;
  const size_t dim = s->set->dim;
  const double dot = kin_exact_dot(s->set->values + a * dim, s->set->values + b * dim, dim);
  return fmax(-1, fmin(1, dot * s->inverse[a] * s->inverse[b]));
}

size_t kin_dup_root(kin_dup_entry *entries, size_t item) {
  while (entries[item].parent != item) item = entries[item].parent = entries[entries[item].parent].parent;
  return item;
}

/* ------------------------------------------------------------------ running */

static kin_status run(kin_dup_search *s, kin_duplicates *out, kin_error *err) {
  s->entries = calloc(s->n + 1, sizeof *s->entries);
  if (!s->entries) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu items", s->n);
  for (size_t i = 0; i < s->n; i++)
    s->entries[i] =
        (kin_dup_entry){.usable = true, .link = KIN_NOT_LINKED, .original = i, .next = SIZE_MAX, .parent = i};
  kin_status status = kin_dup_read_files(s, err);
  if (status == KIN_OK && s->set) status = kin_dup_join_near(s, err);
  if (status == KIN_OK) status = kin_dup_group(s, out, err);
  for (size_t i = 0; i < s->n; i++)
    kin_sketch_free(&s->entries[i].sketch), kin_shingles_free(&s->entries[i].shingles), free(s->entries[i].message);
  free(s->entries);
  return status;
}

kin_status kin_find_duplicates(kin_context *context, const kin_duplicate_item *items, size_t n,
                               const kin_vector_set *set, const kin_duplicates_options *options, kin_duplicates *out,
                               kin_error *err) {
  if (!context || !out || (n && !items))
    return kin_fail(err, KIN_ERR_ARGUMENT, "duplicates need a context, items and room");
  *out = (kin_duplicates){0};
  if (set && set->n != n) return kin_fail(err, KIN_ERR_ARGUMENT, "%zu items, but %zu vectors", n, set->n);
  if (set && n == 0) set = NULL;
  kin_dup_search s = {.context = context, .items = items, .n = n, .set = set};
  if (options) s.options = *options;
  if (s.options.neighbours == 0) s.options.neighbours = NEIGHBOURS;
  if (s.options.exhaustive == 0) s.options.exhaustive = EXHAUSTIVE;
  if (s.options.min_cosine == 0) s.options.min_cosine = least_cosine;
  kin_status status = set ? kin_inverse_lengths(set, &s.inverse, err) : KIN_OK;
  if (status == KIN_OK) status = run(&s, out, err);
  free(s.inverse);
  if (status != KIN_OK) kin_duplicates_free(out);
  return status;
}
