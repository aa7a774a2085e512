/* What an index knows of files, and how a run of indexing changes it. The index is asked by _id, which tells the newest
 * state; changes are queued and sent when enough have gathered. Each file's are whole in themselves, so that a run that
 * ends at any moment leaves files as they were before or after it. */
#include "embed/embed.h"
#include "embed/path_json.h"
#include "store/elastic_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENOUGH_BYTES (16 << 20)
#define ENOUGH_SECONDS 5.0

static kin_status no_memory(const kin_update *u, kin_error *err) {
  return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", u->store->path);
}

static bool is_alive(void *user) {
  const kin_update *u = user;
  return kin_update_report((kin_update *)u, NULL) == KIN_OK;
}

static kin_status start(kin_update *u, kin_error *err) {
  kin_elastic_run *run = &u->store->remote->run;
  kin_remote_clear(run);
  kin_elastic_set_alive(u->store->remote->client, is_alive, u);
  if (u->n_roots > 1 && !(run->seen = kin_groups_new())) return no_memory(u, err);
  return kin_remote_make_visible(u->store, err);
}

static void end(kin_update *u) {
  kin_elastic_set_alive(u->store->remote->client, NULL, NULL);
  kin_remote_clear(&u->store->remote->run);
}

/* ------------------------------------------------------------------- reading */

static const char *text_of(const json_t *source, const char *key) {
  return json_string_value(json_object_get(source, key));
}

static int64_t number_of(const json_t *source, const char *key) {
  return json_integer_value(json_object_get(source, key));
}

static void hex_of(const uint8_t sha256[32], char out[65]) {
  for (size_t i = 0; i < 32; i++) snprintf(out + 2 * i, 3, "%02x", sha256[i]);
}

void kin_remote_read_known(kin_candidate *c, const json_t *source) {
  char digits[3] = "";
  const char *hex = text_of(source, "sha256");
  c->item = number_of(source, "item");
  c->same = (uint64_t)number_of(source, "size") == c->size && number_of(source, "mtime_ns") == c->mtime_ns;
  c->indexed = true;
  c->described = json_is_true(json_object_get(source, "exif_read"));
  c->sidecar_mtime_ns = number_of(source, "sidecar_mtime_ns");
  c->sidecar_size = json_object_get(source, "sidecar_size") ? number_of(source, "sidecar_size") : -1;
  for (size_t i = 0; hex && strlen(hex) == 64 && i < 32; i++) {
    memcpy(digits, hex + 2 * i, 2);
    c->known_sha256[i] = (uint8_t)strtoul(digits, NULL, 16);
  }
}

/* Why the answer doesn't tell of all documents, a shard being away for a while; NULL: it does. */
static const char *find_error(const json_t *docs) {
  for (size_t i = 0; i < json_array_size(docs); i++) {
    const json_t *error = json_object_get(json_array_get(docs, i), "error");
    if (error) return kin_elastic_reason(error);
  }
  return NULL;
}

kin_status kin_remote_get_known(kin_update *u, json_t *names, json_t **out, kin_error *err) {
  static const char call[] =
      "_mget?_source_includes=item,size,mtime_ns,sha256,exif_read,sidecar_size,sidecar_mtime_ns,meta";
  kin_status status = KIN_OK;
  const char *reason = "";
  *out = NULL;
  for (int tries = 0; status == KIN_OK && reason; tries++) {
    if (tries) status = kin_elastic_pause(u->store->remote->client, tries - 1, err);
    if (tries == KIN_ELASTIC_TRIES) return kin_fail(err, KIN_ERR_IO, "%s: %s", u->store->path, reason);
    json_decref(*out);
    *out = NULL;
    if (status == KIN_OK) status = kin_remote_post(u->store, call, json_pack("{sO}", "ids", names), out, err);
    const json_t *docs = json_object_get(*out, "docs");
    if (status == KIN_OK && json_array_size(docs) != json_array_size(names))
      status = kin_fail(err, KIN_ERR_FORMAT, "%s: asked for %zu documents, the answer has %zu", u->store->path,
                        json_array_size(names), json_array_size(docs));
    reason = find_error(docs);
  }
  return status;
}

/* Whether the file was looked up before in this run, below another root. */
static bool note_seen(kin_update *u, int64_t item, bool *seen) {
  kin_groups *all = u->store->remote->run.seen;
  size_t times = 0;
  if (all && !kin_groups_count(all, &item, sizeof item, &times)) return false;
  *seen = times > 1;
  return true;
}

