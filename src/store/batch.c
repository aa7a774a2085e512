/* A chunk of new or changed pictures: hash, look for known content, embed the rest, write, commit. */
#include "embed/embed.h"
#include "store/update.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_BATCH 16
#define MAX_BATCH 65536
/* A chunk is committed at once, and between two of them the encoder waits: so it grows, to this many batches, while a
 * chunk takes less than half of CHUNK_SECONDS, and shrinks when it takes half more. */
#define BATCHES_IN_CHUNK 16
#define MOST_GROWN 1024
#define CHUNK_SECONDS 1.0

kin_status kin_update_init(kin_update *u, kin_error *err) {
  u->batch = u->options.batch ? u->options.batch : DEFAULT_BATCH;
  if (u->batch > MAX_BATCH)
    return kin_fail(err, KIN_ERR_ARGUMENT, "a batch of %zu pictures: at most %d", u->batch, MAX_BATCH);
  u->chunk = u->batch;
  u->most_chunk = u->batch * BATCHES_IN_CHUNK < MOST_GROWN ? u->batch * BATCHES_IN_CHUNK : MOST_GROWN;
  if (u->most_chunk < u->batch) u->most_chunk = u->batch;
  size_t floats;
  u->ahead = kin_array(KIN_AHEAD, sizeof *u->ahead);
  u->candidates = kin_array(u->most_chunk, 2 * sizeof *u->candidates);
  u->sources = kin_array(u->most_chunk, sizeof *u->sources);
  u->embedded = kin_array(u->most_chunk, sizeof *u->embedded);
  if (!__builtin_mul_overflow(u->most_chunk, u->encoder->dim, &floats))
    u->vectors = kin_array(floats, sizeof *u->vectors);
  if (!u->ahead || !u->candidates || !u->sources || !u->embedded || !u->vectors)
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for batches of %zu pictures", u->batch);
  return KIN_OK;
}

void kin_update_free(kin_update *u) {
  while (u->n) free(u->candidates[--u->n].path);
  while (u->n_ahead) free(u->ahead[--u->n_ahead].path);
  free(u->ahead);
  free(u->candidates);
  free(u->sources);
  free(u->embedded);
  free(u->vectors);
  kin_update_free_passages(u);
}

/* ------------------------------------------------------- what to do with each */

