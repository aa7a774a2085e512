/* CLIP in open_clip's layout: open_clip_config.json and OpenAI's tensor names; the image tower is a vision
 * transformer or a ResNet. */
#include "model/resnet.h"
#include "model/text_transformer.h"
#include "model/tower.h"
#include "model/vision_transformer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const weights_files[] = {"open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", NULL};

static const kin_block_names block_names = {.norm1 = "ln_1",
                                            .qkv_weight = "attn.in_proj_weight",
                                            .qkv_bias = "attn.in_proj_bias",
                                            .out = "attn.out_proj",
                                            .norm2 = "ln_2",
                                            .up = "mlp.c_fc",
                                            .down = "mlp.c_proj"};

static const kin_vision_names vision_names = {.embed = "visual.conv1.weight",
                                              .class_token = "visual.class_embedding",
                                              .positions = "visual.positional_embedding",
                                              .pre_norm = "visual.ln_pre",
                                              .post_norm = "visual.ln_post",
                                              .blocks = "visual.transformer.resblocks",
                                              .projection = "visual.proj",
                                              .projection_transposed = true,
                                              .block = &block_names};

static const kin_text_names text_names = {.tokens = "token_embedding.weight",
                                          .positions = "positional_embedding",
                                          .blocks = "transformer.resblocks",
                                          .final_norm = "ln_final",
                                          .projection = "text_projection",
                                          .projection_transposed = true,
                                          .block = &block_names};

static bool matches(const kin_model_source *dir) {
  return json_is_object(json_object_get(dir->config, "model_cfg"));
}

/* ----------------------------------------------------------------- config */

/* Keys that are read here, or that say nothing of the vectors. */
static const char *const model_keys[] = {"embed_dim", "quick_gelu", "vision_cfg", "text_cfg", "init_logit_scale", NULL};
static const char *const vision_keys[] = {
    "image_size",        "layers",        "width",     "head_width",     "mlp_ratio",
    "patch_size",        "patch_dropout", "timm_drop", "output_tokens",  "attn_pooler_queries",
    "attn_pooler_heads", "timm_pool",     "timm_proj", "timm_drop_path", NULL};
static const char *const text_keys[] = {"context_length",
                                        "vocab_size",
                                        "width",
                                        "heads",
                                        "layers",
                                        "mlp_ratio",
                                        "pad_id",
                                        "eos_id",
                                        "output_tokens",
                                        "hf_tokenizer_name",
                                        "hf_model_pretrained",
                                        "hf_proj_type",
                                        "hf_pooler_type",
                                        NULL};
/* Other keys may be null, false, or this. */
static const struct {
  const char *key, *value;
} usual[] = {{"pool_type", "tok"}, {"pool_type", "argmax"}, {"pos_embed_type", "learnable"}, {"proj_type", "linear"}};

static bool is_usual(const char *key, const json_t *value) {
  if (json_is_null(value) || json_is_false(value)) return true;
  for (size_t i = 0; json_is_string(value) && i < sizeof usual / sizeof *usual; i++)
    if (!strcmp(usual[i].key, key) && !strcmp(usual[i].value, json_string_value(value))) return true;
  return false;
}

/* A key that isn't known may change the network, so it is refused where it isn't switched off. */
static kin_status check_keys(const json_t *config, const char *file, const char *const *known, kin_error *err) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)config, key, value) {
    bool found = is_usual(key, value);
    for (size_t i = 0; !found && known[i]; i++) found = !strcmp(known[i], key);
    if (found) continue;
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    kin_status status =
        kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: \"%s\": %.100s is not supported", file, key, text ? text : "?");
    free(text);
    return status;
  }
  return KIN_OK;
}

static kin_status model_config(const kin_model_source *dir, const json_t **model, kin_activation *act, kin_error *err) {
  const json_t *config = *model = json_object_get(dir->config, "model_cfg");
  bool quick = false;
  kin_status status = check_keys(config, dir->config_path, model_keys, err);
  if (status == KIN_OK) status = kin_json_bool(config, "quick_gelu", dir->config_path, &quick, err);
  *act = quick ? KIN_ACT_QUICK_GELU : KIN_ACT_GELU;
  return status;
}

