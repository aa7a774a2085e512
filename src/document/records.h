/* A record's text, given out in parts: what the readers of JSON and CSV share. */
#ifndef KIN_RECORDS_H
#define KIN_RECORDS_H

#include "document/reader.h"

typedef struct kin_record {
  kin_bytes text;
  size_t at; /* given out so far */
  uint64_t line, offset;
} kin_record;

/* The next part of the record in *out; false when all of it is given out. */
bool kin_record_part(kin_record *record, kin_document_piece *out);

/* The next record of a CSV file, all its fields with a NUL behind each; *end: there is none. */
kin_status kin_csv_next(kin_lines *lines, kin_record *record, bool *end, kin_error *err);

#endif
