/* The same input gives the same bytes: whatever the batch, the place in it, the number of threads, other callers,
 * the run or the instruction set. */
#include "refs.h"
#include "seeded.h"
#include "support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define INPUTS 17 /* at most */

typedef struct variant {
  const char *name;
  kin_isa isa;
  unsigned threads;
  size_t batch;
  size_t shift;   /* which of the inputs comes first */
  size_t callers; /* threads that embed with the one model at the same time */
} variant;

/* The first is what the others are compared with. */
static const variant variants[] = {
    {"one thread, one batch", KIN_ISA_AUTO, 1, 17, 0, 1},
    {"another run", KIN_ISA_AUTO, 1, 17, 0, 1},
    {"batches of 1", KIN_ISA_AUTO, 1, 1, 0, 1},
    {"batches of 5, other places", KIN_ISA_AUTO, 1, 5, 7, 1},
    {"2 threads", KIN_ISA_AUTO, 2, 17, 0, 1},
    {"3 threads, batches of 4", KIN_ISA_AUTO, 3, 4, 0, 1},
    {"2 callers at once", KIN_ISA_AUTO, 2, 6, 3, 2},
    {"avx512", KIN_ISA_AVX512, 2, 17, 0, 1},
    {"avx2", KIN_ISA_AVX2, 2, 17, 0, 1},
    {"scalar", KIN_ISA_SCALAR, 2, 17, 0, 1},
};

/* Full size adds wide and long products, for which batches of 1, 4, 5 and 6 will do: all 17 are for the small models.
 * Plain C is some hundred times slower: one photo and three texts. */
typedef struct subject {
  const char *model;
  size_t inputs, scalar_images, scalar_texts;
} subject;
static const subject subjects[] = {
    {"clip-tiny", INPUTS, 17, 17},    {"dinov2-tiny", INPUTS, 17, 17},
    {"clip-rn-tiny", INPUTS, 17, 17}, {"dinov2-registers-swiglu-tiny", INPUTS, 17, 17},
    {"roberta-tiny", INPUTS, 0, 17},
#if !TEST_SMALL
    {"clip-vit-b-32", 6, 1, 3},       {"dinov2-small", 6, 1, 0},
    {"clip-rn50", 6, 1, 0},           {"multilingual-clip", INPUTS, 0, 5},
#endif
};

typedef struct test_case {
  const subject *subject;
  const variant *variant;
} test_case;

/* What one caller embeds, and into what. */
typedef struct job {
  kin_model *model;
  const variant *variant;
  const refs *refs;
  size_t images, texts;
  float *out; /* images, then texts, in the order of the references */
  kin_status status;
  kin_error err;
} job;

/* Copy rows[i] to the place that input i had before the shift. */
static void put_back(float *out, const float *rows, size_t n, size_t shift, size_t dim) {
  for (size_t i = 0; i < n; i++) memcpy(out + (i + shift) % n * dim, rows + i * dim, dim * sizeof *rows);
}

static void *run_job(void *arg) {
  job *j = arg;
  const size_t dim = j->refs->dim, shift = j->variant->shift;
  const kin_embed_options options = {.raw = true, .batch = j->variant->batch};
  kin_image_source images[INPUTS];
  const char *texts[INPUTS];
  float *rows = calloc(INPUTS * dim, sizeof *rows);
  if (rows == NULL) {
    j->status = kin_fail(&j->err, KIN_ERR_MEMORY, "no memory");
    return NULL;
  }
  for (size_t i = 0; i < j->images; i++) images[i] = j->refs->images[(i + shift) % j->images];
  for (size_t i = 0; i < j->texts; i++) texts[i] = j->refs->texts[(i + shift) % j->texts];
  if (j->images > 0) {
    j->status = kin_embed_images(j->model, images, j->images, &options, rows, &j->err);
    put_back(j->out, rows, j->images, shift, dim);
  }
  if (j->status == KIN_OK && j->texts > 0) {
    j->status = kin_embed_texts(j->model, texts, j->texts, &options, rows, &j->err);
    put_back(j->out + j->images * dim, rows, j->texts, shift, dim);
  }
  free(rows);
  return NULL;
}

