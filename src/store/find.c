/* kin_store_find: the ranking, then groups, diversity and the page asked for. */
#include "store/find.h"

#include "index/fusion.h"
#include "kernel/kernel.h"
#include "store/elastic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_POOL 100
#define MOST_POOL 10000
#define PREPARED 256 /* matches whose folders are read at once */

struct kin_hits {
  size_t n;
  kin_hit hits[];
};

size_t kin_hits_count(const kin_hits *hits) {
  return hits->n;
}

const kin_hit *kin_hits_get(const kin_hits *hits, size_t i) {
  return i < hits->n ? &hits->hits[i] : NULL;
}

static void hit_free(kin_hit *hit) {
  free(hit->path);
  free(hit->passage);
}

void kin_hits_close(kin_hits *hits) {
  if (!hits) return;
  for (size_t i = 0; i < hits->n; i++) hit_free(&hits->hits[i]);
  free(hits);
}

/* Matches in the order of the answer. */
typedef struct selection {
  kin_match *matches;
  size_t n, capacity;
} selection;

static kin_status out_of_memory(const kin_find *f, size_t n, kin_error *err) {
  return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for %zu results", f->store->path, n);
}

/* ------------------------------------------------------------------------ groups */

static bool count_in_folder(kin_groups *groups, const char *path, size_t *out) {
  const char *slash = strrchr(path, '/');
  return kin_groups_count(groups, path, slash ? (size_t)(slash - path) : 0, out);
}

/* How many hits of the match's group there are with it. */
static kin_status count_in_group(kin_find *f, kin_groups *groups, const kin_match *match, size_t *out, kin_error *err) {
  bool ok;
  if (f->query->group == KIN_GROUP_FILE) {
    ok = kin_groups_count(groups, &match->id, sizeof match->id, out);
  } else {
    kin_hit hit;
    kin_status status = f->finder->fill(f, match, &hit, err);
    if (status != KIN_OK) return status;
    ok = count_in_folder(groups, hit.path, out);
    hit_free(&hit);
  }
  return ok ? KIN_OK : out_of_memory(f, 1, err);
}

/* From the ranking as far as it is known, the first `needed` that the groups have room for. *enough: there are as many,
 * or more of the ranking won't help. */
static kin_status take_matches(const kin_ranking *r, size_t needed, selection *out, bool *enough, kin_error *err) {
  kin_find *f = r->find;
  const kin_query *q = f->query;
  size_t most = q->per_group ? q->per_group : 1;
  const bool by_folder = q->group == KIN_GROUP_FOLDER && f->finder->prepare;
  kin_groups *groups = q->group ? kin_groups_new() : NULL;
  kin_status status = q->group && !groups ? out_of_memory(f, needed, err) : KIN_OK;
  bool ended = r->complete;
  out->n = 0;
  for (size_t i = 0; status == KIN_OK && i < r->n && out->n < needed; i++) {
    size_t count = 1;
    if (q->has_min_score && (double)r->matches[i].score < q->min_score) {
      ended = true;
      break;
    }
    if (by_folder && i % PREPARED == 0)
      status = f->finder->prepare(f, r->matches + i, r->n - i < PREPARED ? r->n - i : PREPARED, err);
    if (status == KIN_OK && groups) status = count_in_group(f, groups, &r->matches[i], &count, err);
    if (status != KIN_OK || count > most) continue;
    if (kin_grow((void **)&out->matches, &out->capacity, out->n + 1, sizeof *out->matches))
      out->matches[out->n++] = r->matches[i];
    else
      status = out_of_memory(f, needed, err);
  }
  kin_groups_free(groups);
  *enough = ended || out->n == needed;
  return status;
}

/* The first `needed` hits before diversity, or all. */
static kin_status select_matches(kin_ranking *r, size_t needed, selection *out, kin_error *err) {
  bool enough = false;
  kin_status status = KIN_OK;
  for (size_t depth = needed; status == KIN_OK && !enough; depth = depth > SIZE_MAX / 4 ? SIZE_MAX : depth * 4) {
    status = kin_ranking_extend(r, depth, err);
    if (status == KIN_OK) status = take_matches(r, needed, out, &enough, err);
  }
  return status;
}

/* --------------------------------------------------------------------- diversity */

/* Maximal marginal relevance (Carbonell and Goldstein, 1998): put the first `n` matches, best first, into the order in
 * which each is relevant and unlike those before it. vectors[n][dim] are theirs. */
