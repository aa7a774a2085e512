/* What kin_store_import reads: JSON lines, .npy or .fvecs with a file of paths, as one sequence of vectors. */
#ifndef KIN_IMPORT_H
#define KIN_IMPORT_H

#include "store/update.h"

#include <jansson.h>

typedef struct kin_import_row {
  char *path;           /* seen from the working folder; NULL: there are no more rows */
  float *vector;        /* [dim] */
  const json_t *object; /* all that a line of JSON says; NULL in other formats */
  uint64_t number;      /* of the line or row, from 1 */
} kin_import_row;

typedef struct kin_import_source kin_import_source;

/* `paths` names the file with the path of each row's file, of formats that need one. KIN_ERR_ARGUMENT for another
 * ending, or a file of paths that lacks or isn't wanted; KIN_ERR_FORMAT: damaged, or no vectors. */
kin_status kin_import_open(const char *path, const char *paths, kin_import_source **out, kin_error *err);
void kin_import_close(kin_import_source *source);
size_t kin_import_dim(const kin_import_source *source);
uint64_t kin_import_total(const kin_import_source *source); /* rows; 0: not known */
/* The line before the first, with which kin_store_export begins; NULL: none. */
const json_t *kin_import_header(const kin_import_source *source);
/* The next row, valid until the next call. KIN_ERR_FORMAT names file and line. */
kin_status kin_import_next(kin_import_source *source, kin_import_row *out, kin_error *err);
/* KIN_ERR_FORMAT with file and row before the message. */
kin_status kin_import_fail(const kin_import_source *source, kin_error *err, const char *format, ...) KIN_PRINTF(3, 4);

/* ---- elastic_import.c: into an index, whose files are looked up many at a time while the file is checked */

/* Note one of the files; *twice: it was noted before. */
kin_status kin_remote_import_note(kin_update *u, const char *path, bool *twice, kin_error *err);
/* There are no more. */
kin_status kin_remote_import_noted(kin_update *u, kin_error *err);
/* catalogue->find of a file that was noted. */
kin_status kin_remote_import_find(kin_update *u, kin_candidate *c, kin_error *err);
/* The caption (NULL: none) and metadata that a user gave, into the item that was written last; other keys stay. */
kin_status kin_remote_import_given(kin_update *u, const kin_candidate *c, const char *caption, const json_t *metadata,
                                   kin_error *err);

#endif
