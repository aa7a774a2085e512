/* The seeded weights are those that the reference vectors were made with, bit for bit. */
#include "refs.h"
#include "seeded.h"
#include "support.h"

#include <stdlib.h>

static void check(void **state) {
  const char *name = *state;
  refs r;
  refs_open(name, &r);
  char *dir = seeded_model(name), *path = kin_format("%s/%s", dir, r.weights), hex[65];
  kin_error err;
  test_assert_ok(kin_sha256_file(path, hex, NULL, &err), &err);
  assert_string_equal(hex, r.weights_sha256);
  free(path), free(dir);
  refs_close(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_prestate(check, "clip-tiny"),
      cmocka_unit_test_prestate(check, "clip-vit-b-32"),
      cmocka_unit_test_prestate(check, "dinov2-tiny"),
      cmocka_unit_test_prestate(check, "dinov2-small"),
      cmocka_unit_test_prestate(check, "clip-rn-tiny"),
      cmocka_unit_test_prestate(check, "clip-rn50"),
      cmocka_unit_test_prestate(check, "clip-open-tiny"),
      cmocka_unit_test_prestate(check, "dinov2-registers-tiny"),
      cmocka_unit_test_prestate(check, "dinov2-registers-swiglu-tiny"),
      cmocka_unit_test_prestate(check, "dinov2-swiglu-tiny"),
      cmocka_unit_test_prestate(check, "dinov2-base"),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
