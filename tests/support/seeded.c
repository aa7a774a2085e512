/* Seeded weights: see tools/reference/seeded.py, which describes the arithmetic, for the twin of this file. */
#include "seeded.h"

#include "base/json.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SPEC_LIMIT (1u << 20)
#define CHUNK 65536

/* One tensor: a row of the table with its layer number filled in. */
typedef struct row {
  char name[256];
  json_t *shape; /* borrowed from the table */
  size_t elements;
  bool integers; /* I64, counting up from 0: position ids */
  float mean, scale;
} row;

typedef struct table {
  json_t *json;
  const char *seed;
  row *rows;
  size_t n, capacity;
} table;

static uint64_t fnv1a64(uint64_t h, const char *s) {
  for (; *s != 0; s++) h = (h ^ (uint8_t)*s) * 0x100000001B3u;
  return h;
}

static float element(uint64_t start, uint64_t i, const row *r) {
  uint64_t z = start + (i + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  z ^= z >> 31;
  const float v = (float)((int32_t)(z >> 40) - (1 << 23));
  return v * r->scale + r->mean;
}

static kin_status add_row(table *t, json_t *entry, const char *name, size_t layer, kin_error *err) {
  if (!kin_grow((void **)&t->rows, &t->capacity, t->n + 1, sizeof(row)))
    return kin_fail(err, KIN_ERR_MEMORY, "no memory for the table");
  row *r = &t->rows[t->n++];
  const char *hole = strstr(name, "{}");
  if (hole != NULL)
    snprintf(r->name, sizeof r->name, "%.*s%zu%s", (int)(hole - name), name, layer, hole + 2);
  else
    snprintf(r->name, sizeof r->name, "%s", name);
  r->shape = json_object_get(entry, "shape");
  r->elements = 1;
  for (size_t i = 0; i < json_array_size(r->shape); i++)
    r->elements *= (size_t)json_integer_value(json_array_get(r->shape, i));
  r->integers = json_object_get(entry, "dtype") != NULL;
  r->mean = (float)json_number_value(json_object_get(entry, "mean"));
  r->scale = (float)(json_number_value(json_object_get(entry, "std")) * 1.7320508075688772 / 8388608.0);
  return KIN_OK;
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const row *)a)->name, ((const row *)b)->name);
}

static kin_status table_open(const char *path, table *t, kin_error *err) {
  kin_status status = kin_json_load(path, SPEC_LIMIT, &t->json, err);
  if (status != KIN_OK) return status;
  t->seed = json_string_value(json_object_get(t->json, "seed"));
  size_t i;
  json_t *entry;
  json_array_foreach(json_object_get(t->json, "tensors"), i, entry) {
    const char *name = json_string_value(json_object_get(entry, "name"));
    const json_t *repeat = json_object_get(entry, "repeat");
    const size_t from = repeat == NULL ? 0 : (size_t)json_integer_value(json_array_get(repeat, 0));
    const size_t to = repeat == NULL ? 1 : (size_t)json_integer_value(json_array_get(repeat, 1));
    for (size_t layer = from; layer < to && status == KIN_OK; layer++) status = add_row(t, entry, name, layer, err);
    if (status != KIN_OK) return status;
  }
  qsort(t->rows, t->n, sizeof(row), by_name);
  return KIN_OK;
}

static void table_close(table *t) {
  json_decref(t->json);
  free(t->rows);
}

/* The safetensors header, padded to 8 bytes as the reference writer does. */
static void write_header(FILE *f, const table *t) {
  char *text = NULL;
  size_t size = 0, offset = 0;
  FILE *m = open_memstream(&text, &size);
  assert_non_null(m);
  fputc('{', m);
  for (size_t i = 0; i < t->n; i++) {
    const row *r = &t->rows[i];
    const size_t bytes = r->elements * (r->integers ? sizeof(int64_t) : sizeof(float));
    char *shape = json_dumps(r->shape, JSON_COMPACT);
    fprintf(m, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}", i == 0 ? "" : ",", r->name,
            r->integers ? "I64" : "F32", shape, offset, offset + bytes);
    free(shape);
    offset += bytes;
  }
  fputc('}', m);
  while (ftell(m) % 8 != 0) fputc(' ', m);
  fclose(m);
  const uint64_t length = size;
  fwrite(&length, sizeof length, 1, f);
  fwrite(text, 1, size, f);
  free(text);
}

