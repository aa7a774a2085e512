/* kindred model compare: one model's speed, memory and answers. */
#include "cli/model_compare.h"
#include "image/image.h"
#include "model/model.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Photos in a batch when the encoder alone is timed, and the seconds that this takes at least. */
enum { ENCODER_BATCH = 16 };
#define ENCODER_SECONDS 0.5

typedef struct measurement {
  comparison *c;
  size_t model;
  float *rows;   /* [n_photos][dim], as the model gives them */
  bool *bad;     /* [n_photos] */
  size_t failed; /* of them */
  uint64_t most_resident;
} measurement;

static int out_of_memory(const comparison *c) {
  cli_error("out of memory for the vectors of %zu photos", c->n_photos);
  return CLI_FAILED;
}

/* -------------------------------------------------------------- memory */

/* A line of /proc/self/status, in bytes; 0 where there is none. */
static uint64_t process_memory(const char *key) {
  FILE *file = fopen("/proc/self/status", "r");
  char line[256];
  unsigned long long kilobytes = 0;
  while (file && fgets(line, sizeof line, file))
    if (strncmp(line, key, strlen(key)) == 0) sscanf(line + strlen(key), ": %llu", &kilobytes);
  if (file) fclose(file);
  return kilobytes * 1024;
}

/* Make the most that was resident start from now. Where the system doesn't allow it, samples have to do. */
static bool reset_peak(void) {
  FILE *file = fopen("/proc/self/clear_refs", "w");
  bool done = file && fputs("5", file) >= 0;
  if (file) done = fclose(file) == 0 && done;
  return done;
}

/* ------------------------------------------------------------ embedding */

static bool on_item(void *user, const kin_item_report *report) {
  measurement *m = user;
  bool go_on = true;
  if (report->status != KIN_OK) {
    m->bad[report->index] = true;
    m->failed++;
    cli_error("%s", report->message);
    go_on = m->model == 0; /* the others embed what the first could read */
  }
  if (report->index % ENCODER_BATCH == 0) {
    uint64_t resident = process_memory("VmRSS");
    if (resident > m->most_resident) m->most_resident = resident;
  }
  cli_progress_update((cli_progress){
      .done = report->index + 1, .total = m->c->n_photos, .worked = report->index + 1, .failed = m->failed});
  return go_on && !cli_signal();
}

static int embed(measurement *m, const kin_image_source *sources) {
  comparison *c = m->c;
  char label[64];
  kin_error err;
  kin_embed_options options = {.raw = true, .on_item = on_item, .user = m};
  snprintf(label, sizeof label, "%.48s", c->models[m->model].label);
  cli_progress_start(label, c->common.quiet);
  double start = cli_now();
  kin_status status = kin_embed_images(c->session.model, sources, c->n_photos, &options, m->rows, &err);
  double seconds = cli_now() - start;
  cli_progress_stop();
  if (status != KIN_OK) return m->failed && m->model > 0 ? CLI_FAILED : cli_failed(&err);
  c->models[m->model].photos_per_second = (double)(c->n_photos - m->failed) / seconds;
  return CLI_OK;
}

/* Take out the photos that couldn't be read, and their rows. */
static int drop_bad(measurement *m) {
  comparison *c = m->c;
  size_t kept = 0, dim = c->session.info.dim;
  for (size_t i = 0; i < c->n_photos; i++) {
    if (m->bad[i]) {
      free(c->photos[i].path);
      free(c->photos[i].class_name);
      continue;
    }
    if (kept != i) memcpy(m->rows + kept * dim, m->rows + i * dim, dim * sizeof *m->rows);
    c->photos[kept++] = c->photos[i];
  }
  c->n_photos = kept;
  c->skipped += m->failed;
  if (kept >= 2) return CLI_OK;
  cli_error("a comparison needs at least two photos that can be read");
  return CLI_FAILED;
}

/* Crops of the first photos, [*n][crop]. */
static kin_status load_crops(const comparison *c, uint8_t **out, size_t *n, kin_error *err) {
  const kin_preprocess *p = kin_model_preprocess(c->session.model);
  size_t bytes = p->crop_width * p->crop_height * 3;
  *n = c->n_photos < ENCODER_BATCH ? c->n_photos : ENCODER_BATCH;
  *out = calloc(*n, bytes);
  if (!*out) {
    err->status = KIN_ERR_MEMORY;
    snprintf(err->message, sizeof err->message, "out of memory for %zu pictures", *n);
    return KIN_ERR_MEMORY;
  }
  kin_status status = KIN_OK;
  for (size_t i = 0; i < *n && status == KIN_OK; i++) {
    kin_image image;
    status = kin_image_decode_file(c->photos[i].path, 0, &image, err);
    if (status != KIN_OK) break;
    status = kin_preprocess_run(p, &image, *out + i * bytes, err);
    kin_image_free(&image);
  }
  return status;
}

