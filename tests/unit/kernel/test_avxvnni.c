/* AVX-VNNI's instructions against plain C; a test of its own, so that a CPU without them shows it as skipped. */
#include "int8_tiles.h"

static void tiles_match(void **state) {
  (void)state;
  check_int8_tiles(&kin_int8_avxvnni);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(tiles_match)};
  return int8_runs(&kin_int8_avxvnni) ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
