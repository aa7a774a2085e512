/* Pictures -> vectors: while the encoder runs a batch, threads that it leaves idle turn the coming files into crops, as
 * many as there is room for; the calling thread does so too as long as a batch isn't full. */
#include "embed/embed.h"
#include "model/model.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
  DEFAULT_BATCH = 16,
  MOST_AHEAD = 64,  /* crops beyond a batch that wait for the encoder */
  READ_AHEAD = 32,  /* files beyond the one to be loaded that the system is asked to read */
  GATHER_MS = 40,   /* after which a quarter of a batch is enough to begin with */
  PATIENCE_MS = 10, /* to wait for the last pictures of a batch before it is closed early */
};

/* A picture on its way: from when its loading begins until it was reported. */
typedef struct item {
  kin_outcome outcome;
  bool final; /* failed, or its vector is in its row */
} item;

typedef struct crop {
  size_t index; /* of the picture */
  uint8_t *pixels;
} crop;

typedef struct pipeline {
  kin_model *model;
  kin_pool *pool;
  const kin_preprocess *preprocess;
  const kin_image_source *sources; /* [n] */
  size_t n;
  kin_embed_options options;
  size_t crop_bytes;
  float *out;
  /* The encoder's side, for the calling thread alone. */
  uint8_t *batch; /* [options.batch][crop_bytes] */
  size_t *batch_index;
  float *rows; /* [options.batch][dim] */
  size_t reported;
  /* What the lock guards. */
  pthread_mutex_t lock;
  pthread_cond_t loaded;
  size_t next;      /* picture to load */
  size_t advised;   /* files below are being read ahead */
  size_t reporting; /* pictures below were reported, as the loaders see it */
  size_t loading;   /* pictures that threads are at */
  size_t first_bad; /* the first picture that failed; n: none */
  bool stopping;
  item *items; /* [window]: picture i is at i % window */
  size_t window;
  uint8_t *pixels; /* [n_crops][crop_bytes] */
  uint8_t **unused;
  size_t n_unused;
  crop *ready; /* for the encoder, by index */
  size_t n_crops, n_ready;
  kin_embed_stats stats;
} pipeline;

/* ---------------------------------------------------------------------- load */

/* Turn a source into the encoder's crop. */
static kin_status load(const pipeline *p, const kin_image_source *source, uint8_t *pixels, kin_outcome *outcome) {
  const kin_crop_options options = {p->options.max_pixels, p->options.fast_decode};
  uint32_t *width = &outcome->width, *height = &outcome->height;
  kin_error *err = &outcome->error;
  if (source->path) return kin_image_crop_file(p->preprocess, source->path, &options, pixels, width, height, err);
  if (source->data)
    return kin_image_crop(p->preprocess, source->data, source->data_size, "picture in memory", &options, pixels, width,
                          height, err);
  if ((uint64_t)source->width * source->height > options.max_pixels)
    return kin_fail(err, KIN_ERR_LIMIT, "picture of %ux%u pixels is over the limit of %llu", source->width,
                    source->height, (unsigned long long)options.max_pixels);
  *width = source->width;
  *height = source->height;
  const kin_image image = {source->width, source->height, (uint8_t *)source->rgb}; /* only read from */
  return kin_preprocess_run(p->preprocess, &image, pixels, err);
}

/* Whether a picture is left that there is room for; with the lock held. */
static bool can_load(const pipeline *p) {
  const size_t end = p->options.on_item ? p->n : p->first_bad; /* what follows the error that ends the call is lost */
  return !p->stopping && p->next < end && p->n_unused > 0 && p->next < p->reporting + p->window;
}

/* In the order of the pictures, which is nearly the one in which they come. */
static void insert_ready(pipeline *p, crop c) {
  size_t at = p->n_ready++;
  for (; at > 0 && p->ready[at - 1].index > c.index; at--) p->ready[at] = p->ready[at - 1];
  p->ready[at] = c;
}

