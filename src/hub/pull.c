/* Pulling a model: list the repository, choose the files, fetch what is missing, then show the revision. */
#include "hub/hub.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MAX_LISTING ((size_t)64 << 20)
#define MAX_TEXT ((size_t)64 << 20)
#define DEFAULT_ENDPOINT "https://huggingface.co"

bool kin_hub_tick(kin_hub_pull_state *pull, const char *note) {
  if (!pull->options->on_progress) return true;
  pull->progress.note = note;
  return pull->options->on_progress(pull->options->user, &pull->progress);
}

static bool alive(void *user, const char *note) {
  return kin_hub_tick(user, note);
}

static kin_status no_memory(kin_error *err) {
  return kin_fail(err, KIN_ERR_MEMORY, "no memory for a path in the cache");
}

/* ---- what the hub tells */

/* ENDPOINT/REPO/resolve/COMMIT/FILE */
static char *file_url(const kin_hub_pull_state *pull, const char *name) {
  char *quoted = kin_http_quote(name, true);
  char *url = quoted ? kin_format("%s/%s/resolve/%s/%s", kin_http_endpoint(pull->http), pull->repo,
                                  pull->listing.commit, quoted)
                     : NULL;
  free(quoted);
  return url;
}

static kin_status list_files(kin_hub_pull_state *pull, const char *revision, kin_error *err) {
  char *quoted = kin_http_quote(revision, false), *text = NULL;
  char *url =
      quoted ? kin_format("%s/api/models/%s/revision/%s?blobs=true", kin_http_endpoint(pull->http), pull->repo, quoted)
             : NULL;
  char *what = kin_format("%s@%s", pull->repo, revision);
  kin_status status = url && what ? KIN_OK : no_memory(err);
  size_t size = 0;
  kin_http_answer answer;
  if (status == KIN_OK) status = kin_http_get_text(pull->http, url, MAX_LISTING, what, &text, &size, &answer, err);
  if (status == KIN_OK) status = kin_hub_listing_parse(text, size, what, &pull->listing, err);
  free(text);
  free(what);
  free(url);
  free(quoted);
  return status;
}

