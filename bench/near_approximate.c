/* bench-near_approximate VECTORS [exact]: how long approximate neighbours take, those that duplicates are looked for
 * among and nearly all, and the exact ones, and in how many of the planted copies each finds the other. A tenth of the
 * vectors, 512 floats around a plane of 24 dimensions, are copies of others with some noise. */
#include "kindred.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { DIM = 512, LATENT = 24, NEIGHBOURS = 16 };

static double now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* About normal, of variance 1/3. */
static float noise(uint64_t *state) {
  float sum = 0;
  for (int i = 0; i < 4; i++) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    sum += (float)(*state >> 40) * 0x1p-24f - 0.5f;
  }
  return sum;
}

static double fill(float *values, size_t n, size_t copies) {
  static float plane[LATENT][DIM];
  uint64_t state = 1;
  double cosines = 0;
  for (size_t i = 0; i < LATENT * DIM; i++) plane[i / DIM][i % DIM] = noise(&state);
  for (size_t i = 0; i < n - copies; i++) {
    float *row = values + i * DIM;
    for (size_t d = 0; d < DIM; d++) row[d] = 0.6f * noise(&state);
    for (size_t l = 0; l < LATENT; l++) {
      const float along = 0.5f * noise(&state);
      for (size_t d = 0; d < DIM; d++) row[d] += along * plane[l][d];
    }
  }
  for (size_t i = 0; i < copies; i++) {
    const float *row = values + i * DIM;
    float *copy = values + (n - 1 - i) * DIM;
    double dot = 0, own = 0, other = 0;
    for (size_t d = 0; d < DIM; d++) {
      const double x = (double)row[d], y = (double)(copy[d] = row[d] + 0.45f * noise(&state));
      dot += x * y, own += x * x, other += y * y;
    }
    cosines += dot / sqrt(own * other);
  }
  return cosines / (double)copies;
}

static size_t count_found(const kin_near *near, size_t n, size_t copies) {
  size_t found = 0;
  for (size_t i = 0; i < copies; i++)
    for (size_t j = 0; j < NEIGHBOURS; j++) found += near[i * NEIGHBOURS + j].index == n - 1 - i;
  return found;
}

int main(int argc, char **argv) {
  const size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 60000, copies = n / 10;
  float *values = n >= 100 ? calloc(n, DIM * sizeof *values) : NULL;
  kin_near *near = calloc(n + 1, NEIGHBOURS * sizeof *near);
  kin_context *context = NULL;
  kin_error err = {0};
  if (!values || !near || kin_context_open(NULL, &context, &err) != KIN_OK) {
    fprintf(stderr, "at least 100 vectors, and memory for them, are needed %s\n", err.message);
    return 1;
  }
  printf("%zu vectors, %zu copies of mean cosine %.3f\n", n, copies, fill(values, n, copies));
  const kin_vector_set set = {values, n, DIM};
  kin_status status = KIN_OK;
  static const char *const ways[] = {"85% of them", "97% of them", "exact"};
  for (int way = 0; way < (argc > 2 ? 3 : 2) && status == KIN_OK; way++) {
    const kin_near_options options = {.metric = KIN_METRIC_COSINE,
                                      .k = NEIGHBOURS,
                                      .search = way == 2 ? KIN_NEAR_EXACT : KIN_NEAR_APPROXIMATE,
                                      .enough = way == 0 ? 0.85 : 0};
    double recall = 0;
    const double start = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    status = kin_near_others(context, &set, &options, near, &recall, &err);
    const double seconds = now(CLOCK_MONOTONIC) - start, used = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("%s %.1f s, %.1f s of CPU, %zu found, recall %.4f\n", ways[way], seconds, used, count_found(near, n, copies),
           recall);
  }
  if (status != KIN_OK) fprintf(stderr, "%s\n", err.message);
  free(values), free(near);
  kin_context_close(context);
  return status == KIN_OK ? 0 : 1;
}
