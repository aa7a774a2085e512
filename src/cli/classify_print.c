/* kindred classify: what it prints, and the table that it writes. */
#include "cli/classify.h"
#include "embed/path_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------------- table */

/* Of a document the line too. */
static void put_item(const cli_item *item, size_t columns) {
  char name[4400];
  if (item->line)
    snprintf(name, sizeof name, "%.4300s:%llu", item->name, (unsigned long long)item->line);
  else
    snprintf(name, sizeof name, "%.4300s", item->name);
  cli_put_path(name, columns);
}

static void print_items(const classification *c, size_t *given) {
  enum { LONGEST = 48 };
  size_t widest = 0;
  for (size_t i = 0; i < c->items.set.n; i++) {
    const size_t columns = cli_columns(c->items.items[i].name) + (c->items.items[i].line ? 5 : 0);
    if (columns > widest) widest = columns;
  }
  for (size_t i = 0; i < c->items.set.n; i++) {
    const size_t n = classify_given(c, i, given);
    put_item(&c->items.items[i], widest < LONGEST ? widest : LONGEST);
    if (n == 0) printf("  " CLASSIFY_NONE);
    for (size_t k = 0; k < n; k++) {
      printf("%s%.3f ", k ? ", " : "  ", c->probabilities[i * c->n_classes + given[k]]);
      cli_put_text(c->names[given[k]]);
    }
    putchar('\n');
  }
}

/* True classes down, told ones across, by number. */
static void print_confusion(const classification *c, const classify_scores *s) {
  enum { MOST = 20, LONGEST = 24 };
  if (c->n_classes > MOST) return;
  size_t widest = 0;
  for (size_t k = 0; k < c->n_classes; k++)
    if (cli_columns(c->names[k]) > widest) widest = cli_columns(c->names[k]);
  if (widest > LONGEST) widest = LONGEST;
  printf("%*s", (int)widest + 5, "");
  for (size_t k = 0; k < c->n_classes; k++) printf(" %5zu", k + 1);
  printf("  told as\n");
  for (size_t k = 0; k < c->n_classes; k++) {
    printf("%3zu  ", k + 1);
    cli_put_path(c->names[k], widest);
    for (size_t j = 0; j < c->n_classes; j++) printf(" %5zu", s->confusion[k * c->n_classes + j]);
    putchar('\n');
  }
}

static void print_scores(const classification *c, const classify_scores *s) {
  if (!s->n) return;
  printf("Accuracy: %.3f (%zu of %zu", s->accuracy, s->right, s->n);
  if (s->folds) printf("; cross-validated in %zu parts, deviation %.3f", s->folds, s->deviation);
  printf(")\n");
  print_confusion(c, s);
}

static void print_classifier(const classification *c) {
  if (!c->classifier || c->o->common.quiet) return;
  if (c->info.kind == KIN_CLASSIFIER_LINEAR)
    printf("Logistic regression, c %g", c->info.c);
  else
    printf("%zu nearest neighbours", c->info.k);
  printf(", %zu examples in %zu classes", c->info.examples, c->n_classes);
  if (!c->info.converged) printf("; not converged after %zu steps", c->info.iterations);
  putchar('\n');
}

/* --------------------------------------------------------------------- JSON */

static json_t *describe_scores(const classification *c, const classify_scores *s) {
  json_t *rows = json_array();
  for (size_t k = 0; k < c->n_classes; k++) {
    json_t *row = json_array();
    for (size_t j = 0; j < c->n_classes; j++)
      json_array_append_new(row, json_integer((json_int_t)s->confusion[k * c->n_classes + j]));
    json_array_append_new(rows, row);
  }
  json_t *out = json_pack("{sI sI sf so}", "n", (json_int_t)s->n, "right", (json_int_t)s->right, "accuracy",
                          s->accuracy, "confusion", rows);
  if (out && s->folds) {
    json_object_set_new(out, "folds", json_integer((json_int_t)s->folds));
    json_object_set_new(out, "deviation", json_real(s->deviation));
  }
  return out;
}

