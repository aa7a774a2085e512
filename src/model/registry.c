/* Opening a model directory: which layout it has, its towers read side by side, and what it tells of itself. */
#include "model/packed_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of two layouts in one directory the first is taken. */
static const kin_layout *const layouts[] = {&kin_layout_clip, &kin_layout_dinov2, &kin_layout_sentence,
                                            &kin_layout_bridge, &kin_layout_open_clip};
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

static const char *const poolings[] = {"default", "cls", "mean", "cls+mean", "patches"};
enum { POOLINGS = sizeof poolings / sizeof *poolings };

kin_status kin_pooling_parse(const char *name, kin_pooling *out, kin_error *err) {
  for (size_t i = 0; i < KIN_POOLING_PATCHES; i++)
    if (!strcmp(poolings[i], name)) {
      *out = (kin_pooling)i;
      return KIN_OK;
    }
  return kin_fail(err, KIN_ERR_ARGUMENT, "pooling \"%s\" is not one of cls, mean, cls+mean", name);
}

const char *kin_pooling_name(kin_pooling pooling) {
  return (unsigned)pooling < POOLINGS ? poolings[pooling] : "unknown pooling";
}

static const char *const precisions[] = {"fp32", "bf16", "int8", "auto"};
enum { PRECISIONS = sizeof precisions / sizeof *precisions };

kin_status kin_precision_parse(const char *name, kin_precision *out, kin_error *err) {
  for (size_t i = 0; i < PRECISIONS; i++)
    if (!strcmp(precisions[i], name)) {
      *out = (kin_precision)i;
      return KIN_OK;
    }
  return kin_fail(err, KIN_ERR_ARGUMENT, "precision \"%s\" is not one of fp32, bf16, int8, auto", name);
}

const char *kin_precision_name(kin_precision precision) {
  return (unsigned)precision < PRECISIONS ? precisions[precision] : "unknown precision";
}

/* What `wanted` means on this CPU. */
static kin_status resolve_precision(const kin_context *context, kin_precision wanted, kin_precision *out,
                                    kin_error *err) {
  if ((unsigned)wanted >= PRECISIONS) return kin_fail(err, KIN_ERR_ARGUMENT, "precision %d is unknown", (int)wanted);
  if (wanted == KIN_PRECISION_BF16 && !context->bf16)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "bf16 needs a CPU with AVX512-BF16; fp32 works everywhere");
  *out = wanted;
  if (wanted == KIN_PRECISION_AUTO) *out = context->bf16 ? KIN_PRECISION_BF16 : KIN_PRECISION_FP32;
  return KIN_OK;
}

/* ---------------------------------------------------------- picking a layout */

/* What a directory holds for each layout. */
typedef struct config {
  char *path;
  json_t *json; /* NULL: no such file */
} config;

static void configs_free(config *configs) {
  for (size_t i = 0; i < LAYOUTS; i++) {
    json_decref(configs[i].json);
    free(configs[i].path);
  }
}

static kin_status read_configs(const char *dir, config *configs, kin_error *err) {
  bool any = false;
  for (size_t i = 0; i < LAYOUTS; i++) {
    config *c = &configs[i];
    c->path = kin_format("%s/%s", dir, layouts[i]->config_file);
    if (!c->path) return kin_fail(err, KIN_ERR_MEMORY, "no memory to open %s", dir);
    if (i > 0 && !strcmp(layouts[i]->config_file, layouts[i - 1]->config_file)) {
      c->json = json_incref(configs[i - 1].json);
    } else if (kin_file_exists(c->path)) {
      kin_status status = kin_json_load(c->path, CONFIG_LIMIT, &c->json, err);
      if (status != KIN_OK) return status;
    }
    any = any || c->json;
  }
  if (any) return KIN_OK;
  return kin_fail(err, KIN_ERR_IO, "%s: no model directory: it has no config.json or open_clip_config.json", dir);
}

static bool has_file(const char *dir, const char *name) {
  char *path = kin_format("%s/%s", dir, name);
  bool found = path && kin_file_exists(path);
  free(path);
  return found;
}

/* The first of the layout's own names for its weights that is there, or NULL. */
static const char *weights_file(const kin_layout *layout, const char *dir) {
  for (size_t i = 0; layout->weights_files && layout->weights_files[i]; i++)
    if (has_file(dir, layout->weights_files[i])) return layout->weights_files[i];
  return layout->weights_files ? layout->weights_files[0] : NULL;
}

static bool has_weights(const kin_layout *layout, const char *dir) {
  const char *own = weights_file(layout, dir);
  return own ? has_file(dir, own) : has_file(dir, "model.safetensors") || has_file(dir, "model.safetensors.index.json");
}

static kin_status unsupported(const char *dir, const config *configs, kin_error *err) {
  char supported[512] = "";
  const char *type = NULL;
  for (size_t i = 0; i < LAYOUTS; i++) {
    size_t used = strlen(supported);
    snprintf(supported + used, sizeof supported - used, "%s%s", i ? "; " : "", layouts[i]->name);
    if (!type) type = json_string_value(json_object_get(configs[i].json, "model_type"));
  }
  return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: model_type \"%s\" is not supported; supported are: %s", dir,
                  type ? type : "(none)", supported);
}

