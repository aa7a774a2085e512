/* HDBSCAN: a spanning tree, condensed. */
#include "analyse/analyse.h"
#include "analyse/clustering.h"
#include "analyse/condensed_tree.h"

#include <stdlib.h>

/* `zeros`: of no direction, all of them, so that cosines tell nothing. */
static kin_status run(kin_context *context, const kin_vector_set *set, const kin_hdbscan_options *o, size_t least,
                      size_t samples, bool zeros, kin_clustering *out, kin_error *err) {
  size_t k = 0;
  kin_edge *edges = kin_array(set->n, sizeof *edges);
  if (!edges) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a tree of %zu vectors", set->n);
  kin_status status = kin_spanning_tree(context, set, o->metric, samples, o->on_progress, o->user, edges, err);
  bool same = status == KIN_OK;
  for (size_t i = 0; same && i + 1 < set->n; i++) same = zeros || !(edges[i].weight > 1e-12);
  if (status == KIN_OK && !same) status = kin_condense(edges, least, out, &k, err);
  free(edges);
  if (status == KIN_OK && same) { /* nothing tells them apart */
    for (size_t i = 0; i < set->n; i++) out->labels[i] = 0, out->strength[i] = 1;
    k = 1;
  }
  return status == KIN_OK ? kin_clustering_number(out, k, false, err) : status;
}

kin_status kin_hdbscan(kin_context *context, const kin_vector_set *set, const kin_hdbscan_options *options,
                       kin_clustering *out, kin_error *err) {
  if (!context || !set || !options || !out)
    return kin_fail(err, KIN_ERR_ARGUMENT, "HDBSCAN needs a context, a set, options and a result");
  *out = (kin_clustering){0};
  const size_t least = options->min_cluster_size ? options->min_cluster_size : 5;
  const size_t samples = options->min_samples ? options->min_samples : least;
  double *inverse;
  kin_status status = kin_inverse_lengths(set, &inverse, err);
  if (status != KIN_OK) return status;
  bool zeros = true;
  for (size_t i = 0; i < set->n; i++) zeros = zeros && inverse[i] == 0;
  free(inverse);
  if (least < 2) return kin_fail(err, KIN_ERR_ARGUMENT, "a least cluster size of %zu: must be at least 2", least);
  status = kin_clustering_open(set->n, true, out, err);
  if (status != KIN_OK) return status;
  if (set->n < least || set->n < 2) { /* all are noise */
    for (size_t i = 0; i < set->n; i++) out->labels[i] = KIN_NO_CLUSTER, out->strength[i] = 0;
    return KIN_OK;
  }
  if (samples > set->n)
    status = kin_fail(err, KIN_ERR_ARGUMENT, "the distance to the %zuth nearest of %zu vectors: must be 1 to %zu",
                      samples, set->n, set->n);
  if (status == KIN_OK) status = run(context, set, options, least, samples, zeros, out, err);
  if (status != KIN_OK) kin_clustering_free(out);
  return status;
}
