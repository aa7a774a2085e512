/* Writing a safetensors file: beside its name first, synced, then renamed. */
#include "weights/weights.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is little-endian");

/* The JSON header, padded so that the data begins at a multiple of 8; NULL for lack of memory. */
static char *make_header(const json_t *metadata, const kin_tensor *tensors, size_t n) {
  json_t *all = json_object();
  bool ok = all && json_object_set(all, "__metadata__", (json_t *)metadata) == 0;
  size_t at = 0;
  for (size_t i = 0; ok && i < n; i++) {
    json_t *shape = json_array();
    for (size_t k = 0; k < tensors[i].rank; k++)
      ok = json_array_append_new(shape, json_integer((json_int_t)tensors[i].shape[k])) == 0 && ok;
    json_t *entry = json_pack("{s:s,s:o,s:[I,I]}", "dtype", tensors[i].dtype_name, "shape", shape, "data_offsets",
                              (json_int_t)at, (json_int_t)(at + tensors[i].bytes));
    ok = json_object_set_new(all, tensors[i].name, entry) == 0 && ok;
    at += tensors[i].bytes;
  }
  char *text = ok ? json_dumps(all, JSON_COMPACT) : NULL;
  json_decref(all);
  char *padded = text ? kin_format("%s%*s", text, (int)((8 - strlen(text) % 8) % 8), "") : NULL;
  free(text);
  return padded;
}

static bool put_contents(FILE *f, const char *header, const kin_tensor *tensors, size_t n) {
  const uint64_t size = strlen(header);
  bool ok = fwrite(&size, sizeof size, 1, f) == 1 && fputs(header, f) >= 0;
  for (size_t i = 0; ok && i < n; i++)
    ok = tensors[i].bytes == 0 || fwrite(tensors[i].data, tensors[i].bytes, 1, f) == 1;
  return ok && fflush(f) == 0 && fsync(fileno(f)) == 0;
}

kin_status kin_weights_write(const char *path, const json_t *metadata, const kin_tensor *tensors, size_t n,
                             kin_error *err) {
  char *header = make_header(metadata, tensors, n), *temporary = kin_format("%s.%ld.partial", path, (long)getpid());
  kin_status status = KIN_OK;
  if (!header || !temporary) {
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory to write %s", path);
  } else {
    FILE *f = fopen(temporary, "wb");
    bool ok = f && put_contents(f, header, tensors, n);
    int errnum = errno;
    if (f && fclose(f) != 0 && ok) ok = false, errnum = errno;
    if (ok && rename(temporary, path) != 0) ok = false, errnum = errno;
    if (!ok && f) remove(temporary);
    if (!ok) status = kin_fail_errno(err, errnum, "can't write %s", path);
  }
  free(header);
  free(temporary);
  return status;
}
