/* kindred map: the page. assets/map.js reads what is written here and draws it. */
#include "cli/map.h"

#include <stdlib.h>
#include <string.h>

enum { STOPS = 64, NO_CLASS = 65535, TEXT_SHOWN = 240 };

static const uint8_t style[] = {
#include "cli/assets/map.css.inc"
    0};
static const uint8_t body[] = {
#include "cli/assets/map.html.inc"
};
static const uint8_t script[] = {
#include "cli/assets/map.js.inc"
};

/* -------------------------------------------------------------------- items */

/* "folders":[["a/",0],["b/",17]]: of the items from a number on; then "names". */
static void put_names(FILE *out, const map_job *j) {
  const char *before = NULL;
  size_t before_size = 0;
  fputs("\"folders\":[", out);
  for (size_t i = 0; i < j->v.set.n; i++) {
    const cli_item *item = &j->v.items[i];
    const size_t size = item->is_file ? (size_t)(cli_item_name(item) - item->name) : 0;
    if (before && size == before_size && memcmp(before, item->name, size) == 0) continue;
    char *folder = strndup(item->name, size);
    fputs(before ? ",[" : "[", out);
    cli_put_json_string(out, folder ? folder : "");
    fprintf(out, ",%zu]", i);
    free(folder);
    before = item->name, before_size = size;
  }
  fputs("],\n\"names\":[", out);
  for (size_t i = 0; i < j->v.set.n; i++) {
    if (i) putc(',', out);
    cli_put_json_string(out, cli_item_name(&j->v.items[i]));
  }
  fputs("],\n", out);
}

/* The beginnings of texts that have a name beside them. */
static void put_texts(FILE *out, const map_job *j) {
  bool any = false;
  for (size_t i = 0; i < j->v.set.n; i++) any = any || (j->v.items[i].text && j->v.items[i].is_file);
  fputs("\"texts\":", out);
  for (size_t i = 0; any && i < j->v.set.n; i++) {
    char shown[TEXT_SHOWN + 4];
    cli_item_beginning(&j->v.items[i], shown, TEXT_SHOWN);
    putc(i ? ',' : '[', out);
    cli_put_json_string(out, shown);
  }
  fputs(any ? "],\n" : "null,\n", out);
}

/* ------------------------------------------------------------------ colours */

static void put_classes(FILE *out, const map_job *j, map_colours colours) {
  const size_t n = map_classes(j, colours);
  uint16_t *of = calloc(j->v.set.n, sizeof *of);
  char room[32];
  for (size_t i = 0; i < n; i++) {
    fputs(i ? "," : ",\"classes\":[", out);
    cli_put_json_string(out, map_class_name(j, colours, i, room));
  }
  for (size_t i = 0; i < n; i++) fprintf(out, "%s%u", i ? "," : "],\"colours\":[", map_class_colour(i));
  for (size_t i = 0; of && i < j->v.set.n; i++) {
    const size_t number = map_class_of(j, colours, i);
    of[i] = (uint16_t)(number < NO_CLASS ? number : NO_CLASS);
  }
  fputs("],\"of\":\"", out);
  if (of) cli_put_base64(out, (const uint8_t *)of, j->v.set.n * sizeof *of);
  putc('"', out);
  free(of);
}

static void put_scale(FILE *out, const map_job *j, map_colours colours) {
  const map_scale *scale = map_scale_of(j, colours);
  double *of = calloc(j->v.set.n, sizeof *of);
  fprintf(out, ",\"low\":%.17g,\"high\":%.17g,\"stops\":[", scale->low, scale->high);
  for (int i = 0; i < STOPS; i++) fprintf(out, "%s%u", i ? "," : "", map_scale_colour((double)i / (STOPS - 1)));
  for (size_t i = 0; of && i < j->v.set.n; i++) of[i] = map_value_of(j, colours, i);
  fputs("],\"of\":\"", out);
  if (of) cli_put_base64(out, (const uint8_t *)of, j->v.set.n * sizeof *of);
  putc('"', out);
  free(of);
}

static void put_colours(FILE *out, const map_job *j) {
  size_t written = 0, start = 0;
  fprintf(out, "\"plain\":%u,\"none\":%u,\"colours\":[", map_class_colour(0), map_class_colour(SIZE_MAX));
  for (map_colours c = MAP_PLAIN; c < MAP_COLOURS; c++) {
    const map_scale *scale = map_scale_of(j, c);
    if (c != MAP_PLAIN && !map_classes(j, c) && !(scale && scale->known)) continue;
    if (c == j->colours) start = written;
    fprintf(out, "%s{\"name\":\"%s\"", written++ ? ",\n" : "", map_colours_name(c));
    if (map_classes(j, c)) put_classes(out, j, c);
    if (scale) put_scale(out, j, c);
    putc('}', out);
  }
  fprintf(out, "],\"start\":%zu,\n", start);
}

