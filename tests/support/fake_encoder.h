/* A stand-in for a model: a vector made of a hash of the file's bytes, so that tests of the store need no weights. */
#ifndef KIN_FAKE_ENCODER_H
#define KIN_FAKE_ENCODER_H

#include "store/store.h"

typedef struct fake_encoder {
  kin_store_encoder encoder; /* give this to kin_store_update; kept by reference */
  size_t embedded;           /* pictures and texts that were asked of it */
  unsigned delay_us;         /* for each picture */
} fake_encoder;

/* Of pictures; fake_encoder_take_texts makes it one of texts, of which each word is a token, and two more. */
void fake_encoder_init(fake_encoder *fake, const char *model_id, size_t dim);
void fake_encoder_take_texts(fake_encoder *fake, size_t max_tokens);
/* Its way of counting. */
kin_status fake_encoder_count(void *user, const char *text, size_t size, size_t *out, kin_error *err);
/* The unit vector of a file with this content. A content that begins with "bad" is refused as KIN_ERR_FORMAT. */
void fake_encoder_vector(const void *content, size_t size, size_t dim, float *out);

/* kin_store_find with one vector and no more. */
kin_status test_search(kin_store *store, const float *query, size_t dim, size_t k, kin_hits **out, kin_error *err);

#endif
