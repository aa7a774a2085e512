/* kindred cluster: the table, JSON and CSV. */
#include "cli/cluster.h"
#include "cli/items.h"
#include "embed/path_json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------- table */

static void print_heading(const cluster_job *j) {
  char items[32];
  printf("%zu cluster%s of %s item%s by %s", j->clusters.k, cli_plural(j->clusters.k),
         cli_group_digits(j->v.set.n, items), cli_plural(j->v.set.n), cluster_method_name(j));
  if (j->n_scores) printf(", k by silhouette");
  printf(" in %.1f s\n", j->seconds);
  if (j->measured) printf("silhouette %.3f, Davies-Bouldin %.3f\n", j->silhouette, j->davies_bouldin);
  if (j->v.labels)
    printf("with the %zu known classes: accuracy %.3f, NMI %.3f, ARI %.3f\n", j->v.n_classes, j->agreement.accuracy,
           j->agreement.nmi, j->agreement.ari);
}

static void print_curve(const cluster_job *j) {
  if (!j->n_scores) return;
  double best = 0.01;
  for (size_t i = 0; i < j->n_scores; i++) best = fmax(best, j->scores[i].silhouette);
  printf("\n    k  silhouette\n");
  for (size_t i = 0; i < j->n_scores; i++) {
    const kin_k_score *s = &j->scores[i];
    printf("%5zu  %8.3f%s", s->k, s->silhouette, s->k == j->k ? " * " : "   ");
    for (int bar = (int)(30 * s->silhouette / best); bar > 0; bar--) putchar('#');
    putchar('\n');
  }
}

static void print_words(const cluster_job *j, size_t c) {
  for (size_t i = 0; cluster_word(j, c, i); i++) {
    fputs(i ? ", " : "  ", stdout);
    cli_put_text(cluster_word(j, c, i));
  }
}

static void print_items(const cluster_job *j, size_t from, size_t to, const char *label) {
  if (from >= to) return;
  printf("       %s ", label);
  for (size_t i = from; i < to; i++) {
    if (i > from) fputs(", ", stdout);
    cli_put_text(cli_item_name(&j->v.items[j->order[i]]));
  }
  putchar('\n');
}

void cluster_print(const cluster_job *j) {
  print_heading(j);
  print_curve(j);
  if (j->clusters.k) printf("\n  cluster    size  spread  to the next\n");
  for (size_t c = 0; c < j->clusters.k; c++) {
    const kin_cluster_info *info = &j->infos[c];
    const size_t first = j->first[c], end = j->first[c + 1], shown = j->shown < end - first ? j->shown : end - first;
    printf("  %7zu %7zu  %6.3f       %6.3f", c, info->size, info->spread, info->nearest);
    print_words(j, c);
    putchar('\n');
    print_items(j, first, first + shown, "central:");
    print_items(j, end - shown > first + shown ? end - shown : first + shown, end, "remote: ");
  }
  const size_t noise = j->v.set.n - j->first[j->clusters.k];
  if (noise) printf("    noise %7zu\n", noise);
}

/* -------------------------------------------------------------------- JSON */

static json_t *describe_item(const cluster_job *j, size_t item) {
  json_t *out = cli_item_describe(&j->v.items[item]);
  bool ok = out != NULL;
  if (ok && j->distances && isfinite(j->distances[item]))
    ok = json_object_set_new(out, "distance", json_real(j->distances[item])) == 0;
  if (ok && j->clusters.strength)
    ok = json_object_set_new(out, "strength", json_real((double)j->clusters.strength[item])) == 0;
  if (ok) return out;
  json_decref(out);
  return NULL;
}

static bool add_items(const cluster_job *j, json_t *to, size_t from, size_t end) {
  json_t *items = json_array();
  bool ok = items != NULL;
  for (size_t i = from; ok && i < end; i++) ok = json_array_append_new(items, describe_item(j, j->order[i])) == 0;
  return json_object_set_new(to, "items", items) == 0 && ok;
}

