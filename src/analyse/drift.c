/* Drift: whether later vectors come from where earlier ones do, by the maximum mean discrepancy and by the
 * Kolmogorov-Smirnov test along principal components; and where between them the change lies. */
#include "analyse/analyse.h"
#include "analyse/exact.h"
#include "base/context.h"
#include "base/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PERMUTATIONS = 999, COMPONENTS = 8, SIDE = 1000, MOST_SIDE = 10000 };

typedef struct comparison {
  kin_context *context;
  kin_drift_options options; /* with the defaults filled in */
  size_t n, m, all, dim;     /* vectors before and after, of those looked at */
  size_t *source;            /* [all]: their numbers among all vectors */
  float *values;             /* [all][dim]; with cosines of length 1 */
  double *kernel;            /* [all][all]: squared distances, then the kernel */
  double *row_sums;          /* [all]: of the kernel without the diagonal */
  double total;              /* of these */
  size_t *drawn;             /* [permutations][n or m]: the side by chance */
  double *discrepancies;     /* [permutations] */
} comparison;

/* ----------------------------------------------------------------- vectors */

/* At most `most` of n numbers from `first` on, in order, by chance. */
static size_t choose(size_t *out, size_t first, size_t n, size_t most, kin_random *random) {
  size_t chosen = 0;
  for (size_t i = 0; i < n; i++) {
    const size_t wanted = (n < most ? n : most) - chosen;
    if (n <= most || kin_random_below(random, n - i) < wanted) out[chosen++] = first + i;
  }
  return chosen;
}

static kin_status copy_values(comparison *c, const kin_vector_set *before, const kin_vector_set *after,
                              kin_error *err) {
  double *inverse[2] = {NULL, NULL};
  kin_status status = kin_inverse_lengths(before, &inverse[0], err);
  if (status == KIN_OK) status = kin_inverse_lengths(after, &inverse[1], err);
  for (size_t i = 0; status == KIN_OK && i < c->all; i++) {
    const bool late = c->source[i] >= before->n;
    const size_t number = late ? c->source[i] - before->n : c->source[i];
    const float *x = (late ? after : before)->values + number * c->dim;
    const double factor = c->options.metric == KIN_METRIC_COSINE ? inverse[late][number] : 1;
    for (size_t j = 0; j < c->dim; j++) c->values[i * c->dim + j] = (float)((double)x[j] * factor);
  }
  free(inverse[0]), free(inverse[1]);
  return status;
}

/* ------------------------------------------------------------------ kernel */

/* Task of the pool: a row up to the diagonal, mirrored. */
static void measure_row(void *arg, size_t i) {
  const comparison *c = arg;
  for (size_t j = 0; j <= i; j++)
    c->kernel[i * c->all + j] = c->kernel[j * c->all + i] =
        kin_exact_squares(c->values + i * c->dim, c->values + j * c->dim, c->dim);
}

/* Put the k-th least of values[n] in its place, with none greater before it. */
static double select_nth(double *values, size_t n, size_t k) {
  ptrdiff_t low = 0, high = (ptrdiff_t)n - 1;
  while (low < high) {
    const double pivot = values[low + (high - low) / 2];
    ptrdiff_t i = low, j = high;
    while (i <= j) {
      while (values[i] < pivot) i++;
      while (values[j] > pivot) j--;
      if (i > j) break;
      const double swap = values[i];
      values[i++] = values[j], values[j--] = swap;
    }
    if ((ptrdiff_t)k <= j)
      high = j;
    else if ((ptrdiff_t)k >= i)
      low = i;
    else
      break;
  }
  return values[k];
}

/* The median distance of all pairs; where most are copies, the root of the mean square. */
static kin_status find_bandwidth(const comparison *c, double *out, kin_error *err) {
  const size_t pairs = c->all * (c->all - 1) / 2;
  double *squares = kin_array(pairs, sizeof *squares), sum = 0;
  if (!squares) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu pairs of vectors", pairs);
  for (size_t i = 0, at = 0; i < c->all; i++)
    for (size_t j = 0; j < i; j++) squares[at++] = c->kernel[i * c->all + j], sum += c->kernel[i * c->all + j];
  const double upper = sqrt(select_nth(squares, pairs, pairs / 2));
  double lower = upper;
  if (pairs % 2 == 0) {
    lower = 0;
    for (size_t i = 0; i < pairs / 2; i++) lower = fmax(lower, squares[i]);
    lower = sqrt(lower);
  }
  *out = (lower + upper) / 2;
  if (!(*out > 0)) *out = sqrt(sum / (double)pairs);
  free(squares);
  return KIN_OK;
}

