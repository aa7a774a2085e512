/* Vector files, written row by row to a hidden file that takes its name when it is whole. */
#include "embed/vector_writer.h"

#include "embed/path_json.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the formats are little-endian");

typedef enum vector_format { NPY, JSONL, SAFETENSORS, FVECS } vector_format;

/* Both headers hold the number of rows, known at the end only, so their size is fixed. */
enum { NPY_HEADER = 128, SAFETENSORS_HEADER = 256 };

struct kin_vector_writer {
  vector_format format;
  size_t dim;
  uint64_t rows;
  char *path;      /* as given, for messages */
  char *target;    /* what commit replaces, links followed; NULL when written in place */
  char *temporary; /* NULL once renamed or when written in place */
  FILE *file;
  int failure; /* errno of the first failed write: the file can't be whole any more */
};

static kin_status pick_format(const char *path, vector_format *out, kin_error *err) {
  static const char *const endings[] = {
      [NPY] = ".npy", [JSONL] = ".jsonl", [SAFETENSORS] = ".safetensors", [FVECS] = ".fvecs"};
  size_t length = strlen(path);
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
    size_t n = strlen(endings[i]);
    if (length > n && strcmp(path + length - n, endings[i]) == 0) {
      *out = (vector_format)i;
      return KIN_OK;
    }
  }
  return kin_fail(err, KIN_ERR_ARGUMENT, "%s: the ending must be .npy, .jsonl, .safetensors or .fvecs", path);
}

static kin_status write_failed(kin_vector_writer *w, kin_error *err) {
  if (!w->failure) w->failure = errno ? errno : EIO;
  return kin_fail_errno(err, w->failure, "can't write %s", w->path);
}

static bool put(kin_vector_writer *w, const void *data, size_t size) {
  return size == 0 || fwrite(data, size, 1, w->file) == 1;
}

/* The header for the rows so far, padded with spaces to its fixed size. */
static bool put_header(kin_vector_writer *w) {
  char header[SAFETENSORS_HEADER];
  memset(header, ' ', sizeof header);
  char text[SAFETENSORS_HEADER];
  unsigned long long rows = w->rows, bytes = rows * w->dim * sizeof(float);
  if (w->format == NPY) {
    int n =
        snprintf(text, sizeof text, "{'descr': '<f4', 'fortran_order': False, 'shape': (%llu, %zu), }", rows, w->dim);
    memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10); /* version 1.0; 118 bytes of text follow */
    memcpy(header + 10, text, (size_t)n);
    header[NPY_HEADER - 1] = '\n';
    return put(w, header, NPY_HEADER);
  }
  if (w->format == SAFETENSORS) {
    int n =
        snprintf(text, sizeof text, "{\"vectors\":{\"dtype\":\"F32\",\"shape\":[%llu,%zu],\"data_offsets\":[0,%llu]}}",
                 rows, w->dim, bytes);
    uint64_t size = SAFETENSORS_HEADER - sizeof size;
    memcpy(header, &size, sizeof size);
    memcpy(header + sizeof size, text, (size_t)n);
    return put(w, header, SAFETENSORS_HEADER);
  }
  return true;
}

/* Open a new hidden file in the folder of w->target, with the rights that the target has or would get. */
static kin_status open_temporary(kin_vector_writer *w, const struct stat *old, kin_error *err) {
  const char *slash = strrchr(w->target, '/');
  int folder = slash ? (int)(slash - w->target) + 1 : 0;
  int fd = -1;
  for (int attempt = 0; fd < 0 && attempt < 100; attempt++) {
    uint64_t random;
    if (getrandom(&random, sizeof random, 0) != sizeof random) return write_failed(w, err);
    free(w->temporary);
    w->temporary = kin_format("%.*s.kindred-%016llx.partial", folder, w->target, (unsigned long long)random);
    if (!w->temporary) return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %s", w->path);
    fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno != EEXIST) break;
  }
  if (fd < 0) {
    int errnum = errno;
    free(w->temporary);
    w->temporary = NULL;
    return kin_fail_errno(err, errnum, "can't make %s", w->path);
  }
  if (old && fchmod(fd, old->st_mode & 07777) != 0) { /* a foreign file system may have no such rights */
    errno = 0;
  }
  w->file = fdopen(fd, "wb");
  if (w->file) return KIN_OK;
  close(fd);
  return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %s", w->path);
}

static kin_status open_in_place(kin_vector_writer *w, kin_error *err) {
  bool standard = strcmp(w->path, "-") == 0;
  int fd = standard ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3) : open(w->path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return kin_fail_errno(err, errno, "can't open %s", standard ? "the standard output" : w->path);
  if ((w->format == NPY || w->format == SAFETENSORS) && lseek(fd, 0, SEEK_CUR) < 0) {
    close(fd);
    return kin_fail(err, KIN_ERR_UNSUPPORTED,
                    "%s is a pipe, and this format's header is written last; use .jsonl or .fvecs", w->path);
  }
  w->file = fdopen(fd, "wb");
  if (w->file) return KIN_OK;
  close(fd);
  return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %s", w->path);
}

static kin_status open_file(kin_vector_writer *w, kin_error *err) {
  struct stat s;
  bool exists = stat(w->path, &s) == 0;
  if (exists && S_ISDIR(s.st_mode)) return kin_fail(err, KIN_ERR_IO, "%s is a folder", w->path);
  if (strcmp(w->path, "-") == 0 || (exists && !S_ISREG(s.st_mode))) return open_in_place(w, err);
  w->target = exists ? realpath(w->path, NULL) : kin_strdup(w->path);
  if (!w->target) return kin_fail_errno(err, errno, "can't make %s", w->path);
  return open_temporary(w, exists ? &s : NULL, err);
}

