/* Line plots. */
#include "cli/plot.h"

#include "cli/page.h"

#include <math.h>

enum { WIDTH = 720, HEIGHT = 440, LEFT = 84, RIGHT = 190, TOP = 48, BOTTOM = 60, COLOURS = 8 };

static const char *const light[COLOURS] = {"0b62c4", "c4450b", "2b8a3e", "8a3ab9",
                                           "b08900", "5c6770", "c2255c", "0c8599"};
static const char *const dark[COLOURS] = {"6cb2ff", "ff9e6b", "7ddb8f", "d3a4f5",
                                          "f0cf5a", "aab4bd", "faa2c1", "66d9e8"};

typedef struct axis {
  double low, high; /* of the logarithms on a logarithmic axis */
  double from, to;  /* pixels */
} axis;

static double place(const axis *a, double value) {
  return a->from + (value - a->low) / (a->high - a->low) * (a->to - a->from);
}

static axis find_axis(const cli_plot *p, bool second) {
  axis a = {INFINITY, -INFINITY, second ? HEIGHT - BOTTOM : LEFT, second ? TOP : WIDTH - RIGHT};
  for (size_t i = 0; i < p->n; i++)
    for (size_t j = 0; j < p->lines[i].n; j++) {
      double value = second ? log10(p->lines[i].y[j]) : p->lines[i].x[j];
      a.low = fmin(a.low, value);
      a.high = fmax(a.high, value);
    }
  double pad = fmax(0.05 * (a.high - a.low), second ? 0.1 : 0.005);
  a.low -= pad;
  a.high += pad;
  return a;
}

static void put_tick(FILE *out, double at, double value, bool second) {
  if (second)
    fprintf(out, "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
            LEFT, at, WIDTH - RIGHT, LEFT - 8, at + 4, value);
  else
    fprintf(out, "<path class=\"grid\" d=\"M%.1f %dV%d\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n",
            at, TOP, HEIGHT - BOTTOM, at, HEIGHT - BOTTOM + 20, value);
}

static void put_ticks(FILE *out, const axis *x, const axis *y) {
  double rough = (x->high - x->low) / 6, scale = pow(10, floor(log10(rough)));
  double step = rough <= scale ? scale : rough <= 2 * scale ? 2 * scale : rough <= 5 * scale ? 5 * scale : 10 * scale;
  for (double i = ceil(x->low / step); i * step <= x->high; i++) put_tick(out, place(x, i * step), i * step, false);
  static const double parts[] = {1, 2, 5};
  for (double decade = floor(y->low); decade <= y->high; decade++)
    for (size_t i = 0; i < 3; i++) {
      double value = log10(parts[i]) + decade;
      if (value >= y->low && value <= y->high) put_tick(out, place(y, value), parts[i] * pow(10, decade), true);
    }
}

static void put_style(FILE *out) {
  fputs("<style>text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-size:15px;font-weight:600}"
        ".grid{stroke:#d0d7de}.line{fill:none;stroke-width:2.2;stroke-linejoin:round}",
        out);
  for (size_t i = 0; i < COLOURS; i++) fprintf(out, ".s%zu{stroke:#%s}.f%zu{fill:#%s}", i, light[i], i, light[i]);
  fputs("@media(prefers-color-scheme:dark){text{fill:#e6edf3}.grid{stroke:#30363d}", out);
  for (size_t i = 0; i < COLOURS; i++) fprintf(out, ".s%zu{stroke:#%s}.f%zu{fill:#%s}", i, dark[i], i, dark[i]);
  fputs("}</style>\n", out);
}

static void put_text(FILE *out, const char *attributes, const char *text) {
  fprintf(out, "<text %s>", attributes);
  cli_put_escaped(out, text);
  fputs("</text>\n", out);
}

static void put_line(FILE *out, const cli_plot_line *line, size_t i, const axis *x, const axis *y) {
  char attributes[96];
  fprintf(out, "<path class=\"line s%zu\" d=\"", i % COLOURS);
  for (size_t j = 0; j < line->n; j++)
    fprintf(out, "%c%.1f %.1f", j ? 'L' : 'M', place(x, line->x[j]), place(y, log10(line->y[j])));
  fputs("\"/>\n", out);
  for (size_t j = 0; j < line->n; j++)
    fprintf(out, "<circle class=\"f%zu\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"/>\n", i % COLOURS, place(x, line->x[j]),
            place(y, log10(line->y[j])));
  snprintf(attributes, sizeof attributes, "class=\"f%zu\" x=\"%d\" y=\"%zu\"", i % COLOURS, WIDTH - RIGHT + 14,
           (size_t)TOP + 12 + 20 * i);
  put_text(out, attributes, line->name);
}

void cli_put_plot(cli_output *to, const cli_plot *p) {
  FILE *out = to->file;
  char attributes[96];
  axis x = find_axis(p, false), y = find_axis(p, true);
  fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\">\n", WIDTH, HEIGHT);
  put_style(out);
  put_ticks(out, &x, &y);
  snprintf(attributes, sizeof attributes, "class=\"title\" x=\"%d\" y=\"26\"", LEFT);
  put_text(out, attributes, p->title);
  snprintf(attributes, sizeof attributes, "x=\"%d\" y=\"%d\" text-anchor=\"middle\"", (LEFT + WIDTH - RIGHT) / 2,
           HEIGHT - 14);
  put_text(out, attributes, p->x_label);
  snprintf(attributes, sizeof attributes, "transform=\"translate(18 %d) rotate(-90)\" text-anchor=\"middle\"",
           (TOP + HEIGHT - BOTTOM) / 2);
  put_text(out, attributes, p->y_label);
  for (size_t i = 0; i < p->n; i++) put_line(out, &p->lines[i], i, &x, &y);
  fputs("</svg>\n", out);
}
