/* kindred anomalies recent --stream: items as they come, a line of JSON each. */
#include "cli/recent.h"
#include "cli/text_lines.h"
#include "embed/path_json.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What has been read of a line. */
typedef struct arrival {
  char *name;
  const char *kind; /* "path", "text" or "name" */
  int64_t time_ns;  /* 0: not known */
} arrival;

typedef struct streaming {
  recent_job *job;
  kin_stream *stream;
  bool pictures; /* as the model has it */
  size_t dim;    /* 0: not known before the first vector */
  float *vector; /* [dim] */
  arrival *held; /* [n_held] of the stream's windows, the first one's number `first` */
  size_t n_held, capacity;
  uint64_t first;
  size_t failed;
} streaming;

/* ------------------------------------------------------------------- lines */

static bool read_json_time(const json_t *value, int64_t *out) {
  if (json_is_string(value)) return cli_read_time(json_string_value(value), out);
  const double seconds = json_number_value(value);
  if (!json_is_number(value) || fabs(seconds) >= 9e9) return false;
  *out = (int64_t)(seconds * 1e9);
  return true;
}

static kin_status open_stream(streaming *s, size_t dim, kin_error *err) {
  const recent_job *j = s->job;
  const kin_stream_options options = {.metric = j->metric,
                                      .method = j->method,
                                      .k = j->neighbours,
                                      .window = j->window,
                                      .window_ns = j->window_ns,
                                      .threshold = j->threshold,
                                      .level = j->level,
                                      .permutations = j->permutations,
                                      .seed = j->seed};
  s->vector = calloc(dim, sizeof *s->vector);
  if (!s->vector) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a vector");
  s->dim = dim;
  return kin_stream_open(j->v.session.context, dim, &options, &s->stream, err);
}

static kin_status read_vector(streaming *s, const json_t *values, kin_error *err) {
  const size_t n = json_array_size(values);
  kin_status status = KIN_OK;
  if (!n) return kin_fail(err, KIN_ERR_FORMAT, "\"vector\" must be an array of numbers");
  if (!s->dim) status = open_stream(s, n, err);
  if (status == KIN_OK && n != s->dim)
    status = kin_fail(err, KIN_ERR_MISMATCH, "a vector of %zu floats among ones of %zu", n, s->dim);
  for (size_t i = 0; status == KIN_OK && i < n; i++) {
    const json_t *value = json_array_get(values, i);
    if (!json_is_number(value)) status = kin_fail(err, KIN_ERR_FORMAT, "number %zu of a vector is none", i + 1);
    s->vector[i] = (float)json_number_value(value);
  }
  return status;
}

static kin_status embed(streaming *s, const char *input, kin_error *err) {
  const kin_embed_options options = {.role = KIN_TEXT_DOCUMENT};
  const kin_image_source source = {.path = input};
  kin_model *model = s->job->v.session.model;
  if (!model)
    return kin_fail(err, KIN_ERR_ARGUMENT, "photos and texts need --model; else a line holds a vector, as JSON");
  return s->pictures ? kin_embed_images(model, &source, 1, &options, s->vector, err)
                     : kin_embed_texts(model, &input, 1, &options, s->vector, err);
}

/* The item of an object, whose vector is made or read. */
static kin_status read_object(streaming *s, const json_t *object, arrival *out, kin_error *err) {
  const json_t *time = json_object_get(object, "time"), *values = json_object_get(object, "vector");
  const char *key = s->pictures ? "path" : "text", *input = json_string_value(json_object_get(object, key));
  const char *name = json_string_value(json_object_get(object, "name"));
  if (time && !read_json_time(time, &out->time_ns))
    return kin_fail(err, KIN_ERR_FORMAT, "\"time\" is no date like 2024-12-31T09:30, nor a Unix time");
  if (!values && !input)
    return kin_fail(err, KIN_ERR_FORMAT, "an object needs a \"vector\"%s%s%s",
                    s->job->v.session.model ? " or a \"" : "", s->job->v.session.model ? key : "",
                    s->job->v.session.model ? "\"" : "");
  out->kind = name || !input ? "name" : key;
  if (name || input) out->name = strdup(name ? name : input);
  return values ? read_vector(s, values, err) : embed(s, input, err);
}

static kin_status read_line(streaming *s, const char *line, arrival *out, kin_error *err) {
  *out = (arrival){.kind = "name"};
  if (*line != '[' && *line != '{') {
    out->kind = s->pictures ? "path" : "text";
    out->name = strdup(line);
    return embed(s, line, err);
  }
  json_error_t problem;
  json_t *root = json_loads(line, 0, &problem);
  kin_status status = root ? KIN_OK : kin_fail(err, KIN_ERR_FORMAT, "bad JSON: %s", problem.text);
  if (root) status = json_is_array(root) ? read_vector(s, root, err) : read_object(s, root, out, err);
  json_decref(root);
  return status;
}

/* ------------------------------------------------------------------ output */

static bool put_time(json_t *line, int64_t time_ns) {
  char text[32];
  return json_object_set_new(line, "time", *recent_time_text(time_ns, text) ? json_string(text) : json_null()) == 0;
}

