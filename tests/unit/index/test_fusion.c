/* Fusing two lists by rank and by score. */
#include "index/fusion.h"
#include "support.h"

#include <math.h>

static const kin_match near[] = {{1, 10, 0.9f}, {2, 20, 0.5f}, {2, 21, 0.4f}, {3, 30, 0.1f}};
static const kin_match worded[] = {{2, 20, 8}, {4, 40, 6}, {1, 10, 4}};

static void assert_match(const kin_match *m, int64_t id, uint64_t row, double score) {
  assert_int_equal(m->id, id);
  assert_int_equal(m->row, row);
  if (fabs((double)m->score - score) > 1e-6) fail_msg("item %d: %g instead of %g", (int)id, (double)m->score, score);
}

static void test_by_rank(void **state) {
  (void)state;
  kin_match out[7];
  assert_int_equal(kin_fuse((kin_ranked){near, 4}, (kin_ranked){worded, 3}, -1, out), 5);
  assert_match(&out[0], 2, 20, 1.0 / 62 + 1.0 / 61);
  assert_match(&out[1], 1, 10, 1.0 / 61 + 1.0 / 63);
  assert_match(&out[2], 4, 40, 1.0 / 62);
  assert_match(&out[3], 2, 21, 1.0 / 63);
  assert_match(&out[4], 3, 30, 1.0 / 64);
}

static void test_by_score(void **state) {
  (void)state;
  kin_match out[7];
  assert_int_equal(kin_fuse((kin_ranked){near, 4}, (kin_ranked){worded, 3}, 0.75, out), 5);
  assert_match(&out[0], 1, 10, 0.75);
  assert_match(&out[1], 2, 20, 0.75 * 0.5 + 0.25);
  assert_match(&out[2], 2, 21, 0.75 * 0.375);
  assert_match(&out[3], 4, 40, 0.25 * 0.5);
  assert_match(&out[4], 3, 30, 0);
}

static void test_one_list_and_none(void **state) {
  (void)state;
  kin_match out[7];
  assert_int_equal(kin_fuse((kin_ranked){NULL, 0}, (kin_ranked){NULL, 0}, -1, out), 0);
  assert_int_equal(kin_fuse((kin_ranked){near, 1}, (kin_ranked){NULL, 0}, 0.4, out), 1);
  assert_match(&out[0], 1, 10, 0.4); /* alone it is both least and most */
  assert_int_equal(kin_fuse((kin_ranked){NULL, 0}, (kin_ranked){worded, 3}, -1, out), 3);
  assert_match(&out[0], 2, 20, 1.0 / 61);
}

static void test_ties_go_by_place(void **state) {
  (void)state;
  static const kin_match a[] = {{9, 1, 2}, {5, 7, 1}}, b[] = {{5, 3, 2}, {9, 0, 1}};
  kin_match out[4];
  assert_int_equal(kin_fuse((kin_ranked){a, 2}, (kin_ranked){b, 2}, -1, out), 4);
  assert_match(&out[0], 5, 3, 1.0 / 61);
  assert_match(&out[1], 9, 1, 1.0 / 61);
  assert_match(&out[2], 5, 7, 1.0 / 62);
  assert_match(&out[3], 9, 0, 1.0 / 62);
}

static void test_ranks(void **state) {
  (void)state;
  assert_int_equal(kin_rank_of((kin_ranked){near, 4}, &(kin_match){2, 21, 0}), 3);
  assert_int_equal(kin_rank_of((kin_ranked){near, 4}, &(kin_match){2, 22, 0}), 0);
  assert_int_equal(kin_rank_of((kin_ranked){NULL, 0}, &(kin_match){2, 22, 0}), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_by_rank), cmocka_unit_test(test_by_score),
                                     cmocka_unit_test(test_one_list_and_none), cmocka_unit_test(test_ties_go_by_place),
                                     cmocka_unit_test(test_ranks)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