static json_t *describe_cluster(const cluster_job *j, size_t c) {
  const kin_cluster_info *info = &j->infos[c];
  json_t *out = json_pack("{sI sI sf sf}", "cluster", (json_int_t)c, "size", (json_int_t)info->size, "spread",
                          info->spread, "nearest_centre", info->nearest);
  bool ok = out != NULL;
  if (ok && j->names) {
    json_t *words = json_array();
    for (size_t i = 0; ok && cluster_word(j, c, i); i++) {
      char *word = kin_replace_invalid(cluster_word(j, c, i));
      ok = word && json_array_append_new(words, json_string(word)) == 0;
      free(word);
    }
    ok = json_object_set_new(out, "words", words) == 0 && ok;
  }
  ok = ok && add_items(j, out, j->first[c], j->first[c + 1]);
  if (ok) return out;
  json_decref(out);
  return NULL;
}

static bool add_measures(const cluster_job *j, json_t *out) {
  bool ok = true;
  if (j->measured)
    ok = json_object_set_new(out, "silhouette", cli_json_number(j->silhouette)) == 0 &&
         json_object_set_new(out, "davies_bouldin", cli_json_number(j->davies_bouldin)) == 0;
  if (ok && (j->method == METHOD_KMEANS || j->method == METHOD_MINIBATCH))
    ok = json_object_set_new(out, "inertia", json_real(j->clusters.inertia)) == 0 &&
         json_object_set_new(out, "iterations", json_integer((json_int_t)j->clusters.iterations)) == 0;
  if (ok && j->v.labels)
    ok = json_object_set_new(out, "known",
                             json_pack("{sI sI sf sf sf}", "classes", (json_int_t)j->v.n_classes, "items",
                                       (json_int_t)j->n_labelled, "accuracy", j->agreement.accuracy, "nmi",
                                       j->agreement.nmi, "ari", j->agreement.ari)) == 0;
  if (!ok || !j->n_scores) return ok;
  json_t *curve = json_array();
  for (size_t i = 0; ok && i < j->n_scores; i++)
    ok = json_array_append_new(curve, json_pack("{sI sf sf}", "k", (json_int_t)j->scores[i].k, "silhouette",
                                                j->scores[i].silhouette, "inertia", j->scores[i].inertia)) == 0;
  return json_object_set_new(out, "curve", curve) == 0 && ok;
}

json_t *cluster_describe(const cluster_job *j) {
  json_t *out = json_pack("{ss ss sI sI sI sf}", "method", cluster_method_name(j), "metric", j->metric_name, "items",
                          (json_int_t)j->v.set.n, "skipped", (json_int_t)j->v.skipped, "k", (json_int_t)j->clusters.k,
                          "seconds", j->seconds);
  json_t *clusters = json_array(), *noise = json_object();
  bool ok = out && clusters && noise && add_measures(j, out);
  for (size_t c = 0; ok && c < j->clusters.k; c++) ok = json_array_append_new(clusters, describe_cluster(j, c)) == 0;
  ok = out && json_object_set_new(out, "clusters", clusters) == 0 && ok;
  ok = ok && add_items(j, noise, j->first[j->clusters.k], j->v.set.n);
  if (ok) ok = json_object_set(out, "noise", json_object_get(noise, "items")) == 0;
  json_decref(noise);
  if (ok) return out;
  json_decref(out);
  return NULL;
}

/* --------------------------------------------------------------------- CSV */

void cluster_write_csv(const cluster_job *j, FILE *out) {
  fputs("name,line,cluster,distance,strength,class,words\r\n", out);
  for (size_t i = 0; i < j->v.set.n; i++) {
    const uint32_t label = j->clusters.labels[i];
    const bool noise = label == KIN_NO_CLUSTER;
    cli_csv_put_item(out, &j->v.items[i]);
    if (noise)
      fputs("noise,", out);
    else
      fprintf(out, "%u,%.6g", label, j->distances[i]);
    putc(',', out);
    if (j->clusters.strength) fprintf(out, "%.4g", (double)j->clusters.strength[i]);
    putc(',', out);
    if (j->v.labels && j->v.labels[i] != CLI_NO_LABEL) cli_csv_put(out, j->v.classes[j->v.labels[i]]);
    putc(',', out);
    if (!noise && cluster_word(j, label, 0)) cli_csv_put(out, cluster_word(j, label, 0));
    fputs("\r\n", out);
  }
}
