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

/* A hash of the names, sizes and times of a model directory's files, and of how they are to be opened; "" where they
 * can't be listed. To be taken before any of them is read. */
void kin_packed_file_sources(const kin_model_source *dir, char hex[65]);
/* The file in `folder` that was made from `sources`, checked by its own hash (not its weights, which would cost what it
 * saves). False: there is none. */
bool kin_packed_file_open(const char *folder, const kin_model_source *dir, const char *sources, kin_packed_file *out);
void kin_packed_file_close(kin_packed_file *file);
/* Save the model that was read from `sources`, if these are still there. Failing to changes nothing: the next opening
 * takes as long as this one. */
void kin_packed_file_save(const char *folder, const kin_model_source *dir, const char *sources, kin_model *model);

#endif