static void diversify(const kin_find *f, kin_match *matches, size_t n, const float *vectors, kin_match *sorted,
                      float *nearest, bool *taken) {
  const kin_context *context = f->store->context;
  double share = f->query->diversity;
  size_t last = 0;
  for (size_t i = 0; i < n; i++) {
    nearest[i] = -INFINITY;
    taken[i] = false;
  }
  for (size_t at = 0; at < n; at++) {
    size_t next = n;
    double best = 0;
    for (size_t i = 0; i < n; i++) {
      if (taken[i]) continue;
      double value = (double)matches[i].score; /* the first is the most relevant, whatever the share */
      if (at > 0) {
        float cosine = context->kernels->dot(vectors + last * f->dim, vectors + i * f->dim, f->dim);
        if (cosine > nearest[i]) nearest[i] = cosine;
        value = (1 - share) * value - share * (double)nearest[i];
      }
      if (next < n && !(value > best)) continue;
      next = i;
      best = value;
    }
    taken[next] = true;
    sorted[at] = matches[next];
    last = next;
  }
  memcpy(matches, sorted, n * sizeof *matches);
}

static size_t pool_of(const kin_query *q) {
  return q->pool ? q->pool : DEFAULT_POOL;
}

static kin_status diversify_selection(kin_find *f, selection *s, kin_error *err) {
  size_t n = s->n < pool_of(f->query) ? s->n : pool_of(f->query), floats;
  if (f->query->diversity == 0 || n < 2) return KIN_OK;
  float *vectors = NULL;
  if (!__builtin_mul_overflow(n * sizeof *vectors, f->dim, &floats)) vectors = kin_alloc_aligned(floats);
  kin_match *sorted = kin_array(n, sizeof *sorted);
  float *nearest = kin_array(n, sizeof *nearest);
  bool *taken = kin_array(n, sizeof *taken);
  kin_status status = KIN_OK;
  if (!vectors || !sorted || !nearest || !taken) status = out_of_memory(f, n, err);
  if (status == KIN_OK) status = f->finder->read_vectors(f, s->matches, n, vectors, err);
  if (status == KIN_OK) diversify(f, s->matches, n, vectors, sorted, nearest, taken);
  kin_free_aligned(vectors);
  free(sorted);
  free(nearest);
  free(taken);
  return status;
}

/* ----------------------------------------------------------------------- answers */

static kin_status fill_hits(const kin_ranking *r, const kin_match *matches, size_t n, kin_hits **out, kin_error *err) {
  kin_find *f = r->find;
  if (n > SIZE_MAX / sizeof(kin_hit) / 2) return out_of_memory(f, n, err);
  kin_hits *hits = malloc(sizeof *hits + n * sizeof *hits->hits);
  if (!hits) return out_of_memory(f, n, err);
  kin_status status = n && f->finder->prepare ? f->finder->prepare(f, matches, n, err) : KIN_OK;
  for (hits->n = 0; status == KIN_OK && hits->n < n;) {
    kin_hit *hit = &hits->hits[hits->n];
    status = f->finder->fill(f, &matches[hits->n], hit, err);
    if (status != KIN_OK) break;
    hit->score = matches[hits->n].score;
    hit->vector_rank = kin_rank_of((kin_ranked){r->near, r->n_near}, &matches[hits->n]);
    hit->bm25_rank = kin_rank_of((kin_ranked){r->worded, r->n_worded}, &matches[hits->n]);
    hits->n++;
  }
  if (status == KIN_OK)
    *out = hits;
  else
    kin_hits_close(hits);
  return status;
}

/* Hits from the first to the last of the page. */
static size_t needed_for(const kin_find *f) {
  const kin_query *q = f->query;
  uint64_t all = f->population;
  if (q->k == 0 || q->offset >= all) return 0;
  size_t needed = q->k > all - q->offset ? (size_t)all : q->offset + q->k;
  return q->diversity > 0 && needed < pool_of(q) ? pool_of(q) : needed;
}

static kin_status answer(kin_find *f, kin_hits **out, kin_error *err) {
  kin_ranking ranking;
  selection s = {0};
  kin_status status = kin_ranking_open(f, &ranking, err);
  size_t needed = needed_for(f), first = f->query->offset;
  if (status == KIN_OK && needed) status = select_matches(&ranking, needed, &s, err);
  if (status == KIN_OK) status = diversify_selection(f, &s, err);
  size_t n = s.n > first ? s.n - first : 0;
  if (n > f->query->k) n = f->query->k;
  if (status == KIN_OK) status = fill_hits(&ranking, n ? s.matches + first : NULL, n, out, err);
  kin_ranking_close(&ranking);
  free(s.matches);
  return status;
}

