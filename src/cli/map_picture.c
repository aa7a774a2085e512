/* kindred map: pictures for papers. */
#include "cli/map.h"
#include "image/image.h"

#include <math.h>
#include <stdlib.h>

enum { MOST_IN_LEGEND = 24 };

/* How points become places in a picture of side x side. */
typedef struct frame {
  double x, y, scale, radius; /* of the middle in the map, pixels for a unit, and a dot's */
  double side;
} frame;

static frame find_frame(const map_job *j) {
  const float *p = j->points;
  double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
  for (size_t i = 0; i < 2 * j->v.set.n; i++) {
    low[i % 2] = fmin(low[i % 2], (double)p[i]);
    high[i % 2] = fmax(high[i % 2], (double)p[i]);
  }
  frame f = {.side = (double)j->side, .x = (low[0] + high[0]) / 2, .y = (low[1] + high[1]) / 2};
  const double wide = fmax(high[0] - low[0], high[1] - low[1]);
  f.scale = wide > 0 ? 0.94 * f.side / wide : 0;
  f.radius = fmin(fmax(0.2 * f.side / sqrt((double)j->v.set.n), f.side / 800), f.side / 150);
  return f;
}

/* The second axis goes up. */
static void place(const frame *f, const float *point, double *x, double *y) {
  *x = f->side / 2 + ((double)point[0] - f->x) * f->scale, *y = f->side / 2 - ((double)point[1] - f->y) * f->scale;
}

/* --------------------------------------------------------------------- SVG */

/* An entry of the legend, in the line-th of its lines. */
static void put_entry(FILE *out, const frame *f, size_t line, uint32_t colour, const char *text) {
  const double y = 30 + 22 * (double)line;
  fprintf(out, "<circle cx=\"%.0f\" cy=\"%.0f\" r=\"6\" fill=\"#%06x\"/><text x=\"%.0f\" y=\"%.0f\">", f->side + 14, y,
          colour, f->side + 28, y + 5);
  cli_put_escaped(out, text);
  fputs("</text>\n", out);
}

static void put_legend(FILE *out, const map_job *j, const frame *f) {
  const map_scale *scale = map_scale_of(j, j->colours);
  const size_t n = map_classes(j, j->colours);
  char room[32];
  fputs("<g font-family=\"sans-serif\" font-size=\"15\">\n", out);
  for (size_t i = 0; i < n && i < MOST_IN_LEGEND; i++)
    put_entry(out, f, i, map_class_colour(i), map_class_name(j, j->colours, i, room));
  if (n > MOST_IN_LEGEND)
    fprintf(out, "<text x=\"%.0f\" y=\"%d\">and %zu more</text>\n", f->side + 28, 35 + 22 * MOST_IN_LEGEND,
            n - MOST_IN_LEGEND);
  for (size_t i = 0; scale && scale->known && i <= 4; i++) {
    map_scale_text(j->colours, scale->low + (scale->high - scale->low) * (double)i / 4, room);
    put_entry(out, f, i, map_scale_colour((double)i / 4), room);
  }
  fputs("</g>\n", out);
}

int map_write_svg(const map_job *j, cli_output *to) {
  const frame f = find_frame(j);
  FILE *out = to->file;
  const double width = f.side + (j->colours == MAP_PLAIN ? 0 : 240);
  fprintf(out,
          "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\">\n"
          "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n<g fill-opacity=\"0.8\">\n",
          width, f.side, width, f.side);
  for (size_t i = 0; i < j->v.set.n; i++) {
    double x, y;
    place(&f, j->points + 2 * i, &x, &y);
    fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.2f\" fill=\"#%06x\"/>\n", x, y, f.radius, map_colour_of(j, i));
  }
  fputs("</g>\n", out);
  put_legend(out, j, &f);
  fputs("</svg>\n", out);
  return cli_output_commit(to);
}

/* --------------------------------------------------------------------- PNG */

static void blend(uint8_t *pixel, uint32_t colour, double share) {
  for (int channel = 0; channel < 3; channel++) {
    const double level = (double)(colour >> (16 - 8 * channel) & 255);
    pixel[channel] = (uint8_t)lround(pixel[channel] + share * (level - pixel[channel]));
  }
}

/* A dot with soft edges. */
static void draw(const kin_image *image, const frame *f, double x, double y, uint32_t colour) {
  const double reach = f->radius + 0.5, last = f->side - 1;
  const size_t top = (size_t)fmax(0, y - reach), bottom = (size_t)fmin(last, y + reach);
  const size_t left = (size_t)fmax(0, x - reach), right = (size_t)fmin(last, x + reach);
  for (size_t row = top; row <= bottom; row++)
    for (size_t column = left; column <= right; column++) {
      const double dx = (double)column + 0.5 - x, dy = (double)row + 0.5 - y;
      const double covered = fmin(reach - sqrt(dx * dx + dy * dy), 1);
      if (covered > 0) blend(image->rgb + 3 * (row * image->width + column), colour, 0.8 * covered);
    }
}

int map_write_png(const map_job *j, cli_output *to) {
  const frame f = find_frame(j);
  kin_image image = {.width = (uint32_t)j->side, .height = (uint32_t)j->side};
  const size_t size = 3 * j->side * j->side;
  if (!(image.rgb = malloc(size))) {
    cli_error("out of memory for a picture of %zu x %zu pixels", j->side, j->side);
    return CLI_FAILED;
  }
  for (size_t i = 0; i < size; i++) image.rgb[i] = 255;
  for (size_t i = 0; i < j->v.set.n; i++) {
    double x, y;
    place(&f, j->points + 2 * i, &x, &y);
    draw(&image, &f, x, y, map_colour_of(j, i));
  }
  uint8_t *png = NULL;
  size_t png_size = 0;
  kin_error err;
  const kin_status status = kin_image_encode_png(&image, &png, &png_size, &err);
  if (status == KIN_OK) fwrite(png, 1, png_size, to->file);
  free(png);
  kin_image_free(&image);
  return status == KIN_OK ? cli_output_commit(to) : cli_failed(&err);
}
