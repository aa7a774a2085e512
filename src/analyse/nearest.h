/* The engine of all searches for nearest neighbours among vectors that are all at hand. */
#ifndef KIN_NEAREST_H
#define KIN_NEAREST_H

#include "base/base.h"

typedef struct kin_nearest_task {
  kin_context *context;
  const kin_vector_set *set;
  const kin_vector_set *queries; /* vectors of another set, or NULL ... */
  const size_t *chosen;          /* ... for vectors of the set itself, which never find themselves: these, or NULL for
                                  * all in order */
  size_t n_queries;
  kin_metric metric;
  bool as_float; /* cosines are rounded to float before they are ranked; distance is one less it */
  /* For spanning trees, with `chosen`; NULL: not wanted. */
  const uint32_t *group; /* [set->n]: those of a query's own group are passed over */
  const double *core;    /* [set->n]: distances count as at least this of either end */
  const double *limit;   /* [n_queries]: what is at this distance or beyond isn't wanted; where less than k are left,
                          * the rest have index SIZE_MAX */
  size_t k;              /* at least 1, and as many must be left for each query */
  kin_near *out;         /* [n_queries][k] */
  bool (*on_progress)(void *user, double done); /* may be NULL; false: KIN_ERR_CANCELLED */
  void *user;
} kin_nearest_task;

/* Checked arguments, finite vectors. */
kin_status kin_nearest_run(const kin_nearest_task *task, kin_error *err);

/* The k nearest others of each vector, exactly, with the metric, k and progress of `options`. */
kin_status kin_near_exact(kin_context *context, const kin_vector_set *set, const kin_near_options *options,
                          kin_near *out, kin_error *err);

#endif
