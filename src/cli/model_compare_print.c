/* kindred model compare: the table and the JSON. */
#include "cli/model_compare.h"
#include "embed/path_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void compare_heading(const comparison *c, compare_metric metric, char out[32]) {
  static const char *const fixed[METRICS] = {[METRIC_VECTOR] = "vector",         [METRIC_PARAMETERS] = "parameters",
                                             [METRIC_MEMORY] = "memory",         [METRIC_LOAD] = "load",
                                             [METRIC_SPEED] = "photos/s",        [METRIC_ENCODER] = "encoder/s",
                                             [METRIC_SILHOUETTE] = "silhouette", [METRIC_RECALL_1] = "recall@1"};
  if (fixed[metric])
    snprintf(out, 32, "%s", fixed[metric]);
  else
    snprintf(out, 32, metric == METRIC_ACCURACY ? "%zu-NN accuracy" : "recall@%zu", c->k);
}

static double share(const comparison *c, size_t n) {
  return c->n_labelled ? (double)n / (double)c->n_labelled : 0;
}

static double number(const comparison *c, const compared_model *m, compare_metric metric) {
  switch (metric) {
  case METRIC_VECTOR:
    return (double)m->info.dim;
  case METRIC_PARAMETERS:
    return (double)m->info.parameters;
  case METRIC_MEMORY:
    return (double)m->memory_bytes;
  case METRIC_LOAD:
    return m->load_seconds;
  case METRIC_SPEED:
    return m->photos_per_second;
  case METRIC_ENCODER:
    return m->encoder_per_second;
  case METRIC_ACCURACY:
    return share(c, m->at_k.right);
  case METRIC_SILHOUETTE:
    return m->silhouette;
  case METRIC_RECALL_1:
    return share(c, m->at_1.found);
  case METRIC_RECALL_K:
    return share(c, m->at_k.found);
  case METRICS:
    break;
  }
  return 0;
}

/* Three digits that matter, or all of a larger number. */
static void format_rate(double value, char out[48]) {
  snprintf(out, 48, value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value);
}

void compare_value(const comparison *c, const compared_model *m, compare_metric metric, char out[48]) {
  double value = number(c, m, metric);
  switch (metric) {
  case METRIC_VECTOR:
    snprintf(out, 48, "%.0f", value);
    break;
  case METRIC_PARAMETERS:
    format_rate(value / 1e6, out);
    strcat(out, " M");
    break;
  case METRIC_MEMORY:
    snprintf(out, 48, "%.0f MB", value / 1e6);
    break;
  case METRIC_LOAD:
    snprintf(out, 48, "%.2f s", value);
    break;
  case METRIC_SPEED:
  case METRIC_ENCODER:
    format_rate(value, out);
    break;
  case METRIC_ACCURACY:
    snprintf(out, 48, "%.3f (%zu of %zu)", value, m->at_k.right, c->n_labelled);
    break;
  default:
    snprintf(out, 48, "%.3f", value);
  }
}

bool compare_is_best(const comparison *c, const compared_model *m, compare_metric metric) {
  if (metric <= METRIC_PARAMETERS || c->n_models < 2) return false;
  double sign = metric == METRIC_MEMORY || metric == METRIC_LOAD ? -1 : 1;
  bool differs = false;
  for (size_t i = 0; i < c->n_models; i++) {
    double other = number(c, &c->models[i], metric), own = number(c, m, metric);
    if (sign * other > sign * own) return false;
    differs = differs || other != own;
  }
  return differs;
}

/* ----------------------------------------------------------------- table */

enum { LONGEST_LABEL = 24, SCREEN = 100 };

static size_t label_columns(const comparison *c) {
  size_t widest = strlen("model");
  for (size_t i = 0; i < c->n_models; i++) {
    size_t columns = cli_columns(c->models[i].label);
    if (columns > widest) widest = columns;
  }
  return widest < LONGEST_LABEL ? widest : LONGEST_LABEL;
}

/* Metrics [first, last), a model a row. */
static void print_metrics(const comparison *c, compare_metric first, compare_metric last) {
  char cell[48];
  size_t widths[METRICS] = {0}, label = label_columns(c);
  for (compare_metric metric = first; metric < last; metric++) {
    compare_heading(c, metric, cell);
    widths[metric] = strlen(cell);
    for (size_t i = 0; i < c->n_models; i++) {
      compare_value(c, &c->models[i], metric, cell);
      if (strlen(cell) > widths[metric]) widths[metric] = strlen(cell);
    }
  }
  cli_put_path("model", label);
  for (compare_metric metric = first; metric < last; metric++) {
    compare_heading(c, metric, cell);
    printf("  %*s", (int)widths[metric], cell);
  }
  putchar('\n');
  for (size_t i = 0; i < c->n_models; i++) {
    cli_put_path(c->models[i].label, label);
    for (compare_metric metric = first; metric < last; metric++) {
      compare_value(c, &c->models[i], metric, cell);
      printf("  %*s", (int)widths[metric], cell);
    }
    putchar('\n');
  }
}

