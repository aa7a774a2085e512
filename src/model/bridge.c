/* A bridge's own layout: config.json names an image model and a text model, bridge.safetensors holds
 *   image.mean [p], image.deviation [p]        x = (features - mean) / deviation
 *   image.points [m][p]                        if there: k[i] = exp(-|x - point i|^2 / p)
 *   image.weight [dim][p or m]                 picture: weight x, or weight k
 *   text.mean [t], text.weight [dim][t]        text: weight (unit vector - mean)
 * so that it is used as any model with two towers. Made by kin_align_fit. */
#include "model/bridge.h"

#include "model/tower.h"
#include "model/vision_transformer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One side: an encoder and the map behind it. */
typedef struct side {
  kin_model *inner;
  size_t features; /* floats of the encoder's vector */
  size_t dim;
  size_t n_points;       /* 0: the map reads the features themselves, mean and deviation folded in */
  float *mean, *inverse; /* [features]: x = (features - mean) * inverse */
  kin_linear points;
  float *squares; /* [n_points]: each point's with itself */
  kin_linear map;
} side;

kin_status kin_model_tap(kin_model *model, const size_t *blocks, size_t n, kin_error *err) {
  if (n == 0) return KIN_OK;
  if (model->image.encode != kin_vision_encode)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: has no image transformer whose blocks could be read", model->dir);
  kin_vision_transformer *v = model->image.self;
  if (n > KIN_MAX_TAPS)
    return kin_fail(err, KIN_ERR_ARGUMENT, "%zu blocks are more than the %d that can be read", n, KIN_MAX_TAPS);
  for (size_t i = 0; i < n; i++)
    if (blocks[i] >= v->stack.layers || (i && blocks[i] <= blocks[i - 1]))
      return kin_fail(err, KIN_ERR_ARGUMENT, "%s: block %zu must be below %zu and above the one before it", model->dir,
                      blocks[i], v->stack.layers);
  memcpy(v->taps, blocks, n * sizeof *blocks);
  v->n_taps = n;
  v->dim = model->info.dim = n * 2 * v->stack.width;
  return KIN_OK;
}

void kin_model_default_taps(const kin_model *model, size_t blocks[4], size_t *n) {
  *n = 0;
  if (model->image.encode != kin_vision_encode) return;
  const kin_vision_transformer *v = model->image.self;
  *n = v->stack.layers < 4 ? v->stack.layers : 4;
  for (size_t i = 0; i < *n; i++) blocks[i] = v->stack.layers - *n + i;
}

/* ---------------------------------------------------------------- encoding */

static void apply(const side *s, const kin_context *context, const float *features, size_t n, float *out) {
  size_t k = s->n_points ? s->n_points : s->features;
  kin_gemm(context, n, features, k, &s->map.w, out, s->dim, &(kin_tail){.bias = s->map.bias});
}

/* features[n][features] -> kernel[n][n_points]; standardises the features in place. */
static void apply_kernel(const side *s, const kin_context *context, float *features, size_t n, float *kernel) {
  const size_t p = s->features, m = s->n_points;
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < p; j++) features[i * p + j] = (features[i * p + j] - s->mean[j]) * s->inverse[j];
  kin_gemm(context, n, features, p, &s->points.w, kernel, m, NULL);
  for (size_t i = 0; i < n; i++) {
    double square = (double)context->kernels->dot(features + i * p, features + i * p, p);
    for (size_t j = 0; j < m; j++) {
      double distance = (square + (double)s->squares[j] - 2 * (double)kernel[i * m + j]) / (double)p;
      kernel[i * m + j] = (float)exp(-fmax(distance, 0));
    }
  }
}

static kin_status encode_images(void *self, const kin_context *context, const uint8_t *crops, size_t n, float *out,
                                kin_error *err) {
  side *s = self;
  float *features = kin_array(n * (s->features + s->n_points), sizeof *features);
  if (!features) return kin_fail(err, KIN_ERR_MEMORY, "no memory for the features of %zu pictures", n);
  kin_status status = kin_model_encode_images(s->inner, crops, n, features, err);
  float *kernel = features + n * s->features;
  if (status == KIN_OK && s->n_points) apply_kernel(s, context, features, n, kernel);
  if (status == KIN_OK) apply(s, context, s->n_points ? kernel : features, n, out);
  free(features);
  return status;
}

