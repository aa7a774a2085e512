/* UMAP's descent: in each epoch a point is drawn to the neighbours whose turn it is (the likelier, the more often) and
 * pushed away from a few others drawn by lot.
 *
 * A point is moved by one task, which reads where others are and writes only its own place; what a step does to both
 * ends is done when each end has its turn. The points are cut into ROUNDS, by number: those of a round move at once and
 * see one another where they were before it, but what moved in earlier rounds where it now is. So no two tasks depend
 * on one another, lots are drawn by point and epoch, and the result is the same whatever the threads.
 *
 * Each epoch is cut into PASSES over all points, with a part of a point's pairs each. In one pass the near neighbours,
 * which stand still meanwhile, would undo what a far one has drawn, and groups with few links would drift apart. */
#include "analyse/umap.h"
#include "base/context.h"
#include "base/random.h"
#include "kernel/kernel.h"

#include <stdlib.h>

enum { ROUNDS = 16, PASSES = 2, TASK = 256, AHEAD = 32 };

typedef struct turn {
  uint32_t other;
  float rate; /* steps in an epoch: at most 1 */
} turn;

typedef struct moving {
  const kin_umap_layout *layout;
  size_t n;
  turn *turns;         /* of all pairs, in the order in which they are looked at: by pass, round and point ... */
  size_t *first;       /* [PASSES * n + 1]: those of the i-th point of a pass begin here */
  const float *points; /* [n][2] */
  float *moved;        /* [n][2]: where the points of the round go */
  float a, b, alpha;
  size_t epoch, pass, round;
} moving;

static size_t points_of_round(const moving *m, size_t round) {
  return m->n / ROUNDS + (round < m->n % ROUNDS);
}

/* How many points of a pass come before a round. */
static size_t points_before(const moving *m, size_t round) {
  return round * (m->n / ROUNDS) + (round < m->n % ROUNDS ? round : m->n % ROUNDS);
}

/* A point that is being moved. Lanes take their steps together, each for a point of its own: the next one waits until
 * one has had all its turns. */
typedef struct lane {
  size_t point;           /* SIZE_MAX: none is left */
  const turn *next, *end; /* of its pairs */
  size_t n_others, at;    /* of the pairs before `next`, the neighbours whose turn it is: */
  uint32_t others[AHEAD];
  kin_random random;
} lane;

/* Without branches, which would be guessed wrong half the time. */
static void look_ahead(const moving *m, lane *l) {
  const size_t n = (size_t)(l->end - l->next) < AHEAD ? (size_t)(l->end - l->next) : AHEAD;
  const float before = (float)m->epoch, after = (float)(m->epoch + 1);
  l->n_others = l->at = 0;
  for (size_t i = 0; i < n; i++) {
    const turn t = l->next[i];
    l->others[l->n_others] = t.other;
    l->n_others += (int32_t)(after * t.rate) != (int32_t)(before * t.rate);
  }
  l->next += n;
}

static void begin(const moving *m, lane *l, kin_map_step *step, size_t i, size_t number) {
  const size_t point = number * ROUNDS + m->round;
  const size_t *first = m->first + m->pass * m->n + points_before(m, m->round) + number;
  l->point = point, l->next = m->turns + first[0], l->end = m->turns + first[1];
  l->n_others = l->at = 0;
  l->random.state =
      m->layout->seed ^ ((m->epoch * PASSES + m->pass) * 0xd1342543de82ef95u + point) * 0x2545f4914f6cdd1du;
  step->x[i] = m->points[2 * point], step->y[i] = m->points[2 * point + 1];
}

/* Make sure that lane i has a neighbour whose turn it is, of the next point when this one is done; false: nothing is
 * left. */
static bool feed(const moving *m, kin_map_step *step, lane *l, size_t i, size_t *next, size_t end) {
  while (l->point != SIZE_MAX && l->at == l->n_others) {
    if (l->next < l->end) {
      look_ahead(m, l);
      continue;
    }
    m->moved[2 * l->point] = step->x[i], m->moved[2 * l->point + 1] = step->y[i];
    if (*next < end)
      begin(m, l, step, i, (*next)++);
    else
      l->point = SIZE_MAX;
  }
  return l->point != SIZE_MAX;
}

static void set_other(const moving *m, kin_map_step *step, size_t i, size_t number, size_t other) {
  step->other_x[number][i] = m->points[2 * other], step->other_y[number][i] = m->points[2 * other + 1];
}

