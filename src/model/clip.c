/* CLIP in transformers' layout (CLIPModel): config.json with text_config and vision_config. */
#include "model/text_transformer.h"
#include "model/tower.h"
#include "model/vision_transformer.h"

#include <stdlib.h>
#include <string.h>

static const kin_block_names block_names = {.norm1 = "layer_norm1",
                                            .q = "self_attn.q_proj",
                                            .k = "self_attn.k_proj",
                                            .v = "self_attn.v_proj",
                                            .out = "self_attn.out_proj",
                                            .norm2 = "layer_norm2",
                                            .up = "mlp.fc1",
                                            .down = "mlp.fc2"};

static const kin_vision_names vision_names = {.embed = "vision_model.embeddings.patch_embedding.weight",
                                              .class_token = "vision_model.embeddings.class_embedding",
                                              .positions = "vision_model.embeddings.position_embedding.weight",
                                              .pre_norm = "vision_model.pre_layrnorm",
                                              .post_norm = "vision_model.post_layernorm",
                                              .blocks = "vision_model.encoder.layers",
                                              .projection = "visual_projection.weight",
                                              .block = &block_names};

static const kin_text_names text_names = {.tokens = "text_model.embeddings.token_embedding.weight",
                                          .positions = "text_model.embeddings.position_embedding.weight",
                                          .blocks = "text_model.encoder.layers",
                                          .final_norm = "text_model.final_layer_norm",
                                          .projection = "text_projection.weight",
                                          .block = &block_names};

static bool matches(const kin_model_source *dir) {
  const char *type = json_string_value(json_object_get(dir->config, "model_type"));
  return type && !strcmp(type, "clip");
}

/* The part of a tower's config that both share; defaults are CLIPTextConfig's and CLIPVisionConfig's. */
static kin_status read_stack(const json_t *config, const char *file, kin_stack *s, kin_error *err) {
  const char *act = "quick_gelu";
  s->eps = 1e-5;
  s->layers = 12;
  kin_status status = kin_json_size(config, "hidden_size", file, 1, 1 << 16, &s->width, err);
  if (status == KIN_OK) status = kin_json_size(config, "intermediate_size", file, 1, 1 << 18, &s->hidden, err);
  if (status == KIN_OK) status = kin_json_size(config, "num_hidden_layers", file, 1, 1024, &s->layers, err);
  if (status == KIN_OK) status = kin_json_size(config, "num_attention_heads", file, 1, 1024, &s->heads, err);
  if (status == KIN_OK) status = kin_json_float(config, "layer_norm_eps", file, &s->eps, err);
  if (status == KIN_OK) status = kin_json_string(config, "hidden_act", file, &act, err);
  if (status == KIN_OK) status = kin_parse_activation(act, file, &s->act, err);
  if (status == KIN_OK && s->width % s->heads)
    status = kin_fail(err, KIN_ERR_FORMAT, "%s: hidden_size %zu is not a multiple of num_attention_heads %zu", file,
                      s->width, s->heads);
  return status;
}

static kin_status read_vision(const kin_model_source *dir, kin_vision_transformer *v, kin_error *err) {
  const json_t *config = json_object_get(dir->config, "vision_config");
  v->stack = (kin_stack){.width = 768, .hidden = 3072, .heads = 12};
  v->image_size = 224, v->patch = 32;
  kin_status status = read_stack(config, dir->config_path, &v->stack, err);
  if (status == KIN_OK) status = kin_json_size(config, "image_size", dir->config_path, 1, 4096, &v->image_size, err);
  if (status == KIN_OK) status = kin_json_size(config, "patch_size", dir->config_path, 1, 4096, &v->patch, err);
  if (status == KIN_OK && v->image_size % v->patch)
    status = kin_fail(err, KIN_ERR_FORMAT, "%s: image_size %zu is not a multiple of patch_size %zu", dir->config_path,
                      v->image_size, v->patch);
  v->grid = v->image_size / v->patch;
  v->prefix_tokens = 1, v->pooling = KIN_POOLING_CLS;
  return status;
}

static kin_status read_text(const kin_model_source *dir, kin_text_transformer *t, kin_error *err) {
  const json_t *config = json_object_get(dir->config, "text_config");
  size_t end_of_text = 49407;
  t->stack = (kin_stack){.width = 512, .hidden = 2048, .heads = 8, .causal = true};
  t->vocabulary = 49408, t->context = 77;
  kin_status status = read_stack(config, dir->config_path, &t->stack, err);
  if (status == KIN_OK) status = kin_json_size(config, "vocab_size", dir->config_path, 1, 1 << 24, &t->vocabulary, err);
  if (status == KIN_OK)
    status = kin_json_size(config, "max_position_embeddings", dir->config_path, 2, 1 << 16, &t->context, err);
  if (status == KIN_OK) status = kin_json_size(config, "eos_token_id", dir->config_path, 0, 1 << 24, &end_of_text, err);
  /* Configs that say 2 were written by mistake and mean the largest id. */
  t->pooling = end_of_text == 2 ? KIN_POOL_LARGEST_ID : KIN_POOL_END_OF_TEXT;
  t->end_of_text = (int32_t)end_of_text;
  return status;
}

static kin_status configure(kin_model *model, const kin_model_source *dir, kin_error *err) {
  kin_model_info *info = &model->info;
  kin_vision_transformer v = {0};
  kin_text_transformer t = {0};
  info->dim = 512;
  kin_status status = kin_json_size(dir->config, "projection_dim", dir->config_path, 1, 1 << 16, &info->dim, err);
  if (status == KIN_OK) status = read_vision(dir, &v, err);
  if (status == KIN_OK) status = read_text(dir, &t, err);
  if (status != KIN_OK) return status;
  kin_vision_describe(&v, info);
  kin_text_describe(&t, info);
  return kin_load_logit_scale(dir->weights, &info->logit_scale, err);
}

static kin_status load_image(kin_model *model, const kin_model_source *dir, kin_loader *l) {
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

const kin_layout kin_layout_clip = {
    .name = "CLIP in transformers' layout (model_type \"clip\")",
    .architecture = "clip",
    .config_file = "config.json",
    .matches = matches,
    .configure = configure,
    .load_image = load_image,
    .load_text = load_text,
};
