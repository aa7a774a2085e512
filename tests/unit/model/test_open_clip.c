/* open_clip's layout: what is read from its config, what is refused and how, and its way of cropping. */
#include "base/json.h"
#include "model/model.h"
#include "seeded.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static kin_context *context;

static int open_context(void **state) {
  (void)state;
  return kin_context_open(NULL, &context, NULL) == KIN_OK ? 0 : -1;
}

static int close_context(void **state) {
  (void)state;
  kin_context_close(context);
  return 0;
}

static void link_file(const char *from_dir, const char *to_dir, const char *name) {
  char *from = kin_format("%s/%s", from_dir, name), *to = kin_format("%s/%s", to_dir, name);
  if (kin_file_exists(from)) assert_int_equal(symlink(from, to), 0);
  free(from), free(to);
}

/* A model directory of clip-rn-tiny whose config has `value` (JSON) at `key` of its part `part`. */
static char *changed_model(const char *part, const char *key, const char *value) {
  char *dir = test_temporary_folder(), *from = seeded_model("clip-rn-tiny");
  char *path = kin_format("%s/open_clip_config.json", from);
  json_t *config;
  kin_error err;
  test_assert_ok(kin_json_load(path, 1 << 20, &config, &err), &err);
  json_t *model = json_object_get(config, "model_cfg"), *at = json_object_get(config, part);
  if (!strcmp(part, "vision_cfg") || !strcmp(part, "text_cfg")) at = json_object_get(model, part);
  if (key) assert_int_equal(json_object_set_new(at, key, json_loads(value, JSON_DECODE_ANY, NULL)), 0);
  char *text = json_dumps(config, 0);
  test_write_file(dir, "open_clip_config.json", text, strlen(text));
  static const char *const files[] = {"open_clip_model.safetensors", "vocab.json", "merges.txt"};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) link_file(from, dir, files[i]);
  free(text), free(path), free(from);
  json_decref(config);
  return dir;
}

static void check_refused(const char *part, const char *key, const char *value, kin_status status, const char *words) {
  char *dir = changed_model(part, key, value);
  kin_model *model;
  kin_error err;
  test_assert_error(kin_model_open(context, dir, &model, &err), status, &err, words);
  assert_null(model);
  test_remove_tree(dir);
  free(dir);
}

static void odd_configs_are_refused(void **state) {
  (void)state;
  check_refused("vision_cfg", "timm_model_name", "\"convnext_base\"", KIN_ERR_UNSUPPORTED, "timm_model_name");
  check_refused("vision_cfg", "pool_type", "\"avg\"", KIN_ERR_UNSUPPORTED, "\"pool_type\": \"avg\"");
  check_refused("vision_cfg", "image_size", "100", KIN_ERR_UNSUPPORTED, "multiple of 32");
  check_refused("vision_cfg", "layers", "[1, 2, 2]", KIN_ERR_FORMAT, "four numbers");
  check_refused("vision_cfg", "layers", "[1, 2, 2, 0]", KIN_ERR_FORMAT, "four numbers");
  check_refused("vision_cfg", "layers", "[1, 2, 3, 1]", KIN_ERR_FORMAT, "visual.layer3.2.conv1.weight");
  check_refused("vision_cfg", "width", "24", KIN_ERR_FORMAT, "visual.");
  check_refused("text_cfg", "hf_model_name", "\"xlm-roberta-base\"", KIN_ERR_UNSUPPORTED, "hf_model_name");
  check_refused("text_cfg", "heads", "5", KIN_ERR_FORMAT, "text_cfg: width 96 is not a multiple of its 5 heads");
  check_refused("text_cfg", "no_causal_mask", "true", KIN_ERR_UNSUPPORTED, "no_causal_mask");
  check_refused("model_cfg", "custom_text", "true", KIN_ERR_UNSUPPORTED, "\"custom_text\": true");
  check_refused("preprocess_cfg", "resize_mode", "\"longest\"", KIN_ERR_UNSUPPORTED, "longest");
  check_refused("preprocess_cfg", "interpolation", "\"nearest\"", KIN_ERR_UNSUPPORTED, "nearest");
  check_refused("preprocess_cfg", "std", "[1, 0, 1]", KIN_ERR_FORMAT, "\"std\" must be greater than 0");
}

static void keys_that_are_off_are_ignored(void **state) {
  (void)state;
  if (!seeded_ready("clip-rn-tiny")) skip();
  static const char *const keys[][2] = {{"pool_type", "\"tok\""}, {"ls_init_value", "null"}, {"no_ln_pre", "false"}};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    char *dir = changed_model("vision_cfg", keys[i][0], keys[i][1]);
    kin_model *model;
    kin_error err;
    test_assert_ok(kin_model_open(context, dir, &model, &err), &err);
    kin_model_close(model);
    test_remove_tree(dir);
    free(dir);
  }
}

static void a_resnet_tells_its_sizes(void **state) {
  (void)state;
  if (!seeded_ready("clip-rn-tiny")) skip();
  /* timm's config.json beside it describes the image tower alone and is passed over. */
  char *dir = changed_model("model_cfg", NULL, NULL);
  static const char timm[] = "{\"architecture\": \"resnet50_clip\", \"num_classes\": 1024}";
  test_write_file(dir, "config.json", timm, sizeof timm - 1);
  kin_model *model;
  kin_model_info info;
  kin_error err;
  test_assert_ok(kin_model_open(context, dir, &model, &err), &err);
  kin_model_get_info(model, &info);
  assert_string_equal(info.architecture, "clip-resnet");
  assert_int_equal(info.dim, 56);
  assert_int_equal(info.image_size, 96);
  assert_int_equal(info.image_layers, 6);
  assert_int_equal(info.image_width, 640);
  assert_int_equal(info.image_heads, 10);
  assert_int_equal(info.patch_size, 0);
  assert_int_equal(info.text_context, 77);
  /* As the table counts them, but for the logit scale. */
  assert_int_equal(info.parameters, 7186835 - 1);
  /* Batch norms are folded and the table of tokens stays in the file. */
  assert_true(info.memory_bytes > 4 * (info.parameters - 100000 - 49408 * 96));
  assert_true(info.memory_bytes < 4 * info.parameters);
  kin_model_close(model);
  test_remove_tree(dir);
  free(dir);
}

