/* kindred map: what colours tell, and which they are. */
#include "cli/map.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

const char *map_colours_name(map_colours colours) {
  static const char *const names[MAP_COLOURS] = {"none", "label", "cluster", "date", "uniqueness", "anomaly"};
  return names[colours];
}

/* ----------------------------------------------------------------- classes */

size_t map_classes(const map_job *j, map_colours colours) {
  if (colours == MAP_LABEL) return j->v.n_classes;
  return colours == MAP_CLUSTER ? j->clusters.k : 0;
}

const char *map_class_name(const map_job *j, map_colours colours, size_t number, char room[32]) {
  if (colours == MAP_LABEL) return j->v.classes[number];
  snprintf(room, 32, "cluster %zu", number);
  return room;
}

size_t map_class_of(const map_job *j, map_colours colours, size_t item) {
  if (colours == MAP_LABEL && j->v.labels && j->v.labels[item] != CLI_NO_LABEL) return j->v.labels[item];
  if (colours == MAP_CLUSTER && j->clusters.labels) return j->clusters.labels[item];
  return SIZE_MAX;
}

/* ------------------------------------------------------------------ scales */

double map_value_of(const map_job *j, map_colours colours, size_t item) {
  if (colours == MAP_DATE && j->v.items[item].mtime_ns) return (double)j->v.items[item].mtime_ns * 1e-9;
  const double *scores = colours == MAP_UNIQUENESS ? j->uniqueness : colours == MAP_ANOMALY ? j->anomaly : NULL;
  if (scores && isfinite(scores[item])) return scores[item];
  return NAN;
}

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* From the quantile `cut` to 1 - cut, so that a few far off don't take all of the colours. */
static map_scale find_scale(const map_job *j, map_colours colours, double cut) {
  double *all = calloc(j->v.set.n, sizeof *all);
  size_t n = 0;
  for (size_t i = 0; all && i < j->v.set.n; i++) {
    all[n] = map_value_of(j, colours, i);
    if (!isnan(all[n])) n++;
  }
  map_scale scale = {.known = n > 0};
  if (n) {
    qsort(all, n, sizeof *all, by_value);
    const size_t left_out = (size_t)(cut * (double)(n - 1));
    scale.low = all[left_out], scale.high = all[n - 1 - left_out];
  }
  free(all);
  return scale;
}

void map_find_scales(map_job *j) {
  j->scales[MAP_DATE] = find_scale(j, MAP_DATE, 0);
  j->scales[MAP_UNIQUENESS] = find_scale(j, MAP_UNIQUENESS, 0.02);
  j->scales[MAP_ANOMALY] = find_scale(j, MAP_ANOMALY, 0.02);
}

const map_scale *map_scale_of(const map_job *j, map_colours colours) {
  return colours >= MAP_DATE && colours < MAP_COLOURS ? &j->scales[colours] : NULL;
}

double map_share_of(const map_job *j, map_colours colours, size_t item) {
  const map_scale *scale = map_scale_of(j, colours);
  const double value = map_value_of(j, colours, item);
  if (!scale || isnan(value)) return -1;
  if (!(scale->high > scale->low)) return 0.5;
  return fmin(fmax((value - scale->low) / (scale->high - scale->low), 0), 1);
}

void map_scale_text(map_colours colours, double value, char out[32]) {
  struct tm date;
  const time_t seconds = (time_t)value;
  if (colours != MAP_DATE)
    snprintf(out, 32, "%.3g", value);
  else if (!localtime_r(&seconds, &date) || !strftime(out, 32, "%Y-%m-%d", &date))
    snprintf(out, 32, "?");
}

/* ----------------------------------------------------------------- colours */

/* Hue in turns; lightness and saturation 0 to 1. */
static uint32_t hsl(double hue, double saturation, double lightness) {
  const double reach = saturation * fmin(lightness, 1 - lightness);
  uint32_t out = 0;
  for (int channel = 0; channel < 3; channel++) {
    static const double first[3] = {0, 8, 4};
    const double k = fmod(first[channel] + 12 * hue, 12);
    const double level = lightness - reach * fmax(-1, fmin(fmin(k - 3, 9 - k), 1));
    out = out << 8 | (uint32_t)lround(255 * level);
  }
  return out;
}

uint32_t map_class_colour(size_t number) {
  static const uint32_t first[] = {0x2f7fd0, 0xe07b1f, 0x2f9e58, 0xd4434b, 0x8d63c9, 0x9a6a4b,
                                   0xd962ab, 0x8a9222, 0x1fa3b3, 0xc79a12, 0x5b6ee1, 0x6d8f78};
  enum { FIRST = sizeof first / sizeof *first };
  if (number == SIZE_MAX) return 0x8b8b86;
  if (number < FIRST) return first[number];
  /* Steps of the golden section never come back to a hue. */
  return hsl(fmod(0.13 + 0.61803398875 * (double)number, 1), number % 2 ? 0.65 : 0.45,
             0.42 + 0.05 * (double)(number % 4));
}

uint32_t map_scale_colour(double share) {
  static const int stops[][3] = {{84, 76, 214}, {163, 63, 181}, {217, 80, 122}, {239, 138, 61}, {230, 187, 46}};
  if (share < 0) return map_class_colour(SIZE_MAX);
  const double at = 4 * fmin(share, 1);
  const size_t from = at < 4 ? (size_t)at : 3;
  uint32_t out = 0;
  for (int channel = 0; channel < 3; channel++) {
    const int low = stops[from][channel], high = stops[from + 1][channel];
    out = out << 8 | (uint32_t)lround(low + (at - (double)from) * (high - low));
  }
  return out;
}

uint32_t map_colour_of(const map_job *j, size_t item) {
  if (j->colours == MAP_PLAIN) return map_class_colour(0);
  if (map_scale_of(j, j->colours)) return map_scale_colour(map_share_of(j, j->colours, item));
  return map_class_colour(map_class_of(j, j->colours, item));
}
