/* The search of an HNSW graph whose vectors lie in the vector file (Malkov and Yashunin, 2016). Other than FAISS, which
 * goes down to the lowest level at one vertex, it keeps several of the best at every level: where vectors lie in tight
 * clusters, whose links stay among themselves, one vertex often leads to the wrong cluster (docs/ann.md). And the first
 * lines of all of a vertex's new neighbours are asked for before one is compared, so that they are found in memory side
 * by side, which is most of the time. */
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

typedef void kin_links_dots(const float *query, const float *const rows[4], size_t dim, float out[4]); /* dot_four */

/* Rows kept above the lowest level, at most: more find no more (docs/ann.md). */
#define KIN_LINKS_UPPER_EF 32

/* What a thread needs for its searches; any number of them, one after another. */
typedef struct kin_links_room kin_links_room;
kin_links_room *kin_links_room_new(const kin_links *links, size_t ef);
void kin_links_room_free(kin_links_room *room);
/* For the searches to come; false: out of memory. */
bool kin_links_room_set_ef(kin_links_room *room, size_t ef);

/* About the k nearest rows to `query`, best first, into out[k], -1 where there are fewer. Of all that it meets it keeps
 * the best `ef`, that of the room: at least k. The graph is walked as if the row `without` weren't in it, but where the
 * walk begins; -1: none. */
void kin_links_search(const kin_links *links, const kin_vectors *file, kin_links_dots *dots, kin_links_room *room,
                      const float *query, int64_t without, size_t k, int64_t *out);
/* About the nearest row to `query` of those above the lowest level; at each the best `ef` are kept. */
int32_t kin_links_descend(const kin_links *links, const kin_vectors *file, kin_links_dots *dots, kin_links_room *room,
                          const float *query);
/* Vectors that the room's last search compared with its query. */
uint64_t kin_links_compared(const kin_links_room *room);

#endif
