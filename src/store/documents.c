/* The documents of a batch: read piece by piece, cut into passages, embedded and written as the buffer fills. */
#include "document/chunker.h"
#include "store/update.h"

#include <stdlib.h>
#include <string.h>

static void clear_passages(kin_update *u) {
  while (u->n_passages) free(u->passages[--u->n_passages].text);
}

void kin_update_free_passages(kin_update *u) {
  clear_passages(u);
  free(u->passages);
  free(u->texts);
  free(u->passage_vectors);
}

static kin_status make_room(kin_update *u, kin_error *err) {
  if (u->passage_vectors) return KIN_OK;
  size_t floats;
  if (!u->passages) u->passages = kin_array(KIN_PASSAGES, sizeof *u->passages);
  if (!u->texts) u->texts = kin_array(KIN_PASSAGES, sizeof *u->texts);
  if (u->passages && u->texts && !__builtin_mul_overflow((size_t)KIN_PASSAGES, u->encoder->dim, &floats))
    u->passage_vectors = kin_array(floats, sizeof *u->passage_vectors);
  return u->passage_vectors ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "out of memory for passages");
}

/* --------------------------------------------------------------------- write */

static kin_status ensure_item(kin_update *u, kin_candidate *c, kin_error *err) {
  if (c->written) return KIN_OK;
  kin_status status = u->catalogue->write_item(u, c, err);
  c->written = status == KIN_OK;
  return status;
}

static kin_status write_passage(kin_update *u, const kin_passage *p, const float *vector, kin_error *err) {
  kin_candidate *c = &u->candidates[p->candidate];
  kin_status status = ensure_item(u, c, err);
  return status == KIN_OK ? u->catalogue->write_vector(u, c, vector, p, err) : status;
}

static bool on_passage(void *user, const kin_item_report *report) {
  (void)report;
  return kin_update_report(user, NULL) == KIN_OK;
}

/* Embed and write the passages that wait. */
static kin_status flush_passages(kin_update *u, kin_error *err) {
  if (!u->n_passages) return KIN_OK;
  size_t n = u->n_passages, dim = u->encoder->dim;
  for (size_t i = 0; i < n; i++) u->texts[i] = u->passages[i].text;
  kin_embed_options options = {.role = KIN_TEXT_DOCUMENT, .on_item = on_passage, .user = u};
  kin_status status = u->encoder->embed_texts(u->encoder->user, u->texts, n, &options, u->passage_vectors, err);
  if (status == KIN_OK) status = kin_update_begin(u, err);
  for (size_t i = 0; status == KIN_OK && i < n; i++)
    status = write_passage(u, &u->passages[i], u->passage_vectors + i * dim, err);
  clear_passages(u);
  return status;
}

/* ---------------------------------------------------------------------- read */

/* The document's own fault, or `fatal` to the run. */
static bool is_fatal(kin_status status) {
  return status == KIN_ERR_MEMORY || status == KIN_ERR_CANCELLED;
}

static kin_status keep_passage(kin_update *u, size_t candidate, const kin_chunk *chunk, kin_error *err) {
  kin_candidate *c = &u->candidates[candidate];
  char *text = kin_strdup(chunk->text);
  if (!text) return kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", c->path);
  u->passages[u->n_passages++] = (kin_passage){candidate, c->passages++, chunk->line, chunk->offset, text};
  return u->n_passages == KIN_PASSAGES ? flush_passages(u, err) : KIN_OK;
}

/* Pass on all passages. What is wrong with the document itself goes to c->error. */
static kin_status read_passages(kin_update *u, size_t candidate, kin_chunker *chunker, kin_error *err) {
  kin_candidate *c = &u->candidates[candidate];
  for (;;) {
    kin_chunk chunk;
    c->status = kin_chunker_next(chunker, &chunk, &c->error);
    if (c->status != KIN_OK || !chunk.text) return KIN_OK;
    kin_status status = keep_passage(u, candidate, &chunk, err);
    if (status != KIN_OK) return status;
  }
}

