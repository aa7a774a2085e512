/* preprocessor_config.json in all its spellings, and the geometry of resize and crop. */
#include "image/codec.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static kin_status load(const char *json, kin_preprocess *p, kin_error *err) {
  char *dir = test_temporary_folder();
  test_write_file(dir, "preprocessor_config.json", json, strlen(json));
  kin_status status = kin_preprocess_load(dir, p, err);
  test_remove_tree(dir);
  free(dir);
  return status;
}

static void old_and_new_spellings_agree(void **state) {
  (void)state;
  kin_preprocess old_style, new_style;
  kin_error err;
  memset(&old_style, 0, sizeof old_style);
  memset(&new_style, 0, sizeof new_style);
  test_assert_ok(load("{\"crop_size\":224,\"do_center_crop\":true,\"do_normalize\":true,\"do_resize\":true,"
                      "\"feature_extractor_type\":\"CLIPFeatureExtractor\",\"image_mean\":[0.5,0.25,0.125],"
                      "\"image_std\":[0.5,0.25,1],\"resample\":3,\"size\":224}",
                      &old_style, &err),
                 &err);
  test_assert_ok(load("{\"crop_size\":{\"height\":224,\"width\":224},\"do_center_crop\":true,\"do_convert_rgb\":true,"
                      "\"do_normalize\":true,\"do_rescale\":true,\"do_resize\":true,\"do_pad\":null,"
                      "\"image_mean\":[0.5,0.25,0.125],\"image_processor_type\":\"CLIPImageProcessorFast\","
                      "\"image_std\":[0.5,0.25,1],\"resample\":3,\"rescale_factor\":0.00392156862745098,"
                      "\"size\":{\"shortest_edge\":224,\"longest_edge\":null}}",
                      &new_style, &err),
                 &err);
  assert_true(old_style.resize && new_style.resize && old_style.center_crop && new_style.center_crop);
  assert_int_equal(old_style.shortest_edge, 224);
  assert_int_equal(new_style.shortest_edge, 224);
  assert_int_equal(old_style.crop_width, 224);
  assert_int_equal(new_style.crop_height, 224);
  assert_int_equal(old_style.filter, KIN_FILTER_BICUBIC);
  assert_true(old_style.rescale == new_style.rescale);
  assert_memory_equal(old_style.mean, new_style.mean, sizeof old_style.mean);
  assert_true(old_style.mean[2] == 0.125F && old_style.deviation[1] == 0.25F);
}

static void dinov2_resizes_to_256_and_crops_224(void **state) {
  (void)state;
  kin_preprocess p;
  kin_error err;
  test_assert_ok(load("{\"crop_size\":{\"height\":224,\"width\":224},\"do_center_crop\":true,\"do_convert_rgb\":true,"
                      "\"do_normalize\":true,\"do_rescale\":true,\"do_resize\":true,\"image_mean\":[0.485,0.456,0.406],"
                      "\"image_processor_type\":\"BitImageProcessor\",\"image_std\":[0.229,0.224,0.225],"
                      "\"resample\":3,\"rescale_factor\":0.00392156862745098,\"size\":{\"shortest_edge\":256}}",
                      &p, &err),
                 &err);
  assert_int_equal(p.shortest_edge, 256);
  assert_int_equal(p.crop_width, 224);
}

static void left_out_keys_have_the_processors_defaults(void **state) {
  (void)state;
  kin_preprocess p;
  kin_error err;
  test_assert_ok(load("{}", &p, &err), &err);
  assert_int_equal(p.shortest_edge, 224);
  assert_int_equal(p.crop_height, 224);
  assert_int_equal(p.filter, KIN_FILTER_BICUBIC);
  assert_true(fabsf(p.mean[0] - 0.48145466F) < 1e-7F && fabsf(p.rescale - 1.0F / 255.0F) < 1e-9F);
  test_assert_ok(load("{\"do_normalize\":false,\"do_rescale\":false,\"resample\":2}", &p, &err), &err);
  assert_true(p.mean[0] == 0.0F && p.deviation[2] == 1.0F && p.rescale == 1.0F);
  assert_int_equal(p.filter, KIN_FILTER_BILINEAR);
  test_assert_ok(load("{\"do_center_crop\":false,\"size\":{\"height\":384,\"width\":384}}", &p, &err), &err);
  assert_int_equal(p.crop_width, 384);
  assert_int_equal(p.shortest_edge, 0);
}

