/* Reading and writing files of packed weights: a head, its entries, and every piece at a multiple of 4096. */
#include "model/packed_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* To be raised whenever panels, or what a tower lists, change. */
enum { LAYOUT = 4, PAGE = 4096, MAX_ENTRIES = 1 << 20 };

typedef struct head {
  char magic[8];
  char hash[65]; /* of the rest of the head and the entries */
  char sources[65], id[65];
  uint8_t unused[5];
  uint64_t parameters, memory_bytes, entries, size;
} head;

static const char magic[8] = "KINPACK";

/* ------------------------------------------------- what a file is made from */

static void feed_file(kin_sha256 *h, const char *dir, const char *name) {
  struct stat st;
  char *path = kin_format("%s/%s", dir, name), text[200];
  if (path && stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
    int n = snprintf(text, sizeof text, " %llu %llu %lld %lld.%09ld %lld.%09ld\n", (unsigned long long)st.st_dev,
                     (unsigned long long)st.st_ino, (long long)st.st_size, (long long)st.st_mtim.tv_sec,
                     st.st_mtim.tv_nsec, (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
    kin_sha256_update(h, name, strlen(name));
    kin_sha256_update(h, text, (size_t)n);
  }
  free(path);
}

static int compare_names(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Every file in the folder and in those right below it (sentence encoders keep parts there), in order of names. */
static bool feed_folder(kin_sha256 *h, const char *dir, bool below) {
  DIR *d = opendir(dir);
  char **names = NULL;
  size_t n = 0, capacity = 0;
  bool ok = d != NULL;
  for (struct dirent *e; ok && (e = readdir(d)) != NULL;) {
    if (e->d_name[0] == '.') continue;
    ok = kin_grow((void **)&names, &capacity, n + 1, sizeof *names) && (names[n] = kin_strdup(e->d_name)) != NULL;
    if (ok) n++;
  }
  if (d) closedir(d);
  if (n) qsort(names, n, sizeof *names, compare_names);
  for (size_t i = 0; i < n; i++) {
    char *path = ok && below ? kin_format("%s/%s", dir, names[i]) : NULL;
    struct stat st;
    if (ok) feed_file(h, dir, names[i]);
    if (path && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) ok = feed_folder(h, path, false);
    free(path), free(names[i]);
  }
  free(names);
  return ok;
}

void kin_packed_file_sources(const kin_model_source *dir, char hex[65]) {
  kin_sha256 *h = kin_sha256_new();
  *hex = '\0';
  if (!h) return;
  char text[100];
  int n = snprintf(text, sizeof text, "%d %d %d %zu\n", LAYOUT, (int)dir->precision, (int)dir->pooling, sizeof(head));
  kin_sha256_update(h, text, (size_t)n);
  bool ok = feed_folder(h, dir->path, true);
  kin_sha256_finish(h, hex);
  if (!ok) *hex = '\0';
}

/* One file a model directory and way of opening it. */
static char *path_of(const char *folder, const kin_model_source *dir) {
  char *real = realpath(dir->path, NULL), hex[65] = "", text[40];
  kin_sha256 *h = real ? kin_sha256_new() : NULL;
  if (h) {
    int n = snprintf(text, sizeof text, "\n%d %d", (int)dir->precision, (int)dir->pooling);
    kin_sha256_update(h, real, strlen(real));
    kin_sha256_update(h, text, (size_t)n);
    kin_sha256_finish(h, hex);
  }
  free(real);
  return *hex ? kin_format("%s/%.32s.packed", folder, hex) : NULL;
}

static void hash_head(const head *given, const kin_visit_entry *entries, char hex[65]) {
  head h = *given;
  memset(h.hash, 0, sizeof h.hash);
  kin_sha256 *s = kin_sha256_new();
  *hex = '\0';
  if (!s) return;
  kin_sha256_update(s, &h, sizeof h);
  kin_sha256_update(s, entries, (size_t)h.entries * sizeof *entries);
  kin_sha256_finish(s, hex);
}

/* ------------------------------------------------------------------ opening */

static bool check(const kin_map *map, const char *sources, kin_packed_file *out) {
  head h;
  if (map->size < sizeof h) return false;
  memcpy(&h, map->data, sizeof h);
  if (memcmp(h.magic, magic, sizeof magic) != 0 || h.size != map->size || h.entries > MAX_ENTRIES) return false;
  if (!*sources || strncmp(h.sources, sources, 65) != 0) return false;
  size_t bytes = (size_t)h.entries * sizeof *out->entries;
  if (bytes > map->size - sizeof h) return false;
  kin_visit_entry *entries = kin_array((size_t)h.entries, sizeof *entries);
  if (!entries) return false;
  memcpy(entries, map->data + sizeof h, bytes);
  char hex[65];
  hash_head(&h, entries, hex);
  bool ok = *hex && strncmp(h.hash, hex, 65) == 0;
  for (size_t i = 0; ok && i < h.entries; i++)
    ok = entries[i].bytes == KIN_VISIT_NUMBER ||
         (entries[i].at <= h.size && entries[i].bytes <= h.size - entries[i].at && entries[i].at % PAGE == 0);
  if (!ok) {
    free(entries);
    return false;
  }
  *out = (kin_packed_file){*map, "", h.parameters, h.memory_bytes, entries, (size_t)h.entries};
  memcpy(out->id, h.id, sizeof out->id);
  out->id[64] = '\0';
  return true;
}

bool kin_packed_file_open(const char *folder, const kin_model_source *dir, const char *sources, kin_packed_file *out) {
  *out = (kin_packed_file){0};
  char *path = path_of(folder, dir);
  kin_map map = {0};
  bool found = path && kin_file_exists(path) && kin_map_open(path, &map, NULL) == KIN_OK;
  free(path);
  if (found && check(&map, sources, out)) return true;
  kin_map_close(&map);
  return false;
}

void kin_packed_file_close(kin_packed_file *file) {
  kin_map_close(&file->map);
  free(file->entries);
  *file = (kin_packed_file){0};
}

/* ------------------------------------------------------------------- saving */

static bool write_all(int fd, const void *data, size_t size) {
  const char *p = data;
  while (size) {
    ssize_t n = write(fd, p, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    p += n, size -= (size_t)n;
  }
  return true;
}

static bool write_file(int fd, const head *h, const kin_visitor *v) {
  bool ok = write_all(fd, h, sizeof *h) && write_all(fd, v->entries, v->n * sizeof *v->entries);
  for (size_t i = 0; ok && i < v->n; i++)
    if (v->entries[i].bytes != KIN_VISIT_NUMBER && v->entries[i].bytes)
      ok = lseek(fd, (off_t)v->entries[i].at, SEEK_SET) >= 0 && write_all(fd, v->pieces[i], v->entries[i].bytes);
  /* A crash of the machine must not leave a head without its pieces. */
  return ok && ftruncate(fd, (off_t)h->size) == 0 && fsync(fd) == 0;
}

static bool has_room(const char *folder, uint64_t size) {
  struct statvfs s;
  return statvfs(folder, &s) == 0 && (uint64_t)s.f_bavail * s.f_frsize / 2 > size;
}

static void put(const char *folder, const kin_model_source *dir, head *h, kin_visitor *v) {
  uint64_t at = sizeof *h + v->n * sizeof *v->entries;
  for (size_t i = 0; i < v->n; i++) {
    if (v->entries[i].bytes == KIN_VISIT_NUMBER) continue;
    at = (at + PAGE - 1) / PAGE * PAGE;
    v->entries[i].at = at, at += v->entries[i].bytes;
  }
  h->entries = v->n, h->size = at;
  hash_head(h, v->entries, h->hash);
  char *path = path_of(folder, dir), *temporary = path ? kin_format("%s.XXXXXX", path) : NULL;
  int fd = temporary && *h->hash && has_room(folder, at) ? mkstemp(temporary) : -1;
  if (fd >= 0) {
    bool ok = write_file(fd, h, v);
    if (close(fd) != 0 || !ok || rename(temporary, path) != 0) unlink(temporary);
  }
  free(path), free(temporary);
}

void kin_packed_file_save(const char *folder, const kin_model_source *dir, const char *sources, kin_model *model) {
  head h = {.parameters = model->info.parameters, .memory_bytes = model->info.memory_bytes};
  memcpy(h.magic, magic, sizeof magic);
  memcpy(h.id, model->info.id, sizeof h.id);
  kin_packed_file_sources(dir, h.sources);
  if (!*h.sources || strcmp(h.sources, sources) != 0) return;
  kin_visitor v = {.kind = KIN_VISIT_SAVE};
  kin_model_visit(model, &v);
  if (!v.failed) put(folder, dir, &h, &v);
  free(v.entries), free(v.pieces);
}
