/* Copies that are made here: of bytes, of pictures, of vectors; links, files that change, bad input. */
#include "image/image.h"
#include "support.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST = 200 };

typedef struct fixture {
  kin_context *context;
  char *folder;
  char *paths[MOST];
  kin_duplicate_item items[MOST];
  float vectors[MOST][2];
  size_t n;
  size_t failures;
  kin_status failure;
} fixture;

static int open_fixture(void **state) {
  fixture *f = calloc(1, sizeof *f);
  kin_error err;
  if (!f || kin_context_open(&(kin_context_options){.threads = 2}, &f->context, &err) != KIN_OK) return -1;
  f->folder = test_temporary_folder();
  *state = f;
  return 0;
}

static int close_fixture(void **state) {
  fixture *f = *state;
  for (size_t i = 0; i < f->n; i++) free(f->paths[i]);
  test_remove_tree(f->folder);
  free(f->folder);
  kin_context_close(f->context);
  free(f);
  return 0;
}

/* The next item; its file is made by others. */
static const char *add(fixture *f, const char *name, bool is_picture) {
  assert_true(f->n < MOST);
  char *path = f->paths[f->n] = kin_format("%s/%s", f->folder, name);
  assert_non_null(path);
  f->items[f->n] = (kin_duplicate_item){.path = path, .is_picture = is_picture};
  f->vectors[f->n][0] = 1, f->vectors[f->n][1] = (float)f->n * 1e-3f;
  f->n++;
  return path;
}

static void add_text(fixture *f, const char *name, const char *content) {
  add(f, name, false);
  test_write_file(f->folder, name, content, strlen(content));
}

static void on_failure(void *user, size_t item, kin_status status, const char *message) {
  fixture *f = user;
  assert_true(item < f->n);
  assert_non_null(strstr(message, f->paths[item]));
  f->failures++, f->failure = status;
}

static kin_duplicates find(fixture *f, bool with_vectors) {
  const kin_duplicates_options options = {.neighbours = MOST, .on_failure = on_failure, .user = f};
  const kin_vector_set set = {f->vectors[0], f->n, 2};
  kin_duplicates out;
  kin_error err;
  f->failures = 0;
  test_assert_ok(kin_find_duplicates(f->context, f->items, f->n, with_vectors ? &set : NULL, &options, &out, &err),
                 &err);
  return out;
}

/* Group `g` is exactly these items of these kinds. */
static void check_group(const kin_duplicates *d, size_t g, const size_t *items, const kin_copy_kind *kinds, size_t n) {
  assert_true(g < d->n_groups);
  assert_int_equal(d->first[g + 1] - d->first[g], n);
  for (size_t i = 0; i < n; i++) {
    assert_int_equal(d->copies[d->first[g] + i].item, items[i]);
    assert_int_equal(d->copies[d->first[g] + i].kind, kinds[i]);
  }
}

/* -------------------------------------------------------------------- files */

