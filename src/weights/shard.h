/* One safetensors file: its mapping and the tensors of its checked header. Internal to weights/. */
#ifndef KIN_SHARD_H
#define KIN_SHARD_H

#include "base/json.h"
#include "weights/weights.h"

typedef struct kin_shard {
  char *path;
  kin_map map;
  json_t *header; /* owns the tensors' names */
  kin_tensor *tensors;
  size_t count;
} kin_shard;

/* Map `path` and check its whole header; *out is zeroed on failure. On success the tensors point into
 * the mapping, in the header's order, and live until kin_shard_close. */
kin_status kin_shard_open(const char *path, kin_shard *out, kin_error *err);
void kin_shard_close(kin_shard *shard);

#endif
