/* The pipeline between doubles of the decoder, the tokenizer and the encoder: what reaches the encoder, in
 * which batches, and what the caller hears of it. */
#include "model/model.h"
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DIM = 4, CROP = 2, CROP_BYTES = CROP * CROP * 3 };

static _Atomic bool slow;
static _Atomic size_t loads;

/* The double: a picture's or text's vector is (first byte or length, 3, 4, 0). */
struct kin_model {
  kin_context context;
  kin_preprocess preprocess;
  bool no_image, no_text, zero, infinite;
  size_t fail_at; /* the batch at which the encoder fails; 0: never */
  size_t share;   /* pictures that a thread encodes alone; 0: none does */
  _Atomic size_t batches, alone;
  size_t sizes[512];
};

const kin_preprocess *kin_model_preprocess(const kin_model *model) {
  return model->no_image ? NULL : &model->preprocess;
}

const kin_tokenizer *kin_model_tokenizer(const kin_model *model) {
  return model->no_text ? NULL : (const kin_tokenizer *)model;
}

kin_context *kin_model_context(const kin_model *model) {
  return (kin_context *)&model->context;
}

const char *kin_model_dir(const kin_model *model) {
  (void)model;
  return "models/double";
}

const char *kin_model_prompt(const kin_model *model, kin_text_role role) {
  (void)model;
  return role == KIN_TEXT_QUERY ? "query: " : "";
}

size_t kin_model_dim(const kin_model *model) {
  (void)model;
  return DIM;
}

void kin_model_get_info(const kin_model *model, kin_model_info *out) {
  (void)model;
  *out = (kin_model_info){.dim = DIM, .text_context = 8};
}

static void encode_one(const kin_model *model, float first, float *row) {
  const float values[DIM] = {first, 3, 4, model->infinite ? INFINITY : 0};
  for (size_t i = 0; i < DIM; i++) row[i] = model->zero ? 0 : values[i];
}

size_t kin_model_share(const kin_model *model, size_t n) {
  return n < model->share ? n : model->share;
}

kin_status kin_model_encode_images(kin_model *model, const uint8_t *crops, size_t n, float *out, kin_error *err) {
  if (model->fail_at && model->batches >= model->fail_at) return kin_fail(err, KIN_ERR_MEMORY, "no memory to encode");
  model->sizes[model->batches++] = n;
  for (size_t i = 0; i < n; i++) encode_one(model, crops[i * CROP_BYTES], out + i * DIM);
  return KIN_OK;
}

kin_status kin_model_encode_images_alone(kin_model *model, const uint8_t *crops, size_t n, float *out, kin_error *err) {
  model->alone++;
  if (slow) usleep(300);
  return kin_model_encode_images(model, crops, n, out, err);
}

kin_status kin_model_encode_tokens(kin_model *model, const int32_t *const *ids, const size_t *lengths, size_t n,
                                   float *out, kin_error *err) {
  (void)err;
  model->sizes[model->batches++] = n;
  for (size_t i = 0; i < n; i++) {
    assert_int_equal(ids[i][0], 7);
    encode_one(model, (float)lengths[i], out + i * DIM);
  }
  return KIN_OK;
}

kin_status kin_tokenize(const kin_tokenizer *tokenizer, const char *text, size_t size, size_t max_tokens, int32_t **ids,
                        size_t *n_ids, kin_error *err) {
  (void)tokenizer;
  if (text[0] == '!') return kin_fail(err, KIN_ERR_FORMAT, "bad text %s", text);
  *n_ids = size + 2 < max_tokens ? size + 2 : max_tokens;
  *ids = kin_array(*n_ids, sizeof **ids);
  if (!*ids) return kin_fail(err, KIN_ERR_MEMORY, "out of memory");
  (*ids)[0] = 7;
  return KIN_OK;
}

/* "5.jpg" is a picture whose pixels are 5, and takes 5 x 50 microseconds with a slow model; "bad*" can't be read. */
kin_status kin_image_crop_file(const kin_preprocess *p, const char *path, const kin_crop_options *options, uint8_t *out,
                               uint32_t *width, uint32_t *height, kin_error *err) {
  (void)p;
  loads++;
  assert_int_equal(options->max_pixels, KIN_DEFAULT_MAX_PIXELS);
  if (slow) usleep(50 * (unsigned)(atoi(path) % 7));
  if (strncmp(path, "bad", 3) == 0) return kin_fail(err, KIN_ERR_FORMAT, "%s: damaged", path);
  memset(out, atoi(path), CROP_BYTES);
  *width = *height = CROP;
  return KIN_OK;
}

