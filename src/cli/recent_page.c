/* kindred anomalies recent: the page, with the scores over time. */
#include "cli/recent.h"

#include <math.h>
#include <stdio.h>

enum { LEFT = 8, WIDTH = 624, TOP = 12, HEIGHT = 150, COLUMNS = 312, EACH_SIDE = 6 };

static const char style[] =
    "article h2{margin-top:0}"
    "svg .score{stroke:var(--best)}svg .above{stroke:var(--other)}"
    "svg .limit{fill:none;stroke:var(--other);opacity:.6}svg .change{stroke:var(--text);stroke-dasharray:4 3}\n"
    "article h3{font-size:.85rem;margin:14px 0 6px;color:var(--soft);font-weight:600}"
    ".pictures .score,.texts .score{color:var(--soft)}\n";

static double x_of(const recent_job *j, size_t place) {
  return LEFT + WIDTH * ((double)place + 0.5) / (double)j->v.set.n;
}

static double y_of(double score, double most) {
  return TOP + HEIGHT * (1 - fmin(1, score / most));
}

/* The greatest value of the places of a column of the chart; NAN where none is known. */
static double greatest(const recent_job *j, const double *values, size_t column) {
  const size_t n = j->v.set.n, end = (column + 1) * n / COLUMNS;
  double most = NAN;
  for (size_t i = column * n / COLUMNS; i < end; i++)
    if (isnan(most) || values[i] > most) most = values[i];
  return most;
}

static void put_scores(FILE *out, const recent_job *j, double most) {
  const size_t n = j->v.set.n;
  fprintf(out, "<g stroke-width=\"%.1f\">", fmin(6, 0.6 * WIDTH / (double)(n < COLUMNS ? n : COLUMNS)));
  for (size_t c = 0; c < COLUMNS; c++) {
    const double score = greatest(j, j->scores, c), x = LEFT + WIDTH * ((double)c + 0.5) / COLUMNS;
    bool above = false;
    for (size_t i = c * j->v.set.n / COLUMNS; i < (c + 1) * j->v.set.n / COLUMNS; i++)
      above = above || recent_is_unusual(j, i);
    if (!isnan(score))
      fprintf(out, "<line class=\"%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%d\"/>", above ? "above" : "score", x,
              x, y_of(score, most), TOP + HEIGHT);
  }
  fputs("</g>\n<polyline class=\"limit\" points=\"", out);
  for (size_t c = 0; c < COLUMNS; c++) {
    const double limit = greatest(j, j->limits, c);
    if (!isnan(limit)) fprintf(out, "%.1f,%.1f ", LEFT + WIDTH * ((double)c + 0.5) / COLUMNS, y_of(limit, most));
  }
  fputs("\"/>\n", out);
}

static void put_chart(FILE *out, const recent_job *j) {
  const size_t n = j->v.set.n;
  char first[32], last[32];
  double most = 0;
  for (size_t i = 0; i < n; i++)
    if (isfinite(j->scores[i])) most = fmax(most, j->scores[i]);
  fputs(
      "<article><h2>Scores over time</h2>\n<svg viewBox=\"0 0 640 190\" role=\"img\" aria-label=\"scores over time\">",
      out);
  if (most > 0) put_scores(out, j, most);
  for (size_t i = 0; i < j->n_changes; i++)
    fprintf(out, "<line class=\"change\" x1=\"%.1f\" x2=\"%.1f\" y1=\"2\" y2=\"%d\"/>", x_of(j, j->changes[i]),
            x_of(j, j->changes[i]), TOP + HEIGHT);
  fprintf(out, "<text x=\"%d\" y=\"180\">%.10s</text><text x=\"%d\" y=\"180\" text-anchor=\"end\">%.10s</text>", LEFT,
          recent_time_text(j->time_ns[0], first), LEFT + WIDTH, recent_time_text(j->time_ns[n - 1], last));
  fprintf(out, "</svg>\n<p>Each line is %s%s%s.</p></article>\n",
          n > COLUMNS ? "the highest score of some items in a row" : "the score of an item",
          isnan(j->limits[n - 1]) ? "" : "; the curve is the limit", j->n_changes ? "; dashed lines are changes" : "");
}

static void put_places(FILE *out, const recent_job *j, size_t first, size_t end) {
  cli_put_items_begin(out, recent_item(j, first));
  for (size_t i = first; i < end && !cli_signal(); i++) cli_put_item(out, recent_item(j, i), NULL);
  cli_put_items_end(out, recent_item(j, first));
}

static void put_change(FILE *out, const recent_job *j, size_t i) {
  const size_t place = j->changes[i], n = j->v.set.n;
  const recent_test *t = &j->tests[j->change_tests[i]];
  char time[32];
  fprintf(out, "<article><h2>Change %zu%s%s</h2><p>p = %.2g, maximum mean discrepancy %.4f.</p>\n<h3>before</h3>\n",
          i + 1, *recent_time_text(j->time_ns[place], time) ? ": " : "", time, t->p, t->drift.mmd);
  put_places(out, j, place > EACH_SIDE ? place - EACH_SIDE : 0, place);
  fputs("<h3>from here on</h3>\n", out);
  put_places(out, j, place, place + EACH_SIDE < n ? place + EACH_SIDE : n);
  fputs("</article>\n", out);
}

static void put_unusual(FILE *out, const recent_job *j) {
  if (!j->count) return;
  const cli_item *head = recent_item(j, j->unusual[0]);
  fputs("<article><h2>Unlike the window before</h2>\n", out);
  cli_put_items_begin(out, head);
  for (size_t i = 0; i < j->count && !cli_signal(); i++) {
    const size_t place = j->unusual[i];
    char note[80], time[32];
    snprintf(note, sizeof note, "%.4g of %.4g %.10s", j->scores[place], j->limits[place],
             recent_time_text(j->time_ns[place], time));
    cli_put_item(out, recent_item(j, place), note);
    cli_progress_update((cli_progress){.done = i + 1, .total = j->count, .worked = i + 1});
  }
  cli_put_items_end(out, head);
  fputs("</article>\n", out);
}

int recent_write_page(const recent_job *j, cli_page *page) {
  char digits[32];
  FILE *out = cli_page_begin(page, "Recent changes", style);
  fprintf(out,
          "<p>%s items, windows of %s: %zu change%s in %zu comparison%s, %zu item%s unlike the window before.</p>\n",
          cli_group_digits(j->v.set.n, digits), j->window_text, j->n_changes, cli_plural(j->n_changes), j->n_tests,
          cli_plural(j->n_tests), j->n_unusual, cli_plural(j->n_unusual));
  put_chart(out, j);
  cli_progress_start("pictures", j->common.quiet);
  for (size_t i = 0; i < j->n_changes; i++) put_change(out, j, i);
  put_unusual(out, j);
  cli_progress_stop();
  return cli_page_finish(page, j->v.session.context);
}
