/* DINOv2 in transformers' layout (Dinov2Model, Dinov2WithRegistersModel). The vector is the class token after the
 * last layer norm, the mean of the patch tokens, both, or all patch tokens; with our own key "output_layer": N in
 * config.json they are taken as block N (counted from 0) leaves them. */
#include "model/tower.h"
#include "model/vision_transformer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_NAMES(up_name, down_name)                                                                 \
  {                                                                                                     \
    .norm1 = "norm1", .q = "attention.attention.query", .k = "attention.attention.key",                 \
    .v = "attention.attention.value", .out = "attention.output.dense", .norm2 = "norm2", .up = up_name, \
    .down = down_name, .scale1 = "layer_scale1.lambda1", .scale2 = "layer_scale2.lambda1"               \
  }

static const kin_block_names plain_names = BLOCK_NAMES("mlp.fc1", "mlp.fc2");
static const kin_block_names gated_names = BLOCK_NAMES("mlp.weights_in", "mlp.weights_out");

static bool is_type(const kin_model_source *dir, const char *wanted) {
  const char *type = json_string_value(json_object_get(dir->config, "model_type"));
  return type && !strcmp(type, wanted);
}

static bool has_registers(const kin_model_source *dir) {
  return is_type(dir, "dinov2_with_registers");
}

static bool matches(const kin_model_source *dir) {
  return is_type(dir, "dinov2") || has_registers(dir);
}

/* The config's numbers; `trained_grid` is the side of the grid of positions in the file, `final` whether the last
 * layer norm belongs to the vector. */
static kin_status read_config(const kin_model *model, const kin_model_source *dir, kin_vision_transformer *v,
                              size_t *trained_grid, bool *final, kin_error *err) {
  const char *file = dir->config_path, *act = "gelu";
  size_t trained_size = 224, ratio = 4, registers = has_registers(dir) ? 4 : 0;
  bool qkv_bias = true;
  v->stack = (kin_stack){.width = 768, .layers = 12, .heads = 12, .eps = 1e-6};
  v->patch = 14;
  kin_status status = kin_json_size(dir->config, "hidden_size", file, 1, 1 << 16, &v->stack.width, err);
  if (status == KIN_OK) status = kin_json_size(dir->config, "num_hidden_layers", file, 1, 1024, &v->stack.layers, err);
  if (status == KIN_OK) status = kin_json_size(dir->config, "num_attention_heads", file, 1, 1024, &v->stack.heads, err);
  if (status == KIN_OK) status = kin_json_size(dir->config, "mlp_ratio", file, 1, 64, &ratio, err);
  if (status == KIN_OK) status = kin_json_size(dir->config, "image_size", file, 1, 8192, &trained_size, err);
  if (status == KIN_OK) status = kin_json_size(dir->config, "patch_size", file, 1, 4096, &v->patch, err);
  if (status == KIN_OK) status = kin_json_float(dir->config, "layer_norm_eps", file, &v->stack.eps, err);
  if (status == KIN_OK) status = kin_json_bool(dir->config, "use_swiglu_ffn", file, &v->stack.gated, err);
  if (status == KIN_OK && has_registers(dir))
    status = kin_json_size(dir->config, "num_register_tokens", file, 0, 1024, &registers, err);
  if (status == KIN_OK) status = kin_json_bool(dir->config, "qkv_bias", file, &qkv_bias, err);
  if (status == KIN_OK) status = kin_json_string(dir->config, "hidden_act", file, &act, err);
  if (status == KIN_OK) status = kin_parse_activation(act, file, &v->stack.act, err);
  size_t output_layer = v->stack.layers;
  if (status == KIN_OK)
    status = kin_json_size(dir->config, "output_layer", file, 0, v->stack.layers - 1, &output_layer, err);
  if (status != KIN_OK) return status;
  if (!qkv_bias) return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: qkv_bias false is not supported", file);
  if (v->stack.width % v->stack.heads)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: hidden_size %zu is not a multiple of num_attention_heads %zu", file,
                    v->stack.width, v->stack.heads);
  *final = output_layer == v->stack.layers;
  if (!*final) v->stack.layers = output_layer + 1;
  *trained_grid = trained_size / v->patch;
  v->stack.hidden = v->stack.width * ratio;
  if (v->stack.gated) v->stack.hidden = (v->stack.hidden * 2 / 3 + 7) / 8 * 8;
  v->prefix_tokens = 1 + registers;
  v->pooling = dir->pooling == KIN_POOLING_DEFAULT ? KIN_POOLING_CLS : dir->pooling;
  v->image_size = model->preprocess.crop_width;
  v->grid = v->image_size / v->patch;
  v->dim = v->stack.width;
  if (v->pooling == KIN_POOLING_CLS_MEAN) v->dim *= 2;
  if (v->pooling == KIN_POOLING_PATCHES) v->dim *= v->grid * v->grid;
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
  model->info.dim = v.dim;
  kin_vision_describe(&v, &model->info);
  return KIN_OK;
}

/* PyTorch's bicubic kernel. */
static double cubic(double distance, double a) {
  double d = fabs(distance);
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? ((d - 5) * d + 8) * d * a - 4 * a : 0;
}

/* What each of `from` points along one axis adds to point `at` of `to`: PyTorch's bicubic interpolation, which
 * repeats the points at the border, or, antialiased, widens with the scale and leaves out what lies beyond. */
