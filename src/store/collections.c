/* The collections of a store: listing, choosing, making and dropping them, and their text models. */
#include "index/ann.h"
#include "model/model.h"
#include "store/elastic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------------- reading */

static void copy_text(char *out, size_t size, sqlite3_stmt *s, int column) {
  const char *text = (const char *)sqlite3_column_text(s, column);
  snprintf(out, size, "%s", text ? text : "");
}

static char *column_string(sqlite3_stmt *s, int column) {
  const char *text = (const char *)sqlite3_column_text(s, column);
  return text ? kin_strdup(text) : NULL;
}

static kin_precision column_precision(sqlite3_stmt *s, int column) {
  const char *name = (const char *)sqlite3_column_text(s, column);
  kin_precision out = KIN_PRECISION_FP32;
  if (name) kin_precision_parse(name, &out, NULL);
  return out;
}

static kin_pooling column_pooling(sqlite3_stmt *s, int column) {
  const char *name = (const char *)sqlite3_column_text(s, column);
  kin_pooling out = KIN_POOLING_DEFAULT;
  if (name) kin_pooling_parse(name, &out, NULL);
  return out;
}

/* The row at hand of KIN_SQL_READ_COLLECTIONS. */
static bool read_row(const kin_store *store, sqlite3_stmt *s, kin_collection *c) {
  const char *suffix = (const char *)sqlite3_column_text(s, 3);
  *c = (kin_collection){.id = sqlite3_column_int64(s, 0),
                        .model_path = column_string(s, 2),
                        .text_model_path = column_string(s, 8),
                        .vectors_path = suffix ? kin_format("%s%s", store->path, suffix) : NULL,
                        .dim = (size_t)sqlite3_column_int64(s, 4),
                        .rows = (uint64_t)sqlite3_column_int64(s, 5),
                        .state = (uint64_t)sqlite3_column_int64(s, 6),
                        .image = sqlite3_column_int(s, 9),
                        .text = sqlite3_column_int(s, 10),
                        .precision = column_precision(s, 11),
                        .text_precision = column_precision(s, 13),
                        .pooling = column_pooling(s, 12)};
  copy_text(c->model_id, sizeof c->model_id, s, 1);
  copy_text(c->text_model_id, sizeof c->text_model_id, s, 7);
  return c->model_path && c->vectors_path && (c->text_model_path || !*c->text_model_id);
}

kin_status kin_collections_read(kin_store *store, int64_t only, kin_collection **out, size_t *n_out, kin_error *err) {
  sqlite3_stmt *s;
  bool row;
  size_t capacity = 0;
  *out = NULL;
  *n_out = 0;
  if (store->remote) return kin_remote_read_collections(store, out, n_out, err);
  kin_status status = kin_sql_bind(store, KIN_SQL_READ_COLLECTIONS, &s, err, "i", only);
  if (status == KIN_OK) status = kin_sql_step(store, s, &row, err);
  while (status == KIN_OK && row) {
    if (!kin_grow((void **)out, &capacity, *n_out + 1, sizeof **out) || !read_row(store, s, &(*out)[(*n_out)++])) {
      sqlite3_reset(s);
      status = kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", store->path);
    } else {
      status = kin_sql_step(store, s, &row, err);
    }
  }
  if (status == KIN_OK) return KIN_OK;
  kin_collections_free(*out, *n_out);
  *out = NULL;
  *n_out = 0;
  return status;
}

/* Vectors, and the files that they belong to. */
static kin_status count_vectors(kin_store *store, int64_t id, size_t *items, size_t *vectors, kin_error *err) {
  sqlite3_stmt *s;
  bool row;
  *items = *vectors = 0;
  if (store->remote) return kin_remote_count(store, items, vectors, err);
  kin_status status = kin_sql_bind(store, KIN_SQL_COUNT_VECTORS, &s, err, "i", id);
  if (status == KIN_OK) status = kin_sql_step(store, s, &row, err);
  if (status != KIN_OK || !row) return status;
  *vectors = (size_t)sqlite3_column_int64(s, 0);
  *items = *vectors - (size_t)sqlite3_column_int64(s, 1);
  sqlite3_reset(s);
  return KIN_OK;
}