/* --------------------------------------------------------------- thumbnails */

typedef struct pictured {
  uint64_t place;
  size_t item;
} pictured;

static int by_place(const void *a, const void *b) {
  const pictured *x = a, *y = b;
  if (x->place != y->place) return x->place < y->place ? -1 : 1;
  return (x->item > y->item) - (x->item < y->item);
}

/* The number of a place along a Z-shaped curve through the map: near numbers are near places. */
static uint64_t place_of(const float *point, const float low[2], float wide) {
  uint64_t place = 0;
  for (int axis = 0; axis < 2; axis++) {
    const uint64_t at = wide > 0 ? (uint64_t)(65535 * (double)((point[axis] - low[axis]) / wide)) : 0;
    for (int bit = 0; bit < 16; bit++) place |= (at >> bit & 1) << (2 * bit + axis);
  }
  return place;
}

/* The pictures in the order of their places into out[n]; returns how many. */
static size_t order_pictures(const map_job *j, pictured *out) {
  float low[2] = {j->points[0], j->points[1]}, high[2] = {low[0], low[1]};
  for (size_t i = 0; i < 2 * j->v.set.n; i++) {
    if (j->points[i] < low[i % 2]) low[i % 2] = j->points[i];
    if (j->points[i] > high[i % 2]) high[i % 2] = j->points[i];
  }
  const float width = high[0] - low[0], height = high[1] - low[1];
  size_t n = 0;
  for (size_t i = 0; i < j->v.set.n; i++)
    if (j->v.items[i].is_picture)
      out[n++] = (pictured){place_of(j->points + 2 * i, low, width > height ? width : height), i};
  qsort(out, n, sizeof *out, by_place);
  return n;
}

/* "thumbnails":{"17":"..."} of at most as many as are wanted, spread over the map; returns how many there are. */
static size_t put_thumbnails(FILE *out, const map_job *j, const pictured *pictures, size_t n) {
  const size_t wanted = n < j->thumbnails ? n : j->thumbnails;
  const uint32_t side = wanted <= 500 ? 220 : wanted <= 2000 ? 160 : 112;
  size_t written = 0;
  fputs("\"thumbnails\":{", out);
  cli_progress_start("pictures", j->common.quiet);
  for (size_t i = 0; i < wanted && !cli_signal(); i++) {
    const size_t item = pictures[i * n / wanted].item;
    fprintf(out, "%s\"%zu\":\"", i ? ",\n" : "", item);
    written += cli_put_thumbnail(out, j->v.items[item].name, side);
    putc('"', out);
    cli_progress_update((cli_progress){.done = i + 1, .total = wanted, .worked = i + 1, .failed = i + 1 - written});
  }
  cli_progress_stop();
  fputs("}", out);
  return written;
}

/* --------------------------------------------------------------------- page */

static void put_body(FILE *out, const map_job *j) {
  char digits[32];
  fprintf(out, "<p>%s item%s by %s", cli_group_digits(j->v.set.n, digits), cli_plural(j->v.set.n),
          j->pca ? "their principal components" : "UMAP");
  if (!j->pca) fprintf(out, ", %s distances: what is alike lies together, and far apart says little", j->metric_name);
  if (j->measured) fprintf(out, "; trustworthiness %.3f over %zu neighbours", j->trustworthiness, j->trusted);
  if (j->v.skipped) fprintf(out, "; %zu left out", j->v.skipped);
  fputs(".</p>\n", out);
  fwrite(body, 1, sizeof body, out);
}

int map_write_page(const map_job *j, cli_page *page) {
  pictured *pictures = calloc(j->v.set.n, sizeof *pictures);
  if (!pictures) {
    cli_error("out of memory for a page of %zu items", j->v.set.n);
    return CLI_FAILED;
  }
  const size_t n = order_pictures(j, pictures);
  FILE *out = cli_page_begin_with_script(page, "Map", (const char *)style);
  put_body(out, j);
  fputs("<script type=\"application/json\" id=\"data\">{", out);
  fputs("\"points\":\"", out);
  cli_put_base64(out, (const uint8_t *)j->points, 2 * j->v.set.n * sizeof *j->points);
  fprintf(out, "\",\n\"pictures\":%s,\n", n ? "true" : "false");
  put_names(out, j);
  put_texts(out, j);
  put_colours(out, j);
  const size_t written = put_thumbnails(out, j, pictures, n);
  fputs("}</script>\n<script>\n", out);
  free(pictures);
  fwrite(script, 1, sizeof script, out);
  fputs("</script>\n", out);
  if (written < n)
    fprintf(out,
            "<p>%zu of the %zu pictures have a thumbnail here; --thumbnails puts more or fewer into the page.</p>\n",
            written, n);
  return cli_page_finish(page, j->v.session.context);
}