static void print_neighbours(const comparison *c, size_t query) {
  size_t room = (SCREEN - 4) / c->n_models, widest = 12;
  for (size_t i = 0; i < c->n_models; i++)
    for (size_t j = 0; j < c->k; j++) {
      size_t columns = cli_columns(c->photos[c->models[i].nearest[query * c->k + j].index].shown);
      if (columns > widest) widest = columns;
    }
  size_t most = room > 12 + 9 ? room - 9 : 12;
  if (widest > most) widest = most;
  printf("\nNearest to ");
  cli_put_text(c->photos[c->queries[query]].shown);
  printf("\n    ");
  for (size_t i = 0; i < c->n_models; i++) {
    if (i) printf("  ");
    cli_put_path(c->models[i].label, i + 1 < c->n_models ? widest + 7 : cli_columns(c->models[i].label));
  }
  putchar('\n');
  for (size_t j = 0; j < c->k; j++) {
    printf("%3zu ", j + 1);
    for (size_t i = 0; i < c->n_models; i++) {
      const kin_neighbour *n = &c->models[i].nearest[query * c->k + j];
      const char *shown = c->photos[n->index].shown;
      size_t columns = cli_columns(shown);
      printf("%s%6.3f ", i ? "  " : "", (double)n->cosine);
      cli_put_path(shown, i + 1 < c->n_models || columns > widest ? widest : columns);
    }
    putchar('\n');
  }
}

void compare_print_table(const comparison *c) {
  print_metrics(c, METRIC_VECTOR, METRIC_ACCURACY);
  char digits[32];
  printf("\n%s photos", cli_group_digits(c->n_photos, digits));
  if (c->n_classes) {
    printf(", %s of them in %zu classes", cli_group_digits(c->n_labelled, digits), c->n_classes);
    printf("%s\n", c->centre ? "; the mean of all vectors is subtracted" : "");
    print_metrics(c, METRIC_ACCURACY, METRICS);
  } else {
    printf("%s\n", c->centre ? "; the mean of all vectors is subtracted" : "");
  }
  for (size_t i = 0; i < c->n_queries; i++) print_neighbours(c, i);
}

/* ------------------------------------------------------------------ JSON */

static json_t *describe_photo(const compared_photo *photo) {
  json_t *out = json_object();
  bool ok = out && kin_json_set_text(out, "path", photo->path);
  if (ok && photo->class_number != CLI_NO_CLASS) ok = kin_json_set_text(out, "class", photo->class_name);
  if (ok) return out;
  json_decref(out);
  return NULL;
}

static json_t *describe_query(const comparison *c, size_t query) {
  json_t *out = describe_photo(&c->photos[c->queries[query]]), *lists = json_array();
  bool ok = out && lists;
  for (size_t i = 0; i < c->n_models && ok; i++) {
    json_t *list = json_array();
    for (size_t j = 0; j < c->k && ok; j++) {
      const kin_neighbour *n = &c->models[i].nearest[query * c->k + j];
      json_t *hit = describe_photo(&c->photos[n->index]);
      ok = hit && json_object_set_new(hit, "cosine", json_real((double)n->cosine)) == 0;
      ok = json_array_append_new(list, hit) == 0 && ok;
    }
    ok = json_array_append_new(lists, list) == 0 && ok;
  }
  if (ok && json_object_set(out, "nearest", lists) == 0) {
    json_decref(lists);
    return out;
  }
  json_decref(out);
  json_decref(lists);
  return NULL;
}

static json_t *describe_model(const comparison *c, const compared_model *m) {
  json_t *out = json_pack("{ss ss sI sI sI sI sf sf sf}", "architecture", m->info.architecture, "id", m->info.id, "dim",
                          (json_int_t)m->info.dim, "parameters", (json_int_t)m->info.parameters, "weights_bytes",
                          (json_int_t)m->info.memory_bytes, "memory_bytes", (json_int_t)m->memory_bytes, "load_seconds",
                          m->load_seconds, "photos_per_second", m->photos_per_second, "encoder_per_second",
                          m->encoder_per_second);
  bool ok = out && kin_json_set_text(out, "model", m->operand);
  if (ok && c->n_classes) {
    json_t *figures = json_pack("{sf sI sf sf sf}", "knn_accuracy", share(c, m->at_k.right), "knn_right",
                                (json_int_t)m->at_k.right, "silhouette", m->silhouette, "recall_at_1",
                                share(c, m->at_1.found), "recall_at_k", share(c, m->at_k.found));
    ok = figures && json_object_update(out, figures) == 0;
    json_decref(figures);
  }
  if (ok) return out;
  json_decref(out);
  return NULL;
}

static json_t *describe_classes(const comparison *c) {
  json_t *out = json_array();
  bool ok = out != NULL;
  for (size_t i = 0; i < c->n_classes && ok; i++) {
    json_t *entry = json_pack("{sI}", "photos", (json_int_t)c->classes[i].photos);
    ok = entry && kin_json_set_text(entry, "name", c->classes[i].name);
    ok = json_array_append_new(out, entry) == 0 && ok;
  }
  if (ok) return out;
  json_decref(out);
  return NULL;
}

json_t *compare_describe(const comparison *c) {
  json_t *models = json_array(), *queries = json_array(), *classes = describe_classes(c);
  bool ok = models && queries && classes;
  for (size_t i = 0; i < c->n_models && ok; i++)
    ok = json_array_append_new(models, describe_model(c, &c->models[i])) == 0;
  for (size_t i = 0; i < c->n_queries && ok; i++) ok = json_array_append_new(queries, describe_query(c, i)) == 0;
  if (ok)
    return json_pack("{sI sI sI sI sb so so so}", "photos", (json_int_t)c->n_photos, "skipped", (json_int_t)c->skipped,
                     "labelled", (json_int_t)c->n_labelled, "k", (json_int_t)c->k, "centred", (int)c->centre, "classes",
                     classes, "models", models, "queries", queries);
  json_decref(models);
  json_decref(queries);
  json_decref(classes);
  return NULL;
}
