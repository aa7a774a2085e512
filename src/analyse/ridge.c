/* Ridge regression from image features to centred caption vectors.
 *
 * Features are standardised. Captions of several languages differ by their language before they differ by what they
 * say: each column's mean is taken out of the space altogether, and a picture's target is the mean of its captions.
 * With fewer pictures than features the dual form is solved: weight = x' (x x' / p + lambda)^-1 y / p. */
#include "analyse/align.h"
#include "analyse/linear.h"
#include "base/context.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Neighbouring numbers go to one fold, so that folds and the parts that are kept apart cross. */
enum { FOLDS = 5, FOLDS_APART = 11, MOST_VALIDATED = 2000 };
static const double lambdas[] = {0.03, 0.1, 0.3, 1, 3, 10};
enum { LAMBDAS = sizeof lambdas / sizeof *lambdas };

void kin_align_map_free(kin_align_map *map) {
  free(map->image_mean), free(map->image_deviation), free(map->image_weight), free(map->text_mean);
  free(map->projection), free(map->points);
  *map = (kin_align_map){0};
}

static double *doubles(size_t n, size_t m) {
  double *p = m && n > SIZE_MAX / m ? NULL : kin_array(n * m, sizeof *p);
  if (p) memset(p, 0, n * m * sizeof *p);
  return p;
}

/* -------------------------------------------------------- centre and scale */

static void standard_of(const kin_align_data *data, const size_t *rows, size_t n, kin_align_map *map) {
  const size_t p = data->features;
  double *mean = map->image_mean, *deviation = map->image_deviation;
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < p; j++) mean[j] += (double)data->images[rows[i] * p + j] / (double)n;
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < p; j++) deviation[j] += pow((double)data->images[rows[i] * p + j] - mean[j], 2) / (double)n;
  /* A feature that never moves tells nothing, whatever it is divided by. */
  for (size_t j = 0; j < p; j++) deviation[j] = deviation[j] > 1e-12 ? sqrt(deviation[j]) : 1;
}

/* projection -= d d', d being `direction` less its share in what was taken out before, at length 1. */
static void take_out(kin_align_map *map, const double *direction, double *scratch) {
  const size_t t = map->dim;
  for (size_t i = 0; i < t; i++) scratch[i] = kin_dot_in_order(map->projection + i * t, direction, t);
  const double length = sqrt(kin_dot_in_order(scratch, scratch, t));
  if (length < 1e-6) return;
  for (size_t i = 0; i < t; i++)
    for (size_t j = 0; j < t; j++) map->projection[i * t + j] -= scratch[i] * scratch[j] / (length * length);
}

/* The mean of the columns' means, and the projection off their differences. `means` [columns + 1][dim] is scratch. */
static void centre_of(const kin_align_data *data, const size_t *rows, size_t n, kin_align_map *map, double *means) {
  const size_t t = data->dim;
  size_t columns = 0;
  for (size_t c = 0; c < data->columns; c++) {
    double *mean = means + columns * t;
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += data->has[c * data->n + rows[i]];
    if (!count) continue;
    for (size_t i = 0; i < n; i++)
      for (size_t j = 0; j < t; j++) mean[j] += (double)data->texts[(c * data->n + rows[i]) * t + j] / (double)count;
    columns++;
  }
  for (size_t c = 0; c < columns; c++)
    for (size_t j = 0; j < t; j++) map->text_mean[j] += means[c * t + j] / (double)columns;
  for (size_t i = 0; i < t; i++) map->projection[i * t + i] = 1;
  for (size_t c = 1; c < columns; c++) {
    double *direction = means + c * t;
    for (size_t j = 0; j < t; j++) direction[j] -= map->text_mean[j];
    take_out(map, direction, means + data->columns * t);
  }
}

