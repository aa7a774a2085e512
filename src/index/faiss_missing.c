/* A build without FAISS. */
#include "index/faiss.h"

static kin_status missing(kin_error *err) {
  return kin_fail(
      err, KIN_ERR_UNSUPPORTED,
      "this build has no FAISS: install libfaiss-dev and libopenblas-dev, then build again; or search exactly "
      "(--ann off)");
}

bool kin_faiss_is_there(void) {
  return false;
}

kin_status kin_faiss_make(const kin_faiss_rows *rows, const kin_faiss_build *build, kin_faiss **out, kin_error *err) {
  (void)rows, (void)build;
  *out = NULL;
  return missing(err);
}

kin_status kin_faiss_write(kin_faiss *faiss, bool (*write)(void *user, const void *data, size_t size), void *user,
                           kin_error *err) {
  (void)faiss, (void)write, (void)user;
  return missing(err);
}

kin_status kin_faiss_read(const kin_faiss_rows *rows, const uint8_t *data, size_t size, kin_faiss **out,
                          kin_error *err) {
  (void)rows, (void)data, (void)size;
  *out = NULL;
  return missing(err);
}

void kin_faiss_free(kin_faiss *faiss) {
  (void)faiss;
}

uint64_t kin_faiss_count(const kin_faiss *faiss) {
  (void)faiss;
  return 0;
}

bool kin_faiss_is_lossless(const kin_faiss *faiss) {
  (void)faiss;
  return false;
}

bool kin_faiss_get_links(const kin_faiss *faiss, kin_links *out) {
  (void)faiss, (void)out;
  return false;
}

kin_status kin_faiss_set_effort(kin_faiss *faiss, size_t probes, size_t ef, kin_error *err) {
  (void)faiss, (void)probes, (void)ef;
  return missing(err);
}

kin_status kin_faiss_search(const kin_faiss *faiss, const float *queries, size_t n, size_t k, int64_t *rows,
                            kin_error *err) {
  (void)faiss, (void)queries, (void)n, (void)k, (void)rows;
  return missing(err);
}
