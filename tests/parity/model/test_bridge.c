/* A bridge from the real ViT-S/14 to the real multilingual-e5-small, on stamps whose captions it has not seen. */
#include "base/json.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STAMPS = 535, COLUMNS = 2, HELD_OUT_IN = 5 };
static const double least[COLUMNS] = {0.56, 0.44}; /* recall@10, in English and in Korean */

typedef struct stamps {
  char *paths[STAMPS];
  char *captions[STAMPS][COLUMNS]; /* English, Korean */
  kin_captioned items[STAMPS];
  size_t group[STAMPS]; /* the number of the English caption, in order of appearance */
} stamps;

static stamps *read_stamps(void) {
  static const char *const languages[COLUMNS] = {"en", "ko"};
  kin_error err;
  stamps *s = calloc(1, sizeof *s);
  assert_non_null(s);
  char *folder = test_material("tuxpaint-stamps"), *path = kin_format("%s/captions.jsonl", folder), *text, *rest = NULL;
  size_t size, n = 0, groups = 0;
  test_assert_ok(kin_read_file(path, 1u << 24, &text, &size, &err), &err);
  for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), n++) {
    json_t *object;
    assert_true(n < STAMPS);
    test_assert_ok(kin_json_parse(line, strlen(line), path, &object, &err), &err);
    s->paths[n] = kin_format("%s/%s", folder, json_string_value(json_object_get(object, "path")));
    for (size_t c = 0; c < COLUMNS; c++)
      s->captions[n][c] =
          kin_strdup(json_string_value(json_object_get(json_object_get(object, "captions"), languages[c])));
    s->items[n] = (kin_captioned){s->paths[n], (const char *const *)s->captions[n]};
    s->group[n] = groups;
    for (size_t i = 0; i < n && s->group[n] == groups; i++)
      if (strcmp(s->captions[i][0], s->captions[n][0]) == 0) s->group[n] = s->group[i];
    groups += s->group[n] == groups;
    json_decref(object);
  }
  assert_int_equal(n, STAMPS);
  free(text), free(path), free(folder);
  return s;
}

static void free_stamps(stamps *s) {
  for (size_t i = 0; i < STAMPS; i++) {
    free(s->paths[i]);
    for (size_t c = 0; c < COLUMNS; c++) free(s->captions[i][c]);
  }
  free(s);
}

static void print_recall(const char *what, const kin_align_recall *r) {
  print_message("%s: recall@1 %.3f, @5 %.3f, @10 %.3f of %zu\n", what, r->at1, r->at5, r->at10, r->queries);
}

/* Every caption is kept apart once. */
static void finds_captions_kept_apart(void **state) {
  (void)state;
  kin_error err;
  kin_context *context;
  kin_align_report r;
  stamps *s = read_stamps();
  char *images = test_material("vit-s-focus"), *texts = test_material("e5-small"), *out = test_temporary_folder();
  test_assert_ok(kin_context_open(NULL, &context, &err), &err);
  test_assert_ok(kin_align_fit(context, images, texts, s->items, STAMPS, COLUMNS, out, NULL, &r, &err), &err);
  print_recall("English", &r.recall[0]);
  print_recall("Korean", &r.recall[1]);
  assert_int_equal(r.pictures, STAMPS);
  assert_int_equal(r.parts, HELD_OUT_IN);
  assert_in_range(r.kept_captions, 95, 105);
  assert_true(r.recall[0].at10 >= least[0]);
  assert_true(r.recall[1].at10 >= least[1]);
  assert_false(r.poor);
  kin_context_close(context);
  test_remove_tree(out);
  free(out), free(images), free(texts);
  free_stamps(s);
}

/* The vectors of the pictures `held` and of a column of their captions, by the public interface alone. */
static float *embed_pictures(kin_model *bridge, const stamps *s, const size_t *held, size_t n) {
  kin_error err;
  kin_image_source *sources = calloc(n, sizeof *sources);
  float *out = calloc(n * kin_model_dim(bridge), sizeof *out);
  assert_true(sources && out);
  for (size_t i = 0; i < n; i++) sources[i].path = s->paths[held[i]];
  test_assert_ok(kin_embed_images(bridge, sources, n, NULL, out, &err), &err);
  free(sources);
  return out;
}

