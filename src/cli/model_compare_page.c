/* kindred model compare: the page, one file with its pictures in it. */
#include "cli/model_compare.h"

#include <stdio.h>

enum { THUMBNAIL = 256, QUERY = 480 };

/* A photo's class and file name, or as much as there is of it; all of its path when pointed at. */
static void put_name(FILE *out, const compared_photo *photo) {
  fputs("<span class=\"name\" title=\"", out);
  cli_put_escaped(out, photo->shown);
  fputs("\">", out);
  if (photo->class_number != CLI_NO_CLASS) {
    fputs("<b>", out);
    cli_put_escaped(out, photo->class_name);
    fputs("</b> ", out);
  }
  cli_put_escaped(out, cli_file_name(photo->shown));
  fputs("</span>", out);
}

/* ----------------------------------------------------------------- tables */

static void put_metric(FILE *out, const comparison *c, compare_metric metric, const char *explanation) {
  char text[48];
  compare_heading(c, metric, text);
  fprintf(out, "<tr><th scope=\"row\">%s<small>%s</small></th>", text, explanation);
  for (size_t i = 0; i < c->n_models; i++) {
    compare_value(c, &c->models[i], metric, text);
    fprintf(out, "<td%s>%s</td>", compare_is_best(c, &c->models[i], metric) ? " class=\"best\"" : "", text);
  }
  fputs("</tr>\n", out);
}

static void put_table_head(FILE *out, const comparison *c) {
  fputs("<div class=\"scroll\"><table><thead><tr><td></td>", out);
  for (size_t i = 0; i < c->n_models; i++) {
    fputs("<th scope=\"col\">", out);
    cli_put_escaped(out, c->models[i].label);
    fprintf(out, "<small>%s</small></th>", c->models[i].info.architecture);
  }
  fputs("</tr></thead><tbody>\n", out);
}

static void put_tables(FILE *out, const comparison *c) {
  fputs("<section><h2>Speed and size</h2>\n", out);
  put_table_head(out, c);
  put_metric(out, c, METRIC_VECTOR, "numbers for a photo");
  put_metric(out, c, METRIC_PARAMETERS, "millions, all towers");
  put_metric(out, c, METRIC_MEMORY, "most held while embedding");
  put_metric(out, c, METRIC_LOAD, "to open the model");
  put_metric(out, c, METRIC_SPEED, "read, decode, encode");
  put_metric(out, c, METRIC_ENCODER, "the encoder alone");
  fputs("</tbody></table></div></section>\n", out);
  if (!c->n_classes) return;
  fprintf(out, "<section><h2>Classes kept together</h2>\n<p>%zu photos in %zu classes:", c->n_labelled, c->n_classes);
  for (size_t i = 0; i < c->n_classes; i++) {
    fputs(i ? ", " : " ", out);
    cli_put_escaped(out, c->classes[i].name);
    fprintf(out, "&nbsp;%zu", c->classes[i].photos);
  }
  fputs(".</p>\n", out);
  put_table_head(out, c);
  put_metric(out, c, METRIC_ACCURACY, "most of the nearest are of its class");
  put_metric(out, c, METRIC_SILHOUETTE, "1: tight and far apart; 0: overlapping");
  put_metric(out, c, METRIC_RECALL_1, "the nearest is of its class");
  put_metric(out, c, METRIC_RECALL_K, "one of the nearest is of its class");
  fputs("</tbody></table></div></section>\n", out);
}

/* ------------------------------------------------------------- neighbours */

static bool other_class(const compared_photo *a, const compared_photo *b) {
  return a->class_number != CLI_NO_CLASS && a->class_number != b->class_number;
}

static void put_row(FILE *out, const comparison *c, const compared_model *model, size_t query) {
  const compared_photo *asked = &c->photos[c->queries[query]];
  const kin_neighbour *nearest = model->nearest + query * c->k;
  size_t same = 0;
  for (size_t j = 0; j < c->k; j++) same += !other_class(asked, &c->photos[nearest[j].index]);
  fputs("<div class=\"row\"><h4>", out);
  cli_put_escaped(out, model->label);
  if (asked->class_number != CLI_NO_CLASS) fprintf(out, "<small>%zu of %zu in its class</small>", same, c->k);
  fputs("</h4><ol class=\"pictures\">\n", out);
  for (size_t j = 0; j < c->k; j++) {
    const compared_photo *photo = &c->photos[nearest[j].index];
    bool other = other_class(asked, photo);
    fprintf(out, "<li%s>", other ? " class=\"other\"" : "");
    cli_put_picture(out, photo->path, photo->shown, THUMBNAIL);
    fprintf(out, "<span class=\"score\">%.3f%s</span>", (double)nearest[j].cosine, other ? " <i>other class</i>" : "");
    put_name(out, photo);
    fputs("</li>\n", out);
  }
  fputs("</ol></div>\n", out);
}

static void put_queries(FILE *out, const comparison *c) {
  if (!c->n_queries) return;
  fputs("<section><h2>Nearest neighbours</h2>\n<p>Numbers are cosines: compare them within a model, not between "
        "models.</p>\n",
        out);
  for (size_t i = 0; i < c->n_queries && !cli_signal(); i++) { /* photos may take long to decode */
    const compared_photo *photo = &c->photos[c->queries[i]];
    fputs("<article><figure>", out);
    cli_put_picture(out, photo->path, photo->shown, QUERY);
    fputs("<figcaption>", out);
    put_name(out, photo);
    fputs("</figcaption></figure><div class=\"rows\">\n", out);
    for (size_t j = 0; j < c->n_models; j++) put_row(out, c, &c->models[j], i);
    fputs("</div></article>\n", out);
  }
  fputs("</section>\n", out);
}

static const char style[] =
    ".best{color:var(--best);background:var(--best-back);font-weight:650}\n"
    "article{display:grid;grid-template-columns:minmax(180px,260px) minmax(0,1fr);gap:20px}\n"
    "figure{margin:0;position:sticky;top:16px;align-self:start}\n"
    "figure img{width:100%;height:auto;max-height:320px;object-fit:contain;border-radius:8px;display:block}\n"
    "figcaption{margin-top:6px}\n"
    ".row+.row{border-top:1px solid var(--line);margin-top:12px;padding-top:12px}\n"
    "h4{margin:0 0 8px;font-size:1rem;overflow-wrap:anywhere}\n"
    "h4 small{display:inline;margin-left:.7em}\n"
    ".other img{outline:2px dashed var(--other);outline-offset:-2px}\n"
    ".score i{color:var(--other);font-style:normal;white-space:nowrap}\n"
    "@media(max-width:640px){article{grid-template-columns:minmax(0,1fr)}figure{position:static}"
    "figure img{max-height:240px}}\n";

int compare_page_write(cli_page *page, const comparison *c) {
  FILE *out = cli_page_begin(page, "Models compared", style);
  char digits[32];
  fputs("<p>", out);
  fprintf(out, "%s photos in ", cli_group_digits(c->n_photos, digits));
  cli_put_escaped(out, c->roots.items[0]);
  if (c->roots.count > 1) fprintf(out, " and %zu other places", c->roots.count - 1);
  if (c->skipped) fprintf(out, ", %s left out", cli_group_digits(c->skipped, digits));
  if (c->centre) fputs(". The mean of all vectors is subtracted", out);
  fputs(".</p>\n", out);
  put_tables(out, c);
  put_queries(out, c);
  return cli_page_finish(page, c->session.context);
}
