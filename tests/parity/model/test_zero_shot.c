/* Zero-shot classification on seeded CLIP weights against the softmax of transformers' logits_per_image, with labels in
 * English and, through the multilingual text tower, in Korean (tests/data/refs/classify_zero_shot.json). */
#include "base/json.h"
#include "seeded.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 16 };

typedef struct reference {
  json_t *json;
  size_t n_photos, n_labels, n_templates;
  char *photos[MOST];
  const char *labels[MOST], *korean[MOST], *templates[MOST];
} reference;

static size_t read_strings(const json_t *json, const char *key, const char **out) {
  const json_t *array = json_object_get(json, key);
  const size_t n = json_array_size(array);
  assert_true(n > 0 && n <= MOST);
  for (size_t i = 0; i < n; i++) out[i] = json_string_value(json_array_get(array, i));
  return n;
}

static reference open_reference(void) {
  kin_error err;
  reference r = {0};
  const char *names[MOST];
  char *path = test_source_path("tests/data/refs/classify_zero_shot.json");
  test_assert_ok(kin_json_load(path, 1 << 20, &r.json, &err), &err);
  free(path);
  r.n_photos = read_strings(r.json, "photos", names);
  r.n_labels = read_strings(r.json, "labels", r.labels);
  assert_int_equal(read_strings(r.json, "korean", r.korean), r.n_labels);
  r.n_templates = read_strings(r.json, "templates", r.templates);
  for (size_t i = 0; i < r.n_photos; i++) {
    char *relative = kin_format("tests/data/photos/%s", names[i]);
    r.photos[i] = test_source_path(relative);
    free(relative);
  }
  return r;
}

static void check(const reference *r, const char *key, const double *ours) {
  const json_t *rows = json_object_get(r->json, key);
  double worst = 0;
  for (size_t i = 0; i < r->n_photos; i++)
    for (size_t k = 0; k < r->n_labels; k++)
      worst =
          fmax(worst, fabs(ours[i * r->n_labels + k] - json_number_value(json_array_get(json_array_get(rows, i), k))));
  print_message("%s: probabilities off by at most %.2g\n", key, worst);
  if (!(worst <= 1e-4)) fail_msg("%s: off by %g", key, worst);
}

typedef struct shot {
  kin_context *context;
  const reference *r;
  kin_vector_set images;
  double scale;
} shot;

/* Labels in templates against the images; `opposite` NULL: by softmax. */
static void classify(const shot *s, kin_model *text_model, const char *const *labels, const char *const *templates,
                     size_t n_templates, const char *opposite, const char *key) {
  kin_error err;
  const size_t n = s->r->n_labels, dim = s->images.dim;
  float *with = calloc(n * dim, sizeof *with), *without = calloc(n * dim, sizeof *without);
  float *cosines = calloc(n * s->r->n_photos, sizeof *cosines);
  double *probabilities = calloc(n * s->r->n_photos, sizeof *probabilities);
  const kin_vector_set a = {with, n, dim}, b = {without, n, dim};
  test_assert_ok(kin_embed_labels(text_model, labels, n, KIN_TEMPLATES_PHOTOS, templates, n_templates, with, &err),
                 &err);
  if (opposite)
    test_assert_ok(kin_embed_labels(text_model, labels, n, KIN_TEMPLATES_PHOTOS, &opposite, 1, without, &err), &err);
  test_assert_ok(
      kin_zero_shot(s->context, &s->images, &a, opposite ? &b : NULL, s->scale, cosines, probabilities, &err), &err);
  check(s->r, key, probabilities);
  for (size_t i = 0; i < n * s->r->n_photos; i++) assert_true(cosines[i] >= -1 && cosines[i] <= 1);
  free(with), free(without), free(cosines), free(probabilities);
}

static kin_model *open_model(kin_context *context, const char *name) {
  kin_error err;
  kin_model *model;
  char *dir = seeded_model(name);
  test_assert_ok(kin_model_open(context, dir, &model, &err), &err);
  free(dir);
  return model;
}

static void test_transformers(void **state) {
  (void)state;
  kin_error err;
  if (!seeded_ready("clip-vit-b-32") || !seeded_ready("multilingual-clip")) skip();
  kin_context *context;
  test_assert_ok(kin_context_open(NULL, &context, &err), &err);
  reference r = open_reference();
  kin_model *clip = open_model(context, "clip-vit-b-32"), *multilingual = open_model(context, "multilingual-clip");
  kin_model_info info;
  kin_model_get_info(clip, &info);
  assert_true(fabs(info.logit_scale / json_number_value(json_object_get(r.json, "scale")) - 1) < 1e-6);
  kin_image_source sources[MOST] = {0};
  for (size_t i = 0; i < r.n_photos; i++) sources[i].path = r.photos[i];
  float *images = calloc(r.n_photos * info.dim, sizeof *images);
  test_assert_ok(kin_embed_images(clip, sources, r.n_photos, NULL, images, &err), &err);
  const shot s = {context, &r, {images, r.n_photos, info.dim}, info.logit_scale};
  classify(&s, clip, r.labels, (const char *const[]){"a photo of {}"}, 1, NULL, "plain");
  classify(&s, clip, r.labels, r.templates, r.n_templates, NULL, "ensemble");
  classify(&s, clip, r.labels, (const char *const[]){"with {}"}, 1, "without {}", "pairs");
  classify(&s, multilingual, r.korean, (const char *const[]){"{}"}, 1, NULL, "multilingual");
  free(images);
  for (size_t i = 0; i < r.n_photos; i++) free(r.photos[i]);
  json_decref(r.json);
  kin_model_close(clip), kin_model_close(multilingual);
  kin_context_close(context);
}

