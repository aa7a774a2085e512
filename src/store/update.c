/* A run of indexing: walk the paths, hand on what is new or changed, drop what is gone. */
#include "store/update.h"

#include "store/elastic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define REPORT_EVERY 64 /* files of a walk */

kin_status kin_update_report(kin_update *u, kin_error *err) {
  if (!u->options.on_progress || u->options.on_progress(u->options.user, &u->progress)) return KIN_OK;
  return kin_fail(err, KIN_ERR_CANCELLED, "stopped; what was committed is kept");
}

void kin_update_failure(kin_update *u, const char *path, kin_status status, const char *message) {
  u->progress.failed++;
  if (u->options.on_failure) u->options.on_failure(u->options.user, path, status, message);
}

/* ---------------------------------------------------------------------- walk */

/* A file that was given by its name alone is what this run takes, a picture first. */
static kin_document_format format_of(const kin_update *u, const char *path) {
  if (!(u->walk.kinds & KIN_WALK_DOCUMENTS)) return KIN_DOCUMENT_NONE;
  kin_document_format format = kin_document_format_of(path);
  return format || u->walk.kinds & KIN_WALK_PICTURES ? format : KIN_DOCUMENT_PLAIN;
}

/* A file that was looked up: unchanged, or a candidate. Takes over its path. */
static kin_status take_file(kin_update *u, kin_candidate *c, kin_error *err) {
  kin_status status = KIN_OK;
  if (c->seen) {
    free(c->path);
    return KIN_OK;
  }
  u->progress.found++;
  if (c->same && c->indexed) {
    u->progress.unchanged++;
    status = u->catalogue->mark_seen(u, c, err);
    if (status == KIN_OK && !format_of(u, c->path)) status = kin_update_captions(u, c, err);
    if (status == KIN_OK && u->operations >= KIN_OPERATIONS) status = kin_update_commit(u, err);
    free(c->path);
  } else {
    c->same = false;
    c->format = format_of(u, c->path);
    u->candidates[u->n++] = *c;
    kin_file_read_ahead(c->path);
    if (u->n >= 2 * u->chunk) status = kin_update_flush(u, err);
  }
  if (status == KIN_OK && u->progress.found % REPORT_EVERY == 0) status = kin_update_report(u, err);
  return status;
}

/* Look up and take the files that wait. */
static kin_status take_ahead(kin_update *u, kin_error *err) {
  size_t n = u->n_ahead, i = 0;
  u->n_ahead = 0;
  kin_status status = n ? u->catalogue->find(u, u->ahead, n, err) : KIN_OK;
  for (; status == KIN_OK && i < n; i++) status = take_file(u, &u->ahead[i], err);
  for (; i < n; i++) free(u->ahead[i].path);
  return status;
}

static kin_status see_file(kin_update *u, const kin_walk_entry *entry, kin_error *err) {
  char *path = kin_strdup(entry->path);
  if (!path) return kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", entry->path);
  u->ahead[u->n_ahead++] =
      (kin_candidate){.path = path, .size = entry->size, .mtime_ns = entry->mtime_ns, .sidecar_size = -1};
  return u->n_ahead == KIN_AHEAD ? take_ahead(u, err) : KIN_OK;
}

static bool is_root(const char *path, const char *root) {
  size_t n = strlen(root);
  return strncmp(path, root, n) == 0 && (!path[n] || strcmp(path + n, "/") == 0);
}

/* *ok tells whether the root itself could be read. */
static kin_status walk_root(kin_update *u, const char *root, bool *ok, kin_error *err) {
  kin_walk *walk;
  kin_walk_entry entry;
  *ok = true;
  kin_status status = kin_walk_open(&root, 1, &u->walk, &walk, err);
  if (status != KIN_OK) return status;
  while ((status = kin_walk_next(walk, &entry, err)) == KIN_OK && entry.path) {
    if (entry.status == KIN_OK) {
      status = see_file(u, &entry, err);
    } else {
      kin_update_failure(u, entry.path, entry.status, entry.message);
      if (is_root(entry.path, root)) {
        *ok = false;
        kin_fail(err, entry.status, "%s", entry.message);
      }
    }
    if (status != KIN_OK) break;
  }
  kin_walk_close(walk);
  if (status == KIN_OK) status = take_ahead(u, err);
  while (status == KIN_OK && u->n) status = kin_update_flush(u, err);
  return status;
}

