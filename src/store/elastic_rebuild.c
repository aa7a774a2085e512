/* Copying an index into a new one, which then takes its name: for another mapping, or after many deletions. */
#include "store/elastic_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENOUGH_BYTES (16 << 20)

typedef struct copy {
  kin_update u;
  float *vector;
  uint64_t done, total;
  bool (*on_progress)(void *user, uint64_t done, uint64_t total);
  void *user;
} copy;

static kin_status no_memory(const kin_store *store, kin_error *err) {
  return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for a copy", store->path);
}

/* photos-000001 is followed by photos-000002; any other name by photos-000001. */
static char *next_name(const struct kin_remote *r) {
  size_t n = strlen(r->address.index);
  unsigned long number = 0;
  if (strncmp(r->index, r->address.index, n) == 0 && r->index[n] == '-') number = strtoul(r->index + n + 1, NULL, 10);
  return kin_format("%s-%06lu", r->address.index, number + 1);
}

static kin_status send(copy *c, kin_error *err) {
  kin_status status = kin_remote_send(&c->u, err);
  if (status == KIN_OK && c->u.progress.failed)
    status = kin_fail(err, KIN_ERR_IO, "%s: the new index didn't take %llu documents; the old one stays as it is",
                      c->u.store->path, (unsigned long long)c->u.progress.failed);
  if (status == KIN_OK && c->on_progress && !c->on_progress(c->user, c->done, c->total))
    status = kin_fail(err, KIN_ERR_CANCELLED, "%s: stopped; the old index stays as it is", c->u.store->path);
  return status;
}

static kin_status copy_one(void *user, const json_t *hit, kin_error *err) {
  copy *c = user;
  json_t *source = json_object_get(hit, "_source");
  kin_store *store = c->u.store;
  int64_t item = json_integer_value(json_object_get(source, "item"));
  const char *path = json_string_value(json_object_get(source, "path"));
  if (!item || !path || !kin_remote_vector(store, hit, c->vector, store->collection.dim))
    return kin_fail(err, KIN_ERR_FORMAT, "%s: a document without a path or a vector", store->path);
  uint64_t ordinal = (uint64_t)json_integer_value(json_object_get(source, "ordinal"));
  kin_status status = kin_remote_add(&c->u, item, path, ordinal, json_incref(source), c->vector, false, err);
  c->done++;
  return status == KIN_OK && store->remote->run.bytes >= ENOUGH_BYTES ? send(c, err) : status;
}

/* In one step: searches find the old index or the new one. */
static kin_status swap(kin_store *store, const char *name, kin_error *err) {
  struct kin_remote *r = store->remote;
  json_t *answer = NULL;
  json_t *body = json_pack("{s[{s{ss}} {s{ss ss}}]}", "actions", "remove_index", "index", r->index, "add", "index",
                           name, "alias", r->address.index);
  kin_status status =
      body ? kin_elastic_call(r->client, "POST", "_aliases", body, false, &answer, err) : no_memory(store, err);
  json_decref(answer);
  return status;
}

static kin_status remove_index(kin_store *store, const char *name, kin_error *err) {
  json_t *answer = NULL;
  kin_status status = kin_elastic_call(store->remote->client, "DELETE", name, NULL, true, &answer, err);
  json_decref(answer);
  return status;
}

static kin_status copy_all(copy *c, const char *name, kin_error *err) {
  kin_store *store = c->u.store;
  struct kin_remote *r = store->remote;
  size_t items, vectors = 0;
  json_t *moment = NULL;
  kin_status status = remove_index(store, name, err); /* of a run that was stopped */
  if (status == KIN_OK) status = kin_remote_create(store, &r->collection, name, false, err);
  if (status == KIN_OK) status = kin_remote_make_visible(store, err);
  if (status == KIN_OK) status = kin_remote_count(store, &items, &vectors, err);
  if (status == KIN_OK) status = kin_remote_open_moment(store, &moment, err);
  c->total = vectors;
  r->target = name;
  if (status == KIN_OK)
    status = kin_remote_each(store, json_pack("{s{}}", "match_all"), json_pack("{s[s]}", "excludes", "vector"), true,
                             moment, copy_one, c, err);
  if (status == KIN_OK) status = send(c, err);
  r->target = NULL;
  kin_remote_close_moment(store, moment);
  return status == KIN_OK ? swap(store, name, err) : status;
}

kin_status kin_remote_rebuild(kin_store *store, bool (*on_progress)(void *user, uint64_t done, uint64_t total),
                              void *user, kin_error *err) {
  struct kin_remote *r = store->remote;
  if (!r->collection.id) return kin_fail(err, KIN_ERR_NOT_FOUND, "%s: no such index", store->path);
  copy c = {.u = {.store = store}, .on_progress = on_progress, .user = user};
  c.vector = kin_array(store->collection.dim, sizeof *c.vector);
  char *name = next_name(r);
  kin_status status = c.vector && name ? copy_all(&c, name, err) : no_memory(store, err);
  kin_remote_rollback(r);
  if (status != KIN_OK && name) remove_index(store, name, NULL);
  free(c.vector);
  free(name);
  if (status == KIN_OK) status = kin_remote_make_visible(store, err);
  return status == KIN_OK ? kin_remote_refresh(store, err) : status;
}
