/* A depth-first walk that holds one sorted list of names for each folder on the current path. */
#include "embed/walk.h"

#include "document/document.h"
#include "image/image.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Most names of one folder that are held at once: a larger folder is read again for the next ones. */
#define WINDOW 4096

/* A folder being walked: its (next) wanted names, sorted, packed in one buffer. */
typedef struct folder {
  char *after; /* the names up to this one were had before; NULL: none */
  bool more;   /* names beyond the window were left out */
  char *names; /* NUL-terminated, one after the other; a subfolder's ends with '/' */
  size_t names_size, names_capacity;
  size_t *order; /* offsets into names */
  size_t count, order_capacity, next;
  size_t path_length; /* of walk->path up to and with this folder's '/' */
} folder;

typedef struct identity {
  uint64_t device, inode;
  bool used;
} identity;

struct kin_walk {
  const char *const *roots;
  size_t n_roots, next_root;
  kin_walk_options options;
  char *path;
  size_t path_capacity;
  folder *stack;
  size_t depth, stack_capacity;
  identity *entered; /* open-addressing set of the folders entered, kept when following links */
  size_t n_entered, entered_capacity;
  kin_error item_error;
};

kin_status kin_walk_open(const char *const *roots, size_t n_roots, const kin_walk_options *options, kin_walk **out,
                         kin_error *err) {
  kin_walk *walk = calloc(1, sizeof *walk);
  if (!walk) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a folder walk");
  walk->roots = roots;
  walk->n_roots = n_roots;
  if (options) walk->options = *options;
  *out = walk;
  return KIN_OK;
}

static void folder_free(folder *f) {
  free(f->after);
  free(f->names);
  free(f->order);
}

void kin_walk_close(kin_walk *walk) {
  if (!walk) return;
  while (walk->depth) folder_free(&walk->stack[--walk->depth]);
  free(walk->stack);
  free(walk->path);
  free(walk->entered);
  free(walk);
}

/* Write `name` at position `at` of walk->path, which then ends there. */
static bool path_put(kin_walk *walk, size_t at, const char *name, size_t length) {
  if (!kin_grow((void **)&walk->path, &walk->path_capacity, at + length + 1, 1)) return false;
  memcpy(walk->path + at, name, length);
  walk->path[at + length] = '\0';
  return true;
}

static bool is_system_name(const char *name) {
  static const char *const names[] = {".git", "node_modules", "@eaDir", "System Volume Information"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(name, names[i]) == 0) return true;
  return false;
}

static bool is_excluded(const kin_walk_options *options, const char *name, const char *path) {
  for (size_t i = 0; i < options->n_exclude; i++) {
    const char *pattern = options->exclude[i];
    if (fnmatch(pattern, name, 0) == 0 || fnmatch(pattern, path, 0) == 0) return true;
  }
  return false;
}

static size_t identity_slot(const identity *set, size_t capacity, uint64_t device, uint64_t inode) {
  size_t slot = (size_t)((inode ^ device * 0x9E3779B97F4A7C15u) * 0xD6E8FEB86659FD93u >> 17) & (capacity - 1);
  while (set[slot].used && (set[slot].device != device || set[slot].inode != inode)) slot = (slot + 1) & (capacity - 1);
  return slot;
}

static bool entered_grow(kin_walk *walk) {
  size_t capacity = walk->entered_capacity ? walk->entered_capacity * 2 : 64;
  identity *set = calloc(capacity, sizeof *set);
  if (!set) return false;
  for (size_t i = 0; i < walk->entered_capacity; i++) {
    const identity *old = &walk->entered[i];
    if (old->used) set[identity_slot(set, capacity, old->device, old->inode)] = *old;
  }
  free(walk->entered);
  walk->entered = set;
  walk->entered_capacity = capacity;
  return true;
}

/* Note that a folder is entered: *again tells whether it was before. */
static bool enter_once(kin_walk *walk, const struct stat *s, bool *again) {
  *again = false;
  if (!walk->options.follow) return true;
  if (walk->n_entered * 2 >= walk->entered_capacity && !entered_grow(walk)) return false;
  uint64_t device = (uint64_t)s->st_dev, inode = (uint64_t)s->st_ino;
  identity *found = &walk->entered[identity_slot(walk->entered, walk->entered_capacity, device, inode)];
  *again = found->used;
  if (!found->used) {
    *found = (identity){device, inode, true};
    walk->n_entered++;
  }
  return true;
}

/* Whether the entry at walk->path is a folder, a file, or nothing we take. */
typedef enum kind { NOTHING, FILE_ENTRY, FOLDER_ENTRY } kind;