static json_t *describe_item(const classification *c, size_t i, size_t *given) {
  const cli_item *item = &c->items.items[i];
  json_t *out = json_object(), *labels = json_array();
  const size_t n = classify_given(c, i, given);
  bool ok = out && labels && kin_json_set_text(out, item->is_file ? "path" : item->text ? "text" : "name", item->name);
  if (ok && item->line) ok = json_object_set_new(out, "line", json_integer((json_int_t)item->line)) == 0;
  const char *truth;
  if (ok && c->items.labels && c->items.labels[i] != CLI_NO_LABEL)
    ok = kin_json_set_text(out, "true_label", c->items.classes[c->items.labels[i]]);
  if (ok && classify_is_wrong(c, i, &truth)) ok = json_object_set_new(out, "wrong", json_true()) == 0;
  if (ok && strcmp(c->mode, "pairs") != 0)
    ok = json_object_set_new(out, "label", n ? json_string(c->names[given[0]]) : json_null()) == 0;
  for (size_t k = 0; ok && k < n; k++) {
    const size_t at = i * c->n_classes + given[k];
    json_t *label = json_pack("{ss sf}", "label", c->names[given[k]], "probability", c->probabilities[at]);
    ok = json_array_append_new(labels, label) == 0;
    if (ok && c->cosines) ok = json_object_set_new(label, "cosine", json_real((double)c->cosines[at])) == 0;
  }
  ok = ok && json_object_set(out, "labels", labels) == 0;
  json_decref(labels);
  if (ok) return out;
  json_decref(out);
  return NULL;
}

static json_t *describe_classifier(const classification *c) {
  json_t *out = json_pack("{sI sb sb}", "examples", (json_int_t)c->info.examples, "converged", (int)c->info.converged,
                          "centred", (int)c->info.centred);
  if (!out) return NULL;
  if (c->info.kind == KIN_CLASSIFIER_LINEAR)
    json_object_set_new(out, "c", json_real(c->info.c));
  else
    json_object_set_new(out, "k", json_integer((json_int_t)c->info.k));
  if (*c->info.model_id) json_object_set_new(out, "model_id", json_string(c->info.model_id));
  return out;
}

static json_t *describe(const classification *c, size_t *given) {
  json_t *items = json_array(), *labels = json_array();
  bool ok = items && labels;
  for (size_t i = 0; ok && i < c->items.set.n; i++) ok = json_array_append_new(items, describe_item(c, i, given)) == 0;
  for (size_t k = 0; ok && k < c->n_classes; k++) ok = json_array_append_new(labels, json_string(c->names[k])) == 0;
  json_t *out = ok ? json_pack("{ss sf sI sO sO}", "mode", c->mode, "threshold", c->threshold, "skipped",
                               (json_int_t)(c->items.skipped + c->train.skipped), "labels", labels, "items", items)
                   : NULL;
  json_decref(items);
  json_decref(labels);
  if (!out) return NULL;
  if (c->scale > 0) json_object_set_new(out, "scale", json_real(c->scale));
  if (c->classifier) json_object_set_new(out, "classifier", describe_classifier(c));
  if (c->validation.n) json_object_set_new(out, "validation", describe_scores(c, &c->validation));
  if (c->known.n) json_object_set_new(out, "known", describe_scores(c, &c->known));
  return out;
}

int classify_print(const classification *c) {
  size_t *given = calloc(c->o->top, sizeof *given);
  if (!given) {
    cli_error("out of memory");
    return CLI_FAILED;
  }
  int status = CLI_OK;
  if (c->o->common.json) {
    status = cli_print_json(describe(c, given));
  } else {
    print_classifier(c);
    print_scores(c, &c->validation);
    print_items(c, given);
    print_scores(c, &c->known);
  }
  free(given);
  return status;
}

/* ---------------------------------------------------------------------- CSV */

int classify_write_csv(const classification *c, cli_output *output) {
  FILE *out = output->file;
  size_t *given = calloc(c->o->top, sizeof *given);
  if (!given) {
    cli_error("out of memory");
    return CLI_FAILED;
  }
  fputs("item,line,label,probability", out);
  for (size_t k = 0; k < c->n_classes; k++) putc(',', out), cli_csv_put(out, c->names[k]);
  fputs("\r\n", out);
  for (size_t i = 0; i < c->items.set.n; i++) {
    const cli_item *item = &c->items.items[i];
    const double *row = c->probabilities + i * c->n_classes;
    const size_t n = classify_given(c, i, given);
    cli_csv_put(out, item->name);
    putc(',', out);
    if (item->line) fprintf(out, "%llu", (unsigned long long)item->line);
    putc(',', out);
    if (n) cli_csv_put(out, c->names[given[0]]);
    putc(',', out);
    if (n) fprintf(out, "%.9g", row[given[0]]);
    for (size_t k = 0; k < c->n_classes; k++) fprintf(out, ",%.9g", row[k]);
    fputs("\r\n", out);
  }
  free(given);
  return cli_output_commit(output);
}
