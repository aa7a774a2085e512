/* Limited-memory BFGS (Nocedal's two loops) with a weak Wolfe line search by bisection. */
#include "analyse/lbfgs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Pairs kept, and evaluations in a line search. */
enum { PAIRS = 10, TRIALS = 30 };

typedef struct state {
  kin_lbfgs *l;
  double *x, *gradient, value;  /* where it stands */
  double *next, *next_gradient; /* where it looks */
  double *direction;
  double *steps, *changes, rho[PAIRS]; /* [PAIRS][n]: of x and of the gradient; 1 / their product */
  size_t held, newest;
} state;

static double dot(const double *a, const double *b, size_t n) {
  double sums[8] = {0}, total = 0;
  size_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (size_t j = 0; j < 8; j++) sums[j] += a[i + j] * b[i + j];
  for (; i < n; i++) total += a[i] * b[i];
  for (size_t j = 0; j < 8; j++) total += sums[j];
  return total;
}

static void add(double *out, double factor, const double *a, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] += factor * a[i];
}

static double largest(const double *a, size_t n) {
  double most = 0;
  for (size_t i = 0; i < n; i++) most = fmax(most, fabs(a[i]));
  return most;
}

/* The direction of descent from the gradient and the pairs. */
static void set_direction(state *s) {
  const size_t n = s->l->n;
  double alpha[PAIRS];
  for (size_t i = 0; i < n; i++) s->direction[i] = -s->gradient[i];
  for (size_t i = 0; i < s->held; i++) {
    const size_t pair = (s->newest + PAIRS - i) % PAIRS;
    alpha[pair] = s->rho[pair] * dot(s->steps + pair * n, s->direction, n);
    add(s->direction, -alpha[pair], s->changes + pair * n, n);
  }
  if (s->held) {
    const double *change = s->changes + s->newest * n;
    const double factor = 1 / (s->rho[s->newest] * dot(change, change, n));
    for (size_t i = 0; i < n; i++) s->direction[i] *= factor;
  }
  for (size_t i = s->held; i-- > 0;) {
    const size_t pair = (s->newest + PAIRS - i) % PAIRS;
    add(s->direction, alpha[pair] - s->rho[pair] * dot(s->changes + pair * n, s->direction, n), s->steps + pair * n, n);
  }
}

/* Keep the last step, where the function curves upwards along it. */
static void keep_pair(state *s, const double *x, const double *gradient) {
  const size_t n = s->l->n, at = s->held ? (s->newest + 1) % PAIRS : 0;
  double *step = s->steps + at * n, *change = s->changes + at * n;
  for (size_t i = 0; i < n; i++) step[i] = s->next[i] - x[i], change[i] = s->next_gradient[i] - gradient[i];
  const double product = dot(step, change, n);
  if (!(product > 1e-14 * dot(change, change, n))) return;
  s->rho[at] = 1 / product;
  s->newest = at;
  if (s->held < PAIRS) s->held++;
}

/* Find `next` along the direction: low enough, and past the steepest part. Near the minimum, where differences of
 * values are noise, the slopes tell whether it is low enough (Hager and Zhang). False: no such place was found. */
static bool search_line(state *s, double *value) {
  kin_lbfgs *l = s->l;
  const double slope = dot(s->gradient, s->direction, l->n);
  double low = 0, high = INFINITY, t = s->held ? 1 : fmin(1, 1 / sqrt(dot(s->gradient, s->gradient, l->n)));
  if (!(slope < 0)) return false;
  for (int trial = 0; trial < TRIALS; trial++) {
    for (size_t i = 0; i < l->n; i++) s->next[i] = s->x[i] + t * s->direction[i];
    *value = l->objective(l->arg, s->next, s->next_gradient);
    const double there = dot(s->next_gradient, s->direction, l->n);
    const bool lower = *value <= s->value + 1e-4 * t * slope ||
                       (*value <= s->value + 1e-7 * fabs(s->value) && there <= (2e-4 - 1) * slope);
    if (lower && there >= 0.9 * slope) return true;
    if (lower)
      low = t;
    else
      high = t;
    t = isinf(high) ? 2 * t : (low + high) / 2;
  }
  return false;
}

static void descend(state *s) {
  kin_lbfgs *l = s->l;
  s->value = l->objective(l->arg, s->x, s->gradient);
  for (l->iterations = 0;; l->iterations++) {
    l->converged = largest(s->gradient, l->n) <= l->tolerance;
    if (l->converged || l->iterations == l->max_iterations) return;
    double value;
    set_direction(s);
    if (!search_line(s, &value)) {
      if (s->held == 0) return;
      s->held = 0; /* begin anew with the steepest descent */
      set_direction(s);
      if (!search_line(s, &value)) return;
    }
    keep_pair(s, s->x, s->gradient);
    memcpy(s->x, s->next, l->n * sizeof *s->x);
    memcpy(s->gradient, s->next_gradient, l->n * sizeof *s->gradient);
    s->value = value;
  }
}

kin_status kin_lbfgs_run(kin_lbfgs *l, double *x, kin_error *err) {
  size_t all;
  if (__builtin_mul_overflow(l->n, (size_t)(4 + 2 * PAIRS), &all)) all = SIZE_MAX;
  double *memory = kin_array(all, sizeof *memory);
  if (!memory) return kin_fail(err, KIN_ERR_MEMORY, "out of memory to fit %zu weights", l->n);
  state s = {.l = l,
             .x = x,
             .gradient = memory,
             .next = memory + l->n,
             .next_gradient = memory + 2 * l->n,
             .direction = memory + 3 * l->n,
             .steps = memory + 4 * l->n,
             .changes = memory + (4 + PAIRS) * l->n};
  descend(&s);
  free(memory);
  return KIN_OK;
}
