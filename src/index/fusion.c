/* Fusing two rankings, by rank or by score. */
#include "index/fusion.h"

#include <stdlib.h>
#include <string.h>

size_t kin_rank_of(kin_ranked list, const kin_match *match) {
  for (size_t i = 0; i < list.n; i++)
    if (list.matches[i].id == match->id && list.matches[i].row == match->row) return i + 1;
  return 0;
}

/* What the list gives to its match number i, for a share of the whole. */
static double part_of(kin_ranked list, size_t i, double share, bool by_rank) {
  if (by_rank) return 1.0 / (double)(KIN_FUSION_RANK + i + 1);
  double most = (double)list.matches[0].score, least = (double)list.matches[list.n - 1].score;
  return share * (most > least ? ((double)list.matches[i].score - least) / (most - least) : 1);
}

typedef struct part {
  int64_t id;
  uint64_t row;
  double score;
} part;

static int by_place(const void *left, const void *right) {
  const part *a = left, *b = right;
  if (a->id != b->id) return a->id < b->id ? -1 : 1;
  return (a->row > b->row) - (a->row < b->row);
}

static int by_score(const void *left, const void *right) {
  const part *a = left, *b = right;
  if (a->score != b->score) return a->score > b->score ? -1 : 1;
  return by_place(left, right);
}

static void add_list(kin_ranked list, double share, bool by_rank, part *parts) {
  for (size_t i = 0; i < list.n; i++)
    parts[i] = (part){list.matches[i].id, list.matches[i].row, part_of(list, i, share, by_rank)};
}

size_t kin_fuse(kin_ranked vectors, kin_ranked words, double weight, kin_match *out) {
  size_t all = vectors.n + words.n, n = 0;
  bool by_rank = weight < 0;
  part *parts = kin_array(all + 1, sizeof *parts);
  if (!parts) return SIZE_MAX;
  add_list(vectors, weight, by_rank, parts);
  add_list(words, 1 - weight, by_rank, parts + vectors.n);
  qsort(parts, all, sizeof *parts, by_place);
  for (size_t i = 0; i < all; i++) {
    if (n && by_place(&parts[n - 1], &parts[i]) == 0)
      parts[n - 1].score += parts[i].score;
    else
      parts[n++] = parts[i];
  }
  qsort(parts, n, sizeof *parts, by_score);
  for (size_t i = 0; i < n; i++) out[i] = (kin_match){parts[i].id, parts[i].row, (float)parts[i].score};
  free(parts);
  return n;
}
