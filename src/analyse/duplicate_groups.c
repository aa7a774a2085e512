/* From joined originals to groups, each copy of which was compared with the group's best. */
#include "analyse/duplicates.h"

#include <stdlib.h>
#include <string.h>

typedef struct grouping {
  kin_dup_search *s;
  size_t *originals; /* [n] by component, best first */
  size_t n;
  kin_dup_relation *relations; /* [n] to the best of the group that is made */
  size_t *links;               /* [s->n]: the next item that is the same file; of a file the first */
  kin_duplicates *out;
  size_t groups, copies, group_capacity, copy_capacity;
} grouping;

static int compare(uint64_t a, uint64_t b) {
  return (a > b) - (a < b);
}

static uint64_t pixels_of(const kin_dup_search *s, const kin_dup_entry *e) {
  const kin_sketch *sketch = &s->entries[e->original].sketch;
  return (uint64_t)sketch->width * sketch->height;
}

/* Less than 0: the first is to be kept rather than the second. */
static int by_quality(const kin_dup_search *s, size_t a, size_t b) {
  const kin_dup_entry *x = &s->entries[a], *y = &s->entries[b];
  int order = compare(pixels_of(s, y), pixels_of(s, x));
  if (!order) order = compare(y->bytes, x->bytes);
  if (!order) order = compare(x->is_symlink, y->is_symlink);
  if (!order) order = (x->mtime_ns > y->mtime_ns) - (x->mtime_ns < y->mtime_ns);
  return order ? order : compare(a, b);
}

static int by_component(const void *a, const void *b, void *arg) {
  const kin_dup_search *s = arg;
  const size_t x = *(const size_t *)a, y = *(const size_t *)b;
  const int order = compare(s->entries[x].parent, s->entries[y].parent);
  return order ? order : by_quality(s, x, y);
}

/* ------------------------------------------------------------------ writing */

static bool add_copy(grouping *g, kin_copy copy) {
  kin_duplicates *out = g->out;
  if (!kin_grow((void **)&out->copies, &g->copy_capacity, g->copies + 1, sizeof *out->copies)) return false;
  out->copies[g->copies++] = copy;
  return true;
}

/* The item, and then those that are the same file. */
static bool add_file(grouping *g, size_t item, size_t best, kin_copy_kind kind, const kin_dup_relation *relation) {
  const kin_dup_search *s = g->s;
  const kin_dup_entry *e = &s->entries[item], *original = &s->entries[e->original];
  kin_copy copy = {.item = item,
                   .kind = kind,
                   .cosine = kin_dup_cosine(s, item, best),
                   .likeness = relation ? relation->likeness : 1,
                   .share = relation ? relation->share : 1,
                   .width = original->sketch.width,
                   .height = original->sketch.height,
                   .bytes = e->bytes,
                   .mtime_ns = e->mtime_ns};
  memcpy(copy.sha256, e->sha256, sizeof copy.sha256);
  if (relation && original->sketch.grey)
    copy.hash_distance =
        (unsigned)__builtin_popcountll(original->sketch.hash ^ s->entries[s->entries[best].original].sketch.hash);
  if (!add_copy(g, copy)) return false;
  copy.kind = KIN_COPY_LINK;
  for (size_t link = g->links[item]; link != SIZE_MAX; link = g->links[link]) {
    copy.item = link;
    if (!add_copy(g, copy)) return false;
  }
  return true;
}

/* An original and all of its bytes. */
static bool add_same_bytes(grouping *g, size_t original, size_t best, kin_copy_kind kind,
                           const kin_dup_relation *relation) {
  for (size_t item = original; item != SIZE_MAX; item = g->s->entries[item].next)
    if (item != best && g->s->entries[item].usable && !add_file(g, item, best, kind, relation)) return false;
  return true;
}

/* Which file of these bytes to keep. */
static size_t best_of_bytes(const kin_dup_search *s, size_t original) {
  size_t best = SIZE_MAX;
  for (size_t item = original; item != SIZE_MAX; item = s->entries[item].next)
    if (s->entries[item].usable && (best == SIZE_MAX || by_quality(s, item, best) < 0)) best = item;
  return best;
}

/* ----------------------------------------------------------------- grouping */

