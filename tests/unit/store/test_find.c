/* Every part of a query against what a plain calculation over all vectors says. */
#include "fake_encoder.h"
#include "support.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIM 24
#define FOLDERS 11 /* 6 of them hold files */
#define N 400
#define FIRST_DAY 1704067200 /* 2024-01-01, UTC */

typedef struct item {
  char path[4096];
  int64_t id;
  size_t folder;
  uint32_t width;
  float vector[DIM];
  double score;
} item;

typedef struct fixture {
  char *folder, *path;
  kin_context *context;
  kin_store *store;
  fake_encoder fake;
  kin_error err;
  item items[N];
} fixture;

/* Item i lies in folder i * i % FOLDERS, is as wide as its content is long, and was changed on day i. */
static void make_item(fixture *f, size_t i) {
  item *it = &f->items[i];
  char content[128];
  it->folder = i * i % FOLDERS;
  int n = snprintf(content, sizeof content, "%zu%.*s", i, (int)(i * 7 % 50),
                   "..................................................");
  it->width = (uint32_t)n;
  fake_encoder_vector(content, (size_t)n, DIM, it->vector);
  snprintf(it->path, sizeof it->path, "%s/photos/%zu/%s%zu.jpg", f->folder, it->folder, i % 3 ? "Cat" : "dog", i);
  FILE *file = fopen(it->path, "wb");
  assert_true(file && fwrite(content, 1, (size_t)n, file) == (size_t)n && fclose(file) == 0);
  const struct timespec times[2] = {{FIRST_DAY, 0}, {FIRST_DAY + (time_t)i * 86400, 999999999}};
  assert_int_equal(utimensat(AT_FDCWD, it->path, times, 0), 0);
}

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  f->folder = test_temporary_folder();
  f->path = kin_format("%s/kindred.db", f->folder);
  char *photos = kin_format("%s/photos", f->folder);
  assert_int_equal(mkdir(photos, 0755), 0);
  for (size_t i = 0; i < FOLDERS; i++) {
    char *below = kin_format("%s/%zu", photos, i);
    assert_int_equal(mkdir(below, 0755), 0);
    free(below);
  }
  for (size_t i = 0; i < N; i++) make_item(f, i);
  test_assert_ok(kin_context_open(&(kin_context_options){.threads = 2}, &f->context, &f->err), &f->err);
  test_assert_ok(kin_store_open(f->context, f->path, KIN_STORE_WRITE, &f->store, &f->err), &f->err);
  fake_encoder_init(&f->fake, "model-a", DIM);
  const char *paths[] = {photos};
  kin_index_options options = {.batch = N};
  test_assert_ok(kin_store_update(f->store, &f->fake.encoder, paths, 1, &options, NULL, &f->err), &f->err);
  for (size_t i = 0; i < N; i++)
    test_assert_ok(kin_store_find_item(f->store, f->items[i].path, &f->items[i].id, &f->err), &f->err);
  free(photos);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  kin_store_close(f->store);
  kin_context_close(f->context);
  test_remove_tree(f->folder);
  free(f->folder);
  free(f->path);
  free(f);
  return 0;
}

/* ------------------------------------------------------------- the plain calculation */

static double dot(const float *a, const float *b) {
  double sum = 0;
  for (size_t i = 0; i < DIM; i++) sum += (double)a[i] * (double)b[i];
  return sum;
}

static double cosine(const float *a, const float *b) {
  double length = sqrt(dot(a, a) * dot(b, b));
  return length > 0 ? dot(a, b) / length : 0;
}

static int compare_items(const void *a, const void *b) {
  const item *x = *(item *const *)a, *y = *(item *const *)b;
  if (x->score != y->score) return x->score < y->score ? 1 : -1;
  return (x->id > y->id) - (x->id < y->id);
}

/* All items with score > -10, best first, into `out`; returns how many. */
static size_t sort_items(fixture *f, const item *out[N]) {
  size_t n = 0;
  for (size_t i = 0; i < N; i++)
    if (f->items[i].score > -10) out[n++] = &f->items[i];
  qsort(out, n, sizeof *out, compare_items);
  return n;
}

static void score_by(fixture *f, const float *query) {
  for (size_t i = 0; i < N; i++) f->items[i].score = cosine(f->items[i].vector, query);
}

