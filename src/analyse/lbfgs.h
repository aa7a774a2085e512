/* Minimising a smooth function of many variables. */
#ifndef KIN_LBFGS_H
#define KIN_LBFGS_H

#include "base/base.h"

/* The value at x[n]; its gradient goes into gradient[n]. Values may be off by some 1e-8 of their size. */
typedef double kin_objective(void *arg, const double *x, double *gradient);

typedef struct kin_lbfgs {
  kin_objective *objective;
  void *arg;
  size_t n;
  double tolerance; /* ends when no part of the gradient is larger */
  size_t max_iterations;
  size_t iterations; /* of the last run */
  bool converged;
} kin_lbfgs;

/* Go downhill from x[n], which becomes the minimum. Fails only for lack of memory. */
kin_status kin_lbfgs_run(kin_lbfgs *l, double *x, kin_error *err);

#endif