/* Print and release a line. */
static int print_line(json_t *line, bool ok) {
  int status = CLI_OK;
  if (!line || !ok) {
    cli_error("out of memory for a line");
    status = CLI_FAILED;
  } else if (json_dumpf(line, stdout, JSON_REAL_PRECISION(9)) != 0 || putchar('\n') == EOF || fflush(stdout) != 0) {
    if (!cli_signal()) cli_error("can't write to the standard output");
    status = CLI_FAILED;
  }
  json_decref(line);
  return status;
}

static bool put_arrival(json_t *line, const arrival *a, uint64_t number) {
  return line && json_object_set_new(line, "item", json_integer((json_int_t)number)) == 0 &&
         (!a->name || kin_json_set_text(line, a->kind, a->name)) && put_time(line, a->time_ns);
}

static int print_item(const arrival *a, const kin_stream_report *r) {
  json_t *line = json_object();
  const bool ok = put_arrival(line, a, r->number) &&
                  json_object_set_new(line, "score", cli_json_number(r->score)) == 0 &&
                  json_object_set_new(line, "limit", cli_json_number(r->limit)) == 0 &&
                  json_object_set_new(line, "unusual", json_boolean(r->unusual)) == 0;
  return print_line(line, ok);
}

static int print_change(const streaming *s, const kin_stream_report *r) {
  json_t *line = json_object(), *from = json_object();
  const bool ok = put_arrival(from, &s->held[r->change - s->first], r->change) &&
                  json_object_set_new(from, "p", json_real(r->drift.p)) == 0 &&
                  json_object_set_new(from, "mmd", json_real(r->drift.mmd)) == 0 &&
                  json_object_set_new(from, "seen_at", json_integer((json_int_t)r->number)) == 0;
  return print_line(line, json_object_set_new(line, "change", from) == 0 && ok);
}

static int print_problem(streaming *s, const arrival *a, const kin_error *problem) {
  json_t *line = json_object();
  const bool ok = line && (!a->name || kin_json_set_text(line, a->kind, a->name)) &&
                  kin_json_set_text(line, "error", problem->message);
  s->failed++;
  return print_line(line, ok);
}

/* ----------------------------------------------------------------- running */

/* Hold the arrival, and let go what no later report names. */
static int hold(streaming *s, arrival *a, const kin_stream_report *r) {
  const size_t old = s->n_held && r->kept > s->first ? (size_t)(r->kept - s->first) : 0;
  for (size_t i = 0; i < old; i++) free(s->held[i].name);
  if (old) memmove(s->held, s->held + old, (s->n_held - old) * sizeof *s->held);
  s->n_held -= old, s->first += old;
  if (!kin_grow((void **)&s->held, &s->capacity, s->n_held + 1, sizeof *s->held)) {
    cli_error("out of memory for the windows of a stream");
    return CLI_FAILED;
  }
  s->held[s->n_held++] = *a;
  a->name = NULL;
  return CLI_OK;
}

static int take_line(streaming *s, const char *text) {
  arrival a;
  kin_error err;
  kin_stream_report report;
  kin_status read = read_line(s, text, &a, &err);
  if (read == KIN_OK && s->job->window_ns && !a.time_ns) a.time_ns = kin_now_ns();
  if (read == KIN_OK) read = kin_stream_push(s->stream, s->vector, a.time_ns, &report, &err);
  int status = read == KIN_OK           ? print_item(&a, &report)
               : read == KIN_ERR_MEMORY ? cli_failed(&err)
                                        : print_problem(s, &a, &err);
  if (read == KIN_OK && status == CLI_OK) status = hold(s, &a, &report);
  if (read == KIN_OK && status == CLI_OK && report.changed) status = print_change(s, &report);
  free(a.name);
  return status;
}

static int read_all(streaming *s) {
  char *line = NULL;
  size_t room = 0;
  int status = CLI_OK;
  while (status == CLI_OK && !cli_signal()) {
    errno = 0;
    ssize_t n = getline(&line, &room, stdin);
    if (n < 0 && !cli_signal() && ferror(stdin)) {
      cli_error("can't read the standard input: %s", strerror(errno));
      status = CLI_FAILED;
    }
    if (n < 0) break;
    while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) line[--n] = '\0';
    if (n > 0) status = take_line(s, line);
  }
  free(line);
  return status;
}

static int open_model(streaming *s) {
  recent_job *j = s->job;
  kin_error err;
  const char *dir = j->common.model ? cli_model_dir(&j->common, NULL) : NULL;
  const int status =
      dir ? cli_open_session(&j->common, dir, &j->v.session) : cli_open_context(&j->common, &j->v.session);
  if (status != CLI_OK || !dir) return status;
  s->pictures = j->v.session.info.has_image;
  return open_stream(s, j->v.session.info.dim, &err) == KIN_OK ? CLI_OK : cli_failed(&err);
}

int recent_stream(const cli_command *command, recent_job *j, const cli_list *operands) {
  streaming s = {.job = j};
  if (operands->count || j->input.store || j->input.texts || j->csv || j->html || j->times)
    return cli_usage_error(command, "--stream takes its items from the standard input, and goes without files");
  int status = open_model(&s);
  if (status == CLI_OK) status = read_all(&s);
  kin_stream_close(s.stream);
  for (size_t i = 0; i < s.n_held; i++) free(s.held[i].name);
  free(s.held), free(s.vector);
  return status == CLI_OK && s.failed ? CLI_SKIPPED : status;
}
