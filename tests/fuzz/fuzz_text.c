/* Any bytes as a tokenizer.json and a text for it (behind a NUL byte); or, behind a byte that isn't '{', as a text for
 * one of the committed tokenizers. Run it in the source folder, or with KINDRED_SOURCE set to it. */
#include "text/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define N_TOKENIZERS 4

static kin_tokenizer *tokenizers[N_TOKENIZERS];
static char folder[64];

static void check(bool ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "%s\n", what);
  abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc;
  (void)argv;
  static const char *const names[N_TOKENIZERS] = {"bert-cased", "bert-files", "roberta", "unigram"};
  const char *source = getenv("KINDRED_SOURCE");
  for (size_t i = 0; i < N_TOKENIZERS; i++) {
    char *path = kin_format("%s/tests/parity/text/%s", source ? source : ".", names[i]);
    kin_error err = {0};
    check(path && kin_tokenizer_open(path, &tokenizers[i], &err) == KIN_OK, err.message);
    free(path);
  }
  snprintf(folder, sizeof folder, "/dev/shm/fuzz-text-%ld", (long)getpid());
  check(mkdir(folder, 0700) == 0, "no folder in /dev/shm");
  return 0;
}

/* Ids within the vocabulary, at most `limit`, and cut as the uncut ones begin. */
static void tokenize(const kin_tokenizer *t, const char *text, size_t size) {
  int32_t *whole, *cut;
  size_t n, m;
  kin_error err = {0};
  kin_status status = kin_tokenize(t, text, size, 0, &whole, &n, &err);
  if (status != KIN_OK) {
    check(err.status == status && err.message[0], "an error without its message");
    return;
  }
  for (size_t i = 0; i < n; i++)
    check(whole[i] >= 0 && (size_t)whole[i] < kin_tokenizer_vocabulary(t), "an id outside the vocabulary");
  if (kin_tokenize(t, text, size, 8, &cut, &m, &err) == KIN_OK) {
    check(m <= 8 && m <= n && (n > 8 || m == n), "cut wrongly");
    free(cut);
  }
  free(whole);
}

static void try_file(const uint8_t *data, size_t size) {
  static const char fixed[] = "Ein Text, \xEA\xB0\x80 <s> </s> [CLS] 42's\n";
  const uint8_t *end = memchr(data, 0, size);
  size_t json = end ? (size_t)(end - data) : size, text = end ? json + 1 : size;
  char path[96];
  snprintf(path, sizeof path, "%s/tokenizer.json", folder);
  FILE *file = fopen(path, "wb");
  check(file && fwrite(data, 1, json, file) == json && fclose(file) == 0, "no file in /dev/shm");
  kin_tokenizer *t = NULL;
  kin_error err = {0};
  kin_status status = kin_tokenizer_open(folder, &t, &err);
  check(status == KIN_OK || (err.status == status && err.message[0]), "an error without its message");
  if (status == KIN_OK) {
    tokenize(t, fixed, sizeof fixed - 1);
    tokenize(t, (const char *)data + text, size - text);
  }
  kin_tokenizer_close(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!size) return 0;
  if (data[0] == '{')
    try_file(data, size);
  else
    tokenize(tokenizers[data[0] % N_TOKENIZERS], (const char *)data + 1, size - 1);
  return 0;
}