static kin_status count_items(kin_store *store, size_t *out, kin_error *err) {
  sqlite3_stmt *s;
  bool row;
  *out = 0;
  if (store->remote) return KIN_OK; /* its items are the collection's */
  kin_status status = kin_sql_bind(store, KIN_SQL_COUNT_ITEMS, &s, err, "");
  if (status == KIN_OK) status = kin_sql_step(store, s, &row, err);
  if (status != KIN_OK || !row) return status;
  *out = (size_t)sqlite3_column_int64(s, 0);
  sqlite3_reset(s);
  return KIN_OK;
}

kin_status kin_store_get_stats(kin_store *store, kin_store_stats *out, kin_error *err) {
  *out = (kin_store_stats){0};
  size_t vectors;
  kin_status status = kin_store_begin_read(store, err);
  const kin_collection *c = &store->collection;
  if (status == KIN_OK)
    status = c->id ? count_vectors(store, c->id, &out->items, &vectors, err) : count_items(store, &out->items, err);
  kin_sql_rollback(store);
  if (status != KIN_OK) return status;
  out->collections = store->n_collections;
  if (!c->id) return KIN_OK;
  out->dim = c->dim;
  out->precision = c->precision;
  out->text_precision = c->text_precision;
  out->pooling = c->pooling;
  memcpy(out->model_id, c->model_id, sizeof out->model_id);
  memcpy(out->text_model_id, c->text_model_id, sizeof out->text_model_id);
  snprintf(out->model_path, sizeof out->model_path, "%s", c->model_path);
  snprintf(out->text_model_path, sizeof out->text_model_path, "%s", c->text_model_path ? c->text_model_path : "");
  return KIN_OK;
}

/* ------------------------------------------------------------------- listing */

struct kin_collections {
  size_t n;
  kin_collection_info items[];
};

size_t kin_collections_count(const kin_collections *collections) {
  return collections->n;
}

const kin_collection_info *kin_collections_get(const kin_collections *collections, size_t i) {
  return i < collections->n ? &collections->items[i] : NULL;
}

void kin_collections_close(kin_collections *collections) {
  free(collections);
}

static void tell_effort(const kin_ann_effort *e, size_t *probes, size_t *ef, double *recall) {
  *probes = e->probes;
  *ef = e->probes ? 0 : e->ef; /* with lists, it is about finding them */
  *recall = (double)e->recall;
}

static kin_status describe(kin_store *store, const kin_collection *c, kin_collection_info *out, kin_error *err) {
  *out = (kin_collection_info){.id = c->id,
                               .precision = c->precision,
                               .text_precision = c->text_precision,
                               .pooling = c->pooling,
                               .dim = c->dim,
                               .image = c->image,
                               .text = c->text || *c->text_model_id};
  memcpy(out->model_id, c->model_id, sizeof out->model_id);
  memcpy(out->text_model_id, c->text_model_id, sizeof out->text_model_id);
  snprintf(out->model_path, sizeof out->model_path, "%s", c->model_path);
  snprintf(out->text_model_path, sizeof out->text_model_path, "%s", c->text_model_path ? c->text_model_path : "");
  if (store->remote) return count_vectors(store, c->id, &out->items, &out->vectors, err);
  out->bytes = kin_vectors_bytes_of(c->dim, c->rows);
  kin_ann_head ann;
  kin_vectors_key key = kin_store_vectors_key(store, c);
  if (kin_ann_read_head(c->vectors_path, &key, &ann, NULL) == KIN_OK) {
    memcpy(out->ann, ann.factory, sizeof out->ann);
    out->ann_vectors = ann.rows;
    out->ann_bytes = ann.bytes;
    tell_effort(&ann.effort, &out->ann_probes, &out->ann_ef, &out->ann_recall);
  }
  kin_status status = count_vectors(store, c->id, &out->items, &out->vectors, err);
  out->holes = c->rows - out->vectors;
  return status;
}