/* Layers, width and feed-forward width; the defaults are set. */
static kin_status read_stack(const json_t *config, const char *file, kin_stack *s, kin_error *err) {
  double ratio = 4;
  kin_status status = kin_json_size(config, "layers", file, 1, 1024, &s->layers, err);
  if (status == KIN_OK) status = kin_json_size(config, "width", file, 1, 1 << 16, &s->width, err);
  if (status == KIN_OK) status = kin_json_float(config, "mlp_ratio", file, &ratio, err);
  if (status == KIN_OK && !(ratio > 0 && ratio <= 64))
    status = kin_fail(err, KIN_ERR_FORMAT, "%s: mlp_ratio %g is not between 0 and 64", file, ratio);
  if (status == KIN_OK) s->hidden = (size_t)((double)s->width * ratio);
  return status;
}

static kin_status check_heads(const kin_stack *s, const char *file, const char *tower, kin_error *err) {
  if (s->hidden && s->heads && s->width % s->heads == 0) return KIN_OK;
  return kin_fail(err, KIN_ERR_FORMAT, "%s: %s: width %zu is not a multiple of its %zu heads", file, tower, s->width,
                  s->heads);
}

static kin_status read_text(const kin_model_source *dir, kin_text_transformer *t, kin_error *err) {
  const json_t *model;
  const char *file = dir->config_path;
  t->stack = (kin_stack){.width = 512, .heads = 8, .layers = 12, .eps = 1e-5, .causal = true};
  t->vocabulary = 49408, t->context = 77;
  t->pooling = KIN_POOL_LARGEST_ID;
  kin_status status = model_config(dir, &model, &t->stack.act, err);
  const json_t *config = json_object_get(model, "text_cfg");
  if (status == KIN_OK) status = check_keys(config, file, text_keys, err);
  if (status == KIN_OK) status = kin_json_size(config, "vocab_size", file, 1, 1 << 24, &t->vocabulary, err);
  if (status == KIN_OK) status = kin_json_size(config, "context_length", file, 2, 1 << 16, &t->context, err);
  if (status == KIN_OK) status = kin_json_size(config, "heads", file, 1, 1024, &t->stack.heads, err);
  if (status == KIN_OK) status = read_stack(config, file, &t->stack, err);
  return status == KIN_OK ? check_heads(&t->stack, file, "text_cfg", err) : status;
}

static kin_status read_vision(const kin_model_source *dir, kin_vision_transformer *v, kin_error *err) {
  const json_t *model;
  const char *file = dir->config_path;
  size_t head_width = 64;
  v->stack = (kin_stack){.width = 768, .layers = 12, .eps = 1e-5};
  v->image_size = 224, v->patch = 16;
  v->prefix_tokens = 1, v->pooling = KIN_POOLING_CLS;
  kin_status status = model_config(dir, &model, &v->stack.act, err);
  const json_t *config = json_object_get(model, "vision_cfg");
  if (status == KIN_OK) status = check_keys(config, file, vision_keys, err);
  if (status == KIN_OK) status = kin_json_size(config, "image_size", file, 1, 4096, &v->image_size, err);
  if (status == KIN_OK) status = kin_json_size(config, "patch_size", file, 1, 4096, &v->patch, err);
  if (status == KIN_OK) status = kin_json_size(config, "head_width", file, 1, 4096, &head_width, err);
  if (status == KIN_OK) status = read_stack(config, file, &v->stack, err);
  if (status != KIN_OK) return status;
  if (v->patch > v->image_size)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: patch_size %zu is larger than the picture", file, v->patch);
  v->stack.heads = v->stack.width / head_width;
  v->grid = v->image_size / v->patch;
  return check_heads(&v->stack, file, "vision_cfg", err);
}

static bool is_resnet(const kin_model_source *dir) {
  const json_t *vision = json_object_get(json_object_get(dir->config, "model_cfg"), "vision_cfg");
  return json_is_array(json_object_get(vision, "layers"));
}

static kin_status read_resnet(const kin_model_source *dir, kin_resnet *r, kin_error *err) {
  const json_t *model;
  const char *file = dir->config_path;
  size_t head_width = 64;
  kin_activation unused;
  r->image_size = 224, r->width = 64;
  kin_status status = model_config(dir, &model, &unused, err);
  const json_t *config = json_object_get(model, "vision_cfg"), *layers = json_object_get(config, "layers");
  if (status == KIN_OK) status = check_keys(config, file, vision_keys, err);
  if (status == KIN_OK) status = kin_json_size(config, "image_size", file, 1, 4096, &r->image_size, err);
  if (status == KIN_OK) status = kin_json_size(config, "width", file, 2, 4096, &r->width, err);
  if (status == KIN_OK) status = kin_json_size(config, "head_width", file, 1, 1 << 16, &head_width, err);
  if (status != KIN_OK) return status;
  r->heads = 32 * r->width / head_width;
  if (r->image_size % 32 || r->width % 2 || r->heads == 0 || 32 * r->width % r->heads)
    return kin_fail(
        err, KIN_ERR_UNSUPPORTED,
        "%s: a ResNet's image_size %zu must be a multiple of 32, its width %zu even, and 32 times the width "
        "a multiple of head_width %zu",
        file, r->image_size, r->width, head_width);
  for (size_t i = 0; i < KIN_RESNET_STAGES; i++) {
    json_int_t n = json_integer_value(json_array_get(layers, i));
    if (json_array_size(layers) != KIN_RESNET_STAGES || n < 1 || n > 256)
      return kin_fail(err, KIN_ERR_FORMAT, "%s: a ResNet's layers must be four numbers from 1 to 256", file);
    r->blocks[i] = (size_t)n;
  }
  return KIN_OK;
}

