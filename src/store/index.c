/* kin_store_index: an update with a model as the encoder. */
#include "embed/embed.h"
#include "model/model.h"
#include "store/store.h"

#include <stdlib.h>

static kin_status embed_with_model(void *user, const kin_image_source *images, size_t n,
                                   const kin_embed_options *options, float *out, kin_error *err) {
  return kin_embed_images(user, images, n, options, out, err);
}

static kin_status embed_texts_with_model(void *user, const char *const *texts, size_t n,
                                         const kin_embed_options *options, float *out, kin_error *err) {
  return kin_embed_texts(user, texts, n, options, out, err);
}

kin_status kin_store_index(kin_store *store, kin_model *model, const char *const *paths, size_t n_paths,
                           const kin_index_options *options, kin_index_progress *out, kin_error *err) {
  kin_model_info info;
  kin_model_get_info(model, &info);
  char *path = realpath(kin_model_dir(model), NULL);
  kin_store_encoder encoder = {.model_id = info.id,
                               .model_path = path ? path : kin_model_dir(model),
                               .dim = info.dim,
                               .has_image = info.has_image,
                               .has_text = info.has_text,
                               .precision = info.precision,
                               .pooling = info.pooling,
                               .embed = embed_with_model,
                               .embed_texts = embed_texts_with_model,
                               .count_tokens = kin_count_document_tokens,
                               .max_tokens = info.text_context,
                               .user = model};
  kin_status status = kin_store_update(store, &encoder, paths, n_paths, options, out, err);
  free(path);
  return status;
}