static void assert_answer(fixture *f, const kin_query *query, const item *const *expected, size_t n) {
  kin_hits *hits;
  test_assert_ok(kin_store_find(f->store, query, &hits, &f->err), &f->err);
  assert_int_equal(kin_hits_count(hits), n);
  for (size_t i = 0; i < n; i++) {
    const kin_hit *hit = kin_hits_get(hits, i);
    if (hit->id != expected[i]->id) fail_msg("hit %zu is %s, not %s", i, hit->path, expected[i]->path);
    assert_string_equal(hit->path, expected[i]->path);
    assert_int_equal(hit->width, expected[i]->width);
    assert_true(fabs((double)hit->score - expected[i]->score) < 1e-6);
  }
  kin_hits_close(hits);
}

static void random_vector(unsigned seed, float out[DIM]) {
  fake_encoder_vector(&seed, sizeof seed, DIM, out);
}

/* ------------------------------------------------------------------------ examples */

static void test_sums(void **state) {
  fixture *f = *state;
  float a[DIM], b[DIM], c[DIM], sum[DIM];
  const item *sorted[N];
  random_vector(1, a), random_vector(2, b), random_vector(3, c);
  for (size_t i = 0; i < DIM; i++) {
    sum[i] = a[i] + 0.3f * b[i] - 0.5f * c[i] + 2 * f->items[7].vector[i];
    a[i] *= 17; /* lengths don't matter */
  }
  score_by(f, sum);
  size_t n = sort_items(f, sorted);
  const kin_example examples[] = {{.vector = a},
                                  {.vector = b, .weight = 0.3},
                                  {.vector = c, .weight = -0.5},
                                  {.item = f->items[7].id, .weight = 2}};
  kin_query query = {.examples = examples, .n_examples = 4, .dim = DIM, .k = N};
  assert_answer(f, &query, sorted, n);
  const kin_example unlike = {.vector = a, .weight = -1};
  for (size_t i = 0; i < DIM; i++) sum[i] = -a[i];
  score_by(f, sum);
  n = sort_items(f, sorted);
  assert_answer(f, &(kin_query){.examples = &unlike, .n_examples = 1, .dim = DIM, .k = 20}, sorted, 20);
}

static void test_best(void **state) {
  fixture *f = *state;
  float like[DIM], unlike[DIM];
  const item *sorted[N];
  random_vector(4, like), random_vector(5, unlike);
  const kin_example examples[] = {{.item = f->items[3].id, .weight = 0.8},
                                  {.vector = unlike, .weight = -0.7},
                                  {.vector = like},
                                  {.item = f->items[9].id, .weight = -0.4}};
  for (size_t i = 0; i < N; i++) {
    const float *v = f->items[i].vector;
    double best = fmax(0.8 * cosine(v, f->items[3].vector), cosine(v, like));
    double worst = fmax(0.7 * cosine(v, unlike), 0.4 * cosine(v, f->items[9].vector));
    f->items[i].score = best - fmax(worst, 0);
  }
  size_t n = sort_items(f, sorted);
  kin_query query = {.examples = examples, .n_examples = 4, .dim = DIM, .strategy = KIN_STRATEGY_BEST};
  for (query.k = 1; query.k <= N; query.k *= 3) assert_answer(f, &query, sorted, query.k);
  query.k = N + 1;
  assert_answer(f, &query, sorted, n);
  /* Unlikes that count for much more than the likes move far what the likes put first. */
  const kin_example harsh[] = {{.vector = like, .weight = 0.1}, {.vector = unlike, .weight = -5}};
  for (size_t i = 0; i < N; i++)
    f->items[i].score = 0.1 * cosine(f->items[i].vector, like) - fmax(0, 5 * cosine(f->items[i].vector, unlike));
  sort_items(f, sorted);
  query = (kin_query){.examples = harsh, .n_examples = 2, .dim = DIM, .strategy = KIN_STRATEGY_BEST, .k = 10};
  assert_answer(f, &query, sorted, 10);
}

/* ------------------------------------------------------------- pages, groups, limits */