static kin_status find(kin_update *u, kin_candidate *files, size_t n, kin_error *err) {
  json_t *names = json_array(), *answer = NULL;
  bool ok = names != NULL;
  for (size_t i = 0; ok && i < n; i++) {
    char name[48];
    int64_t item = kin_remote_item_of(files[i].path);
    kin_remote_name(item, 0, name);
    ok = item && note_seen(u, item, &files[i].seen) && json_array_append_new(names, json_string(name)) == 0;
  }
  kin_status status = ok ? kin_remote_get_known(u, names, &answer, err) : no_memory(u, err);
  const json_t *docs = json_object_get(answer, "docs");
  for (size_t i = 0; status == KIN_OK && i < n; i++) {
    const json_t *source = json_object_get(json_array_get(docs, i), "_source");
    if (source) kin_remote_read_known(&files[i], source);
  }
  json_decref(names);
  json_decref(answer);
  return status;
}

/* Pictures with the contents of the batch's, one of each content. */
static json_t *contents_query(const kin_update *u) {
  json_t *list = json_array();
  bool ok = list != NULL;
  for (size_t i = 0; ok && i < u->n; i++) {
    char hex[65];
    if (!u->candidates[i].embed || u->candidates[i].format) continue;
    hex_of(u->candidates[i].sha256, hex);
    ok = json_array_append_new(list, json_string(hex)) == 0;
  }
  json_t *query = ok && json_array_size(list) ? json_pack("{s{s[{s{sO}} {s{ss}}]}}", "bool", "filter", "terms",
                                                          "sha256", list, "term", "kind", "picture")
                                              : NULL;
  json_decref(list);
  return query;
}

static kin_status take_content(kin_update *u, const json_t *hit, size_t *slots, kin_error *err) {
  const json_t *source = json_object_get(hit, "_source");
  float *slot = NULL;
  for (size_t i = 0; i < u->n; i++) {
    kin_candidate *c = &u->candidates[i];
    char hex[65];
    if (!c->embed || c->format) continue;
    hex_of(c->sha256, hex);
    if (!text_of(source, "sha256") || strcmp(hex, text_of(source, "sha256")) != 0) continue;
    if (!slot) {
      slot = u->vectors + *slots * u->encoder->dim;
      if (!kin_remote_vector(u->store, hit, slot, u->encoder->dim))
        return kin_fail(err, KIN_ERR_FORMAT, "%s: %s has no vector", u->store->path, text_of(source, "path"));
      ++*slots;
    }
    c->vector = slot;
    c->width = (uint32_t)number_of(source, "width");
    c->height = (uint32_t)number_of(source, "height");
  }
  return KIN_OK;
}

static kin_status find_contents(kin_update *u, size_t *slots, kin_error *err) {
  json_t *query = contents_query(u), *answer = NULL;
  if (!query) return KIN_OK; /* none to look for, or no memory to spare an encoding */
  json_t *body = json_pack("{so s{ss} si s[ssss] s[s]}", "query", query, "collapse", "field", "sha256", "size",
                           KIN_ELASTIC_MOST_HITS, "_source", "path", "sha256", "width", "height", "fields", "vector");
  kin_status status = kin_remote_post(u->store, KIN_ELASTIC_SEARCH, body, &answer, err);
  const json_t *hits = kin_remote_hits(answer);
  for (size_t i = 0; status == KIN_OK && i < json_array_size(hits); i++)
    status = take_content(u, json_array_get(hits, i), slots, err);
  json_decref(answer);
  return status;
}

static kin_status find_twin(kin_update *u, kin_candidate *c, kin_error *err) {
  char hex[65];
  json_t *answer = NULL;
  hex_of(c->sha256, hex);
  json_t *body =
      json_pack("{s{s{s[{s{ss}} {s{ss}} {s{si}}]}} si s[ss]}", "query", "bool", "filter", "term", "sha256", hex, "term",
                "kind", "document", "term", "ordinal", 0, "size", 100, "_source", "item", "path");
  kin_status status = kin_remote_post(u->store, KIN_ELASTIC_SEARCH, body, &answer, err);
  const json_t *hits = kin_remote_hits(answer);
  for (size_t i = 0; status == KIN_OK && !c->twin && i < json_array_size(hits); i++) {
    const json_t *source = json_object_get(json_array_get(hits, i), "_source");
    const char *path = text_of(source, "path");
    kin_document_format format = path ? kin_document_format_of(path) : KIN_DOCUMENT_NONE;
    if (!format) format = KIN_DOCUMENT_PLAIN; /* given by its name */
    int64_t twin = number_of(source, "item");
    if (format == c->format && twin != c->item) c->twin = twin;
  }
  json_decref(answer);
  return status;
}

