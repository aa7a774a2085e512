/* What ann.c needs of FAISS, in C. It is in a module of its own, made of faiss.cpp, that faiss_load.c loads when it is
 * first needed: FAISS's libraries take longer to load than all else, and need not be there. A vector's number in an
 * index is its row in the vector file. */
#ifndef KIN_FAISS_H
#define KIN_FAISS_H

#ifdef __cplusplus
extern "C" {
#endif

#include "index/centres.h"
#include "index/graph.h"

typedef struct kin_faiss kin_faiss;

/* The vectors and how they are compared. The file stays mapped while an index is used: an HNSW index of uncompressed
 * vectors holds its links alone, and reads the vectors there. */
typedef struct kin_faiss_rows {
  const kin_vectors *file;
  size_t dim;
  const float *(*at)(const kin_vectors *file, uint64_t row); /* kin_vectors_at */
  float (*dot)(const float *a, const float *b, size_t n);    /* kin_kernels' */
  void (*dot_four)(const float *query, const float *const rows[4], size_t dim, float out[4]);
  const kin_context *context;
  kin_graph *(*graph_new)(const kin_context *context, const kin_vectors *file, const kin_links *links,
                          const void *saved, size_t bytes); /* graph.h's */
  void (*graph_free)(kin_graph *graph);
  bool (*graph_renew)(kin_graph *graph, const kin_links *links);
  bool (*graph_link)(kin_graph *graph, const int32_t *list, size_t n, size_t ef);
  const struct kin_kernels *kernels;
  kin_centres *(*centres_new)(const struct kin_kernels *kernels, const float *vectors, size_t n, size_t dim,
                              bool by_distance); /* centres.h's */
  void (*centres_free)(kin_centres *centres);
  bool (*centres_nearest)(const kin_centres *centres, const float *queries, size_t n, size_t k, float *scores,
                          int64_t *found);
} kin_faiss_rows;

typedef struct kin_faiss_build {
  const char *factory; /* as FAISS's index_factory reads it */
  uint64_t rows;       /* from the first on */
  unsigned threads;
  bool (*on_progress)(void *user, const char *stage, uint64_t done, uint64_t total); /* may be NULL; false: stop */
  void *user;
} kin_faiss_build;

typedef struct kin_faiss_kind {
  bool lossless; /* it compares the vectors themselves, not something made smaller */
  bool graph;    /* there is HNSW in it */
  size_t lists;  /* of an IVF index; 0: another kind */
} kin_faiss_kind;

/* What the module gives; raise KIN_FAISS_INTERFACE with every change in this file. */
#define KIN_FAISS_INTERFACE 6
typedef struct kin_faiss_calls {
  int interface; /* KIN_FAISS_INTERFACE, as the module was built with */
  /* Train and fill an index. KIN_ERR_ARGUMENT for a factory string that FAISS can't read or too few rows for it,
   * KIN_ERR_CANCELLED. K-means, product quantizers and adding stop at once, other training when it is done. */
  kin_status (*make)(const kin_faiss_rows *rows, const kin_faiss_build *build, kin_faiss **out, kin_error *err);
  /* The index in FAISS's format, piece by piece; `write` returns false to stop, which is KIN_ERR_IO. */
  kin_status (*write)(kin_faiss *faiss, bool (*write)(void *user, const void *data, size_t size), void *user,
                      kin_error *err);
  /* Read one back. FAISS believes what it reads: the bytes must be known to be write's. */
  kin_status (*read)(const kin_faiss_rows *rows, const uint8_t *data, size_t size, kin_faiss **out, kin_error *err);
  void (*free)(kin_faiss *faiss); /* may be NULL */
  uint64_t (*count)(const kin_faiss *faiss);
  void (*describe)(const kin_faiss *faiss, kin_faiss_kind *out);
  /* Whether it is an HNSW graph over the vectors themselves, to be searched by kin_graph_search; *out is valid while
   * the index is. */
  bool (*get_links)(const kin_faiss *faiss, kin_links *out);
  /* The lists that a query looks into (IVF) and the candidates that a graph inside keeps, for the searches to come. An
   * index of another kind takes no notice. Not while it is searched. */
  kin_status (*set_effort)(kin_faiss *faiss, size_t probes, size_t ef, kin_error *err);
  /* About the k nearest rows of each query, best first, into rows[n][k], -1 where there are fewer. On the calling
   * thread alone; several may search at once. */
  kin_status (*search)(const kin_faiss *faiss, const float *queries, size_t n, size_t k, int64_t *rows, kin_error *err);
} kin_faiss_calls;

/* Load the module, which then stays loaded; again, it costs little. KIN_ERR_UNSUPPORTED: it isn't there, or what it
 * needs isn't; the message says what to install. */
kin_status kin_faiss_load(const kin_faiss_calls **out, kin_error *err);

/* The module's one symbol. */
KIN_API const kin_faiss_calls *kin_faiss_module(void);

#ifdef __cplusplus
}
#endif
#endif
