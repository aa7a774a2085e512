/* kindred anomalies --heat-maps: where in a picture the anomaly lies, painted over it. */
#include "cli/anomalies.h"
#include "image/image.h"
#include "model/tower.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SIDE = 768 };

/* The part of a picture that the model sees, in pixels of the picture. */
typedef struct seen_part {
  double left, top, width, height;
} seen_part;

static seen_part find_seen(const kin_preprocess *p, uint32_t width, uint32_t height) {
  const double w = width, h = height;
  if (!p->center_crop || !p->shortest_edge) return (seen_part){0, 0, w, h};
  const double scale = (w < h ? w : h) / (double)p->shortest_edge;
  const double across = scale * (double)p->crop_width, down = scale * (double)p->crop_height;
  return (seen_part){(w - across) / 2, (h - down) / 2, across, down};
}

/* The score at a place of the grid in patches, between four of them in proportion. */
static double score_at(const double *scores, size_t grid, double x, double y) {
  const double last = (double)grid - 1;
  x = fmin(fmax(x - 0.5, 0), last), y = fmin(fmax(y - 0.5, 0), last);
  const size_t column = (size_t)x, row = (size_t)y;
  const size_t right = column + 1 < grid ? column + 1 : column, below = row + 1 < grid ? row + 1 : row;
  const double across = x - (double)column, down = y - (double)row;
  const double upper = scores[row * grid + column] * (1 - across) + scores[row * grid + right] * across;
  const double lower = scores[below * grid + column] * (1 - across) + scores[below * grid + right] * across;
  return upper * (1 - down) + lower * down;
}

/* From blue over green and yellow to red. */
static void colour_of(double share, double out[3]) {
  static const double stops[5][3] = {{30, 60, 160}, {0, 150, 170}, {90, 190, 60}, {250, 200, 40}, {220, 30, 30}};
  const double at = fmin(fmax(share, 0), 1) * 4;
  const size_t below = at < 4 ? (size_t)at : 3;
  for (size_t c = 0; c < 3; c++)
    out[c] = stops[below][c] + (at - (double)below) * (stops[below + 1][c] - stops[below][c]);
}

/* Places at half the detector's limit or below stay as they are, red is one and a half of it; what the model doesn't
 * see is greyed. */
static void paint(kin_image *image, const seen_part *seen, const double *scores, size_t grid, double limit) {
  for (uint32_t y = 0; y < image->height; y++)
    for (uint32_t x = 0; x < image->width; x++) {
      uint8_t *pixel = image->rgb + 3 * ((size_t)y * image->width + x);
      const double column = (x + 0.5 - seen->left) / seen->width, row = (y + 0.5 - seen->top) / seen->height;
      double colour[3], weight = 0.6;
      if (column < 0 || column >= 1 || row < 0 || row >= 1) {
        colour[0] = colour[1] = colour[2] = 128;
      } else {
        const double score = score_at(scores, grid, column * (double)grid, row * (double)grid);
        const double share = limit > 0 ? score / limit - 0.5 : 0;
        colour_of(share, colour);
        weight = fmin(0.65, 2 * fmax(0, share));
      }
      for (size_t c = 0; c < 3; c++) pixel[c] = (uint8_t)lround(pixel[c] * (1 - weight) + colour[c] * weight);
    }
}

static int write_png(const kin_image *image, const char *path) {
  uint8_t *png = NULL;
  size_t size = 0;
  kin_error err;
  cli_output out = {0};
  if (kin_image_encode_png(image, &png, &size, &err) != KIN_OK) return cli_failed(&err);
  int status = cli_output_open(path, &out);
  if (status == CLI_OK) {
    fwrite(png, 1, size, out.file);
    status = cli_output_commit(&out);
  }
  cli_output_close(&out);
  free(png);
  return status;
}

/* DIR/0001-name.png, by rank, so that two of one name don't meet. */
static int write_map(const anomalies_job *j, size_t rank, double *scores) {
  const size_t item = j->order[rank];
  const char *path = j->v.items[item].name;
  kin_error err;
  kin_image image = {0};
  size_t grid = (size_t)lround(sqrt((double)j->info.k));
  if (kin_detector_patch_scores(j->v.session.context, j->detector, j->v.values + item * j->info.dim, scores, &err) !=
          KIN_OK ||
      kin_image_thumbnail(path, 0, SIDE, &image, &err) != KIN_OK)
    return cli_failed(&err);
  const seen_part seen = find_seen(&j->v.session.model->preprocess, image.width, image.height);
  paint(&image, &seen, scores, grid, j->info.limit);
  char *name = kin_format("%s/%04zu-%s.png", j->heat_maps, rank + 1, cli_file_name(path));
  int status = CLI_FAILED;
  if (name)
    status = write_png(&image, name);
  else
    cli_error("out of memory for a heat map of %s", path);
  free(name);
  kin_image_free(&image);
  return status;
}

int anomalies_write_heat_maps(const anomalies_job *j) {
  if (!j->v.session.model) {
    cli_error("heat maps are of pictures that are embedded now, not of the rows of a file");
    return CLI_FAILED;
  }
  if (mkdir(j->heat_maps, 0777) != 0 && errno != EEXIST) {
    cli_error("can't make %s: %s", j->heat_maps, strerror(errno));
    return CLI_FAILED;
  }
  double *scores = calloc(j->info.k, sizeof *scores);
  int status = scores ? CLI_OK : CLI_FAILED;
  if (!scores) cli_error("out of memory for heat maps");
  cli_progress_start("heat maps", j->common.quiet);
  for (size_t i = 0; status == CLI_OK && i < j->count; i++) {
    if (j->v.items[j->order[i]].is_picture) status = write_map(j, i, scores);
    cli_progress_update((cli_progress){.done = i + 1, .total = j->count, .worked = i + 1});
    if (status == CLI_OK && cli_signal()) status = cli_stopped();
  }
  cli_progress_stop();
  free(scores);
  return status;
}