/* --------------------------------------------------------------------- sweep */

typedef enum fate { STAYS, LEAVES, GONE } fate;

/* An item whose file is gone goes; one that is excluded now leaves this collection only; one that merely can't be
 * reached stays. */
static kin_status decide(kin_update *u, const char *path, size_t root_length, fate *out, kin_error *err) {
  struct stat s;
  bool gone = stat(path, &s) != 0 ? errno == ENOENT || errno == ENOTDIR : !S_ISREG(s.st_mode), excluded = false;
  kin_status status = gone ? KIN_OK : kin_walk_excludes(&u->walk, path, root_length, &excluded, err);
  *out = gone ? GONE : excluded ? LEAVES : STAYS;
  return status;
}

static kin_status drop_unseen(kin_update *u, const kin_candidate *c, fate what, kin_error *err) {
  bool dropped = true;
  kin_status status = kin_update_begin(u, err);
  if (status == KIN_OK) status = what == GONE ? kin_update_drop(u, c, err) : kin_update_leave(u, c, &dropped, err);
  u->pending.removed += dropped;
  if (status != KIN_OK) kin_update_rollback(u);
  return status;
}

/* Drop what is gone among the unseen items with `from` <= path < `to`. */
static kin_status sweep(kin_update *u, const char *from, const char *to, size_t root_length, kin_error *err) {
  char *after = kin_strdup(from); /* the smallest path that wasn't looked at */
  kin_status status = after ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", from);
  while (status == KIN_OK) {
    kin_candidate c;
    fate what = STAYS;
    status = u->catalogue->next_unseen(u, after, to, &c, err);
    if (status != KIN_OK || !c.path) break;
    free(after);
    after = kin_format("%s\x01", c.path);
    if (after)
      status = decide(u, c.path, root_length, &what, err);
    else
      status = kin_fail(err, KIN_ERR_MEMORY, "%s: out of memory", u->store->path);
    if (status == KIN_OK && what != STAYS) status = drop_unseen(u, &c, what, err);
    if (status == KIN_OK && u->operations >= 1000) status = kin_update_commit(u, err);
    free(c.path);
  }
  free(after);
  return status;
}

/* The root itself, then all below it. */
static kin_status sweep_root(kin_update *u, const char *root, kin_error *err) {
  size_t length = strlen(root);
  bool is_top = strcmp(root, "/") == 0;
  char *self_end = kin_format("%s\x01", root);
  char *below = kin_format("%s/", is_top ? "" : root);
  char *below_end = kin_format("%s0", is_top ? "" : root); /* '0' comes after '/' */
  kin_status status = KIN_OK;
  if (!self_end || !below || !below_end) status = kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", root);
  if (status == KIN_OK) status = sweep(u, root, self_end, length, err);
  if (status == KIN_OK) status = sweep(u, below, below_end, length, err);
  free(self_end);
  free(below);
  free(below_end);
  return status;
}

/* A given path that isn't there: if the store knows it as an item, that goes; otherwise the path is wrong. */
static kin_status missing_root(kin_update *u, const char *given, bool *ok, kin_error *err) {
  kin_error reason;
  char *path = NULL;
  kin_fail_errno(&reason, errno, "can't open %s", given);
  uint64_t removed = u->pending.removed;
  kin_status status = kin_store_absolute_path(given, &path, NULL) == KIN_OK ? KIN_OK : KIN_ERR_IO;
  char *end = status == KIN_OK ? kin_format("%s\x01", path) : NULL;
  status = end ? sweep(u, path, end, strlen(path), err) : KIN_OK;
  *ok = u->pending.removed > removed;
  if (status == KIN_OK && !*ok) {
    kin_update_failure(u, given, reason.status, reason.message);
    kin_fail(err, reason.status, "%s", reason.message);
  }
  free(path);
  free(end);
  return status;
}

