/* kindred anomalies: the page, with how the scores are spread. */
#include "cli/anomalies.h"

#include <math.h>
#include <stdio.h>

enum { BINS = 48, LEFT = 8, WIDTH = 624, TOP = 26, HEIGHT = 130 };

static const char style[] =
    "article h2{margin-top:0}svg .above{fill:var(--other)}svg .usual{fill:var(--best)}"
    "svg .limit{stroke:var(--other);stroke-dasharray:4 3}\n"
    ".pictures .score,.texts .score{color:var(--soft)}h2 small{display:inline;margin-left:.6em}\n";

typedef struct histogram {
  double low, high;
  size_t counts[BINS], most;
} histogram;

static double place(const histogram *h, double score) {
  return LEFT + WIDTH * fmin(1, (score - h->low) / (h->high - h->low));
}

/* From the least score to the greatest, which half as far again beyond the limit ends the scale: the last bar holds
 * what is further. */
static void count_scores(const anomalies_job *j, histogram *h) {
  const size_t n = j->v.set.n;
  *h = (histogram){.low = j->scores[j->order[n - 1]], .high = j->scores[j->order[0]]};
  const double limit = j->info.limit, most = limit + 2 * fmax(0, limit - h->low);
  if (h->high > most && most > h->low) h->high = most;
  if (!(h->high > h->low)) h->high = h->low + 1;
  for (size_t i = 0; i < n; i++) {
    const double share = (j->scores[i] - h->low) / (h->high - h->low);
    const size_t bin = share < 1 ? (size_t)(share * BINS) : BINS - 1;
    if (++h->counts[bin] > h->most) h->most = h->counts[bin];
  }
}

static void put_histogram(FILE *out, const anomalies_job *j) {
  histogram h;
  count_scores(j, &h);
  const double step = (h.high - h.low) / BINS, limit = place(&h, j->info.limit);
  const bool left = limit > LEFT + WIDTH / 2; /* of its line */
  fprintf(out,
          "<article><h2>Scores</h2>\n<svg viewBox=\"0 0 640 184\" role=\"img\" aria-label=\"how many items have which "
          "score\"><line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>\n",
          LEFT, LEFT + WIDTH, TOP + HEIGHT, TOP + HEIGHT);
  for (size_t b = 0; b < BINS; b++) {
    if (!h.counts[b]) continue;
    const double tall = fmax(2, HEIGHT * (double)h.counts[b] / (double)h.most), from = h.low + step * (double)b;
    fprintf(out,
            "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>%zu from "
            "%.4g%s</title></rect>\n",
            from + step / 2 > j->info.limit ? "above" : "usual", place(&h, from) + 0.5, TOP + HEIGHT - tall,
            (double)WIDTH / BINS - 1, tall, h.counts[b], from, b + 1 < BINS ? "" : " on");
  }
  fprintf(out, "<text x=\"%d\" y=\"176\">%.4g</text><text x=\"%d\" y=\"176\" text-anchor=\"end\">%.4g%s</text>", LEFT,
          h.low, LEFT + WIDTH, h.high, h.high < j->scores[j->order[0]] ? " and more" : "");
  if (j->info.limit >= h.low && j->info.limit <= h.high)
    fprintf(out,
            "<line class=\"limit\" x1=\"%.1f\" x2=\"%.1f\" y1=\"2\" y2=\"%d\"/><text x=\"%.1f\" y=\"16\" "
            "text-anchor=\"%s\">limit %.4g</text>",
            limit, limit, TOP + HEIGHT, limit + (left ? -5 : 5), left ? "end" : "start", j->info.limit);
  fputs("</svg></article>\n", out);
}

/* Ranks [first, end) as a section; none where that is empty. */
static void put_section(FILE *out, const anomalies_job *j, const char *title, size_t first, size_t end) {
  if (first >= end) return;
  const cli_item *head = &j->v.items[j->order[first]];
  fprintf(out, "<article><h2>%s</h2>\n", title);
  cli_put_items_begin(out, head);
  for (size_t i = first; i < end && !cli_signal(); i++) {
    const size_t item = j->order[i];
    char note[64];
    if (j->p_values)
      snprintf(note, sizeof note, "%.4g, p %.2g", j->scores[item], j->p_values[item]);
    else
      snprintf(note, sizeof note, "%.4g", j->scores[item]);
    cli_put_item(out, &j->v.items[item], note);
    cli_progress_update((cli_progress){.done = i + 1, .total = j->count, .worked = i + 1});
  }
  cli_put_items_end(out, head);
  fputs("</article>\n", out);
}

int anomalies_write_page(const anomalies_job *j, cli_page *page) {
  char digits[32], text[96];
  FILE *out = cli_page_begin(page, "Anomalies", style);
  fprintf(out, "<p>%zu of %s item%s score%s above %.4g (%s, %s).</p>\n", j->anomalies,
          cli_group_digits(j->v.set.n, digits), cli_plural(j->v.set.n), j->anomalies == 1 ? "s" : "", j->info.limit,
          kin_detector_method_name(j->info.method), anomalies_threshold_text(&j->info, text));
  put_histogram(out, j);
  const size_t above = j->anomalies < j->count ? j->anomalies : j->count;
  cli_progress_start("pictures", j->common.quiet);
  put_section(out, j, "Anomalies", 0, above);
  put_section(out, j, "Next to these", above, j->count);
  cli_progress_stop();
  return cli_page_finish(page, j->v.session.context);
}
