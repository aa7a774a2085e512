/* Reading the hub cache: from a name to a directory, and the list of what is there. */
#include "base/json.h"
#include "hub/hub.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_DEPTH 16
#define MAX_TEXT ((size_t)64 << 20)

static kin_status no_memory(kin_error *err) {
  return kin_fail(err, KIN_ERR_MEMORY, "no memory to read the model cache");
}

static bool is_dir(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* ---- weights */

static bool has_file(const char *dir, const char *name) {
  char *path = kin_format("%s/%s", dir, name);
  bool yes = path && kin_file_exists(path);
  free(path);
  return yes;
}

/* A JSON file of `dir`, or NULL. */
static json_t *load(const char *dir, const char *name) {
  char *path = kin_format("%s/%s", dir, name);
  json_t *root = NULL;
  kin_error ignored;
  if (path && kin_file_exists(path) && kin_json_load(path, MAX_TEXT, &root, &ignored) != KIN_OK) root = NULL;
  free(path);
  return root;
}

static bool has_shards(const char *dir) {
  json_t *index = load(dir, "model.safetensors.index.json"), *shard;
  const json_t *map = json_object_get(index, "weight_map");
  const char *tensor, *last = "";
  bool all = json_object_size(map) > 0;
  json_object_foreach((json_t *)(uintptr_t)map, tensor, shard) {
    const char *name = json_string_value(shard);
    if (name && strcmp(name, last) == 0) continue; /* neighbours mostly lie in one shard */
    all = all && name && kin_hub_safe_path(name) && has_file(dir, name);
    if (name) last = name;
  }
  json_decref(index);
  return all;
}

static bool has_weights_here(const char *dir) {
  return has_file(dir, "model.safetensors") || has_file(dir, "open_clip_model.safetensors") ||
         has_file(dir, "open_clip_pytorch_model.safetensors") || has_shards(dir);
}

bool kin_hub_has_weights(const char *dir) {
  bool yes = has_weights_here(dir);
  json_t *modules = yes ? NULL : load(dir, "modules.json");
  for (size_t i = 0; i < json_array_size(modules) && !yes; i++) {
    const char *path = json_string_value(json_object_get(json_array_get(modules, i), "path"));
    char *sub = path && kin_hub_safe_path(path) ? kin_format("%s/%s", dir, path) : NULL;
    yes = sub && has_weights_here(sub);
    free(sub);
  }
  json_decref(modules);
  return yes;
}

/* ---- the list */

struct kin_hub_models {
  kin_hub_model *list;
  size_t count, capacity;
};

static void free_models(kin_hub_models *models) {
  for (size_t i = 0; i < models->count; i++) {
    const kin_hub_model *m = &models->list[i];
    free((char *)(uintptr_t)m->repo);
    free((char *)(uintptr_t)m->commit);
    free((char *)(uintptr_t)m->refs);
    free((char *)(uintptr_t)m->dir);
  }
  free(models->list);
}

typedef struct ref {
  char *name, *commit;
} ref;

typedef struct ref_list {
  ref *list;
  size_t count, capacity;
} ref_list;

/* Call `fn` for every file below `dir`, `name` being its path from there; an absent directory has none. */
static kin_status walk(const char *dir, const char *name, int depth,
                       kin_status (*fn)(void *arg, const char *path, const char *name, kin_error *err), void *arg,
                       kin_error *err) {
  DIR *d = opendir(dir);
  if (!d) return errno == ENOENT ? KIN_OK : kin_fail_errno(err, errno, "%s", dir);
  kin_status status = KIN_OK;
  for (struct dirent *e; status == KIN_OK && (e = readdir(d));) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    char *path = kin_format("%s/%s", dir, e->d_name);
    char *below = kin_format("%s%s%s", name, *name ? "/" : "", e->d_name);
    if (!path || !below)
      status = no_memory(err);
    else if (!is_dir(path))
      status = fn(arg, path, below, err);
    else if (depth < MAX_DEPTH)
      status = walk(path, below, depth + 1, fn, arg, err);
    free(path);
    free(below);
  }
  closedir(d);
  return status;
}