typedef struct gaussian {
  comparison *c;
  double bandwidth;
} gaussian;

/* Task of the pool: a row. Where all vectors are the same, so are all values. */
static void fill_row(void *arg, size_t i) {
  const gaussian *g = arg;
  comparison *c = g->c;
  double *row = c->kernel + i * c->all, sum = 0;
  for (size_t j = 0; j < c->all; j++) {
    row[j] = g->bandwidth > 0 ? exp(-row[j] / (2 * g->bandwidth * g->bandwidth)) : 1;
    if (j != i) sum += row[j];
  }
  c->row_sums[i] = sum;
}

/* -------------------------------------------------------------- discrepancy */

/* From the sums of the kernel over pairs: all, those with one in a side of n, and those inside that side. */
static double discrepancy_of(const comparison *c, size_t n, double touching, double inside) {
  const double x = (double)n, y = (double)(c->all - n);
  const double across = touching - inside, other = c->total - inside - 2 * across;
  return inside / (x * (x - 1)) + other / (y * (y - 1)) - 2 * across / (x * y);
}

static double discrepancy(const comparison *c, const size_t *side, size_t n) {
  double touching = 0, inside = 0;
  for (size_t i = 0; i < n; i++) {
    const double *row = c->kernel + side[i] * c->all;
    double sum = 0;
    for (size_t j = 0; j < i; j++) sum += row[side[j]];
    inside += 2 * sum, touching += c->row_sums[side[i]];
  }
  return discrepancy_of(c, n, touching, inside);
}

/* Task of the pool: one division by chance. */
static void permute(void *arg, size_t number) {
  const comparison *c = arg;
  const size_t side = c->n < c->m ? c->n : c->m;
  size_t *drawn = c->drawn + number * side;
  kin_random random = {c->options.seed};
  random.state = kin_random_next(&random) ^ number; /* a sequence for each */
  choose(drawn, 0, c->all, side, &random);
  c->discrepancies[number] = discrepancy(c, drawn, side);
}

static kin_status test_discrepancy(comparison *c, kin_drift *out, kin_error *err) {
  const size_t count = c->options.permutations, side = c->n < c->m ? c->n : c->m;
  c->drawn = kin_array(count, side * sizeof *c->drawn), c->discrepancies = kin_array(count, sizeof *c->discrepancies);
  if (!c->drawn || !c->discrepancies) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu permutations", count);
  const size_t first = c->n <= c->m ? 0 : c->n;
  for (size_t i = 0; i < side; i++) c->drawn[i] = first + i;
  out->mmd = discrepancy(c, c->drawn, side);
  kin_parallel_for(c->context->pool, count, permute, c);
  size_t as_high = 1;
  for (size_t i = 0; i < count; i++) as_high += c->discrepancies[i] >= out->mmd - 1e-12;
  out->p_mmd = (double)as_high / (double)(count + 1);
  return KIN_OK;
}

/* ------------------------------------------------------------------ change */

/* The division in two runs with the least sum of squares to their means, in the kernel's space: that is the greatest of
 * the sums of the kernel inside each run, divided by its length. */
static size_t find_change(const comparison *c) {
  const size_t least = c->all / 20 > 2 ? c->all / 20 : 2 < c->all - 1 ? 2 : 1;
  double before = 0, after = c->total + (double)c->all, most = -INFINITY;
  size_t best = c->n;
  for (size_t s = 0; s + least < c->all; s++) {
    const double *row = c->kernel + s * c->all;
    double earlier = 0;
    for (size_t j = 0; j < s; j++) earlier += row[j];
    before += 2 * earlier + 1, after -= 2 * (c->row_sums[s] - earlier) + 1;
    const double inside = before / (double)(s + 1) + after / (double)(c->all - s - 1);
    if (s + 1 >= least && inside > most) most = inside, best = s + 1;
  }
  return c->source[best];
}

