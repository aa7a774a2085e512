/* The "post_processor" of a tokenizer.json: the tokens around a text. */
#ifndef KIN_TEXT_POST_PROCESSOR_H
#define KIN_TEXT_POST_PROCESSOR_H

#include "text/tokenizer.h"

/* Into t->prefix and t->suffix. KIN_ERR_UNSUPPORTED names an unknown type. */
kin_status kin_post_processor_parse(kin_tokenizer *t, const json_t *json, const char *file, kin_error *err);

#endif
