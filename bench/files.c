/* From files to vectors: ours, for bench/files.py, which runs the others beside it.
 *
 *   bench-files MODEL_DIR THREADS fp32|bf16|int8|auto [fast]
 *
 * Prints a line of JSON once the model is open, then answers each line "LIST OUT" of standard input with one: LIST is a
 * file of paths, one a line, OUT gets their vectors (float32, of length 1). encoder_share is the part of the time
 * during which the encoder was running; load_seconds is summed over the threads. */
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void die(const kin_error *err) {
  fprintf(stderr, "bench-files: %s\n", err->message);
  exit(1);
}

/* Cut `text` into lines; *n of them. */
static kin_image_source *cut_lines(char *text, size_t *n) {
  kin_image_source *sources = NULL;
  size_t capacity = 0;
  *n = 0;
  for (char *line; (line = strsep(&text, "\n")) && *line;) {
    if (!kin_grow((void **)&sources, &capacity, *n + 1, sizeof *sources)) die(&(kin_error){.message = "no memory"});
    sources[(*n)++] = (kin_image_source){.path = line};
  }
  return sources;
}

static void answer(kin_model *model, const char *list, const char *out, bool fast) {
  kin_error err;
  char *text;
  size_t size, n, dim = kin_model_dim(model);
  if (kin_read_file(list, (size_t)1 << 24, &text, &size, &err) != KIN_OK) die(&err);
  kin_image_source *sources = cut_lines(text, &n);
  float *rows = kin_array(n, dim * sizeof *rows);
  if (!rows) die(&(kin_error){.message = "no memory"});
  kin_embed_stats stats = {0};
  const kin_embed_options options = {.fast_decode = fast, .stats = &stats};
  if (kin_embed_images(model, sources, n, &options, rows, &err) != KIN_OK) die(&err);
  FILE *f = fopen(out, "wb");
  if (!f || fwrite(rows, dim * sizeof *rows, n, f) != n || fclose(f) != 0) perror(out), exit(1);
  printf("{\"seconds\": %.6f, \"files\": %zu, \"encoder_share\": %.4f, \"load_seconds\": %.6f, \"batches\": %zu}\n",
         stats.seconds, n, stats.encoder_seconds / stats.seconds, stats.load_seconds, stats.batches);
  fflush(stdout);
  free(rows), free(sources), free(text);
}

int main(int argc, char **argv) {
  if (argc < 4) return fprintf(stderr, "usage: bench-files MODEL_DIR THREADS fp32|bf16|int8|auto [fast]\n"), 2;
  const kin_context_options options = {.threads = (unsigned)atoi(argv[2])};
  kin_model_options model_options = {0};
  kin_context *context;
  kin_model *model;
  kin_error err;
  if (kin_precision_parse(argv[3], &model_options.precision, &err) != KIN_OK) die(&err);
  if (kin_context_open(&options, &context, &err) != KIN_OK) die(&err);
  if (kin_model_open_with(context, argv[1], &model_options, &model, &err) != KIN_OK) die(&err);
  printf("{\"engine\": \"kindred %s %s\"}\n", kin_context_isa_name(context), argv[3]);
  fflush(stdout);
  char line[8400], list[4096], out[4096];
  while (fgets(line, sizeof line, stdin))
    if (sscanf(line, "%4095s %4095s", list, out) == 2) answer(model, list, out, argc > 4);
  kin_model_close(model);
  kin_context_close(context);
  return 0;
}