static uint8_t hex_digit(char c) {
  return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

void kin_update_parse_sha256(const char *hex, uint8_t out[32]) {
  for (size_t k = 0; k < 32; k++) out[k] = (uint8_t)(hex_digit(hex[2 * k]) << 4 | hex_digit(hex[2 * k + 1]));
}

kin_status kin_update_hash(const char *path, uint8_t out[32], kin_error *err) {
  char hex[65];
  kin_status status = kin_sha256_file(path, hex, NULL, err);
  if (status == KIN_OK) kin_update_parse_sha256(hex, out);
  return status;
}

static void hash_task(void *arg, size_t i) {
  kin_candidate *c = &((kin_update *)arg)->candidates[i];
  c->status = kin_update_hash(c->path, c->sha256, &c->error);
}

/* Sort out which candidates are the same, which are known, and which must be embedded. *slots vectors are taken. */
static kin_status classify(kin_update *u, size_t *slots, kin_error *err) {
  *slots = 0;
  for (size_t i = 0; i < u->n; i++) {
    kin_candidate *c = &u->candidates[i];
    if (c->status != KIN_OK) {
      kin_update_failure(u, c->path, c->status, c->error.message);
      continue;
    }
    c->same = c->item && c->indexed && memcmp(c->sha256, c->known_sha256, sizeof c->sha256) == 0;
    c->embed = !c->same;
  }
  kin_status status = u->catalogue->find_contents(u, slots, err);
  for (size_t i = 0; i < u->n; i++)
    if (u->candidates[i].vector) u->candidates[i].embed = false;
  return status;
}

/* --------------------------------------------------------------------- embed */

static bool on_item(void *user, const kin_item_report *report) {
  kin_update *u = user;
  kin_candidate *c = &u->candidates[u->embedded[report->index]];
  c->status = report->status;
  c->width = report->width;
  c->height = report->height;
  if (report->status != KIN_OK) kin_update_failure(u, c->path, report->status, report->message);
  return kin_update_report(u, NULL) == KIN_OK;
}

static kin_status embed(kin_update *u, size_t slots, size_t *n_embedded, kin_error *err) {
  size_t dim = u->encoder->dim, n = 0;
  for (size_t i = 0; i < u->n; i++) {
    kin_candidate *c = &u->candidates[i];
    if (!c->embed || c->format) continue;
    c->vector = u->vectors + (slots + n) * dim;
    u->sources[n] = (kin_image_source){.path = c->path};
    u->embedded[n++] = i;
  }
  *n_embedded = n;
  if (!n) return KIN_OK;
  kin_embed_options options = {.batch = u->options.batch,
                               .max_pixels = u->options.max_pixels,
                               .fast_decode = u->options.fast_decode,
                               .on_item = on_item,
                               .user = u};
  return u->encoder->embed(u->encoder->user, u->sources, n, &options, u->vectors + slots * dim, err);
}

/* --------------------------------------------------------------------- write */

kin_status kin_update_begin(kin_update *u, kin_error *err) {
  if (u->writing) return KIN_OK;
  kin_status status = u->catalogue->begin(u, err);
  u->writing = status == KIN_OK;
  return status;
}

void kin_update_rollback(kin_update *u) {
  u->catalogue->rollback(u);
  u->writing = false;
  u->operations = 0;
  u->pending = (kin_index_progress){0};
}

kin_status kin_update_commit(kin_update *u, kin_error *err) {
  if (!u->writing) return KIN_OK;
  kin_status status = u->catalogue->commit(u, err);
  if (status != KIN_OK) {
    kin_update_rollback(u);
    return status;
  }
  u->writing = false;
  u->operations = 0;
  u->progress.done += u->pending.done;
  u->progress.unchanged += u->pending.unchanged;
  u->progress.removed += u->pending.removed;
  u->pending = (kin_index_progress){0};
  return KIN_OK;
}

kin_status kin_update_drop(kin_update *u, const kin_candidate *c, kin_error *err) {
  u->operations++;
  return u->catalogue->drop(u, c, err);
}

kin_status kin_update_leave(kin_update *u, const kin_candidate *c, bool *left, kin_error *err) {
  u->operations++;
  return u->catalogue->leave(u, c, left, err);
}

static kin_status write_picture(kin_update *u, kin_candidate *c, kin_error *err) {
  kin_status status = u->catalogue->write_item(u, c, err);
  if (status == KIN_OK) status = u->catalogue->write_vector(u, c, c->vector, NULL, err);
  if (c->embed)
    u->pending.done++;
  else
    u->pending.unchanged++;
  return status;
}

kin_status kin_update_write_failed(kin_update *u, const kin_candidate *c, kin_error *err) {
  bool stays = c->status == KIN_ERR_IO || c->status == KIN_ERR_MEMORY;
  if (c->item && !stays) return kin_update_drop(u, c, err);
  return c->item ? u->catalogue->mark_seen(u, c, err) : KIN_OK;
}

static kin_status write_candidate(kin_update *u, kin_candidate *c, kin_error *err) {
  if (c->status != KIN_OK) return kin_update_write_failed(u, c, err);
  if (c->format && !c->same) return KIN_OK; /* documents.c does it */
  kin_status status = KIN_OK;
  if (c->same) {
    status = u->catalogue->touch(u, c, err);
    u->pending.unchanged++;
  } else {
    status = write_picture(u, c, err);
  }
  u->operations++;
  if (!c->same) c->described = false;
  if (status == KIN_OK && !c->format) status = kin_update_captions(u, c, err);
  return status == KIN_OK ? u->catalogue->mark_seen(u, c, err) : status;
}

static kin_status write_candidates(kin_update *u, kin_error *err) {
  kin_status status = kin_update_begin(u, err);
  for (size_t i = 0; status == KIN_OK && i < u->n; i++) status = write_candidate(u, &u->candidates[i], err);
  if (status != KIN_OK) kin_update_rollback(u);
  return status;
}

/* Embed, write and perhaps commit the candidates. */
static kin_status run_chunk(kin_update *u, kin_error *err) {
  size_t slots = 0, n_embedded = 0;
  kin_parallel_for(u->store->context->pool, u->n, hash_task, u);
  kin_status status = classify(u, &slots, err);
  if (status == KIN_OK) status = embed(u, slots, &n_embedded, err);
  if (status == KIN_OK) status = write_candidates(u, err);
  if (status == KIN_OK) status = kin_update_documents(u, err);
  size_t most = u->walk.kinds & KIN_WALK_PICTURES ? KIN_OPERATIONS : u->batch;
  if (status == KIN_OK && (n_embedded || u->operations >= most) && u->catalogue->is_due(u))
    status = kin_update_commit(u, err);
  return status;
}

kin_status kin_update_flush(kin_update *u, kin_error *err) {
  if (!u->n) return KIN_OK;
  const size_t total = u->n;
  if (u->n > u->chunk) u->n = u->chunk;
  const size_t done = u->n;
  const double start = kin_embed_now();
  kin_status status = run_chunk(u, err);
  const double seconds = kin_embed_now() - start;
  for (size_t i = 0; i < done; i++) free(u->candidates[i].path);
  u->n = total - done;
  memmove(u->candidates, u->candidates + done, u->n * sizeof *u->candidates);
  if (done == u->chunk && seconds < CHUNK_SECONDS / 2 && 2 * u->chunk <= u->most_chunk) u->chunk *= 2;
  if (seconds > CHUNK_SECONDS * 1.5 && u->chunk / 2 >= u->batch) u->chunk /= 2;
  return status == KIN_OK ? kin_update_report(u, err) : status;
}