kin_status kin_store_collections(kin_store *store, kin_collections **out, kin_error *err) {
  kin_collection *all = NULL;
  size_t n = 0;
  *out = NULL;
  kin_status status = kin_sql_transact(store, KIN_SQL_BEGIN_READ, err);
  if (status == KIN_OK) status = kin_collections_read(store, 0, &all, &n, err);
  kin_collections *list = status == KIN_OK ? malloc(sizeof *list + n * sizeof list->items[0]) : NULL;
  if (status == KIN_OK && !list) status = kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", store->path);
  if (list) list->n = n;
  for (size_t i = 0; status == KIN_OK && i < n; i++) status = describe(store, &all[i], &list->items[i], err);
  kin_sql_rollback(store);
  kin_collections_free(all, n);
  if (status == KIN_OK)
    *out = list;
  else
    free(list);
  return status;
}

/* ------------------------------------------------------------------ choosing */

/* ", int8, pooling mean": how a model was opened, where not by default; in out[40]. */
static const char *describe_opening(const kin_collection *c, char out[40]) {
  bool narrow = c->precision != KIN_PRECISION_FP32, pooled = c->pooling > KIN_POOLING_CLS;
  snprintf(out, 40, "%s%s%s%s", narrow ? ", " : "", narrow ? kin_precision_name(c->precision) : "",
           pooled ? ", pooling " : "", pooled ? kin_pooling_name(c->pooling) : "");
  return out;
}

/* "PATH (512 floats, for pictures and texts, int8)" of each, until the room is used up. */
static void list_collections(const kin_collection *all, size_t n, char *out, size_t size) {
  size_t used = 0;
  out[0] = '\0';
  for (size_t i = 0; i < n && used < size; i++) {
    const kin_collection *c = &all[i];
    bool text = c->text || *c->text_model_id;
    char opening[40];
    used +=
        (size_t)snprintf(out + used, size - used, "%s%s (%zu floats, for %s%s)", i ? "; " : "", c->model_path, c->dim,
                         c->image && text ? "pictures and texts"
                         : c->image       ? "pictures"
                                          : "texts",
                         describe_opening(c, opening));
  }
}

static kin_status fail_with_list(const kin_store *store, const kin_collection *all, size_t n, const char *what,
                                 kin_error *err) {
  char list[800];
  list_collections(all, n, list, sizeof list);
  return kin_fail(err, KIN_ERR_MISMATCH, "%s: %s; it has collections of these models: %s", store->path, what, list);
}

kin_status kin_collections_fail(kin_store *store, const char *what, kin_error *err) {
  kin_collection *all;
  size_t n;
  kin_status status = kin_collections_read(store, 0, &all, &n, err);
  if (status != KIN_OK) return status;
  status = fail_with_list(store, all, n, what, err);
  kin_collections_free(all, n);
  return status;
}

/* Texts of a foreign model have a place only among vectors that a joint model of pictures and texts made. */
static kin_status check_text_model(const kin_store *store, const kin_collection *c, const kin_model *model,
                                   kin_error *err) {
  kin_model_info info;
  kin_model_get_info(model, &info);
  const char *dir = kin_model_dir(model);
  if (!info.has_text) return kin_fail(err, KIN_ERR_MISMATCH, "%s has no text tower, so it can't be a text model", dir);
  if (info.dim != c->dim)
    return kin_fail(err, KIN_ERR_MISMATCH,
                    "%s: the text model %s gives %zu floats, but the vectors of %s have %zu: they are of different "
                    "spaces",
                    store->path, dir, info.dim, c->model_path, c->dim);
  if (!c->image || !c->text)
    return kin_fail(err, KIN_ERR_MISMATCH,
                    "%s: %s embeds %s only, so that there is no space that it shares with the text model %s",
                    store->path, c->model_path, c->image ? "pictures" : "texts", dir);
  return KIN_OK;
}

static bool fits(const kin_store *store, const kin_collection *c, const kin_collection_wish *wish) {
  bool known = *c->model_id; /* which model made it; else what the caller says is believed */
  if (wish->model_id && known && strcmp(wish->model_id, c->model_id) != 0) return false;
  if (wish->text_model && check_text_model(store, c, wish->text_model, NULL) != KIN_OK) return false;
  if (wish->image && !c->image) return false;
  return !wish->text || c->text || *c->text_model_id || wish->text_model;
}

