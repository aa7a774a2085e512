/* The inside of documents: the file as lines of UTF-8, and what a format is made of. */
#ifndef KIN_READER_H
#define KIN_READER_H

#include "document/document.h"
#include "text/buffer.h"

/* A longer line comes in several parts. */
#define KIN_LINE_LIMIT ((size_t)16 << 10)
#define KIN_RECORD_LIMIT ((size_t)64 << 20)

/* One line of a file, or a part of a long one. */
typedef struct kin_line {
  const char *text; /* without its end; NULL at the end of the file */
  size_t size;
  uint64_t number, offset; /* from 1; bytes from the start of the file, of this part */
  bool continues;          /* it goes on in the next part */
} kin_line;

typedef struct kin_lines kin_lines;

kin_status kin_lines_open(const char *path, kin_lines **out, kin_error *err);
/* The next line, which ends at LF, CR LF or CR; valid until the next call. */
kin_status kin_lines_next(kin_lines *lines, kin_line *out, kin_error *err);
/* A whole line in *text, in place of what is there; *number counts it from 1. *end: there is none. KIN_ERR_LIMIT beyond
 * KIN_RECORD_LIMIT. */
kin_status kin_lines_next_whole(kin_lines *lines, kin_bytes *text, uint64_t *number, bool *end, kin_error *err);
const char *kin_lines_path(const kin_lines *lines);
void kin_lines_close(kin_lines *lines);

typedef struct kin_reader {
  kin_status (*open)(kin_lines *lines, const char *text_column, void **state, kin_error *err); /* NULL: no state */
  kin_status (*next)(void *state, kin_lines *lines, kin_document_piece *out, kin_error *err);
  void (*close)(void *state);
} kin_reader;

extern const kin_reader kin_reader_plain, kin_reader_markdown, kin_reader_html, kin_reader_json, kin_reader_csv;

#endif