static kin_status add_ref(void *arg, const char *path, const char *name, kin_error *err) {
  ref_list *refs = arg;
  /* `path` ends in "refs/" and `name`. */
  char *repo_dir = kin_format("%.*s", (int)(strlen(path) - strlen(name) - strlen("/refs/")), path), *commit = NULL;
  kin_error ignored;
  if (!repo_dir) return no_memory(err);
  kin_status status = kin_hub_read_ref(repo_dir, name, &commit, &ignored);
  free(repo_dir);
  if (status != KIN_OK || !commit) return KIN_OK; /* damaged, or no ref at all: another's file */
  if (!kin_grow((void **)&refs->list, &refs->capacity, refs->count + 1, sizeof *refs->list)) {
    free(commit);
    return no_memory(err);
  }
  ref r = {kin_strdup(name), commit};
  refs->list[refs->count++] = r;
  return r.name ? KIN_OK : no_memory(err);
}

static kin_status add_size(void *arg, const char *path, const char *name, kin_error *err) {
  kin_hub_model *m = arg;
  struct stat st;
  (void)name, (void)err;
  if (stat(path, &st) != 0) return KIN_OK; /* a broken link */
  m->files++;
  m->bytes += (uint64_t)st.st_size;
  return KIN_OK;
}

static int ref_order(const void *a, const void *b) {
  return strcmp(((const ref *)a)->name, ((const ref *)b)->name);
}

/* The names of all refs to `commit`, joined. */
static char *join_refs(const ref_list *refs, const char *commit) {
  char *out = kin_strdup("");
  for (size_t i = 0; i < refs->count && out; i++) {
    if (strcmp(refs->list[i].commit, commit) != 0) continue;
    char *longer = kin_format("%s%s%s", out, *out ? ", " : "", refs->list[i].name);
    free(out);
    out = longer;
  }
  return out;
}

static kin_status add_revision(kin_hub_models *models, const char *repo_dir, const char *repo, const char *commit,
                               const ref_list *refs, kin_error *err) {
  if (!kin_grow((void **)&models->list, &models->capacity, models->count + 1, sizeof *models->list))
    return no_memory(err);
  kin_hub_model *m = &models->list[models->count++];
  *m = (kin_hub_model){.repo = kin_strdup(repo),
                       .commit = kin_strdup(commit),
                       .refs = join_refs(refs, commit),
                       .dir = kin_format("%s/snapshots/%s", repo_dir, commit)};
  if (!m->repo || !m->commit || !m->refs || !m->dir) return no_memory(err);
  m->complete = kin_hub_has_weights(m->dir);
  return walk(m->dir, "", 0, add_size, m, err);
}

/* All revisions of the repository in `repo_dir`; an absent one has none. */
static kin_status scan_repo(kin_hub_models *models, const char *repo_dir, const char *repo, kin_error *err) {
  ref_list refs = {0};
  char *refs_dir = kin_format("%s/refs", repo_dir), *snapshots = kin_format("%s/snapshots", repo_dir);
  kin_status status = refs_dir && snapshots ? walk(refs_dir, "", 0, add_ref, &refs, err) : no_memory(err);
  if (refs.count) qsort(refs.list, refs.count, sizeof *refs.list, ref_order);
  DIR *d = status == KIN_OK ? opendir(snapshots) : NULL;
  for (struct dirent *e; d && status == KIN_OK && (e = readdir(d));)
    if (kin_hub_is_commit(e->d_name)) status = add_revision(models, repo_dir, repo, e->d_name, &refs, err);
  if (d) closedir(d);
  for (size_t i = 0; i < refs.count; i++) {
    free(refs.list[i].name);
    free(refs.list[i].commit);
  }
  free(refs.list);
  free(refs_dir);
  free(snapshots);
  return status;
}

/* models--ORG--NAME; other folders are none of ours. */
static kin_status scan_folder(kin_hub_models *models, const char *cache, const char *folder, kin_error *err) {
  static const char prefix[] = "models--";
  if (strncmp(folder, prefix, sizeof prefix - 1) != 0) return KIN_OK;
  const char *org = folder + sizeof prefix - 1, *name = strstr(org, "--");
  char *repo = name ? kin_format("%.*s/%s", (int)(name - org), org, name + 2) : kin_strdup(org);
  char *dir = kin_format("%s/%s", cache, folder);
  kin_status status = repo && dir ? scan_repo(models, dir, repo, err) : no_memory(err);
  free(repo);
  free(dir);
  return status;
}

static int model_order(const void *a, const void *b) {
  const kin_hub_model *x = a, *y = b;
  int order = strcmp(x->repo, y->repo);
  return order ? order : strcmp(x->commit, y->commit);
}

