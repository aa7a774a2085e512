/* kindred duplicates: deleting copies, or making them hard links to the best one. A file goes only while the best one
 * of its group is another file, and both are, byte for byte, what was compared. */
#include "base/base.h"
#include "cli/duplicates.h"
#include "embed/path_json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SHOWN = 20 };

typedef struct removal {
  const kin_copy *copy, *best;
  bool done;
  char why[1200]; /* it was left alone; "": it wasn't */
} removal;

typedef struct removing {
  const duplicates_job *j;
  removal *removals; /* [n] */
  size_t n, done, left;
  uint64_t bytes;          /* in those to remove, or in those removed */
  const kin_copy *checked; /* the best one that was read last, and found unchanged ... */
  struct stat checked_as;  /* ... being this */
} removing;

static const char *path_of(const removing *r, const kin_copy *copy) {
  return duplicates_item(r->j, copy)->name;
}

/* ------------------------------------------------------------------ planning */

/* A link shows the best copy's bytes under the other name, so only copies of the same bytes become one. What was cut,
 * mirrored or turned is somebody's work: it goes only when asked for. */
static bool is_wanted(const duplicates_job *j, const kin_copy *copy) {
  if (copy->kind == KIN_COPY_BYTES) return true;
  if (!j->delete) return false;
  if (copy->kind == KIN_COPY_PICTURE || copy->kind == KIN_COPY_TEXT) return *copy->sha256;
  return j->edited && *copy->sha256 &&
         (copy->kind == KIN_COPY_MIRRORED || copy->kind == KIN_COPY_TURNED || copy->kind == KIN_COPY_PART);
}

static void plan(removing *r) {
  const kin_duplicates *found = &r->j->found;
  for (size_t g = 0; g < found->n_groups; g++)
    for (size_t i = found->first[g]; i < found->first[g + 1]; i++) {
      if (!is_wanted(r->j, &found->copies[i])) continue;
      r->removals[r->n++] = (removal){.copy = &found->copies[i], .best = &found->copies[found->first[g]]};
      r->bytes += found->copies[i].bytes;
    }
}

/* ------------------------------------------------------------- carrying out */

