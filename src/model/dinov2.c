/* DINOv2 in transformers' layout (Dinov2Model). The vector is the class token after the last layer norm; with
 * our own key "output_layer": N in config.json, the class token as block N (counted from 0) leaves it. */
#include "model/tower.h"
#include "model/vision_transformer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const kin_block_names block_names = {.norm1 = "norm1",
                                            .q = "attention.attention.query",
                                            .k = "attention.attention.key",
                                            .v = "attention.attention.value",
                                            .out = "attention.output.dense",
                                            .norm2 = "norm2",
                                            .up = "mlp.fc1",
                                            .down = "mlp.fc2",
                                            .scale1 = "layer_scale1.lambda1",
                                            .scale2 = "layer_scale2.lambda1"};

static bool matches(const kin_model_source *dir) {
  const char *type = json_string_value(json_object_get(dir->config, "model_type"));
  return type && !strcmp(type, "dinov2");
}

/* The config's numbers; `trained_grid` is the side of the grid of positions in the file, `final` whether the last
 * layer norm belongs to the vector. */
static kin_status read_config(const kin_model *model, const kin_model_source *dir, kin_vision_transformer *v,
                              size_t *trained_grid, bool *final, kin_error *err) {
  const char *file = dir->config_path, *act = "gelu";
  size_t trained_size = 224, ratio = 4;
  bool swiglu = false, qkv_bias = true;
  v->stack = (kin_stack){.width = 768, .layers = 12, .heads = 12, .eps = 1e-6};
  v->patch = 14, v->prefix_tokens = 1;
  kin_status status = kin_json_size(dir->config, "hidden_size", file, 1, 1 << 16, &v->stack.width, err);
  if (status == KIN_OK) status = kin_json_size(dir->config, "num_hidden_layers", file, 1, 1024, &v->stack.layers, err);
  if (status == KIN_OK) status = kin_json_size(dir->config, "num_attention_heads", file, 1, 1024, &v->stack.heads, err);
  if (status == KIN_OK) status = kin_json_size(dir->config, "mlp_ratio", file, 1, 64, &ratio, err);
  if (status == KIN_OK) status = kin_json_size(dir->config, "image_size", file, 1, 8192, &trained_size, err);
  if (status == KIN_OK) status = kin_json_size(dir->config, "patch_size", file, 1, 4096, &v->patch, err);
  if (status == KIN_OK) status = kin_json_float(dir->config, "layer_norm_eps", file, &v->stack.eps, err);
  if (status == KIN_OK) status = kin_json_bool(dir->config, "use_swiglu_ffn", file, &swiglu, err);
  if (status == KIN_OK) status = kin_json_bool(dir->config, "qkv_bias", file, &qkv_bias, err);
  if (status == KIN_OK) status = kin_json_string(dir->config, "hidden_act", file, &act, err);
  if (status == KIN_OK) status = kin_parse_activation(act, file, &v->stack.act, err);
  size_t output_layer = v->stack.layers;
  if (status == KIN_OK)
    status = kin_json_size(dir->config, "output_layer", file, 0, v->stack.layers - 1, &output_layer, err);
  if (status != KIN_OK) return status;
  if (swiglu || !qkv_bias)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: use_swiglu_ffn and qkv_bias false are not supported", file);
  if (v->stack.width % v->stack.heads)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: hidden_size %zu is not a multiple of num_attention_heads %zu", file,
                    v->stack.width, v->stack.heads);
  *final = output_layer == v->stack.layers;
  if (!*final) v->stack.layers = output_layer + 1;
  *trained_grid = trained_size / v->patch;
  v->stack.hidden = v->stack.width * ratio;
  v->image_size = model->preprocess.crop_width;
  v->grid = v->image_size / v->patch;
  if (*trained_grid == 0 || v->grid == 0)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: patch_size %zu is larger than the picture", file, v->patch);
  return KIN_OK;
}

static kin_status configure(kin_model *model, const kin_model_source *dir, kin_error *err) {
  kin_vision_transformer v = {0};
  size_t trained_grid;
  bool final;
  kin_status status = read_config(model, dir, &v, &trained_grid, &final, err);
  if (status != KIN_OK) return status;
  model->info.dim = model->info.image_width = v.stack.width;
  model->info.image_size = v.image_size, model->info.patch_size = v.patch;
  model->info.image_layers = v.stack.layers, model->info.image_heads = v.stack.heads;
  return KIN_OK;
}

