/* What kin_store_export writes, as each kind of store gives it. */
#ifndef KIN_EXPORT_H
#define KIN_EXPORT_H

#include "store/store.h"

/* A vector, and what is known of its file. Valid during the call that it is handed to. */
typedef struct kin_export_row {
  const char *path;
  int64_t id, size, mtime_ns, width, height;
  const char *sha256;                     /* in hex, perhaps "" */
  const char *given, *sidecar, *embedded; /* captions; NULL: none */
  json_t *metadata;                       /* {"key": ["value", ...]} */
  int64_t ordinal, line, offset;
  const char *passage; /* NULL: of a picture */
  const float *vector;
} kin_export_row;

typedef kin_status (*kin_export_visit)(void *user, const kin_export_row *row, kin_error *err);

/* One more value of a key. False: out of memory. */
bool kin_export_add_value(json_t *metadata, const char *key, json_t *value);

/* elastic_export.c: all vectors of an index, by path and ordinal, as of one moment. */
kin_status kin_remote_export(kin_store *store, kin_export_visit visit, void *user, kin_error *err);

#endif
