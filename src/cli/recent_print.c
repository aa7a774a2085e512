/* kindred anomalies recent: the table, JSON and CSV. */
#include "cli/recent.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

const char *recent_time_text(int64_t ns, char out[32]) {
  struct tm date;
  const int64_t rest = ns % 1000000000;
  const time_t seconds = (time_t)(ns / 1000000000 - (rest < 0));
  if (!ns || !gmtime_r(&seconds, &date) || !strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &date)) *out = '\0';
  return out;
}

/* ------------------------------------------------------------------- table */

static void print_place(const recent_job *j, size_t place) {
  char text[32];
  const char *time = recent_time_text(j->time_ns[place], text);
  printf("  %s%s", time, *time ? "  " : "");
  cli_put_text(cli_item_name(recent_item(j, place)));
  putchar('\n');
}

void recent_print(const recent_job *j) {
  char digits[32];
  printf("%s item%s, windows of %s: ", cli_group_digits(j->v.set.n, digits), cli_plural(j->v.set.n), j->window_text);
  if (!j->n_tests)
    puts("too few for two of them");
  else
    printf("%zu change%s in %zu comparison%s\n", j->n_changes, cli_plural(j->n_changes), j->n_tests,
           cli_plural(j->n_tests));
  if (j->n_changes) puts("\n        p      mmd  from");
  for (size_t i = 0; i < j->n_changes; i++) {
    const recent_test *t = &j->tests[j->change_tests[i]];
    printf("%9.2g %8.4f", t->p, t->drift.mmd);
    print_place(j, j->changes[i]);
  }
  printf("\n%s unlike the window before\n", cli_group_digits(j->n_unusual, digits));
  if (j->count) puts("\n    score    limit  item");
  for (size_t i = 0; i < j->count; i++) {
    printf("%9.4f %8.4f", j->scores[j->unusual[i]], j->limits[j->unusual[i]]);
    print_place(j, j->unusual[i]);
  }
}

/* -------------------------------------------------------------------- JSON */

/* The item and its time. */
static json_t *describe_place(const recent_job *j, size_t place) {
  char text[32];
  const char *time = recent_time_text(j->time_ns[place], text);
  json_t *out = cli_item_describe(recent_item(j, place));
  if (out && json_object_set_new(out, "place", json_integer((json_int_t)place)) == 0 &&
      json_object_set_new(out, "time", *time ? json_string(time) : json_null()) == 0)
    return out;
  json_decref(out);
  return NULL;
}

static json_t *describe_test(const recent_test *t) {
  return json_pack("{sI sI sI sf sf sf sf sI sf sf sf sb}", "first", (json_int_t)t->first, "middle",
                   (json_int_t)t->middle, "end", (json_int_t)t->end, "mmd", t->drift.mmd, "bandwidth",
                   t->drift.bandwidth, "p_mmd", t->drift.p_mmd, "ks", t->drift.ks, "component",
                   (json_int_t)t->drift.component, "p_ks", t->drift.p_ks, "p", t->drift.p, "p_adjusted", t->p,
                   "changed", t->changed);
}

static json_t *describe_change(const recent_job *j, size_t i) {
  json_t *out = describe_place(j, j->changes[i]);
  const recent_test *t = &j->tests[j->change_tests[i]];
  if (out && json_object_set_new(out, "p", json_real(t->p)) == 0 &&
      json_object_set_new(out, "mmd", json_real(t->drift.mmd)) == 0)
    return out;
  json_decref(out);
  return NULL;
}

static json_t *describe_unusual(const recent_job *j, size_t i) {
  const size_t place = j->unusual[i];
  json_t *out = describe_place(j, place);
  if (out && json_object_set_new(out, "score", cli_json_number(j->scores[place])) == 0 &&
      json_object_set_new(out, "limit", cli_json_number(j->limits[place])) == 0)
    return out;
  json_decref(out);
  return NULL;
}

json_t *recent_describe(const recent_job *j) {
  json_t *out = json_pack("{sI ss ss ss sI sI sf}", "items", (json_int_t)j->v.set.n, "window", j->window_text, "method",
                          j->method_name, "metric", j->metric_name, "unusual", (json_int_t)j->n_unusual, "skipped",
                          (json_int_t)j->v.skipped, "seconds", j->seconds);
  json_t *tests = json_array(), *changes = json_array(), *shown = json_array();
  bool ok = out && tests && changes && shown;
  for (size_t i = 0; ok && i < j->n_tests; i++) ok = json_array_append_new(tests, describe_test(&j->tests[i])) == 0;
  for (size_t i = 0; ok && i < j->n_changes; i++) ok = json_array_append_new(changes, describe_change(j, i)) == 0;
  for (size_t i = 0; ok && i < j->count; i++) ok = json_array_append_new(shown, describe_unusual(j, i)) == 0;
  ok = json_object_set_new(out, "tests", tests) == 0 && ok;
  ok = json_object_set_new(out, "changes", changes) == 0 && ok;
  ok = json_object_set_new(out, "ranked", shown) == 0 && ok;
  if (ok) return out;
  json_decref(out);
  return NULL;
}

/* --------------------------------------------------------------------- CSV */

static void put_number(FILE *out, double value) {
  putc(',', out);
  if (isfinite(value)) fprintf(out, "%.9g", value);
}

void recent_write_csv(const recent_job *j, FILE *out) {
  fputs("name,line,time,score,limit,anomaly\r\n", out);
  for (size_t i = 0; i < j->v.set.n; i++) {
    char text[32];
    cli_csv_put_item(out, recent_item(j, i));
    fputs(recent_time_text(j->time_ns[i], text), out);
    put_number(out, j->scores[i]), put_number(out, j->limits[i]);
    fprintf(out, ",%d\r\n", recent_is_unusual(j, i));
  }
}