/* The four taps of PyTorch's bicubic interpolation (a = -0.75, not antialiased) around `position`. */
static void bicubic_taps(double position, size_t size, size_t at[4], double weight[4]) {
  const double a = -0.75;
  double base = floor(position), t = position - base;
  for (int i = 0; i < 4; i++) {
    double d = fabs(t + 1 - i), near = ((a + 2) * d - (a + 3)) * d * d + 1;
    double far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
    weight[i] = d <= 1 ? near : far;
    double index = base - 1 + i, last = (double)(size - 1);
    at[i] = (size_t)(index < 0 ? 0 : index > last ? last : index);
  }
}

/* A grid of positions for another picture size, as Dinov2Embeddings.interpolate_pos_encoding makes it. */
static void interpolate_positions(const float *from, size_t from_grid, float *to, size_t grid, size_t width) {
  double scale = (double)from_grid / (double)grid;
  for (size_t y = 0; y < grid; y++)
    for (size_t x = 0; x < grid; x++) {
      size_t rows[4], columns[4];
      double wy[4], wx[4];
      bicubic_taps(((double)y + 0.5) * scale - 0.5, from_grid, rows, wy);
      bicubic_taps(((double)x + 0.5) * scale - 0.5, from_grid, columns, wx);
      for (size_t c = 0; c < width; c++) {
        double total = 0;
        for (int i = 0; i < 4; i++)
          for (int j = 0; j < 4; j++)
            total += wy[i] * wx[j] * (double)from[(rows[i] * from_grid + columns[j]) * width + c];
        to[(y * grid + x) * width + c] = (float)total;
      }
    }
}

static kin_status load_image(kin_model *model, const kin_model_source *dir, kin_loader *l) {
  kin_vision_transformer *v = calloc(1, sizeof *v);
  if (!v) return kin_fail(l->err, KIN_ERR_MEMORY, "no memory for an image tower");
  model->image = (kin_image_tower){v, kin_vision_encode, kin_vision_close};
  size_t trained_grid;
  bool final;
  kin_status status = read_config(model, dir, v, &trained_grid, &final, l->err);
  if (status != KIN_OK) return status;
  size_t width = v->stack.width, p = v->patch;
  float *positions = NULL;
  v->dim = width;
  kin_vision_set_normalise(v, &model->preprocess);
  kin_load_matrix(l, 4, (const size_t[]){width, 3, p, p}, width, 3 * p * p, &v->embed,
                  "embeddings.patch_embeddings.projection.weight");
  kin_load_floats(l, 1, &width, &v->embed.bias, "embeddings.patch_embeddings.projection.bias");
  kin_load_floats(l, 3, (const size_t[]){1, 1, width}, &v->prefix, "embeddings.cls_token");
  kin_load_floats(l, 3, (const size_t[]){1, trained_grid * trained_grid + 1, width}, &positions,
                  "embeddings.position_embeddings");
  kin_stack_load(l, &v->stack, "encoder.layer", &block_names);
  if (final) kin_load_norm(l, width, v->stack.eps, &v->post_norm, "layernorm");
  v->positions = kin_alloc_aligned(v->grid * v->grid * width * sizeof *v->positions);
  if (l->status == KIN_OK && !v->positions) l->status = kin_fail(l->err, KIN_ERR_MEMORY, "no memory for positions");
  if (l->status == KIN_OK) {
    for (size_t i = 0; i < width; i++) v->prefix[i] += positions[i];
    if (v->grid == trained_grid)
      memcpy(v->positions, positions + width, v->grid * v->grid * width * sizeof *positions);
    else
      interpolate_positions(positions + width, trained_grid, v->positions, v->grid, width);
  }
  kin_free_aligned(positions);
  return l->status;
}

const kin_layout kin_layout_dinov2 = {
    .name = "DINOv2 in transformers' layout (model_type \"dinov2\")",
    .architecture = "dinov2",
    .matches = matches,
    .configure = configure,
    .load_image = load_image,
};
