/* Plain text: blank lines lie between paragraphs. */
#include "document/reader.h"

#include <stdlib.h>

static bool is_blank(const kin_line *line) {
  for (size_t i = 0; i < line->size; i++)
    if (line->text[i] != ' ' && line->text[i] != '\t' && line->text[i] != '\f') return false;
  return true;
}

typedef struct plain {
  bool continued; /* the last part was of a line that goes on */
} plain;

static kin_status plain_open(kin_lines *lines, const char *text_column, void **state, kin_error *err) {
  (void)text_column;
  *state = calloc(1, sizeof(plain));
  return *state ? KIN_OK : kin_fail(err, KIN_ERR_MEMORY, "out of memory at %s", kin_lines_path(lines));
}

static kin_status plain_next(void *state, kin_lines *lines, kin_document_piece *out, kin_error *err) {
  plain *p = state;
  kin_line line;
  kin_document_break before = p->continued ? KIN_BREAK_NONE : KIN_BREAK_LINE;
  kin_status status;
  while ((status = kin_lines_next(lines, &line, err)) == KIN_OK && line.text && !p->continued && is_blank(&line) &&
         !line.continues)
    before = KIN_BREAK_PARAGRAPH;
  p->continued = line.continues;
  if (status == KIN_OK && line.text)
    *out = (kin_document_piece){line.text, line.size, line.number, line.offset, before};
  return status;
}

const kin_reader kin_reader_plain = {plain_open, plain_next, free};