static bool is_same(const struct stat *a, const struct stat *b) {
  return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
         a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Whether the file is what was compared, byte for byte; else `why` tells. */
static bool is_unchanged(const char *path, const kin_copy *copy, struct stat *st, char *why, size_t size) {
  char hex[65];
  struct stat before;
  kin_error err;
  if (stat(path, &before) != 0)
    snprintf(why, size, "%s: %s", path, strerror(errno));
  else if (kin_sha256_file(path, hex, NULL, &err) != KIN_OK)
    snprintf(why, size, "%s", err.message);
  else if (strcmp(hex, copy->sha256) != 0 || stat(path, st) != 0 || !is_same(&before, st))
    snprintf(why, size, "%s changed since it was compared", path);
  else
    return true;
  return false;
}

/* The same of the best one, which is read once for all of its copies. */
static bool is_best_there(removing *r, removal *one) {
  const char *path = path_of(r, one->best);
  struct stat now;
  if (r->checked == one->best && stat(path, &now) == 0 && is_same(&now, &r->checked_as)) return true;
  r->checked = NULL;
  if (!is_unchanged(path, one->best, &r->checked_as, one->why, sizeof one->why)) return false;
  r->checked = one->best;
  return true;
}

/* Put a hard link to `best` in the place of `path`, in one step. */
static bool replace_by_link(const char *best, const char *path) {
  char *temporary = kin_format("%s.kindred-%ld", path, (long)getpid());
  bool ok = temporary && link(best, temporary) == 0;
  if (ok && rename(temporary, path) != 0) {
    const int failure = errno;
    unlink(temporary);
    errno = failure;
    ok = false;
  }
  free(temporary);
  return ok;
}

static void carry_out_one(removing *r, removal *one) {
  const char *path = path_of(r, one->copy), *best = path_of(r, one->best);
  struct stat compared, now;
  if (!is_best_there(r, one) || !is_unchanged(path, one->copy, &compared, one->why, sizeof one->why)) return;
  if (lstat(path, &now) != 0 || S_ISLNK(now.st_mode))
    snprintf(one->why, sizeof one->why, "it is a symbolic link");
  else if (compared.st_ino == r->checked_as.st_ino && compared.st_dev == r->checked_as.st_dev)
    snprintf(one->why, sizeof one->why, "it is %s itself", best);
  else if (!is_same(&now, &compared))
    snprintf(one->why, sizeof one->why, "%s changed since it was compared", path);
  else if (r->j->delete ? unlink(path) != 0 : !replace_by_link(best, path))
    snprintf(one->why, sizeof one->why, "%s", strerror(errno));
  else
    one->done = true;
}

static int carry_out(removing *r) {
  r->bytes = 0;
  cli_progress_start(r->j->delete ? "deleting" : "linking", r->j->common.quiet);
  for (size_t i = 0; i < r->n && !cli_signal(); i++) {
    removal *one = &r->removals[i];
    carry_out_one(r, one);
    if (one->done)
      r->done++, r->bytes += one->copy->bytes;
    else
      r->left++, cli_error("%s is left alone: %s", path_of(r, one->copy), one->why);
    cli_progress_update((cli_progress){.done = i + 1, .total = r->n, .worked = i + 1, .failed = r->left});
  }
  cli_progress_stop();
  return r->left ? CLI_SKIPPED : CLI_OK;
}

/* ------------------------------------------------------------------ reporting */

static bool add_json(const removing *r, json_t *json) {
  json_t *files = json_array();
  json_t *removed = json_pack("{ss sb sI so}", "by", r->j->delete ? "delete" : "link", "done", (int)r->j->yes, "bytes",
                              (json_int_t)r->bytes, "files", files);
  bool ok = removed != NULL;
  for (size_t i = 0; ok && i < r->n; i++) {
    const removal *one = &r->removals[i];
    json_t *file = json_object();
    ok = file && kin_json_set_text(file, "path", path_of(r, one->copy)) &&
         kin_json_set_text(file, "kept", path_of(r, one->best));
    if (ok && r->j->yes) ok = json_object_set_new(file, "removed", json_boolean(one->done)) == 0;
    if (ok && *one->why) ok = kin_json_set_text(file, "why", one->why);
    ok = json_array_append_new(files, file) == 0 && ok;
  }
  return json_object_set_new(json, "removed", removed) == 0 && ok;
}

static void print_outcome(const removing *r) {
  const bool yes = r->j->yes;
  const char *verb = r->j->delete ? "deleted" : "replaced by hard links";
  putchar('\n');
  for (size_t i = 0; !yes && i < r->n && i < SHOWN; i++) {
    fputs(r->j->delete ? "would delete " : "would link ", stdout);
    cli_put_text(path_of(r, r->removals[i].copy));
    putchar('\n');
  }
  if (!yes && r->n > SHOWN) printf("... and %zu more\n", r->n - SHOWN);
  if (yes)
    printf("%zu file%s %s, %.1f MB\n", r->done, cli_plural(r->done), verb, (double)r->bytes / 1e6);
  else
    printf("Nothing was done yet: %zu file%s of %.1f MB would be %s. Add --yes to do it.\n", r->n, cli_plural(r->n),
           (double)r->bytes / 1e6, verb);
}

int duplicates_remove(const duplicates_job *j, json_t *json) {
  removing r = {.j = j, .removals = calloc(j->copies + 1, sizeof *r.removals)};
  int status = CLI_OK;
  if (!r.removals) {
    cli_error("out of memory for %zu copies", j->copies);
    return CLI_FAILED;
  }
  plan(&r);
  if (j->yes) status = carry_out(&r);
  if (json && !add_json(&r, json)) {
    cli_error("out of memory");
    status = CLI_FAILED;
  }
  if (!json && !j->common.quiet) print_outcome(&r);
  free(r.removals);
  return cli_signal() ? cli_stopped() : status;
}
