/* kindred anomalies: the table, JSON and CSV. */
#include "cli/anomalies.h"

#include <stdio.h>

const char *anomalies_threshold_text(const kin_detector_info *info, char out[96]) {
  const double level = info->threshold.level;
  switch (info->threshold.rule) {
  case KIN_THRESHOLD_MAD:
    snprintf(out, 96, "the median and %g deviations", level);
    break;
  case KIN_THRESHOLD_QUANTILE:
    snprintf(out, 96, "the quantile %g", level);
    break;
  case KIN_THRESHOLD_CONFORMAL:
    snprintf(out, 96, "a rate of false alarms of %g", level);
    break;
  }
  return out;
}

/* ------------------------------------------------------------------- table */

void anomalies_print(const anomalies_job *j) {
  char digits[32], text[96];
  printf("%zu of %s item%s score%s above %.4g (%s, %s)\n\n     score  %sitem\n", j->anomalies,
         cli_group_digits(j->v.set.n, digits), cli_plural(j->v.set.n), j->anomalies == 1 ? "s" : "", j->info.limit,
         kin_detector_method_name(j->info.method), anomalies_threshold_text(&j->info, text),
         j->p_values ? "       p  " : "");
  for (size_t i = 0; i < j->count; i++) {
    const size_t item = j->order[i];
    printf("%10.4f  ", j->scores[item]);
    if (j->p_values) printf("%8.2g  ", j->p_values[item]);
    fputs(i < j->anomalies ? "! " : "  ", stdout);
    cli_put_text(cli_item_name(&j->v.items[item]));
    putchar('\n');
  }
}

void anomalies_print_fit(const anomalies_job *j) {
  char digits[32], text[96];
  printf("%s, fitted to %s items", kin_detector_method_name(j->info.method), cli_group_digits(j->info.items, digits));
  if (j->info.held_out) printf(", %s kept apart", cli_group_digits(j->info.held_out, digits));
  printf(": anomalies score above %.4g (%s)\nsaved to ", j->info.limit, anomalies_threshold_text(&j->info, text));
  cli_put_text(j->save);
  putchar('\n');
}

/* -------------------------------------------------------------------- JSON */

json_t *anomalies_describe_fit(const anomalies_job *j) {
  const kin_detector_info *info = &j->info;
  json_t *out =
      json_pack("{ss ss sI sI sI s{ss sf} so sI sf}", "method", kin_detector_method_name(info->method), "metric",
                info->metric == KIN_METRIC_COSINE ? "cosine" : "euclidean", "fitted_to", (json_int_t)info->items,
                "held_out", (json_int_t)info->held_out, "k", (json_int_t)info->k, "threshold", "rule",
                kin_threshold_name(info->threshold.rule), "level", info->threshold.level, "limit",
                cli_json_number(info->limit), "skipped", (json_int_t)j->v.skipped, "seconds", j->seconds);
  if (out && info->method == KIN_DETECTOR_MAHALANOBIS &&
      json_object_set_new(out, "shrinkage", json_real(info->shrinkage)) != 0) {
    json_decref(out);
    return NULL;
  }
  return out;
}

static json_t *describe_item(const anomalies_job *j, size_t i) {
  const size_t item = j->order[i];
  json_t *out = cli_item_describe(&j->v.items[item]);
  bool ok = out && json_object_set_new(out, "score", cli_json_number(j->scores[item])) == 0 &&
            json_object_set_new(out, "anomaly", json_boolean(i < j->anomalies)) == 0;
  if (ok && j->p_values) ok = json_object_set_new(out, "p_value", json_real(j->p_values[item])) == 0;
  if (ok) return out;
  json_decref(out);
  return NULL;
}

json_t *anomalies_describe(const anomalies_job *j) {
  json_t *out = anomalies_describe_fit(j), *shown = json_array();
  bool ok = out && shown && json_object_set_new(out, "items", json_integer((json_int_t)j->v.set.n)) == 0 &&
            json_object_set_new(out, "anomalies", json_integer((json_int_t)j->anomalies)) == 0;
  for (size_t i = 0; ok && i < j->count; i++) ok = json_array_append_new(shown, describe_item(j, i)) == 0;
  ok = json_object_set_new(out, "ranked", shown) == 0 && ok;
  if (ok) return out;
  json_decref(out);
  return NULL;
}

/* --------------------------------------------------------------------- CSV */

void anomalies_write_csv(const anomalies_job *j, FILE *out) {
  fputs(j->p_values ? "name,line,score,anomaly,p_value\r\n" : "name,line,score,anomaly\r\n", out);
  for (size_t i = 0; i < j->v.set.n; i++) {
    cli_csv_put_item(out, &j->v.items[i]);
    fprintf(out, "%.9g,%d", j->scores[i], j->scores[i] > j->info.limit);
    if (j->p_values) fprintf(out, ",%.9g", j->p_values[i]);
    fputs("\r\n", out);
  }
}
