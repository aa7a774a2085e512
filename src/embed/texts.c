/* Texts -> vectors: a batch is tokenised on all threads, then encoded at once. */
#include "embed/embed.h"
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

/* Texts are short beside pictures, so more of them make a batch worth encoding. */
enum { DEFAULT_BATCH = 64 };

typedef struct batch {
  const kin_tokenizer *tokenizer;
  size_t max_tokens;
  const char *prompt;       /* put before every text */
  const char *const *texts; /* [n] */
  size_t n;
  int32_t **ids;         /* [n], owned; after pack_ids those of the good texts lie first */
  size_t *lengths;       /* [n] likewise */
  kin_outcome *outcomes; /* [n] */
  float *rows;           /* [n][dim]: of the good ones, densely */
  kin_embed_stats stats;
} batch;

/* Task of the pool. */
static void tokenize_one(void *arg, size_t i) {
  batch *b = arg;
  kin_outcome *outcome = &b->outcomes[i];
  *outcome = (kin_outcome){0};
  b->ids[i] = NULL;
  char *prompted = *b->prompt ? kin_format("%s%s", b->prompt, b->texts[i]) : NULL;
  const char *text = *b->prompt ? prompted : b->texts[i];
  if (!text)
    outcome->error.status = kin_fail(&outcome->error, KIN_ERR_MEMORY, "out of memory for a text");
  else
    outcome->error.status =
        kin_tokenize(b->tokenizer, text, strlen(text), b->max_tokens, &b->ids[i], &b->lengths[i], &outcome->error);
  free(prompted);
}

/* Move the tokens of the good texts together; returns how many texts there are. */
static size_t pack_ids(batch *b) {
  size_t good = 0;
  for (size_t i = 0; i < b->n; i++) {
    if (b->outcomes[i].error.status != KIN_OK) continue;
    b->ids[good] = b->ids[i];
    b->lengths[good++] = b->lengths[i];
  }
  return good;
}

static kin_status encode(batch *b, kin_model *model, bool raw, float *out, kin_error *err) {
  size_t good = pack_ids(b);
  kin_status status = KIN_OK;
  const double start = kin_embed_now();
  if (good) status = kin_model_encode_tokens(model, (const int32_t *const *)b->ids, b->lengths, good, b->rows, err);
  b->stats.encoder_seconds += kin_embed_now() - start;
  b->stats.batches += good > 0;
  for (size_t i = 0; i < good; i++) free(b->ids[i]);
  return status == KIN_OK ? kin_embed_scatter(model, b->outcomes, b->n, b->rows, raw, out, err) : status;
}

static kin_status run(batch *b, kin_model *model, const char *const *texts, size_t n, const kin_embed_options *o,
                      float *out, kin_error *err) {
  for (size_t first = 0; first < n; first += b->n) {
    b->texts = texts + first;
    b->n = n - first < o->batch ? n - first : o->batch;
    kin_parallel_for(kin_model_context(model)->pool, b->n, tokenize_one, b);
    kin_status status = encode(b, model, o->raw, out + first * kin_model_dim(model), err);
    if (status == KIN_OK) status = kin_embed_report(o, first, b->n, b->outcomes, err);
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
  const double start = kin_embed_now();
  kin_status status = check_texts(texts, n, err);
  if (status != KIN_OK || n == 0) return status;
  if (options && (unsigned)options->role > KIN_TEXT_DOCUMENT)
    return kin_fail(err, KIN_ERR_ARGUMENT, "role %d is unknown", (int)options->role);

  kin_model_info info;
  kin_model_get_info(model, &info);
  kin_embed_options o = kin_embed_resolve(options, DEFAULT_BATCH);
  size_t most = n < o.batch ? n : o.batch;
  batch b = {.tokenizer = tokenizer, .max_tokens = info.text_context, .prompt = kin_model_prompt(model, o.role)};
  b.ids = kin_array(most, sizeof *b.ids);
  b.lengths = kin_array(most, sizeof *b.lengths);
  b.outcomes = kin_array(most, sizeof *b.outcomes);
  b.rows = kin_array(most, info.dim * sizeof *b.rows);
  if (b.ids && b.lengths && b.outcomes && b.rows)
    status = run(&b, model, texts, n, &o, out, err);
  else
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for a batch of %zu texts", most);
  b.stats.seconds = kin_embed_now() - start;
  if (o.stats) *o.stats = b.stats;
  free(b.ids);
  free(b.lengths);
  free(b.outcomes);
  free(b.rows);
  return status;
}

kin_status kin_count_document_tokens(void *user, const char *text, size_t size, size_t *out, kin_error *err) {
  const kin_model *model = user;
  const char *prompt = kin_model_prompt(model, KIN_TEXT_DOCUMENT);
  size_t prompt_size = strlen(prompt);
  int32_t *ids = NULL;
  *out = 0;
  char *prompted = prompt_size ? kin_array(prompt_size + size, 1) : NULL;
  if (prompt_size && !prompted) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a text");
  if (prompted) {
    memcpy(prompted, prompt, prompt_size);
    memcpy(prompted + prompt_size, text, size);
  }
  kin_status status =
      kin_tokenize(kin_model_tokenizer(model), prompted ? prompted : text, prompt_size + size, 0, &ids, out, err);
  free(ids);
  free(prompted);
  return status;
}
