/* kin_store_import: vectors that were made elsewhere, written as a run of indexing would, all of them or none. */
#include "store/import.h"

#include "model/model.h"
#include "store/elastic.h"
#include "store/update.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define REPORT_EVERY 256
#define TOLERANCE 1e-4 /* of a vector's squared length, within which its bits are kept */

typedef struct import {
  kin_update u;
  kin_store_encoder encoder;
  kin_import_source *source;
  kin_import_options options;
  kin_import_report report;
  kin_candidate file; /* that the vectors at hand are of */
  bool checking;      /* the file is read through before anything is sent: nothing is written */
  kin_error failure;  /* the first file that an index didn't take */
} import;

static const char *text_of(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

/* --------------------------------------------------------------------- model */

/* The collection of the model `id` in the store, into m->encoder, its strings in *all. */
static kin_status find_collection(import *m, const char *id, kin_collection **all, size_t *n, kin_error *err) {
  kin_store *store = m->u.store;
  kin_status status = kin_sql_transact(store, KIN_SQL_BEGIN_READ, err);
  if (status == KIN_OK) status = kin_collections_read(store, 0, all, n, err);
  kin_sql_rollback(store);
  for (size_t i = 0; status == KIN_OK && i < *n; i++) {
    const kin_collection *c = &(*all)[i];
    if (id ? strcmp(c->model_id, id) == 0 : c->id == store->selected || *n == 1)
      m->encoder = (kin_store_encoder){.model_id = c->model_id,
                                       .model_path = c->model_path,
                                       .dim = c->dim,
                                       .has_image = c->image,
                                       .has_text = c->text,
                                       .precision = c->precision,
                                       .pooling = c->pooling};
  }
  return status;
}

/* What the file says made its vectors. */
static kin_status take_header(import *m, const json_t *header, kin_error *err) {
  const char *id = json_string_value(json_object_get(header, "model_id"));
  const char *path = json_string_value(json_object_get(header, "model"));
  if (!id || strlen(id) != 64 || !path) return kin_import_fail(m->source, err, "names no model");
  m->encoder = (kin_store_encoder){.model_id = id,
                                   .model_path = path,
                                   .dim = kin_import_dim(m->source),
                                   .has_image = json_is_true(json_object_get(header, "image")),
                                   .has_text = json_is_true(json_object_get(header, "text"))};
  const char *precision = text_of(header, "precision"), *pooling = text_of(header, "pooling");
  if ((precision && kin_precision_parse(precision, &m->encoder.precision, NULL) != KIN_OK) ||
      (pooling && kin_pooling_parse(pooling, &m->encoder.pooling, NULL) != KIN_OK))
    return kin_import_fail(m->source, err, "its precision or pooling is none of ours");
  return KIN_OK;
}

static kin_status take_model(import *m, const kin_model_info *info, char **path, kin_error *err) {
  const char *id = json_string_value(json_object_get(kin_import_header(m->source), "model_id"));
  const char *dir = kin_model_dir(m->options.model);
  if (id && strcmp(id, info->id) != 0)
    return kin_fail(err, KIN_ERR_MISMATCH, "%s: the vectors are another model's (id %.12s) than %s's", m->options.path,
                    id, dir);
  *path = realpath(dir, NULL);
  m->encoder = (kin_store_encoder){.model_id = info->id,
                                   .model_path = *path ? *path : dir,
                                   .dim = info->dim,
                                   .has_image = info->has_image,
                                   .has_text = info->has_text,
                                   .precision = info->precision,
                                   .pooling = info->pooling};
  return KIN_OK;
}

/* Open, or make, the collection that the vectors belong to. */
static kin_status open_collection(import *m, kin_error *err) {
  const json_t *header = kin_import_header(m->source);
  kin_model_info info;
  kin_collection *all = NULL;
  char *path = NULL;
  size_t n = 0;
  kin_status status = KIN_OK;
  if (m->options.model) {
    kin_model_get_info(m->options.model, &info);
    status = take_model(m, &info, &path, err);
  } else {
    status = find_collection(m, json_string_value(json_object_get(header, "model_id")), &all, &n, err);
    if (status == KIN_OK && !m->encoder.model_id && header) status = take_header(m, header, err);
  }
  if (status == KIN_OK && !m->encoder.model_id)
    status = kin_fail(err, KIN_ERR_MISMATCH, "%s: doesn't say which model made its vectors; name it", m->options.path);
  if (status == KIN_OK && m->encoder.dim != kin_import_dim(m->source))
    status = kin_fail(err, KIN_ERR_MISMATCH, "%s: has vectors of %zu floats, but %s makes %zu", m->options.path,
                      kin_import_dim(m->source), m->encoder.model_path, m->encoder.dim);
  if (status == KIN_OK) status = kin_collection_open(m->u.store, &m->encoder, NULL, err);
  kin_collections_free(all, n);
  free(path);
  m->encoder.model_id = m->encoder.model_path = "";
  return status;
}

/* ----------------------------------------------------------------------- item */

static int64_t number_of(const kin_import_row *row, const char *key) {
  return json_integer_value(json_object_get(row->object, key));
}

/* The file as the row, else the disk says; of one that isn't there nothing is known but its path. */
static kin_status describe_file(import *m, const kin_import_row *row, kin_error *err) {
  kin_candidate *c = &m->file;
  const char *hex = text_of(row->object, "sha256");
  struct stat s;
  c->width = (uint32_t)number_of(row, "width");
  c->height = (uint32_t)number_of(row, "height");
  if (hex) {
    if (strlen(hex) != 64 || strspn(hex, "0123456789abcdef") != 64)
      return kin_import_fail(m->source, err, "\"sha256\" isn't 64 hex digits");
    kin_update_parse_sha256(hex, c->sha256);
    c->size = (uint64_t)number_of(row, "size");
    c->mtime_ns = number_of(row, "mtime_ns");
  } else if (m->checking) {
    return KIN_OK;
  } else if (stat(c->path, &s) == 0 && S_ISREG(s.st_mode)) {
    c->size = (uint64_t)s.st_size;
    c->mtime_ns = (int64_t)s.st_mtim.tv_sec * 1000000000 + s.st_mtim.tv_nsec;
    return kin_update_hash(c->path, c->sha256, err);
  } else {
    memcpy(c->sha256, c->known_sha256, sizeof c->sha256);
  }
  return KIN_OK;
}

/* A new item keeps its id, unless another has it. In an index the path alone makes an id. */
static kin_status choose_id(import *m, const kin_import_row *row, kin_error *err) {
  sqlite3_stmt *s;
  bool taken;
  int64_t id = number_of(row, "id");
  if (m->u.store->remote || m->file.item || id <= 0 || m->options.new_ids) return KIN_OK;
  m->file.wanted_item = id;
  kin_status status = kin_sql_bind(m->u.store, KIN_SQL_FIND_ID, &s, err, "i", id);
  if (status == KIN_OK) status = kin_sql_step(m->u.store, s, &taken, err);
  if (status != KIN_OK || !taken) return status;
  status = kin_import_fail(m->source, err, "item %lld is %s already; let the store give new ids", (long long)id,
                           (const char *)sqlite3_column_text(s, 0));
  sqlite3_reset(s);
  return status;
}

static kin_status write_given(import *m, const char *given, const json_t *values, kin_error *err) {
  kin_update *u = &m->u;
  kin_status status = KIN_OK;
  const char *key;
  json_t *value;
  if (u->store->remote) return kin_remote_import_given(u, &m->file, given, values, err);
  if (given) status = kin_sql_run(u->store, KIN_SQL_SET_GIVEN, err, "is", m->file.item, given);
  json_object_foreach((json_t *)values, key, value) {
    if (status == KIN_OK) status = kin_metadata_set(u->store, m->file.item, key, value, err);
  }
  return status;
}

static kin_status write_words(import *m, const kin_import_row *row, kin_error *err) {
  const json_t *captions = json_object_get(row->object, "captions"), *values = json_object_get(row->object, "metadata");
  const char *sidecar = text_of(captions, "sidecar"), *embedded = text_of(captions, "embedded");
  const kin_caption_news news = {.has_sidecar = sidecar != NULL,
                                 .sidecar = (char *)sidecar,
                                 .sidecar_size = -1,
                                 .has_embedded = embedded != NULL,
                                 .embedded = (char *)embedded};
  kin_status status = write_given(m, text_of(captions, "given"), values, err);
  if (status != KIN_OK || !(sidecar || embedded)) return status;
  return m->u.catalogue->write_captions(&m->u, &m->file, &news, err);
}

/* All vectors of the file at hand are written. */
static kin_status end_file(import *m, kin_error *err) {
  kin_update *u = &m->u;
  if (!m->file.path || m->checking) return KIN_OK;
  kin_status status = (m->file.indexed ? u->catalogue->complete : u->catalogue->mark_seen)(u, &m->file, err);
  if (status != KIN_OK || !u->store->remote || !u->catalogue->is_due(u)) return status;
  return u->catalogue->commit(u, err);
}

/* What the store knows of the file at hand. */
static kin_status find_file(import *m, kin_error *err) {
  kin_update *u = &m->u;
  bool twice = false;
  kin_status status = KIN_OK;
  if (m->checking)
    status = kin_remote_import_note(u, m->file.path, &twice, err);
  else if (u->store->remote)
    status = kin_remote_import_find(u, &m->file, err);
  else
    status = u->catalogue->find(u, &m->file, 1, err);
  if (status != KIN_OK || !(twice || m->file.seen)) return status;
  return kin_import_fail(m->source, err, "%s is there twice", m->file.path);
}

/* Takes over `path`. */
static kin_status begin_file(import *m, const kin_import_row *row, char *path, kin_error *err) {
  kin_update *u = &m->u;
  kin_status status = end_file(m, err);
  free(m->file.path);
  m->file = (kin_candidate){.path = path, .sidecar_size = -1};
  if (text_of(row->object, "passage")) {
    m->file.format = kin_document_format_of(path);
    if (!m->file.format) m->file.format = KIN_DOCUMENT_PLAIN;
  }
  if (status == KIN_OK) status = find_file(m, err);
  if (status == KIN_OK) status = describe_file(m, row, err);
  if (status == KIN_OK) status = choose_id(m, row, err);
  if (status == KIN_OK && m->checking)
    return kin_remote_import_given(u, &m->file, NULL, json_object_get(row->object, "metadata"), err);
  if (status != KIN_OK) return status;
  m->report.items++;
  m->report.replaced += m->file.indexed;
  status = u->catalogue->write_item(u, &m->file, err);
  if (status == KIN_OK && m->file.indexed && !u->store->remote)
    status = kin_sql_run(u->store, KIN_SQL_DROP_VECTORS, err, "ii", m->file.item, u->store->collection.id);
  return status;
}

/* ----------------------------------------------------------------------- rows */

static kin_status normalise(import *m, const kin_import_row *row, kin_error *err) {
  size_t dim = kin_import_dim(m->source);
  double sum = 0;
  for (size_t i = 0; i < dim; i++) sum += (double)row->vector[i] * (double)row->vector[i];
  if (sum == 0) return kin_import_fail(m->source, err, "a vector of zeros");
  if (fabs(sum - 1) <= TOLERANCE || m->checking) return KIN_OK;
  m->report.normalised++;
  for (size_t i = 0; i < dim; i++) row->vector[i] = (float)((double)row->vector[i] / sqrt(sum));
  return KIN_OK;
}

/* Of a file whose folder isn't there, as it is written. */
static kin_status find_path(import *m, const kin_import_row *row, char **out, kin_error *err) {
  if (kin_store_absolute_path(row->path, out, NULL) == KIN_OK) return KIN_OK;
  *out = NULL;
  if (*row->path != '/') return kin_import_fail(m->source, err, "the folder of %s isn't there", row->path);
  *out = kin_strdup(row->path);
  return *out ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", row->path);
}

static kin_status take_row(import *m, const kin_import_row *row, kin_error *err) {
  const char *text = text_of(row->object, "passage");
  char *path;
  kin_status status = find_path(m, row, &path, err);
  if (status != KIN_OK) return status;
  bool goes_on = m->file.path && strcmp(path, m->file.path) == 0;
  if (!goes_on) {
    status = begin_file(m, row, path, err);
  } else {
    free(path);
    if (!text) status = kin_import_fail(m->source, err, "%s is there twice", m->file.path);
  }
  if (status == KIN_OK) status = normalise(m, row, err);
  if (status != KIN_OK || m->checking) return status;
  const kin_passage passage = {.ordinal = m->file.passages++,
                               .line = (uint64_t)number_of(row, "line"),
                               .offset = (uint64_t)number_of(row, "offset"),
                               .text = (char *)text};
  status = m->u.catalogue->write_vector(&m->u, &m->file, row->vector, text ? &passage : NULL, err);
  m->report.vectors++;
  if (status == KIN_OK && !goes_on && row->object) status = write_words(m, row, err);
  return status;
}

static kin_status take_rows(import *m, kin_error *err) {
  kin_import_row row;
  kin_status status = KIN_OK;
  while (status == KIN_OK && (status = kin_import_next(m->source, &row, err)) == KIN_OK && row.path) {
    status = take_row(m, &row, err);
    const bool tell = m->options.on_progress && row.number % REPORT_EVERY == 0;
    if (status == KIN_OK && tell &&
        !m->options.on_progress(m->options.user, m->report.vectors, kin_import_total(m->source)))
      status = kin_fail(err, KIN_ERR_CANCELLED, "%s: stopped; %s", m->options.path,
                        m->u.store->remote && !m->checking ? "import it again" : "nothing was taken");
  }
  return status;
}

/* Of an index each file changes by itself: mistakes must be found before the first does. */
static kin_status check_rows(import *m, kin_error *err) {
  m->checking = true;
  kin_status status = take_rows(m, err);
  if (status == KIN_OK) status = kin_remote_import_noted(&m->u, err);
  m->checking = false;
  free(m->file.path);
  m->file = (kin_candidate){0};
  kin_import_close(m->source);
  m->source = NULL;
  return status == KIN_OK ? kin_import_open(m->options.path, m->options.paths, &m->source, err) : status;
}

static void note_failure(void *user, const char *path, kin_status status, const char *message) {
  import *m = user;
  (void)path;
  if (m->failure.status == KIN_OK) kin_fail(&m->failure, status, "%s", message);
}

/* While an index is busy. */
static bool keep_on(void *user, const kin_index_progress *progress) {
  const import *m = user;
  (void)progress;
  return !m->options.on_progress ||
         m->options.on_progress(m->options.user, m->report.vectors, kin_import_total(m->source));
}

static kin_status run(import *m, kin_error *err) {
  kin_update *u = &m->u;
  kin_status status = u->catalogue->start(u, err);
  if (status == KIN_OK && u->store->remote) status = check_rows(m, err);
  if (status == KIN_OK) status = u->catalogue->begin(u, err);
  if (status != KIN_OK) return status;
  status = take_rows(m, err);
  if (status == KIN_OK) status = end_file(m, err);
  if (status == KIN_OK) status = u->catalogue->commit(u, err);
  if (status == KIN_OK && u->progress.failed)
    status = kin_fail(err, m->failure.status, "%s; refused in all: %llu, import again", m->failure.message,
                      (unsigned long long)u->progress.failed);
  if (status != KIN_OK) u->catalogue->rollback(u);
  return status;
}

kin_status kin_store_import(kin_store *store, const kin_import_options *options, kin_import_report *out,
                            kin_error *err) {
  import m = {.options = *options};
  m.u = (kin_update){.store = store,
                     .catalogue = store->remote ? &kin_remote_catalogue : &kin_sql_catalogue,
                     .encoder = &m.encoder,
                     .options = {.on_progress = keep_on, .on_failure = note_failure, .user = &m}};
  if (out) *out = m.report;
  if (!store->writable) return kin_fail(err, KIN_ERR_ARGUMENT, "%s: is open for reading only", store->path);
  if (!options->path) return kin_fail(err, KIN_ERR_ARGUMENT, "no file to import");
  kin_status status = kin_import_open(options->path, options->paths, &m.source, err);
  const size_t before = store->n_collections;
  if (status == KIN_OK) status = open_collection(&m, err);
  const bool made = status == KIN_OK && store->n_collections > before;
  if (status == KIN_OK) status = run(&m, err);
  if (m.u.catalogue->end) m.u.catalogue->end(&m.u);
  if (status != KIN_OK && made) kin_store_drop_collection(store, store->collection.id, NULL);
  kin_import_close(m.source);
  free(m.file.path);
  if (status == KIN_OK && out) *out = m.report;
  return status;
}