static kin_status encode_tokens(void *self, const kin_context *context, const int32_t *const *ids,
                                const size_t *lengths, size_t n, float *out, kin_error *err) {
  side *s = self;
  float *features = kin_array(n * s->features, sizeof *features);
  if (!features) return kin_fail(err, KIN_ERR_MEMORY, "no memory for the vectors of %zu texts", n);
  kin_status status = kin_model_encode_tokens(s->inner, ids, lengths, n, features, err);
  for (size_t i = 0; status == KIN_OK && i < n; i++) {
    float *row = features + i * s->features, square = context->kernels->dot(row, row, s->features);
    if (square > 0) context->kernels->scale(row, 1 / sqrtf(square), s->features);
  }
  if (status == KIN_OK) apply(s, context, features, n, out);
  free(features);
  return status;
}

static void close_side(void *self) {
  side *s = self;
  if (!s) return;
  kin_model_close(s->inner);
  kin_linear_free(&s->points), kin_linear_free(&s->map);
  kin_free_aligned(s->mean), kin_free_aligned(s->inverse), kin_free_aligned(s->squares);
  free(s);
}

/* ----------------------------------------------------------------- reading */

static bool matches(const kin_model_source *dir) {
  const char *type = json_string_value(json_object_get(dir->config, "model_type"));
  return type && !strcmp(type, KIN_BRIDGE_TYPE);
}

/* The image model's, which configure() takes from it. */
static kin_status no_preprocess(const char *dir, kin_preprocess *out, kin_error *err) {
  (void)dir, (void)err;
  *out = (kin_preprocess){0};
  return KIN_OK;
}

/* The directory that `name` stands for: as seen from the bridge's own, else as everywhere. */
static kin_status find_directory(const kin_model_source *dir, const char *name, char **out, kin_error *err) {
  char *beside = *name == '/' ? kin_strdup(name) : kin_format("%s/%s", dir->path, name);
  if (!beside) return kin_fail(err, KIN_ERR_MEMORY, "no memory to open %s", dir->path);
  if (kin_model_is_directory(beside)) {
    *out = beside;
    return KIN_OK;
  }
  free(beside);
  return kin_hub_find(name, NULL, out, err);
}

/* A bridge over a bridge, for one over itself, would never end. */
static kin_status refuse_bridge(const char *dir, kin_error *err) {
  char *path = kin_format("%s/config.json", dir);
  json_t *config = NULL;
  if (!path) return kin_fail(err, KIN_ERR_MEMORY, "no memory to open %s", dir);
  kin_status status = kin_file_exists(path) ? kin_json_load(path, 1 << 20, &config, err) : KIN_OK;
  if (status == KIN_OK && config && matches(&(kin_model_source){.config = config}))
    status = kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: is a bridge itself", dir);
  json_decref(config);
  free(path);
  return status;
}

/* Open the model that `key` names, which must be the one that the bridge was made with. */
static kin_status open_inner(kin_context *context, const kin_model_source *dir, const char *key, kin_model **out,
                             kin_error *err) {
  const char *name = NULL, *id = NULL, *file = dir->config_path;
  char id_key[64], *path = NULL;
  snprintf(id_key, sizeof id_key, "%s_id", key);
  kin_status status = kin_json_string(dir->config, key, file, &name, err);
  if (status == KIN_OK) status = kin_json_string(dir->config, id_key, file, &id, err);
  if (status == KIN_OK && (!name || !id))
    status = kin_fail(err, KIN_ERR_FORMAT, "%s: has no %s or no %s", file, key, id_key);
  if (status == KIN_OK) status = find_directory(dir, name, &path, err);
  if (status == KIN_OK) status = refuse_bridge(path, err);
  if (status == KIN_OK) status = kin_model_open(context, path, out, err);
  if (status != KIN_OK) {
    status = kin_prefix(err, status, "%s: %s", file, key);
  } else if (strcmp(id, (*out)->info.id)) {
    status = kin_fail(err, KIN_ERR_MISMATCH, "%s: %s %s is not the model that the bridge was fitted to; fit it again",
                      file, key, path);
  }
  free(path);
  return status;
}

