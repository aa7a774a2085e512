/* Sentence encoders: BERT, DistilBERT, RoBERTa and XLM-RoBERTa in sentence-transformers' layout (modules.json with
 * pooling, dense and normalising modules), or a bare transformers directory, which is then mean-pooled as
 * sentence-transformers does it. */
#include "model/text_transformer.h"
#include "model/tower.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_LIMIT = 1 << 20 };

/* How a family spells its config's keys and its tensors. */
typedef struct family {
  const char *type; /* model_type */
  const char *width, *hidden, *layers, *heads, *act;
  double eps;
  bool token_types;
  bool padded_positions; /* positions count from the padding id + 1 */
  const char *blocks;
  kin_block_names names;
} family;

#define BERT_NAMES                                                                                 \
  {                                                                                                \
    .norm1 = "attention.output.LayerNorm", .q = "attention.self.query", .k = "attention.self.key", \
    .v = "attention.self.value", .out = "attention.output.dense", .norm2 = "output.LayerNorm",     \
    .up = "intermediate.dense", .down = "output.dense"                                             \
  }

#define BERT_FAMILY(type, eps, padded)                                                                             \
  {                                                                                                                \
    type, "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act", eps, true, \
        padded, "encoder.layer", BERT_NAMES                                                                        \
  }

static const family families[] = {
    BERT_FAMILY("bert", 1e-12, false),
    BERT_FAMILY("roberta", 1e-12, true),
    BERT_FAMILY("xlm-roberta", 1e-12, true),
    {"distilbert",
     "dim",
     "hidden_dim",
     "n_layers",
     "n_heads",
     "activation",
     1e-12,
     false,
     false,
     "transformer.layer",
     {.norm1 = "sa_layer_norm",
      .q = "attention.q_lin",
      .k = "attention.k_lin",
      .v = "attention.v_lin",
      .out = "attention.out_lin",
      .norm2 = "output_layer_norm",
      .up = "ffn.lin1",
      .down = "ffn.lin2"}},
};

static const family *family_of(const kin_model_source *dir) {
  const char *type = json_string_value(json_object_get(dir->config, "model_type"));
  for (size_t i = 0; type && i < sizeof families / sizeof *families; i++)
    if (!strcmp(families[i].type, type)) return &families[i];
  return NULL;
}

static bool matches(const kin_model_source *dir) {
  return family_of(dir) != NULL;
}

/* --------------------------------------------------------------- modules */

/* What modules.json adds to the encoder. */
typedef struct modules {
  kin_text_pooling pooling;
  bool normalise;
  size_t n_dense;
  char *dense[KIN_MAX_PROJECTIONS]; /* folders */
} modules;

static void modules_free(modules *m) {
  for (size_t i = 0; i < KIN_MAX_PROJECTIONS; i++) free(m->dense[i]);
}

static kin_status load_optional(const char *folder, const char *name, json_t **out, char **path_out, kin_error *err) {
  *out = NULL;
  *path_out = kin_format("%s/%s", folder, name);
  if (!*path_out) return kin_fail(err, KIN_ERR_MEMORY, "no memory to read %s", folder);
  return kin_file_exists(*path_out) ? kin_json_load(*path_out, FILE_LIMIT, out, err) : KIN_OK;
}

static kin_status read_pooling(const char *folder, modules *m, kin_error *err) {
  char *path = kin_format("%s/config.json", folder);
  json_t *config = NULL;
  bool first = false, mean = false, max = false, root = false, weighted = false, last = false;
  if (!path) return kin_fail(err, KIN_ERR_MEMORY, "no memory to read %s", folder);
  kin_status status = kin_json_load(path, FILE_LIMIT, &config, err);
  if (status == KIN_OK) status = kin_json_bool(config, "pooling_mode_cls_token", path, &first, err);
  if (status == KIN_OK) status = kin_json_bool(config, "pooling_mode_mean_tokens", path, &mean, err);
  if (status == KIN_OK) status = kin_json_bool(config, "pooling_mode_max_tokens", path, &max, err);
  if (status == KIN_OK) status = kin_json_bool(config, "pooling_mode_mean_sqrt_len_tokens", path, &root, err);
  if (status == KIN_OK) status = kin_json_bool(config, "pooling_mode_weightedmean_tokens", path, &weighted, err);
  if (status == KIN_OK) status = kin_json_bool(config, "pooling_mode_lasttoken", path, &last, err);
  if (status == KIN_OK && (max || root || weighted || last || first == mean))
    status = kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: pooling must be either the class token or the mean of all", path);
  m->pooling = first ? KIN_POOL_FIRST : KIN_POOL_MEAN;
  json_decref(config);
  free(path);
  return status;
}

