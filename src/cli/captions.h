/* Pictures with captions, as users keep them. */
#ifndef KIN_CAPTIONS_H
#define KIN_CAPTIONS_H

#include "kindred.h"

typedef struct cli_captions {
  kin_captioned *items;
  size_t n;
  char *columns[KIN_ALIGN_MAX_COLUMNS]; /* their names: "caption", "en", "ko" */
  size_t n_columns;
  size_t without; /* pictures of a folder that have no .txt beside them */
  struct caption_rows *rows;
} cli_captions;

/* Read FILE.jsonl, FILE.csv or a folder with a .txt beside each picture; paths are seen from the file's own folder.
 * Prints its error; false on failure. Release with cli_captions_free either way. */
bool cli_captions_read(const char *path, cli_captions *out);
void cli_captions_free(cli_captions *captions);

#endif