/* Why the `n` collections, `n_fit` of which fit, leave no choice. */
static kin_status no_choice(const kin_store *store, const kin_collection *all, size_t n, size_t n_fit,
                            const kin_collection_wish *wish, kin_error *err) {
  if (n == 1 && wish->text_model && !wish->model_id) return check_text_model(store, all, wish->text_model, err);
  if (n_fit) return fail_with_list(store, all, n, "several collections can answer: name the model to use", err);
  if (wish->model_id) return fail_with_list(store, all, n, "nothing in it was made with that model", err);
  if (wish->text_model) return fail_with_list(store, all, n, "no collection goes with that text model", err);
  return fail_with_list(store, all, n,
                        wish->text
                            ? "words can't be searched, as no model has a text tower; search with a picture (--image)"
                            : "pictures can't be searched, as no model has an image tower; search with words",
                        err);
}

kin_status kin_store_select(kin_store *store, const kin_collection_wish *wish, kin_error *err) {
  kin_collection *all = NULL;
  size_t n = 0, n_fit = 0;
  int64_t id = 0;
  kin_status status = kin_sql_transact(store, KIN_SQL_BEGIN_READ, err);
  if (status == KIN_OK) status = kin_collections_read(store, 0, &all, &n, err);
  for (size_t i = 0; i < n; i++) {
    if (!fits(store, &all[i], wish)) continue;
    id = all[i].id;
    n_fit++;
  }
  if (status == KIN_OK && n && n_fit != 1) status = no_choice(store, all, n, n_fit, wish, err);
  kin_sql_rollback(store);
  if (status == KIN_OK) {
    store->selected = id;
    status = kin_store_begin_read(store, err);
    kin_sql_rollback(store);
  }
  kin_collections_free(all, n);
  return status;
}

/* Read the chosen collection's state; KIN_ERR_MISMATCH without one. The transaction is over afterwards. */
static kin_status need_chosen(kin_store *store, kin_error *err) {
  kin_status status = kin_store_begin_read(store, err);
  if (status == KIN_OK && !store->collection.id) {
    status = store->n_collections
                 ? kin_collections_fail(store, "no collection is chosen", err)
                 : kin_fail(err, KIN_ERR_MISMATCH, "%s: is empty; fill it with kindred index", store->path);
  }
  kin_sql_rollback(store);
  return status;
}

kin_status kin_store_check_model(kin_store *store, const kin_model *model, bool text, kin_error *err) {
  kin_status status = need_chosen(store, err);
  if (status != KIN_OK) return status;
  const kin_collection *c = &store->collection;
  kin_model_info info;
  kin_model_get_info(model, &info);
  if (!*c->model_id || strcmp(info.id, c->model_id) == 0 || (text && strcmp(info.id, c->text_model_id) == 0))
    return KIN_OK;
  char opening[40];
  return kin_fail(err, KIN_ERR_MISMATCH, "%s: was made with another model than %s: it needs %s (id %.12s%s)",
                  store->path, kin_model_dir(model), c->model_path, c->model_id, describe_opening(c, opening));
}

/* --------------------------------------------------------------- text models */

kin_status kin_store_check_text_model(kin_store *store, const kin_model *model, kin_error *err) {
  kin_status status = need_chosen(store, err);
  return status == KIN_OK ? check_text_model(store, &store->collection, model, err) : status;
}

static kin_status need_writable(const kin_store *store, kin_error *err) {
  return store->writable ? KIN_OK : kin_fail(err, KIN_ERR_ARGUMENT, "%s: is open for reading only", store->path);
}

