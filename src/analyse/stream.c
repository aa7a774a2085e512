/* A stream of vectors: each against the window before it, and windows against each other. */
#include "analyse/analyse.h"
#include "analyse/recent.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_TESTED = 10, LEAST_SCORES = 20 };
#define LEVEL 0.01

struct kin_stream {
  kin_context *context;
  kin_stream_options options;
  size_t dim;
  uint64_t number; /* of vectors[0] */
  size_t n;        /* held */
  float *vectors;  /* [n][dim] */
  size_t vector_capacity, inverse_capacity, score_capacity, time_capacity, known_capacity;
  double *inverse, *scores; /* [n] */
  int64_t *time_ns;         /* [n] */
  double *known;            /* room for the scores of a window */
  double *room;             /* of kin_window_score */
  uint64_t change;          /* the last one's number */
  uint64_t tested_at;       /* the number ... */
  int64_t tested_ns;        /* ... and time of the vector that was last tested with */
};

/* ----------------------------------------------------------------- windows */

/* Where the window before `end` begins. */
static size_t begin_of(const kin_stream *s, size_t end) {
  const kin_stream_options *o = &s->options;
  if (o->window) return end > o->window ? end - o->window : 0;
  size_t begin = end ? end - 1 : 0;
  while (begin > 0 && kin_ns_between(s->time_ns[begin - 1], s->time_ns[end - 1]) < o->window_ns) begin--;
  return begin;
}

/* That of a vector which isn't among those before it: by time, as long before it. */
static size_t window_before(const kin_stream *s, size_t i) {
  if (s->options.window) return begin_of(s, i);
  size_t begin = i;
  while (begin > 0 && kin_ns_between(s->time_ns[begin - 1], s->time_ns[i]) <= s->options.window_ns) begin--;
  return begin;
}

/* Make room for one more, and let go what neither of the two latest windows holds. */
static kin_status make_room(kin_stream *s, kin_error *err) {
  const size_t first = s->n ? begin_of(s, begin_of(s, s->n)) : 0;
  if (first > s->n / 2) {
    s->n -= first, s->number += first;
    memmove(s->vectors, s->vectors + first * s->dim, s->n * s->dim * sizeof *s->vectors);
    memmove(s->inverse, s->inverse + first, s->n * sizeof *s->inverse);
    memmove(s->scores, s->scores + first, s->n * sizeof *s->scores);
    memmove(s->time_ns, s->time_ns + first, s->n * sizeof *s->time_ns);
  }
  const size_t n = s->n + 1;
  if (kin_grow((void **)&s->vectors, &s->vector_capacity, n * s->dim, sizeof *s->vectors) &&
      kin_grow((void **)&s->inverse, &s->inverse_capacity, n, sizeof *s->inverse) &&
      kin_grow((void **)&s->scores, &s->score_capacity, n, sizeof *s->scores) &&
      kin_grow((void **)&s->time_ns, &s->time_capacity, n, sizeof *s->time_ns) &&
      kin_grow((void **)&s->known, &s->known_capacity, n, sizeof *s->known))
    return KIN_OK;
  return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the windows of a stream");
}

/* ------------------------------------------------------------------ scores */

/* Of the last vector held. */
static kin_status score(kin_stream *s, kin_stream_report *out, kin_error *err) {
  const kin_stream_options *o = &s->options;
  const size_t last = s->n - 1, first = window_before(s, last);
  const kin_vector_set window = {s->vectors + first * s->dim, s->n - first, s->dim};
  const double *inverse = o->metric == KIN_METRIC_COSINE ? s->inverse + first : NULL;
  size_t count = 0;
  out->score = s->scores[last] = kin_window_score(&window, inverse, o->method, o->k, s->room);
  out->limit = NAN;
  for (size_t i = first; i < last; i++)
    if (!isnan(s->scores[i])) s->known[count++] = s->scores[i];
  if (count < LEAST_SCORES) return KIN_OK;
  const kin_status status = kin_threshold_limit(&o->threshold, s->known, count, &out->limit, err);
  out->unusual = out->score > out->limit;
  return status;
}

/* ------------------------------------------------------------------- drift */

static bool is_due(const kin_stream *s) {
  const kin_stream_options *o = &s->options;
  const uint64_t last = s->number + s->n - 1;
  if (o->window) return last - s->tested_at >= (o->window + 3) / 4;
  return kin_ns_between(s->tested_ns, s->time_ns[s->n - 1]) >= o->window_ns / 4;
}

