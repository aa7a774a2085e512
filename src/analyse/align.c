/* kin_align_fit: embed pictures and captions, keep some apart, fit, measure, write. */
#include "analyse/align.h"

#include "analyse/linear.h"
#include "model/bridge.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LEAST_PICTURES = 10, MOST_PICTURES = 10000 };

static const char *const methods[] = {"kernel", "ridge"};

kin_status kin_align_method_parse(const char *name, kin_align_method *out, kin_error *err) {
  for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
    if (!strcmp(methods[i], name)) {
      *out = (kin_align_method)i;
      return KIN_OK;
    }
  return kin_fail(err, KIN_ERR_ARGUMENT, "method \"%s\" is not one of kernel, ridge", name);
}

static void data_free(kin_align_data *data) {
  free(data->images), free(data->texts), free(data->has), free(data->group);
}

/* ------------------------------------------------------------------ groups */

typedef struct captioned {
  char hash[65]; /* of seed and caption: the random order */
  size_t item;
} captioned;

static int by_hash(const void *a, const void *b) {
  return strcmp(((const captioned *)a)->hash, ((const captioned *)b)->hash);
}

static const char *first_caption(const kin_captioned *item, size_t columns) {
  for (size_t c = 0; c < columns; c++)
    if (item->captions && item->captions[c]) return item->captions[c];
  return NULL;
}

/* Number the different first captions in an order that only the seed and they decide. */
static kin_status number_groups(const kin_captioned *items, size_t n, size_t columns, uint64_t seed,
                                kin_align_data *data, kin_error *err) {
  captioned *all = kin_array(n, sizeof *all);
  if (!all) return kin_fail(err, KIN_ERR_MEMORY, "no memory for %zu captions", n);
  for (size_t i = 0; i < n; i++) {
    char salt[32];
    const char *caption = first_caption(&items[i], columns);
    kin_sha256 *h = kin_sha256_new();
    if (!h) {
      free(all);
      return kin_fail(err, KIN_ERR_MEMORY, "no memory for %zu captions", n);
    }
    kin_sha256_update(h, salt, (size_t)snprintf(salt, sizeof salt, "%llu ", (unsigned long long)seed));
    kin_sha256_update(h, caption, strlen(caption));
    kin_sha256_finish(h, all[i].hash);
    all[i].item = i;
  }
  qsort(all, n, sizeof *all, by_hash);
  for (size_t i = 0; i < n; i++) {
    if (i == 0 || strcmp(all[i].hash, all[i - 1].hash)) data->groups++;
    data->group[all[i].item] = data->groups - 1;
  }
  free(all);
  return KIN_OK;
}

/* --------------------------------------------------------------- embedding */

typedef struct embedding {
  const kin_align_options *options;
  const kin_captioned *items;
  size_t n;
  bool *bad;
  kin_error first; /* what ended it, where nobody hears of failures */
} embedding;

static bool on_picture(void *user, const kin_item_report *report) {
  embedding *e = user;
  const kin_align_options *o = e->options;
  if (report->status != KIN_OK) {
    e->bad[report->index] = true;
    if (!o->on_failure) {
      kin_fail(&e->first, report->status, "%s", report->message);
      return false;
    }
    o->on_failure(o->user, e->items[report->index].path, report->status, report->message);
  }
  return !o->on_progress || o->on_progress(o->user, report->index + 1, e->n);
}

/* Pictures into data->images, the readable ones first; `items` follows. */
static kin_status embed_pictures(kin_model *model, const kin_align_options *o, kin_captioned *items, size_t n,
                                 kin_align_data *data, kin_error *err) {
  const size_t p = data->features = kin_model_dim(model);
  kin_image_source *sources = calloc(n, sizeof *sources);
  embedding e = {o, items, n, calloc(n, sizeof *e.bad), {0}};
  kin_status status = KIN_OK;
  data->images = kin_array(n * p, sizeof *data->images);
  if (!sources || !e.bad || !data->images)
    status = kin_fail(err, KIN_ERR_MEMORY, "no memory for the features of %zu pictures", n);
  for (size_t i = 0; status == KIN_OK && i < n; i++) sources[i].path = items[i].path;
  kin_embed_options embed = {.raw = true, .max_pixels = o->max_pixels, .on_item = on_picture, .user = &e};
  if (status == KIN_OK) status = kin_embed_images(model, sources, n, &embed, data->images, err);
  if (status == KIN_ERR_CANCELLED && e.first.status != KIN_OK) {
    if (err) *err = e.first;
    status = e.first.status;
  }
  for (size_t i = 0; status == KIN_OK && i < n; i++) {
    if (e.bad[i]) continue;
    memmove(data->images + data->n * p, data->images + i * p, p * sizeof *data->images);
    items[data->n++] = items[i];
  }
  free(sources), free(e.bad);
  return status;
}

