/* Dense linear algebra in double. Each element is computed by one task in one order. */
#include "analyse/linear.h"

#include "base/context.h"

#include <math.h>

/* Rows or columns of a task. */
enum { BLOCK = 64 };

static size_t blocks_of(size_t n) {
  return (n + BLOCK - 1) / BLOCK;
}

static size_t block_end(size_t block, size_t n) {
  return (block + 1) * BLOCK < n ? (block + 1) * BLOCK : n;
}

typedef struct gram {
  const double *a;
  size_t n, k;
  double *out;
} gram;

/* Task of the pool: a block of rows against all that come before, mirrored. */
static void gram_rows(void *arg, size_t task) {
  const gram *g = arg;
  for (size_t other = 0; other <= task; other++)
    for (size_t i = task * BLOCK; i < block_end(task, g->n); i++)
      for (size_t j = other * BLOCK; j <= i && j < block_end(other, g->n); j++)
        g->out[i * g->n + j] = g->out[j * g->n + i] =
            kin_dot_in_lanes(g->a + i * g->k, g->a + j * g->k, g->k) / (double)g->k;
}

void kin_gram(kin_context *context, const double *a, size_t n, size_t k, double *out) {
  gram g = {a, n, k, out};
  kin_parallel_for(context->pool, blocks_of(n), gram_rows, &g);
}

/* ---------------------------------------------------------------- Cholesky */

typedef struct panel {
  double *a;
  size_t n, first, end; /* the columns being made; all before are done */
} panel;

/* Task of the pool: a block of rows of the panel, less what the finished columns add up to. */
static void subtract_finished(void *arg, size_t task) {
  const panel *p = arg;
  size_t row = p->first + task * BLOCK, end = row + BLOCK < p->n ? row + BLOCK : p->n;
  for (; row < end; row++)
    for (size_t c = p->first; c < p->end && c <= row; c++)
      p->a[row * p->n + c] -= kin_dot_in_lanes(p->a + row * p->n, p->a + c * p->n, p->first);
}

static void finish_row(const panel *p, size_t row) {
  double *r = p->a + row * p->n;
  for (size_t c = p->first; c < p->end && c < row; c++) {
    const double *above = p->a + c * p->n;
    r[c] = (r[c] - kin_dot_in_lanes(r + p->first, above + p->first, c - p->first)) / above[c];
  }
}

/* Task of the pool: a block of rows below the panel's square. */
static void finish_below(void *arg, size_t task) {
  const panel *p = arg;
  size_t row = p->end + task * BLOCK, end = row + BLOCK < p->n ? row + BLOCK : p->n;
  for (; row < end; row++) finish_row(p, row);
}

static bool finish_square(const panel *p) {
  for (size_t row = p->first; row < p->end; row++) {
    double *r = p->a + row * p->n;
    finish_row(p, row);
    const double left = r[row] - kin_dot_in_lanes(r + p->first, r + p->first, row - p->first);
    if (!(left > 0)) return false;
    r[row] = sqrt(left);
  }
  return true;
}

bool kin_cholesky(kin_context *context, double *a, size_t n) {
  for (size_t first = 0; first < n; first += BLOCK) {
    panel p = {a, n, first, first + BLOCK < n ? first + BLOCK : n};
    kin_parallel_for(context->pool, blocks_of(n - p.first), subtract_finished, &p);
    if (!finish_square(&p)) return false;
    kin_parallel_for(context->pool, blocks_of(n - p.end), finish_below, &p);
  }
  return true;
}

typedef struct solve {
  const double *l;
  double *b;
  size_t n, m;
} solve;

/* Task of the pool: a block of columns of b. */
static void solve_columns(void *arg, size_t task) {
  const solve *s = arg;
  const size_t first = task * BLOCK, width = block_end(task, s->m) - first;
  for (size_t i = 0; i < s->n; i++) {
    const double *l = s->l + i * s->n;
    double *row = s->b + i * s->m + first;
    for (size_t k = 0; k < i; k++)
      for (size_t j = 0; j < width; j++) row[j] -= l[k] * s->b[k * s->m + first + j];
    for (size_t j = 0; j < width; j++) row[j] /= l[i];
  }
  for (size_t i = s->n; i-- > 0;) {
    const double *l = s->l + i * s->n;
    double *row = s->b + i * s->m + first;
    for (size_t j = 0; j < width; j++) row[j] /= l[i];
    for (size_t k = 0; k < i; k++)
      for (size_t j = 0; j < width; j++) s->b[k * s->m + first + j] -= l[k] * row[j];
  }
}

void kin_cholesky_solve(kin_context *context, const double *l, size_t n, double *b, size_t m) {
  solve s = {l, b, n, m};
  kin_parallel_for(context->pool, blocks_of(m), solve_columns, &s);
}