static kin_status read_module(const kin_model_source *dir, const json_t *module, const char *file, size_t index,
                              modules *m, kin_error *err) {
  const char *type = NULL, *path = "";
  kin_status status = kin_json_string(module, "type", file, &type, err);
  if (status == KIN_OK) status = kin_json_string(module, "path", file, &path, err);
  if (status != KIN_OK) return status;
  const char *kind = type ? strrchr(type, '.') : NULL;
  kind = kind ? kind + 1 : type ? type : "(none)";
  char *folder = kin_format("%s/%s", dir->path, path);
  if (!folder) return kin_fail(err, KIN_ERR_MEMORY, "no memory to read %s", file);
  if (index == 0 && !strcmp(kind, "Transformer")) {
    if (*path) status = kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: the transformer must lie in the folder itself", file);
  } else if (!strcmp(kind, "Pooling")) {
    status = read_pooling(folder, m, err);
  } else if (!strcmp(kind, "Normalize")) {
    m->normalise = true;
  } else if (!strcmp(kind, "Dense") && m->n_dense < KIN_MAX_PROJECTIONS && !m->normalise) {
    m->dense[m->n_dense++] = folder;
    return KIN_OK;
  } else {
    status = kin_fail(err, KIN_ERR_UNSUPPORTED,
                      "%s: module %zu is %s; supported are a Transformer, then Pooling, up to %d Dense and Normalize",
                      file, index, kind, KIN_MAX_PROJECTIONS);
  }
  free(folder);
  return status;
}

static kin_status read_modules(const kin_model_source *dir, modules *m, kin_error *err) {
  *m = (modules){.pooling = KIN_POOL_MEAN};
  json_t *list;
  char *path;
  kin_status status = load_optional(dir->path, "modules.json", &list, &path, err);
  if (status == KIN_OK && list && !json_is_array(list))
    status = kin_fail(err, KIN_ERR_FORMAT, "%s: is not a list of modules", path);
  for (size_t i = 0; status == KIN_OK && i < json_array_size(list); i++)
    status = read_module(dir, json_array_get(list, i), path, i, m, err);
  json_decref(list);
  free(path);
  return status;
}

/* The tokens that a text is cut to: sentence_bert_config.json says it, the positions bound it. */
static kin_status read_context(const kin_model_source *dir, size_t *context, kin_error *err) {
  json_t *config;
  char *path;
  size_t wanted = *context;
  kin_status status = load_optional(dir->path, "sentence_bert_config.json", &config, &path, err);
  if (status == KIN_OK && config) status = kin_json_size(config, "max_seq_length", path, 2, 1 << 20, &wanted, err);
  if (wanted < *context) *context = wanted;
  json_decref(config);
  free(path);
  return status;
}

/* Prompts of config_sentence_transformers.json, under the names that encode_query and encode_document look for. */
static kin_status read_prompts(kin_model *model, const kin_model_source *dir, kin_error *err) {
  static const char *const names[KIN_TEXT_DOCUMENT + 1][3] = {{NULL}, {"query"}, {"document", "passage", "corpus"}};
  json_t *config;
  char *path;
  const char *default_name = NULL;
  kin_status status = load_optional(dir->path, "config_sentence_transformers.json", &config, &path, err);
  if (status == KIN_OK && config) status = kin_json_string(config, "default_prompt_name", path, &default_name, err);
  const json_t *prompts = json_object_get(config, "prompts");
  for (int role = KIN_TEXT_PLAIN; status == KIN_OK && json_is_object(prompts) && role <= KIN_TEXT_DOCUMENT; role++) {
    const char *prompt = NULL;
    for (size_t i = 0; i < 3 && !prompt && status == KIN_OK; i++)
      if (names[role][i]) status = kin_json_string(prompts, names[role][i], path, &prompt, err);
    if (!prompt && default_name && status == KIN_OK)
      status = kin_json_string(prompts, default_name, path, &prompt, err);
    if (prompt && !(model->prompts[role] = kin_strdup(prompt)))
      status = kin_fail(err, KIN_ERR_MEMORY, "no memory to read %s", path);
  }
  json_decref(config);
  free(path);
  return status;
}

/* ---------------------------------------------------------------- reading */

