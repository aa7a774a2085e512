/* Pictures -> vectors: a batch is decoded on all threads, then encoded at once, while the system reads
 * ahead the files of the next. */
#include "embed/embed.h"
#include "model/model.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEFAULT_BATCH = 16 };

/* One batch on its way. */
typedef struct batch {
  const kin_preprocess *preprocess;
  uint64_t max_pixels;
  size_t crop_bytes;
  const kin_image_source *sources; /* [n] */
  size_t n;
  uint8_t *crops;        /* [n][crop_bytes]; after pack_crops the good ones lie first */
  kin_outcome *outcomes; /* [n] */
  float *rows;           /* [n][dim]: of the good ones, densely */
} batch;

static kin_status decode(const kin_image_source *source, uint64_t max_pixels, kin_image *out, kin_error *err) {
  if (source->path) return kin_image_decode_file(source->path, max_pixels, out, err);
  return kin_image_decode(source->data, source->data_size, "picture in memory", max_pixels, out, err);
}

/* Task of the pool: turn one source into the encoder's crop. */
static void load_one(void *arg, size_t i) {
  batch *b = arg;
  const kin_image_source *source = &b->sources[i];
  kin_outcome *outcome = &b->outcomes[i];
  *outcome = (kin_outcome){0};
  kin_image image = {source->width, source->height, (uint8_t *)source->rgb}; /* only read from */
  kin_status status = KIN_OK;
  if (!source->rgb)
    status = decode(source, b->max_pixels, &image, &outcome->error);
  else if ((uint64_t)source->width * source->height > b->max_pixels)
    status = kin_fail(&outcome->error, KIN_ERR_LIMIT, "picture of %ux%u pixels is over the limit of %llu",
                      source->width, source->height, (unsigned long long)b->max_pixels);
  if (status == KIN_OK) {
    outcome->width = image.width;
    outcome->height = image.height;
    status = kin_preprocess_run(b->preprocess, &image, b->crops + i * b->crop_bytes, &outcome->error);
    if (!source->rgb) kin_image_free(&image);
  }
  outcome->error.status = status;
}

/* Start reading the files of coming pictures into the page cache, without waiting. */
static void read_ahead(const kin_image_source *sources, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (!sources[i].path) continue;
    int fd = open(sources[i].path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) continue; /* decoding will say why */
    posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED);
    close(fd);
  }
}

/* Move the crops of the good pictures together; returns how many there are. */
static size_t pack_crops(batch *b) {
  size_t good = 0;
  for (size_t i = 0; i < b->n; i++) {
    if (b->outcomes[i].error.status != KIN_OK) continue;
    if (good != i) memcpy(b->crops + good * b->crop_bytes, b->crops + i * b->crop_bytes, b->crop_bytes);
    good++;
  }
  return good;
}

/* Encode the loaded batch and lay its vectors into out[n][dim]. */
static kin_status encode(batch *b, kin_model *model, bool raw, float *out, kin_error *err) {
  size_t good = pack_crops(b);
  kin_status status = good ? kin_model_encode_images(model, b->crops, good, b->rows, err) : KIN_OK;
  return status == KIN_OK ? kin_embed_scatter(model, b->outcomes, b->n, b->rows, raw, out, err) : status;
}

/* The error of the first bad picture, when nobody is there to be told of it. */
static kin_status first_failure(const kin_embed_options *options, const batch *b, size_t first, kin_error *err) {
  return options->on_item ? KIN_OK : kin_embed_report(options, first, b->n, b->outcomes, err);
}

static kin_status check_sources(const kin_image_source *images, size_t n, kin_error *err) {
  for (size_t i = 0; i < n; i++) {
    const kin_image_source *s = &images[i];
    if ((s->path != NULL) + (s->data != NULL) + (s->rgb != NULL) != 1)
      return kin_fail(err, KIN_ERR_ARGUMENT, "picture %zu: set exactly one of path, data and rgb", i);
    if (s->rgb && (s->width == 0 || s->height == 0))
      return kin_fail(err, KIN_ERR_ARGUMENT, "picture %zu: rgb pixels need a width and a height", i);
  }
  return KIN_OK;
}

static kin_status run(batch *b, kin_model *model, const kin_image_source *images, size_t n, const kin_embed_options *o,
                      float *out, kin_error *err) {
  kin_pool *pool = kin_model_context(model)->pool;
  size_t dim = kin_model_dim(model);
  for (size_t first = 0; first < n; first += b->n) {
    size_t left = n - first;
    b->sources = images + first;
    b->n = left < o->batch ? left : o->batch;
    size_t coming = left - b->n < o->batch ? left - b->n : o->batch;
    if (first == 0) read_ahead(b->sources, b->n);
    read_ahead(b->sources + b->n, coming);
    kin_parallel_for(pool, b->n, load_one, b);
    kin_status status = first_failure(o, b, first, err);
    if (status == KIN_OK) status = encode(b, model, o->raw, out + first * dim, err);
    if (status == KIN_OK) status = kin_embed_report(o, first, b->n, b->outcomes, err);
    if (status != KIN_OK) return status;
  }
  return KIN_OK;
}

kin_status kin_embed_images(kin_model *model, const kin_image_source *images, size_t n,
                            const kin_embed_options *options, float *out, kin_error *err) {
  if (!model || (n && (!images || !out)))
    return kin_fail(err, KIN_ERR_ARGUMENT, "kin_embed_images needs a model, pictures and room for the vectors");
  const kin_preprocess *preprocess = kin_model_preprocess(model);
  if (!preprocess) return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s has no image tower", kin_model_dir(model));
  kin_status status = check_sources(images, n, err);
  if (status != KIN_OK || n == 0) return status;

  kin_embed_options o = kin_embed_resolve(options, DEFAULT_BATCH);
  size_t most = n < o.batch ? n : o.batch;
  batch b = {.preprocess = preprocess,
             .max_pixels = o.max_pixels,
             .crop_bytes = preprocess->crop_width * preprocess->crop_height * 3};
  b.crops = kin_array(most, b.crop_bytes);
  b.outcomes = kin_array(most, sizeof *b.outcomes);
  b.rows = kin_array(most, kin_model_dim(model) * sizeof *b.rows);
  if (b.crops && b.outcomes && b.rows)
    status = run(&b, model, images, n, &o, out, err);
  else
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for a batch of %zu pictures", most);
  free(b.crops);
  free(b.outcomes);
  free(b.rows);
  return status;
}