/* ----------------------------------------------------------------------- run */

/* Walk all, then sweep all: a file that moved from one path to another is found before it is missed. */
static kin_status run(kin_update *u, const char *const *paths, size_t n_paths, kin_error *err) {
  char **roots = calloc(n_paths ? n_paths : 1, sizeof *roots);
  if (!roots) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %zu paths", n_paths);
  size_t n_ok = 0;
  kin_status status = KIN_OK;
  kin_error root_error = {0};
  u->progress.walking = true;
  for (size_t i = 0; status == KIN_OK && i < n_paths; i++) {
    bool ok = false;
    roots[i] = realpath(paths[i], NULL);
    status = roots[i] ? walk_root(u, roots[i], &ok, &root_error) : missing_root(u, paths[i], &ok, &root_error);
    n_ok += ok;
  }
  u->progress.walking = false;
  for (size_t i = 0; status == KIN_OK && i < n_paths; i++)
    if (roots[i]) status = sweep_root(u, roots[i], &root_error);
  if (status == KIN_OK && n_paths && !n_ok) status = root_error.status;
  if (status != KIN_OK) kin_fail(err, status, "%s", root_error.message);
  for (size_t i = 0; i < n_paths; i++) free(roots[i]);
  free(roots);
  return status;
}

static kin_status choose_kinds(kin_update *u, kin_error *err) {
  const kin_store_encoder *e = u->encoder;
  kin_content content = u->options.content;
  if ((unsigned)content > KIN_CONTENT_BOTH)
    return kin_fail(err, KIN_ERR_ARGUMENT, "content %d is unknown", (int)content);
  if (!content) content = e->has_image ? KIN_CONTENT_PICTURES : KIN_CONTENT_DOCUMENTS;
  if ((content & KIN_CONTENT_PICTURES) && !e->has_image)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s has no image tower: it embeds texts only", e->model_path);
  if ((content & KIN_CONTENT_DOCUMENTS) && !e->has_text)
    return kin_fail(err, KIN_ERR_UNSUPPORTED, "%s has no text tower: it embeds pictures only", e->model_path);
  u->walk.kinds = content & KIN_CONTENT_PICTURES ? KIN_WALK_PICTURES : 0;
  if (content & KIN_CONTENT_DOCUMENTS)
    u->walk.kinds |= u->options.text_column ? KIN_WALK_DOCUMENTS | KIN_WALK_TABLES : KIN_WALK_DOCUMENTS;
  return KIN_OK;
}

kin_status kin_store_update(kin_store *store, const kin_store_encoder *encoder, const char *const *paths,
                            size_t n_paths, const kin_index_options *options, kin_index_progress *out, kin_error *err) {
  if (out) *out = (kin_index_progress){0};
  if (!store->writable) return kin_fail(err, KIN_ERR_ARGUMENT, "%s: is open for reading only", store->path);
  kin_update u = {
      .store = store, .catalogue = store->remote ? &kin_remote_catalogue : &kin_sql_catalogue, .encoder = encoder};
  if (options) u.options = *options;
  u.n_roots = n_paths;
  u.walk = (kin_walk_options){.exclude = u.options.exclude,
                              .n_exclude = u.options.n_exclude,
                              .follow = u.options.follow,
                              .hidden = u.options.hidden,
                              .since = u.options.since};
  kin_status status = choose_kinds(&u, err);
  if (status == KIN_OK) status = kin_collection_open(store, encoder, u.options.text_model, err);
  if (status == KIN_OK) status = u.catalogue->start(&u, err);
  if (status == KIN_OK) status = kin_update_init(&u, err);
  if (status == KIN_OK) {
    status = run(&u, paths, n_paths, err);
    /* Also after a failure: what was done is good. */
    kin_status committed = kin_update_commit(&u, status == KIN_OK ? err : NULL);
    if (status == KIN_OK) status = committed;
    if (status == KIN_OK) status = kin_update_report(&u, err);
  }
  if (u.catalogue->end) u.catalogue->end(&u);
  kin_update_free(&u);
  if (out) *out = u.progress;
  return status;
}
