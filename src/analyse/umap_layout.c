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
#include "analyse/random.h"
#include "analyse/umap.h"
#include "base/context.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 16, PASSES = 2, TASK = 128, PUSHES = 5, LANES = 8 };

typedef struct moving {
  const kin_umap_layout *layout;
  size_t n;
  float *rate;         /* of each pair, steps in an epoch: at most 1 */
  const float *points; /* [n][2] */
  float *moved;        /* [n][2]: where the points of the round go */
  float a, b, alpha;
  size_t epoch, pass, round;
} moving;

/* out = x^b for positive x, to some 1e-6: 2^(b log2 x) by polynomials, the same bits on every machine. */
static inline void power(const float x[LANES], float b, float out[LANES]) {
  for (int i = 0; i < LANES; i++) {
    uint32_t bits;
    memcpy(&bits, &x[i], sizeof bits);
    const uint32_t shifted = bits - 0x3f3504f3u; /* so that the mantissa lies about 1: from sqrt(1/2) */
    const int32_t exponent = (int32_t)shifted >> 23;
    const uint32_t mantissa = (shifted & 0x7fffffu) + 0x3f3504f3u;
    float m;
    memcpy(&m, &mantissa, sizeof m);
    /* log2 m = 2 / ln 2 * atanh z, z = (m - 1) / (m + 1), |z| < 0.172 */
    const float z = (m - 1) / (m + 1), zz = z * z;
    const float log2_m = z * (2.8853900818f + zz * (0.9617966939f + zz * (0.5770780164f + zz * 0.4121985831f)));
    float y = b * ((float)exponent + log2_m);
    y = y < -126 ? -126 : y > 126 ? 126 : y;
    const float whole = (y + 12582912.0f) - 12582912.0f, rest = (y - whole) * 0.6931471806f;
    const float power_of_rest =
        1 + rest * (1 + rest * (0.5f + rest * (0.1666666667f + rest * (0.0416666667f + rest * 0.0083333333f))));
    const uint32_t scale_bits = (uint32_t)((int32_t)whole + 127) << 23;
    float scale;
    memcpy(&scale, &scale_bits, sizeof scale);
    out[i] = scale * power_of_rest;
  }
}

static inline float clip(float v) {
  return v > 4 ? 4 : v < -4 ? -4 : v;
}

/* Draw (x, y) to `other`, as its neighbour and as that one's, and push it away from PUSHES others. */
static void step(const moving *m, float *x, float *y, const float *other, kin_random *random) {
  float dx[LANES] = {*x - other[0]}, dy[LANES] = {*y - other[1]}, s[LANES], p[LANES];
  for (int i = 1; i <= PUSHES; i++) {
    const float *drawn = m->points + 2 * (size_t)((kin_random_next(random) >> 32) * m->n >> 32);
    dx[i] = *x - drawn[0], dy[i] = *y - drawn[1];
  }
  for (int i = 0; i < LANES; i++) s[i] = dx[i] * dx[i] + dy[i] * dy[i] + 1e-12f;
  power(s, m->b, p);
  const float pull = -2 * m->a * m->b * p[0] / (s[0] * (m->a * p[0] + 1));
  float sum_x = 2 * clip(pull * dx[0]), sum_y = 2 * clip(pull * dy[0]);
  for (int i = 0; i < LANES; i++) {
    const float factor = 2 * m->b / ((0.001f + s[i]) * (m->a * p[i] + 1));
    dx[i] = clip(factor * dx[i]), dy[i] = clip(factor * dy[i]);
  }
  for (int i = 1; i <= PUSHES; i++) sum_x += dx[i], sum_y += dy[i];
  *x += m->alpha * sum_x, *y += m->alpha * sum_y;
}

static void move_point(const moving *m, size_t i) {
  const kin_fuzzy_set *set = m->layout->set;
  float x = m->points[2 * i], y = m->points[2 * i + 1];
  kin_random random = {m->layout->seed ^
                       ((m->epoch * PASSES + m->pass) * 0xd1342543de82ef95u + i) * 0x2545f4914f6cdd1du};
  const size_t first = set->first[i], pairs = set->first[i + 1] - first;
  for (size_t e = first + pairs * m->pass / PASSES; e < first + pairs * (m->pass + 1) / PASSES; e++) {
    const float rate = m->rate[e];
    if ((uint32_t)((float)(m->epoch + 1) * rate) == (uint32_t)((float)m->epoch * rate)) continue;
    step(m, &x, &y, m->points + 2 * (size_t)set->other[e], &random);
  }
  m->moved[2 * i] = x, m->moved[2 * i + 1] = y;
}

static size_t points_of_round(const moving *m, size_t round) {
  return m->n / ROUNDS + (round < m->n % ROUNDS);
}

/* Task of the pool: some points of the round. */
static void move_points(void *arg, size_t task) {
  const moving *m = arg;
  const size_t all = points_of_round(m, m->round), end = (task + 1) * TASK < all ? (task + 1) * TASK : all;
  for (size_t j = task * TASK; j < end; j++) move_point(m, j * ROUNDS + m->round);
}

static void run_round(moving *m, float *points) {
  const size_t all = points_of_round(m, m->round);
  kin_parallel_for(m->layout->context->pool, (all + TASK - 1) / TASK, move_points, m);
  for (size_t j = 0; j < all; j++) {
    const size_t i = 2 * (j * ROUNDS + m->round);
    points[i] = m->moved[i], points[i + 1] = m->moved[i + 1];
  }
}

/* Pairs that would have no turn are left out, as the reference does. */
static void set_rates(moving *m) {
  const kin_fuzzy_set *set = m->layout->set;
  float most = 0;
  for (size_t e = 0; e < set->first[m->n]; e++) most = set->weight[e] > most ? set->weight[e] : most;
  for (size_t e = 0; e < set->first[m->n]; e++)
    m->rate[e] = set->weight[e] * (float)m->layout->epochs < most ? 0 : set->weight[e] / most;
}

kin_status kin_umap_move(const kin_umap_layout *layout, float *points, kin_error *err) {
  const size_t n = layout->set->n;
  moving m = {.layout = layout, .n = n, .points = points, .a = (float)layout->a, .b = (float)layout->b};
  m.rate = kin_array(layout->set->first[n] + 1, sizeof *m.rate), m.moved = kin_array(2 * n, sizeof *m.moved);
  kin_status status = KIN_OK;
  if (!m.rate || !m.moved)
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for a map of %zu vectors", n);
  else
    set_rates(&m);
  for (m.epoch = 0; status == KIN_OK && m.epoch < layout->epochs; m.epoch++) {
    m.alpha = 1 - (float)m.epoch / (float)layout->epochs;
    for (m.pass = 0; m.pass < PASSES; m.pass++)
      for (m.round = 0; m.round < ROUNDS; m.round++) run_round(&m, points);
    if (layout->on_progress && !layout->on_progress(layout->user, (double)(m.epoch + 1) / (double)layout->epochs))
      status = kin_fail(err, KIN_ERR_CANCELLED, "the map was stopped");
  }
  free(m.rate), free(m.moved);
  return status;
}
