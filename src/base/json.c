/* Checked access to JSON: every error names the file and the key. */
#include "base/json.h"

#include <math.h>
#include <stdlib.h>

kin_status kin_json_parse(const char *text, size_t size, const char *name, json_t **out, kin_error *err) {
  json_error_t problem;
  json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &problem);
  if (!root) {
    if (json_error_code(&problem) == json_error_out_of_memory)
      return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory while reading JSON", name);
    return kin_fail(err, KIN_ERR_FORMAT, "%s: bad JSON at line %d, column %d: %s", name, problem.line, problem.column,
                    problem.text);
  }
  *out = root;
  return KIN_OK;
}

kin_status kin_json_load(const char *path, size_t limit, json_t **out, kin_error *err) {
  char *text;
  size_t size;
  kin_status status = kin_read_file(path, limit, &text, &size, err);
  if (status != KIN_OK) return status;
  status = kin_json_parse(text, size, path, out, err);
  free(text);
  return status;
}

static const char *type_name(const json_t *value) {
  switch (json_typeof(value)) {
  case JSON_OBJECT:
    return "an object";
  case JSON_ARRAY:
    return "an array";
  case JSON_STRING:
    return "a string";
  case JSON_INTEGER:
    return "an integer";
  case JSON_REAL:
    return "a real number";
  case JSON_TRUE:
  case JSON_FALSE:
    return "a boolean";
  case JSON_NULL:
    return "null";
  }
  return "unknown";
}

/* The member, or NULL in *out when it is missing or null. */
static kin_status member(const json_t *object, const char *key, const char *file, const json_t **out, kin_error *err) {
  *out = NULL;
  if (!json_is_object(object))
    return kin_fail(err, KIN_ERR_FORMAT, "%s: \"%s\" is looked for in something that isn't a JSON object", file, key);
  const json_t *value = json_object_get(object, key);
  if (value && !json_is_null(value)) *out = value;
  return KIN_OK;
}

static kin_status wrong_type(const json_t *value, const char *key, const char *file, const char *expected,
                             kin_error *err) {
  return kin_fail(err, KIN_ERR_FORMAT, "%s: \"%s\" must be %s, but is %s", file, key, expected, type_name(value));
}

kin_status kin_json_size(const json_t *object, const char *key, const char *file, size_t min, size_t max, size_t *out,
                         kin_error *err) {
  const json_t *value;
  kin_status status = member(object, key, file, &value, err);
  if (status != KIN_OK || !value) return status;
  if (!json_is_integer(value)) return wrong_type(value, key, file, "an integer", err);
  json_int_t number = json_integer_value(value);
  if (number < 0 || (uintmax_t)number < min || (uintmax_t)number > max)
    return kin_fail(err, KIN_ERR_FORMAT, "%s: \"%s\" is %" JSON_INTEGER_FORMAT ", but must be from %zu to %zu", file,
                    key, number, min, max);
  *out = (size_t)number;
  return KIN_OK;
}

kin_status kin_json_float(const json_t *object, const char *key, const char *file, double *out, kin_error *err) {
  const json_t *value;
  kin_status status = member(object, key, file, &value, err);
  if (status != KIN_OK || !value) return status;
  if (!json_is_number(value)) return wrong_type(value, key, file, "a number", err);
  double number = json_number_value(value);
  if (!isfinite(number)) return kin_fail(err, KIN_ERR_FORMAT, "%s: \"%s\" isn't a finite number", file, key);
  *out = number;
  return KIN_OK;
}

kin_status kin_json_bool(const json_t *object, const char *key, const char *file, bool *out, kin_error *err) {
  const json_t *value;
  kin_status status = member(object, key, file, &value, err);
  if (status != KIN_OK || !value) return status;
  if (!json_is_boolean(value)) return wrong_type(value, key, file, "true or false", err);
  *out = json_is_true(value);
  return KIN_OK;
}

kin_status kin_json_string(const json_t *object, const char *key, const char *file, const char **out, kin_error *err) {
  const json_t *value;
  kin_status status = member(object, key, file, &value, err);
  if (status != KIN_OK || !value) return status;
  if (!json_is_string(value)) return wrong_type(value, key, file, "a string", err);
  *out = json_string_value(value);
  return KIN_OK;
}
