/* Any bytes as a safetensors file: refused with a message, or every tensor can be read. */
#include "weights/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(const kin_weights *weights) {
  for (size_t i = 0; i < kin_weights_count(weights); i++) {
    const kin_tensor *t = kin_weights_at(weights, i);
    float *values = NULL;
    if (kin_weights_load(weights, t->name, t->rank, t->shape, &values, NULL) == KIN_OK) kin_free_aligned(values);
  }
  kin_sha256 *hash = kin_sha256_new();
  char hex[65];
  if (!hash) return;
  kin_weights_hash(weights, hash);
  kin_sha256_finish(hash, hex);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  int fd = memfd_create("weights", MFD_CLOEXEC);
  if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
  char name[16];
  snprintf(name, sizeof name, "%d", fd);
  kin_weights *weights = NULL;
  kin_error err = {.status = KIN_OK, .message = ""};
  kin_status status = kin_weights_open("/proc/self/fd", name, &weights, &err);
  if (status == KIN_OK)
    read_all(weights);
  else if (err.status != status || !err.message[0])
    abort(); /* every failure has its message */
  kin_weights_close(weights);
  close(fd);
  return 0;
}