static kin_status check_query(const kin_query *q, kin_error *err) {
  if (!q->n_examples && !q->words) return kin_fail(err, KIN_ERR_ARGUMENT, "the query is empty");
  if ((unsigned)q->fusion > KIN_FUSION_WEIGHTED)
    return kin_fail(err, KIN_ERR_ARGUMENT, "fusion %d is unknown", (int)q->fusion);
  if (q->fusion == KIN_FUSION_WEIGHTED && !(q->vector_weight >= 0 && q->vector_weight <= 1))
    return kin_fail(err, KIN_ERR_ARGUMENT, "a weight of %g: it goes from 0 to 1", q->vector_weight);
  if ((unsigned)q->strategy > KIN_STRATEGY_BEST)
    return kin_fail(err, KIN_ERR_ARGUMENT, "strategy %d is unknown", (int)q->strategy);
  if ((unsigned)q->group > KIN_GROUP_FOLDER)
    return kin_fail(err, KIN_ERR_ARGUMENT, "group %d is unknown", (int)q->group);
  if (!(q->diversity >= 0 && q->diversity <= 1))
    return kin_fail(err, KIN_ERR_ARGUMENT, "a diversity of %g: it goes from 0 to 1", q->diversity);
  if (q->pool > MOST_POOL) return kin_fail(err, KIN_ERR_ARGUMENT, "a pool of %zu hits: at most %d", q->pool, MOST_POOL);
  return KIN_OK;
}

/* In the chosen collection. */
static kin_status find_in_one(kin_store *store, const kin_query *query, kin_hits **out, kin_error *err) {
  kin_find f = {.store = store, .finder = store->remote ? &kin_remote_finder : &kin_sql_finder, .query = query};
  kin_status status = KIN_OK;
  if (store->remote && ((query->ann && strcmp(query->ann, "auto") != 0) || query->ann_probes || query->ann_ef))
    status = kin_remote_cant(store,
                             "Elasticsearch searches by an index of its own, to which --ann, --probes and --ef say "
                             "nothing; to find more give it --candidates N",
                             err);
  if (status == KIN_OK && query->where) status = kin_filter_parse(query->where, &f.filter, err);
  if (status != KIN_OK) return status;
  status = f.finder->begin(&f, err);
  if (status == KIN_OK) status = answer(&f, out, err);
  f.finder->end(&f);
  kin_filter_free(f.filter);
  return status;
}

/* ------------------------------------------------------- words, in every collection */

/* A hit and the collection that it is of. */
typedef struct placed {
  kin_hit hit;
  int64_t collection;
} placed;

typedef struct places {
  placed *items;
  size_t n, capacity;
} places;

/* The order of kin_match_compare, then of collections. */
static int compare_placed(const void *a, const void *b) {
  const placed *x = a, *y = b;
  if (x->hit.score != y->hit.score) return x->hit.score > y->hit.score ? -1 : 1;
  if (x->hit.id != y->hit.id) return x->hit.id < y->hit.id ? -1 : 1;
  if (x->collection != y->collection) return x->collection < y->collection ? -1 : 1;
  return (x->hit.offset > y->hit.offset) - (x->hit.offset < y->hit.offset);
}

static kin_status take_hits(kin_store *store, kin_hits *hits, places *to, kin_error *err) {
  if (!kin_grow((void **)&to->items, &to->capacity, to->n + hits->n + 1, sizeof *to->items))
    return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for %zu results", store->path, hits->n);
  for (size_t i = 0; i < hits->n; i++) to->items[to->n++] = (placed){hits->hits[i], store->selected};
  hits->n = 0;
  return KIN_OK;
}

/* Whether an item's best hit is of another collection: its passages are cut once more there. */
static bool is_again(const places *all, size_t at) {
  for (size_t i = 0; i < at; i++)
    if (all->items[i].hit.id == all->items[at].hit.id) return all->items[i].collection != all->items[at].collection;
  return false;
}

