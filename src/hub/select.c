/* Which files of a repository a model needs: one copy of the weights, as safetensors, and what reads them. */
#include "base/json.h"
#include "hub/hub.h"

#include <stdlib.h>
#include <string.h>

#define LIST_LENGTH(list) (sizeof(list) / sizeof *(list))

/* What stands beside the weights, at the top or in a module of a sentence-transformers model. */
static const char *const small_files[] = {
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
};
static const char *const open_clip_weights[] = {"open_clip_model.safetensors", "open_clip_pytorch_model.safetensors"};
static const char *const other_weights[] = {"pytorch_model.bin", "pytorch_model.bin.index.json",
                                            "tf_model.h5",       "flax_model.msgpack",
                                            "model.onnx",        "open_clip_pytorch_model.bin"};

/* ---- the listing */

static void copy_hash(char *out, size_t digits, const char *value) {
  if (value && strlen(value) == digits && strspn(value, "0123456789abcdef") == digits) memcpy(out, value, digits + 1);
}

/* One entry of "siblings". Names that can't be a path below the snapshot are left out. */
static kin_status parse_file(const json_t *entry, const char *what, kin_hub_listing *out, kin_error *err) {
  const char *name = NULL, *id = NULL, *sha = NULL;
  size_t size = SIZE_MAX;
  const json_t *lfs = json_object_get(entry, "lfs");
  kin_status status = kin_json_string(entry, "rfilename", what, &name, err);
  if (status == KIN_OK) status = kin_json_string(entry, "blobId", what, &id, err);
  if (status == KIN_OK) status = kin_json_size(entry, "size", what, 0, SIZE_MAX >> 1, &size, err);
  if (status == KIN_OK && json_is_object(lfs)) {
    status = kin_json_string(lfs, "sha256", what, &sha, err);
    if (status == KIN_OK) status = kin_json_size(lfs, "size", what, 0, SIZE_MAX >> 1, &size, err);
    id = NULL; /* of the pointer, not of the contents */
  }
  if (status != KIN_OK || !name || !kin_hub_safe_path(name)) return status;
  kin_hub_file *f = &out->files[out->count];
  *f = (kin_hub_file){.size = size == SIZE_MAX ? 0 : size, .size_known = size != SIZE_MAX};
  copy_hash(f->sha256, 64, sha);
  copy_hash(f->git_sha1, 40, id);
  f->name = kin_strdup(name);
  if (!f->name) return kin_fail(err, KIN_ERR_MEMORY, "no memory for the list of files");
  out->count++;
  return KIN_OK;
}

kin_status kin_hub_listing_parse(const char *json, size_t size, const char *what, kin_hub_listing *out,
                                 kin_error *err) {
  *out = (kin_hub_listing){0};
  json_t *root = NULL;
  const char *commit = NULL;
  kin_status status = kin_json_parse(json, size, what, &root, err);
  if (status == KIN_OK) status = kin_json_string(root, "sha", what, &commit, err);
  const json_t *siblings = json_object_get(root, "siblings");
  if (status == KIN_OK && (!commit || !kin_hub_is_commit(commit) || !json_is_array(siblings)))
    status = kin_fail(err, KIN_ERR_FORMAT,
                      "%s: the answer names no commit (sha) and files (siblings): is the endpoint a model hub?", what);
  if (status == KIN_OK) {
    memcpy(out->commit, commit, sizeof out->commit);
    out->files = kin_array(json_array_size(siblings) + 1, sizeof *out->files);
    if (!out->files) status = kin_fail(err, KIN_ERR_MEMORY, "no memory for the list of files");
  }
  for (size_t i = 0; status == KIN_OK && i < json_array_size(siblings); i++)
    status = parse_file(json_array_get(siblings, i), what, out, err);
  json_decref(root);
  if (status != KIN_OK) kin_hub_listing_free(out);
  return status;
}

void kin_hub_listing_free(kin_hub_listing *listing) {
  for (size_t i = 0; i < listing->count; i++) free(listing->files[i].name);
  free(listing->files);
  *listing = (kin_hub_listing){0};
}

kin_hub_file *kin_hub_listing_find(const kin_hub_listing *listing, const char *name) {
  for (size_t i = 0; i < listing->count; i++)
    if (strcmp(listing->files[i].name, name) == 0) return &listing->files[i];
  return NULL;
}

/* ---- the choice */

/* Whether file name `name` is `dir` (with its slash, or "") and `base`. */
static bool is_at(const char *name, const char *dir, const char *base) {
  size_t length = strlen(dir);
  return strncmp(name, dir, length) == 0 && strcmp(name + length, base) == 0;
}

static kin_hub_file *find_at(const kin_hub_listing *listing, const char *dir, const char *base) {
  for (size_t i = 0; i < listing->count; i++)
    if (is_at(listing->files[i].name, dir, base)) return &listing->files[i];
  return NULL;
}

/* Mark the first of `names` that lies in `dir`. */
static bool want_first(const kin_hub_listing *listing, const char *dir, const char *const *names, size_t n) {
  for (size_t i = 0; i < n; i++) {
    kin_hub_file *f = find_at(listing, dir, names[i]);
    if (f) return f->wanted = true;
  }
  return false;
}

