/* A line plot as an SVG file: it stands alone, for light and dark pages. */
#ifndef KIN_CLI_PLOT_H
#define KIN_CLI_PLOT_H

#include "cli/output.h"

#include <stddef.h>

typedef struct cli_plot_line {
  const char *name;
  const double *x, *y; /* [n] */
  size_t n;
} cli_plot_line;

typedef struct cli_plot {
  const char *title, *x_label, *y_label;
  const cli_plot_line *lines; /* the ninth is drawn as the first is */
  size_t n;                   /* of them, at least one, with a point */
} cli_plot;

/* The first axis is linear, the second logarithmic: all y must be above 0. The caller commits the output. */
void cli_put_plot(cli_output *to, const cli_plot *plot);

#endif
