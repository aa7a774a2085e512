/* Documents: the format by the name's ending, and its reader. */
#include "document/reader.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct kin_document {
  const kin_reader *reader;
  kin_lines *lines;
  void *state;
};

kin_document_format kin_document_format_of(const char *name) {
  static const struct {
    const char *ending;
    kin_document_format format;
  } known[] = {{".txt", KIN_DOCUMENT_PLAIN},  {".md", KIN_DOCUMENT_MARKDOWN}, {".markdown", KIN_DOCUMENT_MARKDOWN},
               {".html", KIN_DOCUMENT_HTML},  {".htm", KIN_DOCUMENT_HTML},    {".json", KIN_DOCUMENT_JSON},
               {".jsonl", KIN_DOCUMENT_JSON}, {".ndjson", KIN_DOCUMENT_JSON}, {".csv", KIN_DOCUMENT_CSV}};
  const char *ending = strrchr(name, '.');
  for (size_t i = 0; ending && i < sizeof known / sizeof *known; i++)
    if (strcasecmp(ending, known[i].ending) == 0) return known[i].format;
  return KIN_DOCUMENT_NONE;
}

kin_status kin_document_open(const char *path, kin_document_format format, const char *text_column, kin_document **out,
                             kin_error *err) {
  static const kin_reader *const readers[] = {
      [KIN_DOCUMENT_PLAIN] = &kin_reader_plain, [KIN_DOCUMENT_MARKDOWN] = &kin_reader_markdown,
      [KIN_DOCUMENT_HTML] = &kin_reader_html,   [KIN_DOCUMENT_JSON] = &kin_reader_json,
      [KIN_DOCUMENT_CSV] = &kin_reader_csv,
  };
  *out = NULL;
  if (format == KIN_DOCUMENT_NONE || (unsigned)format > KIN_DOCUMENT_CSV)
    return kin_fail(err, KIN_ERR_UNSUPPORTED,
                    "%s: is no text file by its name; known are .txt, .md, .html, .json, "
                    "lines of JSON and .csv",
                    path);
  kin_document *document = calloc(1, sizeof *document);
  if (!document) return kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", path);
  document->reader = readers[format];
  kin_status status = kin_lines_open(path, &document->lines, err);
  if (status == KIN_OK && document->reader->open)
    status = document->reader->open(document->lines, text_column, &document->state, err);
  if (status == KIN_OK)
    *out = document;
  else
    kin_document_close(document);
  return status;
}

kin_status kin_document_next(kin_document *document, kin_document_piece *out, kin_error *err) {
  *out = (kin_document_piece){0};
  return document->reader->next(document->state, document->lines, out, err);
}

void kin_document_close(kin_document *document) {
  if (!document) return;
  if (document->state) document->reader->close(document->state);
  kin_lines_close(document->lines);
  free(document);
}
