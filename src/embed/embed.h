/* What the image and text halves of the pipeline share. */
#ifndef KIN_EMBED_H
#define KIN_EMBED_H

#include "base/base.h"

/* What became of one input. */
typedef struct kin_outcome {
  kin_error error; /* status KIN_OK: embedded */
  uint32_t width, height;
} kin_outcome;

/* `options` with the defaults filled in; NULL: all defaults. */
kin_embed_options kin_embed_resolve(const kin_embed_options *options, size_t default_batch);

/* Seconds since some moment. */
double kin_embed_now(void);

/* The encoder's vector `row` into out[dim], L2-normalised unless `raw`; a vector of zeros stays. Fails if it isn't
 * finite. */
kin_status kin_embed_finish(const kin_model *model, const float *row, bool raw, float *out, kin_error *err);

/* Lay the encoder's vectors `rows` of the good ones among `n` inputs into out[n][dim], zeros for the others,
 * each as kin_embed_finish does. */
kin_status kin_embed_scatter(const kin_model *model, const kin_outcome *outcomes, size_t n, const float *rows, bool raw,
                             float *out, kin_error *err);

/* Tell the caller about inputs first .. first + n - 1. Fails when it asks to stop, or, without a callback,
 * with the first bad input's error. */
kin_status kin_embed_report(const kin_embed_options *options, size_t first, size_t n, const kin_outcome *outcomes,
                            kin_error *err);

/* Tokens of a document's text with all that `model` (a kin_model) puts around it. */
kin_status kin_count_document_tokens(void *model, const char *text, size_t size, size_t *out, kin_error *err);

#endif