static void test_pages(void **state) {
  fixture *f = *state;
  float v[DIM];
  const item *sorted[N];
  random_vector(6, v);
  score_by(f, v);
  size_t n = sort_items(f, sorted), excluded = 0;
  const kin_example example = {.vector = v};
  kin_query query = {.examples = &example, .n_examples = 1, .dim = DIM, .k = 7};
  for (query.offset = 0; query.offset < N; query.offset += 50)
    assert_answer(f, &query, sorted + query.offset, query.offset + 7 <= n ? 7 : n - query.offset);
  query.offset = N - 3;
  assert_answer(f, &query, sorted + N - 3, 3);
  query.offset = N;
  assert_answer(f, &query, sorted, 0);
  query.k = query.offset = SIZE_MAX;
  assert_answer(f, &query, sorted, 0);
  query.offset = 1;
  assert_answer(f, &query, sorted + 1, N - 1);
  query = (kin_query){.examples = &example, .n_examples = 1, .dim = DIM};
  assert_answer(f, &query, sorted, 0);

  query.k = N;
  query.has_min_score = true;
  query.min_score = (sorted[99]->score + sorted[100]->score) / 2;
  assert_answer(f, &query, sorted, 100);
  query.offset = 90;
  assert_answer(f, &query, sorted + 90, 10);
  query.min_score = 2;
  assert_answer(f, &query, sorted, 0);

  int64_t exclude[N / 2];
  for (size_t i = 0; i < N; i += 2) {
    exclude[excluded++] = sorted[i]->id;
    ((item *)sorted[i])->score = -20;
  }
  n = sort_items(f, sorted);
  query =
      (kin_query){.examples = &example, .n_examples = 1, .dim = DIM, .k = N, .exclude = exclude, .n_exclude = excluded};
  assert_answer(f, &query, sorted, N / 2);
  assert_int_equal(n, N / 2);
}

static void test_groups(void **state) {
  fixture *f = *state;
  float v[DIM];
  const item *sorted[N], *kept[N];
  random_vector(7, v);
  score_by(f, v);
  size_t n = sort_items(f, sorted);
  const kin_example example = {.vector = v};
  kin_query query = {.examples = &example, .n_examples = 1, .dim = DIM, .group = KIN_GROUP_FOLDER};
  for (size_t most = 1; most <= 5; most += 2) {
    size_t count[FOLDERS] = {0}, n_kept = 0;
    for (size_t i = 0; i < n; i++)
      if (count[sorted[i]->folder]++ < most) kept[n_kept++] = sorted[i];
    query.per_group = most;
    query.offset = 0;
    query.k = 3;
    assert_answer(f, &query, kept, 3);
    query.k = N; /* more than there are groups */
    assert_answer(f, &query, kept, n_kept);
    query.offset = 2;
    query.k = 2;
    assert_answer(f, &query, kept + 2, 2);
  }
  query = (kin_query){.examples = &example, .n_examples = 1, .dim = DIM, .group = KIN_GROUP_FILE, .k = N};
  assert_answer(f, &query, sorted, n);
}

/* ------------------------------------------------------------------------ diversity */

/* LangChain's maximal_marginal_relevance with lambda_mult = 1 - share, in plain C: from all pairs of cosines. */
static void reorder(const item **sorted, size_t n, double share) {
  const item *chosen[N];
  for (size_t at = 0; at < n; at++) {
    size_t best = 0;
    double best_score = -INFINITY;
    for (size_t i = 0; i < n; i++) {
      if (!sorted[i]) continue;
      double redundant = -INFINITY;
      for (size_t k = 0; k < at; k++) redundant = fmax(redundant, cosine(chosen[k]->vector, sorted[i]->vector));
      double score = at ? (1 - share) * sorted[i]->score - share * redundant : sorted[i]->score;
      if (score <= best_score) continue;
      best_score = score;
      best = i;
    }
    chosen[at] = sorted[best];
    sorted[best] = NULL;
  }
  memcpy(sorted, chosen, n * sizeof *chosen);
}

