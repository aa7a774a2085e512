/* Multinomial logistic regression with an L2 penalty, by L-BFGS over blocked products in float.
 *
 * The vectors are centred and brought to a mean variance of 1 first, which changes the way to the minimum and not the
 * minimum: the bias is free, and the penalty is scaled along. Rows come in blocks; a block gives its loss and its part
 * of the gradient, which are summed in double in the order of the blocks. */
#include "analyse/classify.h"
#include "analyse/lbfgs.h"
#include "kernel/kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 512 };
/* Floats of the gradients that blocks hold at a time. */
#define WAVE_FLOATS ((size_t)8 << 20)

typedef struct regression {
  const kin_context *context;
  const kin_logistic_data *data;
  double *mean, deviation; /* [dim], and one for all features */
  float *x;                /* [n][dim], centred and scaled */
  float *columns;          /* the same by blocks: [dim][rows of the block] */
  double penalty;          /* on half the square of the weights, beside the mean loss */
  kin_packed weight;       /* [classes][dim] */
  const double *theta;     /* [classes][dim], then the bias [classes] */
  size_t first, wave;      /* the blocks at hand, and how many there may be */
  float *logits;           /* [wave][ROWS][classes] */
  float *residuals;        /* [wave], as panels of [rows][KIN_PANEL] */
  float *gradients;        /* [wave][dim][classes] */
  double *bias_gradients;  /* [wave][classes] */
  double *losses;          /* [wave] */
} regression;

static size_t panels_of(size_t classes) {
  return (classes + KIN_PANEL - 1) / KIN_PANEL;
}

static size_t rows_of(const regression *r, size_t block) {
  const size_t left = r->data->n - block * ROWS;
  return left < ROWS ? left : ROWS;
}

/* The loss and residuals (probability less truth) of one row. */
static double finish_row(const regression *r, const float *logits, uint32_t label, double *scratch, float *residuals,
                         size_t rows, double *bias_gradient) {
  const size_t classes = r->data->classes;
  const double *bias = r->theta + classes * r->data->dim;
  double most = -INFINITY, sum = 0;
  for (size_t c = 0; c < classes; c++) most = fmax(most, scratch[c] = (double)logits[c] + bias[c]);
  const double own = scratch[label] - most;
  for (size_t c = 0; c < classes; c++) sum += scratch[c] = exp(scratch[c] - most);
  for (size_t c = 0; c < classes; c++) {
    const double residual = scratch[c] / sum - (c == label);
    residuals[c / KIN_PANEL * KIN_PANEL * rows + c % KIN_PANEL] = (float)residual;
    bias_gradient[c] += residual;
  }
  return log(sum) - own;
}

/* Task of the pool: one block of rows, into its place in the wave. */
static void run_block(void *arg, size_t at) {
  const regression *r = arg;
  const size_t dim = r->data->dim, classes = r->data->classes, panels = panels_of(classes);
  const size_t block = r->first + at, rows = rows_of(r, block), row0 = block * ROWS;
  float *logits = r->logits + at * ROWS * classes, *residuals = r->residuals + at * ROWS * panels * KIN_PANEL;
  double *bias_gradient = r->bias_gradients + 2 * at * classes;
  kin_gemm(r->context, rows, r->x + row0 * dim, dim, &r->weight, logits, classes, NULL);
  double loss = 0;
  memset(bias_gradient, 0, classes * sizeof *bias_gradient);
  for (size_t i = 0; i < rows; i++)
    loss += finish_row(r, logits + i * classes, r->data->labels[row0 + i], bias_gradient + classes,
                       residuals + i * KIN_PANEL, rows, bias_gradient);
  r->losses[at] = loss;
  const kin_packed w = {.n = classes, .k = rows, .panels = residuals};
  kin_gemm(r->context, dim, r->columns + row0 * dim, rows, &w, r->gradients + at * dim * classes, classes, NULL);
}

static void pack_weight(regression *r) {
  const size_t dim = r->data->dim;
  for (size_t c = 0; c < r->data->classes; c++) {
    float *panel = r->weight.panels + c / KIN_PANEL * KIN_PANEL * dim + c % KIN_PANEL;
    for (size_t j = 0; j < dim; j++) panel[j * KIN_PANEL] = (float)r->theta[c * dim + j];
  }
}

/* A kin_objective: the mean loss and the penalty. */
static double evaluate(void *arg, const double *theta, double *gradient) {
  regression *r = arg;
  const size_t dim = r->data->dim, classes = r->data->classes, blocks = (r->data->n + ROWS - 1) / ROWS;
  const double n = (double)r->data->n;
  double loss = 0, squares = 0, *bias = gradient + classes * dim;
  r->theta = theta;
  pack_weight(r);
  memset(gradient, 0, classes * (dim + 1) * sizeof *gradient);
  for (r->first = 0; r->first < blocks; r->first += r->wave) {
    const size_t count = blocks - r->first < r->wave ? blocks - r->first : r->wave;
    kin_parallel_for(r->context->pool, count, run_block, r);
    for (size_t at = 0; at < count; at++) {
      const float *part = r->gradients + at * dim * classes;
      loss += r->losses[at];
      for (size_t c = 0; c < classes; c++) bias[c] += r->bias_gradients[2 * at * classes + c] / n;
      for (size_t j = 0; j < dim; j++)
        for (size_t c = 0; c < classes; c++) gradient[c * dim + j] += (double)part[j * classes + c] / n;
    }
  }
  for (size_t i = 0; i < classes * dim; i++) {
    squares += theta[i] * theta[i];
    gradient[i] += r->penalty * theta[i];
  }
  return loss / n + r->penalty * squares / 2;
}

/* ------------------------------------------------------------------- making */

