/* Choosing the penalty of a logistic regression by cross-validation. */
#include "analyse/classify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FOLDS = 3, CHOICES = 6, MOST_CHOSEN_BY = 2000 };

/* Some of the vectors, with the classes that occur among them numbered anew. */
typedef struct part {
  kin_logistic_data data;
  float *values;
  uint32_t *labels, *number; /* [n]; [classes]: the new number, or UINT32_MAX */
} part;

static void free_part(part *p) {
  free(p->values);
  free(p->labels);
  free(p->number);
}

/* The vectors i with folds[i] != `without`, of those that have a fold. */
static kin_status take_part(const kin_logistic_data *d, const uint32_t *folds, uint32_t without, part *out,
                            kin_error *err) {
  *out = (part){.values = kin_array(d->n, d->dim * sizeof *out->values),
                .labels = kin_array(d->n, sizeof *out->labels),
                .number = kin_array(d->classes, sizeof *out->number)};
  if (!out->values || !out->labels || !out->number)
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory to choose a penalty over %zu vectors", d->n);
  kin_logistic_data *p = &out->data;
  *p = (kin_logistic_data){.values = out->values, .labels = out->labels, .dim = d->dim};
  memset(out->number, 0xFF, d->classes * sizeof *out->number);
  for (size_t i = 0; i < d->n; i++)
    if (folds[i] != without && folds[i] != UINT32_MAX) out->number[d->labels[i]] = 0;
  for (size_t c = 0; c < d->classes; c++)
    if (out->number[c] == 0) out->number[c] = (uint32_t)p->classes++;
  for (size_t i = 0; i < d->n; i++) {
    if (folds[i] == without || folds[i] == UINT32_MAX) continue;
    memcpy(out->values + p->n * d->dim, d->values + i * d->dim, d->dim * sizeof *out->values);
    out->labels[p->n++] = out->number[d->labels[i]];
  }
  return KIN_OK;
}

/* The loss of one vector. */
static double loss_of(const kin_logistic *l, const kin_logistic_data *d, const float *x, uint32_t label,
                      double *logits) {
  for (size_t c = 0; c < d->classes; c++) {
    double sum = l->bias[c];
    for (size_t j = 0; j < d->dim; j++) sum += l->weight[c * d->dim + j] * (double)x[j];
    logits[c] = sum;
  }
  kin_softmax(logits, d->classes);
  return -log(fmax(logits[label], 1e-300));
}

/* Add the losses of a fold under each of the choices. */
static kin_status try_fold(kin_context *context, const kin_logistic_data *d, const uint32_t *folds, uint32_t fold,
                           const double *c, const kin_logistic_options *options, double *losses, kin_error *err) {
  part p;
  kin_logistic fitted[CHOICES] = {0};
  kin_status status = take_part(d, folds, fold, &p, err);
  double *logits = status == KIN_OK ? kin_array(d->classes, sizeof *logits) : NULL;
  if (status == KIN_OK && !logits) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu classes", d->classes);
  if (status == KIN_OK && p.data.classes >= 2)
    status = kin_logistic_fit(context, &p.data, c, CHOICES, options, fitted, err);
  for (size_t i = 0; status == KIN_OK && p.data.classes >= 2 && i < d->n; i++) {
    const uint32_t label = p.number[d->labels[i]];
    if (folds[i] != fold || label == UINT32_MAX) continue;
    for (size_t k = 0; k < CHOICES; k++)
      losses[k] += loss_of(&fitted[k], &p.data, d->values + i * d->dim, label, logits);
  }
  for (size_t k = 0; k < CHOICES; k++) kin_logistic_free(&fitted[k]);
  free(logits);
  free_part(&p);
  return status;
}

/* Powers of ten around 1 / (the vectors' mean squared distance to their mean): weights that matter there. Vectors that
 * are equal but for rounding aren't learnt from, whatever the strength. */
static void set_choices(const kin_logistic_data *d, double c[CHOICES], double *mean) {
  double variance = 0, squares = 0;
  for (size_t j = 0; j < d->dim; j++) {
    mean[j] = 0;
    for (size_t i = 0; i < d->n; i++) mean[j] += (double)d->values[i * d->dim + j] / (double)d->n;
    for (size_t i = 0; i < d->n; i++) {
      const double x = (double)d->values[i * d->dim + j] - mean[j];
      variance += x * x / (double)d->n;
    }
    squares += mean[j] * mean[j];
  }
  const double middle = variance > 1e-14 * squares && isfinite(variance) ? -round(log10(variance)) : 0;
  for (int k = 0; k < CHOICES; k++) c[k] = pow(10, middle - 1 + k);
}

/* Three folds; of many vectors only the first of every so many, class by class, take part. */
static kin_status deal(const kin_logistic_data *d, uint32_t *folds, kin_error *err) {
  const size_t every = (d->n + MOST_CHOSEN_BY - 1) / MOST_CHOSEN_BY;
  uint32_t *seen = calloc(d->classes, sizeof *seen);
  if (!seen) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu classes", d->classes);
  for (size_t i = 0; i < d->n; i++) {
    const uint32_t turn = seen[d->labels[i]]++;
    folds[i] = turn % every ? UINT32_MAX : (uint32_t)(turn / every % FOLDS);
  }
  free(seen);
  return KIN_OK;
}

kin_status kin_logistic_choose(kin_context *context, const kin_logistic_data *data, const kin_logistic_options *options,
                               double *c, kin_error *err) {
  double choices[CHOICES], losses[CHOICES] = {0}, *mean = kin_array(data->dim, sizeof *mean);
  uint32_t *folds = kin_array(data->n, sizeof *folds);
  kin_status status = KIN_OK;
  if (!mean || !folds) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu vectors", data->n);
  if (status == KIN_OK) set_choices(data, choices, mean);
  if (status == KIN_OK) status = deal(data, folds, err);
  for (uint32_t f = 0; status == KIN_OK && f < FOLDS; f++)
    status = try_fold(context, data, folds, f, choices, options, losses, err);
  size_t best = 0;
  for (size_t k = 1; k < CHOICES; k++)
    if (losses[k] < losses[best]) best = k;
  *c = choices[best];
  free(mean);
  free(folds);
  return status;
}
