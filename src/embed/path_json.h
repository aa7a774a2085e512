/* File names in JSON and HTML, which hold only UTF-8. */
#ifndef KIN_PATH_JSON_H
#define KIN_PATH_JSON_H

#include <jansson.h>
#include <stdbool.h>

/* A copy of `text` with each byte that is no part of a UTF-8 character replaced by U+FFFD; NULL for lack of memory.
 * Release with free. */
char *kin_replace_invalid(const char *text);

/* Set object[key] to `text`. Where it isn't UTF-8, its bad bytes become U+FFFD and all its bytes go, in hex,
 * to object[key + "_hex"], so that a program can still open such a file. False for lack of memory. */
bool kin_json_set_text(json_t *object, const char *key, const char *text);

#endif