kin_status kin_store_set_text_model(kin_store *store, const kin_model *model, kin_error *err) {
  kin_status status = need_writable(store, err);
  if (status == KIN_OK) status = model ? kin_store_check_text_model(store, model, err) : need_chosen(store, err);
  if (status != KIN_OK) return status;
  kin_model_info info = {0};
  if (model) kin_model_get_info(model, &info);
  bool own = model && strcmp(info.id, store->collection.model_id) == 0;
  const char *id = model && !own ? info.id : NULL;
  char *path = id ? realpath(kin_model_dir(model), NULL) : NULL;
  if (id && !path) return kin_fail_errno(err, errno, "can't find the directory %s", kin_model_dir(model));
  if (store->remote)
    status = kin_remote_set_text_model(store, id, path, info.precision, err);
  else
    status = kin_sql_run(store, KIN_SQL_SET_TEXT_MODEL, err, "isss", store->collection.id, id, path,
                         id ? kin_precision_name(info.precision) : NULL);
  free(path);
  return status == KIN_OK ? need_chosen(store, err) : status;
}

/* -------------------------------------------------------- making and dropping */

/* The first is called as it always was; ids are never given twice, so no two collections share a name. */
static char *suffix_of(int64_t id) {
  return id == 1 ? kin_strdup(".vectors") : kin_format(".%lld.vectors", (long long)id);
}

static kin_status next_id(kin_store *store, int64_t *out, kin_error *err) {
  sqlite3_stmt *s;
  bool row;
  kin_status status = kin_sql_bind(store, KIN_SQL_NEXT_COLLECTION, &s, err, "");
  if (status == KIN_OK) status = kin_sql_step(store, s, &row, err);
  if (status == KIN_OK && !row)
    status = kin_fail(err, KIN_ERR_FORMAT, "%s: the store is damaged: it doesn't count its collections", store->path);
  if (status != KIN_OK) return status;
  *out = sqlite3_column_int64(s, 0);
  sqlite3_reset(s);
  return KIN_OK;
}

/* In a write transaction. */
static kin_status create_collection(kin_store *store, const kin_store_encoder *e, int64_t *id, kin_error *err) {
  kin_vectors_key key = {.dim = e->dim};
  kin_status status = next_id(store, id, err);
  if (status != KIN_OK) return status;
  key.collection = *id;
  memcpy(key.uuid, store->uuid, sizeof key.uuid);
  char *suffix = suffix_of(*id), *path = suffix ? kin_format("%s%s", store->path, suffix) : NULL;
  if (path)
    status = kin_vectors_create(path, &key, err);
  else
    status = kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", store->path);
  if (status == KIN_OK)
    status = kin_sql_run(store, KIN_SQL_ADD_COLLECTION, err, "issisiiss", *id, e->model_id, e->model_path,
                         (int64_t)e->dim, suffix, (int64_t)e->has_image, (int64_t)e->has_text,
                         kin_precision_name(e->precision), kin_pooling_name(e->pooling));
  free(suffix);
  free(path);
  return status;
}

static kin_status find_collection(kin_store *store, const char *model_id, int64_t *id, kin_error *err) {
  sqlite3_stmt *s;
  bool row;
  *id = 0;
  kin_status status = kin_sql_bind(store, KIN_SQL_FIND_COLLECTION, &s, err, "s", model_id);
  if (status == KIN_OK) status = kin_sql_step(store, s, &row, err);
  if (status != KIN_OK || !row) return status;
  *id = sqlite3_column_int64(s, 0);
  sqlite3_reset(s);
  return KIN_OK;
}

kin_status kin_collection_open(kin_store *store, const kin_store_encoder *e, const kin_model *text_model,
                               kin_error *err) {
  int64_t id = 0;
  kin_collection future = {
      .model_path = (char *)e->model_path, .dim = e->dim, .image = e->has_image, .text = e->has_text};
  kin_status status = text_model ? check_text_model(store, &future, text_model, err) : KIN_OK;
  if (status == KIN_OK && store->remote) {
    status = kin_remote_open_collection(store, e, err);
    return status == KIN_OK && text_model ? kin_store_set_text_model(store, text_model, err) : status;
  }
  if (status == KIN_OK) status = kin_sql_transact(store, KIN_SQL_BEGIN_WRITE, err);
  if (status == KIN_OK) status = find_collection(store, e->model_id, &id, err);
  if (status == KIN_OK && !id)
    status = create_collection(store, e, &id, err);
  else if (status == KIN_OK)
    status = kin_sql_run(store, KIN_SQL_SET_MODEL, err, "isiiss", id, e->model_path, (int64_t)e->has_image,
                         (int64_t)e->has_text, kin_precision_name(e->precision), kin_pooling_name(e->pooling));
  if (status == KIN_OK) status = kin_sql_transact(store, KIN_SQL_COMMIT, err);
  kin_sql_rollback(store);
  if (status != KIN_OK) return status;
  store->selected = id;
  return text_model ? kin_store_set_text_model(store, text_model, err) : need_chosen(store, err);
}