/* Sets dir->config and dir->config_path too. A directory may describe a model in one layout and hold its weights in
 * another, so those that have weights come first. */
static kin_status pick_layout(kin_model_source *dir, const config *configs, const kin_layout **out, kin_error *err) {
  *out = NULL;
  for (size_t i = 0; i < LAYOUTS; i++) {
    if (!configs[i].json) continue;
    kin_model_source source = *dir;
    source.config = configs[i].json, source.config_path = configs[i].path;
    if (!layouts[i]->matches(&source)) continue;
    bool complete = has_weights(layouts[i], dir->path);
    if (!complete && *out) continue;
    *out = layouts[i], *dir = source;
    if (complete) return KIN_OK;
  }
  return *out ? KIN_OK : unsupported(dir->path, configs, err);
}

bool kin_model_is_directory(const char *dir) {
  for (size_t i = 0; i < LAYOUTS; i++)
    if (has_file(dir, layouts[i]->config_file)) return true;
  return false;
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
  char steps[600];
  int used = snprintf(steps, sizeof steps, "%d %zu %zux%zu %d %d %zux%zu %a %a,%a,%a %a,%a,%a", p->resize,
                      p->shortest_edge, p->resize_width, p->resize_height, (int)p->filter, p->center_crop,
                      p->crop_width, p->crop_height, (double)p->rescale, (double)p->mean[0], (double)p->mean[1],
                      (double)p->mean[2], (double)p->deviation[0], (double)p->deviation[1], (double)p->deviation[2]);
  /* The default leaves ids as they were before there was a choice. */
  if (l->dir->pooling > KIN_POOLING_CLS)
    used += snprintf(steps + used, sizeof steps - (size_t)used, " pooling %d", (int)l->dir->pooling);
  if (l->dir->precision != KIN_PRECISION_FP32)
    used += snprintf(steps + used, sizeof steps - (size_t)used, " %s", kin_precision_name(l->dir->precision));
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

/* `file` NULL: read everything; else only what it doesn't have. */
static kin_status load_towers(kin_model *model, const kin_model_source *dir, const kin_layout *layout,
                              const kin_packed_file *file, kin_error *err) {
  load l = {.model = model, .dir = dir, .layout = layout};
  if (layout->load_image) l.tasks[l.count++].kind = LOAD_IMAGE;
  if (layout->load_text) l.tasks[l.count++].kind = LOAD_TEXT;
  if (layout->load_text && !model->tokenizer) l.tasks[l.count++].kind = LOAD_TOKENIZER;
  if (!file) l.tasks[l.count++].kind = HASH;
  for (size_t i = 0; i < l.count; i++) {
    l.tasks[i].loader.status = file ? KIN_LOAD_NOTHING : KIN_OK;
    l.tasks[i].loader.weights = dir->weights;
    l.tasks[i].loader.bf16 = dir->precision == KIN_PRECISION_BF16;
    l.tasks[i].loader.int8 = dir->precision == KIN_PRECISION_INT8;
  }
  kin_parallel_for(model->context->pool, l.count, run_task, &l);
  for (size_t i = 0; i < l.count; i++) {
    const task *t = &l.tasks[i];
    if (t->loader.status != KIN_OK && t->loader.status != KIN_LOAD_NOTHING) {
      if (err) *err = t->err;
      return t->loader.status;
    }
    model->info.parameters += t->loader.parameters;
    model->info.memory_bytes += t->loader.bytes;
  }
  return KIN_OK;
}

void kin_model_visit(kin_model *model, kin_visitor *v) {
  if (model->image.visit) model->image.visit(model->image.self, v);
  if (model->text.visit) model->text.visit(model->text.self, v);
}

static void close_towers(kin_model *model) {
  if (!model->packed.data) kin_model_visit(model, &(kin_visitor){.kind = KIN_VISIT_FREE});
  if (model->image.close) model->image.close(model->image.self);
  if (model->text.close) model->text.close(model->text.self);
  kin_map_close(&model->packed);
  model->image = (kin_image_tower){0}, model->text = (kin_text_tower){0};
}

/* Take the towers' memory from `file`, whose mapping passes to the model. */
static kin_status attach_towers(kin_model *model, const kin_model_source *dir, const kin_layout *layout,
                                kin_packed_file *file, kin_error *err) {
  kin_status status = load_towers(model, dir, layout, file, err);
  kin_visitor v = {.kind = KIN_VISIT_ATTACH, .entries = file->entries, .n = file->n, .map = (uint8_t *)file->map.data};
  if (status == KIN_OK) kin_model_visit(model, &v);
  if (status == KIN_OK && (v.failed || v.next != v.n))
    status = kin_fail(err, KIN_ERR_FORMAT, "%s: its packed weights are damaged", dir->path);
  model->packed = file->map, file->map = (kin_map){0};
  memcpy(model->info.id, file->id, sizeof file->id);
  model->info.parameters = file->parameters, model->info.memory_bytes = file->memory_bytes;
  return status;
}

static kin_status open_towers(kin_model *model, const kin_model_source *dir, const kin_layout *layout,
                              const char *folder, const char *sources, kin_error *err) {
  kin_packed_file file;
  const kin_tokenizer *before = model->tokenizer;
  if (folder && kin_packed_file_open(folder, dir, sources, &file)) {
    kin_status status = attach_towers(model, dir, layout, &file, NULL);
    kin_packed_file_close(&file);
    if (status == KIN_OK) return status;
    close_towers(model);
    if (!before) kin_tokenizer_close(model->tokenizer), model->tokenizer = NULL;
  }
  kin_status status = load_towers(model, dir, layout, NULL, err);
  bool whole = (!layout->load_image || model->image.visit) && (!layout->load_text || model->text.visit);
  if (status == KIN_OK && folder && whole) kin_packed_file_save(folder, dir, sources, model);
  return status;
}

/* ----------------------------------------------------------------- opening */

static kin_status check_image_size(const kin_model *model, const kin_model_source *dir, kin_error *err) {
  size_t crop = model->preprocess.crop_width;
  if (!model->info.image_size || crop == model->info.image_size) return KIN_OK;
  return kin_fail(err, KIN_ERR_MISMATCH, "%s: pictures are cropped to %zu pixels, but %s wants %zu", dir->path, crop,
                  dir->config_path, model->info.image_size);
}

static kin_status check_vocabulary(const kin_model *model, const kin_model_source *dir, kin_error *err) {
  if (!model->tokenizer || kin_tokenizer_vocabulary(model->tokenizer) <= model->info.vocabulary) return KIN_OK;
  return kin_fail(err, KIN_ERR_MISMATCH, "%s: the tokenizer has ids up to %zu, but the embedding only %zu rows",
                  dir->path, kin_tokenizer_vocabulary(model->tokenizer) - 1, model->info.vocabulary);
}

static kin_status read_model(kin_model *model, kin_model_source *dir, const kin_layout *layout, const char *packed,
                             kin_error *err) {
  kin_status status = KIN_OK;
  char sources[65] = "";
  if (dir->pooling != KIN_POOLING_DEFAULT && !layout->pools)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: a model of this kind (%s) has no choice of pooling", dir->path,
                    layout->architecture);
  if (packed) kin_packed_file_sources(dir, sources);
  if (layout->load_image)
    status =
        (layout->load_preprocess ? layout->load_preprocess : kin_preprocess_load)(dir->path, &model->preprocess, err);
  if (status == KIN_OK) status = kin_weights_open(dir->path, weights_file(layout, dir->path), &model->weights, err);
  dir->weights = model->weights;
  if (status == KIN_OK) status = layout->configure(model, dir, err);
  if (status == KIN_OK) status = check_image_size(model, dir, err);
  if (status == KIN_OK) status = open_towers(model, dir, layout, packed, sources, err);
  if (status == KIN_OK) status = check_vocabulary(model, dir, err);
  if (status != KIN_OK) return status;
  kin_weights_drop(model->weights);
  kin_return_freed();
  if (!*model->info.architecture)
    snprintf(model->info.architecture, sizeof model->info.architecture, "%s", layout->architecture);
  model->info.has_image = layout->load_image != NULL;
  model->info.has_text = layout->load_text != NULL;
  model->info.pooling = layout->pools && !dir->pooling ? KIN_POOLING_CLS : dir->pooling;
  return KIN_OK;
}

