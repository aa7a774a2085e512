/* Greedy k-means++: each next centre is drawn in proportion to the squared distance to those before it, the best of
 * some draws being taken. Distances are float products, which are the same on every instruction set. */
#include "analyse/kmeans.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PANELS = 64, LEAST_SAMPLE = 16384, SAMPLE_OF_K = 256 };

struct kin_seeder {
  size_t k, trials;
  kin_random random;
  size_t m;       /* points of the sample */
  size_t *sample; /* [m] points, ascending */
  kin_nearest_side side;
  double *squared; /* [m]: to the nearest centre so far */
  float *tried;    /* [trials][padded]: squared distances to the draws, or those before if less */
  double *partial; /* [trials][blocks]: sums of `tried` */
  size_t *drawn;   /* [trials] places in the sample */
};

/* Without order, each point as likely as another: of n, m ascending ones. */
static void take_sample(kin_seeder *s, size_t n) {
  for (size_t i = 0, taken = 0; taken < s->m; i++)
    if (kin_random_unit(&s->random) * (double)(n - i) < (double)(s->m - taken)) s->sample[taken++] = i;
}

kin_status kin_seeder_open(kin_points *p, size_t k, uint64_t seed, kin_seeder **out, kin_error *err) {
  const size_t n = p->set->n, wanted = k > SIZE_MAX / SAMPLE_OF_K ? n : k * SAMPLE_OF_K;
  kin_seeder *s = *out = calloc(1, sizeof *s);
  if (!s) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for seeds");
  s->k = k, s->trials = 2 + (size_t)log((double)k), s->random.state = seed;
  s->m = wanted < LEAST_SAMPLE ? LEAST_SAMPLE : wanted;
  if (s->m > n) s->m = n;
  const size_t padded = (s->m + KIN_PANEL - 1) / KIN_PANEL * KIN_PANEL;
  s->sample = kin_array(s->m, sizeof *s->sample), s->squared = kin_array(s->m, sizeof *s->squared);
  s->tried = kin_alloc_aligned(s->trials * padded * sizeof *s->tried);
  s->partial = kin_array(s->trials * (padded / KIN_PANEL / PANELS + 1), sizeof *s->partial);
  s->drawn = kin_array(s->trials, sizeof *s->drawn);
  if (!s->sample || !s->squared || !s->tried || !s->partial || !s->drawn)
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for seeds among %zu vectors", s->m);
  take_sample(s, n);
  kin_nearest_frame frame = p->frame;
  frame.bf16 = false;
  return kin_nearest_side_open(p->context, &frame, p->set, p->inverse, s->sample, s->m, true, &s->side, err);
}

void kin_seeder_close(kin_seeder *s) {
  if (!s) return;
  kin_nearest_side_close(&s->side);
  kin_free_aligned(s->tried);
  free(s->sample), free(s->squared), free(s->partial), free(s->drawn);
  free(s);
}

typedef struct trial {
  kin_seeder *s;
  const kin_context *context;
  size_t count; /* draws */
  size_t blocks;
} trial;

/* Task of the pool: the draws against PANELS panels of the sample. */
static void try_block(void *arg, size_t block) {
  const trial *t = arg;
  kin_seeder *s = t->s;
  const size_t panels = s->side.padded / KIN_PANEL, first = block * PANELS;
  const size_t count = panels - first < PANELS ? panels - first : PANELS, ld = s->side.padded;
  for (size_t d = 0; d < t->count; d++) {
    const size_t draw = s->drawn[d];
    float *out = s->tried + d * ld + first * KIN_PANEL;
    kin_nearest_multiply(t->context, false, kin_nearest_row(&s->side, draw), 1, &s->side, first, count, out, ld);
    double sum = 0;
    for (size_t j = 0; j < count * KIN_PANEL && first * KIN_PANEL + j < s->m; j++) {
      const size_t point = first * KIN_PANEL + j;
      const double to_draw = 2 * (s->side.offset[draw] + s->side.offset[point] - (double)out[j]);
      const double least = point == draw ? 0 : fmin(s->squared[point], fmax(0, to_draw));
      out[j] = (float)least, sum += least;
    }
    s->partial[d * t->blocks + block] = sum;
  }
}

/* Try the draws, keep the one that leaves the least, and return what it leaves. */
static double take_best(kin_seeder *s, const kin_points *p, size_t count, size_t *taken) {
  trial t = {s, p->context, count, (s->side.padded / KIN_PANEL + PANELS - 1) / PANELS};
  kin_parallel_for(p->context->pool, t.blocks, try_block, &t);
  double least = INFINITY;
  size_t best = 0;
  for (size_t d = 0; d < count; d++) {
    double sum = 0;
    for (size_t b = 0; b < t.blocks; b++) sum += s->partial[d * t.blocks + b];
    if (sum < least) least = sum, best = d;
  }
  for (size_t i = 0; i < s->m; i++) s->squared[i] = (double)s->tried[best * s->side.padded + i];
  *taken = s->drawn[best];
  return least;
}

/* A place of the sample, in proportion to `squared`, whose sum is about `total`. */
static size_t draw(kin_seeder *s, double total) {
  double left = kin_random_unit(&s->random) * total;
  size_t last = 0;
  for (size_t i = 0; i < s->m; i++) {
    if (!(s->squared[i] > 0)) continue;
    last = i;
    if ((left -= s->squared[i]) < 0) break;
  }
  return last;
}

static void put_centre(kin_points *p, size_t centre, size_t point) {
  const size_t dim = p->set->dim;
  for (size_t j = 0; j < dim; j++)
    p->centres[centre * dim + j] = (float)((double)p->set->values[point * dim + j] * p->inverse[point]);
}

void kin_seeder_choose(kin_seeder *s, kin_points *p) {
  for (size_t i = 0; i < s->m; i++) s->squared[i] = INFINITY;
  s->drawn[0] = kin_random_below(&s->random, s->m);
  size_t taken;
  double total = take_best(s, p, 1, &taken);
  put_centre(p, 0, s->sample[taken]);
  for (size_t c = 1; c < s->k; c++) {
    /* Where every point is a centre already, any will do. */
    for (size_t d = 0; d < s->trials; d++)
      s->drawn[d] = total > 0 ? draw(s, total) : kin_random_below(&s->random, s->m);
    total = take_best(s, p, s->trials, &taken);
    put_centre(p, c, s->sample[taken]);
  }
}
