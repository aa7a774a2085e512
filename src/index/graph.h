/* An HNSW graph whose vectors lie in the vector file (Malkov and Yashunin, 2016): searching it, and linking rows into
 * its lowest level. Other than FAISS, a walk doesn't go down to the lowest level at one vertex, but keeps several of
 * the best at every level: where vectors lie in tight clusters, whose links stay among themselves, one vertex often
 * leads to the wrong cluster (docs/ann.md). For that there is a copy of what lies above the lowest level, one vertex in
 * so many, with vectors of 8 bits: most of a walk's time is memory's. */
#ifndef KIN_GRAPH_H
#define KIN_GRAPH_H

#include "index/vectors.h"

/* A graph over the first `rows` rows. The neighbours of row r at level l are neighbours[offsets[r] + starts[l]] to
 * [offsets[r] + starts[l + 1]], ended by -1 where they are fewer. Above the lowest level there are as many at each. */
typedef struct kin_links {
  int32_t *neighbours;
  const size_t *offsets; /* [rows + 1] */
  const int *starts;
  int entry, top; /* a row, and the highest level, that it is at */
  uint64_t rows;
} kin_links;

typedef struct kin_graph kin_graph;

/* `file`, which is mapped, must stay where it is, and what `links` points to until the graph is renewed. `saved` (of
 * `bytes`, 0: none) is what kin_graph_write wrote of the same vectors, and saves reading them. NULL: out of memory. */
kin_graph *kin_graph_new(const kin_context *context, const kin_vectors *file, const kin_links *links, const void *saved,
                         size_t bytes);
/* The codes of the vectors above the lowest level, in pieces; false: `write` returned that. */
bool kin_graph_write(const kin_graph *graph, bool (*write)(void *user, const void *data, size_t size), void *user);
/* Take over what was linked above the lowest level, and rows added, since it was made; false: out of memory. Not while
 * the graph is walked. */
bool kin_graph_renew(kin_graph *graph, const kin_links *links);
void kin_graph_free(kin_graph *graph);

/* Vertices kept above the lowest level, at most: more find no more (docs/ann.md). */
#define KIN_GRAPH_UPPER_EF 32

/* What a thread needs for its searches; any number of them, one after another. */
typedef struct kin_graph_room kin_graph_room;
kin_graph_room *kin_graph_room_new(const kin_graph *graph, size_t ef);
void kin_graph_room_free(kin_graph_room *room);
/* For the searches to come; false: out of memory. */
bool kin_graph_room_set_ef(kin_graph_room *room, size_t ef);

/* About the k nearest rows to `query`, best first, into out[k], -1 where there are fewer. Of all that it meets it keeps
 * the best `ef`, that of the room: at least k. The graph is walked as if the row `without` weren't in it, but where the
 * walk begins; -1: none. */
void kin_graph_search(const kin_graph *graph, kin_graph_room *room, const float *query, int64_t without, size_t k,
                      int64_t *out);
/* Vectors that the room's last search compared with its query. */
uint64_t kin_graph_compared(const kin_graph_room *room);

/* Link rows list[n], whose highest level is the lowest one, on the context's pool, keeping the best `ef` that a search
 * meets for each. The graph must have been renewed since others were linked. False: out of memory. */
bool kin_graph_link(kin_graph *graph, const int32_t *list, size_t n, size_t ef);

#endif
