/* One list out of two: what is near, and what has the words. */
#ifndef KIN_FUSION_H
#define KIN_FUSION_H

#include "index/index.h"

/* Of each list at most so many count, whatever the page asked for, so that pages fit each other. */
#define KIN_FUSION_WINDOW 1000
/* What reciprocal rank fusion adds to ranks. */
#define KIN_FUSION_RANK 60

/* A list, best first; of a match its place is (id, row). */
typedef struct kin_ranked {
  const kin_match *matches;
  size_t n;
} kin_ranked;

/* Fuse into out[vectors.n + words.n], best first, ties by id and row; returns how many.
 * weight < 0: reciprocal rank fusion (Cormack et al., 2009): the sum over the lists of 1 / (60 + rank), ranks from 1.
 * Else weight times the vectors' score and (1 - weight) times the words', each scaled so that its list runs from 0 to 1
 * (1 where all are equal); what a list doesn't have counts as 0 there. SIZE_MAX: out of memory. */
size_t kin_fuse(kin_ranked vectors, kin_ranked words, double weight, kin_match *out);

/* From 1; 0: the list doesn't have it. */
size_t kin_rank_of(kin_ranked list, const kin_match *match);

#endif