/* How many of a hit's group there are with it; SIZE_MAX: out of memory. */
static size_t count_with(kin_groups *groups, const kin_query *q, const kin_hit *hit) {
  size_t count = 0;
  bool ok = q->group == KIN_GROUP_FILE ? kin_groups_count(groups, &hit->id, sizeof hit->id, &count)
                                       : count_in_folder(groups, hit->path, &count);
  return ok ? count : SIZE_MAX;
}

/* The page of the hits of all collections, in order. */
static kin_status cut_page(const kin_store *store, const kin_query *q, places *all, kin_hits **out, kin_error *err) {
  kin_hits *hits = malloc(sizeof *hits + all->n * sizeof *hits->hits);
  kin_groups *groups = q->group ? kin_groups_new() : NULL;
  size_t most = q->per_group ? q->per_group : 1, skip = q->offset;
  bool ok = hits && (groups || !q->group);
  if (hits) hits->n = 0;
  for (size_t i = 0; ok && i < all->n && hits->n < q->k; i++) {
    placed *p = &all->items[i];
    if (is_again(all, i)) continue;
    size_t count = groups ? count_with(groups, q, &p->hit) : 1;
    ok = count != SIZE_MAX;
    if (!ok || count > most) continue;
    if (skip) {
      skip--;
      continue;
    }
    hits->hits[hits->n++] = p->hit;
    p->hit.path = p->hit.passage = NULL;
  }
  kin_groups_free(groups);
  if (ok) {
    *out = hits;
    return KIN_OK;
  }
  kin_hits_close(hits);
  return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for %zu results", store->path, all->n);
}

/* BM25 counts words over the whole store, so that the scores of all collections are one order. */
static kin_status find_in_all(kin_store *store, const kin_query *query, const kin_collection *list, size_t n,
                              kin_hits **out, kin_error *err) {
  kin_query part = *query;
  places all = {0};
  kin_status status = KIN_OK;
  part.offset = 0;
  part.k = query->k > SIZE_MAX - query->offset ? SIZE_MAX : query->k + query->offset;
  for (size_t i = 0; status == KIN_OK && i < n; i++) {
    kin_hits *hits = NULL;
    store->selected = list[i].id;
    status = find_in_one(store, &part, &hits, err);
    if (status == KIN_OK) status = take_hits(store, hits, &all, err);
    kin_hits_close(hits);
  }
  store->selected = 0;
  if (all.n) qsort(all.items, all.n, sizeof *all.items, compare_placed);
  if (status == KIN_OK) status = cut_page(store, query, &all, out, err);
  for (size_t i = 0; i < all.n; i++) hit_free(&all.items[i].hit);
  free(all.items);
  return status;
}

static kin_status list_all(kin_store *store, kin_collection **out, size_t *n, kin_error *err) {
  kin_status status = kin_sql_transact(store, KIN_SQL_BEGIN_READ, err);
  if (status == KIN_OK) status = kin_collections_read(store, 0, out, n, err);
  kin_sql_rollback(store);
  return status;
}

kin_status kin_store_find(kin_store *store, const kin_query *query, kin_hits **out, kin_error *err) {
  kin_collection *list = NULL;
  size_t n = 0;
  *out = NULL;
  kin_status status = check_query(query, err);
  bool words_alone = !query->n_examples && query->diversity == 0; /* diversity compares vectors */
  if (status == KIN_OK && words_alone && !store->remote && !store->selected) status = list_all(store, &list, &n, err);
  if (status != KIN_OK) return status;
  status = n > 1 ? find_in_all(store, query, list, n, out, err) : find_in_one(store, query, out, err);
  kin_collections_free(list, n);
  return status;
}

/* ------------------------------------------------------------------------- names */

kin_status kin_strategy_parse(const char *name, kin_strategy *out, kin_error *err) {
  if (strcmp(name, "sum") != 0 && strcmp(name, "best") != 0)
    return kin_fail(err, KIN_ERR_ARGUMENT, "strategy \"%s\": expected sum or best", name);
  *out = *name == 's' ? KIN_STRATEGY_SUM : KIN_STRATEGY_BEST;
  return KIN_OK;
}

kin_status kin_group_parse(const char *name, kin_group *out, kin_error *err) {
  static const char *const names[] = {
      [KIN_GROUP_NONE] = "none", [KIN_GROUP_FILE] = "file", [KIN_GROUP_FOLDER] = "folder"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (strcmp(name, names[i]) != 0) continue;
    *out = (kin_group)i;
    return KIN_OK;
  }
  return kin_fail(err, KIN_ERR_ARGUMENT, "group \"%s\": expected file, folder or none", name);
}
