/* libFuzzer target: any bytes as a text file of any format, cut into passages. The first byte chooses the format. */
#include "document/chunker.h"
#include "text/unicode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static kin_status count(void *user, const char *text, size_t size, size_t *out, kin_error *err) {
  (void)user;
  (void)err;
  if (kin_utf8_check(text, size) != size || memchr(text, '\0', size)) abort();
  *out = 2 + (size + 2) / 3;
  return KIN_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char path[32];
  int fd = memfd_create("fuzz", MFD_CLOEXEC);
  if (size < 1 || fd < 0 || write(fd, data + 1, size - 1) != (ssize_t)(size - 1)) {
    close(fd);
    return 0;
  }
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  kin_document *document;
  kin_chunker *chunker;
  kin_token_counter counter = {count, NULL, 20};
  kin_document_format format = (kin_document_format)(KIN_DOCUMENT_PLAIN + data[0] % KIN_DOCUMENT_CSV);
  if (kin_document_open(path, format, data[0] >= 128 ? "1" : NULL, &document, NULL) == KIN_OK) {
    if (kin_chunker_open(document, &counter, &chunker, NULL) == KIN_OK) {
      kin_chunk chunk;
      while (kin_chunker_next(chunker, &chunk, NULL) == KIN_OK && chunk.text)
        if (!chunk.size || strlen(chunk.text) != chunk.size || chunk.offset > size) abort();
      kin_chunker_close(chunker);
    }
    kin_document_close(document);
  }
  close(fd);
  return 0;
}
