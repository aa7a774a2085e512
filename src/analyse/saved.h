/* What was trained, on disk: safetensors with the small facts in its metadata and a checksum over all. */
#ifndef KIN_SAVED_H
#define KIN_SAVED_H

#include "weights/weights.h"

/* A kind of such files. */
typedef struct kin_saved_kind {
  const char *what, *version; /* "classifier", "1": the facts "format" ("kindred classifier") and "version" */
  const char *const *keys;    /* [n_keys] of the other facts, all of them needed, hashed in this order */
  size_t n_keys;
} kin_saved_kind;

enum { KIN_SAVED_KEYS = 16 }; /* at most, with the two */

/* A tensor of one dimension (`columns` 0) or two; `size` of an element in bytes. */
kin_tensor kin_saved_tensor(const char *name, const char *dtype, size_t size, const void *data, size_t rows,
                            size_t columns);
/* Write `facts`, an object with the strings of all keys of the kind (NULL stands for lack of memory; released), and
 * tensors in the order of their names. */
kin_status kin_saved_write(const kin_saved_kind *kind, const char *path, json_t *facts, const kin_tensor *tensors,
                           size_t n, kin_error *err);

typedef struct kin_saved {
  const kin_saved_kind *kind;
  const char *path;
  kin_weights *weights;
  const char *values[KIN_SAVED_KEYS];
} kin_saved;

/* All facts are there, and the checksum is right. Close in any case. */
kin_status kin_saved_open(const kin_saved_kind *kind, const char *path, kin_saved *out, kin_error *err);
void kin_saved_close(kin_saved *saved);

const char *kin_saved_fact(const kin_saved *saved, const char *key);
/* A fact as a whole number, or a finite one. */
kin_status kin_saved_count(const kin_saved *saved, const char *key, size_t *out, kin_error *err);
kin_status kin_saved_number(const kin_saved *saved, const char *key, double *out, kin_error *err);
/* The number of a fact among names[n]. */
kin_status kin_saved_choice(const kin_saved *saved, const char *key, const char *const *names, size_t n, size_t *out,
                            kin_error *err);
/* The fact "model_id" into out[65]. */
kin_status kin_saved_model_id(const kin_saved *saved, char *out, kin_error *err);
/* A tensor of finite F64 numbers, of one dimension (`columns` 0) or two, into *out, to be released with free(). */
kin_status kin_saved_doubles(const kin_saved *saved, const char *name, size_t rows, size_t columns, double **out,
                             kin_error *err);

#endif