kin_status kin_vector_writer_open(const char *path, size_t dim, kin_vector_writer **out, kin_error *err) {
  if (!path || !out || dim == 0 || dim > INT32_MAX)
    return kin_fail(err, KIN_ERR_ARGUMENT, "a vector file needs a path and a vector size from 1 to %d", INT32_MAX);
  vector_format format = JSONL;
  if (strcmp(path, "-") != 0) {
    kin_status status = pick_format(path, &format, err);
    if (status != KIN_OK) return status;
  }
  kin_vector_writer *w = calloc(1, sizeof *w);
  char *copy = kin_strdup(path);
  if (!w || !copy) {
    free(w);
    free(copy);
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for %s", path);
  }
  *w = (kin_vector_writer){.format = format, .dim = dim, .path = copy};
  kin_status status = open_file(w, err);
  if (status == KIN_OK && !put_header(w)) status = write_failed(w, err);
  if (status != KIN_OK) {
    kin_vector_writer_close(w);
    return status;
  }
  *out = w;
  return KIN_OK;
}

bool kin_vector_writer_is_json(const kin_vector_writer *w) {
  return w->format == JSONL;
}

kin_status kin_vector_writer_add_line(kin_vector_writer *w, const json_t *line, kin_error *err) {
  if (w->failure || json_dumpf(line, w->file, JSON_COMPACT | JSON_REAL_PRECISION(9)) != 0 || !put(w, "\n", 1))
    return write_failed(w, err);
  return KIN_OK;
}

static kin_status add_json(kin_vector_writer *w, const float *vector, json_t *row, kin_error *err) {
  json_t *values = json_array();
  bool ok = row && values;
  for (size_t i = 0; ok && i < w->dim; i++) ok = json_array_append_new(values, json_real((double)vector[i])) == 0;
  ok = ok && json_object_set(row, "vector", values) == 0;
  json_decref(values);
  return ok ? kin_vector_writer_add_line(w, row, err)
            : kin_fail(err, KIN_ERR_MEMORY, "out of memory for a row of %s", w->path);
}

kin_status kin_vector_writer_add_object(kin_vector_writer *w, const float *vector, json_t *row, kin_error *err) {
  for (size_t i = 0; i < w->dim; i++)
    if (!isfinite(vector[i]))
      return kin_fail(err, KIN_ERR_ARGUMENT, "%s: a value of row %llu isn't finite", w->path,
                      (unsigned long long)w->rows);
  if (w->failure) return write_failed(w, err);
  w->rows++;
  if (w->format == JSONL) return add_json(w, vector, row, err);
  int32_t dim = (int32_t)w->dim;
  bool ok = w->format != FVECS || put(w, &dim, sizeof dim);
  return ok && put(w, vector, w->dim * sizeof *vector) ? KIN_OK : write_failed(w, err);
}

kin_status kin_vector_writer_add(kin_vector_writer *w, const float *vector, const char *key, const char *name,
                                 kin_error *err) {
  if (!w || !w->file || !vector || (key && !name))
    return kin_fail(err, KIN_ERR_ARGUMENT, "a row needs an open writer, a vector, and a name with its key");
  json_t *row = w->format == JSONL ? json_object() : NULL;
  if (row && key && !kin_json_set_text(row, key, name)) {
    json_decref(row);
    return kin_fail(err, KIN_ERR_MEMORY, "out of memory for a row of %s", w->path);
  }
  kin_status status = kin_vector_writer_add_object(w, vector, row, err);
  json_decref(row);
  return status;
}

/* A rename is safe from a power cut only when its folder is synced too; some file systems can't, which is
 * no error. */
static void sync_folder(const char *path) {
  const char *slash = strrchr(path, '/');
  char *folder = slash ? kin_format("%.*s", (int)(slash - path) + 1, path) : kin_strdup(".");
  int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  if (fd >= 0) {
    fsync(fd);
    close(fd);
  }
  free(folder);
}

kin_status kin_vector_writer_commit(kin_vector_writer *w, kin_error *err) {
  if (!w || !w->file) return kin_fail(err, KIN_ERR_ARGUMENT, "this vector file is committed already");
  bool ok = !w->failure;
  if (ok && (w->format == NPY || w->format == SAFETENSORS)) ok = fseeko(w->file, 0, SEEK_SET) == 0 && put_header(w);
  ok = ok && fflush(w->file) == 0 && (!w->temporary || fsync(fileno(w->file)) == 0);
  if (!ok) return write_failed(w, err);
  FILE *file = w->file;
  w->file = NULL;
  if (fclose(file) != 0) return write_failed(w, err);
  if (!w->temporary) return KIN_OK;
  if (rename(w->temporary, w->target) != 0) return write_failed(w, err);
  free(w->temporary);
  w->temporary = NULL;
  sync_folder(w->target);
  return KIN_OK;
}

void kin_vector_writer_close(kin_vector_writer *w) {
  if (!w) return;
  if (w->file) fclose(w->file);
  if (w->temporary) unlink(w->temporary);
  free(w->temporary);
  free(w->target);
  free(w->path);
  free(w);
}
