/* What a model is made of: an image tower and a text tower, each with its functions. A layout's file
 * (clip.c, dinov2.c) reads a config and fills a kin_model; registry.c picks the layout. */
#ifndef KIN_TOWER_H
#define KIN_TOWER_H

#include "model/loader.h"
#include "model/model.h"
#include "model/visit.h"

typedef struct kin_image_tower {
  void *self;
  /* crops[n][image_size][image_size][3] -> out[n][dim], not normalised. Thread-safe. */
  kin_status (*encode)(void *self, const kin_context *context, const uint8_t *crops, size_t n, float *out,
                       kin_error *err);
  void (*visit)(void *self, kin_visitor *v); /* NULL: the tower can't be taken from packed weights */
  void (*close)(void *self);                 /* what `visit` lists has been released, or isn't the tower's own */
} kin_image_tower;

typedef struct kin_text_tower {
  void *self;
  kin_status (*encode)(void *self, const kin_context *context, const int32_t *const *ids, const size_t *lengths,
                       size_t n, float *out, kin_error *err);
  void (*visit)(void *self, kin_visitor *v); /* as above, and the same */
  void (*close)(void *self);
} kin_text_tower;

struct kin_model {
  kin_context *context;
  char *dir;
  kin_weights *weights; /* tables of tokens stay in its mapping */
  kin_model_info info;
  kin_preprocess preprocess;
  kin_tokenizer *tokenizer;
  char *prompts[KIN_TEXT_DOCUMENT + 1]; /* NULL: none */
  kin_image_tower image;
  kin_text_tower text;
  kin_map packed; /* what the towers' memory is mapped from; data NULL: it is their own */
};

/* Visit what both towers hold, the image tower first. */
void kin_model_visit(kin_model *model, kin_visitor *v);

/* A model directory while it is being read. */
typedef struct kin_model_source {
  const char *path;
  const char *config_path; /* of the layout's config_file */
  const json_t *config;
  const kin_weights *weights;
  kin_pooling pooling;
  kin_precision precision; /* never AUTO */
} kin_model_source;

typedef struct kin_layout {
  const char *name;         /* as in messages: "CLIP (transformers)" */
  const char *architecture; /* kin_model_info.architecture, where configure leaves it empty */
  const char *config_file;  /* in the model directory */
  /* The names that its weights may have, ended by NULL; NULL: model.safetensors or the shards of its index. */
  const char *const *weights_files;
  bool pools; /* has a choice of kin_pooling */
  bool (*matches)(const kin_model_source *dir);
  /* NULL: as preprocessor_config.json says. */
  kin_status (*load_preprocess)(const char *dir, kin_preprocess *out, kin_error *err);
  /* Sizes into model->info, checked. May set model->tokenizer, which is else read from the directory. */
  kin_status (*configure)(kin_model *model, const kin_model_source *dir, kin_error *err);
  /* Feed what decides the vectors beyond config, weights and tokenizer; NULL: nothing. */
  kin_status (*hash)(const kin_model_source *dir, kin_sha256 *h, kin_error *err);
  /* Each reads a tower, model->preprocess being set; NULL: the layout has no such tower. */
  kin_status (*load_image)(kin_model *model, const kin_model_source *dir, kin_loader *loader);
  kin_status (*load_text)(kin_model *model, const kin_model_source *dir, kin_loader *loader);
} kin_layout;

extern const kin_layout kin_layout_clip, kin_layout_open_clip, kin_layout_dinov2, kin_layout_sentence,
    kin_layout_bridge;

/* "quick_gelu", "gelu" and so on, or KIN_ERR_UNSUPPORTED naming the file. */
kin_status kin_parse_activation(const char *name, const char *file, kin_activation *out, kin_error *err);

#endif
