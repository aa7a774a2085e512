/* safetensors: one file or shards by index, through a file mapping. */
#ifndef KIN_WEIGHTS_H
#define KIN_WEIGHTS_H

#include "base/json.h"

typedef enum kin_dtype { KIN_F32, KIN_F16, KIN_BF16, KIN_DTYPE_OTHER } kin_dtype;

#define KIN_MAX_RANK 8

typedef struct kin_tensor {
  const char *name;
  const char *dtype_name; /* as the file says: "F32", "I64", ... */
  kin_dtype dtype;
  size_t rank;
  size_t shape[KIN_MAX_RANK];
  size_t elements;
  const void *data; /* little-endian, possibly unaligned; inside the mapping */
  size_t bytes;
  const char *file; /* for messages */
} kin_tensor;

typedef struct kin_weights kin_weights;

/* Open `dir`/model.safetensors, or the shards that `dir`/model.safetensors.index.json lists; or,
 * with `file` not NULL, `dir`/`file`. Every header field is checked before anything is read:
 * length, JSON, dtype, shape against bytes, offsets inside the file, no overlap, no holes. */
kin_status kin_weights_open(const char *dir, const char *file, kin_weights **out, kin_error *err);
void kin_weights_close(kin_weights *weights);
/* Give back the memory of what was read so far; tensors' data stay valid. */
void kin_weights_drop(const kin_weights *weights);

size_t kin_weights_count(const kin_weights *weights);
const kin_tensor *kin_weights_at(const kin_weights *weights, size_t i); /* sorted by name */
/* NULL when there is none. */
const kin_tensor *kin_weights_find(const kin_weights *weights, const char *name);

/* Find `name`, demand rank and shape (0 in shape: any size), and convert F32, F16 or BF16 to float into
 * a new kin_alloc_aligned array *out (shape product floats). Not-finite values are KIN_ERR_FORMAT.
 * Errors name file, tensor and what was found against what was expected. */
kin_status kin_weights_load(const kin_weights *weights, const char *name, size_t rank, const size_t *shape, float **out,
                            kin_error *err);
/* The same demands without a copy: the tensor, whose data may be read for as long as `weights` is open. `values` false:
 * whether they are finite isn't asked, and so none is read. */
kin_status kin_weights_check(const kin_weights *weights, const char *name, size_t rank, const size_t *shape,
                             bool values, const kin_tensor **out, kin_error *err);
/* Element conversion alone, without the check for finiteness. dst holds t->elements floats. */
void kin_tensor_to_float(const kin_tensor *t, float *dst);

/* A string of the file's "__metadata__", or NULL; of shards, the first one's. */
const char *kin_weights_metadata(const kin_weights *weights, const char *key);

/* Write `tensors` (name, dtype_name, rank, shape, data, bytes) in their order to `path`, in one step; `metadata` is an
 * object of strings. */
kin_status kin_weights_write(const char *path, const json_t *metadata, const kin_tensor *tensors, size_t n,
                             kin_error *err);

/* SHA-256 over all tensors' names, dtypes, shapes and bytes, fed to `h`. */
void kin_weights_hash(const kin_weights *weights, kin_sha256 *h);

#endif
