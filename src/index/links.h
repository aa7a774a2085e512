/* The search of an HNSW graph whose vectors lie in the vector file (Malkov and Yashunin, 2016), as FAISS has it; but
 * the vectors of a vertex's neighbours are on their way from memory before they are compared, which is most of the
 * time. */
#ifndef KIN_LINKS_H
#define KIN_LINKS_H

#include "index/vectors.h"

/* A graph over the first `rows` rows. The neighbours of row r at level l are neighbours[offsets[r] + starts[l]] to
 * [offsets[r] + starts[l + 1]], ended by -1 where they are fewer. */
typedef struct kin_links {
  const int32_t *neighbours;
  const size_t *offsets;
  const int *starts;
  int entry, top; /* a row, and the highest level, that it is at */
  uint64_t rows;
} kin_links;

typedef float kin_links_dot(const float *a, const float *b, size_t n);

/* What a thread needs for its searches; any number of them, one after another. */
typedef struct kin_links_room kin_links_room;
kin_links_room *kin_links_room_new(const kin_links *links, size_t ef);
void kin_links_room_free(kin_links_room *room);

/* About the k nearest rows to `query`, best first, into out[k], -1 where there are fewer. Of all that it meets it keeps
 * the best `ef`, that of the room: at least k. */
void kin_links_search(const kin_links *links, const kin_vectors *file, kin_links_dot *dot, kin_links_room *room,
                      const float *query, size_t k, int64_t *out);

#endif
