/* The parts of classification: checked names, logistic regression, a trained classifier. */
#ifndef KIN_CLASSIFY_H
#define KIN_CLASSIFY_H

#include "analyse/analyse.h"

/* Check that the names are UTF-8, not blank, and all different; `what` ("label", "class") is for messages. */
kin_status kin_check_names(const char *what, const char *const *names, size_t n, kin_error *err);

/* exp(x) / sum of these, in place. */
void kin_softmax(double *logits, size_t n);

/* What a logistic regression is fitted to: `n` vectors, every class below `classes` among their labels. */
typedef struct kin_logistic_data {
  const float *values; /* [n][dim], finite */
  const uint32_t *labels;
  size_t n, dim, classes;
} kin_logistic_data;

typedef struct kin_logistic_options {
  double tolerance;
  size_t max_iterations;
} kin_logistic_options;

typedef struct kin_logistic {
  double *weight; /* [classes][dim]; softmax(weight x + bias) are the probabilities */
  double *bias;   /* [classes] */
  size_t iterations;
  bool converged;
} kin_logistic;

/* The regressions for `n_c` values of c, ascending, each beginning where the last one ended, into out[n_c]. The
 * penalty is that of scikit-learn: |weight|^2 / (2 c) beside the summed loss, the bias free; of two classes only the
 * difference of their weights is penalised. */
kin_status kin_logistic_fit(kin_context *context, const kin_logistic_data *data, const double *c, size_t n_c,
                            const kin_logistic_options *options, kin_logistic *out, kin_error *err);
void kin_logistic_free(kin_logistic *l);

/* The c with the least loss over three folds of at most some thousand vectors. */
kin_status kin_logistic_choose(kin_context *context, const kin_logistic_data *data, const kin_logistic_options *options,
                               double *c, kin_error *err);

/* values[n][dim] less mean[dim], in place. */
void kin_subtract(float *values, size_t n, size_t dim, const float *mean);

struct kin_classifier {
  kin_classifier_info info;
  char **names;    /* [n_classes] */
  float *weight;   /* linear: [n_classes][dim] */
  float *bias;     /* [n_classes] */
  float *points;   /* neighbours: [examples][dim], centred if so wanted */
  float *mean;     /* [dim] if centred, else NULL */
  uint32_t *votes; /* [examples]: the classes of the points */
};

#endif