kin_status kin_image_crop(const kin_preprocess *p, const void *data, size_t size, const char *name,
                          const kin_crop_options *options, uint8_t *out, uint32_t *width, uint32_t *height,
                          kin_error *err) {
  (void)name;
  char path[32];
  snprintf(path, sizeof path, "%.*s", (int)size, (const char *)data);
  return kin_image_crop_file(p, path, options, out, width, height, err);
}

kin_status kin_preprocess_run(const kin_preprocess *p, const kin_image *image, uint8_t *out, kin_error *err) {
  (void)p, (void)err;
  memcpy(out, image->rgb, CROP_BYTES);
  return KIN_OK;
}

/* ------------------------------------------------------------- fixture */

static int open_model(void **state) {
  kin_model *model = calloc(1, sizeof *model);
  kin_error err;
  assert_non_null(model);
  test_assert_ok(kin_pool_open(2, &model->context.pool, &err), &err);
  model->preprocess.crop_width = model->preprocess.crop_height = CROP;
  *state = model;
  return 0;
}

static int close_model(void **state) {
  kin_model *model = *state;
  kin_pool_close(model->context.pool);
  free(model);
  return 0;
}

typedef struct diary {
  size_t count, stop_after;
  kin_item_report reports[64];
  char messages[64][80];
} diary;

static bool note(void *user, const kin_item_report *report) {
  diary *d = user;
  if (report->message) snprintf(d->messages[d->count], sizeof d->messages[0], "%s", report->message);
  d->reports[d->count++] = *report;
  return d->count != d->stop_after;
}

typedef struct ordered_diary {
  size_t count, bad, stop_after;
} ordered_diary;

static bool note_order(void *user, const kin_item_report *report) {
  ordered_diary *d = user;
  assert_int_equal(report->index, d->count++);
  d->bad += report->status != KIN_OK;
  return d->count != d->stop_after;
}

/* ---------------------------------------------------------------- tests */

static void bad_pictures_leave_the_others_alone(void **state) {
  kin_model *model = *state;
  static const char *const paths[] = {"bad1", "1", "2", "bad2", "bad3", "3", "4"};
  kin_image_source sources[7] = {0};
  for (size_t i = 0; i < 7; i++) sources[i].path = paths[i];
  diary d = {0};
  kin_embed_options options = {.raw = true, .batch = 3, .on_item = note, .user = &d};
  float out[7][DIM];
  memset(out, 0xFF, sizeof out);
  kin_error err;
  test_assert_ok(kin_embed_images(model, sources, 7, &options, out[0], &err), &err);
  /* No bad picture reaches the encoder. */
  size_t encoded = 0;
  for (size_t i = 0; i < model->batches; i++) encoded += model->sizes[i];
  assert_int_equal(encoded, 4);
  assert_int_equal(d.count, 7);
  for (size_t i = 0; i < 7; i++) {
    bool bad = paths[i][0] == 'b';
    assert_int_equal(d.reports[i].index, i);
    assert_int_equal(d.reports[i].status, bad ? KIN_ERR_FORMAT : KIN_OK);
    assert_int_equal(d.reports[i].width, bad ? 0 : CROP);
    assert_true(out[i][0] == (bad ? 0 : (float)atoi(paths[i])) && out[i][1] == (bad ? 0 : 3));
  }
  assert_string_equal(d.messages[3], "bad2: damaged");
}

static void a_batch_of_bad_pictures_is_not_encoded(void **state) {
  kin_model *model = *state;
  kin_image_source sources[] = {{.path = "bad1"}, {.path = "bad2"}};
  diary d = {0};
  kin_embed_options options = {.on_item = note, .user = &d};
  float out[2][DIM];
  kin_error err;
  test_assert_ok(kin_embed_images(model, sources, 2, &options, out[0], &err), &err);
  assert_int_equal(model->batches, 0);
  assert_int_equal(d.count, 2);
}

static void without_a_callback_the_first_bad_input_ends_it(void **state) {
  kin_model *model = *state;
  kin_image_source sources[] = {{.path = "1"}, {.path = "bad1"}, {.path = "bad2"}};
  float out[3][DIM];
  kin_error err;
  test_assert_error(kin_embed_images(model, sources, 3, NULL, out[0], &err), KIN_ERR_FORMAT, &err, "bad1: damaged");
  static const char *const texts[] = {"a", "!b", "!c"};
  test_assert_error(kin_embed_texts(model, texts, 3, NULL, out[0], &err), KIN_ERR_FORMAT, &err, "bad text !b");
}