/* An entity tag becomes a file's name. */
static bool is_blob_name(const char *s) {
  size_t n = strlen(s);
  return n > 0 && s[0] != '.' && strspn(s, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-+=") == n;
}

/* Take over an answer's entity tag, size and hash, which must agree with the listing's. */
static kin_status take_metadata(kin_hub_pull_state *pull, kin_hub_file *f, const kin_http_answer *answer,
                                kin_error *err) {
  const char *etag = answer->linked_etag[0] ? answer->linked_etag : answer->etag;
  bool final = answer->status / 100 == 2 && !answer->encoded;
  int64_t size = answer->linked_size >= 0 ? answer->linked_size : final ? answer->length : -1;
  if (!is_blob_name(etag))
    return kin_fail(err, KIN_ERR_FORMAT, "%s of %s: the server gives it no usable ETag", f->name, pull->repo);
  if (answer->commit[0] && strcmp(answer->commit, pull->listing.commit) != 0)
    return kin_fail(err, KIN_ERR_FORMAT, "%s of %s: asked for commit %s, the server gives %s", f->name, pull->repo,
                    pull->listing.commit, answer->commit);
  if (!f->size_known && size < 0)
    return kin_fail(err, KIN_ERR_FORMAT, "%s of %s: the server doesn't tell its size", f->name, pull->repo);
  if (f->size_known && size >= 0 && (uint64_t)size != f->size)
    return kin_fail(err, KIN_ERR_FORMAT, "%s of %s: %llu bytes in the list of files, %lld in the file's own header",
                    f->name, pull->repo, (unsigned long long)f->size, (long long)size);
  if (!f->size_known) f->size = (uint64_t)size, f->size_known = true;
  memcpy(f->etag, etag, strlen(etag) + 1);
  size_t digits = strspn(etag, "0123456789abcdef");
  if (etag[digits] != '\0') return KIN_OK; /* no hash: the listing's holds */
  if (digits == 64 && f->sha256[0] && strcmp(f->sha256, etag) != 0)
    return kin_fail(err, KIN_ERR_FORMAT, "%s of %s: two SHA-256: %s in the list of files, %s in the file's own header",
                    f->name, pull->repo, f->sha256, etag);
  if (digits == 64) memcpy(f->sha256, etag, 65);
  if (digits == 40 && !f->sha256[0]) memcpy(f->git_sha1, etag, 41);
  return KIN_OK;
}

/* ---- places in the cache */

static char *blob_path(const kin_hub_pull_state *pull, const kin_hub_file *f) {
  return kin_format("%s/blobs/%s", pull->repo_dir, f->etag);
}

static char *snapshot_path(const kin_hub_pull_state *pull, const kin_hub_file *f) {
  return kin_format("%s/snapshots/%s/%s", pull->repo_dir, pull->listing.commit, f->name);
}

/* Whether the blob is in place, or (where links aren't possible) the file itself. */
static kin_status look_up(kin_hub_pull_state *pull, kin_hub_file *f, kin_error *err) {
  char *blob = blob_path(pull, f), *link = snapshot_path(pull, f);
  kin_status status = blob && link ? KIN_OK : no_memory(err);
  struct stat st;
  f->cached = status == KIN_OK && ((stat(blob, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == f->size) ||
                                   (lstat(link, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == f->size));
  free(blob);
  free(link);
  return status;
}

/* Ask for the metadata of every wanted file that has none yet. */
static kin_status ask(kin_hub_pull_state *pull, kin_error *err) {
  kin_status status = KIN_OK;
  for (size_t i = 0; i < pull->listing.count && status == KIN_OK; i++) {
    kin_hub_file *f = &pull->listing.files[i];
    if (!f->wanted || f->etag[0]) continue;
    char *url = file_url(pull, f->name);
    kin_http_answer answer;
    pull->progress.file = f->name;
    pull->progress.file_done = pull->progress.file_size = 0;
    status = url ? kin_http_head(pull->http, url, f->name, &answer, err) : no_memory(err);
    if (status == KIN_OK) status = take_metadata(pull, f, &answer, err);
    if (status == KIN_OK) status = look_up(pull, f, err);
    if (status == KIN_OK) {
      pull->progress.files++;
      pull->progress.total += f->size;
      if (f->cached) {
        pull->progress.files_done++;
        pull->progress.done += f->size;
      }
    }
    free(url);
  }
  return status;
}

static uint64_t left_by_earlier_pull(const kin_hub_pull_state *pull, const kin_hub_file *f) {
  char *path = kin_format("%s/blobs/%s.incomplete", pull->repo_dir, f->etag);
  struct stat st;
  uint64_t size = path && stat(path, &st) == 0 && (uint64_t)st.st_size <= f->size ? (uint64_t)st.st_size : 0;
  free(path);
  return size;
}

/* Refuse before the first byte what the disk can't hold. */
static kin_status check_disk(const kin_hub_pull_state *pull, kin_error *err) {
  struct statvfs disk;
  uint64_t needed = 0;
  for (size_t i = 0; i < pull->listing.count; i++) {
    const kin_hub_file *f = &pull->listing.files[i];
    if (f->wanted && !f->cached) needed += f->size - left_by_earlier_pull(pull, f);
  }
  if (needed == 0 || statvfs(pull->repo_dir, &disk) != 0) return KIN_OK; /* then writing will tell */
  uint64_t room = (uint64_t)disk.f_bavail * disk.f_frsize;
  if (needed <= room) return KIN_OK;
  return kin_fail(err, KIN_ERR_IO,
                  "%s needs %.1f MB, but the disk of %s has only %.1f MB left: make room, or set HF_HUB_CACHE",
                  pull->repo, (double)needed / 1e6, pull->repo_dir, (double)room / 1e6);
}

/* ---- fetching */

/* Fetch every wanted file that isn't there yet. */
static kin_status fetch(kin_hub_pull_state *pull, kin_error *err) {
  kin_status status = ask(pull, err);
  if (status == KIN_OK) status = check_disk(pull, err);
  for (size_t i = 0; i < pull->listing.count && status == KIN_OK; i++) {
    kin_hub_file *f = &pull->listing.files[i];
    if (!f->wanted || f->cached) continue;
    pull->progress.file = f->name;
    pull->progress.file_done = 0;
    pull->progress.file_size = f->size;
    char *url = file_url(pull, f->name), *blob = blob_path(pull, f);
    status = url && blob ? kin_hub_fetch_blob(pull, f, url, blob, err) : no_memory(err);
    if (status == KIN_OK) {
      f->cached = true;
      pull->progress.files_done++;
      pull->progress.file_done = f->size;
      if (!kin_hub_tick(pull, NULL)) status = kin_fail(err, KIN_ERR_CANCELLED, "stopped after %s", f->name);
    }
    free(url);
    free(blob);
  }
  return status;
}

/* The text of a fetched file; NULL in *out if the repository has none of that name. */
static kin_status read_fetched(const kin_hub_pull_state *pull, const char *name, char **out, kin_error *err) {
  *out = NULL;
  const kin_hub_file *f = kin_hub_listing_find(&pull->listing, name);
  if (!f || !f->wanted) return KIN_OK;
  char *blob = blob_path(pull, f), *link = snapshot_path(pull, f);
  size_t size;
  kin_status status =
      blob && link ? kin_read_file(kin_file_exists(blob) ? blob : link, MAX_TEXT, out, &size, err) : no_memory(err);
  free(blob);
  free(link);
  return status;
}

static int by_size(const void *a, const void *b) {
  const kin_hub_file *x = a, *y = b;
  if (x->size != y->size) return x->size < y->size ? -1 : 1;
  return strcmp(x->name, y->name);
}

/* The configs tell which other files are needed, an index which shards. */
static kin_status fetch_all(kin_hub_pull_state *pull, kin_error *err) {
  kin_hub_listing *listing = &pull->listing;
  if (listing->count) qsort(listing->files, listing->count, sizeof *listing->files, by_size);
  char *config = NULL, *modules = NULL;
  kin_hub_select_first(listing);
  kin_status status = fetch(pull, err);
  if (status == KIN_OK) status = read_fetched(pull, "config.json", &config, err);
  if (status == KIN_OK) status = read_fetched(pull, "modules.json", &modules, err);
  if (status == KIN_OK) status = kin_hub_select_rest(listing, pull->repo, config, modules, err);
  free(config);
  free(modules);
  if (status == KIN_OK) status = fetch(pull, err);
  for (size_t i = 0; i < listing->count && status == KIN_OK; i++) {
    const kin_hub_file *f = &listing->files[i];
    char *text;
    if (!f->wanted || !kin_hub_is_shard_index(f->name)) continue;
    status = read_fetched(pull, f->name, &text, err);
    if (status == KIN_OK) status = kin_hub_select_shards(listing, pull->repo, f->name, text, err);
    free(text);
  }
  return status == KIN_OK ? fetch(pull, err) : status;
}

/* ---- showing the revision */

/* Where symbolic links aren't possible the contents themselves go to the snapshot, as the Python tools do it;
 * a copy where another file has the same contents. */
static kin_status place_without_link(const kin_hub_pull_state *pull, const kin_hub_file *f, const char *blob,
                                     const char *link, kin_error *err) {
  bool shared = false;
  for (size_t i = 0; i < pull->listing.count; i++) {
    const kin_hub_file *other = &pull->listing.files[i];
    shared = shared || (other != f && other->wanted && strcmp(other->etag, f->etag) == 0);
  }
  if (!shared && rename(blob, link) != 0) return kin_fail_errno(err, errno, "%s: can't be put in place", link);
  if (!shared) return KIN_OK;
  char *data;
  size_t size;
  kin_status status = kin_read_file(blob, MAX_TEXT, &data, &size, err);
  if (status != KIN_OK) return status;
  status = kin_hub_write_small(link, data, size, err);
  free(data);
  return status;
}

static kin_status link_file(const kin_hub_pull_state *pull, const kin_hub_file *f, kin_error *err) {
  char *link = snapshot_path(pull, f), *blob = blob_path(pull, f);
  char *up = kin_strdup("../../"), *target = NULL, *temporary = NULL;
  for (const char *c = f->name; up && *c; c++) {
    if (*c != '/') continue;
    char *higher = kin_format("../%s", up);
    free(up);
    up = higher;
  }
  target = up ? kin_format("%sblobs/%s", up, f->etag) : NULL;
  temporary = link ? kin_format("%s.%ld.tmp", link, (long)getpid()) : NULL;
  kin_status status = link && blob && target && temporary ? kin_hub_make_parents(link, err) : no_memory(err);
  struct stat st;
  char old[512] = "";
  if (status == KIN_OK && lstat(link, &st) == 0) {
    bool file = S_ISREG(st.st_mode) && (uint64_t)st.st_size == f->size;
    if (file || (readlink(link, old, sizeof old - 1) > 0 && strcmp(old, target) == 0)) goto done;
  }
  if (status == KIN_OK && symlink(target, temporary) != 0) {
    if (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS)
      status = place_without_link(pull, f, blob, link, err);
    else
      status = kin_fail_errno(err, errno, "%s: can't make this link", temporary);
  } else if (status == KIN_OK && rename(temporary, link) != 0) {
    status = kin_fail_errno(err, errno, "%s: can't make this link", link);
    unlink(temporary);
  }
done:
  free(link);
  free(blob);
  free(up);
  free(target);
  free(temporary);
  return status;
}

/* Links to all contents, then the ref: whoever looks earlier sees the revision before. */
static kin_status show(const kin_hub_pull_state *pull, const char *revision, kin_error *err) {
  kin_status status = KIN_OK;
  for (size_t i = 0; i < pull->listing.count && status == KIN_OK; i++)
    if (pull->listing.files[i].wanted) status = link_file(pull, &pull->listing.files[i], err);
  if (status != KIN_OK || strcmp(revision, pull->listing.commit) == 0) return status;
  char *commit = NULL, *path = kin_format("%s/refs/%s", pull->repo_dir, revision);
  kin_error ignored;
  if (!path) return no_memory(err);
  bool known = kin_hub_read_ref(pull->repo_dir, revision, &commit, &ignored) == KIN_OK && commit &&
               strcmp(commit, pull->listing.commit) == 0;
  if (!known) status = kin_hub_write_small(path, pull->listing.commit, 40, err);
  free(commit);
  free(path);
  return status;
}

/* The folders, and the mark that tells backup programs to leave the cache out. */
static kin_status make_folders(const kin_hub_pull_state *pull, const char *cache, kin_error *err) {
  static const char text[] = "Signature: 8a477f597d28d172789f06886806bc55\n"
                             "# This file is a cache directory tag (https://bford.info/cachedir/).\n";
  char *blobs = kin_format("%s/blobs/", pull->repo_dir), *snapshots = kin_format("%s/snapshots/", pull->repo_dir);
  char *tag = kin_format("%s/CACHEDIR.TAG", cache);
  kin_status status = blobs && snapshots && tag ? kin_hub_make_parents(blobs, err) : no_memory(err);
  if (status == KIN_OK) status = kin_hub_make_parents(snapshots, err);
  kin_error ignored;
  if (status == KIN_OK && !kin_file_exists(tag)) kin_hub_write_small(tag, text, sizeof text - 1, &ignored);
  free(blobs);
  free(snapshots);
  free(tag);
  return status;
}

/* ---- the call */

static kin_status open_client(kin_hub_pull_state *pull, kin_error *err) {
  const kin_hub_options *o = pull->options;
  const char *endpoint = o->endpoint && *o->endpoint ? o->endpoint : getenv("HF_ENDPOINT");
  const char *offline = getenv("HF_HUB_OFFLINE");
  if (offline && *offline && strcmp(offline, "0") != 0)
    return kin_fail(err, KIN_ERR_IO, "%s: nothing is fetched while HF_HUB_OFFLINE is set", pull->repo);
  char *token = NULL;
  kin_status status = o->token ? KIN_OK : kin_hub_default_token(&token, err);
  if (status != KIN_OK) return status;
  kin_http_options http = {
      .endpoint = endpoint && *endpoint ? endpoint : DEFAULT_ENDPOINT,
      .token = o->token ? o->token : token,
      .connect_timeout_s = o->connect_timeout_s ? o->connect_timeout_s : 10,
      .stall_timeout_s = o->stall_timeout_s ? o->stall_timeout_s : 30,
      .retries = o->retries ? o->retries : 5,
      .backoff_ms = o->backoff_ms ? o->backoff_ms : 1000,
      .alive = alive,
      .user = pull,
  };
  status = kin_http_open(&http, &pull->http, err);
  free(token);
  return status;
}

static kin_status pull_revision(kin_hub_pull_state *pull, const char *revision, kin_error *err) {
  kin_status status = list_files(pull, revision, err);
  if (status == KIN_OK) status = fetch_all(pull, err);
  if (status == KIN_OK) status = show(pull, revision, err);
  return status;
}

/* `revision` "": main, or where that has no safetensors a known conversion of it. */
static kin_status run(kin_hub_pull_state *pull, const char *cache, const char *revision, kin_error *err) {
  const char *conversion = *revision ? NULL : kin_hub_conversion(pull->repo);
  kin_status status = open_client(pull, err);
  if (status == KIN_OK) status = make_folders(pull, cache, err);
  if (status == KIN_OK) status = pull_revision(pull, *revision ? revision : "main", err);
  if (status == KIN_ERR_UNSUPPORTED && conversion) {
    kin_hub_listing_free(&pull->listing);
    status = pull_revision(pull, conversion, err);
  }
  if (status == KIN_OK) kin_hub_tick(pull, NULL); /* the final figures; too late to stop */
  return status;
}

kin_status kin_hub_pull(const char *name, const kin_hub_options *options, char **dir, kin_error *err) {
  static const kin_hub_options defaults;
  kin_hub_pull_state pull = {.options = options ? options : &defaults};
  kin_error problem = {0}; /* retries write to it on the way to success */
  char *repo = NULL, *revision = NULL, *cache = NULL, *repo_dir = NULL, *locks = NULL, *result = NULL;
  if (!name) return kin_fail(err, KIN_ERR_ARGUMENT, "kin_hub_pull: no name given");
  kin_status status = kin_hub_parse_name(name, &repo, &revision, &problem);
  if (status == KIN_OK) status = kin_hub_cache_dir(pull.options->cache_dir, &cache, &problem);
  if (status == KIN_OK) {
    repo_dir = kin_hub_repo_dir(cache, repo);
    locks = repo_dir ? kin_format("%s/.locks/%s", cache, strrchr(repo_dir, '/') + 1) : NULL;
    if (!locks) status = no_memory(&problem);
  }
  pull.repo = repo;
  pull.repo_dir = repo_dir;
  pull.locks_dir = locks;
  if (status == KIN_OK) status = run(&pull, cache, revision, &problem);
  if (status == KIN_OK && dir) {
    result = kin_format("%s/snapshots/%s", repo_dir, pull.listing.commit);
    if (!result) status = no_memory(&problem);
    *dir = result;
  }
  kin_http_close(pull.http);
  kin_hub_listing_free(&pull.listing);
  free(repo);
  free(revision);
  free(cache);
  free(repo_dir);
  free(locks);
  if (status != KIN_OK && err) *err = problem;
  return status;
}
