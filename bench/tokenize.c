/* How fast a tokenizer opens and tokenizes on one thread: bench-tokenize FOLDER FILE SECONDS, one text a line of FILE.
 * Prints one line of JSON; bench/tokenize_speed.py compares it with the peer. Times are CPU time. */
#include "text/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Tokens of the whole file, or SIZE_MAX after an error. */
static size_t tokenize_all(const kin_tokenizer *t, const char *text, size_t size, kin_error *err) {
  size_t tokens = 0;
  for (const char *line = text, *end = text + size; line < end;) {
    const char *stop = memchr(line, '\n', (size_t)(end - line));
    if (!stop) stop = end;
    int32_t *ids;
    size_t n;
    if (kin_tokenize(t, line, (size_t)(stop - line), 0, &ids, &n, err) != KIN_OK) return SIZE_MAX;
    free(ids);
    tokens += n;
    line = stop + 1;
  }
  return tokens;
}

int main(int argc, char **argv) {
  kin_error err = {0};
  kin_tokenizer *t = NULL;
  char *text = NULL;
  size_t size, tokens = 0;
  if (argc != 4) {
    fprintf(stderr, "usage: bench-tokenize FOLDER FILE SECONDS\n");
    return 2;
  }
  double start = seconds();
  if (kin_tokenizer_open(argv[1], &t, &err) != KIN_OK ||
      kin_read_file(argv[2], (size_t)1 << 30, &text, &size, &err) != KIN_OK)
    goto failed;
  double opened = seconds(), spent;
  size_t rounds = 0;
  do {
    tokens = tokenize_all(t, text, size, &err);
    if (tokens == SIZE_MAX) goto failed;
    rounds++;
    spent = seconds() - opened;
  } while (spent < atof(argv[3]));
  printf("{\"open_ms\": %.1f, \"mb_per_s\": %.2f, \"tokens\": %zu}\n", 1e3 * (opened - start),
         1e-6 * (double)size * (double)rounds / spent, tokens);
  free(text);
  kin_tokenizer_close(t);
  return 0;
failed:
  fprintf(stderr, "bench-tokenize: %s\n", err.message);
  free(text);
  kin_tokenizer_close(t);
  return 1;
}
