/* libFuzzer target: any bytes as a picture's file with captions, which then are cut into words. */
#include "image/captions.h"
#include "text/search_tokens.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool on_token(void *user, const kin_search_token *token) {
  (void)user;
  if (!token->size) abort();
  return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text;
  if (kin_image_find_captions(data, size, &text, NULL) == KIN_OK && text)
    kin_search_tokens(text, strlen(text), on_token, NULL, NULL);
  free(text);
  kin_search_tokens((const char *)data, size, on_token, NULL, NULL);
  kin_search_path_tokens((const char *)data, size, on_token, NULL, NULL);
  return 0;
}
