/* Text files as pieces of clean text with their places: plain text, Markdown, HTML, JSON lines and CSV.
 * A document is read as it goes: memory holds a block of the file and the record or paragraph at hand. */
#ifndef KIN_DOCUMENT_H
#define KIN_DOCUMENT_H

#include "base/base.h"

typedef enum kin_document_format {
  KIN_DOCUMENT_NONE = 0,
  KIN_DOCUMENT_PLAIN,
  KIN_DOCUMENT_MARKDOWN,
  KIN_DOCUMENT_HTML,
  KIN_DOCUMENT_JSON,
  KIN_DOCUMENT_CSV
} kin_document_format;

/* By the name's ending, whatever its case: .txt; .md, .markdown; .html, .htm; .json, .jsonl, .ndjson; .csv. */
kin_document_format kin_document_format_of(const char *name);

/* What lies between a piece and the one before it. */
typedef enum kin_document_break {
  KIN_BREAK_NONE = 0, /* nothing: a long line goes on */
  KIN_BREAK_LINE,
  KIN_BREAK_PARAGRAPH,
  KIN_BREAK_RECORD /* of JSON or CSV: what comes is about something else */
} kin_document_break;

typedef struct kin_document_piece {
  const char *text; /* valid UTF-8 without NUL, not terminated; valid until the next call; NULL at the end */
  size_t size;
  uint64_t line, offset; /* in the file: its line or its record's, from 1, and the byte where that begins */
  kin_document_break before;
} kin_document_piece;

typedef struct kin_document kin_document;

/* Open the file `path`. `text_column` names the column of a CSV file, or gives its number from 1 (then the first line
 * is no header); NULL: "text". Files are UTF-8, with or without a byte order mark, or UTF-16 with one.
 * KIN_ERR_IO; KIN_ERR_NOT_FOUND: no such column. */
kin_status kin_document_open(const char *path, kin_document_format format, const char *text_column, kin_document **out,
                             kin_error *err);
/* The next piece. KIN_ERR_FORMAT names the file and the line: bytes that aren't UTF-8, a NUL byte, a damaged record;
 * KIN_ERR_LIMIT: a record of over 64 MiB. */
kin_status kin_document_next(kin_document *document, kin_document_piece *out, kin_error *err);
void kin_document_close(kin_document *document);

#endif
