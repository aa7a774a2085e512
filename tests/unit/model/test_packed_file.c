/* Models opened from files of packed weights: the same vectors and info as from their own weights; files that are
 * damaged, or of weights that have changed since, are not believed. */
#include "model/model.h"
#include "seeded.h"
#include "support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXTS = 3 };
static const char *const texts[TEXTS] = {"a snowy road", "two dogs", ""};

typedef struct result {
  kin_model_info info;
  float *pictures, *texts;
} result;

static kin_model *open_model(kin_context *context, const char *dir, kin_precision precision, const char *folder) {
  const kin_model_options options = {.precision = precision, .packed_folder = folder};
  kin_model *model;
  kin_error err;
  test_assert_ok(kin_model_open_with(context, dir, &options, &model, &err), &err);
  return model;
}

static result embed(kin_context *context, const char *dir, kin_precision precision, const char *folder) {
  kin_model *model = open_model(context, dir, precision, folder);
  result r = {0};
  kin_error err;
  kin_model_get_info(model, &r.info);
  if (r.info.has_image) {
    const kin_preprocess *p = kin_model_preprocess(model);
    const size_t bytes = 2 * p->crop_width * p->crop_height * 3;
    uint8_t *crops = malloc(bytes);
    r.pictures = calloc(2 * r.info.dim, sizeof *r.pictures);
    assert_true(crops && r.pictures);
    for (size_t i = 0; i < bytes; i++) crops[i] = (uint8_t)(i * 2654435761u >> 13);
    test_assert_ok(kin_model_encode_images(model, crops, 2, r.pictures, &err), &err);
    free(crops);
  }
  if (r.info.has_text) {
    r.texts = calloc(TEXTS * r.info.dim, sizeof *r.texts);
    assert_non_null(r.texts);
    test_assert_ok(kin_embed_texts(model, texts, TEXTS, NULL, r.texts, &err), &err);
  }
  kin_model_close(model);
  return r;
}

static void assert_same(const result *a, const result *b) {
  assert_memory_equal(&a->info, &b->info, sizeof a->info);
  if (a->pictures) assert_memory_equal(a->pictures, b->pictures, 2 * a->info.dim * sizeof *a->pictures);
  if (a->texts) assert_memory_equal(a->texts, b->texts, TEXTS * a->info.dim * sizeof *a->texts);
}

static void result_free(result *r) {
  free(r->pictures), free(r->texts);
}

/* The path of the only file in `folder`; free with free(). */
static char *only_file(const char *folder) {
  DIR *d = opendir(folder);
  char *path = NULL;
  assert_non_null(d);
  for (struct dirent *e; (e = readdir(d)) != NULL;) {
    if (e->d_name[0] == '.') continue;
    assert_null(path);
    path = kin_format("%s/%s", folder, e->d_name);
  }
  closedir(d);
  assert_non_null(path);
  return path;
}

static void every_precision(void **state) {
  static const kin_precision precisions[] = {KIN_PRECISION_FP32, KIN_PRECISION_BF16, KIN_PRECISION_INT8};
  if (!seeded_ready(*state)) skip();
  char *dir = seeded_model(*state);
  kin_context *context;
  kin_error err;
  test_assert_ok(kin_context_open(&(kin_context_options){.threads = 2}, &context, &err), &err);
  for (size_t i = 0; i < sizeof precisions / sizeof *precisions; i++) {
    kin_model *probe;
    const kin_model_options options = {.precision = precisions[i]};
    if (kin_model_open_with(context, dir, &options, &probe, &err) != KIN_OK) continue; /* not on this CPU or model */
    kin_model_close(probe);
    char *folder = test_temporary_folder();
    result plain = embed(context, dir, precisions[i], NULL), first = embed(context, dir, precisions[i], folder);
    char *file = only_file(folder);
    struct stat before, after;
    assert_int_equal(stat(file, &before), 0);
    result second = embed(context, dir, precisions[i], folder);
    assert_int_equal(stat(file, &after), 0);
    assert_true(before.st_ino == after.st_ino); /* it was read, not made anew */
    assert_same(&plain, &first);
    assert_same(&plain, &second);
    result_free(&plain), result_free(&first), result_free(&second);
    test_remove_tree(folder);
    free(file), free(folder);
  }
  kin_context_close(context);
  free(dir);
}