/* Whatever was seen exists and isn't excluded, which the sweep finds out by itself: so nothing is kept of it. What came
 * in for the file is whole. */
static kin_status mark_seen(kin_update *u, const kin_candidate *c, kin_error *err) {
  return kin_remote_close_item(u, c->item, err);
}

static kin_status read_page(kin_update *u, const char *from, const char *to, kin_error *err) {
  kin_elastic_run *run = &u->store->remote->run;
  char *low = kin_replace_invalid(from), *high = kin_replace_invalid(to);
  json_t *answer = NULL, *body = NULL;
  if (low && high)
    body =
        json_pack("{s{s{s{ss ss}}} s{ss} s[s] si s[sss]}", "query", "range", "path", "gte", low, "lt", high, "collapse",
                  "field", "item", "sort", "path", "size", KIN_ELASTIC_PAGE, "_source", "item", "path", "path_hex");
  free(low);
  free(run->to);
  run->to = high;
  kin_status status = kin_remote_post(u->store, KIN_ELASTIC_SEARCH, body, &answer, err);
  json_decref(run->page);
  run->page = json_incref(kin_remote_hits(answer));
  run->at = 0;
  json_decref(answer);
  return status;
}

static kin_status next_unseen(kin_update *u, const char *from, const char *to, kin_candidate *out, kin_error *err) {
  kin_elastic_run *run = &u->store->remote->run;
  *out = (kin_candidate){0};
  char *low = kin_replace_invalid(from), *high = kin_replace_invalid(to);
  bool fits = low && high && run->page && run->to && strcmp(run->to, high) == 0;
  bool last = fits && json_array_size(run->page) < KIN_ELASTIC_PAGE;
  const json_t *source = NULL;
  for (; fits && !source && run->at < json_array_size(run->page); run->at++) {
    const json_t *one = json_object_get(json_array_get(run->page, run->at), "_source");
    if (text_of(one, "path") && strcmp(text_of(one, "path"), low) >= 0) source = one;
  }
  free(low);
  free(high);
  if (!source && last && fits && run->at) return KIN_OK;
  if (!source) {
    kin_status status = read_page(u, from, to, err);
    if (status != KIN_OK) return status;
    source = json_object_get(json_array_get(run->page, 0), "_source");
    run->at = 1;
    if (!source) return KIN_OK;
  }
  out->item = number_of(source, "item");
  out->path = kin_remote_path(source);
  return out->path ? KIN_OK : no_memory(u, err);
}

/* ------------------------------------------------------------------- writing */

static kin_status begin(kin_update *u, kin_error *err) {
  (void)u;
  (void)err;
  return KIN_OK;
}

static bool set_size(json_t *fields, const kin_candidate *c) {
  return json_object_set_new(fields, "size", json_integer((json_int_t)c->size)) == 0 &&
         json_object_set_new(fields, "mtime_ns", json_integer(c->mtime_ns)) == 0;
}

/* What every document of a file says of it; what it was found by before and doesn't have any more is null. */
static json_t *describe(const kin_candidate *c, uint64_t ordinal, json_t *meta) {
  char hex[65];
  const char *slash = strrchr(c->path, '/');
  char *folder = strndup(c->path, slash && slash != c->path ? (size_t)(slash - c->path) : 1);
  hex_of(c->sha256, hex);
  json_t *f = json_pack("{sI sI ss ss}", "item", (json_int_t)c->item, "ordinal", (json_int_t)ordinal, "sha256", hex,
                        "kind", c->format ? "document" : "picture");
  bool ok = f && folder && set_size(f, c) && kin_json_set_text(f, "path", c->path) &&
            kin_json_set_text(f, "name", slash ? slash + 1 : c->path) && kin_json_set_text(f, "folder", folder);
  if (ok && !ordinal) ok = json_object_set_new(f, "name_words", kin_remote_words_of(c->path, true)) == 0;
  if (ok && (c->width || !ordinal)) {
    ok = json_object_set_new(f, "width", c->width ? json_integer(c->width) : json_null()) == 0 &&
         json_object_set_new(f, "height", c->height ? json_integer(c->height) : json_null()) == 0;
  }
  if (ok && meta) ok = json_object_set(f, "meta", meta) == 0;
  free(folder);
  if (ok) return f;
  json_decref(f);
  return NULL;
}