static float *embed_captions(kin_model *bridge, const stamps *s, const size_t *held, size_t n, size_t column) {
  kin_error err;
  const char **queries = calloc(n, sizeof *queries);
  float *out = calloc(n * kin_model_dim(bridge), sizeof *out);
  assert_true(queries && out);
  for (size_t i = 0; i < n; i++) queries[i] = s->captions[held[i]][column];
  test_assert_ok(kin_embed_texts(bridge, queries, n, NULL, out, &err), &err);
  free(queries);
  return out;
}

/* Recall@10 of captions among the pictures, one query a caption. */
static double recall_of(kin_context *context, const float *pictures, const float *texts, size_t dim, const stamps *s,
                        const size_t *held, size_t n) {
  size_t asked = 0, found = 0;
  for (size_t i = 0; i < n; i++) {
    bool again = false;
    for (size_t k = 0; k < i; k++) again = again || s->group[held[k]] == s->group[held[i]];
    if (again) continue;
    float best = -1;
    size_t above = 0;
    for (size_t k = 0; k < n; k++) {
      float cosine = kin_cosine(context, pictures + k * dim, texts + i * dim, dim);
      if (s->group[held[k]] == s->group[held[i]] && cosine > best) best = cosine;
    }
    for (size_t k = 0; k < n; k++)
      above += s->group[held[k]] != s->group[held[i]] &&
               kin_cosine(context, pictures + k * dim, texts + i * dim, dim) >= best;
    asked++, found += above < 10;
  }
  print_message("recall@10 %zu of %zu\n", found, asked);
  return (double)found / (double)asked;
}

/* The bridge is a model like any other: fitted without every fifth caption and opened again, it finds their pictures.
 */
static void works_as_a_model(void **state) {
  const kin_align_method method = *(const kin_align_method *)*state;
  kin_error err;
  kin_context *context;
  kin_model *bridge;
  stamps *s = read_stamps();
  char *images = test_material("vit-s-focus"), *texts = test_material("e5-small"), *out = test_temporary_folder();
  kin_captioned items[STAMPS];
  size_t held[STAMPS], n = 0, n_held = 0;
  for (size_t i = 0; i < STAMPS; i++)
    if (s->group[i] % HELD_OUT_IN == HELD_OUT_IN - 1)
      held[n_held++] = i;
    else
      items[n++] = s->items[i];
  test_assert_ok(kin_context_open(NULL, &context, &err), &err);
  kin_align_options options = {.holdout = -1, .lambda = 0.3, .method = method};
  test_assert_ok(kin_align_fit(context, images, texts, items, n, COLUMNS, out, &options, NULL, &err), &err);
  test_assert_ok(kin_model_open(context, out, &bridge, &err), &err);
  kin_model_info info;
  kin_model_get_info(bridge, &info);
  assert_string_equal(info.architecture, "bridge");
  assert_true(info.has_image && info.has_text);
  assert_int_equal(info.dim, 384);
  float *pictures = embed_pictures(bridge, s, held, n_held);
  for (size_t c = 0; c < COLUMNS; c++) {
    float *captions = embed_captions(bridge, s, held, n_held, c);
    assert_true(recall_of(context, pictures, captions, info.dim, s, held, n_held) >= least[c]);
    free(captions);
  }
  free(pictures);
  kin_model_close(bridge);
  kin_context_close(context);
  test_remove_tree(out);
  free(out), free(images), free(texts);
  free_stamps(s);
}

int main(void) {
#if TEST_SANITIZED
  printf("skipped: hundreds of pictures take too long under a sanitizer, where cli/test_align runs\n");
  return 77;
#endif
  static const char *const needed[] = {"vit-s-focus", "e5-small", "tuxpaint-stamps"};
  for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
    char *folder = test_material(needed[i]);
    if (!folder) {
      printf("skipped: fetch the material with: tools/materials.py %s\n", needed[i]);
      return 77;
    }
    free(folder);
  }
  static kin_align_method kernel = KIN_ALIGN_KERNEL, ridge = KIN_ALIGN_RIDGE;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(finds_captions_kept_apart),
      {"works_as_a_model (kernel)", works_as_a_model, NULL, NULL, &kernel},
      {"works_as_a_model (ridge)", works_as_a_model, NULL, NULL, &ridge},
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
