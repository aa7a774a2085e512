/* Importing into an index: which files it has is asked for many at a time, while the file to import is checked. */
#include "store/elastic_parts.h"
#include "store/import.h"

#include <stdio.h>

enum { ASK_AT_ONCE = 500 };

static kin_status no_memory(const kin_update *u, kin_error *err) {
  return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for an import", u->store->path);
}

static kin_elastic_run *run_of(const kin_update *u) {
  return &u->store->remote->run;
}

static kin_status ask(kin_update *u, kin_error *err) {
  kin_elastic_run *run = run_of(u);
  json_t *answer = NULL;
  if (!json_array_size(run->asked)) return KIN_OK;
  kin_status status = kin_remote_get_known(u, run->asked, &answer, err);
  const json_t *docs = json_object_get(answer, "docs");
  for (size_t i = 0; status == KIN_OK && i < json_array_size(docs); i++) {
    json_t *source = json_object_get(json_array_get(docs, i), "_source");
    const char *name = json_string_value(json_array_get(run->asked, i));
    if (source && json_object_set(run->known, name, source) != 0) status = no_memory(u, err);
  }
  json_decref(answer);
  json_array_clear(run->asked);
  return status;
}

kin_status kin_remote_import_note(kin_update *u, const char *path, bool *twice, kin_error *err) {
  kin_elastic_run *run = run_of(u);
  const int64_t item = kin_remote_item_of(path);
  char name[48];
  size_t times;
  if (!run->seen) run->seen = kin_groups_new();
  if (!run->asked) run->asked = json_array();
  if (!run->known) run->known = json_object();
  if (!item || !run->seen || !run->asked || !run->known || !kin_groups_count(run->seen, &item, sizeof item, &times))
    return no_memory(u, err);
  *twice = times > 1;
  kin_remote_name(item, 0, name);
  if (json_array_append_new(run->asked, json_string(name)) != 0) return no_memory(u, err);
  return json_array_size(run->asked) < ASK_AT_ONCE ? KIN_OK : ask(u, err);
}

kin_status kin_remote_import_noted(kin_update *u, kin_error *err) {
  return ask(u, err);
}

static const json_t *known_of(const kin_update *u, int64_t item) {
  char name[48];
  kin_remote_name(item, 0, name);
  return json_object_get(run_of(u)->known, name);
}

kin_status kin_remote_import_find(kin_update *u, kin_candidate *c, kin_error *err) {
  const int64_t item = kin_remote_item_of(c->path);
  if (!item) return no_memory(u, err);
  const json_t *source = known_of(u, item);
  if (source) kin_remote_read_known(c, source);
  return KIN_OK;
}

/* Through what is given to items that exist: there the metadata is put together. */
static kin_status set_metadata(kin_update *u, int64_t item, const json_t *metadata, json_t **out, kin_error *err) {
  struct kin_remote *r = u->store->remote;
  char id[24];
  const char *key;
  json_t *value, *known = json_object_get(known_of(u, item), "meta");
  snprintf(id, sizeof id, "%lld", (long long)item);
  if (!r->given) r->given = json_object();
  json_t *meta = json_is_array(known) ? json_copy(known) : json_array();
  kin_status status = json_object_set_new(r->given, id, meta) == 0 ? KIN_OK : no_memory(u, err);
  json_object_foreach((json_t *)metadata, key, value) {
    if (status == KIN_OK) status = kin_metadata_set(u->store, item, key, value, err);
  }
  *out = status == KIN_OK ? json_incref(meta) : NULL;
  json_object_del(r->given, id);
  return status;
}

kin_status kin_remote_import_given(kin_update *u, const kin_candidate *c, const char *caption, const json_t *metadata,
                                   kin_error *err) {
  json_t *meta = NULL;
  kin_status status = json_object_size(metadata) ? set_metadata(u, c->item, metadata, &meta, err) : KIN_OK;
  if (status != KIN_OK || !c->item || !(caption || meta)) { /* without an item it is a check */
    json_decref(meta);
    return status;
  }
  kin_elastic_open_item *open = kin_remote_item(u, c);
  bool ok = open && (!meta || json_object_set(open->fields, "meta", meta) == 0) &&
            (!caption || kin_remote_set_caption_field(u->store, open->fields, "caption_given", caption));
  json_decref(meta);
  return ok ? KIN_OK : no_memory(u, err);
}
