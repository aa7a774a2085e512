/* kindred classify: the page, with a section for each label. */
#include "cli/classify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THUMBNAIL = 220, MOST_IN_SECTION = 60, MOST_MISTAKES = 40 };

static const char style[] =
    "h2 small,h2 b{display:inline;font-weight:400;margin-left:.6em}\n"
    ".confusion thead th{overflow-wrap:normal}.confusion td{min-width:3em}"
    ".confusion th:first-child{position:sticky;left:0;background:var(--card)}"
    "@media(max-width:640px){.confusion thead th:not(:first-child){writing-mode:vertical-rl;text-align:left;"
    "padding:.5em 1.1em .5em .9em}.confusion td{min-width:0}}"
    ".confusion "
    "td.right{background:var(--best-back);color:var(--best);font-weight:600}\n"
    ".confusion td.wrong{color:var(--other);font-weight:600}.confusion td.none{color:var(--soft)}\n"
    ".wrong .score,.wrong .true{color:var(--other)}.true{display:block;font-size:.8rem}\n"
    ".texts{list-style:none;margin:0;padding:0}.texts li{padding:.5em 0;border-top:1px solid var(--line)}\n"
    ".texts li:first-child{border-top:0}.texts .score{color:var(--soft);margin-right:.8em}\n";

/* ------------------------------------------------------------------- scores */

static void put_confusion(FILE *out, const classification *c, const classify_scores *s) {
  fputs("<div class=\"scroll\"><table class=\"confusion\"><thead><tr><th>true, told as</th>", out);
  for (size_t k = 0; k < c->n_classes; k++) {
    fputs("<th scope=\"col\">", out);
    cli_put_escaped(out, c->names[k]);
    fputs("</th>", out);
  }
  fputs("</tr></thead><tbody>\n", out);
  for (size_t k = 0; k < c->n_classes; k++) {
    fputs("<tr><th scope=\"row\">", out);
    cli_put_escaped(out, c->names[k]);
    fputs("</th>", out);
    for (size_t j = 0; j < c->n_classes; j++) {
      const size_t n = s->confusion[k * c->n_classes + j];
      fprintf(out, "<td class=\"%s\">%zu</td>", n == 0 ? "none" : k == j ? "right" : "wrong", n);
    }
    fputs("</tr>\n", out);
  }
  fputs("</tbody></table></div>\n", out);
}

static void put_scores(FILE *out, const classification *c, const classify_scores *s) {
  if (!s->n) return;
  fprintf(out, "<section><h2>Accuracy %.1f%%</h2>\n<p>%zu of %zu told right", 100 * s->accuracy, s->right, s->n);
  if (s->folds)
    fprintf(out, ", each by a classifier that hadn't seen it: cross-validated in %zu parts, deviation %.3f", s->folds,
            s->deviation);
  fputs(".</p>\n", out);
  put_confusion(out, c, s);
  fputs("</section>\n", out);
}

/* -------------------------------------------------------------------- items */

static void put_name(FILE *out, const cli_item *item) {
  fputs("<span class=\"name\" title=\"", out);
  cli_put_escaped(out, item->name);
  fputs("\">", out);
  cli_put_escaped(out, item->is_file ? cli_file_name(item->name) : item->name);
  if (item->line) fprintf(out, ":%llu", (unsigned long long)item->line);
  fputs("</span>", out);
}

/* An item of a list: the picture or the text, a probability (negative: none), and what it truly is, where that is
 * something else. */
static void put_item(FILE *out, const cli_item *item, double probability, const char *truth) {
  fprintf(out, "<li%s>", truth ? " class=\"wrong\"" : "");
  if (item->is_picture) cli_put_picture(out, item->name, item->name, THUMBNAIL);
  if (probability >= 0) fprintf(out, "<span class=\"score\">%.1f%%</span> ", 100 * probability);
  if (item->text && item->is_file) {
    fputs("<span>", out);
    cli_put_escaped(out, item->text);
    fputs("</span>", out);
  }
  put_name(out, item);
  if (truth) {
    fputs("<span class=\"true\">is ", out);
    cli_put_escaped(out, truth);
    fputs("</span>", out);
  }
  fputs("</li>\n", out);
}

typedef struct ranked {
  size_t item;
  double probability;
} ranked;

static int by_probability(const void *a, const void *b) {
  const ranked *x = a, *y = b;
  if (x->probability != y->probability) return x->probability > y->probability ? -1 : 1;
  return (x->item > y->item) - (x->item < y->item);
}