static kin_status configure_image(kin_model_info *info, const kin_model_source *dir, kin_error *err) {
  kin_vision_transformer v = {0};
  kin_resnet r = {0};
  if (!is_resnet(dir)) {
    kin_status status = read_vision(dir, &v, err);
    if (status == KIN_OK) kin_vision_describe(&v, info);
    return status;
  }
  kin_status status = read_resnet(dir, &r, err);
  if (status != KIN_OK) return status;
  snprintf(info->architecture, sizeof info->architecture, "clip-resnet");
  info->image_size = r.image_size, info->image_width = 32 * r.width, info->image_heads = r.heads;
  for (size_t i = 0; i < KIN_RESNET_STAGES; i++) info->image_layers += r.blocks[i];
  return KIN_OK;
}

static kin_status configure(kin_model *model, const kin_model_source *dir, kin_error *err) {
  kin_model_info *info = &model->info;
  kin_text_transformer t = {0};
  const json_t *config = json_object_get(dir->config, "model_cfg");
  info->dim = 512;
  kin_status status = kin_json_size(config, "embed_dim", dir->config_path, 1, 1 << 16, &info->dim, err);
  if (status == KIN_OK) status = configure_image(info, dir, err);
  if (status == KIN_OK) status = read_text(dir, &t, err);
  if (status != KIN_OK) return status;
  kin_text_describe(&t, info);
  return kin_load_logit_scale(dir->weights, &info->logit_scale, err);
}

/* ---------------------------------------------------------------- loading */

static kin_status load_resnet(kin_model *model, const kin_model_source *dir, kin_loader *l) {
  kin_resnet *r = calloc(1, sizeof *r);
  if (!r) return kin_fail(l->err, KIN_ERR_MEMORY, "no memory for an image tower");
  model->image = (kin_image_tower){r, kin_resnet_encode, kin_resnet_visit, kin_resnet_close};
  kin_status status = read_resnet(dir, r, l->err);
  if (status != KIN_OK) return status;
  r->dim = model->info.dim;
  kin_preprocess_levels(&model->preprocess, r->normalise);
  return kin_resnet_load(l, r);
}

static kin_status load_image(kin_model *model, const kin_model_source *dir, kin_loader *l) {
  if (is_resnet(dir)) return load_resnet(model, dir, l);
  kin_vision_transformer *v = calloc(1, sizeof *v);
  if (!v) return kin_fail(l->err, KIN_ERR_MEMORY, "no memory for an image tower");
  model->image = (kin_image_tower){v, kin_vision_encode, kin_vision_visit, kin_vision_close};
  kin_status status = read_vision(dir, v, l->err);
  if (status != KIN_OK) return status;
  v->dim = model->info.dim;
  kin_preprocess_levels(&model->preprocess, v->normalise);
  return kin_vision_load_clip(l, v, &vision_names);
}

static kin_status load_text(kin_model *model, const kin_model_source *dir, kin_loader *l) {
  kin_text_transformer *t = calloc(1, sizeof *t);
  if (!t) return kin_fail(l->err, KIN_ERR_MEMORY, "no memory for a text tower");
  model->text = (kin_text_tower){t, kin_text_encode, kin_text_visit, kin_text_close};
  kin_status status = read_text(dir, t, l->err);
  if (status != KIN_OK) return status;
  t->dim = model->info.dim;
  return kin_text_load_clip(l, t, &text_names);
}

const kin_layout kin_layout_open_clip = {
    .name = "CLIP in open_clip's layout (open_clip_config.json)",
    .architecture = "clip",
    .config_file = "open_clip_config.json",
    .weights_files = weights_files,
    .matches = matches,
    .load_preprocess = kin_preprocess_load_open_clip,
    .configure = configure,
    .load_image = load_image,
    .load_text = load_text,
};