static bool is_moved(const kin_dup_relation *r) {
  return r->related && (r->kind == KIN_COPY_MIRRORED || r->kind == KIN_COPY_TURNED);
}

/* A copy or a part, neither mirrored nor turned. */
static bool is_upright(const kin_dup_relation *r) {
  return r->related && !r->has_more && (r->kind == KIN_COPY_PICTURE || r->kind == KIN_COPY_PART);
}

/* Write how all are to the best; returns one that the best is a part of, or SIZE_MAX. */
static size_t relate_all(grouping *g, const size_t *members, size_t n, size_t best) {
  size_t larger = SIZE_MAX;
  for (size_t i = 0; i < n; i++) {
    g->relations[i] = i == best ? (kin_dup_relation){0} : kin_dup_relate(g->s, members[i], members[best]);
    if (larger == SIZE_MAX && g->relations[i].related && g->relations[i].has_more) larger = i;
  }
  return larger;
}

static size_t count_upright(const grouping *g, size_t n) {
  size_t count = 0;
  for (size_t i = 0; i < n; i++) count += is_upright(&g->relations[i]);
  return count;
}

/* Of twins of as many pixels, one the other mirrored or turned, the original is taken to be that which most others
 * match as they are. */
static size_t choose_twin(grouping *g, const size_t *members, size_t n, size_t best) {
  const uint64_t pixels = pixels_of(g->s, &g->s->entries[members[best]]);
  size_t most = count_upright(g, n), related_to = best;
  bool twins = false;
  for (size_t i = 0; i < n; i++)
    twins |= is_moved(&g->relations[i]) && pixels_of(g->s, &g->s->entries[members[i]]) == pixels;
  for (size_t i = 0; twins && i < n; i++) {
    if (i == best || pixels_of(g->s, &g->s->entries[members[i]]) != pixels) continue;
    const kin_dup_relation twin = kin_dup_relate(g->s, members[i], members[best]);
    if (!is_moved(&twin)) continue;
    const size_t larger = relate_all(g, members, n, i), count = count_upright(g, n);
    related_to = i;
    if (larger == SIZE_MAX && count > most) best = i, most = count;
  }
  if (related_to != best) relate_all(g, members, n, best);
  return best;
}

/* The original that the others of its kind are copies of: relations to it are then known. */
static size_t choose_best(grouping *g, const size_t *members, size_t n) {
  size_t best = 0, larger = SIZE_MAX;
  for (size_t round = 0; round < n && (larger = relate_all(g, members, n, best)) != SIZE_MAX; round++) best = larger;
  return choose_twin(g, members, n, best);
}

/* How one is to the best, from how it is to another (`there`) and that to the best; unrelated where that tells nothing.
 */
static kin_dup_relation through(const kin_dup_relation *own, const kin_dup_relation *there) {
  kin_dup_relation relation = *there;
  relation.vouched = true;
  if (is_upright(own) && is_moved(there)) return relation;
  if (is_moved(own) && is_upright(there)) {
    if (there->kind == KIN_COPY_PICTURE) relation.kind = own->kind;
    return relation;
  }
  return (kin_dup_relation){0};
}

/* What is mirrored or turned is only recognised whole, so a part of it isn't like the best one, nor is it itself where
 * the best one shows more, a frame say: then what is a copy of the best one vouches for it. */
static void vouch(grouping *g, const size_t *members, size_t n, size_t best) {
  for (size_t i = 0; i < n; i++) {
    if (i == best || g->relations[i].related) continue;
    for (size_t j = 0; j < n && !g->relations[i].related; j++) {
      const kin_dup_relation *own = &g->relations[j];
      if (own->vouched || !(is_upright(own) || is_moved(own))) continue;
      const kin_dup_relation there = kin_dup_relate(g->s, members[i], members[j]);
      g->relations[i] = through(own, &there);
    }
  }
}