static void test_diversity(void **state) {
  fixture *f = *state;
  float v[DIM];
  random_vector(8, v);
  const kin_example example = {.vector = v};
  static const double shares[] = {0.1, 0.3, 0.5, 0.9, 1};
  for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
    const item *sorted[N];
    score_by(f, v);
    size_t n = sort_items(f, sorted);
    reorder(sorted, 100, shares[i]); /* what follows the pool stays as it is */
    kin_query query = {.examples = &example, .n_examples = 1, .dim = DIM, .diversity = shares[i], .k = N};
    assert_answer(f, &query, sorted, n);
    query.k = 10; /* pages are cut from one order */
    assert_answer(f, &query, sorted, 10);
    query.offset = 95;
    assert_answer(f, &query, sorted + 95, 10);
    sort_items(f, sorted);
    reorder(sorted, 20, shares[i]);
    query.offset = 0;
    query.pool = 20;
    assert_answer(f, &query, sorted, 10);
  }
}

/* ------------------------------------------------------------------------- filters */

typedef bool (*predicate)(const fixture *f, const item *it);

static size_t index_of(const fixture *f, const item *it) {
  return (size_t)(it - f->items);
}
static bool all(const fixture *f, const item *it) {
  return f && it;
}
static bool none(const fixture *f, const item *it) {
  return !f && it;
}
static bool is_wide(const fixture *f, const item *it) {
  return f && it->width > 30;
}
static bool is_narrow(const fixture *f, const item *it) {
  return !is_wide(f, it);
}
static bool is_between(const fixture *f, const item *it) {
  return f && it->width >= 20 && it->width <= 30;
}
static bool in_four(const fixture *f, const item *it) {
  return f && it->folder == 4;
}
static bool is_cat(const fixture *f, const item *it) {
  return index_of(f, it) % 3 != 0;
}
static bool is_dog_in_four(const fixture *f, const item *it) {
  return in_four(f, it) && !is_cat(f, it);
}
static bool is_early(const fixture *f, const item *it) {
  return index_of(f, it) < 10;
}
static bool in_march(const fixture *f, const item *it) {
  return index_of(f, it) >= 60 && index_of(f, it) < 91; /* 2024 had a February of 29 days */
}
static bool is_one(const fixture *f, const item *it) {
  return index_of(f, it) == 12;
}

static void assert_filter(fixture *f, const char *where, predicate passes) {
  float v[DIM];
  const item *sorted[N];
  random_vector(9, v);
  score_by(f, v);
  for (size_t i = 0; i < N; i++)
    if (!passes(f, &f->items[i])) f->items[i].score = -20;
  size_t n = sort_items(f, sorted);
  const kin_example example = {.vector = v};
  kin_query query = {.examples = &example, .n_examples = 1, .dim = DIM, .k = N, .where = where};
  print_message("%.80s: %zu\n", where, n);
  assert_answer(f, &query, sorted, n);
  query.k = 3;
  assert_answer(f, &query, sorted, n < 3 ? n : 3);
}

/* `format` with the folder of the fixture for %s. */
static void assert_filter_in(fixture *f, const char *format, predicate passes) {
  char *end = strstr(format, "%s"), *where = kin_format("%.*s%s%s", (int)(end - format), format, f->folder, end + 2);
  assert_filter(f, where, passes);
  free(where);
}