static kin_status prepare(const kin_align_data *data, const size_t *rows, size_t n, kin_align_map *map,
                          kin_error *err) {
  const size_t p = data->features, t = data->dim;
  *map = (kin_align_map){.features = p,
                         .dim = t,
                         .image_mean = doubles(p, 1),
                         .image_deviation = doubles(p, 1),
                         .text_mean = doubles(t, 1),
                         .projection = doubles(t, t)};
  double *means = doubles(data->columns + 1, t);
  const bool ok = means && map->image_mean && map->image_deviation && map->text_mean && map->projection;
  if (ok) {
    standard_of(data, rows, n, map);
    centre_of(data, rows, n, map, means);
  }
  free(means);
  return ok ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "no memory for a map of %zu by %zu", t, p);
}

/* ------------------------------------------------------------------- maps */

typedef struct apply {
  const kin_align_map *map;
  const kin_align_data *data;
  const size_t *rows;
  size_t column;
  double *out, *scratch; /* [n][dim], and what a task needs for each row */
} apply;

static double gaussian(const double *a, const double *b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return exp(-sum / (double)n);
}

static void standardise(const kin_align_map *map, const float *features, double *out) {
  for (size_t j = 0; j < map->features; j++)
    out[j] = ((double)features[j] - map->image_mean[j]) / map->image_deviation[j];
}

/* Task of the pool. */
static void map_image(void *arg, size_t i) {
  const apply *a = arg;
  const kin_align_map *map = a->map;
  const size_t p = map->features, k = map->n_points ? map->n_points : p;
  double *x = a->scratch + i * (2 * p + map->n_points), *input = map->n_points ? x + p : x;
  standardise(map, a->data->images + a->rows[i] * p, x);
  for (size_t j = 0; j < map->n_points; j++) input[j] = gaussian(x, map->points + j * p, p);
  for (size_t j = 0; j < map->dim; j++)
    a->out[i * map->dim + j] = kin_dot_in_order(map->image_weight + j * k, input, k);
}

/* Task of the pool. */
static void map_text(void *arg, size_t i) {
  const apply *a = arg;
  const size_t t = a->map->dim;
  const float *text = a->data->texts + (a->column * a->data->n + a->rows[i]) * t;
  double *x = a->scratch + i * t;
  for (size_t j = 0; j < t; j++) x[j] = (double)text[j] - a->map->text_mean[j];
  for (size_t j = 0; j < t; j++) a->out[i * t + j] = kin_dot_in_order(a->map->projection + j * t, x, t);
}

kin_status kin_align_map_images(kin_context *context, const kin_align_map *map, const kin_align_data *data,
                                const size_t *rows, size_t n, double *out, kin_error *err) {
  apply a = {map, data, rows, 0, out, doubles(n, 2 * map->features + map->n_points)};
  if (!a.scratch) return kin_fail(err, KIN_ERR_MEMORY, "no memory for the features of %zu pictures", n);
  kin_parallel_for(context->pool, n, map_image, &a);
  free(a.scratch);
  return KIN_OK;
}

kin_status kin_align_map_texts(kin_context *context, const kin_align_map *map, const kin_align_data *data,
                               size_t column, const size_t *rows, size_t n, double *out, kin_error *err) {
  apply a = {map, data, rows, column, out, doubles(n, map->dim)};
  if (!a.scratch) return kin_fail(err, KIN_ERR_MEMORY, "no memory for the vectors of %zu captions", n);
  kin_parallel_for(context->pool, n, map_text, &a);
  free(a.scratch);
  return KIN_OK;
}

/* -------------------------------------------------------------- regression */

/* What is regressed on what, both ready. */
typedef struct problem {
  kin_context *context;
  const kin_align_data *data;
  const size_t *rows;
  size_t n;         /* pictures */
  double *x, *y;    /* [n][features], [n][dim] */
  double *gram;     /* [n][n]: the kernel of all pairs */
  double **queries; /* [columns] of [n][dim] */
} problem;

static void problem_free(problem *q) {
  for (size_t c = 0; q->queries && c < q->data->columns; c++) free(q->queries[c]);
  free(q->x), free(q->y), free(q->gram), free(q->queries);
}

