/* Pictures -> vectors. Every thread takes what is to be done next: a few crops through the encoder, alone, or else a
 * file into a crop, as long as there is room for one. So none waits for another, and as much is decoded as the encoder
 * needs. Too few pictures for that are encoded by all threads together, in batches, while threads left idle decode. */
#include "embed/embed.h"
#include "model/model.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
  DEFAULT_BATCH = 16, /* or so many a thread: */
  DEFAULT_SHARE = 8,
  MOST_AHEAD = 64, /* crops beyond a batch that wait for the encoder */
  READ_AHEAD = 32, /* files beyond the one to be loaded that the system is asked to read */
  /* Of batches that all threads encode together: */
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

/* Crops on their way through the encoder. */
typedef struct part {
  uint8_t *crops;  /* [most][crop_bytes] */
  size_t *indexes; /* [most] of their pictures */
  float *rows;     /* [most][dim] */
} part;

typedef struct pipeline {
  kin_model *model;
  kin_pool *pool;
  kin_background background;
  const kin_preprocess *preprocess;
  const kin_image_source *sources; /* [n] */
  size_t n, threads;
  kin_embed_options options;
  size_t crop_bytes;
  float *out;
  size_t share;    /* pictures that one thread encodes at once; 0: all threads encode batches together */
  size_t reported; /* of the calling thread */
  /* What the lock guards. */
  pthread_mutex_t lock;
  pthread_cond_t changed; /* a picture was loaded or encoded */
  size_t next;            /* picture to load */
  size_t advised;         /* files below are being read ahead */
  size_t reporting;       /* pictures below were reported, as the loaders see it */
  size_t loading;         /* pictures that threads are at */
  size_t encoding;        /* parts likewise */
  double encoding_since;  /* when it was 0 last */
  size_t first_bad;       /* the first picture that failed; n: none */
  bool stopping;
  kin_error error; /* of the encoder; status KIN_OK: none */
  item *items;     /* [window]: picture i is at i % window */
  size_t window;
  uint8_t *pixels; /* [n_crops][crop_bytes] */
  uint8_t **unused;
  size_t n_unused;
  crop *ready; /* for the encoder, by index */
  size_t n_crops, n_ready;
  part *parts; /* [n_parts], the first n_idle of which are in no use */
  size_t n_parts, n_idle;
  double gathering_since; /* the last batch was full or closed */
  bool impatient;         /* the next batch won't become full */
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
  pthread_cond_signal(&p->changed);
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

/* Whether an error has come that ends the call; the lock is held from here on. */
static bool is_lost(const pipeline *p) {
  return !p->options.on_item && p->first_bad < p->n;
}

/* Crops that the encoder wants at once: fewer when it stands still, and towards the end, so that all threads finish
 * together. */
static size_t wanted(const pipeline *p) {
  if (!p->share) return p->options.batch;
  const size_t left = p->n - p->next + p->loading + p->n_ready, least = (p->share + 2) / 3;
  const size_t size = p->encoding ? (left + 2 * p->threads - 1) / (2 * p->threads) : least;
  return size < least ? least : size < p->share ? size : p->share;
}

/* Whether the encoder should take what is ready. */
static bool is_part(const pipeline *p) {
  if (is_lost(p) || p->stopping || p->n_ready == 0) return false;
  if (p->n_ready >= wanted(p) || (!can_load(p) && p->loading == 0)) return true;
  if (p->share) return false;
  const bool late = kin_embed_now() - p->gathering_since > 1e-3 * GATHER_MS;
  return (late && 4 * p->n_ready >= p->options.batch) || (!can_load(p) && p->impatient);
}

/* Move crops out of the queue; returns how many. */
static size_t take_crops(pipeline *p, const part *to) {
  const size_t want = wanted(p), n = p->n_ready < want ? p->n_ready : want;
  for (size_t i = 0; i < n; i++) {
    memcpy(to->crops + i * p->crop_bytes, p->ready[i].pixels, p->crop_bytes);
    to->indexes[i] = p->ready[i].index;
    p->unused[p->n_unused++] = p->ready[i].pixels;
  }
  p->n_ready -= n;
  memmove(p->ready, p->ready + n, p->n_ready * sizeof *p->ready);
  return n;
}

/* Without the lock. */
static kin_status encode(pipeline *p, const part *t, size_t n, kin_error *err) {
  const size_t dim = kin_model_dim(p->model);
  kin_status status = p->share ? kin_model_encode_images_alone(p->model, t->crops, n, t->rows, err)
                               : kin_model_encode_images(p->model, t->crops, n, t->rows, err);
  for (size_t i = 0; status == KIN_OK && i < n; i++)
    status = kin_embed_finish(p->model, t->rows + i * dim, p->options.raw, p->out + t->indexes[i] * dim, err);
  return status;
}

/* Take what is ready through the encoder. The lock is given up meanwhile. */
static void encode_ready(pipeline *p) {
  const part t = p->parts[--p->n_idle];
  const size_t n = take_crops(p, &t);
  if (p->encoding++ == 0) p->encoding_since = kin_embed_now();
  p->stats.batches++;
  pthread_mutex_unlock(&p->lock);
  kin_background_wake(p->pool, &p->background); /* there is room for more crops */
  kin_error error;
  const kin_status status = encode(p, &t, n, &error);
  pthread_mutex_lock(&p->lock);
  const double now = kin_embed_now();
  if (--p->encoding == 0) p->stats.encoder_seconds += now - p->encoding_since;
  p->gathering_since = now;
  p->impatient = false;
  p->parts[p->n_idle++] = t;
  if (status == KIN_OK) {
    for (size_t i = 0; i < n; i++) p->items[t.indexes[i] % p->window].final = true;
  } else if (p->error.status == KIN_OK) {
    p->error = error;
    p->error.status = status;
    p->stopping = true;
  }
  pthread_cond_signal(&p->changed);
}

/* ----------------------------------------------------------------------- run */

/* Do what is to be done next; false if there is nothing. */
static bool work(pipeline *p, bool may_encode) {
  if (may_encode && is_part(p))
    encode_ready(p);
  else if (can_load(p))
    load_next(p);
  else
    return false;
  return true;
}

/* A piece of the pool's background work. */
static bool work_piece(void *arg) {
  pipeline *p = arg;
  pthread_mutex_lock(&p->lock);
  const bool worked = work(p, p->share > 0);
  const bool more = p->share && is_part(p);
  pthread_mutex_unlock(&p->lock);
  if (more) kin_background_wake(p->pool, &p->background); /* for another thread, too */
  return worked;
}

/* Nothing is to be done: wait for a thread that is at something. */
static void wait_for_others(pipeline *p) {
  if (p->share || p->n_ready == 0 || is_lost(p)) {
    pthread_cond_wait(&p->changed, &p->lock);
    return;
  }
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += PATIENCE_MS * 1000000L;
  if (until.tv_nsec >= 1000000000L) until.tv_sec++, until.tv_nsec -= 1000000000L;
  if (pthread_cond_timedwait(&p->changed, &p->lock, &until) != 0) p->impatient = true;
}

/* One step of the calling thread, which reports as well. */
static kin_status step(pipeline *p, kin_error *err) {
  kin_status status = KIN_OK;
  pthread_mutex_lock(&p->lock);
  if (!work(p, true)) {
    if (p->loading + p->encoding > 0)
      wait_for_others(p);
    else if (is_lost(p))
      status = p->items[p->first_bad % p->window].outcome.error.status;
  }
  if (status != KIN_OK)
    kin_fail(err, status, "%s", p->items[p->first_bad % p->window].outcome.error.message);
  else if (p->error.status != KIN_OK)
    status = kin_fail(err, p->error.status, "%s", p->error.message);
  pthread_mutex_unlock(&p->lock);
  return status == KIN_OK ? report(p, err) : status;
}

static kin_status run(pipeline *p, kin_error *err) {
  p->background = (kin_background){.piece = work_piece, .arg = p};
  p->gathering_since = kin_embed_now();
  kin_background_start(p->pool, &p->background);
  kin_status status = KIN_OK;
  while (status == KIN_OK && p->reported < p->n) {
    const size_t before = p->reported;
    status = step(p, err);
    if (p->reported > before) kin_background_wake(p->pool, &p->background); /* the window moved on */
  }
  pthread_mutex_lock(&p->lock);
  p->stopping = true;
  pthread_mutex_unlock(&p->lock);
  kin_background_stop(p->pool, &p->background);
  return status;
}

static void pipeline_free(pipeline *p) {
  for (size_t i = 0; p->parts && i < p->n_parts; i++) {
    free(p->parts[i].crops);
    free(p->parts[i].indexes);
    free(p->parts[i].rows);
  }
  free(p->parts);
  free(p->items);
  free(p->pixels);
  free(p->unused);
  free(p->ready);
}

static bool alloc_parts(pipeline *p, size_t n, size_t most) {
  p->parts = calloc(n, sizeof *p->parts);
  if (!p->parts) return false;
  p->n_parts = p->n_idle = n;
  bool ok = true;
  for (size_t i = 0; i < n; i++) {
    part *t = &p->parts[i];
    t->crops = kin_array(most, p->crop_bytes);
    t->indexes = kin_array(most, sizeof *t->indexes);
    t->rows = kin_array(most, kin_model_dim(p->model) * sizeof *t->rows);
    ok = ok && t->crops && t->indexes && t->rows;
  }
  return ok;
}

static bool pipeline_alloc(pipeline *p) {
  const size_t most = p->n < p->options.batch ? p->n : p->options.batch;
  size_t ahead = most < MOST_AHEAD ? most : MOST_AHEAD;
  if (ahead < 2 * p->threads) ahead = 2 * p->threads;
  p->options.batch = most;
  p->share = kin_model_share(p->model, most);
  p->n_crops = p->n - most < ahead ? p->n : most + ahead;
  p->window = p->n < 4 * p->n_crops ? p->n : 4 * p->n_crops;
  p->items = kin_array(p->window, sizeof *p->items);
  p->pixels = kin_array(p->n_crops, p->crop_bytes);
  p->unused = kin_array(p->n_crops, sizeof *p->unused);
  p->ready = kin_array(p->n_crops, sizeof *p->ready);
  if (!p->items || !p->pixels || !p->unused || !p->ready) return false;
  while (p->n_unused < p->n_crops) {
    p->unused[p->n_unused] = p->pixels + p->n_unused * p->crop_bytes;
    p->n_unused++;
  }
  return p->share ? alloc_parts(p, p->threads, p->share) : alloc_parts(p, 1, most);
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

  kin_pool *pool = kin_model_context(model)->pool;
  const size_t shares = DEFAULT_SHARE * (size_t)kin_pool_threads(pool);
  pipeline p = {.model = model,
                .pool = pool,
                .preprocess = preprocess,
                .sources = images,
                .n = n,
                .threads = kin_pool_threads(pool),
                .options = kin_embed_resolve(options, shares > DEFAULT_BATCH ? shares : DEFAULT_BATCH),
                .crop_bytes = preprocess->crop_width * preprocess->crop_height * 3,
                .out = out,
                .first_bad = n};
  pthread_mutex_init(&p.lock, NULL);
  pthread_cond_init(&p.changed, NULL);
  if (pipeline_alloc(&p))
    status = run(&p, err);
  else
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for a batch of %zu pictures", p.options.batch);
  p.stats.seconds = kin_embed_now() - start;
  if (p.options.stats) *p.options.stats = p.stats;
  pipeline_free(&p);
  pthread_cond_destroy(&p.changed);
  pthread_mutex_destroy(&p.lock);
  return status;
}