static kin_status tap_image_model(const kin_model_source *dir, kin_model *inner, kin_error *err) {
  const json_t *list = json_object_get(dir->config, "blocks");
  size_t blocks[KIN_MAX_TAPS], n = json_array_size(list);
  if (n > KIN_MAX_TAPS) return kin_fail(err, KIN_ERR_FORMAT, "%s: more than %d blocks", dir->config_path, KIN_MAX_TAPS);
  for (size_t i = 0; i < n; i++) {
    const json_t *block = json_array_get(list, i);
    if (!json_is_integer(block) || json_integer_value(block) < 0)
      return kin_fail(err, KIN_ERR_FORMAT, "%s: blocks must be whole numbers", dir->config_path);
    blocks[i] = (size_t)json_integer_value(block);
  }
  kin_status status = kin_model_tap(inner, blocks, n, err);
  return status == KIN_OK ? status : kin_prefix(err, status, "%s", dir->config_path);
}

/* What the encoders say of themselves. All texts are held against pictures, so that each is a query. */
static kin_status describe(kin_model *model, const kin_model *image, kin_model *text, kin_error *err) {
  const kin_model_info *i = &image->info, *t = &text->info;
  model->info = (kin_model_info){.dim = model->info.dim,
                                 .image_size = i->image_size,
                                 .image_layers = i->image_layers,
                                 .image_width = i->image_width,
                                 .image_heads = i->image_heads,
                                 .patch_size = i->patch_size,
                                 .text_context = t->text_context,
                                 .text_layers = t->text_layers,
                                 .text_width = t->text_width,
                                 .text_heads = t->text_heads,
                                 .vocabulary = t->vocabulary,
                                 .parameters = i->parameters + t->parameters,
                                 .memory_bytes = i->memory_bytes + t->memory_bytes};
  model->preprocess = image->preprocess;
  model->tokenizer = text->tokenizer;
  text->tokenizer = NULL;
  const char *prompt = kin_model_prompt(text, KIN_TEXT_QUERY);
  for (size_t role = 0; *prompt && role <= KIN_TEXT_DOCUMENT; role++)
    if (!(model->prompts[role] = kin_strdup(prompt))) return kin_fail(err, KIN_ERR_MEMORY, "no memory for a prompt");
  return KIN_OK;
}

static kin_status configure(kin_model *model, const kin_model_source *dir, kin_error *err) {
  side *image = calloc(1, sizeof *image), *text = calloc(1, sizeof *text);
  model->image = (kin_image_tower){image, encode_images, NULL, close_side};
  model->text = (kin_text_tower){text, encode_tokens, NULL, close_side};
  if (!image || !text) return kin_fail(err, KIN_ERR_MEMORY, "no memory to open %s", dir->path);
  if (dir->precision != KIN_PRECISION_FP32)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: a bridge runs in fp32 alone", dir->path);
  kin_status status = open_inner(model->context, dir, "image_model", &image->inner, err);
  if (status == KIN_OK) status = tap_image_model(dir, image->inner, err);
  if (status == KIN_OK) status = open_inner(model->context, dir, "text_model", &text->inner, err);
  if (status != KIN_OK) return status;
  if (!image->inner->info.has_image || !text->inner->info.has_text)
    return kin_fail(err, KIN_ERR_MISMATCH, "%s: the image model or the text model has no such tower", dir->config_path);
  const kin_tensor *weight = kin_weights_find(dir->weights, "image.weight");
  if (!weight || weight->rank != 2)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: %s has no matrix image.weight", dir->path, KIN_BRIDGE_FILE);
  model->info.dim = image->dim = text->dim = weight->shape[0];
  image->features = image->inner->info.dim, text->features = text->inner->info.dim;
  return describe(model, image->inner, text->inner, err);
}