static void a_callback_can_stop(void **state) {
  kin_model *model = *state;
  kin_image_source sources[10] = {0};
  for (size_t i = 0; i < 10; i++) sources[i].path = "1";
  diary d = {.stop_after = 3};
  kin_embed_options options = {.batch = 2, .on_item = note, .user = &d};
  float out[10][DIM];
  kin_error err;
  test_assert_error(kin_embed_images(model, sources, 10, &options, out[0], &err), KIN_ERR_CANCELLED, &err, "stopped");
  assert_int_equal(d.count, 3);
  assert_true(model->batches >= 2 && model->batches < 5);
}

enum { MANY = 300 };

/* Every 11th picture is bad. */
static void many_sources(kin_image_source *sources, char (*names)[16]) {
  for (size_t i = 0; i < MANY; i++) {
    snprintf(names[i], sizeof names[i], i % 11 == 5 ? "bad%zu" : "%zu", i % 251);
    sources[i] = (kin_image_source){.path = names[i]};
  }
}

static void check_row(const float *row, size_t i) {
  const bool bad = i % 11 == 5;
  assert_true(row[0] == (bad ? 0 : (float)(i % 251)) && row[1] == (bad ? 0 : 3));
}

/* Whatever the batch and the threads, and although pictures overtake one another. */
static void every_row_comes(kin_model *model, size_t share) {
  static kin_image_source sources[MANY];
  static char names[MANY][16];
  static float out[MANY][DIM];
  many_sources(sources, names);
  slow = true;
  for (unsigned threads = 1; threads <= 5; threads += 2)
    for (size_t batch = 1; batch <= 64; batch = batch * 3 + 1) {
      kin_error err;
      kin_pool_close(model->context.pool);
      test_assert_ok(kin_pool_open(threads, &model->context.pool, &err), &err);
      memset(out, 0xFF, sizeof out);
      ordered_diary d = {.stop_after = SIZE_MAX};
      kin_embed_stats stats;
      kin_embed_options options = {.raw = true, .batch = batch, .on_item = note_order, .user = &d, .stats = &stats};
      model->batches = model->alone = 0;
      model->share = batch / threads < share ? batch / threads : share;
      test_assert_ok(kin_embed_images(model, sources, MANY, &options, out[0], &err), &err);
      assert_int_equal(d.count, MANY);
      assert_int_equal(d.bad, MANY / 11);
      for (size_t i = 0; i < MANY; i++) check_row(out[i], i);
      for (size_t i = 0; i < model->batches; i++) assert_in_range(model->sizes[i], 1, batch);
      assert_int_equal(stats.batches, model->batches);
      assert_int_equal(model->alone, model->share ? model->batches : 0);
      assert_true(stats.seconds > 0 && stats.encoder_seconds >= 0 && stats.load_seconds > 0);
    }
  slow = false;
  model->share = 0;
}

static void every_row_comes_in_order(void **state) {
  every_row_comes(*state, 0);
}

static void threads_may_encode_alone(void **state) {
  every_row_comes(*state, 5);
}

/* Wherever it happens, the call ends with the encoder's error. */
static void a_failing_encoder_ends_it(void **state) {
  kin_model *model = *state;
  static kin_image_source sources[MANY];
  static char names[MANY][16];
  static float out[MANY][DIM];
  many_sources(sources, names);
  for (size_t share = 0; share < 5; share += 4)
    for (size_t fail_at = 1; fail_at < 20; fail_at += 6) {
      ordered_diary d = {.stop_after = SIZE_MAX};
      kin_embed_options options = {.batch = 8, .on_item = note_order, .user = &d};
      kin_error err;
      model->batches = 0;
      model->share = share;
      model->fail_at = fail_at;
      test_assert_error(kin_embed_images(model, sources, MANY, &options, out[0], &err), KIN_ERR_MEMORY, &err,
                        "no memory to encode");
      assert_true(d.count < MANY);
    }
}