kin_status kin_model_open_with(kin_context *context, const char *dir, const kin_model_options *options, kin_model **out,
                               kin_error *err) {
  *out = NULL;
  kin_model_options o = options ? *options : (kin_model_options){0};
  if ((unsigned)o.pooling >= POOLINGS) return kin_fail(err, KIN_ERR_ARGUMENT, "pooling %d is unknown", (int)o.pooling);
  kin_precision precision = KIN_PRECISION_FP32;
  kin_status status = resolve_precision(context, o.precision, &precision, err);
  if (status != KIN_OK) return status;
  kin_model *model = calloc(1, sizeof *model);
  if (model) model->dir = kin_strdup(dir);
  if (!model || !model->dir) {
    free(model);
    return kin_fail(err, KIN_ERR_MEMORY, "no memory to open %s", dir);
  }
  model->context = context;
  config configs[LAYOUTS] = {0};
  kin_model_source source = {.path = dir, .pooling = o.pooling, .precision = precision};
  const kin_layout *layout = NULL;
  model->info.precision = precision;
  status = read_configs(dir, configs, err);
  if (status == KIN_OK) status = pick_layout(&source, configs, &layout, err);
  if (status == KIN_OK) status = read_model(model, &source, layout, o.packed_folder, err);
  configs_free(configs);
  if (status == KIN_OK)
    *out = model;
  else
    kin_model_close(model);
  return status;
}

kin_status kin_model_open(kin_context *context, const char *dir, kin_model **out, kin_error *err) {
  return kin_model_open_with(context, dir, NULL, out, err);
}

void kin_model_close(kin_model *model) {
  if (!model) return;
  close_towers(model);
  kin_tokenizer_close(model->tokenizer);
  kin_weights_close(model->weights);
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
