/* Real weights: all-MiniLM-L6-v2 against sentence-transformers, and whether paraphrases come first. */
#include "base/json.h"
#include "refs.h"
#include "support.h"
#include "weights/weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A line of order.tsv: a sentence, a paraphrase, another statement on the same things, something else. */
enum { TEXTS = 60, LINES = 20, COLUMNS = 4 };

static void open_model(kin_context **context, kin_model **model) {
  kin_error err;
  char *folder = test_material("minilm");
  test_assert_ok(kin_context_open(NULL, context, &err), &err);
  test_assert_ok(kin_model_open(*context, folder, model, &err), &err);
  free(folder);
}

static void vectors_equal_sentence_transformers(void **state) {
  (void)state;
  kin_error err;
  kin_context *context;
  kin_model *model;
  open_model(&context, &model);
  const size_t dim = kin_model_dim(model);
  char *list_path = test_source_path("tests/data/texts.json"), *data = test_source_path("tests/data/minilm");
  json_t *list;
  test_assert_ok(kin_json_load(list_path, 1u << 24, &list, &err), &err);
  assert_int_equal(json_array_size(list), TEXTS);
  const char *texts[TEXTS];
  for (size_t i = 0; i < TEXTS; i++) texts[i] = json_string_value(json_array_get(list, i));
  float *vectors = calloc(TEXTS * dim, sizeof *vectors), *expected = NULL;
  assert_non_null(vectors);
  test_assert_ok(kin_embed_texts(model, texts, TEXTS, NULL, vectors, &err), &err);
  kin_weights *reference = NULL;
  test_assert_ok(kin_weights_open(data, "vectors.safetensors", &reference, &err), &err);
  test_assert_ok(kin_weights_load(reference, "vectors", 2, (size_t[]){TEXTS, dim}, &expected, &err), &err);
  double most = 0;
  for (size_t i = 0; i < TEXTS; i++)
    most = fmax(most, refs_assert_near(vectors + i * dim, expected + i * dim, dim, texts[i]));
  print_message("relative error at most %.2g\n", most);
  kin_free_aligned(expected);
  kin_weights_close(reference);
  json_decref(list);
  free(vectors), free(data), free(list_path);
  kin_model_close(model);
  kin_context_close(context);
}

static void paraphrases_come_first(void **state) {
  (void)state;
  kin_error err;
  kin_context *context;
  kin_model *model;
  open_model(&context, &model);
  const size_t dim = kin_model_dim(model);
  char *lines[LINES], *rest = NULL;
  const char *texts[LINES][COLUMNS];
  assert_int_equal(test_read_lines("tests/data/minilm/order.tsv", lines, LINES), LINES);
  for (size_t i = 0; i < LINES; i++)
    for (size_t c = 0; c < COLUMNS; c++) {
      texts[i][c] = strtok_r(c ? NULL : lines[i], "\t", &rest);
      assert_non_null(texts[i][c]);
    }
  float *vectors = calloc(LINES * COLUMNS * dim, sizeof *vectors);
  assert_non_null(vectors);
  test_assert_ok(kin_embed_texts(model, &texts[0][0], LINES * COLUMNS, NULL, vectors, &err), &err);
  for (size_t i = 0; i < LINES; i++) {
    float likeness[COLUMNS];
    const float *row = vectors + i * COLUMNS * dim;
    for (size_t c = 1; c < COLUMNS; c++) likeness[c] = kin_cosine(context, row, row + c * dim, dim);
    if (!(likeness[1] > likeness[2] && likeness[2] > likeness[3]))
      fail_msg("\"%s\": %.3f, %.3f, %.3f", texts[i][0], (double)likeness[1], (double)likeness[2], (double)likeness[3]);
    for (size_t k = 0; k < LINES * COLUMNS; k++)
      if (k / COLUMNS != i && kin_cosine(context, row, vectors + k * dim, dim) >= likeness[1])
        fail_msg("\"%s\" is nearer to \"%s\" than to its paraphrase", texts[i][0], texts[k / COLUMNS][k % COLUMNS]);
  }
  for (size_t i = 0; i < LINES; i++) free(lines[i]);
  free(vectors);
  kin_model_close(model);
  kin_context_close(context);
}

int main(void) {
  char *folder = test_material("minilm");
  if (!folder) {
    puts("skipped: fetch the material with: tools/materials.py minilm");
    return 77;
  }
  free(folder);
  const struct CMUnitTest tests[] = {cmocka_unit_test(vectors_equal_sentence_transformers),
                                     cmocka_unit_test(paraphrases_come_first)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