void kin_hub_select_first(kin_hub_listing *listing) {
  static const char *const first[] = {"config.json", "modules.json"};
  for (size_t i = 0; i < LIST_LENGTH(first); i++) want_first(listing, "", &first[i], 1);
}

/* Whether config.json is transformers' (timm's has no model_type). */
static bool is_transformers_config(const char *config) {
  json_t *root = config ? json_loads(config, 0, NULL) : NULL;
  bool yes = json_is_string(json_object_get(root, "model_type"));
  json_decref(root);
  return yes;
}

/* Mark a directory's small files and weights. */
static kin_status select_dir(kin_hub_listing *listing, const char *repo, const char *dir, bool *weights,
                             kin_error *err) {
  static const char *const safetensors[] = {"model.safetensors", "model.safetensors.index.json"};
  for (size_t i = 0; i < LIST_LENGTH(small_files); i++) want_first(listing, dir, &small_files[i], 1);
  if (want_first(listing, dir, safetensors, LIST_LENGTH(safetensors))) {
    *weights = true;
    return KIN_OK;
  }
  for (size_t i = 0; i < LIST_LENGTH(other_weights); i++)
    if (find_at(listing, dir, other_weights[i]))
      return kin_fail(err, KIN_ERR_UNSUPPORTED,
                      "%s has %s%s but no safetensors beside it, and nothing else is read here: take a revision that "
                      "has them (%s@refs/pr/N where a conversion is proposed), or convert it with safetensors' tools",
                      repo, dir, other_weights[i], repo);
  return KIN_OK;
}

/* open_clip's layout at the top: its config, its weights, a tokenizer. The config.json beside them, if any, is
 * timm's and describes the image tower alone, so that it would only mislead. */
static bool select_open_clip(kin_hub_listing *listing) {
  static const char *const config[] = {"open_clip_config.json"};
  if (!find_at(listing, "", config[0]) || !want_first(listing, "", open_clip_weights, LIST_LENGTH(open_clip_weights)))
    return false;
  want_first(listing, "", config, 1);
  for (size_t i = 0; i < LIST_LENGTH(small_files); i++) want_first(listing, "", &small_files[i], 1);
  kin_hub_file *timm = find_at(listing, "", "config.json");
  if (timm) timm->wanted = false;
  return true;
}

kin_status kin_hub_select_rest(kin_hub_listing *listing, const char *repo, const char *config, const char *modules,
                               kin_error *err) {
  if (!is_transformers_config(config) && select_open_clip(listing)) return KIN_OK;
  bool weights = false;
  json_t *list = NULL;
  kin_status status = KIN_OK;
  if (modules) status = kin_json_parse(modules, strlen(modules), "modules.json", &list, err);
  /* A sentence-transformers model may keep its encoder in a module's folder and nothing at the top. */
  if (status == KIN_OK) status = select_dir(listing, repo, "", &weights, err);
  for (size_t i = 0; status == KIN_OK && i < json_array_size(list); i++) {
    const char *path = NULL;
    status = kin_json_string(json_array_get(list, i), "path", "modules.json", &path, err);
    if (status != KIN_OK || !path || !kin_hub_safe_path(path)) continue;
    char *dir = kin_format("%s/", path);
    status = dir ? select_dir(listing, repo, dir, &weights, err)
                 : kin_fail(err, KIN_ERR_MEMORY, "no memory for the list of files");
    free(dir);
  }
  json_decref(list);
  if (status == KIN_OK && !weights)
    status = kin_fail(err, KIN_ERR_UNSUPPORTED, "%s: no model.safetensors in it: is it a model?", repo);
  return status;
}

bool kin_hub_is_shard_index(const char *name) {
  static const char suffix[] = "model.safetensors.index.json";
  size_t length = strlen(name), n = sizeof suffix - 1;
  return length >= n && strcmp(name + length - n, suffix) == 0;
}

kin_status kin_hub_select_shards(kin_hub_listing *listing, const char *repo, const char *index_name, const char *text,
                                 kin_error *err) {
  json_t *root = NULL;
  kin_status status = kin_json_parse(text, strlen(text), index_name, &root, err);
  if (status != KIN_OK) return status;
  json_t *map = json_object_get(root, "weight_map"), *shard;
  const char *tensor, *slash = strrchr(index_name, '/');
  char *dir = kin_format("%.*s", slash ? (int)(slash - index_name + 1) : 0, index_name);
  if (!dir)
    status = kin_fail(err, KIN_ERR_MEMORY, "no memory for the list of files");
  else if (!json_is_object(map))
    status = kin_fail(err, KIN_ERR_FORMAT, "%s of %s: no weight_map", index_name, repo);
  else
    json_object_foreach(map, tensor, shard) {
      const char *name = json_string_value(shard);
      if (!name || !want_first(listing, dir, &name, 1)) {
        status = kin_fail(err, KIN_ERR_FORMAT, "%s of %s: tensor %.100s is said to lie in %.100s, which isn't there",
                          index_name, repo, tensor, name ? name : "(no name)");
        break;
      }
    }
  free(dir);
  json_decref(root);
  return status;
}