static kind entry_kind(const kin_walk *walk, const struct dirent *entry) {
  if (entry->d_type == DT_REG) return FILE_ENTRY;
  if (entry->d_type == DT_DIR) return FOLDER_ENTRY;
  if (entry->d_type != DT_LNK && entry->d_type != DT_UNKNOWN) return NOTHING;
  struct stat s;
  if ((walk->options.follow ? stat : lstat)(walk->path, &s) != 0) return NOTHING;
  return S_ISREG(s.st_mode) ? FILE_ENTRY : S_ISDIR(s.st_mode) ? FOLDER_ENTRY : NOTHING;
}

static bool folder_add(folder *f, const char *name, bool is_folder) {
  size_t length = strlen(name);
  if (!kin_grow((void **)&f->names, &f->names_capacity, f->names_size + length + 2, 1) ||
      !kin_grow((void **)&f->order, &f->order_capacity, f->count + 1, sizeof *f->order))
    return false;
  f->order[f->count++] = f->names_size;
  memcpy(f->names + f->names_size, name, length);
  f->names_size += length;
  if (is_folder) f->names[f->names_size++] = '/';
  f->names[f->names_size++] = '\0';
  return true;
}

/* A subfolder's name sorts with its '/', which makes the whole walk sorted by path. */
static int compare_names(const void *a, const void *b, void *names) {
  return strcmp((const char *)names + *(const size_t *)a, (const char *)names + *(const size_t *)b);
}

static const char *folder_name(const folder *f, size_t i) {
  return f->names + f->order[i];
}

/* Sort, and keep only the first WINDOW names. */
static bool folder_trim(folder *f) {
  if (f->count) qsort_r(f->order, f->count, sizeof *f->order, compare_names, f->names);
  if (f->count <= WINDOW) return true;
  folder kept = {0};
  for (size_t i = 0; i < WINDOW; i++)
    if (!folder_add(&kept, folder_name(f, i), false)) {
      folder_free(&kept);
      return false;
    }
  kept.after = f->after;
  kept.path_length = f->path_length;
  kept.more = true;
  f->after = NULL;
  folder_free(f);
  *f = kept;
  return true;
}

/* Add a name unless it lies outside the window. */
static bool folder_take(folder *f, const char *name, bool is_folder) {
  if (!folder_add(f, name, is_folder)) return false;
  const char *added = folder_name(f, f->count - 1);
  if ((f->after && strcmp(added, f->after) <= 0) || (f->more && strcmp(added, folder_name(f, WINDOW - 1)) > 0))
    f->names_size = f->order[--f->count];
  return f->count < 2 * WINDOW || folder_trim(f);
}

static bool is_wanted(const kin_walk *walk, const char *name) {
  unsigned kinds = walk->options.kinds ? walk->options.kinds : KIN_WALK_PICTURES;
  if ((kinds & KIN_WALK_PICTURES) && kin_image_has_known_extension(name)) return true;
  kin_document_format format = kin_document_format_of(name);
  return format == KIN_DOCUMENT_CSV ? kinds & KIN_WALK_TABLES : format && kinds & KIN_WALK_DOCUMENTS;
}

/* Fill `f`; errno is 0 afterwards unless the system refused half-way. */
static bool folder_read(kin_walk *walk, folder *f, DIR *dir) {
  for (const struct dirent *entry; errno = 0, (entry = readdir(dir));) {
    const char *name = entry->d_name;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || is_system_name(name)) continue;
    if (name[0] == '.' && !walk->options.hidden) continue;
    if (!path_put(walk, f->path_length, name, strlen(name))) return false;
    kind k = entry_kind(walk, entry);
    if (k == NOTHING || (k == FILE_ENTRY && !is_wanted(walk, name))) continue;
    if (is_excluded(&walk->options, name, walk->path)) continue;
    if (!folder_take(f, name, k == FOLDER_ENTRY)) return false;
  }
  int refused = errno;
  if (!folder_trim(f)) return false;
  errno = refused;
  return true;
}

/* The folder at walk->path can't be read (wholly): report it in *out. */
static void folder_failed(kin_walk *walk, size_t path_length, int errnum, kin_walk_entry *out) {
  walk->path[path_length] = '\0';
  out->status = kin_fail_errno(&walk->item_error, errnum, "can't read the folder %s", walk->path);
}

/* Push the folder at walk->path, which ends with '/'. */
static kin_status folder_enter(kin_walk *walk, size_t path_length, kin_walk_entry *out, kin_error *err) {
  DIR *dir = opendir(walk->path);
  struct stat s;
  if (!dir || fstat(dirfd(dir), &s) != 0) {
    folder_failed(walk, path_length, errno, out);
    if (dir) closedir(dir);
    return KIN_OK;
  }
  bool again, ok = enter_once(walk, &s, &again);
  if (ok && !again) {
    folder f = {.path_length = path_length};
    ok = kin_grow((void **)&walk->stack, &walk->stack_capacity, walk->depth + 1, sizeof f);
    if (ok) {
      ok = folder_read(walk, &f, dir);
      if (ok && errno) folder_failed(walk, path_length, errno, out);
      walk->stack[walk->depth++] = f;
    }
  }
  closedir(dir);
  return ok ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "out of memory while reading the folder %s", walk->path);
}