/* Make a group of the best of members[*n] and its copies; those that are none stay. */
static bool take_group(grouping *g, size_t *members, size_t *n) {
  const size_t best = choose_best(g, members, *n), kept = best_of_bytes(g->s, members[best]), begin = g->copies;
  vouch(g, members, *n, best);
  bool ok =
      add_file(g, kept, kept, KIN_COPY_BEST, NULL) && add_same_bytes(g, members[best], kept, KIN_COPY_BYTES, NULL);
  size_t left = 0, gained = 0;
  for (size_t i = 0; ok && i < *n; i++) {
    const kin_dup_relation *relation = &g->relations[i];
    if (i == best) continue;
    if (relation->related && !relation->has_more)
      ok = add_same_bytes(g, members[i], kept, relation->kind, relation);
    else
      members[left++] = members[i];
  }
  *n = left;
  for (size_t i = begin + 1; i < g->copies; i++) gained += g->out->copies[i].kind != KIN_COPY_LINK;
  if (!gained) g->copies = begin;
  if (!ok || !gained) return ok;
  if (!kin_grow((void **)&g->out->first, &g->group_capacity, g->groups + 2, sizeof *g->out->first)) return false;
  g->out->first[g->groups++] = begin;
  return true;
}

static kin_status make_groups(grouping *g, kin_error *err) {
  const kin_dup_entry *entries = g->s->entries;
  for (size_t i = 0, end; i < g->n; i = end) {
    for (end = i + 1; end < g->n && entries[g->originals[end]].parent == entries[g->originals[i]].parent;) end++;
    for (size_t left = end - i; left > 0;)
      if (!take_group(g, g->originals + i, &left))
        return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the duplicates of %zu items", g->s->n);
  }
  if (g->groups) g->out->first[g->groups] = g->copies;
  g->out->n_groups = g->groups;
  return KIN_OK;
}

/* The originals that have copies, by component; and all their files, to be hashed. */
static size_t collect(grouping *g, size_t *files) {
  kin_dup_search *s = g->s;
  size_t n = 0;
  for (size_t i = 0; i < s->n; i++) s->entries[i].parent = kin_dup_root(s->entries, i);
  for (size_t i = 0; i < s->n; i++)
    if (s->entries[i].usable && s->entries[i].link == KIN_NOT_LINKED && s->entries[i].original == i)
      g->originals[g->n++] = i;
  qsort_r(g->originals, g->n, sizeof *g->originals, by_component, s);
  size_t kept = 0;
  for (size_t i = 0; i < g->n; i++) {
    const size_t item = g->originals[i], parent = s->entries[item].parent;
    const bool joined = (i > 0 && kept && s->entries[g->originals[kept - 1]].parent == parent) ||
                        (i + 1 < g->n && s->entries[g->originals[i + 1]].parent == parent);
    if (!joined && s->entries[item].next == SIZE_MAX) continue;
    g->originals[kept++] = item;
    for (size_t file = item; file != SIZE_MAX; file = s->entries[file].next)
      if (s->items[file].path) files[n++] = file;
  }
  g->n = kept;
  return n;
}

static void drop_gone(grouping *g) {
  size_t kept = 0;
  for (size_t i = 0; i < g->n; i++)
    if (best_of_bytes(g->s, g->originals[i]) != SIZE_MAX) g->originals[kept++] = g->originals[i];
  g->n = kept;
}

static void chain_links(grouping *g) {
  for (size_t i = 0; i < g->s->n; i++) g->links[i] = SIZE_MAX;
  for (size_t i = g->s->n; i-- > 0;) {
    const size_t file = g->s->entries[i].link;
    if (file == KIN_NOT_LINKED) continue;
    g->links[i] = g->links[file], g->links[file] = i;
  }
}

kin_status kin_dup_group(kin_dup_search *s, kin_duplicates *out, kin_error *err) {
  grouping g = {.s = s, .out = out};
  g.originals = calloc(s->n + 1, sizeof *g.originals), g.relations = calloc(s->n + 1, sizeof *g.relations);
  g.links = calloc(s->n + 1, sizeof *g.links);
  size_t *files = calloc(s->n + 1, sizeof *files);
  kin_status status = KIN_OK;
  if (!g.originals || !g.relations || !g.links || !files)
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory for the duplicates of %zu items", s->n);
  if (status == KIN_OK) chain_links(&g);
  if (status == KIN_OK) status = kin_dup_hash(s, files, collect(&g, files), err);
  if (status == KIN_OK) {
    drop_gone(&g);
    status = make_groups(&g, err);
  }
  free(g.originals), free(g.relations), free(g.links), free(files);
  return status;
}
