/* A file as lines of checked UTF-8, read block by block. */
#include "document/reader.h"
#include "text/unicode.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK ((size_t)64 << 10)

typedef enum encoding { UTF_8, UTF_16_LITTLE, UTF_16_BIG } encoding;

struct kin_lines {
  char *path;
  int fd;
  encoding encoding;
  uint8_t *raw; /* [BLOCK], what was read, of which `n_raw` bytes aren't decoded yet */
  size_t n_raw;
  bool end;       /* of the file */
  kin_bytes text; /* decoded; from `at` on not yet given out */
  size_t at, next;
  uint64_t number, offset; /* of text.data[at] */
};

kin_status kin_lines_open(const char *path, kin_lines **out, kin_error *err) {
  *out = NULL;
  struct stat s;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return kin_fail_errno(err, errno, "can't open %s", path);
  if (fstat(fd, &s) != 0 || !S_ISREG(s.st_mode)) {
    close(fd);
    return kin_fail(err, KIN_ERR_IO, "%s: is no regular file", path);
  }
  kin_lines *lines = calloc(1, sizeof *lines);
  if (lines) {
    *lines = (kin_lines){.path = kin_strdup(path), .fd = fd, .raw = malloc(BLOCK), .number = 1};
    if (lines->path && lines->raw) {
      *out = lines;
      return KIN_OK;
    }
    kin_lines_close(lines);
  } else {
    close(fd);
  }
  return kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", path);
}

void kin_lines_close(kin_lines *lines) {
  if (!lines) return;
  close(lines->fd);
  free(lines->path);
  free(lines->raw);
  kin_bytes_free(&lines->text);
  free(lines);
}

const char *kin_lines_path(const kin_lines *lines) {
  return lines->path;
}

static kin_status fail_encoding(const kin_lines *lines, uint64_t line, kin_error *err) {
  return kin_fail(err, KIN_ERR_FORMAT,
                  "%s:%llu: isn't UTF-8 (nor UTF-16 with a byte order mark); convert it, for example with iconv",
                  lines->path, (unsigned long long)line);
}

/* The file's bytes that `size` bytes of decoded text stand for. */
static uint64_t source_bytes(const kin_lines *lines, const char *text, size_t size) {
  if (lines->encoding == UTF_8) return size;
  uint64_t units = 0;
  for (size_t i = 0; i < size; i++)
    if (((uint8_t)text[i] & 0xC0) != 0x80) units += (uint8_t)text[i] < 0xF0 ? 1 : 2;
  return 2 * units;
}

static uint32_t unit_at(const kin_lines *lines, size_t i) {
  const uint8_t *p = lines->raw + i;
  return lines->encoding == UTF_16_LITTLE ? (uint32_t)(p[0] | p[1] << 8) : (uint32_t)(p[0] << 8 | p[1]);
}

/* Decode the whole characters of lines->raw; returns the bytes used, or SIZE_MAX at what isn't UTF-16. */
static size_t decode_utf16(kin_lines *lines) {
  size_t i = 0;
  for (; i + 2 <= lines->n_raw; i += 2) {
    uint32_t c = unit_at(lines, i);
    if (c >= 0xDC00 && c < 0xE000) return SIZE_MAX;
    if (c >= 0xD800 && c < 0xDC00) {
      if (i + 4 > lines->n_raw) break;
      uint32_t low = unit_at(lines, i + 2);
      if (low < 0xDC00 || low >= 0xE000) return SIZE_MAX;
      c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
      i += 2;
    }
    kin_bytes_put(&lines->text, c);
  }
  return lines->end && i < lines->n_raw ? SIZE_MAX : i;
}

/* Take note of the byte order mark and drop it. */
static void take_mark(kin_lines *lines) {
  const uint8_t *p = lines->raw;
  size_t n = 0;
  if (lines->n_raw >= 3 && p[0] == 0xEF && p[1] == 0xBB && p[2] == 0xBF) {
    n = 3;
  } else if (lines->n_raw >= 2 && ((p[0] == 0xFF && p[1] == 0xFE) || (p[0] == 0xFE && p[1] == 0xFF))) {
    lines->encoding = p[0] == 0xFF ? UTF_16_LITTLE : UTF_16_BIG;
    n = 2;
  }
  lines->offset = n;
  lines->n_raw -= n;
  memmove(lines->raw, lines->raw + n, lines->n_raw);
}

static kin_status read_block(kin_lines *lines, kin_error *err) {
  while (lines->n_raw < BLOCK) {
    ssize_t n = read(lines->fd, lines->raw + lines->n_raw, BLOCK - lines->n_raw);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return kin_fail_errno(err, errno, "%s: can't read", lines->path);
    if (n == 0) {
      lines->end = true;
      break;
    }
    lines->n_raw += (size_t)n;
  }
  return KIN_OK;
}

