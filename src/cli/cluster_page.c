/* kindred cluster: the page. */
#include "cli/cluster.h"
#include "cli/items.h"

#include <math.h>
#include <stdio.h>

enum { CENTRAL = 12, REMOTE = 4 };

static const char style[] =
    "article h2{margin:0 0 2px;display:flex;flex-wrap:wrap;gap:.2em .7em;align-items:baseline}\n"
    "article h2 b{font-weight:500;color:var(--best)}\n"
    "article h3{font-size:.85rem;margin:14px 0 6px;color:var(--soft);font-weight:600}\n"
    "dl{display:flex;flex-wrap:wrap;gap:8px 28px;margin:12px 0}dt{font-size:.8rem;color:var(--soft)}"
    "dd{margin:0;font-size:1.25rem;font-variant-numeric:tabular-nums}\n"
    "polyline{fill:none;stroke:var(--best);stroke-width:2}circle{fill:var(--card);stroke:var(--best);stroke-width:2}"
    "circle.chosen{fill:var(--best)}\n"
    ".sizes{display:flex;height:22px;border-radius:6px;overflow:hidden;margin:14px 0 "
    "22px;background:var(--line);gap:1px}"
    ".sizes a{background:var(--best);opacity:.85;min-width:2px}.sizes a:nth-child(even){opacity:.5}\n";

static void put_figure(FILE *out, const char *name, const char *format, double value) {
  if (!isfinite(value)) return;
  fprintf(out, "<div><dt>%s</dt><dd>", name);
  fprintf(out, format, value);
  fputs("</dd></div>", out);
}

static void put_figures(FILE *out, const cluster_job *j) {
  fputs("<dl>", out);
  put_figure(out, "clusters", "%.0f", (double)j->clusters.k);
  const size_t noise = j->v.set.n - j->first[j->clusters.k];
  if (noise) put_figure(out, "in none", "%.0f", (double)noise);
  if (j->measured) {
    put_figure(out, "silhouette (1 is best)", "%.3f", j->silhouette);
    put_figure(out, "Davies-Bouldin (0 is best)", "%.3f", j->davies_bouldin);
  }
  if (j->v.labels) {
    put_figure(out, "accuracy with known classes", "%.3f", j->agreement.accuracy);
    put_figure(out, "NMI", "%.3f", j->agreement.nmi);
    put_figure(out, "ARI", "%.3f", j->agreement.ari);
  }
  fputs("</dl>\n", out);
}

/* The silhouette over k. */
static void put_curve(FILE *out, const cluster_job *j) {
  if (j->n_scores < 2) return;
  double low = 0, high = 0.01;
  for (size_t i = 0; i < j->n_scores; i++)
    low = fmin(low, j->scores[i].silhouette), high = fmax(high, j->scores[i].silhouette);
  const double first = log((double)j->scores[0].k), wide = log((double)j->scores[j->n_scores - 1].k) - first;
  fputs("<article><h2>How k was chosen</h2><p>The silhouette of a sample for each number of clusters.</p>\n"
        "<svg viewBox=\"0 0 640 190\" role=\"img\" aria-label=\"silhouette by k\">",
        out);
  fprintf(out,
          "<line x1=\"40\" x2=\"630\" y1=\"160\" y2=\"160\"/><text x=\"4\" y=\"24\">%.2f</text>"
          "<text x=\"4\" y=\"164\">%.2f</text><polyline points=\"",
          high, low);
  for (size_t i = 0; i < j->n_scores; i++)
    fprintf(out, "%.1f,%.1f ", 45 + 580 * (log((double)j->scores[i].k) - first) / wide,
            160 - 140 * (j->scores[i].silhouette - low) / (high - low));
  fputs("\"/>", out);
  double labelled = -100;
  for (size_t i = 0; i < j->n_scores; i++) {
    const kin_k_score *s = &j->scores[i];
    const double x = 45 + 580 * (log((double)s->k) - first) / wide;
    const bool chosen = s->k == j->k;
    fprintf(out, "<circle%s cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>k = %zu: %.3f</title></circle>",
            chosen ? " class=\"chosen\"" : "", x, 160 - 140 * (s->silhouette - low) / (high - low), s->k,
            s->silhouette);
    if (x - labelled > 24)
      fprintf(out, "<text x=\"%.1f\" y=\"180\" text-anchor=\"middle\">%zu</text>", x, s->k), labelled = x;
  }
  fputs("</svg></article>\n", out);
}

