/* Checked access to JSON (libjansson) with errors that name the file and the key. */
#ifndef KIN_JSON_H
#define KIN_JSON_H

#include "base/base.h"

#include <jansson.h>

/* Parse `size` bytes; `name` is for messages. Duplicate keys and trailing bytes are errors, and so
 * is nesting beyond jansson's own limit. Release with json_decref. */
kin_status kin_json_parse(const char *text, size_t size, const char *name, json_t **out, kin_error *err);
/* As above, from a file of at most `limit` bytes. */
kin_status kin_json_load(const char *path, size_t limit, json_t **out, kin_error *err);

/* A member of `object`. A missing key (or null) leaves *out as it is, which is the default, and
 * returns KIN_OK; a wrong type or a value out of [min, max] is KIN_ERR_FORMAT. */
kin_status kin_json_size(const json_t *object, const char *key, const char *file, size_t min, size_t max, size_t *out,
                         kin_error *err);
kin_status kin_json_float(const json_t *object, const char *key, const char *file, double *out, kin_error *err);
kin_status kin_json_bool(const json_t *object, const char *key, const char *file, bool *out, kin_error *err);
/* Borrowed string, or NULL when absent. */
kin_status kin_json_string(const json_t *object, const char *key, const char *file, const char **out, kin_error *err);

#endif