/* One column's captions into rows of data->texts. */
static kin_status embed_column(kin_model *model, const kin_captioned *items, size_t column, kin_align_data *data,
                               kin_error *err) {
  const size_t t = data->dim;
  const char **texts = kin_array(data->n, sizeof *texts);
  float *rows = kin_array(data->n * t, sizeof *rows);
  kin_status status = KIN_OK;
  size_t count = 0, at = 0;
  if (!texts || !rows) status = kin_fail(err, KIN_ERR_MEMORY, "no memory for %zu captions", data->n);
  for (size_t i = 0; status == KIN_OK && i < data->n; i++) {
    const bool has = items[i].captions[column] != NULL;
    data->has[column * data->n + i] = has;
    if (has) texts[count++] = items[i].captions[column];
  }
  if (status == KIN_OK && count)
    status = kin_embed_texts(model, texts, count, &(kin_embed_options){.role = KIN_TEXT_QUERY}, rows, err);
  for (size_t i = 0; status == KIN_OK && i < data->n; i++)
    if (data->has[column * data->n + i])
      memcpy(data->texts + (column * data->n + i) * t, rows + at++ * t, t * sizeof *rows);
  free(texts), free(rows);
  return status;
}

static kin_status embed_captions(kin_model *model, const kin_captioned *items, size_t columns, kin_align_data *data,
                                 kin_error *err) {
  data->dim = kin_model_dim(model), data->columns = columns;
  data->texts = calloc(columns * data->n, data->dim * sizeof *data->texts);
  data->has = calloc(columns * data->n, sizeof *data->has);
  data->group = kin_array(data->n, sizeof *data->group);
  if (!data->texts || !data->has || !data->group)
    return kin_fail(err, KIN_ERR_MEMORY, "no memory for the captions of %zu pictures", data->n);
  kin_status status = KIN_OK;
  for (size_t c = 0; status == KIN_OK && c < columns; c++) status = embed_column(model, items, c, data, err);
  return status;
}

/* --------------------------------------------------------------- measuring */

/* The rank, from 0, of the best picture of query i's group. */
static size_t rank_of(const kin_align_data *data, const size_t *rows, size_t n, const double *images,
                      const double *query, size_t i) {
  const size_t t = data->dim;
  double best = -INFINITY;
  for (size_t k = 0; k < n; k++)
    if (data->group[rows[k]] == data->group[rows[i]]) best = fmax(best, kin_dot_in_order(images + k * t, query, t));
  size_t above = 0;
  for (size_t k = 0; k < n; k++)
    above += data->group[rows[k]] != data->group[rows[i]] && !(kin_dot_in_order(images + k * t, query, t) < best);
  return above;
}

void kin_align_measure(const kin_align_data *data, size_t column, const size_t *rows, size_t n, double *images,
                       const double *texts, kin_align_recall *out, double *mean_reciprocal) {
  const size_t t = data->dim;
  double reciprocal = 0;
  *out = (kin_align_recall){0};
  for (size_t i = 0; i < n; i++) {
    const double length = sqrt(kin_dot_in_order(images + i * t, images + i * t, t));
    for (size_t j = 0; length > 0 && j < t; j++) images[i * t + j] /= length;
  }
  for (size_t i = 0; i < n; i++) {
    bool asked = !data->has[column * data->n + rows[i]];
    for (size_t k = 0; !asked && k < i; k++)
      asked = data->group[rows[k]] == data->group[rows[i]] && data->has[column * data->n + rows[k]];
    if (asked) continue;
    const size_t rank = rank_of(data, rows, n, images, texts + i * t, i);
    out->queries++;
    out->at1 += rank < 1, out->at5 += rank < 5, out->at10 += rank < 10;
    reciprocal += 1 / ((double)rank + 1);
  }
  const double queries = out->queries ? (double)out->queries : 1;
  out->at1 /= queries, out->at5 /= queries, out->at10 /= queries;
  if (mean_reciprocal) *mean_reciprocal = reciprocal / queries;
}

