/* Cross-validation of classifiers: stratified folds, predictions of what was kept apart, the confusion matrix. */
#include "analyse/classify.h"
#include "base/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Classes numbered in the order in which they first occur, [*n_classes] sizes into *sizes. */
typedef struct census {
  uint32_t *number; /* [n]: of each vector's class */
  size_t *sizes, classes;
} census;

typedef struct numbered {
  uint32_t label;
  size_t index;
} numbered;

static int by_label(const void *a, const void *b) {
  const numbered *x = a, *y = b;
  if (x->label != y->label) return x->label < y->label ? -1 : 1;
  return (x->index > y->index) - (x->index < y->index);
}

static int by_index(const void *a, const void *b) {
  const numbered *x = a, *y = b;
  return (x->index > y->index) - (x->index < y->index);
}

/* False for lack of memory. */
static bool take_census(const uint32_t *labels, size_t n, census *out) {
  numbered *all = kin_array(n, sizeof *all), *firsts = kin_array(n, sizeof *firsts);
  *out = (census){.number = kin_array(n, sizeof *out->number), .sizes = calloc(n, sizeof *out->sizes)};
  const bool ok = all && firsts && out->number && out->sizes;
  for (size_t i = 0; ok && i < n; i++) all[i] = (numbered){labels[i], i};
  if (ok) qsort(all, n, sizeof *all, by_label);
  for (size_t i = 0; ok && i < n; i++)
    if (i == 0 || all[i].label != all[i - 1].label) firsts[out->classes++] = all[i];
  if (ok) qsort(firsts, out->classes, sizeof *firsts, by_index);
  for (size_t c = 0; ok && c < out->classes; c++) {
    const numbered key = {firsts[c].label, 0};
    size_t low = 0, high = n; /* the first of this label among the sorted */
    while (low < high) {
      const size_t middle = (low + high) / 2;
      if (by_label(&all[middle], &key) < 0)
        low = middle + 1;
      else
        high = middle;
    }
    for (; low < n && all[low].label == key.label; low++) {
      out->number[all[low].index] = (uint32_t)c;
      out->sizes[c]++;
    }
  }
  free(all);
  free(firsts);
  return ok;
}

/* Deal one class: `shares` [folds] says how many of it go into each fold, in order or shuffled. `members` are where. */
static void deal_class(const size_t *members, size_t n, const size_t *shares, size_t folds, kin_random *random,
                       uint32_t *out) {
  size_t at = 0;
  for (size_t f = 0; f < folds; f++)
    for (size_t i = 0; i < shares[f]; i++) out[members[at++]] = (uint32_t)f;
  for (size_t i = n; random && i > 1; i--) {
    const size_t a = members[i - 1], b = members[kin_random_next(random) % i];
    const uint32_t fold = out[a];
    out[a] = out[b];
    out[b] = fold;
  }
}

/* The vectors laid out class by class and dealt round, as scikit-learn does it: which fold gets how many of a class. */
static bool deal(const census *c, size_t n, size_t folds, uint64_t seed, uint32_t *out) {
  size_t *members = kin_array(n, sizeof *members), *shares = kin_array(folds, sizeof *shares), begin = 0;
  const bool ok = members && shares;
  kin_random random = {seed};
  for (size_t class = 0; ok && class < c->classes; class ++) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
      if (c->number[i] == class) members[count++] = i;
    memset(shares, 0, folds * sizeof *shares);
    for (size_t i = 0; i < count; i++) shares[(begin + i) % folds]++;
    begin += count;
    deal_class(members, count, shares, folds, seed ? &random : NULL, out);
  }
  free(members);
  free(shares);
  return ok;
}