/* Load the next picture. The lock is held, and given up meanwhile. */
static void load_next(pipeline *p) {
  const crop c = {p->next++, p->unused[--p->n_unused]};
  item *it = &p->items[c.index % p->window];
  it->final = false;
  const size_t from = p->advised > c.index ? p->advised : c.index;
  const size_t to = p->n - c.index > READ_AHEAD ? c.index + READ_AHEAD : p->n;
  if (to > from) p->advised = to;
  p->loading++;
  pthread_mutex_unlock(&p->lock);
  const double start = kin_embed_now();
  for (size_t i = from; i < to; i++)
    if (p->sources[i].path) kin_file_read_ahead(p->sources[i].path);
  it->outcome = (kin_outcome){0};
  const kin_status status = load(p, &p->sources[c.index], c.pixels, &it->outcome);
  if (status != KIN_OK) it->outcome.width = it->outcome.height = 0;
  it->outcome.error.status = status;
  const double seconds = kin_embed_now() - start;
  pthread_mutex_lock(&p->lock);
  p->stats.load_seconds += seconds;
  p->loading--;
  if (status == KIN_OK) {
    insert_ready(p, c);
  } else {
    p->unused[p->n_unused++] = c.pixels;
    it->final = true;
    if (c.index < p->first_bad) p->first_bad = c.index;
  }
  pthread_cond_signal(&p->loaded);
}

/* A piece of the pool's background work. */
static bool load_piece(void *arg) {
  pipeline *p = arg;
  pthread_mutex_lock(&p->lock);
  const bool can = can_load(p);
  if (can) load_next(p);
  pthread_mutex_unlock(&p->lock);
  return can;
}

/* -------------------------------------------------------------------- encode */

/* Tell the caller of all pictures up to the first that isn't final. */
static kin_status report(pipeline *p, kin_error *err) {
  kin_status status = KIN_OK;
  pthread_mutex_lock(&p->lock);
  while (status == KIN_OK && p->reported < p->next && p->items[p->reported % p->window].final) {
    const kin_outcome *outcome = &p->items[p->reported % p->window].outcome;
    pthread_mutex_unlock(&p->lock);
    float *row = p->out + p->reported * kin_model_dim(p->model);
    if (outcome->error.status != KIN_OK) memset(row, 0, kin_model_dim(p->model) * sizeof *row);
    status = kin_embed_report(&p->options, p->reported++, 1, outcome, err);
    pthread_mutex_lock(&p->lock);
    p->reporting = p->reported;
  }
  pthread_mutex_unlock(&p->lock);
  return status;
}

/* Move up to a batch of crops out of the queue; with the lock held. */
static size_t take_batch(pipeline *p) {
  const size_t n = p->n_ready < p->options.batch ? p->n_ready : p->options.batch;
  for (size_t i = 0; i < n; i++) {
    memcpy(p->batch + i * p->crop_bytes, p->ready[i].pixels, p->crop_bytes);
    p->batch_index[i] = p->ready[i].index;
    p->unused[p->n_unused++] = p->ready[i].pixels;
  }
  p->n_ready -= n;
  memmove(p->ready, p->ready + n, p->n_ready * sizeof *p->ready);
  return n;
}

/* Encode n crops of p->batch and tell the caller. */
static kin_status encode(pipeline *p, size_t n, kin_error *err) {
  const size_t dim = kin_model_dim(p->model);
  const double start = kin_embed_now();
  kin_status status = kin_model_encode_images(p->model, p->batch, n, p->rows, err);
  p->stats.encoder_seconds += kin_embed_now() - start;
  p->stats.batches++;
  for (size_t i = 0; status == KIN_OK && i < n; i++)
    status = kin_embed_finish(p->model, p->rows + i * dim, p->options.raw, p->out + p->batch_index[i] * dim, err);
  if (status != KIN_OK) return status;
  pthread_mutex_lock(&p->lock);
  for (size_t i = 0; i < n; i++) p->items[p->batch_index[i] % p->window].final = true;
  pthread_mutex_unlock(&p->lock);
  return KIN_OK;
}

/* Wait for a picture that another thread is at; false if none comes for a while. With the lock held. */
static bool wait_a_moment(pipeline *p) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += PATIENCE_MS * 1000000L;
  if (until.tv_nsec >= 1000000000L) until.tv_sec++, until.tv_nsec -= 1000000000L;
  return pthread_cond_timedwait(&p->loaded, &p->lock, &until) == 0;
}

/* Whether an error has come that ends the call; the lock is held. */
static bool is_lost(const pipeline *p) {
  return !p->options.on_item && p->first_bad < p->n;
}

/* Whether the encoder should take what is ready. */
static bool is_batch(const pipeline *p, double since, bool patient) {
  if (is_lost(p) || p->n_ready == 0) return false;
  if (p->n_ready >= p->options.batch) return true;
  if (4 * p->n_ready >= p->options.batch && kin_embed_now() - since > 1e-3 * GATHER_MS) return true;
  return !can_load(p) && (p->loading == 0 || !patient);
}

