/* Orientation out of hostile metadata: the parser reads nothing outside and guesses nothing. */
#include "image/codec.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

/* A JPEG's start with one APP1 segment holding `n` bytes, in a buffer of exactly its size. */
static unsigned orientation_of(const void *segment, size_t n) {
  size_t size = 2 + 4 + n + 2;
  uint8_t *bytes = malloc(size);
  memcpy(bytes, "\xff\xd8\xff\xe1", 4);
  bytes[4] = (uint8_t)((n + 2) >> 8);
  bytes[5] = (uint8_t)(n + 2);
  memcpy(bytes + 6, segment, n);
  memcpy(bytes + 6 + n, "\xff\xd9", 2);
  unsigned orientation = kin_jpeg_orientation(bytes, size);
  free(bytes);
  return orientation;
}

/* clang-format off */
#define LITTLE "Exif\0\0II*\0\x08\0\0\0\1\0"
#define BIG    "Exif\0\0MM\0*\0\0\0\x08\0\1"
static const char little[] = LITTLE "\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0";
static const char big[]    = BIG    "\1\x12\0\3\0\0\0\1\0\x08\0\0\0\0\0\0";
static const char as_long[] = LITTLE "\x12\1\4\0\1\0\0\0\3\0\0\0";
static const char as_text[] = LITTLE "\x12\1\2\0\1\0\0\0\3\0\0\0";
static const char too_large[] = LITTLE "\x12\1\3\0\1\0\0\0\x09\0\0\0";
static const char zero[]   = LITTLE "\x12\1\3\0\1\0\0\0\0\0\0\0";
static const char other_tag[] = LITTLE "\x13\1\3\0\1\0\0\0\6\0\0\0";
static const char far_directory[] = "Exif\0\0II*\0\xff\xff\xff\xff\1\0";
static const char many_entries[] = "Exif\0\0II*\0\x08\0\0\0\xff\xff\x13\1\3\0\1\0\0\0\6\0\0\0";
static const char no_tiff[] = "Exif\0\0XX*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0";
static const char xmp[]    = "http://ns.adobe.com/xap/1.0/\0<a tiff:Orientation=\"8\"/>";
static const char xmp_element[] = "http://ns.adobe.com/xap/1.0/\0<tiff:Orientation>5</tiff:Orientation>";
static const char xmp_broken[] = "http://ns.adobe.com/xap/1.0/\0<a tiff:Orientation=\"";
/* clang-format on */

#define OF(bytes) orientation_of(bytes, sizeof(bytes) - 1)

static void values(void **state) {
  (void)state;
  assert_int_equal(OF(little), 6);
  assert_int_equal(OF(big), 8);
  assert_int_equal(OF(as_long), 3);
  assert_int_equal(OF(as_text), 1);
  assert_int_equal(OF(too_large), 1);
  assert_int_equal(OF(zero), 1);
  assert_int_equal(OF(other_tag), 1);
  assert_int_equal(OF(far_directory), 1);
  assert_int_equal(OF(many_entries), 1);
  assert_int_equal(OF(no_tiff), 1);
  assert_int_equal(OF(xmp), 8);
  assert_int_equal(OF(xmp_element), 5);
  assert_int_equal(OF(xmp_broken), 1);
}

static void every_truncation_is_safe(void **state) {
  (void)state;
  for (size_t n = 0; n < sizeof little; n++) assert_in_range(orientation_of(little, n), 1, 6);
  for (size_t n = 0; n < sizeof big; n++) assert_in_range(orientation_of(big, n), 1, 8);
  for (size_t n = 0; n < sizeof xmp; n++) assert_in_range(orientation_of(xmp, n), 1, 8);
}

static void broken_containers_are_safe(void **state) {
  (void)state;
  static const char *const starts[] = {"\xff\xd8\xff\xe1\xff\xff", "\xff\xd8\xff\xff\xff\xff\xff\xff",
                                       "\x89PNG\r\n\x1a\n\xff\xff\xff\xff"
                                       "eXIf",
                                       "RIFF\xff\xff\xff\xffWEBPEXIF\xff"};
  static const size_t sizes[] = {6, 8, 16, 17};
  for (size_t i = 0; i < 4; i++)
    for (size_t n = 0; n <= sizes[i]; n++) {
      uint8_t *bytes = malloc(n ? n : 1);
      memcpy(bytes, starts[i], n);
      assert_int_equal(kin_jpeg_orientation(bytes, n), 1);
      assert_int_equal(kin_png_orientation(bytes, n), 1);
      assert_int_equal(kin_webp_orientation(bytes, n), 1);
      free(bytes);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values),
      cmocka_unit_test(every_truncation_is_safe),
      cmocka_unit_test(broken_containers_are_safe),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
