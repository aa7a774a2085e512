/* Milliseconds of one thread from a file in memory to the encoder's crop, of each step and in one go.
 *
 *   bench-preprocess FILE...
 *
 * Prints a line of JSON a step, the mean over the files of the best of five rounds: "decode" gives all pixels,
 * "resize" CLIP's crop of them, "crop" does both in one go, "fast crop" so with a reduced decode. */
#include "image/image.h"
#include "kernel/resize.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const kin_preprocess clip = {.resize = true,
                                    .shortest_edge = 224,
                                    .filter = KIN_FILTER_BICUBIC,
                                    .center_crop = true,
                                    .crop_width = 224,
                                    .crop_height = 224};

typedef struct job {
  const char *path;
  kin_map map;
  kin_image image;
  uint8_t out[224 * 224 * 3];
} job;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(kin_status status, const kin_error *err) {
  if (status == KIN_OK) return;
  fprintf(stderr, "bench-preprocess: %s\n", err->message);
  exit(1);
}

static void decode(job *j) {
  kin_error err;
  kin_image_free(&j->image);
  check(kin_image_decode(j->map.data, j->map.size, j->path, 0, &j->image, &err), &err);
}

static void resize(job *j) {
  kin_error err;
  check(kin_preprocess_run(&clip, &j->image, j->out, &err), &err);
}

static void crop_with(job *j, bool fast) {
  kin_error err;
  uint32_t width, height;
  const kin_crop_options options = {.fast = fast};
  check(kin_image_crop(&clip, j->map.data, j->map.size, j->path, &options, j->out, &width, &height, &err), &err);
}

static void crop(job *j) {
  crop_with(j, false);
}

static void fast_crop(job *j) {
  crop_with(j, true);
}

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    void (*run)(job *j);
  } steps[] = {{"decode", decode}, {"resize", resize}, {"crop", crop}, {"fast crop", fast_crop}};
  enum { STEPS = sizeof steps / sizeof *steps, ROUNDS = 5 };
  double total[STEPS] = {0};
  for (int i = 1; i < argc; i++) {
    job *j = calloc(1, sizeof *j);
    kin_error err;
    if (!j) return 1;
    j->path = argv[i];
    check(kin_map_open(argv[i], &j->map, &err), &err);
    for (size_t s = 0; s < STEPS; s++) {
      double best = 1e30;
      for (int round = 0; round < ROUNDS; round++) {
        const double start = now();
        steps[s].run(j);
        if (now() - start < best) best = now() - start;
      }
      total[s] += best;
    }
    kin_image_free(&j->image);
    kin_map_close(&j->map);
    free(j);
  }
  for (size_t s = 0; s < STEPS; s++)
    printf("{\"step\": \"%s\", \"isa\": \"%s\", \"files\": %d, \"ms\": %.3f}\n", steps[s].name,
           kin_resize_kernels_for(KIN_ISA_AUTO)->name, argc - 1, total[s] / (argc - 1) * 1e3);
  return 0;
}
