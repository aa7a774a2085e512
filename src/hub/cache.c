/* Names of models and places in the hub cache. */
#include "hub/hub.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- names */

/* `conversion`: the revision that proposes safetensors, for a repository whose main branch has none. */
static const struct {
  const char *alias, *repo, *conversion;
} aliases[] = {
    {"clip-vit-b-32", "openai/clip-vit-base-patch32", "refs/pr/15"},
    {"clip-rn50", "timm/resnet50_clip.openai", NULL},
    {"dinov2-small", "facebook/dinov2-small", NULL},
    {"dinov2-base", "facebook/dinov2-base", NULL},
    {"dinov2-large", "facebook/dinov2-large", NULL},
    {"clip-multilingual", "sentence-transformers/clip-ViT-B-32-multilingual-v1", NULL},
    {"minilm", "sentence-transformers/all-MiniLM-L6-v2", NULL},
    {"e5-small", "intfloat/multilingual-e5-small", NULL},
};

const char *kin_hub_alias(size_t i, const char **repo) {
  if (i >= sizeof aliases / sizeof *aliases) return NULL;
  if (repo) *repo = aliases[i].repo;
  return aliases[i].alias;
}

const char *kin_hub_conversion(const char *repo) {
  for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
    if (strcmp(repo, aliases[i].repo) == 0) return aliases[i].conversion;
  return NULL;
}

/* ORG/NAME or NAME, as hubs allow it: letters, digits, '.', '_' and '-', no "--" nor "..". */
static bool is_repo(const char *s) {
  size_t length = strlen(s), slashes = 0;
  if (length == 0 || length > 96 || strstr(s, "--") || strstr(s, "..")) return false;
  for (size_t i = 0; i < length; i++) {
    bool first = i == 0 || s[i - 1] == '/', last = i + 1 == length || s[i + 1] == '/';
    if (s[i] == '/') {
      if (first || last) return false;
      slashes++;
    } else if (!isalnum((unsigned char)s[i]) && (!strchr("._-", s[i]) || ((first || last) && s[i] != '_'))) {
      return false;
    }
  }
  return slashes <= 1;
}

bool kin_hub_is_commit(const char *s) {
  return strlen(s) == 40 && strspn(s, "0123456789abcdef") == 40;
}

bool kin_hub_safe_path(const char *path) {
  size_t length = strlen(path);
  if (length == 0 || length > 1024 || path[0] == '/' || path[length - 1] == '/') return false;
  for (const char *c = path; *c; c++)
    if ((unsigned char)*c < ' ' || *c == 127 || *c == '\\') return false;
  for (const char *part = path; part;) {
    const char *end = strchr(part, '/');
    size_t n = end ? (size_t)(end - part) : strlen(part);
    if (n == 0 || n > 255 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.')) return false;
    part = end ? end + 1 : NULL;
  }
  return true;
}

kin_status kin_hub_parse_name(const char *name, char **repo, char **revision, kin_error *err) {
  *repo = *revision = NULL;
  const char *at = strchr(name, '@');
  size_t length = at ? (size_t)(at - name) : strlen(name);
  const char *rest = at ? at + 1 : "";
  char *r = kin_format("%.*s", (int)(length < 4096 ? length : 4096), name);
  char *v = kin_strdup(rest);
  for (size_t i = 0; r && i < sizeof aliases / sizeof *aliases; i++) {
    if (strcmp(r, aliases[i].alias) != 0) continue;
    free(r);
    r = kin_strdup(aliases[i].repo);
    break;
  }
  kin_status status = KIN_OK;
  if (!r || !v)
    status = kin_fail(err, KIN_ERR_MEMORY, "no memory for a model's name");
  else if (!is_repo(r))
    status = kin_fail(err, KIN_ERR_ARGUMENT,
                      "'%.200s' is neither a directory nor the name of a model: expected an "
                      "alias such as clip-vit-b-32, or ORG/NAME[@REVISION]",
                      name);
  else if (at && !kin_hub_safe_path(v))
    status = kin_fail(err, KIN_ERR_ARGUMENT, "'%.200s': '%.100s' can't be a revision", name, v);
  if (status != KIN_OK) {
    free(r);
    free(v);
    return status;
  }
  *repo = r;
  *revision = v;
  return KIN_OK;
}

/* ---- places */

static const char *environment(const char *name) {
  const char *value = getenv(name);
  return value && *value ? value : NULL;
}

/* "~" at the start, $NAME and ${NAME} replaced, as the Python tools do; unknown names stay. */
static char *expand(const char *path) {
  char *out = NULL;
  size_t size = 0, capacity = 0;
  while (*path) {
    const char *piece = path, *value = NULL;
    size_t used = 1;
    char variable[128];
    if (size == 0 && piece[0] == '~' && (piece[1] == '/' || piece[1] == '\0')) {
      value = environment("HOME");
    } else if (piece[0] == '$') {
      bool braces = piece[1] == '{';
      const char *start = piece + 1 + braces;
      size_t n = 0;
      while (isalnum((unsigned char)start[n]) || start[n] == '_') n++;
      if (n && n < sizeof variable && (!braces || start[n] == '}')) {
        memcpy(variable, start, n);
        variable[n] = '\0';
        value = getenv(variable);
        if (value) used = (size_t)(start - piece) + n + braces;
      }
    }
    size_t length = value ? strlen(value) : used;
    if (!kin_grow((void **)&out, &capacity, size + length + 1, 1)) {
      free(out);
      return NULL;
    }
    memcpy(out + size, value ? value : piece, length);
    size += length;
    out[size] = '\0';
    path += used;
  }
  return out ? out : kin_strdup("");
}

/* HF_HOME, else XDG_CACHE_HOME/huggingface, else ~/.cache/huggingface; then "/" and `leaf`. */
static char *in_home(const char *leaf) {
  const char *home = environment("HF_HOME"), *xdg = environment("XDG_CACHE_HOME");
  char *path = home  ? kin_format("%s/%s", home, leaf)
               : xdg ? kin_format("%s/huggingface/%s", xdg, leaf)
                     : kin_format("~/.cache/huggingface/%s", leaf);
  char *out = path ? expand(path) : NULL;
  free(path);
  return out;
}

kin_status kin_hub_cache_dir(const char *given, char **out, kin_error *err) {
  const char *variable = environment("HF_HUB_CACHE");
  if (!variable) variable = environment("HUGGINGFACE_HUB_CACHE");
  if (given && *given)
    *out = kin_strdup(given);
  else
    *out = variable ? expand(variable) : in_home("hub");
  if (!*out) return kin_fail(err, KIN_ERR_MEMORY, "no memory for the cache's path");
  if ((*out)[0] == '~') {
    free(*out);
    *out = NULL;
    return kin_fail(err, KIN_ERR_ARGUMENT, "where the model cache lies is unknown: set HOME or HF_HUB_CACHE");
  }
  return KIN_OK;
}

/* Cut blanks and line breaks off both ends, in place. */
static char *trim(char *s) {
  while (isspace((unsigned char)*s)) s++;
  size_t length = strlen(s);
  while (length && isspace((unsigned char)s[length - 1])) s[--length] = '\0';
  return s;
}

kin_status kin_hub_default_token(char **out, kin_error *err) {
  *out = NULL;
  const char *variable = environment("HF_TOKEN"), *off = environment("HF_HUB_DISABLE_IMPLICIT_TOKEN");
  if (off && strcmp(off, "0") != 0) return KIN_OK;
  if (!variable) variable = environment("HUGGING_FACE_HUB_TOKEN");
  char *text = NULL;
  if (variable) {
    text = kin_strdup(variable);
  } else {
    const char *named = environment("HF_TOKEN_PATH");
    char *path = named ? expand(named) : in_home("token");
    if (!path) return kin_fail(err, KIN_ERR_MEMORY, "no memory for the access token");
    size_t size;
    bool there = path[0] != '~' && kin_file_exists(path);
    kin_status status = there ? kin_read_file(path, 4096, &text, &size, err) : KIN_OK;
    free(path);
    if (!there || status != KIN_OK) return status;
  }
  if (text) *out = kin_strdup(trim(text));
  free(text);
  return *out ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "no memory for the access token");
}

