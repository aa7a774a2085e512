/* kindred bench recall: its table, JSON and curve. */
#include "cli/bench_recall.h"
#include "cli/plot.h"

#include <stdio.h>
#include <stdlib.h>

static const char *name_of(const recall_curve *c) {
  return c->factory ? c->factory : "exact scan";
}

static void print_head(const recall_bench *b) {
  char count[32], queries[32];
  printf("%s vectors of %zu floats, %s queries in one call, k = %zu, %u threads, %s\n\n",
         cli_group_digits(b->data.count, count), b->data.dim, cli_group_digits(b->data.queries, queries), b->k,
         kin_context_threads(b->session.context), kin_context_isa_name(b->session.context));
  printf("%-24s%10s%8s%8s%16s%14s\n", "", "recall@1", "@10", "@100", "q/s, 1 thread", "all threads");
}

void recall_print(const recall_bench *b, size_t number) {
  const recall_curve *c = &b->curves[number];
  if (number == 0) print_head(b);
  if (c->factory)
    printf("%s: built in %.1f s, %.1f MB on disk, %.1f MB in memory\n", name_of(c), c->build_seconds,
           (double)c->bytes / 1e6, (double)c->memory_bytes / 1e6);
  for (size_t i = 0; i < c->n; i++) {
    const recall_point *p = &c->points[i];
    char label[40];
    if (!c->factory)
      snprintf(label, sizeof label, "exact scan");
    else if (p->effort)
      snprintf(label, sizeof label, "  %s %zu", c->probes ? "probes" : "ef", p->effort);
    else
      snprintf(label, sizeof label, "  default");
    printf("%-24s%10.4f%8.4f%8.4f%16.1f%14.1f\n", label, p->recall[0], p->recall[1], p->recall[2], p->one_thread,
           p->all_threads);
  }
  fflush(stdout);
}

static json_t *describe_curve(const recall_curve *c) {
  json_t *points = json_array();
  for (size_t i = 0; points && i < c->n; i++) {
    const recall_point *p = &c->points[i];
    json_t *one =
        json_pack("{sf sf sf sf sf}", "recall_at_1", p->recall[0], "recall_at_10", p->recall[1], "recall_at_100",
                  p->recall[2], "queries_per_second_one_thread", p->one_thread, "queries_per_second", p->all_threads);
    if (one && p->effort) json_object_set_new(one, c->probes ? "probes" : "ef", json_integer((json_int_t)p->effort));
    if (json_array_append_new(points, one) != 0) {
      json_decref(points);
      points = NULL;
    }
  }
  return json_pack("{ss sf sI sI so}", "ann", c->factory ? c->factory : "off", "build_seconds", c->build_seconds,
                   "bytes", (json_int_t)c->bytes, "memory_bytes", (json_int_t)c->memory_bytes, "points", points);
}

json_t *recall_describe(const recall_bench *b) {
  json_t *indexes = json_array();
  bool ok = indexes != NULL;
  for (size_t i = 0; ok && i < b->n_curves; i++)
    ok = json_array_append_new(indexes, describe_curve(&b->curves[i])) == 0;
  json_t *out = ok ? json_pack("{sI sI sI sI sI sO}", "count", (json_int_t)b->data.count, "dim",
                               (json_int_t)b->data.dim, "queries", (json_int_t)b->data.queries, "k", (json_int_t)b->k,
                               "threads", (json_int_t)kin_context_threads(b->session.context), "indexes", indexes)
                   : NULL;
  json_decref(indexes);
  return out;
}

int recall_draw(const recall_bench *b, cli_output *to) {
  char count[32], title[96];
  cli_plot_line *lines = calloc(b->n_curves, sizeof *lines);
  double *values = kin_array(b->n_curves, 2 * RECALL_MOST_POINTS * sizeof *values);
  int status = CLI_FAILED;
  if (lines && values) {
    for (size_t i = 0; i < b->n_curves; i++) {
      double *x = values + 2 * i * RECALL_MOST_POINTS, *y = x + RECALL_MOST_POINTS;
      size_t n = b->curves[i].n > 1 ? b->curves[i].n - 1 : 1; /* without the default */
      for (size_t j = 0; j < n; j++) {
        x[j] = b->curves[i].points[j].recall[1];
        y[j] = b->curves[i].points[j].all_threads;
      }
      lines[i] = (cli_plot_line){name_of(&b->curves[i]), x, y, n};
    }
    snprintf(title, sizeof title, "%s vectors of %zu floats, k = %zu", cli_group_digits(b->data.count, count),
             b->data.dim, b->k);
    cli_put_plot(to, &(cli_plot){title, "recall@10", "queries a second, all threads", lines, b->n_curves});
    status = cli_output_commit(to);
  } else {
    cli_error("out of memory");
  }
  free(lines);
  free(values);
  return status;
}