/* Have crops for the encoder in p->batch; 0 when there are none and none will come before pictures are reported. */
static size_t gather(pipeline *p) {
  const double since = kin_embed_now();
  size_t n = 0;
  bool patient = true;
  pthread_mutex_lock(&p->lock);
  while (!is_batch(p, since, patient)) {
    if (can_load(p))
      load_next(p);
    else if (p->loading == 0)
      break;
    else if (p->n_ready == 0 || is_lost(p))
      pthread_cond_wait(&p->loaded, &p->lock);
    else
      patient = wait_a_moment(p);
  }
  if (is_batch(p, since, patient)) n = take_batch(p);
  pthread_mutex_unlock(&p->lock);
  return n;
}

/* ----------------------------------------------------------------------- run */

static kin_status run(pipeline *p, kin_error *err) {
  kin_background loaders = {.piece = load_piece, .arg = p};
  kin_background_start(p->pool, &loaders);
  kin_status status = KIN_OK;
  while (status == KIN_OK && p->reported < p->n) {
    const size_t n = gather(p);
    kin_background_wake(p->pool, &loaders); /* there is room again */
    if (n > 0) status = encode(p, n, err);
    if (status == KIN_OK && n == 0 && is_lost(p)) {
      const kin_error *e = &p->items[p->first_bad % p->window].outcome.error;
      status = kin_fail(err, e->status, "%s", e->message);
    }
    if (status == KIN_OK) status = report(p, err);
  }
  pthread_mutex_lock(&p->lock);
  p->stopping = true;
  pthread_mutex_unlock(&p->lock);
  kin_background_stop(p->pool, &loaders);
  return status;
}

static void pipeline_free(pipeline *p) {
  free(p->batch);
  free(p->batch_index);
  free(p->rows);
  free(p->items);
  free(p->pixels);
  free(p->unused);
  free(p->ready);
}

static bool pipeline_alloc(pipeline *p) {
  const size_t most = p->n < p->options.batch ? p->n : p->options.batch, threads = kin_pool_threads(p->pool);
  size_t ahead = most < MOST_AHEAD ? most : MOST_AHEAD;
  if (ahead < 2 * threads) ahead = 2 * threads;
  p->options.batch = most;
  p->n_crops = p->n - most < ahead ? p->n : most + ahead;
  p->window = p->n < 4 * p->n_crops ? p->n : 4 * p->n_crops;
  p->batch = kin_array(most, p->crop_bytes);
  p->batch_index = kin_array(most, sizeof *p->batch_index);
  p->rows = kin_array(most, kin_model_dim(p->model) * sizeof *p->rows);
  p->items = kin_array(p->window, sizeof *p->items);
  p->pixels = kin_array(p->n_crops, p->crop_bytes);
  p->unused = kin_array(p->n_crops, sizeof *p->unused);
  p->ready = kin_array(p->n_crops, sizeof *p->ready);
  if (!p->batch || !p->batch_index || !p->rows || !p->items || !p->pixels || !p->unused || !p->ready) return false;
  while (p->n_unused < p->n_crops) {
    p->unused[p->n_unused] = p->pixels + p->n_unused * p->crop_bytes;
    p->n_unused++;
  }
  return true;
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

kin_status kin_embed_images(kin_model *model, const kin_image_source *images, size_t n,
                            const kin_embed_options *options, float *out, kin_error *err) {
  if (!model || (n && (!images || !out)))
    return kin_fail(err, KIN_ERR_ARGUMENT, "kin_embed_images needs a model, pictures and room for the vectors");
  const kin_preprocess *preprocess = kin_model_preprocess(model);
  if (!preprocess) return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s has no image tower", kin_model_dir(model));
  const double start = kin_embed_now();
  kin_status status = check_sources(images, n, err);
  if (status != KIN_OK || n == 0) return status;

  pipeline p = {.model = model,
                .pool = kin_model_context(model)->pool,
                .preprocess = preprocess,
                .sources = images,
                .n = n,
                .options = kin_embed_resolve(options, DEFAULT_BATCH),
                .crop_bytes = preprocess->crop_width * preprocess->crop_height * 3,
                .out = out,
                .first_bad = n};
  pthread_mutex_init(&p.lock, NULL);
  pthread_cond_init(&p.loaded, NULL);
  if (pipeline_alloc(&p))
    status = run(&p, err);
  else
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for a batch of %zu pictures", p.options.batch);
  p.stats.seconds = kin_embed_now() - start;
  if (p.options.stats) *p.options.stats = p.stats;
  pipeline_free(&p);
  pthread_cond_destroy(&p.loaded);
  pthread_mutex_destroy(&p.lock);
  return status;
}