static kin_status read_document(kin_update *u, size_t candidate, kin_error *err) {
  kin_candidate *c = &u->candidates[candidate];
  kin_token_counter counter = {u->encoder->count_tokens, u->encoder->user, u->encoder->max_tokens};
  kin_document *document;
  kin_chunker *chunker = NULL;
  kin_status status = KIN_OK;
  c->status = kin_document_open(c->path, c->format, u->options.text_column, &document, &c->error);
  if (c->status == KIN_OK) status = kin_chunker_open(document, &counter, &chunker, err);
  if (c->status == KIN_OK && status == KIN_OK) status = read_passages(u, candidate, chunker, err);
  kin_chunker_close(chunker);
  kin_document_close(document);
  if (status == KIN_OK && is_fatal(c->status)) status = kin_fail(err, c->status, "%s", c->error.message);
  c->complete = status == KIN_OK;
  return status;
}

static kin_status copy_document(kin_update *u, kin_candidate *c, kin_error *err) {
  kin_status status = kin_update_begin(u, err);
  if (status == KIN_OK) status = ensure_item(u, c, err);
  if (status == KIN_OK) status = u->catalogue->copy_passages(u, c, err);
  c->complete = status == KIN_OK;
  return status;
}

/* -------------------------------------------------------------------- finish */

/* Take the passages of a damaged document out of the buffer. */
static void discard_passages(kin_update *u, size_t candidate) {
  size_t kept = 0;
  for (size_t i = 0; i < u->n_passages; i++) {
    if (u->passages[i].candidate == candidate)
      free(u->passages[i].text);
    else
      u->passages[kept++] = u->passages[i];
  }
  u->n_passages = kept;
}

static kin_status finish_failed(kin_update *u, size_t candidate, kin_error *err) {
  kin_candidate *c = &u->candidates[candidate];
  discard_passages(u, candidate);
  kin_update_failure(u, c->path, c->status, c->error.message);
  kin_status status = kin_update_begin(u, err);
  if (status != KIN_OK) return status;
  return c->written ? kin_update_drop(u, c, err) : kin_update_write_failed(u, c, err);
}

/* A document without words is in no collection; it is looked at again each time. */
static kin_status finish_empty(kin_update *u, kin_candidate *c, kin_error *err) {
  bool left;
  u->pending.unchanged++;
  if (!c->item) return KIN_OK;
  kin_status status = kin_update_begin(u, err);
  return status == KIN_OK ? kin_update_leave(u, c, &left, err) : status;
}

static kin_status finish(kin_update *u, size_t candidate, kin_error *err) {
  kin_candidate *c = &u->candidates[candidate];
  if (c->status != KIN_OK) return KIN_OK; /* dealt with */
  if (!c->passages) return finish_empty(u, c, err);
  if (c->twin)
    u->pending.unchanged++;
  else
    u->pending.done++;
  u->operations++;
  return u->catalogue->complete(u, c, err);
}

static bool is_pending(const kin_candidate *c) {
  return c->format && c->embed;
}

static kin_status process(kin_update *u, kin_error *err) {
  kin_status status = make_room(u, err);
  for (size_t i = 0; status == KIN_OK && i < u->n; i++) {
    kin_candidate *c = &u->candidates[i];
    if (!is_pending(c)) continue;
    /* Of a table the column may be another. */
    if (c->format != KIN_DOCUMENT_CSV) status = u->catalogue->find_twin(u, c, err);
    /* What waits may be the twin's. */
    if (status == KIN_OK && c->twin) status = flush_passages(u, err);
    if (status == KIN_OK) status = c->twin ? copy_document(u, c, err) : read_document(u, i, err);
    if (status == KIN_OK && c->status != KIN_OK) status = finish_failed(u, i, err);
  }
  if (status == KIN_OK) status = flush_passages(u, err);
  for (size_t i = 0; status == KIN_OK && i < u->n; i++)
    if (is_pending(&u->candidates[i])) status = finish(u, i, err);
  return status;
}

kin_status kin_update_documents(kin_update *u, kin_error *err) {
  bool any = false;
  for (size_t i = 0; i < u->n; i++) any = any || is_pending(&u->candidates[i]);
  if (!any) return KIN_OK;
  /* Whatever fails the run may have left half a document: go back to what was committed. */
  kin_status status = process(u, err);
  if (status != KIN_OK) {
    clear_passages(u);
    kin_update_rollback(u);
  }
  return status;
}