/* Decode another block behind what is left. */
static kin_status fill(kin_lines *lines, kin_error *err) {
  bool first = lines->offset == 0 && lines->text.size == 0;
  lines->text.size -= lines->at;
  if (lines->text.size) memmove(lines->text.data, lines->text.data + lines->at, lines->text.size);
  lines->next -= lines->at;
  lines->at = 0;
  kin_status status = read_block(lines, err);
  if (status != KIN_OK) return status;
  if (first) take_mark(lines);
  size_t used = lines->n_raw;
  if (lines->encoding == UTF_8)
    kin_bytes_append(&lines->text, lines->raw, lines->n_raw);
  else
    used = decode_utf16(lines);
  if (lines->text.failed) return kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", lines->path);
  if (used == SIZE_MAX) {
    uint64_t line = lines->number;
    for (size_t i = 0; i < lines->text.size; i++) line += lines->text.data[i] == '\n';
    return fail_encoding(lines, line, err);
  }
  lines->n_raw -= used;
  memmove(lines->raw, lines->raw + used, lines->n_raw);
  return KIN_OK;
}

/* Where to cut a line that is too long: behind a blank if one is near, and never inside a character. */
static size_t cut_of(const char *text, size_t limit) {
  for (size_t i = limit; i > limit / 2; i--)
    if (text[i - 1] == ' ' || text[i - 1] == '\t') return i;
  size_t cut = limit;
  while (cut > limit - 4 && ((uint8_t)text[cut] & 0xC0) == 0x80) cut--;
  return cut;
}

static kin_status check(const kin_lines *lines, const kin_line *line, kin_error *err) {
  if (kin_utf8_check(line->text, line->size) < line->size) return fail_encoding(lines, line->number, err);
  if (memchr(line->text, '\0', line->size))
    return kin_fail(err, KIN_ERR_FORMAT, "%s:%llu: holds a NUL byte, so it is no text (UTF-16 needs a byte order mark)",
                    lines->path, (unsigned long long)line->number);
  return KIN_OK;
}

/* The line at lines->at, if its end or enough of it is there; `after` is what its end takes. */
static bool find_line(const kin_lines *lines, size_t *size, size_t *after) {
  size_t left = lines->text.size - lines->at, n = 0;
  *size = *after = 0;
  if (!left) return false;
  const char *text = lines->text.data + lines->at;
  while (n < left && n < KIN_LINE_LIMIT && text[n] != '\n' && text[n] != '\r') n++;
  *size = n;
  if (n == left) return lines->end;
  if (text[n] != '\n' && text[n] != '\r') { /* the limit */
    *size = cut_of(text, n);
    return true;
  }
  *after = 1;
  if (text[n] == '\n') return true;
  if (n + 1 == left) return lines->end; /* CR: LF may follow */
  *after = text[n + 1] == '\n' ? 2 : 1;
  return true;
}

kin_status kin_lines_next(kin_lines *lines, kin_line *out, kin_error *err) {
  *out = (kin_line){0};
  if (lines->next > lines->at) {
    const char *text = lines->text.data + lines->at;
    size_t used = lines->next - lines->at;
    lines->offset += source_bytes(lines, text, used);
    lines->number += text[used - 1] == '\n' || text[used - 1] == '\r';
    lines->at = lines->next;
  }
  size_t size, after;
  while (!find_line(lines, &size, &after)) {
    if (lines->end) return KIN_OK;
    kin_status status = fill(lines, err);
    if (status != KIN_OK) return status;
  }
  lines->next = lines->at + size + after;
  *out = (kin_line){.text = lines->text.data + lines->at,
                    .size = size,
                    .number = lines->number,
                    .offset = lines->offset,
                    .continues = !after && lines->next < lines->text.size};
  return check(lines, out, err);
}

kin_status kin_lines_next_whole(kin_lines *lines, kin_bytes *text, uint64_t *number, bool *end, kin_error *err) {
  kin_line line = {.continues = true};
  text->size = 0;
  for (bool first = true; line.continues; first = false) {
    kin_status status = kin_lines_next(lines, &line, err);
    *end = first && !line.text;
    if (status != KIN_OK || !line.text) return status;
    if (first) *number = line.number;
    kin_bytes_append(text, line.text, line.size);
    if (text->failed) return kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", lines->path);
    if (text->size > KIN_RECORD_LIMIT)
      return kin_fail(err, KIN_ERR_LIMIT, "%s:%llu: a line of over %zu MiB", lines->path, (unsigned long long)*number,
                      KIN_RECORD_LIMIT >> 20);
  }
  return KIN_OK;
}