kin_status kin_stratified_folds(const uint32_t *labels, size_t n, size_t folds, uint64_t seed, uint32_t *out,
                                kin_error *err) {
  if (!labels || !out) return kin_fail(err, KIN_ERR_ARGUMENT, "kin_stratified_folds needs labels and room");
  if (folds < 2 || folds > n)
    return kin_fail(err, KIN_ERR_ARGUMENT, "%zu folds of %zu vectors: must be 2 to %zu", folds, n, n);
  census c;
  size_t most = 0;
  bool ok = take_census(labels, n, &c);
  for (size_t i = 0; ok && i < c.classes; i++) most = c.sizes[i] > most ? c.sizes[i] : most;
  kin_status status = KIN_OK;
  if (ok && most < folds)
    status = kin_fail(err, KIN_ERR_ARGUMENT, "%zu folds, but the largest class has only %zu vector%s", folds, most,
                      most == 1 ? "" : "s");
  else if (!ok || !deal(&c, n, folds, seed, out))
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu vectors", n);
  free(c.number);
  free(c.sizes);
  return status;
}

/* ----------------------------------------------------------- cross-validation */

typedef struct fold {
  float *values;         /* [n][dim]: those to learn from, then those kept apart */
  uint32_t *labels;      /* [n]: of those to learn from, by new numbers */
  size_t *where;         /* [n]: of those kept apart, in the set */
  uint32_t *old;         /* [n_classes]: of the new numbers */
  const char **names;    /* [n_classes] */
  double *probabilities; /* [n][n_classes] */
  size_t learnt, kept, classes;
} fold;

static void free_fold(fold *f) {
  free(f->values);
  free(f->labels);
  free(f->where);
  free(f->old);
  free(f->names);
  free(f->probabilities);
}

static kin_status split(const kin_labelled_set *set, const uint32_t *folds, uint32_t number, fold *f, kin_error *err) {
  const size_t n = set->vectors.n, dim = set->vectors.dim;
  uint32_t *number_of = kin_array(set->n_classes, sizeof *number_of);
  if (!number_of) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu classes", set->n_classes);
  memset(number_of, 0xFF, set->n_classes * sizeof *number_of);
  f->learnt = f->kept = f->classes = 0;
  for (size_t i = 0; i < n; i++)
    if (folds[i] != number) number_of[set->labels[i]] = 0;
  for (uint32_t c = 0; c < set->n_classes; c++) {
    if (number_of[c] == UINT32_MAX) continue;
    f->old[f->classes] = c, f->names[f->classes] = set->classes[c];
    number_of[c] = (uint32_t)f->classes++;
  }
  for (size_t i = 0; i < n; i++) {
    if (folds[i] == number) {
      f->where[f->kept++] = i;
      continue;
    }
    memcpy(f->values + f->learnt * dim, set->vectors.values + i * dim, dim * sizeof *f->values);
    f->labels[f->learnt++] = number_of[set->labels[i]];
  }
  for (size_t i = 0; i < f->kept; i++)
    memcpy(f->values + (f->learnt + i) * dim, set->vectors.values + f->where[i] * dim, dim * sizeof *f->values);
  free(number_of);
  return KIN_OK;
}

/* Learn from all other folds and tell this one. */
static kin_status tell_fold(kin_context *context, const kin_labelled_set *set, const kin_classifier_options *o, fold *f,
                            uint32_t *predicted, double *confidence, kin_error *err) {
  const size_t dim = set->vectors.dim;
  const kin_labelled_set others = {{f->values, f->learnt, dim}, f->labels, f->names, f->classes};
  const kin_vector_set kept = {f->values + f->learnt * dim, f->kept, dim};
  kin_classifier *classifier;
  kin_status status = kin_classifier_fit(context, &others, o, &classifier, err);
  if (status != KIN_OK) return kin_prefix(err, status, "cross-validation");
  status = kin_classifier_predict(context, classifier, &kept, f->probabilities, err);
  kin_classifier_close(classifier);
  for (size_t i = 0; status == KIN_OK && i < f->kept; i++) {
    const double *row = f->probabilities + i * f->classes;
    size_t best = 0;
    kin_top_classes(row, f->classes, 1, 0, &best);
    predicted[f->where[i]] = f->old[best];
    if (confidence) confidence[f->where[i]] = row[best];
  }
  return status;
}

