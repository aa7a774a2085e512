/* How many hits there are of each file or folder: a hash table with open addressing. */
#include "index/checksum.h"
#include "store/find.h"

#include <stdlib.h>
#include <string.h>

typedef struct group {
  char *name; /* NULL: the place is free */
  size_t size, count;
} group;

struct kin_groups {
  group *places; /* [capacity], a power of two */
  size_t capacity, n;
};

kin_groups *kin_groups_new(void) {
  kin_groups *g = calloc(1, sizeof *g);
  if (!g) return NULL;
  g->capacity = 64;
  g->places = calloc(g->capacity, sizeof *g->places);
  if (g->places) return g;
  free(g);
  return NULL;
}

void kin_groups_free(kin_groups *g) {
  if (!g) return;
  for (size_t i = 0; i < g->capacity; i++) free(g->places[i].name);
  free(g->places);
  free(g);
}

/* The place of the group, or the free one where it belongs. */
static group *place_of(group *places, size_t capacity, const void *name, size_t size) {
  size_t at = (size_t)kin_checksum(name, size, 0) & (capacity - 1);
  while (places[at].name && (places[at].size != size || memcmp(places[at].name, name, size) != 0))
    at = (at + 1) & (capacity - 1);
  return &places[at];
}

static bool make_room(kin_groups *g) {
  if (g->n < g->capacity / 2) return true;
  size_t capacity = g->capacity * 2;
  group *places = calloc(capacity, sizeof *places);
  if (!places) return false;
  for (size_t i = 0; i < g->capacity; i++)
    if (g->places[i].name) *place_of(places, capacity, g->places[i].name, g->places[i].size) = g->places[i];
  free(g->places);
  g->places = places;
  g->capacity = capacity;
  return true;
}

bool kin_groups_count(kin_groups *g, const void *name, size_t size, size_t *out) {
  if (!make_room(g)) return false;
  group *place = place_of(g->places, g->capacity, name, size);
  if (!place->name) {
    if (!(place->name = kin_array(size, 1))) return false;
    memcpy(place->name, name, size);
    place->size = size;
    g->n++;
  }
  *out = ++place->count;
  return true;
}