/* Centre and scale, by rows and by columns. */
static void scale_vectors(regression *r) {
  const kin_logistic_data *d = r->data;
  double variance = 0;
  for (size_t i = 0; i < d->n; i++)
    for (size_t j = 0; j < d->dim; j++) r->mean[j] += (double)d->values[i * d->dim + j];
  for (size_t j = 0; j < d->dim; j++) r->mean[j] /= (double)d->n;
  for (size_t i = 0; i < d->n; i++)
    for (size_t j = 0; j < d->dim; j++) {
      const double x = (double)d->values[i * d->dim + j] - r->mean[j];
      variance += x * x;
    }
  variance /= (double)d->n * (double)d->dim;
  r->deviation = variance > 0 && isfinite(variance) ? sqrt(variance) : 1;
  for (size_t i = 0; i < d->n; i++) {
    const size_t block = i / ROWS, rows = rows_of(r, block);
    float *column = r->columns + block * ROWS * d->dim + i % ROWS;
    for (size_t j = 0; j < d->dim; j++)
      column[j * rows] = r->x[i * d->dim + j] =
          (float)(((double)d->values[i * d->dim + j] - r->mean[j]) / r->deviation);
  }
}

static void close_regression(regression *r) {
  free(r->mean);
  kin_free_aligned(r->x);
  kin_free_aligned(r->columns);
  kin_packed_free(&r->weight);
  kin_free_aligned(r->logits);
  kin_free_aligned(r->residuals);
  kin_free_aligned(r->gradients);
  free(r->bias_gradients);
  free(r->losses);
}

/* Aligned and zeroed, since the panels' last columns stay unused. */
static float *floats(size_t rows, size_t columns) {
  size_t n;
  if (__builtin_mul_overflow(rows, columns, &n) || n > SIZE_MAX / sizeof(float)) return NULL;
  float *out = kin_alloc_aligned(n * sizeof *out);
  if (out) memset(out, 0, n * sizeof *out);
  return out;
}

static kin_status open_regression(const kin_context *context, const kin_logistic_data *d, regression *r,
                                  kin_error *err) {
  const size_t panels = panels_of(d->classes), blocks = (d->n + ROWS - 1) / ROWS;
  *r = (regression){.context = context, .data = d, .weight = {.n = d->classes, .k = d->dim}};
  r->wave = WAVE_FLOATS / (d->dim * d->classes);
  if (r->wave < 1) r->wave = 1;
  if (r->wave > blocks) r->wave = blocks;
  r->mean = calloc(d->dim, sizeof *r->mean);
  r->x = floats(d->n, d->dim);
  r->columns = floats(d->n, d->dim);
  r->weight.panels = floats(panels * KIN_PANEL, d->dim);
  r->logits = floats(r->wave * ROWS, d->classes);
  r->residuals = floats(r->wave * ROWS, panels * KIN_PANEL);
  r->gradients = floats(r->wave * d->dim, d->classes);
  r->bias_gradients = calloc(r->wave * 2, d->classes * sizeof *r->bias_gradients); /* and a row to work in */
  r->losses = calloc(r->wave, sizeof *r->losses);
  if (!r->mean || !r->x || !r->columns || !r->weight.panels || !r->logits || !r->residuals || !r->gradients ||
      !r->bias_gradients || !r->losses)
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory to fit %zu vectors of %zu floats in %zu classes", d->n, d->dim,
                    d->classes);
  scale_vectors(r);
  return KIN_OK;
}

/* theta in the vectors' own measure. */
static kin_status finish(const regression *r, const double *theta, const kin_lbfgs *l, kin_logistic *out,
                         kin_error *err) {
  const size_t dim = r->data->dim, classes = r->data->classes;
  *out = (kin_logistic){.weight = kin_array(classes * dim, sizeof *out->weight),
                        .bias = kin_array(classes, sizeof *out->bias),
                        .iterations = l->iterations,
                        .converged = l->converged};
  if (!out->weight || !out->bias) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu weights", classes * dim);
  for (size_t c = 0; c < classes; c++) {
    out->bias[c] = theta[classes * dim + c];
    for (size_t j = 0; j < dim; j++) {
      out->weight[c * dim + j] = theta[c * dim + j] / r->deviation;
      out->bias[c] -= out->weight[c * dim + j] * r->mean[j];
    }
  }
  return KIN_OK;
}

void kin_logistic_free(kin_logistic *l) {
  free(l->weight);
  free(l->bias);
  *l = (kin_logistic){0};
}

kin_status kin_logistic_fit(kin_context *context, const kin_logistic_data *data, const double *c, size_t n_c,
                            const kin_logistic_options *options, kin_logistic *out, kin_error *err) {
  regression r;
  const size_t n_theta = data->classes * (data->dim + 1);
  double *theta = calloc(n_theta, sizeof *theta);
  kin_status status = open_regression(context, data, &r, err);
  if (status == KIN_OK && !theta) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory to fit %zu weights", n_theta);
  memset(out, 0, n_c * sizeof *out);
  kin_lbfgs l = {.objective = evaluate,
                 .arg = &r,
                 .n = n_theta,
                 .tolerance = options->tolerance,
                 .max_iterations = options->max_iterations};
  for (size_t i = 0; status == KIN_OK && i < n_c; i++) {
    r.penalty = (data->classes == 2 ? 2 : 1) / (c[i] * (double)data->n * r.deviation * r.deviation);
    status = kin_lbfgs_run(&l, theta, err);
    if (status == KIN_OK) status = finish(&r, theta, &l, &out[i], err);
  }
  for (size_t i = 0; status != KIN_OK && i < n_c; i++) kin_logistic_free(&out[i]);
  close_regression(&r);
  free(theta);
  return status;
}
