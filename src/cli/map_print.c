/* kindred map: the table, JSON and CSV. */
#include "cli/map.h"
#include "embed/path_json.h"

#include <stdio.h>

static double x_of(const map_job *j, size_t i) {
  return (double)j->points[2 * i];
}

static double y_of(const map_job *j, size_t i) {
  return (double)j->points[2 * i + 1];
}

static const char *label_of(const map_job *j, size_t i) {
  const size_t label = map_class_of(j, MAP_LABEL, i);
  return label == SIZE_MAX ? NULL : j->v.classes[label];
}

/* ------------------------------------------------------------------- table */

static void print_heading(const map_job *j) {
  char digits[32];
  printf("%s item%s by %s in %.1f s\n", cli_group_digits(j->v.set.n, digits), cli_plural(j->v.set.n),
         j->pca ? "PCA" : "UMAP", j->seconds);
  if (j->pca) printf("the axes hold %.1f%% and %.1f%% of the variance\n", 100 * j->variances[0], 100 * j->variances[1]);
  if (j->recall < 1) printf("about %.1f%% of the nearest neighbours were found\n", 100 * j->recall);
  if (!j->measured) return;
  printf("trustworthiness %.4f over %zu neighbour%s", j->trustworthiness, j->trusted, cli_plural(j->trusted));
  if (j->measured < j->v.set.n) printf(", of %s items", cli_group_digits(j->measured, digits));
  putchar('\n');
}

void map_print(const map_job *j, bool points) {
  print_heading(j);
  if (!points) return;
  printf("\n         x          y  %sitem\n", j->clusters.labels ? "cluster  " : "");
  for (size_t i = 0; i < j->v.set.n; i++) {
    printf("%10.4f %10.4f  ", x_of(j, i), y_of(j, i));
    if (j->clusters.labels) printf("%7u  ", j->clusters.labels[i]);
    cli_put_text(cli_item_name(&j->v.items[i]));
    if (label_of(j, i)) {
      fputs(", ", stdout);
      cli_put_text(label_of(j, i));
    }
    putchar('\n');
  }
}

/* -------------------------------------------------------------------- JSON */

static json_t *describe_point(const map_job *j, size_t i) {
  json_t *out = cli_item_describe(&j->v.items[i]);
  bool ok = out && json_object_set_new(out, "x", cli_json_number(x_of(j, i))) == 0 &&
            json_object_set_new(out, "y", cli_json_number(y_of(j, i))) == 0;
  if (ok && label_of(j, i)) ok = kin_json_set_text(out, "label", label_of(j, i));
  if (ok && j->clusters.labels)
    ok = json_object_set_new(out, "cluster", json_integer((json_int_t)j->clusters.labels[i])) == 0;
  if (ok && j->uniqueness) ok = json_object_set_new(out, "uniqueness", cli_json_number(j->uniqueness[i])) == 0;
  if (ok && j->anomaly) ok = json_object_set_new(out, "anomaly", cli_json_number(j->anomaly[i])) == 0;
  if (ok) return out;
  json_decref(out);
  return NULL;
}

json_t *map_describe(const map_job *j) {
  json_t *out = json_pack("{ss ss sI sI sf}", "method", j->method_name, "metric", j->metric_name, "items",
                          (json_int_t)j->v.set.n, "skipped", (json_int_t)j->v.skipped, "seconds", j->seconds);
  json_t *points = json_array();
  bool ok = out && points;
  if (ok && j->pca) ok = json_object_set_new(out, "variance", json_pack("[ff]", j->variances[0], j->variances[1])) == 0;
  if (ok && j->near) ok = json_object_set_new(out, "recall", cli_json_number(j->recall)) == 0;
  if (ok && j->measured)
    ok = json_object_set_new(out, "trustworthiness",
                             json_pack("{sf sI sI}", "value", j->trustworthiness, "neighbours", (json_int_t)j->trusted,
                                       "items", (json_int_t)j->measured)) == 0;
  for (size_t i = 0; ok && i < j->v.set.n; i++) ok = json_array_append_new(points, describe_point(j, i)) == 0;
  ok = json_object_set_new(out, "points", points) == 0 && ok;
  if (ok) return out;
  json_decref(out);
  return NULL;
}

/* --------------------------------------------------------------------- CSV */

void map_write_csv(const map_job *j, FILE *out) {
  fputs("name,line,x,y,label,cluster,uniqueness,anomaly\r\n", out);
  for (size_t i = 0; i < j->v.set.n; i++) {
    cli_csv_put_item(out, &j->v.items[i]);
    fprintf(out, "%.9g,%.9g,", x_of(j, i), y_of(j, i));
    if (label_of(j, i)) cli_csv_put(out, label_of(j, i));
    putc(',', out);
    if (j->clusters.labels) fprintf(out, "%u", j->clusters.labels[i]);
    putc(',', out);
    if (map_share_of(j, MAP_UNIQUENESS, i) >= 0) fprintf(out, "%.6g", j->uniqueness[i]);
    putc(',', out);
    if (map_share_of(j, MAP_ANOMALY, i) >= 0) fprintf(out, "%.6g", j->anomaly[i]);
    fputs("\r\n", out);
  }
}
