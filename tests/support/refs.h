/* The committed reference vectors of a seeded model: tests/data/refs, made by tools/reference/make_model_refs.py. */
#ifndef KIN_TEST_REFS_H
#define KIN_TEST_REFS_H

#include "base/base.h"

typedef struct refs {
  size_t dim;
  size_t n_images, n_texts; /* n_texts is 0 for a model without a text tower */
  kin_image_source *images; /* paths of committed pictures */
  const char **texts;
  int32_t **ids;              /* the reference tokenizer's ids of each text ... */
  size_t *lengths;            /* ... and how many */
  float *image_vectors;       /* [n_images][dim], not normalised */
  float *text_vectors;        /* [n_texts][dim] */
  float *mean_vectors;        /* [n_images][dim] of DINOv2: the mean of the patch tokens; NULL: none kept */
  const char *weights;        /* the name of the file of weights ... */
  const char *weights_sha256; /* ... as seeded.py writes it */
  void *json;
} refs;

/* Failures end the test. */
void refs_open(const char *model, refs *out);
void refs_close(refs *r);

/* Assert that `ours` is `reference` to cosine >= 0.99999 and relative error <= 1e-4; `what` is for the message.
 * Returns the relative error. */
double refs_assert_near(const float *ours, const float *reference, size_t dim, const char *what);
/* The model's vectors of the reference's texts, or pictures, [n][dim], `batch` at a time; of none, an empty array. Free
 * with free(). */
float *refs_embed(kin_model *model, const refs *r, bool texts, size_t batch);
/* The smallest cosine of a row of `ours` with the same one of `reference`, which is printed; 1 for no rows. */
double refs_least_cosine(const float *ours, const float *reference, size_t n, size_t dim);
/* The largest and smallest cosine between different rows. */
void refs_spread(const float *rows, size_t n, size_t dim, double *least, double *most);

#endif
