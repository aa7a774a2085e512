/* Texts -> vectors: tokenised on all threads, encoded in batches of like length. */
#include "embed/embed.h"
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

/* Texts of like length share a batch, so that few steps run on a nearly empty one; more batches in a window
 * sort better and report later. */
enum { BATCHES_IN_WINDOW = 4 };

typedef struct text_item {
  int32_t *ids;
  size_t length, row; /* row: of the window */
} text_item;

typedef struct window {
  const kin_tokenizer *tokenizer;
  size_t max_tokens;
  const char *const *texts; /* [n] */
  size_t n;
  text_item *items;      /* [n]; after sort_good the good ones lie first, short to long */
  kin_outcome *outcomes; /* [n] */
  const int32_t **ids;   /* [batch] */
  size_t *lengths;       /* [batch] */
  float *rows;           /* [batch][dim] */
} window;

/* Task of the pool. */
static void tokenize_one(void *arg, size_t i) {
  window *w = arg;
  text_item *item = &w->items[i];
  kin_outcome *outcome = &w->outcomes[i];
  *item = (text_item){.row = i};
  *outcome = (kin_outcome){0};
  outcome->error.status = kin_tokenize(w->tokenizer, w->texts[i], strlen(w->texts[i]), w->max_tokens, &item->ids,
                                       &item->length, &outcome->error);
}

static int by_length(const void *a, const void *b) {
  const text_item *x = a, *y = b;
  if (x->length != y->length) return x->length < y->length ? -1 : 1;
  return x->row < y->row ? -1 : 1;
}

static size_t sort_good(window *w) {
  size_t good = 0;
  for (size_t i = 0; i < w->n; i++)
    if (w->outcomes[i].error.status == KIN_OK) w->items[good++] = w->items[i];
  if (good) qsort(w->items, good, sizeof *w->items, by_length);
  return good;
}

static kin_status encode(window *w, kin_model *model, const kin_embed_options *o, float *out, kin_error *err) {
  size_t dim = kin_model_dim(model), good = sort_good(w);
  kin_status status = KIN_OK;
  memset(out, 0, w->n * dim * sizeof *out);
  for (size_t first = 0; first < good && status == KIN_OK; first += o->batch) {
    const text_item *items = w->items + first;
    size_t n = good - first < o->batch ? good - first : o->batch;
    for (size_t i = 0; i < n; i++) {
      w->ids[i] = items[i].ids;
      w->lengths[i] = items[i].length;
    }
    status = kin_model_encode_tokens(model, w->ids, w->lengths, n, w->rows, err);
    for (size_t i = 0; i < n && status == KIN_OK; i++) {
      float *row = out + items[i].row * dim;
      memcpy(row, w->rows + i * dim, dim * sizeof *row);
      if (!kin_embed_finish(row, dim, o->raw))
        status = kin_fail(err, KIN_ERR_FORMAT, "%s: the model gave a vector that isn't finite", kin_model_dir(model));
    }
  }
  for (size_t i = 0; i < good; i++) free(w->items[i].ids);
  return status;
}

static kin_status run(window *w, kin_model *model, const char *const *texts, size_t n, const kin_embed_options *o,
                      float *out, kin_error *err) {
  size_t dim = kin_model_dim(model), most = o->batch * BATCHES_IN_WINDOW;
  for (size_t first = 0; first < n; first += w->n) {
    w->texts = texts + first;
    w->n = n - first < most ? n - first : most;
    kin_parallel_for(kin_model_context(model)->pool, w->n, tokenize_one, w);
    kin_status status = encode(w, model, o, out + first * dim, err);
    if (status == KIN_OK) status = kin_embed_report(o, first, w->n, w->outcomes, err);
    if (status != KIN_OK) return status;
  }
  return KIN_OK;
}

static kin_status check_texts(const char *const *texts, size_t n, kin_error *err) {
  for (size_t i = 0; i < n; i++)
    if (!texts[i]) return kin_fail(err, KIN_ERR_ARGUMENT, "text %zu is NULL", i);
  return KIN_OK;
}

kin_status kin_embed_texts(kin_model *model, const char *const *texts, size_t n, const kin_embed_options *options,
                           float *out, kin_error *err) {
  if (!model || (n && (!texts || !out)))
    return kin_fail(err, KIN_ERR_ARGUMENT, "kin_embed_texts needs a model, texts and room for the vectors");
  const kin_tokenizer *tokenizer = kin_model_tokenizer(model);
  if (!tokenizer)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s has no text tower: it embeds pictures only", kin_model_dir(model));
  kin_status status = check_texts(texts, n, err);
  if (status != KIN_OK || n == 0) return status;

  kin_model_info info;
  kin_model_get_info(model, &info);
  kin_embed_options o = kin_embed_resolve(options);
  if (o.batch > n) o.batch = n;
  size_t most = o.batch * BATCHES_IN_WINDOW < n ? o.batch * BATCHES_IN_WINDOW : n;
  window w = {.tokenizer = tokenizer, .max_tokens = info.text_context};
  w.items = kin_array(most, sizeof *w.items);
  w.outcomes = kin_array(most, sizeof *w.outcomes);
  w.ids = kin_array(o.batch, sizeof *w.ids);
  w.lengths = kin_array(o.batch, sizeof *w.lengths);
  w.rows = kin_array(o.batch, info.dim * sizeof *w.rows);
  if (w.items && w.outcomes && w.ids && w.lengths && w.rows)
    status = run(&w, model, texts, n, &o, out, err);
  else
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for a batch of %zu texts", o.batch);
  free(w.items);
  free(w.outcomes);
  free(w.ids);
  free(w.lengths);
  free(w.rows);
  return status;
}
