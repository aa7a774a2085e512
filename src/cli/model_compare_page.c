/* kindred model compare: the page, one file with its pictures in it. */
#include "cli/model_compare.h"
#include "embed/path_json.h"
#include "image/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { THUMBNAIL = 256, QUERY = 480, QUALITY = 82 };

struct compare_page {
  char *path, *temporary;
  FILE *file;
};

int compare_page_open(const char *path, compare_page **out) {
  compare_page *page = calloc(1, sizeof *page);
  *out = page;
  size_t size = strlen(path) + 32;
  if (page && (page->path = strdup(path)) && (page->temporary = malloc(size))) {
    struct stat s;
    bool special = stat(path, &s) == 0 && !S_ISREG(s.st_mode); /* a device or pipe is written in place */
    snprintf(page->temporary, size, "%s.%ld.partial", path, (long)getpid());
    page->file = fopen(special ? path : page->temporary, "w");
    if (!page->file) cli_error("can't write %s: %s", path, strerror(errno));
    if (special || !page->file) {
      free(page->temporary);
      page->temporary = NULL;
    }
    if (page->file) return CLI_OK;
  } else {
    cli_error("out of memory");
  }
  return CLI_FAILED;
}

void compare_page_close(compare_page *page) {
  if (!page) return;
  if (page->file) fclose(page->file);
  if (page->temporary) unlink(page->temporary);
  free(page->path);
  free(page->temporary);
  free(page);
}

static int commit(compare_page *page) {
  bool ok = !ferror(page->file);
  ok = fclose(page->file) == 0 && ok;
  page->file = NULL;
  if (ok && page->temporary) ok = rename(page->temporary, page->path) == 0;
  if (!ok) {
    cli_error("can't write %s: %s", page->path, strerror(errno));
    return CLI_FAILED;
  }
  free(page->temporary);
  page->temporary = NULL;
  return CLI_OK;
}

/* ---------------------------------------------------------------- pieces */

/* A name as HTML text, fit for attributes too. */
static void put_escaped(FILE *out, const char *text) {
  char *valid = kin_replace_invalid(text);
  for (const char *at = valid ? valid : "?"; *at; at++) {
    unsigned char byte = (unsigned char)*at;
    if (byte == '&')
      fputs("&amp;", out);
    else if (byte == '<')
      fputs("&lt;", out);
    else if (byte == '>')
      fputs("&gt;", out);
    else if (byte == '"')
      fputs("&quot;", out);
    else if (byte < 0x20 || byte == 0x7F)
      fputs("\xEF\xBF\xBD", out);
    else
      putc(byte, out);
  }
  free(valid);
}

static void put_base64(FILE *out, const uint8_t *data, size_t size) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < size; i += 3) {
    uint32_t three = (uint32_t)data[i] << 16;
    if (i + 1 < size) three |= (uint32_t)data[i + 1] << 8;
    if (i + 2 < size) three |= data[i + 2];
    putc(digits[three >> 18], out);
    putc(digits[three >> 12 & 63], out);
    putc(i + 1 < size ? digits[three >> 6 & 63] : '=', out);
    putc(i + 2 < size ? digits[three & 63] : '=', out);
  }
}

/* An <img> with the picture in it; an empty one where it can't be read any more. */
static void put_picture(FILE *out, const compared_photo *photo, uint32_t side) {
  kin_image image = {0};
  uint8_t *jpeg = NULL;
  size_t size = 0;
  kin_status status = kin_image_thumbnail(photo->path, 0, side, &image, NULL);
  if (status == KIN_OK) status = kin_image_encode_jpeg(&image, QUALITY, &jpeg, &size, NULL);
  fputs("<img alt=\"", out);
  put_escaped(out, photo->shown);
  if (status == KIN_OK) {
    fprintf(out, "\" width=\"%u\" height=\"%u\" src=\"data:image/jpeg;base64,", image.width, image.height);
    put_base64(out, jpeg, size);
  }
  fputs("\">", out);
  free(jpeg);
  kin_image_free(&image);
}

static const char *file_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash && slash[1] ? slash + 1 : path;
}

/* A photo's class and file name, or as much as there is of it; all of its path when pointed at. */
static void put_name(FILE *out, const compared_photo *photo) {
  fputs("<span class=\"name\" title=\"", out);
  put_escaped(out, photo->shown);
  fputs("\">", out);
  if (photo->class_number != CLI_NO_CLASS) {
    fputs("<b>", out);
    put_escaped(out, photo->class_name);
    fputs("</b> ", out);
  }
  put_escaped(out, file_name(photo->shown));
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
    put_escaped(out, c->models[i].label);
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
    put_escaped(out, c->classes[i].name);
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
  put_escaped(out, model->label);
  if (asked->class_number != CLI_NO_CLASS) fprintf(out, "<small>%zu of %zu in its class</small>", same, c->k);
  fputs("</h4><ol>\n", out);
  for (size_t j = 0; j < c->k; j++) {
    const compared_photo *photo = &c->photos[nearest[j].index];
    bool other = other_class(asked, photo);
    fprintf(out, "<li%s>", other ? " class=\"other\"" : "");
    put_picture(out, photo, THUMBNAIL);
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
    put_picture(out, photo, QUERY);
    fputs("<figcaption>", out);
    put_name(out, photo);
    fputs("</figcaption></figure><div class=\"rows\">\n", out);
    for (size_t j = 0; j < c->n_models; j++) put_row(out, c, &c->models[j], i);
    fputs("</div></article>\n", out);
  }
  fputs("</section>\n", out);
}