static void missing_files_are_named(void **state) {
  (void)state;
  char *dir = changed_model("model_cfg", NULL, NULL), *weights = kin_format("%s/open_clip_model.safetensors", dir);
  kin_model *model;
  kin_error err;
  assert_int_equal(unlink(weights), 0);
  test_assert_error(kin_model_open(context, dir, &model, &err), KIN_ERR_IO, &err, "open_clip_model.safetensors");
  test_remove_tree(dir);
  free(weights), free(dir);
  dir = test_temporary_folder();
  test_assert_error(kin_model_open(context, dir, &model, &err), KIN_ERR_IO, &err,
                    "no config.json or open_clip_config.json");
  test_remove_tree(dir);
  free(dir);
}

static void a_negative_variance_is_refused(void **state) {
  (void)state;
  char *dir = test_temporary_folder(), *path = test_source_path("tests/data/seeded/clip-rn-tiny.json");
  json_t *spec, *row;
  size_t i;
  kin_error err;
  test_assert_ok(kin_json_load(path, 1 << 20, &spec, &err), &err);
  json_array_foreach(json_object_get(spec, "tensors"), i,
                     row) if (!strcmp(json_string_value(json_object_get(row, "name")), "visual.bn2.running_var"))
      json_object_set_new(row, "mean", json_real(-1));
  char *changed = kin_format("%s/spec.json", dir);
  assert_int_equal(json_dump_file(spec, changed, 0), 0);
  test_assert_ok(seeded_write(changed, dir, &err), &err);
  kin_model *model;
  test_assert_error(kin_model_open(context, dir, &model, &err), KIN_ERR_FORMAT, &err, "visual.bn2.running_var");
  json_decref(spec);
  free(changed), free(path), test_remove_tree(dir);
  free(dir);
}

static void clip_has_no_choice_of_pooling(void **state) {
  (void)state;
  char *dir = changed_model("model_cfg", NULL, NULL);
  kin_model *model;
  kin_error err;
  test_assert_error(kin_model_open_with(context, dir, &(kin_model_options){.pooling = KIN_POOLING_MEAN}, &model, &err),
                    KIN_ERR_UNSUPPORTED, &err, "pooling");
  test_assert_error(kin_model_open_with(context, dir, &(kin_model_options){.pooling = (kin_pooling)9}, &model, &err),
                    KIN_ERR_ARGUMENT, &err, "pooling 9");
  kin_pooling pooling;
  test_assert_error(kin_pooling_parse("max", &pooling, &err), KIN_ERR_ARGUMENT, &err, "cls, mean, cls+mean");
  test_remove_tree(dir);
  free(dir);
}

/* torchvision rounds the crop's offset to the nearest, halves to even: 1.5 to 2, where transformers takes 1; 0.5 to 0;
 * 2.5 to 2. */
static void crops_round_as_torchvision(void **state) {
  (void)state;
  static const struct {
    uint32_t width;
    uint8_t open_clip, transformers;
  } cases[] = {{7, 2, 1}, {5, 0, 0}, {9, 2, 2}, {8, 2, 2}, {11, 4, 3}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    uint8_t rgb[4 * 11 * 3], out[4 * 4 * 3];
    kin_image image = {cases[i].width, 4, rgb};
    for (size_t p = 0; p < 4 * cases[i].width * 3; p++) rgb[p] = (uint8_t)(p / 3 % cases[i].width);
    kin_preprocess steps = {.center_crop = true, .crop_width = 4, .crop_height = 4};
    kin_error err;
    test_assert_ok(kin_preprocess_run(&steps, &image, out, &err), &err);
    assert_int_equal(out[0], cases[i].transformers);
    steps.crop_half_even = true;
    test_assert_ok(kin_preprocess_run(&steps, &image, out, &err), &err);
    assert_int_equal(out[0], cases[i].open_clip);
  }
}

static void squashing_is_read(void **state) {
  (void)state;
  char *dir = changed_model("preprocess_cfg", "resize_mode", "\"squash\"");
  kin_preprocess p;
  kin_error err;
  test_assert_ok(kin_preprocess_load_open_clip(dir, &p, &err), &err);
  assert_true(p.resize && !p.center_crop && p.shortest_edge == 0);
  assert_int_equal(p.resize_width, 96);
  assert_int_equal(p.resize_height, 96);
  assert_int_equal(p.crop_width, 96);
  test_remove_tree(dir);
  free(dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(odd_configs_are_refused),        cmocka_unit_test(keys_that_are_off_are_ignored),
      cmocka_unit_test(a_resnet_tells_its_sizes),       cmocka_unit_test(missing_files_are_named),
      cmocka_unit_test(a_negative_variance_is_refused), cmocka_unit_test(clip_has_no_choice_of_pooling),
      cmocka_unit_test(crops_round_as_torchvision),     cmocka_unit_test(squashing_is_read),
  };
  return cmocka_run_group_tests(tests, open_context, close_context);
}