typedef struct sizes {
  size_t positions, token_types, first_position;
} sizes;

static kin_status read_config(const kin_model_source *dir, kin_text_transformer *t, sizes *z, kin_error *err) {
  const family *f = family_of(dir);
  const char *file = dir->config_path, *act = "gelu", *position_type = "absolute";
  size_t padding = 1;
  t->stack = (kin_stack){.width = 768, .hidden = 3072, .layers = 12, .heads = 12, .eps = f->eps, .post_norm = true};
  t->vocabulary = 30522;
  *z = (sizes){.positions = 512, .token_types = 2};
  kin_status status = kin_json_size(dir->config, f->width, file, 1, 1 << 16, &t->stack.width, err);
  if (status == KIN_OK) status = kin_json_size(dir->config, f->hidden, file, 1, 1 << 18, &t->stack.hidden, err);
  if (status == KIN_OK) status = kin_json_size(dir->config, f->layers, file, 1, 1024, &t->stack.layers, err);
  if (status == KIN_OK) status = kin_json_size(dir->config, f->heads, file, 1, 1024, &t->stack.heads, err);
  if (status == KIN_OK) status = kin_json_size(dir->config, "vocab_size", file, 1, 1 << 24, &t->vocabulary, err);
  if (status == KIN_OK)
    status = kin_json_size(dir->config, "max_position_embeddings", file, 4, 1 << 20, &z->positions, err);
  if (status == KIN_OK) status = kin_json_size(dir->config, "type_vocab_size", file, 1, 1024, &z->token_types, err);
  if (status == KIN_OK) status = kin_json_size(dir->config, "pad_token_id", file, 0, 1 << 24, &padding, err);
  if (status == KIN_OK) status = kin_json_float(dir->config, "layer_norm_eps", file, &t->stack.eps, err);
  if (status == KIN_OK) status = kin_json_string(dir->config, f->act, file, &act, err);
  if (status == KIN_OK) status = kin_json_string(dir->config, "position_embedding_type", file, &position_type, err);
  if (status == KIN_OK) status = kin_parse_activation(act, file, &t->stack.act, err);
  if (status != KIN_OK) return status;
  if (strcmp(position_type, "absolute"))
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: position_embedding_type \"%s\" is not supported", file,
                    position_type);
  if (t->stack.width % t->stack.heads)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: %s %zu is not a multiple of %s %zu", file, f->width, t->stack.width,
                    f->heads, t->stack.heads);
  z->first_position = f->padded_positions ? padding + 1 : 0;
  if (z->first_position + 2 > z->positions)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: pad_token_id %zu leaves no positions", file, padding);
  t->context = z->positions - z->first_position;
  return read_context(dir, &t->context, err);
}

/* Sizes of a Dense module, whose activation must be the identity. */
static kin_status read_dense(const char *folder, size_t in, size_t *out, bool *bias, kin_error *err) {
  char *path = kin_format("%s/config.json", folder);
  json_t *config = NULL;
  size_t in_features = 0;
  const char *act = "torch.nn.modules.activation.Tanh";
  if (!path) return kin_fail(err, KIN_ERR_MEMORY, "no memory to read %s", folder);
  kin_status status = kin_json_load(path, FILE_LIMIT, &config, err);
  *bias = true;
  if (status == KIN_OK) status = kin_json_size(config, "in_features", path, 1, 1 << 16, &in_features, err);
  if (status == KIN_OK) status = kin_json_size(config, "out_features", path, 1, 1 << 16, out, err);
  if (status == KIN_OK) status = kin_json_bool(config, "bias", path, bias, err);
  if (status == KIN_OK) status = kin_json_string(config, "activation_function", path, &act, err);
  if (status == KIN_OK && in_features != in)
    status =
        kin_fail(err, KIN_ERR_FORMAT, "%s: in_features is %zu, but what comes before gives %zu", path, in_features, in);
  if (status == KIN_OK && !strstr(act, "Identity"))
    status = kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: activation_function %s; only Identity is supported", path, act);
  json_decref(config);
  free(path);
  return status;
}