/* The chance that ten pictures drawn at random hold one of the caption's own: summed over the captions. */
static double chance_of_10(const kin_align_data *data, const size_t *rows, size_t n, size_t *queries) {
  double total = 0;
  *queries = 0;
  for (size_t i = 0; i < n; i++) {
    size_t same = 0;
    bool first = true;
    for (size_t k = 0; k < n; k++) {
      if (data->group[rows[k]] != data->group[rows[i]]) continue;
      same++;
      first = first && k >= i;
    }
    if (!first) continue;
    double missed = 1;
    for (size_t d = 0; d < 10; d++) missed *= n > same + d ? (double)(n - same - d) / (double)(n - d) : 0;
    total += 1 - missed, ++*queries;
  }
  return total;
}

static void add_recall(kin_align_recall *sum, const kin_align_recall *part) {
  const double n = (double)part->queries;
  sum->queries += part->queries;
  sum->at1 += n * part->at1, sum->at5 += n * part->at5, sum->at10 += n * part->at10;
}

/* Add what `map` makes of the pictures `rows` to the sums in the report. */
static kin_status measure(kin_context *context, const kin_align_map *map, const kin_align_data *data,
                          const size_t *rows, size_t n, kin_align_report *report, kin_error *err) {
  double *images = kin_array(n * data->dim, sizeof *images), *texts = kin_array(n * data->dim, sizeof *texts);
  kin_status status = KIN_OK;
  if (!images || !texts) status = kin_fail(err, KIN_ERR_MEMORY, "no memory to measure %zu pictures", n);
  if (status == KIN_OK) status = kin_align_map_images(context, map, data, rows, n, images, err);
  for (size_t c = 0; status == KIN_OK && c < data->columns; c++) {
    kin_align_recall part;
    status = kin_align_map_texts(context, map, data, c, rows, n, texts, err);
    if (status != KIN_OK) break;
    kin_align_measure(data, c, rows, n, images, texts, &part, NULL);
    add_recall(&report->recall[c], &part);
  }
  free(images), free(texts);
  return status;
}

/* ----------------------------------------------------------------- fitting */

/* Fit to all but one part of the captions, and measure with that part. `rows` [2 n] is scratch. */
static kin_status measure_part(kin_context *context, const kin_align_data *data, const kin_align_options *o,
                               size_t part, size_t *rows, kin_align_report *report, kin_error *err) {
  kin_align_map map = {0};
  size_t *held = rows + data->n, learnt = 0, n_held = 0, queries;
  for (size_t i = 0; i < data->n; i++)
    if (data->group[i] % report->parts == part)
      held[n_held++] = i;
    else
      rows[learnt++] = i;
  if (learnt < LEAST_PICTURES || n_held == 0)
    return kin_fail(err, KIN_ERR_ARGUMENT, "%zu pictures with %zu different captions are too few to learn from",
                    data->n, data->groups);
  kin_status status = kin_ridge_fit(context, data, rows, learnt, o->method, o->lambda, &map, err);
  if (status == KIN_OK) status = measure(context, &map, data, held, n_held, report, err);
  report->chance10 += chance_of_10(data, held, n_held, &queries);
  report->kept_captions += queries, report->kept_pictures += n_held;
  kin_align_map_free(&map);
  return status;
}

/* Sums over the parts -> means. */
static void conclude(kin_align_report *report, size_t columns) {
  const double chance = report->chance10 / (double)report->kept_captions;
  report->chance10 = chance;
  report->poor = true;
  for (size_t c = 0; c < columns; c++) {
    kin_align_recall *r = &report->recall[c];
    const double n = r->queries ? (double)r->queries : 1;
    r->at1 /= n, r->at5 /= n, r->at10 /= n;
    const double luck = 2.5 * sqrt(chance * (1 - chance) / n);
    if (r->at10 - chance > fmax((1 - chance) / 4, luck)) report->poor = false;
  }
  report->kept_captions = (report->kept_captions + report->parts / 2) / report->parts;
  report->kept_pictures = (report->kept_pictures + report->parts / 2) / report->parts;
}