static kin_status check_folds(const kin_labelled_set *set, const uint32_t *folds, size_t n_folds,
                              const uint32_t *predicted, const kin_validation *out, kin_error *err) {
  if (!set || !set->labels || !folds || !predicted || !out || n_folds < 2)
    return kin_fail(err, KIN_ERR_ARGUMENT, "cross-validation needs labelled vectors, at least two folds, and room");
  for (size_t i = 0; i < set->vectors.n; i++)
    if (folds[i] >= n_folds || set->labels[i] >= set->n_classes)
      return kin_fail(err, KIN_ERR_ARGUMENT, "vector %zu is in fold %u of %zu, class %u of %zu", i, folds[i], n_folds,
                      set->labels[i], set->n_classes);
  return KIN_OK;
}

/* `rights` [n_folds] of `sizes` [n_folds] vectors. */
static void summarise(const size_t *rights, const size_t *sizes, size_t n_folds, size_t n, kin_validation *out) {
  double sum = 0, squares = 0, used = 0;
  *out = (kin_validation){0};
  for (size_t f = 0; f < n_folds; f++) {
    if (!sizes[f]) continue;
    out->right += rights[f];
    sum += (double)rights[f] / (double)sizes[f];
    used += 1;
  }
  for (size_t f = 0; f < n_folds; f++)
    if (sizes[f]) squares += pow((double)rights[f] / (double)sizes[f] - sum / used, 2);
  out->accuracy = (double)out->right / (double)n;
  out->deviation = used > 1 ? sqrt(squares / (used - 1)) : 0;
}

kin_status kin_cross_validate(kin_context *context, const kin_labelled_set *set, const kin_classifier_options *options,
                              const uint32_t *folds, size_t n_folds, uint32_t *predicted, double *confidence,
                              kin_validation *out, kin_error *err) {
  kin_status status = check_folds(set, folds, n_folds, predicted, out, err);
  if (status != KIN_OK) return status;
  const size_t n = set->vectors.n, classes = set->n_classes;
  fold f = {.values = kin_array(n, set->vectors.dim * sizeof *f.values),
            .labels = kin_array(n, sizeof *f.labels),
            .where = kin_array(n, sizeof *f.where),
            .old = kin_array(classes, sizeof *f.old),
            .names = kin_array(classes, sizeof *f.names),
            .probabilities = kin_array(n, classes * sizeof *f.probabilities)};
  size_t *rights = calloc(n_folds, sizeof *rights), *sizes = calloc(n_folds, sizeof *sizes);
  if (!f.values || !f.labels || !f.where || !f.old || !f.names || !f.probabilities || !rights || !sizes)
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory to cross-validate %zu vectors", n);
  for (uint32_t i = 0; status == KIN_OK && i < n_folds; i++) {
    status = split(set, folds, i, &f, err);
    if (status == KIN_OK && f.kept) status = tell_fold(context, set, options, &f, predicted, confidence, err);
    for (size_t k = 0; status == KIN_OK && k < f.kept; k++)
      rights[i] += predicted[f.where[k]] == set->labels[f.where[k]];
    sizes[i] = f.kept;
  }
  if (status == KIN_OK) summarise(rights, sizes, n_folds, n, out);
  free_fold(&f);
  free(rights);
  free(sizes);
  return status;
}

kin_status kin_confusion(const uint32_t *labels, const uint32_t *predicted, size_t n, size_t n_classes, size_t *out,
                         kin_error *err) {
  if (!labels || !predicted || !out)
    return kin_fail(err, KIN_ERR_ARGUMENT, "kin_confusion needs labels, predictions and room");
  memset(out, 0, n_classes * n_classes * sizeof *out);
  for (size_t i = 0; i < n; i++) {
    if (labels[i] >= n_classes || predicted[i] >= n_classes)
      return kin_fail(err, KIN_ERR_ARGUMENT, "vector %zu is of class %u and predicted %u, of %zu", i, labels[i],
                      predicted[i], n_classes);
    out[labels[i] * n_classes + predicted[i]]++;
  }
  return KIN_OK;
}