/* The neighbour, and others drawn by lot, two from each random number. */
static void set_others(const moving *m, kin_map_step *step, lane *l, size_t i, size_t neighbour) {
  set_other(m, step, i, 0, neighbour);
  for (size_t o = 1; o < KIN_MAP_OTHERS; o += 2) {
    const uint64_t lots = kin_random_next(&l->random);
    set_other(m, step, i, o, (size_t)((lots >> 32) * m->n >> 32));
    if (o + 1 < KIN_MAP_OTHERS) set_other(m, step, i, o + 1, (size_t)((lots & UINT32_MAX) * m->n >> 32));
  }
}

/* Task of the pool: some points of the round. */
static void move_points(void *arg, size_t task) {
  const moving *m = arg;
  const size_t all = points_of_round(m, m->round), end = (task + 1) * TASK < all ? (task + 1) * TASK : all;
  size_t next = task * TASK;
  kin_map_step step = {.a = m->a, .b = m->b, .alpha = m->alpha};
  lane lanes[KIN_MAP_LANES];
  for (size_t i = 0; i < KIN_MAP_LANES; i++) {
    lanes[i].point = SIZE_MAX;
    if (next < end) begin(m, &lanes[i], &step, i, next++);
  }
  for (bool any = true; any;) {
    any = false;
    for (size_t i = 0; i < KIN_MAP_LANES; i++) {
      lane *l = &lanes[i];
      if (!feed(m, &step, l, i, &next, end)) continue;
      set_others(m, &step, l, i, l->others[l->at++]);
      any = true;
    }
    if (any) m->layout->context->kernels->map_step(&step);
  }
}

static void run_round(moving *m, float *points) {
  const size_t all = points_of_round(m, m->round);
  kin_parallel_for(m->layout->context->pool, (all + TASK - 1) / TASK, move_points, m);
  for (size_t j = 0; j < all; j++) {
    const size_t i = 2 * (j * ROUNDS + m->round);
    points[i] = m->moved[i], points[i + 1] = m->moved[i + 1];
  }
}

static void set_turns(moving *m) {
  const kin_fuzzy_set *set = m->layout->set;
  float most = 0;
  size_t at = 0, number = 0;
  for (size_t e = 0; e < set->first[m->n]; e++) most = set->weight[e] > most ? set->weight[e] : most;
  for (size_t pass = 0; pass < PASSES; pass++)
    for (size_t round = 0; round < ROUNDS; round++)
      for (size_t i = round; i < m->n; i += ROUNDS) {
        const size_t first = set->first[i], pairs = set->first[i + 1] - first;
        m->first[number++] = at;
        for (size_t e = first + pairs * pass / PASSES; e < first + pairs * (pass + 1) / PASSES; e++)
          if (set->weight[e] * (float)m->layout->epochs >= most) /* else it has no turn, as in the reference */
            m->turns[at++] = (turn){set->other[e], set->weight[e] / most};
      }
  m->first[number] = at;
}

kin_status kin_umap_move(const kin_umap_layout *layout, float *points, kin_error *err) {
  const size_t n = layout->set->n;
  moving m = {.layout = layout, .n = n, .points = points, .a = (float)layout->a, .b = (float)layout->b};
  m.turns = kin_array(layout->set->first[n] + 1, sizeof *m.turns), m.first = kin_array(PASSES * n + 1, sizeof *m.first);
  m.moved = kin_array(2 * n, sizeof *m.moved);
  kin_status status = KIN_OK;
  if (!m.turns || !m.first || !m.moved)
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for a map of %zu vectors", n);
  else
    set_turns(&m);
  for (m.epoch = 0; status == KIN_OK && m.epoch < layout->epochs; m.epoch++) {
    m.alpha = 1 - (float)m.epoch / (float)layout->epochs;
    for (m.pass = 0; m.pass < PASSES; m.pass++)
      for (m.round = 0; m.round < ROUNDS; m.round++) run_round(&m, points);
    if (layout->on_progress && !layout->on_progress(layout->user, (double)(m.epoch + 1) / (double)layout->epochs))
      status = kin_fail(err, KIN_ERR_CANCELLED, "the map was stopped");
  }
  free(m.turns), free(m.first), free(m.moved);
  return status;
}