static void put_sizes(FILE *out, const cluster_job *j) {
  if (j->clusters.k < 2) return;
  fputs("<div class=\"sizes\">", out);
  for (size_t c = 0; c < j->clusters.k; c++)
    fprintf(out, "<a href=\"#c%zu\" style=\"flex:%zu\" title=\"cluster %zu: %zu\"></a>", c, j->infos[c].size, c,
            j->infos[c].size);
  fputs("</div>\n", out);
}

static void put_items(FILE *out, const cluster_job *j, size_t from, size_t to) {
  if (from >= to) return;
  const cli_item *items = j->v.items;
  cli_put_items_begin(out, &items[j->order[from]]);
  for (size_t i = from; i < to && !cli_signal(); i++) cli_put_item(out, &items[j->order[i]], NULL);
  cli_put_items_end(out, &items[j->order[from]]);
}

static void put_cluster(FILE *out, const cluster_job *j, size_t c) {
  const kin_cluster_info *info = &j->infos[c];
  const size_t first = j->first[c], end = j->first[c + 1];
  const size_t central = first + CENTRAL < end ? first + CENTRAL : end;
  const size_t remote = central + REMOTE < end ? end - REMOTE : central;
  fprintf(out, "<article id=\"c%zu\"><h2>Cluster %zu", c, c);
  for (size_t i = 0; cluster_word(j, c, i); i++) {
    fputs(" <b>", out);
    cli_put_escaped(out, cluster_word(j, c, i));
    fputs("</b>", out);
  }
  fprintf(out, "</h2><p>%zu item%s, spread %.3f", info->size, cli_plural(info->size), info->spread);
  if (info->nearest > 0) fprintf(out, ", %.3f to the next centre", info->nearest);
  fputs("</p>\n", out);
  if (central < end) fputs("<h3>Most central</h3>\n", out);
  put_items(out, j, first, central);
  if (remote < end) fputs("<h3>Most remote</h3>\n", out);
  put_items(out, j, remote, end);
  fputs("</article>\n", out);
}

int cluster_write_page(cluster_job *j, cli_page *page) {
  char digits[32];
  FILE *out = cli_page_begin(page, "Clusters", style);
  fprintf(out, "<p>%s items by %s, %s distances", cli_group_digits(j->v.set.n, digits), cluster_method_name(j),
          j->metric_name);
  if (j->v.skipped) fprintf(out, "; %zu left out", j->v.skipped);
  fputs(".</p>\n", out);
  put_figures(out, j);
  put_sizes(out, j);
  put_curve(out, j);
  cli_progress_start("pictures", j->common.quiet);
  for (size_t c = 0; c < j->clusters.k && !cli_signal(); c++) {
    put_cluster(out, j, c);
    cli_progress_update((cli_progress){.done = c + 1, .total = j->clusters.k, .worked = c + 1});
  }
  cli_progress_stop();
  const size_t noise = j->first[j->clusters.k], n = j->v.set.n;
  if (noise < n) {
    fprintf(out, "<article><h2>In no cluster</h2><p>%zu item%s</p>\n", n - noise, cli_plural(n - noise));
    put_items(out, j, noise, noise + CENTRAL < n ? noise + CENTRAL : n);
    fputs("</article>\n", out);
  }
  return cli_page_finish(page, j->v.session.context);
}
