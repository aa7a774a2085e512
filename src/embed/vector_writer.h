/* Lines of JSON that say more of a vector than kin_vector_writer_add does. */
#ifndef KIN_VECTOR_WRITER_H
#define KIN_VECTOR_WRITER_H

#include "base/base.h"

#include <jansson.h>

/* Whether the file is one of JSON lines. */
bool kin_vector_writer_is_json(const kin_vector_writer *writer);
/* kin_vector_writer_add with the members of `row`, which stays the caller's but gets "vector" set; other formats take
 * the vector alone, and `row` may be NULL. */
kin_status kin_vector_writer_add_object(kin_vector_writer *writer, const float *vector, json_t *row, kin_error *err);
/* A line of JSON that is no vector. */
kin_status kin_vector_writer_add_line(kin_vector_writer *writer, const json_t *line, kin_error *err);

#endif