/* Products of pairs -> their Gaussian kernel, in place; the diagonal goes last. */
static void make_gaussian(double *gram, size_t n) {
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < n; j++)
      if (i != j) gram[i * n + j] = exp(fmin(2 * gram[i * n + j] - gram[i * n + i] - gram[j * n + j], 0));
  for (size_t i = 0; i < n; i++) gram[i * n + i] = 1;
}

static kin_status make_problem(kin_context *context, const kin_align_data *data, const size_t *rows, size_t n,
                               const kin_align_map *map, kin_align_method method, problem *q, kin_error *err) {
  const size_t p = data->features, t = data->dim;
  *q = (problem){context,       data,          rows,          n,
                 doubles(n, p), doubles(n, t), doubles(n, n), calloc(data->columns, sizeof *q->queries)};
  kin_status status = KIN_OK;
  if (!q->x || !q->y || !q->gram || !q->queries)
    return kin_fail(err, KIN_ERR_MEMORY, "no memory to fit %zu pictures", n);
  for (size_t i = 0; i < n; i++) standardise(map, data->images + rows[i] * p, q->x + i * p);
  kin_gram(context, q->x, n, p, q->gram);
  if (method == KIN_ALIGN_KERNEL) make_gaussian(q->gram, n);
  for (size_t c = 0; status == KIN_OK && c < data->columns; c++) {
    q->queries[c] = doubles(n, t);
    if (!q->queries[c]) return kin_fail(err, KIN_ERR_MEMORY, "no memory to fit %zu pictures", n);
    status = kin_align_map_texts(context, map, data, c, rows, n, q->queries[c], err);
  }
  for (size_t i = 0; status == KIN_OK && i < n; i++) {
    size_t count = 0;
    for (size_t c = 0; c < data->columns; c++) count += data->has[c * data->n + rows[i]];
    for (size_t c = 0; c < data->columns; c++)
      for (size_t j = 0; data->has[c * data->n + rows[i]] && j < t; j++)
        q->y[i * t + j] += q->queries[c][i * t + j] / (double)count;
  }
  return status;
}

/* Solve, and put weights and points into `map`, which takes q->x where it needs it. */
static kin_status solve(problem *q, kin_align_method method, double lambda, kin_align_map *map, kin_error *err) {
  const size_t n = q->n, p = q->data->features, t = q->data->dim, k = method == KIN_ALIGN_KERNEL ? n : p;
  double *weight = map->image_weight = doubles(t, k);
  if (!weight) return kin_fail(err, KIN_ERR_MEMORY, "no memory for a map of %zu by %zu", t, k);
  for (size_t i = 0; i < n; i++) q->gram[i * n + i] += lambda;
  if (!kin_cholesky(q->context, q->gram, n))
    return kin_fail(err, KIN_ERR_FORMAT, "the pictures can't be told apart, or their features aren't finite");
  kin_cholesky_solve(q->context, q->gram, n, q->y, t);
  if (method == KIN_ALIGN_KERNEL) {
    for (size_t i = 0; i < n; i++)
      for (size_t j = 0; j < t; j++) weight[j * n + i] = q->y[i * t + j];
    map->points = q->x, map->n_points = n;
    q->x = NULL;
  } else {
    for (size_t j = 0; j < t; j++)
      for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < p; c++) weight[j * p + c] += q->y[i * t + j] * q->x[i * p + c] / (double)p;
  }
  return KIN_OK;
}

/* -------------------------------------------------------- cross-validation */

typedef struct validation {
  const problem *q;
  size_t n; /* pictures looked at: the first ones */
  double score[FOLDS * LAMBDAS];
  bool failed[FOLDS * LAMBDAS]; /* no memory */
} validation;

static size_t fold_of(const problem *q, size_t i) {
  return q->data->group[q->rows[i]] / FOLDS_APART % FOLDS;
}