/* Have the next names of the folder on top of the stack, all of the last ones being taken. */
static kin_status folder_continue(kin_walk *walk, folder *f, kin_walk_entry *out, kin_error *err) {
  char *after = kin_strdup(folder_name(f, f->count - 1));
  free(f->after);
  f->after = after;
  f->more = false;
  f->count = f->next = f->names_size = 0;
  walk->path[f->path_length] = '\0';
  if (!after) return kin_fail(err, KIN_ERR_MEMORY, "out of memory while reading the folder %s", walk->path);
  DIR *dir = opendir(walk->path);
  if (!dir) {
    folder_failed(walk, f->path_length, errno, out);
    return KIN_OK;
  }
  bool ok = folder_read(walk, f, dir);
  if (ok && errno) folder_failed(walk, f->path_length, errno, out);
  closedir(dir);
  return ok ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "out of memory while reading the folder %s", walk->path);
}

/* Fill *out for the file at walk->path; false when `since` leaves it out. */
static bool file_entry(kin_walk *walk, const struct stat *s, kin_walk_entry *out) {
  if (walk->options.since && (int64_t)s->st_mtim.tv_sec < walk->options.since) return false;
  out->path = walk->path;
  out->size = (uint64_t)s->st_size;
  out->mtime_ns = kin_time_ns(s->st_mtim.tv_sec, s->st_mtim.tv_nsec);
  return true;
}

static void failed_entry(kin_walk *walk, kin_walk_entry *out) {
  out->path = walk->path;
  out->message = walk->item_error.message;
}

/* Take up the next root; out->path is set when that gives an entry at once. */
static kin_status start_root(kin_walk *walk, kin_walk_entry *out, kin_error *err) {
  out->root = walk->next_root;
  const char *root = walk->roots[walk->next_root++];
  size_t length = strlen(root);
  if (!path_put(walk, 0, root, length)) return kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", root);
  struct stat s;
  if (stat(root, &s) != 0) {
    out->status = kin_fail_errno(&walk->item_error, errno, "can't open %s", root);
  } else if (S_ISDIR(s.st_mode)) {
    while (length > 0 && root[length - 1] == '/') length--;
    if (!path_put(walk, length, "/", 1)) return kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", root);
    kin_status status = folder_enter(walk, length + 1, out, err);
    if (status != KIN_OK) return status;
  } else {
    file_entry(walk, &s, out);
  }
  if (out->status != KIN_OK) failed_entry(walk, out);
  return KIN_OK;
}

/* Take the next name of the folder on top of the stack. */
static kin_status step(kin_walk *walk, kin_walk_entry *out, kin_error *err) {
  folder *top = &walk->stack[walk->depth - 1];
  if (top->next == top->count && top->more) {
    kin_status status = folder_continue(walk, top, out, err);
    if (out->status != KIN_OK) failed_entry(walk, out);
    return status;
  }
  if (top->next == top->count) {
    folder_free(top);
    walk->depth--;
    return KIN_OK;
  }
  const char *name = top->names + top->order[top->next++];
  size_t length = strlen(name), at = top->path_length;
  if (!path_put(walk, at, name, length)) return kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", name);
  if (name[length - 1] == '/') {
    kin_status status = folder_enter(walk, at + length, out, err);
    if (status != KIN_OK) return status;
  } else {
    struct stat s;
    if ((walk->options.follow ? stat : lstat)(walk->path, &s) == 0) {
      file_entry(walk, &s, out);
    } else if (errno != ENOENT) { /* gone since the folder was read: not an error */
      out->status = kin_fail_errno(&walk->item_error, errno, "can't open %s", walk->path);
    }
  }
  if (out->status != KIN_OK) failed_entry(walk, out);
  return KIN_OK;
}

kin_status kin_walk_next(kin_walk *walk, kin_walk_entry *out, kin_error *err) {
  *out = (kin_walk_entry){.root = walk->next_root ? walk->next_root - 1 : 0};
  while (!out->path && (walk->depth || walk->next_root < walk->n_roots)) {
    kin_status status = walk->depth ? step(walk, out, err) : start_root(walk, out, err);
    if (status != KIN_OK) return status;
  }
  return KIN_OK;
}

kin_status kin_walk_excludes(const kin_walk_options *options, const char *path, size_t root_length, bool *out,
                             kin_error *err) {
  *out = false;
  if (!options->n_exclude || !path[root_length]) return KIN_OK;
  char *copy = kin_strdup(path);
  if (!copy) return kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", path);
  for (char *name = copy + root_length; name && !*out;) {
    while (*name == '/') name++;
    char *end = strchr(name, '/');
    if (end) *end = '\0';
    *out = is_excluded(options, name, copy);
    if (end) *end = '/';
    name = end;
  }
  free(copy);
  return KIN_OK;
}
