/* Changes on their way to an index: gathered by file, sent in bounded bulk requests, answered document by document. */
#include "embed/embed.h"
#include "embed/path_json.h"
#include "store/elastic_parts.h"
#include "text/buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_BYTES (4 << 20)
#define MOST_NAMED 20 /* failures of a commit that are named */

static kin_status no_memory(const kin_update *u, kin_error *err) {
  return kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory for what is to be written", u->store->path);
}

static kin_elastic_run *run_of(const kin_store *store) {
  return &store->remote->run;
}

static void operation_free(kin_elastic_operation *o) {
  free(o->path);
  free(o->text);
}

static void item_free(kin_elastic_open_item *i) {
  free(i->path);
  free(i->vector);
  json_decref(i->fields);
}

void kin_remote_clear(kin_elastic_run *run) {
  while (run->n_items) item_free(&run->items[--run->n_items]);
  while (run->n) operation_free(&run->operations[--run->n]);
  free(run->items);
  free(run->operations);
  json_decref(run->page);
  free(run->to);
  kin_groups_free(run->seen);
  json_decref(run->asked);
  json_decref(run->known);
  *run = (kin_elastic_run){0};
}

/* ------------------------------------------------------------------------ queue */

/* ',"vector":[...]' with floats that read back the same. */
static void append_vector(kin_bytes *out, const float *vector, size_t dim) {
  char number[24];
  kin_bytes_append(out, ",\"vector\":[", 11);
  for (size_t i = 0; i < dim; i++) {
    int n = snprintf(number, sizeof number, i ? ",%.9g" : "%.9g", (double)vector[i]);
    kin_bytes_append(out, number, (size_t)n);
  }
  kin_bytes_append(out, "]", 1);
}

/* Takes `text` over. */
static kin_status queue(kin_update *u, int64_t item, const char *path, const char *name, kin_bytes *text, bool counts,
                        kin_error *err) {
  kin_elastic_run *run = run_of(u->store);
  char *copy = kin_strdup(path);
  if (text->failed || !copy ||
      !kin_grow((void **)&run->operations, &run->capacity, run->n + 1, sizeof *run->operations)) {
    free(copy);
    kin_bytes_free(text);
    return no_memory(u, err);
  }
  if (!run->n) run->since = kin_embed_now();
  kin_elastic_operation *o = &run->operations[run->n++];
  *o = (kin_elastic_operation){.item = item, .path = copy, .text = text->data, .size = text->size, .counts = counts};
  snprintf(o->name, sizeof o->name, "%s", name);
  run->bytes += text->size;
  return KIN_OK;
}

/* {"index":{"_id":"..."}} and the document; with `change` only what is in `fields`, or all of it where it is new. */
static kin_status add(kin_update *u, int64_t item, const char *path, uint64_t ordinal, const json_t *fields,
                      const float *vector, bool change, bool counts, kin_error *err) {
  kin_bytes out = {0};
  char name[48], head[96];
  char *text = json_dumps(fields, JSON_COMPACT | JSON_REAL_PRECISION(17));
  if (!text) return no_memory(u, err);
  kin_remote_name(item, ordinal, name);
  int n = snprintf(head, sizeof head, "{\"%s\":{\"_id\":\"%s\"}}\n%s", change ? "update" : "index", name,
                   change ? "{\"doc\":" : "");
  kin_bytes_append(&out, head, (size_t)n);
  kin_bytes_append(&out, text, strlen(text) - 1); /* without its brace */
  if (vector) append_vector(&out, vector, u->store->collection.dim);
  const char *tail = change ? "},\"doc_as_upsert\":true}\n" : "}\n";
  kin_bytes_append(&out, tail, strlen(tail));
  free(text);
  return queue(u, item, path, name, &out, counts, err);
}

kin_status kin_remote_add(kin_update *u, int64_t item, const char *path, uint64_t ordinal, json_t *fields,
                          const float *vector, bool counts, kin_error *err) {
  kin_status status = fields ? add(u, item, path, ordinal, fields, vector, false, counts, err) : no_memory(u, err);
  json_decref(fields);
  return status;
}

