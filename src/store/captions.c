/* Captions of pictures: beside them, inside them, and given in a list. */
#include "image/captions.h"

#include "store/elastic.h"
#include "store/update.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A longer text file is no caption. */
#define MOST_CAPTION 65536

/* ------------------------------------------------------------- beside and inside */

/* The text file that goes with a picture: photo.jpg.txt, else photo.txt; *out is NULL without one. */
static kin_status find_sidecar(const char *path, struct stat *s, char **out, kin_error *err) {
  const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
  for (int whole = 1; whole >= 0; whole--) {
    size_t n = whole || !dot ? strlen(path) : (size_t)(dot - path);
    *out = kin_format("%.*s.txt", (int)n, path);
    if (!*out) return kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", path);
    if (stat(*out, s) == 0 && S_ISREG(s->st_mode)) return KIN_OK;
    free(*out);
  }
  *out = NULL;
  return KIN_OK;
}

/* What can't be read counts as no caption: the picture is what matters. */
static kin_status read_sidecar(const kin_candidate *c, kin_caption_news *news, kin_error *err) {
  struct stat s;
  char *path;
  kin_status status = find_sidecar(c->path, &s, &path, err);
  if (status != KIN_OK) return status;
  news->sidecar_size = path ? (int64_t)s.st_size : -1;
  news->sidecar_mtime_ns = path ? (int64_t)s.st_mtim.tv_sec * 1000000000 + s.st_mtim.tv_nsec : 0;
  news->has_sidecar = news->sidecar_size != c->sidecar_size || news->sidecar_mtime_ns != c->sidecar_mtime_ns;
  size_t size;
  if (news->has_sidecar && path)
    if (kin_read_file(path, MOST_CAPTION, &news->sidecar, &size, NULL) != KIN_OK) news->sidecar = NULL;
  free(path);
  return KIN_OK;
}

kin_status kin_update_captions(kin_update *u, const kin_candidate *c, kin_error *err) {
  if (!u->catalogue->write_captions) return KIN_OK;
  kin_caption_news news = {.has_embedded = !c->described};
  kin_status status = read_sidecar(c, &news, err);
  if (status == KIN_OK && news.has_embedded && kin_image_read_captions(c->path, &news.embedded, NULL) == KIN_ERR_MEMORY)
    status = kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", c->path);
  if (status == KIN_OK && news.has_embedded) news.has_exif = kin_image_read_exif(c->path, &news.exif, NULL) == KIN_OK;
  if (status == KIN_OK && (news.has_sidecar || news.has_embedded)) {
    status = kin_update_begin(u, err);
    if (status == KIN_OK) status = u->catalogue->write_captions(u, c, &news, err);
    u->operations++;
  }
  free(news.sidecar);
  free(news.embedded);
  return status;
}

/* ------------------------------------------------------------------------- given */

/* The captions of all columns, a line each; NULL: none. */
static kin_status join_columns(const kin_captioned *item, size_t columns, char **out, kin_error *err) {
  *out = NULL;
  for (size_t i = 0; i < columns; i++) {
    if (!item->captions[i]) continue;
    char *longer = kin_format("%s%s%s", *out ? *out : "", *out ? "\n" : "", item->captions[i]);
    free(*out);
    *out = longer;
    if (!longer) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for the captions of %s", item->path);
  }
  return KIN_OK;
}

static kin_status set_captions(kin_store *store, const kin_captioned *items, size_t n, size_t columns, size_t *set,
                               kin_error *err) {
  kin_status status = KIN_OK;
  for (size_t i = 0; status == KIN_OK && i < n; i++) {
    int64_t id = 0;
    char *text = NULL;
    status = kin_store_find_item(store, items[i].path, &id, err);
    if (status == KIN_ERR_NOT_FOUND || (status == KIN_ERR_IO && !store->remote)) { /* its folder isn't there either */
      status = KIN_OK;
      continue;
    }
    if (status == KIN_OK) status = join_columns(&items[i], columns, &text, err);
    if (status == KIN_OK && store->remote)
      status = kin_remote_set_caption(store, id, text, err);
    else if (status == KIN_OK)
      status = kin_sql_run(store, KIN_SQL_SET_GIVEN, err, "is", id, text);
    *set += status == KIN_OK;
    free(text);
  }
  return status;
}

kin_status kin_store_set_captions(kin_store *store, const kin_captioned *items, size_t n, size_t columns, size_t *set,
                                  kin_error *err) {
  size_t found = 0;
  if (set) *set = 0;
  if (!store->writable) return kin_fail(err, KIN_ERR_ARGUMENT, "%s: is open for reading only", store->path);
  kin_status status = kin_sql_transact(store, KIN_SQL_BEGIN_WRITE, err);
  if (status == KIN_OK) status = set_captions(store, items, n, columns, &found, err);
  if (status == KIN_OK && store->remote) status = kin_remote_send_given(store, err);
  if (status == KIN_OK) status = kin_sql_transact(store, KIN_SQL_COMMIT, err);
  kin_sql_rollback(store);
  if (status == KIN_OK && set) *set = found;
  return status;
}