/* Change byte `at` of the file, or cut it there. */
static void damage(const char *file, long at, bool cut) {
  if (cut) {
    assert_int_equal(truncate(file, at), 0);
    return;
  }
  FILE *f = fopen(file, "r+b");
  assert_non_null(f);
  assert_int_equal(fseek(f, at, SEEK_SET), 0);
  int c = fgetc(f);
  assert_int_equal(fseek(f, at, SEEK_SET), 0);
  fputc(c ^ 0x40, f);
  fclose(f);
}

static void damaged_files_are_made_anew(void **state) {
  (void)state;
  static const struct {
    long at;
    bool cut;
  } cases[] = {{0, false},   {20, false}, {80, false}, {150, false}, {230, false},
               {300, false}, {0, true},   {100, true}, {5000, true}};
  char *dir = seeded_model("dinov2-tiny"), *folder = test_temporary_folder();
  kin_context *context;
  kin_error err;
  test_assert_ok(kin_context_open(NULL, &context, &err), &err);
  result plain = embed(context, dir, KIN_PRECISION_FP32, folder);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char *file = only_file(folder);
    struct stat before, after;
    damage(file, cases[i].at, cases[i].cut);
    assert_int_equal(stat(file, &before), 0);
    result again = embed(context, dir, KIN_PRECISION_FP32, folder);
    assert_same(&plain, &again);
    assert_int_equal(stat(file, &after), 0);
    assert_true(before.st_ino != after.st_ino);
    result_free(&again);
    free(file);
  }
  result_free(&plain);
  test_remove_tree(folder);
  kin_context_close(context);
  free(dir), free(folder);
}

static void changed_weights_are_noticed(void **state) {
  (void)state;
  char *dir = test_temporary_folder(), *folder = test_temporary_folder();
  char *spec = test_source_path("tests/data/seeded/dinov2-tiny.json");
  kin_context *context;
  kin_error err;
  test_assert_ok(seeded_write(spec, dir, &err), &err);
  free(spec);
  test_assert_ok(kin_context_open(NULL, &context, &err), &err);
  result first = embed(context, dir, KIN_PRECISION_FP32, folder);
  char *weights = kin_format("%s/model.safetensors", dir);
  struct stat st;
  assert_int_equal(stat(weights, &st), 0);
  damage(weights, (long)st.st_size - 2, false); /* the last number's exponent */
  result second = embed(context, dir, KIN_PRECISION_FP32, folder);
  assert_string_not_equal(first.info.id, second.info.id);
  result plain = embed(context, dir, KIN_PRECISION_FP32, NULL);
  assert_same(&plain, &second);
  result_free(&first), result_free(&second), result_free(&plain);
  test_remove_tree(dir), test_remove_tree(folder);
  kin_context_close(context);
  free(weights), free(dir), free(folder);
}

static void no_place_is_no_failure(void **state) {
  (void)state;
  char *dir = seeded_model("dinov2-tiny");
  kin_context *context;
  kin_error err;
  test_assert_ok(kin_context_open(NULL, &context, &err), &err);
  result plain = embed(context, dir, KIN_PRECISION_FP32, NULL);
  result nowhere = embed(context, dir, KIN_PRECISION_FP32, "/nonexistent/folder");
  assert_same(&plain, &nowhere);
  result_free(&plain), result_free(&nowhere);
  kin_context_close(context);
  free(dir);
}

#define MODEL(model) \
  { .name = model, .test_func = every_precision, .initial_state = (void *)(uintptr_t)model }

int main(void) {
  const struct CMUnitTest tests[] = {
      MODEL("clip-tiny"),
      MODEL("clip-open-tiny"),
      MODEL("clip-rn-tiny"),
      MODEL("dinov2-tiny"),
      MODEL("dinov2-registers-swiglu-tiny"),
      MODEL("roberta-tiny"),
      cmocka_unit_test(damaged_files_are_made_anew),
      cmocka_unit_test(changed_weights_are_noticed),
      cmocka_unit_test(no_place_is_no_failure),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