static void bicubic_weights(size_t from, size_t to, size_t at, bool antialias, double *weights) {
  double scale = (double)from / (double)to, centre = ((double)at + 0.5) * scale, total = 0;
  double width = antialias && scale > 1 ? scale : 1, last = (double)from - 1;
  memset(weights, 0, from * sizeof *weights);
  for (double i = floor(centre - 2 * width); i <= centre + 2 * width; i++) {
    double weight = cubic((i + 0.5 - centre) / width, antialias ? -0.5 : -0.75);
    if (antialias && (i < 0 || i > last)) continue;
    weights[(size_t)fmin(fmax(i, 0), last)] += weight;
    total += weight;
  }
  for (size_t i = 0; i < from; i++) weights[i] /= total;
}

/* A grid of positions for another picture size, as the reference's interpolate_pos_encoding makes it. */
static bool interpolate_positions(const float *from, size_t from_grid, float *to, size_t grid, size_t width,
                                  bool antialias) {
  double *weights = kin_array(grid * from_grid + width, sizeof *weights);
  if (!weights) return false;
  double *total = weights + grid * from_grid;
  for (size_t i = 0; i < grid; i++) bicubic_weights(from_grid, grid, i, antialias, weights + i * from_grid);
  for (size_t i = 0; i < grid * grid; i++) {
    const double *wy = weights + i / grid * from_grid, *wx = weights + i % grid * from_grid;
    memset(total, 0, width * sizeof *total);
    for (size_t j = 0; j < from_grid * from_grid; j++) {
      double weight = wy[j / from_grid] * wx[j % from_grid];
      for (size_t c = 0; weight != 0 && c < width; c++) total[c] += weight * (double)from[j * width + c];
    }
    for (size_t c = 0; c < width; c++) to[i * width + c] = (float)total[c];
  }
  free(weights);
  return true;
}

/* The class token with its position, then the registers, which have none. */
static void load_prefix(kin_loader *l, kin_vision_transformer *v, const float *positions) {
  size_t width = v->stack.width, registers = v->prefix_tokens - 1;
  float *class_token = NULL, *others = NULL;
  if (l->status != KIN_OK) return;
  v->prefix = kin_alloc_aligned(v->prefix_tokens * width * sizeof *v->prefix);
  if (l->status == KIN_OK && !v->prefix) l->status = kin_fail(l->err, KIN_ERR_MEMORY, "no memory for tokens");
  kin_load_floats(l, 3, (const size_t[]){1, 1, width}, &class_token, "embeddings.cls_token");
  if (registers) kin_load_floats(l, 3, (const size_t[]){1, registers, width}, &others, "embeddings.register_tokens");
  if (l->status == KIN_OK) {
    for (size_t i = 0; i < width; i++) v->prefix[i] = class_token[i] + positions[i];
    if (registers) memcpy(v->prefix + width, others, registers * width * sizeof *others);
  }
  kin_free_aligned(class_token), kin_free_aligned(others);
}

static void load_positions(kin_loader *l, kin_vision_transformer *v, const float *positions, size_t trained_grid,
                           bool antialias) {
  size_t width = v->stack.width;
  if (l->status != KIN_OK) return;
  v->positions = kin_alloc_aligned(v->grid * v->grid * width * sizeof *v->positions);
  bool done = v->positions != NULL;
  if (done && v->grid == trained_grid)
    memcpy(v->positions, positions + width, v->grid * v->grid * width * sizeof *positions);
  else
    done = done && interpolate_positions(positions + width, trained_grid, v->positions, v->grid, width, antialias);
  if (!done) l->status = kin_fail(l->err, KIN_ERR_MEMORY, "no memory for positions");
}

static kin_status load_image(kin_model *model, const kin_model_source *dir, kin_loader *l) {
  kin_vision_transformer *v = calloc(1, sizeof *v);
  if (!v) return kin_fail(l->err, KIN_ERR_MEMORY, "no memory for an image tower");
  model->image = (kin_image_tower){v, kin_vision_encode, kin_vision_visit, kin_vision_close};
  size_t trained_grid;
  bool final;
  kin_status status = read_config(model, dir, v, &trained_grid, &final, l->err);
  if (status != KIN_OK) return status;
  size_t width = v->stack.width, p = v->patch;
  float *positions = NULL;
  kin_preprocess_levels(&model->preprocess, v->normalise);
  kin_load_matrix(l, 4, (const size_t[]){width, 3, p, p}, width, 3 * p * p, &v->embed,
                  "embeddings.patch_embeddings.projection.weight");
  kin_load_floats(l, 1, &width, &v->embed.bias, "embeddings.patch_embeddings.projection.bias");
  if (l->int8) kin_load_int8_pixels(l, &v->embed, p * p, v->normalise[0]);
  kin_load_floats(l, 3, (const size_t[]){1, trained_grid * trained_grid + 1, width}, &positions,
                  "embeddings.position_embeddings");
  load_prefix(l, v, positions);
  load_positions(l, v, positions, trained_grid, has_registers(dir));
  kin_stack_load(l, &v->stack, "encoder.layer", v->stack.gated ? &gated_names : &plain_names);
  if (final) kin_load_norm(l, width, v->stack.eps, &v->post_norm, "layernorm");
  kin_free_aligned(positions);
  return l->status;
}

const kin_layout kin_layout_dinov2 = {
    .name = "DINOv2 in transformers' layout (model_type \"dinov2\" or \"dinov2_with_registers\")",
    .architecture = "dinov2",
    .config_file = "config.json",
    .pools = true,
    .matches = matches,
    .configure = configure,
    .load_image = load_image,
};
