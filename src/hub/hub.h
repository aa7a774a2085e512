/* The hub cache on disk (the layout of the ecosystem's Python tools) and the client that fills it:
 *   CACHE/models--ORG--NAME/refs/REVISION          the commit that a branch or tag stands for
 *                          /blobs/ETAG             contents; ETAG.incomplete while arriving
 *                          /snapshots/COMMIT/FILE  links to ../../blobs/ETAG
 *   CACHE/.locks/models--ORG--NAME/ETAG.lock       flock(2) held while ETAG is fetched */
#ifndef KIN_HUB_H
#define KIN_HUB_H

#include "hub/http.h"

/* ---- names and places (cache.c); every string is new, free with free() */

/* Alias or REPO[@REVISION] -> REPO and REVISION ("" when not given). KIN_ERR_ARGUMENT for anything else. */
kin_status kin_hub_parse_name(const char *name, char **repo, char **revision, kin_error *err);
/* The revision of `repo` that is known to propose safetensors where main has none; borrowed, or NULL. */
const char *kin_hub_conversion(const char *repo);
/* `given` or the environment's default, absolute or not, "~" and "$VAR" expanded. */
kin_status kin_hub_cache_dir(const char *given, char **out, kin_error *err);
/* The access token from the environment or the token file; NULL when there is none. */
kin_status kin_hub_default_token(char **out, kin_error *err);
char *kin_hub_repo_dir(const char *cache, const char *repo);
bool kin_hub_is_commit(const char *s);
/* A relative path of plain components: no "..", nothing absolute, no control characters. */
bool kin_hub_safe_path(const char *path);
/* The commit in `repo_dir`/refs/`revision`, or NULL in *commit when there is no such ref. */
kin_status kin_hub_read_ref(const char *repo_dir, const char *revision, char **commit, kin_error *err);
/* Create the missing parents of `path`. */
kin_status kin_hub_make_parents(const char *path, kin_error *err);
/* Write a small file in one step (temporary file, rename). */
kin_status kin_hub_write_small(const char *path, const char *data, size_t size, kin_error *err);
/* Whether `dir` holds weights as safetensors, all shards of them, at the top or in a sentence-transformers module. */
bool kin_hub_has_weights(const char *dir);

/* ---- the files of a repository (select.c) */

typedef struct kin_hub_file {
  char *name;        /* path in the repository */
  uint64_t size;     /* bytes */
  bool size_known;   /* the listing told the size */
  char sha256[65];   /* of the contents; "" unknown */
  char git_sha1[41]; /* of the contents as a git blob; "" unknown */
  char etag[129];    /* names the blob; "" until asked for */
  bool wanted;
  bool cached; /* the blob, or the file itself, is in place */
} kin_hub_file;

typedef struct kin_hub_listing {
  char commit[41];
  kin_hub_file *files;
  size_t count;
} kin_hub_listing;

/* Parse the API's answer about a revision. `what` is for messages. */
kin_status kin_hub_listing_parse(const char *json, size_t size, const char *what, kin_hub_listing *out, kin_error *err);
void kin_hub_listing_free(kin_hub_listing *listing);
kin_hub_file *kin_hub_listing_find(const kin_hub_listing *listing, const char *name);

/* Mark as wanted what has to be read before the rest can be chosen: config.json, modules.json. */
void kin_hub_select_first(kin_hub_listing *listing);
/* Mark all other files but shards; `config` and `modules` are those files' texts or NULL. A repository
 * without safetensors is KIN_ERR_UNSUPPORTED. */
kin_status kin_hub_select_rest(kin_hub_listing *listing, const char *repo, const char *config, const char *modules,
                               kin_error *err);
/* Mark the shards that the text of the index file `index_name` lists. */
kin_status kin_hub_select_shards(kin_hub_listing *listing, const char *repo, const char *index_name, const char *text,
                                 kin_error *err);
bool kin_hub_is_shard_index(const char *name);

/* ---- one pull (pull.c, blob.c) */

typedef struct kin_hub_pull_state {
  kin_http *http;
  const char *repo;
  const char *repo_dir;
  const char *locks_dir;
  kin_hub_listing listing;
  const kin_hub_options *options;
  kin_hub_progress progress;
} kin_hub_pull_state;

/* Call the caller's progress function; false: stop. */
bool kin_hub_tick(kin_hub_pull_state *pull, const char *note);
/* Bring `file`'s contents to `blob`: lock, resume, verify, rename. */
kin_status kin_hub_fetch_blob(kin_hub_pull_state *pull, const kin_hub_file *file, const char *url, const char *blob,
                              kin_error *err);

#endif
