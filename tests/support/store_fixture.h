/* A folder of files and a store beside it, which most tests of the store begin with. */
#ifndef KIN_STORE_FIXTURE_H
#define KIN_STORE_FIXTURE_H

#include "fake_encoder.h"
#include "support.h"

typedef struct store_fixture {
  char *folder; /* all of it, absolute; removed in the end */
  char *files;  /* a folder in it, to be indexed; empty at first */
  char *path;   /* of the store */
  kin_context *context;
  kin_store *store; /* NULL until opened */
  kin_error err;
} store_fixture;

void store_fixture_init(store_fixture *f);
void store_fixture_free(store_fixture *f);
/* Open the store anew, also where it was open. */
void store_fixture_open(store_fixture *f, kin_store_mode mode);
void store_fixture_close(store_fixture *f);
/* Write, remove a file to be indexed. */
void store_fixture_put(store_fixture *f, const char *name, const char *content);
void store_fixture_drop(store_fixture *f, const char *name);
/* Index the files; the store must be open for writing. `options` may be NULL. */
kin_index_progress store_fixture_index(store_fixture *f, fake_encoder *fake, const kin_index_options *options);

#endif