static kin_status write_item(kin_update *u, kin_candidate *c, kin_error *err) {
  bool exists = c->item != 0;
  if (!exists) c->item = kin_remote_item_of(c->path);
  json_t *meta = NULL;
  kin_status status = exists && c->format ? kin_remote_read_metadata(u->store, c->item, &meta, err) : KIN_OK;
  json_t *fields = describe(c, 0, meta);
  kin_elastic_open_item *open = c->item && fields ? kin_remote_item(u, c) : NULL;
  bool ok = open && json_object_update(open->fields, fields) == 0;
  json_decref(fields);
  json_decref(meta);
  if (status != KIN_OK) return status;
  if (!ok) return no_memory(u, err);
  open->exists = exists;
  open->counts = c->embed && !c->twin;
  return KIN_OK;
}

static bool set_passage(const kin_store *store, json_t *fields, uint64_t line, uint64_t offset, const char *text) {
  return json_object_set_new(fields, "line", json_integer((json_int_t)line)) == 0 &&
         json_object_set_new(fields, "offset", json_integer((json_int_t)offset)) == 0 &&
         kin_json_set_text(fields, "passage", text) &&
         (store->remote->words || json_object_set_new(fields, "passage_words", kin_remote_words_of(text, false)) == 0);
}

static kin_status write(kin_update *u, kin_candidate *c, const float *vector, uint64_t ordinal, const char *text,
                        uint64_t line, uint64_t offset, kin_error *err) {
  if (ordinal) {
    const kin_elastic_open_item *first = kin_remote_item(u, c);
    json_t *fields = first ? describe(c, ordinal, json_object_get(first->fields, "meta")) : NULL;
    if (!fields || !set_passage(u->store, fields, line, offset, text)) {
      json_decref(fields);
      return no_memory(u, err);
    }
    kin_status status = kin_remote_add(u, c->item, c->path, ordinal, fields, vector, false, err);
    /* The first passage comes last, so that those of a long document may be sent before it is whole. */
    return status == KIN_OK && u->store->remote->run.bytes >= ENOUGH_BYTES ? kin_remote_send(u, err) : status;
  }
  size_t bytes = u->store->collection.dim * sizeof *vector;
  kin_elastic_open_item *open = kin_remote_item(u, c);
  if (!open || (text && !set_passage(u->store, open->fields, line, offset, text))) return no_memory(u, err);
  free(open->vector);
  open->vector = malloc(bytes);
  if (!open->vector) return no_memory(u, err);
  memcpy(open->vector, vector, bytes);
  return KIN_OK;
}

static kin_status write_vector(kin_update *u, kin_candidate *c, const float *vector, const kin_passage *p,
                               kin_error *err) {
  if (!p) return write(u, c, vector, 0, NULL, 0, 0, err);
  return write(u, c, vector, p->ordinal, p->text, p->line, p->offset, err);
}

/* -------------------------------------------------------- all documents of a file */

typedef struct visitor {
  kin_update *u;
  kin_candidate *c;
  const char *path;
  int64_t item;
  size_t n;
} visitor;

static json_t *item_query(int64_t item, uint64_t from) {
  return json_pack("{s{s[{s{sI}} {s{s{sI}}}]}}", "bool", "filter", "term", "item", (json_int_t)item, "range", "ordinal",
                   "gte", (json_int_t)from);
}

static kin_status copy_passage(void *user, const json_t *hit, kin_error *err) {
  visitor *v = user;
  const json_t *source = json_object_get(hit, "_source");
  const char *text = text_of(source, "passage");
  float *vector = v->u->passage_vectors + (KIN_PASSAGES - 1) * v->u->encoder->dim; /* nothing waits */
  if (!text || !kin_remote_vector(v->u->store, hit, vector, v->u->encoder->dim))
    return kin_fail(err, KIN_ERR_FORMAT, "%s: a passage without a text or a vector", v->u->store->path);
  return write(v->u, v->c, vector, v->c->passages++, text, (uint64_t)number_of(source, "line"),
               (uint64_t)number_of(source, "offset"), err);
}

static kin_status copy_passages(kin_update *u, kin_candidate *c, kin_error *err) {
  visitor v = {.u = u, .c = c};
  return kin_remote_each(u->store, item_query(c->twin, 0), json_pack("[sss]", "passage", "line", "offset"), true, NULL,
                         copy_passage, &v, err);
}

static kin_status remove_one(void *user, const json_t *hit, kin_error *err) {
  visitor *v = user;
  const char *name = text_of(hit, "_id");
  v->n++;
  return name ? kin_remote_remove(v->u, v->item, v->path, name, err)
              : kin_fail(err, KIN_ERR_FORMAT, "%s: a hit without an _id", v->u->store->path);
}