static const char head[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src "
    "'unsafe-inline'\">\n"
    "<link rel=\"icon\" href=\"data:,\"><title>Models compared</title>\n<style>\n"
    ":root{color-scheme:light dark;--page:#f6f6f4;--card:#fff;--text:#1d1d1b;--soft:#62625d;--line:#dededa;"
    "--best:#0b6b3a;--best-back:#e3f4ea;--other:#b3401f}\n"
    "@media(prefers-color-scheme:dark){:root{--page:#161715;--card:#20211f;--text:#ecece8;--soft:#a3a39c;"
    "--line:#3a3b38;--best:#7fdba6;--best-back:#1c3527;--other:#ff9d7a}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--page);color:var(--text);font:16px/1.45 system-ui,sans-serif}\n"
    "main{max-width:1320px;margin:0 auto;padding:clamp(12px,3vw,32px)}\n"
    "h1{font-size:1.7rem;line-height:1.2;margin:.2em 0}h2{font-size:1.2rem;margin:1.8em 0 .5em}\n"
    "p{margin:.3em 0 .8em;color:var(--soft);overflow-wrap:anywhere}\n"
    "small{display:block;font-weight:400;font-size:.8rem;color:var(--soft)}\n"
    ".scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:10px}\n"
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\n"
    "th,td{padding:.5em .8em;text-align:right;vertical-align:top}\n"
    "tbody tr{border-top:1px solid var(--line)}\n"
    "th:first-child{text-align:left}thead th{overflow-wrap:anywhere;min-width:5.5em}\n"
    "thead th small{overflow-wrap:normal}\n"
    ".best{color:var(--best);background:var(--best-back);font-weight:650}\n"
    "article{display:grid;grid-template-columns:minmax(180px,260px) 1fr;gap:20px;background:var(--card);"
    "border:1px solid var(--line);border-radius:10px;padding:16px;margin:0 0 16px}\n"
    "figure{margin:0;position:sticky;top:16px;align-self:start}\n"
    "figure img{width:100%;height:auto;max-height:320px;object-fit:contain;border-radius:8px;display:block}\n"
    "figcaption{margin-top:6px}\n"
    ".row+.row{border-top:1px solid var(--line);margin-top:12px;padding-top:12px}\n"
    "h4{margin:0 0 8px;font-size:1rem;overflow-wrap:anywhere}\n"
    "h4 small{display:inline;margin-left:.7em}\n"
    "ol{list-style:none;margin:0;padding:0;display:grid;gap:10px;"
    "grid-template-columns:repeat(auto-fit,minmax(130px,1fr))}\n"
    "li{min-width:0;max-width:220px}\n"
    "li img{width:100%;height:auto;aspect-ratio:4/3;object-fit:cover;border-radius:6px;display:block;"
    "background:var(--line)}\n"
    ".other img{outline:2px dashed var(--other);outline-offset:-2px}\n"
    ".score{font-size:.85rem;font-variant-numeric:tabular-nums}.score "
    "i{color:var(--other);font-style:normal;white-space:nowrap}\n"
    ".name{display:block;font-size:.8rem;color:var(--soft);white-space:nowrap;overflow:hidden;text-overflow:ellipsis}\n"
    ".name b{font-weight:600;color:var(--text)}\n"
    "footer{color:var(--soft);font-size:.8rem;margin-top:24px}\n"
    "@media(max-width:640px){article{grid-template-columns:1fr;padding:12px}figure{position:static}"
    "figure img{max-height:240px}table{font-size:.85rem}th,td{padding:.45em .5em}thead "
    "th{min-width:0}small,.score{font-size:.72rem}"
    "ol{grid-template-columns:repeat(auto-fill,minmax(96px,1fr));gap:8px}}\n"
    "</style></head><body><main>\n";

int compare_page_write(compare_page *page, const comparison *c) {
  FILE *out = page->file;
  char digits[32];
  fputs(head, out);
  fputs("<h1>Models compared</h1>\n<p>", out);
  fprintf(out, "%s photos in ", cli_group_digits(c->n_photos, digits));
  put_escaped(out, c->roots.items[0]);
  if (c->roots.count > 1) fprintf(out, " and %zu other places", c->roots.count - 1);
  if (c->skipped) fprintf(out, ", %s left out", cli_group_digits(c->skipped, digits));
  if (c->centre) fputs(". The mean of all vectors is subtracted", out);
  fputs(".</p>\n", out);
  put_tables(out, c);
  put_queries(out, c);
  fprintf(out, "<footer>kindred %s, %u thread%s, %s</footer>\n</main></body></html>\n", KINDRED_VERSION,
          kin_context_threads(c->session.context), cli_plural(kin_context_threads(c->session.context)),
          kin_context_isa_name(c->session.context));
  return cli_signal() ? cli_stopped() : commit(page);
}