/* Time the encoder alone, on a batch that lies ready. `out` has room for its vectors. */
static int time_encoder(comparison *c, compared_model *model, float *out) {
  uint8_t *crops = NULL;
  size_t n, rounds = 0;
  kin_error err;
  kin_status status = load_crops(c, &crops, &n, &err);
  double start = cli_now();
  for (; status == KIN_OK && !cli_signal(); rounds++) {
    if (rounds && cli_now() - start >= ENCODER_SECONDS) break;
    status = kin_model_encode_images(c->session.model, crops, n, out, &err);
  }
  free(crops);
  if (cli_signal()) return cli_stopped();
  if (status != KIN_OK) return cli_failed(&err);
  model->encoder_per_second = (double)(rounds * n) / (cli_now() - start);
  return CLI_OK;
}

/* -------------------------------------------------------------- answers */

static kin_status measure_labelled(comparison *c, compared_model *model, const kin_vector_set *set,
                                   const uint32_t *labels, kin_error *err) {
  kin_neighbour *nearest = calloc(set->n, c->k * sizeof *nearest);
  if (!nearest) {
    err->status = KIN_ERR_MEMORY;
    snprintf(err->message, sizeof err->message, "out of memory for the neighbours of %zu photos", set->n);
    return KIN_ERR_MEMORY;
  }
  kin_status status = kin_nearest_neighbours(c->session.context, set, NULL, set->n, c->k, nearest, err);
  if (status == KIN_OK) status = kin_measure_retrieval(nearest, set->n, c->k, 1, labels, &model->at_1, err);
  if (status == KIN_OK) status = kin_measure_retrieval(nearest, set->n, c->k, c->k, labels, &model->at_k, err);
  if (status == KIN_OK)
    status = kin_silhouette(c->session.context, set, KIN_METRIC_COSINE, labels, c->n_classes, &model->silhouette, err);
  free(nearest);
  return status;
}

/* Neighbours of the queries among all photos, then the figures of those that have a class; `rows` is spent. */
static int measure_answers(comparison *c, compared_model *model, float *rows) {
  size_t dim = model->info.dim;
  kin_error err;
  kin_status status = c->centre ? kin_center(rows, c->n_photos, dim, &err) : KIN_OK;
  model->nearest = calloc(c->n_queries + 1, c->k * sizeof *model->nearest);
  uint32_t *labels = calloc(c->n_labelled + 1, sizeof *labels);
  if (!model->nearest || !labels) {
    free(labels);
    return out_of_memory(c);
  }
  kin_vector_set all = {rows, c->n_photos, dim};
  if (status == KIN_OK)
    status = kin_nearest_neighbours(c->session.context, &all, c->queries, c->n_queries, c->k, model->nearest, &err);
  if (status == KIN_OK && c->n_labelled) {
    size_t n = 0;
    for (size_t i = 0; i < c->n_photos; i++) {
      if (c->photos[i].class_number == CLI_NO_CLASS) continue;
      if (n != i) memcpy(rows + n * dim, rows + i * dim, dim * sizeof *rows);
      labels[n++] = c->photos[i].class_number;
    }
    status = measure_labelled(c, model, &(kin_vector_set){rows, n, dim}, labels, &err);
  }
  free(labels);
  return status == KIN_OK ? CLI_OK : cli_failed(&err);
}

/* --------------------------------------------------------------- a model */

/* Open the model, embed, and note time and memory. */
static int open_and_embed(measurement *m) {
  comparison *c = m->c;
  compared_model *model = &c->models[m->model];
  kin_image_source *sources = calloc(c->n_photos, sizeof *sources);
  m->bad = calloc(c->n_photos, sizeof *m->bad);
  m->rows = calloc(c->n_photos, model->info.dim * sizeof *m->rows);
  if (!sources || !m->bad || !m->rows) {
    free(sources);
    return out_of_memory(c);
  }
  for (size_t i = 0; i < c->n_photos; i++) sources[i].path = c->photos[i].path;
  malloc_trim(0); /* what the last model left */
  uint64_t before = process_memory("VmRSS");
  double start = cli_now();
  int status = cli_open_model(model->operand, KIN_POOLING_DEFAULT, &c->session);
  model->load_seconds = cli_now() - start;
  bool exact = reset_peak();
  if (status == CLI_OK) status = embed(m, sources);
  uint64_t peak = exact ? process_memory("VmHWM") : m->most_resident;
  model->memory_bytes = peak > before ? peak - before : 0;
  free(sources);
  return status;
}

int compare_measure(comparison *c, size_t model) {
  measurement m = {.c = c, .model = model};
  int status = open_and_embed(&m);
  if (status == CLI_OK && model == 0) status = drop_bad(&m);
  if (status == CLI_OK && model == 0) status = compare_settle(c);
  float *scratch = status == CLI_OK ? calloc(ENCODER_BATCH, c->session.info.dim * sizeof *scratch) : NULL;
  if (status == CLI_OK) status = scratch ? time_encoder(c, &c->models[model], scratch) : out_of_memory(c);
  if (status == CLI_OK) status = measure_answers(c, &c->models[model], m.rows);
  free(scratch);
  free(m.rows);
  free(m.bad);
  kin_model_close(c->session.model);
  c->session.model = NULL;
  return status;
}
