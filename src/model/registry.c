/* Opening a model directory: which layout it has, its towers read side by side, and what it tells of itself. */
#include "model/tower.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const kin_layout *const layouts[] = {&kin_layout_clip, &kin_layout_dinov2, &kin_layout_sentence};
enum { LAYOUTS = sizeof layouts / sizeof *layouts, CONFIG_LIMIT = 1 << 20 };

kin_status kin_parse_activation(const char *name, const char *file, kin_activation *out, kin_error *err) {
  static const struct {
    const char *name;
    kin_activation act;
  } known[] = {{"quick_gelu", KIN_ACT_QUICK_GELU}, {"gelu", KIN_ACT_GELU}, {"relu", KIN_ACT_RELU}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (!strcmp(known[i].name, name)) {
      *out = known[i].act;
      return KIN_OK;
    }
  return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: hidden_act \"%s\" is not one of quick_gelu, gelu, relu", file, name);
}

static kin_status pick_layout(const kin_model_source *dir, const kin_layout **out, kin_error *err) {
  char supported[512] = "";
  for (size_t i = 0; i < LAYOUTS; i++) {
    if (layouts[i]->matches(dir)) {
      *out = layouts[i];
      return KIN_OK;
    }
    size_t used = strlen(supported);
    snprintf(supported + used, sizeof supported - used, "%s%s", i ? "; " : "", layouts[i]->name);
  }
  const char *type = json_string_value(json_object_get(dir->config, "model_type"));
  return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: model_type \"%s\" is not supported; supported are: %s",
                  dir->config_path, type ? type : "(none)", supported);
}

/* ---------------------------------------------------- reading side by side */

typedef enum task_kind { LOAD_IMAGE, LOAD_TEXT, LOAD_TOKENIZER, HASH } task_kind;

typedef struct task {
  task_kind kind;
  kin_loader loader;
  kin_error err;
} task;

typedef struct load {
  kin_model *model;
  const kin_model_source *dir;
  const kin_layout *layout;
  task tasks[4];
  size_t count;
} load;

static kin_status hash_tokenizer(const kin_model_source *dir, kin_sha256 *h, kin_error *err) {
  static const char *const names[] = {"tokenizer.json", "vocab.json", "merges.txt", "vocab.txt"};
  kin_status status = KIN_OK;
  for (size_t i = 0; status == KIN_OK && i < sizeof names / sizeof *names; i++) {
    char *path = kin_format("%s/%s", dir->path, names[i]);
    kin_map map = {0};
    if (!path) return kin_fail(err, KIN_ERR_MEMORY, "no memory to hash %s", dir->path);
    if (kin_file_exists(path)) status = kin_map_open(path, &map, err);
    kin_sha256_update(h, map.data, map.size);
    kin_map_close(&map);
    free(path);
  }
  return status;
}

static kin_status hash_model(const load *l, kin_error *err) {
  kin_sha256 *h = kin_sha256_new();
  char *text = json_dumps(l->dir->config, JSON_COMPACT | JSON_SORT_KEYS);
  if (!h || !text) {
    free(text);
    if (h) kin_sha256_finish(h, l->model->info.id);
    return kin_fail(err, KIN_ERR_MEMORY, "no memory to hash %s", l->dir->path);
  }
  kin_sha256_update(h, text, strlen(text));
  const kin_preprocess *p = &l->model->preprocess;
  char steps[512];
  int used = snprintf(steps, sizeof steps, "%d %zu %zux%zu %d %d %zux%zu %a %a,%a,%a %a,%a,%a", p->resize,
                      p->shortest_edge, p->resize_width, p->resize_height, (int)p->filter, p->center_crop,
                      p->crop_width, p->crop_height, (double)p->rescale, (double)p->mean[0], (double)p->mean[1],
                      (double)p->mean[2], (double)p->deviation[0], (double)p->deviation[1], (double)p->deviation[2]);
  kin_sha256_update(h, steps, (size_t)used);
  kin_weights_hash(l->dir->weights, h);
  kin_status status = hash_tokenizer(l->dir, h, err);
  if (status == KIN_OK && l->layout->hash) status = l->layout->hash(l->dir, h, err);
  kin_sha256_finish(h, l->model->info.id);
  free(text);
  return status;
}

static void run_task(void *arg, size_t i) {
  load *l = arg;
  task *t = &l->tasks[i];
  t->loader.err = &t->err;
  switch (t->kind) {
  case LOAD_IMAGE:
    t->loader.status = l->layout->load_image(l->model, l->dir, &t->loader);
    break;
  case LOAD_TEXT:
    t->loader.status = l->layout->load_text(l->model, l->dir, &t->loader);
    break;
  case LOAD_TOKENIZER:
    t->loader.status = kin_tokenizer_open(l->dir->path, &l->model->tokenizer, &t->err);
    break;
  case HASH:
    t->loader.status = hash_model(l, &t->err);
    break;
  }
}

