/* A model as the pipeline sees it: preprocessing, a tokenizer, and two functions from a batch to vectors. */
#ifndef KIN_MODEL_H
#define KIN_MODEL_H

#include "base/context.h"
#include "image/image.h"
#include "text/text.h"

/* NULL / zeros where the model has no such tower. */
const kin_preprocess *kin_model_preprocess(const kin_model *model);
const kin_tokenizer *kin_model_tokenizer(const kin_model *model);
/* What is put before a text of this role; "" for most models. */
const char *kin_model_prompt(const kin_model *model, kin_text_role role);
kin_context *kin_model_context(const kin_model *model);
/* The directory that it was opened from, as given. */
const char *kin_model_dir(const kin_model *model);

/* Encode crops[n][crop_height][crop_width][3] (8-bit, from kin_preprocess_run) into out[n][dim], not
 * normalised. Thread-safe; runs on the context's pool. */
kin_status kin_model_encode_images(kin_model *model, const uint8_t *crops, size_t n, float *out, kin_error *err);

/* How many of a batch of n pictures each thread should encode alone at once; 0: the batch is too small, or there is one
 * thread, so that all encode it together. */
size_t kin_model_share(const kin_model *model, size_t n);
/* The same on the calling thread alone. */
kin_status kin_model_encode_images_alone(kin_model *model, const uint8_t *crops, size_t n, float *out, kin_error *err);

/* Encode n token sequences into out[n][dim], not normalised; ids[i] holds lengths[i] >= 1 ids, each
 * below the vocabulary and at most text_context of them. */
kin_status kin_model_encode_tokens(kin_model *model, const int32_t *const *ids, const size_t *lengths, size_t n,
                                   float *out, kin_error *err);

#endif
