/* Sharing a batch out among the threads. A thread that takes whole inputs through all layers never waits for another
 * and finds its activations in its own caches; too small a batch, and what is left of one, are encoded by all threads
 * together, layer by layer. Neither changes a vector. */
#include "model/tower.h"

#include <stdatomic.h>
#include <stdlib.h>

/* Rows of a part: more would leave the caches, fewer would read the weights too often for them. */
enum { PART_ROWS = 400, LEAST_ROWS = 128 };

typedef struct batch {
  const kin_model *model;
  const uint8_t *crops;      /* NULL: texts */
  const int32_t *const *ids; /* NULL: pictures */
  const size_t *lengths;
  float *out;
} batch;

typedef struct sharing {
  const batch *batch;
  kin_context alone;  /* the model's context without its threads */
  const size_t *ends; /* [parts]: of the inputs */
  atomic_bool failed;
  kin_status status; /* of the part that failed first */
  kin_error *err;
} sharing;

static kin_status encode(const batch *b, const kin_context *context, size_t first, size_t n, kin_error *err) {
  const kin_model *m = b->model;
  float *out = b->out + first * m->info.dim;
  size_t crop = m->preprocess.crop_height * m->preprocess.crop_width * 3;
  if (n == 0) return KIN_OK;
  if (b->crops) return m->image.encode(m->image.self, context, b->crops + first * crop, n, out, err);
  return m->text.encode(m->text.self, context, b->ids + first, b->lengths + first, n, out, err);
}

static void encode_part(void *arg, size_t part) {
  sharing *s = arg;
  size_t first = part ? s->ends[part - 1] : 0;
  kin_error error;
  kin_status status = encode(s->batch, &s->alone, first, s->ends[part] - first, &error);
  if (status == KIN_OK || atomic_exchange(&s->failed, true)) return;
  s->status = status;
  if (s->err) *s->err = error;
}

/* Give each thread whole inputs, in `parts` parts that end before ends[0], ends[1], ... */
static kin_status encode_parts(const batch *b, const size_t *ends, size_t parts, kin_error *err) {
  sharing s = {.batch = b, .alone = *b->model->context, .ends = ends, .err = err};
  s.alone.pool = NULL;
  kin_parallel_for(b->model->context->pool, parts, encode_part, &s);
  return s.status;
}

/* Inputs that share one part, of `n` with about `rows` rows each that fall to a thread: a divisor of n. */
static size_t inputs_of_part(size_t n, size_t rows) {
  size_t parts = (n * rows + PART_ROWS / 2) / PART_ROWS;
  if (parts < 1) parts = 1;
  if (parts > n) parts = n;
  while (n % parts) parts--;
  return n / parts;
}

size_t kin_model_share(const kin_model *model, size_t n) {
  size_t threads = kin_pool_threads(model->context->pool), patch = model->info.patch_size;
  size_t grid = patch ? model->info.image_size / patch : 0, rows = patch ? grid * grid + 1 : PART_ROWS;
  size_t each = n / threads;
  return each * rows < LEAST_ROWS || threads == 1 ? 0 : inputs_of_part(each, rows);
}

static kin_status no_image_tower(const kin_model *model, kin_error *err) {
  return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: this model has no image tower", model->dir);
}

kin_status kin_model_encode_images(kin_model *model, const uint8_t *crops, size_t n, float *out, kin_error *err) {
  if (!model->image.encode) return no_image_tower(model, err);
  const batch b = {.model = model, .crops = crops, .out = out};
  size_t threads = kin_pool_threads(model->context->pool), size = kin_model_share(model, n), each = n / threads;
  if (!size) return encode(&b, model->context, 0, n, err);
  size_t parts = each / size * threads, *ends = kin_array(parts, sizeof *ends);
  if (!ends) return kin_fail(err, KIN_ERR_MEMORY, "no memory to encode %zu pictures", n);
  for (size_t i = 0; i < parts; i++) ends[i] = (i + 1) * size;
  kin_status status = encode_parts(&b, ends, parts, err);
  free(ends);
  size_t done = each * threads;
  return status == KIN_OK ? encode(&b, model->context, done, n - done, err) : status;
}

kin_status kin_model_encode_images_alone(kin_model *model, const uint8_t *crops, size_t n, float *out, kin_error *err) {
  if (!model->image.encode) return no_image_tower(model, err);
  const batch b = {.model = model, .crops = crops, .out = out};
  kin_context alone = *model->context;
  alone.pool = NULL;
  return encode(&b, &alone, 0, n, err);
}

kin_status kin_model_encode_tokens(kin_model *model, const int32_t *const *ids, const size_t *lengths, size_t n,
                                   float *out, kin_error *err) {
  if (!model->text.encode) return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: this model has no text tower", model->dir);
  const batch b = {.model = model, .ids = ids, .lengths = lengths, .out = out};
  size_t threads = kin_pool_threads(model->context->pool), rows = 0;
  for (size_t i = 0; i < n; i++) rows += lengths[i];
  size_t parts = threads * ((rows + threads * PART_ROWS / 2) / (threads * PART_ROWS));
  if (parts < threads) parts = threads;
  if (threads == 1 || n < 2 * threads || rows < threads * LEAST_ROWS) return encode(&b, model->context, 0, n, err);
  size_t *ends = kin_array(parts, sizeof *ends);
  if (!ends) return kin_fail(err, KIN_ERR_MEMORY, "no memory to encode %zu texts", n);
  for (size_t part = 0, i = 0, taken = 0; part < parts; part++) {
    /* The text in the middle of which a part would end goes to the side that has more of it. */
    while (i < n && (taken + lengths[i] / 2) * parts <= rows * (part + 1)) taken += lengths[i++];
    ends[part] = part + 1 == parts ? n : i;
  }
  kin_status status = encode_parts(&b, ends, parts, err);
  free(ends);
  return status;
}
