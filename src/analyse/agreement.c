/* How far two ways to divide the same items agree: NMI, adjusted Rand index, accuracy. */
#include "base/base.h"

#include <math.h>
#include <stdlib.h>

typedef struct pair {
  uint32_t a, b;
} pair;

static int by_pair(const void *x, const void *y) {
  const pair *p = x, *q = y;
  if (p->a != q->a) return p->a < q->a ? -1 : 1;
  return p->b < q->b ? -1 : p->b > q->b;
}

static int by_second(const void *x, const void *y) {
  const pair *p = x, *q = y;
  return p->b < q->b ? -1 : p->b > q->b;
}

/* Of one division: entropy, and how many pairs of items share a class. */
typedef struct margin {
  double entropy, pairs;
} margin;

static double choose_2(double n) {
  return n * (n - 1) / 2;
}

static void add_class(margin *m, size_t size, size_t n) {
  const double share = (double)size / (double)n;
  m->entropy -= share * log(share);
  m->pairs += choose_2((double)size);
}

/* Sorted by (a, b): the joint division, that of a, and how many items have the b that most of their a has. */
static void walk_joint(const pair *pairs, size_t n, margin *joint, margin *a, double *right) {
  size_t in_a = 0, in_both = 0, most = 0;
  for (size_t i = 0; i < n; i++) {
    in_a++, in_both++;
    const bool last = i + 1 == n, a_ends = last || pairs[i + 1].a != pairs[i].a;
    if (!a_ends && pairs[i + 1].b == pairs[i].b) continue;
    add_class(joint, in_both, n);
    most = in_both > most ? in_both : most, in_both = 0;
    if (!a_ends) continue;
    add_class(a, in_a, n);
    *right += (double)most, most = 0, in_a = 0;
  }
}

kin_status kin_compare_labels(const uint32_t *a, const uint32_t *b, size_t n, kin_agreement *out, kin_error *err) {
  if (!a || !b || !out || n < 1) return kin_fail(err, KIN_ERR_ARGUMENT, "labels of at least one item are needed twice");
  pair *pairs = kin_array(n, sizeof *pairs);
  if (!pairs) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu labels", n);
  for (size_t i = 0; i < n; i++) pairs[i] = (pair){a[i], b[i]};
  margin joint = {0}, of_a = {0}, of_b = {0};
  double right = 0;
  qsort(pairs, n, sizeof *pairs, by_pair);
  walk_joint(pairs, n, &joint, &of_a, &right);
  qsort(pairs, n, sizeof *pairs, by_second);
  for (size_t i = 0, size = 0; i < n; i++) {
    size++;
    if (i + 1 < n && pairs[i + 1].b == pairs[i].b) continue;
    add_class(&of_b, size, n), size = 0;
  }
  free(pairs);
  const double all = choose_2((double)n), mutual = fmax(0, of_a.entropy + of_b.entropy - joint.entropy);
  const double mean = (of_a.entropy + of_b.entropy) / 2;
  const double chance = all > 0 ? of_a.pairs * of_b.pairs / all : 0, most = (of_a.pairs + of_b.pairs) / 2;
  out->nmi = mean > 0 ? mutual / mean : 1; /* both are one class */
  out->ari = most > chance ? (joint.pairs - chance) / (most - chance) : 1;
  out->accuracy = right / (double)n;
  return KIN_OK;
}