/* The vectors under `v` of the first `images` photos, then of the first `texts` texts, for each caller in turn;
 * NULL if the CPU lacks the instruction set. */
static float *embed(const char *name, const variant *v, const refs *r, size_t images, size_t texts) {
  kin_context *context;
  kin_model *model;
  kin_error err;
  const kin_status status = kin_context_open(&(kin_context_options){v->threads, v->isa}, &context, &err);
  if (status == KIN_ERR_UNSUPPORTED) return NULL;
  test_assert_ok(status, &err);
  char *dir = seeded_model(name);
  test_assert_ok(kin_model_open(context, dir, &model, &err), &err);
  const size_t size = (images + texts) * r->dim;
  float *out = calloc(v->callers * size, sizeof *out);
  assert_non_null(out);
  job jobs[2];
  pthread_t threads[2];
  assert_true(v->callers <= 2);
  for (size_t c = 0; c < v->callers; c++) {
    jobs[c] = (job){model, v, r, images, texts, out + c * size, KIN_OK, {0}};
    assert_int_equal(pthread_create(&threads[c], NULL, run_job, &jobs[c]), 0);
  }
  for (size_t c = 0; c < v->callers; c++) pthread_join(threads[c], NULL);
  for (size_t c = 0; c < v->callers; c++) test_assert_ok(jobs[c].status, &jobs[c].err);
  kin_model_close(model);
  kin_context_close(context);
  free(dir);
  return out;
}

/* Of the model under test; made by the first test of each. */
static float *baseline;
static const subject *baseline_subject;

static void make_baseline(const subject *s, const refs *r) {
  if (baseline_subject == s) return;
  free(baseline);
  baseline_subject = s;
  baseline = embed(s->model, &variants[0], r, r->n_images == 0 ? 0 : s->inputs, r->n_texts == 0 ? 0 : s->inputs);
}

static void check(void **state) {
  const test_case *t = *state;
  const subject *s = t->subject;
  const bool scalar = t->variant->isa == KIN_ISA_SCALAR;
  refs r;
  refs_open(s->model, &r);
  assert_true((r.n_images == 0 || r.n_images >= INPUTS) && (r.n_texts == 0 || r.n_texts >= INPUTS));
  assert_true(r.n_images + r.n_texts > 0);
  if (!seeded_ready(s->model)) {
    refs_close(&r);
    skip();
  }
  make_baseline(s, &r);
  const size_t all_images = r.n_images == 0 ? 0 : s->inputs, images = scalar ? s->scalar_images : all_images;
  const size_t texts = r.n_texts == 0 ? 0 : scalar ? s->scalar_texts : s->inputs;
  float *out = embed(s->model, t->variant, &r, images, texts);
  for (size_t c = 0; out != NULL && c < t->variant->callers; c++) {
    const float *mine = out + c * (images + texts) * r.dim;
    assert_memory_equal(mine, baseline, images * r.dim * sizeof *mine);
    assert_memory_equal(mine + images * r.dim, baseline + all_images * r.dim, texts * r.dim * sizeof *mine);
  }
  refs_close(&r);
  if (out == NULL) {
    print_message("  this CPU lacks %s\n", t->variant->name);
    skip();
  }
  free(out);
}

int main(void) {
  enum { SUBJECTS = sizeof subjects / sizeof *subjects, VARIANTS = sizeof variants / sizeof *variants };
  static struct CMUnitTest tests[SUBJECTS * (VARIANTS - 1)];
  static test_case cases[SUBJECTS * (VARIANTS - 1)];
  size_t n = 0;
  for (size_t s = 0; s < SUBJECTS; s++)
    for (size_t v = 1; v < VARIANTS; v++, n++) {
      cases[n] = (test_case){&subjects[s], &variants[v]};
      tests[n].name = kin_format("%s: %s", subjects[s].model, variants[v].name);
      tests[n].test_func = check;
      tests[n].initial_state = &cases[n];
    }
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  for (size_t i = 0; i < n; i++) free((char *)(uintptr_t)tests[i].name);
  free(baseline);
  return failed;
}