/* The mean reciprocal rank of the fold's captions among its pictures, summed over the columns. */
static double score_fold(const validation *v, const size_t *out, size_t n_out, double *images, double *texts,
                         size_t *rows) {
  const problem *q = v->q;
  const size_t t = q->data->dim;
  double score = 0;
  for (size_t i = 0; i < n_out; i++) rows[i] = q->rows[out[i]];
  for (size_t c = 0; c < q->data->columns; c++) {
    kin_align_recall recall;
    double reciprocal;
    for (size_t i = 0; i < n_out; i++) memcpy(texts + i * t, q->queries[c] + out[i] * t, t * sizeof *texts);
    kin_align_measure(q->data, c, rows, n_out, images, texts, &recall, &reciprocal);
    score += reciprocal;
  }
  return score;
}

/* Task of the pool: one fold at one lambda. */
static void validate(void *arg, size_t task) {
  validation *v = arg;
  const problem *q = v->q;
  const size_t t = q->data->dim, fold = task / LAMBDAS;
  size_t *in = kin_array(3 * v->n, sizeof *in), n_in = 0, n_out = 0, *out = in + v->n;
  for (size_t i = 0; in && i < v->n; i++)
    if (fold_of(q, i) == fold)
      out[n_out++] = i;
    else
      in[n_in++] = i;
  double *system = doubles(n_in, n_in), *b = doubles(n_in, t), *images = doubles(n_out, t), *texts = doubles(n_out, t);
  v->failed[task] = !in || !system || !b || !images || !texts;
  if (!v->failed[task] && n_in && n_out) {
    for (size_t i = 0; i < n_in; i++) {
      for (size_t j = 0; j < n_in; j++) system[i * n_in + j] = q->gram[in[i] * q->n + in[j]];
      system[i * n_in + i] += lambdas[task % LAMBDAS];
      memcpy(b + i * t, q->y + in[i] * t, t * sizeof *b);
    }
    if (kin_cholesky(q->context, system, n_in)) {
      kin_cholesky_solve(q->context, system, n_in, b, t);
      for (size_t i = 0; i < n_out; i++)
        for (size_t k = 0; k < n_in; k++)
          for (size_t j = 0; j < t; j++) images[i * t + j] += q->gram[out[i] * q->n + in[k]] * b[k * t + j];
      v->score[task] = score_fold(v, out, n_out, images, texts, in + 2 * v->n);
    }
  }
  free(in), free(system), free(b), free(images), free(texts);
}

/* The lambda that finds held-out captions best, on the first MOST_VALIDATED pictures. */
static kin_status choose_lambda(const problem *q, double *lambda, kin_error *err) {
  validation v = {.q = q, .n = q->n < MOST_VALIDATED ? q->n : MOST_VALIDATED};
  double best = -1;
  kin_parallel_for(q->context->pool, (size_t)FOLDS * LAMBDAS, validate, &v);
  for (size_t l = 0; l < LAMBDAS; l++) {
    double score = 0;
    for (size_t fold = 0; fold < FOLDS; fold++) {
      if (v.failed[fold * LAMBDAS + l]) return kin_fail(err, KIN_ERR_MEMORY, "no memory to cross-validate");
      score += v.score[fold * LAMBDAS + l];
    }
    if (score > best) best = score, *lambda = lambdas[l];
  }
  return KIN_OK;
}

kin_status kin_ridge_fit(kin_context *context, const kin_align_data *data, const size_t *rows, size_t n_rows,
                         kin_align_method method, double lambda, kin_align_map *out, kin_error *err) {
  problem q = {.data = data};
  kin_status status = prepare(data, rows, n_rows, out, err);
  if (status == KIN_OK) status = make_problem(context, data, rows, n_rows, out, method, &q, err);
  if (status == KIN_OK && lambda == 0) status = choose_lambda(&q, &lambda, err);
  out->lambda = lambda;
  if (status == KIN_OK) status = solve(&q, method, lambda, out, err);
  problem_free(&q);
  if (status != KIN_OK) kin_align_map_free(out);
  return status;
}