kin_status kin_hub_list(const char *cache_dir, kin_hub_models **out, kin_error *err) {
  char *cache = NULL;
  kin_status status = kin_hub_cache_dir(cache_dir, &cache, err);
  if (status != KIN_OK) return status;
  kin_hub_models *models = calloc(1, sizeof *models);
  if (!models) status = no_memory(err);
  DIR *d = models ? opendir(cache) : NULL;
  if (models && !d && errno != ENOENT) status = kin_fail_errno(err, errno, "%s", cache);
  for (struct dirent *e; d && status == KIN_OK && (e = readdir(d));)
    status = scan_folder(models, cache, e->d_name, err);
  if (d) closedir(d);
  free(cache);
  if (status != KIN_OK) {
    kin_hub_models_close(models);
    return status;
  }
  if (models->count) qsort(models->list, models->count, sizeof *models->list, model_order);
  *out = models;
  return KIN_OK;
}

size_t kin_hub_models_count(const kin_hub_models *models) {
  return models->count;
}

const kin_hub_model *kin_hub_models_get(const kin_hub_models *models, size_t i) {
  return i < models->count ? &models->list[i] : NULL;
}

void kin_hub_models_close(kin_hub_models *models) {
  if (!models) return;
  free_models(models);
  free(models);
}

/* ---- one model */

/* The directory of a cached revision with weights; NULL in *dir if there is none. A proposed conversion
 * (refs/pr/N) stands in where no revision was asked for and main has no safetensors. */
static kin_status find_cached(const char *repo_dir, const char *repo, const char *revision, char **dir, bool *partial,
                              kin_error *err) {
  char *commit = NULL;
  kin_hub_models models = {0};
  kin_status status = KIN_OK;
  if (kin_hub_is_commit(revision))
    commit = kin_strdup(revision);
  else
    status = kin_hub_read_ref(repo_dir, *revision ? revision : "main", &commit, err);
  if (status == KIN_OK) status = scan_repo(&models, repo_dir, repo, err);
  const kin_hub_model *found = NULL;
  for (size_t i = 0; status == KIN_OK && i < models.count; i++) {
    const kin_hub_model *m = &models.list[i];
    bool asked = commit && strcmp(m->commit, commit) == 0;
    if (asked && !m->complete) *partial = true;
    if (m->complete && (asked || (!*revision && !found && strstr(m->refs, "refs/pr/")))) found = m;
    if (asked && m->complete) break;
  }
  if (status == KIN_OK && found) {
    *dir = kin_strdup(found->dir);
    if (!*dir) status = no_memory(err);
  }
  free_models(&models);
  free(commit);
  return status;
}

static kin_status fail_path(const char *path, kin_error *err) {
  struct stat st;
  if (stat(path, &st) == 0) return kin_fail(err, KIN_ERR_NOT_FOUND, "%s: not a directory, as a model is", path);
  if (errno == ENOENT) return kin_fail(err, KIN_ERR_NOT_FOUND, "%s: no such directory", path);
  return kin_fail_errno(err, errno, "%s: can't open", path);
}

kin_status kin_hub_find(const char *name, const char *cache_dir, char **dir, kin_error *err) {
  if (!name || !dir) return kin_fail(err, KIN_ERR_ARGUMENT, "kin_hub_find: no name given");
  if (is_dir(name)) {
    *dir = kin_strdup(name);
    return *dir ? KIN_OK : no_memory(err);
  }
  if (name[0] == '/' || name[0] == '.' || name[0] == '~') return fail_path(name, err);
  char *repo = NULL, *revision = NULL, *cache = NULL, *repo_dir = NULL, *found = NULL;
  bool partial = false;
  kin_status status = kin_hub_parse_name(name, &repo, &revision, err);
  if (status == KIN_OK) status = kin_hub_cache_dir(cache_dir, &cache, err);
  if (status == KIN_OK) {
    repo_dir = kin_hub_repo_dir(cache, repo);
    status = repo_dir ? find_cached(repo_dir, repo, revision, &found, &partial, err) : no_memory(err);
  }
  if (status == KIN_OK && !found)
    status =
        kin_fail(err, KIN_ERR_NOT_FOUND,
                 partial ? "%s: the cache in %s holds it without all of its safetensors; complete it with: kindred "
                           "model pull %s"
                         : "%s: no such directory, and no such model in the cache in %s; get it with: kindred "
                           "model pull %s",
                 name, cache, name);
  else
    *dir = found;
  free(repo);
  free(revision);
  free(cache);
  free(repo_dir);
  return status;
}