static void test_filters(void **state) {
  fixture *f = *state;
  char where[256];
  assert_filter(f, "", all);
  assert_filter(f, "width > 30", is_wide);
  assert_filter(f, "width >= 30.5", is_wide);
  assert_filter(f, "not width > 30", is_narrow);
  assert_filter(f, "width <= 30", is_narrow);
  assert_filter(f, "size > 30 and height = 1", is_wide);
  assert_filter(f, "height < 1 or width is null", none);
  assert_filter(f, "height != 1 or kind = document", none);
  assert_filter(f, "kind in (picture, document) and width is not null", all);
  assert_filter(f, "width between 20 and 30", is_between);
  assert_filter(f, "width not between 20 and 30 and not width<20", is_wide);
  assert_filter(f, "path glob '4/*'", in_four);
  assert_filter(f, "path glob 'photos/4/*'", in_four);
  assert_filter(f, "path glob 'otos/4/*'", none); /* a suffix begins with a folder's name */
  assert_filter(f, "folder glob '[4]'", in_four);
  assert_filter(f, "folder like '%/4'", in_four);
  assert_filter_in(f, "path glob '%s/photos/4/*'", in_four);
  assert_filter_in(f, "folder = '%s/photos/4'", in_four);
  assert_filter_in(f, "folder = '%s/photos'", none);
  assert_filter_in(f, "folder glob '%s/*'", all);
  assert_filter(f, "name glob 'Cat*'", is_cat);
  assert_filter(f, "name glob 'cat*'", none);
  assert_filter(f, "name like 'cAT%'", is_cat);
  assert_filter(f, "name not like 'cat%.jpg' and path glob '4/*'", is_dog_in_four);
  assert_filter(f, "folder like '%/4' and (name = 'x' or name glob '*dog*')", is_dog_in_four);
  assert_filter(f, "mtime < '2024-01-11Z'", is_early);
  assert_filter(f, "mtime <= '2024-01-10Z'", is_early);
  assert_filter(f, "mtime = '2024-03Z'", in_march);
  assert_filter(f, "mtime between '2024-03-01Z' and '2024-03-31Z'", in_march);
  assert_filter(f, "mtime >= 1709251200 and mtime < '2024-04Z'", in_march);
  assert_filter(f, "mtime in ('2024-03Z') and mtime is not null", in_march);
  assert_filter(f, "mtime > 9223372036854775806", none);
  assert_filter(f, "mtime > -9223372036854775807", all);
  assert_filter(f, "name = 'dog12.jpg'", is_one);
  snprintf(where, sizeof where, "id = %lld", (long long)f->items[12].id);
  assert_filter(f, where, is_one);
  snprintf(where, sizeof where, "id in (-1, %lld) or id in (0)", (long long)f->items[12].id);
  assert_filter(f, where, is_one);
}

/* Texts that would mean something in SQL are only texts. */
static void test_injection(void **state) {
  fixture *f = *state;
  assert_filter(f, "name = ''' OR 1=1 --'", none);
  assert_filter(f, "name = 'x'') OR (1=1'", none);
  assert_filter(f, "path glob '''; DROP TABLE items; --' or name = 'dog12.jpg'", is_one);
  assert_filter(f, "meta.'k'' OR ''1''=''1' = 'v'", none);
  assert_filter(f, "meta.'?1) OR 1=1 --' is null", all);
  assert_filter(f, "name != '?1'", all);
  assert_filter(f, "width > 30", is_wide); /* the items are still there */
}

/* The largest filters that are read are also answered. */
static void test_large_filters(void **state) {
  fixture *f = *state;
  char *text = NULL;
  size_t size;
  FILE *out = open_memstream(&text, &size);
  fprintf(out, "path glob '4/*'");
  for (int i = 0; i < 249; i++) fprintf(out, " or path glob 'none-%d/*'", i);
  fclose(out);
  assert_filter(f, text, in_four);
  free(text);
  out = open_memstream(&text, &size);
  for (int i = 0; i < 48; i++) fprintf(out, "not(");
  fprintf(out, "width in (31");
  for (int i = 32; i < 5000; i++) fprintf(out, ",%d", i);
  fprintf(out, ")");
  for (int i = 0; i < 48; i++) fprintf(out, ")");
  fclose(out);
  kin_query query = {.examples = &(kin_example){.item = 1}, .n_examples = 1, .where = text};
  kin_hits *hits;
  test_assert_error(kin_store_find(f->store, &query, &hits, &f->err), KIN_ERR_LIMIT, &f->err, "levels");
  memmove(text, text + 4 * 24, size - 4 * 24 + 1);
  text[strlen(text) - 24] = '\0';
  assert_filter(f, text, is_wide);
  free(text);
}

/* --------------------------------------------------------------- all of it together */

static void test_together(void **state) {
  fixture *f = *state;
  float v[DIM];
  const item *sorted[N], *kept[N];
  random_vector(10, v);
  score_by(f, v);
  f->items[5].score = -20;
  for (size_t i = 0; i < N; i++)
    if (!is_cat(f, &f->items[i])) f->items[i].score = -20;
  size_t n = sort_items(f, sorted), count[FOLDERS] = {0}, n_kept = 0;
  double least = -0.1;
  for (size_t i = 0; i < n && sorted[i]->score >= least; i++)
    if (count[sorted[i]->folder]++ < 6) kept[n_kept++] = sorted[i];
  reorder(kept, n_kept < 15 ? n_kept : 15, 0.4);
  const kin_query query = {.examples = &(kin_example){.vector = v},
                           .n_examples = 1,
                           .dim = DIM,
                           .where = "name glob 'Cat*'",
                           .exclude = &f->items[5].id,
                           .n_exclude = 1,
                           .has_min_score = true,
                           .min_score = least,
                           .group = KIN_GROUP_FOLDER,
                           .per_group = 6,
                           .diversity = 0.4,
                           .pool = 15,
                           .offset = 4,
                           .k = 1000};
  assert_true(n_kept > 20);
  assert_answer(f, &query, kept + 4, n_kept - 4);
}

