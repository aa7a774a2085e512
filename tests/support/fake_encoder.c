/* See fake_encoder.h. */
#include "fake_encoder.h"

#include "index/checksum.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void fake_encoder_vector(const void *content, size_t size, size_t dim, float *out) {
  double sum = 0;
  for (size_t i = 0; i < dim; i++) {
    out[i] = (float)(int32_t)(uint32_t)kin_checksum(content, size, i) / 2147483648.0f;
    sum += (double)out[i] * (double)out[i];
  }
  for (size_t i = 0; i < dim; i++) out[i] = (float)((double)out[i] / sqrt(sum));
}

static kin_status embed(void *user, const kin_image_source *images, size_t n, const kin_embed_options *options,
                        float *out, kin_error *err) {
  fake_encoder *fake = user;
  size_t dim = fake->encoder.dim;
  for (size_t i = 0; i < n; i++) {
    kin_error reason = {.message = "not a picture"};
    char *content = NULL;
    size_t size = 0;
    kin_status status = kin_read_file(images[i].path, 1 << 20, &content, &size, &reason);
    if (status == KIN_OK && strncmp(content, "bad", 3) == 0) status = KIN_ERR_FORMAT;
    memset(out + i * dim, 0, dim * sizeof *out);
    if (status == KIN_OK) fake_encoder_vector(content, size, dim, out + i * dim);
    free(content);
    fake->embedded++;
    if (fake->delay_us) usleep(fake->delay_us);
    kin_item_report report = {i, status, status == KIN_OK ? NULL : reason.message, (uint32_t)size, 1};
    if (options->on_item && !options->on_item(options->user, &report))
      return kin_fail(err, KIN_ERR_CANCELLED, "stopped");
  }
  return KIN_OK;
}

void fake_encoder_init(fake_encoder *fake, const char *model_id, size_t dim) {
  *fake = (fake_encoder){.encoder = {.model_id = model_id,
                                     .model_path = "/models/fake",
                                     .dim = dim,
                                     .has_image = true,
                                     .embed = embed,
                                     .user = fake}};
}

static kin_status embed_texts(void *user, const char *const *texts, size_t n, const kin_embed_options *options,
                              float *out, kin_error *err) {
  fake_encoder *fake = user;
  size_t dim = fake->encoder.dim;
  for (size_t i = 0; i < n; i++) {
    fake_encoder_vector(texts[i], strlen(texts[i]), dim, out + i * dim);
    fake->embedded++;
    if (fake->delay_us) usleep(fake->delay_us);
    kin_item_report report = {.index = i};
    if (options->on_item && !options->on_item(options->user, &report))
      return kin_fail(err, KIN_ERR_CANCELLED, "stopped");
  }
  return KIN_OK;
}

kin_status fake_encoder_count(void *user, const char *text, size_t size, size_t *out, kin_error *err) {
  (void)user;
  (void)err;
  *out = 2;
  for (size_t i = 0; i < size; i++) *out += !strchr(" \n\t", text[i]) && (i == 0 || strchr(" \n\t", text[i - 1]));
  return KIN_OK;
}

void fake_encoder_take_texts(fake_encoder *fake, size_t max_tokens) {
  fake->encoder.has_image = false;
  fake->encoder.has_text = true;
  fake->encoder.embed_texts = embed_texts;
  fake->encoder.count_tokens = fake_encoder_count;
  fake->encoder.max_tokens = max_tokens;
}

kin_status test_search(kin_store *store, const float *query, size_t dim, size_t k, kin_hits **out, kin_error *err) {
  const kin_example example = {.vector = query};
  return kin_store_find(store, &(kin_query){.examples = &example, .n_examples = 1, .dim = dim, .k = k}, out, err);
}