/* The two windows, the earlier one without what came before the last change; false: one isn't full enough. */
static bool find_windows(const kin_stream *s, size_t *first, size_t *middle) {
  const kin_stream_options *o = &s->options;
  *middle = begin_of(s, s->n);
  if (*middle == 0) return false;
  *first = begin_of(s, *middle);
  if (s->change > s->number + *first) *first = (size_t)(s->change - s->number);
  if (*first + LEAST_TESTED > *middle || *middle + LEAST_TESTED > s->n) return false;
  if (o->window) return *middle - *first >= o->window / 2;
  return kin_ns_between(s->time_ns[*first], s->time_ns[*middle]) >= o->window_ns / 2;
}

static kin_status test(kin_stream *s, kin_stream_report *out, kin_error *err) {
  size_t first, middle;
  if (!is_due(s) || !find_windows(s, &first, &middle)) return KIN_OK;
  const kin_drift_options options = {
      .metric = s->options.metric, .permutations = s->options.permutations, .seed = s->options.seed + out->number};
  const kin_vector_set before = {s->vectors + first * s->dim, middle - first, s->dim};
  const kin_vector_set after = {s->vectors + middle * s->dim, s->n - middle, s->dim};
  const kin_status status = kin_drift_test(s->context, &before, &after, &options, &out->drift, err);
  if (status != KIN_OK) return status;
  s->tested_at = out->number, s->tested_ns = s->time_ns[s->n - 1];
  out->tested = true;
  out->changed = out->drift.p <= s->options.level;
  if (out->changed) out->change = s->change = s->number + first + out->drift.change;
  return KIN_OK;
}

/* ------------------------------------------------------------------ public */

static kin_status check(const kin_stream_options *o, kin_error *err) {
  if (o->window ? o->window < LEAST_TESTED || o->window_ns : o->window_ns <= 0)
    return kin_fail(err, KIN_ERR_ARGUMENT, "a stream's window is of at least %d vectors, or of a time above 0",
                    LEAST_TESTED);
  if (o->threshold.rule == KIN_THRESHOLD_CONFORMAL)
    return kin_fail(err, KIN_ERR_ARGUMENT, "a stream's limit is by mad or by quantile");
  if (!(o->level >= 0 && o->level < 1)) return kin_fail(err, KIN_ERR_ARGUMENT, "a level lies between 0 and 1");
  return kin_window_check(o->method, o->k, err);
}

kin_status kin_stream_open(kin_context *context, size_t dim, const kin_stream_options *options, kin_stream **out,
                           kin_error *err) {
  if (!context || !dim || !options || !out)
    return kin_fail(err, KIN_ERR_ARGUMENT,
                    "a stream needs a context, vectors of at least a float, options and a result");
  *out = NULL;
  const kin_status status = check(options, err);
  if (status != KIN_OK) return status;
  kin_stream *s = calloc(1, sizeof *s);
  if (s) {
    *s = (kin_stream){.context = context, .options = *options, .dim = dim};
    if (s->options.level == 0) s->options.level = LEVEL;
    s->room = kin_array(options->k > dim ? options->k : dim, sizeof *s->room);
  }
  if (!s || !s->room) {
    free(s);
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a stream");
  }
  *out = s;
  return KIN_OK;
}

void kin_stream_close(kin_stream *s) {
  if (!s) return;
  free(s->vectors), free(s->inverse), free(s->scores), free(s->time_ns), free(s->known), free(s->room);
  free(s);
}

kin_status kin_stream_push(kin_stream *s, const float *vector, int64_t time_ns, kin_stream_report *out,
                           kin_error *err) {
  const kin_vector_set one = {vector, 1, s->dim};
  double *inverse;
  *out = (kin_stream_report){.score = NAN, .limit = NAN};
  kin_status status = kin_inverse_lengths(&one, &inverse, err);
  if (status == KIN_OK && (status = make_room(s, err)) != KIN_OK) free(inverse);
  if (status != KIN_OK) return status;
  if (s->n && time_ns < s->time_ns[s->n - 1]) time_ns = s->time_ns[s->n - 1];
  if (!s->n) s->tested_ns = time_ns;
  memcpy(s->vectors + s->n * s->dim, vector, s->dim * sizeof *vector);
  s->inverse[s->n] = *inverse, s->time_ns[s->n] = time_ns, s->n++;
  free(inverse);
  out->number = s->number + s->n - 1;
  status = score(s, out, err);
  if (status == KIN_OK) status = test(s, out, err);
  out->kept = s->number;
  return status;
}
