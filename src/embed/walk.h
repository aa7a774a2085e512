/* The pictures and text files below files and folders, one at a time, sorted by path. */
#ifndef KIN_WALK_H
#define KIN_WALK_H

#include "base/base.h"

typedef struct kin_walk kin_walk;

typedef struct kin_walk_options {
  const char *const *exclude; /* glob patterns (fnmatch) on the name or the whole path; kept by reference */
  size_t n_exclude;
  bool follow;    /* follow symbolic links below the roots; each folder is entered once, so loops end */
  bool hidden;    /* take names that begin with a dot too */
  int64_t since;  /* only files modified at or after this Unix time; 0: all */
  unsigned kinds; /* of KIN_WALK_...; 0: pictures */
} kin_walk_options;

/* What is taken from folders, by the ending of the name. */
enum { KIN_WALK_PICTURES = 1, KIN_WALK_DOCUMENTS = 2 /* text files but .csv */, KIN_WALK_TABLES = 4 /* .csv */ };

/* A file, or a root or folder that can't be read (status is not KIN_OK). */
typedef struct kin_walk_entry {
  const char *path; /* the root as given, then the way below it; valid until the next call; NULL at the end */
  kin_status status;
  const char *message; /* NULL when OK; names the path */
  uint64_t size;       /* bytes */
  int64_t mtime_ns;    /* nanoseconds since 1970 */
  size_t root;         /* which of `roots` it was found under */
} kin_walk_entry;

/* Walk `roots` in the order given; `roots` and `options` (may be NULL) must outlive the walk. A root that is
 * a file is always an entry (unless older than `since`), whatever its name; in a folder only names with an
 * ending of the wanted kinds are. .git, node_modules, @eaDir and System Volume Information are never entered. Memory
 * holds at most some thousand names of each folder on the current path, however large they are. */
kin_status kin_walk_open(const char *const *roots, size_t n_roots, const kin_walk_options *options, kin_walk **out,
                         kin_error *err);
/* Advance: path NULL when nothing is left. Fails only for lack of memory. */
kin_status kin_walk_next(kin_walk *walk, kin_walk_entry *out, kin_error *err);
void kin_walk_close(kin_walk *walk);

/* Whether an exclude pattern keeps a walk of the root that is the first `root_length` bytes of `path` from `path`:
 * by its own name or path or those of a folder in between. *out is set on KIN_OK; fails only for lack of memory. */
kin_status kin_walk_excludes(const kin_walk_options *options, const char *path, size_t root_length, bool *out,
                             kin_error *err);

#endif
