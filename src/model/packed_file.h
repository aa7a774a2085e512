/* Files of packed weights: what opening a model computes, kept to be mapped the next time. Made by this program on
 * this machine for itself alone; whatever doesn't fit is made anew. */
#ifndef KIN_PACKED_FILE_H
#define KIN_PACKED_FILE_H

#include "model/tower.h"

typedef struct kin_packed_file {
  kin_map map; /* data NULL: there is none */
  char id[65]; /* of the model */
  uint64_t parameters, memory_bytes;
  kin_visit_entry *entries; /* [n] */
  size_t n;
} kin_packed_file;

/* The file in `folder` for what `dir` describes: made from the very files that are there now, by their sizes and
 * times, checked by its own hash (not its weights, which would cost what it saves). False: there is none. */
bool kin_packed_file_open(const char *folder, const kin_model_source *dir, kin_packed_file *out);
void kin_packed_file_close(kin_packed_file *file);
/* Save the model. Failing to changes nothing: the next opening takes as long as this one. */
void kin_packed_file_save(const char *folder, const kin_model_source *dir, const kin_model *model);

#endif
