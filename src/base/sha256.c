/* SHA-256 by libcrypto, which uses the CPU's own instructions for it. */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

struct kin_sha256 {
  EVP_MD_CTX *context;
};

kin_sha256 *kin_sha256_new(void) {
  kin_sha256 *h = malloc(sizeof *h);
  if (!h) return NULL;
  h->context = EVP_MD_CTX_new();
  if (!h->context || !EVP_DigestInit_ex(h->context, EVP_sha256(), NULL)) {
    EVP_MD_CTX_free(h->context);
    free(h);
    return NULL;
  }
  return h;
}

void kin_sha256_update(kin_sha256 *h, const void *data, size_t size) {
  EVP_DigestUpdate(h->context, data, size);
}

void kin_sha256_finish(kin_sha256 *h, char hex[65]) {
  unsigned char digest[EVP_MAX_MD_SIZE] = {0};
  EVP_DigestFinal_ex(h->context, digest, NULL);
  for (size_t i = 0; i < 32; i++) {
    hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
    hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
  }
  hex[64] = '\0';
  EVP_MD_CTX_free(h->context);
  free(h);
}

kin_status kin_sha256_file(const char *path, char hex[65], uint64_t *size_out, kin_error *err) {
  enum { BUFFER = 1 << 18 };
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return kin_fail_errno(err, errno, "%s", path);
  kin_sha256 *h = kin_sha256_new();
  unsigned char *buffer = malloc(BUFFER);
  kin_status status = KIN_OK;
  uint64_t size = 0;
  if (!h || !buffer) status = kin_fail(err, KIN_ERR_MEMORY, "%s: no memory to hash it", path);
  while (status == KIN_OK) {
    ssize_t n = read(fd, buffer, BUFFER);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) status = kin_fail_errno(err, errno, "%s", path);
    if (n <= 0) break;
    kin_sha256_update(h, buffer, (size_t)n);
    size += (uint64_t)n;
  }
  if (h) kin_sha256_finish(h, hex);
  free(buffer);
  close(fd);
  if (size_out) *size_out = size;
  return status;
}