static kin_status remove_from(kin_update *u, const kin_candidate *c, uint64_t ordinal, size_t *n, kin_error *err) {
  visitor v = {.u = u, .path = c->path, .item = c->item};
  kin_status status = kin_remote_each(u->store, item_query(c->item, ordinal), NULL, false, NULL, remove_one, &v, err);
  if (n) *n = v.n;
  return status;
}

/* Of a longer version before passages are left. */
static kin_status complete(kin_update *u, const kin_candidate *c, kin_error *err) {
  kin_status status = remove_from(u, c, c->passages, NULL, err);
  return status == KIN_OK ? kin_remote_close_item(u, c->item, err) : status;
}

static kin_status drop(kin_update *u, const kin_candidate *c, kin_error *err) {
  kin_remote_forget(u->store, c->item);
  kin_status status = c->written ? kin_remote_make_visible(u->store, err) : KIN_OK; /* passages that were sent */
  if (status != KIN_OK) return status;
  return remove_from(u, c, 0, NULL, err);
}

static kin_status leave(kin_update *u, const kin_candidate *c, bool *left, kin_error *err) {
  size_t n = 0;
  kin_remote_forget(u->store, c->item);
  kin_status status = remove_from(u, c, 0, &n, err);
  *left = n > 0;
  return status;
}

/* ---------------------------------------------------------------------- captions */

/* Null where the file doesn't tell: what was there before goes. */
static bool set_exif(json_t *fields, const kin_exif *exif) {
  json_t *date = *exif->date ? json_string(exif->date) : json_null();
  json_t *camera = *exif->camera ? json_string(exif->camera) : json_null();
  return json_object_set_new(fields, "exif", json_pack("{so so}", "date", date, "camera", camera)) == 0;
}

static kin_status write_captions(kin_update *u, const kin_candidate *c, const kin_caption_news *news, kin_error *err) {
  kin_elastic_open_item *open = kin_remote_item(u, c);
  bool ok = open != NULL;
  if (ok && news->has_sidecar)
    ok = kin_remote_set_caption_field(u->store, open->fields, "caption_sidecar", news->sidecar) &&
         json_object_set_new(open->fields, "sidecar_size", json_integer(news->sidecar_size)) == 0 &&
         json_object_set_new(open->fields, "sidecar_mtime_ns", json_integer(news->sidecar_mtime_ns)) == 0;
  if (ok && news->has_embedded)
    ok = kin_remote_set_caption_field(u->store, open->fields, "caption_embedded", news->embedded) &&
         json_object_set_new(open->fields, "exif_read", json_boolean(news->has_exif)) == 0;
  if (ok && news->has_exif) ok = set_exif(open->fields, &news->exif);
  if (!ok) return no_memory(u, err);
  /* Nothing more comes for a file that is unchanged. */
  return open->vector ? KIN_OK : kin_remote_close_item(u, c->item, err);
}

static kin_status touch(kin_update *u, const kin_candidate *c, kin_error *err) {
  kin_elastic_open_item *open = kin_remote_item(u, c);
  return open && set_size(open->fields, c) ? KIN_OK : no_memory(u, err);
}

/* ---------------------------------------------------------------- committing */

static bool is_due(const kin_update *u) {
  const kin_elastic_run *run = &u->store->remote->run;
  return run->bytes >= ENOUGH_BYTES || (run->n && kin_embed_now() - run->since >= ENOUGH_SECONDS);
}

static void rollback(kin_update *u) {
  kin_remote_clear(&u->store->remote->run);
}

static kin_status commit(kin_update *u, kin_error *err) {
  kin_status status = kin_remote_send(u, err);
  return status == KIN_OK ? kin_remote_make_visible(u->store, err) : status;
}

const kin_catalogue kin_remote_catalogue = {.start = start,
                                            .end = end,
                                            .find = find,
                                            .find_contents = find_contents,
                                            .find_twin = find_twin,
                                            .mark_seen = mark_seen,
                                            .next_unseen = next_unseen,
                                            .begin = begin,
                                            .write_item = write_item,
                                            .write_vector = write_vector,
                                            .copy_passages = copy_passages,
                                            .complete = complete,
                                            .write_captions = write_captions,
                                            .touch = touch,
                                            .drop = drop,
                                            .leave = leave,
                                            .is_due = is_due,
                                            .commit = commit,
                                            .rollback = rollback};