kin_status kin_remote_change(kin_update *u, int64_t item, uint64_t ordinal, json_t *fields, kin_error *err) {
  char name[48];
  kin_remote_name(item, ordinal, name);
  return add(u, item, name, ordinal, fields, NULL, true, false, err);
}

kin_status kin_remote_remove(kin_update *u, int64_t item, const char *path, const char *name, kin_error *err) {
  kin_bytes out = {0};
  kin_bytes_append(&out, "{\"delete\":{\"_id\":\"", 18);
  kin_bytes_append(&out, name, strlen(name));
  kin_bytes_append(&out, "\"}}\n", 4);
  return queue(u, item, path, name, &out, false, err);
}

/* ------------------------------------------------------------------- open items */

static kin_elastic_open_item *find_open(const kin_store *store, int64_t item) {
  kin_elastic_run *run = run_of(store);
  for (size_t i = run->n_items; i-- > 0;)
    if (run->items[i].item == item) return &run->items[i];
  return NULL;
}

static void drop_open(kin_store *store, kin_elastic_open_item *open) {
  kin_elastic_run *run = run_of(store);
  item_free(open);
  *open = run->items[--run->n_items];
}

kin_elastic_open_item *kin_remote_item(kin_update *u, const kin_candidate *c) {
  kin_elastic_run *run = run_of(u->store);
  kin_elastic_open_item *open = find_open(u->store, c->item);
  if (open) return open;
  if (!kin_grow((void **)&run->items, &run->items_capacity, run->n_items + 1, sizeof *run->items)) return NULL;
  open = &run->items[run->n_items];
  *open =
      (kin_elastic_open_item){.item = c->item, .path = kin_strdup(c->path), .fields = json_object(), .exists = true};
  if (open->path && open->fields) {
    run->n_items++;
    return open;
  }
  item_free(open);
  return NULL;
}

kin_status kin_remote_close_item(kin_update *u, int64_t item, kin_error *err) {
  kin_elastic_open_item *open = find_open(u->store, item);
  if (!open) return KIN_OK;
  kin_status status = add(u, item, open->path, 0, open->fields, open->vector, open->exists, open->counts, err);
  drop_open(u->store, open);
  return status;
}

void kin_remote_forget(kin_store *store, int64_t item) {
  kin_elastic_run *run = run_of(store);
  kin_elastic_open_item *open = find_open(store, item);
  size_t kept = 0;
  if (open) drop_open(store, open);
  for (size_t i = 0; i < run->n; i++) {
    if (run->operations[i].item == item)
      operation_free(&run->operations[i]);
    else
      run->operations[kept++] = run->operations[i];
  }
  run->n = kept;
}

/* ----------------------------------------------------------------------- sending */

/* Operations [first, first + n) that go in one request. */
typedef struct part {
  size_t first, n;
  kin_bytes body;
} part;

/* Operations on one document never go in two requests, which may overtake each other. */
static kin_status make_parts(kin_update *u, part **out, size_t *n_out, kin_error *err) {
  const kin_elastic_run *run = run_of(u->store);
  size_t capacity = 0;
  *out = NULL;
  *n_out = 0;
  for (size_t i = 0; i < run->n; i++) {
    const kin_elastic_operation *o = &run->operations[i];
    bool together = i && strcmp(run->operations[i - 1].name, o->name) == 0;
    part *last = *n_out ? &(*out)[*n_out - 1] : NULL;
    if (!last || (!together && last->body.size + o->size > REQUEST_BYTES)) {
      if (!kin_grow((void **)out, &capacity, *n_out + 1, sizeof **out)) return no_memory(u, err);
      last = &(*out)[(*n_out)++];
      *last = (part){.first = i};
    }
    kin_bytes_append(&last->body, o->text, o->size);
    last->n++;
    if (last->body.failed) return no_memory(u, err);
  }
  return KIN_OK;
}

/* What became of one operation: KIN_OK, KIN_ERR_BUSY (may succeed later), or its failure. */
static kin_status read_result(const json_t *result, const char **reason) {
  const json_t *outcome = json_object_iter_value(json_object_iter((json_t *)result));
  const json_t *error = json_object_get(outcome, "error");
  json_int_t code = json_integer_value(json_object_get(outcome, "status"));
  *reason = error ? kin_elastic_reason(error) : "the answer doesn't tell what became of it";
  if (code / 100 == 2) return KIN_OK;
  if (code == 404 && json_object_get(result, "delete")) return KIN_OK;
  return code == 429 || code == 503 ? KIN_ERR_BUSY : KIN_ERR_IO;
}