/* -------------------------------------------------------------- components */

static kin_status test_components(comparison *c, kin_drift *out, kin_error *err) {
  size_t k = c->options.components;
  if (k > c->dim) k = c->dim;
  if (k > c->all) k = c->all;
  const kin_vector_set set = {c->values, c->all, c->dim};
  float *places = kin_array(c->all, k * sizeof *places);
  double *along = kin_array(c->all, sizeof *along);
  kin_status status = places && along ? kin_pca(c->context, &set, k, places, NULL, NULL, NULL, err)
                                      : kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu components", k);
  double least = INFINITY;
  for (size_t i = 0; status == KIN_OK && i < k; i++) {
    double statistic, p;
    for (size_t j = 0; j < c->all; j++) along[j] = (double)places[j * k + i];
    status = kin_ks_test(along, c->n, along + c->n, c->m, &statistic, &p, err);
    if (status == KIN_OK && p < least) least = p, out->ks = statistic, out->component = i;
  }
  out->p_ks = fmin(1, least * (double)k);
  free(places), free(along);
  return status;
}

/* ----------------------------------------------------------------- running */

static kin_status compare(comparison *c, const kin_vector_set *before, const kin_vector_set *after, kin_drift *out,
                          kin_error *err) {
  kin_random random = {c->options.seed ^ 0x6472696674};
  c->source = kin_array(before->n + after->n, sizeof *c->source);
  if (!c->source) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu vectors", before->n + after->n);
  c->n = choose(c->source, 0, before->n, c->options.most, &random);
  c->m = choose(c->source + c->n, before->n, after->n, c->options.most, &random);
  c->all = c->n + c->m;
  c->values = kin_array(c->all, c->dim * sizeof *c->values);
  c->kernel = kin_array(c->all, c->all * sizeof *c->kernel), c->row_sums = kin_array(c->all, sizeof *c->row_sums);
  if (!c->values || !c->kernel || !c->row_sums)
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the kernel of %zu vectors", c->all);
  kin_status status = copy_values(c, before, after, err);
  if (status != KIN_OK) return status;
  kin_parallel_for(c->context->pool, c->all, measure_row, c);
  status = find_bandwidth(c, &out->bandwidth, err);
  if (status != KIN_OK) return status;
  gaussian g = {c, out->bandwidth};
  kin_parallel_for(c->context->pool, c->all, fill_row, &g);
  for (size_t i = 0; i < c->all; i++) c->total += c->row_sums[i];
  status = test_discrepancy(c, out, err);
  if (status == KIN_OK) status = test_components(c, out, err);
  out->p = fmin(1, 2 * fmin(out->p_mmd, out->p_ks));
  out->change = find_change(c);
  return status;
}

kin_status kin_drift_test(kin_context *context, const kin_vector_set *before, const kin_vector_set *after,
                          const kin_drift_options *options, kin_drift *out, kin_error *err) {
  if (!context || !before || !after || !out)
    return kin_fail(err, KIN_ERR_ARGUMENT, "a test of drift needs a context, two sets and a result");
  if (before->n < 2 || after->n < 2)
    return kin_fail(err, KIN_ERR_ARGUMENT,
                    "a test of drift needs at least two vectors before and after, not %zu and %zu", before->n,
                    after->n);
  if (before->dim != after->dim)
    return kin_fail(err, KIN_ERR_MISMATCH, "vectors of %zu floats before, of %zu after", before->dim, after->dim);
  comparison c = {.context = context, .options = options ? *options : (kin_drift_options){0}, .dim = before->dim};
  if (!c.options.permutations) c.options.permutations = PERMUTATIONS;
  if (!c.options.components) c.options.components = COMPONENTS;
  if (!c.options.most) c.options.most = SIDE;
  if (c.options.most < 2 || c.options.most > MOST_SIDE)
    return kin_fail(err, KIN_ERR_ARGUMENT, "a test of drift looks at 2 to %d vectors of a side, not %zu", MOST_SIDE,
                    c.options.most);
  *out = (kin_drift){0};
  const kin_status status = compare(&c, before, after, out, err);
  free(c.source), free(c.values), free(c.kernel), free(c.row_sums), free(c.drawn), free(c.discrepancies);
  return status;
}