static void write_tensor(FILE *f, const table *t, const row *r) {
  static float floats[CHUNK];
  if (r->integers) {
    for (int64_t i = 0; i < (int64_t)r->elements; i++) fwrite(&i, sizeof i, 1, f);
    return;
  }
  const uint64_t start = fnv1a64(fnv1a64(fnv1a64(0xCBF29CE484222325u, t->seed), "/"), r->name);
  for (size_t done = 0; done < r->elements;) {
    const size_t n = r->elements - done < CHUNK ? r->elements - done : CHUNK;
    for (size_t i = 0; i < n; i++) floats[i] = element(start, done + i, r);
    fwrite(floats, sizeof(float), n, f);
    done += n;
  }
}

static kin_status write_weights(const table *t, const char *dir, kin_error *err) {
  char *path = kin_format("%s/%s", dir, json_string_value(json_object_get(t->json, "weights")));
  FILE *f = path == NULL ? NULL : fopen(path, "wb");
  kin_status status = KIN_OK;
  if (f == NULL) {
    status = kin_fail_errno(err, errno, "%s", path == NULL ? dir : path);
  } else {
    write_header(f, t);
    for (size_t i = 0; i < t->n; i++) write_tensor(f, t, &t->rows[i]);
    const bool bad = ferror(f) != 0;
    if (fclose(f) != 0 || bad) status = kin_fail_errno(err, errno, "%s", path);
  }
  free(path);
  return status;
}

/* As mkdir -p. */
static void make_folders(char *path) {
  for (char *end = strchr(path + 1, '/');; end = strchr(end + 1, '/')) {
    if (end != NULL) *end = 0;
    if (mkdir(path, 0777) != 0 && errno != EEXIST) fail_msg("%s: %s", path, strerror(errno));
    if (end == NULL) return;
    *end = '/';
  }
}

/* The folders above a file. */
static void make_parents(char *path) {
  char *end = strrchr(path, '/');
  *end = 0;
  make_folders(path);
  *end = '/';
}

/* Folders that are written from other tables, which lie beside this one. */
static kin_status write_parts(const table *t, const char *spec, const char *dir, kin_error *err) {
  kin_status status = KIN_OK;
  const char *folder;
  json_t *name;
  json_object_foreach(json_object_get(t->json, "parts"), folder, name) {
    char *path = kin_format("%s/%s", dir, folder);
    char *part = kin_format("%.*s/%s.json", (int)(strrchr(spec, '/') - spec), spec, json_string_value(name));
    if (mkdir(path, 0777) != 0 && errno != EEXIST) fail_msg("%s: %s", path, strerror(errno));
    if (status == KIN_OK) status = seeded_write(part, path, err);
    free(path), free(part);
  }
  return status;
}

kin_status seeded_write(const char *spec, const char *dir, kin_error *err) {
  table t = {0};
  kin_status status = table_open(spec, &t, err);
  const char *name;
  json_t *content;
  json_object_foreach(json_object_get(t.json, "files"), name, content) {
    char *path = kin_format("%s/%s", dir, name);
    make_parents(path);
    if (status == KIN_OK && json_dump_file(content, path, JSON_INDENT(2)) != 0)
      status = kin_fail(err, KIN_ERR_IO, "%s: can't write", path);
    free(path);
  }
  if (status == KIN_OK) status = write_parts(&t, spec, dir, err);
  if (status == KIN_OK) status = write_weights(&t, dir, err);
  table_close(&t);
  return status;
}