/* Measure with each part of the captions kept apart in turn, then fit `map` to all. */
static kin_status fit(kin_context *context, const kin_align_data *data, const kin_align_options *o, kin_align_map *map,
                      kin_align_report *report, kin_error *err) {
  const double share = o->holdout == 0 ? 0.2 : o->holdout;
  size_t *rows = kin_array(2 * data->n, sizeof *rows);
  kin_status status = KIN_OK;
  if (!rows) return kin_fail(err, KIN_ERR_MEMORY, "no memory for %zu pictures", data->n);
  report->pictures = data->n, report->captions = data->groups;
  report->parts = share > 0 ? (size_t)lround(1 / share) : 0;
  for (size_t part = 0; status == KIN_OK && part < report->parts; part++)
    status = measure_part(context, data, o, part, rows, report, err);
  if (status == KIN_OK && report->parts) conclude(report, data->columns);
  if (status == KIN_OK && data->n < LEAST_PICTURES)
    status = kin_fail(err, KIN_ERR_ARGUMENT, "%zu pictures with captions are too few to learn from; %d are the least",
                      data->n, LEAST_PICTURES);
  for (size_t i = 0; i < data->n; i++) rows[i] = i;
  if (status == KIN_OK) status = kin_ridge_fit(context, data, rows, data->n, o->method, o->lambda, map, err);
  report->lambda = map->lambda;
  free(rows);
  return status;
}

/* ----------------------------------------------------------------- calling */

/* How the bridge refers to a model: a directory by its full path, anything else by its name. */
static kin_status refer(const char *name, char **dir, char **reference, kin_error *err) {
  kin_status status = kin_hub_find(name, NULL, dir, err);
  if (status != KIN_OK) return status;
  struct stat s;
  *reference = stat(name, &s) == 0 ? realpath(name, NULL) : kin_strdup(name);
  return *reference ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "no memory for the name of %s", name);
}

typedef struct encoder {
  kin_model *model;
  char *dir, *reference;
} encoder;

static kin_status open_encoder(kin_context *context, const char *name, encoder *out, kin_error *err) {
  kin_status status = refer(name, &out->dir, &out->reference, err);
  return status == KIN_OK ? kin_model_open(context, out->dir, &out->model, err) : status;
}

static void close_encoder(encoder *e) {
  kin_model_close(e->model);
  free(e->dir), free(e->reference);
}

static kin_status open_encoders(kin_context *context, const char *image_model, const char *text_model, encoder *image,
                                encoder *text, kin_error *err) {
  kin_model_info info;
  kin_status status = open_encoder(context, image_model, image, err);
  if (status != KIN_OK) return status;
  kin_model_get_info(image->model, &info);
  if (!info.has_image)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: has no image encoder to build a bridge from", image->dir);
  status = open_encoder(context, text_model, text, err);
  if (status != KIN_OK) return status;
  kin_model_get_info(text->model, &info);
  if (!info.has_text)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: has no text encoder to build a bridge to", text->dir);
  return KIN_OK;
}

static json_t *describe(const encoder *image, const encoder *text, const size_t *blocks, size_t n_blocks,
                        const kin_align_report *r, const kin_align_options *o, size_t columns) {
  kin_model_info i, t;
  kin_model_get_info(image->model, &i), kin_model_get_info(text->model, &t);
  json_t *list = json_array(), *recall = json_array();
  for (size_t b = 0; b < n_blocks; b++) json_array_append_new(list, json_integer((json_int_t)blocks[b]));
  for (size_t c = 0; c < columns && r->parts; c++)
    json_array_append_new(recall, json_pack("{s:f,s:f,s:f}", "at_1", r->recall[c].at1, "at_5", r->recall[c].at5,
                                            "at_10", r->recall[c].at10));
  return json_pack("{s:s,s:s,s:s,s:s,s:s,s:o,s:s,s:f,s:I,s:I,s:I,s:o}", "model_type", KIN_BRIDGE_TYPE, "image_model",
                   image->reference, "image_model_id", i.id, "text_model", text->reference, "text_model_id", t.id,
                   "blocks", list, "method", methods[o->method], "lambda", r->lambda, "pictures",
                   (json_int_t)r->pictures, "captions", (json_int_t)r->captions, "kept_captions",
                   (json_int_t)r->kept_captions, "recall", recall);
}

