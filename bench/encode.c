/* Seconds that the encoders take on inputs already decoded or tokenized: ours, for bench/encode.py, which runs
 * the other engines beside it.
 *
 *   bench-encode MODEL_DIR THREADS [auto|scalar|avx2|avx512 [fp32|bf16|int8]]
 *
 * Prints a line of JSON once the model is open, then answers each line of standard input with one:
 *   images FILE N REPEAT           FILE holds N crops [size][size][3] of 8 bits, encoded as one batch
 *   tokens FILE N LENGTH REPEAT    FILE holds N rows of LENGTH int32 ids
 *   mixed FILE N LENGTH REPEAT     the same, padded; behind the rows N int32 true lengths
 * {"seconds": S} is the time of REPEAT such batches; the vectors (float32) go to FILE.kindred. */
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static _Noreturn void die(const kin_error *err) {
  fprintf(stderr, "bench-encode: %s\n", err->message);
  exit(1);
}

/* Encode the batch that `map` holds: texts if `length` is not 0, `mixed` with their true lengths. */
static kin_status encode(kin_model *model, const kin_map *map, size_t n, size_t length, bool mixed, float *out,
                         kin_error *err) {
  if (length == 0) {
    const kin_preprocess *p = kin_model_preprocess(model);
    if (p == NULL || map->size != n * p->crop_height * p->crop_width * 3)
      return kin_fail(err, KIN_ERR_ARGUMENT, "the crops don't fit the model");
    return kin_model_encode_images(model, map->data, n, out, err);
  }
  if (map->size != n * (length + mixed) * sizeof(int32_t))
    return kin_fail(err, KIN_ERR_ARGUMENT, "not %zu ids a row", length);
  const int32_t *rows = (const int32_t *)(const void *)map->data;
  const int32_t **ids = kin_array(n, sizeof *ids);
  size_t *lengths = kin_array(n, sizeof *lengths);
  kin_status status = KIN_ERR_MEMORY;
  for (size_t i = 0; ids != NULL && lengths != NULL && i < n; i++) {
    ids[i] = rows + i * length;
    lengths[i] = mixed ? (size_t)rows[n * length + i] : length;
  }
  if (ids != NULL && lengths != NULL) status = kin_model_encode_tokens(model, ids, lengths, n, out, err);
  free(ids), free(lengths);
  return status;
}

static void save(const char *path, const float *vectors, size_t n) {
  char *name = kin_format("%s.kindred", path);
  FILE *f = name == NULL ? NULL : fopen(name, "wb");
  if (f == NULL || fwrite(vectors, sizeof *vectors, n, f) != n || fclose(f) != 0) perror(name), exit(1);
  free(name);
}

static void answer(kin_model *model, const char *path, size_t n, size_t length, bool mixed, size_t repeat) {
  kin_error err;
  kin_map map;
  if (kin_map_open(path, &map, &err) != KIN_OK) die(&err);
  const size_t floats = n * kin_model_dim(model);
  float *out = kin_array(floats, sizeof *out);
  if (out == NULL) die(&(kin_error){KIN_ERR_MEMORY, "no memory"});
  const double start = now();
  for (size_t r = 0; r < repeat; r++)
    if (encode(model, &map, n, length, mixed, out, &err) != KIN_OK) die(&err);
  const double seconds = now() - start;
  save(path, out, floats);
  printf("{\"seconds\": %.6f}\n", seconds);
  fflush(stdout);
  free(out);
  kin_map_close(&map);
}

static kin_isa isa_of(const char *name) {
  static const char *const names[] = {"auto", "scalar", "avx2", "avx512"};
  for (int i = 0; i < 4; i++)
    if (strcmp(name, names[i]) == 0) return (kin_isa)i;
  fprintf(stderr, "bench-encode: no instruction set %s\n", name);
  exit(2);
}

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "usage: bench-encode MODEL_DIR THREADS [ISA [PRECISION]]\n"), 2;
  const kin_context_options options = {(unsigned)atoi(argv[2]), isa_of(argc > 3 ? argv[3] : "auto")};
  kin_context *context;
  kin_model *model;
  kin_error err;
  kin_model_options model_options = {0};
  if (argc > 4 && kin_precision_parse(argv[4], &model_options.precision, &err) != KIN_OK) die(&err);
  const double start = now();
  if (kin_context_open(&options, &context, &err) != KIN_OK) die(&err);
  if (kin_model_open_with(context, argv[1], &model_options, &model, &err) != KIN_OK) die(&err);
  printf("{\"open_seconds\": %.3f, \"engine\": \"kindred %s\"}\n", now() - start, kin_context_isa_name(context));
  fflush(stdout);
  char line[4400], path[4096];
  while (fgets(line, sizeof line, stdin) != NULL) {
    size_t n, length, repeat;
    if (sscanf(line, "images %4095s %zu %zu", path, &n, &repeat) == 3)
      answer(model, path, n, 0, false, repeat);
    else if (sscanf(line, "tokens %4095s %zu %zu %zu", path, &n, &length, &repeat) == 4)
      answer(model, path, n, length, false, repeat);
    else if (sscanf(line, "mixed %4095s %zu %zu %zu", path, &n, &length, &repeat) == 4)
      answer(model, path, n, length, true, repeat);
    else
      return fprintf(stderr, "bench-encode: what is %s", line), 2;
  }
  kin_model_close(model);
  kin_context_close(context);
  return 0;
}