static void count_failure(kin_update *u, const kin_elastic_operation *o, const char *reason, size_t *named) {
  char message[700];
  if (o->counts && u->pending.done) u->pending.done--;
  snprintf(message, sizeof message, "%.300s: Elasticsearch didn't take it: %.300s", o->path, reason);
  if ((*named)++ < MOST_NAMED)
    kin_update_failure(u, o->path, KIN_ERR_IO, message);
  else
    u->progress.failed++;
}

/* Take out of the queue what is done or has failed for good; err says why the others must wait. */
static kin_status read_results(kin_update *u, const part *parts, const kin_elastic_request *requests, size_t n_parts,
                               size_t *named, kin_error *err) {
  kin_elastic_run *run = run_of(u->store);
  size_t kept = 0;
  for (size_t p = 0; p < n_parts; p++) {
    size_t n = json_array_size(json_object_get(requests[p].answer, "items"));
    if (requests[p].status == KIN_OK && n != parts[p].n)
      return kin_fail(err, KIN_ERR_FORMAT, "%s: a bulk request of %zu documents was answered for %zu", u->store->path,
                      parts[p].n, n);
  }
  for (size_t p = 0; p < n_parts; p++) {
    const json_t *results = json_object_get(requests[p].answer, "items");
    bool answered = requests[p].status == KIN_OK;
    for (size_t i = 0; i < parts[p].n; i++) {
      kin_elastic_operation *o = &run->operations[parts[p].first + i];
      const char *reason = "";
      kin_status status = answered ? read_result(json_array_get(results, i), &reason) : KIN_ERR_BUSY;
      if (status == KIN_ERR_BUSY) {
        if (answered) kin_fail(err, KIN_ERR_IO, "%s: Elasticsearch is too busy: %s", u->store->path, reason);
        run->operations[kept++] = *o;
        continue;
      }
      if (status != KIN_OK) count_failure(u, o, reason, named);
      operation_free(o);
    }
  }
  run->n = kept;
  return KIN_OK;
}

/* Send all that is queued once. */
static kin_status send_once(kin_update *u, size_t *named, kin_error *err) {
  struct kin_remote *r = u->store->remote;
  part *parts = NULL;
  size_t n = 0;
  kin_status status = make_parts(u, &parts, &n, err);
  kin_elastic_request *requests = status == KIN_OK ? calloc(n ? n : 1, sizeof *requests) : NULL;
  char *path = kin_format("%s/_bulk", r->target ? r->target : r->address.index);
  if (status == KIN_OK && (!requests || !path)) status = no_memory(u, err);
  for (size_t i = 0; status == KIN_OK && i < n; i++)
    requests[i] = (kin_elastic_request){
        .method = "POST", .path = path, .body = parts[i].body.data, .size = parts[i].body.size, .lines = true};
  if (status == KIN_OK) {
    status = kin_elastic_send(r->client, requests, n, err);
    kin_status read = read_results(u, parts, requests, n, named, status == KIN_OK ? err : NULL);
    if (status == KIN_OK) status = read;
  }
  for (size_t i = 0; i < n; i++) {
    kin_bytes_free(&parts[i].body);
    if (requests) json_decref(requests[i].answer);
  }
  free(parts);
  free(requests);
  free(path);
  return status;
}

kin_status kin_remote_send(kin_update *u, kin_error *err) {
  kin_elastic_run *run = run_of(u->store);
  kin_status status = KIN_OK;
  size_t named = 0;
  for (int tries = 0; status == KIN_OK && run->n; tries++) {
    if (tries) status = kin_elastic_pause(u->store->remote->client, tries - 1, err);
    if (status == KIN_OK) status = send_once(u, &named, err);
    if (status == KIN_OK && run->n && tries + 1 == KIN_ELASTIC_TRIES) return KIN_ERR_IO; /* err says why */
  }
  run->bytes = 0;
  return status;
}