static void stopping_anywhere_ends_the_loading(void **state) {
  kin_model *model = *state;
  static kin_image_source sources[MANY];
  static char names[MANY][16];
  static float out[MANY][DIM];
  many_sources(sources, names);
  slow = true;
  for (size_t stop_after = 1; stop_after < MANY; stop_after += 23) {
    ordered_diary d = {.stop_after = stop_after};
    kin_embed_options options = {.raw = true, .batch = 4, .on_item = note_order, .user = &d};
    kin_error err;
    loads = 0;
    model->batches = 0;
    model->share = stop_after % 3;
    test_assert_error(kin_embed_images(model, sources, MANY, &options, out[0], &err), KIN_ERR_CANCELLED, &err,
                      "stopped");
    assert_int_equal(d.count, stop_after);
    for (size_t i = 0; i < stop_after; i++) check_row(out[i], i);
    const size_t loaded = loads;
    assert_true(loaded < stop_after + 64); /* the queue is bounded */
    usleep(2000);
    assert_int_equal(loads, loaded); /* and nothing goes on after the call */
  }
  /* Without a callback it is the first bad one, although others are found before. */
  kin_error err;
  for (size_t i = 0; i < 50; i++)
    test_assert_error(kin_embed_images(model, sources, MANY, NULL, out[0], &err), KIN_ERR_FORMAT, &err,
                      "bad5: damaged");
  slow = false;
}

static void pictures_come_from_files_memory_and_pixels(void **state) {
  kin_model *model = *state;
  uint8_t pixels[CROP_BYTES];
  memset(pixels, 9, sizeof pixels);
  kin_image_source sources[] = {
      {.path = "5"}, {.data = "6", .data_size = 1}, {.rgb = pixels, .width = CROP, .height = CROP}};
  kin_embed_options options = {.raw = true};
  float out[3][DIM];
  kin_error err;
  test_assert_ok(kin_embed_images(model, sources, 3, &options, out[0], &err), &err);
  assert_true(out[0][0] == 5 && out[1][0] == 6 && out[2][0] == 9);
}

static void vectors_are_normalised_and_zero_stays_zero(void **state) {
  kin_model *model = *state;
  kin_image_source source = {.path = "0"};
  float out[DIM];
  kin_error err;
  test_assert_ok(kin_embed_images(model, &source, 1, NULL, out, &err), &err);
  assert_true(out[0] == 0 && out[1] == 0.6f && out[2] == 0.8f && out[3] == 0);
  model->zero = true;
  test_assert_ok(kin_embed_images(model, &source, 1, NULL, out, &err), &err);
  for (size_t i = 0; i < DIM; i++) assert_true(out[i] == 0);
}

static void a_vector_that_is_not_finite_is_refused(void **state) {
  kin_model *model = *state;
  model->infinite = true;
  kin_image_source source = {.path = "0"};
  const char *text = "x";
  float out[DIM];
  kin_error err;
  test_assert_error(kin_embed_images(model, &source, 1, NULL, out, &err), KIN_ERR_FORMAT, &err,
                    "models/double: the model gave a vector that isn't finite");
  test_assert_error(kin_embed_texts(model, &text, 1, NULL, out, &err), KIN_ERR_FORMAT, &err, "isn't finite");
}

static void texts_keep_their_rows(void **state) {
  kin_model *model = *state;
  static const char *const texts[] = {"12345678901", "1234", "!", "123", "", "12", "1"};
  static const float lengths[] = {8, 6, 0, 5, 2, 4, 3};
  diary d = {0};
  kin_embed_options options = {.raw = true, .batch = 4, .on_item = note, .user = &d};
  float out[7][DIM];
  kin_error err;
  test_assert_ok(kin_embed_texts(model, texts, 7, &options, out[0], &err), &err);
  assert_int_equal(model->batches, 2);
  assert_int_equal(model->sizes[0], 3); /* without the bad one */
  assert_int_equal(model->sizes[1], 3);
  for (size_t i = 0; i < 7; i++) {
    assert_int_equal(d.reports[i].index, i);
    assert_true(out[i][0] == lengths[i]);
  }
  assert_int_equal(d.reports[2].status, KIN_ERR_FORMAT);
}

static void a_role_puts_its_prompt_before_the_text(void **state) {
  kin_model *model = *state;
  const char *text = "!bad alone"; /* refused, unless a prompt stands before it */
  kin_embed_options options = {.raw = true, .role = KIN_TEXT_QUERY};
  float out[DIM];
  kin_error err;
  test_assert_ok(kin_embed_texts(model, &text, 1, &options, out, &err), &err);
  options.role = KIN_TEXT_DOCUMENT;
  test_assert_error(kin_embed_texts(model, &text, 1, &options, out, &err), KIN_ERR_FORMAT, &err, "bad text !bad");
  options.role = (kin_text_role)9;
  test_assert_error(kin_embed_texts(model, &text, 1, &options, out, &err), KIN_ERR_ARGUMENT, &err, "role 9");
}