kin_status kin_store_drop_collection(kin_store *store, int64_t id, kin_error *err) {
  kin_collection *found = NULL;
  size_t n = 0;
  kin_status status = need_writable(store, err);
  if (status == KIN_OK && store->remote && id == 1) return kin_remote_drop_collection(store, err);
  if (status == KIN_OK) status = kin_sql_transact(store, KIN_SQL_BEGIN_WRITE, err);
  if (status == KIN_OK && id > 0) status = kin_collections_read(store, id, &found, &n, err);
  if (status == KIN_OK && !n)
    status = kin_fail(err, KIN_ERR_NOT_FOUND, "%s: no collection %lld", store->path, (long long)id);
  if (status == KIN_OK) status = kin_sql_run(store, KIN_SQL_DROP_COLLECTION, err, "i", id);
  if (status == KIN_OK) status = kin_sql_run(store, KIN_SQL_DROP_BARE_ITEMS, err, "");
  if (status == KIN_OK) status = kin_sql_transact(store, KIN_SQL_COMMIT, err);
  kin_sql_rollback(store);
  if (status == KIN_OK) {
    if (store->selected == id) store->selected = 0;
    kin_index_remove_derived(found->vectors_path);
    if (unlink(found->vectors_path) != 0 && errno != ENOENT)
      status = kin_fail_errno(err, errno, "%s: the collection is dropped, but its file can't be removed",
                              found->vectors_path);
  }
  kin_collections_free(found, n);
  if (status != KIN_OK) return status;
  status = kin_store_begin_read(store, err);
  kin_sql_rollback(store);
  return status;
}

/* ------------------------------------------------------------ approximate index */

static void tell_trials(const kin_ann_trial *trials, kin_optimized *out) {
  for (size_t i = 0; i < KIN_ANN_TRIALS && *trials[i].factory; i++) {
    kin_optimize_trial *to = &out->trials[out->n++];
    memcpy(to->ann, trials[i].factory, sizeof to->ann);
    tell_effort(&trials[i].effort, &to->probes, &to->ef, &to->recall);
    to->kept = trials[i].kept;
  }
}

kin_status kin_store_optimize(kin_store *store, const kin_optimize_options *options, kin_optimized *out,
                              kin_error *err) {
  kin_optimize_options none = {0};
  kin_ann_trial trials[KIN_ANN_TRIALS] = {0};
  if (out) *out = (kin_optimized){0};
  if (!options) options = &none;
  kin_index_build build = {.factory = options->ann ? options->ann : "auto",
                           .on_progress = options->on_progress,
                           .user = options->user,
                           .trials = trials};
  kin_status status = need_writable(store, err);
  if (status == KIN_OK && store->remote)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: Elasticsearch looks after its own indexes", store->path);
  if (status == KIN_OK) status = need_chosen(store, err);
  if (status != KIN_OK) return status;
  if (strcmp(build.factory, "off") == 0 || strcmp(build.factory, "Flat") == 0) build.factory = NULL;
  status = kin_index_optimize(store->index, &build, err);
  if (out) tell_trials(trials, out);
  return status;
}

kin_status kin_store_rebuild(kin_store *store, bool (*on_progress)(void *user, uint64_t done, uint64_t total),
                             void *user, kin_error *err) {
  kin_status status = need_writable(store, err);
  if (status == KIN_OK && store->remote) return kin_remote_rebuild(store, on_progress, user, err);
  return status == KIN_OK
             ? kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: only an index of Elasticsearch is rebuilt", store->path)
             : status;
}
