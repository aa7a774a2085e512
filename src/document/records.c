/* A record's text in parts. */
#include "document/records.h"

bool kin_record_part(kin_record *record, kin_document_piece *out) {
  size_t left = record->text.size - record->at, size = left;
  if (!left) return false;
  const char *text = record->text.data + record->at;
  if (size > KIN_LINE_LIMIT) {
    size = KIN_LINE_LIMIT;
    while (((uint8_t)text[size] & 0xC0) == 0x80) size--;
  }
  *out = (kin_document_piece){text, size, record->line, record->offset, record->at ? KIN_BREAK_NONE : KIN_BREAK_RECORD};
  record->at += size;
  return true;
}