static kin_status check(const kin_captioned *items, size_t n, size_t columns, const kin_align_options *o,
                        kin_error *err) {
  if (!items || n == 0) return kin_fail(err, KIN_ERR_ARGUMENT, "no pictures with captions to learn from");
  if (columns < 1 || columns > KIN_ALIGN_MAX_COLUMNS)
    return kin_fail(err, KIN_ERR_ARGUMENT, "%zu columns of captions; 1 to %d are possible", columns,
                    KIN_ALIGN_MAX_COLUMNS);
  if (!(o->holdout <= 0.5) || (o->holdout > 0 && o->holdout < 0.01) || !(o->lambda >= 0 && isfinite(o->lambda)))
    return kin_fail(err, KIN_ERR_ARGUMENT, "holdout must be from 0.01 to 0.5, and lambda a number of at least 0");
  if ((unsigned)o->method > KIN_ALIGN_RIDGE)
    return kin_fail(err, KIN_ERR_ARGUMENT, "method %d is unknown", (int)o->method);
  if (n > MOST_PICTURES)
    return kin_fail(err, KIN_ERR_LIMIT, "%zu pictures with captions; a bridge is fitted to %d at most", n,
                    MOST_PICTURES);
  for (size_t i = 0; i < n; i++)
    if (!items[i].path || !first_caption(&items[i], columns))
      return kin_fail(err, KIN_ERR_ARGUMENT, "picture %zu has no path or no caption", i);
  return KIN_OK;
}

/* The whole of it, with the models open; `items` may be reordered. */
static kin_status build(kin_context *context, encoder *image, encoder *text, kin_captioned *items, size_t n,
                        size_t columns, const char *out, const kin_align_options *o, kin_align_report *report,
                        kin_error *err) {
  kin_align_data data = {0};
  kin_align_map map = {0};
  size_t defaults[4], n_blocks = o->n_blocks;
  const size_t *blocks = o->blocks;
  if (!n_blocks) {
    kin_model_default_taps(image->model, defaults, &n_blocks);
    blocks = defaults;
  }
  kin_status status = kin_model_tap(image->model, blocks, n_blocks, err);
  if (status == KIN_OK) status = embed_pictures(image->model, o, items, n, &data, err);
  if (status == KIN_OK && data.n == 0) status = kin_fail(err, KIN_ERR_ARGUMENT, "none of the pictures can be read");
  if (status == KIN_OK) status = embed_captions(text->model, items, columns, &data, err);
  if (status == KIN_OK) status = number_groups(items, data.n, columns, o->seed, &data, err);
  if (status == KIN_OK) status = fit(context, &data, o, &map, report, err);
  if (status == KIN_OK) {
    json_t *config = describe(image, text, blocks, n_blocks, report, o, columns);
    status = config ? kin_align_write(out, config, &map, err)
                    : kin_fail(err, KIN_ERR_MEMORY, "no memory for the config of %s", out);
    json_decref(config);
  }
  kin_align_map_free(&map);
  data_free(&data);
  return status;
}

kin_status kin_align_fit(kin_context *context, const char *image_model, const char *text_model,
                         const kin_captioned *items, size_t n, size_t columns, const char *out,
                         const kin_align_options *options, kin_align_report *report, kin_error *err) {
  const kin_align_options o = options ? *options : (kin_align_options){0};
  kin_align_report own = {0};
  encoder image = {0}, text = {0};
  if (!image_model || !text_model || !out)
    return kin_fail(err, KIN_ERR_ARGUMENT, "kin_align_fit needs two models and a directory");
  kin_status status = check(items, n, columns, &o, err);
  if (status != KIN_OK) return status;
  kin_captioned *copy = kin_array(n, sizeof *copy);
  if (!copy) return kin_fail(err, KIN_ERR_MEMORY, "no memory for %zu captions", n);
  memcpy(copy, items, n * sizeof *copy);
  status = open_encoders(context, image_model, text_model, &image, &text, err);
  if (status == KIN_OK) status = build(context, &image, &text, copy, n, columns, out, &o, &own, err);
  if (report) *report = own;
  free(copy);
  close_encoder(&image), close_encoder(&text);
  return status;
}