static void set_age(const char *path, long seconds) {
  const struct timespec times[2] = {{1700000000 - seconds, 0}, {1700000000 - seconds, 0}};
  assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void test_bytes_and_links(void **state) {
  fixture *f = *state;
  add_text(f, "a", "some text"), add_text(f, "b", "some text"), add_text(f, "c", "same size");
  add_text(f, "d", "longer than that"), add_text(f, "e", "longer than that"), add_text(f, "f", "longer than that");
  add_text(f, "empty1", ""), add_text(f, "empty2", "");
  assert_int_equal(link(f->paths[3], add(f, "hard", false)), 0);
  assert_int_equal(symlink("b", add(f, "soft", false)), 0);
  assert_int_equal(link(f->paths[2], add(f, "lone", false)), 0); /* the same file only: no copy */
  add(f, "missing", false);
  for (size_t i = 0; i < 6; i++) set_age(f->paths[i], i == 4 ? 50 : 10);
  set_age(f->paths[1], 5);
  kin_duplicates d = find(f, false);
  assert_int_equal(d.n_groups, 2);
  check_group(&d, 0, (size_t[]){0, 1, 9}, (kin_copy_kind[]){KIN_COPY_BEST, KIN_COPY_BYTES, KIN_COPY_LINK}, 3);
  check_group(&d, 1, (size_t[]){4, 3, 8, 5},
              (kin_copy_kind[]){KIN_COPY_BEST, KIN_COPY_BYTES, KIN_COPY_LINK, KIN_COPY_BYTES}, 4);
  assert_int_equal(d.copies[0].bytes, 9);
  assert_string_equal(d.copies[0].sha256, d.copies[1].sha256);
  /* sha256sum of "some text" */
  assert_string_equal(d.copies[0].sha256, "b94f6f125c79e3a5ffaa826f584c10d52ada669e6762051b826b55776d05aed2");
  assert_int_equal(f->failures, 1);
  assert_int_equal(f->failure, KIN_ERR_IO);
  kin_duplicates_free(&d);
}

/* ----------------------------------------------------------------- pictures */

static kin_image window_of(const kin_image *in, uint32_t x, uint32_t y, uint32_t width, uint32_t height) {
  kin_image out = {width, height, malloc((size_t)width * height * 3)};
  assert_non_null(out.rgb);
  for (uint32_t row = 0; row < height; row++)
    memcpy(out.rgb + (size_t)row * width * 3, in->rgb + ((size_t)(y + row) * in->width + x) * 3, (size_t)width * 3);
  return out;
}

/* A quarter turn, or with `mirror` left to right. */
static kin_image moved(const kin_image *in, bool mirror) {
  kin_image out = {mirror ? in->width : in->height, mirror ? in->height : in->width, NULL};
  out.rgb = malloc((size_t)in->width * in->height * 3);
  assert_non_null(out.rgb);
  for (uint32_t y = 0; y < in->height; y++)
    for (uint32_t x = 0; x < in->width; x++) {
      const size_t to =
          mirror ? (size_t)y * in->width + (in->width - 1 - x) : (size_t)x * in->height + (in->height - 1 - y);
      memcpy(out.rgb + to * 3, in->rgb + ((size_t)y * in->width + x) * 3, 3);
    }
  return out;
}

static kin_image brighter(const kin_image *in) {
  kin_image out = window_of(in, 0, 0, in->width, in->height);
  for (size_t i = 0; i < (size_t)out.width * out.height * 3; i++)
    out.rgb[i] = (uint8_t)(out.rgb[i] * 1.25 > 255 ? 255 : out.rgb[i] * 1.25);
  return out;
}

static kin_image resized(const kin_image *in, uint32_t width, uint32_t height) {
  kin_image out;
  kin_error err;
  test_assert_ok(kin_image_resize(in, width, height, KIN_FILTER_BICUBIC, &out, &err), &err);
  return out;
}

static void save(fixture *f, const char *photo, const char *name, kin_image image, int quality) {
  char file[128];
  uint8_t *jpeg;
  size_t size;
  kin_error err;
  snprintf(file, sizeof file, "%s-%s.jpg", photo, name);
  test_assert_ok(kin_image_encode_jpeg(&image, quality, &jpeg, &size, &err), &err);
  add(f, file, true);
  test_write_file(f->folder, file, jpeg, size);
  free(jpeg);
  kin_image_free(&image);
}

enum { VARIANTS = 8 };
static const kin_copy_kind variant_kinds[VARIANTS] = {KIN_COPY_BEST,     KIN_COPY_PICTURE, KIN_COPY_PICTURE,
                                                      KIN_COPY_PICTURE,  KIN_COPY_PART,    KIN_COPY_PART,
                                                      KIN_COPY_MIRRORED, KIN_COPY_TURNED};

/* A photo and what people make of one. */
static void add_variants(fixture *f, const char *photo) {
  char relative[128];
  kin_image image;
  kin_error err;
  snprintf(relative, sizeof relative, "tests/data/photos/%s", photo);
  char *path = test_source_path(relative);
  test_assert_ok(kin_image_decode_file(path, 0, &image, &err), &err);
  free(path);
  const uint32_t w = image.width, h = image.height;
  save(f, photo, "0", window_of(&image, 0, 0, w, h), 95);
  save(f, photo, "1-poor", window_of(&image, 0, 0, w, h), 25);
  save(f, photo, "2-small", resized(&image, w * 2 / 5, h * 2 / 5), 85);
  save(f, photo, "3-bright", brighter(&image), 90);
  save(f, photo, "4-large-part", window_of(&image, w / 20, h / 10, w * 17 / 20, h * 4 / 5), 90);
  save(f, photo, "5-small-part", window_of(&image, w / 4, h / 5, w * 11 / 20, h * 3 / 5), 90);
  save(f, photo, "6-mirrored", moved(&image, true), 90);
  save(f, photo, "7-turned", moved(&image, false), 90);
  kin_image_free(&image);
}

static void test_pictures(void **state) {
  fixture *f = *state;
  static const char *const photos[] = {"china.jpg", "crocodile.jpg", "dam.jpg",
                                       "moose.jpg", "pan.jpg",       "solar-cooker.jpg"};
  enum { PHOTOS = sizeof photos / sizeof *photos };
  for (size_t i = 0; i < PHOTOS; i++) add_variants(f, photos[i]);
  kin_duplicates d = find(f, true);
  assert_int_equal(f->failures, 0);
  assert_int_equal(d.n_groups, PHOTOS);
  for (size_t g = 0; g < PHOTOS; g++) {
    assert_int_equal(d.first[g + 1] - d.first[g], VARIANTS);
    const kin_copy *best = &d.copies[d.first[g]];
    assert_int_equal(best->item, g * VARIANTS);
    for (size_t i = 0; i < VARIANTS; i++) {
      const kin_copy *copy = best + i;
      assert_int_equal(copy->item / VARIANTS, g);
      assert_int_equal(copy->kind, variant_kinds[copy->item % VARIANTS]);
      if (copy->item % VARIANTS == 4) assert_true(fabsf(copy->share - 0.68f) < 0.05f);
      if (copy->item % VARIANTS == 5) assert_true(fabsf(copy->share - 0.33f) < 0.05f);
      if (copy->item % VARIANTS <= 2) assert_true(copy->hash_distance <= 8);
    }
  }
  kin_duplicates_free(&d);
}

/* What has more than the largest picture is never given up for it: a part of it that was scaled up isn't the best. */
static void test_enlarged_part(void **state) {
  fixture *f = *state;
  kin_image image, part;
  kin_error err;
  char *path = test_source_path("tests/data/photos/china.jpg");
  test_assert_ok(kin_image_decode_file(path, 0, &image, &err), &err);
  free(path);
  part = window_of(&image, image.width / 4, image.height / 4, image.width / 2, image.height / 2);
  save(f, "x", "0-part", resized(&part, part.width * 3, part.height * 3), 90);
  save(f, "x", "1-whole", window_of(&image, 0, 0, image.width, image.height), 90);
  kin_image_free(&image), kin_image_free(&part);
  kin_duplicates d = find(f, true);
  assert_int_equal(d.n_groups, 1);
  check_group(&d, 0, (size_t[]){1, 0}, (kin_copy_kind[]){KIN_COPY_BEST, KIN_COPY_PART}, 2);
  kin_duplicates_free(&d);
}

/* The best has a frame, which what is mirrored lacks: a copy without one vouches for it. */
static void test_frame(void **state) {
  fixture *f = *state;
  kin_image image, framed;
  kin_error err;
  char *path = test_source_path("tests/data/photos/moose.jpg");
  test_assert_ok(kin_image_decode_file(path, 0, &image, &err), &err);
  free(path);
  const uint32_t frame = image.width / 16;
  framed = (kin_image){image.width + 2 * frame, image.height + 2 * frame, NULL};
  const size_t bytes = (size_t)framed.width * framed.height * 3;
  framed.rgb = malloc(bytes);
  assert_non_null(framed.rgb);
  memset(framed.rgb, 255, bytes);
  for (uint32_t y = 0; y < image.height; y++)
    memcpy(framed.rgb + ((size_t)(y + frame) * framed.width + frame) * 3, image.rgb + (size_t)y * image.width * 3,
           (size_t)image.width * 3);
  save(f, "x", "0-framed", framed, 90);
  save(f, "x", "1-mirrored", moved(&image, true), 90);
  save(f, "x", "2-turned", moved(&image, false), 90);
  save(f, "x", "3", window_of(&image, 0, 0, image.width, image.height), 30);
  kin_image_free(&image);
  kin_duplicates d = find(f, true);
  assert_int_equal(d.n_groups, 1);
  assert_int_equal(d.first[1], 4);
  static const kin_copy_kind kinds[] = {KIN_COPY_BEST, KIN_COPY_MIRRORED, KIN_COPY_TURNED, KIN_COPY_PART};
  for (size_t i = 0; i < 4; i++) assert_int_equal(d.copies[i].kind, kinds[d.copies[i].item]);
  kin_duplicates_free(&d);
}

/* A mirrored copy of more bytes isn't the best where others match the original; one of more pixels is, and parts of the
 * original are then known through it. */
static void test_mirrored_twin(void **state) {
  fixture *f = *state;
  kin_image image;
  kin_error err;
  char *path = test_source_path("tests/data/photos/moose.jpg");
  test_assert_ok(kin_image_decode_file(path, 0, &image, &err), &err);
  free(path);
  const uint32_t w = image.width, h = image.height;
  save(f, "x", "0-mirrored", moved(&image, true), 98);
  save(f, "x", "1", window_of(&image, 0, 0, w, h), 85);
  save(f, "x", "2-small", resized(&image, w / 2, h / 2), 85);
  save(f, "x", "3-part", window_of(&image, w / 4, h / 5, w * 11 / 20, h * 3 / 5), 90);
  save(f, "x", "4-turned", moved(&image, false), 98);
  kin_duplicates d = find(f, true);
  assert_int_equal(d.n_groups, 1);
  assert_int_equal(d.first[1], 5);
  static const kin_copy_kind kinds[] = {KIN_COPY_MIRRORED, KIN_COPY_BEST, KIN_COPY_PICTURE, KIN_COPY_PART,
                                        KIN_COPY_TURNED};
  assert_int_equal(d.copies[0].item, 1);
  for (size_t i = 0; i < 5; i++) assert_int_equal(d.copies[i].kind, kinds[d.copies[i].item]);
  kin_duplicates_free(&d);
  kin_image large = resized(&image, w * 3 / 2, h * 3 / 2);
  save(f, "x", "5-large", moved(&large, true), 90);
  kin_image_free(&large), kin_image_free(&image);
  d = find(f, true);
  assert_int_equal(d.n_groups, 1);
  assert_int_equal(d.first[1], 6);
  static const kin_copy_kind others[] = {KIN_COPY_PICTURE, KIN_COPY_MIRRORED, KIN_COPY_MIRRORED,
                                         KIN_COPY_PART,    KIN_COPY_TURNED,   KIN_COPY_BEST};
  for (size_t i = 0; i < 6; i++) assert_int_equal(d.copies[i].kind, others[d.copies[i].item]);
  kin_duplicates_free(&d);
}

/* Copies in bytes of a near copy come along; one that can't be decoded is found by its bytes alone. */
static void test_bytes_among_pictures(void **state) {
  fixture *f = *state;
  add_variants(f, "moose.jpg");
  char *data;
  size_t size;
  kin_error err;
  test_assert_ok(kin_read_file(f->paths[2], 1 << 24, &data, &size, &err), &err);
  add(f, "again.jpg", true);
  test_write_file(f->folder, "again.jpg", data, size);
  free(data);
  for (int i = 0; i < 2; i++) {
    const char *name = i ? "broken2.jpg" : "broken1.jpg";
    add(f, name, true);
    test_write_file(f->folder, name, "no picture", 10);
  }
  kin_duplicates d = find(f, true);
  assert_int_equal(f->failures, 1);
  assert_int_equal(d.n_groups, 1);
  assert_int_equal(d.first[1], VARIANTS + 1);
  size_t found = 0;
  for (size_t i = 0; i < d.first[1]; i++)
    if (d.copies[i].item == VARIANTS) found++, assert_int_equal(d.copies[i].kind, KIN_COPY_PICTURE);
  assert_int_equal(found, 1);
  kin_duplicates_free(&d);
}

/* ------------------------------------------------------------------ vectors */

static void test_vectors(void **state) {
  fixture *f = *state;
  static const float angles[] = {0, 1, 2, 90, 90.5f, 180, 268, 270};
  enum { N = sizeof angles / sizeof *angles };
  float values[N][2];
  kin_duplicate_item items[N] = {{0}};
  for (size_t i = 0; i < N; i++) {
    const float radians = angles[i] * 3.14159265f / 180, length = 1 + (float)i;
    values[i][0] = cosf(radians) * length, values[i][1] = sinf(radians) * length;
  }
  const kin_duplicates_options options = {.min_cosine = cos(1.5 * 3.14159265 / 180)};
  kin_vector_set set = {values[0], N, 2};
  kin_duplicates d;
  kin_error err;
  test_assert_ok(kin_find_duplicates(f->context, items, N, &set, &options, &d, &err), &err);
  assert_int_equal(d.n_groups, 2); /* 0 and 2 are joined by 1, but too far apart to be copies of each other */
  check_group(&d, 0, (size_t[]){0, 1}, (kin_copy_kind[]){KIN_COPY_BEST, KIN_COPY_VECTOR}, 2);
  check_group(&d, 1, (size_t[]){3, 4}, (kin_copy_kind[]){KIN_COPY_BEST, KIN_COPY_VECTOR}, 2);
  assert_true(fabs(d.copies[1].cosine - cos(3.14159265 / 180)) < 1e-6);
  kin_duplicates_free(&d);
  /* All the same, more than there are neighbours. */
  enum { SAME = 100 };
  static float same[SAME][2];
  static kin_duplicate_item many[SAME];
  for (size_t i = 0; i < SAME; i++) same[i][0] = 3, same[i][1] = 4;
  set = (kin_vector_set){same[0], SAME, 2};
  test_assert_ok(kin_find_duplicates(f->context, many, SAME, &set, NULL, &d, &err), &err);
  assert_int_equal(d.n_groups, 1);
  assert_int_equal(d.first[1], SAME);
  kin_duplicates_free(&d);
}

/* Beyond `exhaustive` vectors, cells find the copies too: 200 of 3,000, each a little off. */
static void test_cells(void **state) {
  fixture *f = *state;
  enum { N = 3000, COPIES = 200, DIM = 24 };
  float *values = test_random_floats((size_t)N * DIM, 5);
  uint64_t seed = 6;
  for (size_t i = 0; i < COPIES; i++)
    for (size_t d = 0; d < DIM; d++) values[(N - 1 - i) * DIM + d] = values[i * DIM + d] + 0.03f * test_random(&seed);
  for (size_t d = 0; d < DIM; d++) values[1000 * DIM + d] = 0;
  kin_duplicate_item *items = calloc(N, sizeof *items);
  assert_non_null(items);
  const kin_vector_set set = {values, N, DIM};
  kin_duplicates found[2];
  kin_error err;
  for (size_t i = 0; i < 2; i++) {
    const kin_duplicates_options options = {.exhaustive = i ? 1 : N};
    test_assert_ok(kin_find_duplicates(f->context, items, N, &set, &options, &found[i], &err), &err);
    assert_int_equal(found[i].n_groups, COPIES);
    for (size_t g = 0; g < COPIES; g++)
      check_group(&found[i], g, (size_t[]){g, N - 1 - g}, (kin_copy_kind[]){KIN_COPY_BEST, KIN_COPY_VECTOR}, 2);
    kin_duplicates_free(&found[i]);
  }
  /* Far more of the same than a cell is to hold. */
  for (size_t i = 0; i < (size_t)N * DIM; i++) values[i] = 1;
  const kin_duplicates_options options = {.exhaustive = 1, .neighbours = 2};
  test_assert_ok(kin_find_duplicates(f->context, items, N, &set, &options, &found[0], &err), &err);
  assert_true(found[0].n_groups >= 1 && found[0].first[found[0].n_groups] == N);
  kin_duplicates_free(&found[0]);
  free(items), free(values);
}

static void add_words(fixture *f, const char *text) {
  char name[16];
  snprintf(name, sizeof name, "%zu", f->n);
  add(f, name, false);
  test_write_file(f->folder, name, name, strlen(name)); /* whose bytes differ: `text` is what it says */
  f->items[f->n - 1].text = text;
}

static void test_texts(void **state) {
  fixture *f = *state;
  add_words(f,
            "The road over the hills was white with snow, and nobody had gone along it since the morning. Far away a "
            "dog barked; then all was still again.");
  add_words(
      f, "the ROAD over the hills was white with snow \xE2\x80\x94 and nobody had gone along it since the evening. Far "
         "away a dog barked; then all was still again");
  add_words(f, "Far away a dog barked; then all was still again. Snow!");
  add_words(
      f,
      "White hills, a road in the snow, and nobody there since the morning; a dog barked far away, and all was still.");
  add_words(f, "\xEB\x88\x88\xEC\x9D\xB4 \xEC\x99\x94\xEB\x8B\xA4");
  add_words(f, "\xEB\x88\x88\xEC\x9D\xB4 \xEC\x99\x94\xEB\x8B\xA4!");
  add_words(f, ""), add_words(f, " ");
  kin_duplicates d = find(f, true);
  assert_int_equal(d.n_groups, 2);
  check_group(&d, 0, (size_t[]){0, 1, 2}, (kin_copy_kind[]){KIN_COPY_BEST, KIN_COPY_TEXT, KIN_COPY_PART}, 3);
  check_group(&d, 1, (size_t[]){4, 5}, (kin_copy_kind[]){KIN_COPY_BEST, KIN_COPY_TEXT}, 2);
  /* 28 words are 26 runs, of which one word changed is in three. */
  assert_true(fabsf(d.copies[1].likeness - 23.0f / 29) < 1e-6f);
  /* 8 of its 9 runs. */
  assert_true(fabsf(d.copies[2].likeness - 8.0f / 9) < 1e-6f);
  kin_duplicates_free(&d);
}

static void test_few(void **state) {
  fixture *f = *state;
  kin_duplicates d;
  kin_error err;
  test_assert_ok(kin_find_duplicates(f->context, NULL, 0, NULL, NULL, &d, &err), &err);
  assert_int_equal(d.n_groups, 0);
  kin_duplicates_free(&d);
  add_text(f, "one", "text");
  d = find(f, true);
  assert_int_equal(d.n_groups, 0);
  kin_duplicates_free(&d);
  const kin_vector_set two = {f->vectors[0], 2, 2};
  test_assert_error(kin_find_duplicates(f->context, f->items, 1, &two, NULL, &d, &err), KIN_ERR_ARGUMENT, &err,
                    "1 items, but 2 vectors");
  f->vectors[0][1] = NAN;
  const kin_vector_set bad = {f->vectors[0], 1, 2};
  test_assert_error(kin_find_duplicates(f->context, f->items, 1, &bad, NULL, &d, &err), KIN_ERR_ARGUMENT, &err,
                    "finite");
  test_assert_error(kin_find_duplicates(NULL, f->items, 1, NULL, NULL, &d, &err), KIN_ERR_ARGUMENT, &err, "context");
}

static bool stop(void *user, const char *stage, size_t done, size_t total) {
  (void)stage, (void)done, (void)total;
  return ++*(int *)user < 2;
}

static void test_cancel(void **state) {
  fixture *f = *state;
  add_text(f, "a", "text"), add_text(f, "b", "text");
  int calls = 0;
  const kin_duplicates_options options = {.on_progress = stop, .user = &calls};
  kin_duplicates d;
  kin_error err;
  test_assert_error(kin_find_duplicates(f->context, f->items, f->n, NULL, &options, &d, &err), KIN_ERR_CANCELLED, &err,
                    "stopped while");
  assert_int_equal(calls, 2);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)
  const struct CMUnitTest tests[] = {TEST(test_bytes_and_links), TEST(test_pictures),
                                     TEST(test_enlarged_part),   TEST(test_frame),
                                     TEST(test_mirrored_twin),   TEST(test_bytes_among_pictures),
                                     TEST(test_vectors),         TEST(test_cells),
                                     TEST(test_texts),           TEST(test_few),
                                     TEST(test_cancel)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