static kin_status load_towers(kin_model *model, const kin_model_source *dir, const kin_layout *layout, kin_error *err) {
  load l = {.model = model, .dir = dir, .layout = layout};
  if (layout->load_image) l.tasks[l.count++].kind = LOAD_IMAGE;
  if (layout->load_text) l.tasks[l.count++].kind = LOAD_TEXT;
  if (layout->load_text) l.tasks[l.count++].kind = LOAD_TOKENIZER;
  l.tasks[l.count++].kind = HASH;
  for (size_t i = 0; i < l.count; i++) l.tasks[i].loader.weights = dir->weights;
  kin_parallel_for(model->context->pool, l.count, run_task, &l);
  for (size_t i = 0; i < l.count; i++) {
    const task *t = &l.tasks[i];
    if (t->loader.status != KIN_OK) {
      if (err) *err = t->err;
      return t->loader.status;
    }
    model->info.parameters += t->loader.parameters;
    model->info.memory_bytes += t->loader.bytes;
  }
  return KIN_OK;
}

/* ----------------------------------------------------------------- opening */

static kin_status check_image_size(const kin_model *model, const kin_model_source *dir, kin_error *err) {
  size_t crop = model->preprocess.crop_width;
  if (!model->info.image_size || crop == model->info.image_size) return KIN_OK;
  return kin_fail(err, KIN_ERR_MISMATCH, "%s: preprocessor_config.json crops to %zu pixels, but config.json wants %zu",
                  dir->path, crop, model->info.image_size);
}

static kin_status check_vocabulary(const kin_model *model, const kin_model_source *dir, kin_error *err) {
  if (!model->tokenizer || kin_tokenizer_vocabulary(model->tokenizer) <= model->info.vocabulary) return KIN_OK;
  return kin_fail(err, KIN_ERR_MISMATCH, "%s: the tokenizer has ids up to %zu, but the embedding only %zu rows",
                  dir->path, kin_tokenizer_vocabulary(model->tokenizer) - 1, model->info.vocabulary);
}

static kin_status read_model(kin_model *model, kin_model_source *dir, kin_error *err) {
  const kin_layout *layout = NULL;
  kin_status status = pick_layout(dir, &layout, err);
  if (status == KIN_OK && layout->load_image) status = kin_preprocess_load(dir->path, &model->preprocess, err);
  kin_weights *weights = NULL;
  if (status == KIN_OK) status = kin_weights_open(dir->path, NULL, &weights, err);
  dir->weights = weights;
  if (status == KIN_OK) status = layout->configure(model, dir, err);
  if (status == KIN_OK) status = check_image_size(model, dir, err);
  if (status == KIN_OK) status = load_towers(model, dir, layout, err);
  if (status == KIN_OK) status = check_vocabulary(model, dir, err);
  kin_weights_close(weights);
  if (status != KIN_OK) return status;
  snprintf(model->info.architecture, sizeof model->info.architecture, "%s", layout->architecture);
  model->info.has_image = layout->load_image != NULL;
  model->info.has_text = layout->load_text != NULL;
  return KIN_OK;
}

kin_status kin_model_open(kin_context *context, const char *dir, kin_model **out, kin_error *err) {
  *out = NULL;
  kin_model *model = calloc(1, sizeof *model);
  char *config_path = kin_format("%s/config.json", dir);
  json_t *config = NULL;
  kin_status status = KIN_OK;
  if (model) model->dir = kin_strdup(dir);
  if (!model || !model->dir || !config_path) {
    status = kin_fail(err, KIN_ERR_MEMORY, "no memory to open %s", dir);
  } else {
    model->context = context;
    status = kin_json_load(config_path, CONFIG_LIMIT, &config, err);
  }
  if (status == KIN_OK)
    status = read_model(model, &(kin_model_source){.path = dir, .config_path = config_path, .config = config}, err);
  json_decref(config);
  free(config_path);
  if (status != KIN_OK) {
    kin_model_close(model);
    return status;
  }
  *out = model;
  return KIN_OK;
}

void kin_model_close(kin_model *model) {
  if (!model) return;
  if (model->image.close) model->image.close(model->image.self);
  if (model->text.close) model->text.close(model->text.self);
  kin_tokenizer_close(model->tokenizer);
  for (size_t i = 0; i <= KIN_TEXT_DOCUMENT; i++) free(model->prompts[i]);
  free(model->dir);
  free(model);
}

void kin_model_get_info(const kin_model *model, kin_model_info *out) {
  *out = model->info;
}

size_t kin_model_dim(const kin_model *model) {
  return model->info.dim;
}

const kin_preprocess *kin_model_preprocess(const kin_model *model) {
  return model->info.has_image ? &model->preprocess : NULL;
}

const kin_tokenizer *kin_model_tokenizer(const kin_model *model) {
  return model->tokenizer;
}

const char *kin_model_prompt(const kin_model *model, kin_text_role role) {
  return model->prompts[role] ? model->prompts[role] : "";
}

kin_context *kin_model_context(const kin_model *model) {
  return model->context;
}

const char *kin_model_dir(const kin_model *model) {
  return model->dir;
}

kin_status kin_model_encode_images(kin_model *model, const uint8_t *crops, size_t n, float *out, kin_error *err) {
  if (!model->image.encode) return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: this model has no image tower", model->dir);
  return n ? model->image.encode(model->image.self, model->context, crops, n, out, err) : KIN_OK;
}

kin_status kin_model_encode_tokens(kin_model *model, const int32_t *const *ids, const size_t *lengths, size_t n,
                                   float *out, kin_error *err) {
  if (!model->text.encode) return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: this model has no text tower", model->dir);
  return n ? model->text.encode(model->text.self, model->context, ids, lengths, n, out, err) : KIN_OK;
}