/* Where the tokenizer of the model `spec` comes from: a committed folder, a material, CLIP's vocabulary, or NULL: it
 * has none. */
static char *tokenizer_folder(const char *spec, const char *cache) {
  kin_error err;
  json_t *json;
  test_assert_ok(kin_json_load(spec, SPEC_LIMIT, &json, &err), &err);
  const char *own = json_string_value(json_object_get(json, "tokenizer"));
  const char *material = json_string_value(json_object_get(json, "material"));
  const char *seed = json_string_value(json_object_get(json, "seed"));
  if (!material && strncmp(seed, "kindred/clip", 12) == 0) material = "clip-vocab";
  char *folder = own ? test_source_path(own) : material ? kin_format("%s/%s", cache, material) : NULL;
  json_decref(json);
  return folder;
}

static void link_tokenizer(const char *spec, const char *cache, const char *dir) {
  static const char *const files[] = {"vocab.json", "merges.txt", "tokenizer.json"};
  char *folder = tokenizer_folder(spec, cache);
  /* CLIP's is read from the two files, so that this way of it is tested too. */
  const bool clip = folder && strstr(folder, "/clip-vocab") != NULL;
  for (size_t i = clip ? 0 : 2; folder && i < (clip ? 2 : 3); i++) {
    char *from = kin_format("%s/%s", folder, files[i]), *to = kin_format("%s/%s", dir, files[i]);
    if (!clip) unlink(to); /* another checkout may have linked its own */
    if (kin_file_exists(from) && symlink(from, to) != 0) assert_int_equal(errno, EEXIST);
    free(from);
    free(to);
  }
  free(folder);
}

/* The stamp is a copy of the table, written last. */
static bool stamp_matches(const char *stamp, const char *text, size_t size) {
  char *old = NULL;
  size_t old_size = 0;
  const bool same = kin_file_exists(stamp) && kin_read_file(stamp, SPEC_LIMIT, &old, &old_size, NULL) == KIN_OK &&
                    old_size == size && memcmp(old, text, size) == 0;
  free(old);
  return same;
}

static char *cache_folder(void) {
  const char *set = getenv("KINDRED_CACHE"), *home = getenv("HOME");
  return set != NULL && *set != 0 ? kin_strdup(set) : kin_format("%s/.cache/kindred", home == NULL ? "/tmp" : home);
}

char *seeded_model(const char *name) {
  kin_error err;
  char *cache = cache_folder();
  char *root = kin_format("%s/seeded", cache), *dir = kin_format("%s/%s", root, name);
  char *lock_path = kin_format("%s/.lock", root), *stamp = kin_format("%s/.table", dir);
  char *relative = kin_format("tests/data/seeded/%s.json", name), *spec = test_source_path(relative), *text;
  size_t size;
  make_folders(dir);
  const int lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  assert_true(lock >= 0 && flock(lock, LOCK_EX) == 0);
  test_assert_ok(kin_read_file(spec, SPEC_LIMIT, &text, &size, &err), &err);
  if (!stamp_matches(stamp, text, size)) {
    unlink(stamp);
    test_assert_ok(seeded_write(spec, dir, &err), &err);
    test_write_file(dir, ".table", text, size);
  }
  link_tokenizer(spec, cache, dir);
  close(lock);
  free(text), free(spec), free(relative), free(stamp), free(lock_path), free(root), free(cache);
  return dir;
}

bool seeded_ready(const char *name) {
  char *relative = kin_format("tests/data/seeded/%s.json", name), *spec = test_source_path(relative);
  char *cache = cache_folder(), *folder = tokenizer_folder(spec, cache);
  struct stat st;
  const bool found = !folder || stat(folder, &st) == 0;
  if (!found) print_message("  %s is missing: run tools/materials.py\n", folder);
  free(relative), free(spec), free(cache), free(folder);
  return found;
}