static void assert_refused(fixture *f, kin_query query, kin_status expected, const char *part) {
  kin_hits *hits = NULL;
  test_assert_error(kin_store_find(f->store, &query, &hits, &f->err), expected, &f->err, part);
  assert_null(hits);
}

static void test_refusals(void **state) {
  fixture *f = *state;
  float v[DIM] = {1}, opposite[DIM] = {-1}, wrong[DIM] = {NAN};
  const kin_example like = {.vector = v}, unlike = {.vector = v, .weight = -1}, bad = {.vector = wrong},
                    missing = {.item = 1 << 30}, heavy = {.vector = v, .weight = INFINITY};
  const kin_example both[] = {{.vector = v}, {.vector = opposite}};
  kin_query q = {.examples = &like, .n_examples = 1, .dim = DIM, .k = 3};
  assert_refused(f, (kin_query){.k = 3}, KIN_ERR_ARGUMENT, "empty");
  q.where = "width > ";
  assert_refused(f, q, KIN_ERR_ARGUMENT, "filter, column 9: it ends too early: expected a number");
  q.where = NULL;
  q.diversity = 1.5;
  assert_refused(f, q, KIN_ERR_ARGUMENT, "a diversity of 1.5");
  q.diversity = NAN;
  assert_refused(f, q, KIN_ERR_ARGUMENT, "a diversity of");
  q.diversity = 0;
  q.pool = 10001;
  assert_refused(f, q, KIN_ERR_ARGUMENT, "a pool of 10001");
  q.pool = 0;
  q.examples = &unlike;
  q.strategy = KIN_STRATEGY_BEST;
  assert_refused(f, q, KIN_ERR_ARGUMENT, "nothing is given to be like");
  q.examples = &bad;
  assert_refused(f, q, KIN_ERR_ARGUMENT, "isn't finite");
  q.examples = &heavy;
  assert_refused(f, q, KIN_ERR_ARGUMENT, "isn't finite");
  q.examples = &missing;
  assert_refused(f, q, KIN_ERR_NOT_FOUND, "no item 1073741824");
  q = (kin_query){.examples = both, .n_examples = 2, .dim = DIM, .k = 3};
  assert_refused(f, q, KIN_ERR_ARGUMENT, "cancel each other out");
  q.dim = DIM - 1;
  assert_refused(f, q, KIN_ERR_MISMATCH, "23 floats");
  int64_t id;
  test_assert_error(kin_store_find_item(f->store, "/nowhere/at/all.jpg", &id, &f->err), KIN_ERR_NOT_FOUND, &f->err,
                    "/nowhere/at/all.jpg: isn't in the store");
}

/* Items are found by any name of their file, and when it is gone. */
static void test_item_paths(void **state) {
  fixture *f = *state;
  int64_t id = 0;
  char *link = kin_format("%s/link.jpg", f->folder),
       *odd = kin_format("%s/photos/../photos/%zu/Cat1.jpg", f->folder, f->items[1].folder);
  assert_int_equal(symlink(f->items[2].path, link), 0);
  test_assert_ok(kin_store_find_item(f->store, link, &id, &f->err), &f->err);
  assert_int_equal(id, f->items[2].id);
  assert_int_equal(unlink(f->items[1].path), 0);
  test_assert_ok(kin_store_find_item(f->store, odd, &id, &f->err), &f->err);
  assert_int_equal(id, f->items[1].id);
  free(link);
  free(odd);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sums),      cmocka_unit_test(test_best),          cmocka_unit_test(test_pages),
      cmocka_unit_test(test_groups),    cmocka_unit_test(test_diversity),     cmocka_unit_test(test_filters),
      cmocka_unit_test(test_injection), cmocka_unit_test(test_large_filters), cmocka_unit_test(test_together),
      cmocka_unit_test(test_refusals),  cmocka_unit_test(test_item_paths),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