char *kin_hub_repo_dir(const char *cache, const char *repo) {
  const char *slash = strchr(repo, '/');
  if (!slash) return kin_format("%s/models--%s", cache, repo);
  return kin_format("%s/models--%.*s--%s", cache, (int)(slash - repo), repo, slash + 1);
}

kin_status kin_hub_read_ref(const char *repo_dir, const char *revision, char **commit, kin_error *err) {
  *commit = NULL;
  char *path = kin_format("%s/refs/%s", repo_dir, revision), *text = NULL;
  if (!path) return kin_fail(err, KIN_ERR_MEMORY, "no memory for a path in the cache");
  kin_status status = KIN_OK;
  size_t size;
  if (kin_file_exists(path)) status = kin_read_file(path, 256, &text, &size, err);
  if (text) {
    char *trimmed = trim(text);
    if (!kin_hub_is_commit(trimmed))
      status = kin_fail(err, KIN_ERR_FORMAT, "%s: holds no commit (40 hex digits): delete it and pull again", path);
    else if (!(*commit = kin_strdup(trimmed)))
      status = kin_fail(err, KIN_ERR_MEMORY, "no memory for a commit");
  }
  free(text);
  free(path);
  return status;
}

kin_status kin_hub_make_parents(const char *path, kin_error *err) {
  char *copy = kin_strdup(path);
  if (!copy) return kin_fail(err, KIN_ERR_MEMORY, "no memory for a path in the cache");
  kin_status status = KIN_OK;
  for (char *slash = strchr(copy + 1, '/'); slash && status == KIN_OK; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    if (mkdir(copy, 0777) != 0 && errno != EEXIST)
      status = kin_fail_errno(err, errno, "%s: can't make this folder of the model cache", copy);
    *slash = '/';
  }
  free(copy);
  return status;
}

kin_status kin_hub_write_small(const char *path, const char *data, size_t size, kin_error *err) {
  kin_status status = kin_hub_make_parents(path, err);
  if (status != KIN_OK) return status;
  char *temporary = kin_format("%s.%ld.tmp", path, (long)getpid());
  if (!temporary) return kin_fail(err, KIN_ERR_MEMORY, "no memory for a path in the cache");
  FILE *f = fopen(temporary, "we");
  bool ok = f && fwrite(data, 1, size, f) == size;
  if (f && fclose(f) != 0) ok = false;
  if (!ok || rename(temporary, path) != 0) {
    status = kin_fail_errno(err, errno, "%s: can't write", path);
    unlink(temporary);
  }
  free(temporary);
  return status;
}
