/* kindred sample: the table, JSON, CSV and the page. */
#include "cli/sample.h"

#include <stdio.h>

/* The i-th item shown. */
static size_t item_at(const sample_job *j, size_t i) {
  return j->uniqueness ? j->order[i] : j->picks[i].index;
}

/* ------------------------------------------------------------------- table */

void sample_print(const sample_job *j) {
  char items[32];
  const char *all = cli_group_digits(j->v.set.n, items);
  if (j->uniqueness) {
    printf("the %zu most unique of %s item%s\n\n  uniqueness  item, and the nearest other\n", j->shown, all,
           cli_plural(j->v.set.n));
  } else {
    printf("%zu of %s item%s; the others are within %.3f of one of these\n\n  stands for  distance  item\n", j->shown,
           all, cli_plural(j->v.set.n), j->radius);
  }
  for (size_t i = 0; i < j->shown; i++) {
    const size_t item = item_at(j, i);
    if (j->uniqueness)
      printf("%12.4f  ", j->scores[item]);
    else if (i)
      printf("%12zu  %8.4f  ", j->stands_for[i], j->picks[i].distance);
    else
      printf("%12zu  %8s  ", j->stands_for[i], "-");
    cli_put_text(cli_item_name(&j->v.items[item]));
    if (j->uniqueness && j->closest[item].index != SIZE_MAX) {
      fputs(", ", stdout);
      cli_put_text(cli_item_name(&j->v.items[j->closest[item].index]));
    }
    putchar('\n');
  }
}

/* -------------------------------------------------------------------- JSON */

static json_t *describe_shown(const sample_job *j, size_t i) {
  const size_t item = item_at(j, i);
  json_t *out = cli_item_describe(&j->v.items[item]);
  bool ok = out != NULL;
  if (ok && !j->uniqueness)
    ok = json_object_set_new(out, "distance", cli_json_number(j->picks[i].distance)) == 0 &&
         json_object_set_new(out, "stands_for", json_integer((json_int_t)j->stands_for[i])) == 0;
  if (ok && j->uniqueness) {
    const kin_near *closest = &j->closest[item];
    json_t *other = closest->index == SIZE_MAX ? json_null() : cli_item_describe(&j->v.items[closest->index]);
    if (closest->index != SIZE_MAX)
      ok = other && json_object_set_new(other, "distance", json_real(closest->distance)) == 0;
    ok = json_object_set_new(out, "nearest", other) == 0 && ok;
    ok = ok && json_object_set_new(out, "uniqueness", cli_json_number(j->scores[item])) == 0;
  }
  if (ok) return out;
  json_decref(out);
  return NULL;
}

json_t *sample_describe(const sample_job *j) {
  json_t *out = json_pack("{ss ss sI sI sf}", "by", j->uniqueness ? "uniqueness" : "k-centre", "metric", j->metric_name,
                          "items", (json_int_t)j->v.set.n, "skipped", (json_int_t)j->v.skipped, "seconds", j->seconds);
  json_t *shown = json_array();
  bool ok = out && shown;
  if (ok && !j->uniqueness) ok = json_object_set_new(out, "radius", json_real(j->radius)) == 0;
  for (size_t i = 0; ok && i < j->shown; i++) ok = json_array_append_new(shown, describe_shown(j, i)) == 0;
  ok = json_object_set_new(out, j->uniqueness ? "unique" : "picks", shown) == 0 && ok;
  if (ok) return out;
  json_decref(out);
  return NULL;
}

/* --------------------------------------------------------------------- CSV */

void sample_write_csv(const sample_job *j, FILE *out) {
  fputs(j->uniqueness ? "name,line,uniqueness,nearest,distance\r\n" : "name,line,picked,nearest,distance\r\n", out);
  for (size_t i = 0; i < j->v.set.n; i++) {
    cli_csv_put_item(out, &j->v.items[i]);
    if (!j->uniqueness) {
      const size_t nearest = j->nearest[i];
      if (j->picks[nearest].index == i) fprintf(out, "%zu", nearest + 1);
      putc(',', out);
      cli_csv_put(out, j->v.items[j->picks[nearest].index].name);
      fprintf(out, ",%.6g", j->distances[i]);
    } else if (j->closest[i].index != SIZE_MAX) {
      fprintf(out, "%.6g,", j->scores[i]);
      cli_csv_put(out, j->v.items[j->closest[i].index].name);
      fprintf(out, ",%.6g", j->closest[i].distance);
    } else {
      fputs(",,", out);
    }
    fputs("\r\n", out);
  }
}

/* -------------------------------------------------------------------- page */

int sample_write_page(const sample_job *j, cli_page *page) {
  char digits[32];
  FILE *out = cli_page_begin(page, j->uniqueness ? "Most unique" : "Sample", NULL);
  const char *all = cli_group_digits(j->v.set.n, digits);
  if (j->uniqueness)
    fprintf(out, "<p>The %zu least like any other of %s items: the mean %s distance to the nearest %zu others.</p>\n",
            j->shown, all, j->metric_name, j->neighbours);
  else
    fprintf(out, "<p>%zu of %s items. Every other one is within %.3f (%s distance) of one of these.</p>\n", j->shown,
            all, j->radius, j->metric_name);
  const cli_item *first = &j->v.items[item_at(j, 0)];
  fputs("<article>\n", out);
  cli_put_items_begin(out, first);
  cli_progress_start("pictures", j->common.quiet);
  for (size_t i = 0; i < j->shown && !cli_signal(); i++) {
    const size_t item = item_at(j, i);
    char note[64];
    if (j->uniqueness)
      snprintf(note, sizeof note, "%.4f", j->scores[item]);
    else
      snprintf(note, sizeof note, "stands for %zu", j->stands_for[i]);
    cli_put_item(out, &j->v.items[item], note);
    cli_progress_update((cli_progress){.done = i + 1, .total = j->shown, .worked = i + 1});
  }
  cli_progress_stop();
  cli_put_items_end(out, first);
  fputs("</article>\n", out);
  return cli_page_finish(page, j->v.session.context);
}