static void many_texts_pass_in_batches(void **state) {
  kin_model *model = *state;
  char store[50][8];
  const char *texts[50];
  for (size_t i = 0; i < 50; i++) {
    snprintf(store[i], sizeof store[i], "%.*s", (int)(i % 6), "123456");
    texts[i] = store[i];
  }
  diary d = {0};
  kin_embed_options options = {.raw = true, .batch = 3, .on_item = note, .user = &d};
  float out[50][DIM];
  kin_error err;
  test_assert_ok(kin_embed_texts(model, texts, 50, &options, out[0], &err), &err);
  assert_int_equal(d.count, 50);
  for (size_t i = 0; i < 50; i++) assert_true(out[i][0] == (float)(i % 6 + 2));
}

static void broken_rules_are_named(void **state) {
  kin_model *model = *state;
  float out[DIM];
  kin_error err;
  kin_image_source none = {0}, both = {.path = "1", .data = "1", .data_size = 1};
  kin_image_source flat = {.rgb = (const uint8_t *)"x", .width = 0, .height = 3};
  const char *text = NULL;
  test_assert_error(kin_embed_images(model, &none, 1, NULL, out, &err), KIN_ERR_ARGUMENT, &err, "picture 0");
  test_assert_error(kin_embed_images(model, &both, 1, NULL, out, &err), KIN_ERR_ARGUMENT, &err, "exactly one");
  test_assert_error(kin_embed_images(model, &flat, 1, NULL, out, &err), KIN_ERR_ARGUMENT, &err, "width");
  test_assert_error(kin_embed_texts(model, &text, 1, NULL, out, &err), KIN_ERR_ARGUMENT, &err, "text 0");
  test_assert_error(kin_embed_images(NULL, NULL, 0, NULL, NULL, &err), KIN_ERR_ARGUMENT, &err, "model");
  test_assert_ok(kin_embed_images(model, NULL, 0, NULL, NULL, &err), &err);
  test_assert_ok(kin_embed_texts(model, NULL, 0, NULL, NULL, &err), &err);
  model->no_image = model->no_text = true;
  test_assert_error(kin_embed_images(model, &none, 1, NULL, out, &err), KIN_ERR_UNSUPPORTED, &err, "no image tower");
  test_assert_error(kin_embed_texts(model, &text, 1, NULL, out, &err), KIN_ERR_UNSUPPORTED, &err, "no text tower");
}

static void large_pixels_are_one_items_failure(void **state) {
  kin_model *model = *state;
  uint8_t pixels[CROP_BYTES] = {0};
  kin_image_source sources[] = {{.rgb = pixels, .width = 70000, .height = 70000}, {.path = "1"}};
  diary d = {0};
  kin_embed_options options = {.on_item = note, .user = &d};
  float out[2][DIM];
  kin_error err;
  test_assert_ok(kin_embed_images(model, sources, 2, &options, out[0], &err), &err);
  assert_int_equal(d.reports[0].status, KIN_ERR_LIMIT);
  assert_int_equal(d.reports[1].status, KIN_OK);
}

static void cosines(void **state) {
  (void)state;
  const float x[] = {3, 4, 0}, y[] = {-6, -8, 0}, z[] = {0, 0, 2}, zero[] = {0, 0, 0}, tiny[] = {1e-30f, 0, 0};
  assert_true(kin_cosine(NULL, x, x, 3) == 1);
  assert_true(kin_cosine(NULL, x, y, 3) == -1);
  assert_true(kin_cosine(NULL, x, z, 3) == 0);
  assert_true(kin_cosine(NULL, x, zero, 3) == 0);
  assert_true(kin_cosine(NULL, tiny, tiny, 3) == 1);
  assert_true(fabsf(kin_cosine(NULL, x, tiny, 3) - 0.6f) < 1e-6f);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_model, close_model)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(bad_pictures_leave_the_others_alone),
      TEST(a_batch_of_bad_pictures_is_not_encoded),
      TEST(without_a_callback_the_first_bad_input_ends_it),
      TEST(a_callback_can_stop),
      TEST(every_row_comes_in_order),
      TEST(threads_may_encode_alone),
      TEST(a_failing_encoder_ends_it),
      TEST(stopping_anywhere_ends_the_loading),
      TEST(pictures_come_from_files_memory_and_pixels),
      TEST(vectors_are_normalised_and_zero_stays_zero),
      TEST(a_vector_that_is_not_finite_is_refused),
      TEST(texts_keep_their_rows),
      TEST(a_role_puts_its_prompt_before_the_text),
      TEST(many_texts_pass_in_batches),
      TEST(broken_rules_are_named),
      TEST(large_pixels_are_one_items_failure),
      TEST(cosines),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