/* 1 / the deviations, in place. */
static void invert(kin_loader *l, float *deviation, size_t n) {
  for (size_t i = 0; l->status == KIN_OK && i < n; i++) {
    if (!(deviation[i] > 0))
      l->status = kin_fail(l->err, KIN_ERR_FORMAT, KIN_BRIDGE_FILE ": image.deviation holds %g", (double)deviation[i]);
    deviation[i] = 1 / deviation[i];
  }
}

/* The linear map `prefix`, its mean and, where `scaled`, its deviation folded into weights and bias. */
static void load_map(kin_loader *l, side *s, const char *prefix, bool scaled) {
  size_t n = s->dim, k = s->features;
  float *weight = NULL, *mean = NULL, *inverse = NULL, *bias = kin_alloc_aligned(n * sizeof *bias);
  kin_load_floats(l, 2, (const size_t[]){n, k}, &weight, "%s.weight", prefix);
  kin_load_floats(l, 1, &k, &mean, "%s.mean", prefix);
  if (scaled) kin_load_floats(l, 1, &k, &inverse, "%s.deviation", prefix);
  if (scaled) invert(l, inverse, k);
  if (l->status == KIN_OK && !bias) l->status = kin_fail(l->err, KIN_ERR_MEMORY, "no memory for a map");
  for (size_t i = 0; l->status == KIN_OK && i < n; i++) {
    double sum = 0;
    for (size_t j = 0; j < k; j++) {
      if (inverse) weight[i * k + j] *= inverse[j];
      sum += (double)weight[i * k + j] * (double)mean[j];
    }
    bias[i] = (float)-sum;
  }
  if (l->status == KIN_OK)
    kin_load_packed(l, n, k, weight, bias, &s->map);
  else
    kin_free_aligned(bias);
  kin_free_aligned(weight), kin_free_aligned(mean), kin_free_aligned(inverse);
}

/* A map of the kernel: the points, and the weights on them. */
static void load_kernel(kin_loader *l, side *s, size_t n_points) {
  size_t p = s->features;
  float *points = NULL;
  s->n_points = n_points;
  kin_load_floats(l, 1, &p, &s->mean, "image.mean");
  kin_load_floats(l, 1, &p, &s->inverse, "image.deviation");
  invert(l, s->inverse, p);
  kin_load_floats(l, 2, (const size_t[]){n_points, p}, &points, "image.points");
  kin_load_matrix(l, 2, (const size_t[]){s->dim, n_points}, s->dim, n_points, &s->map, "image.weight");
  s->squares = kin_alloc_aligned(n_points * sizeof *s->squares);
  if (l->status == KIN_OK && !s->squares) l->status = kin_fail(l->err, KIN_ERR_MEMORY, "no memory for a map");
  for (size_t i = 0; l->status == KIN_OK && i < n_points; i++) {
    double sum = 0;
    for (size_t j = 0; j < p; j++) sum += (double)points[i * p + j] * (double)points[i * p + j];
    s->squares[i] = (float)sum;
  }
  if (l->status == KIN_OK) kin_load_packed(l, n_points, p, points, NULL, &s->points);
  kin_free_aligned(points);
}

static kin_status load_image(kin_model *model, const kin_model_source *dir, kin_loader *l) {
  const kin_tensor *points = kin_weights_find(dir->weights, "image.points");
  if (!points)
    load_map(l, model->image.self, "image", true);
  else if (points->rank != 2 || points->shape[0] == 0)
    return kin_fail(l->err, KIN_ERR_FORMAT, "%s: " KIN_BRIDGE_FILE ": image.points is no matrix", dir->path);
  else
    load_kernel(l, model->image.self, points->shape[0]);
  return l->status;
}

static kin_status load_text(kin_model *model, const kin_model_source *dir, kin_loader *l) {
  (void)dir;
  load_map(l, model->text.self, "text", false);
  return l->status;
}

const kin_layout kin_layout_bridge = {
    .name = "a bridge of kindred align (model_type \"" KIN_BRIDGE_TYPE "\")",
    .architecture = "bridge",
    .config_file = "config.json",
    .weights_files = (const char *const[]){KIN_BRIDGE_FILE, NULL},
    .matches = matches,
    .load_preprocess = no_preprocess,
    .configure = configure,
    .load_image = load_image,
    .load_text = load_text,
};