static kin_status configure(kin_model *model, const kin_model_source *dir, kin_error *err) {
  kin_text_transformer t = {0};
  kin_model_info *info = &model->info;
  modules m;
  sizes z;
  kin_status status = read_config(dir, &t, &z, err);
  if (status != KIN_OK) return status;
  info->dim = info->text_width = t.stack.width;
  info->text_layers = t.stack.layers, info->text_heads = t.stack.heads;
  info->text_context = t.context, info->vocabulary = t.vocabulary;
  status = read_modules(dir, &m, err);
  if (status == KIN_OK) status = read_prompts(model, dir, err);
  for (size_t i = 0; status == KIN_OK && i < m.n_dense; i++) {
    bool bias;
    status = read_dense(m.dense[i], info->dim, &info->dim, &bias, err);
    if (status == KIN_OK && i + 1 < m.n_dense && info->dim > 3 * t.stack.width)
      status = kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: out_features %zu is more than three times the width", m.dense[i],
                        info->dim);
  }
  modules_free(&m);
  return status;
}

/* The projections, each from its own folder's model.safetensors (linear.weight, linear.bias). */
static void load_dense(kin_loader *l, const modules *m, kin_text_transformer *t) {
  size_t in = t->stack.width;
  for (size_t i = 0; i < m->n_dense && l->status == KIN_OK; i++) {
    kin_weights *weights = NULL;
    const kin_weights *encoder = l->weights;
    size_t out = 0;
    bool bias;
    l->status = read_dense(m->dense[i], in, &out, &bias, l->err);
    if (l->status == KIN_OK) l->status = kin_weights_open(m->dense[i], NULL, &weights, l->err);
    l->weights = weights;
    kin_load_linear(l, out, in, bias, &t->projections[i], "linear");
    l->weights = encoder;
    kin_weights_close(weights);
    t->n_projections = i + 1;
    in = out;
  }
}

static kin_status hash_modules(const kin_model_source *dir, kin_sha256 *h, kin_error *err) {
  kin_text_transformer t = {0};
  modules m;
  sizes z;
  kin_status status = read_config(dir, &t, &z, err);
  if (status != KIN_OK) return status;
  status = read_modules(dir, &m, err);
  char line[64];
  snprintf(line, sizeof line, "context %zu pooling %d normalise %d", t.context, (int)m.pooling, m.normalise);
  kin_sha256_update(h, line, strlen(line));
  for (size_t i = 0; status == KIN_OK && i < m.n_dense; i++) {
    kin_weights *weights = NULL;
    status = kin_weights_open(m.dense[i], NULL, &weights, err);
    if (status == KIN_OK) kin_weights_hash(weights, h);
    kin_weights_close(weights);
  }
  modules_free(&m);
  return status;
}

static kin_status load_text(kin_model *model, const kin_model_source *dir, kin_loader *l) {
  const family *f = family_of(dir);
  kin_text_transformer *t = calloc(1, sizeof *t);
  if (!t) return kin_fail(l->err, KIN_ERR_MEMORY, "no memory for a text tower");
  model->text = (kin_text_tower){t, kin_text_encode, kin_text_visit, kin_text_close};
  modules m;
  sizes z;
  kin_status status = read_config(dir, t, &z, l->err);
  if (status != KIN_OK) return status;
  status = read_modules(dir, &m, l->err);
  if (status != KIN_OK) {
    modules_free(&m);
    return status;
  }
  size_t width = t->stack.width;
  float *types = NULL;
  t->dim = model->info.dim;
  t->pooling = m.pooling, t->normalise = m.normalise;
  kin_load_table(l, t->vocabulary, width, &t->tokens, "embeddings.word_embeddings.weight");
  kin_load_floats(l, 2, (const size_t[]){z.positions, width}, &t->positions, "embeddings.position_embeddings.weight");
  if (f->token_types)
    kin_load_floats(l, 2, (const size_t[]){z.token_types, width}, &types, "embeddings.token_type_embeddings.weight");
  kin_load_norm(l, width, t->stack.eps, &t->embed_norm, "embeddings.LayerNorm");
  t->stack.input_norm = &t->embed_norm;
  kin_stack_load(l, &t->stack, f->blocks, &f->names);
  load_dense(l, &m, t);
  if (l->status == KIN_OK) {
    memmove(t->positions, t->positions + z.first_position * width, t->context * width * sizeof *t->positions);
    for (size_t i = 0; types && i < t->context * width; i++) t->positions[i] += types[i % width];
  }
  kin_free_aligned(types);
  modules_free(&m);
  return l->status;
}

const kin_layout kin_layout_sentence = {
    .name = "BERT, DistilBERT, RoBERTa, XLM-RoBERTa in sentence-transformers' layout",
    .architecture = "sentence",
    .config_file = "config.json",
    .matches = matches,
    .configure = configure,
    .hash = hash_modules,
    .load_text = load_text,
};