/* Items that are given class `k` (n_classes: none), likeliest first; a pair gives an item several. */
static size_t gather(const classification *c, size_t k, size_t *given, ranked *out) {
  const bool pairs = strcmp(c->mode, "pairs") == 0;
  size_t found = 0;
  for (size_t i = 0; i < c->items.set.n; i++) {
    const size_t n = classify_given(c, i, given), looked = pairs ? n : n ? 1 : 0;
    bool in = n == 0 && k == c->n_classes;
    for (size_t j = 0; j < looked; j++) in = in || given[j] == k;
    if (in) out[found++] = (ranked){i, k < c->n_classes ? c->probabilities[i * c->n_classes + k] : -1};
  }
  qsort(out, found, sizeof *out, by_probability);
  return found;
}

static void put_list(FILE *out, const classification *c, const ranked *items, size_t n) {
  const bool pictures = c->items.items[items[0].item].is_picture;
  fprintf(out, "<article><ol class=\"%s\">\n", pictures ? "pictures" : "texts");
  for (size_t i = 0; i < n && i < MOST_IN_SECTION && !cli_signal(); i++) {
    const char *truth = NULL;
    classify_is_wrong(c, items[i].item, &truth);
    put_item(out, &c->items.items[items[i].item], items[i].probability, truth);
  }
  fputs("</ol>", out);
  if (n > MOST_IN_SECTION) fprintf(out, "<p>and %zu more</p>", n - MOST_IN_SECTION);
  fputs("</article>\n", out);
}

static void put_sections(FILE *out, const classification *c, size_t *given, ranked *items) {
  for (size_t k = 0; k <= c->n_classes && c->items.set.n; k++) {
    const size_t n = gather(c, k, given, items);
    if (n == 0) continue;
    fputs("<section><h2>", out);
    cli_put_escaped(out, k < c->n_classes ? c->names[k] : "None of these");
    fprintf(out, "<small>%zu</small></h2>\n", n);
    put_list(out, c, items, n);
    fputs("</section>\n", out);
  }
}

/* What cross-validation told wrong, the surest first. */
static void put_mistakes(FILE *out, const classification *c, ranked *items) {
  const cli_vectors *v = &c->train;
  size_t n = 0;
  if (!c->told) return;
  for (size_t i = 0; i < v->set.n; i++)
    if (c->told[i] != v->labels[i]) items[n++] = (ranked){i, c->confidence[i]};
  if (n == 0) return;
  qsort(items, n, sizeof *items, by_probability);
  fprintf(out, "<section><h2>Told wrong<small>%zu</small></h2>\n<article><ol class=\"%s\">\n", n,
          v->items[items[0].item].is_picture ? "pictures" : "texts");
  for (size_t i = 0; i < n && i < MOST_MISTAKES && !cli_signal(); i++) {
    const cli_item *item = &v->items[items[i].item];
    char what[300];
    snprintf(what, sizeof what, "%.120s, told as %.120s", v->classes[v->labels[items[i].item]],
             c->names[c->told[items[i].item]]);
    put_item(out, item, items[i].probability, what);
  }
  fputs("</ol>", out);
  if (n > MOST_MISTAKES) fprintf(out, "<p>and %zu more</p>", n - MOST_MISTAKES);
  fputs("</article></section>\n", out);
}

static void put_summary(FILE *out, const classification *c) {
  fputs("<p>", out);
  if (!c->classifier)
    fprintf(out, "%zu labels in words, %s, scale %.4g", c->n_classes,
            strcmp(c->mode, "pairs") == 0 ? "each decided for itself" : "the likeliest told", c->scale);
  else if (c->info.kind == KIN_CLASSIFIER_LINEAR)
    fprintf(out, "Logistic regression learnt from %zu examples in %zu classes, c %g", c->info.examples, c->n_classes,
            c->info.c);
  else
    fprintf(out, "The %zu nearest of %zu examples in %zu classes vote", c->info.k, c->info.examples, c->n_classes);
  if (c->threshold > 0) fprintf(out, "; none of these below %.3g", c->threshold);
  fputs(".</p>\n", out);
}

int classify_write_page(const classification *c, cli_page *page) {
  const size_t most = c->items.set.n > c->train.set.n ? c->items.set.n : c->train.set.n;
  size_t *given = calloc(c->o->top, sizeof *given);
  ranked *items = calloc(most + 1, sizeof *items);
  const kin_context *context = c->items.set.n ? c->items.session.context : c->train.session.context;
  int status = CLI_FAILED;
  if (given && items) {
    FILE *out = cli_page_begin(page, "Classified", style);
    put_summary(out, c);
    put_scores(out, c, &c->validation);
    put_scores(out, c, &c->known);
    put_mistakes(out, c, items);
    put_sections(out, c, given, items);
    status = cli_page_finish(page, context);
  } else {
    cli_error("out of memory for %zu items", most);
  }
  free(given), free(items);
  return status;
}