/* ---------------------------------------------------------------- templates */

static void test_templates(void **state) {
  (void)state;
  for (int set = KIN_TEMPLATES_PHOTOS; set <= KIN_TEMPLATES_TEXTS_WITHOUT; set++) {
    const char *const labels[] = {"a dog", "caf\xC3\xA9", "강아지", "собака"};
    for (size_t i = 0; i < 4; i++) {
      size_t n = 0;
      for (const char *t; (t = kin_default_template((kin_template_set)set, labels[i], n)); n++)
        assert_non_null(strstr(t, "{}"));
      assert_true(i == 3 ? n == 1 : n >= 2);
    }
  }
  assert_string_equal(kin_default_template(KIN_TEMPLATES_PHOTOS, "a dog", 1), "a photo of {}");
  assert_string_equal(kin_default_template(KIN_TEMPLATES_PHOTOS, "강아지", 1), "{} 사진");
  assert_null(kin_default_template(KIN_TEMPLATES_PHOTOS, "\xFF", 0));
}

static void test_bad_input(void **state) {
  (void)state;
  kin_error err;
  if (!seeded_ready("clip-tiny")) skip();
  kin_context *context;
  test_assert_ok(kin_context_open(NULL, &context, &err), &err);
  kin_model *clip = open_model(context, "clip-tiny"), *dino = open_model(context, "dinov2-tiny");
  const size_t dim = kin_model_dim(clip);
  const kin_status argument = KIN_ERR_ARGUMENT;
  float *out = calloc(4 * dim, sizeof *out), cosines[4];
  double probabilities[4];
  const char *const good[] = {"a", "b"}, *const empty[] = {"a", ""}, *const blank[] = {"a", "\xE3\x80\x80"};
  const char *const twice[] = {"a", "a"}, *const broken[] = {"a", "\xC3"}, *const hole[] = {"{}", "a photo"};
  const kin_template_set photos = KIN_TEMPLATES_PHOTOS;
  test_assert_error(kin_embed_labels(clip, good, 0, photos, NULL, 0, out, &err), argument, &err, "at least one label");
  test_assert_error(kin_embed_labels(clip, empty, 2, photos, NULL, 0, out, &err), argument, &err, "label 2 of 2");
  test_assert_error(kin_embed_labels(clip, blank, 2, photos, NULL, 0, out, &err), argument, &err, "empty");
  test_assert_error(kin_embed_labels(clip, twice, 2, photos, NULL, 0, out, &err), argument, &err, "twice");
  test_assert_error(kin_embed_labels(clip, broken, 2, photos, NULL, 0, out, &err), KIN_ERR_FORMAT, &err, "UTF-8");
  test_assert_error(kin_embed_labels(clip, good, 2, photos, hole, 2, out, &err), argument, &err, "no {}");
  test_assert_error(kin_embed_labels(clip, good, 2, photos, hole, 0, out, &err), argument, &err, "one template");
  test_assert_error(kin_embed_labels(dino, good, 2, photos, NULL, 0, out, &err), KIN_ERR_UNSUPPORTED, &err, "text");
  test_assert_ok(kin_embed_labels(clip, good, 2, photos, NULL, 0, out, &err), &err);
  const kin_vector_set one = {out, 1, dim}, two = {out, 2, dim}, other = {out, 2, dim - 1};
  test_assert_error(kin_zero_shot(context, &one, &one, NULL, 100, cosines, probabilities, &err), argument, &err,
                    "at least two");
  test_assert_error(kin_zero_shot(context, &one, &two, NULL, 0, cosines, probabilities, &err), argument, &err, "scale");
  test_assert_error(kin_zero_shot(context, &one, &other, NULL, 1, cosines, probabilities, &err), KIN_ERR_MISMATCH, &err,
                    "classes of");
  test_assert_error(kin_zero_shot(context, &one, &two, &one, 1, cosines, probabilities, &err), argument, &err,
                    "1 opposites");
  test_assert_ok(kin_zero_shot(context, &one, &one, &one, 100, cosines, probabilities, &err), &err);
  assert_true(probabilities[0] == 0.5);
  out[0] = NAN;
  test_assert_error(kin_zero_shot(context, &one, &two, NULL, 1, cosines, probabilities, &err), argument, &err,
                    "finite");
  free(out);
  kin_model_close(clip), kin_model_close(dino);
  kin_context_close(context);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_transformers), cmocka_unit_test(test_templates),
                                     cmocka_unit_test(test_bad_input)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