static void bad_configs_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *json, *message;
    kin_status status;
  } cases[] = {
      {"{\"image_processor_type\":\"ViTImageProcessor\"}", "ViTImageProcessor", KIN_ERR_UNSUPPORTED},
      {"{\"image_processor_type\":3}", "image_processor_type", KIN_ERR_FORMAT},
      {"{\"do_pad\":true}", "do_pad", KIN_ERR_UNSUPPORTED},
      {"{\"resample\":4}", "resample", KIN_ERR_UNSUPPORTED},
      {"{\"resample\":9}", "resample", KIN_ERR_FORMAT},
      {"{\"size\":0}", "size", KIN_ERR_FORMAT},
      {"{\"size\":\"224\"}", "size", KIN_ERR_FORMAT},
      {"{\"size\":{}}", "shortest_edge", KIN_ERR_UNSUPPORTED},
      {"{\"size\":{\"shortest_edge\":224,\"longest_edge\":500}}", "size", KIN_ERR_UNSUPPORTED},
      {"{\"size\":{\"height\":224}}", "size", KIN_ERR_UNSUPPORTED},
      {"{\"crop_size\":{\"height\":224}}", "crop_size", KIN_ERR_UNSUPPORTED},
      {"{\"crop_size\":{\"height\":224,\"width\":112}}", "square", KIN_ERR_UNSUPPORTED},
      {"{\"do_center_crop\":false}", "do_center_crop", KIN_ERR_UNSUPPORTED},
      {"{\"image_mean\":[1,2]}", "image_mean", KIN_ERR_FORMAT},
      {"{\"image_std\":[1,0,1]}", "image_std", KIN_ERR_FORMAT},
      {"{\"image_std\":[1,1e300,1]}", "image_std", KIN_ERR_FORMAT},
      {"{\"do_resize\":1}", "do_resize", KIN_ERR_FORMAT},
      {"[]", "preprocessor_config.json", KIN_ERR_FORMAT},
      {"{", "preprocessor_config.json", KIN_ERR_FORMAT},
  };
  kin_preprocess p;
  kin_error err;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    test_assert_error(load(cases[i].json, &p, &err), cases[i].status, &err, cases[i].message);
  char *dir = test_temporary_folder();
  test_assert_error(kin_preprocess_load(dir, &p, &err), KIN_ERR_IO, &err, "preprocessor_config.json");
  test_remove_tree(dir);
  free(dir);
}

static kin_image noise(uint32_t width, uint32_t height) {
  size_t n = (size_t)width * height * 3;
  kin_image image = {width, height, malloc(n)};
  uint32_t random = width * 31 + height;
  for (size_t i = 0; i < n; i++) {
    random = random * 1664525u + 1013904223u;
    image.rgb[i] = (uint8_t)(random >> 24);
  }
  return image;
}

/* A region must hold the very bytes that resizing everything and cropping gives. */
static void a_region_equals_the_crop_of_the_whole(void **state) {
  (void)state;
  static const uint32_t sizes[][4] = {{50, 40, 20, 16}, {50, 40, 90, 70}, {300, 20, 30, 40}, {20, 300, 40, 30},
                                      {50, 40, 50, 13}, {50, 40, 13, 40}, {50, 40, 50, 40},  {7, 900, 300, 40}};
  kin_error err;
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
    for (kin_filter filter = KIN_FILTER_NEAREST; filter <= KIN_FILTER_LANCZOS; filter++) {
      kin_image image = noise(sizes[i][0], sizes[i][1]), whole;
      test_assert_ok(kin_image_resize(&image, sizes[i][2], sizes[i][3], filter, &whole, &err), &err);
      const kin_region region = {3, 2, sizes[i][2] - 5, sizes[i][3] - 7};
      size_t stride = region.width * 3 + 4;
      uint8_t *part = malloc(stride * region.height);
      test_assert_ok(kin_image_resize_region(&image, sizes[i][2], sizes[i][3], filter, &region, part, stride, &err),
                     &err);
      for (size_t y = 0; y < region.height; y++)
        assert_memory_equal(part + y * stride, whole.rgb + ((y + region.y) * whole.width + region.x) * 3,
                            region.width * 3);
      free(part);
      kin_image_free(&whole);
      kin_image_free(&image);
    }
}

static void impossible_sizes_are_errors(void **state) {
  (void)state;
  kin_error err;
  kin_preprocess p;
  test_assert_ok(load("{}", &p, &err), &err);
  uint8_t pixel[3] = {1, 2, 3}, *out = malloc(224 * 224 * 3);
  kin_image image = {0, 0, pixel}, resized;
  test_assert_error(kin_preprocess_run(&p, &image, out, &err), KIN_ERR_ARGUMENT, &err, "empty");
  image.width = 1;
  image.height = 20000000; /* only the header is looked at: its 224 x 4480000000 can't be */
  test_assert_error(kin_preprocess_run(&p, &image, out, &err), KIN_ERR_LIMIT, &err, "elongated");
  image.height = 1;
  test_assert_error(kin_image_resize(&image, 0, 5, KIN_FILTER_BICUBIC, &resized, &err), KIN_ERR_ARGUMENT, &err,
                    "empty");
  test_assert_ok(kin_preprocess_run(&p, &image, out, &err), &err);
  for (size_t i = 0; i < 224 * 224; i++) assert_memory_equal(out + 3 * i, pixel, 3);
  free(out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(old_and_new_spellings_agree),
      cmocka_unit_test(dinov2_resizes_to_256_and_crops_224),
      cmocka_unit_test(left_out_keys_have_the_processors_defaults),
      cmocka_unit_test(bad_configs_are_refused),
      cmocka_unit_test(a_region_equals_the_crop_of_the_whole),
      cmocka_unit_test(impossible_sizes_are_errors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
